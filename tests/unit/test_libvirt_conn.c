/* The libvirt backend without a daemon: calls that are given up, errors, and the life of test:///default's one domain
 * (libvirt's drvtest: "test", running, 2 CPUs, 8 GiB). */
#include "backends/libvirt/listener.h"
#include "backends/libvirt/ops.h"
#include "backends/libvirt/stock.h"
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define TEST_UUID "6695eb01-f6a4-8304-79aa-97f2502e193f"

/* --- what the library says -------------------------------------------------------------------------------------- */

typedef struct ears {
    int notes;
    char last[256];
} ears;

static void on_note(vmctl_note_level level, const char *text, void *user) {
    (void)level;
    ears *e = user;
    e->notes++;
    strncpy(e->last, text, sizeof e->last - 1);
}

static vmctl_call call_of(ears *e, int64_t timeout_ms) {
    vmctl_call call = VMCTL_CALL_INIT;
    call.timeout_ms = timeout_ms;
    call.note = on_note;
    call.user = e;
    return call;
}

static libvirt_conn *open_test(void) {
    ears e = {0};
    vmctl_call call = call_of(&e, 10000);
    vmctl_endpoint endpoint = {.size = sizeof endpoint, .call = &call, .uri = "test:///default"};
    vmctl_opened opened = {.size = sizeof opened};
    vmctl_error *err = NULL;
    void *conn = NULL;
    int code = libvirt_open(&endpoint, &conn, &opened, &err);
    if (err)
        print_message("%s\n", vmctl_error_text(err));
    assert_int_equal(code, 0);
    assert_string_equal(opened.uri, "test:///default");
    assert_null(opened.reason);
    free(opened.uri);
    return conn;
}

static libvirt_vm *find(libvirt_conn *conn, const char *name) {
    ears e = {0};
    vmctl_call call = call_of(&e, 10000);
    vmctl_lookup_options options = VMCTL_LOOKUP_OPTIONS_INIT;
    options.call = &call;
    vmctl_identity identity = {.size = sizeof identity};
    void *vm = NULL;
    assert_int_equal(libvirt_lookup(conn, name, &options, &vm, &identity, NULL), 0);
    assert_string_equal(identity.name, "test");
    assert_string_equal(identity.id, TEST_UUID);
    free(identity.name);
    free(identity.id);
    return vm;
}

/* --- calls that are given up --------------------------------------------------------------------------------------- */

typedef struct slow {
    int sleep_ms, result;
} slow;

static atomic_int dropped, returned;

static int slow_work(void *opaque) {
    slow *s = opaque;
    usleep((useconds_t)s->sleep_ms * 1000);
    atomic_fetch_add(&returned, 1);
    return s->result;
}

static void slow_drop(void *opaque) {
    free(opaque);
    atomic_fetch_add(&dropped, 1);
}

static slow *slow_new(int sleep_ms, int result) {
    slow *s = calloc(1, sizeof *s);
    s->sleep_ms = sleep_ms;
    s->result = result;
    return s;
}

static void wait_for(atomic_int *counter, int value) {
    for (int i = 0; i < 300 && atomic_load(counter) < value; i++)
        usleep(10000);
    assert_int_equal(atomic_load(counter), value);
}

static void test_result_is_passed_on(void **state) {
    (void)state;
    libvirt_conn *conn = open_test();
    vmctl_call call = VMCTL_CALL_INIT;
    vmc_deadline deadline = vmc_deadline_start(&call, 5000);
    slow *s = slow_new(1, 42);
    assert_int_equal(libvirt_call(conn, &deadline, "working", slow_work, s, slow_drop, NULL), 42);
    free(s); /* it stayed ours */
    libvirt_close(conn);
}

