/* devices.c - network cards, firmware, TPM, displays, shares and the small devices of a VM. */
#include "contract.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

static const seen_device *first_of(const seen *facts, vmctl_device_kind kind) {
    for (size_t i = 0; i < facts->device_count; i++)
        if (facts->devices[i].kind == kind)
            return &facts->devices[i];
    print_error("no device of kind %s\n", vmctl_device_kind_name(kind));
    fail();
    return NULL;
}

/* Whether something listens on this machine's port (QEMU's user networking accepts and then asks the guest). */
static bool answers(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool yes = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    if (fd >= 0)
        close(fd);
    return yes;
}

static void nat_network(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("net-a", "%s", "networks: [{name: out, type: nat}]");
    wait_line(vm, 1);
    assert_true(native_shows(vm, "nat"));
    seen facts;
    look(vm, &facts);
    assert_int_equal(device(&facts, "out")->kind, VMCTL_DEVICE_NIC);
    assert_string_not_equal(device(&facts, "out")->mac, "");
    vmctl_vm_free(vm);
}

static void user_network(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("net-b", "%s", "networks: [{name: out, type: user}]");
    wait_line(vm, 1);
    assert_true(native_shows(vm, "user"));
    seen facts;
    look(vm, &facts);
    assert_string_equal(device(&facts, "out")->type, "user");
    vmctl_vm_free(vm);
}

static void forwards_listen_while_it_runs(void **state) {
    (void)state;
    vmctl_vm *vm = make("net-c", "%s", "networks: [{name: out, type: user, forward: [\"20022:22\", \"20080:80\"]}]");
    assert_false(answers(20022));
    start(vm);
    wait_line(vm, 1);
    assert_true(answers(20022));
    assert_true(answers(20080));
    /* A new process of the hypervisor has them again. */
    vmctl_stop_options options = VMCTL_STOP_OPTIONS_INIT;
    options.force = true;
    MUST(vmctl_vm_restart(vm, &options, &err));
    wait_line(vm, 1);
    assert_true(answers(20022));
    force_off(vm);
    assert_false(answers(20022));
    vmctl_vm_free(vm);
}

static void nat_with_forwards(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("net-d", "%s", "networks: [{name: out, type: nat, forward: [\"20122:22\"]}]");
    wait_line(vm, 1);
    assert_true(answers(20122));
    vmctl_vm_free(vm);
}

static void bridge_network(void **state) {
    (void)state;
    const char *const add[] = {"ip", "link", "add", "ct0", "type", "bridge", NULL};
    const char *const gone[] = {"ip", "link", "del", "ct0", NULL};
    if (run_program(add) != 0)
        skip();
    vmctl_vm *vm = make("net-e", "%s", "networks: [{name: lan, type: bridge, source: ct0}]");
    vmctl_start_options none = VMCTL_START_OPTIONS_INIT;
    int rc = profile->has_bridges ? vmctl_vm_start(vm, &none, &err) : 0;
    bool shows = rc == 0 && native_shows(vm, "bridge");
    run_program(gone);
    MUST(rc);
    assert_true(shows);
    seen facts;
    look(vm, &facts);
    assert_string_equal(device(&facts, "lan")->source, "ct0");
    vmctl_vm_free(vm);
}

static void named_network(void **state) {
    (void)state;
    static const char networks[] = "networks: [{name: lan, type: network, source: default}]";
    vmctl_vm *vm = profile->has_bridges ? make_started("net-f", "%s", networks) : make("net-f", "%s", networks);
    if (profile->has_bridges)
        wait_line(vm, 1);
    seen facts;
    look(vm, &facts);
    assert_string_equal(device(&facts, "lan")->source, "default");
    vmctl_vm_free(vm);
}

static void a_missing_network_is_not_found(void **state) {
    (void)state;
    char *before = world();
    vmctl_spec *spec = spec_of("net-g", "%s", "networks: [{name: lan, type: network, source: nowhere}]");
    vmctl_create_options options = VMCTL_CREATE_OPTIONS_INIT;
    options.start = true;
    FAILS(VMCTL_E_NOT_FOUND, vmctl_create(conn, spec, &options, NULL, &err));
    assert_non_null(strstr(failure, "nowhere"));
    vmctl_spec_free(spec);
    char *after = world_after(before);
    assert_string_equal(before, after);
    free(before);
    free(after);
}

