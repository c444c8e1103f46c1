/* The dispatcher over a small backend of this test's own: what is refused before the backend is called, and what it is given. */
#include "internal.h"
#include "spec_internal.h"
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* --- the fake backend ------------------------------------------------------------------------------------- */

static struct {
    int opened, closed, created, started, removed, rendered, changed, released;
    bool exists;      /* lookup finds the VM */
    int create_code;  /* what create returns */
    int start_code;   /* what start returns */
    char undone[256]; /* "kind:detail " in order */
    int undo_code;
    char image[256];  /* disks[0].image as create got it */
    char origin[256]; /* and its origin */
    char network[64]; /* networks[0].type */
    char owner[64], run[64];
    int64_t created_at, expires;
    int64_t timeout_ms;
    bool undo_could_be_cancelled;
    vmctl_cancel *trigger; /* triggered within create */
    unsigned facts;
    const char *have; /* the VM's spec; NULL: a plain one */
} fake;

static int fake_open(const vmctl_endpoint *endpoint, void **conn, vmctl_opened *opened, vmctl_error **err) {
    (void)err;
    assert_non_null(endpoint->call);
    fake.opened++;
    *conn = &fake;
    opened->uri = strdup(endpoint->uri ? endpoint->uri : "fake:///found");
    opened->reason = endpoint->uri ? NULL : strdup("default: the socket answers");
    return 0;
}

static void fake_close(void *conn) {
    assert_ptr_equal(conn, &fake);
    fake.closed++;
}

static int fake_undo(void *conn, const char *kind, const char *detail, const vmctl_call *call, vmctl_error **err) {
    (void)conn;
    fake.undo_could_be_cancelled |= vmctl_cancel_triggered(call->cancel);
    size_t used = strlen(fake.undone);
    snprintf(fake.undone + used, sizeof fake.undone - used, "%s:%s ", kind, detail);
    return fake.undo_code ? vmc_error(err, fake.undo_code, "it is held") : 0;
}

static int fake_list(void *conn, const vmctl_list_options *options, vmctl_vm_info_fn each, void *user,
                     vmctl_error **err) {
    (void)conn, (void)err;
    assert_int_equal(options->size, sizeof *options);
    assert_non_null(options->call);
    fake.facts = options->facts;
    fake.timeout_ms = options->call->timeout_ms;
    vmctl_vm_info info = {
        .size = sizeof info, .name = "a", .id = "1", .state = VMCTL_STATE_RUNNING, .owner = "me@here"};
    if (each(&info, user))
        return 0;
    info.name = "b";
    info.id = "2";
    info.state = VMCTL_STATE_STOPPED;
    info.owner = "other@here";
    each(&info, user);
    return 0;
}

static int fake_lookup(void *conn, const char *name, const vmctl_lookup_options *options, void **vm,
                       vmctl_identity *identity, vmctl_error **err) {
    (void)conn, (void)options;
    if (!fake.exists)
        return vmc_error(err, VMCTL_E_NOT_FOUND, "there is no VM %s", name);
    *vm = &fake;
    identity->name = strdup(name);
    identity->id = strdup("1");
    return 0;
}

static void fake_release(void *conn, void *vm) {
    (void)conn, (void)vm;
    fake.released++;
}

