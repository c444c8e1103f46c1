/* Sessions that hold something on another host. */
#include "hold.h"

#include "base/error.h"
#include "files.h"
#include "host.h"
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { RELEASE_MS = 30000 };

struct vboxmanage_held {
    const vboxmanage *manage;
    vmc_strv parents;
    pthread_t thread;
    vmctl_cancel *end;
    int ready; /* an eventfd: the folder is there, or it has failed */
    char *folder;
    vmctl_error *why;
    int code;
};

/* The first line that it prints says where. Its stdin is watched (host.h): it is interrupted when this side is gone. */
static const char script[] = "umask 077; d=; s=\n"
                             "trap '[ -z \"$s\" ] || kill $s; [ -z \"$d\" ] || rm -rf -- \"$d\"' EXIT\n"
                             "trap 'exit 0' INT TERM HUP\n"
                             "for p; do d=$(mktemp -d \"$p/.vmctl-XXXXXX\" 2>/dev/null) && break; d=; done\n"
                             "[ $# = 0 ] || [ -n \"$d\" ] || { echo \"no folder can be made in $*\" >&2; exit 1; }\n"
                             "printf '%s\\n' \"${d:--}\"\n"
                             "sleep 2147483 & s=$!; wait";

static void ring(int fd) {
    uint64_t one = 1;
    if (write(fd, &one, sizeof one) < 0)
        return; /* it is full: whoever waits is woken anyway */
}

static int hear(const char *line, size_t length, void *user) {
    vboxmanage_held *held = user;
    if (!held->folder) {
        held->folder = *line == '/' ? vmc_strndup(line, length) : vmc_strdup("");
        ring(held->ready);
    }
    return 0;
}

static void *stay(void *user) {
    vboxmanage_held *held = user;
    const vmc_deadline deadline = {.at_ms = -1, .cancel = held->end};
    process_options io = {.output = hear, .user = held, .lines = true, .doing = "making a folder"};
    PROCESS_AUTO_RESULT result = {0};
    held->code = vboxmanage_host_script(held->manage->host, script, (const char *const *)held->parents.items, &io,
                                        &deadline, &result, &held->why);
    if (held->code == 0 && result.status != 0) {
        held->code = vmc_error(&held->why, VMCTL_E_PERMISSION_DENIED, "nothing can be kept on %s for the while",
                               held->manage->host->name);
        vmc_error_hypervisor(&held->why, NULL, result.error);
    }
    ring(held->ready);
    return NULL;
}

static void held_free(vboxmanage_held *held) {
    if (held->ready >= 0)
        close(held->ready);
    vmctl_cancel_free(held->end);
    vmctl_error_free(held->why);
    vmc_strv_free(&held->parents);
    free(held->folder);
    free(held);
}

static void leave(vboxmanage_held *held) {
    vmctl_cancel_trigger(held->end);
    pthread_join(held->thread, NULL);
}

int vboxmanage_hold(const vboxmanage *manage, const char *const *parents, const vmc_deadline *deadline,
                    vboxmanage_held **out, vmctl_error **err) {
    vboxmanage_held *held = vmc_alloc(sizeof *held);
    held->manage = manage;
    for (; *parents; parents++)
        vmc_strv_add(&held->parents, *parents);
    held->ready = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    held->end = vmctl_cancel_new();
    if (held->ready < 0 || !held->end || pthread_create(&held->thread, NULL, stay, held) != 0) {
        held_free(held);
        return vmc_error(err, VMCTL_E_RESOURCE_EXHAUSTED, "no thread can be started to keep a session on %s",
                         manage->host->name);
    }
    int code = vmc_deadline_poll(deadline, held->ready, POLLIN, -1, "making a folder on the host", err);
    if (code > 0 && held->folder) { /* written before the bell rang */
        *out = held;
        return 0;
    }
    leave(held);
    if (code > 0 && held->code < 0) {
        code = held->code;
        vmc_error_move(err, &held->why);
    } else if (code > 0) {
        code = vmc_error(err, VMCTL_E_UNAVAILABLE, "the session on %s ended at once", manage->host->name);
    }
    held_free(held);
    return code;
}

const char *vboxmanage_held_folder(const vboxmanage_held *held) {
    return *held->folder ? held->folder : NULL;
}

void vboxmanage_release(vboxmanage_held *held) {
    if (!held)
        return;
    const vmc_deadline deadline = {.at_ms = vmc_now_ms() + RELEASE_MS};
    if (*held->folder)
        vboxmanage_tree_remove(held->manage, held->folder, &deadline, NULL);
    leave(held);
    held_free(held);
}
