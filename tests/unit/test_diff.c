/* The changes between two specs, by the rules of `apply` in spec.h and the command line's contract. */
#include "spec_test.h"

#include <vmctl/backend.h>

#define HAVE                                                                                                           \
    "name: web-1\nlabels: {team: infra, tier: a}\ncpus: {count: 2, max: 8}\nmemory: {size: 2GiB, max: 8GiB}\n"         \
    "machine: pc-q35-7.2\naccel: tcg\nboot: {order: [root, net]}\n"                                                    \
    "disks:\n  - {name: root, image: /a.qcow2, size: 20GiB}\n  - {name: data, size: 1GiB}\n"                           \
    "  - {name: old, volume: default/old.qcow2}\n  - {name: cd, cdrom: /x.iso}\n"                                      \
    "networks:\n  - {name: net, type: nat, mac: 52:54:00:00:00:01, forward: ['1:2', '3:4']}\n"                         \
    "gpus: [{name: g, pci: '0000:65:00.A'}]\nrng: true\n"

/* One line a change: "SET memory.size 2GiB -> 4GiB". */
static char *changes(const char *have_text, const char *want_text, bool prune, int *code, vmctl_error **err) {
    vmctl_spec *have = load_part(have_text), *want = load_part(want_text);
    vmctl_diff_options options = VMCTL_DIFF_OPTIONS_INIT;
    options.prune = prune;
    vmctl_diff *diff = NULL;
    VMC_AUTO_STR lines = {0};
    *code = vmctl_spec_diff(have, want, &options, &diff, err);
    /* a diff holds copies */
    vmctl_spec_free(have);
    vmctl_spec_free(want);
    static const char *const actions[] = {"ADD", "REMOVE", "SET"};
    for (size_t i = 0; i < vmctl_diff_count(diff); i++) {
        const vmctl_change *change = vmctl_diff_at(diff, i);
        assert_int_equal(change->size, sizeof *change);
        assert_int_equal(change->have == NULL, change->have_text == NULL);
        assert_int_equal(change->want == NULL, change->want_text == NULL);
        vmc_str_printf(&lines, "%s %s %s -> %s\n", actions[change->action], change->path,
                       change->have_text ? change->have_text : "-", change->want_text ? change->want_text : "-");
    }
    assert_null(vmctl_diff_at(diff, vmctl_diff_count(diff)));
    vmctl_diff_free(diff);
    return vmc_str_take(&lines);
}

static void assert_changes(const char *want, const char *expected) {
    vmctl_error *err = NULL;
    int code = 0;
    char *found = changes(HAVE, want, false, &code, &err);
    if (code != 0)
        fail_msg("%s: %s", want, vmctl_error_text(err));
    if (strcmp(found, expected) != 0)
        fail_msg("for %s\n--- expected\n%s--- found\n%s", want, expected, found);
    free(found);
}

static void a_spec_differs_from_itself_in_nothing(void **state) {
    (void)state;
    assert_changes(HAVE, "");
    assert_changes("{}", "");
}

static void an_absent_key_is_not_managed(void **state) {
    (void)state;
    assert_changes("name: web-1\n", "");
    assert_changes("memory: 2GiB\n", ""); /* max is not there, and stays */
    assert_changes("labels: {team: infra}\n", "");
    assert_changes("disks: [{name: root}, {name: data}, {name: old}, {name: cd}]\n", "");
}

static void values_that_differ_are_set(void **state) {
    (void)state;
    assert_changes("memory: 4GiB\n", "SET memory.size 2GiB -> 4GiB\n");
    assert_changes("cpus: {count: 4}\n", "SET cpus.count 2 -> 4\n");
    assert_changes("rng: false\n", "SET rng true -> false\n");
    assert_changes("labels: {name: x}\n", "SET labels.name - -> x\n");
    assert_changes("labels: {team: web, new: x}\n", "SET labels.team infra -> web\nSET labels.new - -> x\n");
    assert_changes("description: hello\n", "SET description - -> hello\n");
    assert_changes("autostart: true\n", "SET autostart - -> true\n");
    assert_changes("machine: pc-i440fx-7.2\n", "SET machine pc-q35-7.2 -> pc-i440fx-7.2\n");
    assert_changes("boot: {order: [net, root]}\n", "SET boot.order [root, net] -> [net, root]\n");
    assert_changes("serial: {log: x.log}\n", "SET serial.log - -> x.log\n");
}

