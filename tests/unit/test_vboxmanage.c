/* drivers/vboxmanage on what the real VBoxManage printed (tests/fixtures/virtualbox): every recorded call parsed, each error in the
 * code that the table here gives it, from the SDK reference's meaning of the result and the sentence. */
#include "base/error.h"
#include "base/file.h"
#include "drivers/vboxmanage/parse.h"
#include "drivers/vboxmanage/settings.h"
#include "drivers/vboxmanage/vboxmanage.h"
#include <cjson/cJSON.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define FIXTURES TEST_SOURCE_DIR "/fixtures/virtualbox/"

static cJSON *calls;

static int load_calls(void **state) {
    (void)state;
    char *text = NULL;
    size_t length = 0;
    if (vmc_file_read(FIXTURES "calls.json", 16u << 20, &text, &length, NULL) < 0)
        return -1;
    calls = cJSON_Parse(text);
    free(text);
    return calls ? 0 : -1;
}

static int drop_calls(void **state) {
    (void)state;
    cJSON_Delete(calls);
    return 0;
}

static const char *printed(const char *name, const char *stream) {
    const cJSON *call = cJSON_GetObjectItemCaseSensitive(calls, name);
    if (!call)
        fail_msg("no recorded call %s", name);
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(call, stream));
}

/* --- errors -------------------------------------------------------------------------------------------------------- */

/* Every recorded call that failed; what is not here succeeded. */
static const struct {
    const char *name;
    int code;
} failures[] = {
    {"arm_start", VMCTL_E_UNSUPPORTED},
    {"conc_modify_c", VMCTL_E_BUSY},
    {"conc_start_a", VMCTL_E_BUSY},
    {"err_attach_missing", VMCTL_E_NOT_FOUND},
    {"err_clonevm_dup", VMCTL_E_ALREADY_EXISTS},
    {"err_clonevm_linked_nosnap", VMCTL_E_INVALID_ARGUMENT},
    {"err_control_badverb", VMCTL_E_INVALID_STATE}, /* it looks at the state first */
    {"err_control_poweredoff", VMCTL_E_INVALID_STATE},
    {"err_control_poweroff_off", VMCTL_E_INVALID_STATE},
    {"err_control_savestate_off", VMCTL_E_INVALID_STATE},
    {"err_cpus_big", VMCTL_E_INVALID_ARGUMENT},
    {"err_cpus_notnum", VMCTL_E_INVALID_ARGUMENT},
    {"err_cpus_zero", VMCTL_E_INVALID_ARGUMENT},
    {"err_createvm_bad_ostype", VMCTL_E_INVALID_ARGUMENT},
    {"err_discardstate", VMCTL_E_INVALID_STATE}, /* exit status 0 */
    {"err_dup_create_samegroup", VMCTL_E_ALREADY_EXISTS},
    {"err_dup_create_samegroup2", VMCTL_E_ALREADY_EXISTS},
    {"err_dup_ctl", VMCTL_E_ALREADY_EXISTS},
    {"err_dup_disk", VMCTL_E_ALREADY_EXISTS},
    {"err_empty_name", VMCTL_E_INVALID_ARGUMENT},
    {"err_export_exists", VMCTL_E_ALREADY_EXISTS},
    {"err_import_missing", VMCTL_E_NOT_FOUND},
    {"err_mem_toobig", VMCTL_E_INVALID_ARGUMENT},
    {"err_mem_zero", VMCTL_E_INVALID_ARGUMENT},
    {"err_modify_unknown_opt", VMCTL_E_UNSUPPORTED},
    {"err_registervm_missing", VMCTL_E_NOT_FOUND},
    {"err_registervm_twice", VMCTL_E_ALREADY_EXISTS},
    {"err_showmediuminfo", VMCTL_E_NOT_FOUND},
    {"err_snap_delete_with_linked", VMCTL_E_DATA_LOSS_PREVENTED},
    {"err_snapshot_del_unknown", VMCTL_E_NOT_FOUND},
    {"err_snapshot_unknown", VMCTL_E_NOT_FOUND},
    {"err_start_inaccessible", VMCTL_E_INVALID_STATE},
    {"err_unknown_cmd", VMCTL_E_UNSUPPORTED},
    {"err_unknown_vm_control", VMCTL_E_NOT_FOUND},
    {"err_unknown_vm_modify", VMCTL_E_NOT_FOUND},
    {"err_unknown_vm_show", VMCTL_E_NOT_FOUND},
    {"err_unknown_vm_start", VMCTL_E_NOT_FOUND},
    {"err_unknown_vm_uuid", VMCTL_E_NOT_FOUND},
    {"err_unregister_linked_base", VMCTL_E_DATA_LOSS_PREVENTED},
    {"err_unregister_unknown", VMCTL_E_NOT_FOUND},
    {"hostonlyif_create", VMCTL_E_INTERNAL},
    {"hostonlynet_add", VMCTL_E_UNSUPPORTED},
    {"lim_bridged", VMCTL_E_UNSUPPORTED},
    {"lim_default_engine", VMCTL_E_UNSUPPORTED},
    {"lim_hm", VMCTL_E_UNSUPPORTED},
    {"lim_intnet", VMCTL_E_UNSUPPORTED},
    {"lim_natnetwork", VMCTL_E_UNSUPPORTED},
    {"lim_nem", VMCTL_E_UNSUPPORTED},
    {"list_hostonlynets", VMCTL_E_UNSUPPORTED},
    {"movevm", VMCTL_E_NOT_FOUND},
    {"pci_attach", VMCTL_E_UNSUPPORTED},
    {"pciattach_old", VMCTL_E_UNSUPPORTED},
    {"run_guestcontrol", VMCTL_E_INVALID_STATE},
    {"run_modifyvm_locked", VMCTL_E_BUSY},
    {"run_modifyvm_name_locked", VMCTL_E_BUSY},
    {"run_nic", VMCTL_E_INVALID_STATE}, /* exit status 0 */
    {"run_pause_again", VMCTL_E_INVALID_STATE},
    {"run_plugcpu", VMCTL_E_INVALID_STATE},
    {"run_reboot", VMCTL_E_INVALID_STATE},
    {"run_resume_again", VMCTL_E_INVALID_STATE},
    {"run_shutdown", VMCTL_E_INVALID_STATE},
    {"run_snapshot_restore_running", VMCTL_E_INVALID_STATE},
    {"run_startvm_again", VMCTL_E_BUSY},
    {"run_storageattach_hdd_live", VMCTL_E_INVALID_STATE},
    {"run_storageattach_live", VMCTL_E_NOT_FOUND},
    {"run_teleport_refused", VMCTL_E_UNAVAILABLE},
    {"run_unregister_locked", VMCTL_E_BUSY},
    {"saved_modify_memory", VMCTL_E_INVALID_STATE},
    {"show_inaccessible", VMCTL_E_INVALID_STATE},
    {"startvm_badtype", VMCTL_E_INVALID_ARGUMENT},
    {"startvm_gui", VMCTL_E_UNAVAILABLE},
    {"startvm_headless_nodrv", VMCTL_E_INTERNAL},
    {"startvm_sdl", VMCTL_E_INTERNAL},
    {"startvm_separate", VMCTL_E_UNAVAILABLE},
    {"startvm_two", VMCTL_E_NOT_FOUND},
    {"unregister_web", VMCTL_E_NOT_FOUND},
};

