/* Domains as specs: what vmctl wrote comes back equal, and any other domain's spec applied to it changes nothing. */
#include "base/file.h"
#include "domain_helper.h"

#define FIXTURES TEST_SOURCE_DIR "/fixtures/libvirt/"

/* What libvirt does to a document at define, as far as it shows in what the spec reads. */
static char *replaced(const char *text, const char *from, const char *to) {
    size_t length = strlen(text), before = 0;
    while (before < length && strncmp(text + before, from, strlen(from)) != 0)
        before++;
    if (before == length)
        return vmc_strdup(text);
    return vmc_printf("%.*s%s%s", (int)before, text, to, text + before + strlen(from));
}

static const char *const specs[] = {
    "name: a\nmemory: 1GiB\ndisks: [{name: root, image: /images/a.qcow2}]\n",
    "name: a\nmemory: 1GiB\ndisks: [{image: /images/a.qcow2, size: 20GiB}, {size: 1GiB}]\n",
    "name: a\ndescription: \"two\\nlines <&>\"\nlabels: {team: infra, a.b/c: \"1\"}\nmemory: 1GiB\ndisks: []\n",
    "name: a\nmemory: {size: 1536MiB, max: 4GiB, hugepages: true}\ncpus: {count: 2, max: 4, model: host}\ndisks: []\n",
    "name: a\nmemory: 1GiB\ncpus: {count: 4, sockets: 1, cores: 2, threads: 2, model: Nehalem}\ndisks: []\n",
    "name: a\nmemory: 1GiB\ncpus: {count: 2, model: max}\nguest: windows\nmachine: q35\narch: x86_64\ndisks: []\n",
    "name: a\nmemory: 1GiB\nguest: other\nmachine: pc\naccel: auto\ndisks: [{name: r, size: 1GiB}]\n",
    "name: a\nmemory: 1GiB\naccel: tcg\nfirmware: {type: uefi, secureBoot: true, tpm: true}\nconfidential: "
    "none\ndisks: []\n",
    "name: a\nmemory: 1GiB\nfirmware: bios\ndisks: []\n",
    "name: a\nmemory: 1GiB\nboot: {order: [cd, root, lan]}\ndisks: [{name: root, size: 1GiB}, {name: cd, cdrom: "
    "/c.iso}]\n"
    "networks: [{name: lan, type: user}]\n",
    "name: a\nmemory: 1GiB\nboot: {kernel: /k/vmlinuz, initrd: /k/initrd, cmdline: \"console=ttyS0\"}\n",
    "name: a\nmemory: 1GiB\ndisks:\n- {name: linked, backing: /b/base.qcow2}\n- {name: db, volume: fast/db-1}\n"
    "- {name: raw, volume: /dev/vg/x, readonly: true, shared: true}\n"
    "- {name: data, size: 10GiB, format: qcow2, bus: scsi, pool: fast, cache: none, io: native, discard: unmap, "
    "serial: ABC}\n- {name: cd, cdrom: /c.iso, bus: sata}\n- {name: none, cdrom: \"\"}\n",
    "name: a\nmemory: 1GiB\ndisks: []\nnetworks:\n- {name: n1, type: nat}\n- {name: n2, type: user}\n"
    "- {name: n3, type: bridge, source: br0, model: e1000e, mac: \"52:54:00:12:34:56\", mtu: 1500, link: down}\n"
    "- {name: n4, type: network, source: ovs, vlan: 7, link: up}\n"
    "- {name: n5, type: nat, forward: [\"2222:22\", \"tcp:0.0.0.0:80:8080\", \"udp:53:53\"]}\n",
    "name: a\nmemory: 1GiB\ndisks: []\nnetworks: []\n",
    "name: a\nmemory: 1GiB\ndisks: []\nshares: [{name: s, path: /s}, {name: p, path: /p, type: 9p, readonly: true}]\n",
    "name: a\nmemory: 1GiB\ndisks: []\ndisplay: {type: spice, video: qxl, listen: 127.0.0.1}\n",
    "name: a\nmemory: 1GiB\ndisks: []\ndisplay: {type: vnc, video: virtio, gl: true}\n",
    "name: a\nmemory: 1GiB\ndisks: []\ndisplay: none\n",
    "name: a\nmemory: 1GiB\ndisks: []\nserial: {log: a.log}\nguestAgent: true\nrng: true\nwatchdog: reset\n",
    "name: a\nmemory: 1GiB\ndisks: []\nguestAgent: false\nrng: false\nwatchdog: none\n",
    "name: a\nmemory: 1GiB\ndisks: [{name: r, image: /i}]\ncloudInit: {hostname: h, user: ci, sshKeys: [\"ssh-ed25519 "
    "AAAAC3NzaC1lZDI1NTE5AAAAIHuJ2Vx9vXn2cMtWT6T7G1WmVVO9hJpMoTtnB3xpTtQ0 me\"], userData: {file: /u.yaml}}\n",
    "name: a\nmemory: 1GiB\ndisks: []\nlibvirt: {qemuArgs: [-fw_cfg, \"name=opt/x,string=y\"], xmlPatch: "
    "\"<domain><title>t</title></domain>\"}\n",
    "name: \"a b\"\nmemory: 1GiB\ndisks: [{name: \"r t\", image: /i}, {name: \"d.1\", size: 1GiB, cache: none}]\n"
    "networks: [{name: \"n.0\", type: user}]\n",
};

