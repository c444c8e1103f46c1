/* libvirt's errors as vmctl's closed set of codes. Source: libvirt/virterror.h. */
#include "conn.h"
#include <errno.h>
#include <string.h>

typedef struct code_row {
    const char *name;
    int code;
} code_row;

#define ROW(number, code) [number] = {#number, code}

static const code_row codes[] = {
    ROW(VIR_ERR_INTERNAL_ERROR, VMCTL_E_INTERNAL),
    ROW(VIR_ERR_NO_MEMORY, VMCTL_E_RESOURCE_EXHAUSTED),
    ROW(VIR_ERR_NO_SUPPORT, VMCTL_E_UNSUPPORTED),
    ROW(VIR_ERR_UNKNOWN_HOST, VMCTL_E_UNAVAILABLE),
    ROW(VIR_ERR_NO_CONNECT, VMCTL_E_UNAVAILABLE),
    ROW(VIR_ERR_INVALID_CONN, VMCTL_E_UNAVAILABLE),
    ROW(VIR_ERR_INVALID_DOMAIN, VMCTL_E_INTERNAL),
    ROW(VIR_ERR_INVALID_ARG, VMCTL_E_INVALID_ARGUMENT),
    ROW(VIR_ERR_OPERATION_FAILED, VMCTL_E_INTERNAL),
    ROW(VIR_ERR_GET_FAILED, VMCTL_E_UNAVAILABLE),
    ROW(VIR_ERR_POST_FAILED, VMCTL_E_UNAVAILABLE),
    ROW(VIR_ERR_HTTP_ERROR, VMCTL_E_UNAVAILABLE),
    ROW(VIR_ERR_SEXPR_SERIAL, VMCTL_E_INTERNAL),
    ROW(VIR_ERR_NO_XEN, VMCTL_E_INTERNAL),
    ROW(VIR_ERR_XEN_CALL, VMCTL_E_INTERNAL),
    ROW(VIR_ERR_OS_TYPE, VMCTL_E_INVALID_ARGUMENT),
    ROW(VIR_ERR_NO_KERNEL, VMCTL_E_INVALID_ARGUMENT),
    ROW(VIR_ERR_NO_ROOT, VMCTL_E_INVALID_ARGUMENT),
    ROW(VIR_ERR_NO_SOURCE, VMCTL_E_INVALID_ARGUMENT),
    ROW(VIR_ERR_NO_TARGET, VMCTL_E_INVALID_ARGUMENT),
    ROW(VIR_ERR_NO_NAME, VMCTL_E_INVALID_ARGUMENT),
    ROW(VIR_ERR_NO_OS, VMCTL_E_INVALID_ARGUMENT),
    ROW(VIR_ERR_NO_DEVICE, VMCTL_E_INVALID_ARGUMENT),
    ROW(VIR_ERR_NO_XENSTORE, VMCTL_E_INTERNAL),
    ROW(VIR_ERR_DRIVER_FULL, VMCTL_E_INTERNAL),
    ROW(VIR_ERR_CALL_FAILED, VMCTL_E_UNSUPPORTED),
    ROW(VIR_ERR_XML_ERROR, VMCTL_E_INVALID_ARGUMENT),
    ROW(VIR_ERR_DOM_EXIST, VMCTL_E_ALREADY_EXISTS),
    ROW(VIR_ERR_OPERATION_DENIED, VMCTL_E_PERMISSION_DENIED),
    ROW(VIR_ERR_OPEN_FAILED, VMCTL_E_INTERNAL),
    ROW(VIR_ERR_READ_FAILED, VMCTL_E_INTERNAL),
    ROW(VIR_ERR_PARSE_FAILED, VMCTL_E_INTERNAL),
    ROW(VIR_ERR_CONF_SYNTAX, VMCTL_E_INTERNAL),
    ROW(VIR_ERR_WRITE_FAILED, VMCTL_E_INTERNAL),
    ROW(VIR_ERR_XML_DETAIL, VMCTL_E_INVALID_ARGUMENT),
    ROW(VIR_ERR_INVALID_NETWORK, VMCTL_E_INTERNAL),
    ROW(VIR_ERR_NETWORK_EXIST, VMCTL_E_ALREADY_EXISTS),
    ROW(VIR_ERR_SYSTEM_ERROR, VMCTL_E_INTERNAL),
    ROW(VIR_ERR_RPC, VMCTL_E_UNAVAILABLE),
    ROW(VIR_ERR_GNUTLS_ERROR, VMCTL_E_UNAVAILABLE),
    ROW(VIR_ERR_NO_DOMAIN, VMCTL_E_NOT_FOUND),
    ROW(VIR_ERR_NO_NETWORK, VMCTL_E_NOT_FOUND),
    ROW(VIR_ERR_INVALID_MAC, VMCTL_E_INVALID_ARGUMENT),
    ROW(VIR_ERR_AUTH_FAILED, VMCTL_E_UNAUTHENTICATED),
    ROW(VIR_ERR_INVALID_STORAGE_POOL, VMCTL_E_INTERNAL),
    ROW(VIR_ERR_INVALID_STORAGE_VOL, VMCTL_E_INTERNAL),
    ROW(VIR_ERR_NO_STORAGE_POOL, VMCTL_E_NOT_FOUND),
    ROW(VIR_ERR_NO_STORAGE_VOL, VMCTL_E_NOT_FOUND),
    ROW(VIR_ERR_INVALID_NODE_DEVICE, VMCTL_E_INTERNAL),
    ROW(VIR_ERR_NO_NODE_DEVICE, VMCTL_E_NOT_FOUND),
    ROW(VIR_ERR_NO_SECURITY_MODEL, VMCTL_E_UNSUPPORTED),
    ROW(VIR_ERR_OPERATION_INVALID, VMCTL_E_INVALID_STATE),
    ROW(VIR_ERR_NO_INTERFACE, VMCTL_E_NOT_FOUND),
    ROW(VIR_ERR_INVALID_INTERFACE, VMCTL_E_INTERNAL),
    ROW(VIR_ERR_MULTIPLE_INTERFACES, VMCTL_E_AMBIGUOUS),
    ROW(VIR_ERR_INVALID_NWFILTER, VMCTL_E_INTERNAL),
    ROW(VIR_ERR_NO_NWFILTER, VMCTL_E_NOT_FOUND),
    ROW(VIR_ERR_BUILD_FIREWALL, VMCTL_E_INTERNAL),
    ROW(VIR_ERR_INVALID_SECRET, VMCTL_E_INTERNAL),
    ROW(VIR_ERR_NO_SECRET, VMCTL_E_NOT_FOUND),
    ROW(VIR_ERR_CONFIG_UNSUPPORTED, VMCTL_E_UNSUPPORTED),
    ROW(VIR_ERR_OPERATION_TIMEOUT, VMCTL_E_BUSY),
    ROW(VIR_ERR_MIGRATE_PERSIST_FAILED, VMCTL_E_INTERNAL),
    ROW(VIR_ERR_HOOK_SCRIPT_FAILED, VMCTL_E_INTERNAL),
    ROW(VIR_ERR_INVALID_DOMAIN_SNAPSHOT, VMCTL_E_INTERNAL),
    ROW(VIR_ERR_NO_DOMAIN_SNAPSHOT, VMCTL_E_NOT_FOUND),
    ROW(VIR_ERR_INVALID_STREAM, VMCTL_E_INTERNAL),
    ROW(VIR_ERR_ARGUMENT_UNSUPPORTED, VMCTL_E_UNSUPPORTED),
    ROW(VIR_ERR_STORAGE_PROBE_FAILED, VMCTL_E_INTERNAL),
    ROW(VIR_ERR_STORAGE_POOL_BUILT, VMCTL_E_ALREADY_EXISTS),
    ROW(VIR_ERR_SNAPSHOT_REVERT_RISKY, VMCTL_E_INVALID_STATE),
    ROW(VIR_ERR_OPERATION_ABORTED, VMCTL_E_CANCELLED),
    ROW(VIR_ERR_AUTH_CANCELLED, VMCTL_E_CANCELLED),
    ROW(VIR_ERR_NO_DOMAIN_METADATA, VMCTL_E_NOT_FOUND),
    ROW(VIR_ERR_MIGRATE_UNSAFE, VMCTL_E_INVALID_STATE),
    ROW(VIR_ERR_OVERFLOW, VMCTL_E_INVALID_ARGUMENT),
    ROW(VIR_ERR_BLOCK_COPY_ACTIVE, VMCTL_E_INVALID_STATE),
    ROW(VIR_ERR_OPERATION_UNSUPPORTED, VMCTL_E_UNSUPPORTED),
    ROW(VIR_ERR_SSH, VMCTL_E_UNAVAILABLE),
    ROW(VIR_ERR_AGENT_UNRESPONSIVE, VMCTL_E_INVALID_STATE),
    ROW(VIR_ERR_RESOURCE_BUSY, VMCTL_E_BUSY),
    ROW(VIR_ERR_ACCESS_DENIED, VMCTL_E_PERMISSION_DENIED),
    ROW(VIR_ERR_DBUS_SERVICE, VMCTL_E_UNAVAILABLE),
    ROW(VIR_ERR_STORAGE_VOL_EXIST, VMCTL_E_ALREADY_EXISTS),
    ROW(VIR_ERR_CPU_INCOMPATIBLE, VMCTL_E_UNSUPPORTED),
    ROW(VIR_ERR_XML_INVALID_SCHEMA, VMCTL_E_INVALID_ARGUMENT),
    ROW(VIR_ERR_MIGRATE_FINISH_OK, VMCTL_E_INTERNAL),
    ROW(VIR_ERR_AUTH_UNAVAILABLE, VMCTL_E_UNAUTHENTICATED),
    ROW(VIR_ERR_NO_SERVER, VMCTL_E_NOT_FOUND),
    ROW(VIR_ERR_NO_CLIENT, VMCTL_E_NOT_FOUND),
    ROW(VIR_ERR_AGENT_UNSYNCED, VMCTL_E_INVALID_STATE),
    ROW(VIR_ERR_LIBSSH, VMCTL_E_UNAVAILABLE),
    ROW(VIR_ERR_DEVICE_MISSING, VMCTL_E_NOT_FOUND),
    ROW(VIR_ERR_INVALID_NWFILTER_BINDING, VMCTL_E_INTERNAL),
    ROW(VIR_ERR_NO_NWFILTER_BINDING, VMCTL_E_NOT_FOUND),
    ROW(VIR_ERR_INVALID_DOMAIN_CHECKPOINT, VMCTL_E_INTERNAL),
    ROW(VIR_ERR_NO_DOMAIN_CHECKPOINT, VMCTL_E_NOT_FOUND),
    ROW(VIR_ERR_NO_DOMAIN_BACKUP, VMCTL_E_NOT_FOUND),
    ROW(VIR_ERR_INVALID_NETWORK_PORT, VMCTL_E_INTERNAL),
    ROW(VIR_ERR_NETWORK_PORT_EXIST, VMCTL_E_ALREADY_EXISTS),
    ROW(VIR_ERR_NO_NETWORK_PORT, VMCTL_E_NOT_FOUND),
    ROW(VIR_ERR_NO_HOSTNAME, VMCTL_E_NOT_FOUND),
    ROW(VIR_ERR_CHECKPOINT_INCONSISTENT, VMCTL_E_INVALID_STATE),
    ROW(VIR_ERR_MULTIPLE_DOMAINS, VMCTL_E_AMBIGUOUS),
};

