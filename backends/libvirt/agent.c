/* The guest's agent: one command, and processes and files by it. */
#include "agent.h"

#include "base/base64.h"
#include "rpc.h"
#include "xml_tree.h"
#include <libvirt/libvirt-qemu.h>
#include <stdlib.h>
#include <string.h>

enum {
    ALIVE_MS = 6000, /* libvirt waits 5 s for a sign of life before it sends a command */
    ANSWER_S = 10,   /* each command answers at once; a guest that is emulated and busy takes a second */
    FIRST_LOOK_MS = 10,
    LAST_LOOK_MS = 500
};

#define AGENT_CHANNEL "org.qemu.guest_agent.0"

/* --- whether it can be asked --------------------------------------------------------------------------------- */

static const xmlNode *agent_channel(const xmlNode *domain) {
    LIBVIRT_XML_EACH(channel, libvirt_xml_child(domain, "devices"), "channel") {
        const xmlNode *target = libvirt_xml_child(channel, "target");
        if (libvirt_xml_attr_is(target, "name", AGENT_CHANNEL))
            return target;
    }
    return NULL;
}

int libvirt_agent_check(const xmlNode *domain, const char *name, vmctl_error **err) {
    if (!libvirt_xml_attr(domain, "id")) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "%s does not run", name);
        return vmc_error_next(err, "vmctl start %s", name);
    }
    const xmlNode *target = agent_channel(domain);
    if (!target) {
        vmc_error(err, VMCTL_E_UNSUPPORTED, "%s has no channel for a guest agent", name);
        return vmc_error_next(
            err, "vmctl set %s guestAgent=true, restart it, and install qemu-guest-agent in the guest", name);
    }
    const char *state = libvirt_xml_attr(target, "state");
    if (state && strcmp(state, "connected") != 0) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "the guest agent of %s is not connected", name);
        vmc_error_retryable(err);
        return vmc_error_next(err, "vmctl wait %s --for agent, or install and start qemu-guest-agent in the guest",
                              name);
    }
    return 0;
}

int libvirt_agent_ready(libvirt_conn *conn, const libvirt_vm *vm, const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_FREE char *xml = NULL;
    LIBVIRT_AUTO_XML *doc = NULL;
    int code = libvirt_vm_xml(conn, vm, 0, deadline, &xml, err);
    if (code == 0)
        code = libvirt_xml_parse(xml, "the domain's XML", "domain", VMCTL_E_INTERNAL, &doc, NULL, err);
    return code < 0 ? code : libvirt_agent_check(xmlDocGetRootElement(doc), vm->name, err);
}

/* --- one command ------------------------------------------------------------------------------------------------ */

int libvirt_guest_words_code(const char *words, int fallback) {
    static const struct {
        const char *part;
        int code;
    } parts[] = {
        {"in frozen state", VMCTL_E_INVALID_STATE},
        {"has been disabled", VMCTL_E_UNSUPPORTED},
        {"has not been found", VMCTL_E_UNSUPPORTED},
        {"No such file or directory", VMCTL_E_NOT_FOUND},
        {"not found", VMCTL_E_NOT_FOUND},
        {"No space left on device", VMCTL_E_RESOURCE_EXHAUSTED},
        {"Disk quota exceeded", VMCTL_E_RESOURCE_EXHAUSTED},
        {"Cannot allocate memory", VMCTL_E_RESOURCE_EXHAUSTED},
        {"Permission denied", VMCTL_E_PERMISSION_DENIED},
        {"Operation not permitted", VMCTL_E_PERMISSION_DENIED},
        {"Read-only file system", VMCTL_E_PERMISSION_DENIED},
        {"Is a directory", VMCTL_E_INVALID_ARGUMENT},
        {"Not a directory", VMCTL_E_INVALID_ARGUMENT},
    };
    for (size_t i = 0; words && i < sizeof parts / sizeof parts[0]; i++)
        if (strstr(words, parts[i].part))
            return parts[i].code;
    return fallback;
}

/* domain, text (the command), number (seconds) -> out */
static int work_ask(libvirt_rpc *rpc) {
    rpc->out = virDomainQemuAgentCommand(rpc->domain, rpc->text, (int)rpc->number, 0);
    return rpc->out ? 0 : -1;
}

