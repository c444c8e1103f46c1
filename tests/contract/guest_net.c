/* guest_net.c - a guest's addresses, and its ports at this machine for the while. */
#include "guest.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/time.h>

/* --- the guest's sshd, where nothing runs in guests ----------------------------------------------------------------------- */

static int greeter = -1;
static pthread_t greeting;

static void *greet(void *unused) {
    (void)unused;
    for (int fd; (fd = accept4(greeter, NULL, NULL, SOCK_CLOEXEC)) >= 0; close(fd))
        if (send(fd, "SSH-2.0-stand-in\r\n", 18, MSG_NOSIGNAL) < 0)
            continue;
    return NULL;
}

int begin_greeting(void) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof name;
    greeter = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(greeter, (struct sockaddr *)&name, sizeof name), 0);
    assert_int_equal(listen(greeter, 16), 0);
    assert_int_equal(getsockname(greeter, (struct sockaddr *)&name, &length), 0);
    assert_int_equal(pthread_create(&greeting, NULL, greet, NULL), 0);
    return ntohs(name.sin_port);
}

void end_greeting(void) {
    shutdown(greeter, SHUT_RDWR);
    pthread_join(greeting, NULL);
    close(greeter);
}

/* --- port forwards ---------------------------------------------------------------------------------------------------- */

typedef struct forwarded {
    vmctl_cancel *cancel;
    pthread_t thread;
    int port, rc;
    char way[128], failure[512];
} forwarded;

static void on_ready(const vmctl_forward *forward, const char *way, void *user) {
    forwarded *f = user;
    snprintf(f->way, sizeof f->way, "%s", way);
    __atomic_store_n(&f->port, forward->local, __ATOMIC_RELEASE);
}

static void *forward_ssh(void *opaque) {
    forwarded *f = opaque;
    vmctl_call call = VMCTL_CALL_INIT;
    call.cancel = f->cancel;
    vmctl_forward_options options = VMCTL_FORWARD_OPTIONS_INIT;
    options.call = &call;
    options.ready = on_ready;
    options.user = f;
    vmctl_forward forward = VMCTL_FORWARD_INIT;
    forward.guest = 22;
    vmctl_error *why = NULL;
    f->rc = vmctl_guest_forward(guest_vm, &forward, 1, &options, &why);
    snprintf(f->failure, sizeof f->failure, "%s", why ? vmctl_error_text(why) : "");
    vmctl_error_free(why);
    return NULL;
}

static void begin_forward(forwarded *f) {
    *f = (forwarded){.cancel = vmctl_cancel_new()};
    assert_int_equal(pthread_create(&f->thread, NULL, forward_ssh, f), 0);
    for (int64_t until = now_ms() + PATIENCE_MS; !__atomic_load_n(&f->port, __ATOMIC_ACQUIRE) && now_ms() < until;)
        sleep_ms(20);
    if (!f->port) {
        vmctl_cancel_trigger(f->cancel);
        pthread_join(f->thread, NULL);
        print_error("%s\n", f->failure);
        fail();
    }
}

static int dial(int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {20, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
        return fd;
    close(fd);
    return -1;
}

static void end_forward(forwarded *f) {
    vmctl_cancel_trigger(f->cancel);
    pthread_join(f->thread, NULL);
    vmctl_cancel_free(f->cancel);
    if (f->rc)
        print_error("%s\n", f->failure);
    assert_int_equal(f->rc, 0);
    assert_int_equal(dial(f->port), -1); /* nobody listens there any more */
}

/* Several at once, and the guest's sshd greets each. */
static void greets(int port) {
    int fds[5];
    for (int i = 0; i < 5; i++)
        fds[i] = dial(port);
    for (int i = 0; i < 5; i++) {
        char text[8] = "";
        assert_true(fds[i] >= 0);
        assert_int_equal(recv(fds[i], text, 4, MSG_WAITALL), 4);
        assert_string_equal(text, "SSH-");
    }
    for (int i = 0; i < 5; i++)
        close(fds[i]);
}

static void forwards_to_the_address(void **state) {
    (void)state;
    forwarded f;
    begin_forward(&f);
    assert_non_null(strstr(f.way, profile->cluster ? "through the API server" : "directly"));
    greets(f.port);
    end_forward(&f);
}

/* The guest gives its reachable address up, so that only the NIC of user networking is left. */
static void forwards_by_user_networking(void **state) {
    (void)state;
    heard got;
    assert_int_equal(sh(&got,
                        "set -e; ip link set eth0 down; ip link set eth1 up; ip address replace 10.0.2.15/24 dev eth1; "
                        "ip route replace default via 10.0.2.2"),
                     0);
    forwarded f;
    begin_forward(&f);
    assert_non_null(strstr(f.way, "user networking"));
    greets(f.port);
    end_forward(&f);
    assert_int_equal(sh(&got, "ip route del default via 10.0.2.2; ip link set eth1 down; ip link set eth0 up"), 0);
}

static void forwards_of_a_stopped_vm_are_refused(void **state) {
    (void)state;
    vmctl_vm *vm = make("guest-off", "%s", "");
    vmctl_forward forward = VMCTL_FORWARD_INIT;
    forward.guest = 22;
    FAILS(VMCTL_E_INVALID_STATE, vmctl_guest_forward(vm, &forward, 1, NULL, &err));
    forward.guest = 0;
    FAILS(VMCTL_E_INVALID_ARGUMENT, vmctl_guest_forward(vm, &forward, 1, NULL, &err));
    vmctl_vm_free(vm);
}

/* --- addresses ---------------------------------------------------------------------------------------------------------- */

static int take_addresses(const vmctl_vm_info *info, void *user) {
    char *text = user;
    for (size_t i = 0; i < info->address_count; i++)
        snprintf(text + strlen(text), 1024 - strlen(text), "%s %s\n", info->addresses[i].ip, info->addresses[i].source);
    return 0;
}

static void the_agent_tells_its_addresses(void **state) {
    (void)state;
    char text[1024] = "";
    vmctl_get_options options = VMCTL_GET_OPTIONS_INIT;
    options.facts = VMCTL_FACT_ADDRESSES;
    MUST(vmctl_vm_get(guest_vm, &options, take_addresses, text, &err));
    assert_non_null(strstr(text, " agent\n"));
}

static void addresses_leave_container_bridges_out(void **state) {
    (void)state;
    heard got;
    char text[1024] = "";
    assert_int_equal(sh(&got, "set -e; ip link add docker0 type dummy; ip address add 172.17.0.1/16 dev docker0; "
                              "ip link set docker0 up"),
                     0);
    vmctl_get_options options = VMCTL_GET_OPTIONS_INIT;
    options.facts = VMCTL_FACT_ADDRESSES;
    MUST(vmctl_vm_get(guest_vm, &options, take_addresses, text, &err));
    assert_int_equal(sh(&got, "ip link del docker0"), 0);
    print_message("%s", text);
    assert_non_null(strstr(text, "192.168."));
    assert_non_null(strstr(text, " agent\n"));
    assert_null(strstr(text, "172.17.0.1"));
}

static const contract_test tests[] = {
    TEST("guest.addresses", "get", the_agent_tells_its_addresses),
    TEST("guest.addresses", "get guest_exec", addresses_leave_container_bridges_out),
    TEST("guest.forward", "guest_forward", forwards_to_the_address),
    TEST("guest.forward network.user", "guest_forward undo guest_exec", forwards_by_user_networking),
    TEST("guest.forward", "guest_forward", forwards_of_a_stopped_vm_are_refused),
};
const contract_group guest_net = {.tests = tests, .count = sizeof tests / sizeof tests[0]};
