/* refusals.c - what a backend has not: told from its claims, and refused in their words. */
#include "contract.h"
#include "frame.h"

typedef struct claim {
    vmctl_level level;
    char reason[512];
} claim;

static int take_claim(const vmctl_cap *cap, void *user) {
    claim *to = user;
    to->level = cap->vmctl;
    COPY(to->reason, cap->vmctl_reason);
    return 0;
}

/* UNKNOWN where it is no feature of vmctl but a name of this suite's. */
static claim claim_of(const char *feature) {
    claim result = {VMCTL_LEVEL_UNKNOWN, ""};
    vmctl_caps_options options = VMCTL_CAPS_OPTIONS_INIT;
    options.backend = profile->backend;
    options.feature = feature;
    vmctl_error *ignored = NULL;
    if (vmctl_caps(&options, take_claim, &result, &ignored) < 0)
        result.level = VMCTL_LEVEL_UNKNOWN;
    vmctl_error_free(ignored);
    return result;
}

/* What the profile says of how it is refused; NULL: nothing. */
static const contract_mark *mark_of(const char *feature) {
    for (const contract_mark *refused = profile->refused; refused && refused->what; refused++)
        if (strcmp(refused->what, feature) == 0)
            return refused;
    return NULL;
}

bool can(const char *feature) {
    return !mark_of(feature) && claim_of(feature).level != VMCTL_LEVEL_NO;
}

void drop_disk(const char *path) {
    if (can("image.delete"))
        MUST(vmctl_image_delete(conn, strrchr(path, '/') ? strrchr(path, '/') + 1 : path, NULL, &err));
    else
        assert_int_equal(unlink(path), 0);
}

static int no_image(const vmctl_image *image, void *user) {
    (void)image;
    (void)user;
    return 0;
}

static int no_metrics(const vmctl_metrics *metrics, void *user) {
    (void)metrics;
    (void)user;
    return 0;
}

static int no_snapshot(const vmctl_snapshot *snapshot, void *user) {
    (void)snapshot;
    (void)user;
    return 0;
}

/* Slots that a backend may leave empty: the feature that says so, and a call that must be refused then. */
static const struct {
    const char *slot, *feature;
} slots[] = {
    {"change", "change.apply"},
    {"console_open", "console.serial"},
    {"image_list", "image.list"},
    {"image_upload", "image.upload"},
    {"image_delete", "image.delete"},
    {"snapshot_create", "snapshot.disk"},
    {"snapshot_list", "snapshot.list"},
    {"metrics_list", "look.metrics"},
    {"screenshot", "display.screenshot"},
    {"send_keys", "display.keys"},
    {"clone", "lifecycle.clone"},
    {"migrate", "migrate.live"},
    {"image_download", "image.download"},
    {"save", "lifecycle.save"},
    {"rename", "lifecycle.rename"},
    {"export_ova", "image.export"},
    {"import_ova", "image.import"},
    {"dump", "guest.memory-dump"},
    {"guest_exec", "guest.exec"},
    {"guest_copy_in", "guest.copy"},
    {"guest_copy_out", "guest.copy.out"},
    {"guest_set_password", "guest.password"},
    {"snapshot_rename", "snapshot.rename"},
    {"usb", "device.usb"}, /* no slot of its own: a key of what device_attach takes */
};