int libvirt_agent_explain(const libvirt_vm *vm, const char *command, int code, vmctl_error **why, vmctl_error **err) {
    VMC_AUTO_FREE char *said = vmc_strdup(vmctl_error_hypervisor_message(*why));
    VMC_AUTO_FREE char *name = vmc_strdup(vmctl_error_hypervisor_code(*why));
    const char *words = said ? strstr(said, "unable to execute QEMU agent command") : NULL;
    words = words ? strstr(words, "': ") : NULL;
    if (code == VMCTL_E_TIMEOUT || code == VMCTL_E_CANCELLED || !said) {
        vmc_error_move(err, why);
        return code;
    }
    if (words) {
        code = libvirt_guest_words_code(words + 3, VMCTL_E_INTERNAL);
        if (code == VMCTL_E_INVALID_STATE) {
            vmc_error(err, code, "the file systems of %s are frozen, and its agent does nothing else until they go on",
                      vm->name);
            vmc_error_next(err, "vmctl thaw %s", vm->name);
        } else if (code == VMCTL_E_UNSUPPORTED) {
            vmc_error(err, code, "the guest's agent does not allow %s", command);
            vmc_error_next(err, "allow it in the guest (/etc/sysconfig/qemu-ga or /etc/qemu/qemu-ga.conf), or use ssh");
        } else {
            vmc_error(err, code, "the guest's agent said: %s", words + 3);
        }
    } else if (strstr(said, "not connected")) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "the guest agent of %s is not connected", vm->name);
        vmc_error_retryable(err);
        vmc_error_next(err, "vmctl wait %s --for agent", vm->name);
    } else if (vmc_str_eq(name, "VIR_ERR_AGENT_UNRESPONSIVE") || vmc_str_eq(name, "VIR_ERR_AGENT_UNSYNCED") ||
               strstr(said, "gent not available") || strstr(said, "gent is not responding")) {
        vmc_error(err, VMCTL_E_TIMEOUT, "the guest agent of %s does not answer (%s)", vm->name, command);
        vmc_error_retryable(err);
        vmc_error_next(err, "see what the guest does (vmctl console %s, or ssh) and restart qemu-guest-agent there",
                       vm->name);
    } else {
        vmc_error_move(err, why);
        return code;
    }
    return vmc_error_hypervisor(err, name, said);
}

int libvirt_agent_ask(libvirt_conn *conn, const libvirt_vm *vm, const char *command, cJSON *arguments,
                      const vmc_deadline *deadline, cJSON **out, vmctl_error **err) {
    cJSON *message = cJSON_CreateObject();
    cJSON_AddStringToObject(message, "execute", command);
    if (arguments)
        cJSON_AddItemToObject(message, "arguments", arguments);
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    rpc->domain = vm->domain;
    virDomainRef(vm->domain);
    rpc->text = cJSON_PrintUnformatted(message);
    cJSON_Delete(message);
    int left = vmc_deadline_left(deadline);
    rpc->number = left >= 0 && left < ANSWER_S * 1000 ? (unsigned long long)(left + 999) / 1000 : ANSWER_S;
    VMC_AUTO_FREE char *doing = vmc_printf("asking the guest's agent (%s)", command);
    vmctl_error *why = NULL;
    int code = vmc_deadline_check(deadline, doing, err);
    if (code < 0)
        return code;
    /* libvirt gives up by itself a little after the deadline: were it given up here, the whole connection would be lost with it. */
    vmc_deadline patient = *deadline;
    patient.at_ms += patient.at_ms >= 0 ? ALIVE_MS : 0;
    code = libvirt_rpc_run(conn, &patient, doing, work_ask, rpc, &why);
    if (code < 0) {
        code = libvirt_agent_explain(vm, command, code, &why, err);
        vmctl_error_free(why);
        return code;
    }
    cJSON *answer = cJSON_Parse(rpc->out);
    cJSON *value = cJSON_DetachItemFromObjectCaseSensitive(answer, "return");
    cJSON_Delete(answer);
    if (!value)
        return vmc_error(err, VMCTL_E_INTERNAL, "the guest's agent answered %s with something else", command);
    if (out)
        *out = value;
    else
        cJSON_Delete(value);
    return 0;
}