static int fake_create(void *conn, const vmctl_spec *spec, const vmctl_create_options *options,
                       const vmctl_marker *marker, vmc_journal *journal, void **vm, vmctl_identity *identity,
                       vmctl_error **err) {
    fake.created++;
    assert_non_null(options->call);
    const vmctl_node *root = vmctl_spec_root(spec);
    snprintf(fake.image, sizeof fake.image, "%s", vmctl_node_string(root, "disks[0].image", ""));
    const char *origin = vmc_spec_origin(spec, "disks[0].image");
    snprintf(fake.origin, sizeof fake.origin, "%s", origin ? origin : "");
    snprintf(fake.network, sizeof fake.network, "%s", vmctl_node_string(root, "networks[0].type", ""));
    snprintf(fake.owner, sizeof fake.owner, "%s", marker->owner);
    snprintf(fake.run, sizeof fake.run, "%s", marker->run ? marker->run : "");
    fake.created_at = marker->created;
    fake.expires = marker->expires;
    assert_int_equal(vmc_journal_add(journal, "volume", "root", NULL, err), 0);
    assert_int_equal(vmc_journal_add(journal, "domain", vmctl_spec_name(spec), NULL, err), 0);
    if (fake.trigger)
        vmctl_cancel_trigger(fake.trigger);
    if (fake.create_code)
        return vmc_error(err, fake.create_code, "the pool is full");
    *vm = conn;
    identity->name = strdup(vmctl_spec_name(spec));
    identity->id = strdup("7");
    return 0;
}

static int fake_start(void *conn, void *vm, const vmctl_start_options *options, vmctl_error **err) {
    (void)conn, (void)vm;
    assert_int_equal(options->size, sizeof *options);
    fake.started++;
    return fake.start_code ? vmc_error(err, fake.start_code, "no memory") : 0;
}

static int fake_spec(void *conn, void *vm, const vmctl_call *call, vmctl_spec **out, vmctl_error **err) {
    (void)conn, (void)vm, (void)call;
    const char *text = fake.have ? fake.have : "{name: web, memory: 1GiB, cpus: 1, disks: [{name: root, size: 1GiB}]}";
    vmctl_spec **list;
    size_t count;
    int rc = vmctl_spec_load(text, strlen(text), NULL, &list, &count, err);
    if (rc == 0) {
        *out = vmctl_spec_copy(list[0]);
        vmctl_spec_list_free(list);
    }
    return rc;
}

static int fake_change(void *conn, void *vm, const vmctl_diff *diff, const vmctl_change_options *options,
                       vmc_journal *journal, vmctl_error **err) {
    (void)conn, (void)vm, (void)options, (void)journal, (void)err;
    fake.changed += (int)vmctl_diff_count(diff);
    return 0;
}

static int fake_render(void *conn, const vmctl_spec *spec, const vmctl_call *call, char **out, vmctl_error **err) {
    (void)conn, (void)spec, (void)call, (void)err;
    fake.rendered++;
    *out = strdup("<vm/>");
    return 0;
}

static int fake_pause(void *conn, void *vm, const vmctl_call *call, vmctl_error **err) {
    (void)conn, (void)vm, (void)call, (void)err;
    return VMCTL_E_INTERNAL; /* without a word */
}

static const vmctl_backend_ops ops = {
    .size = sizeof ops,
    .abi = VMCTL_BACKEND_ABI,
    .open = fake_open,
    .close = fake_close,
    .undo = fake_undo,
    .list = fake_list,
    .lookup = fake_lookup,
    .release = fake_release,
    .create = fake_create,
    .start = fake_start,
    .spec = fake_spec,
    .change = fake_change,
    .render = fake_render,
    .pause = fake_pause,
};

static const vmctl_backend_ops *entry(void) {
    return &ops;
}

static const char *const schemes[] = {"fake", NULL};
static const char *const buses[] = {"virtio", "scsi", NULL};
static const vmctl_slot_claim slots[] = {
    {VMCTL_SLOT_reset, NULL, VMCTL_LEVEL_NO, VMCTL_PROOF_NONE, "this hypervisor has no reset button"},
    {VMCTL_SLOT_create, NULL, VMCTL_LEVEL_YES, VMCTL_PROOF_REAL, NULL},
};
#define KEY(key)                                                                                                       \
    { key, VMCTL_LEVEL_YES, NULL, NULL }
