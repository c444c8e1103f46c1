/* drivers/qemu_img/probe.c - what a file is, by its own bytes. */
#include "base/file.h"
#include "drivers/qemu_img/qemu_img.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* Bytes that a kind has at an offset. Sources: qemu/docs/interop/, block/vdi.c, the VHD and VMDK specifications, ECMA-119, RFC 1952,
 * the xz, zstd, zip and tar format descriptions. */
typedef struct magic {
    off_t offset;
    const char *bytes;
    size_t length;
    qemu_img_kind kind;
} magic;

static const magic magics[] = {
    {0, "QFI\xfb", 4, {"qcow2", "a qcow2 image", "qcow2"}},
    {0, "KDMV", 4, {"vmdk", "a VMDK image", "vmdk"}},
    {0, "COWD", 4, {"vmdk", "a VMDK image", "vmdk"}},
    {0, "# Disk DescriptorFile", 21, {"vmdk", "a VMDK descriptor", "vmdk"}},
    {64, "\x7f\x10\xda\xbe", 4, {"vdi", "a VDI image", "vdi"}},
    {0, "vhdxfile", 8, {"vhdx", "a VHDX image", "vhdx"}},
    {0, "conectix", 8, {"vpc", "a VHD image", "vpc"}},
    {0, "QED\0", 4, {"qed", "a QED image", "qed"}},
    {0, "LUKS\xba\xbe", 6, {"luks", "a LUKS container", "luks"}},
    {0x8001, "CD001", 5, {"iso", "an ISO 9660 image", "raw"}},
    {0, "\x1f\x8b", 2, {"gzip", "a gzip archive", NULL}},
    {0,
     "\xfd"
     "7zXZ\0",
     6,
     {"xz", "an xz archive", NULL}},
    {0, "BZh", 3, {"bzip2", "a bzip2 archive", NULL}},
    {0, "\x28\xb5\x2f\xfd", 4, {"zstd", "a zstd archive", NULL}},
    {0, "PK\x03\x04", 4, {"zip", "a zip archive", NULL}},
    {257, "ustar", 5, {"tar", "a tar archive", NULL}},
};

static const qemu_img_kind kind_empty = {"empty", "an empty file", NULL};
static const qemu_img_kind kind_html = {"html", "a web page", NULL};
static const qemu_img_kind kind_vhd = {"vpc", "a VHD image", "vpc"};
static const qemu_img_kind kind_raw = {"raw", "a raw image", "raw"};

/* What a download gives instead of an image when the address is wrong. */
static bool is_web_page(const char *bytes, size_t length) {
    size_t start = 0;
    if (length >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0)
        start = 3;
    while (start < length && strchr(" \t\r\n", bytes[start]) && bytes[start])
        start++;
    static const char *const beginnings[] = {"<!doctype html", "<html", "<?xml"};
    for (size_t i = 0; i < sizeof beginnings / sizeof beginnings[0]; i++) {
        size_t n = strlen(beginnings[i]);
        if (length - start >= n && strncasecmp(bytes + start, beginnings[i], n) == 0)
            return true;
    }
    return false;
}

static bool has_bytes(int fd, off_t offset, const char *bytes, size_t length) {
    char there[32];
    return length <= sizeof there && pread(fd, there, length, offset) == (ssize_t)length &&
           memcmp(there, bytes, length) == 0;
}

int qemu_img_probe(const char *path, qemu_img_kind *kind, vmctl_error **err) {
    /* Non-blocking: opening a FIFO would wait for its writer. */
    VMC_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return vmc_error_errno(err, errno, "cannot open %s", path);
    struct stat st;
    if (fstat(fd, &st) != 0)
        return vmc_error_errno(err, errno, "cannot look at %s", path);
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s is %s, not an image", path,
                         S_ISDIR(st.st_mode) ? "a folder" : "neither a file nor a block device");
    char head[64];
    ssize_t n = pread(fd, head, sizeof head, 0);
    if (n < 0)
        return vmc_error_errno(err, errno, "cannot read %s", path);
    *kind = kind_raw;
    if (n == 0) {
        *kind = kind_empty;
        return 0;
    }
    for (size_t i = 0; i < sizeof magics / sizeof magics[0]; i++)
        if (has_bytes(fd, magics[i].offset, magics[i].bytes, magics[i].length)) {
            *kind = magics[i].kind;
            return 0;
        }
    if (is_web_page(head, (size_t)n))
        *kind = kind_html;
    else if (S_ISREG(st.st_mode) && st.st_size >= 512 && has_bytes(fd, st.st_size - 512, "conectix", 8))
        *kind = kind_vhd; /* of fixed size: a raw image with a footer */
    return 0;
}

const char *qemu_img_format_of_name(const char *path) {
    static const struct {
        const char *ending, *format;
    } endings[] = {{".qcow2", "qcow2"}, {".vmdk", "vmdk"}, {".vdi", "vdi"}, {".vhd", "vpc"}, {".vpc", "vpc"},
                   {".vhdx", "vhdx"},   {".qed", "qed"},   {".iso", "iso"}, {".raw", "raw"}};
    const char *name = vmc_path_basename(path);
    size_t length = strlen(name);
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        size_t n = strlen(endings[i].ending);
        if (length > n && strcasecmp(name + length - n, endings[i].ending) == 0)
            return endings[i].format;
    }
    return NULL; /* .img and others promise nothing */
}

static const char *unpacker(const qemu_img_kind *kind) {
    static const struct {
        const char *name, *program;
    } unpackers[] = {{"gzip", "gunzip"}, {"xz", "unxz"},   {"bzip2", "bunzip2"},
                     {"zstd", "unzstd"}, {"zip", "unzip"}, {"tar", "tar -xf"}};
    for (size_t i = 0; i < sizeof unpackers / sizeof unpackers[0]; i++)
        if (vmc_str_eq(kind->name, unpackers[i].name))
            return unpackers[i].program;
    return NULL;
}

static const char *article(const char *format) {
    return vmc_str_eq(format, "iso") ? "an" : "a";
}

int qemu_img_expect(const char *path, const char *format, qemu_img_kind *out, vmctl_error **err) {
    qemu_img_kind kind = {0};
    int rc = qemu_img_probe(path, &kind, err);
    if (rc < 0)
        return rc;
    const char *name = vmc_path_basename(path);
    const char *promised = format ? format : qemu_img_format_of_name(path);
    bool same = !promised || vmc_str_eq(promised, kind.name) || vmc_str_eq(promised, kind.format) ||
                (vmc_str_eq(promised, "vhd") && vmc_str_eq(kind.name, "vpc"));
    if (!kind.format || !same) {
        if (promised)
            vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s is %s, not %s %s image", name, kind.description,
                      article(promised), promised);
        else
            vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s is %s, not a disk image", name, kind.description);
        if (unpacker(&kind))
            vmc_error_next(err, "unpack it first: %s %s", unpacker(&kind), path);
        else if (vmc_str_eq(kind.name, "html") || vmc_str_eq(kind.name, "empty"))
            vmc_error_next(err, "check where %s came from, and fetch it again", name);
        else
            vmc_error_next(err, "name it for what it is, or say format: %s", kind.format);
        return VMCTL_E_INVALID_ARGUMENT;
    }
    if (out)
        *out = kind;
    return 0;
}
