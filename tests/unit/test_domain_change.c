/* A diff laid over a document: what it names becomes so, what it does not name stays, and after it nothing is left to change. */
#include "base/file.h"
#include "domain_helper.h"

static const char *const base =
    "name: a\nmemory: 1GiB\ncpus: 2\ndescription: before\nlabels: {team: infra}\n"
    "disks: [{name: root, image: /i.qcow2, size: 10GiB}, {name: cd, cdrom: /a.iso}]\n"
    "networks: [{name: lan, type: bridge, source: br0}, {name: out, type: nat, forward: [\"2222:22\"]}]\n"
    "shares: [{name: src, path: /src, type: 9p}]\nguestAgent: true\n";

static libvirt_disk_plan plan_of(const char *path) {
    return (libvirt_disk_plan){.path = path, .format = "qcow2", .own = true};
}

/* Applies `want` to the document; the result is valid, and applying it again changes nothing. free. */
static char *changed_from(const char *xml, const char *want_yaml, const libvirt_disk_plan *added,
                          libvirt_domain_plan *plan) {
    vmctl_spec *want = part_of(want_yaml);
    vmctl_diff *diff = NULL;
    vmctl_error *err = NULL;
    char *after = NULL;
    VMC_AUTO_FREE char *changes = changes_to(xml, want, &diff);
    if (!*changes)
        fail_msg("there is nothing to change: %s", want_yaml);
    plan->host = plan->host ? plan->host : &debian_tcg;
    if (libvirt_domain_xml_change(xml, diff, added, plan, &after, &err) < 0)
        fail_with(changes, err);
    vmctl_diff_free(diff);
    valid(after);
    VMC_AUTO_FREE char *left = changes_to(after, want, NULL);
    if (*left)
        fail_msg("still to change after it:\n%s\nin\n%s", left, after);
    vmctl_spec_free(want);
    return after;
}

static char *changed(const char *want) {
    libvirt_domain_plan plan = {0};
    VMC_AUTO_FREE char *xml = xml_of(base);
    return changed_from(xml, want, NULL, &plan);
}

static void cannot_plan(const char *xml, const char *want_yaml, int code, const char *words) {
    vmctl_spec *want = part_of(want_yaml);
    vmctl_diff *diff = NULL;
    vmctl_error *err = NULL;
    char *after = NULL;
    libvirt_disk_plan added[2] = {plan_of("/x"), plan_of("/y")};
    libvirt_domain_plan plan = {.host = &debian_tcg};
    VMC_AUTO_FREE char *changes = changes_to(xml, want, &diff);
    assert_non_null(changes);
    assert_int_equal(code, libvirt_domain_xml_change(xml, diff, added, &plan, &after, &err));
    assert_null(after);
    if (!strstr(vmctl_error_message(err), words))
        fail_msg("\"%s\" does not say \"%s\"", vmctl_error_message(err), words);
    vmctl_error_free(err);
    vmctl_diff_free(diff);
    vmctl_spec_free(want);
}

static void cannot(const char *want, int code, const char *words) {
    VMC_AUTO_FREE char *xml = xml_of(base);
    cannot_plan(xml, want, code, words);
}

static void cpus_and_memory(void **state) {
    (void)state;
    char *xml = changed("name: a\nmemory: 3GiB\ncpus: {count: 4, max: 8}\n");
    has(xml, "string(/domain/vcpu)", "8");
    has(xml, "string(/domain/vcpu/@current)", "4");
    has(xml, "string(/domain/memory)", "3145728");
    has(xml, "string(/domain/currentMemory)", "3145728");
    has(xml, "count(//disk)", "2");
    free(xml);
    xml = changed("name: a\nmemory: {size: 1GiB, max: 4GiB, hugepages: true}\n");
    has(xml, "string(/domain/maxMemory)", "4194304");
    has(xml, "string(//numa/cell[@cpus='0-1']/@memory)", "1048576");
    has(xml, "count(//memoryBacking/hugepages)", "1");
    free(xml);
    xml = changed("name: a\nmemory: 1GiB\ncpus: {count: 2, model: Nehalem}\n");
    has(xml, "string(/domain/cpu[@mode='custom']/model)", "Nehalem");
    free(xml);
}