static int expected_code(const char *name) {
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++)
        if (strcmp(failures[i].name, name) == 0)
            return failures[i].code;
    return 0;
}

/* As vboxmanage_run decides. */
static int judge(const cJSON *call, vmctl_error **err) {
    const char *out = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(call, "out"));
    const char *error = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(call, "err"));
    int status = cJSON_GetObjectItemCaseSensitive(call, "rc")->valueint;
    if (!vboxmanage_has_error(error) && (status == 0 || vboxmanage_parse_is_answer(out)))
        return 0;
    return vboxmanage_failed("the call", status, error, err);
}

static void every_recorded_error_has_its_code(void **state) {
    (void)state;
    int wrong = 0;
    int seen = 0;
    const cJSON *call;
    cJSON_ArrayForEach(call, calls) {
        vmctl_error *err = NULL;
        int code = judge(call, &err);
        if (code != expected_code(call->string)) {
            print_error("%s: %s instead of %s: %s\n", call->string, code ? vmctl_code_name(code) : "success",
                        expected_code(call->string) ? vmctl_code_name(expected_code(call->string)) : "success",
                        err ? vmctl_error_text(err) : "");
            wrong++;
        }
        if (code < 0) {
            assert_non_null(err);
            assert_int_equal(vmctl_error_code(err), code);
            assert_non_null(vmctl_error_hypervisor_message(err));
            seen++;
        }
        vmctl_error_free(err);
    }
    assert_int_equal(wrong, 0);
    assert_int_equal(seen, sizeof failures / sizeof failures[0]);
}

static void errors_keep_the_hypervisors_words(void **state) {
    (void)state;
    vmctl_error *err = NULL;
    vboxmanage_failed("creating the disk", 1, printed("err_dup_disk", "err"), &err);
    assert_string_equal(vmctl_error_hypervisor_message(err),
                        "Failed to create medium: Could not create the medium storage unit "
                        "'/home/user/disks/root.vdi': VDI: cannot create image '/home/user/disks/root.vdi' "
                        "(VERR_ALREADY_EXISTS)");
    assert_string_equal(vmctl_error_hypervisor_code(err), "VBOX_E_FILE_ERROR");
    vmctl_error_free(err);
    err = NULL;
    vboxmanage_failed("changing the VM", 1, printed("conc_modify_c", "err"), &err);
    assert_true(vmctl_error_retryable(err));
    vmctl_error_free(err);
    err = NULL;
    /* A usage text of hundreds of lines is no part of a message. */
    vboxmanage_failed("changing the VM", 1, printed("err_modify_unknown_opt", "err"), &err);
    assert_string_equal(vmctl_error_hypervisor_message(err), "Unknown option: --nosuchopt");
    vmctl_error_free(err);
}

/* --- parsers ------------------------------------------------------------------------------------------------------- */

static const char *property(const vboxmanage_properties *p, const char *key) {
    const char *value = vboxmanage_property_get(p, key);
    return value ? value : "(absent)";
}

static void machinereadable_with_its_traps(void **state) {
    (void)state;
    VBOXMANAGE_AUTO_PROPERTIES p = {0};
    vboxmanage_parse_properties(printed("showvminfo_full_mr", "out"), &p);
    assert_string_equal(property(&p, "name"), "web 01");
    assert_string_equal(property(&p, "memory"), "2048");
    assert_string_equal(property(&p, "VMState"), "poweroff");
    assert_string_equal(property(&p, "SATA-0-0"), "/home/user/VirtualBox VMs/prod/web/web 01/Snapshots/"
                                                  "{037d8fce-a2f1-496b-a6e8-a2e8b2220fb7}.vdi");
    assert_string_equal(property(&p, "IDE Ctl-1-0"), "emptydrive");
    assert_string_equal(property(&p, "Forwarding(0)"), "ssh,tcp,127.0.0.1,2222,,22");
    assert_string_equal(property(&p, "description"), "first line\nsecond \"quoted\" line");
    assert_string_equal(property(&p, "SnapshotDescription-1"), "multi\nline");
    assert_string_equal(property(&p, "CurrentSnapshotName"), "branch B");
    assert_string_equal(property(&p, "GuestMemoryBalloon"), "0");
    assert_string_equal(property(&p, "vrdeproperty[TCP/Address]"), "<not set>");
    assert_null(vboxmanage_property_get(&p, " rec_screen0"));
    assert_string_equal(property(&p, "rec_screen_enabled"), "on");

    VBOXMANAGE_AUTO_PROPERTIES running = {0};
    vboxmanage_parse_properties(printed("showvminfo_running_mr", "out"), &running);
    assert_string_equal(property(&running, "VMState"), "running");
    assert_string_equal(property(&running, "VRDEClients"), "0");
    assert_string_equal(property(&running, "VideoMode"), "720,400,0");
    assert_string_equal(property(&running, "vrde"), "off");
}

