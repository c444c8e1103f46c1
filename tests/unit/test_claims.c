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

#include "data.h"
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

/* How often descriptor and table disagree; `loud` says where. */
static int disagreements(const vmctl_backend_descriptor *descriptor, const vmctl_backend_ops *ops, bool loud) {
    int wrong = 0;
    for (vmctl_slot slot = 0; slot < VMCTL_SLOT_COUNT; slot++) {
        const vmctl_slot_claim *claim = claim_of(descriptor, slot);
        bool claimed = claim && claim->level > VMCTL_LEVEL_NO;
        if (claimed == filled(ops, slot))
            continue;
        if (loud)
            print_error("%s: %s is %s and %s\n", descriptor->name, slot_names[slot],
                        claimed ? "claimed" : "not claimed", filled(ops, slot) ? "filled" : "not filled");
        wrong++;
    }
    return wrong;
}

static void claims_and_table_agree(void **state) {
    (void)state;
    for (const vmc_registry_entry *entry = vmc_registry; entry->descriptor; entry++) {
        const vmctl_backend_ops *ops = entry->entry();
        assert_int_equal(ops->size, sizeof *ops);
        assert_int_equal(ops->abi, VMCTL_BACKEND_ABI);
        assert_int_equal(disagreements(entry->descriptor, ops, true), 0);
    }
}

/* The check itself: it sees each slot that is emptied, and each that is filled without a claim. */
static void an_emptied_or_unclaimed_slot_is_seen(void **state) {
    (void)state;
    for (const vmc_registry_entry *entry = vmc_registry; entry->descriptor; entry++) {
        for (vmctl_slot slot = 0; slot < VMCTL_SLOT_COUNT; slot++) {
            vmctl_backend_ops ops = *entry->entry();
            void (*function)(void) = filled(&ops, slot) ? NULL : (void (*)(void))abort;
            memcpy((char *)&ops + slot_offsets[slot], &function, sizeof function);
            assert_int_equal(disagreements(entry->descriptor, &ops, false), 1);
        }
    }
}

/* --- proofs -------------------------------------------------------------------------------------------------------- */

/* A row for a feature of a backend, in a table like proofs.tsv. */
static const char *proof_in(const vmc_table *proofs, const char *feature, const char *backend) {
    for (size_t row = vmc_row(proofs, 0, 0, feature); row < proofs->rows; row = vmc_row(proofs, row + 1, 0, feature))
        if (strcmp(vmc_cell(proofs, row, 1), backend) == 0)
            return vmc_cell(proofs, row, 2);
    return NULL;
}

typedef struct proof_check {
    const vmc_table *proofs;
    const char *backend;
    int wrong;
    bool loud;
} proof_check;

static int check_proof(const vmctl_cap *cap, void *user) {
    proof_check *check = user;
    bool shown = proof_in(check->proofs, cap->feature, cap->backend) || cap->proof == VMCTL_PROOF_SPECIFICATION;
    if (shown == (cap->vmctl > VMCTL_LEVEL_NO))
        return 0;
    if (check->loud)
        print_error("%s: %s is %s, and %s\n", cap->backend, cap->feature, vmctl_level_name(cap->vmctl),
                    shown ? "a test shows it: claim it (descriptor.c), then run tests/proofs"
                          : "nothing shows it: name it in a contract test and run tests/proofs, or claim it as untried "
                            "(SPECIFICATION)");
    check->wrong++;
    return 0;
}

static int wrong_proofs(const vmc_table *proofs, const char *backend, bool loud) {
    proof_check check = {.proofs = proofs, .backend = backend, .loud = loud};
    vmctl_caps_options options = VMCTL_CAPS_OPTIONS_INIT;
    options.backend = backend;
    assert_int_equal(vmctl_caps(&options, check_proof, &check, NULL), 0);
    return check.wrong;
}

