/* Specs as domain XML. What is expected comes from libvirt's formatdomain.html, QEMU's manual and measurements; every
 * document is held against libvirt's own schema. */
#include "domain_helper.h"

static void the_smallest_vm(void **state) {
    (void)state;
    char *xml = xml_of("name: web-1\nmemory: 2GiB\ndisks: [{name: root, image: /images/debian.qcow2}]\n");
    valid(xml);
    has(xml, "string(/domain/@type)", "qemu");
    has(xml, "string(/domain/name)", "web-1");
    has(xml, "string(/domain/uuid)", "6d3c1a5e-0b1f-4c7b-9f57-1f1a5cbd6a01");
    has(xml, "string(/domain/memory[@unit='KiB'])", "2097152");
    has(xml, "string(/domain/currentMemory[@unit='KiB'])", "2097152");
    has(xml, "string(/domain/vcpu)", "1");
    has(xml, "string(/domain/os/type[@arch='x86_64'][@machine='q35'])", "hvm");
    has(xml, "string(/domain/cpu/@mode)", "maximum"); /* -cpu max: what TCG can emulate */
    has(xml, "string(//disk/@device)", "disk");
    has(xml, "string(//disk/driver/@type)", "qcow2");
    has(xml, "string(//disk/source/@file)", "/pool/vm-0.qcow2");
    has(xml, "string(//disk/target[@bus='virtio']/@dev)", "vda");
    has(xml, "string(//disk/alias/@name)", "ua-root");
    has(xml, "string(//disk/boot/@order)", "1");
    /* none given: one nat NIC */
    has(xml, "count(//interface)", "1");
    has(xml, "string(//interface[@type='network']/source/@network)", "default");
    has(xml, "string(//interface/model/@type)", "virtio");
    has(xml, "count(//serial)", "1");
    has(xml, "string(//clock/@offset)", "utc");
    has(xml, "count(//features/acpi)", "1");
    has(xml, "string(//graphics[@type='vnc']/@listen)", "127.0.0.1");
    has(xml, "string(/domain/on_reboot)", "restart");
    has(xml, "count(//tpm) + count(//rng) + count(//watchdog) + count(//channel) + count(//loader)", "0");
    free(xml);
}

static void the_marker_and_its_labels(void **state) {
    (void)state;
    vmctl_marker marker = test_marker;
    marker.expires = marker.created + 7200;
    vmctl_spec *spec = spec_of("name: a\nmemory: 1GiB\nlabels: {team: infra, vmctl.dev/x: \"<&>\"}\n"
                               "disks: [{name: root, image: /i.qcow2}, {name: old, volume: /dev/vg/old}]\n");
    disk_files files;
    plan_disks(&files, spec);
    libvirt_domain_plan plan = {.host = &debian_tcg, .disks = files.plans, .marker = &marker};
    plan.seed_iso = "/pool/a-seed.iso";
    vmctl_error *err = NULL;
    char *xml = NULL;
    assert_int_equal(0, libvirt_domain_xml(spec, &plan, &xml, &err));
    valid(xml);
    has(xml, "string(//v:vm/@version)", "0.1.0");
    has(xml, "string(//v:vm/@owner)", "someone@host");
    has(xml, "string(//v:vm/@run)", "run-1");
    has(xml, "string(//v:vm/@created)", "2023-11-14T22:13:20Z");
    has(xml, "string(//v:vm/@expires)", "2023-11-15T00:13:20Z");
    has(xml, "string(//v:label[@key='team'])", "infra");
    libvirt_domain_facts *facts = NULL;
    assert_int_equal(0, libvirt_domain_facts_read(xml, &facts, &err));
    assert_true(facts->info.managed);
    assert_string_equal("someone@host", facts->info.owner);
    assert_string_equal("run-1", facts->info.run);
    assert_int_equal(1700000000, facts->info.created);
    assert_int_equal(1700007200, facts->info.expires);
    assert_int_equal(2, facts->info.label_count);
    assert_string_equal("vmctl.dev/x", facts->info.labels[1].key);
    assert_string_equal("<&>", facts->info.labels[1].value);
    /* what delete removes: what vmctl made, not the volume */
    assert_int_equal(2, facts->own_files.count);
    assert_true(vmc_strv_has(&facts->own_files, "/pool/vm-0.qcow2"));
    assert_true(vmc_strv_has(&facts->own_files, "/pool/a-seed.iso"));
    assert_int_equal(1, facts->no_disks.count);
    assert_true(vmc_strv_has(&facts->no_disks, "/pool/a-seed.iso"));
    libvirt_domain_facts_free(facts);
    free(xml);
    vmctl_spec_free(spec);
}