static void machinereadable_that_no_version_prints(void **state) {
    (void)state;
    VBOXMANAGE_AUTO_PROPERTIES p = {0};
    vboxmanage_parse_properties(
        "a=\"one \\\\ two \\\" three\"\n\"k \\\"q\\\"\"=\"v\"\nold=\"an \"older\" one\"\n=none\nopen=\"never "
        "closed\nlast=1",
        &p);
    assert_string_equal(property(&p, "a"), "one \\ two \" three");
    assert_string_equal(property(&p, "k \"q\""), "v");
    assert_string_equal(property(&p, "old"), "an \"older\" one");
    assert_string_equal(property(&p, "open"), "\"never closed");
    assert_string_equal(property(&p, "last"), "1");
    assert_int_equal(p.count, 5);
}

/* No recorded text, whole or cut anywhere near its end, upsets any parser. */
static void every_recorded_text_can_be_parsed(void **state) {
    (void)state;
    const cJSON *call;
    cJSON_ArrayForEach(call, calls) {
        char *text = vmc_strdup(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(call, "out")));
        size_t length = strlen(text);
        for (size_t cut = 0; cut < 40 && cut <= length; cut++) {
            text[length - cut] = 0;
            VBOXMANAGE_AUTO_PROPERTIES p = {0};
            VBOXMANAGE_AUTO_PROPERTIES r = {0};
            VBOXMANAGE_AUTO_PROPERTIES s = {0};
            vboxmanage_vm_names names = {0};
            vboxmanage_parse_properties(text, &p);
            vboxmanage_parse_records(text, &r);
            vboxmanage_parse_states(text, &s);
            vboxmanage_parse_names(text, &names);
            vboxmanage_vm_names_free(&names);
            vboxmanage_parse_progress(text);
        }
        free(text);
    }
}

static void lists_of_vms(void **state) {
    (void)state;
    vboxmanage_vm_names names = {0};
    vboxmanage_parse_names(printed("list_vms_dupnames", "out"), &names);
    assert_int_equal(names.count, 4);
    assert_string_equal(names.items[0].name, "web 01");
    assert_string_equal(names.items[1].name, "web 01");
    assert_string_not_equal(names.items[0].id, names.items[1].id);
    assert_string_equal(names.items[3].name, "a/b");
    vboxmanage_vm_names_free(&names);
    vboxmanage_parse_names(printed("list_vms_inaccessible", "out"), &names);
    assert_int_equal(names.count, 12);
    assert_string_equal(names.items[0].name, "<inaccessible>");
    vboxmanage_vm_names_free(&names);
    vboxmanage_parse_names("\"a \"b\" {x}\nc\" {0a51ea18-c855-4bea-b80e-e19e4bc4690d}\n", &names);
    assert_int_equal(names.count, 1);
    assert_string_equal(names.items[0].name, "a \"b\" {x}\nc");
    vboxmanage_vm_names_free(&names);
}

static void states_of_a_long_list(void **state) {
    (void)state;
    VBOXMANAGE_AUTO_PROPERTIES p = {0};
    vboxmanage_parse_states(printed("list_vms_long_2", "out"), &p);
    assert_string_equal(property(&p, "0a51ea18-c855-4bea-b80e-e19e4bc4690d"), "poweroff");
    VBOXMANAGE_AUTO_PROPERTIES odd = {0};
    vboxmanage_parse_states(
        "Name:                        x\nUUID:                        0a51ea18-c855-4bea-b80e-e19e4bc4690d\n"
        "State:                       live snapshotting (since 2026-11-23T04:57:46.0)\nDescription:\n"
        "State:                       running (since 2026-11-23T04:57:46.0)\n\n"
        "Name:                        y\nUUID:                        0a51ea18-c855-4bea-b80e-e19e4bc4690e\n"
        "State:                       guru meditation (since 2026-11-23T04:57:46.0)\n",
        &odd);
    assert_int_equal(odd.count, 2);
    assert_string_equal(property(&odd, "0a51ea18-c855-4bea-b80e-e19e4bc4690d"), "livesnapshotting");
    assert_string_equal(property(&odd, "0a51ea18-c855-4bea-b80e-e19e4bc4690e"), "gurumeditation");
}

static void records(void **state) {
    (void)state;
    VBOXMANAGE_AUTO_PROPERTIES host = {0};
    vboxmanage_parse_records(printed("list_hostinfo", "out"), &host);
    assert_string_equal(property(&host, "Processor online count"), "2");
    assert_string_equal(property(&host, "Processor supports HW virtualization"), "no");
    VBOXMANAGE_AUTO_PROPERTIES disks = {0};
    vboxmanage_parse_records(printed("list_hdds", "out"), &disks);
    assert_string_equal(property(&disks, "Location"), "/home/user/disks/x.qcow2");
    size_t parts = 0;
    size_t locations = 0;
    for (size_t i = 0; i < disks.count; i++) {
        parts += !*disks.items[i].key;
        locations += strcmp(disks.items[i].key, "Location") == 0;
    }
    assert_true(locations > 1);
    assert_in_range(parts, locations - 1, locations);
    VBOXMANAGE_AUTO_PROPERTIES interfaces = {0};
    vboxmanage_parse_records(printed("list_bridgedifs", "out"), &interfaces);
    assert_string_equal(property(&interfaces, "Name"), "eth0");
    assert_string_equal(property(&interfaces, "HardwareAddress"), "02:fc:00:00:00:01");
}

static void versions_and_progress(void **state) {
    (void)state;
    char *version = NULL;
    unsigned major = 0;
    unsigned minor = 0;
    assert_int_equal(vboxmanage_parse_version(printed("version", "out"), &version, &major, &minor), 0);
    assert_string_equal(version, "7.2.22");
    assert_int_equal(major * 100 + minor, 702);
    free(version);
    /* Debian's wrapper writes its warning to stdout. */
    assert_int_equal(
        vboxmanage_parse_version("WARNING: The character device /dev/vboxdrv does not exist.\n\t Please install\n"
                                 "6.1.50_Debianr161033\n",
                                 &version, &major, &minor),
        0);
    assert_string_equal(version, "6.1.50");
    free(version);
    assert_int_equal(vboxmanage_parse_version("no version\n1.x\n", &version, &major, &minor), -1);
    assert_int_equal(vboxmanage_parse_progress("0%...10%...20"), 10);
    assert_int_equal(vboxmanage_parse_progress(printed("lin_savestate", "err")), 100);
    assert_int_equal(vboxmanage_parse_progress(printed("err_unregister_linked_base", "err")), 20);
    assert_int_equal(vboxmanage_parse_progress("nothing"), -1);
    char *settings = vboxmanage_parse_labelled(printed("createvm_1", "out"), "Settings file:");
    assert_string_equal(settings, "/home/user/VirtualBox VMs/web 01/web 01.vbox");
    free(settings);
}

