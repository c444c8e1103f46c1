/* look.c - seeing VMs: list, lookup, spec and native documents, waiting, events, console, logs, hosts. */
#include "contract.h"

#include <poll.h>
#include <pthread.h>

typedef struct tally {
    int count;
    unsigned present;
    char names[512];
    int stop_after;
} tally;

static int take_info(const vmctl_vm_info *info, void *user) {
    tally *to = user;
    to->count++;
    to->present = info->present;
    strncat(to->names, info->name, sizeof to->names - strlen(to->names) - 2);
    strcat(to->names, " ");
    return to->stop_after && to->count >= to->stop_after;
}

static void list_filters(void **state) {
    (void)state;
    vmctl_vm *a = make("li-a", "%s", "labels: {tier: web}"), *b = make_started("li-b", "%s", "labels: {tier: db}");
    tally all = {0};
    MUST(vmctl_list(conn, NULL, take_info, &all, &err));
    assert_non_null(strstr(all.names, "li-a "));
    assert_non_null(strstr(all.names, "li-b "));
    assert_true(all.present & VMCTL_FACT_STATE);
    assert_true(all.present & VMCTL_FACT_RESOURCES);

    vmctl_label label = {"tier", "web"};
    vmctl_list_options options = VMCTL_LIST_OPTIONS_INIT;
    options.labels = &label;
    options.label_count = 1;
    tally labelled = {0};
    MUST(vmctl_list(conn, &options, take_info, &labelled, &err));
    assert_string_equal(labelled.names, "li-a ");

    options = (vmctl_list_options)VMCTL_LIST_OPTIONS_INIT;
    options.states = 1u << VMCTL_STATE_RUNNING;
    tally running = {0};
    MUST(vmctl_list(conn, &options, take_info, &running, &err));
    assert_string_equal(running.names, "li-b ");

    tally stopped = {.stop_after = 1};
    MUST(vmctl_list(conn, NULL, take_info, &stopped, &err));
    assert_int_equal(stopped.count, 1);
    vmctl_vm_free(a);
    vmctl_vm_free(b);
}

static void list_tells_owners(void **state) {
    (void)state;
    vmctl_spec *spec = spec_of("li-c", "%s", "");
    vmctl_create_options create = VMCTL_CREATE_OPTIONS_INIT;
    create.owner = "somebody@else";
    MUST(vmctl_create(conn, spec, &create, NULL, &err));
    vmctl_spec_free(spec);
    vmctl_vm *other = make("li-d", "%s", "");
    vmctl_list_options options = VMCTL_LIST_OPTIONS_INIT;
    options.owner = "somebody@else";
    tally owned = {0};
    MUST(vmctl_list(conn, &options, take_info, &owned, &err));
    assert_string_equal(owned.names, "li-c ");
    vmctl_vm_free(other);
}

static void lookup_by_name_and_id(void **state) {
    (void)state;
    vmctl_vm *vm = make("lo-a", "%s", ""), *again = NULL;
    MUST(vmctl_vm_lookup(conn, vmctl_vm_id(vm), NULL, &again, &err));
    assert_string_equal(vmctl_vm_name(again), "lo-a");
    vmctl_vm_free(again);
    FAILS(VMCTL_E_NOT_FOUND, vmctl_vm_lookup(conn, "lo-b", NULL, &again, &err));
    assert_non_null(strstr(failure, "lo-b"));
    vmctl_vm_free(vm);
}

/* Leaves of a document what is a person's to say, where its owner tells in it at any time what is going on as well. */
static void drop_told(char *native) {
    char *spec = profile->state_lags ? strstr(native, "\n\t\"spec\":") : NULL;
    if (!spec)
        return;
    memmove(native, spec, strlen(spec) + 1);
    char *status = strstr(native, ",\n\t\"status\":"), *end = strstr(native, "\n}");
    if (status || end)
        *(status ? status : end) = '\0';
}

