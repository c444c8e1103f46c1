/* libisofs: builds an ISO 9660 tree in memory and reads the image that it makes of it, or one file out of an image; the module vmctl-iso.so. */
#include "drivers/seed_iso/iso_module.h"
#include "base/str.h"
#define LIBISOFS_WITHOUT_LIBBURN 1 /* its header then defines the source that an image is read from */
#include <libisofs/libisofs.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { SECTOR = 2048, VOLUME_ID_LIMIT = 32, JOLIET_ONLY = 1 << 1, FILE_LIMIT = 1 << 20, SEED_MESSAGES = 1 };

/* One fixed time for everything, so that equal seeds are equal files: 1 January 2000. */
static const time_t fixed_time = 946684800;
static char fixed_time_text[] = "2000010100000000";

/* libisofs keeps messages and character sets for the whole process. */
static pthread_mutex_t library = PTHREAD_MUTEX_INITIALIZER;

static int iso_failed(vmctl_error **err, int code, const char *what) {
    if (code == (int)ISO_NODE_NAME_NOT_UNIQUE)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "cannot make the seed image: %s is in it twice", what);
    const char *words = iso_error_to_msg(code);
    return vmc_error(err, VMCTL_E_INTERNAL, "the seed image: %s: %s", what, words ? words : "libisofs failed");
}

/* Locks and starts it; on success `end` follows. */
static int begin(vmctl_error **err) {
    static char charset[] = "UTF-8", never[] = "NEVER", fatal[] = "FATAL", prefix[] = "";
    pthread_mutex_lock(&library);
    int rc = iso_init();
    if (rc < 0) {
        pthread_mutex_unlock(&library);
        return iso_failed(err, rc, "libisofs cannot start");
    }
    (void)iso_set_msgs_severities(never, fatal, prefix);
    (void)iso_set_local_charset(charset, 0);
    return 0;
}

static void end(void) {
    iso_finish();
    pthread_mutex_unlock(&library);
}

/* --- building ---------------------------------------------------------------------------------------------- */

static void fix(void *node, mode_t mode) {
    iso_node_set_mtime(node, fixed_time);
    iso_node_set_atime(node, fixed_time);
    iso_node_set_ctime(node, fixed_time);
    iso_node_set_uid(node, 0);
    iso_node_set_gid(node, 0);
    iso_node_set_permissions(node, mode);
}

static int check_name(const char *name, vmctl_error **err) {
    VMC_AUTO_FREE char *copy = vmc_strdup(name ? name : "");
    bool fine = *copy && *copy != '/' && !vmc_ends_with(copy, "/") && !strstr(copy, "//");
    for (char *rest = NULL, *part = strtok_r(copy, "/", &rest); part; part = strtok_r(NULL, "/", &rest))
        fine = fine && strcmp(part, ".") != 0 && strcmp(part, "..") != 0;
    return fine ? 0
                : vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "\"%s\" is no name for a file of a seed image",
                            name ? name : "");
}

/* The folder of "a/b/file", made where it is missing; *last is "file". */
static int find_folder(IsoImage *image, char *name, IsoDir **folder, char **last, vmctl_error **err) {
    *folder = iso_image_get_root(image);
    for (char *slash; (slash = strchr(name, '/')); name = slash + 1) {
        *slash = '\0';
        IsoNode *node = NULL;
        int rc = iso_image_dir_get_node(image, *folder, name, &node, 0);
        if (rc == 1 && iso_node_get_type(node) != LIBISO_DIR)
            return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s is a file and a folder of the seed image", name);
        if (rc != 1) {
            IsoDir *made = NULL;
            rc = iso_image_add_new_dir(image, *folder, name, &made);
            if (rc < 0)
                return iso_failed(err, rc, name);
            fix(made, 0755);
            node = (IsoNode *)made;
        }
        *folder = (IsoDir *)node;
    }
    *last = name;
    return 0;
}

static int add_file(IsoImage *image, const seed_iso_file *file, vmctl_error **err) {
    int rc = check_name(file->name, err);
    if (rc < 0)
        return rc;
    VMC_AUTO_FREE char *name = vmc_strdup(file->name);
    IsoDir *folder = NULL;
    char *last = NULL;
    rc = find_folder(image, name, &folder, &last, err);
    if (rc < 0)
        return rc;
    unsigned char *bytes = vmc_alloc(file->length + 1); /* the stream's from now on */
    if (file->length)
        memcpy(bytes, file->bytes, file->length);
    IsoStream *stream = NULL;
    rc = iso_memory_stream_new(bytes, file->length, &stream);
    if (rc < 0) {
        free(bytes);
        return iso_failed(err, rc, file->name);
    }
    IsoFile *node = NULL;
    rc = iso_image_add_new_file(image, folder, last, stream, &node);
    if (rc < 0) {
        iso_stream_unref(stream);
        return iso_failed(err, rc, file->name);
    }
    fix(node, 0644);
    return 0;
}

static int set_options(IsoWriteOpts *opts) {
    static char charset[] = "UTF-8";
    int rc = iso_write_opts_set_iso_level(opts, 3);
    if (rc >= 0)
        rc = iso_write_opts_set_rockridge(opts, 1);
    if (rc >= 0)
        rc = iso_write_opts_set_joliet(opts, 1);
    if (rc >= 0)
        rc = iso_write_opts_set_output_charset(opts, charset);
    if (rc >= 0)
        rc = iso_write_opts_set_relaxed_vol_atts(opts, 1); /* the volume id in lower case, as it is */
    if (rc >= 0)
        rc = iso_write_opts_set_no_force_dots(opts, JOLIET_ONLY); /* "user-data", not "user-data.;1" */
    if (rc >= 0)
        rc = iso_write_opts_set_omit_version_numbers(opts, JOLIET_ONLY);
    if (rc >= 0)
        rc = iso_write_opts_set_always_gmt(opts, 1);
    if (rc >= 0)
        rc = iso_write_opts_set_pvd_times(opts, fixed_time, fixed_time, 0, 0, fixed_time_text);
    return rc;
}

