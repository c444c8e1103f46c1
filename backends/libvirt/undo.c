/* backends/libvirt/undo.c - takes back one thing that a journal notes; a thing that is not there is success.
 *
 *   file PATH                  an unfinished file under a name of its own
 *   inode DEVICE:NUMBER PATH   a finished file, and nothing else that has its name by now
 *   volume TOKEN:SECONDS POOL/NAME   made by the daemon (storage.h), unless a VM uses it by now or it was written to since
 *   added, added-volume        the same two; the file too, unless a VM uses it by now: for a change of a VM that stays
 *   domain UUID NAME           by the UUID that was chosen before it was defined
 *   log PATH                   what the host writes as soon as the domain starts
 *   snapshot, freeze, stale-save   see snapshot.h
 *   moving, arriving           a migration from or to here; see migrate.h
 *   channel UUID NAME          a serial port for a copy into or out of the guest
 *   hostfwd UUID NETDEV RULE   a port forward of QEMU's user networking
 */
#include "guest_channel.h"
#include "guest_forward.h"
#include "ops.h"

#include "migrate.h"
#include "rpc.h"
#include "snapshot.h"
#include "storage.h"
#include "xpath.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { UNDO_MS = 60000, VOLUME_TRIES = 20, VOLUME_PAUSE_MS = 100 };
enum { ALIVE_S = 120 }; /* a volume is noted anew every half a minute while it is filled; and the clocks of two hosts */

static int undo_file(const char *path, vmctl_error **err) {
    if (unlink(path) == 0 || errno == ENOENT || errno == ENOTDIR)
        return 0;
    return vmc_error_errno(err, errno, "cannot remove %s", path);
}

static int is_used(libvirt_conn *conn, const char *path, const vmc_deadline *deadline, bool *used, vmctl_error **err) {
    VMC_AUTO_STRV users = {0};
    int code = libvirt_path_users(conn, path, NULL, deadline, &users, NULL, err);
    *used = users.count > 0;
    return code;
}

static int undo_inode(libvirt_conn *conn, const char *detail, bool keep_used, const vmc_deadline *deadline,
                      vmctl_error **err) {
    unsigned long long device = 0;
    unsigned long long number = 0;
    const char *path = strchr(detail, ' ');
    struct stat st;
    if (!path || sscanf(detail, "%llu:%llu ", &device, &number) != 2)
        return vmc_error(err, VMCTL_E_INTERNAL, "the journal's entry \"inode %s\" cannot be read", detail);
    path++;
    if (lstat(path, &st) < 0 || st.st_dev != device || st.st_ino != number)
        return 0;
    bool gone = false;
    bool used = false;
    int code = keep_used ? is_used(conn, path, deadline, &used, err) : 0;
    return code < 0 || used ? code : libvirt_remove_path(conn, path, deadline, &gone, err);
}

/* text (pool) and name; an inactive pool has no volumes to speak of. A stream of the dead process may hold the volume for a moment. */
static int work_undo_volume(libvirt_rpc *rpc) {
    rpc->pool = virStoragePoolLookupByName(rpc->virt, rpc->text);
    if (!rpc->pool)
        return libvirt_rpc_absent(rpc, VIR_ERR_NO_STORAGE_POOL);
    rpc->volume = virStorageVolLookupByName(rpc->pool, rpc->name);
    if (!rpc->volume)
        return libvirt_rpc_absent(rpc, VIR_ERR_NO_STORAGE_VOL);
    for (int i = 0; i < VOLUME_TRIES; i++) {
        if (virStorageVolDelete(rpc->volume, 0) == 0)
            return 0;
        if (virGetLastErrorCode() != VIR_ERR_OPERATION_INVALID)
            break;
        usleep(VOLUME_PAUSE_MS * 1000);
    }
    return -1;
}

/* Whether it is still what the journal means: somebody may have removed that one and made another of its name. A VM that has it is not the
 * journal's, whose VM was undone before; and nobody but the dead process wrote to it, up to about when that died. */
static int is_ours(libvirt_conn *conn, const char *volume, bool own, int64_t seconds, const vmc_deadline *deadline,
                   bool *ours, vmctl_error **err) {
    VMC_AUTO_FREE char *xml = NULL;
    *ours = false;
    int code = libvirt_volume_find(conn, volume, deadline, NULL, &xml, err);
    VMC_AUTO_FREE char *path = xml ? libvirt_xpath_text(xml, "/volume/target/path") : NULL;
    VMC_AUTO_FREE char *written = xml ? libvirt_xpath_text(xml, "/volume/target/timestamps/mtime") : NULL;
    if (code < 0 || !path)
        return code;
    bool used = false;
    code = is_used(conn, path, deadline, &used, err);
    bool later = !own && seconds && written && strtoll(written, NULL, 10) > seconds + ALIVE_S;
    *ours = code == 0 && !used && !later;
    if (later && !used)
        vmc_note(deadline, VMCTL_NOTE_WARNING,
                 "the volume %s stays: it was written to after the command that may have made it had died", volume);
    return code;
}

