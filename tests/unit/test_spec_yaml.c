/* vm.yaml as the command line's contract describes it, key by key; expectations are from that page and from YAML 1.2. */
#include "spec_test.h"

#define EXAMPLE                                                                                                        \
    "name: web-1\n"                                                                                                    \
    "backend: libvirt\n"                                                                                               \
    "labels: {team: infra}\n"                                                                                          \
    "description: front end\n"                                                                                         \
    "arch: x86_64\n"                                                                                                   \
    "cpus: {count: 4, sockets: 1, cores: 2, threads: 2, model: host, max: 8}\n"                                        \
    "memory: {size: 2GiB, max: 8GiB, hugepages: true}\n"                                                               \
    "guest: linux\n"                                                                                                   \
    "machine: q35\n"                                                                                                   \
    "firmware: {type: uefi, secureBoot: true, tpm: true}\n"                                                            \
    "confidential: none\n"                                                                                             \
    "accel: auto\n"                                                                                                    \
    "boot: {order: [root, installer]}\n"                                                                               \
    "disks:\n"                                                                                                         \
    "  - name: root\n"                                                                                                 \
    "    image: ./debian-12.qcow2      # copied\n"                                                                     \
    "    size: 20GiB\n"                                                                                                \
    "    bus: virtio\n"                                                                                                \
    "    pool: fast\n"                                                                                                 \
    "    cache: none\n"                                                                                                \
    "  - {name: linked, backing: ./base.qcow2}\n"                                                                      \
    "  - {name: db, volume: fast/db-1}\n"                                                                              \
    "  - {name: data, size: 100GiB, format: qcow2}\n"                                                                  \
    "  - {name: installer, cdrom: ./debian.iso}\n"                                                                     \
    "networks:\n"                                                                                                      \
    "  - {name: lan, type: bridge, source: br0, model: virtio, mac: \"52:54:00:12:34:56\", vlan: 12, mtu: 1500}\n"     \
    "  - {name: out, type: nat, forward: [\"2222:22\"]}\n"                                                             \
    "gpus:\n"                                                                                                          \
    "  - {name: gpu0, pci: \"0000:65:00.0\"}\n"                                                                        \
    "shares: [{name: src, path: ./src, type: virtiofs}]\n"                                                             \
    "display: {type: vnc, video: virtio, gl: false, listen: 127.0.0.1}\n"                                              \
    "serial: {log: web-1.log}\n"                                                                                       \
    "cloudInit: {hostname: web-1, user: ci, sshKeys: [./id.pub], userData: {file: ./user-data.yaml}, networkData: "    \
    "{inline: \"...\"}}\n"                                                                                             \
    "guestAgent: true\n"                                                                                               \
    "rng: true\n"                                                                                                      \
    "watchdog: reset\n"                                                                                                \
    "autostart: false\n"                                                                                               \
    "lifetime: 2h\n"                                                                                                   \
    "count: 1\n"                                                                                                       \
    "placement: {host: , cluster: , datastore: , folder: , resourcePool: , namespace: , storageClass: , "              \
    "nodeSelector: {}}\n"                                                                                              \
    "libvirt: {xmlPatch: , qemuArgs: []}\n"                                                                            \
    "virtualbox: {modifyvm: {}, extraData: {}}\n"                                                                      \
    "vsphere: {extraConfig: {}, configSpec: {}}\n"                                                                     \
    "kubevirt: {patch: [], instancetype: , preference: }\n"

static vmctl_spec *load_example(void) {
    size_t count = 0;
    vmctl_spec **list = load_all(EXAMPLE, NULL, false, &count);
    assert_int_equal(count, 1);
    vmctl_spec *spec = list[0];
    free(list);
    return spec;
}

