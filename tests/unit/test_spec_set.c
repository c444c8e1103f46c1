/* vmctl_spec_set and --set: the path language of spec.h, removal, and what its errors say. */
#include "spec_test.h"

static void scalars_are_read_by_their_type(void **state) {
    (void)state;
    vmctl_spec *spec = vmctl_spec_new();
    set_key(spec, "name", "web-1");
    set_key(spec, "cpus", "4");
    set_key(spec, "memory", "4GiB");
    set_key(spec, "rng", "on");
    set_key(spec, "lifetime", "90s");
    set_key(spec, "description", "null"); /* a string, whatever YAML would make of it */
    set_key(spec, "labels.a.b/c", "true");
    assert_string_equal(vmctl_spec_name(spec), "web-1");
    assert_number(spec, "cpus.count", 4);
    assert_number(spec, "memory.size", INT64_C(4) << 30);
    assert_true(vmctl_node_boolean(vmctl_spec_root(spec), "rng", false));
    assert_number(spec, "lifetime", 90000);
    assert_text(spec, "description", "null");
    assert_text(spec, "labels.a.b/c", "true");
    vmctl_spec_free(spec);
}

static void a_scalar_for_a_map_keeps_its_other_keys(void **state) {
    (void)state;
    vmctl_spec *spec = load_part("memory: {size: 1GiB, max: 8GiB}\n");
    set_key(spec, "memory", "2GiB");
    assert_number(spec, "memory.size", INT64_C(2) << 30);
    assert_number(spec, "memory.max", INT64_C(8) << 30);
    set_key(spec, "memory", "{size: 3GiB}"); /* the whole map */
    assert_number(spec, "memory.size", INT64_C(3) << 30);
    assert_absent(spec, "memory.max");
    vmctl_spec_free(spec);
}

static void items_by_name_and_index(void **state) {
    (void)state;
    vmctl_spec *spec = vmctl_spec_new();
    set_key(spec, "disk.root.size", "20GiB");
    set_key(spec, "disks.root.bus", "scsi");
    set_key(spec, "disks[0].cache", "none");
    set_key(spec, "disks[1].cdrom", "/a.iso");
    set_key(spec, "disks[2]", "{name: data, size: 1GiB}");
    set_key(spec, "disks.more", "{size: 2GiB}");
    set_key(spec, "nic.lan.link", "down");
    set_key(spec, "gpu.g.pci", "0000:65:00.0");
    set_key(spec, "share.src.path", "/src");
    assert_int_equal(vmctl_node_count(vmctl_node_get(vmctl_spec_root(spec), "disks")), 4);
    assert_number(spec, "disks.root.size", INT64_C(20) << 30);
    assert_text(spec, "disks[0].bus", "scsi");
    assert_text(spec, "disks.root.cache", "none");
    assert_text(spec, "disks.cdrom0.cdrom", "/a.iso");
    assert_number(spec, "disks.data.size", INT64_C(1) << 30);
    assert_number(spec, "disks.more.size", INT64_C(2) << 30);
    assert_text(spec, "networks.lan.link", "down");
    assert_text(spec, "gpus.g.pci", "0000:65:00.0");
    assert_text(spec, "shares.src.path", "/src");
    set_key(spec, "disks.data", "{size: 9GiB}"); /* replaced as a whole */
    assert_number(spec, "disks[2].size", INT64_C(9) << 30);
    set_key(spec, "disks.data.name", "renamed");
    assert_number(spec, "disks.renamed.size", INT64_C(9) << 30);
    vmctl_spec_free(spec);
}

static void names_with_dots_are_found(void **state) {
    (void)state;
    vmctl_spec *spec = load_part(
        "networks: [{name: 52:54:00:00:00:01, type: nat}, {name: eth0, type: nat}, {name: eth0.100, type: nat}]\n");
    set_key(spec, "nic.eth0.100.mtu", "9000");
    set_key(spec, "nic.52:54:00:00:00:01.mtu", "1400");
    assert_number(spec, "networks[2].mtu", 9000);
    assert_number(spec, "networks[0].mtu", 1400);
    assert_absent(spec, "networks[1].mtu");
    vmctl_spec_free(spec);
}