/* More CPUs in a machine with a topology: the product must stay right. */
static void a_topology_grows_with_the_cpus(void **state) {
    (void)state;
    libvirt_domain_plan plan = {0};
    VMC_AUTO_FREE char *xml =
        xml_of("name: a\nmemory: 1GiB\ncpus: {count: 4, sockets: 1, cores: 2, threads: 2}\ndisks: []\n");
    char *after = changed_from(xml, "name: a\nmemory: 1GiB\ncpus: {count: 8}\n", NULL, &plan);
    has(after, "string(//topology[@sockets='1'][@threads='2']/@cores)", "4");
    free(after);
    VMC_AUTO_FREE char *sockets =
        xml_of("name: a\nmemory: 1GiB\ncpus: {count: 2, sockets: 2, cores: 1, threads: 1}\ndisks: []\n");
    after = changed_from(sockets, "name: a\nmemory: 1GiB\ncpus: 6\n", NULL, &plan);
    has(after, "string(//topology[@cores='1']/@sockets)", "6");
    free(after);
    cannot_plan(xml, "name: a\nmemory: 1GiB\ncpus: 5\n", VMCTL_E_INVALID_SPEC, "5 CPUs");
}

/* Having grown to all of it a VM still knows how much that is, and has it again when it shrinks. */
static void the_room_to_grow_stays_known(void **state) {
    (void)state;
    libvirt_domain_plan plan = {.marker = &test_marker};
    char *xml = xml_of_plan("name: a\nmemory: {size: 1GiB, max: 2GiB}\ncpus: {count: 2, max: 4}\ndisks: []\n", &plan);
    char *grown = changed_from(xml, "name: a\nmemory: 2GiB\ncpus: 4\n", NULL, &plan);
    vmctl_spec *spec = NULL;
    assert_int_equal(0, libvirt_domain_spec(grown, &spec, NULL));
    assert_int_equal(4, vmctl_node_integer(vmctl_spec_root(spec), "cpus.max", 0));
    assert_int_equal(INT64_C(2) << 30, vmctl_node_integer(vmctl_spec_root(spec), "memory.max", 0));
    vmctl_spec_free(spec);
    char *shrunk = changed_from(grown, "name: a\nmemory: 1GiB\ncpus: 2\n", NULL, &plan);
    has(shrunk, "string(/domain/vcpu)", "4");
    has(shrunk, "string(/domain/vcpu/@current)", "2");
    has(shrunk, "string(/domain/maxMemory)", "2097152");
    has(shrunk, "string(/domain/memory)", "1048576");
    /* Somebody took another number of CPUs since: what was noted is no room then. */
    char *at = strstr(grown, ">4</vcpu>");
    assert_non_null(at);
    at[1] = '8';
    assert_int_equal(0, libvirt_domain_spec(grown, &spec, NULL));
    assert_int_equal(0, vmctl_node_integer(vmctl_spec_root(spec), "cpus.max", 0));
    vmctl_spec_free(spec);
    free(shrunk);
    free(grown);
    free(xml);
}

static void description_labels_lifetime(void **state) {
    (void)state;
    char *xml = changed("name: a\nmemory: 1GiB\ndescription: \"after <x>\"\nlabels: {team: web, \"a.b/c\": d}\n");
    has(xml, "string(/domain/description)", "after <x>");
    has(xml, "string(//v:label[@key='team'])", "web");
    has(xml, "string(//v:label[@key='a.b/c'])", "d");
    has(xml, "string(//v:vm/@owner)", "someone@host");
    free(xml);
}

