/* create and apply: what is checked before the backend is called, what it is given, and what is undone. */
#include "fake_backend.h"

/* --- create ----------------------------------------------------------------------------------------------- */

static void keys_are_refused_before_anything_is_made(void **state) {
    (void)state;
    vmctl_spec *spec = spec_of("name: web\n"
                               "memory: {size: 1GiB, hugepages: true}\n"
                               "disks:\n"
                               "  - {name: root, size: 1GiB, bus: nvme}\n"
                               "gpus:\n"
                               "  - {name: g, pci: \"0000:65:00.0\"}\n");
    vmctl_error *err = NULL;
    assert_int_equal(vmctl_create(connection, spec, NULL, NULL, &err), VMCTL_E_UNSUPPORTED);
    assert_int_equal(fake.created, 0);
    assert_int_equal(vmctl_error_fault_count(err), 3); /* all at once, by line; a whole list once */
    assert_string_equal(vmctl_error_fault(err, 0)->path, "memory.hugepages");
    assert_int_equal(vmctl_error_fault(err, 0)->line, 2);
    assert_string_equal(vmctl_error_fault(err, 1)->path, "disks.root.bus");
    assert_int_equal(vmctl_error_fault(err, 1)->line, 4);
    assert_non_null(strstr(vmctl_error_fault(err, 1)->message, "it emulates no others"));
    assert_non_null(strstr(vmctl_error_fault(err, 1)->message, "virtio, scsi"));
    assert_string_equal(vmctl_error_fault(err, 2)->path, "gpus");
    assert_non_null(strstr(vmctl_error_fault(err, 2)->message, "it has no GPUs"));
    assert_string_equal(vmctl_error_action(err), "cannot create web");
    vmctl_error_free(err);
    vmctl_spec_free(spec);
}

static int warnings;
static void count_warning(vmctl_note_level level, const char *text, void *user) {
    (void)user;
    warnings += level == VMCTL_NOTE_WARNING && strstr(text, "libvirt");
}

static void others_sections_are_ignored_or_refused(void **state) {
    (void)state;
    vmctl_spec *spec = spec_of("name: web\nmemory: 1GiB\ndisks:\n  - {name: root, size: 1GiB}\n"
                               "libvirt: {qemuArgs: [-s]}\n");
    vmctl_call call = VMCTL_CALL_INIT;
    call.note = count_warning;
    vmctl_create_options options = VMCTL_CREATE_OPTIONS_INIT;
    options.call = &call;
    warnings = 0;
    assert_int_equal(vmctl_create(connection, spec, &options, NULL, NULL), 0);
    assert_int_equal(warnings, 1);
    options.strict = true;
    assert_int_equal(vmctl_create(connection, spec, &options, NULL, NULL), VMCTL_E_UNSUPPORTED);
    assert_int_equal(fake.created, 1);
    vmctl_spec_free(spec);
}

static void a_missing_image_is_not_found(void **state) {
    (void)state;
    vmctl_spec *spec = spec_of("name: web\nmemory: 1GiB\ndisks:\n  - {name: root, image: /no/such/image.qcow2}\n");
    vmctl_error *err = NULL;
    assert_int_equal(vmctl_create(connection, spec, NULL, NULL, &err), VMCTL_E_NOT_FOUND);
    assert_non_null(strstr(vmctl_error_text(err), "web.yaml:4:"));
    assert_int_equal(fake.created, 0);
    vmctl_error_free(err);
    vmctl_spec_free(spec);
}

