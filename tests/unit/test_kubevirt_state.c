/* What a VirtualMachine's status means, by the exchanges that a real virt-controller's objects were recorded in; the expected states are
 * KubeVirt's documented ones (types.go, printableStatus) in the common model's words. */
#include "kubevirt_helper.h"

#include "backends/kubevirt/change.h"
#include "backends/kubevirt/gates.h"
#include "backends/kubevirt/state.h"
#include "backends/shared/json_patch.h"

static void assert_state(const char *vm_name, const char *vmi_name, vmctl_state want, const char *words) {
    VMC_AUTO_JSON *vm = recorded(vm_name, false);
    VMC_AUTO_JSON *vmi = vmi_name ? recorded(vmi_name, false) : NULL;
    VMC_AUTO_FREE char *reason = NULL;
    vmctl_state state = kubevirt_state(vm, vmi, &reason);
    if (state != want)
        fail_msg("%s is %s, not %s", vm_name, vmctl_state_name(state), vmctl_state_name(want));
    if (words ? !reason || !strstr(reason, words) : reason != NULL)
        fail_msg("%s: the reason is %s", vm_name, reason ? reason : "(none)");
}

static void each_recorded_status_has_its_state(void **state) {
    (void)state;
    assert_state("34-get", NULL, VMCTL_STATE_RUNNING, NULL);
    assert_state("94-vm2-stopping", NULL, VMCTL_STATE_RUNNING, NULL); /* virt-controller has not seen it yet */
    assert_state("95-vm2-stopped", NULL, VMCTL_STATE_STOPPED, NULL);
    assert_state("16-create-vm2", NULL, VMCTL_STATE_STOPPED, NULL); /* no status at all */
    assert_state("176-gpu-notpermitted-status", NULL, VMCTL_STATE_STARTING, "is not permitted in permittedHostDevices");
    assert_state("187-instancetype-missing-status", NULL, VMCTL_STATE_STOPPED, "\"nope\" not found");
    assert_state("311-vm-missing-pvc-status", NULL, VMCTL_STATE_STARTING,
                 "ErrorPvcNotFound: PVC default/nope does not exist");
    assert_state("306-vm-provisioning-import", NULL, VMCTL_STATE_STARTING, "Provisioning");
    assert_state("337-vm-dv-WaitForFirstConsumer", NULL, VMCTL_STATE_STARTING, "ErrorPvcNotFound");
    assert_state("340-vm-dv-Failed", NULL, VMCTL_STATE_STARTING, "DataVolumeError");
    /* The VM says "Stopped" where the guest crashed; only the instance tells. */
    assert_state("313-vm-Once-guest-Failed", "314-vmi-Once-guest-Failed", VMCTL_STATE_CRASHED, "failed");
    assert_state("317-vm-Manual-guest-Failed", "318-vmi-Manual-guest-Failed", VMCTL_STATE_CRASHED, "failed");
    assert_state("320-vm-RerunOnFailure-guest-Succeeded", NULL, VMCTL_STATE_STOPPED, NULL);
    assert_state("261-vm-migrating", NULL, VMCTL_STATE_MIGRATING, NULL);
}

static void only_some_need_their_instance(void **state) {
    (void)state;
    VMC_AUTO_JSON *crashed = recorded("313-vm-Once-guest-Failed", false);
    VMC_AUTO_JSON *stopped = recorded("95-vm2-stopped", false);
    VMC_AUTO_JSON *running = recorded("34-get", false);
    assert_true(kubevirt_needs_instance(crashed));
    assert_false(kubevirt_needs_instance(stopped));
    assert_false(kubevirt_needs_instance(running));
}

/* Disks being made for a VM that nobody has started. */
static void provisioning_of_a_halted_vm_is_stopped(void **state) {
    (void)state;
    static const char *const strategies[] = {"Halted", "Manual"};
    for (size_t i = 0; i < 2; i++) {
        VMC_AUTO_JSON *vm = recorded("306-vm-provisioning-import", false);
        vmc_json_put((cJSON *)vmc_json_at(vm, "spec"), "runStrategy", cJSON_CreateString(strategies[i]));
        VMC_AUTO_FREE char *reason = NULL;
        assert_int_equal(kubevirt_state(vm, NULL, &reason), VMCTL_STATE_STOPPED);
        assert_string_equal(reason, "Provisioning");
    }
}

