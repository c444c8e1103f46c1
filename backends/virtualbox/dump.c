/* The memory of a VM that runs, as an ELF core file. Source: the user manual, "VBoxManage debugvm", dumpvmcore. */
#include "snapshot.h"

#include "base/file.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

int virtualbox_dump_check(const virtualbox_vm *vm, vmctl_state state, vmctl_error **err) {
    if (state == VMCTL_STATE_RUNNING || state == VMCTL_STATE_PAUSED)
        return 0;
    vmc_error(err, VMCTL_E_INVALID_STATE, "%s does not run: it has no memory", vm->name);
    return vmc_error_next(err, "vmctl start %s", vm->name);
}

static int write_core(const char *path, void *user, vmctl_error **err) {
    const virtualbox_scene *scene = user;
    VMC_AUTO_FREE char *option = vmc_printf("--filename=%s", path);
    return virtualbox_say(scene->conn, scene->vm, "writing the memory", scene->deadline, NULL, err, "debugvm",
                          scene->vm->id, "dumpvmcore", option, NULL);
}

int virtualbox_dump(void *conn, void *vm, const char *path, vmc_journal *journal, const vmctl_call *call,
                    vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, -1);
    VIRTUALBOX_AUTO_SCENE scene = {0};
    VMC_AUTO_FREE char *target = vmc_path_absolute(NULL, path);
    VMC_AUTO_FREE char *folder = vmc_path_dirname(target);
    VMC_AUTO_FREE char *unfinished = vmc_unfinished_name(folder, vmc_path_basename(target));
    int code = virtualbox_look(conn, vm, &deadline, &scene, err);
    if (code == 0)
        code = virtualbox_dump_check(vm, scene.state, err);
    if (code == 0 && access(folder, W_OK) < 0)
        code = vmc_error_errno(err, errno, "cannot make %s", path);
    if (code == 0)
        code = vmc_journal_add(journal, "file", unfinished, NULL, err);
    if (code == 0)
        code = virtualbox_make_here(conn, scene.machine->folder, "memory.core", unfinished, write_core, &scene,
                                    &deadline, err);
    if (code == 0 && vmc_file_place(unfinished, target) < 0)
        code = vmc_error_errno(err, errno, "cannot make %s", path);
    return code;
}
