/* A teleport whose vmctl died: whose VM it is, is told by the states. */
#include "migrate.h"

#include "plan.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ARRIVING_MS = 4000 };

/* UUID FOLDER */
static int read_detail(const char *kind, const char *detail, virtualbox_vm *vm, const char **folder,
                       vmctl_error **err) {
    if (!vboxmanage_is_uuid(detail, true) || detail[36] != ' ' || detail[37] != '/')
        return vmc_error(err, VMCTL_E_INTERNAL, "the journal's entry \"%s %s\" cannot be read", kind, detail);
    memcpy(vm->id, detail, 36);
    *folder = detail + 37;
    vm->name = (char *)vmc_path_basename(*folder);
    return 0;
}

/* Of no use to anyone once the teleport is over. */
static void remove_password(virtualbox_conn *conn, const char *folder, const vmc_deadline *deadline) {
    VMC_AUTO_FREE char *password = vmc_printf("%s/" VIRTUALBOX_PASSWORD_FILE, folder);
    vboxmanage_file_remove(conn->manage, password, deadline, NULL);
}

static int gone_is_fine(int code, vmctl_error **why, vmctl_error **err) {
    if (code == VMCTL_E_NOT_FOUND) {
        vmctl_error_free(*why);
        *why = NULL;
        return 0;
    }
    vmc_error_move(code < 0 ? err : NULL, why);
    return code < 0 ? code : 0;
}

int virtualbox_departure_undo(virtualbox_conn *conn, const char *detail, const vmc_deadline *deadline,
                              vmctl_error **err) {
    virtualbox_vm vm = {.name = NULL};
    vmctl_state state = VMCTL_STATE_UNKNOWN;
    VMC_AUTO_FREE char *native = NULL;
    const char *folder = NULL;
    vmctl_error *why = NULL;
    int code = read_detail("departure", detail, &vm, &folder, err);
    if (code < 0)
        return code;
    code = virtualbox_wait_idle(conn, &vm, deadline, &state, &native, &why);
    if (code == 0 || code == VMCTL_E_NOT_FOUND)
        remove_password(conn, folder, deadline);
    if (code == 0 && vmc_str_eq(native, "teleported"))
        code = virtualbox_depart(conn, &vm, deadline, &why);
    return gone_is_fine(code, &why, err);
}

int virtualbox_departed_undo(virtualbox_conn *conn, const char *detail, const vmc_deadline *deadline,
                             vmctl_error **err) {
    virtualbox_vm vm = {.name = NULL};
    const char *settings = NULL;
    vboxmanage_machine *machine = NULL;
    int code = read_detail("departed", detail, &vm, &settings, err);
    VMC_AUTO_FREE char *folder = code == 0 ? vmc_path_dirname(settings) : NULL;
    VMC_AUTO_FREE char *departure = code == 0 ? vmc_printf("%s %s", vm.id, folder) : NULL;
    if (code == 0)
        code = virtualbox_departure_undo(conn, departure, deadline, err);
    if (code < 0)
        return code;
    /* Its settings file goes last: as long as there is one, something may be left. */
    bool forgotten = virtualbox_load(conn, &vm, deadline, &machine, NULL) == VMCTL_E_NOT_FOUND;
    if (forgotten && vboxmanage_machine_read(conn->manage, settings, deadline, &machine, NULL) == 0 &&
        strcasecmp(machine->id, vm.id) == 0) {
        VMC_AUTO_JSON *marker = virtualbox_marker_read(machine);
        virtualbox_let_go_of_media(conn, &vm, machine, deadline);
        virtualbox_remove_left(machine, marker, deadline);
    }
    vboxmanage_machine_free(machine);
    return 0;
}

/* A VM that waits is given the time that a source needs to end what it was sending. */
static int wait_arrived(virtualbox_conn *conn, virtualbox_vm *vm, const vmc_deadline *deadline, vmctl_state *state,
                        vmctl_error **err) {
    vmc_deadline arriving = vmc_deadline_within(deadline, ARRIVING_MS);
    vmctl_error *why = NULL;
    int code = virtualbox_wait_idle(conn, vm, &arriving, state, NULL, &why);
    if (code == VMCTL_E_TIMEOUT && vmc_deadline_check(deadline, "waiting for the VM", NULL) == 0) {
        vmctl_error_free(why);
        *state = VMCTL_STATE_MIGRATING;
        return 0;
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}

int virtualbox_arrival_undo(virtualbox_conn *conn, const char *detail, const vmc_deadline *deadline,
                            vmctl_error **err) {
    virtualbox_vm vm = {.name = NULL};
    vmctl_state state = VMCTL_STATE_UNKNOWN;
    const char *folder = NULL;
    vmctl_error *why = NULL;
    int code = read_detail("arrival", detail, &vm, &folder, err);
    if (code < 0)
        return code;
    code = wait_arrived(conn, &vm, deadline, &state, &why);
    if (code == 0 && (state == VMCTL_STATE_RUNNING || state == VMCTL_STATE_PAUSED)) {
        remove_password(conn, folder, deadline);
        return 0;
    }
    if (code == 0) {
        code = virtualbox_power_off(conn, &vm, deadline, &why);
        code = code < 0 ? code : 0;
    }
    vboxmanage_machine *machine = NULL;
    if (code == 0) { /* its disks are the source's */
        (void)virtualbox_load(conn, &vm, deadline, &machine, NULL);
        code = virtualbox_unregister(conn, &vm, machine, false, deadline, &why);
    }
    vboxmanage_machine_free(machine);
    code = gone_is_fine(code, &why, err);
    return code < 0 ? code : vboxmanage_tree_remove(conn->manage, folder, deadline, err);
}
