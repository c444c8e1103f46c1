#include "base/error.h"
#include "base/str.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { FAULTS_SHOWN = 100 }; /* a hostile document must not flood the terminal */

struct vmctl_error {
    int code;
    bool retryable;
    bool counts_faults; /* the message is made from the faults */
    char *message;
    char *action;
    char *vm;
    char *backend;
    char *endpoint;
    char *hypervisor_code;
    char *hypervisor_message;
    char *next;
    vmctl_fault **faults; /* each its own allocation, so that what vmctl_error_fault gave stays where it is */
    size_t fault_count;
    size_t fault_capacity;
    _Atomic(char *) text; /* made when first asked for, by any thread */
};

static const struct {
    const char *name;
    int exit_status;
} codes[] = {
    [-VMCTL_OK] = {"ok", 0},
    [-VMCTL_E_INVALID_ARGUMENT] = {"invalid-argument", 2},
    [-VMCTL_E_INVALID_SPEC] = {"invalid-spec", 2},
    [-VMCTL_E_NOT_FOUND] = {"not-found", 4},
    [-VMCTL_E_ALREADY_EXISTS] = {"already-exists", 5},
    [-VMCTL_E_AMBIGUOUS] = {"ambiguous", 5},
    [-VMCTL_E_INVALID_STATE] = {"invalid-state", 6},
    [-VMCTL_E_BUSY] = {"busy", 6},
    [-VMCTL_E_CONFLICT] = {"conflict", 5},
    [-VMCTL_E_UNSUPPORTED] = {"unsupported", 3},
    [-VMCTL_E_UNAUTHENTICATED] = {"unauthenticated", 7},
    [-VMCTL_E_PERMISSION_DENIED] = {"permission-denied", 7},
    [-VMCTL_E_RESOURCE_EXHAUSTED] = {"resource-exhausted", 11},
    [-VMCTL_E_TIMEOUT] = {"timeout", 8},
    [-VMCTL_E_CANCELLED] = {"cancelled", 130},
    [-VMCTL_E_UNAVAILABLE] = {"unavailable", 9},
    [-VMCTL_E_DATA_LOSS_PREVENTED] = {"data-loss-prevented", 11},
    [-VMCTL_E_INTERNAL] = {"internal", 70},
};

static size_t code_index(int code) {
    if (code > 0 || code < VMCTL_E_INTERNAL)
        code = VMCTL_E_INTERNAL;
    return (size_t)-code;
}

const char *vmctl_code_name(int code) {
    return codes[code_index(code)].name;
}

int vmctl_code_exit_status(int code) {
    return codes[code_index(code)].exit_status;
}

/* --- reading ---------------------------------------------------------------------------------------------- */

int vmctl_error_code(const vmctl_error *err) {
    return err ? err->code : VMCTL_OK;
}

const char *vmctl_error_message(const vmctl_error *err) {
    return err && err->message ? err->message : "";
}

const char *vmctl_error_action(const vmctl_error *err) {
    return err ? err->action : NULL;
}

const char *vmctl_error_vm(const vmctl_error *err) {
    return err ? err->vm : NULL;
}

const char *vmctl_error_backend(const vmctl_error *err) {
    return err ? err->backend : NULL;
}

const char *vmctl_error_endpoint(const vmctl_error *err) {
    return err ? err->endpoint : NULL;
}

const char *vmctl_error_hypervisor_code(const vmctl_error *err) {
    return err ? err->hypervisor_code : NULL;
}

const char *vmctl_error_hypervisor_message(const vmctl_error *err) {
    return err ? err->hypervisor_message : NULL;
}

bool vmctl_error_retryable(const vmctl_error *err) {
    return err && err->retryable;
}

const char *vmctl_error_next(const vmctl_error *err) {
    return err ? err->next : NULL;
}

size_t vmctl_error_fault_count(const vmctl_error *err) {
    return err ? err->fault_count : 0;
}

const vmctl_fault *vmctl_error_fault(const vmctl_error *err, size_t index) {
    return err && index < err->fault_count ? err->faults[index] : NULL;
}