static void test_deadline_abandons_the_call(void **state) {
    (void)state;
    atomic_store(&dropped, 0);
    libvirt_conn *conn = open_test();
    vmctl_call call = VMCTL_CALL_INIT;
    call.timeout_ms = 50;
    vmc_deadline deadline = vmc_deadline_start(&call, -1);
    vmctl_error *err = NULL;
    int64_t before = vmc_now_ms();
    int code = libvirt_call(conn, &deadline, "starting the domain", slow_work, slow_new(600, 0), slow_drop, &err);
    int64_t took = vmc_now_ms() - before;
    assert_int_equal(code, VMCTL_E_TIMEOUT);
    assert_in_range(took, 45, 400);
    assert_non_null(strstr(vmctl_error_message(err), "starting the domain"));
    assert_non_null(strstr(vmctl_error_message(err), "may still complete"));
    assert_int_equal(atomic_load(&dropped), 0);
    vmctl_error_free(err);
    err = NULL;

    vmc_deadline later = vmc_deadline_start(NULL, 5000);
    slow *s = slow_new(1, 0);
    assert_int_equal(libvirt_call(conn, &later, "asking", slow_work, s, slow_drop, &err), VMCTL_E_UNAVAILABLE);
    free(s);
    vmctl_error_free(err);

    assert_int_equal(libvirt_conn_renew(conn, &later, NULL), 0);
    s = slow_new(1, 7);
    assert_int_equal(libvirt_call(conn, &later, "asking", slow_work, s, slow_drop, NULL), 7);
    free(s);
    wait_for(&dropped, 1);
    libvirt_close(conn);
}

static void test_nothing_completes_of_what_only_looks(void **state) {
    (void)state;
    atomic_store(&dropped, 0);
    libvirt_conn *conn = open_test();
    vmctl_call call = VMCTL_CALL_INIT;
    call.timeout_ms = 20;
    vmc_deadline deadline = vmc_deadline_start(&call, -1);
    vmctl_error *err = NULL;
    assert_int_equal(
        libvirt_call(conn, &deadline, "looking the domain up", slow_work, slow_new(200, 0), slow_drop, &err),
        VMCTL_E_TIMEOUT);
    assert_non_null(strstr(vmctl_error_message(err), "had not answered"));
    assert_null(strstr(vmctl_error_message(err), "may still complete"));
    vmctl_error_free(err);
    wait_for(&dropped, 1);
    libvirt_close(conn);
}

static int open_files(void) {
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

/* A look that was given up, as at ^C on a busy machine: libvirt's callbacks hold the connection and the listener, which would stay. */
static void test_a_listener_ends_after_a_call_that_was_given_up(void **state) {
    (void)state;
    libvirt_conn *conn = open_test();
    int before = 0;
    for (int round = 0; round < 2; round++) { /* the first starts the event loop, which stays */
        atomic_store(&dropped, 0);
        before = open_files();
        libvirt_listener *listener = NULL;
        vmc_deadline later = vmc_deadline_start(NULL, 5000);
        assert_int_equal(libvirt_listener_open(conn, LIBVIRT_LISTEN_ALL, &later, &listener, NULL), 0);
        vmctl_call call = VMCTL_CALL_INIT;
        call.timeout_ms = 20;
        vmc_deadline deadline = vmc_deadline_start(&call, -1);
        assert_int_equal(libvirt_call(libvirt_listener_conn(listener), &deadline, "looking at a domain", slow_work,
                                      slow_new(100, 0), slow_drop, NULL),
                         VMCTL_E_TIMEOUT);
        libvirt_listener_close(listener);
        wait_for(&dropped, 1);
    }
    for (int i = 0; i < 300 && open_files() > before; i++) /* the call's own thread frees what it held */
        usleep(10000);
    assert_int_equal(open_files(), before);
    libvirt_close(conn);
}

static void test_close_does_not_wait_for_an_abandoned_call(void **state) {
    (void)state;
    atomic_store(&dropped, 0);
    libvirt_conn *conn = open_test();
    vmctl_call call = VMCTL_CALL_INIT;
    call.timeout_ms = 20;
    vmc_deadline deadline = vmc_deadline_start(&call, -1);
    int64_t before = vmc_now_ms();
    assert_int_equal(libvirt_call(conn, &deadline, "hanging", slow_work, slow_new(800, 0), slow_drop, NULL),
                     VMCTL_E_TIMEOUT);
    libvirt_close(conn);
    assert_in_range(vmc_now_ms() - before, 0, 500);
    wait_for(&dropped, 1);
}

static void *trigger_soon(void *cancel) {
    usleep(50000);
    vmctl_cancel_trigger(cancel);
    return NULL;
}

static int call_with_cancel(libvirt_conn *conn, int sleep_ms, int64_t *took) {
    vmctl_cancel *cancel = vmctl_cancel_new();
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, trigger_soon, cancel), 0);
    vmctl_call call = VMCTL_CALL_INIT;
    call.cancel = cancel;
    vmc_deadline deadline = vmc_deadline_start(&call, -1);
    int64_t before = vmc_now_ms();
    slow *s = slow_new(sleep_ms, 5);
    int code = libvirt_call(conn, &deadline, "working", slow_work, s, slow_drop, NULL);
    if (code >= 0)
        free(s);
    *took = vmc_now_ms() - before;
    pthread_join(thread, NULL);
    vmctl_cancel_free(cancel);
    return code;
}

