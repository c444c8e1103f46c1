/* The two ways into a guest. */
#include "guest_via.h"

#include <string.h>

bool cli_guest_ssh(const cli *c, const vmctl_error *err) {
    const char *via = cli_text(&c->args, "via", NULL);

    if (via)
        return strcmp(via, "ssh") == 0;
    /* no channel, or an agent that is not connected: unlike one that hangs, or file systems that are frozen */
    return err && (vmctl_error_code(err) == VMCTL_E_UNSUPPORTED ||
                   (vmctl_error_code(err) == VMCTL_E_INVALID_STATE && vmctl_error_retryable(err)));
}

int cli_guest_way(cli *c, vmctl_vm *vm, cli_way *way, vmctl_error **err) {
    vmctl_error *why = NULL;

    if (cli_way_find(c, vm, way, *err ? &why : err) < 0) {
        vmctl_error_free(why);
        return 0;
    }
    if (!way->host)
        return *err ? 0 : cli_way_missing(c, vm);
    if (*err) {
        CLI_AUTO_FREE char *text = cli_printf("%s; by ssh then", vmctl_error_message(*err));
        cli_note(c, VMCTL_NOTE_INFO, text);
        vmctl_error_free(*err);
        *err = NULL;
    }
    return 0;
}
