/* Freezing, thawing, passwords. Source: virDomainFSFreeze, virDomainFSThaw, virDomainSetUserPassword; guest-fsfreeze-status. */
#include "agent.h"
#include "rpc.h"
#include <string.h>

enum { GUEST_MS = 60000 };

/* domain -> number (file systems) */
static int work_freeze(libvirt_rpc *rpc) {
    int count = virDomainFSFreeze(rpc->domain, NULL, 0, 0);
    rpc->number = count < 0 ? 0 : (unsigned long long)count;
    return count < 0 ? -1 : 0;
}

static int work_thaw(libvirt_rpc *rpc) {
    int count = virDomainFSThaw(rpc->domain, NULL, 0, 0);
    rpc->number = count < 0 ? 0 : (unsigned long long)count;
    return count < 0 ? -1 : 0;
}

/* domain, name (user), text (password) */
static int work_password(libvirt_rpc *rpc) {
    return virDomainSetUserPassword(rpc->domain, rpc->name, rpc->text, 0);
}

/* libvirt's calls to the agent, in the words of agent.c. */
static int run(libvirt_conn *conn, const libvirt_vm *vm, const char *doing, int (*work)(libvirt_rpc *),
               libvirt_rpc *rpc, const vmc_deadline *deadline, vmctl_error **err) {
    int code = libvirt_agent_ready(conn, vm, deadline, err);
    if (code < 0)
        return code;
    rpc->domain = vm->domain;
    virDomainRef(vm->domain);
    vmctl_error *why = NULL;
    code = libvirt_rpc_run(conn, deadline, doing, work, rpc, &why);
    if (code < 0)
        code = libvirt_agent_explain(vm, doing, code, &why, err);
    vmctl_error_free(why);
    return code;
}

static int is_frozen(libvirt_conn *conn, const libvirt_vm *vm, const vmc_deadline *deadline, bool *frozen,
                     vmctl_error **err) {
    cJSON *answer = NULL;
    int code = libvirt_agent_ask(conn, vm, "guest-fsfreeze-status", NULL, deadline, &answer, err);
    *frozen = cJSON_IsString(answer) && strcmp(answer->valuestring, "frozen") == 0;
    cJSON_Delete(answer);
    return code;
}

int libvirt_guest_freeze(void *opaque, void *handle, int *count, const vmctl_call *call, vmctl_error **err) {
    libvirt_conn *conn = opaque;
    libvirt_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(call, GUEST_MS);
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    vmctl_error *why = NULL;
    int code = run(conn, vm, "freezing the guest's file systems", work_freeze, rpc, &deadline, &why);
    if (code == 0)
        *count = (int)rpc->number;
    bool frozen = false;
    if (code == VMCTL_E_INVALID_STATE && is_frozen(conn, vm, &deadline, &frozen, NULL) == 0 && frozen) {
        vmc_note(&deadline, VMCTL_NOTE_INFO, "the file systems of %s are frozen already", vm->name);
        vmctl_error_free(why);
        return 0;
    }
    vmc_error_move(err, &why);
    return code;
}

int libvirt_guest_thaw(void *opaque, void *handle, int *count, const vmctl_call *call, vmctl_error **err) {
    libvirt_conn *conn = opaque;
    libvirt_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(call, GUEST_MS);
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    int code = run(conn, vm, "thawing the guest's file systems", work_thaw, rpc, &deadline, err);
    if (code < 0)
        return code;
    *count = (int)rpc->number;
    if (*count == 0)
        vmc_note(&deadline, VMCTL_NOTE_INFO, "the file systems of %s were not frozen", vm->name);
    return 0;
}

int libvirt_guest_set_password(void *opaque, void *handle, const char *user, const char *password,
                               const vmctl_call *call, vmctl_error **err) {
    libvirt_conn *conn = opaque;
    vmc_deadline deadline = vmc_deadline_start(call, GUEST_MS);
    libvirt_rpc *rpc = libvirt_rpc_new(conn);
    rpc->name = vmc_strdup(user);
    rpc->text = vmc_strdup(password);
    vmctl_error *why = NULL;
    int code = run(conn, handle, "setting the password", work_password, rpc, &deadline, &why);
    /* The agent runs chpasswd and keeps its words to itself. */
    if (code == VMCTL_E_INTERNAL && strstr(vmctl_error_message(why), "failed to set user password")) {
        code = vmc_error_recode(&why, VMCTL_E_INVALID_ARGUMENT);
        vmc_error_append(&why, ": it has no user %s, or its rules do not take this password", user);
        vmc_error_next(&why, "vmctl exec %s -- getent passwd %s", ((libvirt_vm *)handle)->name, user);
    }
    vmc_error_move(err, &why);
    /* Where the call was abandoned, the worker may still read it. */
    if (code != VMCTL_E_TIMEOUT && code != VMCTL_E_CANCELLED)
        explicit_bzero(rpc->text, strlen(rpc->text));
    libvirt_rpc_free(&rpc);
    return code;
}