static void what_vmctl_wrote_comes_back(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
        vmctl_spec *want = spec_of(specs[i]);
        VMC_AUTO_FREE char *xml = xml_of(specs[i]);
        valid(xml);
        VMC_AUTO_FREE char *changes = changes_to(xml, want, NULL);
        if (*changes)
            fail_msg("spec %zu:\n%s\nwould be changed:\n%s\nin\n%s", i, specs[i], changes, xml);
        vmctl_spec_free(want);
    }
}

/* "q35" is written as the newest pc-q35-N.N when libvirt defines it. */
static void a_machine_type_grows_its_version(void **state) {
    (void)state;
    const char *yaml = "name: a\nmemory: 1GiB\nmachine: q35\ndisks: []\n";
    vmctl_spec *want = spec_of(yaml);
    VMC_AUTO_FREE char *xml = xml_of(yaml);
    VMC_AUTO_FREE char *defined = replaced(xml, "machine=\"q35\"", "machine=\"pc-q35-7.2\"");
    assert_string_not_equal(xml, defined);
    VMC_AUTO_FREE char *changes = changes_to(defined, want, NULL);
    assert_string_equal("", changes);
    VMC_AUTO_FREE char *other = replaced(xml, "machine=\"q35\"", "machine=\"pc-i440fx-7.2\"");
    VMC_AUTO_FREE char *differs = changes_to(other, want, NULL);
    assert_non_null(strstr(differs, "machine"));
    vmctl_spec_free(want);
}

/* What the marker keeps gives way when somebody changed the XML behind it. */
static void a_change_by_others_shows(void **state) {
    (void)state;
    const char *yaml = "name: a\nmemory: 1GiB\ncpus: {model: host}\ndisks: []\n";
    vmctl_spec *want = spec_of(yaml);
    VMC_AUTO_FREE char *xml = xml_of(yaml);
    VMC_AUTO_FREE char *changed = replaced(xml, "<cpu mode=\"maximum\"/>", "<cpu mode=\"host-model\"/>");
    VMC_AUTO_FREE char *changes = changes_to(changed, want, NULL);
    assert_string_equal("cpus.model: host-model -> host\n", changes);
    vmctl_spec_free(want);
}

/* user-data is not kept, as it may hold secrets; so it is the one thing that looks new, and changing it is no change. */
static void inline_user_data_changes_nothing(void **state) {
    (void)state;
    const char *yaml = "name: a\nmemory: 1GiB\ndisks: [{name: r, image: /i}]\ncloudInit: {userData: {inline: \"x\"}}\n";
    libvirt_domain_plan plan = {.seed_iso = "/pool/seed.iso"};
    vmctl_spec *want = spec_of(yaml);
    VMC_AUTO_FREE char *xml = xml_of_plan(yaml, &plan);
    vmctl_diff *diff = NULL;
    VMC_AUTO_FREE char *changes = changes_to(xml, want, &diff);
    assert_non_null(changes);
    VMC_AUTO_FREE char *after = NULL;
    vmctl_error *err = NULL;
    if (libvirt_domain_xml_change(xml, diff, NULL, &plan, &after, &err) < 0)
        fail_with("change", err);
    assert_string_equal(xml, after);
    vmctl_diff_free(diff);
    vmctl_spec_free(want);
}

static char *fixture(const char *name) {
    VMC_AUTO_FREE char *path = vmc_printf("%s%s", FIXTURES, name);
    char *text = NULL;
    if (vmc_file_read(path, 1 << 20, &text, NULL, NULL) < 0)
        fail_msg("cannot read %s", path);
    return text;
}

static const char *const fixtures[] = {"virt-install-plain.xml", "virt-install-uefi-tpm.xml",
                                       "virt-install-windows.xml", "virt-manager-uefi-tpm.xml"};