static void settings_of_a_network(void **state) {
    (void)state;
    VMC_AUTO_FREE char *down = vmc_printf(
        "name: a\nmemory: 1GiB\nnetworks: [{name: lan, type: bridge, source: br1, link: down, model: e1000e, "
        "mtu: 1400}, %s]\n",
        "{name: out, type: nat}");
    char *xml = changed(down);
    has(xml, "string(//interface[alias/@name='ua-lan']/source/@bridge)", "br1");
    has(xml, "string(//interface[alias/@name='ua-lan']/link/@state)", "down");
    has(xml, "string(//interface[alias/@name='ua-lan']/model/@type)", "e1000e");
    has(xml, "string(//interface[alias/@name='ua-lan']/mtu/@size)", "1400");
    has(xml, "count(//q:arg)", "2");
    free(xml);
}

/* A forward belongs to its interface: with that goes the argument, which QEMU would refuse to start with. */
static void forwards_come_and_go(void **state) {
    (void)state;
    char *xml = changed("name: a\nmemory: 1GiB\nnetworks: [{name: lan, type: bridge, source: br0}, "
                        "{name: out, type: nat, forward: [\"2222:22\", \"8080:80\"]}]\n");
    has(xml, "count(//q:arg)", "4");
    has(xml, "count(//q:del[@capability='netdev.json'])", "1");
    libvirt_domain_plan plan = {0};
    char *after = changed_from(xml, "name: a\nmemory: 1GiB\nnetworks: [{name: lan, type: user, forward: [\"1:1\"]}]\n",
                               NULL, &plan);
    has(after, "count(//q:arg)", "2");
    has(after, "string(//q:arg[2]/@value)", "netdev.hostua-lan.hostfwd=tcp:127.0.0.1:1-:1");
    has(after, "count(//interface)", "1");
    char *none = changed_from(after, "name: a\nmemory: 1GiB\nnetworks: []\n", NULL, &plan);
    has(none, "count(//q:*)", "0");
    has(none, "count(//interface)", "0");
    free(none);
    free(after);
    free(xml);
}

static void disks_added_removed_and_set(void **state) {
    (void)state;
    libvirt_disk_plan added[] = {plan_of("/pool/data.qcow2")};
    libvirt_domain_plan plan = {0};
    VMC_AUTO_FREE char *xml = xml_of(base);
    char *after = changed_from(xml,
                               "name: a\nmemory: 1GiB\ndisks: [{name: root, image: /i.qcow2, cache: none, discard: "
                               "unmap, readonly: true, serial: S}, {name: data, size: 5GiB}]\n",
                               added, &plan);
    has(after, "count(//disk)", "2");
    has(after, "string(//disk[alias/@name='ua-root']/driver[@cache='none']/@discard)", "unmap");
    has(after, "string(//disk[alias/@name='ua-root'][readonly]/serial)", "S");
    has(after, "string(//disk[alias/@name='ua-data']/source/@file)", "/pool/data.qcow2");
    has(after, "string(//disk[alias/@name='ua-data']/target/@dev)", "vdb");
    has(after, "string(//v:file[@device='ua-data']/@path)", "/pool/data.qcow2");
    free(after);
}

/* The name comes again with another file: the first one stays the VM's to remove, the second is the disk's. */
static void a_disk_of_the_same_name_again(void **state) {
    (void)state;
    libvirt_domain_plan plan = {0};
    libvirt_disk_plan first[] = {plan_of("/pool/one.qcow2")}, second[] = {plan_of("/pool/two.qcow2")};
    VMC_AUTO_FREE char *xml = xml_of("name: a\nmemory: 1GiB\ndisks: []\n");
    VMC_AUTO_FREE char *with = changed_from(xml, "disks: [{name: d, size: 1GiB}]\n", first, &plan);
    VMC_AUTO_FREE char *without = changed_from(with, "disks: []\n", NULL, &plan);
    VMC_AUTO_FREE char *again = changed_from(without, "disks: [{name: d, size: 1GiB}]\n", second, &plan);
    has(again, "string(//disk/source/@file)", "/pool/two.qcow2");
    libvirt_domain_facts *facts = NULL;
    assert_int_equal(0, libvirt_domain_facts_read(again, &facts, NULL));
    assert_int_equal(2, facts->own_files.count);
    libvirt_domain_facts_free(facts);
    vmctl_spec *have = NULL;
    assert_int_equal(0, libvirt_domain_spec(again, &have, NULL));
    assert_null(vmctl_node_get(vmctl_spec_root(have), "disks[0].volume"));
    vmctl_spec_free(have);
}

