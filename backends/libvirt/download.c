/* backends/libvirt/download.c - a volume's bytes into a local file, through a stream of the daemon. */
#include "ops.h"

#include "base/file.h"
#include "rpc.h"
#include "storage.h"
#include "xpath.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { CHUNK = 1 << 20, ABORT_MS = 5000, HOLE = -3 };

/* volume and flags -> stream */
static int work_begin(libvirt_rpc *rpc) {
    rpc->stream = virStreamNew(rpc->virt, 0);
    if (!rpc->stream)
        return -1;
    rpc->streaming = virStorageVolDownload(rpc->volume, rpc->stream, 0, 0, rpc->flags) == 0;
    return rpc->streaming ? 0 : -1;
}

/* -> length of bytes, or number of a hole's; neither: the end */
static int work_receive(libvirt_rpc *rpc) {
    long long hole = 0;
    rpc->number = 0;
    rpc->length = 0;
    int n = virStreamRecvFlags(rpc->stream, rpc->bytes, CHUNK, rpc->flags ? VIR_STREAM_RECV_STOP_AT_HOLE : 0);
    if (n == HOLE) {
        if (virStreamRecvHole(rpc->stream, &hole, 0) < 0)
            return -1;
        rpc->number = (unsigned long long)hole;
        return 0;
    }
    rpc->length = n > 0 ? (size_t)n : 0;
    return n < 0 ? -1 : 0;
}

/* volume -> number (allocation in bytes) and length (capacity); the stream of a qcow2 file has as many as the file */
static int work_size(libvirt_rpc *rpc) {
    virStorageVolInfo info;
    if (virStorageVolGetInfoFlags(rpc->volume, &info, VIR_STORAGE_VOL_GET_PHYSICAL) < 0)
        return -1;
    rpc->number = info.allocation;
    return 0;
}

static int write_all(int fd, const char *path, const char *bytes, size_t length, uint64_t at, vmctl_error **err) {
    for (size_t done = 0; done < length;) {
        ssize_t n = pwrite(fd, bytes + done, length - done, (off_t)(at + done));
        if (n < 0 && errno != EINTR)
            return vmc_error_errno(err, errno, "cannot write %s", path);
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static int receive(libvirt_conn *conn, libvirt_rpc *rpc, int fd, const char *path, const char *vm, const char *stage,
                   uint64_t total, const vmc_deadline *deadline, vmctl_error **err) {
    uint64_t at = 0;
    while (true) {
        int code = libvirt_rpc_run(conn, deadline, stage, work_receive, rpc, err);
        if (code == 0 && !rpc->length && !rpc->number)
            break;
        if (code == 0)
            code = write_all(fd, path, rpc->bytes, rpc->length, at, err);
        at += rpc->length + rpc->number;
        if (code == 0)
            code = vmc_progress(deadline, vm, stage, NULL, VMCTL_UNIT_BYTES, at, total > at ? total : at, err);
        if (code == 0)
            code = vmc_deadline_check(deadline, stage, err);
        if (code < 0)
            return code;
    }
    if (ftruncate(fd, (off_t)at) < 0 || fsync(fd) < 0) /* a hole at the end */
        return vmc_error_errno(err, errno, "cannot write %s", path);
    return 0;
}

int libvirt_download(libvirt_conn *conn, virStorageVolPtr volume, const char *path, const char *vm, const char *stage,
                     const vmc_deadline *deadline, vmctl_error **err) {
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    virStorageVolRef(volume);
    rpc->volume = volume;
    int code = libvirt_rpc_run(conn, deadline, "asking for the volume's size", work_size, rpc, err);
    if (code < 0)
        return code;
    uint64_t total = rpc->number;
    VMC_AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return vmc_error_errno(err, errno, "cannot make %s", path);
    rpc->bytes = vmc_alloc(CHUNK);
    rpc->flags = VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM;
    code = libvirt_rpc_run(conn, deadline, stage, work_begin, rpc, err);
    if (code < 0)
        return code;
    code = receive(conn, rpc, fd, path, vm, stage, total, deadline, err);
    if (code == 0)
        return libvirt_rpc_run(conn, deadline, stage, libvirt_rpc_stream_finish, rpc, err);
    vmc_deadline patient = {.at_ms = vmc_now_ms() + ABORT_MS};
    vmctl_error *ignored = NULL;
    libvirt_rpc_run(conn, &patient, "ending the transfer", libvirt_rpc_stream_abort, rpc, &ignored);
    vmctl_error_free(ignored);
    return code;
}

/* --- the slot ------------------------------------------------------------------------------------------------- */

int libvirt_image_download(void *conn, const char *name, const char *path, const vmctl_call *call, vmc_journal *journal,
                           vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, -1);
    LIBVIRT_AUTO_RPC *held = libvirt_rpc_new(conn); /* releases the volume */
    VMC_AUTO_FREE char *xml = NULL;
    int code = libvirt_volume_find(conn, name, &deadline, &held->volume, &xml, err);
    if (code == 0 && !xml) {
        vmc_error(err, VMCTL_E_NOT_FOUND, "there is no image %s", name);
        return vmc_error_next(err, "vmctl image list shows those there are");
    }
    if (code < 0)
        return code;
    VMC_AUTO_FREE char *backing = libvirt_xpath_text(xml, "/volume/backingStore/path");
    if (backing && *backing)
        vmc_note(&deadline, VMCTL_NOTE_WARNING, "%s holds only what differs from %s, which it needs beside it", name,
                 backing);
    VMC_AUTO_FREE char *folder = vmc_path_dirname(path);
    VMC_AUTO_FREE char *unfinished = vmc_unfinished_name(folder, vmc_path_basename(path));
    VMC_AUTO_FREE char *absolute = vmc_path_absolute(NULL, unfinished); /* whoever undoes it may be in another folder */
    VMC_AUTO_FREE char *stage = vmc_printf("downloading %s", name);
    code = vmc_journal_add(journal, "file", absolute, NULL, err);
    if (code == 0)
        code = libvirt_download(conn, held->volume, absolute, NULL, stage, &deadline, err);
    if (code == 0 && vmc_file_place(absolute, path) < 0)
        code = vmc_error_errno(err, errno, "cannot make %s", path);
    return code;
}