static cJSON *with_number(const char *name, long long value) {
    cJSON *arguments = cJSON_CreateObject();
    cJSON_AddNumberToObject(arguments, name, (double)value);
    return arguments;
}

static long long number_in(const cJSON *object, const char *name, long long absent) {
    const cJSON *item = name ? cJSON_GetObjectItemCaseSensitive(object, name) : object;
    return cJSON_IsNumber(item) ? (long long)item->valuedouble : absent;
}

static void add_base64(cJSON *arguments, const char *name, const void *bytes, size_t length) {
    VMC_AUTO_STR text = {0};
    vmc_base64_add(&text, bytes, length, 0);
    cJSON_AddStringToObject(arguments, name, text.text ? text.text : "");
}

static int take_base64(const cJSON *object, const char *name, vmc_str *to, vmctl_error **err) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    if (cJSON_IsString(item) && !vmc_base64_decode(to, item->valuestring))
        return vmc_error(err, VMCTL_E_INTERNAL, "the guest's agent sent a %s that is no base64", name);
    return 0;
}

/* --- processes ------------------------------------------------------------------------------------------------------ */

void libvirt_agent_process_free(libvirt_agent_process *process) {
    vmc_str_free(&process->output);
    vmc_str_free(&process->error);
}

int libvirt_agent_start(libvirt_conn *conn, const libvirt_vm *vm, const char *const *argv,
                        const char *const *environment, const void *input, size_t input_length,
                        const vmc_deadline *deadline, long long *pid, vmctl_error **err) {
    cJSON *arguments = cJSON_CreateObject();
    cJSON_AddStringToObject(arguments, "path", argv[0]);
    cJSON *words = cJSON_AddArrayToObject(arguments, "arg");
    for (size_t i = 1; argv[i]; i++)
        cJSON_AddItemToArray(words, cJSON_CreateString(argv[i]));
    cJSON *variables = environment && environment[0] ? cJSON_AddArrayToObject(arguments, "env") : NULL;
    for (size_t i = 0; variables && environment[i]; i++)
        cJSON_AddItemToArray(variables, cJSON_CreateString(environment[i]));
    if (input_length)
        add_base64(arguments, "input-data", input, input_length);
    cJSON_AddTrueToObject(arguments, "capture-output");
    cJSON *answer = NULL;
    int code = libvirt_agent_ask(conn, vm, "guest-exec", arguments, deadline, &answer, err);
    if (code == 0)
        *pid = number_in(answer, "pid", -1);
    cJSON_Delete(answer);
    return code;
}

int libvirt_agent_look(libvirt_conn *conn, const libvirt_vm *vm, long long pid, const vmc_deadline *deadline,
                       libvirt_agent_process *out, vmctl_error **err) {
    cJSON *answer = NULL;
    int code = libvirt_agent_ask(conn, vm, "guest-exec-status", with_number("pid", pid), deadline, &answer, err);
    if (code == 0 && cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(answer, "exited"))) {
        long long number = number_in(answer, "signal", 0);
        out->exited = true;
        out->status = number > 0 ? 128 + (int)number : (int)number_in(answer, "exitcode", 0);
        code = take_base64(answer, "out-data", &out->output, err);
        if (code == 0)
            code = take_base64(answer, "err-data", &out->error, err);
    }
    cJSON_Delete(answer);
    return code;
}

int libvirt_agent_wait(libvirt_conn *conn, const libvirt_vm *vm, long long pid, const vmc_deadline *deadline,
                       libvirt_agent_process *out, vmctl_error **err) {
    /* The agent has no notification of it. */
    for (int pause = FIRST_LOOK_MS;; pause = pause * 3 / 2 > LAST_LOOK_MS ? LAST_LOOK_MS : pause * 3 / 2) {
        int code = libvirt_agent_look(conn, vm, pid, deadline, out, err);
        if (code == 0 && !out->exited)
            code = vmc_deadline_poll(deadline, -1, 0, pause, "waiting for a process in the guest", err);
        if (code < 0 || out->exited)
            return code;
    }
}

