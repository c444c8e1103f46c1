/* What a dead process noted before it made it, taken back. */
#include "forward.h"
#include "migrate.h"
#include "plan.h"
#include "snapshot.h"

#include <string.h>

enum { UNDO_MS = 120000 };

/* vm UUID FOLDER: the VM, and the folder that was not there before it. */
static int undo_vm(virtualbox_conn *conn, const char *detail, const vmc_deadline *deadline, vmctl_error **err) {
    if (!vboxmanage_is_uuid(detail, true) || detail[36] != ' ' || detail[37] != '/')
        return vmc_error(err, VMCTL_E_INTERNAL, "the journal's entry \"vm %s\" cannot be read", detail);
    virtualbox_vm vm = {.name = (char *)vmc_path_basename(detail + 37)};
    memcpy(vm.id, detail, 36);
    vmctl_error *why = NULL;
    int code = virtualbox_power_off(conn, &vm, deadline, &why);
    if (code >= 0)
        code =
            virtualbox_say(conn, &vm, "removing the VM", deadline, NULL, &why, "unregistervm", vm.id, "--delete", NULL);
    if (code == VMCTL_E_NOT_FOUND) {
        vmctl_error_free(why);
        why = NULL;
        code = 0;
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code < 0 ? code : virtualbox_remove_tree(detail + 37, err);
}

static const struct {
    const char *kind;
    int (*undo)(virtualbox_conn *conn, const char *detail, const vmc_deadline *deadline, vmctl_error **err);
} kinds[] = {
    {"vm", undo_vm},
    {"snapshot", virtualbox_snapshot_undo},
    {"natpf", virtualbox_forward_undo},
    {"departure", virtualbox_departure_undo},
    {"arrival", virtualbox_arrival_undo},
};

int virtualbox_undo(void *conn, const char *kind, const char *detail, const vmctl_call *call, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, UNDO_MS);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i].kind, kind) == 0)
            return kinds[i].undo(conn, detail, &deadline, err);
    return vmc_error(err, VMCTL_E_INTERNAL, "the journal's entry \"%s %s\" cannot be read", kind, detail);
}
