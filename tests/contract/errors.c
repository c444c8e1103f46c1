/* errors.c - what goes wrong: the code, the words, and nothing left behind. And several threads and connections at once. */
#include "contract.h"

#include <pthread.h>

static int create_only(vmctl_spec *spec, const vmctl_create_options *options) {
    vmctl_vm *vm = NULL;
    int rc = vmctl_create(conn, spec, options, &vm, &err);
    vmctl_vm_free(vm);
    vmctl_spec_free(spec);
    return rc;
}

static void a_taken_name(void **state) {
    (void)state;
    vmctl_vm *vm = make("er-a", "%s", "");
    char *before = world();
    vmctl_create_options dry = VMCTL_CREATE_OPTIONS_INIT;
    dry.dry_run = true;
    const vmctl_create_options *const both[] = {NULL, &dry};
    for (size_t i = 0; i < 2; i++) {
        FAILS(VMCTL_E_ALREADY_EXISTS, create_only(spec_of("er-a", "%s", ""), both[i]));
        assert_non_null(strstr(failure, "er-a"));
    }
    char *after = world_after(before);
    assert_string_equal(before, after);
    free(before);
    free(after);
    start(vm); /* the first one is whole */
    wait_line(vm, 1);
    vmctl_vm_free(vm);
}

static void a_missing_image(void **state) {
    (void)state;
    FAILS(VMCTL_E_NOT_FOUND,
          create_only(spec_of("er-b", "%s", "disks: [{name: root, image: /nowhere/at-all.img}]"), NULL));
    assert_non_null(strstr(failure, "/nowhere/at-all.img"));
    assert_int_equal(listed("er-b"), 0);
}

static void a_missing_volume(void **state) {
    (void)state;
    FAILS(VMCTL_E_NOT_FOUND,
          create_only(spec_of("er-c", "%s", "disks: [{name: root, volume: default/nothing.img}]"), NULL));
    FAILS(VMCTL_E_NOT_FOUND,
          create_only(spec_of("er-c", "%s", "disks: [{name: root, size: 1MiB, pool: no-such-pool}]"), NULL));
    assert_non_null(strstr(failure, "no-such-pool"));
}

static void an_image_that_is_not_one(void **state) {
    (void)state;
    const char *path = scratch_file("false.qcow2", "this is no image\n", 17);
    int rc = create_only(spec_of("er-d", "disks: [{name: root, image: %s}]", path), NULL);
    assert_true(rc == VMCTL_E_INVALID_ARGUMENT || rc == VMCTL_E_INVALID_SPEC);
    assert_non_null(strstr(vmctl_error_text(err), "false.qcow2"));
    vmctl_error_free(err);
    err = NULL;
}

static void an_unsupported_key_names_its_line(void **state) {
    (void)state;
    /* spec_of puts the name on line 1, so the key is on line 3. */
    char *before = world();
    FAILS(VMCTL_E_UNSUPPORTED, create_only(spec_of("er-e", "memory: 32MiB\n%s", profile->bad_key), NULL));
    assert_non_null(strstr(failure, "contract.yaml:3"));
    char *after = world_after(before);
    assert_string_equal(before, after);
    free(before);
    free(after);
}

static int no_gpu(const vmctl_gpu *gpu, void *user) {
    (void)gpu, (void)user;
    return 0;
}

static int no_metrics(const vmctl_metrics *metrics, void *user) {
    (void)metrics, (void)user;
    return 0;
}

static void an_unsupported_operation_gives_its_reason(void **state) {
    (void)state;
    if (can("gpu.list")) {
        FAILS(VMCTL_E_UNSUPPORTED, vmctl_metrics_list(conn, NULL, no_metrics, NULL, &err));
        assert_non_null(strstr(failure, "Prometheus"));
        return;
    }
    FAILS(VMCTL_E_UNSUPPORTED, vmctl_gpu_list(conn, NULL, no_gpu, NULL, &err));
    assert_non_null(strstr(failure, "GPU"));
}

static void a_dry_run_makes_nothing(void **state) {
    (void)state;
    char *before = world();
    vmctl_create_options options = VMCTL_CREATE_OPTIONS_INIT;
    options.dry_run = true;
    MUST(create_only(spec_of("er-g", "%s", ""), &options));
    FAILS(VMCTL_E_NOT_FOUND,
          create_only(spec_of("er-g", "%s", "disks: [{name: root, image: /nowhere/at-all.img}]"), &options));
    char *after = world_after(before);
    assert_string_equal(before, after);
    free(before);
    free(after);
}

