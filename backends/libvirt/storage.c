/* backends/libvirt/storage.c - planning the files that a VM is made of: every check, nothing made. */
#include "storage.h"

#include "base/file.h"
#include "drivers/qemu_img/qemu_img.h"
#include "host_path.h"
#include "refuse.h"
#include "rpc.h"
#include "xpath.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

enum { BTRFS = 0x9123683e, XFS = 0x58465342 }; /* linux/magic.h: the filesystems that share blocks */

void libvirt_store_open(libvirt_store *store, libvirt_conn *conn, const vmc_deadline *deadline, const char *vm,
                        const char *qemu_user) {
    *store = (libvirt_store){.conn = conn, .deadline = deadline, .vm = vm, .qemu_user = qemu_user};
}

void libvirt_store_close(libvirt_store *store) {
    while (store->pools) {
        libvirt_pool *pool = store->pools;
        store->pools = pool->next;
        libvirt_pool_free(pool);
    }
    vmc_strv_free(&store->planned);
}

void libvirt_file_free(libvirt_file *file) {
    free(file->device);
    free(file->name);
    free(file->path);
    free(file->format);
    free(file->source);
    free(file->source_format);
    free(file->snapshot);
    free(file->content);
    free(file->origin);
    free(file->note);
    *file = (libvirt_file){0};
}

libvirt_disk_plan libvirt_file_plan(const libvirt_file *file) {
    return (libvirt_disk_plan){
        .path = file->path,
        .format = file->format,
        .block = file->block,
        .own = file->kind != LIBVIRT_FILE_NONE && file->kind != LIBVIRT_FILE_IN_PLACE,
        .origin = file->origin,
    };
}

/* An error of a driver, told with the place in the spec. */
static int at_node(vmctl_error **err, const vmctl_node *node, vmctl_error **cause) {
    int code = vmctl_error_code(*cause);
    if (code == VMCTL_E_INVALID_ARGUMENT)
        code = VMCTL_E_INVALID_SPEC;
    code = libvirt_refuse(err, code, node, "%s", vmctl_error_message(*cause));
    if (vmctl_error_next(*cause))
        vmc_error_next(err, "%s", vmctl_error_next(*cause));
    vmctl_error_free(*cause);
    *cause = NULL;
    return code;
}

/* --- places ----------------------------------------------------------------------------------------------- */

static int take_pool(libvirt_store *store, const char *name, libvirt_pool **out, vmctl_error **err) {
    if (!name)
        name = LIBVIRT_DEFAULT_POOL;
    for (libvirt_pool *pool = store->pools; pool; pool = pool->next)
        if (strcmp(pool->wanted_as, name) == 0) {
            *out = pool;
            return 0;
        }
    libvirt_pool *pool = NULL;
    int code = libvirt_pool_find(store->conn, name, store->deadline, &pool, err);
    if (code < 0)
        return code;
    pool->wanted_as = vmc_strdup(name);
    pool->next = store->pools;
    store->pools = pool;
    *out = pool;
    return 0;
}

/* pool and name -> found */
static int work_volume_taken(libvirt_rpc *rpc) {
    rpc->volume = virStorageVolLookupByName(rpc->pool, rpc->name);
    rpc->found = rpc->volume != NULL;
    return rpc->volume ? 0 : libvirt_rpc_absent(rpc, VIR_ERR_NO_STORAGE_VOL);
}

static int is_taken(libvirt_store *store, libvirt_pool *pool, const char *name, const char *path, bool *taken,
                    vmctl_error **err) {
    struct stat st;
    *taken = vmc_strv_has(&store->planned, path);
    if (*taken)
        return 0;
    if (pool->direct || (store->conn->local && !store->conn->test_driver)) {
        *taken = lstat(path, &st) == 0;
        return 0;
    }
    if (!pool->virt || !pool->active)
        return 0;
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(store->conn);
    virStoragePoolRef(pool->virt);
    rpc->pool = pool->virt;
    rpc->name = vmc_strdup(name);
    int code = libvirt_rpc_run(store->conn, store->deadline, "looking for a volume", work_volume_taken, rpc, err);
    *taken = code == 0 && rpc->found;
    return code;
}