static const code_row *row_of(int number) {
    if (number <= 0 || (size_t)number >= sizeof codes / sizeof codes[0] || !codes[number].name)
        return NULL;
    return &codes[number];
}

/* QEMU's and qemu-img's failures arrive as text in errors without a code of their own. */
static int code_of_text(const char *text, int fallback) {
    static const struct {
        const char *part;
        int code;
    } parts[] = {
        {"No space left on device", VMCTL_E_RESOURCE_EXHAUSTED},
        {"Disk quota exceeded", VMCTL_E_RESOURCE_EXHAUSTED},
        {"Cannot allocate memory", VMCTL_E_RESOURCE_EXHAUSTED},
        {"cannot set up guest memory", VMCTL_E_RESOURCE_EXHAUSTED},
        {"Failed to get \"write\" lock", VMCTL_E_BUSY},
        {"Failed to get shared \"write\" lock", VMCTL_E_BUSY},
        {"already in use", VMCTL_E_BUSY},
        {"Active console session exists", VMCTL_E_BUSY},
        {"Could not set up host forwarding rule", VMCTL_E_BUSY},
        {"Could not access KVM kernel module", VMCTL_E_UNSUPPORTED},
        {"kvm_buf_set_msrs", VMCTL_E_UNSUPPORTED},
        {"failed to initialize kvm", VMCTL_E_UNSUPPORTED},
        {"cannot find character device", VMCTL_E_NOT_FOUND},
        {"is not using a PTY", VMCTL_E_UNSUPPORTED},
        {"Permission denied", VMCTL_E_PERMISSION_DENIED},
        {"already exists", VMCTL_E_ALREADY_EXISTS},
        {"No such file or directory", VMCTL_E_NOT_FOUND},
    };
    for (size_t i = 0; text && i < sizeof parts / sizeof parts[0]; i++)
        if (strstr(text, parts[i].part))
            return parts[i].code;
    return fallback;
}