static void quoting(void **state) {
    (void)state;
    VMC_AUTO_STR s = {0};
    vboxmanage_quote(&s, "--name");
    vmc_str_add_char(&s, ' ');
    vboxmanage_quote(&s, "it's a \"name\" $HOME");
    vmc_str_add_char(&s, ' ');
    vboxmanage_quote(&s, "");
    assert_string_equal(s.text, "--name 'it'\\''s a \"name\" $HOME' ''");
}

/* --- settings files ------------------------------------------------------------------------------------------------ */

static void the_registry(void **state) {
    (void)state;
    vboxmanage_registry registry = {0};
    vmctl_error *err = NULL;
    vboxmanage here = {.home = FIXTURES}, nowhere = {.home = "/nowhere"};
    assert_int_equal(vboxmanage_registry_read(&here, NULL, &registry, &err), 0);
    assert_int_equal(registry.count, 1);
    assert_string_equal(registry.entries[0].id, "22222222-2222-4333-8444-555555555501");
    assert_string_equal(registry.entries[0].settings, "/home/user/machines/full _one_/full _one_.vbox");
    assert_string_equal(registry.machine_folder, "/home/user/machines");
    vboxmanage_registry_free(&registry);
    assert_int_equal(vboxmanage_registry_read(&nowhere, NULL, &registry, &err), VMCTL_E_NOT_FOUND);
    vmctl_error_free(err);
}

static void a_machine(void **state) {
    (void)state;
    vboxmanage_machine *m = NULL;
    vmctl_error *err = NULL;
    assert_int_equal(vboxmanage_machine_read(NULL, FIXTURES "full.vbox", NULL, &m, &err), 0);
    assert_string_equal(m->id, "22222222-2222-4333-8444-555555555501");
    assert_string_equal(m->name, "full \"one\"");
    assert_string_equal(m->description, "first \"line\"\nsecond <line> & more");
    assert_int_equal(m->cpus, 2);
    assert_int_equal(m->memory_mib, 64);
    assert_string_equal(m->chipset, "ich9");
    assert_string_equal(m->firmware, "efi64");
    assert_string_equal(m->tpm, "v2_0");
    assert_string_equal(m->graphics, "vmsvga");
    assert_true(m->autostart);
    assert_true(m->vrde);
    assert_string_equal(m->vrde_ports, "5999");
    assert_string_equal(m->boot[0], "HardDisk");
    assert_string_equal(m->serial_mode, "RawFile");
    assert_string_equal(m->serial_path, "/home/user/f.log");
    assert_string_equal(m->snapshot, "f9bf640e-407d-4fda-88f3-8d5b670b3070");
    assert_int_equal(m->snapshot_count, 2);
    assert_string_equal(m->snapshots[0].id, "12afc948-a99d-4170-b1d0-ef2e841d8c59");
    assert_string_equal(m->snapshots[0].name, "one");
    assert_string_equal(m->snapshots[0].description, "d");
    assert_string_equal(m->snapshots[0].parent, "");
    assert_int_equal(m->snapshots[0].created, 1795705849); /* 2026-11-26T15:10:49Z */
    assert_null(m->snapshots[0].state_file);
    assert_string_equal(m->snapshots[1].parent, m->snapshots[0].id);
    assert_ptr_equal(vboxmanage_snapshot_of(m, m->snapshot), &m->snapshots[1]);
    assert_int_equal(m->snapshots[1].attachment_count, 4);
    const vboxmanage_medium *then = vboxmanage_medium_of(m, m->snapshots[1].attachments[0].medium);
    assert_non_null(then);
    assert_string_equal(vboxmanage_medium_of(m, m->attachments[0].medium)->parent, then->id);
    assert_string_equal(vboxmanage_extra(m, "vmctl.marker"), "{\"owner\":\"a \\\"b\\\"\"}");
    assert_int_equal(m->controller_count, 6);
    assert_int_equal(m->attachment_count, 4);
    assert_true(m->attachments[0].discard);
    assert_string_equal(m->attachments[2].medium, "");
    const vboxmanage_medium *disk = vboxmanage_medium_of(m, m->attachments[0].medium);
    assert_non_null(disk);
    assert_string_not_equal(disk->parent, "");
    assert_string_equal(vboxmanage_base_of(m, disk)->location, "/home/user/machines/a.vdi");
    assert_int_equal(m->nic_count, 4);
    assert_string_equal(m->nics[0].mac, "52:54:00:12:34:56");
    assert_string_equal(m->nics[0].mode, "nat");
    assert_int_equal(m->nics[0].forward_count, 2);
    assert_true(m->nics[0].forwards[0].udp);
    assert_int_equal(m->nics[0].forwards[1].host_port, 2222);
    assert_string_equal(m->nics[1].mode, "bridged");
    assert_string_equal(m->nics[1].source, "lo");
    assert_string_equal(m->nics[1].type, "virtio");
    assert_string_equal(m->nics[2].mode, "internal");
    assert_false(m->nics[2].cable);
    assert_string_equal(m->nics[3].mode, "hostonly");
    assert_int_equal(m->share_count, 1);
    assert_false(m->shares[0].writable);
    vboxmanage_machine_free(m);
    vmc_strv names = {0};
    vboxmanage_entry entries[] = {{.settings = FIXTURES "full.vbox"}, {.settings = FIXTURES "none.vbox"}};
    const vboxmanage_registry two = {.entries = entries, .count = 2};
    assert_int_equal(vboxmanage_names_read(NULL, &two, NULL, &names, &err), 0);
    assert_int_equal(names.count, 2);
    assert_string_equal(names.items[0], "full \"one\"");
    assert_string_equal(names.items[1], "<inaccessible>");
    vmc_strv_free(&names);
}

