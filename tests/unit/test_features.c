/* The list of features: ids that are unique and dotted, every slot spoken of, keys and values that the schema has. */
#include "feature_list.h"
#include "internal.h"
#include "schema.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* What a person never asks for by itself. */
static bool is_plumbing(vmctl_slot slot) {
    switch (slot) {
    case VMCTL_SLOT_open:
    case VMCTL_SLOT_close:
    case VMCTL_SLOT_undo:
    case VMCTL_SLOT_lookup:
    case VMCTL_SLOT_release:
    case VMCTL_SLOT_probe:
        return true;
    default:
        return false;
    }
}

/* The first slot that no feature speaks of, without the feature `left_out`; NULL: there is none. */
static const char *silent_slot(size_t left_out) {
    for (int slot = 0; slot < VMCTL_SLOT_COUNT; slot++) {
        bool found = is_plumbing((vmctl_slot)slot);
        for (size_t i = 0; !found && i < vmc_feature_count; i++)
            found = i != left_out && vmc_features[i].slot == slot;
        if (!found)
            return vmc_slot_name((vmctl_slot)slot);
    }
    return NULL;
}

static void every_slot_is_spoken_of(void **state) {
    (void)state;
    if (silent_slot(vmc_feature_count))
        fail_msg("no feature speaks of the slot %s", silent_slot(vmc_feature_count));
    /* The check itself: a slot that only one feature speaks of is missed without it. */
    assert_string_equal(silent_slot(VMC_FEATURE_lifecycle_pause), "pause");
    assert_string_equal(silent_slot(VMC_FEATURE_display_screenshot), "screenshot");
}

static void ids_are_unique_and_dotted(void **state) {
    (void)state;
    for (size_t i = 0; i < vmc_feature_count; i++) {
        const char *id = vmc_features[i].id;
        assert_non_null(strchr(id, '.'));
        assert_int_equal(strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789.-"), strlen(id));
        assert_true(vmc_features[i].title && *vmc_features[i].title);
        assert_non_null(vmc_feature_group((vmc_feature_number)i));
        assert_ptr_equal(vmc_feature_find(id), &vmc_features[i]);
        const char *name = vmc_features[i].name;
        assert_int_equal(strlen(name), strlen(id));
        for (size_t c = 0; id[c]; c++)
            assert_int_equal(name[c], strchr(".-", id[c]) ? '_' : id[c]);
        const char *sentence = vmc_features[i].sentence;
        assert_true(strlen(sentence) > 10 && sentence[strlen(sentence) - 1] == '.');
        assert_null(strchr(sentence, '|'));
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(id, vmc_features[j].id);
    }
}

static void features_are_in_the_group_above_them(void **state) {
    (void)state;
    assert_string_equal(vmc_feature_group(VMC_FEATURE_lifecycle_create), "Life of a VM");
    assert_string_equal(vmc_feature_group(VMC_FEATURE_snapshot_memory), "Snapshots");
    assert_string_equal(vmc_feature_group(VMC_FEATURE_migrate_live), "Migration");
    assert_null(vmc_feature_find("snapshot"));
    assert_null(vmc_feature_find(NULL));
}

static bool has_word(const char *words, const char *word) {
    size_t length = strlen(word);
    for (const char *p = words; p && *p; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");
        if (n == length && strncmp(p, word, n) == 0)
            return true;
        p += n;
    }
    return false;
}

static void keys_and_values_are_the_schemas(void **state) {
    (void)state;
    for (size_t i = 0; i < vmc_feature_count; i++) {
        const vmc_feature *f = &vmc_features[i];
        if (!f->key)
            continue;
        const vmc_key *key = NULL;
        for (size_t k = 0; k < vmc_schema_count; k++)
            if (strcmp(vmc_schema[k].path, f->key) == 0)
                key = &vmc_schema[k];
        if (!key)
            fail_msg("%s: the schema has no key %s", f->id, f->key);
        else if (f->value && !has_word(key->values, f->value))
            fail_msg("%s: %s takes no \"%s\"", f->id, f->key, f->value);
    }
}

/* The ids that the CLI contract names. */
static void the_contracts_ids_are_there(void **state) {
    (void)state;
    static const char *const named[] = {"lifecycle.create", "snapshot.disk",      "snapshot.memory", "migrate.live",
                                        "migrate.storage",  "gpu.passthrough",    "gpu.vgpu",        "gpu.mig",
                                        "gpu.hotplug",      "gpu.multi",          "display.virtual", "display.opengl",
                                        "console.serial",   "device.disk.hotplug"};
    for (size_t n = 0; n < sizeof named / sizeof named[0]; n++) {
        bool found = false;
        for (size_t i = 0; i < vmc_feature_count; i++)
            found |= strcmp(vmc_features[i].id, named[n]) == 0;
        if (!found)
            fail_msg("%s is missing", named[n]);
    }
}

static void levels_have_names(void **state) {
    (void)state;
    assert_string_equal(vmctl_level_name(VMCTL_LEVEL_YES), "yes");
    assert_string_equal(vmctl_level_name(VMCTL_LEVEL_LIMITED), "limited");
    assert_string_equal(vmctl_level_name(VMCTL_LEVEL_MANUAL), "manual");
    assert_string_equal(vmctl_level_name(VMCTL_LEVEL_NO), "no");
    assert_string_equal(vmctl_level_name(VMCTL_LEVEL_UNKNOWN), "unknown");
    assert_string_equal(vmctl_level_name((vmctl_level)99), "unknown");
    assert_string_equal(vmctl_proof_name(VMCTL_PROOF_REAL), "real");
    assert_null(vmctl_proof_name(VMCTL_PROOF_NONE));
    vmctl_state s;
    for (int i = VMCTL_STATE_UNKNOWN; i <= VMCTL_STATE_CRASHED; i++) {
        assert_int_equal(vmctl_state_from_name(vmctl_state_name((vmctl_state)i), &s), 0);
        assert_int_equal(s, i);
    }
    assert_int_equal(vmctl_state_from_name("shut off", &s), VMCTL_E_INVALID_ARGUMENT);
    assert_string_equal(vmctl_state_name((vmctl_state)-1), "unknown");
    assert_string_equal(vmctl_event_kind_name(VMCTL_EVENT_DELETED), "deleted");
    assert_string_equal(vmctl_device_kind_name(VMCTL_DEVICE_NIC), "nic");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_slot_is_spoken_of),
        cmocka_unit_test(ids_are_unique_and_dotted),
        cmocka_unit_test(features_are_in_the_group_above_them),
        cmocka_unit_test(keys_and_values_are_the_schemas),
        cmocka_unit_test(the_contracts_ids_are_there),
        cmocka_unit_test(levels_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