/* Gives the file its name and path in the pool; both must be free. */
int libvirt_place_file(libvirt_store *store, const vmctl_node *node, const char *pool_name, const char *name,
                       libvirt_file *file, vmctl_error **err) {
    int code = take_pool(store, pool_name, &file->pool, err);
    if (code == VMCTL_E_NOT_FOUND && err && pool_name) {
        vmctl_error *cause = NULL;
        vmc_error_move(&cause, err);
        return at_node(err, vmctl_node_get(node, "pool") ? vmctl_node_get(node, "pool") : node, &cause);
    }
    if (code < 0)
        return code;
    if (!file->pool->path)
        return libvirt_refuse(err, VMCTL_E_UNSUPPORTED, node,
                              "pool \"%s\" is of type %s, whose volumes have no paths; use a folder or LVM pool",
                              file->pool->name, file->pool->type);
    file->name = vmc_strdup(name);
    file->path = vmc_printf("%s/%s", file->pool->path, file->name);
    file->block = vmc_str_eq(file->pool->type, "logical") || vmc_str_eq(file->pool->type, "disk");
    if (strlen(file->name) > NAME_MAX - 16) /* room for the unfinished file's name */
        return libvirt_refuse(err, VMCTL_E_INVALID_SPEC, node, "the file name %s is too long", file->name);
    bool taken = false;
    code = is_taken(store, file->pool, file->name, file->path, &taken, err);
    if (code < 0)
        return code;
    if (taken && store->predict) {
        vmc_note(store->deadline, VMCTL_NOTE_WARNING, "%s exists already, and create would not overwrite it",
                 file->path);
    } else if (taken) {
        libvirt_refuse(err, VMCTL_E_ALREADY_EXISTS, node, "%s exists already and is not overwritten", file->path);
        return vmc_error_next(err,
                              "delete it (vmctl image delete %s/%s), use it as it is (volume: %s/%s), or take "
                              "another name",
                              file->pool->name, file->name, file->pool->name, file->name);
    }
    vmc_strv_add(&store->planned, file->path);
    return 0;
}

/* "VM-name" */
static int place(libvirt_store *store, const vmctl_node *node, const char *pool_name, const char *name,
                 libvirt_file *file, vmctl_error **err) {
    VMC_AUTO_FREE char *full = vmc_printf("%s-%s", store->vm, name);
    return libvirt_place_file(store, node, pool_name, full, file, err);
}

int libvirt_plan_path(libvirt_store *store, const vmctl_node *node, const char *name, char **path, vmctl_error **err) {
    size_t length = strlen(store->vm);
    bool named = strncmp(name, store->vm, length) == 0 && (name[length] == '.' || name[length] == '-');
    libvirt_file file = {0};
    int code =
        named ? libvirt_place_file(store, node, NULL, name, &file, err) : place(store, node, NULL, name, &file, err);
    if (code == 0)
        *path = vmc_strdup(file.path);
    libvirt_file_free(&file);
    return code;
}

int libvirt_plan_bytes(libvirt_store *store, const char *name, char *content, size_t length, libvirt_file *out,
                       vmctl_error **err) {
    *out = (libvirt_file){.kind = LIBVIRT_FILE_BYTES, .content = content, .length = length, .bytes = length};
    out->format = vmc_strdup("raw");
    int code = place(store, NULL, NULL, name, out, err);
    if (code == 0)
        out->pool->wanted_bytes += length;
    else
        libvirt_file_free(out);
    return code;
}

