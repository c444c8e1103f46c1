/* drivers/qemu_img/copy.c - a file byte for byte: shared blocks, else data without the holes. */
#include "base/file.h"
#include "drivers/qemu_img/run.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 8 << 20, BUFFER = 1 << 20 };

typedef struct copy {
    const char *source, *target;
    int from, to;
    uint64_t size; /* of the source */
    uint64_t data; /* bytes that are no holes, about */
    uint64_t done; /* of data */
    bool kernel;   /* copy_file_range works here */
    char *buffer;  /* where it does not */
    const char *doing;
    const qemu_img_label *label;
    const vmc_deadline *deadline;
} copy;

static int write_failed(const copy *c, vmctl_error **err) {
    int saved = errno;
    if (saved == ENOSPC || saved == EDQUOT) {
        VMC_AUTO_FREE char *action = vmc_printf("copy %s to %s", c->source, c->target);
        return qemu_img_full(action, c->target, c->data, err);
    }
    return vmc_error_errno(err, saved, "cannot copy %s to %s", c->source, c->target);
}

/* Some bytes at an offset; their number, 0 at the end, or -1 with errno. */
static ssize_t copy_through_memory(copy *c, off_t at, size_t length) {
    if (!c->buffer)
        c->buffer = vmc_alloc(BUFFER);
    ssize_t n = pread(c->from, c->buffer, length < BUFFER ? length : BUFFER, at);
    for (ssize_t written = 0; written < n;) {
        ssize_t w = pwrite(c->to, c->buffer + written, (size_t)(n - written), at + written);
        if (w < 0)
            return -1;
        written += w;
    }
    return n;
}

static ssize_t copy_some(copy *c, off_t at, size_t length) {
    if (c->kernel) {
        off_t in = at, out = at;
        ssize_t n = copy_file_range(c->from, &in, c->to, &out, length, 0);
        if (n > 0 || (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EIO)))
            return n;
        c->kernel = false; /* other filesystems, block devices, old kernels */
    }
    return copy_through_memory(c, at, length);
}

static int copy_extent(copy *c, off_t start, off_t end, vmctl_error **err) {
    while (start < end) {
        int rc = vmc_deadline_check(c->deadline, c->doing, err);
        if (rc < 0)
            return rc;
        size_t length = end - start < CHUNK ? (size_t)(end - start) : CHUNK;
        ssize_t n = copy_some(c, start, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return write_failed(c, err);
        if (n == 0)
            return vmc_error(err, VMCTL_E_CONFLICT, "%s became smaller while it was copied", c->source);
        /* Written back as it goes, so that the last sync is short. */
        (void)sync_file_range(c->to, start, n, SYNC_FILE_RANGE_WRITE);
        start += n;
        c->done += (uint64_t)n;
        rc = vmc_progress(c->deadline, c->label ? c->label->vm : NULL,
                          c->label && c->label->stage ? c->label->stage : c->doing, c->label ? c->label->device : NULL,
                          VMCTL_UNIT_BYTES, c->done, c->data > c->done ? c->data : c->done, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int copy_data(copy *c, vmctl_error **err) {
    off_t end = (off_t)c->size, at = 0;
    while (at < end) {
        off_t start = lseek(c->from, at, SEEK_DATA), stop = end;
        if (start < 0 && errno == ENXIO)
            break; /* only a hole is left */
        if (start < 0)
            start = at; /* no holes to be told here */
        else if ((stop = lseek(c->from, start, SEEK_HOLE)) < 0)
            stop = end;
        if (stop > end)
            stop = end;
        int rc = copy_extent(c, start, stop, err);
        if (rc < 0)
            return rc;
        at = stop;
    }
    return ftruncate(c->to, end) == 0 ? 0 : write_failed(c, err);
}

static int open_source(copy *c, vmctl_error **err) {
    struct stat st;
    c->from = open(c->source, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (c->from < 0 || fstat(c->from, &st) != 0)
        return vmc_error_errno(err, errno, "cannot open %s", c->source);
    if (S_ISREG(st.st_mode)) {
        uint64_t blocks = (uint64_t)st.st_blocks * 512;
        c->size = (uint64_t)st.st_size;
        c->data = blocks < c->size ? blocks : c->size;
        return 0;
    }
    if (!S_ISBLK(st.st_mode) || ioctl(c->from, BLKGETSIZE64, &c->size) != 0)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s is neither a file nor a block device", c->source);
    c->data = c->size;
    return 0;
}

static int fill(copy *c, vmctl_error **err) {
    int rc = 0;
    if (ioctl(c->to, FICLONE, c->from) != 0) {
        if (c->data > qemu_img_free_bytes(c->target)) {
            errno = ENOSPC;
            return write_failed(c, err);
        }
        c->kernel = true;
        rc = copy_data(c, err);
    }
    if (rc == 0 && fsync(c->to) != 0)
        rc = write_failed(c, err);
    return rc < 0 ? rc : qemu_img_sync(c->target, err);
}

int qemu_img_copy(const char *source, const char *target, mode_t mode, const qemu_img_label *label,
                  const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_FREE char *doing = vmc_printf("copying %s", vmc_path_basename(source));
    copy c = {
        .source = source, .target = target, .from = -1, .to = -1, .doing = doing, .label = label, .deadline = deadline};
    int rc = open_source(&c, err);
    if (rc == 0) {
        c.to = open(target, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (c.to < 0)
            rc = errno == EEXIST ? vmc_error(err, VMCTL_E_ALREADY_EXISTS, "%s is there already", target)
                                 : vmc_error_errno(err, errno, "cannot make %s", target);
        else if ((rc = fill(&c, err)) < 0)
            (void)unlink(target);
    }
    free(c.buffer);
    vmc_close_ptr(&c.from);
    vmc_close_ptr(&c.to);
    return rc;
}
