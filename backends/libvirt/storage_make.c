/* backends/libvirt/storage_make.c - making the planned files: in the pool's folder, or through the daemon. */
#include "storage.h"

#include "base/file.h"
#include "base/random.h"
#include "drivers/qemu_img/qemu_img.h"
#include "rpc.h"
#include "xpath.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int libvirt_make_pools(libvirt_store *store, vmctl_error **err) {
    for (libvirt_pool *pool = store->pools; pool; pool = pool->next) {
        int code = libvirt_pool_ready(store->conn, pool, store->deadline, err);
        if (code < 0)
            return code;
    }
    return 0;
}

void libvirt_store_sync(libvirt_store *store) {
    for (libvirt_pool *pool = store->pools; pool; pool = pool->next)
        if (pool->touched)
            libvirt_pool_refresh(store->conn, pool, store->deadline);
}

static char *stage_of(const libvirt_file *file) {
    return file->device ? vmc_printf("copying disk %s", file->device) : vmc_printf("copying %s", file->name);
}

/* --- in the folder ---------------------------------------------------------------------------------------- */

static int write_bytes(const char *path, const char *bytes, size_t length, vmctl_error **err) {
    VMC_AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return vmc_error_errno(err, errno, "cannot make %s", path);
    for (size_t done = 0; done < length;) {
        ssize_t n = write(fd, bytes + done, length - done);
        if (n < 0 && errno != EINTR)
            return vmc_error_errno(err, errno, "cannot write %s", path);
        done += n > 0 ? (size_t)n : 0;
    }
    return fsync(fd) < 0 ? vmc_error_errno(err, errno, "cannot write %s", path) : 0;
}

static int copy_source(const libvirt_store *store, const libvirt_file *file, const char *target, vmctl_error **err) {
    VMC_AUTO_FREE char *stage = stage_of(file);
    qemu_img_label label = {store->vm, stage, file->device};
    struct stat st;
    bool plain = stat(file->source, &st) == 0 && S_ISREG(st.st_mode);
    if (plain && strcmp(file->source_format, file->format) == 0)
        return qemu_img_copy(file->source, target, 0600, &label, store->deadline, err);
    qemu_img_convert_args args = {
        .source = file->source,
        .source_format = file->source_format,
        .target = target,
        .target_format = file->format,
        .label = &label,
    };
    return qemu_img_convert(&args, store->deadline, err);
}

/* Read through what it stands on: it is a disk of a VM of this host, which libvirt follows too. */
static int copy_flat(const libvirt_store *store, const libvirt_file *file, const char *target, vmctl_error **err) {
    VMC_AUTO_FREE char *stage = stage_of(file);
    qemu_img_label label = {store->vm, stage, file->device};
    QEMU_IMG_AUTO_INFO info = {0};
    struct stat st;
    int code = qemu_img_inspect(file->source, file->source_format, store->deadline, &info, err);
    if (code < 0)
        return code;
    bool is_plain = !file->snapshot && !info.backing && !info.data_file && info.snapshots.count == 0 &&
                    strcmp(file->source_format, file->format) == 0;
    if (is_plain && stat(file->source, &st) == 0 && S_ISREG(st.st_mode))
        return qemu_img_copy(file->source, target, 0600, &label, store->deadline, err);
    qemu_img_convert_args args = {
        .source = file->source,
        .source_format = file->source_format,
        .target = target,
        .target_format = file->format,
        .snapshot = file->snapshot,
        .follow_backing = true,
        .label = &label,
    };
    return qemu_img_convert(&args, store->deadline, err);
}

static int produce(const libvirt_store *store, const libvirt_file *file, const char *target, vmctl_error **err) {
    qemu_img_create_args args = {.path = target, .format = file->format, .bytes = file->bytes};
    int code = 0;
    switch (file->kind) {
    case LIBVIRT_FILE_BYTES:
        return write_bytes(target, file->content, file->length, err);
    case LIBVIRT_FILE_COPY:
        code = copy_source(store, file, target, err);
        if (code == 0 && file->bytes > file->source_bytes)
            code = qemu_img_resize(target, file->format, file->bytes, false, store->deadline, err);
        return code;
    case LIBVIRT_FILE_FLAT:
        return copy_flat(store, file, target, err);
    case LIBVIRT_FILE_OVERLAY:
        args.backing = file->source;
        args.backing_format = file->source_format;
        return qemu_img_create(&args, store->deadline, err);
    case LIBVIRT_FILE_BLANK:
        return qemu_img_create(&args, store->deadline, err);
    default:
        return vmc_error(err, VMCTL_E_INTERNAL, "%s is not made", file->path);
    }
}