static void every_key_of_the_contract(void **state) {
    (void)state;
    vmctl_spec *spec = load_example();
    assert_string_equal(vmctl_spec_name(spec), "web-1");
    assert_null(vmctl_spec_native(spec, NULL));
    assert_text(spec, "backend", "libvirt");
    assert_text(spec, "labels.team", "infra");
    assert_text(spec, "description", "front end");
    assert_number(spec, "cpus.count", 4);
    assert_number(spec, "cpus.max", 8);
    assert_text(spec, "cpus.model", "host");
    assert_number(spec, "memory.size", INT64_C(2) << 30);
    assert_number(spec, "memory.max", INT64_C(8) << 30);
    assert_true(vmctl_node_boolean(vmctl_spec_root(spec), "memory.hugepages", false));
    assert_text(spec, "firmware.type", "uefi");
    assert_text(spec, "boot.order[0]", "root");
    assert_text(spec, "boot.order[1]", "installer");
    assert_text(spec, "disks.root.image", BASE "/debian-12.qcow2");
    assert_text(spec, "disks[0].image", BASE "/debian-12.qcow2");
    assert_number(spec, "disks.root.size", INT64_C(20) << 30);
    assert_text(spec, "disks.linked.backing", BASE "/base.qcow2");
    assert_text(spec, "disks.db.volume", "fast/db-1");
    assert_text(spec, "disks.installer.cdrom", BASE "/debian.iso");
    assert_text(spec, "networks.lan.mac", "52:54:00:12:34:56");
    assert_number(spec, "networks.lan.vlan", 12);
    assert_text(spec, "networks.out.forward[0]", "2222:22");
    assert_text(spec, "gpus.gpu0.pci", "0000:65:00.0");
    assert_text(spec, "shares.src.path", BASE "/src");
    assert_text(spec, "display.listen", "127.0.0.1");
    assert_text(spec, "cloudInit.sshKeys[0]", BASE "/id.pub");
    assert_text(spec, "cloudInit.userData.file", BASE "/user-data.yaml");
    assert_text(spec, "cloudInit.networkData.inline", "...");
    assert_number(spec, "lifetime", 2 * 3600 * 1000);
    assert_text(spec, "watchdog", "reset");
    assert_false(vmctl_node_boolean(vmctl_spec_root(spec), "autostart", true));
    vmctl_spec_free(spec);
}

static void an_empty_value_is_an_absent_key(void **state) {
    (void)state;
    vmctl_spec *spec = load_example();
    assert_absent(spec, "placement.host");
    assert_absent(spec, "libvirt.xmlPatch");
    assert_absent(spec, "kubevirt.preference");
    assert_int_equal(vmctl_node_kind(vmctl_node_get(vmctl_spec_root(spec), "libvirt.qemuArgs")), VMCTL_KIND_LIST);
    vmctl_spec_free(spec);
    spec = load_part("networks:\ndescription: ~\nmachine: null\ndisks: [{name: cd, cdrom: }]\n");
    assert_absent(spec, "networks");
    assert_absent(spec, "description");
    assert_absent(spec, "machine");
    assert_text(spec, "disks.cd.cdrom", ""); /* a drive without a medium */
    vmctl_spec_free(spec);
}

static void children_are_in_the_order_of_the_document(void **state) {
    (void)state;
    vmctl_spec *spec = load_part("memory: 1GiB\nname: a\ncpus: 2\n");
    const vmctl_node *root = vmctl_spec_root(spec);
    assert_int_equal(vmctl_node_count(root), 3);
    assert_string_equal(vmctl_node_key(vmctl_node_at(root, 0)), "memory");
    assert_string_equal(vmctl_node_key(vmctl_node_at(root, 1)), "name");
    assert_string_equal(vmctl_node_key(vmctl_node_at(root, 2)), "cpus");
    assert_null(vmctl_node_at(root, 3));
    vmctl_spec_free(spec);
}

