/* backends/libvirt/migrate_disks.c - the disks and files that go along: their places on the target, and making them there.
 *
 * A place is the same path where the target has a pool of that folder; else the pool of the same name, else the default one, and the
 * definition follows. */
#include "migrate.h"

#include "base/file.h"
#include "domain_model.h"
#include "rpc.h"
#include "xpath.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- which ---------------------------------------------------------------------------------------------------- */

static bool is_own(const xmlNode *domain, const char *path) {
    LIBVIRT_XML_EACH(file, libvirt_marker_find(domain), "file") {
        if (libvirt_xml_attr_is(file, "path", path))
            return true;
    }
    return false;
}

static bool is_written(const xmlNode *disk) {
    const char *device = libvirt_xml_attr(disk, "device");
    return (!device || strcmp(device, "disk") == 0) && !libvirt_xml_child(disk, "readonly") &&
           !libvirt_xml_child(disk, "shareable");
}

bool libvirt_move_takes(const xmlNode *domain, const xmlNode *disk, const libvirt_migrate_how *how) {
    const char *path = libvirt_disk_path(disk);
    return how->storage && path && (is_written(disk) || is_own(domain, path));
}

bool libvirt_move_takes_file(const xmlNode *domain, const char *path, const libvirt_migrate_how *how) {
    return how->storage && is_own(domain, path);
}

/* --- where ---------------------------------------------------------------------------------------------------- */

/* name (a folder) -> out (the pool's name), found */
static int work_pool_at(libvirt_rpc *rpc) {
    rpc->pool = virStoragePoolLookupByTargetPath(rpc->virt, rpc->name);
    rpc->found = rpc->pool != NULL;
    if (!rpc->pool)
        return libvirt_rpc_absent(rpc, VIR_ERR_NO_STORAGE_POOL);
    rpc->out = strdup(virStoragePoolGetName(rpc->pool));
    return 0;
}

char *libvirt_move_pool_at(libvirt_conn *conn, const char *folder, const vmc_deadline *deadline) {
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    rpc->name = vmc_strdup(folder);
    if (libvirt_rpc_run(conn, deadline, "looking for the storage pool", work_pool_at, rpc, NULL) < 0)
        return NULL;
    char *name = rpc->out;
    rpc->out = NULL;
    return name;
}

/* name (a path) -> out (the pool's name), text (the volume's backing file; NULL), found */
static int work_pool_of(libvirt_rpc *rpc) {
    rpc->volume = virStorageVolLookupByPath(rpc->virt, rpc->name);
    rpc->found = rpc->volume != NULL;
    if (!rpc->volume)
        return libvirt_rpc_absent(rpc, VIR_ERR_NO_STORAGE_VOL);
    rpc->pool = virStoragePoolLookupByVolume(rpc->volume);
    char *xml = rpc->pool ? virStorageVolGetXMLDesc(rpc->volume, 0) : NULL;
    if (!xml)
        return libvirt_rpc_absent(rpc, VIR_ERR_NO_STORAGE_VOL);
    rpc->out = strdup(virStoragePoolGetName(rpc->pool));
    rpc->text = libvirt_xpath_text(xml, "/volume/backingStore/path");
    free(xml);
    return 0;
}

/* domain and name ("vda") -> number (capacity), length (allocation) */
static int work_block(libvirt_rpc *rpc) {
    virDomainBlockInfo info;
    if (virDomainGetBlockInfo(rpc->domain, rpc->name, &info, 0) < 0)
        return -1;
    rpc->number = info.capacity;
    rpc->length = (size_t)info.allocation;
    return 0;
}

typedef struct planning {
    libvirt_conn *source, *target;
    const libvirt_vm *vm;
    const xmlNode *domain;
    const libvirt_migrate_how *how;
    const vmc_deadline *deadline;
    libvirt_move_files *files;
    libvirt_obstacles *obstacles;
} planning;