static void settings_that_are_not_known(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int code;
    } cases[] = {
        {"<VirtualBox version=\"1.21-linux\"><Machine uuid=\"{x}\" name=\"n\"/></VirtualBox>", VMCTL_E_UNSUPPORTED},
        {"<VirtualBox version=\"2.0-linux\"><Machine/></VirtualBox>", VMCTL_E_UNSUPPORTED},
        {"<VirtualBox version=\"1.20-linux\"><MachineEncrypted/></VirtualBox>", VMCTL_E_UNSUPPORTED},
        {"<VirtualBox version=\"1.20-linux\"><Machine", VMCTL_E_INTERNAL},
        {"<other/>", VMCTL_E_INTERNAL},
        {"", VMCTL_E_INTERNAL},
    };
    char path[] = "/tmp/vmctl-test-settings.XXXXXX";
    close(mkstemp(path));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vmctl_error *err = NULL;
        vboxmanage_machine *m = NULL;
        assert_int_equal(vmc_file_write(path, cases[i].text, strlen(cases[i].text), 0600, NULL), 0);
        assert_int_equal(vboxmanage_machine_read(NULL, path, NULL, &m, &err), cases[i].code);
        assert_non_null(err);
        vmctl_error_free(err);
    }
    unlink(path);
}

/* --- running ------------------------------------------------------------------------------------------------------- */

static char folder[] = "/tmp/vmctl-test-vboxmanage.XXXXXX";

/* A program of that name which behaves as the given shell text. */
static void stand_in(const char *text) {
    char *path = vmc_printf("%s/VBoxManage", folder);
    char *script = vmc_printf("#!/bin/sh\n[ \"$1\" = --version ] && { echo 7.2.22r1; exit 0; }\n%s\n", text);
    assert_int_equal(vmc_file_write(path, script, strlen(script), 0755, NULL), 0);
    assert_int_equal(chmod(path, 0755), 0);
    free(path);
    free(script);
}

static vboxmanage *opened(void) {
    vboxmanage *manage = NULL;
    char *path = vmc_printf("%s:/usr/bin:/bin", folder);
    setenv("PATH", path, 1);
    free(path);
    vmctl_error *err = NULL;
    if (vboxmanage_open("/some/home", "id1", &manage, &err) < 0)
        fail_msg("%s", vmctl_error_text(err));
    return manage;
}

static void a_call_is_judged_by_what_it_says(void **state) {
    (void)state;
    stand_in("echo \"$VBOX_USER_HOME $VBOX_IPC_SOCKETID $*\"; [ \"$1\" != bad ] || echo 'VBoxManage: error: Already "
             "paused' >&2");
    vboxmanage *manage = opened();
    vmc_deadline deadline = vmc_deadline_start(NULL, 10000);
    char *output = NULL;
    vmctl_error *err = NULL;
    assert_int_equal(vboxmanage_version(manage, &deadline, &output, &err), 0);
    assert_string_equal(output, "7.2.22");
    free(output);
    const char *const good[] = {"list", "a b", NULL};
    assert_int_equal(vboxmanage_run(manage, &(vboxmanage_call){.argv = good, .doing = "x"}, &deadline, &output, &err),
                     0);
    assert_string_equal(output, "/some/home id1 list a b\n");
    free(output);
    const char *const bad[] = {"bad", NULL};
    assert_int_not_equal(vboxmanage_run(manage, &(vboxmanage_call){.argv = bad, .doing = "x"}, &deadline, NULL, &err),
                         0);
    assert_non_null(strstr(vmctl_error_text(err), "Already paused"));
    vmctl_error_free(err);
    vboxmanage_close(manage);
}

static void a_lock_is_waited_for(void **state) {
    (void)state;
    char *text =
        vmc_printf("n=$(cat %s/n 2>/dev/null || echo 0); echo $((n+1)) >%s/n; [ $n -lt 2 ] || exit 0\n"
                   "echo \"VBoxManage: error: The machine 'b' already has a lock request pending\" >&2; exit 1",
                   folder, folder);
    stand_in(text);
    free(text);
    vboxmanage *manage = opened();
    vmc_deadline deadline = vmc_deadline_start(NULL, 10000);
    vmctl_error *err = NULL;
    const char *const argv[] = {"modifyvm", NULL};
    assert_int_equal(vboxmanage_run(manage, &(vboxmanage_call){.argv = argv, .doing = "x"}, &deadline, NULL, &err),
                     VMCTL_E_BUSY);
    vmctl_error_free(err);
    err = NULL;
    assert_int_equal(
        vboxmanage_run(manage, &(vboxmanage_call){.argv = argv, .doing = "x", .busy_ms = 5000}, &deadline, NULL, &err),
        0);
    vboxmanage_close(manage);
}

/* VBoxSVC was about to end: the words of 7.2 (VBoxManage.cpp). */
static void a_server_that_ends_is_waited_for(void **state) {
    (void)state;
    char *text = vmc_printf("n=$(cat %s/m 2>/dev/null || echo 0); echo $((n+1)) >%s/m; [ $n -lt 2 ] || exit 0\n"
                            "echo 'VBoxManage: error: Failed to create the VirtualBox object!' >&2; exit 1",
                            folder, folder);
    stand_in(text);
    free(text);
    vboxmanage *manage = opened();
    vmc_deadline deadline = vmc_deadline_start(NULL, 10000);
    vmctl_error *err = NULL;
    const char *const argv[] = {"list", "vms", NULL};
    assert_int_equal(vboxmanage_run(manage, &(vboxmanage_call){.argv = argv, .doing = "x"}, &deadline, NULL, &err), 0);
    vboxmanage_close(manage);
}

/* How often the stand-in of the next test was called. */
static int calls_of(const char *name) {
    char *path = vmc_printf("%s/%s", folder, name);
    FILE *file = fopen(path, "re");
    int lines = 0;
    for (int c; file && (c = fgetc(file)) != EOF;)
        lines += c == '\n';
    if (file)
        (void)fclose(file);
    free(path);
    return lines;
}

