/* Images: local files and the cache through the tools' table, the endpoint's through the backend. */
#include "base/file.h"
#include "base/redact.h"
#include "internal.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Names the action in an error that is about no endpoint. */
static int local_end(int rc, vmctl_error **err, const char *action, const char *what) {
    if (rc < 0 && err && *err) {
        VMC_AUTO_FREE char *text = vmc_printf("cannot %s %s", action, what ? what : "nothing");
        vmc_error_where(err, text, NULL, NULL, NULL);
    }
    return rc < 0 ? rc : 0;
}

static int local_call(const vmctl_call *given, int64_t default_ms, vmctl_call *call, vmctl_error **err) {
    int rc = vmc_options_copy(call, given, err);
    if (rc == 0 && call->timeout_ms == 0)
        call->timeout_ms = default_ms;
    return rc;
}

int vmctl_image_inspect(const char *path, const vmctl_call *given, vmctl_image_fn each, void *user, vmctl_error **err) {
    vmctl_call call = VMCTL_CALL_INIT;
    const vmc_tools *tools;
    int rc = local_call(given, VMC_ASK_MS, &call, err);
    if (rc == 0)
        rc = vmc_check_text(path, "the image's path", err);
    if (rc == 0 && !each)
        rc = vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "no callback was given");
    if (rc == 0)
        rc = vmc_tools_get(&tools, err);
    if (rc == 0)
        rc = tools->image_inspect(path, &call, each, user, err);
    return local_end(rc, err, "inspect", path);
}

int vmctl_image_convert(const char *source, const char *target, const vmctl_image_convert_options *options,
                        vmctl_error **err) {
    vmctl_image_convert_options o = VMCTL_IMAGE_CONVERT_OPTIONS_INIT;
    vmctl_call call = VMCTL_CALL_INIT;
    const vmc_tools *tools;
    int rc = vmc_options_copy(&o, options, err);
    if (rc == 0)
        rc = local_call(o.call, VMC_NO_LIMIT, &call, err);
    o.call = &call;
    if (rc == 0)
        rc = vmc_check_text(source, "the image's path", err);
    if (rc == 0)
        rc = vmc_check_text(target, "the target's path", err);
    if (rc == 0)
        rc = vmc_tools_get(&tools, err);
    if (rc == 0)
        rc = tools->image_convert(source, target, &o, err);
    return local_end(rc, err, "convert", source);
}

int vmctl_image_pull(const char *url, const vmctl_image_pull_options *options, char **path, vmctl_error **err) {
    vmctl_image_pull_options o = VMCTL_IMAGE_PULL_OPTIONS_INIT;
    vmctl_call call = VMCTL_CALL_INIT;
    const vmc_tools *tools;
    int rc = vmc_options_copy(&o, options, err);
    if (rc == 0)
        rc = local_call(o.call, VMC_NO_LIMIT, &call, err);
    o.call = &call;
    if (rc == 0)
        rc = vmc_check_text(url, "the URL", err);
    if (rc == 0)
        rc = vmc_tools_get(&tools, err);
    if (rc == 0) {
        VMC_AUTO_FREE char *folder = vmc_xdg_cache("images");
        VMC_AUTO_FREE char *file = NULL;
        rc = tools->image_fetch(url, folder, &o, &file, err);
        if (rc == 0 && path) {
            *path = file;
            file = NULL;
        }
    }
    return local_end(rc, err, "fetch", "the image"); /* the URL may hold a secret; the message has it redacted */
}

/* --- the cache -------------------------------------------------------------------------------------------- */

/* What the fetcher keeps beside an image. */
static const char *const beside[] = {".part", ".meta", ".lock"};
enum { BESIDE = sizeof beside / sizeof beside[0] };

