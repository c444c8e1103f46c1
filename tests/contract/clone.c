/* clone.c - a second VM from one that exists: both live their own lives, and nobody's disk goes with the other. */
#include "contract.h"

static vmctl_vm *clone_of(vmctl_vm *vm, const char *name, bool linked, const char *snapshot) {
    vmctl_clone_options options = VMCTL_CLONE_OPTIONS_INIT;
    vmctl_vm *made = NULL;
    options.linked = linked;
    options.snapshot = snapshot;
    MUST(vmctl_vm_clone(vm, name, &options, &made, &err));
    assert_non_null(made);
    return made;
}

/* The clone is refused with this code, and nothing is there that was not before. */
static void refused(vmctl_vm *vm, int code, bool linked, const char *snapshot, const char *word) {
    vmctl_clone_options options = VMCTL_CLONE_OPTIONS_INIT;
    char *before = world();
    options.linked = linked;
    options.snapshot = snapshot;
    FAILS(code, vmctl_vm_clone(vm, "cl-none", &options, NULL, &err));
    assert_non_null(strstr(failure, word));
    char *after = world_after(before);
    assert_string_equal(before, after);
    free(before);
    free(after);
}

static void a_clone_has_its_own_identity(void **state) {
    (void)state;
    vmctl_vm *vm = make("cl-a", "labels: {team: infra}\nnetworks: [{name: lan, type: %s, mac: \"52:54:00:12:34:56\"}]",
                        can("network.user") ? "user" : "nat");
    vmctl_vm *twin = clone_of(vm, "cl-a-2", false, NULL);
    seen one, two;
    look(vm, &one);
    look(twin, &two);
    assert_string_equal(two.name, "cl-a-2");
    assert_string_not_equal(one.id, two.id);
    assert_string_equal(device(&one, "lan")->mac, "52:54:00:12:34:56");
    assert_string_not_equal(device(&two, "lan")->mac, "52:54:00:12:34:56");
    assert_string_not_equal(device(&one, "root")->source, device(&two, "root")->source);
    assert_true(device(&two, "root")->own);
    assert_int_equal(two.labels, 1);
    assert_string_equal(two.label_value[0], "infra");
    assert_true(two.managed);
    assert_int_equal(two.memory_mib, one.memory_mib);
    vmctl_vm_free(vm);
    vmctl_vm_free(twin);
}

static void both_run_at_once(void **state) {
    (void)state;
    vmctl_vm *vm = make("cl-b", "%s", "");
    vmctl_vm *twin = clone_of(vm, "cl-b-2", false, NULL);
    start(vm);
    start(twin);
    wait_line(vm, 1);
    wait_line(twin, 1);
    force_off(vm);
    MUST(vmctl_vm_delete(vm, NULL, &err));
    assert_int_equal(state_of(twin), VMCTL_STATE_RUNNING);
    int line = printed_by(twin).line;
    assert_true(wait_line(twin, line + 1).line > line);
    vmctl_vm_free(vm);
    vmctl_vm_free(twin);
}

static void linked_clones_leave_the_original_alone(void **state) {
    (void)state;
    vmctl_vm *vm = make("cl-c", "%s", "");
    vmctl_vm *one = clone_of(vm, "cl-c-1", true, NULL), *two = clone_of(vm, "cl-c-2", true, NULL);
    start(vm);
    start(one);
    start(two);
    wait_line(vm, 1);
    wait_line(one, 1);
    wait_line(two, 1);
    vmctl_vm_free(vm);
    vmctl_vm_free(one);
    vmctl_vm_free(two);
}

/* In every order: what others stand on stays as long as they do, and then goes. */
static void disks_go_with_the_last(void **state) {
    (void)state;
    for (int first = 0; first < 2; first++) {
        char *before = world();
        vmctl_vm *vm = make("cl-d", "%s", "");
        vmctl_vm *twin = clone_of(vm, "cl-d-2", true, NULL);
        vmctl_vm *gone = first ? twin : vm, *stays = first ? vm : twin;
        if (gone == vm && profile->differencing) { /* the clone must go first, and is named */
            char *with_both = world();
            FAILS(VMCTL_E_DATA_LOSS_PREVENTED, vmctl_vm_delete(vm, NULL, &err));
            assert_non_null(strstr(failure, "cl-d-2"));
            char *still = world();
            assert_string_equal(with_both, still);
            free(with_both);
            free(still);
            gone = twin;
            stays = vm;
        }
        MUST(vmctl_vm_delete(gone, NULL, &err));
        start(stays);
        wait_line(stays, 1);
        force_off(stays);
        MUST(vmctl_vm_delete(stays, NULL, &err));
        vmctl_vm_free(vm);
        vmctl_vm_free(twin);
        char *after = world();
        assert_string_equal(before, after);
        free(before);
        free(after);
    }
}

static void a_clone_of_a_linked_clone(void **state) {
    (void)state;
    vmctl_vm *vm = make("cl-e", "%s", "");
    vmctl_vm *linked = clone_of(vm, "cl-e-1", true, NULL), *flat = clone_of(linked, "cl-e-2", false, NULL);
    MUST(vmctl_vm_delete(linked, NULL, &err));
    MUST(vmctl_vm_delete(vm, NULL, &err));
    start(flat);
    wait_line(flat, 1);
    vmctl_vm_free(vm);
    vmctl_vm_free(linked);
    vmctl_vm_free(flat);
}

