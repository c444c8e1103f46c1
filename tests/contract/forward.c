/* forward.c - a port of the guest at this machine, for the while. The guest is the boot sector: it answers nobody, and what listens is the
 * hypervisor. */
#include "contract.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>

typedef struct forwarding {
    vmctl_vm *vm;
    vmctl_cancel *cancel;
    vmctl_forward wanted;
    int port; /* that it got; set before `ready` */
    bool ready, ended;
    int rc;
    char words[512];
} forwarding;

/* A network of this endpoint that ports of the guest are reached by, though nobody there tells its address. */
static const char *way(void) {
    return profile->cluster ? "nat" : "user";
}

static void take_ready(const vmctl_forward *forward, const char *way, void *user) {
    forwarding *f = user;
    snprintf(f->words, sizeof f->words, "%s", way);
    f->port = forward->local;
    __atomic_store_n(&f->ready, true, __ATOMIC_RELEASE);
}

static void *forward(void *user) {
    forwarding *f = user;
    vmctl_error *why = NULL;
    vmctl_call call = VMCTL_CALL_INIT;
    call.cancel = f->cancel;
    vmctl_forward_options options = VMCTL_FORWARD_OPTIONS_INIT;
    options.call = &call;
    options.ready = take_ready;
    options.user = f;
    f->rc = vmctl_guest_forward(f->vm, &f->wanted, 1, &options, &why);
    if (f->rc < 0)
        snprintf(f->words, sizeof f->words, "%s", why ? vmctl_error_text(why) : "");
    vmctl_error_free(why);
    __atomic_store_n(&f->ended, true, __ATOMIC_RELEASE);
    return NULL;
}

static bool listens(int port) {
    struct sockaddr_in name = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool open = connect(fd, (struct sockaddr *)&name, sizeof name) == 0;
    close(fd);
    return open;
}

static void wait_listens(int port, bool wanted) {
    for (int64_t until = now_ms() + PATIENCE_MS; now_ms() < until; sleep_ms(20))
        if (listens(port) == wanted)
            return;
    fail_msg("port %d %s", port, wanted ? "is not listened at" : "is still listened at");
}

static void a_port_is_there_for_the_while(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("fw-a", "networks: [{name: lan, type: %s}]", way());
    vmctl_spec *before = NULL, *during = NULL;
    char *text_before = NULL, *text_during = NULL;
    MUST(vmctl_vm_spec(vm, NULL, &before, &err));
    forwarding f = {.vm = vm, .cancel = vmctl_cancel_new(), .wanted = VMCTL_FORWARD_INIT};
    f.wanted.guest = 22;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, forward, &f), 0);
    for (int64_t until = now_ms() + PATIENCE_MS; now_ms() < until && !__atomic_load_n(&f.ready, __ATOMIC_ACQUIRE) &&
                                                 !__atomic_load_n(&f.ended, __ATOMIC_ACQUIRE);)
        sleep_ms(20);
    if (!f.ready)
        fail_msg("%s", f.words);
    assert_true(f.port > 0);
    wait_listens(f.port, true);
    MUST(vmctl_vm_spec(vm, NULL, &during, &err)); /* it is no part of the VM */
    MUST(vmctl_spec_text(before, VMCTL_FORMAT_YAML, false, &text_before, &err));
    MUST(vmctl_spec_text(during, VMCTL_FORMAT_YAML, false, &text_during, &err));
    assert_string_equal(text_before, text_during);
    /* Another one cannot have the same port. */
    vmctl_forward taken = VMCTL_FORWARD_INIT;
    taken.guest = 23;
    taken.local = f.port;
    vmctl_forward_options options = VMCTL_FORWARD_OPTIONS_INIT;
    FAILS(VMCTL_E_BUSY, vmctl_guest_forward(vm, &taken, 1, &options, &err));
    vmctl_cancel_trigger(f.cancel);
    pthread_join(thread, NULL);
    assert_int_equal(f.rc, 0);
    wait_listens(f.port, false);
    vmctl_cancel_free(f.cancel);
    vmctl_string_free(text_before);
    vmctl_string_free(text_during);
    vmctl_spec_free(before);
    vmctl_spec_free(during);
    vmctl_vm_free(vm);
}

static void a_vm_without_a_way_is_refused(void **state) {
    (void)state;
    vmctl_vm *alone = make_started("fw-b", "%s", ""), *off = make("fw-c", "networks: [{name: lan, type: %s}]", way());
    vmctl_forward wanted = VMCTL_FORWARD_INIT;
    wanted.guest = 22;
    FAILS(VMCTL_E_UNSUPPORTED, vmctl_guest_forward(alone, &wanted, 1, NULL, &err));
    assert_non_null(strstr(failure, "fw-b"));
    FAILS(VMCTL_E_INVALID_STATE, vmctl_guest_forward(off, &wanted, 1, NULL, &err));
    vmctl_vm_free(alone);
    vmctl_vm_free(off);
}

static const contract_test tests[] = {
    TEST("guest.forward", "guest_forward", a_port_is_there_for_the_while),
    TEST("guest.forward", "guest_forward", a_vm_without_a_way_is_refused),
};
const contract_group group_forward = {"forward", tests, sizeof tests / sizeof tests[0]};
