/* Waiting for a stage, over a small backend whose VM goes through its life as it is looked at. */
#include "internal.h"
#include "wait.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* One look: what `get` answers. The last one stays. */
typedef struct scene {
    vmctl_state state;
    int agent;
    const char *address;
    bool gone;
} scene;

static struct {
    const scene *scenes;
    size_t count, at;
    const char *networks; /* YAML of networks: */
    unsigned looks, ticks;
    char steps[512];
    /* tools */
    int ssh_failures; /* before it succeeds */
    int ssh_code;     /* what a failing ssh returns */
    char ssh_to[128];
    const char *result; /* of cat /run/cloud-init/result.json; NULL: not there */
    int results_after;  /* calls before the file is there */
} fake;

static int fake_open(const vmctl_endpoint *endpoint, void **conn, vmctl_opened *opened, vmctl_error **err) {
    (void)err;
    *conn = &fake;
    opened->uri = strdup(endpoint->uri);
    return 0;
}

static int fake_lookup(void *conn, const char *name, const vmctl_lookup_options *options, void **vm,
                       vmctl_identity *identity, vmctl_error **err) {
    (void)conn, (void)options, (void)err;
    *vm = &fake;
    identity->name = strdup(name);
    identity->id = strdup("7");
    return 0;
}

static int fake_get(void *conn, void *vm, const vmctl_get_options *options, vmctl_vm_info_fn each, void *user,
                    vmctl_error **err) {
    (void)conn, (void)vm;
    fake.looks++;
    const scene *now = &fake.scenes[fake.at];
    if (fake.at + 1 < fake.count)
        fake.at++;
    if (now->gone)
        return vmc_error(err, VMCTL_E_NOT_FOUND, "no such VM");
    vmctl_address address = {sizeof address, now->address, NULL, "agent", NULL};
    vmctl_vm_info info = {.size = sizeof info,
                          .present = options->facts,
                          .name = "web",
                          .state = now->state,
                          .agent_connected = now->agent,
                          .addresses = &address,
                          .address_count = now->address != NULL};
    each(&info, user);
    return 0;
}

/* Tells a state of another VM, then ticks until the callback or the deadline ends it. */
static int fake_events(void *conn, const vmctl_event_options *options, vmctl_event_fn each, void *user,
                       vmctl_error **err) {
    (void)conn;
    assert_string_equal(options->vm, "7");
    assert_true(options->tick_ms > 0);
    vmctl_event other = {.size = sizeof other, .kind = VMCTL_EVENT_STATE, .name = "db", .id = "8"};
    unsigned looks = fake.looks;
    if (each(&other, user))
        return 0;
    assert_int_equal(fake.looks, looks); /* not about this VM */
    vmc_deadline deadline = vmc_deadline_start(options->call, -1);
    for (;;) {
        vmctl_event tick = {.size = sizeof tick, .kind = VMCTL_EVENT_TICK};
        fake.ticks++;
        if (each(&tick, user))
            return 0;
        int rc = vmc_deadline_poll(&deadline, -1, 0, 5, "listening", err);
        if (rc < 0)
            return rc;
    }
}

static int fake_spec(void *conn, void *vm, const vmctl_call *call, vmctl_spec **out, vmctl_error **err) {
    (void)conn, (void)vm, (void)call;
    VMC_AUTO_FREE char *text = vmc_printf("{name: web, memory: 1GiB, disks: [{size: 1GiB}], networks: %s}",
                                          fake.networks ? fake.networks : "[]");
    vmctl_spec **list;
    size_t count;
    int rc = vmctl_spec_load(text, strlen(text), NULL, &list, &count, err);
    if (rc == 0) {
        *out = vmctl_spec_copy(list[0]);
        vmctl_spec_list_free(list);
    }
    return rc;
}

static const vmctl_backend_ops ops = {
    .size = sizeof ops,
    .abi = VMCTL_BACKEND_ABI,
    .open = fake_open,
    .lookup = fake_lookup,
    .get = fake_get,
    .spec = fake_spec,
    .events = fake_events,
};
static const vmctl_backend_ops *entry(void) {
    return &ops;
}
static const vmctl_backend_ops silent_ops = {
    .size = sizeof ops, .abi = VMCTL_BACKEND_ABI, .open = fake_open, .lookup = fake_lookup, .get = fake_get};