/* In a pool of a volume group nothing follows the disk's name: the marker tells a disk from a kernel, not how the path ends. */
static void a_disk_whose_name_ends_like_a_kernel(void **state) {
    (void)state;
    vmctl_spec *spec = spec_of("name: a\nmemory: 1GiB\ndisks: [{name: old-kernel, size: 1GiB}]\nboot: {kernel: /k}\n");
    VMC_AUTO_STRV own = {0};
    vmc_strv_add(&own, "/pool/a-kernel");
    libvirt_disk_plan disks[] = {{.path = "/dev/vg/a-old-kernel", .format = "raw", .own = true}};
    vmctl_marker marker = {.size = sizeof marker, .version = "0.1.0", .created = 1700000000};
    libvirt_domain_plan plan = {
        .host = &debian_tcg, .disks = disks, .kernel = "/pool/a-kernel", .own_files = &own, .marker = &marker};
    char *xml = NULL;
    libvirt_domain_facts *facts = NULL;
    assert_int_equal(0, libvirt_domain_xml(spec, &plan, &xml, NULL));
    assert_int_equal(0, libvirt_domain_facts_read(xml, &facts, NULL));
    assert_int_equal(2, facts->own_files.count);
    assert_int_equal(1, facts->no_disks.count);
    assert_string_equal("/pool/a-kernel", facts->no_disks.items[0]);
    libvirt_domain_facts_free(facts);
    free(xml);
    vmctl_spec_free(spec);
}

static void every_bus_has_its_targets(void **state) {
    (void)state;
    char *xml = xml_of("name: a\nmemory: 1GiB\nmachine: pc\ndisks:\n"
                       "- {name: v1, size: 1GiB, bus: virtio}\n- {name: v2, size: 1GiB, bus: virtio}\n"
                       "- {name: s1, size: 1GiB, bus: scsi}\n- {name: a1, size: 1GiB, bus: sata}\n"
                       "- {name: i1, size: 1GiB, bus: ide}\n- {name: u1, size: 1GiB, bus: usb}\n"
                       "- {name: cd, cdrom: /iso/d.iso}\n");
    valid(xml);
    has(xml, "string(//disk[alias/@name='ua-v1']/target/@dev)", "vda");
    has(xml, "string(//disk[alias/@name='ua-v2']/target/@dev)", "vdb");
    has(xml, "string(//disk[alias/@name='ua-s1']/target[@bus='scsi']/@dev)", "sda");
    has(xml, "string(//disk[alias/@name='ua-a1']/target[@bus='sata']/@dev)", "sdb");
    has(xml, "string(//disk[alias/@name='ua-i1']/target[@bus='ide']/@dev)", "hda");
    has(xml, "string(//disk[alias/@name='ua-u1']/target[@bus='usb']/@dev)", "sdc");
    has(xml, "string(//disk[alias/@name='ua-cd'][@device='cdrom']/target[@bus='ide']/@dev)", "hdb");
    has(xml, "string(//disk[alias/@name='ua-cd']/source/@file)", "/iso/d.iso");
    has(xml, "count(//disk[alias/@name='ua-cd']/readonly)", "1");
    has(xml, "string(//controller[@type='scsi']/@model)", "virtio-scsi");
    free(xml);
}

static void thirty_disks_have_two_letters(void **state) {
    (void)state;
    VMC_AUTO_STR yaml = {0};
    vmc_str_add(&yaml, "name: a\nmemory: 1GiB\ndisks:\n");
    for (int i = 0; i < 28; i++)
        vmc_str_printf(&yaml, "- {name: d%d, size: 1GiB, bus: %s}\n", i, i < 27 ? "virtio" : "scsi");
    char *xml = xml_of(yaml.text);
    valid(xml);
    has(xml, "string(//disk[26]/target/@dev)", "vdz");
    has(xml, "string(//disk[27]/target/@dev)", "vdaa");
    free(xml);
}