/* "vm.yaml:3:9: disks[0].size: the unit is missing" */
static void fault_text(vmc_str *s, const vmctl_fault *fault) {
    if (fault->file)
        vmc_str_printf(s, "%s:", fault->file);
    if (fault->line)
        vmc_str_printf(s, fault->file ? "%u:%u:" : "line %u, column %u:", fault->line, fault->column);
    if (fault->file || fault->line)
        vmc_str_add_char(s, ' ');
    if (fault->path)
        vmc_str_printf(s, "%s: ", fault->path);
    vmc_str_add(s, fault->message);
}

/* The hypervisor's words and the like may have several lines; those after the first are indented. */
static void add_indented(vmc_str *s, const char *text) {
    size_t length = strlen(text);
    while (length && text[length - 1] == '\n')
        length--;
    for (size_t i = 0; i < length; i++) {
        vmc_str_add_char(s, text[i]);
        if (text[i] == '\n')
            vmc_str_add(s, "    ");
    }
}

static char *error_text(const vmctl_error *err) {
    VMC_AUTO_STR s = {0};
    vmc_str_add(&s, err->action);
    if (err->backend || err->endpoint) {
        vmc_str_add(&s, err->action ? " (" : "");
        vmc_str_add(&s, err->backend);
        vmc_str_add(&s, err->backend && err->endpoint ? ", " : "");
        vmc_str_add(&s, err->endpoint);
        vmc_str_add(&s, err->action ? ")" : "");
    }
    if (s.length)
        vmc_str_add(&s, ": ");
    vmc_str_printf(&s, "%s: ", vmctl_code_name(err->code));
    add_indented(&s, vmctl_error_message(err));
    if (err->fault_count > 1 || (err->fault_count == 1 && !err->counts_faults))
        for (size_t i = 0; i < err->fault_count; i++) {
            if (i == FAULTS_SHOWN) {
                vmc_str_printf(&s, "\n  and %zu more", err->fault_count - i);
                break;
            }
            vmc_str_add(&s, "\n  ");
            fault_text(&s, err->faults[i]);
        }
    if (err->hypervisor_message || err->hypervisor_code) {
        vmc_str_add(&s, "\n  hypervisor said: ");
        if (err->hypervisor_message)
            add_indented(&s, err->hypervisor_message);
        if (err->hypervisor_code)
            vmc_str_printf(&s, err->hypervisor_message ? " (%s)" : "%s", err->hypervisor_code);
    }
    if (err->next) {
        vmc_str_add(&s, "\n  try: ");
        add_indented(&s, err->next);
    }
    return vmc_str_take(&s);
}

const char *vmctl_error_text(const vmctl_error *err) {
    if (!err)
        return "ok";
    /* The text is a cache: the object does not change for anyone who reads it. */
    vmctl_error *cache = (vmctl_error *)err;
    char *text = atomic_load(&cache->text);
    if (text)
        return text;
    char *made = error_text(err);
    if (atomic_compare_exchange_strong(&cache->text, &text, made))
        return made;
    free(made);
    return text;
}

static void fault_free(vmctl_fault *fault) {
    free((char *)fault->file);
    free((char *)fault->path);
    free((char *)fault->message);
    free(fault);
}

void vmctl_error_free(vmctl_error *err) {
    if (!err)
        return;
    free(err->message);
    free(err->action);
    free(err->vm);
    free(err->backend);
    free(err->endpoint);
    free(err->hypervisor_code);
    free(err->hypervisor_message);
    free(err->next);
    for (size_t i = 0; i < err->fault_count; i++)
        fault_free(err->faults[i]);
    free(err->faults);
    free(atomic_load(&err->text));
    free(err);
}

/* --- building --------------------------------------------------------------------------------------------- */

static void forget_text(vmctl_error *err) {
    free(atomic_exchange(&err->text, NULL));
}

/* Replaces an owned string. */
static void assign(char **field, char *value) {
    free(*field);
    *field = value;
}

/* The code of the last error that nobody wanted the object of: what is added to it returns that code all the same. */
static _Thread_local int unwanted = VMCTL_E_INTERNAL;

static int code_of(vmctl_error **err) {
    if (!err)
        return unwanted;
    return *err ? (*err)->code : VMCTL_OK;
}

static int replace(vmctl_error **err, int code, char *message) {
    vmctl_error *made = vmc_alloc(sizeof *made);
    made->code = code;
    made->message = message;
    vmctl_error_free(*err);
    *err = made;
    return code;
}