/* VBoxManage 7.2 misses an answer now and then: it says nothing for ten seconds. */
static void a_question_that_gets_no_answer_is_put_again(void **state) {
    (void)state;
    char *text =
        vmc_printf("echo >>%s/asked-$1; [ \"$1\" = list ] && [ $(wc -l <%s/asked-list) -gt 1 ] && exec echo answer\n"
                   "exec sleep 60",
                   folder, folder);
    stand_in(text);
    free(text);
    vboxmanage *manage = opened();
    vmc_deadline deadline = vmc_deadline_start(NULL, 50000);
    vmctl_error *err = NULL;
    char *output = NULL;
    const char *const question[] = {"list", "vms", NULL};
    assert_int_equal(
        vboxmanage_run(manage, &(vboxmanage_call){.argv = question, .doing = "x"}, &deadline, &output, &err), 0);
    assert_string_equal(output, "answer\n");
    free(output);
    assert_int_equal(calls_of("asked-list"), 2);

    /* What changes something may be under way. */
    deadline = vmc_deadline_start(NULL, 3000);
    const char *const change[] = {"modifyvm", NULL};
    assert_int_equal(vboxmanage_run(manage, &(vboxmanage_call){.argv = change, .doing = "x"}, &deadline, NULL, &err),
                     VMCTL_E_TIMEOUT);
    assert_int_equal(calls_of("asked-modifyvm"), 1);
    vmctl_error_free(err);
    vboxmanage_close(manage);
}

/* One that has begun to answer takes its time. */
static void a_long_answer_is_waited_for(void **state) {
    (void)state;
    char *text = vmc_printf("echo >>%s/asked; echo first; sleep 3; echo last", folder);
    stand_in(text);
    free(text);
    vboxmanage *manage = opened();
    vmc_deadline deadline = vmc_deadline_start(NULL, 60000);
    vmctl_error *err = NULL;
    char *output = NULL;
    const char *const argv[] = {"list", "--long", "vms", NULL};
    assert_int_equal(vboxmanage_run(manage, &(vboxmanage_call){.argv = argv, .doing = "x"}, &deadline, &output, &err),
                     0);
    assert_string_equal(output, "first\nlast\n");
    assert_int_equal(calls_of("asked"), 1);
    free(output);
    vboxmanage_close(manage);
}

static void a_deadline_kills(void **state) {
    (void)state;
    stand_in("sleep 60");
    vboxmanage *manage = opened();
    vmc_deadline deadline = vmc_deadline_start(NULL, 300);
    vmctl_error *err = NULL;
    const char *const argv[] = {"list", NULL};
    int64_t began = vmc_now_ms();
    assert_int_equal(
        vboxmanage_run(manage, &(vboxmanage_call){.argv = argv, .doing = "listing"}, &deadline, NULL, &err),
        VMCTL_E_TIMEOUT);
    assert_true(vmc_now_ms() - began < 5000);
    vmctl_error_free(err);
    vboxmanage_close(manage);
}

static int take_percent(const vmctl_progress *progress, void *user) {
    unsigned *last = user;
    assert_string_equal(progress->stage, "saving");
    *last = (unsigned)progress->done;
    return progress->done >= 50;
}

static void progress_is_told_and_can_cancel(void **state) {
    (void)state;
    stand_in("for i in 0 20 50 70; do printf '%d%%...' $i >&2; sleep 0.2; done; sleep 20");
    vboxmanage *manage = opened();
    unsigned last = 0;
    vmctl_call call = VMCTL_CALL_INIT;
    call.progress = take_percent;
    call.user = &last;
    vmc_deadline deadline = vmc_deadline_start(&call, 10000);
    vmctl_error *err = NULL;
    const char *const argv[] = {"controlvm", NULL};
    assert_int_equal(vboxmanage_run(manage, &(vboxmanage_call){.argv = argv, .doing = "saving", .stage = "saving"},
                                    &deadline, NULL, &err),
                     VMCTL_E_CANCELLED);
    assert_int_equal(last, 50);
    vmctl_error_free(err);
    vboxmanage_close(manage);
}

static void a_missing_program_is_told(void **state) {
    (void)state;
    if (access("/usr/lib/virtualbox/VBoxManage", X_OK) == 0 || access("/opt/VirtualBox/VBoxManage", X_OK) == 0)
        skip();
    setenv("PATH", "/nowhere", 1);
    vboxmanage *manage = NULL;
    vmctl_error *err = NULL;
    assert_int_equal(vboxmanage_open(NULL, NULL, &manage, &err), VMCTL_E_UNAVAILABLE);
    assert_non_null(strstr(vmctl_error_text(err), "PATH"));
    assert_non_null(strstr(vmctl_error_text(err), "/usr/lib/virtualbox"));
    vmctl_error_free(err);
}