int libvirt_agent_shell(libvirt_conn *conn, const libvirt_vm *vm, const char *script, const char *const *words,
                        const void *input, size_t input_length, const vmc_deadline *deadline,
                        libvirt_agent_process *out, vmctl_error **err) {
    VMC_AUTO_STRV argv = {0};
    vmc_strv_add(&argv, "/bin/sh");
    vmc_strv_add(&argv, "-c");
    vmc_strv_add(&argv, script);
    vmc_strv_add(&argv, "vmctl");
    for (; words && *words; words++)
        vmc_strv_add(&argv, *words);
    long long pid = -1;
    int code =
        libvirt_agent_start(conn, vm, (const char *const *)argv.items, NULL, input, input_length, deadline, &pid, err);
    return code < 0 ? code : libvirt_agent_wait(conn, vm, pid, deadline, out, err);
}

/* name (UUID) -> domain */
static int work_find(libvirt_rpc *rpc) {
    rpc->domain = virDomainLookupByUUIDString(rpc->virt, rpc->name);
    return rpc->domain ? 0 : -1;
}

int libvirt_agent_again(libvirt_conn *conn, const libvirt_vm *vm, const vmc_deadline *deadline, libvirt_vm **fresh,
                        vmctl_error **err) {
    int code = libvirt_conn_renew(conn, deadline, err);
    if (code < 0)
        return code;
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    rpc->name = vmc_strdup(vm->uuid);
    code = libvirt_rpc_run(conn, deadline, "looking for the domain", work_find, rpc, err);
    if (code < 0)
        return code;
    *fresh = libvirt_vm_new(rpc->domain);
    rpc->domain = NULL;
    return 0;
}

/* --- files ------------------------------------------------------------------------------------------------------------- */

int libvirt_agent_file_open(libvirt_conn *conn, const libvirt_vm *vm, const char *path, const char *mode,
                            const vmc_deadline *deadline, long long *handle, vmctl_error **err) {
    cJSON *arguments = cJSON_CreateObject(), *answer = NULL;
    cJSON_AddStringToObject(arguments, "path", path);
    cJSON_AddStringToObject(arguments, "mode", mode);
    int code = libvirt_agent_ask(conn, vm, "guest-file-open", arguments, deadline, &answer, err);
    if (code == 0)
        *handle = number_in(answer, NULL, -1);
    cJSON_Delete(answer);
    return code;
}

int libvirt_agent_file_read(libvirt_conn *conn, const libvirt_vm *vm, long long handle, size_t most,
                            const vmc_deadline *deadline, vmc_str *out, bool *eof, vmctl_error **err) {
    cJSON *arguments = with_number("handle", handle), *answer = NULL;
    cJSON_AddNumberToObject(arguments, "count", (double)most);
    int code = libvirt_agent_ask(conn, vm, "guest-file-read", arguments, deadline, &answer, err);
    if (code == 0)
        code = take_base64(answer, "buf-b64", out, err);
    if (code == 0)
        *eof = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(answer, "eof"));
    cJSON_Delete(answer);
    return code;
}

int libvirt_agent_file_write(libvirt_conn *conn, const libvirt_vm *vm, long long handle, const void *bytes,
                             size_t length, const vmc_deadline *deadline, vmctl_error **err) {
    const char *from = bytes;
    while (length > 0) {
        size_t piece = length < LIBVIRT_AGENT_WRITE ? length : LIBVIRT_AGENT_WRITE;
        cJSON *arguments = with_number("handle", handle), *answer = NULL;
        add_base64(arguments, "buf-b64", from, piece);
        int code = libvirt_agent_ask(conn, vm, "guest-file-write", arguments, deadline, &answer, err);
        long long written = code == 0 ? number_in(answer, "count", 0) : 0;
        cJSON_Delete(answer);
        if (code == 0 && (written <= 0 || (size_t)written > piece))
            code = vmc_error(err, VMCTL_E_INTERNAL, "the guest's agent wrote nothing");
        if (code < 0)
            return code;
        from += written;
        length -= (size_t)written;
    }
    return 0;
}

int libvirt_agent_file_close(libvirt_conn *conn, const libvirt_vm *vm, long long handle, const vmc_deadline *deadline,
                             vmctl_error **err) {
    return libvirt_agent_ask(conn, vm, "guest-file-close", with_number("handle", handle), deadline, NULL, err);
}