/* Seven disks fit a controller: sdh is the eighth and needs a second one. */
static void scsi_controllers_come_as_needed(void **state) {
    (void)state;
    VMC_AUTO_STR yaml = {0};
    vmc_str_add(&yaml, "name: a\nmemory: 1GiB\ndisks:\n");
    for (int i = 0; i < 8; i++)
        vmc_str_printf(&yaml, "- {name: d%d, size: 1GiB, bus: scsi}\n", i);
    char *xml = xml_of(yaml.text);
    valid(xml);
    has(xml, "count(//controller[@type='scsi'][@model='virtio-scsi'])", "2");
    free(xml);
}

static void disks_keep_their_settings(void **state) {
    (void)state;
    char *xml = xml_of("name: a\nmemory: 1GiB\ndisks:\n"
                       "- {name: root, image: /i.qcow2, cache: none, io: native, discard: unmap, serial: S-1}\n"
                       "- {name: ro, volume: /srv/ro.img, readonly: true}\n"
                       "- {name: both, volume: /dev/vg/lv, shared: true}\n- {name: drive, cdrom: \"\"}\n");
    valid(xml);
    has(xml, "string(//disk[1]/driver[@cache='none'][@io='native']/@discard)", "unmap");
    has(xml, "string(//disk[1]/serial)", "S-1");
    has(xml, "count(//disk[2]/readonly)", "1");
    has(xml, "count(//disk[3]/shareable)", "1");
    has(xml, "count(//disk[4]/source)", "0");
    free(xml);
    refused("name: a\nmemory: 1GiB\ndisks: [{name: r, size: 1GiB, io: native}]\n", VMCTL_E_INVALID_SPEC, "cache: none");
    refused("name: a\nmemory: 1GiB\ndisks: [{name: r, size: 1GiB, shared: true}]\n", VMCTL_E_UNSUPPORTED, "raw");
    refused("name: a\nmemory: 1GiB\ndisks: [{name: r, size: 1GiB, bus: ide}]\n", VMCTL_E_UNSUPPORTED, "IDE");
    refused("name: a\nmemory: 1GiB\ndisks: [{name: r, size: 1GiB, bus: nvme}]\n", VMCTL_E_UNSUPPORTED, "nvme");
}

/* "a PCI Express device can only be hot-plugged into a pcie-root-port" (QEMU's pcie.txt); conventional PCI has slots. */
static void there_is_room_to_plug_devices(void **state) {
    (void)state;
    char *xml = xml_of("name: a\nmemory: 1GiB\ndisks: []\n");
    has(xml, "count(//controller[@type='pci'][@model='pcie-root-port']) > 8", "true");
    free(xml);
    xml = xml_of("name: a\nmemory: 1GiB\nmachine: pc\ndisks: []\n");
    has(xml, "count(//controller[@type='pci'])", "0");
    free(xml);
}

/* An alias holds letters, digits, '_' and '-' only; two names must not become one. */
static void any_name_has_an_alias(void **state) {
    (void)state;
    const char *yaml = "name: a\nmemory: 1GiB\ndisks: [{name: \"da ta\", size: 1GiB}, {name: da_ta, size: 1GiB}, "
                       "{name: \"d\xc3\xa4\", size: 1GiB}]\n";
    char *xml = xml_of(yaml);
    valid(xml);
    has(xml, "count(//disk/alias[starts-with(@name, 'ua-da_ta')])", "2");
    has(xml, "string(//disk[2]/alias/@name)", "ua-da_ta");
    has(xml,
        "string-length(translate(//disk[1]/alias/@name, "
        "'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-', ''))",
        "0");
    vmctl_spec *have = NULL;
    assert_int_equal(0, libvirt_domain_spec(xml, &have, NULL));
    const vmctl_node *root = vmctl_spec_root(have);
    assert_string_equal("da ta", vmctl_node_string(root, "disks[0].name", ""));
    assert_string_equal("da_ta", vmctl_node_string(root, "disks[1].name", ""));
    assert_string_equal("d\xc3\xa4", vmctl_node_string(root, "disks[2].name", ""));
    vmctl_spec_free(have);
    free(xml);
}