static const vmctl_backend_ops *silent_entry(void) {
    return &silent_ops;
}

static const char *const schemes[] = {"fake", NULL};
static const vmctl_backend_descriptor descriptor = {
    .size = sizeof descriptor, .name = "fake", .schemes = schemes, .default_uri = "fake:///"};
static const vmc_registry_entry registry[] = {{&descriptor, entry}, {NULL, NULL}};
static const vmc_registry_entry silent_registry[] = {{&descriptor, silent_entry}, {NULL, NULL}};

static int ssh_run(const char *host, int port, const char *user, const char *identity, const char *known_hosts,
                   const char *const *argv, const vmctl_call *call, int *status, char **output, vmctl_error **err) {
    (void)identity;
    assert_non_null(known_hosts); /* the VM's own: a key never seen is kept there, not asked about */
    assert_true(call->timeout_ms > 0);
    snprintf(fake.ssh_to, sizeof fake.ssh_to, "%s@%s:%d", user ? user : "", host, port);
    if (fake.ssh_failures > 0) {
        fake.ssh_failures--;
        return vmc_error(err, fake.ssh_code, "Permission denied (publickey)");
    }
    *status = 0;
    *output = strdup("");
    if (strcmp(argv[0], "cat") == 0) {
        assert_string_equal(argv[1], "/run/cloud-init/result.json");
        *status = fake.result && fake.results_after-- <= 0 ? 0 : 1;
        if (*status == 0) {
            free(*output);
            *output = strdup(fake.result);
        }
    }
    return 0;
}

/* --- around ----------------------------------------------------------------------------------------------- */

static vmctl_connection *connection;
static vmctl_vm *vm;

static int begin(const vmc_registry_entry *list) {
    memset(&fake, 0, sizeof fake);
    vmc_backends_replace(list);
    static const vmc_tools tools = {.size = sizeof tools, .abi = VMC_TOOLS_ABI, .ssh_run = ssh_run};
    vmc_tools_replace(&tools);
    vmctl_connect_options options = VMCTL_CONNECT_OPTIONS_INIT;
    options.uri = "fake:///";
    int rc = vmctl_connect(&options, &connection, NULL);
    return rc ? rc : vmctl_vm_lookup(connection, "web", NULL, &vm, NULL);
}

static int before(void **state) {
    (void)state;
    return begin(registry);
}

static int before_silent(void **state) {
    (void)state;
    return begin(silent_registry);
}

static int after(void **state) {
    (void)state;
    vmctl_vm_free(vm);
    vmctl_connection_free(connection);
    vmc_backends_replace(NULL);
    vmc_tools_replace(NULL);
    return 0;
}

static int keep_step(const vmctl_progress *progress, void *user) {
    (void)user;
    size_t used = strlen(fake.steps);
    snprintf(fake.steps + used, sizeof fake.steps - used, "%s; ", progress->stage);
    return 0;
}

static int wait_for(const char *stage, int64_t timeout_ms, vmctl_error **err) {
    vmctl_call call = VMCTL_CALL_INIT;
    call.timeout_ms = timeout_ms;
    call.progress = keep_step;
    vmctl_wait_options options = VMCTL_WAIT_OPTIONS_INIT;
    options.call = &call;
    options.user = "ci";
    return vmctl_vm_wait(vm, stage, &options, err);
}

#define SCENES(...)                                                                                                    \
    static const scene list[] = {__VA_ARGS__};                                                                         \
    fake.scenes = list;                                                                                                \
    fake.count = sizeof list / sizeof list[0]

/* --- states ----------------------------------------------------------------------------------------------- */

static void what_is_already_so_returns_at_once(void **state) {
    (void)state;
    SCENES({.state = VMCTL_STATE_RUNNING});
    assert_int_equal(wait_for("running", 10000, NULL), 0);
    assert_int_equal(fake.looks, 1);
    assert_int_equal(fake.ticks, 0);
    assert_string_equal(fake.steps, "");
}

static void states_come(void **state) {
    (void)state;
    SCENES({.state = VMCTL_STATE_STOPPED}, {.state = VMCTL_STATE_STARTING}, {.state = VMCTL_STATE_RUNNING});
    assert_int_equal(wait_for("running", 10000, NULL), 0);
    assert_string_equal(fake.steps, "waiting for the VM to run; ");
}