static void yes_has_a_proof_and_no_has_none(void **state) {
    (void)state;
    const vmc_table *t = &vmc_data_proofs;
    for (const vmc_registry_entry *entry = vmc_registry; entry->descriptor; entry++)
        assert_int_equal(wrong_proofs(t, entry->descriptor->name, true), 0);
    for (size_t row = 0; row < t->rows; row++) {
        static const char *const kinds[] = {"real", "simulator", "recorded"}; /* a specification is no run */
        bool known = false;
        for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
            known |= strcmp(vmc_cell(t, row, 2), kinds[k]) == 0;
        assert_true(known);
        assert_non_null(vmc_feature_find(vmc_cell(t, row, 0)));
        assert_non_null(vmctl_backend_resolve(vmc_cell(t, row, 1)));
        assert_true(*vmc_cell(t, row, 3));
    }
}

/* A cluster of tests has stand-ins for what KubeVirt does on its nodes: what is shown there is no proof on the real one. */
static void stand_ins_prove_nothing_real(void **state) {
    (void)state;
    const vmc_table *t = &vmc_data_proofs;
    for (size_t row = 0; row < t->rows; row++)
        if (strcmp(vmc_cell(t, row, 1), "kubevirt") == 0 && strcmp(vmc_cell(t, row, 2), "real") == 0)
            fail_msg("%s: shown by tests/kubevirt's stand-ins, which is \"simulator\"", vmc_cell(t, row, 0));
}

/* What a key of vm.yaml asks for is the platform's own doing: vmctl says no more of it than the platform can. (An operation may be more than
 * the platform's: vmctl builds a clone of libvirt's volumes.) */
static int check_key(const vmctl_cap *cap, void *wrong) {
    vmctl_feature feature = {.size = sizeof feature};
    assert_int_equal(vmctl_feature_find(cap->feature, &feature, NULL), 0);
    vmctl_level platform = vmctl_cap_platform(cap);
    if (!feature.key || platform == VMCTL_LEVEL_UNKNOWN || cap->vmctl <= platform ||
        strncmp(cap->platform_source, "vmctl: ", 7) == 0)
        return 0;
    print_error("%s: vmctl says %s to %s, and the platform %s (%s)\n", cap->backend, vmctl_level_name(cap->vmctl),
                cap->feature, vmctl_level_name(platform), cap->platform_text);
    ++*(int *)wrong;
    return 0;
}

static void no_key_does_more_than_its_platform(void **state) {
    (void)state;
    int wrong = 0;
    assert_int_equal(vmctl_caps(NULL, check_key, &wrong, NULL), 0);
    assert_int_equal(wrong, 0);
}

/* The check itself: a proof that is taken away, and one of what vmctl does not do. */
static void a_missing_and_a_false_proof_are_seen(void **state) {
    (void)state;
    const vmc_table *t = &vmc_data_proofs;
    assert_true(t->rows > 0);
    const char *backend = vmc_cell(t, 0, 1);
    size_t cells = (t->rows + 2) * t->columns;
    const char **copy = calloc(cells, sizeof *copy);
    vmc_table changed = {copy, t->rows, t->columns};
    memcpy(copy, t->cells, (t->rows + 1) * t->columns * sizeof *copy);
    copy[t->columns] = "no.such.feature"; /* the first row's */
    assert_int_equal(wrong_proofs(&changed, backend, false), 1);
    memcpy(copy, t->cells, (t->rows + 1) * t->columns * sizeof *copy);
    copy[(t->rows + 1) * t->columns] = "limits.vms"; /* a fact: vmctl does nothing with it */
    copy[(t->rows + 1) * t->columns + 1] = backend;
    copy[(t->rows + 1) * t->columns + 2] = copy[(t->rows + 1) * t->columns + 3] = "real";
    changed.rows++;
    assert_int_equal(wrong_proofs(&changed, backend, false), 1);
    free(copy);
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
        cmocka_unit_test(an_emptied_or_unclaimed_slot_is_seen),
        cmocka_unit_test(yes_has_a_proof_and_no_has_none),
        cmocka_unit_test(stand_ins_prove_nothing_real),
        cmocka_unit_test(no_key_does_more_than_its_platform),
        cmocka_unit_test(a_missing_and_a_false_proof_are_seen),
        cmocka_unit_test(claims_are_complete),
        cmocka_unit_test(real_proofs_have_a_contract_test),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