static void numbers_compare_by_value(void **state) {
    (void)state;
    assert_changes("memory: 2048MiB\n", "");
    assert_changes("disks: [{name: root, size: 20480MiB}, {name: data}, {name: old}, {name: cd}]\n", "");
}

static void what_means_the_same_is_no_change(void **state) {
    (void)state;
    assert_changes("accel: auto\n", "");
    assert_changes("machine: q35\n", "");
    assert_changes("autostart: false\nwatchdog: none\nconfidential: none\ndescription: ''\nfirmware: bios\n", "");
    assert_changes("gpus: [{name: g, pci: '0000:65:00.a'}]\n", "");
    assert_changes("networks: [{name: net, forward: ['3:4', '1:2'], link: up}]\n", "");
    assert_changes("shares: []\n", "");
}

static void what_only_the_making_needs_is_not_compared(void **state) {
    (void)state;
    static const char want[] = "name: web-1\ncloudInit: {user: ci}\nlifetime: 2h\nplacement: {host: h}\n"
                               "libvirt: {xmlPatch: <x/>}\nvirtualbox: {modifyvm: {a: b}}\nbackend: kvm\n";
    assert_changes(want, "");
    vmctl_spec *have = load_part(HAVE), *wanted = load_part(want);
    vmctl_diff_options options = VMCTL_DIFF_OPTIONS_INIT;
    vmctl_diff *diff = NULL;
    options.all = true; /* keys that were set one by one */
    assert_int_equal(vmctl_spec_diff(have, wanted, &options, &diff, NULL), 0);
    assert_int_equal(vmctl_diff_count(diff), 6);
    vmctl_diff_free(diff);
    options.all = false;
    set_key(have, "backend", "libvirt"); /* its own section a VM on libvirt tells */
    assert_int_equal(vmctl_spec_diff(have, wanted, &options, &diff, NULL), 0);
    assert_int_equal(vmctl_diff_count(diff), 1);
    assert_string_equal(vmctl_diff_at(diff, 0)->path, "libvirt.xmlPatch");
    vmctl_diff_free(diff);
    vmctl_spec_free(have);
    vmctl_spec_free(wanted);
    vmctl_error *err = NULL;
    int code = 0;
    char *found = changes("lifetime: 1h\n", "lifetime: 2h\n", false, &code, &err); /* the VM tells it: then it is */
    assert_string_equal(found, "SET lifetime 1h -> 2h\n");
    free(found);
}

static void defaults_do_not_count(void **state) {
    (void)state;
    vmctl_spec *have = load_part("name: a\ncpus: {model: host}\n"), *want = load_part("name: a\ncpus: 1\n");
    vmc_spec_complete(have, "nat");
    vmc_spec_complete(want, "nat");
    vmctl_diff *diff = NULL;
    assert_int_equal(vmctl_spec_diff(have, want, NULL, &diff, NULL), 0);
    assert_int_equal(vmctl_diff_count(diff), 0);
    vmctl_diff_free(diff);
    vmctl_spec_free(have);
    vmctl_spec_free(want);
}

static void items_are_matched_by_name(void **state) {
    (void)state;
    assert_changes(
        "disks: [{name: cd}, {name: new, size: 1GiB}, {name: old}, {name: data, size: 2GiB}, {name: root}]\n",
        "ADD disks.new - -> {name: new, size: 1GiB}\nSET disks.data.size 1GiB -> 2GiB\n");
    assert_changes("networks: [{name: net, link: down}]\n", "SET networks.net.link - -> down\n");
    assert_changes("disks: [{name: root}, {name: data}, {name: old}, {name: cd, cdrom: /y.iso}]\n",
                   "SET disks.cd.cdrom /x.iso -> /y.iso\n");
    assert_changes("disks: [{name: root}, {name: data}, {name: old}, {name: cd, cdrom: }]\n",
                   "SET disks.cd.cdrom /x.iso -> \"\"\n");
}