static void another_medium(void **state) {
    (void)state;
    libvirt_disk_plan media[] = {{.path = "/b.iso", .format = "raw"}};
    libvirt_domain_plan plan = {0};
    VMC_AUTO_FREE char *xml = xml_of(base);
    char *after =
        changed_from(xml, "name: a\nmemory: 1GiB\ndisks: [{name: root, image: /i.qcow2}, {name: cd, cdrom: /b.iso}]\n",
                     media, &plan);
    has(after, "string(//disk[@device='cdrom']/source/@file)", "/b.iso");
    libvirt_disk_plan empty[] = {{.path = NULL}};
    char *ejected =
        changed_from(after, "name: a\nmemory: 1GiB\ndisks: [{name: root, image: /i.qcow2}, {name: cd, cdrom: \"\"}]\n",
                     empty, &plan);
    has(ejected, "count(//disk[@device='cdrom']/source)", "0");
    free(ejected);
    free(after);
}

static void the_rest_of_the_devices(void **state) {
    (void)state;
    char *xml =
        changed("name: a\nmemory: 1GiB\nshares: [{name: src, path: /other, type: virtiofs}, {name: two, path: /two}]\n"
                "guestAgent: false\nrng: true\nwatchdog: reset\nboot: {order: [cd, root]}\n"
                "display: {type: spice, listen: 0.0.0.0}\nfirmware: {type: uefi, tpm: true}\n");
    has(xml, "string(//filesystem[target/@dir='src']/source/@dir)", "/other");
    has(xml, "string(//filesystem[target/@dir='src']/driver/@type)", "virtiofs");
    has(xml, "string(//memoryBacking/access/@mode)", "shared");
    has(xml, "count(//channel[target/@name='org.qemu.guest_agent.0'])", "0");
    has(xml, "count(//rng)", "1");
    has(xml, "string(//watchdog/@action)", "reset");
    has(xml, "string(//disk[@device='cdrom']/boot/@order)", "1");
    has(xml, "string(//disk[alias/@name='ua-root']/boot/@order)", "2");
    has(xml, "string(//graphics/@type)", "spice");
    has(xml, "string(//os/@firmware)", "efi");
    has(xml, "count(//tpm)", "1");
    libvirt_domain_plan plan = {0};
    char *back = changed_from(xml,
                              "name: a\nmemory: 1GiB\ndisplay: none\nfirmware: {type: bios, tpm: false}\nrng: false\n"
                              "watchdog: none\nguestAgent: true\n",
                              NULL, &plan);
    has(back, "count(//graphics) + count(//tpm) + count(//rng) + count(//watchdog) + count(//loader)", "0");
    has(back, "count(//channel)", "1");
    free(back);
    free(xml);
}

static void the_serial_log(void **state) {
    (void)state;
    libvirt_domain_plan plan = {.serial_log = "/logs/a.log"};
    VMC_AUTO_FREE char *xml = xml_of(base);
    char *after = changed_from(xml, "name: a\nmemory: 1GiB\nserial: {log: a.log}\n", NULL, &plan);
    has(after, "string(//serial/log/@file)", "/logs/a.log");
    free(after);
}

static void own_section(void **state) {
    (void)state;
    char *xml = changed("name: a\nmemory: 1GiB\nlibvirt: {qemuArgs: [-fw_cfg, \"name=opt/x,string=y\"], xmlPatch: "
                        "\"<domain><title>t</title></domain>\"}\n");
    has(xml, "string(/domain/title)", "t");
    has(xml, "count(//q:arg)", "4"); /* two of the forward */
    free(xml);
}