static void a_clone_of_a_snapshot(void **state) {
    (void)state;
    bool formats = can("storage.format");
    vmctl_vm *vm = make("cl-f", "disks: [{name: root, image: %s%s%s}]", guest_image, formats ? ", format: " : "",
                        formats ? profile->formats[0] : "");
    MUST(vmctl_snapshot_create(vm, "then", NULL, &err));
    vmctl_vm *twin = clone_of(vm, "cl-f-2", false, "then");
    start(twin);
    wait_line(twin, 1);
    seen facts;
    look(twin, &facts);
    if (formats)
        assert_string_equal(device(&facts, "root")->type, profile->formats[0]);
    refused(vm, VMCTL_E_NOT_FOUND, false, "than", "did you mean then");
    if (profile->differencing) { /* what linked clones stand on */
        vmctl_vm *linked = clone_of(vm, "cl-f-3", true, "then");
        start(linked);
        wait_line(linked, 1);
        force_off(linked);
        FAILS(VMCTL_E_DATA_LOSS_PREVENTED, vmctl_snapshot_delete(vm, "then", NULL, &err));
        assert_non_null(strstr(failure, "cl-f-3"));
        MUST(vmctl_vm_delete(linked, NULL, &err));
        vmctl_vm_free(linked);
        MUST(vmctl_snapshot_delete(vm, "then", NULL, &err));
    } else {
        refused(vm, VMCTL_E_UNSUPPORTED, true, "then", "overlay");
        refused(vm, VMCTL_E_UNSUPPORTED, true, NULL, can("lifecycle.clone.linked") ? "snapshot" : "overlay");
    }
    vmctl_vm_free(vm);
    vmctl_vm_free(twin);
}

/* The copy is of the disks, and one is told what that means. */
static void what_runs_is_copied_with_a_warning(vmctl_vm *vm) {
    vmctl_clone_options options = VMCTL_CLONE_OPTIONS_INIT;
    notes told = {0};
    vmctl_call call = call_noting(&told);
    vmctl_vm *twin = NULL;
    options.call = &call;
    int line = wait_line(vm, 1).line;
    MUST(vmctl_vm_clone(vm, "cl-g-2", &options, &twin, &err));
    assert_non_null(strstr(told.last, "cl-g runs"));
    assert_int_equal(state_of(twin), VMCTL_STATE_STOPPED);
    start(twin);
    wait_line(twin, 1);
    assert_int_equal(wait_line(vm, line + 1).boots, 1);
    vmctl_vm_free(twin);
}

static void what_runs_is_not_copied(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("cl-g", "%s", "");
    if (profile->clones_running) {
        what_runs_is_copied_with_a_warning(vm);
        vmctl_vm_free(vm);
        return;
    }
    refused(vm, VMCTL_E_INVALID_STATE, false, NULL, "vmctl stop cl-g");
    refused(vm, VMCTL_E_INVALID_STATE, true, NULL, "vmctl stop cl-g");
    assert_int_equal(state_of(vm), VMCTL_STATE_RUNNING);
    vmctl_vm_free(vm);
}

static void a_name_that_is_taken(void **state) {
    (void)state;
    vmctl_vm *vm = make("cl-h", "%s", ""), *other = make("cl-none", "%s", "");
    refused(vm, VMCTL_E_ALREADY_EXISTS, false, NULL, "cl-none");
    vmctl_vm_free(vm);
    vmctl_vm_free(other);
}

static void forwards_are_not_taken_over(void **state) {
    (void)state;
    vmctl_vm *vm = make("cl-i", "%s", "networks: [{name: lan, type: user, forward: [\"20222:22\"]}]");
    vmctl_clone_options options = VMCTL_CLONE_OPTIONS_INIT;
    notes told = {0};
    vmctl_call call = call_noting(&told);
    vmctl_vm *twin = NULL;
    options.call = &call;
    MUST(vmctl_vm_clone(vm, "cl-i-2", &options, &twin, &err));
    assert_true(told.count > 0);
    assert_non_null(strstr(told.last, "forward"));
    start(vm);
    start(twin); /* with the same port it could not */
    vmctl_vm_free(vm);
    vmctl_vm_free(twin);
}

static void uefi_variables_are_copied(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("cl-j", "%s", "firmware: uefi\nmemory: 128MiB");
    force_off(vm);
    vmctl_vm *twin = clone_of(vm, "cl-j-2", false, NULL);
    start(twin);
    force_off(twin);
    MUST(vmctl_vm_delete(vm, NULL, &err));
    MUST(vmctl_vm_delete(twin, NULL, &err)); /* with its store, or `world` differs */
    vmctl_vm_free(vm);
    vmctl_vm_free(twin);
}

static const contract_test tests[] = {
    TEST("lifecycle.clone", "clone get", a_clone_has_its_own_identity),
    TEST("lifecycle.clone", "clone start remove", both_run_at_once),
    TEST("lifecycle.clone.linked", "clone start", linked_clones_leave_the_original_alone),
    TEST("lifecycle.clone.linked", "clone remove", disks_go_with_the_last),
    TEST("lifecycle.clone.linked", "clone", a_clone_of_a_linked_clone),
    TEST("lifecycle.clone", "clone snapshot_create", a_clone_of_a_snapshot),
    TEST("lifecycle.clone", "clone", what_runs_is_not_copied),
    TEST("lifecycle.clone", "clone", a_name_that_is_taken),
    TEST("lifecycle.clone network.forward", "clone", forwards_are_not_taken_over),
    TEST("lifecycle.clone", "clone", uefi_variables_are_copied),
};

const contract_group group_clone = {"clone", tests, sizeof tests / sizeof tests[0]};