static void test_a_short_call_survives_its_cancel(void **state) {
    (void)state;
    libvirt_conn *conn = open_test();
    int64_t took;
    assert_int_equal(call_with_cancel(conn, 300, &took), 5);
    libvirt_close(conn);
}

static void test_a_long_call_is_cancelled(void **state) {
    (void)state;
    atomic_store(&dropped, 0);
    libvirt_conn *conn = open_test();
    int64_t took;
    assert_int_equal(call_with_cancel(conn, 1800, &took), VMCTL_E_CANCELLED);
    assert_in_range(took, 900, 1600);
    libvirt_close(conn);
    wait_for(&dropped, 1);
}

static void test_a_cancelled_call_is_not_begun(void **state) {
    (void)state;
    atomic_store(&dropped, 0);
    atomic_store(&returned, 0);
    libvirt_conn *conn = open_test();
    vmctl_cancel *cancel = vmctl_cancel_new();
    vmctl_cancel_trigger(cancel);
    vmctl_call call = VMCTL_CALL_INIT;
    call.cancel = cancel;
    vmc_deadline deadline = vmc_deadline_start(&call, -1);
    assert_int_equal(libvirt_call(conn, &deadline, "working", slow_work, slow_new(0, 0), slow_drop, NULL),
                     VMCTL_E_CANCELLED);
    assert_int_equal(atomic_load(&returned), 0);
    assert_int_equal(atomic_load(&dropped), 1);
    vmctl_cancel_free(cancel);
    libvirt_close(conn);
}

/* --- errors ----------------------------------------------------------------------------------------------------------- */