static int undo_volume(libvirt_conn *conn, const char *detail, const vmc_deadline *deadline, vmctl_error **err) {
    bool own = false, ours = false;
    int64_t seconds = 0;
    const char *volume = libvirt_volume_note_read(detail, &own, &seconds);
    const char *slash = strchr(volume, '/');
    if (!slash)
        return vmc_error(err, VMCTL_E_INTERNAL, "the journal's entry \"volume %s\" cannot be read", detail);
    int code = is_ours(conn, volume, own, seconds, deadline, &ours, err);
    if (code < 0 || !ours)
        return code;
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    rpc->text = vmc_strndup(volume, (size_t)(slash - volume));
    rpc->name = vmc_strdup(slash + 1);
    return libvirt_rpc_run(conn, deadline, "removing the volume", work_undo_volume, rpc, err);
}

int libvirt_undefine(virDomainPtr domain) {
    const unsigned least = VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA;
    const unsigned all = least | VIR_DOMAIN_UNDEFINE_NVRAM | VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA;
    if (virDomainUndefineFlags(domain, all) == 0)
        return 0;
    if (virGetLastErrorCode() != VIR_ERR_INVALID_ARG) /* a driver that has no variable stores refuses to be asked */
        return -1;
    return virDomainUndefineFlags(domain, least);
}

/* name (UUID) */
static int work_undo_domain(libvirt_rpc *rpc) {
    rpc->domain = virDomainLookupByUUIDString(rpc->virt, rpc->name);
    if (!rpc->domain)
        return libvirt_rpc_absent(rpc, VIR_ERR_NO_DOMAIN);
    if (virDomainIsActive(rpc->domain) == 1 && virDomainDestroy(rpc->domain) < 0 &&
        virGetLastErrorCode() != VIR_ERR_OPERATION_INVALID)
        return -1;
    if (libvirt_undefine(rpc->domain) == 0)
        return 0;
    return libvirt_rpc_absent(rpc, VIR_ERR_NO_DOMAIN);
}

static int undo_domain(libvirt_conn *conn, const char *detail, const vmc_deadline *deadline, vmctl_error **err) {
    const char *space = strchr(detail, ' ');
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    rpc->name = space ? vmc_strndup(detail, (size_t)(space - detail)) : vmc_strdup(detail);
    return libvirt_rpc_run(conn, deadline, "removing the domain", work_undo_domain, rpc, err);
}

int libvirt_undo(void *conn_, const char *kind, const char *detail, const vmctl_call *call, vmctl_error **err) {
    libvirt_conn *conn = conn_;
    vmc_deadline deadline = vmc_deadline_start(call, UNDO_MS);
    if (strcmp(kind, "file") == 0)
        return undo_file(detail, err);
    int code = libvirt_conn_renew(conn, &deadline, err);
    if (code < 0)
        return code;
    bool added = vmc_starts_with(kind, "added");
    if (strcmp(kind, "inode") == 0 || strcmp(kind, "added") == 0)
        return undo_inode(conn, detail, added, &deadline, err);
    if (strcmp(kind, "volume") == 0 || strcmp(kind, "added-volume") == 0)
        return undo_volume(conn, detail, &deadline, err);
    if (strcmp(kind, "domain") == 0)
        return undo_domain(conn, detail, &deadline, err);
    if (strcmp(kind, "snapshot") == 0)
        return libvirt_snapshot_undo(conn, detail, &deadline, err);
    if (strcmp(kind, "freeze") == 0)
        return libvirt_thaw_undo(conn, detail, &deadline, err);
    if (strcmp(kind, "stale-save") == 0)
        return libvirt_stale_save_undo(conn, detail, &deadline, err);
    if (strcmp(kind, LIBVIRT_NOTE_MOVING) == 0 || strcmp(kind, LIBVIRT_NOTE_ARRIVING) == 0)
        return libvirt_migrate_settle(conn, strcmp(kind, LIBVIRT_NOTE_ARRIVING) == 0, detail, &deadline, err);
    if (strcmp(kind, "log") == 0)
        return libvirt_remove_log(conn, detail, &deadline, NULL, err);
    if (strcmp(kind, "channel") == 0)
        return libvirt_guest_channel_undo(conn, detail, &deadline, err);
    if (strcmp(kind, "hostfwd") == 0)
        return libvirt_guest_forward_undo(conn, detail, &deadline, err);
    return vmc_error(err, VMCTL_E_INTERNAL, "the journal's entry \"%s %s\" is of an unknown kind", kind, detail);
}