/* What a settings file of an unknown version is replaced by; the values are those of the recorded text. */
static void a_vm_as_it_is_described(void **state) {
    (void)state;
    vboxmanage_machine *m = vboxmanage_machine_described(printed("showvminfo_full_mr", "out"));
    assert_non_null(m);
    assert_string_equal(m->name, "web 01");
    assert_string_equal(m->id, "0a51ea18-c855-4bea-b80e-e19e4bc4690d");
    assert_string_equal(m->folder, "/home/user/VirtualBox VMs/prod/web/web 01");
    assert_int_equal(m->memory_mib, 2048);
    assert_int_equal(m->cpus, 2);
    assert_string_equal(m->chipset, "piix3");
    assert_string_equal(m->firmware, "bios");
    assert_string_equal(m->description, "first line\nsecond \"quoted\" line");
    assert_null(m->state_file);
    assert_string_equal(m->boot[2], "HardDisk");
    assert_int_equal(m->controller_count, 3);
    assert_string_equal(m->controllers[0].type, "AHCI");
    assert_int_equal(m->controllers[0].ports, 4);
    assert_int_equal(m->attachment_count, 5);
    assert_string_equal(m->attachments[1].controller, "SATA");
    assert_int_equal(m->attachments[1].port, 1);
    assert_true(m->attachments[1].nonrotational);
    const vboxmanage_medium *medium = vboxmanage_medium_of(m, m->attachments[1].medium);
    assert_non_null(medium);
    assert_string_equal(medium->format, "VMDK");
    assert_string_equal(m->attachments[2].kind, "DVD");
    assert_string_equal(m->attachments[2].controller, "IDE Ctl");
    assert_string_equal(vboxmanage_medium_of(m, m->attachments[2].medium)->location, "/home/user/iso/a.iso");
    assert_string_equal(m->attachments[3].kind, "DVD");
    assert_string_equal(m->attachments[3].medium, "");
    assert_int_equal(m->nic_count, 5);
    assert_string_equal(m->nics[0].mac, "08:00:27:e5:94:5a");
    assert_int_equal(m->nics[0].forward_count, 1);
    assert_string_equal(m->nics[0].forwards[0].name, "ssh");
    assert_string_equal(m->nics[0].forwards[0].host_ip, "127.0.0.1");
    assert_int_equal(m->nics[0].forwards[0].host_port, 2222);
    assert_null(m->nics[0].forwards[0].guest_ip);
    assert_int_equal(m->nics[0].forwards[0].guest_port, 22);
    assert_string_equal(m->nics[2].mode, "internal");
    assert_string_equal(m->nics[2].source, "lab");
    assert_string_equal(m->nics[3].source, "lo");
    assert_int_equal(m->nics[1].forward_count + m->nics[4].forward_count, 0);
    assert_true(m->vrde);
    assert_string_equal(m->vrde_ports, "5010-5020");
    assert_int_equal(m->share_count, 1);
    assert_string_equal(m->shares[0].path, "/home/user/iso");
    assert_null(m->serial_mode);
    vboxmanage_machine_free(m);

    m = vboxmanage_machine_described(printed("showvminfo_saved_mr", "out"));
    assert_non_null(m->state_file);
    vboxmanage_machine_free(m);
    assert_null(vboxmanage_machine_described("name=\"half\"\n"));
    assert_null(vboxmanage_machine_described(""));

    vboxmanage_registry registry = {0};
    vboxmanage_registry_described(printed("showvminfo_full", "out"), &registry);
    assert_int_equal(registry.count, 1);
    assert_string_equal(registry.entries[0].id, "0a51ea18-c855-4bea-b80e-e19e4bc4690d");
    assert_string_equal(registry.entries[0].settings, "/home/user/VirtualBox VMs/prod/web/web 01/web 01.vbox");
    vboxmanage_registry_free(&registry);
}

typedef struct heard_both {
    char out[256], err[256];
} heard_both;

static int hear_out(const void *bytes, size_t length, void *user) {
    heard_both *h = user;
    strncat(h->out, bytes, length);
    return 0;
}

static int hear_err(const void *bytes, size_t length, void *user) {
    heard_both *h = user;
    strncat(h->err, bytes, length);
    return 0;
}

/* What a program of the guest prints is its own; what VBoxManage says itself is not mixed into it. */
static void a_stream_keeps_its_own_words_out(void **state) {
    (void)state;
    stand_in("cat; echo guest; echo 'to stderr' >&2; [ \"$1\" != bad ] || { echo 'VBoxManage: error: Guest Additions "
             "are not "
             "installed' >&2; exit 1; }; exit 39");
    vboxmanage *manage = opened();
    vmc_deadline deadline = vmc_deadline_start(NULL, 10000);
    heard_both h = {"", ""};
    vmctl_error *err = NULL;
    int status = -1;
    const char *const good[] = {"good", NULL};
    const vboxmanage_stream stream = {.argv = good,
                                      .doing = "x",
                                      .input = "in\n",
                                      .input_length = 3,
                                      .output = hear_out,
                                      .error = hear_err,
                                      .user = &h};
    assert_int_equal(vboxmanage_stream_run(manage, &stream, &deadline, &status, &err), 0);
    assert_int_equal(status, 39);
    assert_string_equal(h.out, "in\nguest\n");
    assert_string_equal(h.err, "to stderr\n");
    h = (heard_both){"", ""};
    const char *const bad[] = {"bad", NULL};
    const vboxmanage_stream failing = {.argv = bad, .doing = "x", .output = hear_out, .error = hear_err, .user = &h};
    assert_int_equal(vboxmanage_stream_run(manage, &failing, &deadline, &status, &err), VMCTL_E_INVALID_STATE);
    assert_string_equal(h.err, "to stderr\n");
    vmctl_error_free(err);
    vboxmanage_close(manage);
}

/* --- USB ----------------------------------------------------------------------------------------------------------- */

/* VBoxManageList.cpp's format (showUsbDevices of 6.1 and of 7: "USB version/speed" has a name or a number); Windows has addresses of its own. */
static void usb_devices_of_the_host(void **state) {
    (void)state;
    VBOXMANAGE_AUTO_USB_DEVICES devices = {0};
    vboxmanage_parse_usb_devices(
        "Host USB Devices:\n\n"
        "UUID:               cbc06204-fa47-471e-8b0e-a231fd664805\n"
        "VendorId:           0x0781 (0781)\n"
        "ProductId:          0x5583 (5583)\n"
        "Revision:           1.16 (0116)\n"
        "Port:               4\n"
        "USB version/speed:  3/Super\n"
        "Manufacturer:       UUID: none\n"
        "SerialNumber:       4C53:00\n"
        "Address:            sysfs:/sys/devices/pci0000:00/usb1/1-4//device:/dev/vboxusb/001/042\n"
        "Current State:      Busy\n\n"
        "UUID:               9edb62ed-aaf9-403b-97e6-ab69bea836cc\n"
        "VendorId:           0x03f0 (03F0)\n"
        "ProductId:          0x3a1d (3A1D)\n"
        "Address:            {36fc9e60-c465-11cf-8056-444553540000}\\0009\n"
        "Current State:      Captured\n\n",
        &devices);
    assert_int_equal(devices.count, 2);
    const vboxmanage_usb_device *first = &devices.items[0];
    assert_string_equal(first->id, "cbc06204-fa47-471e-8b0e-a231fd664805");
    assert_int_equal(first->vendor, 0x781);
    assert_int_equal(first->product, 0x5583);
    assert_int_equal(first->port, 4);
    assert_int_equal(first->bus, 1);
    assert_int_equal(first->number, 42);
    assert_string_equal(first->serial, "4C53:00");
    assert_string_equal(first->state, "Busy");
    assert_int_equal(devices.items[1].vendor, 0x3f0);
    assert_int_equal(devices.items[1].bus, 0);
    assert_null(devices.items[1].serial);
    assert_string_equal(devices.items[1].state, "Captured");
    VBOXMANAGE_AUTO_USB_DEVICES none = {0};
    vboxmanage_parse_usb_devices(printed("list_usbhost", "out"), &none);
    assert_int_equal(none.count, 0);
}