static void scalars_stand_for_maps(void **state) {
    (void)state;
    vmctl_spec *spec = load_part("memory: 1500MB\ncpus: 3\nfirmware: bios\ndisplay: none\n");
    assert_number(spec, "memory.size", INT64_C(1500000000));
    assert_number(spec, "cpus.count", 3);
    assert_text(spec, "firmware.type", "bios");
    assert_text(spec, "display.type", "none");
    vmctl_spec_free(spec);
}

static void booleans_of_both_yamls(void **state) {
    (void)state;
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"true", true},   {"True", true}, {"yes", true},  {"on", true},     {"ON", true},
                 {"false", false}, {"no", false},  {"off", false}, {"FALSE", false}, {"\"yes\"", true}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        char text[64];
        snprintf(text, sizeof text, "rng: %s\n", words[i].word);
        vmctl_spec *spec = load_part(text);
        assert_int_equal(vmctl_node_kind(vmctl_node_get(vmctl_spec_root(spec), "rng")), VMCTL_KIND_BOOLEAN);
        assert_int_equal(vmctl_node_boolean(vmctl_spec_root(spec), "rng", !words[i].value), words[i].value);
        vmctl_spec_free(spec);
    }
}

static void strings_stay_strings(void **state) {
    (void)state;
    vmctl_spec *spec =
        load_part("name: on\ndescription: 0x10\nlabels: {a: 1, b: true, c: null, d: 1.50, e: '${HOME}'}\n");
    assert_text(spec, "name", "on");
    assert_text(spec, "description", "0x10");
    assert_text(spec, "labels.a", "1");
    assert_text(spec, "labels.b", "true");
    assert_text(spec, "labels.c", "");
    assert_text(spec, "labels.d", "1.50");
    assert_text(spec, "labels.e", "${HOME}");
    vmctl_spec_free(spec);
}

static void free_sections_keep_their_types(void **state) {
    (void)state;
    vmctl_spec *spec =
        load_part("virtualbox:\n  modifyvm: {pae: on, vram: 128, ratio: 1.5, x: true, n: null, q: \"7\", l: [1, b]}\n");
    const vmctl_node *map = vmctl_node_get(vmctl_spec_root(spec), "virtualbox.modifyvm");
    assert_int_equal(vmctl_node_kind(vmctl_node_get(map, "pae")), VMCTL_KIND_STRING);
    assert_int_equal(vmctl_node_integer(map, "vram", 0), 128);
    assert_int_equal(vmctl_node_kind(vmctl_node_get(map, "ratio")), VMCTL_KIND_NUMBER);
    assert_string_equal(vmctl_node_string(map, "ratio", ""), "1.5");
    assert_true(vmctl_node_boolean(map, "x", false));
    assert_non_null(vmctl_node_get(map, "n"));
    assert_int_equal(vmctl_node_kind(vmctl_node_get(map, "n")), VMCTL_KIND_NULL);
    assert_int_equal(vmctl_node_kind(vmctl_node_get(map, "q")), VMCTL_KIND_STRING);
    assert_int_equal(vmctl_node_integer(map, "l[0]", 0), 1);
    assert_string_equal(vmctl_node_string(map, "l[1]", ""), "b");
    vmctl_spec_free(spec);
}

static void paths_are_absolute_and_urls_are_not(void **state) {
    (void)state;
    assert_int_equal(setenv("HOME", "/home/ci", 1), 0);
    vmctl_spec *spec = load_part("disks:\n"
                                 "  - {name: a, image: ../x/a.qcow2}\n"
                                 "  - {name: b, image: 'https://example.org/b.qcow2'}\n"
                                 "  - {name: c, image: ~/c.qcow2}\n"
                                 "  - {name: d, image: /d.qcow2}\n"
                                 "  - {name: e, image: 'library:debian-12'}\n"
                                 "  - {name: f, volume: ./f.qcow2}\n"
                                 "cloudInit: {sshKeys: [ssh-ed25519 AAAA me@here, ~/k.pub]}\n");
    assert_text(spec, "disks.a.image", "/srv/x/a.qcow2");
    assert_text(spec, "disks.b.image", "https://example.org/b.qcow2");
    assert_text(spec, "disks.c.image", "/home/ci/c.qcow2");
    assert_text(spec, "disks.d.image", "/d.qcow2");
    assert_text(spec, "disks.e.image", "library:debian-12");
    assert_text(spec, "disks.f.volume", BASE "/f.qcow2");
    assert_text(spec, "cloudInit.sshKeys[0]", "ssh-ed25519 AAAA me@here");
    assert_text(spec, "cloudInit.sshKeys[1]", "/home/ci/k.pub");
    vmctl_spec_free(spec);
}