static int call_slot(const char *slot, vmctl_vm *vm) {
    static const char *const keys[] = {"a"};
    vmctl_stream *stream = NULL;
    vmctl_diff *diff = NULL;
    if (strcmp(slot, "console_open") == 0)
        return vmctl_console_open(vm, NULL, &stream, &err);
    if (strcmp(slot, "image_list") == 0)
        return vmctl_image_list(conn, NULL, NULL, no_image, NULL, &err);
    if (strcmp(slot, "image_upload") == 0)
        return vmctl_image_upload(conn, guest_image, NULL, &err);
    if (strcmp(slot, "image_delete") == 0)
        return vmctl_image_delete(conn, "any.img", NULL, &err);
    if (strcmp(slot, "image_download") == 0)
        return vmctl_image_download(conn, "any.img", "/nowhere/any.img", NULL, &err);
    if (strcmp(slot, "snapshot_create") == 0)
        return vmctl_snapshot_create(vm, "one", NULL, &err);
    if (strcmp(slot, "snapshot_list") == 0)
        return vmctl_snapshot_list(vm, NULL, no_snapshot, NULL, &err);
    if (strcmp(slot, "metrics_list") == 0)
        return vmctl_metrics_list(conn, NULL, no_metrics, NULL, &err);
    if (strcmp(slot, "screenshot") == 0)
        return vmctl_screenshot(vm, "/nowhere/shot.png", NULL, &err);
    if (strcmp(slot, "send_keys") == 0)
        return vmctl_send_keys(vm, keys, 1, NULL, &err);
    if (strcmp(slot, "save") == 0)
        return vmctl_vm_save(vm, NULL, &err);
    if (strcmp(slot, "snapshot_rename") == 0)
        return vmctl_snapshot_rename(vm, "one", "other", NULL, &err);
    if (strcmp(slot, "rename") == 0)
        return vmctl_vm_rename(vm, "other", NULL, &err);
    if (strcmp(slot, "guest_exec") == 0)
        return vmctl_guest_exec(vm, (const char *const[]){"true", NULL}, NULL, NULL, &err);
    if (strcmp(slot, "guest_copy_in") == 0)
        return vmctl_guest_copy_in(vm, guest_image, "/tmp/in", NULL, &err);
    if (strcmp(slot, "guest_copy_out") == 0)
        return vmctl_guest_copy_out(vm, "/etc/hostname", "/nowhere/out", NULL, &err);
    if (strcmp(slot, "guest_set_password") == 0)
        return vmctl_guest_set_password(vm, "ci", "correct horse", NULL, &err);
    if (strcmp(slot, "export_ova") == 0)
        return vmctl_export(vm, "/nowhere/refused.ova", NULL, &err);
    if (strcmp(slot, "dump") == 0)
        return vmctl_vm_dump(vm, "/nowhere/refused.core", NULL, &err);
    if (strcmp(slot, "import_ova") == 0)
        return vmctl_import(conn, guest_image, "imported", NULL, NULL, &err);
    if (strcmp(slot, "usb") == 0)
        return attach(vm, "usb", "{name: stick, device: \"ffff:fffe\"}", true, NULL);
    if (strcmp(slot, "clone") == 0)
        return vmctl_vm_clone(vm, "other", NULL, NULL, &err);
    if (strcmp(slot, "change") == 0) {
        vmctl_spec *have = NULL;
        MUST(vmctl_vm_spec(vm, NULL, &have, &err));
        vmctl_spec *want = vmctl_spec_copy(have);
        MUST(vmctl_spec_set(want, "cpus", "2", &err));
        MUST(vmctl_spec_diff(have, want, NULL, &diff, &err));
        int rc = vmctl_vm_change(vm, diff, NULL, &err);
        vmctl_diff_free(diff);
        vmctl_spec_free(have);
        vmctl_spec_free(want);
        return rc;
    }
    print_error("the suite does not know how to call %s\n", slot);
    fail();
    return 0;
}

/* Features that a call asks for by an option. */
static bool is_asked_by_option(const char *feature) {
    static const char *const features[] = {
        "snapshot.quiesce",  "snapshot.memory",  "lifecycle.clone.linked", "migrate.storage", "migrate.offline",
        "migrate.tunnelled", "migrate.postcopy", "migrate.abort",          "migrate.node",    "migrate.elsewhere"};
    for (size_t i = 0; i < sizeof features / sizeof features[0]; i++)
        if (strcmp(features[i], feature) == 0)
            return true;
    return false;
}

/* To another endpoint: a second connection will do, as it is refused before anybody looks where it leads. */
static int migrate_elsewhere(vmctl_vm *vm) {
    vmctl_connect_options again = VMCTL_CONNECT_OPTIONS_INIT;
    again.uri = vmctl_connection_uri(conn);
    vmctl_connection *target = NULL;
    MUST(vmctl_connect(&again, &target, &err));
    int rc = vmctl_vm_migrate(vm, target, NULL, NULL, &err);
    vmctl_connection_free(target);
    return rc;
}

static int call_with_option(const char *feature, vmctl_vm *vm) {
    if (strcmp(feature, "snapshot.quiesce") == 0) {
        vmctl_snapshot_create_options options = VMCTL_SNAPSHOT_CREATE_OPTIONS_INIT;
        options.quiesce = true;
        return vmctl_snapshot_create(vm, "one", &options, &err);
    }
    if (strcmp(feature, "snapshot.memory") == 0) {
        vmctl_snapshot_create_options options = VMCTL_SNAPSHOT_CREATE_OPTIONS_INIT;
        options.memory = VMCTL_MEMORY_WITH;
        int rc = vmctl_snapshot_create(vm, "one", &options, &err);
        assert_non_null(strstr(vmctl_error_text(err), "leave --memory out")); /* what can be done instead */
        return rc;
    }
    if (strcmp(feature, "lifecycle.clone.linked") == 0) {
        vmctl_clone_options options = VMCTL_CLONE_OPTIONS_INIT;
        options.linked = true;
        return vmctl_vm_clone(vm, "other", &options, NULL, &err);
    }
    if (strcmp(feature, "migrate.abort") == 0)
        return vmctl_vm_migrate_abort(vm, NULL, &err);
    if (strcmp(feature, "migrate.elsewhere") == 0)
        return migrate_elsewhere(vm);
    vmctl_migrate_options options = VMCTL_MIGRATE_OPTIONS_INIT;
    options.storage = strcmp(feature, "migrate.storage") == 0;
    options.tunnelled = strcmp(feature, "migrate.tunnelled") == 0;
    options.postcopy = strcmp(feature, "migrate.postcopy") == 0;
    options.mode = strcmp(feature, "migrate.offline") == 0 ? VMCTL_MIGRATE_OFFLINE : VMCTL_MIGRATE_AUTO;
    return vmctl_vm_migrate(vm, NULL, "elsewhere", &options, &err);
}