/* What get -o spec gives leads nowhere when it is applied: the native document stays byte for byte. */
static void spec_round_trip(void **state) {
    (void)state;
    const char *const *variants = profile->variants;
    for (size_t i = 0; variants[i]; i++) {
        char name[32];
        snprintf(name, sizeof name, "rt-%zu", i);
        vmctl_vm *vm = make(name, "%s", variants[i]);
        char *before = NULL, *after = NULL;
        vmctl_spec *spec = NULL;
        MUST(vmctl_vm_native(vm, NULL, &before, &err));
        MUST(vmctl_vm_spec(vm, NULL, &spec, &err));
        bool created = true;
        if (can("change.apply")) {
            MUST(vmctl_apply(conn, spec, NULL, &created, &err));
            assert_false(created);
        } else { /* what apply would find to do for the spec that the VM was made of */
            vmctl_diff *todo = NULL;
            vmctl_spec *made_of = spec_of(name, "%s", variants[i]);
            MUST(vmctl_spec_diff(spec, made_of, NULL, &todo, &err));
            for (size_t change = 0; change < vmctl_diff_count(todo); change++)
                print_error(
                    "%s: %s -> %s\n", vmctl_diff_at(todo, change)->path,
                    vmctl_diff_at(todo, change)->have_text ? vmctl_diff_at(todo, change)->have_text : "(absent)",
                    vmctl_diff_at(todo, change)->want_text ? vmctl_diff_at(todo, change)->want_text : "(absent)");
            assert_int_equal(vmctl_diff_count(todo), 0);
            vmctl_diff_free(todo);
            vmctl_spec_free(made_of);
        }
        MUST(vmctl_vm_native(vm, NULL, &after, &err));
        drop_told(before);
        drop_told(after);
        assert_string_equal(before, after);

        /* The text of the spec is the spec: read back and applied, again no change. */
        char *text = NULL;
        MUST(vmctl_spec_text(spec, VMCTL_FORMAT_YAML, false, &text, &err));
        vmctl_spec **specs = NULL;
        size_t count = 0;
        MUST(vmctl_spec_load(text, strlen(text), NULL, &specs, &count, &err));
        assert_int_equal(count, 1);
        vmctl_diff *diff = NULL;
        MUST(vmctl_spec_diff(spec, specs[0], NULL, &diff, &err));
        assert_int_equal(vmctl_diff_count(diff), 0);
        vmctl_diff_free(diff);
        vmctl_spec_list_free(specs);
        vmctl_string_free(text);
        vmctl_string_free(before);
        vmctl_string_free(after);
        vmctl_spec_free(spec);
        vmctl_vm_free(vm);
    }
}

static void render_sends_nothing(void **state) {
    (void)state;
    char *before = world(), *native = NULL;
    vmctl_spec *spec = spec_of("rn-a", "%s", "description: rendered only");
    MUST(vmctl_render(conn, spec, NULL, &native, &err));
    vmctl_spec_free(spec);
    assert_non_null(strstr(native, "rn-a"));
    assert_non_null(strstr(native, "rendered only"));
    vmctl_string_free(native);
    char *after = world_after(before);
    assert_string_equal(before, after);
    free(before);
    free(after);
}

typedef struct later {
    vmctl_vm *vm;
    int delay_ms;
    const char *what;
    int rc;
} later;

static void *do_later(void *user) {
    later *job = user;
    vmctl_error *trouble = NULL;
    sleep_ms(job->delay_ms);
    vmctl_stop_options force = VMCTL_STOP_OPTIONS_INIT;
    force.force = true;
    if (strcmp(job->what, "start") == 0)
        job->rc = vmctl_vm_start(job->vm, NULL, &trouble);
    else if (strcmp(job->what, "stop") == 0)
        job->rc = vmctl_vm_stop(job->vm, &force, &trouble);
    else
        job->rc = vmctl_vm_delete(job->vm, NULL, &trouble);
    if (trouble)
        print_error("%s\n", vmctl_error_text(trouble));
    vmctl_error_free(trouble);
    return NULL;
}