static void test_errors(void **state) {
    (void)state;
    static const struct {
        int vir_code, domain, int1;
        const char *text;
        int code;
        bool retryable;
    } rows[] = {
        {VIR_ERR_NO_DOMAIN, VIR_FROM_QEMU, 0, "Domain not found", VMCTL_E_NOT_FOUND, false},
        {VIR_ERR_NO_STORAGE_VOL, VIR_FROM_STORAGE, 0, "Storage volume not found", VMCTL_E_NOT_FOUND, false},
        {VIR_ERR_DOM_EXIST, VIR_FROM_QEMU, 0, "domain exists", VMCTL_E_ALREADY_EXISTS, false},
        {VIR_ERR_OPERATION_FAILED, VIR_FROM_QEMU, 0, "operation failed: domain 'a' already exists with uuid b",
         VMCTL_E_ALREADY_EXISTS, false},
        {VIR_ERR_OPERATION_INVALID, VIR_FROM_QEMU, 0, "domain is not running", VMCTL_E_INVALID_STATE, false},
        {VIR_ERR_OPERATION_TIMEOUT, VIR_FROM_QEMU, 0, "cannot acquire state change lock", VMCTL_E_BUSY, true},
        {VIR_ERR_OPERATION_FAILED, VIR_FROM_QEMU, 0, "Active console session exists for this domain", VMCTL_E_BUSY,
         true},
        {VIR_ERR_NO_SUPPORT, VIR_FROM_TEST, 0, "this function is not supported", VMCTL_E_UNSUPPORTED, false},
        {VIR_ERR_CONFIG_UNSUPPORTED, VIR_FROM_QEMU, 0, "unsupported configuration", VMCTL_E_UNSUPPORTED, false},
        {VIR_ERR_AUTH_FAILED, VIR_FROM_RPC, 0, "authentication failed", VMCTL_E_UNAUTHENTICATED, false},
        {VIR_ERR_ACCESS_DENIED, VIR_FROM_ACCESS, 0, "access denied", VMCTL_E_PERMISSION_DENIED, false},
        {VIR_ERR_SYSTEM_ERROR, VIR_FROM_RPC, EACCES, "Failed to connect socket", VMCTL_E_PERMISSION_DENIED, false},
        {VIR_ERR_SYSTEM_ERROR, VIR_FROM_RPC, ECONNREFUSED, "Failed to connect socket", VMCTL_E_UNAVAILABLE, true},
        {VIR_ERR_SYSTEM_ERROR, VIR_FROM_RPC, EIO, "End of file while reading data", VMCTL_E_UNAVAILABLE, true},
        {VIR_ERR_INTERNAL_ERROR, VIR_FROM_RPC, 0, "client socket is closed", VMCTL_E_UNAVAILABLE, true},
        {VIR_ERR_SYSTEM_ERROR, VIR_FROM_STORAGE, ENOSPC, "cannot write", VMCTL_E_RESOURCE_EXHAUSTED, false},
        {VIR_ERR_INTERNAL_ERROR, VIR_FROM_QEMU, 0, "qemu: Could not open 'x': No space left on device",
         VMCTL_E_RESOURCE_EXHAUSTED, false},
        {VIR_ERR_INTERNAL_ERROR, VIR_FROM_QEMU, 0, "something odd", VMCTL_E_INTERNAL, false},
        {VIR_ERR_NO_MEMORY, VIR_FROM_QEMU, 0, "out of memory", VMCTL_E_RESOURCE_EXHAUSTED, false},
        {99999, VIR_FROM_QEMU, 0, "from a newer libvirt", VMCTL_E_INTERNAL, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        virError error = {.code = rows[i].vir_code, .domain = rows[i].domain, .int1 = rows[i].int1};
        error.message = (char *)rows[i].text;
        vmctl_error *err = NULL;
        int code = libvirt_error(&err, &error, "starting %s failed", "web-1");
        if (code != rows[i].code)
            print_message("%s\n", rows[i].text);
        assert_int_equal(code, rows[i].code);
        assert_int_equal(vmctl_error_code(err), rows[i].code);
        assert_int_equal(vmctl_error_retryable(err), rows[i].retryable);
        assert_string_equal(vmctl_error_message(err), "starting web-1 failed");
        assert_string_equal(vmctl_error_hypervisor_message(err), rows[i].text);
        vmctl_error_free(err);
    }
    virError error = {.code = VIR_ERR_NO_DOMAIN, .domain = VIR_FROM_QEMU};
    vmctl_error *err = NULL;
    libvirt_error(&err, &error, "x");
    assert_string_equal(vmctl_error_hypervisor_code(err), "VIR_ERR_NO_DOMAIN");
    vmctl_error_free(err);
}

static void test_states(void **state) {
    (void)state;
    static const struct {
        int state, reason;
        bool saved;
        vmctl_state expected;
    } rows[] = {
        {VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_BOOTED, false, VMCTL_STATE_RUNNING},
        {VIR_DOMAIN_BLOCKED, 0, false, VMCTL_STATE_RUNNING},
        {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_USER, false, VMCTL_STATE_PAUSED},
        {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_MIGRATION, false, VMCTL_STATE_MIGRATING},
        {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_STARTING_UP, false, VMCTL_STATE_STARTING},
        {VIR_DOMAIN_PMSUSPENDED, 0, false, VMCTL_STATE_PAUSED},
        {VIR_DOMAIN_SHUTDOWN, 0, false, VMCTL_STATE_STOPPING},
        {VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_DESTROYED, false, VMCTL_STATE_STOPPED},
        {VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_UNKNOWN, true, VMCTL_STATE_SAVED},
        {VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_CRASHED, false, VMCTL_STATE_CRASHED},
        {VIR_DOMAIN_CRASHED, VIR_DOMAIN_CRASHED_PANICKED, false, VMCTL_STATE_CRASHED},
        {VIR_DOMAIN_NOSTATE, 0, false, VMCTL_STATE_UNKNOWN},
        {99, 99, false, VMCTL_STATE_UNKNOWN},
        {VIR_DOMAIN_RUNNING, -1, false, VMCTL_STATE_RUNNING},
        {VIR_DOMAIN_RUNNING, 1000, false, VMCTL_STATE_RUNNING},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(libvirt_state(rows[i].state, rows[i].reason, rows[i].saved, NULL), rows[i].expected);
    const char *text = NULL;
    libvirt_state(VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_SHUTDOWN, false, &text);
    assert_string_equal(text, "shut off by the guest");
}

/* --- looking ------------------------------------------------------------------------------------------------------------- */

typedef struct seen {
    int count;
    vmctl_state state;
    unsigned cpus, present;
    uint64_t memory_mib;
    char id[64];
} seen;

static int on_vm(const vmctl_vm_info *info, void *user) {
    seen *s = user;
    s->count++;
    s->state = info->state;
    s->cpus = info->cpus;
    s->memory_mib = info->memory_mib;
    s->present = info->present;
    assert_string_equal(info->name, "test");
    strncpy(s->id, info->id, sizeof s->id - 1);
    return 0;
}

static seen list(libvirt_conn *conn, const char *name, unsigned states, const char *owner) {
    vmctl_call call = VMCTL_CALL_INIT;
    vmctl_list_options options = VMCTL_LIST_OPTIONS_INIT;
    options.call = &call;
    options.name = name;
    options.states = states;
    options.owner = owner;
    seen s = {0};
    vmctl_error *err = NULL;
    int code = libvirt_list(conn, &options, on_vm, &s, &err);
    if (err)
        print_message("%s\n", vmctl_error_text(err));
    vmctl_error_free(err);
    assert_int_equal(code, 0);
    return s;
}

static void test_list(void **state) {
    (void)state;
    libvirt_conn *conn = open_test();
    seen s = list(conn, NULL, 0, NULL);
    assert_int_equal(s.count, 1);
    assert_int_equal(s.state, VMCTL_STATE_RUNNING);
    assert_int_equal(s.cpus, 2);
    assert_int_equal(s.memory_mib, 2048);
    assert_string_equal(s.id, TEST_UUID);
    assert_int_equal(s.present, VMCTL_FACTS_LIST);
    assert_int_equal(list(conn, "test", 0, NULL).count, 1);
    assert_int_equal(list(conn, "other", 0, NULL).count, 0);
    assert_int_equal(list(conn, NULL, 1u << VMCTL_STATE_STOPPED, NULL).count, 0);
    assert_int_equal(list(conn, NULL, 1u << VMCTL_STATE_RUNNING, NULL).count, 1);
    assert_int_equal(list(conn, NULL, 0, "anna@host").count, 0);
    libvirt_close(conn);
}

static void test_lookup(void **state) {
    (void)state;
    libvirt_conn *conn = open_test();
    libvirt_release(conn, find(conn, "test"));
    libvirt_release(conn, find(conn, TEST_UUID));
    vmctl_call call = VMCTL_CALL_INIT;
    vmctl_lookup_options options = VMCTL_LOOKUP_OPTIONS_INIT;
    options.call = &call;
    vmctl_identity identity = {.size = sizeof identity};
    vmctl_error *err = NULL;
    void *vm = NULL;
    assert_int_equal(libvirt_lookup(conn, "tesst", &options, &vm, &identity, &err), VMCTL_E_NOT_FOUND);
    assert_null(vm);
    assert_non_null(strstr(vmctl_error_message(err), "tesst"));
    assert_string_equal(vmctl_error_next(err), "did you mean test?");
    vmctl_error_free(err);
    libvirt_close(conn);
}

static void test_get(void **state) {
    (void)state;
    libvirt_conn *conn = open_test();
    libvirt_vm *vm = find(conn, "test");
    vmctl_call call = VMCTL_CALL_INIT;
    vmctl_get_options options = VMCTL_GET_OPTIONS_INIT;
    options.call = &call;
    seen s = {0};
    assert_int_equal(libvirt_get(conn, vm, &options, on_vm, &s, NULL), 0);
    assert_int_equal(s.count, 1);
    assert_int_equal(s.cpus, 2);
    assert_true(s.present & VMCTL_FACT_CONFIG);
    char *xml = NULL;
    assert_int_equal(libvirt_native(conn, vm, &call, &xml, NULL), 0);
    assert_non_null(strstr(xml, "<name>test</name>"));
    free(xml);
    libvirt_release(conn, vm);
    libvirt_close(conn);
}

/* --- life ------------------------------------------------------------------------------------------------------------------ */

static vmctl_state state_of(libvirt_conn *conn) {
    return list(conn, "test", 0, NULL).state;
}

static void test_life(void **state) {
    (void)state;
    libvirt_conn *conn = open_test();
    libvirt_vm *vm = find(conn, "test");
    ears e = {0};
    vmctl_call call = call_of(&e, 20000);
    vmctl_start_options start = VMCTL_START_OPTIONS_INIT;
    vmctl_stop_options stop = VMCTL_STOP_OPTIONS_INIT;
    start.call = stop.call = &call;
    vmctl_error *err = NULL;

    assert_int_equal(libvirt_start(conn, vm, &start, NULL), 0); /* it runs already */
    assert_int_equal(e.notes, 1);
    assert_string_equal(e.last, "test is already running");

    assert_int_equal(libvirt_pause(conn, vm, &call, NULL), 0);
    assert_int_equal(state_of(conn), VMCTL_STATE_PAUSED);
    assert_int_equal(libvirt_pause(conn, vm, &call, NULL), 0);
    assert_int_equal(e.notes, 2);
    assert_int_equal(libvirt_start(conn, vm, &start, &err), VMCTL_E_INVALID_STATE);
    assert_string_equal(vmctl_error_next(err), "vmctl resume test");
    vmctl_error_free(err);
    err = NULL;
    assert_int_equal(libvirt_resume(conn, vm, &call, NULL), 0);
    assert_int_equal(state_of(conn), VMCTL_STATE_RUNNING);

    assert_int_equal(libvirt_stop(conn, vm, &stop, NULL), 0); /* the test driver's guests obey */
    assert_int_equal(state_of(conn), VMCTL_STATE_STOPPED);
    assert_int_equal(libvirt_stop(conn, vm, &stop, NULL), 0);
    assert_string_equal(e.last, "test is already stopped");
    assert_int_equal(libvirt_pause(conn, vm, &call, &err), VMCTL_E_INVALID_STATE);
    assert_string_equal(vmctl_error_message(err), "test is stopped");
    vmctl_error_free(err);
    err = NULL;

    assert_int_equal(libvirt_rename(conn, vm, "renamed", &call, NULL), 0);
    assert_string_equal(vm->name, "renamed");
    assert_string_equal(virDomainGetName(vm->domain), "renamed");
    assert_int_equal(libvirt_rename(conn, vm, "test", &call, NULL), 0);

    assert_int_equal(libvirt_start(conn, vm, &start, NULL), 0);
    assert_int_equal(state_of(conn), VMCTL_STATE_RUNNING);
    assert_int_equal(libvirt_restart(conn, vm, &stop, NULL), 0);
    assert_int_equal(state_of(conn), VMCTL_STATE_RUNNING);
    assert_int_equal(libvirt_save(conn, vm, &call, NULL), 0);
    assert_int_equal(state_of(conn), VMCTL_STATE_SAVED);
    assert_int_equal(libvirt_start(conn, vm, &start, NULL), 0);
    stop.force = true;
    assert_int_equal(libvirt_stop(conn, vm, &stop, NULL), 0);
    assert_int_equal(state_of(conn), VMCTL_STATE_STOPPED);
    assert_int_equal(libvirt_start(conn, vm, &start, NULL), 0);
    libvirt_release(conn, vm);
    libvirt_close(conn);
}

/* --- events ---------------------------------------------------------------------------------------------------------------- */

typedef struct heard {
    libvirt_conn *conn;
    libvirt_vm *vm;
    int connected, paused, ticks;
} heard;

static int on_event(const vmctl_event *event, void *user) {
    heard *h = user;
    vmctl_call call = VMCTL_CALL_INIT;
    if (event->kind == VMCTL_EVENT_CONNECTED) {
        h->connected++;
        assert_int_equal(libvirt_pause(h->conn, h->vm, &call, NULL), 0); /* the callback may use the connection */
    } else if (event->kind == VMCTL_EVENT_STATE && event->state == VMCTL_STATE_PAUSED) {
        assert_int_equal(h->connected, 1);
        assert_string_equal(event->name, "test");
        assert_string_equal(event->id, TEST_UUID);
        h->paused++;
    } else if (event->kind == VMCTL_EVENT_TICK) {
        h->ticks++;
        return 1;
    }
    return 0;
}

static void test_events(void **state) {
    (void)state;
    libvirt_conn *conn = open_test();
    heard h = {.conn = conn, .vm = find(conn, "test")};
    vmctl_call call = VMCTL_CALL_INIT;
    call.timeout_ms = 10000;
    vmctl_event_options options = VMCTL_EVENT_OPTIONS_INIT;
    options.call = &call;
    options.tick_ms = 300;
    assert_int_equal(libvirt_events(conn, &options, on_event, &h, NULL), 0);
    assert_int_equal(h.connected, 1);
    assert_int_equal(h.paused, 1);
    assert_int_equal(h.ticks, 1);
    assert_int_equal(libvirt_resume(conn, h.vm, &call, NULL), 0);
    libvirt_release(conn, h.vm);
    libvirt_close(conn);
}

/* --- endpoints ------------------------------------------------------------------------------------------------------------- */

static int try_open(const char *uri, char *next, size_t size) {
    ears e = {0};
    vmctl_call call = call_of(&e, 10000);
    vmctl_endpoint endpoint = {.size = sizeof endpoint, .call = &call, .uri = uri};
    vmctl_opened opened = {.size = sizeof opened};
    vmctl_error *err = NULL;
    void *conn = NULL;
    int code = libvirt_open(&endpoint, &conn, &opened, &err);
    assert_null(conn);
    const char *text = vmctl_error_next(err);
    strncpy(next, text ? text : "", size - 1);
    vmctl_error_free(err);
    return code;
}

static int count_told(vmctl_event_kind kind, const char *name, const char *uuid, vmctl_state state, const char *detail,
                      void *user) {
    (void)name, (void)uuid, (void)detail;
    if (kind == VMCTL_EVENT_STATE && state == VMCTL_STATE_RUNNING)
        ++*(int *)user;
    return 0;
}

/* The daemon may end between an event and the next: what came to be in between is told once it is back, although it was seen before. */
static void test_what_was_seen_and_not_told_is_told_later(void **state) {
    (void)state;
    libvirt_conn *conn = open_test(); /* its domain runs */
    libvirt_stock *stock = libvirt_stock_new(NULL);
    vmc_deadline deadline = vmc_deadline_start(NULL, 5000);
    assert_int_equal(libvirt_stock_take(stock, conn, false, &deadline, NULL), 0);
    libvirt_event event = {
        .kind = VMCTL_EVENT_STATE, .name = (char *)"test", .uuid = TEST_UUID, .state = VMCTL_STATE_STOPPING};
    free(libvirt_stock_note(stock, &event, conn, &deadline));
    assert_int_equal(libvirt_stock_refresh(stock, conn, &deadline, NULL), 0);
    assert_int_equal(libvirt_stock_take(stock, conn, false, &deadline, NULL), 0);
    int running = 0;
    assert_int_equal(libvirt_stock_differences(stock, count_told, &running), 0);
    assert_int_equal(running, 1);
    libvirt_stock_free(stock);
    libvirt_close(conn);
}

static void test_endpoints(void **state) {
    (void)state;
    char next[256] = "";
    assert_int_equal(try_open("vbox:///session", next, sizeof next), VMCTL_E_INVALID_ARGUMENT);
    assert_non_null(strstr(next, "virtualbox:///"));
    assert_int_equal(try_open("esx://root@host/", next, sizeof next), VMCTL_E_INVALID_ARGUMENT);
    assert_non_null(strstr(next, "vsphere://"));
    assert_int_equal(try_open("qemu+unix:///system?socket=/nonexistent/sock", next, sizeof next), VMCTL_E_UNAVAILABLE);
    setenv("LIBVIRT_DEFAULT_URI", "test:///default", 1);
    ears e = {0};
    vmctl_call call = call_of(&e, 10000);
    vmctl_endpoint endpoint = {.size = sizeof endpoint, .call = &call};
    vmctl_opened opened = {.size = sizeof opened};
    void *conn = NULL;
    assert_int_equal(libvirt_open(&endpoint, &conn, &opened, NULL), 0);
    assert_string_equal(opened.reason, "LIBVIRT_DEFAULT_URI");
    free(opened.uri);
    free(opened.reason);
    libvirt_close(conn);
    unsetenv("LIBVIRT_DEFAULT_URI");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_result_is_passed_on),
        cmocka_unit_test(test_deadline_abandons_the_call),
        cmocka_unit_test(test_nothing_completes_of_what_only_looks),
        cmocka_unit_test(test_a_listener_ends_after_a_call_that_was_given_up),
        cmocka_unit_test(test_close_does_not_wait_for_an_abandoned_call),
        cmocka_unit_test(test_a_short_call_survives_its_cancel),
        cmocka_unit_test(test_a_long_call_is_cancelled),
        cmocka_unit_test(test_a_cancelled_call_is_not_begun),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_lookup),
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_life),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_what_was_seen_and_not_told_is_told_later),
        cmocka_unit_test(test_endpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