static void several_nics_with_models_and_macs(void **state) {
    (void)state;
    vmctl_vm *vm =
        make_started("net-h", "%s",
                     profile->nics ? profile->nics
                                   : "networks: [{name: a, type: nat, mac: \"52:54:00:12:34:56\"}, "
                                     "{name: b, type: user, model: e1000}, {name: c, type: user, link: down}]");
    wait_line(vm, 1);
    assert_true(native_shows(vm, "mac"));
    assert_true(native_shows(vm, "nic e1000"));
    assert_true(native_shows(vm, "link down"));
    seen facts;
    look(vm, &facts);
    assert_string_equal(device(&facts, "a")->mac, "52:54:00:12:34:56");
    assert_string_equal(device(&facts, "b")->bus, "e1000");
    assert_true(device(&facts, "b")->link_up);
    assert_false(device(&facts, "c")->link_up);
    vmctl_vm_free(vm);
}

static void no_networks_is_none(void **state) {
    (void)state;
    vmctl_vm *vm = make("net-i", "%s", "networks: []");
    seen facts;
    look(vm, &facts);
    for (size_t i = 0; i < facts.device_count; i++)
        assert_int_not_equal(facts.devices[i].kind, VMCTL_DEVICE_NIC);
    vmctl_vm_free(vm);
}

static void uefi_runs(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("fw-a", "%s", "firmware: uefi\nmemory: 128MiB");
    seen facts;
    look(vm, &facts);
    assert_string_equal(facts.firmware, "uefi");
    assert_int_equal(facts.state, VMCTL_STATE_RUNNING);
    force_off(vm);
    MUST(vmctl_vm_delete(vm, NULL, &err)); /* with its variable store, or `world` differs */
    vmctl_vm_free(vm);
}

static void secure_boot_runs(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("fw-b", "%s", "firmware: {type: uefi, secureBoot: true}\nmemory: 128MiB");
    assert_true(native_shows(vm, "secure boot"));
    assert_int_equal(state_of(vm), VMCTL_STATE_RUNNING);
    vmctl_vm_free(vm);
}

static void tpm_runs(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("fw-c", "%s", "firmware: {type: uefi, tpm: true}\nmemory: 128MiB");
    assert_true(native_shows(vm, "tpm"));
    assert_int_equal(state_of(vm), VMCTL_STATE_RUNNING);
    seen facts;
    look(vm, &facts);
    first_of(&facts, VMCTL_DEVICE_TPM);
    force_off(vm);
    MUST(vmctl_vm_delete(vm, NULL, &err)); /* with its TPM's state */
    vmctl_vm_free(vm);
}

static void machine_types(void **state) {
    (void)state;
    vmctl_vm *q35 = make_started("mc-b", "%s", "machine: q35");
    wait_line(q35, 1);
    assert_true(native_shows(q35, "q35"));
    vmctl_vm_free(q35);
    if (profile->only_q35)
        return;
    vmctl_vm *pc = make_started("mc-a", "%s", "machine: pc");
    wait_line(pc, 1);
    assert_true(native_shows(pc, "pc"));
    vmctl_vm_free(pc);
}

static void cpu_topology(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("cpu-a", "%s", "cpus: {count: 4, sockets: 1, cores: 2, threads: 2}");
    wait_line(vm, 1);
    assert_true(native_shows(vm, "topology"));
    assert_true(native_shows(vm, "cores"));
    seen facts;
    look(vm, &facts);
    assert_int_equal(facts.cpus, 4);
    vmctl_vm_free(vm);
}

static void cpu_maximum(void **state) {
    (void)state;
    vmctl_vm *vm = make("cpu-b", "%s", "cpus: {count: 1, max: 4}");
    assert_true(native_shows(vm, "maximum cpus"));
    vmctl_vm_free(vm);
}

static void software_cpu(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("cpu-c", "%s", "accel: tcg");
    wait_line(vm, 1);
    assert_true(native_shows(vm, "tcg"));
    seen facts;
    look(vm, &facts);
    assert_string_equal(facts.accel, "tcg");
    vmctl_vm_free(vm);
}