static void a_device_too_many_needs_prune(void **state) {
    (void)state;
    static const char want[] = "disks: [{name: root}]\nnetworks: []\n";
    vmctl_error *err = NULL;
    int code = 0;
    char *found = changes(HAVE, want, false, &code, &err);
    assert_int_equal(code, VMCTL_E_CONFLICT);
    assert_int_equal(vmctl_error_code(err), VMCTL_E_CONFLICT);
    assert_int_equal(vmctl_error_fault_count(err), 4); /* data, old, cd, net: all at once */
    assert_string_equal(vmctl_error_fault(err, 0)->path, "disks");
    assert_int_equal(vmctl_error_fault(err, 0)->line, 1);
    assert_string_equal(vmctl_error_fault(err, 3)->path, "networks");
    assert_int_equal(vmctl_error_fault(err, 3)->line, 2);
    free(found);
    vmctl_error_free(err);
    err = NULL;
    found = changes(HAVE, want, true, &code, &err);
    assert_int_equal(code, 0);
    assert_string_equal(
        found,
        "REMOVE disks.data {name: data, size: 1GiB} -> -\n"
        "REMOVE disks.old {name: old, volume: default/old.qcow2} -> -\n"
        "REMOVE disks.cd {name: cd, cdrom: /x.iso} -> -\n"
        "REMOVE networks.net {name: net, type: nat, mac: \"52:54:00:00:00:01\", forward: [\"1:2\", \"3:4\"]} -> -\n");
    free(found);
}