static void cpus_with_topology_and_room(void **state) {
    (void)state;
    char *xml = xml_of("name: a\nmemory: 1GiB\ncpus: {count: 4, sockets: 1, cores: 2, threads: 2}\ndisks: []\n");
    valid(xml);
    has(xml, "string(//cpu/topology[@sockets='1'][@cores='2']/@threads)", "2");
    has(xml, "string(//vcpu)", "4");
    free(xml);
    xml = xml_of("name: a\nmemory: 1GiB\ncpus: {count: 2, max: 8, sockets: 2, cores: 4}\ndisks: []\n");
    valid(xml);
    has(xml, "string(//vcpu/@current)", "2");
    has(xml, "string(//vcpu)", "8");
    has(xml, "string(//cpu/topology[@cores='4'][@threads='1']/@sockets)", "2");
    free(xml);
    libvirt_host_features kvm = debian_tcg;
    kvm.kvm = true;
    libvirt_domain_plan plan = {.host = &kvm};
    xml = xml_of_plan("name: a\nmemory: 1GiB\ncpus: {count: 2, model: Skylake-Server}\ndisks: []\n", &plan);
    valid(xml);
    has(xml, "string(/domain[@type='kvm']/cpu[@mode='custom'][@match='exact']/model)", "Skylake-Server");
    free(xml);
    xml = xml_of_plan("name: a\nmemory: 1GiB\ndisks: []\n", &plan);
    has(xml, "string(/domain[@type='kvm']/cpu/@mode)", "host-passthrough");
    free(xml);
    kvm.no_host_cpu = true; /* nested KVM that QEMU's -cpu host asserts on */
    xml = xml_of_plan("name: a\nmemory: 1GiB\ndisks: []\n", &plan);
    valid(xml);
    has(xml, "string(/domain[@type='kvm']/cpu/@mode)", "host-model");
    free(xml);
    kvm.no_host_cpu = false;
    xml = xml_of_plan("name: a\nmemory: 1GiB\nguest: windows\ncpus: 6\ndisks: []\n", &plan);
    valid(xml);
    has(xml, "string(//cpu/topology[@sockets='1']/@cores)", "6"); /* client editions use two sockets at most */
    has(xml, "string(//hyperv/relaxed/@state)", "on");
    has(xml, "string(//clock/@offset)", "localtime");
    free(xml);
}

static void without_kvm_the_host_cpu_is_said_to_be_another(void **state) {
    (void)state;
    VMC_AUTO_STRV warnings = {0};
    libvirt_domain_plan plan = {.warnings = &warnings};
    char *xml = xml_of_plan("name: a\nmemory: 1GiB\ncpus: {model: host}\ndisks: []\n", &plan);
    has(xml, "string(//cpu/@mode)", "maximum");
    assert_int_equal(1, warnings.count);
    free(xml);
}

/* "maxMemory ... requires specifying a NUMA topology" */
static void memory_that_can_grow(void **state) {
    (void)state;
    char *xml =
        xml_of("name: a\nmemory: {size: 2GiB, max: 8GiB, hugepages: true}\ncpus: {count: 2, max: 4}\ndisks: []\n");
    valid(xml);
    has(xml, "string(/domain/maxMemory[@slots > 0])", "8388608");
    has(xml, "string(/domain/memory)", "2097152");
    has(xml, "string(//numa/cell[@id='0'][@cpus='0-3'][@unit='KiB']/@memory)", "2097152");
    has(xml, "count(/domain/memoryBacking/hugepages)", "1");
    has(xml, "string(/domain/cpu/@mode)", "maximum");
    free(xml);
}