static int publish(const libvirt_store *store, const char *unfinished, const libvirt_file *file, vmc_journal *journal,
                   vmctl_error **err) {
    struct stat st;
    if (chmod(unfinished, 0600) < 0 || stat(unfinished, &st) < 0)
        return vmc_error_errno(err, errno, "cannot make %s", file->path);
    VMC_AUTO_FREE char *detail =
        vmc_printf("%llu:%llu %s", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino, file->path);
    size_t mark = 0;
    int code = vmc_journal_add(journal, store->keep_used ? "added" : "inode", detail, &mark, err);
    if (code < 0)
        return code;
    if (vmc_file_place(unfinished, file->path) < 0)
        return vmc_error_errno(err, errno, "cannot make %s", file->path);
    return 0;
}

static int make_in_folder(const libvirt_store *store, libvirt_file *file, vmc_journal *journal, vmctl_error **err) {
    VMC_AUTO_FREE char *unfinished = vmc_unfinished_name(file->pool->path, file->name);
    size_t mark = 0;
    int code = vmc_journal_add(journal, "file", unfinished, &mark, err);
    if (code == 0)
        code = produce(store, file, unfinished, err);
    if (code == 0)
        code = publish(store, unfinished, file, journal, err);
    if (code < 0)
        return code;
    file->pool->touched = true;
    return vmc_journal_drop(journal, mark, err);
}

/* --- through the daemon ----------------------------------------------------------------------------------- */

enum { RENEW_MS = 30000 };

struct libvirt_volume_note {
    vmc_journal *journal;
    const char *kind;
    size_t mark;
    int64_t at_ms;
};