static void waits_for(vmctl_vm *vm, const char *stage, const char *what) {
    later job = {vm, 700, what, 0};
    pthread_t thread;
    vmctl_call call = VMCTL_CALL_INIT;
    call.timeout_ms = PATIENCE_MS;
    vmctl_wait_options options = VMCTL_WAIT_OPTIONS_INIT;
    options.call = &call;
    int64_t began = now_ms();
    assert_int_equal(pthread_create(&thread, NULL, do_later, &job), 0);
    int rc = vmctl_vm_wait(vm, stage, &options, &err);
    int64_t took = now_ms() - began;
    pthread_join(thread, NULL);
    MUST(rc);
    assert_int_equal(job.rc, 0);
    assert_true(took >= job.delay_ms);
}

static void wait_running(void **state) {
    (void)state;
    vmctl_vm *vm = make("wa-a", "%s", "");
    waits_for(vm, "running", "start");
    MUST(vmctl_vm_wait(vm, "running", NULL, &err)); /* already: at once */
    vmctl_vm_free(vm);
}

static void wait_stopped(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("wa-b", "%s", "");
    wait_line(vm, 1);
    waits_for(vm, "stopped", "stop");
    vmctl_vm_free(vm);
}

static void wait_deleted(void **state) {
    (void)state;
    vmctl_vm *vm = make("wa-c", "%s", "");
    waits_for(vm, "deleted", "delete");
    vmctl_vm_free(vm);
}

static void wait_names_its_stage_at_the_deadline(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("wa-d", "%s", profile->agent);
    vmctl_call call = VMCTL_CALL_INIT;
    call.timeout_ms = 1000;
    vmctl_wait_options options = VMCTL_WAIT_OPTIONS_INIT;
    options.call = &call;
    int64_t began = now_ms();
    FAILS(VMCTL_E_TIMEOUT, vmctl_vm_wait(vm, "agent", &options, &err));
    assert_true(now_ms() - began >= call.timeout_ms);
    assert_non_null(strstr(failure, "agent"));
    FAILS(VMCTL_E_INVALID_ARGUMENT, vmctl_vm_wait(vm, "dinner", &options, &err));
    vmctl_vm_free(vm);
}

/* A stage that cannot come any more ends the wait. */
static void wait_gives_up_when_it_cannot_come(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("wa-e", "%s\nnetworks: [{name: out, type: nat}]", profile->agent);
    later job = {vm, 500, "stop", 0};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, do_later, &job), 0);
    int rc = vmctl_vm_wait(vm, "agent", NULL, &err);
    pthread_join(thread, NULL);
    FAILS(VMCTL_E_INVALID_STATE, rc); /* and no timeout */
    vmctl_vm_free(vm);
}

typedef struct recording {
    const char *name;
    pthread_mutex_t lock;
    bool connected;
    char events[512];
    vmctl_call call;
    int rc;
} recording;

static int record_event(const vmctl_event *event, void *user) {
    recording *to = user;
    pthread_mutex_lock(&to->lock);
    if (event->kind == VMCTL_EVENT_CONNECTED)
        to->connected = true;
    if (event->name && strcmp(event->name, to->name) == 0 && strlen(to->events) < 400) {
        strcat(to->events, vmctl_event_kind_name(event->kind));
        if (event->kind == VMCTL_EVENT_STATE) {
            strcat(to->events, ":");
            strcat(to->events, vmctl_state_name(event->state));
        }
        strcat(to->events, " ");
    }
    pthread_mutex_unlock(&to->lock);
    return 0;
}