static int take_display(const vmctl_display *display, void *user) {
    seen_device *to = user;
    snprintf(to->type, sizeof to->type, "%s", display->type);
    snprintf(to->source, sizeof to->source, "%s", display->uri ? display->uri : "");
    snprintf(to->name, sizeof to->name, "%s", display->address ? display->address : "");
    to->capacity = (uint64_t)display->port;
    return 0;
}

static void vnc_answers(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("dp-a", "%s", "display: {type: vnc, listen: 127.0.0.1}");
    assert_true(native_shows(vm, "vnc"));
    seen_device display = {0};
    MUST(vmctl_display_list(vm, NULL, take_display, &display, &err));
    assert_string_equal(display.type, "vnc");
    assert_string_equal(display.name, "127.0.0.1");
    assert_in_range(display.capacity, 5900, 6900);
    assert_int_equal(strncmp(display.source, "vnc://127.0.0.1:", 16), 0);
    /* RFB 7.1.1: the server speaks first. */
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)display.capacity)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char hello[13] = "";
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(recv(fd, hello, 12, MSG_WAITALL), 12);
    close(fd);
    assert_memory_equal(hello, "RFB 003.", 8);
    vmctl_vm_free(vm);
}

static void spice_answers(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("dp-b", "%s", "display: {type: spice, listen: 127.0.0.1}");
    assert_true(native_shows(vm, "spice"));
    seen_device display = {0};
    MUST(vmctl_display_list(vm, NULL, take_display, &display, &err));
    assert_string_equal(display.type, "spice");
    assert_true(answers((int)display.capacity));
    vmctl_vm_free(vm);
}

static int count_display(const vmctl_display *display, void *user) {
    (void)display;
    ++*(int *)user;
    return 0;
}

static void no_display_is_none(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("dp-c", "%s", "display: none");
    int count = 0;
    MUST(vmctl_display_list(vm, NULL, count_display, &count, &err));
    assert_int_equal(count, 0);
    vmctl_vm_free(vm);
}