static void the_folder_of_the_file_is_the_base(void **state) {
    (void)state;
    vmctl_spec_load_options options = VMCTL_SPEC_LOAD_OPTIONS_INIT;
    options.file_name = "/home/ci/vms/a.yaml";
    options.incomplete = true;
    static const char text[] = "disks: [{name: a, image: a.qcow2}]\n";
    vmctl_spec **list = NULL;
    assert_int_equal(vmctl_spec_load(text, sizeof text - 1, &options, &list, NULL, NULL), 0);
    assert_text(list[0], "disks.a.image", "/home/ci/vms/a.qcow2");
    vmctl_spec_list_free(list);
}

static void aliases_and_merge_keys(void **state) {
    (void)state;
    vmctl_spec *spec = load_part("labels: &l {a: x, b: y}\n"
                                 "disks:\n"
                                 "  - &d {name: one, size: 1GiB, bus: scsi}\n"
                                 "  - {<<: *d, name: two, size: 2GiB}\n"
                                 "  - {name: three, <<: [*d, {cache: none}]}\n"
                                 "placement: {nodeSelector: *l}\n");
    assert_text(spec, "placement.nodeSelector.b", "y");
    assert_number(spec, "disks.one.size", INT64_C(1) << 30);
    assert_number(spec, "disks.two.size", INT64_C(2) << 30);
    assert_text(spec, "disks.two.bus", "scsi");
    assert_number(spec, "disks.three.size", INT64_C(1) << 30);
    assert_text(spec, "disks.three.cache", "none");
    vmctl_spec_free(spec);
    spec = load_part("name: a\nlabels: {'<<': quoted}\n"); /* a quoted "<<" is an ordinary key */
    assert_text(spec, "labels.<<", "quoted");
    vmctl_spec_free(spec);
}

static void locations_are_those_of_the_keys(void **state) {
    (void)state;
    vmctl_spec *spec = load_part("# a comment\nname: a\ndisks:\n  - name: root\n    size: 1GiB\n");
    const char *file = NULL;
    unsigned line = 0, column = 0;
    vmctl_node_location(vmctl_node_get(vmctl_spec_root(spec), "disks.root.size"), &file, &line, &column);
    assert_string_equal(file, "t.yaml");
    assert_int_equal(line, 5);
    assert_int_equal(column, 5);
    char *path = vmctl_node_path(vmctl_node_get(vmctl_spec_root(spec), "disks[0].size"));
    assert_string_equal(path, "disks.root.size");
    vmctl_string_free(path);
    set_key(spec, "cpus", "2");
    vmctl_node_location(vmctl_node_get(vmctl_spec_root(spec), "cpus.count"), &file, &line, &column);
    assert_null(file);
    assert_int_equal(line, 0);
    vmctl_spec_free(spec);
}

static void several_documents(void **state) {
    (void)state;
    size_t count = 0;
    vmctl_spec **list = load_all(
        "---\nname: a\nmemory: 1GiB\nboot: {}\n...\n# between\n---\n---\nname: b\nmemory: 1GiB\ndisks: []\n---\n", NULL,
        false, &count);
    assert_int_equal(count, 2);
    assert_string_equal(vmctl_spec_name(list[0]), "a");
    assert_string_equal(vmctl_spec_name(list[1]), "b");
    assert_null(list[2]);
    vmctl_spec_list_free(list);
}

