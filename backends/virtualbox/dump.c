/* The memory of a VM that runs, as an ELF core file. Source: the user manual, "VBoxManage debugvm", dumpvmcore. */
#include "snapshot.h"

#include "base/file.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

int virtualbox_dump_check(const virtualbox_conn *conn, const virtualbox_vm *vm, vmctl_state state, vmctl_error **err) {
    int code = virtualbox_check_here(conn, "vmctl dump", err);
    if (code < 0 || state == VMCTL_STATE_RUNNING || state == VMCTL_STATE_PAUSED)
        return code;
    vmc_error(err, VMCTL_E_INVALID_STATE, "%s does not run: it has no memory", vm->name);
    return vmc_error_next(err, "vmctl start %s", vm->name);
}

int virtualbox_dump(void *opaque, void *handle, const char *path, vmc_journal *journal, const vmctl_call *call,
                    vmctl_error **err) {
    virtualbox_conn *conn = opaque;
    const virtualbox_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(call, -1);
    vmctl_state state = VMCTL_STATE_UNKNOWN;
    VMC_AUTO_FREE char *target = vmc_path_absolute(NULL, path);
    VMC_AUTO_FREE char *folder = vmc_path_dirname(target);
    VMC_AUTO_FREE char *unfinished = vmc_unfinished_name(folder, vmc_path_basename(target));
    int code = virtualbox_ask_state(conn, vm, &deadline, &state, NULL, err);
    if (code == 0)
        code = virtualbox_dump_check(conn, vm, state, err);
    if (code == 0 && access(folder, W_OK) < 0)
        code = vmc_error_errno(err, errno, "cannot make %s", path);
    if (code == 0)
        code = vmc_journal_add(journal, "file", unfinished, NULL, err);
    VMC_AUTO_FREE char *option = vmc_printf("--filename=%s", unfinished);
    if (code == 0)
        code = virtualbox_say(conn, vm, "writing the memory", &deadline, NULL, err, "debugvm", vm->id, "dumpvmcore",
                              option, NULL);
    if (code == 0 && vmc_file_place(unfinished, target) < 0)
        code = vmc_error_errno(err, errno, "cannot make %s", path);
    return code;
}
