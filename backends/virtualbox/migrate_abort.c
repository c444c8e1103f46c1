/* Stopping a teleport that another caller began: VirtualBox lets only the session which began it cancel it, and that session is a VBoxManage which
 * takes SIGINT for "cancel". The VM goes on at the source then. */
#include "migrate.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ABORT_MS = 60000, WORDS = 8192 };

/* Whether these are the arguments of "VBoxManage controlvm ID teleport", each ended by a NUL. */
static bool is_teleport(const char *words, size_t length, const char *id) {
    const char *const wanted[] = {"VBoxManage", "controlvm", id, "teleport"};
    const char *at = words;
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        if (at >= words + length)
            return false;
        const char *slash = i ? NULL : strrchr(at, '/');
        if (strcmp(slash ? slash + 1 : at, wanted[i]) != 0)
            return false;
        at += strlen(at) + 1;
    }
    return true;
}

/* How many were told; -1: errno says why one could not be. */
static int interrupt_here(const char *id) {
    DIR *all = opendir("/proc");
    int count = 0;
    for (struct dirent *entry; all && count >= 0 && (entry = readdir(all));) {
        char words[WORDS];
        if (!isdigit((unsigned char)*entry->d_name))
            continue;
        VMC_AUTO_FREE char *path = vmc_printf("/proc/%s/cmdline", entry->d_name);
        VMC_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t got = fd < 0 ? -1 : read(fd, words, sizeof words - 1);
        if (got <= 0)
            continue;
        words[got] = 0;
        if (is_teleport(words, (size_t)got, id))
            count = kill((pid_t)strtol(entry->d_name, NULL, 10), SIGINT) == 0 ? count + 1 : -1;
    }
    if (all)
        closedir(all);
    return count;
}

static int interrupt_there(const virtualbox_conn *conn, const char *id, const vmc_deadline *deadline, int *count,
                           vmctl_error **err) {
    static const char script[] = "ps -eo pid= -o args= | awk -v id=\"$1\" '$2 ~ /(^|\\/)VBoxManage$/ && $3 == "
                                 "\"controlvm\" && $4 == id && $5 == "
                                 "\"teleport\" {print $1}' | while read -r p; do kill -INT \"$p\" && echo \"$p\"; done";
    VMC_AUTO_FREE char *text = NULL;
    int code = vboxmanage_files_script(conn->manage, script, (const char *const[]){id, NULL}, "stopping the teleport",
                                       deadline, &text, err);
    *count = code == 0 && *text;
    return code;
}

int virtualbox_migrate_check_abort(const virtualbox_vm *vm, vmctl_state state, vmctl_error **err) {
    if (state == VMCTL_STATE_MIGRATING)
        return 0;
    vmc_error(err, VMCTL_E_INVALID_STATE, "%s is not being migrated: it is %s", vm->name, vmctl_state_name(state));
    return vmc_error_next(err, "vmctl get %s shows what it does", vm->name);
}

int virtualbox_migrate_abort(void *opaque, void *handle, const vmctl_call *call, vmctl_error **err) {
    virtualbox_conn *conn = opaque;
    virtualbox_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(call, ABORT_MS);
    vmctl_state state = VMCTL_STATE_UNKNOWN;
    int count = 0;
    int code = virtualbox_ask_state(conn, vm, &deadline, &state, NULL, err);
    if (code == 0 && conn->manage->host)
        code = interrupt_there(conn, vm->id, &deadline, &count, err);
    else if (code == 0 && (count = interrupt_here(vm->id)) < 0)
        code = vmc_error_errno(err, errno, "cannot stop the teleport of %s, which another user began", vm->name);
    if (code == 0 && count == 0)
        code = virtualbox_migrate_check_abort(vm, state, err);
    if (code == 0 && count == 0) {
        vmc_error(err, VMCTL_E_UNSUPPORTED, "%s is teleported by a program that is no VBoxManage", vm->name);
        return vmc_error_next(err, "cancel it there, in VirtualBox' own window or the program that began it");
    }
    if (code == 0)
        code = virtualbox_wait_idle(conn, vm, &deadline, &state, NULL, err);
    if (code == 0 && state != VMCTL_STATE_RUNNING && state != VMCTL_STATE_PAUSED) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "%s had arrived already, and is the target's", vm->name);
        return vmc_error_next(err, "vmctl list --connect TARGET shows it");
    }
    return code;
}