static bool shares_blocks(const char *source, const libvirt_pool *pool) {
    struct stat from;
    struct stat to;
    struct statfs filesystem;
    return pool->direct && stat(source, &from) == 0 && stat(pool->path, &to) == 0 && from.st_dev == to.st_dev &&
           statfs(pool->path, &filesystem) == 0 &&
           ((unsigned long)filesystem.f_type == BTRFS || (unsigned long)filesystem.f_type == XFS);
}

int libvirt_plan_fits(libvirt_store *store, vmctl_error **err) {
    for (const libvirt_pool *pool = store->pools; pool; pool = pool->next) {
        if (pool->free_bytes == 0 || pool->wanted_bytes <= pool->free_bytes)
            continue;
        VMC_AUTO_FREE char *wanted = vmc_printf("%llu MiB", (unsigned long long)pool->wanted_bytes >> 20);
        VMC_AUTO_FREE char *space = vmc_printf("%llu MiB", (unsigned long long)pool->free_bytes >> 20);
        vmc_error(err, VMCTL_E_RESOURCE_EXHAUSTED, "pool \"%s\" (%s) has %s free, and the disks need %s", pool->name,
                  pool->path, space, wanted);
        return vmc_error_next(err, "free some space there, or name another pool in disks[].pool (vmctl pool list)");
    }
    return 0;
}

/* --- sources ---------------------------------------------------------------------------------------------- */

static int check_file(const vmctl_node *node, const char *what, const char *path, struct stat *st, vmctl_error **err) {
    if (stat(path, st) < 0) {
        int code = errno == ENOENT || errno == ENOTDIR ? VMCTL_E_NOT_FOUND
                   : errno == EACCES                   ? VMCTL_E_PERMISSION_DENIED
                                                       : VMCTL_E_INVALID_SPEC;
        if (code == VMCTL_E_NOT_FOUND)
            return libvirt_refuse(err, code, node, "%s %s does not exist", what, path);
        return libvirt_refuse(err, code, node, "%s %s: %s", what, path, strerror(errno));
    }
    if (S_ISDIR(st->st_mode))
        return libvirt_refuse(err, VMCTL_E_INVALID_SPEC, node, "%s %s is a folder", what, path);
    return 0;
}

/* What the image is by its content, and that it stands alone: a header that names another file is not believed. */
static int inspect_image(libvirt_store *store, const vmctl_node *node, const char *path, const char *format,
                         qemu_img_info *info, vmctl_error **err) {
    vmctl_error *cause = NULL;
    qemu_img_kind kind = {0};
    int code = qemu_img_expect(path, format, &kind, &cause);
    if (code == 0)
        code = qemu_img_inspect(path, kind.format, store->deadline, info, &cause);
    if (code < 0)
        return at_node(err, node, &cause);
    if (info->encrypted)
        return libvirt_refuse(err, VMCTL_E_UNSUPPORTED, node, "image %s is encrypted", path);
    const char *other = info->backing ? info->backing : info->data_file;
    if (!other)
        return 0;
    libvirt_refuse(err, VMCTL_E_INVALID_SPEC, node,
                   "image %s does not stand alone: its header refers to %s, and headers of images are not followed",
                   path, other);
    return vmc_error_next(err, "if you trust it, make one that stands alone: vmctl image convert %s FLAT.qcow2", path);
}

static int check_size(const vmctl_node *node, libvirt_file *file, const char *what, vmctl_error **err) {
    if (file->bytes == 0 || file->bytes >= file->source_bytes)
        return 0;
    VMC_AUTO_FREE char *has = vmc_format_size((long long)file->source_bytes);
    VMC_AUTO_FREE char *wants = vmc_format_size((long long)file->bytes);
    return libvirt_refuse(err, VMCTL_E_INVALID_SPEC, vmctl_node_get(node, "size"),
                          "size %s is smaller than the %s, which is %s; what is beyond would be lost", wants, what,
                          has);
}

