/* The descriptor and the table hold each other: what is claimed is filled, what is filled is claimed, every key is in
 * the schema, and what is claimed as proven on the real hypervisor has a contract test that names it. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "feature_list.h"
#include "registry.h"
#include "schema.h"

static const char *const slot_names[] = {
#define NAME(slot) #slot,
    VMCTL_SLOTS(NAME)
#undef NAME
};

/* The slots in the order of the table's members: after size and abi, one function pointer each. */
static const size_t slot_offsets[] = {
#define OFFSET(slot) offsetof(vmctl_backend_ops, slot),
    VMCTL_SLOTS(OFFSET)
#undef OFFSET
};

static bool filled(const vmctl_backend_ops *ops, vmctl_slot slot) {
    void (*function)(void) = NULL;
    memcpy(&function, (const char *)ops + slot_offsets[slot], sizeof function);
    return function != NULL;
}

static const vmctl_slot_claim *claim_of(const vmctl_backend_descriptor *descriptor, vmctl_slot slot) {
    for (size_t i = 0; i < descriptor->slot_count; i++)
        if (descriptor->slots[i].slot == slot && !descriptor->slots[i].feature)
            return &descriptor->slots[i];
    return NULL;
}

static void claims_and_table_agree(void **state) {
    (void)state;
    int wrong = 0;
    for (const vmc_registry_entry *entry = vmc_registry; entry->descriptor; entry++) {
        const vmctl_backend_ops *ops = entry->entry();
        assert_int_equal(ops->size, sizeof *ops);
        assert_int_equal(ops->abi, VMCTL_BACKEND_ABI);
        for (vmctl_slot slot = 0; slot < VMCTL_SLOT_COUNT; slot++) {
            const vmctl_slot_claim *claim = claim_of(entry->descriptor, slot);
            bool claimed = claim && claim->level > VMCTL_LEVEL_NO;
            if (claimed != filled(ops, slot)) {
                print_error("%s: %s is %s and %s\n", entry->descriptor->name, slot_names[slot],
                            claimed ? "claimed" : "not claimed", filled(ops, slot) ? "filled" : "not filled");
                wrong++;
            }
        }
    }
    assert_int_equal(wrong, 0);
}

static void claims_are_complete(void **state) {
    (void)state;
    for (const vmc_registry_entry *entry = vmc_registry; entry->descriptor; entry++) {
        const vmctl_backend_descriptor *descriptor = entry->descriptor;
        for (size_t i = 0; i < descriptor->slot_count; i++) {
            const vmctl_slot_claim *claim = &descriptor->slots[i];
            assert_in_range(claim->slot, 0, VMCTL_SLOT_COUNT - 1);
            const vmc_feature *feature = vmc_feature_find(claim->feature);
            if (claim->feature && (!feature || feature->slot != (int)claim->slot))
                fail_msg("%s: %s is no feature of the slot %s", descriptor->name, claim->feature,
                         slot_names[claim->slot]);
            if (claim->level > VMCTL_LEVEL_NO)
                assert_int_not_equal(claim->proof, VMCTL_PROOF_NONE);
            if (claim->level != VMCTL_LEVEL_YES)
                assert_non_null(claim->reason);
            for (size_t j = 0; j < i; j++) {
                bool same =
                    claim->slot == descriptor->slots[j].slot && !claim->feature && !descriptor->slots[j].feature;
                assert_false(same);
            }
        }
        for (size_t i = 0; i < descriptor->key_count; i++) {
            const vmctl_key_claim *claim = &descriptor->keys[i];
            bool known = false;
            for (size_t k = 0; k < vmc_schema_count && !known; k++)
                known = strcmp(vmc_schema[k].path, claim->key) == 0;
            if (!known)
                print_error("%s: the schema has no key %s\n", descriptor->name, claim->key);
            assert_true(known);
            if (claim->level != VMCTL_LEVEL_YES || claim->values)
                assert_non_null(claim->reason);
            for (size_t j = 0; j < i; j++)
                assert_string_not_equal(claim->key, descriptor->keys[j].key);
        }
    }
}

/* Every `TEST("feature", "slots", function)` line of the contract suite. */
static char *contract_lines(void) {
    char *all = calloc(1, 1 << 20);
    DIR *dir = opendir(TEST_SOURCE_DIR "/contract");
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        char path[1024], line[1024];
        snprintf(path, sizeof path, "%s/contract/%s", TEST_SOURCE_DIR, entry->d_name);
        FILE *file = strstr(entry->d_name, ".c") ? fopen(path, "re") : NULL;
        while (file && fgets(line, sizeof line, file)) {
            char feature[128], slots[256];
            if (sscanf(line, " TEST(\"%127[^\"]\", \"%255[^\"]\",", feature, slots) == 2)
                sprintf(all + strlen(all), " %s %s ", feature, slots);
        }
        if (file)
            fclose(file);
    }
    closedir(dir);
    return all;
}

static void real_proofs_have_a_contract_test(void **state) {
    (void)state;
    char *lines = contract_lines();
    int wrong = 0;
    for (const vmc_registry_entry *entry = vmc_registry; entry->descriptor; entry++) {
        for (size_t i = 0; i < entry->descriptor->slot_count; i++) {
            const vmctl_slot_claim *claim = &entry->descriptor->slots[i];
            if (claim->level <= VMCTL_LEVEL_NO || claim->proof != VMCTL_PROOF_REAL)
                continue;
            char word[160];
            snprintf(word, sizeof word, " %s ", claim->feature ? claim->feature : slot_names[claim->slot]);
            if (!strstr(lines, word)) {
                print_error("%s:%s is claimed as proven, and no contract test names it\n", entry->descriptor->name,
                            word);
                wrong++;
            }
        }
    }
    free(lines);
    assert_int_equal(wrong, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(claims_and_table_agree),
        cmocka_unit_test(claims_are_complete),
        cmocka_unit_test(real_proofs_have_a_contract_test),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