int vmc_error(vmctl_error **err, int code, const char *format, ...) {
    if (!err)
        return unwanted = code;
    va_list args;
    va_start(args, format);
    char *message = vmc_vprintf(format, args);
    va_end(args);
    return replace(err, code, message);
}

int vmc_errno_code(int errno_value) {
    switch (errno_value) {
    case ENOENT:
    case ENOTDIR:
    case ENXIO:
    case ENODEV:
        return VMCTL_E_NOT_FOUND;
    case EEXIST:
    case ENOTEMPTY:
        return VMCTL_E_ALREADY_EXISTS;
    case EACCES:
    case EPERM:
    case EROFS:
        return VMCTL_E_PERMISSION_DENIED;
    case ENOSPC:
    case EDQUOT:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case EFBIG:
        return VMCTL_E_RESOURCE_EXHAUSTED;
    case EINVAL:
    case ENAMETOOLONG:
    case EISDIR:
    case ELOOP:
        return VMCTL_E_INVALID_ARGUMENT;
    case EBUSY:
    case ETXTBSY:
        return VMCTL_E_BUSY;
    case ETIMEDOUT:
        return VMCTL_E_TIMEOUT;
    case ECANCELED:
        return VMCTL_E_CANCELLED;
    case ECONNREFUSED:
    case ECONNRESET:
    case ECONNABORTED:
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case ENETUNREACH:
    case ENETDOWN:
    case EPIPE:
    case ENOTCONN:
        return VMCTL_E_UNAVAILABLE;
    case EOPNOTSUPP:
    case ENOSYS:
        return VMCTL_E_UNSUPPORTED;
    default:
        return VMCTL_E_INTERNAL;
    }
}

int vmc_error_errno(vmctl_error **err, int errno_value, const char *format, ...) {
    int code = vmc_errno_code(errno_value);
    if (!err)
        return unwanted = code;
    va_list args;
    va_start(args, format);
    VMC_AUTO_FREE char *what = vmc_vprintf(format, args);
    va_end(args);
    char buffer[128];
    return replace(err, code, vmc_printf("%s: %s", what, strerror_r(errno_value, buffer, sizeof buffer)));
}

int vmc_error_no_memory(vmctl_error **err) {
    return vmc_error(err, VMCTL_E_RESOURCE_EXHAUSTED, "there is not enough memory");
}

int vmc_error_next(vmctl_error **err, const char *format, ...) {
    if (!err || !*err)
        return code_of(err);
    va_list args;
    va_start(args, format);
    assign(&(*err)->next, vmc_vprintf(format, args));
    va_end(args);
    forget_text(*err);
    return (*err)->code;
}

int vmc_error_hypervisor(vmctl_error **err, const char *code, const char *message) {
    if (!err || !*err)
        return code_of(err);
    assign(&(*err)->hypervisor_code, vmc_strdup(code));
    assign(&(*err)->hypervisor_message, vmc_strdup(message));
    forget_text(*err);
    return (*err)->code;
}

int vmc_error_retryable(vmctl_error **err) {
    if (!err || !*err)
        return code_of(err);
    (*err)->retryable = true;
    return (*err)->code;
}

int vmc_error_recode(vmctl_error **err, int code) {
    if (err && *err) {
        (*err)->code = code;
        forget_text(*err);
    }
    if (!err)
        unwanted = code;
    return code;
}

int vmc_error_prefix(vmctl_error **err, const char *format, ...) {
    if (!err || !*err)
        return code_of(err);
    va_list args;
    va_start(args, format);
    VMC_AUTO_FREE char *before = vmc_vprintf(format, args);
    va_end(args);
    assign(&(*err)->message, vmc_printf("%s: %s", before, vmctl_error_message(*err)));
    if ((*err)->fault_count > 1)
        (*err)->counts_faults = false;
    forget_text(*err);
    return (*err)->code;
}

int vmc_error_append(vmctl_error **err, const char *format, ...) {
    if (!err || !*err)
        return code_of(err);
    va_list args;
    va_start(args, format);
    VMC_AUTO_FREE char *after = vmc_vprintf(format, args);
    va_end(args);
    assign(&(*err)->message, vmc_printf("%s%s", vmctl_error_message(*err), after));
    forget_text(*err);
    return (*err)->code;
}