static void share_of_type(const char *name, const char *type) {
    char folder[300];
    snprintf(folder, sizeof folder, "%s/share-%s", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", type);
    const char *const make_folder[] = {"mkdir", "-p", folder, NULL};
    assert_int_equal(run_program(make_folder), 0);
    vmctl_vm *vm = make(name, "shares: [{name: src, path: %s, type: %s}]", folder, type);
    assert_true(native_shows(vm, type));
    start(vm);
    wait_line(vm, 1);
    seen facts;
    look(vm, &facts);
    assert_int_equal(device(&facts, "src")->kind, VMCTL_DEVICE_SHARE);
    assert_string_equal(device(&facts, "src")->source, folder);
    vmctl_vm_free(vm);
}

static void virtiofs_share(void **state) {
    (void)state;
    share_of_type("sh-a", "virtiofs");
}

static void plan9_share(void **state) {
    (void)state;
    share_of_type("sh-b", "9p");
}

static void agent_channel(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("ag-a", "%s", "guestAgent: true");
    wait_line(vm, 1);
    assert_true(native_shows(vm, "agent channel"));
    vmctl_vm_free(vm);
}

static void random_numbers(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("rng-a", "%s", "rng: true");
    wait_line(vm, 1);
    assert_true(native_shows(vm, "rng"));
    vmctl_vm_free(vm);
}

static void watchdog_action(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("wd-a", "%s", "watchdog: reset");
    wait_line(vm, 1);
    assert_true(native_shows(vm, "watchdog"));
    assert_true(native_shows(vm, "watchdog reset"));
    vmctl_vm_free(vm);
}

static void autostart_is_set(void **state) {
    (void)state;
    vmctl_vm *on = make("as-a", "%s", "autostart: true"), *off = make("as-b", "%s", "");
    seen facts;
    look(on, &facts);
    assert_int_equal(facts.autostart, 1);
    look(off, &facts);
    assert_int_equal(facts.autostart, 0);
    vmctl_vm_free(on);
    vmctl_vm_free(off);
}

static void the_marker_tells_where_it_came_from(void **state) {
    (void)state;
    vmctl_spec *spec = spec_of("mk-a", "%s", "labels: {team: infra, tier: web}\ndescription: front end\nlifetime: 2h");
    vmctl_create_options options = VMCTL_CREATE_OPTIONS_INIT;
    options.owner = "me@here";
    options.run = "run-1";
    vmctl_vm *vm = NULL;
    MUST(vmctl_create(conn, spec, &options, &vm, &err));
    vmctl_spec_free(spec);
    seen facts;
    look(vm, &facts);
    assert_true(facts.managed);
    assert_true(native_shows(vm, "managed"));
    assert_string_equal(facts.owner, "me@here");
    assert_string_equal(facts.run, "run-1");
    assert_string_equal(facts.description, "front end");
    assert_int_equal(facts.labels, 2);
    assert_true(facts.created > 1700000000);
    assert_int_equal(facts.expires - facts.created, 7200);
    for (size_t i = 0; i < 2; i++)
        assert_string_equal(facts.label_value[i], strcmp(facts.label_key[i], "team") == 0 ? "infra" : "web");
    vmctl_vm_free(vm);
}

static void usb_devices_are_named_before_they_come(void **state) {
    (void)state;
    static const char item[] = "{name: stick, device: \"ffff:fffe\"}";
    if (!profile->any_usb) {
        vmctl_vm *vm = make("usb-a", "%s", "");
        int rc = attach(vm, "usb", item, false, NULL);
        assert_true(rc < 0);
        FAILS(rc, rc);
        vmctl_vm_free(vm);
        return;
    }
    vmctl_vm *vm = make("usb-a", "%s", "usb: [{name: token, device: \"ffff:fffe\"}]");
    seen facts;
    look(vm, &facts);
    assert_int_equal(device(&facts, "token")->kind, VMCTL_DEVICE_USB);
    assert_string_equal(device(&facts, "token")->source, "ffff:fffe");
    assert_true(native_shows(vm, "usb device"));
    MUST(detach(vm, "token", true, NULL));
    look(vm, &facts);
    assert_null(device_or_null(&facts, "token"));
    MUST(attach(vm, "usb", item, true, NULL));
    FAILS(VMCTL_E_ALREADY_EXISTS, attach(vm, "usb", item, true, NULL));
    FAILS(VMCTL_E_INVALID_SPEC, attach(vm, "usb", "{name: other, device: stick}", true, NULL));
    look(vm, &facts);
    assert_string_equal(device(&facts, "stick")->source, "ffff:fffe");
    assert_null(device_or_null(&facts, "other"));
    MUST(detach(vm, "stick", true, NULL));
    assert_false(native_shows(vm, "usb device"));
    vmctl_vm_free(vm);
}

static const contract_test tests[] = {
    TEST("network.nat", "create start", nat_network),
    TEST("network.user", "create start", user_network),
    TEST("network.forward", "create start restart", forwards_listen_while_it_runs),
    TEST("network.forward", "create start", nat_with_forwards),
    TEST("network.bridge", "create start", bridge_network),
    TEST("network.network", "create start", named_network),
    TEST("network.network", "create undo", a_missing_network_is_not_found),
    TEST("network.nics", "create get", several_nics_with_models_and_macs),
    TEST("network.none", "create get", no_networks_is_none),
    TEST("firmware.uefi", "create start remove", uefi_runs),
    TEST("firmware.secureboot", "create start remove", secure_boot_runs),
    TEST("firmware.tpm", "create start remove", tpm_runs),
    TEST("machine.type", "create start", machine_types),
    TEST("cpu.topology", "create start", cpu_topology),
    TEST("cpu.max", "create", cpu_maximum),
    TEST("accel.tcg", "create start", software_cpu),
    TEST("display.vnc display.virtual display.address", "create start display_list", vnc_answers),
    TEST("display.spice", "create start display_list", spice_answers),
    TEST("display.none", "create display_list", no_display_is_none),
    TEST("share.virtiofs", "create start", virtiofs_share),
    TEST("share.9p", "create start", plan9_share),
    TEST("guest.channel", "create start", agent_channel),
    TEST("device.rng", "create start", random_numbers),
    TEST("device.watchdog", "create start", watchdog_action),
    TEST("look.get", "create device_attach device_detach", usb_devices_are_named_before_they_come),
    TEST("lifecycle.autostart", "create get", autostart_is_set),
    TEST("lifecycle.lease", "create get", the_marker_tells_where_it_came_from),
};
const contract_group group_devices = {"devices", tests, sizeof tests / sizeof tests[0]};