static void stopping_ends_as_stopped_or_saved(void **state) {
    (void)state;
    SCENES({.state = VMCTL_STATE_RUNNING}, {.state = VMCTL_STATE_STOPPING}, {.state = VMCTL_STATE_SAVED});
    assert_int_equal(wait_for("stopped", 10000, NULL), 0);
}

static void deleted(void **state) {
    (void)state;
    SCENES({.state = VMCTL_STATE_RUNNING}, {.state = VMCTL_STATE_STOPPED}, {.gone = true});
    assert_int_equal(wait_for("deleted", 10000, NULL), 0);
}

static void a_crash_ends_every_wait(void **state) {
    (void)state;
    SCENES({.state = VMCTL_STATE_RUNNING}, {.state = VMCTL_STATE_CRASHED});
    static const char *const names[] = {"stopped", "agent", "address", "port:80", "ssh", "cloud-init"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        fake.at = 0;
        vmctl_error *err = NULL;
        assert_int_equal(wait_for(names[i], 10000, &err), VMCTL_E_INVALID_STATE);
        assert_non_null(strstr(vmctl_error_message(err), "crashed"));
        vmctl_error_free(err);
    }
}

static void a_stop_ends_the_wait_for_the_guest(void **state) {
    (void)state;
    SCENES({.state = VMCTL_STATE_RUNNING}, {.state = VMCTL_STATE_STOPPED});
    vmctl_error *err = NULL;
    assert_int_equal(wait_for("address", 10000, &err), VMCTL_E_INVALID_STATE);
    assert_string_equal(vmctl_error_text(err),
                        "cannot wait for address of web (fake, fake:///): invalid-state: web is stopped\n"
                        "  try: vmctl start web");
    vmctl_error_free(err);
}

static void a_deleted_vm_ends_the_wait_for_the_guest(void **state) {
    (void)state;
    SCENES({.state = VMCTL_STATE_RUNNING}, {.gone = true});
    assert_int_equal(wait_for("agent", 10000, NULL), VMCTL_E_INVALID_STATE);
}

static void a_timeout_names_what_was_reached(void **state) {
    (void)state;
    SCENES({.state = VMCTL_STATE_RUNNING});
    vmctl_error *err = NULL;
    assert_int_equal(wait_for("address", 50, &err), VMCTL_E_TIMEOUT);
    assert_string_equal(vmctl_error_message(err), "timed out waiting for address: the VM has no address yet");
    assert_true(vmctl_error_retryable(err));
    vmctl_error_free(err);
}

static void *trigger_soon(void *cancel) {
    usleep(50000);
    vmctl_cancel_trigger(cancel);
    return NULL;
}

static void cancelling_ends_it(void **state) {
    (void)state;
    SCENES({.state = VMCTL_STATE_RUNNING});
    vmctl_call call = VMCTL_CALL_INIT;
    call.cancel = vmctl_cancel_new();
    pthread_t thread;
    pthread_create(&thread, NULL, trigger_soon, call.cancel);
    vmctl_wait_options options = VMCTL_WAIT_OPTIONS_INIT;
    options.call = &call;
    assert_int_equal(vmctl_vm_wait(vm, "stopped", &options, NULL), VMCTL_E_CANCELLED);
    pthread_join(thread, NULL);
    vmctl_cancel_free(call.cancel);
}

