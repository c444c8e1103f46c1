/* The serial log: the <log file> of the domain's serial port. On this machine it is read (and followed) as a file; elsewhere it can be had where it
 * lies in a storage pool, through volume streams. */
#include "base/file.h"
#include "domain_xml.h"
#include "ops.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOG_MS = 60000, BUFFER = 65536, LOOK_MS = 1000, DOWNLOAD_LIMIT = 64 << 20 };

/* --- a file of this machine -------------------------------------------------------------------------------------- */

typedef struct follower {
    const vmctl_log_options *options;
    const vmc_deadline *deadline;
    vmctl_bytes_fn each;
    void *user;
    const char *path;
    int fd;
    off_t at;
} follower;

/* What is there up to now. 1: enough. */
static int read_on(follower *f, vmctl_error **err) {
    static const char doing[] = "reading the serial log";
    char buffer[BUFFER];
    for (;;) {
        int code = vmc_deadline_check(f->deadline, doing, err);
        if (code < 0)
            return code;
        ssize_t got = pread(f->fd, buffer, sizeof buffer, f->at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return vmc_error_errno(err, errno, "cannot read %s", f->path);
        if (got == 0)
            return 0;
        f->at += got;
        if (f->each(buffer, (size_t)got, f->user))
            return 1;
    }
}

static int open_log(follower *f, vmctl_error **err) {
    f->fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (f->fd >= 0)
        return 0;
    if (errno == ENOENT) {
        vmc_error(err, VMCTL_E_NOT_FOUND, "the serial log %s is not there", f->path);
        return vmc_error_next(err, "it is made when the VM starts");
    }
    int code = vmc_error_errno(err, errno, "cannot open the serial log %s", f->path);
    return code == VMCTL_E_PERMISSION_DENIED ? vmc_error_next(err, "read it as root") : code;
}

/* virtlogd begins a new file when the old one is full, and a start begins at its front: the path is looked at again whenever something
 * happened in its folder. */
static int reopen_if_replaced(follower *f) {
    struct stat now, ours;
    if (stat(f->path, &now) < 0 || fstat(f->fd, &ours) < 0)
        return 0;
    if (now.st_dev == ours.st_dev && now.st_ino == ours.st_ino) {
        if (now.st_size < f->at)
            f->at = 0;
        return 0;
    }
    int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return 0;
    close(f->fd);
    f->fd = fd;
    f->at = 0;
    return 1;
}

static int follow(follower *f, vmctl_error **err) {
    VMC_AUTO_CLOSE int notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    VMC_AUTO_FREE char *folder = vmc_path_dirname(f->path);
    if (notify >= 0)
        inotify_add_watch(notify, folder, IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE);
    for (;;) {
        int code = read_on(f, err);
        if (code)
            return code < 0 ? code : 0;
        if (reopen_if_replaced(f))
            continue;
        code = vmc_deadline_poll(f->deadline, notify, POLLIN, LOOK_MS, "following the serial log", err);
        if (code < 0)
            return code;
        char events[4096];
        while (code > 0 && read(notify, events, sizeof events) > 0)
            ;
    }
}

static int read_local(follower *f, vmctl_error **err) {
    int code = open_log(f, err);
    if (code < 0)
        return code;
    struct stat st;
    if (f->options->tail_bytes >= 0 && fstat(f->fd, &st) == 0 && st.st_size > f->options->tail_bytes)
        f->at = st.st_size - f->options->tail_bytes;
    code = f->options->follow ? follow(f, err) : read_on(f, err);
    close(f->fd);
    return code < 0 ? code : 0;
}

/* --- a volume of another machine ----------------------------------------------------------------------------------- */

typedef struct download_args {
    virConnectPtr virt;
    char *path, *folder;
    int64_t tail; /* -1: all */
    vmc_str bytes;
    bool no_pool;
} download_args;

static void download_drop(void *opaque) {
    download_args *args = opaque;
    vmc_str_free(&args->bytes);
    free(args->path);
    free(args->folder);
    free(args);
}

static int receive(download_args *args, virStorageVolPtr volume) {
    virStorageVolInfo info;
    if (virStorageVolGetInfo(volume, &info) < 0)
        return -1;
    unsigned long long limit =
        args->tail >= 0 && args->tail < DOWNLOAD_LIMIT ? (unsigned long long)args->tail : DOWNLOAD_LIMIT;
    unsigned long long offset = info.capacity > limit ? info.capacity - limit : 0;
    virStreamPtr stream = virStreamNew(args->virt, 0);
    if (!stream || virStorageVolDownload(volume, stream, offset, 0, 0) < 0) {
        if (stream)
            virStreamFree(stream);
        return -1;
    }
    char buffer[BUFFER];
    int got;
    while ((got = virStreamRecv(stream, buffer, sizeof buffer)) > 0)
        vmc_str_add_n(&args->bytes, buffer, (size_t)got);
    int code = got < 0 ? -1 : virStreamFinish(stream);
    if (got < 0)
        virStreamAbort(stream);
    virStreamFree(stream);
    return code;
}

static int download_work(void *opaque) {
    download_args *args = opaque;
    virStoragePoolPtr pool = virStoragePoolLookupByTargetPath(args->virt, args->folder);
    if (!pool) {
        args->no_pool = true;
        return 0;
    }
    virStoragePoolRefresh(pool, 0); /* files that QEMU made are no volumes before */
    virStorageVolPtr volume = virStorageVolLookupByPath(args->virt, args->path);
    int code = volume ? receive(args, volume) : -1;
    if (volume)
        virStorageVolFree(volume);
    virStoragePoolFree(pool);
    return code;
}

static int read_remote(libvirt_conn *conn, follower *f, vmctl_error **err) {
    if (f->options->follow) {
        vmc_error(err, VMCTL_E_UNSUPPORTED, "the serial log of a VM on another host cannot be followed");
        return vmc_error_next(err, "vmctl console shows what it prints now");
    }
    download_args *args = vmc_alloc(sizeof *args);
    args->virt = conn->virt;
    args->path = vmc_strdup(f->path);
    args->folder = vmc_path_dirname(f->path);
    args->tail = f->options->tail_bytes;
    int code = libvirt_call(conn, f->deadline, "fetching the serial log", download_work, args, download_drop, err);
    if (code == VMCTL_E_TIMEOUT || code == VMCTL_E_CANCELLED)
        return code;
    if (!code && args->no_pool) {
        code =
            vmc_error(err, VMCTL_E_UNSUPPORTED, "the serial log %s lies on another host, in no storage pool", f->path);
        vmc_error_next(err, "read it there, or make a pool of its folder");
    } else if (!code && args->bytes.length) {
        f->each(args->bytes.text, args->bytes.length, f->user);
    }
    download_drop(args);
    return code;
}

/* --- which file ------------------------------------------------------------------------------------------------------- */

int libvirt_serial_log(void *opaque, void *handle, const vmctl_log_options *options, vmctl_bytes_fn each, void *user,
                       vmctl_error **err) {
    libvirt_conn *conn = opaque;
    libvirt_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(options->call, options->follow ? -1 : LOG_MS);
    VMC_AUTO_FREE char *xml = NULL;
    int code = libvirt_vm_xml(conn, vm, 0, &deadline, &xml, err);
    libvirt_domain_facts *facts = NULL;
    if (code < 0)
        return code;
    code = libvirt_domain_facts_read(xml, &facts, err);
    if (code < 0)
        return code;
    if (!facts->serial_log) {
        code = vmc_error(err, VMCTL_E_NOT_FOUND, "%s keeps no serial log", vm->name);
        vmc_error_next(err, "give its spec serial: {log: NAME.log}");
    } else {
        follower f = {
            .options = options, .deadline = &deadline, .each = each, .user = user, .path = facts->serial_log, .fd = -1};
        vmctl_error *why = NULL;
        code = conn->local ? read_local(&f, &why) : read_remote(conn, &f, &why);
        if (code == VMCTL_E_TIMEOUT && options->follow)
            code = 0;
        vmc_error_move(code < 0 ? err : NULL, &why);
    }
    libvirt_domain_facts_free(facts);
    return code;
}
