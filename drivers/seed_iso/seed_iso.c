#include "drivers/seed_iso/seed_iso.h"
#include "base/module.h"
#include "base/str.h"
#include "drivers/seed_iso/iso_module.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int open_module(const vmctl_iso_functions **iso, vmctl_error **err) {
#ifdef VMCTL_STATIC_BACKENDS
    (void)err;
    *iso = vmctl_iso();
    return 0;
#else
    void *address;
    vmctl_iso_fn entry;
    int rc =
        vmc_module_symbol("vmctl-iso", "vmctl_iso", "vmctl (the package of libvmctl) and libisofs6", &address, err);
    if (rc < 0)
        return rc;
    memcpy(&entry, &address, sizeof entry);
    *iso = entry();
    return 0;
#endif
}

int seed_iso_build(const char *volume_id, const seed_iso_file *files, size_t count, char **bytes, size_t *length,
                   vmctl_error **err) {
    const vmctl_iso_functions *iso = NULL;
    int rc = open_module(&iso, err);
    return rc < 0 ? rc : iso->build(volume_id, files, count, bytes, length, err);
}

int seed_iso_read(const char *path, const char *name, char **text, vmctl_error **err) {
    const vmctl_iso_functions *iso = NULL;
    *text = NULL;
    int rc = open_module(&iso, err);
    return rc < 0 ? rc : iso->read(path, name, text, err);
}

int seed_iso_write(const char *path, mode_t mode, const char *volume_id, const seed_iso_file *files, size_t count,
                   vmctl_error **err) {
    VMC_AUTO_FREE char *bytes = NULL;
    size_t length = 0;
    int rc = seed_iso_build(volume_id, files, count, &bytes, &length, err);
    if (rc < 0)
        return rc;
    VMC_AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return errno == EEXIST ? vmc_error(err, VMCTL_E_ALREADY_EXISTS, "%s is there already", path)
                               : vmc_error_errno(err, errno, "cannot make %s", path);
    size_t done = 0;
    while (done < length) {
        ssize_t n = write(fd, bytes + done, length - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        done += (size_t)n;
    }
    if (done < length || fsync(fd) != 0) {
        rc = vmc_error_errno(err, errno, "cannot write %s", path);
        (void)unlink(path);
    }
    return rc;
}
