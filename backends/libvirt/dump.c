/* The memory of a domain that runs, as an ELF core file. Source: virDomainCoreDumpWithFormat, VIR_DUMP_MEMORY_ONLY; libvirt.org, "virsh dump". */
#include "ops.h"
#include "rpc.h"

#include "base/file.h"
#include "base/journal.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int libvirt_dump_check(libvirt_conn *conn, const libvirt_vm *vm, const vmc_deadline *deadline, vmctl_error **err) {
    int state = 0;
    int reason = 0;
    if (!conn->local || conn->test_driver) {
        vmc_error(err, VMCTL_E_UNSUPPORTED, "libvirt writes a memory dump on its own host only, and sends it nowhere");
        return vmc_error_next(err, "run vmctl dump on that host");
    }
    if (!conn->session && geteuid() != 0) {
        vmc_error(err, VMCTL_E_UNSUPPORTED,
                  "the system's libvirt writes a memory dump as root, and only root reads it");
        return vmc_error_next(err, "run vmctl dump as root, or run the VM on qemu:///session");
    }
    int code = libvirt_vm_state(conn, vm, deadline, &state, &reason, err);
    if (code < 0 || (state != VIR_DOMAIN_SHUTOFF && state != VIR_DOMAIN_CRASHED && state != VIR_DOMAIN_SHUTDOWN))
        return code;
    vmc_error(err, VMCTL_E_INVALID_STATE, "%s does not run: it has no memory", vm->name);
    return vmc_error_next(err, "vmctl start %s", vm->name);
}

/* domain and name (the file). The CPUs stand still meanwhile, so that the memory is of one moment, and go on. */
static int work_dump(libvirt_rpc *rpc) {
    return virDomainCoreDumpWithFormat(rpc->domain, rpc->name, VIR_DOMAIN_CORE_DUMP_FORMAT_RAW, VIR_DUMP_MEMORY_ONLY);
}

int libvirt_dump(void *opaque, void *handle, const char *path, vmc_journal *journal, const vmctl_call *call,
                 vmctl_error **err) {
    libvirt_conn *conn = opaque;
    const libvirt_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(call, -1);
    VMC_AUTO_FREE char *target = vmc_path_absolute(NULL, path);
    VMC_AUTO_FREE char *folder = vmc_path_dirname(target);
    VMC_AUTO_FREE char *unfinished = vmc_unfinished_name(folder, vmc_path_basename(target));
    int code = libvirt_dump_check(conn, vm, &deadline, err);
    if (code == 0 && access(folder, W_OK) < 0)
        code = vmc_error_errno(err, errno, "cannot make %s", path);
    if (code == 0)
        code = vmc_journal_add(journal, "file", unfinished, NULL, err);
    if (code < 0)
        return code;
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    virDomainRef(vm->domain);
    rpc->domain = vm->domain;
    rpc->name = vmc_strdup(unfinished);
    code = libvirt_rpc_run(conn, &deadline, "writing the memory", work_dump, rpc, err);
    if (vmc_outcome_unknown(code)) /* QEMU gives no such dump up */
        vmc_error_append(err, "; libvirt goes on with it, and %s stands still until it is through", vm->name);
    if (code == 0 && chmod(unfinished, S_IRUSR | S_IWUSR) < 0)
        code = vmc_error_errno(err, errno, "cannot read what libvirt wrote");
    if (code == 0 && vmc_file_place(unfinished, target) < 0)
        code = vmc_error_errno(err, errno, "cannot make %s", path);
    return code;
}