static void the_marker_and_the_default_network(void **state) {
    (void)state;
    vmctl_spec *spec = spec_of("name: web\nmemory: 1GiB\nlifetime: 2h\ndisks:\n  - {name: root, size: 1GiB}\n");
    setenv("VMCTL_OWNER", "someone@ci", 1);
    setenv("VMCTL_RUN", "run-7", 1);
    vmctl_vm *vm = NULL;
    assert_int_equal(vmctl_create(connection, spec, NULL, &vm, NULL), 0);
    assert_string_equal(vmctl_vm_name(vm), "web");
    assert_string_equal(vmctl_vm_id(vm), "7");
    assert_string_equal(fake.network, "nat");
    assert_string_equal(fake.owner, "someone@ci");
    assert_string_equal(fake.run, "run-7");
    assert_int_equal(fake.expires - fake.created_at, 7200);
    assert_int_equal(fake.started, 0);
    assert_int_equal(journal_files(), 0);
    vmctl_vm_free(vm);
    vmctl_create_options options = VMCTL_CREATE_OPTIONS_INIT;
    options.owner = "given@here";
    options.run = "given";
    assert_int_equal(vmctl_create(connection, spec, &options, NULL, NULL), 0);
    assert_string_equal(fake.owner, "given@here");
    assert_string_equal(fake.run, "given");
    unsetenv("VMCTL_OWNER");
    unsetenv("VMCTL_RUN");
    assert_int_equal(vmctl_create(connection, spec, NULL, NULL, NULL), 0);
    assert_non_null(strchr(fake.owner, '@'));
    assert_string_equal(fake.run, "");
    vmctl_spec_free(spec);
}

static void a_dry_run_makes_nothing(void **state) {
    (void)state;
    vmctl_spec *spec = spec_of(simple);
    vmctl_create_options options = VMCTL_CREATE_OPTIONS_INIT;
    options.dry_run = options.start = true;
    vmctl_vm *vm = NULL;
    assert_int_equal(vmctl_create(connection, spec, &options, &vm, NULL), 0);
    assert_null(vm);
    assert_int_equal(fake.created + fake.started, 0);
    assert_int_equal(fake.checked, 1);
    fake.create_code = VMCTL_E_ALREADY_EXISTS; /* the backend's verdict is the answer */
    assert_int_equal(vmctl_create(connection, spec, &options, &vm, NULL), VMCTL_E_ALREADY_EXISTS);
    assert_int_equal(fake.checked, 2);
    assert_int_equal(journal_files(), 0);
    vmctl_spec_free(spec);
}

static void a_failed_create_is_undone_last_first(void **state) {
    (void)state;
    vmctl_spec *spec = spec_of(simple);
    fake.create_code = VMCTL_E_RESOURCE_EXHAUSTED;
    vmctl_vm *vm = NULL;
    vmctl_error *err = NULL;
    assert_int_equal(vmctl_create(connection, spec, NULL, &vm, &err), VMCTL_E_RESOURCE_EXHAUSTED);
    assert_null(vm);
    assert_string_equal(fake.undone, "domain:web volume:root ");
    assert_string_equal(vmctl_error_text(err),
                        "cannot create web (fake, fake:///here): resource-exhausted: the pool is full");
    assert_int_equal(journal_files(), 0);
    vmctl_error_free(err);
    vmctl_spec_free(spec);
}

static void what_cannot_be_undone_is_named_and_kept(void **state) {
    (void)state;
    vmctl_spec *spec = spec_of(simple);
    fake.create_code = VMCTL_E_RESOURCE_EXHAUSTED;
    fake.undo_code = VMCTL_E_BUSY;
    vmctl_error *err = NULL;
    assert_int_equal(vmctl_create(connection, spec, NULL, NULL, &err), VMCTL_E_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(vmctl_error_message(err), "the volume root could not be removed again: it is held"));
    assert_int_equal(journal_files(), 1);
    vmctl_error_free(err);
    /* The next changing verb on this endpoint removes it. */
    fake.undo_code = 0;
    fake.undone[0] = '\0';
    vmctl_vm *vm = the_vm();
    assert_int_equal(vmctl_vm_start(vm, NULL, NULL), 0);
    assert_string_equal(fake.undone, "domain:web volume:root ");
    assert_int_equal(journal_files(), 0);
    vmctl_vm_free(vm);
    vmctl_spec_free(spec);
}