static int plan_image(libvirt_store *store, const vmctl_node *item, const vmctl_node *node, libvirt_file *out,
                      vmctl_error **err) {
    const char *image = vmctl_node_string(node, NULL, "");
    const char *wanted = vmctl_node_string(item, "format", NULL);
    struct stat st;
    QEMU_IMG_AUTO_INFO info = {0};
    int code = check_file(node, "image", image, &st, err);
    if (code == 0)
        code = inspect_image(store, node, image, NULL, &info, err);
    if (code < 0)
        return code;
    bool native = vmc_str_eq(info.format, "qcow2") || vmc_str_eq(info.format, "raw");
    out->kind = LIBVIRT_FILE_COPY;
    out->source = vmc_strdup(image);
    out->origin = vmc_strdup(image);
    out->source_format = vmc_strdup(info.format);
    out->source_bytes = info.virtual_bytes;
    out->format = vmc_strdup(wanted ? wanted : native ? info.format : "qcow2");
    code = check_size(item, out, "image", err);
    VMC_AUTO_FREE char *name = vmc_printf("%s.%s", out->device, out->format);
    if (code == 0)
        code = place(store, item, vmctl_node_string(item, "pool", NULL), name, out, err);
    if (code < 0)
        return code;
    if (out->block)
        return libvirt_refuse(err, VMCTL_E_UNSUPPORTED, item,
                              "images are copied into folder pools; pool \"%s\" is of type %s", out->pool->name,
                              out->pool->type);
    if (!shares_blocks(image, out->pool))
        out->pool->wanted_bytes += info.allocated_bytes;
    return 0;
}

int libvirt_plan_upload(libvirt_store *store, const char *path, const char *name, const char *pool, libvirt_file *out,
                        vmctl_error **err) {
    struct stat st;
    QEMU_IMG_AUTO_INFO info = {0};
    *out = (libvirt_file){.kind = LIBVIRT_FILE_COPY};
    int code = check_file(NULL, "image", path, &st, err);
    if (code == 0)
        code = inspect_image(store, NULL, path, NULL, &info, err);
    if (code == 0)
        code = libvirt_place_file(store, NULL, pool, name, out, err);
    if (code < 0) {
        libvirt_file_free(out);
        return code;
    }
    /* Byte for byte, whatever it is: the pool sees the format by itself. */
    out->source = vmc_strdup(path);
    out->format = vmc_strdup(vmc_str_eq(info.format, "qcow2") ? "qcow2" : "raw");
    out->source_format = vmc_strdup(out->format);
    out->source_bytes =
        strcmp(out->format, "raw") == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : info.virtual_bytes;
    if (!shares_blocks(path, out->pool))
        out->pool->wanted_bytes += info.allocated_bytes;
    return libvirt_plan_fits(store, err);
}

/* --- files that are there ---------------------------------------------------------------------------------- */

static int reachable(libvirt_store *store, const vmctl_node *node, const char *path, vmctl_error **err) {
    VMC_AUTO_FREE char *folder = NULL;
    if (!store->conn->local || libvirt_path_reachable(store->qemu_user, path, &folder))
        return 0;
    libvirt_refuse(err, VMCTL_E_PERMISSION_DENIED, node, "%s cannot enter the folder %s, so QEMU cannot open %s",
                   store->qemu_user, folder, path);
    return vmc_error_next(err, "chmod o+x %s, or move the file into a pool's folder", folder);
}

/* A qcow2 file that leans on another: fine when the other one lies beside it, as libvirt and vmctl lay them; anything else is
 * a header that may name any file of the host. */
static bool leans_on_neighbour(const char *path, const qemu_img_info *info) {
    if (!info->backing && !info->data_file)
        return true;
    if (info->data_file || !info->backing_path || !info->backing_format)
        return false;
    VMC_AUTO_FREE char *folder = vmc_path_dirname(path);
    VMC_AUTO_FREE char *other = vmc_path_dirname(info->backing_path);
    return strcmp(folder, other) == 0;
}