/* get -o spec | apply -: through the text, as a person does it. */
static void applying_a_vms_own_spec_changes_nothing(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof fixtures / sizeof fixtures[0]; i++) {
        VMC_AUTO_FREE char *xml = fixture(fixtures[i]);
        vmctl_spec *have = NULL;
        vmctl_error *err = NULL;
        char *text = NULL;
        if (libvirt_domain_spec(xml, &have, &err) < 0 ||
            vmctl_spec_text(have, VMCTL_FORMAT_YAML, false, &text, &err) < 0 || vmctl_spec_validate(have, &err) < 0)
            fail_with(fixtures[i], err);
        vmctl_spec *want = spec_of(text);
        vmctl_diff *diff = NULL;
        VMC_AUTO_FREE char *changes = changes_to(xml, want, &diff);
        if (*changes)
            fail_msg("%s would be changed:\n%s\nby\n%s", fixtures[i], changes, text);
        VMC_AUTO_FREE char *after = NULL;
        assert_int_equal(0, libvirt_domain_xml_change(xml, diff, NULL, NULL, &after, &err));
        assert_string_equal(xml, after);
        vmctl_diff_free(diff);
        vmctl_spec_free(want);
        vmctl_string_free(text);
        vmctl_spec_free(have);
    }
}

static void a_vm_of_virt_manager_as_a_spec(void **state) {
    (void)state;
    VMC_AUTO_FREE char *xml = fixture("virt-manager-uefi-tpm.xml");
    vmctl_spec *have = NULL;
    assert_int_equal(0, libvirt_domain_spec(xml, &have, NULL));
    const vmctl_node *root = vmctl_spec_root(have);
    assert_string_equal("desktop", vmctl_spec_name(have));
    assert_string_equal("made in virt-manager", vmctl_node_string(root, "description", ""));
    assert_int_equal(2, vmctl_node_integer(root, "cpus.count", 0));
    assert_int_equal(1073741824, vmctl_node_integer(root, "memory.size", 0));
    assert_string_equal("pc-q35-7.2", vmctl_node_string(root, "machine", ""));
    assert_string_equal("uefi", vmctl_node_string(root, "firmware.type", ""));
    assert_true(vmctl_node_boolean(root, "firmware.tpm", false));
    assert_string_equal("vda", vmctl_node_string(root, "disks[0].name", ""));
    assert_string_equal("/var/lib/libvirt/images/r.qcow2", vmctl_node_string(root, "disks[0].volume", ""));
    assert_string_equal("sda", vmctl_node_string(root, "disks[1].name", ""));
    assert_string_equal("", vmctl_node_string(root, "disks[1].cdrom", "-"));
    assert_string_equal("network", vmctl_node_string(root, "networks[0].type", ""));
    assert_string_equal("default", vmctl_node_string(root, "networks[0].source", ""));
    assert_string_equal(vmctl_node_string(root, "networks[0].mac", "-"),
                        vmctl_node_string(root, "networks[0].name", ""));
    assert_string_equal("tag", vmctl_node_string(root, "shares[0].name", ""));
    assert_string_equal("virtiofs", vmctl_node_string(root, "shares[0].type", ""));
    assert_string_equal("spice", vmctl_node_string(root, "display.type", ""));
    assert_string_equal("virtio", vmctl_node_string(root, "display.video", ""));
    assert_true(vmctl_node_boolean(root, "guestAgent", false));
    assert_true(vmctl_node_boolean(root, "rng", false));
    assert_null(vmctl_node_get(root, "labels"));
    vmctl_spec_free(have);
}

static void facts_of_any_domain(void **state) {
    (void)state;
    VMC_AUTO_FREE char *xml = fixture("virt-manager-uefi-tpm.xml");
    libvirt_domain_facts *facts = NULL;
    assert_int_equal(0, libvirt_domain_facts_read(xml, &facts, NULL));
    const vmctl_vm_info *info = &facts->info;
    assert_false(info->managed);
    assert_int_equal(0, info->label_count);
    assert_string_equal("desktop", info->name);
    assert_int_equal(36, strlen(info->id));
    assert_int_equal(2, info->cpus);
    assert_int_equal(1024, info->memory_mib);
    assert_string_equal("x86_64", info->arch);
    assert_string_equal("uefi", info->firmware);
    assert_string_equal("tcg", info->accel);
    size_t disks = 0, nics = 0, tpms = 0;
    for (size_t i = 0; i < info->device_count; i++) {
        const vmctl_device *device = &info->devices[i];
        disks += device->kind == VMCTL_DEVICE_DISK || device->kind == VMCTL_DEVICE_CDROM;
        nics += device->kind == VMCTL_DEVICE_NIC && device->mac && device->link_up;
        tpms += device->kind == VMCTL_DEVICE_TPM;
        if (device->kind == VMCTL_DEVICE_DISK) {
            assert_string_equal("/var/lib/libvirt/images/r.qcow2", device->source);
            assert_false(device->own);
        }
    }
    assert_int_equal(2, disks);
    assert_int_equal(1, nics);
    assert_int_equal(1, tpms);
    assert_int_equal(0, facts->own_files.count);
    libvirt_domain_facts_free(facts);
}