static const vmctl_key_claim keys[] = {
    KEY("memory"),
    KEY("memory.size"),
    KEY("cpus"),
    KEY("cpus.count"),
    KEY("disks"),
    KEY("disks[].name"),
    KEY("disks[].image"),
    KEY("disks[].size"),
    {"disks[].bus", VMCTL_LEVEL_LIMITED, buses, "it emulates no others"},
    KEY("networks"),
    KEY("networks[].name"),
    KEY("networks[].type"),
    {"gpus", VMCTL_LEVEL_NO, NULL, "it has no GPUs"},
    KEY("lifetime"),
    KEY("labels"),
};
static const vmctl_backend_descriptor descriptor = {
    .size = sizeof descriptor,
    .name = "fake",
    .title = "Fake",
    .schemes = schemes,
    .default_uri = "fake:///default",
    .package = "vmctl-fake",
    .default_network = "nat",
    .image_sources = VMCTL_SOURCE_FILE,
    .slots = slots,
    .slot_count = sizeof slots / sizeof slots[0],
    .keys = keys,
    .key_count = sizeof keys / sizeof keys[0],
};
static const vmc_registry_entry registry[] = {{&descriptor, entry}, {NULL, NULL}};

/* --- around each test ------------------------------------------------------------------------------------- */

static char home[] = "/tmp/vmctl-test-dispatch.XXXXXX";
static vmctl_connection *connection;

static int before(void **state) {
    (void)state;
    memset(&fake, 0, sizeof fake);
    vmc_backends_replace(registry);
    vmctl_connect_options options = VMCTL_CONNECT_OPTIONS_INIT;
    options.uri = "fake:///here";
    return vmctl_connect(&options, &connection, NULL);
}

static int after(void **state) {
    (void)state;
    vmctl_connection_free(connection);
    vmc_tools_replace(NULL);
    return fake.closed == 1 ? 0 : -1;
}

static vmctl_spec *spec_of(const char *text) {
    vmctl_spec **list;
    size_t count;
    vmctl_error *err = NULL;
    vmctl_spec_load_options options = VMCTL_SPEC_LOAD_OPTIONS_INIT;
    options.file_name = "web.yaml";
    if (vmctl_spec_load(text, strlen(text), &options, &list, &count, &err) < 0)
        fail_msg("%s", vmctl_error_text(err));
    vmctl_spec *spec = vmctl_spec_copy(list[0]);
    vmctl_spec_list_free(list);
    return spec;
}

static vmctl_vm *the_vm(void) {
    fake.exists = true;
    vmctl_vm *vm = NULL;
    assert_int_equal(vmctl_vm_lookup(connection, "web", NULL, &vm, NULL), 0);
    return vm;
}

static int journal_files(void) {
    VMC_AUTO_FREE char *command = vmc_printf("ls %s/vmctl/journal 2>/dev/null | wc -l", home);
    FILE *p = popen(command, "r");
    int count = -1;
    assert_int_equal(fscanf(p, "%d", &count), 1);
    pclose(p);
    return count;
}

static const char simple[] = "name: web\nmemory: 1GiB\ndisks:\n  - {name: root, size: 1GiB}\n";

/* --- slots ------------------------------------------------------------------------------------------------ */

static void a_missing_slot_says_why(void **state) {
    (void)state;
    vmctl_vm *vm = the_vm();
    vmctl_error *err = NULL;
    assert_int_equal(vmctl_vm_reset(vm, NULL, &err), VMCTL_E_UNSUPPORTED);
    assert_string_equal(vmctl_error_text(err),
                        "cannot reset web (fake, fake:///here): unsupported: this hypervisor has no reset button\n"
                        "  try: vmctl caps fake shows what it can do");
    assert_string_equal(vmctl_error_vm(err), "web");
    vmctl_error_free(err);
    err = NULL;
    assert_int_equal(vmctl_vm_save(vm, NULL, &err), VMCTL_E_UNSUPPORTED); /* not claimed at all */
    assert_true(strlen(vmctl_error_message(err)) > 0);
    vmctl_error_free(err);
    vmctl_vm_free(vm);
}