static int plan_backing(libvirt_store *store, const vmctl_node *item, const vmctl_node *node, libvirt_file *out,
                        vmctl_error **err) {
    const char *backing = vmctl_node_string(node, NULL, "");
    const char *format = vmctl_node_string(item, "format", "qcow2");
    if (strcmp(format, "qcow2") != 0)
        return libvirt_refuse(err, VMCTL_E_INVALID_SPEC, vmctl_node_get(item, "format"),
                              "an overlay is qcow2; %s cannot have a backing file", format);
    if (!store->conn->local) {
        libvirt_refuse(err, VMCTL_E_UNSUPPORTED, node,
                       "a backing file must be on the hypervisor's host, and %s is of "
                       "this machine",
                       backing);
        return vmc_error_next(err, "upload it (vmctl image upload) and copy it with image:");
    }
    struct stat st;
    QEMU_IMG_AUTO_INFO info = {0};
    vmctl_error *cause = NULL;
    qemu_img_kind kind = {0};
    int code = check_file(node, "backing file", backing, &st, err);
    if (code < 0)
        return code;
    code = qemu_img_expect(backing, NULL, &kind, &cause);
    if (code == 0)
        code = qemu_img_inspect(backing, kind.format, store->deadline, &info, &cause);
    if (code < 0)
        return at_node(err, node, &cause);
    if (!leans_on_neighbour(backing, &info)) {
        libvirt_refuse(err, VMCTL_E_INVALID_SPEC, node, "the header of %s refers to %s, which is not followed", backing,
                       info.backing ? info.backing : info.data_file);
        return vmc_error_next(err, "if you trust it, make one that stands alone: vmctl image convert %s FLAT.qcow2",
                              backing);
    }
    out->kind = LIBVIRT_FILE_OVERLAY;
    out->source = vmc_strdup(backing);
    out->source_format = vmc_strdup(info.format);
    out->source_bytes = info.virtual_bytes;
    out->format = vmc_strdup("qcow2");
    code = reachable(store, node, backing, err);
    if (code == 0)
        code = check_size(item, out, "backing file", err);
    VMC_AUTO_FREE char *name = vmc_printf("%s.qcow2", out->device);
    return code < 0 ? code : place(store, item, vmctl_node_string(item, "pool", NULL), name, out, err);
}

/* The format of a disk that is used in place: the spec's, else the pool's, else by its name and, failing that, its content, where
 * a raw disk whose guest wrote a foreign header is not believed. */
static int format_in_place(const vmctl_node *node, const char *path, const char *from_pool, const char *given,
                           char **out, vmctl_error **err) {
    const char *named = given ? given : from_pool;
    if (named && strcmp(named, "unknown") != 0 && strcmp(named, "iso") != 0) {
        *out = vmc_strdup(named);
        return 0;
    }
    qemu_img_kind kind = {0};
    vmctl_error *cause = NULL;
    if (qemu_img_probe(path, &kind, &cause) < 0)
        return at_node(err, node, &cause);
    const char *promised = qemu_img_format_of_name(path);
    const char *is = kind.format ? kind.format : "raw";
    if (promised && strcmp(promised, "iso") == 0)
        promised = "raw";
    if (promised && strcmp(promised, is) != 0)
        return libvirt_refuse(err, VMCTL_E_INVALID_SPEC, node,
                              "%s is named like a %s disk and begins like %s; say which it "
                              "is with format:",
                              path, promised, kind.description);
    *out = vmc_strdup(is);
    return 0;
}

