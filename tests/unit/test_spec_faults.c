/* Documents with faults: each is told with its file, line, column and path, all of them at once. */
#include "spec_test.h"

/* What is required, so that the rows below show only their own faults. */
#define HEAD "name: a\nmemory: 1GiB\ndisks: []\n" /* lines 1 to 3 */

static const struct {
    const char *text;
    const char *faults; /* as vmctl_error_text has them without the file, one a line */
} table[] = {
    /* required keys */
    {"cpus: 1\n", "1:1: name: a VM needs a name\n"
                  "1:1: memory.size: a VM needs memory, such as memory: 2GiB\n"
                  "1:1: disks: a VM needs disks, or boot: to say what it boots from instead\n"},
    {"name: a\nmemory:\n  max: 1GiB\nboot: {}\n", "2:1: memory.size: a VM needs memory, such as memory: 2GiB\n"},
    {"", "1:1: the text is empty: a VM needs at least name, memory and disks or boot\n"},
    {"# nothing\n---\n", "1:1: the text is empty: a VM needs at least name, memory and disks or boot\n"},
    {"just words\n", "1:1: a map of keys and values is expected, not a value\n"},
    {"- name: a\n", "1:1: a map of keys and values is expected, not a list\n"},
    /* unknown keys */
    {HEAD "mahcine: q35\n", "4:1: mahcine: unknown key \"mahcine\"; did you mean \"machine\"?\n"},
    {HEAD "xyzzyplugh: 1\n", "4:1: xyzzyplugh: unknown key \"xyzzyplugh\"\n"},
    {HEAD "networks:\n  - name: n\n    typ: nat\n",
     "6:5: networks[0].typ: unknown key \"typ\"; did you mean \"type\"?\n"},
    {HEAD "cloudInit: {userData: {fiel: x, file: y}}\n",
     "4:24: cloudInit.userData.fiel: unknown key \"fiel\"; did you mean \"file\"?\n"},
    /* types and units */
    {"name: a\nmemory: 2048\ndisks: []\n", "2:9: memory.size: 2048 has no unit: write 2048MiB if that is meant\n"},
    {"name: a\nmemory: {size: 1GiB, max: 2}\ndisks: []\n",
     "2:27: memory.max: 2 has no unit: write 2GiB if that is meant\n"},
    {"name: a\nmemory: 1MB\ndisks: []\n", "2:9: memory.size: too small: 1MiB is the smallest\n"},
    {"name: a\nmemory: [1GiB]\ndisks: []\n", "2:9: memory: a map of keys and values is expected, not a list\n"},
    {HEAD "lifetime: 30\n", "4:11: lifetime: 30 has no unit: write 30s if that is meant\n"},
    {HEAD "cpus: two\n", "4:7: cpus.count: \"two\" is not a whole number\n"},
    {HEAD "cpus: 1.5\n", "4:7: cpus.count: \"1.5\" is not a whole number\n"},
    {HEAD "cpus: 5000\n", "4:7: cpus.count: too large: 4096 is the largest\n"},
    {HEAD "cpus: 99999999999999999999\n", "4:7: cpus.count: 99999999999999999999 is out of range\n"},
    {HEAD "rng: 1\n", "4:6: rng: \"1\" is not true or false\n"},
    {HEAD "guest: windos\n", "4:8: guest: \"windos\" is not one of linux, windows, other; did you mean \"windows\"?\n"},
    {HEAD "labels: x\n", "4:9: labels: a map of strings is expected, not a value\n"},
    {HEAD "labels: {a: [1]}\n", "4:13: labels.a: a string is expected\n"},
    {HEAD "boot: {order: {a: b}}\n", "4:15: boot.order: a list of strings is expected, not a map\n"},
    {"name: a\nmemory: 1GiB\ndisks: {root: {size: 1GiB}}\n",
     "3:8: disks: a list of maps, each beginning with \"- \" is expected, not a map\n"},
    {"name: a\nmemory: 1GiB\ndisks: [root]\n", "3:9: disks[0]: a map is expected, such as {name: NAME}\n"},
    {"name: [a]\nmemory: 1GiB\ndisks: []\n", "1:7: name: a string is expected, not a list\n"},
    {HEAD "arch: \"x\\u0007\"\n", "4:7: arch: a control character is not possible here\n"},
    {HEAD "arch: |\n  two\n  lines\n", "4:1: arch: a line break is not possible here\n"},
    {HEAD "1: x\n? [a, b]\n: c\n", "4:1: 1: unknown key \"1\"\n5:3: a key must be a string\n"},
    /* names */
    {"name: a/b\nmemory: 1GiB\ndisks: []\n", "1:7: name: the name \"a/b\" has a \"/\" in it\n"},
    {"name: -a\nmemory: 1GiB\ndisks: []\n",
     "1:7: name: the name \"-a\" begins with \"-\" and would be taken for an option\n"},
    {"name: ' a'\nmemory: 1GiB\ndisks: []\n", "1:7: name: the name \" a\" has white space at its ends\n"},
    {"name: ''\nmemory: 1GiB\ndisks: []\n", "1:7: name: a name cannot be empty\n"},
    {"name: ..\nmemory: 1GiB\ndisks: []\n", "1:7: name: \"..\" cannot be a name\n"},
    /* twice */
    {"name: a\nmemory: 1GiB\ndisks: []\nname: b\n",
     "4:1: name: the key \"name\" is given twice; it was given in line 1 before\n"},
    {HEAD "labels:\n  x: 1\n  y: 2\n  x: 3\n",
     "7:3: labels.x: the key \"x\" is given twice; it was given in line 5 before\n"},
    {HEAD "networks:\n  - {name: n, type: nat}\n  - {name: n, type: nat}\n",
     "6:6: networks[1].name: the name \"n\" is taken by the one in line 5\n"},
    {"name: a\nmemory: 1GiB\ndisks: [{name: x, size: 1GiB}]\nnetworks: [{name: x}]\n",
     "4:13: networks[0].name: the name \"x\" is taken by the one in line 3\n"},
    {HEAD "---\nname: a\nmemory: 1GiB\ndisks: []\n",
     "5:1: name: a VM \"a\" is described twice; the first is in line 1\n"},
    /* numbers that do not fit each other */
    {HEAD "cpus: {count: 4, max: 2}\n", "4:18: cpus.max: 2 is less than the count of 4\n"},
    {HEAD "cpus: {count: 4, sockets: 1, cores: 3}\n",
     "4:18: cpus.sockets: sockets, cores and threads make 3 CPUs, but count is 4\n"},
    {"name: a\nmemory: {size: 2GiB, max: 1GiB}\ndisks: []\n", "2:22: memory.max: 1GiB is less than the size of 2GiB\n"},
    /* disks */
    {"name: a\nmemory: 1GiB\ndisks:\n  - name: x\n",
     "4:5: disks[0]: a disk needs image, backing, volume or cdrom, or a size to be a blank one\n"},
    {"name: a\nmemory: 1GiB\ndisks:\n  - {name: x, image: i, volume: v}\n",
     "4:25: disks[0].volume: a disk has one of image, backing, volume and cdrom; this one has image already\n"},
    {"name: a\nmemory: 1GiB\ndisks:\n  - {name: x, cdrom: i, size: 1GiB}\n",
     "4:25: disks[0].size: an optical drive has no size\n"},
    {"name: a\nmemory: 1GiB\ndisks:\n  - {name: x, image: ''}\n",
     "4:22: disks[0].image: a file's name cannot be empty\n"},
    {"name: a\nmemory: 1GiB\ndisks:\n  - {name: x, size: 1GiB, bus: virtoi}\n",
     "4:32: disks[0].bus: \"virtoi\" is not one of virtio, scsi, sata, nvme, ide, usb; did you mean \"virtio\"?\n"},
    {"name: a\nmemory: 1GiB\ndisks: [{name: root, size: 1GiB}]\nboot: {order: [rot, net0, net0]}\n",
     "4:16: boot.order[0]: no disk or network card is named \"rot\"; did you mean \"root\"?\n"
     "4:27: boot.order[2]: the device \"net0\" is taken by the one in line 4\n"},
    {HEAD "networks: []\nboot: {order: [net0]}\n", "5:16: boot.order[0]: no disk or network card is named \"net0\"\n"},
    {HEAD "boot: {initrd: i, cmdline: c}\n",
     "4:8: boot.initrd: initrd needs a kernel beside it\n4:19: boot.cmdline: cmdline needs a kernel beside it\n"},
    {HEAD "firmware: {secureBoot: true}\n", "4:12: firmware.secureBoot: secure boot needs type: uefi\n"},
    /* networks */
    {HEAD "networks: [{type: bridge}]\n", "4:13: networks[0].type: type bridge needs a source: which one\n"},
    {HEAD "networks: [{source: br0}]\n",
     "4:13: networks[0].source: a source needs a type: bridge, network, portgroup or multus\n"},
    {HEAD "networks: [{type: bridge, source: b, forward: ['1:2']}]\n",
     "4:38: networks[0].forward: ports are forwarded by type nat and user only, not by bridge\n"},
    {HEAD "networks: [{type: nat, vlan: 4}]\n", "4:24: networks[0].vlan: type nat has no VLANs\n"},
    {HEAD "networks: [{type: bridge, source: b, vlan: 4095}]\n",
     "4:44: networks[0].vlan: too large: 4094 is the largest\n"},
    {HEAD "networks: [{mac: 52-54-00-00-00}]\n",
     "4:18: networks[0].mac: \"52-54-00-00-00\" is not a MAC address such as 52:54:00:12:34:56\n"},
    {HEAD "networks: [{mac: 01:54:00:00:00:01}]\n",
     "4:18: networks[0].mac: 01:54:00:00:00:01 is a multicast address: the second digit must be even\n"},
    {HEAD "networks:\n  - {mac: 52:54:00:00:00:0A}\n  - {mac: 52-54-00-00-00-0a}\n",
     "6:6: networks[1].mac: the address \"52:54:00:00:00:0a\" is taken by the one in line 5\n"},
    {HEAD "networks: [{type: nat, forward: ['99999:1']}]\n",
     "4:34: networks[0].forward[0]: \"99999:1\" is not a port forward: write [tcp:|udp:][ADDRESS:]LOCAL:GUEST, such as "
     "\"2222:22\"\n"},
    {HEAD "networks: [{type: nat, forward: ['22:1', 'udp:22:2', '[::1]:22:3', '127.0.0.1:22:4', 'tcp:22:5']}]\n",
     "4:86: networks[0].forward[4]: the local port 22 is forwarded twice\n"},
    /* the rest */
    {HEAD "gpus: [{pci: 65:00.0}, {}, {pci: '0000:65:00.0', device: '10de:20b0'}]\n",
     "4:9: gpus[0].pci: \"65:00.0\" is not a PCI address such as 0000:65:00.0\n"
     "4:24: gpus[1]: a GPU needs pci, device, resource, profile or any\n"
     "4:50: gpus[2].device: a GPU has one of pci, device, resource and any; this one has pci already\n"},
    {HEAD "shares: [{name: s}]\n", "4:10: shares[0]: a share needs a path: the folder\n"},
    {HEAD "cloudInit: {userData: {file: f, inline: i}, networkData: {}}\n",
     "4:33: cloudInit.userData.inline: file and inline exclude each other\n"
     "4:45: cloudInit.networkData: networkData needs file or inline\n"},
    {HEAD "serial: {log: ../x}\n", "4:10: serial.log: a file's name in the VM's own folder is meant, without \"/\"\n"},
    {HEAD "unattend: {file: x}\n", "4:1: unattend: unattend is for guest: windows\n"},
    {HEAD "labels: {'': x, 'a b': y}\n",
     "4:10: labels.: a label needs a key\n4:17: labels.a b: a label's key has no space, \"=\" or \",\" in it\n"},
    {HEAD "backend: libvirt\ncontext: lab\n",
     "5:1: context: a context names its backend: leave either backend or context out\n"},
    {HEAD "count: 2\nnetworks: [{mac: 52:54:00:00:00:01}]\n",
     "5:13: networks[0].mac: 2 VMs cannot have the same address: leave mac out, or count\n"},
    {HEAD "cloudInit: {sshKeys: ['-----BEGIN OPENSSH PRIVATE KEY-----']}\n",
     "4:23: cloudInit.sshKeys[0]: this is a private key; the public one is meant\n"},
    /* YAML itself */
    {"name: a\n\tmemory: 1GiB\n", "2:1: a tab indents this line: YAML takes spaces only\n"},
    {"{\"name\": \"a\", \"memory\": \"1GiB\", \"boot\": {}}\n{\"name\": \"b\"}\n",
     "2:1: the document has ended before this: another one begins with \"---\"\n"},
    {HEAD "labels: {a: *b}\n", "4:13: no anchor &b before this alias\n"},
    {HEAD "labels: &l {a: *l}\n", "4:16: the alias *l stands inside what it is an alias of\n"},
    {HEAD "arch: !ruby/object x\n", "4:7: the tag \"!ruby/object\" means nothing here: leave it out\n"},
    {HEAD "labels: {<<: 1}\n", "4:14: labels: \"<<\" takes a map or a list of maps, such as *NAME of an &NAME\n"},
    {HEAD "arch: \"\\0\"\n", "4:7: an escape in this string stands for no character that can be used\n"},
    {"name: a\nmemory: @\n---\nname: b\n",
     "2:9: plain scalar cannot start with '@'\n"
     "4:1: memory.size: a VM needs memory, such as memory: 2GiB\n"
     "4:1: disks: a VM needs disks, or boot: to say what it boots from instead\n"},
    /* native documents */
    {"apiVersion: v1\nkind: Pod\n", "1:13: apiVersion: a Kubernetes object \"Pod\" of \"v1\" is no VM: only kind "
                                    "VirtualMachine of kubevirt.io is taken\n"},
    {HEAD "---\napiVersion: kubevirt.io/v1\nkind: VirtualMachineInstance\n",
     "6:7: kind: a Kubernetes object \"VirtualMachineInstance\" of \"kubevirt.io/v1\" is no VM: only kind "
     "VirtualMachine of "
     "kubevirt.io is taken\n"},
    {"<?xml version='1.0'?>\n<network/>\n", "2:1: this is XML, but no libvirt <domain>\n"},
    {"<domainsnapshot/>\n", "1:1: this is XML, but no libvirt <domain>\n"},
};