static void a_fault_has_its_code_and_a_remedy(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int code;
    } cases[] = {
        {"311-vm-missing-pvc-status", VMCTL_E_NOT_FOUND},
        {"340-vm-dv-Failed", VMCTL_E_UNAVAILABLE},
        {"176-gpu-notpermitted-status", VMCTL_E_NOT_FOUND},
        {"187-instancetype-missing-status", VMCTL_E_NOT_FOUND},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        VMC_AUTO_JSON *vm = recorded(cases[i].name, false);
        VMC_AUTO_FREE char *fault = kubevirt_fault(vm, NULL);
        if (!fault)
            fail_msg("%s shows no fault", cases[i].name);
        assert_int_equal(kubevirt_fault_code(fault), cases[i].code);
        assert_true(*kubevirt_fault_remedy(fault));
    }
    /* Its data volume makes that claim in a while; of a claim that nobody makes it is the end. */
    VMC_AUTO_JSON *soon = recorded("337-vm-dv-WaitForFirstConsumer", false);
    VMC_AUTO_JSON *never = recorded("311-vm-missing-pvc-status", false);
    VMC_AUTO_FREE char *missing_soon = kubevirt_fault(soon, NULL);
    VMC_AUTO_FREE char *missing = kubevirt_fault(never, NULL);
    assert_true(kubevirt_fault_may_pass(soon, missing_soon));
    assert_false(kubevirt_fault_may_pass(never, missing));
    static const char *const good[] = {"34-get", "95-vm2-stopped", "306-vm-provisioning-import", "261-vm-migrating"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        VMC_AUTO_JSON *vm = recorded(good[i], false);
        VMC_AUTO_FREE char *fault = kubevirt_fault(vm, NULL);
        if (fault)
            fail_msg("%s shows a fault: %s", good[i], fault);
    }
}