static void firmware_of_every_kind(void **state) {
    (void)state;
    char *xml = xml_of("name: a\nmemory: 1GiB\nfirmware: uefi\ndisks: []\n");
    valid(xml);
    has(xml, "string(/domain/os/@firmware)", "efi");
    has(xml, "string(//firmware/feature[@name='secure-boot']/@enabled)", "no");
    has(xml, "count(//smm)", "0");
    free(xml);
    xml = xml_of("name: a\nmemory: 1GiB\nfirmware: {type: uefi, secureBoot: true, tpm: true}\ndisks: []\n");
    valid(xml);
    has(xml, "string(//firmware/feature[@name='secure-boot']/@enabled)", "yes");
    has(xml, "string(//firmware/feature[@name='enrolled-keys']/@enabled)", "yes");
    has(xml, "string(//loader/@secure)", "yes");
    has(xml, "string(//features/smm/@state)", "on"); /* the variables are protected by it */
    has(xml, "string(//tpm[@model='tpm-crb']/backend[@type='emulator']/@version)", "2.0");
    free(xml);
    libvirt_host_features bare = debian_tcg;
    bare.uefi = bare.secure_boot = bare.tpm = false;
    libvirt_domain_plan plan = {.host = &bare};
    refused_plan("name: a\nmemory: 1GiB\nfirmware: uefi\ndisks: []\n", &plan, VMCTL_E_UNSUPPORTED, "UEFI");
    refused_plan("name: a\nmemory: 1GiB\nfirmware: {tpm: true}\ndisks: []\n", &plan, VMCTL_E_UNSUPPORTED, "TPM");
    refused("name: a\nmemory: 1GiB\nmachine: pc\nfirmware: {type: uefi, secureBoot: true}\ndisks: []\n",
            VMCTL_E_UNSUPPORTED, "q35");
}

static void booting(void **state) {
    (void)state;
    const char *disks = "disks: [{name: installer, cdrom: /i.iso}, {name: root, size: 1GiB}]\n"
                        "networks: [{name: lan, type: user}]\n";
    VMC_AUTO_FREE char *plain = vmc_printf("name: a\nmemory: 1GiB\n%s", disks);
    char *xml = xml_of(plain);
    has(xml, "string(//disk[alias/@name='ua-root']/boot/@order)", "1"); /* disks, then optical drives */
    has(xml, "string(//disk[alias/@name='ua-installer']/boot/@order)", "2");
    has(xml, "count(//interface/boot) + count(//os/boot)", "0");
    free(xml);
    VMC_AUTO_FREE char *ordered = vmc_printf("name: a\nmemory: 1GiB\nboot: {order: [lan, installer]}\n%s", disks);
    xml = xml_of(ordered);
    valid(xml);
    has(xml, "string(//interface/boot/@order)", "1");
    has(xml, "string(//disk[alias/@name='ua-installer']/boot/@order)", "2");
    has(xml, "count(//disk[alias/@name='ua-root']/boot)", "0");
    free(xml);
    libvirt_domain_plan plan = {.kernel = "/pool/k", .initrd = "/pool/i"};
    xml = xml_of_plan("name: a\nmemory: 1GiB\nboot: {kernel: /k, initrd: /i, cmdline: \"console=ttyS0 a<b\"}\n", &plan);
    valid(xml);
    has(xml, "string(//os/kernel)", "/pool/k");
    has(xml, "string(//os/initrd)", "/pool/i");
    has(xml, "string(//os/cmdline)", "console=ttyS0 a<b");
    free(xml);
}

static void networks_of_every_type(void **state) {
    (void)state;
    char *xml = xml_of("name: a\nmemory: 1GiB\ndisks: []\nnetworks:\n- {name: n1, type: nat}\n"
                       "- {name: n2, type: nat, source: lab}\n- {name: n3, type: user}\n"
                       "- {name: n4, type: bridge, source: br0, model: e1000e, mac: \"52:54:00:12:34:56\", mtu: 9000, "
                       "link: down}\n- {name: n5, type: network, source: ovs, vlan: 12}\n");
    valid(xml);
    has(xml, "string(//interface[alias/@name='ua-n1'][@type='network']/source/@network)", "default");
    has(xml, "string(//interface[alias/@name='ua-n2'][@type='network']/source/@network)", "lab");
    has(xml, "string(//interface[alias/@name='ua-n3']/@type)", "user");
    has(xml, "string(//interface[alias/@name='ua-n4'][@type='bridge']/source/@bridge)", "br0");
    has(xml, "string(//interface[alias/@name='ua-n4']/model/@type)", "e1000e");
    has(xml, "string(//interface[alias/@name='ua-n4']/mac/@address)", "52:54:00:12:34:56");
    has(xml, "string(//interface[alias/@name='ua-n4']/mtu/@size)", "9000");
    has(xml, "string(//interface[alias/@name='ua-n4']/link/@state)", "down");
    has(xml, "string(//interface[alias/@name='ua-n5']/vlan/tag/@id)", "12");
    free(xml);
    refused("name: a\nmemory: 1GiB\ndisks: []\nnetworks: [{name: n, type: bridge, source: br0, vlan: 5}]\n",
            VMCTL_E_UNSUPPORTED, "11.0");
    refused("name: a\nmemory: 1GiB\ndisks: []\nnetworks: [{name: n, type: user, mtu: 1400}]\n", VMCTL_E_UNSUPPORTED,
            "MTU");
    refused("name: a\nmemory: 1GiB\ndisks: []\nnetworks: [{name: n, type: pod}]\n", VMCTL_E_UNSUPPORTED, "pod");
}

