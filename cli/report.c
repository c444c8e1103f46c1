/* Telling what went wrong: stderr and nothing else. */
#include "cli.h"
#include "tree.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static bool as_json(const cli *c) {
    return c->format == CLI_JSON || c->format == CLI_JSONL;
}

cJSON *cli_error_tree(const vmctl_error *err, const char *context) {
    cJSON *tree = cJSON_CreateObject();

    cli_put(tree, "code", vmctl_code_name(vmctl_error_code(err)));
    cli_put(tree, "message", vmctl_error_message(err));
    cli_put(tree, "action", vmctl_error_action(err));
    cli_put(tree, "vm", vmctl_error_vm(err));
    cli_put(tree, "backend", vmctl_error_backend(err));
    cli_put(tree, "endpoint", vmctl_error_endpoint(err));
    cli_put(tree, "context", context);
    if (vmctl_error_hypervisor_message(err) || vmctl_error_hypervisor_code(err)) {
        cJSON *hypervisor = cJSON_AddObjectToObject(tree, "hypervisor");
        cli_put(hypervisor, "code", vmctl_error_hypervisor_code(err));
        cli_put(hypervisor, "message", vmctl_error_hypervisor_message(err));
    }
    cJSON_AddBoolToObject(tree, "retryable", vmctl_error_retryable(err));
    cli_put(tree, "next", vmctl_error_next(err));
    if (vmctl_error_fault_count(err)) {
        cJSON *faults = cJSON_AddArrayToObject(tree, "faults");
        for (size_t i = 0; i < vmctl_error_fault_count(err); i++) {
            const vmctl_fault *f = vmctl_error_fault(err, i);
            cJSON *fault = cJSON_CreateObject();
            cli_put(fault, "file", f->file);
            if (f->line)
                cli_put_number(fault, "line", f->line);
            if (f->column)
                cli_put_number(fault, "column", f->column);
            cli_put(fault, "path", f->path);
            cli_put(fault, "message", f->message);
            cJSON_AddItemToArray(faults, fault);
        }
    }
    return tree;
}

static void print_line(const char *text) {
    CLI_AUTO_FREE char *safe = cli_printable(text);
    cli_stderr_lock();
    fputs(safe, stderr);
    fputc('\n', stderr);
    fflush(stderr);
    cli_stderr_unlock();
}

/* {"error": ...}; the tree is consumed. */
static void print_json(cJSON *error) {
    cJSON *tree = cJSON_CreateObject();
    cJSON_AddItemToObject(tree, "error", error);
    CLI_AUTO_FREE char *text = cJSON_PrintUnformatted(tree);
    cJSON_Delete(tree);
    if (text)
        print_line(text);
}

int cli_report(cli *c, vmctl_error *err, const char *context) {
    int status = vmctl_code_exit_status(vmctl_error_code(err));

    if (as_json(c)) {
        print_json(cli_error_tree(err, context));
    } else {
        CLI_AUTO_FREE char *text = cli_printf("vmctl: %s", vmctl_error_text(err));
        print_line(text);
    }
    vmctl_error_free(err);
    return status ? status : 70;
}

int cli_fail(cli *c, int code, const char *next, const char *format, ...) {
    CLI_AUTO_FREE char *message = NULL;
    va_list args;

    va_start(args, format);
    int n = vasprintf(&message, format, args);
    va_end(args);
    if (n < 0)
        message = NULL;
    if (as_json(c)) {
        cJSON *tree = cJSON_CreateObject();
        cli_put(tree, "code", vmctl_code_name(code));
        cli_put(tree, "message", message);
        cJSON_AddBoolToObject(tree, "retryable", false);
        cli_put(tree, "next", next);
        print_json(tree);
    } else {
        CLI_AUTO_FREE char *text = cli_printf("vmctl: %s: %s%s%s", vmctl_code_name(code), message ? message : "",
                                              next ? "\n  try: " : "", next ? next : "");
        print_line(text);
    }
    return vmctl_code_exit_status(code);
}

/* What was said of one VM needs not be said of the next in the same words. */
static bool said_before(const char *text) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static uint64_t said[64];
    static size_t count;
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    bool found = false;

    for (const char *at = text; *at; at++)
        hash = (hash ^ (unsigned char)*at) * 1099511628211u;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < count && !found; i++)
        found = said[i] == hash;
    if (!found && count < sizeof said / sizeof *said)
        said[count++] = hash;
    pthread_mutex_unlock(&lock);
    return found;
}

void cli_note(cli *c, vmctl_note_level level, const char *text) {
    if ((c->quiet && level != VMCTL_NOTE_WARNING) || (text && said_before(text)))
        return;
    CLI_AUTO_FREE char *line =
        cli_printf("vmctl: %s: %s", level == VMCTL_NOTE_WARNING ? "warning" : "note", text ? text : "");
    print_line(line);
}

int cli_status_of_many(const int *statuses, size_t count) {
    int first = count ? statuses[0] : 0;
    bool mixed = false;

    for (size_t i = 0; i < count; i++) {
        if (statuses[i] == 130)
            return 130;
        mixed = mixed || statuses[i] != first;
    }
    return mixed ? 10 : first;
}