static void data_is_not_lost(void **state) {
    (void)state;
    static const struct {
        const char *disk;
        int code;
        const char *path;
    } table[] = {
        {"{name: root, size: 10GiB}", VMCTL_E_DATA_LOSS_PREVENTED, "disks.root.size"},
        {"{name: root, image: /b.qcow2}", VMCTL_E_DATA_LOSS_PREVENTED, "disks.root.image"},
        {"{name: root, volume: p/v}", VMCTL_E_DATA_LOSS_PREVENTED, "disks.root.volume"},
        {"{name: root, backing: /b.qcow2}", VMCTL_E_DATA_LOSS_PREVENTED, "disks.root.backing"},
        {"{name: root, cdrom: /b.iso}", VMCTL_E_DATA_LOSS_PREVENTED, "disks.root.cdrom"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char want[128];
        snprintf(want, sizeof want, "disks:\n  - %s\n", table[i].disk);
        vmctl_error *err = NULL;
        int code = 0;
        char *found = changes("disks: [{name: root, image: /a.qcow2, size: 20GiB}]\n", want, true, &code, &err);
        assert_int_equal(code, table[i].code);
        assert_int_equal(vmctl_error_code(err), table[i].code);
        assert_int_equal(vmctl_error_fault_count(err), 1);
        assert_string_equal(vmctl_error_fault(err, 0)->path, table[i].path);
        assert_int_equal(vmctl_error_fault(err, 0)->line, 2);
        free(found);
        vmctl_error_free(err);
    }
}

static void data_loss_is_told_before_conflicts(void **state) {
    (void)state;
    vmctl_error *err = NULL;
    int code = 0;
    char *found = changes(HAVE, "disks:\n  - {name: root, size: 1GiB}\n", false, &code, &err);
    assert_int_equal(code, VMCTL_E_DATA_LOSS_PREVENTED);
    assert_int_equal(vmctl_error_fault_count(err), 4);
    free(found);
    vmctl_error_free(err);
}

static void an_image_is_compared_by_its_origin(void **state) {
    (void)state;
    vmctl_spec *have = load_part("disks: [{name: root, image: 'https://example.org/a.qcow2'}]\n");
    vmctl_spec *want = load_part("disks: [{name: root, image: /cache/a.qcow2}]\n");
    vmctl_diff *diff = NULL;
    assert_int_equal(vmctl_spec_diff(have, want, NULL, &diff, NULL), VMCTL_E_DATA_LOSS_PREVENTED);
    vmc_spec_set_origin(want, "disks.root.image", "https://example.org/a.qcow2");
    assert_int_equal(vmctl_spec_diff(have, want, NULL, &diff, NULL), 0);
    assert_int_equal(vmctl_diff_count(diff), 0);
    vmctl_diff_free(diff);
    vmctl_spec_free(have);
    vmctl_spec_free(want);
}

/* The origin is written on the VM, where others read it; the same file still changes nothing. */
static void an_origin_has_no_secrets(void **state) {
    (void)state;
    vmctl_spec *have = load_part("disks: [{name: root, image: /cache/a.qcow2}]\n");
    vmctl_spec *want = load_part("disks: [{name: root, image: 'https://ann:pw1@example.org/a.qcow2?token=pw2&v=1'}]\n");
    vmctl_spec *other = load_part("disks: [{name: root, image: 'https://ann:pw1@example.org/b.qcow2?token=pw2'}]\n");
    vmctl_diff *diff = NULL;
    vmctl_error *err = NULL;
    vmc_spec_set_origin(have, "disks.root.image", "https://ann:pw1@example.org/a.qcow2?token=pw2&v=1");
    assert_string_equal(vmc_spec_origin(have, "disks[0].image"), "https://example.org/a.qcow2?token=***&v=1");
    assert_int_equal(vmctl_spec_diff(have, want, NULL, &diff, NULL), 0);
    assert_int_equal(vmctl_diff_count(diff), 0);
    vmctl_diff_free(diff);
    diff = NULL;
    assert_int_equal(vmctl_spec_diff(want, other, NULL, &diff, &err), VMCTL_E_DATA_LOSS_PREVENTED);
    assert_null(strstr(vmctl_error_text(err), "pw1"));
    assert_null(strstr(vmctl_error_text(err), "pw2"));
    vmctl_error_free(err);
    vmctl_spec_free(have);
    vmctl_spec_free(want);
    vmctl_spec_free(other);
}

static void another_name_is_no_change(void **state) {
    (void)state;
    vmctl_error *err = NULL;
    int code = 0;
    char *found = changes("name: a\n", "name: b\n", false, &code, &err);
    assert_int_equal(code, VMCTL_E_INVALID_ARGUMENT);
    assert_string_equal(vmctl_error_next(err), "rename it first: vmctl rename a b");
    free(found);
    vmctl_error_free(err);
}

static void native_documents_are_not_compared(void **state) {
    (void)state;
    vmctl_error *err = NULL;
    int code = 0;
    char *found = changes("<domain/>", "name: b\n", false, &code, &err);
    assert_int_equal(code, VMCTL_E_UNSUPPORTED);
    free(found);
    vmctl_error_free(err);
}

/* By vmc_change_place's contract. */
static void assert_place(vmctl_change_action action, const char *path, const char *wanted) {
    vmctl_diff *diff = vmc_diff_of(action, path, NULL);
    char *list = NULL, *name = NULL, *key = NULL;
    vmc_change_place(vmctl_diff_at(diff, 0), &list, &name, &key);
    VMC_AUTO_FREE char *found = vmc_printf("%s|%s|%s", list, name ? name : "-", key ? key : "-");
    assert_string_equal(found, wanted);
    free(list);
    free(name);
    free(key);
    vmctl_diff_free(diff);
}

static void a_change_has_its_place(void **state) {
    (void)state;
    assert_place(VMCTL_CHANGE_SET, "disks.root.size", "disks|root|size");
    assert_place(VMCTL_CHANGE_SET, "memory.size", "memory|-|size");
    assert_place(VMCTL_CHANGE_SET, "description", "description|-|-");
    assert_place(VMCTL_CHANGE_SET, "labels.example.com/a.b", "labels|-|example.com/a.b");
    assert_place(VMCTL_CHANGE_SET, "cloudInit.userData.file", "cloudInit|-|userData.file");
    assert_place(VMCTL_CHANGE_ADD, "disks.data", "disks|data|-");
    assert_place(VMCTL_CHANGE_REMOVE, "usb.stick", "usb|stick|-");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_spec_differs_from_itself_in_nothing),
        cmocka_unit_test(an_absent_key_is_not_managed),
        cmocka_unit_test(values_that_differ_are_set),
        cmocka_unit_test(numbers_compare_by_value),
        cmocka_unit_test(what_means_the_same_is_no_change),
        cmocka_unit_test(what_only_the_making_needs_is_not_compared),
        cmocka_unit_test(defaults_do_not_count),
        cmocka_unit_test(items_are_matched_by_name),
        cmocka_unit_test(a_device_too_many_needs_prune),
        cmocka_unit_test(data_is_not_lost),
        cmocka_unit_test(data_loss_is_told_before_conflicts),
        cmocka_unit_test(an_image_is_compared_by_its_origin),
        cmocka_unit_test(an_origin_has_no_secrets),
        cmocka_unit_test(another_name_is_no_change),
        cmocka_unit_test(native_documents_are_not_compared),
        cmocka_unit_test(a_change_has_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
