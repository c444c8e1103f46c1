/* tests/unit/fake_backend.h - a small backend that notes what it is asked for, for the tests of the dispatcher. One program
 * includes it once. */
#ifndef VMC_TEST_FAKE_BACKEND_H
#define VMC_TEST_FAKE_BACKEND_H

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
    int opened, closed, created, checked, started, removed, rendered, changed, released;
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
    (void)conn;
    if (!fake.exists)
        return vmc_error(err, VMCTL_E_NOT_FOUND, "there is no VM %s", name);
    *vm = &fake;
    identity->name = strdup(name);
    identity->id = options->lazy ? NULL : strdup("1");
    return 0;
}

static int fake_get(void *conn, void *vm, const vmctl_get_options *options, vmctl_vm_info_fn each, void *user,
                    vmctl_error **err) {
    (void)conn, (void)vm, (void)err;
    const vmctl_vm_info info = {.size = sizeof info, .name = "web", .id = "1"};
    fake.facts = options->facts;
    each(&info, user);
    return 0;
}

static void fake_release(void *conn, void *vm) {
    (void)conn, (void)vm;
    fake.released++;
}

static int fake_create(void *conn, const vmctl_spec *spec, const vmctl_create_options *options,
                       const vmctl_marker *marker, vmc_journal *journal, void **vm, vmctl_identity *identity,
                       vmctl_error **err) {
    assert_non_null(options->call);
    if (options->dry_run) {
        assert_true(!journal && !vm && !identity);
        fake.checked++;
        return fake.create_code ? vmc_error(err, fake.create_code, "the pool is full") : 0;
    }
    fake.created++;
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
    .get = fake_get,
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

static inline vmctl_spec *spec_of(const char *text) {
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

static inline vmctl_vm *the_vm(void) {
    fake.exists = true;
    vmctl_vm *vm = NULL;
    assert_int_equal(vmctl_vm_lookup(connection, "web", NULL, &vm, NULL), 0);
    return vm;
}

static inline int journal_files(void) {
    VMC_AUTO_FREE char *command = vmc_printf("ls %s/vmctl/journal 2>/dev/null | wc -l", home);
    FILE *p = popen(command, "r");
    int count = -1;
    assert_int_equal(fscanf(p, "%d", &count), 1);
    pclose(p);
    return count;
}

static const char simple[] = "name: web\nmemory: 1GiB\ndisks:\n  - {name: root, size: 1GiB}\n";

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

#define TEST(function) cmocka_unit_test_setup_teardown(function, before, after)

#endif