static char *told(const vmctl_error *err) {
    VMC_AUTO_STR text = {0};
    for (size_t i = 0; i < vmctl_error_fault_count(err); i++) {
        const vmctl_fault *fault = vmctl_error_fault(err, i);
        assert_string_equal(fault->file, "t.yaml");
        vmc_str_printf(&text, "%u:%u: ", fault->line, fault->column);
        if (fault->path)
            vmc_str_printf(&text, "%s: ", fault->path);
        vmc_str_printf(&text, "%s\n", fault->message);
    }
    return vmc_str_take(&text);
}

static vmctl_error *load_bad(const char *text) {
    vmctl_spec_load_options options = VMCTL_SPEC_LOAD_OPTIONS_INIT;
    options.file_name = "t.yaml";
    options.base_dir = BASE;
    vmctl_spec **list = NULL;
    vmctl_error *err = NULL;
    int rc = vmctl_spec_load(text, strlen(text), &options, &list, NULL, &err);
    if (rc == 0)
        fail_msg("no fault was found in\n%s", text);
    assert_int_equal(rc, VMCTL_E_INVALID_SPEC);
    assert_null(list);
    return err;
}

static void the_table(void **state) {
    (void)state;
    size_t wrong = 0;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        vmctl_error *err = load_bad(table[i].text);
        char *faults = told(err);
        if (strcmp(faults, table[i].faults) != 0) {
            print_error("--- in\n%s--- expected\n%s--- found\n%s", table[i].text, table[i].faults, faults);
            wrong++;
        }
        free(faults);
        vmctl_error_free(err);
    }
    assert_int_equal(wrong, 0);
}