static void a_count_makes_copies(void **state) {
    (void)state;
    size_t count = 0;
    vmctl_spec **list = load_all("name: web\nmemory: 1GiB\ndisks: []\ncount: 3\n", NULL, false, &count);
    assert_int_equal(count, 3);
    for (size_t i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "web-%zu", i + 1);
        assert_string_equal(vmctl_spec_name(list[i]), name);
        assert_absent(list[i], "count");
        assert_number(list[i], "memory.size", INT64_C(1) << 30);
    }
    vmctl_spec_list_free(list);
    list = load_all("name: web\nmemory: 1GiB\ndisks: []\ncount: 1\n", NULL, false, &count);
    assert_int_equal(count, 1);
    assert_string_equal(vmctl_spec_name(list[0]), "web");
    vmctl_spec_list_free(list);
}

static void set_is_laid_over_every_document(void **state) {
    (void)state;
    static const char *const set[] = {"memory=4GiB", "labels.run=7", NULL};
    size_t count = 0;
    vmctl_spec **list =
        load_all("name: a\nmemory: {size: 1GiB, max: 8GiB}\ndisks: []\n---\nname: b\ndisks: []\n", set, false, &count);
    assert_int_equal(count, 2);
    for (size_t i = 0; i < count; i++) {
        assert_number(list[i], "memory.size", INT64_C(4) << 30);
        assert_text(list[i], "labels.run", "7");
    }
    assert_number(list[0], "memory.max", INT64_C(8) << 30);
    vmctl_spec_list_free(list);
}

static void a_name_for_one_document(void **state) {
    (void)state;
    vmctl_spec_load_options options = VMCTL_SPEC_LOAD_OPTIONS_INIT;
    options.name = "other";
    options.incomplete = true;
    vmctl_spec **list = NULL;
    assert_int_equal(vmctl_spec_load("name: a\n", 8, &options, &list, NULL, NULL), 0);
    assert_string_equal(vmctl_spec_name(list[0]), "other");
    vmctl_spec_list_free(list);
    static const char two[] = "name: a\n---\nname: b\n";
    assert_int_equal(vmctl_spec_load(two, sizeof two - 1, &options, &list, NULL, NULL), VMCTL_E_INVALID_ARGUMENT);
}

static void items_without_a_name_get_one(void **state) {
    (void)state;
    vmctl_spec *spec =
        load_part("disks: [{size: 1GiB}, {cdrom: x.iso}, {size: 2GiB}, {name: disk2, size: 3GiB}, {size: 4GiB}]\n"
                  "networks: [{}, {}]\nboot: {order: [cdrom0, disk1, net1]}\n");
    assert_number(spec, "disks.disk0.size", INT64_C(1) << 30);
    assert_text(spec, "disks.cdrom0.cdrom", BASE "/x.iso");
    assert_number(spec, "disks.disk1.size", INT64_C(2) << 30);
    assert_number(spec, "disks.disk2.size", INT64_C(3) << 30);
    assert_number(spec, "disks.disk3.size", INT64_C(4) << 30);
    assert_non_null(vmctl_node_get(vmctl_spec_root(spec), "networks.net1"));
    assert_true(vmctl_node_is_default(vmctl_node_get(vmctl_spec_root(spec), "disks.disk0.name")));
    assert_false(vmctl_node_is_default(vmctl_node_get(vmctl_spec_root(spec), "disks.disk2.name")));
    vmctl_spec_free(spec);
}

