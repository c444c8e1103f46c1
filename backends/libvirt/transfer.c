/* backends/libvirt/transfer.c - the bytes of a local file, of memory or of another volume into a volume, through streams of the daemons. */
#include "migrate.h"
#include "storage.h"

#include "base/file.h"
#include "rpc.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 1 << 20 };

/* volume, number (bytes in all) and flags -> stream */
static int work_begin(libvirt_rpc *rpc) {
    rpc->stream = virStreamNew(rpc->virt, 0);
    if (!rpc->stream)
        return -1;
    rpc->streaming = virStorageVolUpload(rpc->volume, rpc->stream, 0, rpc->number, rpc->flags) == 0;
    return rpc->streaming ? 0 : -1;
}

/* bytes and length */
static int work_send(libvirt_rpc *rpc) {
    for (size_t done = 0; done < rpc->length;) {
        int n = virStreamSend(rpc->stream, rpc->bytes + done, rpc->length - done);
        if (n < 0)
            return -1;
        done += (size_t)n;
    }
    return 0;
}

/* number (bytes) */
static int work_hole(libvirt_rpc *rpc) {
    return virStreamSendHole(rpc->stream, (long long)rpc->number, 0);
}

typedef struct upload {
    libvirt_conn *conn;
    const vmc_deadline *deadline;
    libvirt_rpc *rpc;
    const libvirt_file *file;
    const char *vm;
    char *stage;
    uint64_t total;
    uint64_t done;
} upload;

static int advance(upload *up, uint64_t bytes, vmctl_error **err) {
    up->done += bytes;
    int code =
        vmc_progress(up->deadline, up->vm, up->stage, up->file->device, VMCTL_UNIT_BYTES, up->done, up->total, err);
    if (code >= 0)
        code = libvirt_volume_note_renew(up->file, err);
    return code < 0 ? code : vmc_deadline_check(up->deadline, up->stage, err);
}