static void the_documents_around_a_fault_of_syntax_are_read(void **state) {
    (void)state;
    vmctl_error *err = load_bad("name: a\nmemory: 1\ndisks: []\n---\nname: [b\n---\nname: c\nmemory: 2\ndisks: []\n");
    assert_int_equal(vmctl_error_fault_count(err), 3);
    assert_int_equal(vmctl_error_fault(err, 0)->line, 2);
    assert_in_range(vmctl_error_fault(err, 1)->line, 5, 6);
    assert_null(vmctl_error_fault(err, 1)->path);
    assert_int_equal(vmctl_error_fault(err, 2)->line, 8);
    vmctl_error_free(err);
}

static void set_and_name_have_no_place(void **state) {
    (void)state;
    static const char *const set[] = {"cpus=x", "memroy=1GiB", "nonsense", NULL};
    vmctl_spec_load_options options = VMCTL_SPEC_LOAD_OPTIONS_INIT;
    options.set = set;
    vmctl_spec **list = NULL;
    vmctl_error *err = NULL;
    static const char text[] = HEAD "---\nname: b\nmemory: 1GiB\ndisks: []\n";
    assert_int_equal(vmctl_spec_load(text, sizeof text - 1, &options, &list, NULL, &err), VMCTL_E_INVALID_SPEC);
    assert_int_equal(vmctl_error_fault_count(err), 3); /* each once, though there are two documents */
    for (size_t i = 0; i < 3; i++) {
        assert_null(vmctl_error_fault(err, i)->file);
        assert_int_equal(vmctl_error_fault(err, i)->line, 0);
    }
    vmctl_error_free(err);
}