static void *listen_for_events(void *user) {
    recording *to = user;
    vmctl_error *trouble = NULL;
    vmctl_event_options options = VMCTL_EVENT_OPTIONS_INIT;
    options.call = &to->call;
    to->rc = vmctl_events(conn, &options, record_event, to, &trouble);
    vmctl_error_free(trouble);
    return NULL;
}

/* Each of the wanted events, in this order; others may stand between. */
static void in_order(const char *events, const char *const *wanted) {
    const char *at = events;
    for (; *wanted; wanted++) {
        at = strstr(at, *wanted);
        if (!at) {
            print_error("no \"%s\" in its place in: %s\n", *wanted, events);
            fail();
        }
        at += strlen(*wanted);
    }
}

static void events_come_in_order(void **state) {
    (void)state;
    static recording record;
    memset(&record, 0, sizeof record);
    record.name = "ev-a";
    pthread_mutex_init(&record.lock, NULL);
    record.call = (vmctl_call)VMCTL_CALL_INIT;
    record.call.timeout_ms = -1;
    record.call.cancel = vmctl_cancel_new();
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, listen_for_events, &record), 0);
    bool connected = false;
    for (int64_t until = now_ms() + PATIENCE_MS; !connected && now_ms() < until; sleep_ms(20)) {
        pthread_mutex_lock(&record.lock);
        connected = record.connected;
        pthread_mutex_unlock(&record.lock);
    }
    vmctl_vm *vm = make_started("ev-a", "%s", "");
    wait_line(vm, 1);
    MUST(vmctl_vm_pause(vm, NULL, &err));
    MUST(vmctl_vm_resume(vm, NULL, &err));
    force_off(vm);
    MUST(vmctl_vm_delete(vm, NULL, &err));
    vmctl_vm_free(vm);
    bool gone = false;
    for (int64_t until = now_ms() + PATIENCE_MS; !gone && now_ms() < until; sleep_ms(20)) {
        pthread_mutex_lock(&record.lock);
        gone = strstr(record.events, "deleted") != NULL;
        pthread_mutex_unlock(&record.lock);
    }
    vmctl_cancel_trigger(record.call.cancel);
    pthread_join(thread, NULL);
    vmctl_cancel_free(record.call.cancel);
    assert_true(record.connected);
    static const char *const wanted[] = {
        "defined", "state:running", "state:paused", "state:running", "state:stopped", "deleted", NULL};
    in_order(record.events, wanted);
}

static int count_remembered(const vmctl_event *event, void *user) {
    assert_true(event->kind != VMCTL_EVENT_CONNECTED && event->kind != VMCTL_EVENT_TICK);
    assert_string_equal(event->name, "ev-c");
    ++*(int *)user;
    return 0;
}

static void events_that_are_remembered(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("ev-c", "%s", ""), *other = make("ev-d", "%s", "");
    int count = 0;
    vmctl_event_options options = VMCTL_EVENT_OPTIONS_INIT;
    options.recorded = true;
    options.vm = "ev-c";
    MUST(vmctl_events(conn, &options, count_remembered, &count, &err));
    assert_true(count >= 1);
    count = 0;
    options.vm = "ev-nobody";
    MUST(vmctl_events(conn, &options, count_remembered, &count, &err));
    assert_int_equal(count, 0);
    vmctl_vm_free(other);
    vmctl_vm_free(vm);
}

static void events_tick_and_end_with_the_deadline(void **state) {
    (void)state;
    static recording record;
    memset(&record, 0, sizeof record);
    record.name = "";
    pthread_mutex_init(&record.lock, NULL);
    vmctl_call call = VMCTL_CALL_INIT;
    vmctl_event_options options = VMCTL_EVENT_OPTIONS_INIT;
    options.call = &call;
    options.tick_ms = 100;
    for (call.timeout_ms = 600; !record.connected && call.timeout_ms < PATIENCE_MS; call.timeout_ms *= 2) {
        int64_t began = now_ms();
        MUST(vmctl_events(conn, &options, record_event, &record, &err));
        assert_true(now_ms() - began >= call.timeout_ms);
    }
    assert_true(record.connected);
}

