/* drivers/qemu_img/foreign.c - other files that an image names, found before QEMU opens the image (and with it those files).
 * Sources: qemu/docs/interop/qcow2.txt; VMware, "Virtual Disk Format 1.1". */
#include "base/file.h"
#include "drivers/qemu_img/bytes.h"
#include "drivers/qemu_img/run.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    QCOW2_SIZE = 24,
    QCOW2_INCOMPATIBLE = 72,
    QCOW2_HEADER_LENGTH = 100,
    QCOW2_DATA_FILE_BIT = 1 << 2,
    QCOW2_DATA_FILE_NAME = 0x44415441,
    DESCRIPTOR_LIMIT = 64 * 1024
};

bool qemu_img_backing(const char *path, char **backing) {
    enum { OFFSET = 8, LENGTH = 16, NAME_LIMIT = 1023 }; /* qcow2.txt: "at most 1023 bytes" */
    static const unsigned char magic[] = {'Q', 'F', 'I', 0xfb};
    unsigned char header[QCOW2_SIZE];
    char name[NAME_LIMIT + 1];
    *backing = NULL;
    VMC_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : pread(fd, header, sizeof header, 0);
    if (n < 0)
        return false;
    if (n < (ssize_t)sizeof header || memcmp(header, magic, sizeof magic) != 0)
        return true;
    uint64_t offset = be64(header + OFFSET);
    uint32_t length = be32(header + LENGTH);
    if (offset == 0 || length == 0 || length > NAME_LIMIT || offset > INT64_MAX)
        return true;
    n = pread(fd, name, length, (off_t)offset);
    if (n != (ssize_t)length)
        return n >= 0;
    name[length] = '\0';
    if (*name == '/' || name[strcspn(name, ":/")] == ':') { /* the latter a protocol, as QEMU tells them apart */
        *backing = vmc_strdup(name);
    } else {
        VMC_AUTO_FREE char *folder = vmc_path_dirname(path);
        *backing = vmc_path_absolute(folder, name);
    }
    return true;
}

/* The name in the header extensions; "" when the bit is set without a name. */
static char *qcow2_data_file(const unsigned char *bytes, size_t length, uint64_t *virtual_bytes) {
    if (length < QCOW2_HEADER_LENGTH + 4 || be32(bytes + 4) < 3 ||
        !(be64(bytes + QCOW2_INCOMPATIBLE) & QCOW2_DATA_FILE_BIT))
        return NULL;
    *virtual_bytes = be64(bytes + QCOW2_SIZE);
    size_t at = be32(bytes + QCOW2_HEADER_LENGTH);
    while (at + 8 <= length) {
        uint32_t type = be32(bytes + at), size = be32(bytes + at + 4);
        at += 8;
        if (type == 0 || size > length - at)
            break;
        if (type == QCOW2_DATA_FILE_NAME)
            return vmc_strndup((const char *)bytes + at, size);
        at += ((size_t)size + 7) & ~(size_t)7;
    }
    return vmc_strdup("");
}

/* The first extent of a descriptor that is not in the descriptor's own folder. "RW 4192256 FLAT "disk-flat.vmdk" 0". */
static char *vmdk_outside_extent(char *text, uint64_t *virtual_bytes) {
    uint64_t sectors = 0;
    char *found = NULL;
    for (char *rest = NULL, *line = strtok_r(text, "\r\n", &rest); line; line = strtok_r(NULL, "\r\n", &rest)) {
        line += strspn(line, " \t");
        if (strncmp(line, "RW ", 3) != 0 && strncmp(line, "RDONLY ", 7) != 0)
            continue;
        sectors += strtoull(strchr(line, ' '), NULL, 10);
        char *name = strchr(line, '"'), *end = name ? strchr(name + 1, '"') : NULL;
        if (!end || found)
            continue;
        *end = '\0';
        if (strpbrk(name + 1, "/:"))
            found = vmc_strdup(name + 1);
    }
    *virtual_bytes = sectors * 512;
    return found;
}

static char *vmdk_foreign(int fd, const unsigned char *head, size_t length, uint64_t *virtual_bytes) {
    off_t at = 0;
    if (memcmp(head, "KDMV", 4) == 0) {
        /* An empty sparse header means: all is in the descriptor that it embeds. */
        if (length < 44 || le64(head + 12) != 0)
            return NULL;
        at = (off_t)(le64(head + 28) * 512);
    } else if (memcmp(head, "COWD", 4) == 0) {
        return NULL;
    }
    VMC_AUTO_FREE char *text = vmc_alloc(DESCRIPTOR_LIMIT + 1);
    if (pread(fd, text, DESCRIPTOR_LIMIT, at) <= 0)
        return NULL;
    return vmdk_outside_extent(text, virtual_bytes);
}

char *qemu_img_foreign_file(const char *path, const char *format, uint64_t *virtual_bytes) {
    VMC_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return NULL;
    VMC_AUTO_FREE unsigned char *head = vmc_alloc(DESCRIPTOR_LIMIT);
    ssize_t n = pread(fd, head, DESCRIPTOR_LIMIT, 0);
    if (n < 8)
        return NULL;
    if (vmc_str_eq(format, "qcow2") && memcmp(head, "QFI\xfb", 4) == 0)
        return qcow2_data_file(head, (size_t)n, virtual_bytes);
    if (vmc_str_eq(format, "vmdk"))
        return vmdk_foreign(fd, head, (size_t)n, virtual_bytes);
    return NULL;
}