static bool is_image_name(const char *name) {
    if (name[0] == '.')
        return false;
    for (size_t i = 0; i < BESIDE; i++)
        if (vmc_ends_with(name, beside[i]))
            return false;
    return true;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

typedef struct cached {
    const char *name;
    vmctl_image_fn each;
    void *user;
    int stop;
} cached;

static int tell_cached(const vmctl_image *given, void *user) {
    cached *c = user;
    vmctl_image image = *given;
    image.name = c->name;
    c->stop = c->each(&image, c->user);
    return c->stop;
}

static int list_cache(const vmctl_call *call, vmctl_image_fn each, void *user, vmctl_error **err) {
    VMC_AUTO_FREE char *folder = vmc_xdg_cache("images");
    DIR *dir = opendir(folder);
    if (!dir)
        return errno == ENOENT ? 0 : vmc_error_errno(err, errno, "cannot read %s", folder);
    VMC_AUTO_STRV names = {0};
    for (struct dirent *e; (e = readdir(dir));)
        if (is_image_name(e->d_name))
            vmc_strv_add(&names, e->d_name);
    closedir(dir);
    const vmc_tools *tools;
    int rc = names.count ? vmc_tools_get(&tools, err) : 0;
    if (rc < 0 || names.count == 0)
        return rc;
    qsort(names.items, names.count, sizeof *names.items, by_name);
    cached c = {NULL, each, user, 0};
    for (size_t i = 0; i < names.count && !c.stop; i++) {
        VMC_AUTO_FREE char *path = vmc_printf("%s/%s", folder, names.items[i]);
        c.name = names.items[i];
        vmctl_error *why = NULL;
        rc = tools->image_inspect(path, call, tell_cached, &c, &why);
        if (rc == VMCTL_E_CANCELLED || rc == VMCTL_E_TIMEOUT) {
            vmc_error_move(err, &why);
            return rc;
        }
        vmctl_error_free(why);
        struct stat st;
        if (rc < 0 && stat(path, &st) == 0 && S_ISREG(st.st_mode)) { /* no image, but it takes its room */
            vmctl_image image = {.size = sizeof image,
                                 .path = path,
                                 .allocated_bytes = (uint64_t)st.st_blocks * 512,
                                 .modified = st.st_mtime};
            tell_cached(&image, &c);
        }
    }
    return 0;
}

static int delete_cached(const char *name, vmctl_error **err) {
    if (strchr(name, '/') || !is_image_name(name))
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "\"%s\" is no name of the cache", name);
    VMC_AUTO_FREE char *folder = vmc_xdg_cache("images");
    VMC_AUTO_FREE char *path = vmc_printf("%s/%s", folder, name);
    if (unlink(path) < 0) {
        int rc = vmc_error_errno(err, errno, "the cache has no image %s", name);
        vmc_error_next(err, "vmctl image list shows what there is");
        return rc;
    }
    for (size_t i = 0; i < BESIDE; i++) {
        VMC_AUTO_FREE char *other = vmc_printf("%s%s", path, beside[i]);
        unlink(other); /* may be absent */
    }
    return 0;
}

/* --- the endpoint's --------------------------------------------------------------------------------------- */

int vmctl_image_list(vmctl_connection *connection, const char *pool, const vmctl_call *given, vmctl_image_fn each,
                     void *user, vmctl_error **err) {
    if (!connection) {
        vmctl_call call = VMCTL_CALL_INIT;
        int rc = local_call(given, VMC_ASK_MS, &call, err);
        if (rc == 0 && !each)
            rc = vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "no callback was given");
        if (rc == 0)
            rc = list_cache(&call, each, user, err);
        return local_end(rc, err, "list", "the image cache");
    }
    vmc_op op;
    int rc = vmc_op_begin(&op, connection, NULL, VMCTL_SLOT_image_list, given, VMC_ASK_MS, false, err);
    if (rc == 0 && !each)
        rc = vmc_error(&op.why, VMCTL_E_INVALID_ARGUMENT, "no callback was given");
    if (rc == 0)
        rc = op.ops->image_list(op.conn, pool, &op.call, each, user, &op.why);
    return vmc_op_end(&op, rc, "list images");
}