static void lists_are_yaml(void **state) {
    (void)state;
    vmctl_spec *spec = vmctl_spec_new();
    set_key(spec, "disks", "[{name: a, size: 1GiB}, {name: b, size: 2GiB}]");
    set_key(spec, "networks", "[]");
    set_key(spec, "boot.order", "[b, a]");
    set_key(spec, "cloudInit.sshKeys", "ssh-ed25519 AAAA me");
    set_key(spec, "virtualbox.modifyvm", "{vram: 64}");
    set_key(spec, "vsphere.extraConfig.svga.autodetect", "TRUE");
    assert_number(spec, "disks.b.size", INT64_C(2) << 30);
    assert_non_null(vmctl_node_get(vmctl_spec_root(spec), "networks"));
    assert_int_equal(vmctl_node_count(vmctl_node_get(vmctl_spec_root(spec), "networks")), 0);
    assert_text(spec, "boot.order[0]", "b");
    assert_text(spec, "cloudInit.sshKeys[0]", "ssh-ed25519 AAAA me");
    assert_number(spec, "virtualbox.modifyvm.vram", 64);
    assert_true(vmctl_node_boolean(vmctl_spec_root(spec), "vsphere.extraConfig.svga.autodetect", false));
    set_key(spec, "boot.order[1]", "net0");
    set_key(spec, "boot.order[2]", "a");
    assert_text(spec, "boot.order[1]", "net0");
    assert_text(spec, "boot.order[2]", "a");
    vmctl_spec_free(spec);
}

static void keys_are_removed(void **state) {
    (void)state;
    vmctl_spec *spec =
        load_part("memory: 1GiB\nlabels: {a: 1, b: 2}\ndisks: [{name: x, size: 1GiB}, {name: y, size: 1GiB}]\n");
    set_key(spec, "memory.size", NULL);
    assert_absent(spec, "memory");
    set_key(spec, "labels.a", NULL);
    assert_absent(spec, "labels.a");
    assert_text(spec, "labels.b", "2");
    set_key(spec, "disk.x", NULL);
    assert_int_equal(vmctl_node_count(vmctl_node_get(vmctl_spec_root(spec), "disks")), 1);
    assert_number(spec, "disks[0].size", INT64_C(1) << 30);
    set_key(spec, "disks[0]", NULL);
    assert_non_null(vmctl_node_get(vmctl_spec_root(spec), "disks")); /* an empty list says: none */
    set_key(spec, "cpus", NULL);                                     /* was not there */
    vmctl_spec_free(spec);
}