static void set_absent(char **field, const char *value) {
    if (!*field)
        *field = vmc_strdup(value);
}

void vmc_error_where(vmctl_error **err, const char *action, const char *vm, const char *backend, const char *endpoint) {
    if (!err || !*err)
        return;
    set_absent(&(*err)->action, action);
    set_absent(&(*err)->vm, vm);
    set_absent(&(*err)->backend, backend);
    set_absent(&(*err)->endpoint, endpoint);
    forget_text(*err);
}

static vmctl_fault *fault_new(const char *file, unsigned line, unsigned column, const char *path, char *message) {
    vmctl_fault *fault = vmc_alloc(sizeof *fault);
    *fault = (vmctl_fault){sizeof *fault, vmc_strdup(file), line, column, vmc_strdup(path), message};
    return fault;
}

static bool comes_after(const vmctl_fault *a, const vmctl_fault *b) {
    if (!vmc_str_eq(a->file, b->file) || !a->line || !b->line)
        return false;
    return a->line != b->line ? a->line > b->line : a->column > b->column;
}

static void fault_insert(vmctl_error *err, vmctl_fault *fault) {
    if (err->fault_count == err->fault_capacity) {
        err->fault_capacity = err->fault_capacity ? err->fault_capacity * 2 : 8;
        err->faults = vmc_realloc(err->faults, err->fault_capacity, sizeof(vmctl_fault *));
    }
    size_t at = err->fault_count++;
    for (; at > 0 && comes_after(err->faults[at - 1], fault); at--)
        err->faults[at] = err->faults[at - 1];
    err->faults[at] = fault;
}

int vmc_error_fault(vmctl_error **err, const char *file, unsigned line, unsigned column, const char *path,
                    const char *format, ...) {
    if (!err)
        return unwanted = VMCTL_E_INVALID_SPEC;
    if (!*err) {
        replace(err, VMCTL_E_INVALID_SPEC, NULL);
        (*err)->counts_faults = true;
    }
    va_list args;
    va_start(args, format);
    fault_insert(*err, fault_new(file, line, column, path, vmc_vprintf(format, args)));
    va_end(args);
    if ((*err)->counts_faults) {
        if ((*err)->fault_count == 1) {
            VMC_AUTO_STR only = {0};
            fault_text(&only, (*err)->faults[0]);
            assign(&(*err)->message, vmc_str_take(&only));
        } else {
            const char *where = (*err)->faults[0]->file;
            assign(&(*err)->message,
                   vmc_printf("%zu faults%s%s", (*err)->fault_count, where ? " in " : "", where ? where : ""));
        }
    }
    forget_text(*err);
    return (*err)->code;
}

vmctl_error *vmc_error_copy(const vmctl_error *err) {
    if (!err)
        return NULL;
    vmctl_error *copy = vmc_alloc(sizeof *copy);
    copy->code = err->code;
    copy->retryable = err->retryable;
    copy->counts_faults = err->counts_faults;
    copy->message = vmc_strdup(err->message);
    copy->action = vmc_strdup(err->action);
    copy->vm = vmc_strdup(err->vm);
    copy->backend = vmc_strdup(err->backend);
    copy->endpoint = vmc_strdup(err->endpoint);
    copy->hypervisor_code = vmc_strdup(err->hypervisor_code);
    copy->hypervisor_message = vmc_strdup(err->hypervisor_message);
    copy->next = vmc_strdup(err->next);
    for (size_t i = 0; i < err->fault_count; i++) {
        const vmctl_fault *fault = err->faults[i];
        fault_insert(copy, fault_new(fault->file, fault->line, fault->column, fault->path, vmc_strdup(fault->message)));
    }
    return copy;
}

bool vmc_outcome_unknown(int code) {
    return code == VMCTL_E_TIMEOUT || code == VMCTL_E_CANCELLED || code == VMCTL_E_UNAVAILABLE;
}

void vmc_error_move(vmctl_error **to, vmctl_error **from) {
    if (to) {
        if (*to != *from)
            vmctl_error_free(*to);
        *to = *from;
    } else {
        vmctl_error_free(*from);
    }
    *from = NULL;
}