/* Measured on libvirt 9.0 and QEMU 7.2: -set adds to the interface's own netdev once libvirt does not write it as JSON. */
static void forwards_add_to_the_interface(void **state) {
    (void)state;
    const char *yaml = "name: a\nmemory: 1GiB\ndisks: []\nnetworks: [{name: lan, type: nat, forward: [\"2222:22\", "
                       "\"udp:0.0.0.0:5353:53\"]}]\n";
    char *xml = xml_of(yaml);
    valid(xml);
    has(xml, "string(//interface/@type)", "user");
    has(xml, "string(//q:commandline/q:arg[1]/@value)", "-set");
    has(xml, "string(//q:commandline/q:arg[2]/@value)", "netdev.hostua-lan.hostfwd=tcp:127.0.0.1:2222-:22");
    has(xml, "string(//q:commandline/q:arg[4]/@value)", "netdev.hostua-lan.hostfwd=udp:0.0.0.0:5353-:53");
    has(xml, "string(//q:capabilities/q:del/@capability)", "netdev.json");
    free(xml);
    libvirt_host_features later = debian_tcg;
    later.libvirt_version = 11000000;
    libvirt_domain_plan plan = {.host = &later};
    xml = xml_of_plan(yaml, &plan);
    valid(xml);
    has(xml, "string(//interface[@type='user']/backend/@type)", "passt");
    has(xml, "string(//portForward[@proto='tcp'][@address='127.0.0.1']/range[@start='2222']/@to)", "22");
    has(xml, "count(//q:commandline)", "0");
    free(xml);
}

static void a_session_has_no_nat(void **state) {
    (void)state;
    VMC_AUTO_STRV warnings = {0};
    libvirt_domain_plan plan = {.session = true, .warnings = &warnings};
    char *xml = xml_of_plan("name: a\nmemory: 1GiB\ndisks: []\n", &plan);
    has(xml, "string(//interface/@type)", "user");
    assert_int_equal(1, warnings.count);
    free(xml);
}

static void displays(void **state) {
    (void)state;
    char *xml = xml_of("name: a\nmemory: 1GiB\ndisks: []\ndisplay: none\n");
    valid(xml);
    has(xml, "count(//graphics)", "0");
    has(xml, "string(//video/model/@type)", "none"); /* else libvirt adds a card */
    free(xml);
    xml = xml_of("name: a\nmemory: 1GiB\ndisks: []\ndisplay: {type: spice, video: qxl, listen: 0.0.0.0}\n");
    valid(xml);
    has(xml, "string(//graphics[@type='spice'][@autoport='yes']/listen[@type='address']/@address)", "0.0.0.0");
    has(xml, "string(//video/model/@type)", "qxl");
    has(xml, "count(//channel[@type='spicevmc'])", "1");
    free(xml);
    xml = xml_of("name: a\nmemory: 1GiB\ndisks: []\ndisplay: {type: vnc, video: virtio, gl: true}\n");
    valid(xml);
    has(xml, "string(//video/model/acceleration/@accel3d)", "yes");
    has(xml, "count(//graphics[@type='egl-headless'])", "1");
    free(xml);
    libvirt_host_features no_spice = debian_tcg;
    no_spice.spice = false;
    libvirt_domain_plan plan = {.host = &no_spice};
    refused_plan("name: a\nmemory: 1GiB\ndisks: []\ndisplay: spice\n", &plan, VMCTL_E_UNSUPPORTED, "spice");
}

