/* The faults of a text: gathered while it is read, told at once. */
#include "base/error.h"
#include "spec_internal.h"

#include <stdlib.h>

static void add(vmc_faults *faults, unsigned line, unsigned column, const char *path, char *message) {
    if (faults->count == VMC_SPEC_FAULT_LIMIT) {
        faults->more = true;
        free(message);
        return;
    }
    faults->items = vmc_realloc(faults->items, faults->count + 1, sizeof *faults->items);
    faults->items[faults->count++] = (vmc_fault){line, column, vmc_strdup(path), message};
}

void vmc_faults_add(vmc_faults *faults, unsigned line, unsigned column, const char *path, const char *format, ...) {
    va_list args;
    va_start(args, format);
    add(faults, line, column, path, vmc_vprintf(format, args));
    va_end(args);
}

void vmc_faults_add_node(vmc_faults *faults, const vmctl_node *node, const char *format, ...) {
    VMC_AUTO_FREE char *path = vmc_node_index_path(node);
    va_list args;
    va_start(args, format);
    add(faults, node ? node->line : 0, node ? node->column : 0, path && *path ? path : NULL, vmc_vprintf(format, args));
    va_end(args);
}

int vmc_faults_end(vmc_faults *faults, vmctl_error **err) {
    int code = 0;
    VMC_AUTO_FREE vmc_fault *items = faults->items;
    vmctl_error *told = NULL;
    for (size_t i = 0; i < faults->count; i++) {
        const char *file = items[i].line ? faults->file : NULL;
        code = vmc_error_fault(&told, file, items[i].line, items[i].column, items[i].path, "%s", items[i].message);
        free(items[i].path);
        free(items[i].message);
    }
    if (faults->more)
        vmc_error_next(&told, "correct these first: there are more than %d faults", VMC_SPEC_FAULT_LIMIT);
    faults->items = NULL;
    faults->count = 0;
    if (told)
        vmc_error_move(err, &told);
    return code;
}