const char *lacking(const char *words, bool of_slots, char *out, size_t size) {
    for (const char *at = words; *at; at += strspn(at, " ")) {
        size_t length = strcspn(at, " ");
        snprintf(out, size, "%.*s", (int)length, at);
        at += length;
        if (!of_slots && !can(out))
            return out;
        for (size_t i = 0; of_slots && i < sizeof slots / sizeof slots[0]; i++)
            if (strcmp(slots[i].slot, out) == 0 && !can(slots[i].feature))
                return out;
    }
    return NULL;
}

/* What is asked of a VM that runs, where it cannot be or waits for the next start. */
static const char *const while_it_runs[] = {"device.nic.hotplug", "device.virtio.hotplug", "memory.hotplug",
                                            "memory.balloon",     "memory.shrink",         "storage.pool.move"};

static bool is_asked_while_it_runs(const char *feature) {
    for (size_t i = 0; i < sizeof while_it_runs / sizeof while_it_runs[0]; i++)
        if (strcmp(while_it_runs[i], feature) == 0)
            return true;
    return false;
}

static int ask_while_it_runs(const char *feature, vmctl_vm *vm) {
    effects told = {0};
    if (strcmp(feature, "memory.hotplug") == 0)
        return change(vm, "memory", "64MiB", true, false, &told);
    if (strcmp(feature, "memory.balloon") == 0 || strcmp(feature, "memory.shrink") == 0)
        return change(vm, "memory", "16MiB", true, false, &told);
    if (strcmp(feature, "storage.pool.move") == 0)
        return change(vm, "disk.root.pool", "another", true, false, &told);
    if (strcmp(feature, "device.virtio.hotplug") == 0)
        return attach(vm, "disks", "{name: hot, size: 4MiB, bus: virtio}", true, NULL);
    return attach(vm, "networks", "{name: hot, type: nat}", true, NULL);
}

enum { SHOWN = 64 };
static char *shown[SHOWN]; /* slots and features whose refusal was looked at in this run */
static size_t shown_count;

static bool was_shown(const char *word) {
    for (size_t i = 0; i < SHOWN && shown[i]; i++)
        if (strcmp(shown[i], word) == 0)
            return true;
    return false;
}

void is_refused(void **state) {
    const contract_test *test = test_of(state);
    char word[128];
    claim said = {VMCTL_LEVEL_UNKNOWN, ""};
    bool of_slots = lacking(test->slots, true, word, sizeof word);
    if (!of_slots)
        lacking(test->feature, false, word, sizeof word);
    if (was_shown(word)) /* by the same call, a moment ago */
        return;
    if (of_slots) {
        vmctl_vm *vm = make("refused", "%s", "");
        for (size_t i = 0; i < sizeof slots / sizeof slots[0]; i++)
            if (strcmp(slots[i].slot, word) == 0 &&
                strcmp(word, "usb") != 0) /* that is refused in the words for keys */
                said = claim_of(slots[i].feature);
        FAILS(VMCTL_E_UNSUPPORTED, call_slot(word, vm));
        vmctl_vm_free(vm);
    } else if (is_asked_by_option(word)) {
        vmctl_vm *vm = make("refused", "%s", "");
        said = claim_of(word);
        FAILS(VMCTL_E_UNSUPPORTED, call_with_option(word, vm));
        vmctl_vm_free(vm);
    } else if (is_asked_while_it_runs(word)) {
        vmctl_vm *vm = make_started("refused", "%s", "");
        const contract_mark *mark = mark_of(word);
        said = claim_of(word);
        FAILS(mark && mark->code ? mark->code : VMCTL_E_INVALID_STATE, ask_while_it_runs(word, vm));
        vmctl_vm_free(vm);
    } else {
        const contract_mark *mark = mark_of(word);
        const char *yaml = mark ? mark->text : NULL;
        int code = mark && mark->code ? mark->code : VMCTL_E_UNSUPPORTED;
        said = claim_of(word);
        if (!yaml) {
            print_error("the profile of %s has no YAML that shows how %s is refused\n", profile->backend, word);
            fail();
        }
        vmctl_spec *spec = spec_of("refused", "%s", yaml);
        FAILS(code, vmctl_create(conn, spec, NULL, NULL, &err));
        vmctl_spec_free(spec);
        assert_int_equal(listed("refused"), 0);
    }
    if (said.level == VMCTL_LEVEL_NO) {
        assert_string_not_equal(said.reason, "");
        if (!strstr(failure, said.reason)) {
            print_error("caps says: %s\nthe refusal: %s\n", said.reason, failure);
            fail();
        }
    }
    shown[shown_count++ % SHOWN] = strdup(word);
}