static void a_native_document_is_not_changed(void **state) {
    (void)state;
    static const char *const set[] = {"memory=1GiB", NULL};
    vmctl_spec_load_options options = VMCTL_SPEC_LOAD_OPTIONS_INIT;
    options.set = set;
    vmctl_spec **list = NULL;
    assert_int_equal(vmctl_spec_load("<domain/>", 9, &options, &list, NULL, NULL), VMCTL_E_INVALID_SPEC);
}

static void built_from_c_it_is_validated_alike(void **state) {
    (void)state;
    vmctl_spec *spec = vmctl_spec_new();
    vmctl_error *err = NULL;
    set_key(spec, "name", "a");
    set_key(spec, "boot.order", "[x]");
    set_key(spec, "disks.y.cdrom", "");
    assert_int_equal(vmctl_spec_validate(spec, &err), VMCTL_E_INVALID_SPEC);
    assert_int_equal(vmctl_error_fault_count(err), 2);
    assert_null(vmctl_error_fault(err, 0)->file);
    assert_string_equal(vmctl_error_fault(err, 0)->path, "memory.size");
    assert_string_equal(vmctl_error_fault(err, 1)->path, "boot.order[0]");
    vmctl_error_free(err);
    err = NULL;
    set_key(spec, "memory", "1GiB");
    set_key(spec, "boot.order", "[y, net0]");
    assert_int_equal(vmctl_spec_validate(spec, &err), 0);
    assert_null(err);
    vmctl_spec_free(spec);
}

static void an_incomplete_spec_may_lack_what_is_required(void **state) {
    (void)state;
    vmctl_spec *spec = load_part("disks: [{name: root, size: 40GiB}]\nboot: {order: [net7]}\n");
    assert_number(spec, "disks.root.size", INT64_C(40) << 30);
    vmctl_spec_free(spec);
    spec = load_part("networks: [{name: lan, link: down}]\nfirmware: {secureBoot: true}\n");
    vmctl_spec_free(spec);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table),
        cmocka_unit_test(the_documents_around_a_fault_of_syntax_are_read),
        cmocka_unit_test(set_and_name_have_no_place),
        cmocka_unit_test(a_native_document_is_not_changed),
        cmocka_unit_test(built_from_c_it_is_validated_alike),
        cmocka_unit_test(an_incomplete_spec_may_lack_what_is_required),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