static void serial_agent_rng_watchdog(void **state) {
    (void)state;
    char *xml = xml_of("name: a\nmemory: 1GiB\ndisks: []\nserial: {log: a.log}\nguestAgent: true\nrng: true\n"
                       "watchdog: poweroff\n");
    valid(xml);
    has(xml, "string(//serial/log/@file)", "/logs/vm.log");
    has(xml, "string(//channel[@type='unix']/target[@type='virtio']/@name)", "org.qemu.guest_agent.0");
    has(xml, "string(//rng[@model='virtio']/backend[@model='random'])", "/dev/urandom");
    has(xml, "string(//watchdog[@model='i6300esb']/@action)", "poweroff");
    free(xml);
}

/* virtiofs: "memory must be shared"; 9p needs nothing of the kind. */
static void shares(void **state) {
    (void)state;
    char *xml = xml_of("name: a\nmemory: 1GiB\ndisks: []\nshares: [{name: src, path: /src, type: virtiofs}]\n");
    valid(xml);
    has(xml, "string(//filesystem[@type='mount'][@accessmode='passthrough']/driver/@type)", "virtiofs");
    has(xml, "string(//filesystem/source/@dir)", "/src");
    has(xml, "string(//filesystem/target/@dir)", "src");
    has(xml, "string(//memoryBacking/source/@type)", "memfd");
    has(xml, "string(//memoryBacking/access/@mode)", "shared");
    free(xml);
    xml = xml_of("name: a\nmemory: 1GiB\ndisks: []\nshares: [{name: src, path: /src, type: 9p, readonly: true}]\n");
    valid(xml);
    has(xml, "string(//filesystem/driver/@type)", "path");
    has(xml, "count(//filesystem/readonly)", "1");
    has(xml, "count(//memoryBacking)", "0");
    free(xml);
    refused("name: a\nmemory: 1GiB\ndisks: []\nshares: [{name: s, path: /s, type: virtiofs, readonly: true}]\n",
            VMCTL_E_UNSUPPORTED, "11.0");
    libvirt_domain_plan session = {.session = true};
    refused_plan("name: a\nmemory: 1GiB\ndisks: []\nshares: [{name: s, path: /s, type: virtiofs}]\n", &session,
                 VMCTL_E_UNSUPPORTED, "session");
}

/* A cloud kernel has virtio and nothing else; the label is found on any disk. */
static void the_seed_is_where_the_guest_finds_it(void **state) {
    (void)state;
    libvirt_domain_plan plan = {.seed_iso = "/pool/seed.iso"};
    char *xml = xml_of_plan("name: a\nmemory: 1GiB\ndisks: [{name: root, image: /i}]\ncloudInit: {user: ci}\n", &plan);
    valid(xml);
    has(xml, "string(//disk[source/@file='/pool/seed.iso'][@device='disk'][readonly]/target[@bus='virtio']/@dev)",
        "vdb");
    has(xml, "count(//disk[source/@file='/pool/seed.iso']/boot)", "0");
    vmctl_spec *have = NULL;
    assert_int_equal(0, libvirt_domain_spec(xml, &have, NULL));
    assert_int_equal(1, vmctl_node_count(vmctl_node_get(vmctl_spec_root(have), "disks")));
    assert_string_equal("ci", vmctl_node_string(vmctl_spec_root(have), "cloudInit.user", ""));
    vmctl_spec_free(have);
    free(xml);
}

/* Whoever may read the domain may read its metadata: what may be secret is not kept there. */
static void secrets_stay_out_of_the_document(void **state) {
    (void)state;
    libvirt_domain_plan plan = {.seed_iso = "/pool/seed.iso"};
    char *xml = xml_of_plan("name: a\nmemory: 1GiB\ndisks: [{name: root, image: /i}]\n"
                            "cloudInit: {userData: {inline: \"#cloud-config\\npassword: hunter2\\n\"}, "
                            "networkData: {inline: \"hunter3: 1\\n\"}}\n",
                            &plan);
    assert_null(strstr(xml, "hunter"));
    free(xml);
}

#define PATCHED(patch) "name: a\nmemory: 1GiB\ndisks: []\nlibvirt: {xmlPatch: \"" patch "\"}\n"