typedef struct countdown {
    int left;
} countdown;

static int cancel_at_zero(const vmctl_progress *progress, void *user) {
    (void)progress;
    return --((countdown *)user)->left == 0;
}

/* Cancelled at its first report of progress, at its second, ... until there is none left: nothing stays. */
static void cancelled_anywhere_leaves_nothing(void **state) {
    (void)state;
    char *before = world();
    int cancelled = 0;
    for (int at = 1; at < 100; at++) {
        countdown count = {at};
        vmctl_call call = VMCTL_CALL_INIT;
        call.progress = cancel_at_zero;
        call.user = &count;
        vmctl_create_options options = VMCTL_CREATE_OPTIONS_INIT;
        options.call = &call;
        options.start = true;
        vmctl_spec *spec =
            spec_of("er-h", "disks: [{name: root, image: %s}, {name: data, size: 4MiB}]\ncloudInit: {hostname: h}",
                    guest_image);
        int rc = create_only(spec, &options);
        if (count.left > 0) { /* it had fewer reports than that: it is made */
            MUST(rc);
            break;
        }
        FAILS(VMCTL_E_CANCELLED, rc);
        cancelled++;
        char *after = world_after(before);
        assert_string_equal(before, after);
        free(after);
    }
    assert_true(cancelled >= 1);
    free(before);
}

static void a_token_triggered_before_the_call(void **state) {
    (void)state;
    vmctl_call call = VMCTL_CALL_INIT;
    call.cancel = vmctl_cancel_new();
    vmctl_cancel_trigger(call.cancel);
    vmctl_create_options options = VMCTL_CREATE_OPTIONS_INIT;
    options.call = &call;
    FAILS(VMCTL_E_CANCELLED, create_only(spec_of("er-i", "%s", ""), &options));
    assert_int_equal(listed("er-i"), 0);
    vmctl_cancel_free(call.cancel);
}

static void a_deadline_that_cannot_be_met(void **state) {
    (void)state;
    vmctl_call call = VMCTL_CALL_INIT;
    call.timeout_ms = 1;
    vmctl_create_options options = VMCTL_CREATE_OPTIONS_INIT;
    options.call = &call;
    char *before = world();
    FAILS(VMCTL_E_TIMEOUT, create_only(spec_of("er-j", "%s", ""), &options));
    char *after = world_after(before);
    assert_string_equal(before, after);
    free(before);
    free(after);
}

static void a_handle_of_a_deleted_vm(void **state) {
    (void)state;
    vmctl_vm *vm = make("er-k", "%s", "");
    MUST(vmctl_vm_delete(vm, NULL, &err));
    assert_string_equal(vmctl_vm_name(vm), "er-k");
    FAILS(VMCTL_E_NOT_FOUND, vmctl_vm_start(vm, NULL, &err));
    vmctl_vm_free(vm);
}

typedef struct worker {
    int number;
    vmctl_connection *connection;
    char trouble[512];
} worker;

static int nothing(const vmctl_vm_info *info, void *user) {
    (void)info;
    (void)user;
    return 0;
}

/* Makes, starts, reads and deletes VMs of its own. No assertion: cmocka's belong to the main thread. */
static void *work(void *user) {
    worker *me = user;
    vmctl_error *trouble = NULL;
    for (int round = 0; round < 2; round++) {
        vmctl_spec *spec = vmctl_spec_new();
        char name[32];
        snprintf(name, sizeof name, "th-%d-%d", me->number, round);
        vmctl_vm *vm = NULL;
        vmctl_create_options create = VMCTL_CREATE_OPTIONS_INIT;
        create.start = true;
        vmctl_delete_options gone = VMCTL_DELETE_OPTIONS_INIT;
        gone.force = true;
        int rc = vmctl_spec_set(spec, "name", name, &trouble);
        rc = rc ? rc : vmctl_spec_set(spec, "memory", "32MiB", &trouble);
        rc = rc ? rc : vmctl_spec_set(spec, "networks", "[]", &trouble);
        rc = rc ? rc : vmctl_spec_set(spec, "disks.root.image", guest_image, &trouble);
        for (size_t i = 0; rc == 0 && profile->settings && profile->settings[i][0]; i++)
            rc = vmctl_spec_set(spec, profile->settings[i][0], profile->settings[i][1], &trouble);
        rc = rc ? rc : vmctl_create(me->connection, spec, &create, &vm, &trouble);
        for (int i = 0; rc == 0 && i < profile->rounds; i++) {
            rc = vmctl_list(me->connection, NULL, nothing, NULL, &trouble);
            rc = rc ? rc : vmctl_vm_get(vm, NULL, nothing, NULL, &trouble);
        }
        rc = rc ? rc : vmctl_vm_pause(vm, NULL, &trouble);
        rc = rc ? rc : vmctl_vm_delete(vm, &gone, &trouble);
        vmctl_vm_free(vm);
        vmctl_spec_free(spec);
        if (rc) {
            snprintf(me->trouble, sizeof me->trouble, "%s", trouble ? vmctl_error_text(trouble) : "no error object");
            vmctl_error_free(trouble);
            return NULL;
        }
    }
    return NULL;
}