static void without_a_way_through_text(void **state) {
    (void)state;
    vmctl_spec *spec = vmctl_spec_new();
    vmctl_error *err = NULL;
    assert_int_equal(vmc_spec_set_integer(spec, "memory", INT64_C(1) << 30, &err), 0);
    assert_int_equal(vmc_spec_set_integer(spec, "disks.root.size", 4096, &err), 0);
    assert_int_equal(vmc_spec_set_boolean(spec, "rng", false, &err), 0);
    assert_number(spec, "memory.size", INT64_C(1) << 30);
    assert_number(spec, "disks.root.size", 4096);
    assert_int_equal(vmctl_node_kind(vmctl_node_get(vmctl_spec_root(spec), "rng")), VMCTL_KIND_BOOLEAN);
    assert_int_equal(vmc_spec_set_integer(spec, "rng", 1, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_int_equal(vmc_spec_set_integer(spec, "cpus.count", 0, &err), VMCTL_E_INVALID_ARGUMENT);
    vmctl_error_free(err);
    vmctl_spec_free(spec);
}

static void faults(void **state) {
    (void)state;
    static const struct {
        const char *path, *value, *message;
    } table[] = {
        {"cpus.cout", "1", "cpus.cout: unknown key \"cout\"; did you mean \"cpus.count\"?"},
        {"memroy", "1GiB", "memroy: unknown key \"memroy\"; did you mean \"memory\"?"},
        {"disk.root.siez", "1GiB", "disk.root.siez: unknown key \"siez\"; did you mean \"disk.root.size\"?"},
        {"memory", "2048", "memory: 2048 has no unit: write 2048MiB if that is meant"},
        {"disks.root.size", "20", "disks.root.size: 20 has no unit: write 20GiB if that is meant"},
        {"lifetime", "30", "lifetime: 30 has no unit: write 30s if that is meant"},
        {"cpus", "0", "cpus: too small: 1 is the smallest"},
        {"cpus", "many", "cpus: \"many\" is not a whole number"},
        {"rng", "maybe", "rng: \"maybe\" is not true or false"},
        {"guest", "windws", "guest: \"windws\" is not one of linux, windows, other; did you mean \"windows\"?"},
        {"disks[1].size", "1GiB", "disks[1].size: there is no item 1: the next one is [0]"},
        {"disks.-x.size", "1GiB", "disks.-x.size: the name \"-x\" begins with \"-\" and would be taken for an option"},
        {"name.x", "1", "name.x: \"name\" has no keys below it"},
        {"name[0]", "1", "name[0]: only lists have an index"},
        {"", "1", ": a key is missing"},
        {"cpus.", "1", "cpus.: a key is missing at the end"},
        {"disks", "{}", "disks: a list of maps, each beginning with \"- \" is expected, not a map"},
        {"disks.a", "{name: b, size: 1GiB}", "disks.a: the item is named \"b\" in the value and \"a\" in the key"},
        {"disks[0]", "{siz: 1GiB}", "disks[0]: [0].siz: unknown key \"siz\"; did you mean \"size\"?"},
        {"networks.a.mac", "53:54:00:00:00:01",
         "networks.a.mac: 53:54:00:00:00:01 is a multicast address: the second digit must be even"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        vmctl_spec *spec = vmctl_spec_new();
        vmctl_error *err = NULL;
        assert_int_equal(vmctl_spec_set(spec, table[i].path, table[i].value, &err), VMCTL_E_INVALID_ARGUMENT);
        assert_string_equal(vmctl_error_message(err), table[i].message);
        assert_int_equal(vmctl_node_count(vmctl_spec_root(spec)), 0); /* nothing half made */
        vmctl_error_free(err);
        vmctl_spec_free(spec);
    }
}

static void a_native_document_is_not_set(void **state) {
    (void)state;
    vmctl_spec *spec = load_part("<domain/>");
    assert_int_equal(vmctl_spec_set(spec, "name", "x", NULL), VMCTL_E_INVALID_ARGUMENT);
    vmctl_spec_free(spec);
}

static void a_set_value_is_no_default_any_more(void **state) {
    (void)state;
    vmctl_spec *spec = load_part("name: a\n");
    vmc_spec_complete(spec, "nat");
    assert_true(vmctl_node_is_default(vmctl_node_get(vmctl_spec_root(spec), "cpus")));
    set_key(spec, "cpus", "2");
    set_key(spec, "nic.net0.link", "down");
    char *text = text_of(spec, VMCTL_FORMAT_YAML, false);
    assert_string_equal(text, "name: a\ncpus: 2\nnetworks:\n  - link: down\n");
    vmctl_string_free(text);
    vmctl_spec_free(spec);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars_are_read_by_their_type),
        cmocka_unit_test(a_scalar_for_a_map_keeps_its_other_keys),
        cmocka_unit_test(items_by_name_and_index),
        cmocka_unit_test(names_with_dots_are_found),
        cmocka_unit_test(lists_are_yaml),
        cmocka_unit_test(keys_are_removed),
        cmocka_unit_test(without_a_way_through_text),
        cmocka_unit_test(faults),
        cmocka_unit_test(a_native_document_is_not_set),
        cmocka_unit_test(a_set_value_is_no_default_any_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