static void what_cannot_be_changed(void **state) {
    (void)state;
    cannot("name: a\nmemory: 1GiB\nmachine: pc\n", VMCTL_E_UNSUPPORTED, "machine");
    cannot("name: a\nmemory: 1GiB\narch: aarch64\n", VMCTL_E_UNSUPPORTED, "arch");
    cannot("name: a\nmemory: 1GiB\ndisks: [{name: root, image: /i.qcow2, format: raw}, {name: cd, cdrom: /a.iso}]\n",
           VMCTL_E_UNSUPPORTED, "format");
}

/* A domain of someone else: only what is named is touched, and no marker comes with it. */
static void a_foreign_vm_stays_itself(void **state) {
    (void)state;
    VMC_AUTO_FREE char *path = vmc_printf("%s/fixtures/libvirt/virt-manager-uefi-tpm.xml", TEST_SOURCE_DIR);
    char *xml = NULL;
    assert_int_equal(0, vmc_file_read(path, 1 << 20, &xml, NULL, NULL));
    libvirt_domain_plan plan = {0};
    char *after = changed_from(xml, "name: desktop\nmemory: 2GiB\ncpus: 4\n", NULL, &plan);
    /* line by line: two lines of memory and one of CPUs */
    size_t differing = 0;
    char *rest_a = NULL, *rest_b = NULL;
    char *copy_a = strdup(xml), *copy_b = strdup(after);
    char *a = strtok_r(copy_a, "\n", &rest_a), *b = strtok_r(copy_b, "\n", &rest_b);
    for (; a && b; a = strtok_r(NULL, "\n", &rest_a), b = strtok_r(NULL, "\n", &rest_b)) {
        for (char *c = a; *c; c++)
            *c = *c == '\'' ? '"' : *c; /* libxml2 writes " where libvirt writes one quote */
        differing += strcmp(a, b) != 0;
    }
    assert_null(a);
    assert_null(b);
    assert_int_equal(3, differing);
    has(after, "count(//v:vm)", "0");
    free(copy_a);
    free(copy_b);
    free(after);
    free(xml);
}

static void labels_of_a_foreign_vm(void **state) {
    (void)state;
    const char *xml = "<domain type='qemu'><name>x</name><memory>65536</memory><os><type>hvm</type></os></domain>";
    libvirt_domain_plan plan = {0};
    char *after = changed_from(xml, "name: x\nmemory: 64MiB\nlabels: {a: b}\ndisks: []\n", NULL, &plan);
    libvirt_domain_facts *facts = NULL;
    assert_int_equal(0, libvirt_domain_facts_read(after, &facts, NULL));
    assert_false(facts->info.managed); /* it is still not vmctl's to delete the disks of */
    assert_int_equal(1, facts->info.label_count);
    libvirt_domain_facts_free(facts);
    free(after);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cpus_and_memory),
        cmocka_unit_test(a_topology_grows_with_the_cpus),
        cmocka_unit_test(the_room_to_grow_stays_known),
        cmocka_unit_test(description_labels_lifetime),
        cmocka_unit_test(settings_of_a_network),
        cmocka_unit_test(forwards_come_and_go),
        cmocka_unit_test(disks_added_removed_and_set),
        cmocka_unit_test(a_disk_of_the_same_name_again),
        cmocka_unit_test(another_medium),
        cmocka_unit_test(the_rest_of_the_devices),
        cmocka_unit_test(the_serial_log),
        cmocka_unit_test(own_section),
        cmocka_unit_test(what_cannot_be_changed),
        cmocka_unit_test(a_foreign_vm_stays_itself),
        cmocka_unit_test(labels_of_a_foreign_vm),
    };
    return schema_is_missing() ? 77 : cmocka_run_group_tests(tests, NULL, NULL);
}