static void a_patch_is_laid_over(void **state) {
    (void)state;
    char *xml = xml_of("name: a\nmemory: 1GiB\ndisks: [{name: root, image: /i}]\nlibvirt:\n  qemuArgs: [-fw_cfg, "
                       "\"name=opt/x,string=y\"]\n  xmlPatch: |\n"
                       "    <domain>\n      <title>A title</title>\n      <features><pae/></features>\n"
                       "      <devices><disk type='file'><target dev='vda'/><iotune><total_iops_sec>100"
                       "</total_iops_sec></iotune></disk>\n"
                       "      <sound model='ich9'/></devices>\n    </domain>\n");
    valid(xml);
    has(xml, "string(/domain/title)", "A title");
    has(xml, "count(/domain/features/pae) + count(/domain/features/acpi)", "2");
    has(xml, "count(//disk)", "1");
    has(xml, "string(//disk[source]/iotune/total_iops_sec)", "100");
    has(xml, "string(//sound/@model)", "ich9");
    has(xml, "string(//q:arg[1]/@value)", "-fw_cfg");
    has(xml, "string(//q:arg[2]/@value)", "name=opt/x,string=y");
    free(xml);
    refused(PATCHED("<domain>\\n<a>\\n</domain>"), VMCTL_E_INVALID_SPEC, "line 3");
    refused(PATCHED("<network/>"), VMCTL_E_INVALID_SPEC, "<network>");
    refused(PATCHED("<domain><name>b</name></domain>"), VMCTL_E_INVALID_SPEC, "name");
    refused(PATCHED("<!DOCTYPE d [<!ENTITY a 'aaaa'>]><domain><title>&a;</title></domain>"), VMCTL_E_INVALID_SPEC,
            "document type");
}

/* test:/// takes type test only and its capabilities have one architecture. */
static void the_test_driver(void **state) {
    (void)state;
    libvirt_domain_plan plan = {.test_driver = true};
    char *xml = xml_of_plan("name: a\nmemory: 1GiB\nfirmware: uefi\ndisks: [{name: root, image: /i, bus: scsi}]\n"
                            "networks: [{name: lan, type: user, forward: [\"1:1\"]}]\n",
                            &plan);
    has(xml, "string(/domain/@type)", "test");
    has(xml, "count(//os/type/@arch) + count(//q:commandline)", "0");
    free(xml);
}

static void a_native_document_gets_the_marker(void **state) {
    (void)state;
    char *xml = xml_of("<domain type='qemu'><name>n</name><memory unit='MiB'>64</memory>"
                       "<os><type>hvm</type></os><devices><hub type='usb'/></devices></domain>");
    valid(xml);
    has(xml, "string(//v:vm/@owner)", "someone@host");
    has(xml, "string(//hub/@type)", "usb");
    has(xml, "string(/domain/memory[@unit='MiB'])", "64");
    free(xml);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_smallest_vm),
        cmocka_unit_test(the_marker_and_its_labels),
        cmocka_unit_test(a_disk_whose_name_ends_like_a_kernel),
        cmocka_unit_test(every_bus_has_its_targets),
        cmocka_unit_test(thirty_disks_have_two_letters),
        cmocka_unit_test(scsi_controllers_come_as_needed),
        cmocka_unit_test(disks_keep_their_settings),
        cmocka_unit_test(there_is_room_to_plug_devices),
        cmocka_unit_test(any_name_has_an_alias),
        cmocka_unit_test(cpus_with_topology_and_room),
        cmocka_unit_test(without_kvm_the_host_cpu_is_said_to_be_another),
        cmocka_unit_test(memory_that_can_grow),
        cmocka_unit_test(firmware_of_every_kind),
        cmocka_unit_test(booting),
        cmocka_unit_test(networks_of_every_type),
        cmocka_unit_test(forwards_add_to_the_interface),
        cmocka_unit_test(a_session_has_no_nat),
        cmocka_unit_test(displays),
        cmocka_unit_test(serial_agent_rng_watchdog),
        cmocka_unit_test(shares),
        cmocka_unit_test(the_seed_is_where_the_guest_finds_it),
        cmocka_unit_test(secrets_stay_out_of_the_document),
        cmocka_unit_test(a_patch_is_laid_over),
        cmocka_unit_test(the_test_driver),
        cmocka_unit_test(a_native_document_gets_the_marker),
    };
    return schema_is_missing() ? 77 : cmocka_run_group_tests(tests, NULL, NULL);
}