/* A file, or what the endpoint can fetch itself. */
static int check_source(const vmc_op *op, const char *path, vmctl_error **err) {
    bool away = strstr(path, "://") || vmc_starts_with(path, "pvc:") || vmc_starts_with(path, "snapshot:");
    if (away && op->connection->entry->descriptor->image_sources & VMCTL_SOURCE_URL)
        return 0;
    if (vmc_file_exists(path))
        return 0;
    if (!away)
        return vmc_error(err, VMCTL_E_NOT_FOUND, "there is no file %s", path);
    VMC_AUTO_FREE char *shown = vmc_redact_url(path);
    vmc_error(err, VMCTL_E_UNSUPPORTED, "this endpoint fetches no images itself, and there is no file %s", shown);
    vmc_error_next(err, "vmctl image pull URL, then vmctl image upload FILE");
    return VMCTL_E_UNSUPPORTED;
}

int vmctl_image_upload(vmctl_connection *connection, const char *path, const vmctl_image_upload_options *options,
                       vmctl_error **err) {
    vmctl_image_upload_options o = VMCTL_IMAGE_UPLOAD_OPTIONS_INIT;
    int rc = vmc_options_copy(&o, options, err);
    if (rc < 0)
        return rc;
    vmc_op op;
    rc = vmc_op_begin(&op, connection, NULL, VMCTL_SLOT_image_upload, o.call, VMC_NO_LIMIT, true, err);
    o.call = &op.call;
    if (rc == 0)
        rc = vmc_check_text(path, "the image's path", &op.why);
    if (rc == 0)
        rc = check_source(&op, path, &op.why);
    VMC_AUTO_FREE char *shown = path ? vmc_redact_url(path) : NULL; /* it may hold a secret */
    vmc_journal *journal = NULL;
    if (rc == 0) {
        VMC_AUTO_FREE char *operation = vmc_printf("upload of %s", shown);
        rc = vmc_journal_open(op.connection->uri, operation, &journal, &op.why);
    }
    if (rc == 0) {
        rc = op.ops->image_upload(op.conn, path, &o, journal, &op.why);
        if (rc < 0)
            vmc_op_undo(&op, journal);
    }
    vmc_journal_close(journal);
    return vmc_op_end(&op, rc, "upload %s", shown ? shown : "an image");
}

/* A new file of this machine: the slot fills it, `free` until then. */
static int check_target(vmc_op *op, const char *path) {
    int rc = vmc_check_text(path, "the file's name", &op->why);
    if (rc < 0 || !vmc_file_exists(path))
        return rc;
    vmc_error(&op->why, VMCTL_E_ALREADY_EXISTS, "%s exists already and is not overwritten", path);
    return vmc_error_next(&op->why, "remove it, or take another name");
}

int vmctl_image_download(vmctl_connection *connection, const char *name, const char *path, const vmctl_call *call,
                         vmctl_error **err) {
    vmc_op op;
    int rc = vmc_op_begin(&op, connection, NULL, VMCTL_SLOT_image_download, call, VMC_NO_LIMIT, true, err);
    if (rc == 0)
        rc = vmc_check_text(name, "the image's name", &op.why);
    if (rc == 0)
        rc = check_target(&op, path);
    vmc_journal *journal = NULL;
    if (rc == 0) {
        VMC_AUTO_FREE char *operation = vmc_printf("download of %s", name);
        rc = vmc_journal_open(op.connection->uri, operation, &journal, &op.why);
    }
    if (rc == 0) {
        rc = op.ops->image_download(op.conn, name, path, &op.call, journal, &op.why);
        if (rc < 0)
            vmc_op_undo(&op, journal);
    }
    vmc_journal_close(journal);
    return vmc_op_end(&op, rc, "download %s", name ? name : "an image");
}