static void a_failed_start_undoes_the_create(void **state) {
    (void)state;
    vmctl_spec *spec = spec_of(simple);
    vmctl_create_options options = VMCTL_CREATE_OPTIONS_INIT;
    options.start = true;
    vmctl_vm *vm = NULL;
    assert_int_equal(vmctl_create(connection, spec, &options, &vm, NULL), 0);
    assert_int_equal(fake.started, 1);
    assert_string_equal(fake.undone, "");
    vmctl_vm_free(vm);
    vm = NULL;
    fake.start_code = VMCTL_E_RESOURCE_EXHAUSTED;
    vmctl_error *err = NULL;
    assert_int_equal(vmctl_create(connection, spec, &options, &vm, &err), VMCTL_E_RESOURCE_EXHAUSTED);
    assert_null(vm);
    assert_string_equal(fake.undone, "domain:web volume:root ");
    assert_non_null(strstr(vmctl_error_message(err), "no memory"));
    assert_int_equal(journal_files(), 0);
    vmctl_error_free(err);
    vmctl_spec_free(spec);
}

static void a_cancelled_create_still_undoes(void **state) {
    (void)state;
    vmctl_spec *spec = spec_of(simple);
    vmctl_call call = VMCTL_CALL_INIT;
    call.cancel = fake.trigger = vmctl_cancel_new();
    vmctl_create_options options = VMCTL_CREATE_OPTIONS_INIT;
    options.call = &call;
    assert_int_equal(vmctl_create(connection, spec, &options, NULL, NULL), VMCTL_E_CANCELLED);
    assert_string_equal(fake.undone, "domain:web volume:root ");
    assert_false(fake.undo_could_be_cancelled);
    vmctl_cancel_free(call.cancel);
    vmctl_spec_free(spec);
}

static char fetched_checksum[128];
static int fetch(const char *url, const char *folder, const vmctl_image_pull_options *options, char **path,
                 vmctl_error **err) {
    (void)err;
    assert_string_equal(url, "https://images.example/debian.qcow2");
    assert_true(vmc_ends_with(folder, "/vmctl/images"));
    snprintf(fetched_checksum, sizeof fetched_checksum, "%s", options->checksum ? options->checksum : "");
    *path = strdup("/cache/debian.qcow2");
    return 0;
}

static void an_image_by_url_is_fetched_first(void **state) {
    (void)state;
    static const vmc_tools tools = {.size = sizeof tools, .abi = VMC_TOOLS_ABI, .image_fetch = fetch};
    vmc_tools_replace(&tools);
    vmctl_spec *spec = spec_of("name: web\nmemory: 1GiB\ndisks:\n"
                               "  - {name: root, image: \"https://images.example/debian.qcow2\"}\n");
    vmctl_create_options options = VMCTL_CREATE_OPTIONS_INIT;
    options.image_checksum = "sha256:00";
    assert_int_equal(vmctl_create(connection, spec, &options, NULL, NULL), 0);
    assert_string_equal(fake.image, "/cache/debian.qcow2");
    assert_string_equal(fake.origin, "https://images.example/debian.qcow2");
    assert_string_equal(fetched_checksum, "sha256:00");
    fake.exists = true; /* a name that is taken costs no download */
    fetched_checksum[0] = '\0';
    assert_int_equal(vmctl_create(connection, spec, &options, NULL, NULL), VMCTL_E_ALREADY_EXISTS);
    assert_string_equal(fetched_checksum, "");
    fake.exists = false;
    options.dry_run = true; /* nor does looking */
    assert_int_equal(vmctl_create(connection, spec, &options, NULL, NULL), 0);
    assert_int_equal(fake.checked, 1);
    assert_string_equal(fetched_checksum, "");
    vmctl_spec_free(spec);
    spec = spec_of(simple);
    options.dry_run = false;
    assert_int_equal(vmctl_create(connection, spec, &options, NULL, NULL), VMCTL_E_INVALID_ARGUMENT);
    vmctl_spec_free(spec);
}

/* --- apply ------------------------------------------------------------------------------------------------ */