/* RFC 6902, appendix A, by its sections. */
static void a_patch_is_what_the_rfc_says(void **state) {
    (void)state;
    static const struct {
        const char *document, *patch, *result; /* NULL: it fails */
    } cases[] = {
        {"{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz\",\"value\":\"qux\"}]",
         "{\"baz\":\"qux\",\"foo\":\"bar\"}"},
        {"{\"foo\":[\"bar\",\"baz\"]}", "[{\"op\":\"add\",\"path\":\"/foo/1\",\"value\":\"qux\"}]",
         "{\"foo\":[\"bar\",\"qux\",\"baz\"]}"},
        {"{\"baz\":\"qux\",\"foo\":\"bar\"}", "[{\"op\":\"remove\",\"path\":\"/baz\"}]", "{\"foo\":\"bar\"}"},
        {"{\"foo\":[\"bar\",\"qux\",\"baz\"]}", "[{\"op\":\"remove\",\"path\":\"/foo/1\"}]",
         "{\"foo\":[\"bar\",\"baz\"]}"},
        {"{\"baz\":\"qux\",\"foo\":\"bar\"}", "[{\"op\":\"replace\",\"path\":\"/baz\",\"value\":\"boo\"}]",
         "{\"baz\":\"boo\",\"foo\":\"bar\"}"},
        {"{\"foo\":{\"bar\":\"baz\",\"waldo\":\"fred\"},\"qux\":{\"corge\":\"grault\"}}",
         "[{\"op\":\"move\",\"from\":\"/foo/waldo\",\"path\":\"/qux/thud\"}]",
         "{\"foo\":{\"bar\":\"baz\"},\"qux\":{\"corge\":\"grault\",\"thud\":\"fred\"}}"},
        {"{\"foo\":[\"all\",\"grass\",\"cows\",\"eat\"]}",
         "[{\"op\":\"move\",\"from\":\"/foo/1\",\"path\":\"/foo/3\"}]",
         "{\"foo\":[\"all\",\"cows\",\"eat\",\"grass\"]}"},
        {"{\"baz\":\"qux\",\"foo\":[\"a\",2,\"c\"]}",
         "[{\"op\":\"test\",\"path\":\"/baz\",\"value\":\"qux\"},{\"op\":\"test\",\"path\":\"/foo/1\",\"value\":2}]",
         "{\"baz\":\"qux\",\"foo\":[\"a\",2,\"c\"]}"},
        {"{\"baz\":\"qux\"}", "[{\"op\":\"test\",\"path\":\"/baz\",\"value\":\"bar\"}]", NULL},
        {"{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/child\",\"value\":{\"grandchild\":{}}}]",
         "{\"foo\":\"bar\",\"child\":{\"grandchild\":{}}}"},
        {"{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz/bat\",\"value\":\"qux\"}]", NULL},
        {"{\"/\":9,\"~1\":10}", "[{\"op\":\"test\",\"path\":\"/~01\",\"value\":10}]", "{\"/\":9,\"~1\":10}"},
        {"{\"/\":9,\"~1\":10}", "[{\"op\":\"test\",\"path\":\"/~01\",\"value\":\"10\"}]", NULL},
        {"{\"foo\":[\"bar\"]}", "[{\"op\":\"add\",\"path\":\"/foo/-\",\"value\":[\"abc\",\"def\"]}]",
         "{\"foo\":[\"bar\",[\"abc\",\"def\"]]}"},
        {"{\"foo\":[\"bar\"]}", "[{\"op\":\"add\",\"path\":\"/foo/2\",\"value\":1}]", NULL},
        {"{\"foo\":[\"bar\"]}", "[{\"op\":\"add\",\"path\":\"/foo/01\",\"value\":1}]", NULL},
        {"{\"foo\":{\"bar\":1}}", "[{\"op\":\"move\",\"from\":\"/foo\",\"path\":\"/foo/bar\"}]", NULL},
        {"{\"foo\":1}", "[{\"op\":\"copy\",\"from\":\"/foo\",\"path\":\"/bar\"}]", "{\"foo\":1,\"bar\":1}"},
        {"{\"foo\":1}", "[{\"op\":\"replace\",\"path\":\"\",\"value\":[2]}]", "[2]"},
        {"{\"foo\":1}", "[{\"op\":\"spoil\",\"path\":\"/foo\"}]", NULL},
        {"{\"foo\":1}", "[{\"op\":\"remove\",\"path\":\"/foo\"},{\"op\":\"remove\",\"path\":\"/foo\"}]", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cJSON *document = cJSON_Parse(cases[i].document);
        VMC_AUTO_JSON *patch = cJSON_Parse(cases[i].patch);
        VMC_AUTO_JSON *want = cJSON_Parse(cases[i].result ? cases[i].result : cases[i].document);
        vmctl_error *err = NULL;
        int code = vmc_json_patch(&document, patch, &err);
        if ((code == 0) != (cases[i].result != NULL))
            fail_msg("%s on %s: %s", cases[i].patch, cases[i].document, err ? vmctl_error_text(err) : "passed");
        assert_same_json(document, want); /* unchanged after a failure */
        vmctl_error_free(err);
        cJSON_Delete(document);
    }
}

/* RFC 7396, appendix A, read the other way round: the patch between two documents. */
static void a_merge_patch_is_what_differs(void **state) {
    (void)state;
    static const struct {
        const char *from, *to, *patch; /* NULL: they are the same */
    } cases[] = {
        {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"a\":\"b\",\"b\":\"c\"}", "{\"b\":\"c\"}"},
        {"{\"a\":\"b\"}", "{}", "{\"a\":null}"},
        {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\"}}", "{\"a\":{\"b\":\"d\"}}"},
        {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
        {"{\"a\":{\"b\":1,\"c\":2}}", "{\"a\":{\"c\":2}}", "{\"a\":{\"b\":null}}"},
        {"{\"a\":{\"b\":1}}", "{\"a\":{\"b\":1}}", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        VMC_AUTO_JSON *from = cJSON_Parse(cases[i].from);
        VMC_AUTO_JSON *to = cJSON_Parse(cases[i].to);
        VMC_AUTO_JSON *want = cases[i].patch ? cJSON_Parse(cases[i].patch) : NULL;
        VMC_AUTO_JSON *patch = kubevirt_merge_patch(from, to);
        if (want)
            assert_same_json(patch, want);
        else
            assert_null(patch);
    }
}

/* KubeVirt's rule: GA, else listed on, else listed off, else on from Beta on. */
static void a_gate_is_on_by_its_version_and_the_lists(void **state) {
    (void)state;
    VMC_AUTO_JSON *list =
        recorded("08-kubevirt-cr-list", false); /* 1.9.0, with Snapshot, HotplugVolumes, HostDevices */
    cJSON *installation = cJSON_GetArrayItem(vmc_json_at(list, "items"), 0);
    assert_int_equal(kubevirt_gate(installation, "HotplugVolumes"), 1);
    assert_int_equal(kubevirt_gate(installation, "DeclarativeHotplugVolumes"), 1); /* Beta, on since 1.9 */
    assert_int_equal(kubevirt_gate(installation, "VGPULiveMigration"), 0);         /* Alpha */
    assert_int_equal(kubevirt_gate(installation, "DecentralizedLiveMigration"), 0);
    assert_int_equal(kubevirt_gate(installation, "NoSuchGate"), -1);
    assert_int_equal(kubevirt_gate(NULL, "Snapshot"), -1);
    cJSON *off =
        vmc_json_list(vmc_json_map(installation, "spec.configuration.developerConfiguration"), "disabledFeatureGates");
    cJSON_AddItemToArray(off, cJSON_CreateString("DeclarativeHotplugVolumes"));
    cJSON_AddItemToArray(off, cJSON_CreateString("Snapshot"));
    assert_int_equal(kubevirt_gate(installation, "DeclarativeHotplugVolumes"), 0);
    assert_int_equal(kubevirt_gate(installation, "Snapshot"), 1); /* listed on as well, which comes first */
    assert_int_equal(kubevirt_version_number("v1.9.0-beta.0-1264"), 109);
    assert_int_equal(kubevirt_version_number("devel"), 0);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_recorded_status_has_its_state),
        cmocka_unit_test(only_some_need_their_instance),
        cmocka_unit_test(provisioning_of_a_halted_vm_is_stopped),
        cmocka_unit_test(a_fault_has_its_code_and_a_remedy),
        cmocka_unit_test(a_patch_is_what_the_rfc_says),
        cmocka_unit_test(a_merge_patch_is_what_differs),
        cmocka_unit_test(a_gate_is_on_by_its_version_and_the_lists),
    };
    return cmocka_run_group_tests_name("kubevirt_state", tests, NULL, NULL);
}