static void console_goes_both_ways(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("co-a", "%s", "");
    vmctl_stream *stream = NULL;
    MUST(vmctl_console_open(vm, NULL, &stream, &err));
    char heard[8192] = "";
    size_t length = 0;
    bool typed = false;
    for (int64_t until = now_ms() + PATIENCE_MS; now_ms() < until && !strstr(heard, "<Z>");) {
        struct pollfd ready = {vmctl_stream_fd(stream), POLLIN, 0};
        if (poll(&ready, 1, 100) > 0 && length < sizeof heard - 1) {
            ssize_t got = read(ready.fd, heard + length, sizeof heard - 1 - length);
            if (got == 0)
                break;
            length += got > 0 ? (size_t)got : 0;
            heard[length] = 0;
        }
        if (!typed && strstr(heard, "vmctl guest: line ")) {
            assert_int_equal(write(vmctl_stream_fd(stream), "Z", 1), 1);
            typed = true;
        }
    }
    assert_non_null(strstr(heard, "vmctl guest: line "));
    assert_non_null(strstr(heard, "<Z>"));
    MUST(vmctl_stream_close(stream, &err));
    vmctl_vm_free(vm);
}

static void console_has_one_reader(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("co-b", "%s", "");
    vmctl_stream *first = NULL, *second = NULL;
    MUST(vmctl_console_open(vm, NULL, &first, &err));
    if (!profile->console_is_taken)
        FAILS(VMCTL_E_BUSY, vmctl_console_open(vm, NULL, &second, &err));
    vmctl_console_options options = VMCTL_CONSOLE_OPTIONS_INIT;
    options.force = true;
    MUST(vmctl_console_open(vm, &options, &second, &err));
    vmctl_stream_close(first, NULL);
    MUST(vmctl_stream_close(second, &err));
    vmctl_vm_free(vm);
}

static void console_of_a_stopped_vm_is_refused(void **state) {
    (void)state;
    vmctl_vm *vm = make("co-c", "%s", "");
    vmctl_stream *stream = NULL;
    FAILS(VMCTL_E_INVALID_STATE, vmctl_console_open(vm, NULL, &stream, &err));
    vmctl_vm_free(vm);
}

static void console_ends_with_the_vm(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("co-d", "%s", "");
    vmctl_stream *stream = NULL;
    MUST(vmctl_console_open(vm, NULL, &stream, &err));
    force_off(vm);
    bool ended = false;
    for (int64_t until = now_ms() + PATIENCE_MS; now_ms() < until && !ended;) {
        char bytes[512];
        struct pollfd ready = {vmctl_stream_fd(stream), POLLIN, 0};
        if (poll(&ready, 1, 100) > 0)
            ended = read(ready.fd, bytes, sizeof bytes) == 0;
    }
    assert_true(ended);
    vmctl_stream_close(stream, NULL);
    vmctl_vm_free(vm);
}

static int count_bytes(const void *bytes, size_t length, void *user) {
    (void)bytes;
    *(size_t *)user += length;
    return 0;
}

static void logs_can_be_cut_and_followed(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("lg-a", "%s", "");
    wait_line(vm, 5);
    vmctl_log_options options = VMCTL_LOG_OPTIONS_INIT;
    options.tail_bytes = 30;
    size_t length = 0;
    MUST(vmctl_serial_log(vm, &options, count_bytes, &length, &err));
    assert_int_equal(length, 30);
    vmctl_call call = VMCTL_CALL_INIT;
    options.call = &call;
    options.follow = true;
    options.tail_bytes = 0;
    length = 0;
    for (call.timeout_ms = 1500; length <= 60 && call.timeout_ms < PATIENCE_MS; call.timeout_ms *= 2) {
        length = 0;
        int64_t began = now_ms();
        MUST(vmctl_serial_log(vm, &options, count_bytes, &length, &err)); /* the deadline's end is no error here */
        assert_true(now_ms() - began >= call.timeout_ms - 100);
    }
    assert_true(length > 60);
    vmctl_vm_free(vm);
}