/* KVM is offered by the host, but QEMU cannot run on it: a nested hypervisor that does half of the work. */
static bool is_about_kvm(const char *text) {
    return text && (strstr(text, "KVM kernel module") || strstr(text, "kvm_buf_set_msrs") ||
                    strstr(text, "failed to initialize kvm"));
}

/* The transport failed, not the operation: reported by this side of the wire. */
static bool is_transport(const virError *error) {
    if (error->domain != VIR_FROM_RPC && error->domain != VIR_FROM_REMOTE)
        return false;
    return error->code == VIR_ERR_SYSTEM_ERROR || error->code == VIR_ERR_INTERNAL_ERROR || error->code == VIR_ERR_RPC ||
           error->code == VIR_ERR_INVALID_CONN;
}

int libvirt_error(vmctl_error **err, const virError *error, const char *format, ...) {
    if (!error)
        error = virGetLastError();
    int code = VMCTL_E_INTERNAL;
    bool retryable = false;
    const char *name = NULL, *text = NULL;
    if (error) {
        const code_row *row = row_of(error->code);
        text = error->message;
        name = row ? row->name : NULL;
        code = row ? row->code : VMCTL_E_INTERNAL;
        if (is_transport(error)) {
            bool denied = error->code == VIR_ERR_SYSTEM_ERROR && (error->int1 == EACCES || error->int1 == EPERM);
            code = denied ? VMCTL_E_PERMISSION_DENIED : VMCTL_E_UNAVAILABLE;
        } else if (error->code == VIR_ERR_SYSTEM_ERROR) {
            code = code_of_text(text, vmc_errno_code(error->int1));
        } else if (code == VMCTL_E_INTERNAL) {
            code = code_of_text(text, code);
        } else if (error->code == VIR_ERR_OPERATION_INVALID && text && strstr(text, "already exists")) {
            code = VMCTL_E_ALREADY_EXISTS;
        }
        retryable = code == VMCTL_E_UNAVAILABLE || code == VMCTL_E_BUSY || error->code == VIR_ERR_AGENT_UNRESPONSIVE;
    }
    va_list args;
    va_start(args, format);
    VMC_AUTO_FREE char *message = vmc_vprintf(format, args);
    va_end(args);
    vmc_error(err, code, "%s", message);
    vmc_error_hypervisor(err, name, text);
    if (retryable)
        vmc_error_retryable(err);
    if (code == VMCTL_E_UNSUPPORTED && is_about_kvm(text))
        vmc_error_next(err, "KVM does not work on that host: use accel: tcg");
    return code;
}