static void run_workers(worker *workers, int count) {
    pthread_t threads[8];
    for (int i = 0; i < count; i++) {
        workers[i].number = i;
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < count; i++) {
        if (*workers[i].trouble) {
            print_error("thread %d: %s\n", i, workers[i].trouble);
            fail();
        }
    }
}

static void several_threads_on_one_connection(void **state) {
    (void)state;
    if (vmctl_connection_threads(conn) == 1)
        skip();
    worker workers[4] = {{0}};
    for (int i = 0; i < 4; i++)
        workers[i].connection = conn;
    run_workers(workers, 4);
}

static void two_connections_share_nothing(void **state) {
    (void)state;
    worker workers[2] = {{0}};
    vmctl_connect_options options = VMCTL_CONNECT_OPTIONS_INIT;
    options.uri = vmctl_connection_uri(conn);
    for (int i = 0; i < 2; i++)
        MUST(vmctl_connect(&options, &workers[i].connection, &err));
    run_workers(workers, 2);
    vmctl_connection_free(workers[0].connection);
    MUST(vmctl_list(workers[1].connection, NULL, nothing, NULL, &err));
    vmctl_connection_free(workers[1].connection);
}

static void a_handle_keeps_its_connection(void **state) {
    (void)state;
    vmctl_vm_free(make("er-l", "%s", ""));
    vmctl_connect_options options = VMCTL_CONNECT_OPTIONS_INIT;
    options.uri = vmctl_connection_uri(conn);
    vmctl_connection *other = NULL;
    vmctl_vm *vm = NULL;
    MUST(vmctl_connect(&options, &other, &err));
    MUST(vmctl_vm_lookup(other, "er-l", NULL, &vm, &err));
    vmctl_connection_free(other);
    assert_int_equal(state_of(vm), VMCTL_STATE_STOPPED);
    MUST(vmctl_vm_delete(vm, NULL, &err));
    vmctl_vm_free(vm);
}

static void an_endpoint_that_is_not_there(void **state) {
    (void)state;
    vmctl_connect_options options = VMCTL_CONNECT_OPTIONS_INIT;
    vmctl_connection *other = NULL;
    options.uri = "no-such-scheme://host/";
    FAILS(VMCTL_E_INVALID_ARGUMENT, vmctl_connect(&options, &other, &err));
    options.uri = profile->bad_uri;
    FAILS(profile->bad_uri_code, vmctl_connect(&options, &other, &err));
    assert_null(other);
}

static const contract_test tests[] = {
    TEST("errors.exists", "create", a_taken_name),
    TEST("errors.notfound", "create", a_missing_image),
    TEST("errors.notfound", "create", a_missing_volume),
    TEST("errors.image", "create", an_image_that_is_not_one),
    TEST("errors.unsupported", "create", an_unsupported_key_names_its_line),
    TEST("errors.unsupported", "lookup", an_unsupported_operation_gives_its_reason),
    TEST("lifecycle.create.dryrun", "create", a_dry_run_makes_nothing),
    TEST("lifecycle.create.undo", "create undo", cancelled_anywhere_leaves_nothing),
    TEST("errors.cancelled", "create", a_token_triggered_before_the_call),
    TEST("errors.timeout", "create", a_deadline_that_cannot_be_met),
    TEST("errors.gone", "remove start", a_handle_of_a_deleted_vm),
    TEST("connection.threads", "create start list get pause remove", several_threads_on_one_connection),
    TEST("connection.several", "open close", two_connections_share_nothing),
    TEST("connection.handles", "open close release", a_handle_keeps_its_connection),
    TEST("connection.unavailable", "open", an_endpoint_that_is_not_there),
};
const contract_group group_errors = {"errors", tests, sizeof tests / sizeof tests[0]};