static int send_range(upload *up, int fd, uint64_t end, vmctl_error **err) {
    while (up->done < end) {
        size_t want = end - up->done < CHUNK ? (size_t)(end - up->done) : CHUNK;
        ssize_t n = pread(fd, up->rpc->bytes, want, (off_t)up->done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return vmc_error_errno(err, n < 0 ? errno : EIO, "cannot read %s", up->file->source);
        up->rpc->length = (size_t)n;
        int code = libvirt_rpc_run(up->conn, up->deadline, up->stage, work_send, up->rpc, err);
        if (code == 0)
            code = advance(up, (uint64_t)n, err);
        if (code < 0)
            return code;
    }
    return 0;
}

static int send_hole(upload *up, uint64_t end, vmctl_error **err) {
    if (end <= up->done)
        return 0;
    up->rpc->number = end - up->done;
    int code = libvirt_rpc_run(up->conn, up->deadline, up->stage, work_hole, up->rpc, err);
    return code < 0 ? code : advance(up, end - up->done, err);
}

static int send_file(upload *up, int fd, bool sparse, vmctl_error **err) {
    int code = 0;
    while (code == 0 && up->done < up->total) {
        off_t data = sparse ? lseek(fd, (off_t)up->done, SEEK_DATA) : (off_t)up->done;
        if (data < 0 && errno == ENXIO) /* only a hole is left */
            return send_hole(up, up->total, err);
        if (data < 0 && errno != EINVAL && errno != EOPNOTSUPP)
            return vmc_error_errno(err, errno, "cannot read %s", up->file->source);
        if (data < 0) { /* a file system that knows of no holes */
            sparse = false;
            continue;
        }
        code = send_hole(up, (uint64_t)data, err);
        off_t hole = sparse ? lseek(fd, data, SEEK_HOLE) : (off_t)up->total;
        uint64_t end = hole < 0 || (uint64_t)hole > up->total ? up->total : (uint64_t)hole;
        if (code == 0)
            code = send_range(up, fd, end, err);
    }
    return code;
}

static int send_all(upload *up, int fd, bool sparse, vmctl_error **err) {
    if (fd >= 0)
        return send_file(up, fd, sparse, err);
    memcpy(up->rpc->bytes, up->file->content, up->file->length);
    up->rpc->length = up->file->length;
    return libvirt_rpc_run(up->conn, up->deadline, up->stage, work_send, up->rpc, err);
}

int libvirt_upload(libvirt_conn *conn, virStorageVolPtr volume, const libvirt_file *file, const char *source,
                   const char *vm, const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_CLOSE int fd = -1;
    int64_t bytes = (int64_t)file->length;
    if (source) {
        fd = open(source, O_RDONLY | O_CLOEXEC);
        bytes = fd < 0 ? -1 : vmc_file_bytes(fd);
        if (bytes < 0)
            return vmc_error_errno(err, errno, "cannot read %s", source);
    }
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    virStorageVolRef(volume);
    rpc->volume = volume;
    VMC_AUTO_FREE char *stage =
        file->device ? vmc_printf("uploading disk %s", file->device) : vmc_printf("uploading %s", file->name);
    upload up = {.conn = conn, .deadline = deadline, .rpc = rpc, .file = file, .vm = vm, .stage = stage};
    up.total = (uint64_t)bytes;
    rpc->number = up.total;
    rpc->bytes = vmc_alloc(source ? CHUNK : file->length);
    /* A hole is not written, so it is right only where the new volume reads as zeros: a raw one. */
    bool sparse = source && strcmp(file->format, "raw") == 0;
    rpc->flags = sparse ? VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM : 0;
    int code = libvirt_rpc_run(conn, deadline, stage, work_begin, rpc, err);
    if (code < 0)
        return code;
    code = send_all(&up, fd, sparse, err);
    if (code == 0)
        return libvirt_rpc_run(conn, deadline, stage, libvirt_rpc_stream_finish, rpc, err);
    vmc_deadline patient = {.at_ms = vmc_now_ms() + 5000};
    vmctl_error *ignored = NULL;
    libvirt_rpc_run(conn, &patient, "ending the transfer", libvirt_rpc_stream_abort, rpc, &ignored);
    vmctl_error_free(ignored);
    return code;
}

/* --- from another volume ------------------------------------------------------------------------------------ */

/* name (a path) -> stream, number (bytes of its file), found; flags */
static int work_source(libvirt_rpc *rpc) {
    virStorageVolInfo info;
    rpc->volume = virStorageVolLookupByPath(rpc->virt, rpc->name);
    rpc->found = rpc->volume != NULL;
    if (!rpc->volume)
        return libvirt_rpc_absent(rpc, VIR_ERR_NO_STORAGE_VOL);
    if (virStorageVolGetInfoFlags(rpc->volume, &info, VIR_STORAGE_VOL_GET_PHYSICAL) < 0)
        return -1;
    rpc->number = info.allocation;
    rpc->stream = virStreamNew(rpc->virt, 0);
    if (!rpc->stream)
        return -1;
    rpc->streaming = virStorageVolDownload(rpc->volume, rpc->stream, 0, 0, rpc->flags) == 0;
    return rpc->streaming ? 0 : -1;
}

enum { AT_HOLE = -3 }; /* virStreamRecvFlags */

/* -> bytes and length, or (length 0) number: a hole; both 0: the end */
static int work_receive(libvirt_rpc *rpc) {
    rpc->length = 0;
    rpc->number = 0;
    while (rpc->length < CHUNK) {
        int n = virStreamRecvFlags(rpc->stream, rpc->bytes + rpc->length, CHUNK - rpc->length,
                                   VIR_STREAM_RECV_STOP_AT_HOLE);
        long long hole = 0;
        if (n > 0) {
            rpc->length += (size_t)n;
            continue;
        }
        if (n == AT_HOLE && rpc->length == 0) {
            if (virStreamRecvHole(rpc->stream, &hole, 0) < 0)
                return -1;
            rpc->number = (unsigned long long)hole;
        }
        return n == 0 || n == AT_HOLE ? 0 : -1;
    }
    return 0;
}

static void end_transfer(libvirt_conn *conn, libvirt_rpc *rpc) {
    vmc_deadline patient = {.at_ms = vmc_now_ms() + 5000};
    vmctl_error *ignored = NULL;
    libvirt_rpc_run(conn, &patient, "ending the transfer", libvirt_rpc_stream_abort, rpc, &ignored);
    vmctl_error_free(ignored);
}

/* One piece from one to the other. 1: that was the end. */
static int pass_on(libvirt_conn *from, libvirt_rpc *in, upload *up, vmctl_error **err) {
    int code = libvirt_rpc_run(from, up->deadline, up->stage, work_receive, in, err);
    if (code < 0)
        return code;
    if (in->length > 0) {
        memcpy(up->rpc->bytes, in->bytes, in->length);
        up->rpc->length = in->length;
        code = libvirt_rpc_run(up->conn, up->deadline, up->stage, work_send, up->rpc, err);
        return code < 0 ? code : advance(up, in->length, err);
    }
    return in->number > 0 ? send_hole(up, up->done + in->number, err) : 1;
}

int libvirt_copy_volume(libvirt_conn *from, const char *path, libvirt_conn *to, virStorageVolPtr volume,
                        const libvirt_file *file, const char *vm, const vmc_deadline *deadline, vmctl_error **err) {
    LIBVIRT_AUTO_RPC *in = libvirt_rpc_new(from);
    LIBVIRT_AUTO_RPC *out = libvirt_rpc_new(to);
    virStorageVolRef(volume);
    out->volume = volume;
    VMC_AUTO_FREE char *stage =
        file->device ? vmc_printf("copying disk %s", file->device) : vmc_printf("copying %s", file->name);
    upload up = {.conn = to, .deadline = deadline, .rpc = out, .file = file, .vm = vm, .stage = stage};
    bool sparse = strcmp(file->format, "raw") == 0;
    in->name = vmc_strdup(path);
    in->bytes = vmc_alloc(CHUNK);
    out->bytes = vmc_alloc(CHUNK);
    in->flags = sparse ? VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM : 0;
    out->flags = sparse ? VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM : 0;
    int code = libvirt_rpc_run(from, deadline, stage, work_source, in, err);
    if (code == 0 && !in->found)
        code = vmc_error(err, VMCTL_E_NOT_FOUND, "%s is in no storage pool of its host", path);
    up.total = in->number;
    out->number = 0; /* to its end */
    if (code == 0)
        code = libvirt_rpc_run(to, deadline, stage, work_begin, out, err);
    while (code == 0)
        code = pass_on(from, in, &up, err);
    if (code > 0)
        code = libvirt_rpc_run(to, deadline, stage, libvirt_rpc_stream_finish, out, err);
    if (code == 0)
        code = libvirt_rpc_run(from, deadline, stage, libvirt_rpc_stream_finish, in, err);
    if (code < 0) {
        end_transfer(from, in);
        end_transfer(to, out);
    }
    return code;
}