static int read_source(struct burn_source *source, char **bytes, size_t *length, vmctl_error **err) {
    off_t size = source->get_size(source);
    VMC_AUTO_STR image = {0};
    unsigned char sector[SECTOR];
    for (off_t done = 0; done < size; done += SECTOR) {
        int n = source->read ? source->read(source, sector, SECTOR) : source->read_xt(source, sector, SECTOR);
        if (n != SECTOR) {
            if (source->version > 0)
                source->cancel(source);
            return vmc_error(err, VMCTL_E_INTERNAL, "cannot make the seed image: libisofs ended early");
        }
        vmc_str_add_n(&image, (const char *)sector, SECTOR);
    }
    *length = image.length;
    *bytes = vmc_str_take(&image);
    return 0;
}

static int write_image(IsoImage *image, char **bytes, size_t *length, vmctl_error **err) {
    IsoWriteOpts *opts = NULL;
    int rc = iso_write_opts_new(&opts, 0);
    if (rc < 0)
        return iso_failed(err, rc, "its options");
    struct burn_source *source = NULL;
    rc = set_options(opts);
    if (rc >= 0)
        rc = iso_image_create_burn_source(image, opts, &source);
    rc = rc < 0 ? iso_failed(err, rc, "its layout") : read_source(source, bytes, length, err);
    if (source) {
        source->free_data(source);
        free(source);
    }
    iso_write_opts_free(opts);
    return rc;
}

static int build(const char *volume_id, const seed_iso_file *files, size_t count, char **bytes, size_t *length,
                 vmctl_error **err) {
    IsoImage *image = NULL;
    int rc = iso_image_new(volume_id, &image);
    if (rc < 0)
        return iso_failed(err, rc, volume_id);
    iso_image_set_volume_id(image, volume_id);
    iso_image_set_application_id(image, "VMCTL");
    iso_image_set_data_preparer_id(image, "");
    fix(iso_image_get_root(image), 0755);
    rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = add_file(image, &files[i], err);
    if (rc == 0)
        rc = write_image(image, bytes, length, err);
    iso_image_unref(image);
    return rc;
}

static int iso_build(const char *volume_id, const seed_iso_file *files, size_t count, char **bytes, size_t *length,
                     vmctl_error **err) {
    if (!volume_id || !*volume_id || strlen(volume_id) > VOLUME_ID_LIMIT)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "the volume id \"%s\" has not 1 to %d characters",
                         volume_id ? volume_id : "", VOLUME_ID_LIMIT);
    int rc = begin(err);
    if (rc < 0)
        return rc;
    rc = build(volume_id, files, count, bytes, length, err);
    end();
    return rc;
}

/* --- reading ----------------------------------------------------------------------------------------------- */

static int read_file(IsoFileSource *file, const char *name, char **text, vmctl_error **err) {
    VMC_AUTO_STR all = {0};
    char part[4096];
    int rc = iso_file_source_open(file);
    if (rc < 0)
        return iso_failed(err, rc, name);
    while ((rc = iso_file_source_read(file, part, sizeof part)) > 0 && all.length <= FILE_LIMIT)
        vmc_str_add_n(&all, part, (size_t)rc);
    iso_file_source_close(file);
    if (rc < 0)
        return iso_failed(err, rc, name);
    if (all.length > FILE_LIMIT)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s in the seed image is larger than 1 MiB", name);
    *text = all.length ? vmc_str_take(&all) : vmc_strdup("");
    return 0;
}

static int find(IsoFilesystem *system, const char *name, char **text, vmctl_error **err) {
    VMC_AUTO_FREE char *inside = vmc_printf("/%s", name);
    IsoFileSource *file = NULL;
    int rc = system->get_by_path(system, inside, &file);
    if (rc == 0 || rc == (int)ISO_FILE_DOESNT_EXIST)
        return 0;
    if (rc < 0)
        return iso_failed(err, rc, name);
    rc = read_file(file, name, text, err);
    iso_file_source_unref(file);
    return rc;
}

static int read_image(const char *path, const char *name, char **text, vmctl_error **err) {
    IsoDataSource *source = NULL;
    IsoReadOpts *options = NULL;
    IsoFilesystem *system = NULL;
    int rc = iso_data_source_new_from_file(path, &source);
    if (rc < 0)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "cannot read %s: %s", path, iso_error_to_msg(rc));
    rc = iso_read_opts_new(&options, 0);
    if (rc >= 0)
        rc = iso_image_filesystem_new(source, options, SEED_MESSAGES, &system);
    rc = rc < 0 ? vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s is no ISO 9660 image: %s", path, iso_error_to_msg(rc))
                : find(system, name, text, err);
    if (system)
        iso_filesystem_unref(system);
    if (options)
        iso_read_opts_free(options);
    iso_data_source_unref(source);
    return rc;
}

static int iso_read(const char *path, const char *name, char **text, vmctl_error **err) {
    *text = NULL;
    int rc = begin(err);
    if (rc < 0)
        return rc;
    rc = read_image(path, name, text, err);
    end();
    return rc;
}

const vmctl_iso_functions *vmctl_iso(void) {
    static const vmctl_iso_functions functions = {.build = iso_build, .read = iso_read};
    return &functions;
}