static void a_marker_alone(void **state) {
    (void)state;
    libvirt_domain_facts facts = {0};
    assert_true(libvirt_marker_read("<vmctl:vm xmlns:vmctl='urn:vmctl:1' version='0.1.0' owner='me@here' "
                                    "created='2026-01-02T03:04:05Z'><vmctl:label key='a'>b</vmctl:label></vmctl:vm>",
                                    &facts));
    assert_true(facts.info.managed);
    assert_string_equal("me@here", facts.info.owner);
    assert_int_equal(1767323045, facts.info.created);
    assert_string_equal("b", facts.info.labels[0].value);
    libvirt_domain_facts *held = vmc_alloc(sizeof *held);
    *held = facts;
    libvirt_domain_facts_free(held);
    libvirt_domain_facts none = {0};
    assert_false(libvirt_marker_read("<domain><metadata><x xmlns='urn:y'/></metadata></domain>", &none));
    assert_false(libvirt_marker_read("not XML", &none));
    held = vmc_alloc(sizeof *held);
    *held = none;
    libvirt_domain_facts_free(held);
}

static void what_is_no_domain_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"", "<", "<network/>", "<domain>", "<!DOCTYPE d [<!ENTITY a 'b'>]><domain/>"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        vmctl_spec *spec = NULL;
        vmctl_error *err = NULL;
        assert_int_equal(VMCTL_E_INTERNAL, libvirt_domain_spec(bad[i], &spec, &err));
        assert_null(spec);
        vmctl_error_free(err);
    }
    /* the least that is one */
    vmctl_spec *spec = NULL;
    vmctl_error *err = NULL;
    if (libvirt_domain_spec("<domain type='kvm'><name>x</name></domain>", &spec, &err) < 0)
        fail_with("an empty domain", err);
    vmctl_spec_free(spec);
}

/* vm.yaml's names have no '/', libvirt's share tags may; its VLANs end at 4094. The rest of the VM can still be said. */
static void what_the_spec_cannot_say_stays_out(void **state) {
    (void)state;
    const char *xml = "<domain type='kvm'><name>x</name><memory>65536</memory><devices>"
                      "<filesystem type='mount'><source dir='/a'/><target dir='/mnt/a'/></filesystem>"
                      "<filesystem type='mount'><source dir='/b'/><target dir='b'/></filesystem>"
                      "<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/>"
                      "<vlan><tag id='4095'/></vlan></interface>"
                      "<interface type='direct'><mac address='52:54:00:00:00:02'/><source dev='eth0'/></interface>"
                      "<disk type='network' device='disk'><source protocol='rbd' name='p/i'/><target dev='vda'/></disk>"
                      "<disk type='file' device='disk'><source file='/d'/><target dev='vdb' bus='xen'/></disk>"
                      "</devices></domain>";
    vmctl_spec *spec = NULL;
    vmctl_error *err = NULL;
    if (libvirt_domain_spec(xml, &spec, &err) < 0)
        fail_with("spec", err);
    const vmctl_node *root = vmctl_spec_root(spec);
    assert_int_equal(1, vmctl_node_count(vmctl_node_get(root, "shares")));
    assert_string_equal("b", vmctl_node_string(root, "shares[0].name", ""));
    assert_int_equal(1, vmctl_node_count(vmctl_node_get(root, "networks")));
    assert_null(vmctl_node_get(root, "networks[0].vlan"));
    assert_string_equal("br0", vmctl_node_string(root, "networks[0].source", ""));
    assert_int_equal(1, vmctl_node_count(vmctl_node_get(root, "disks")));
    assert_string_equal("vdb", vmctl_node_string(root, "disks[0].name", ""));
    assert_null(vmctl_node_get(root, "disks[0].bus"));
    VMC_AUTO_FREE char *changes = changes_to(xml, spec, NULL);
    assert_string_equal("", changes);
    vmctl_spec_free(spec);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_vmctl_wrote_comes_back),
        cmocka_unit_test(a_machine_type_grows_its_version),
        cmocka_unit_test(a_change_by_others_shows),
        cmocka_unit_test(inline_user_data_changes_nothing),
        cmocka_unit_test(applying_a_vms_own_spec_changes_nothing),
        cmocka_unit_test(a_vm_of_virt_manager_as_a_spec),
        cmocka_unit_test(facts_of_any_domain),
        cmocka_unit_test(a_marker_alone),
        cmocka_unit_test(what_is_no_domain_is_refused),
        cmocka_unit_test(what_the_spec_cannot_say_stays_out),
    };
    return schema_is_missing() ? 77 : cmocka_run_group_tests(tests, NULL, NULL);
}
