/* drivers/qemu_img/qcow2_table.c - the internal snapshots of a qcow2 file, without starting a program: before a VM is reverted, every disk is looked
 * at, and qemu-img would take longer for that than the revert itself. Source: qemu/docs/interop/qcow2.txt, "Header" and "Snapshots". */
#include "drivers/qemu_img/bytes.h"
#include "drivers/qemu_img/qemu_img.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    HEADER = 72,
    BACKING_OFFSET = 8,
    BACKING_SIZE = 16,
    DISK_SIZE = 24,
    SNAPSHOT_COUNT = 60,
    SNAPSHOT_OFFSET = 64,
    ENTRY = 40, /* the fixed part of a snapshot's entry */
    ENTRY_ID_SIZE = 12,
    ENTRY_NAME_SIZE = 14,
    ENTRY_EXTRA_SIZE = 36,
    EXTRA_DISK_SIZE = 8,
    /* QEMU's own limits: qcow2.h */
    MOST_SNAPSHOTS = 65536,
    MOST_EXTRA = 1024,
    MOST_BACKING = 1023
};

static bool read_at(int fd, void *to, size_t length, uint64_t at) {
    return at <= INT64_MAX - length && pread(fd, to, length, (off_t)at) == (ssize_t)length;
}

static char *text_at(int fd, size_t length, uint64_t at) {
    char *text = vmc_alloc(length + 1);
    if (read_at(fd, text, length, at) && strlen(text) == length)
        return text;
    free(text);
    return NULL;
}

/* Entries have no fixed length: each is padded to eight bytes. */
static bool read_entry(int fd, uint64_t *at, qemu_img_snapshot *out) {
    unsigned char fixed[ENTRY], extra[MOST_EXTRA] = {0};
    if (!read_at(fd, fixed, sizeof fixed, *at))
        return false;
    size_t id = be16(fixed + ENTRY_ID_SIZE), name = be16(fixed + ENTRY_NAME_SIZE);
    uint32_t more = be32(fixed + ENTRY_EXTRA_SIZE);
    if (more > MOST_EXTRA || !read_at(fd, extra, more, *at + ENTRY))
        return false;
    if (more >= EXTRA_DISK_SIZE + sizeof(uint64_t))
        out->virtual_bytes = be64(extra + EXTRA_DISK_SIZE);
    out->id = text_at(fd, id, *at + ENTRY + more);
    out->name = text_at(fd, name, *at + ENTRY + more + id);
    *at += (ENTRY + more + id + name + 7) & ~(uint64_t)7;
    return out->id && out->name;
}

static bool read_table(int fd, const unsigned char *header, qemu_img_table *out) {
    uint32_t count = be32(header + SNAPSHOT_COUNT);
    uint64_t at = be64(header + SNAPSHOT_OFFSET);
    if (count > MOST_SNAPSHOTS)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        out->items = vmc_realloc(out->items, out->count + 1, sizeof *out->items);
        out->items[out->count] = (qemu_img_snapshot){0};
        if (!read_entry(fd, &at, &out->items[out->count++]))
            return false;
    }
    return true;
}

int qemu_img_snapshots(const char *path, qemu_img_table *out, vmctl_error **err) {
    unsigned char header[HEADER];
    *out = (qemu_img_table){0};
    VMC_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return vmc_error_errno(err, errno, "cannot read %s", path);
    if (!read_at(fd, header, sizeof header, 0) || memcmp(header, "QFI\xfb", 4) != 0 || be32(header + 4) < 2)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s is no qcow2 image", path);
    out->virtual_bytes = be64(header + DISK_SIZE);
    uint32_t backing = be32(header + BACKING_SIZE);
    bool whole = be64(header + BACKING_OFFSET) == 0 || backing == 0;
    if (!whole && backing <= MOST_BACKING) {
        out->backing = text_at(fd, backing, be64(header + BACKING_OFFSET));
        whole = out->backing != NULL;
    }
    if (whole && read_table(fd, header, out))
        return 0;
    qemu_img_table_free(out);
    return vmc_error(err, VMCTL_E_CONFLICT, "the qcow2 header of %s is damaged", path);
}

const qemu_img_snapshot *qemu_img_table_find(const qemu_img_table *table, const char *name) {
    for (size_t i = 0; i < table->count; i++)
        if (strcmp(table->items[i].name, name) == 0)
            return &table->items[i];
    return NULL;
}

void qemu_img_table_free(qemu_img_table *table) {
    for (size_t i = 0; i < table->count; i++) {
        free(table->items[i].id);
        free(table->items[i].name);
    }
    free(table->items);
    free(table->backing);
    *table = (qemu_img_table){0};
}