/* The store's pool of that name (NULL: the default one). */
static int use_pool(const planning *p, const char *name, libvirt_pool **out, vmctl_error **err) {
    libvirt_store *store = &p->files->store;
    for (libvirt_pool *pool = store->pools; pool; pool = pool->next)
        if (vmc_str_eq(pool->name, name ? name : LIBVIRT_DEFAULT_POOL)) {
            *out = pool;
            return 0;
        }
    libvirt_pool *pool = NULL;
    int code = libvirt_pool_find(p->target, name, p->deadline, &pool, err);
    if (code < 0)
        return code;
    if (pool->active) /* a copy that was left by an earlier move and removed by hand is still in its list */
        libvirt_pool_refresh(p->target, pool, p->deadline);
    if (!p->source->local) /* a local file to copy from is what writing into the folder itself needs */
        pool->direct = false;
    pool->next = store->pools;
    store->pools = pool;
    *out = pool;
    return 0;
}

static int choose_pool(const planning *p, const char *path, const char *source_pool, libvirt_pool **out,
                       vmctl_error **err) {
    VMC_AUTO_FREE char *folder = vmc_path_dirname(path);
    VMC_AUTO_FREE char *same = libvirt_move_pool_at(p->target, folder, p->deadline);
    if (same)
        return use_pool(p, same, out, err);
    vmctl_error *why = NULL;
    int code = use_pool(p, source_pool, out, &why);
    if (code == VMCTL_E_NOT_FOUND && source_pool) {
        vmctl_error_free(why);
        return use_pool(p, NULL, out, err);
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}

static int check_free(const planning *p, const libvirt_move_file *item, vmctl_error **err) {
    VMC_AUTO_FREE char *xml = NULL;
    bool taken = p->target->local && access(item->file.path, F_OK) == 0;
    int code = taken ? 0 : libvirt_volume_find(p->target, item->file.path, p->deadline, NULL, &xml, err);
    if (code < 0 || (!taken && !xml))
        return code;
    VMC_AUTO_FREE char *remedy = vmc_printf("if nothing needs it there: vmctl image delete --connect '%s' %s/%s",
                                            p->target->uri, item->file.pool->name, item->file.name);
    libvirt_obstacle_add(p->obstacles, true, VMCTL_E_ALREADY_EXISTS, "disk", remedy, "the target has a file %s already",
                         item->file.path);
    return 0;
}

/* What can only be copied whole: an overlay's file alone is worth nothing without what it stands on. */
static int check_backing(const planning *p, const libvirt_move_file *item, const char *backing, vmctl_error **err) {
    if (!backing || (p->how->live && item->written))
        return 0;
    VMC_AUTO_FREE char *xml = NULL;
    int code = libvirt_volume_find(p->target, backing, p->deadline, NULL, &xml, err);
    if (code == 0 && !xml)
        libvirt_obstacle_add(p->obstacles, true, VMCTL_E_NOT_FOUND, "disk",
                             "put that file there, or move the VM running (the copy is whole then)",
                             "%s stands on %s, which the target does not have", item->path, backing);
    return code;
}

static int plan_sizes(const planning *p, libvirt_move_file *item, vmctl_error **err) {
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(p->source);
    libvirt_file *file = &item->file;
    if (!item->target) {
        file->source_bytes = 0; /* grows as it is filled */
        return 0;
    }
    virDomainRef(p->vm->domain);
    rpc->domain = p->vm->domain;
    rpc->name = vmc_strdup(item->target);
    int code = libvirt_rpc_run(p->source, p->deadline, "asking how large the disk is", work_block, rpc, err);
    file->bytes = file->source_bytes = rpc->number;
    if (code == 0)
        file->pool->wanted_bytes += rpc->length;
    return code;
}

static int plan_one(const planning *p, const char *device, const char *target, const char *path, const char *format,
                    bool written, vmctl_error **err) {
    LIBVIRT_AUTO_RPC *at = libvirt_rpc_new(p->source);
    at->name = vmc_strdup(path);
    int code = libvirt_rpc_run(p->source, p->deadline, "looking for the volume", work_pool_of, at, err);
    if (code < 0)
        return code;
    bool blank = p->how->live && written;
    p->files->moved = p->files->moved || (at->text && blank); /* the copy is whole, and stands on nothing */
    if (!at->found && !p->source->local && !blank) {
        libvirt_obstacle_add(p->obstacles, true, VMCTL_E_UNSUPPORTED, "disk",
                             "make a pool of its folder (virsh pool-define-as), or run vmctl on that host",
                             "%s is in no storage pool of its host, so it cannot be read from here", path);
        return 0;
    }
    p->files->items = vmc_realloc(p->files->items, p->files->count + 1, sizeof *p->files->items);
    libvirt_move_file *item = &p->files->items[p->files->count++];
    *item = (libvirt_move_file){.target = vmc_strdup(target), .path = vmc_strdup(path), .written = written};
    libvirt_file *file = &item->file;
    file->kind = blank || !p->source->local ? LIBVIRT_FILE_BLANK : LIBVIRT_FILE_COPY;
    file->device = vmc_strdup(device);
    file->name = vmc_strdup(vmc_path_basename(path));
    file->format = vmc_strdup(format ? format : "raw");
    file->source = vmc_strdup(path);
    file->source_format = vmc_strdup(file->format);
    code = choose_pool(p, path, at->out, &file->pool, err);
    if (code < 0)
        return code;
    file->block = !file->pool->folder;
    file->path = vmc_printf("%s/%s", file->pool->path ? file->pool->path : "", file->name);
    if (strcmp(file->path, path) != 0) {
        p->files->moved = true;
        vmc_note(p->deadline, VMCTL_NOTE_INFO, "%s goes to %s on the target (pool %s)", path, file->path,
                 file->pool->name);
    }
    code = plan_sizes(p, item, err);
    if (code == 0)
        code = check_free(p, item, err);
    return code < 0 ? code : check_backing(p, item, at->text, err);
}

static int plan_boot_file(const planning *p, const char *element, vmctl_error **err) {
    VMC_AUTO_FREE char *path = libvirt_xml_content(libvirt_xml_find(p->domain, element));
    if (!path || !libvirt_move_takes_file(p->domain, path, p->how))
        return 0;
    return plan_one(p, NULL, NULL, path, "raw", false, err);
}

int libvirt_move_files_plan(libvirt_conn *source, libvirt_conn *target, const libvirt_vm *vm,
                            const libvirt_migrate_vm *facts, const libvirt_migrate_how *how,
                            const vmc_deadline *deadline, libvirt_move_files *out, libvirt_obstacles *obstacles,
                            vmctl_error **err) {
    const xmlNode *domain = xmlDocGetRootElement(facts->doc);
    planning p = {source, target, vm, domain, how, deadline, out, obstacles};
    *out = (libvirt_move_files){0};
    libvirt_store_open(&out->store, target, deadline, vm->name, NULL);
    out->store.keep_used = true;
    if (!how->storage)
        return 0;
    int code = 0;
    LIBVIRT_XML_EACH(disk, libvirt_xml_child(domain, "devices"), "disk") {
        if (code < 0 || !libvirt_move_takes(domain, disk, how))
            continue;
        VMC_AUTO_FREE char *name = libvirt_is_seed(disk) ? NULL : libvirt_name_read(domain, disk);
        code = plan_one(&p, name, libvirt_xml_attr_at(disk, "target", "dev"), libvirt_disk_path(disk),
                        libvirt_xml_attr_at(disk, "driver", "type"), is_written(disk), err);
    }
    if (code == 0)
        code = plan_boot_file(&p, "os/kernel", err);
    if (code == 0)
        code = plan_boot_file(&p, "os/initrd", err);
    vmctl_error *full = NULL;
    if (code == 0 && libvirt_plan_fits(&out->store, &full) < 0)
        libvirt_obstacle_add(obstacles, true, VMCTL_E_RESOURCE_EXHAUSTED, "pool", "free some space there",
                             "on the target, %s", vmctl_error_message(full));
    vmctl_error_free(full);
    return code;
}

void libvirt_move_files_free(libvirt_move_files *files) {
    for (size_t i = 0; i < files->count; i++) {
        free(files->items[i].target);
        free(files->items[i].path);
        libvirt_file_free(&files->items[i].file);
    }
    free(files->items);
    if (files->store.conn)
        libvirt_store_close(&files->store);
    *files = (libvirt_move_files){0};
}

/* --- making them ---------------------------------------------------------------------------------------------- */

/* The bytes of a file that only the source's daemon can read. */
static int fill(libvirt_conn *source, libvirt_move_files *files, const libvirt_move_file *item, vmctl_error **err) {
    const libvirt_file *file = &item->file;
    VMC_AUTO_FREE char *name = vmc_printf("%s/%s", file->pool->name, file->name);
    VMC_AUTO_FREE char *xml = NULL;
    virStorageVolPtr volume = NULL;
    int code = libvirt_volume_find(files->store.conn, name, files->store.deadline, &volume, &xml, err);
    if (code == 0 && !volume)
        code = vmc_error(err, VMCTL_E_NOT_FOUND, "the new volume %s vanished from the target", name);
    if (code == 0)
        code = libvirt_copy_volume(source, item->path, files->store.conn, volume, file, files->store.vm,
                                   files->store.deadline, err);
    if (volume)
        libvirt_conn_release(files->store.conn, (int (*)(void *))virStorageVolFree, volume);
    return code;
}

int libvirt_move_files_make(libvirt_conn *source, libvirt_move_files *files, bool live, vmc_journal *journal,
                            vmctl_error **err) {
    int code = libvirt_make_pools(&files->store, err);
    for (libvirt_pool *pool = files->store.pools; pool; pool = pool->next)
        if (!source->local)
            pool->direct = false;
    for (size_t i = 0; code == 0 && i < files->count; i++) {
        libvirt_move_file *item = &files->items[i];
        VMC_AUTO_FREE char *before = vmc_strdup(item->file.path);
        code = libvirt_make_file(&files->store, &item->file, journal, err);
        files->moved = files->moved || !vmc_str_eq(before, item->file.path);
        if (code == 0 && !source->local && !(live && item->written))
            code = fill(source, files, item, err);
    }
    libvirt_store_sync(&files->store);
    return code;
}

/* --- the document --------------------------------------------------------------------------------------------- */

static const char *moved_path(const libvirt_move_files *files, const char *path) {
    for (size_t i = 0; path && i < files->count; i++)
        if (strcmp(files->items[i].path, path) == 0)
            return files->items[i].file.path;
    return NULL;
}

/* The serial log lies beside the disks, and goes where they go. free; NULL: it stays. */
static char *moved_log(const libvirt_move_files *files, const char *path) {
    VMC_AUTO_FREE char *folder = path ? vmc_path_dirname(path) : NULL;
    for (size_t i = 0; folder && i < files->count; i++) {
        VMC_AUTO_FREE char *from = vmc_path_dirname(files->items[i].path);
        VMC_AUTO_FREE char *to = vmc_path_dirname(files->items[i].file.path);
        if (strcmp(from, folder) == 0)
            return vmc_printf("%s/%s", to, vmc_path_basename(path));
    }
    return NULL;
}

static void move_texts(const libvirt_move_files *files, xmlNode *domain, const char *element) {
    xmlNode *node = libvirt_xml_find(domain, element);
    VMC_AUTO_FREE char *path = libvirt_xml_content(node);
    const char *to = moved_path(files, path);
    if (to)
        libvirt_xml_set_text(node, to);
}

char *libvirt_move_files_xml(const libvirt_move_files *files, const char *xml) {
    LIBVIRT_AUTO_XML *doc = NULL;
    if (!xml || libvirt_xml_parse(xml, "the domain XML", "domain", VMCTL_E_INTERNAL, &doc, NULL, NULL) < 0)
        return vmc_strdup(xml);
    xmlNode *domain = xmlDocGetRootElement(doc);
    xmlNode *devices = libvirt_xml_child(domain, "devices");
    LIBVIRT_XML_EACH(disk, devices, "disk") {
        const char *to = moved_path(files, libvirt_disk_path(disk));
        xmlNode *source = libvirt_xml_child(disk, "source");
        if (!to)
            continue;
        libvirt_xml_set(source, libvirt_xml_attr_is(disk, "type", "block") ? "dev" : "file", to);
        libvirt_xml_drop(libvirt_xml_child(disk, "backingStore")); /* the copy is whole */
    }
    LIBVIRT_XML_EACH(file, libvirt_marker_find(domain), "file") {
        const char *to = moved_path(files, libvirt_xml_attr(file, "path"));
        if (to)
            libvirt_xml_set(file, "path", to);
    }
    for (xmlNode *device = libvirt_xml_child(devices, NULL); device; device = libvirt_xml_next(device, NULL)) {
        xmlNode *log = libvirt_xml_child(device, "log");
        VMC_AUTO_FREE char *to = moved_log(files, libvirt_xml_attr(log, "file"));
        if (to)
            libvirt_xml_set(log, "file", to);
    }
    move_texts(files, domain, "os/kernel");
    move_texts(files, domain, "os/initrd");
    return libvirt_xml_text(doc);
}