static void completing_fills_in_what_is_absent(void **state) {
    (void)state;
    vmctl_spec *spec = load_part("name: a\nmemory: 1GiB\ndisks: []\n");
    assert_int_equal(vmc_spec_complete(spec, "nat"), 0);
    assert_number(spec, "cpus.count", 1);
    assert_text(spec, "guest", "linux");
    assert_text(spec, "accel", "auto");
    assert_text(spec, "networks.net0.type", "nat");
    static const char *const filled[] = {"cpus.count", "guest", "networks", "networks.net0.type"};
    for (size_t i = 0; i < sizeof filled / sizeof *filled; i++)
        assert_true(vmctl_node_is_default(vmctl_node_get(vmctl_spec_root(spec), filled[i])));
    char *once = text_of(spec, VMCTL_FORMAT_YAML, true);
    assert_int_equal(vmc_spec_complete(spec, "nat"), 0);
    char *twice = text_of(spec, VMCTL_FORMAT_YAML, true);
    assert_string_equal(once, twice);
    char *written = text_of(spec, VMCTL_FORMAT_YAML, false);
    assert_string_equal(written, "name: a\nmemory: 1GiB\ndisks: []\n");
    vmctl_string_free(once);
    vmctl_string_free(twice);
    vmctl_string_free(written);
    vmctl_spec_free(spec);

    spec = load_part("networks: []\ncpus: {sockets: 2, cores: 3}\n");
    assert_int_equal(vmc_spec_complete(spec, "nat"), 0);
    assert_int_equal(vmctl_node_count(vmctl_node_get(vmctl_spec_root(spec), "networks")), 0);
    assert_number(spec, "cpus.count", 6);
    vmctl_spec_free(spec);
}

static void origins_are_remembered(void **state) {
    (void)state;
    vmctl_spec *spec = load_part("disks: [{name: root, image: 'https://example.org/a.qcow2'}]\n");
    assert_null(vmc_spec_origin(spec, "disks.root.image"));
    vmc_spec_set_origin(spec, "disks.root.image", "https://example.org/a.qcow2");
    set_key(spec, "disks.root.image", "/cache/a.qcow2");
    vmctl_spec *copy = vmctl_spec_copy(spec);
    assert_string_equal(vmc_spec_origin(copy, "disks[0].image"), "https://example.org/a.qcow2");
    vmctl_spec_free(copy);
    vmc_spec_set_origin(spec, "disks[0].image", NULL);
    assert_null(vmc_spec_origin(spec, "disks.root.image"));
    vmctl_spec_free(spec);
}

static void a_libvirt_domain_is_taken_as_it_is(void **state) {
    (void)state;
    static const char text[] = "\xef\xbb\xbf<?xml version='1.0'?>\n<!-- <domain><name>no</name> -->\n"
                               "<domain type='kvm' x=\"a>b\">\n  <metadata><name>inner</name></metadata>\n"
                               "  <name>R&amp;D</name>\n  <memory>1</memory>\n</domain>\n";
    size_t count = 0;
    vmctl_spec **list = load_all(text, NULL, false, &count);
    const char *backend = NULL;
    assert_int_equal(count, 1);
    assert_string_equal(vmctl_spec_native(list[0], &backend), text);
    assert_string_equal(backend, "libvirt");
    assert_string_equal(vmctl_spec_name(list[0]), "R&D");
    assert_int_equal(vmctl_spec_validate(list[0], NULL), 0);
    vmctl_spec_list_free(list);
}