static int plan_volume(libvirt_store *store, const vmctl_node *item, const vmctl_node *node, libvirt_file *out,
                       vmctl_error **err) {
    const char *volume = vmctl_node_string(node, NULL, "");
    VMC_AUTO_FREE char *xml = NULL;
    int code = libvirt_volume_find(store->conn, volume, store->deadline, NULL, &xml, err);
    if (code < 0)
        return code;
    out->kind = LIBVIRT_FILE_IN_PLACE;
    if (!xml && (*volume != '/' || !store->conn->local || store->conn->test_driver)) {
        libvirt_refuse(err, VMCTL_E_NOT_FOUND, node, "there is no volume %s", volume);
        return vmc_error_next(err, "vmctl image list shows those of the default pool");
    }
    VMC_AUTO_FREE char *from_pool = NULL;
    if (xml) {
        out->path = libvirt_xpath_text(xml, "/volume/target/path");
        from_pool = libvirt_xpath_text(xml, "/volume/target/format/@type");
        VMC_AUTO_FREE char *type = libvirt_xpath_text(xml, "/volume/@type");
        out->block = vmc_str_eq(type, "block");
    } else {
        struct stat st;
        out->path = vmc_strdup(volume);
        code = check_file(node, "disk", volume, &st, err);
        if (code < 0)
            return code;
        out->block = S_ISBLK(st.st_mode);
        code = reachable(store, node, volume, err);
        if (code < 0)
            return code;
    }
    code = format_in_place(node, out->path, out->block ? "raw" : from_pool, vmctl_node_string(item, "format", NULL),
                           &out->format, err);
    if (code < 0 || store->predict || vmctl_node_boolean(item, "shared", false) ||
        vmctl_node_boolean(item, "readonly", false))
        return code;
    VMC_AUTO_STRV users = {0};
    bool running = false;
    code = libvirt_path_users(store->conn, out->path, store->uuid, store->deadline, &users, &running, err);
    if (code == 0 && users.count > 0 && store->exclusive) {
        libvirt_refuse(err, running ? VMCTL_E_BUSY : VMCTL_E_CONFLICT, node, "%s belongs to %s%s", out->path,
                       users.items[0], running ? ", which runs" : "");
        return vmc_error_next(err, "detach it there first, or let both have it with shared: true (raw disks only)");
    }
    if (code == 0 && users.count > 0) {
        VMC_AUTO_FREE char *names = vmc_strv_join(&users, ", ");
        vmc_note(store->deadline, VMCTL_NOTE_WARNING,
                 "disk %s (%s) also belongs to %s; only one of them can run at a time", out->device, out->path, names);
    }
    return code;
}

int libvirt_plan_medium(libvirt_store *store, const vmctl_node *node, const char *source, const char *name,
                        const char *pool, libvirt_file *out, vmctl_error **err) {
    struct stat st;
    int code = check_file(node, "file", source, &st, err);
    if (code < 0)
        return code;
    out->format = vmc_strdup("raw");
    VMC_AUTO_FREE char *folder = NULL;
    bool near = store->conn->local && !store->conn->test_driver;
    if (near && libvirt_path_reachable(store->qemu_user, source, &folder)) {
        out->kind = LIBVIRT_FILE_IN_PLACE;
        out->path = vmc_strdup(source);
        out->block = S_ISBLK(st.st_mode);
        return 0;
    }
    if (near && !store->predict)
        vmc_note(store->deadline, VMCTL_NOTE_INFO, "%s cannot enter %s; %s is copied into the pool", store->qemu_user,
                 folder, source);
    out->kind = LIBVIRT_FILE_COPY;
    out->source = vmc_strdup(source);
    out->origin = vmc_strdup(source);
    out->source_format = vmc_strdup("raw");
    out->source_bytes = (uint64_t)st.st_size;
    if (S_ISBLK(st.st_mode)) {
        VMC_AUTO_CLOSE int fd = open(source, O_RDONLY | O_CLOEXEC);
        int64_t bytes = fd < 0 ? -1 : vmc_file_bytes(fd);
        if (bytes < 0)
            return libvirt_refuse(err, VMCTL_E_PERMISSION_DENIED, node, "cannot read %s: %s", source, strerror(errno));
        out->source_bytes = (uint64_t)bytes;
    }
    code = place(store, node, pool, name, out, err);
    if (code == 0 && !shares_blocks(source, out->pool))
        out->pool->wanted_bytes += (uint64_t)st.st_size;
    return code;
}