static unsigned long long own_token(void) {
    static unsigned long long token;
    unsigned long long made = 0, none = 0;
    if (__atomic_load_n(&token, __ATOMIC_ACQUIRE) == 0) {
        made = vmc_random();
        __atomic_compare_exchange_n(&token, &none, made | 1, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    }
    return __atomic_load_n(&token, __ATOMIC_ACQUIRE);
}

static int note_volume(const libvirt_file *file, size_t *mark, vmctl_error **err) {
    VMC_AUTO_FREE char *detail =
        vmc_printf("%016llx:%lld %s/%s", own_token(), (long long)time(NULL), file->pool->name, file->name);
    file->note->at_ms = vmc_now_ms();
    return vmc_journal_add(file->note->journal, file->note->kind, detail, mark, err);
}

int libvirt_volume_note_renew(const libvirt_file *file, vmctl_error **err) {
    if (!file->note || vmc_now_ms() - file->note->at_ms < RENEW_MS)
        return 0;
    size_t mark = 0;
    int code = note_volume(file, &mark, err);
    if (code == 0)
        code = vmc_journal_drop(file->note->journal, file->note->mark, err);
    file->note->mark = mark;
    return code;
}

const char *libvirt_volume_note_read(const char *detail, bool *own, int64_t *seconds) {
    unsigned long long token = 0;
    long long at = 0;
    int length = 0;
    *own = false;
    *seconds = 0;
    if (sscanf(detail, "%16llx:%lld %n", &token, &at, &length) < 2 || length == 0)
        return detail; /* of an earlier version */
    *own = token == own_token();
    *seconds = at;
    return detail + length;
}

static char *volume_xml(const libvirt_file *file, uint64_t capacity) {
    VMC_AUTO_STR xml = {0};
    vmc_str_add(&xml, "<volume><name>");
    libvirt_xml_escape(&xml, file->name);
    vmc_str_printf(&xml, "</name><capacity unit='bytes'>%llu</capacity>", (unsigned long long)capacity);
    if (!file->block)
        vmc_str_add(&xml, "<allocation unit='bytes'>0</allocation>");
    vmc_str_printf(&xml, "<target><format type='%s'/></target>", file->format);
    if (file->kind == LIBVIRT_FILE_OVERLAY) {
        vmc_str_add(&xml, "<backingStore><path>");
        libvirt_xml_escape(&xml, file->source);
        vmc_str_printf(&xml, "</path><format type='%s'/></backingStore>", file->source_format);
    }
    vmc_str_add(&xml, "</volume>");
    return vmc_str_take(&xml);
}

/* pool and text (XML) -> volume, out (its path) */
static int work_create_volume(libvirt_rpc *rpc) {
    rpc->volume = virStorageVolCreateXML(rpc->pool, rpc->text, 0);
    rpc->out = rpc->volume ? virStorageVolGetPath(rpc->volume) : NULL;
    return rpc->out ? 0 : -1;
}

/* name (the source's path), pool and text (XML) -> volume, out (its path). The daemon copies, and flattens with qemu-img. */
static int work_clone_volume(libvirt_rpc *rpc) {
    virStorageVolPtr source = virStorageVolLookupByPath(rpc->virt, rpc->name);
    if (!source)
        return -1;
    rpc->volume = virStorageVolCreateXMLFrom(rpc->pool, rpc->text, source, 0);
    if (!rpc->volume)
        rpc->failure = virSaveLastError();
    virStorageVolFree(source);
    rpc->out = rpc->volume ? virStorageVolGetPath(rpc->volume) : NULL;
    return rpc->out ? 0 : -1;
}

/* volume and number (bytes) */
static int work_resize(libvirt_rpc *rpc) {
    return virStorageVolResize(rpc->volume, rpc->number, 0);
}

/* The local file whose bytes become the volume's: the source, or a conversion of it in the cache. */
static int local_form(const libvirt_store *store, const libvirt_file *file, vmc_journal *journal, char **path,
                      bool *temporary, size_t *mark, vmctl_error **err) {
    *temporary = strcmp(file->source_format, file->format) != 0;
    if (!*temporary) {
        *path = vmc_strdup(file->source);
        return 0;
    }
    VMC_AUTO_FREE char *folder = vmc_xdg_cache("converted");
    int code = vmc_mkdirs(folder, 0700, err);
    if (code < 0)
        return code;
    *path = vmc_unfinished_name(folder, file->name);
    code = vmc_journal_add(journal, "file", *path, mark, err);
    return code < 0 ? code : copy_source(store, file, *path, err);
}

static int fill_volume(libvirt_store *store, const libvirt_file *file, virStorageVolPtr volume, vmc_journal *journal,
                       vmctl_error **err) {
    if (file->kind == LIBVIRT_FILE_BYTES)
        return libvirt_upload(store->conn, volume, file, NULL, store->vm, store->deadline, err);
    if (file->kind != LIBVIRT_FILE_COPY)
        return 0;
    VMC_AUTO_FREE char *path = NULL;
    bool temporary = false;
    size_t mark = 0;
    int code = local_form(store, file, journal, &path, &temporary, &mark, err);
    if (code == 0)
        code = libvirt_upload(store->conn, volume, file, path, store->vm, store->deadline, err);
    if (code == 0 && temporary && unlink(path) == 0)
        code = vmc_journal_drop(journal, mark, err);
    return code;
}

static int make_through_daemon(libvirt_store *store, libvirt_file *file, vmc_journal *journal, vmctl_error **err) {
    bool copy = file->kind == LIBVIRT_FILE_COPY;
    uint64_t capacity = copy || file->bytes == 0 ? file->source_bytes : file->bytes;
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(store->conn);
    virStoragePoolRef(file->pool->virt);
    rpc->pool = file->pool->virt;
    rpc->text = volume_xml(file, capacity);
    if (!file->note)
        file->note = vmc_alloc(sizeof *file->note);
    file->note->journal = journal;
    file->note->kind = store->keep_used ? "added-volume" : "volume";
    int code = note_volume(file, &file->note->mark, err);
    if (code < 0)
        return code;
    bool flat = file->kind == LIBVIRT_FILE_FLAT;
    rpc->name = vmc_strdup(file->source);
    code = libvirt_rpc_run(store->conn, store->deadline, flat ? "copying the volume" : "making the volume",
                           flat ? work_clone_volume : work_create_volume, rpc, err);
    if (code == VMCTL_E_ALREADY_EXISTS)
        vmc_journal_drop(journal, file->note->mark, NULL);
    if (code < 0)
        return vmc_error_prefix(err, "%s/%s", file->pool->name, file->name);
    free(file->path);
    file->path = rpc->out;
    rpc->out = NULL;
    code = fill_volume(store, file, rpc->volume, journal, err);
    if (code == 0 && copy && file->bytes > file->source_bytes) {
        rpc->number = file->bytes;
        code = libvirt_rpc_run(store->conn, store->deadline, "growing the volume", work_resize, rpc, err);
    }
    return code;
}

int libvirt_make_file(libvirt_store *store, libvirt_file *file, vmc_journal *journal, vmctl_error **err) {
    if (file->kind == LIBVIRT_FILE_NONE || file->kind == LIBVIRT_FILE_IN_PLACE)
        return 0;
    int code = vmc_deadline_check(store->deadline, "making the disks", err);
    if (code < 0)
        return code;
    if (file->pool->direct)
        return make_in_folder(store, file, journal, err);
    return make_through_daemon(store, file, journal, err);
}