static void a_kubevirt_machine_is_taken_as_it_is(void **state) {
    (void)state;
    size_t count = 0;
    vmctl_spec **list =
        load_all("name: a\nmemory: 1GiB\ndisks: []\n---\n# kept\napiVersion: kubevirt.io/v1\nkind: VirtualMachine\n"
                 "metadata: {name: vm-k}\n---\nname: b\nmemory: 1GiB\ndisks: []\n",
                 NULL, false, &count);
    const char *backend = NULL;
    assert_int_equal(count, 3);
    assert_string_equal(vmctl_spec_native(list[1], &backend),
                        "# kept\napiVersion: kubevirt.io/v1\nkind: VirtualMachine\nmetadata: {name: vm-k}\n");
    assert_string_equal(backend, "kubevirt");
    assert_string_equal(vmctl_spec_name(list[1]), "vm-k");
    assert_string_equal(vmctl_spec_name(list[2]), "b");
    /* Where it goes can be said where it does not say it itself, and nothing else can. */
    assert_null(vmctl_spec_namespace(list[1]));
    assert_int_equal(vmctl_spec_set(list[1], "cpus", "2", NULL), VMCTL_E_INVALID_ARGUMENT);
    assert_int_equal(vmctl_spec_set(list[1], "placement.namespace", "team", NULL), 0);
    assert_string_equal(vmctl_spec_namespace(list[1]), "team");
    assert_int_equal(vmctl_spec_set(list[1], "placement.namespace", "other", NULL), VMCTL_E_INVALID_ARGUMENT);
    vmctl_spec_list_free(list);
    /* The same name in two namespaces is two VMs. */
    list = load_all("apiVersion: kubevirt.io/v1\nkind: VirtualMachine\nmetadata: {name: a, namespace: x}\n---\n"
                    "apiVersion: kubevirt.io/v1\nkind: VirtualMachine\nmetadata: {name: a, namespace: y}\n",
                    NULL, false, &count);
    assert_int_equal(count, 2);
    assert_string_equal(vmctl_spec_namespace(list[1]), "y");
    vmctl_spec_list_free(list);
}

static void the_examples_load(void **state) {
    (void)state;
    static const struct {
        const char *file;
        size_t count;
    } examples[] = {{"minimal", 1}, {"debian", 1}, {"windows", 1}, {"two-vms", 4}, {"cloud-init", 1}, {"gpu", 1}};
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        char path[1024];
        snprintf(path, sizeof path, "%s/../examples/%s.yaml", TEST_SOURCE_DIR, examples[i].file);
        vmctl_spec **list = NULL;
        vmctl_error *err = NULL;
        size_t count = 0;
        if (vmctl_spec_load_file(path, NULL, &list, &count, &err) != 0)
            fail_msg("%s", vmctl_error_text(err));
        assert_int_equal(count, examples[i].count);
        for (size_t s = 0; s < count; s++)
            assert_int_equal(vmctl_spec_validate(list[s], NULL), 0);
        vmctl_spec_list_free(list);
    }
}

static void a_missing_file_is_not_found(void **state) {
    (void)state;
    vmctl_spec **list = NULL;
    assert_int_equal(vmctl_spec_load_file("/nonexistent/vm.yaml", NULL, &list, NULL, NULL), VMCTL_E_NOT_FOUND);
    assert_int_equal(vmctl_spec_load_file("/", NULL, &list, NULL, NULL), VMCTL_E_INVALID_SPEC);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_of_the_contract),
        cmocka_unit_test(an_empty_value_is_an_absent_key),
        cmocka_unit_test(children_are_in_the_order_of_the_document),
        cmocka_unit_test(scalars_stand_for_maps),
        cmocka_unit_test(booleans_of_both_yamls),
        cmocka_unit_test(strings_stay_strings),
        cmocka_unit_test(free_sections_keep_their_types),
        cmocka_unit_test(paths_are_absolute_and_urls_are_not),
        cmocka_unit_test(the_folder_of_the_file_is_the_base),
        cmocka_unit_test(aliases_and_merge_keys),
        cmocka_unit_test(locations_are_those_of_the_keys),
        cmocka_unit_test(several_documents),
        cmocka_unit_test(a_count_makes_copies),
        cmocka_unit_test(set_is_laid_over_every_document),
        cmocka_unit_test(a_name_for_one_document),
        cmocka_unit_test(items_without_a_name_get_one),
        cmocka_unit_test(completing_fills_in_what_is_absent),
        cmocka_unit_test(origins_are_remembered),
        cmocka_unit_test(a_libvirt_domain_is_taken_as_it_is),
        cmocka_unit_test(a_kubevirt_machine_is_taken_as_it_is),
        cmocka_unit_test(the_examples_load),
        cmocka_unit_test(a_missing_file_is_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