static int take_host(const vmctl_host *host, void *user) {
    tally *to = user;
    to->count++;
    bool sized = profile->cluster || (host->arch && host->cpus > 0 && host->memory_mib > 0);
    if (host->hypervisor && host->hypervisor_version && sized)
        to->present++;
    snprintf(to->names, sizeof to->names, "%s", host->accel ? host->accel : "");
    return 0;
}

static int count_vms(const vmctl_host *host, void *user) {
    assert_true(host->vm_count >= 0);
    *(int64_t *)user += host->vm_count;
    return 0;
}

static void host_facts(void **state) {
    (void)state;
    tally host = {0};
    MUST(vmctl_host_info(conn, NULL, take_host, &host, &err));
    assert_int_equal(host.count, 1);
    assert_int_equal(host.present, 1);
    assert_true(strcmp(host.names, "kvm") == 0 || strcmp(host.names, "tcg") == 0 || !*host.names);
    tally hosts = {0};
    MUST(vmctl_host_list(conn, NULL, take_host, &hosts, &err));
    assert_true(hosts.count >= 1);
    int64_t before = 0, after = 0;
    MUST(vmctl_host_list(conn, NULL, count_vms, &before, &err));
    vmctl_vm *vm = make_started("ho-a", "%s", "");
    MUST(vmctl_host_list(conn, NULL, count_vms, &after, &err));
    assert_int_equal(after, before + 1);
    vmctl_vm_free(vm);
}

static int take_pool(const vmctl_pool *pool, void *user) {
    bool sized = profile->cluster || pool->capacity_bytes > pool->available_bytes;
    if (pool->is_default && pool->active && sized)
        ++*(int *)user;
    return 0;
}

static int take_network(const vmctl_network *network, void *user) {
    if (network->is_default && network->name && network->type)
        ++*(int *)user;
    return 0;
}

static void pools_and_networks(void **state) {
    (void)state;
    int pools = 0, networks = 0;
    MUST(vmctl_pool_list(conn, NULL, take_pool, &pools, &err));
    assert_int_equal(pools, 1);
    MUST(vmctl_network_list(conn, NULL, take_network, &networks, &err));
    assert_int_equal(networks, 1);
}

static const contract_test tests[] = {
    TEST("look.list", "list", list_filters),
    TEST("look.list", "list", list_tells_owners),
    TEST("look.get", "lookup release", lookup_by_name_and_id),
    TEST("look.spec", "spec native", spec_round_trip),
    TEST("look.render", "render", render_sends_nothing),
    TEST("look.wait", "events start", wait_running),
    TEST("look.wait", "events stop", wait_stopped),
    TEST("look.wait", "events remove", wait_deleted),
    TEST("look.wait", "events", wait_names_its_stage_at_the_deadline),
    TEST("look.wait", "events", wait_gives_up_when_it_cannot_come),
    TEST("look.events", "events", events_come_in_order),
    TEST("look.events", "events", events_that_are_remembered),
    TEST("look.events", "events", events_tick_and_end_with_the_deadline),
    TEST("console.serial", "console_open", console_goes_both_ways),
    TEST("console.serial", "console_open", console_has_one_reader),
    TEST("console.serial", "console_open", console_of_a_stopped_vm_is_refused),
    TEST("console.serial", "console_open", console_ends_with_the_vm),
    TEST("console.log", "serial_log", logs_can_be_cut_and_followed),
    TEST("host.info host.list", "host_info host_list", host_facts),
    TEST("host.pools host.networks", "pool_list network_list", pools_and_networks),
};
const contract_group group_look = {"look", tests, sizeof tests / sizeof tests[0]};