static void a_host_without_usb(void **state) {
    (void)state;
    vmctl_error *err = NULL;
    assert_int_equal(vboxmanage_usb_service("", &err), 0);
    assert_null(err);
    assert_int_equal(vboxmanage_usb_service(printed("list_usbhost", "err"), &err), VMCTL_E_UNSUPPORTED);
    assert_non_null(strstr(vmctl_error_hypervisor_message(err), "VERR_NOT_FOUND"));
    vmctl_error_free(err);
    err = NULL;
    /* HostImpl.cpp's other words */
    assert_int_equal(
        vboxmanage_usb_service("VBoxManage: warning: VirtualBox is not currently allowed to access USB devices.  "
                               "You can change this by adding your user to the 'vboxusers' group.  Please "
                               "see the user manual for a more detailed explanation\n",
                               &err),
        VMCTL_E_PERMISSION_DENIED);
    vmctl_error_free(err);
    err = NULL;
    /* ConsoleImpl2.cpp of 6.1, without its extension pack */
    assert_int_equal(vboxmanage_failed("x", 1,
                                       "VBoxManage: error: Implementation of the USB 3.0 controller not found!\n"
                                       "VBoxManage: error: Details: code NS_ERROR_FAILURE (0x80004005), component "
                                       "ConsoleWrap, interface IConsole\n",
                                       &err),
                     VMCTL_E_UNSUPPORTED);
    vmctl_error_free(err);
}

/* As VirtualBox 7.2 wrote them, and as showvminfo describes the same. */
static void usb_filters(void **state) {
    (void)state;
    static const char text[] =
        "<VirtualBox version=\"1.20-linux\"><Machine uuid=\"{22222222-2222-4333-8444-555555555501}\" "
        "name=\"m\"><Hardware>"
        "<USB><Controllers><Controller name=\"xHCI\" type=\"XHCI\"/></Controllers><DeviceFilters>"
        "<DeviceFilter name=\"a b [x]\" active=\"true\" vendorId=\"1d6b\" productId=\"0001\" serialNumber=\"ser ial\" "
        "port=\"0003\"/>"
        "<DeviceFilter name=\"eq\" active=\"false\" "
        "manufacturer=\"Foo\"/></DeviceFilters></USB></Hardware></Machine></VirtualBox>";
    static const char described[] =
        "name=\"m\"\nUUID=\"22222222-2222-4333-8444-555555555501\"\nCfgFile=\"/vms/"
        "m.vbox\"\nusb=\"off\"\nehci=\"off\"\n"
        "xhci=\"on\"\nUSBFilterActive1=\"on\"\nUSBFilterName1=\"a b [x]\"\nUSBFilterVendorId1=\"1d6b\"\n"
        "USBFilterProductId1=\"0001\"\nUSBFilterRevision1=\"\"\nUSBFilterManufacturer1=\"\"\nUSBFilterRemote1=\"\"\n"
        "USBFilterSerialNumber1=\"ser ial\"\nUSBFilterActive2=\"off\"\nUSBFilterName2=\"eq\"\nUSBFilterVendorId2=\"\"\n"
        "USBFilterManufacturer2=\"Foo\"\n";
    vboxmanage_machine *machines[2] = {NULL, NULL};
    assert_int_equal(vboxmanage_machine_parse(NULL, "/vms/m.vbox", text, strlen(text), &machines[0], NULL), 0);
    machines[1] = vboxmanage_machine_described(described);
    assert_non_null(machines[1]);
    for (size_t i = 0; i < 2; i++) {
        assert_true(machines[i]->usb);
        assert_int_equal(machines[i]->usb_filter_count, 2);
        const vboxmanage_usb_filter *filter = machines[i]->usb_filters;
        unsigned vendor = 0;
        unsigned product = 0;
        assert_true(vboxmanage_usb_filter_ids(filter, &vendor, &product));
        assert_int_equal(vendor, 0x1d6b);
        assert_int_equal(product, 1);
        assert_false(vboxmanage_usb_filter_ids(&filter[1], &vendor, &product));
        VMC_AUTO_STRV argv = {0};
        vboxmanage_usb_filter_add(&argv, 1, "ID", &filter[1]);
        VMC_AUTO_FREE char *line = vmc_strv_join(&argv, " ");
        assert_string_equal(line, "usbfilter add 1 --target ID --name eq --active no --manufacturer Foo");
        vboxmanage_machine_free(machines[i]);
    }
}

int main(void) {
    if (!mkdtemp(folder))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_recorded_error_has_its_code),
        cmocka_unit_test(errors_keep_the_hypervisors_words),
        cmocka_unit_test(machinereadable_with_its_traps),
        cmocka_unit_test(machinereadable_that_no_version_prints),
        cmocka_unit_test(every_recorded_text_can_be_parsed),
        cmocka_unit_test(lists_of_vms),
        cmocka_unit_test(states_of_a_long_list),
        cmocka_unit_test(records),
        cmocka_unit_test(versions_and_progress),
        cmocka_unit_test(quoting),
        cmocka_unit_test(the_registry),
        cmocka_unit_test(a_machine),
        cmocka_unit_test(settings_that_are_not_known),
        cmocka_unit_test(a_vm_as_it_is_described),
        cmocka_unit_test(a_stream_keeps_its_own_words_out),
        cmocka_unit_test(a_call_is_judged_by_what_it_says),
        cmocka_unit_test(a_lock_is_waited_for),
        cmocka_unit_test(a_server_that_ends_is_waited_for),
        cmocka_unit_test(a_question_that_gets_no_answer_is_put_again),
        cmocka_unit_test(a_long_answer_is_waited_for),
        cmocka_unit_test(a_deadline_kills),
        cmocka_unit_test(progress_is_told_and_can_cancel),
        cmocka_unit_test(a_missing_program_is_told),
        cmocka_unit_test(usb_devices_of_the_host),
        cmocka_unit_test(a_host_without_usb),
        cmocka_unit_test(usb_filters),
    };
    int failed = cmocka_run_group_tests(tests, load_calls, drop_calls);
    char *remove = vmc_printf("/bin/rm -r %s", folder);
    if (system(remove) != 0)
        failed++;
    free(remove);
    return failed;
}