static int plan_cdrom(libvirt_store *store, const vmctl_node *item, const vmctl_node *node, libvirt_file *out,
                      vmctl_error **err) {
    const char *image = vmctl_node_string(node, NULL, "");
    if (!*image) {
        out->kind = LIBVIRT_FILE_NONE;
        return 0;
    }
    struct stat st;
    qemu_img_kind kind = {0};
    vmctl_error *cause = NULL;
    int code = check_file(node, "medium", image, &st, err);
    if (code < 0)
        return code;
    if (qemu_img_probe(image, &kind, &cause) < 0)
        return at_node(err, node, &cause);
    if (!kind.format || (strcmp(kind.name, "iso") != 0 && strcmp(kind.name, "raw") != 0))
        return libvirt_refuse(err, VMCTL_E_INVALID_SPEC, node, "medium %s is %s, not an optical disc's image", image,
                              kind.description);
    VMC_AUTO_FREE char *name = vmc_printf("%s.iso", out->device);
    return libvirt_plan_medium(store, node, image, name, vmctl_node_string(item, "pool", NULL), out, err);
}

/* --- one disk --------------------------------------------------------------------------------------------- */

static int plan_blank(libvirt_store *store, const vmctl_node *item, libvirt_file *out, vmctl_error **err) {
    if (out->bytes == 0)
        return libvirt_refuse(err, VMCTL_E_INVALID_SPEC, item,
                              "disk %s needs one of size, image, backing, volume or cdrom", out->device);
    out->kind = LIBVIRT_FILE_BLANK;
    out->format = vmc_strdup(vmctl_node_string(item, "format", "qcow2"));
    VMC_AUTO_FREE char *name = vmc_printf("%s.%s", out->device, out->format);
    int code = place(store, item, vmctl_node_string(item, "pool", NULL), name, out, err);
    if (code == 0 && out->block) { /* a logical volume is the disk, and takes its whole size */
        free(out->format);
        out->format = vmc_strdup("raw");
        out->pool->wanted_bytes += out->bytes;
    }
    return code;
}

int libvirt_plan_disk(libvirt_store *store, const vmctl_node *item, libvirt_file *out, vmctl_error **err) {
    static const struct {
        const char *key;
        int (*plan)(libvirt_store *store, const vmctl_node *item, const vmctl_node *node, libvirt_file *out,
                    vmctl_error **err);
    } sources[] = {{"image", plan_image}, {"backing", plan_backing}, {"volume", plan_volume}, {"cdrom", plan_cdrom}};
    *out = (libvirt_file){0};
    out->device = vmc_strdup(vmctl_node_string(item, "name", "disk"));
    out->bytes = (uint64_t)vmctl_node_integer(item, "size", 0);
    int code = 1;
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        const vmctl_node *node = vmctl_node_get(item, sources[i].key);
        if (!node)
            continue;
        if (code <= 0) {
            code = libvirt_refuse(err, VMCTL_E_INVALID_SPEC, node,
                                  "disk %s has more than one source; image, backing, volume and cdrom exclude each "
                                  "other",
                                  out->device);
            break;
        }
        code = sources[i].plan(store, item, node, out, err);
        if (code < 0)
            break;
    }
    if (code > 0)
        code = plan_blank(store, item, out, err);
    if (code < 0)
        libvirt_file_free(out);
    return code;
}

int libvirt_plan_source(libvirt_store *store, const char *device, const char *key, const vmctl_node *node,
                        libvirt_file *out, vmctl_error **err) {
    *out = (libvirt_file){.device = vmc_strdup(device)};
    int code =
        strcmp(key, "volume") == 0 ? plan_volume(store, NULL, node, out, err) : plan_cdrom(store, NULL, node, out, err);
    if (code < 0)
        libvirt_file_free(out);
    return code;
}