static void a_silent_failure_still_has_an_error(void **state) {
    (void)state;
    vmctl_vm *vm = the_vm();
    vmctl_error *err = NULL;
    assert_int_equal(vmctl_vm_pause(vm, NULL, &err), VMCTL_E_INTERNAL);
    assert_string_equal(vmctl_error_action(err), "cannot pause web");
    vmctl_error_free(err);
    vmctl_vm_free(vm);
}

static void null_arguments_are_refused(void **state) {
    (void)state;
    vmctl_error *err = NULL;
    vmctl_vm *vm = NULL;
    assert_int_equal(vmctl_list(NULL, NULL, NULL, NULL, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_int_equal(vmctl_list(connection, NULL, NULL, NULL, NULL), VMCTL_E_INVALID_ARGUMENT);
    assert_int_equal(vmctl_vm_start(NULL, NULL, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_int_equal(vmctl_vm_lookup(connection, NULL, NULL, &vm, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_int_equal(vmctl_vm_lookup(connection, "", NULL, &vm, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_int_equal(vmctl_vm_lookup(connection, "a", NULL, NULL, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_int_equal(vmctl_create(connection, NULL, NULL, NULL, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_int_equal(vmctl_apply(connection, NULL, NULL, NULL, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_int_equal(vmctl_vm_wait(NULL, "running", NULL, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_int_equal(vmctl_connect(NULL, NULL, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_int_equal(vmctl_host_info(NULL, NULL, NULL, NULL, &err), VMCTL_E_INVALID_ARGUMENT);
    vmctl_vm_free(NULL);
    vmctl_connection_free(NULL);
    vmctl_error_free(err);
}

/* --- options ---------------------------------------------------------------------------------------------- */

static int count_each(const vmctl_vm_info *info, void *user) {
    assert_string_equal(info->backend, "fake");
    ++*(int *)user;
    return 0;
}

static void shorter_options_leave_defaults(void **state) {
    (void)state;
    vmctl_list_options options = VMCTL_LIST_OPTIONS_INIT;
    options.size = offsetof(vmctl_list_options, namespace_name); /* as an older program has it */
    options.facts = VMCTL_FACT_GPUS;
    options.states = ~0u & (1u << VMCTL_STATE_CRASHED); /* beyond the size: not looked at */
    int seen = 0;
    assert_int_equal(vmctl_list(connection, &options, count_each, &seen, NULL), 0);
    assert_int_equal(seen, 2);
    assert_int_equal(fake.facts, VMCTL_FACT_GPUS);
}

static void longer_options_are_accepted_while_unused(void **state) {
    (void)state;
    struct {
        vmctl_list_options options;
        int more;
    } newer = {.options = VMCTL_LIST_OPTIONS_INIT, .more = 0};
    newer.options.size = sizeof newer;
    int seen = 0;
    assert_int_equal(vmctl_list(connection, &newer.options, count_each, &seen, NULL), 0);
    newer.more = 1;
    assert_int_equal(vmctl_list(connection, &newer.options, count_each, &seen, NULL), VMCTL_E_INVALID_ARGUMENT);
    newer.options.size = 0;
    assert_int_equal(vmctl_list(connection, &newer.options, count_each, &seen, NULL), VMCTL_E_INVALID_ARGUMENT);
}

static void null_options_are_defaults(void **state) {
    (void)state;
    int seen = 0;
    assert_int_equal(vmctl_list(connection, NULL, count_each, &seen, NULL), 0);
    assert_int_equal(fake.facts, VMCTL_FACTS_LIST);
    assert_true(fake.timeout_ms > 0); /* the operation's own default, never 0 */
}

static void filters_hold_whatever_the_backend_does(void **state) {
    (void)state;
    vmctl_list_options options = VMCTL_LIST_OPTIONS_INIT;
    options.owner = "me@here";
    int seen = 0;
    assert_int_equal(vmctl_list(connection, &options, count_each, &seen, NULL), 0);
    assert_int_equal(seen, 1);
    assert_true(fake.facts & VMCTL_FACT_MARKER);
    options.states = 1u << VMCTL_STATE_STOPPED;
    seen = 0;
    assert_int_equal(vmctl_list(connection, &options, count_each, &seen, NULL), 0);
    assert_int_equal(seen, 0);
}

static void a_cancelled_call_does_not_begin(void **state) {
    (void)state;
    vmctl_call call = VMCTL_CALL_INIT;
    call.cancel = vmctl_cancel_new();
    vmctl_cancel_trigger(call.cancel);
    vmctl_start_options options = VMCTL_START_OPTIONS_INIT;
    options.call = &call;
    vmctl_vm *vm = the_vm();
    assert_int_equal(vmctl_vm_start(vm, &options, NULL), VMCTL_E_CANCELLED);
    assert_int_equal(fake.started, 0);
    vmctl_vm_free(vm);
    vmctl_cancel_free(call.cancel);
}

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
    assert_int_equal(fake.rendered, 1);
    fake.exists = true;
    assert_int_equal(vmctl_create(connection, spec, &options, &vm, NULL), VMCTL_E_ALREADY_EXISTS);
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
    assert_int_equal(fake.rendered, 1);
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

/* --- handles ---------------------------------------------------------------------------------------------- */

static void a_vm_keeps_its_connection(void **state) {
    (void)state;
    vmctl_connect_options options = VMCTL_CONNECT_OPTIONS_INIT;
    options.backend = "fake";
    vmctl_connection *own = NULL;
    assert_int_equal(vmctl_connect(&options, &own, NULL), 0);
    assert_string_equal(vmctl_connection_uri(own), "fake:///found");
    assert_string_equal(vmctl_connection_reason(own), "default: the socket answers");
    fake.exists = true;
    vmctl_vm *vm = NULL;
    assert_int_equal(vmctl_vm_lookup(own, "web", NULL, &vm, NULL), 0);
    vmctl_connection_free(own);
    assert_int_equal(fake.closed, 0);
    assert_ptr_equal(vmctl_vm_connection(vm), own);
    vmctl_vm_free(vm);
    assert_int_equal(fake.closed, 1);
    assert_int_equal(fake.released, 1);
    fake.closed = 0;
}

/* --- caps ------------------------------------------------------------------------------------------------- */

typedef struct answer {
    const char *feature;
    vmctl_level level;
    char reason[128];
    int count;
} answer;

static int keep(const vmctl_cap *cap, void *user) {
    answer *a = user;
    a->count++;
    if (strcmp(cap->feature, a->feature) != 0)
        return 0;
    a->level = cap->vmctl;
    snprintf(a->reason, sizeof a->reason, "%s", cap->vmctl_reason ? cap->vmctl_reason : "");
    assert_true((cap->proof != VMCTL_PROOF_NONE) == (cap->vmctl > VMCTL_LEVEL_NO));
    return 0;
}

static answer ask(const char *feature) {
    answer a = {.feature = feature};
    assert_int_equal(vmctl_caps(NULL, keep, &a, NULL), 0);
    return a;
}

static void caps_come_from_the_descriptor(void **state) {
    (void)state;
    assert_int_equal(ask("lifecycle.create").level, VMCTL_LEVEL_YES);
    answer reset = ask("lifecycle.reset");
    assert_int_equal(reset.level, VMCTL_LEVEL_NO);
    assert_string_equal(reset.reason, "this hypervisor has no reset button");
    assert_int_equal(ask("storage.bus.scsi").level, VMCTL_LEVEL_YES);
    answer nvme = ask("storage.bus.nvme");
    assert_int_equal(nvme.level, VMCTL_LEVEL_NO);
    assert_string_equal(nvme.reason, "it emulates no others");
    assert_int_equal(ask("gpu.passthrough").level, VMCTL_LEVEL_NO);
    vmctl_caps_options options = VMCTL_CAPS_OPTIONS_INIT;
    options.feature = "lifecycle.start";
    answer one = {.feature = options.feature};
    assert_int_equal(vmctl_caps(&options, keep, &one, NULL), 0);
    assert_int_equal(one.count, 1);
    options.feature = "lifecycle.strat";
    vmctl_error *err = NULL;
    assert_int_equal(vmctl_caps(&options, keep, &one, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_non_null(strstr(vmctl_error_message(err), "lifecycle.start"));
    vmctl_error_free(err);
}

static int make(void **state) {
    (void)state;
    if (!mkdtemp(home))
        return -1;
    setenv("XDG_STATE_HOME", home, 1);
    setenv("XDG_CONFIG_HOME", home, 1);
    setenv("XDG_CACHE_HOME", home, 1);
    static const char *const unset[] = {"VMCTL_OWNER", "VMCTL_RUN", "VMCTL_CONNECT", "VMCTL_BACKEND", "VMCTL_CONTEXT"};
    for (size_t i = 0; i < sizeof unset / sizeof unset[0]; i++)
        unsetenv(unset[i]);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int clean(void **state) {
    (void)state;
    vmc_backends_replace(NULL);
    return nftw(home, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static const vmctl_backend_ops *old_entry(void) {
    static vmctl_backend_ops other;
    other = ops;
    other.abi = VMCTL_BACKEND_ABI + 1;
    return &other;
}

static const vmctl_backend_ops *short_entry(void) {
    static vmctl_backend_ops other;
    other = ops;
    other.size = offsetof(vmctl_backend_ops, create); /* of a time before create, change, start */
    return &other;
}

static void a_table_of_another_abi_is_refused(void **state) {
    (void)state;
    static const vmc_registry_entry other[] = {{&descriptor, old_entry}, {NULL, NULL}};
    vmc_backends_replace(other);
    vmctl_connect_options options = VMCTL_CONNECT_OPTIONS_INIT;
    options.uri = "fake:///x";
    vmctl_connection *own = NULL;
    vmctl_error *err = NULL;
    assert_int_equal(vmctl_connect(&options, &own, &err), VMCTL_E_UNAVAILABLE);
    assert_non_null(strstr(vmctl_error_message(err), "ABI"));
    vmctl_error_free(err);
    err = NULL;
    static const vmc_registry_entry absent[] = {{&descriptor, NULL}, {NULL, NULL}};
    vmc_backends_replace(absent);
    assert_int_equal(vmctl_connect(&options, &own, &err), VMCTL_E_UNAVAILABLE);
    assert_string_equal(vmctl_error_next(err), "install vmctl-fake");
    vmctl_error_free(err);
    static const vmc_registry_entry shorter[] = {{&descriptor, short_entry}, {NULL, NULL}};
    vmc_backends_replace(shorter);
    assert_int_equal(vmctl_connect(&options, &own, NULL), 0);
    vmctl_spec *spec = spec_of(simple);
    assert_int_equal(vmctl_create(own, spec, NULL, NULL, NULL), VMCTL_E_UNSUPPORTED);
    vmctl_spec_free(spec);
    vmctl_connection_free(own);
    fake.closed = 0;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, before, after)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_missing_slot_says_why),
        TEST(a_silent_failure_still_has_an_error),
        TEST(null_arguments_are_refused),
        TEST(shorter_options_leave_defaults),
        TEST(longer_options_are_accepted_while_unused),
        TEST(null_options_are_defaults),
        TEST(filters_hold_whatever_the_backend_does),
        TEST(a_cancelled_call_does_not_begin),
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
        TEST(a_vm_keeps_its_connection),
        TEST(caps_come_from_the_descriptor),
        TEST(a_table_of_another_abi_is_refused),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