static void stages_are_checked(void **state) {
    (void)state;
    static const char *const wrong[] = {"runing", "port", "port:", "port:0", "port:70000", "port:8x", "", NULL};
    for (size_t i = 0; wrong[i]; i++)
        assert_int_equal(wait_for(wrong[i], 1000, NULL), VMCTL_E_INVALID_ARGUMENT);
    vmctl_error *err = NULL;
    assert_int_equal(wait_for("runing", 1000, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_non_null(strstr(vmctl_error_message(err), "running"));
    vmctl_error_free(err);
    assert_int_equal(fake.looks, 0);
}

static void without_notifications_it_looks_again(void **state) {
    (void)state;
    SCENES({.state = VMCTL_STATE_RUNNING, .agent = 0}, {.state = VMCTL_STATE_RUNNING, .agent = 1});
    assert_int_equal(wait_for("agent", 10000, NULL), 0);
    assert_int_equal(fake.looks, 2);
}

/* --- the guest -------------------------------------------------------------------------------------------- */

static void the_agent_and_an_address(void **state) {
    (void)state;
    SCENES({.state = VMCTL_STATE_STARTING}, {.state = VMCTL_STATE_RUNNING, .agent = 0},
           {.state = VMCTL_STATE_RUNNING, .agent = 1});
    assert_int_equal(wait_for("agent", 10000, NULL), 0);
    assert_string_equal(fake.steps, "waiting for the VM to run; waiting for the agent; ");
}

static void link_local_addresses_do_not_count(void **state) {
    (void)state;
    SCENES({.state = VMCTL_STATE_RUNNING, .address = "127.0.0.1"},
           {.state = VMCTL_STATE_RUNNING, .address = "169.254.3.4"},
           {.state = VMCTL_STATE_RUNNING, .address = "fe80::1"},
           {.state = VMCTL_STATE_RUNNING, .address = "192.0.2.7"});
    assert_int_equal(wait_for("address", 10000, NULL), 0);
    assert_int_equal(fake.looks, 4);
}

/* A server on 127.0.0.1 that treats its connections as `mode` says. */
typedef enum mode { CLOSES, GREETS, ANSWERS_EOF, HOLDS } mode;
typedef struct server {
    int fd, port;
    mode mode;
    pthread_t thread;
} server;

static void *serve(void *arg) {
    server *s = arg;
    for (;;) {
        int client = accept(s->fd, NULL, NULL);
        if (client < 0)
            return NULL;
        char c;
        if (s->mode == GREETS && write(client, "SSH-2.0-x\r\n", 11) != 11)
            s->mode = CLOSES;
        if (s->mode == ANSWERS_EOF || s->mode == HOLDS)
            while (read(client, &c, 1) > 0)
                ;
        if (s->mode == HOLDS)
            usleep(3000000);
        close(client);
    }
}

static void serve_begin(server *s, mode m) {
    s->mode = m;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    assert_int_equal(bind(s->fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&address, &size), 0);
    s->port = ntohs(address.sin_port);
    assert_int_equal(listen(s->fd, 8), 0);
    pthread_create(&s->thread, NULL, serve, s);
}

static void serve_end(server *s) {
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->fd);
}

static int dial(mode m, const char *greeting, bool forwarded, bool guest_is_up) {
    server s;
    serve_begin(&s, m);
    vmc_dial to = {"127.0.0.1", s.port, forwarded};
    vmc_deadline deadline = vmc_deadline_start(NULL, 20000);
    int rc = vmc_dial_try(&to, greeting, guest_is_up, 700, &deadline, NULL);
    serve_end(&s);
    return rc;
}

static void ports_are_dialled(void **state) {
    (void)state;
    assert_int_equal(dial(HOLDS, NULL, false, false), 1); /* connected is enough on the guest's own address */
    assert_int_equal(dial(CLOSES, NULL, true, true), 0);  /* the forwarder accepted, the guest did not */
    assert_int_equal(dial(GREETS, NULL, true, false), 1);
    assert_int_equal(dial(GREETS, "SSH-", true, false), 1);
    assert_int_equal(dial(GREETS, "HTTP", true, false), 0);
    assert_int_equal(dial(CLOSES, "SSH-", false, true), 0);
    assert_int_equal(dial(ANSWERS_EOF, NULL, true, false), 1); /* a silent server that has the connection */
    assert_int_equal(dial(HOLDS, NULL, true, false), 0);       /* held by the forwarder: the guest is not up */
    assert_int_equal(dial(HOLDS, NULL, true, true), 1);
    vmc_deadline deadline = vmc_deadline_start(NULL, 5000);
    vmc_dial nobody = {"127.0.0.1", 1, false};
    assert_int_equal(vmc_dial_try(&nobody, NULL, true, 500, &deadline, NULL), 0);
    vmc_dial name = {"not-an-address", 1, false};
    assert_int_equal(vmc_dial_try(&name, NULL, true, 500, &deadline, NULL), 0);
}

static void forwards_are_found(void **state) {
    (void)state;
    static const char text[] = "{name: web, memory: 1GiB, disks: [{size: 1GiB}], networks: [{type: user, forward: "
                               "[\"2222:22\", \"udp:5353:22\", \"tcp:127.0.0.2:8022:22\", \"8080:80\"]}]}";
    vmctl_spec **list;
    size_t count;
    vmctl_error *err = NULL;
    if (vmctl_spec_load(text, strlen(text), NULL, &list, &count, &err) < 0)
        fail_msg("%s", vmctl_error_text(err));
    vmc_dials dials = {0};
    vmc_dials_add_forwards(&dials, list[0], 22);
    assert_int_equal(dials.count, 2);
    assert_string_equal(dials.items[0].host, "127.0.0.1");
    assert_int_equal(dials.items[0].port, 2222);
    assert_string_equal(dials.items[1].host, "127.0.0.2");
    assert_int_equal(dials.items[1].port, 8022);
    assert_true(dials.items[0].forwarded);
    vmc_dials_free(&dials);
    vmctl_spec_list_free(list);
}

static char forward[64];
static void ssh_server(server *s) {
    serve_begin(s, GREETS);
    snprintf(forward, sizeof forward, "[{type: user, forward: [\"%d:22\"]}]", s->port);
    fake.networks = forward;
}

static void ssh_is_tried_until_it_lets_in(void **state) {
    (void)state;
    SCENES({.state = VMCTL_STATE_RUNNING});
    server s;
    ssh_server(&s);
    fake.ssh_failures = 2;
    fake.ssh_code = VMCTL_E_UNAUTHENTICATED; /* the user comes with cloud-init */
    assert_int_equal(wait_for("ssh", 20000, NULL), 0);
    char expected[64];
    snprintf(expected, sizeof expected, "ci@127.0.0.1:%d", s.port);
    assert_string_equal(fake.ssh_to, expected);
    assert_string_equal(fake.steps, "waiting for ssh; ");
    fake.ssh_failures = 1;
    fake.ssh_code = VMCTL_E_PERMISSION_DENIED; /* another host key: waiting does not help */
    assert_int_equal(wait_for("ssh", 20000, NULL), VMCTL_E_PERMISSION_DENIED);
    serve_end(&s);
}

static void cloud_init_ends(void **state) {
    (void)state;
    SCENES({.state = VMCTL_STATE_RUNNING});
    server s;
    ssh_server(&s);
    fake.results_after = 2;
    fake.result = "{\"v1\": {\"datasource\": \"DataSourceNoCloud\", \"errors\": []}}";
    assert_int_equal(wait_for("cloud-init", 20000, NULL), 0);
    assert_string_equal(fake.steps, "waiting for ssh; waiting for cloud-init; ");
    fake.results_after = 0;
    fake.result = "{\"v1\": {\"datasource\": null, \"errors\": [\"('runcmd', ProcessError())\", \"second\"]}}";
    vmctl_error *err = NULL;
    assert_int_equal(wait_for("cloud-init", 20000, &err), VMCTL_E_INVALID_STATE);
    assert_string_equal(vmctl_error_message(err), "cloud-init ended with errors: ('runcmd', ProcessError()); second");
    vmctl_error_free(err);
    err = NULL;
    fake.result = "{\"v1\": {\"datas"; /* half written */
    assert_int_equal(wait_for("cloud-init", 300, &err), VMCTL_E_TIMEOUT);
    assert_non_null(strstr(vmctl_error_message(err), "still at work"));
    vmctl_error_free(err);
    serve_end(&s);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, before, after)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_is_already_so_returns_at_once),
        TEST(states_come),
        TEST(stopping_ends_as_stopped_or_saved),
        TEST(deleted),
        TEST(a_crash_ends_every_wait),
        TEST(a_stop_ends_the_wait_for_the_guest),
        TEST(a_deleted_vm_ends_the_wait_for_the_guest),
        TEST(a_timeout_names_what_was_reached),
        TEST(cancelling_ends_it),
        TEST(stages_are_checked),
        cmocka_unit_test_setup_teardown(without_notifications_it_looks_again, before_silent, after),
        TEST(the_agent_and_an_address),
        TEST(link_local_addresses_do_not_count),
        TEST(ports_are_dialled),
        TEST(forwards_are_found),
        TEST(ssh_is_tried_until_it_lets_in),
        TEST(cloud_init_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