int vmctl_image_delete(vmctl_connection *connection, const char *name, const vmctl_call *call, vmctl_error **err) {
    if (!connection) {
        int rc = vmc_check_text(name, "the image's name", err);
        if (rc == 0)
            rc = delete_cached(name, err);
        return local_end(rc, err, "delete", name);
    }
    vmc_op op;
    int rc = vmc_op_begin(&op, connection, NULL, VMCTL_SLOT_image_delete, call, VMC_ACT_MS, true, err);
    if (rc == 0)
        rc = vmc_check_text(name, "the image's name", &op.why);
    if (rc == 0)
        rc = op.ops->image_delete(op.conn, name, &op.call, &op.why);
    return vmc_op_end(&op, rc, "delete %s", name ? name : "an image");
}

/* --- whole VMs -------------------------------------------------------------------------------------------- */

/* What the calls that write something of a VM into a new file of this machine begin with. */
static int begin_file(vmc_op *op, vmctl_vm *vm, vmctl_slot slot, const char *what, const char *path,
                      const vmctl_call *call, vmc_journal **journal, vmctl_error **err) {
    int rc = vmc_op_begin_vm(op, vm, slot, call, VMC_NO_LIMIT, true, err);
    if (rc == 0)
        rc = check_target(op, path);
    if (rc < 0)
        return rc;
    VMC_AUTO_FREE char *operation = vmc_printf("%s of %s", what, op->name);
    return vmc_journal_open(op->connection->uri, operation, journal, &op->why);
}

/* Ends them: what a failed one made is removed. */
static int end_file(vmc_op *op, int rc, vmc_journal *journal, const char *doing) {
    if (rc < 0 && journal)
        vmc_op_undo(op, journal);
    vmc_journal_close(journal);
    return vmc_op_end(op, rc, "%s %s", doing, op->name);
}

int vmctl_export(vmctl_vm *vm, const char *path, const vmctl_call *call, vmctl_error **err) {
    vmc_op op;
    vmc_journal *journal = NULL;
    int rc = begin_file(&op, vm, VMCTL_SLOT_export_ova, "export", path, call, &journal, err);
    if (rc == 0)
        rc = op.ops->export_ova(op.conn, op.handle, path, &op.call, journal, &op.why);
    return end_file(&op, rc, journal, "export");
}

int vmctl_vm_dump(vmctl_vm *vm, const char *path, const vmctl_call *call, vmctl_error **err) {
    vmc_op op;
    vmc_journal *journal = NULL;
    int rc = begin_file(&op, vm, VMCTL_SLOT_dump, "memory dump", path, call, &journal, err);
    if (rc == 0)
        rc = op.ops->dump(op.conn, op.handle, path, journal, &op.call, &op.why);
    return end_file(&op, rc, journal, "dump the memory of");
}

int vmctl_import(vmctl_connection *connection, const char *path, const char *name, const vmctl_call *call,
                 vmctl_vm **out, vmctl_error **err) {
    vmc_op op;
    int rc = vmc_op_begin(&op, connection, NULL, VMCTL_SLOT_import_ova, call, VMC_NO_LIMIT, true, err);
    if (rc == 0)
        rc = vmc_check_text(path, "the file's name", &op.why);
    vmc_marker marker = {0};
    if (rc == 0)
        rc = vmc_marker_make(NULL, NULL, 0, &marker, &op.why);
    vmc_journal *journal = NULL;
    if (rc == 0) {
        VMC_AUTO_FREE char *operation = vmc_printf("import of %s", path);
        rc = vmc_journal_open(op.connection->uri, operation, &journal, &op.why);
    }
    if (rc == 0) {
        void *handle = NULL;
        vmctl_identity identity = {.size = sizeof identity};
        rc = op.ops->import_ova(op.conn, path, name, &op.call, &marker.marker, journal, &handle, &identity, &op.why);
        if (rc == 0) {
            vmctl_vm *made = vmc_vm_new(connection, handle, &identity);
            if (out)
                *out = made;
            else
                vmctl_vm_free(made);
        } else {
            vmc_identity_free(&identity);
            vmc_op_undo(&op, journal);
        }
    }
    vmc_journal_close(journal);
    vmc_marker_free(&marker);
    return vmc_op_end(&op, rc, "import %s", path ? path : "a VM");
}