static void apply_creates_what_is_missing(void **state) {
    (void)state;
    vmctl_spec *spec = spec_of(simple);
    bool created = false;
    assert_int_equal(vmctl_apply(connection, spec, NULL, &created, NULL), 0);
    assert_true(created);
    assert_int_equal(fake.created, 1);
    assert_int_equal(fake.started, 0);
    vmctl_spec_free(spec);
}

static void apply_changes_what_differs(void **state) {
    (void)state;
    fake.exists = true;
    vmctl_spec *same = spec_of(simple);
    bool created = true;
    assert_int_equal(vmctl_apply(connection, same, NULL, &created, NULL), 0);
    assert_false(created);
    assert_int_equal(fake.changed, 0);
    vmctl_spec *larger = spec_of("name: web\nmemory: 2GiB\ndisks:\n  - {name: root, size: 1GiB}\n");
    assert_int_equal(vmctl_apply(connection, larger, NULL, &created, NULL), 0);
    assert_int_equal(fake.changed, 1);
    vmctl_spec *sections = spec_of("name: web\nmemory: 2GiB\ndisks:\n  - {name: root, size: 1GiB}\n"
                                   "libvirt: {qemuArgs: [-s]}\n");
    assert_int_equal(vmctl_apply(connection, sections, NULL, &created, NULL), 0);
    fake.changed = 1;
    vmctl_spec_free(sections);
    vmctl_spec *refused =
        spec_of("name: web\nmemory: {size: 2GiB, hugepages: true}\ndisks:\n  - {name: root, size: 1GiB}\n");
    assert_int_equal(vmctl_apply(connection, refused, NULL, &created, NULL), VMCTL_E_UNSUPPORTED);
    assert_int_equal(fake.changed, 1);
    assert_int_equal(fake.created, 0);
    vmctl_spec_free(same);
    vmctl_spec_free(larger);
    vmctl_spec_free(refused);
}

static void apply_says_that_it_fetches_nothing(void **state) {
    (void)state;
    fake.exists = true;
    vmctl_spec *spec = spec_of("name: web\nmemory: 1GiB\ndisks:\n  - {name: root, size: 1GiB}\n"
                               "  - {name: more, image: \"https://images.example/more.qcow2\"}\n");
    vmctl_error *err = NULL;
    assert_int_equal(vmctl_apply(connection, spec, NULL, NULL, &err), VMCTL_E_UNSUPPORTED);
    assert_non_null(strstr(vmctl_error_text(err), "web.yaml:5:"));
    assert_non_null(strstr(vmctl_error_text(err), "vmctl image pull"));
    assert_int_equal(fake.changed, 0);
    vmctl_error_free(err);
    vmctl_spec_free(spec);
}

static void apply_keeps_what_create_would_refuse(void **state) {
    (void)state;
    fake.exists = true;
    fake.have = "{name: web, memory: 1GiB, disks: [{name: root, image: /gone.qcow2, bus: nvme}]}";
    vmctl_spec *spec = spec_of(fake.have);
    vmctl_error *err = NULL;
    if (vmctl_apply(connection, spec, NULL, NULL, &err) < 0)
        fail_msg("%s", vmctl_error_text(err));
    assert_int_equal(fake.changed, 0);
    vmctl_spec_free(spec);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(keys_are_refused_before_anything_is_made),
        TEST(others_sections_are_ignored_or_refused),
        TEST(a_missing_image_is_not_found),
        TEST(the_marker_and_the_default_network),
        TEST(a_dry_run_makes_nothing),
        TEST(a_failed_create_is_undone_last_first),
        TEST(what_cannot_be_undone_is_named_and_kept),
        TEST(a_failed_start_undoes_the_create),
        TEST(a_cancelled_create_still_undoes),
        TEST(an_image_by_url_is_fetched_first),
        TEST(apply_creates_what_is_missing),
        TEST(apply_changes_what_differs),
        TEST(apply_says_that_it_fetches_nothing),
        TEST(apply_keeps_what_create_would_refuse),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
