/* backends/libvirt/snapshot_delete.c - deleting snapshots, one after the other. */
#include "ops.h"
#include "rpc.h"
#include "snapshot.h"
#include <stdlib.h>
#include <string.h>

/* snapshot; somebody else may have been faster */
static int work_delete(libvirt_rpc *rpc) {
    int code = virDomainSnapshotDelete(rpc->snapshot, 0);
    return code < 0 ? libvirt_rpc_absent(rpc, VIR_ERR_NO_DOMAIN_SNAPSHOT) : 0;
}

static int delete_one(const libvirt_snapshot_scene *scene, const libvirt_snapshot *snapshot, vmctl_error **err) {
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(scene->conn);
    virDomainSnapshotRef(snapshot->handle);
    rpc->snapshot = snapshot->handle;
    return libvirt_rpc_run(scene->conn, scene->deadline, "deleting the snapshot", work_delete, rpc, err);
}

/* Children before parents, each a whole step: whoever is interrupted has a tree that is smaller and otherwise the same. */
static int delete_all(const libvirt_snapshot_scene *scene, const bool *gone, vmctl_error **err) {
    size_t total = 0, done = 0;
    VMC_AUTO_STRV deleted = {0};
    int code = 0;
    for (size_t i = 0; i < scene->snapshots.count; i++)
        total += gone[i];
    for (size_t i = scene->snapshots.count; code == 0 && i-- > 0;) {
        const libvirt_snapshot *snapshot = &scene->snapshots.items[i];
        if (!gone[i])
            continue;
        VMC_AUTO_FREE char *stage = vmc_printf("deleting snapshot %s", snapshot->name);
        code = vmc_progress(scene->deadline, scene->vm->name, stage, NULL, VMCTL_UNIT_ITEMS, done, total, err);
        if (code == 0)
            code = delete_one(scene, snapshot, err);
        if (code < 0)
            break;
        vmc_strv_add(&deleted, snapshot->name);
        done++;
    }
    if (code < 0 && total > 1) {
        VMC_AUTO_FREE char *names = vmc_strv_join(&deleted, ", ");
        vmc_error_append(err, "; %zu of %zu were deleted%s%s", done, total, done ? ": " : "", names);
    }
    return code;
}

int libvirt_snapshot_delete(void *conn, void *vm, const char *name, const vmctl_snapshot_delete_options *options,
                            vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(options->call, -1);
    libvirt_snapshot_scene scene = {0};
    int code = libvirt_snapshot_ask(conn, vm, 0, &deadline, &scene, err);
    const libvirt_snapshot *snapshot =
        code < 0 ? NULL : libvirt_snapshots_find(&scene.snapshots, scene.vm->name, name, err);
    if (code == 0 && !snapshot)
        code = VMCTL_E_NOT_FOUND;
    bool *gone = vmc_alloc((scene.snapshots.count + 1) * sizeof *gone);
    for (size_t i = 0; code == 0 && i < scene.snapshots.count; i++)
        gone[i] =
            &scene.snapshots.items[i] == snapshot ||
            (options->children && libvirt_snapshots_descends(&scene.snapshots, &scene.snapshots.items[i], snapshot));
    if (code == 0)
        code = libvirt_snapshot_check_idle(&scene, err);
    for (size_t i = 0; code == 0 && i < scene.snapshots.count; i++)
        if (gone[i])
            code = libvirt_snapshot_check_delete(&scene, &scene.snapshots.items[i], gone, err);
    if (code == 0)
        code = delete_all(&scene, gone, err);
    free(gone);
    libvirt_snapshot_scene_free(&scene);
    return code;
}
