/* drivers/qemu_img/convert.c - makes images: create, convert, resize, flatten. */
#include "base/file.h"
#include "drivers/qemu_img/run.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STEP_MS = 60000 };

/* The name is ours from now on: an empty file that qemu-img then writes. */
static int claim(const char *path, vmctl_error **err) {
    VMC_AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd >= 0)
        return 0;
    if (errno == EEXIST)
        return vmc_error(err, VMCTL_E_ALREADY_EXISTS, "%s is there already", path);
    return vmc_error_errno(err, errno, "cannot make %s", path);
}

static int check_converted_source(const qemu_img_convert_args *args, const char *format, const vmc_deadline *deadline,
                                  uint64_t *bytes, vmctl_error **err) {
    QEMU_IMG_AUTO_INFO info = {0};
    int rc = qemu_img_inspect(args->source, format, deadline, &info, err);
    if (rc < 0)
        return rc;
    *bytes = info.virtual_bytes;
    const char *other = info.data_file ? info.data_file : info.backing;
    if (!other || args->follow_backing)
        return 0;
    vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s takes data from another file, \"%s\"", args->source, other);
    vmc_error_next(err, "flatten it where it comes from, if you trust that file");
    return VMCTL_E_INVALID_ARGUMENT;
}

/* Beside the target, for the rename. */
static char *beside(const char *path) {
    VMC_AUTO_FREE char *folder = vmc_path_dirname(path);
    return vmc_printf("%s/.%s.%ld.part", folder, vmc_path_basename(path), (long)getpid());
}

static int run_convert(const qemu_img_convert_args *args, const char *source_format, const char *to, uint64_t bytes,
                       const vmc_deadline *deadline, vmctl_error **err) {
    const char *target_format = NULL;
    int rc =
        qemu_img_source_format(args->target, args->target_format ? args->target_format : "raw", &target_format, err);
    if (rc < 0)
        return rc;
    VMC_AUTO_FREE char *from = qemu_img_path(args->source);
    VMC_AUTO_FREE char *action = vmc_printf("convert %s to %s", args->source, args->target);
    VMC_AUTO_FREE char *doing = vmc_printf("converting %s", vmc_path_basename(args->source));
    VMC_AUTO_STRV argv = {0};
    qemu_img_words(&argv, (const char *const[]){"convert", "-p", "-f", source_format, "-O", target_format, NULL});
    if (args->compress)
        vmc_strv_add(&argv, "-c");
    if (args->snapshot) {
        vmc_strv_add(&argv, "-l");
        vmc_strv_printf(&argv, "snapshot.name=%s", args->snapshot);
    }
    for (size_t i = 0; args->target_options && args->target_options[i]; i++) {
        vmc_strv_add(&argv, "-o");
        vmc_strv_add(&argv, args->target_options[i]);
    }
    vmc_strv_add(&argv, from);
    vmc_strv_add(&argv, to);
    qemu_img_run run = {
        .action = action, .doing = doing, .written = to, .needed = bytes, .label = args->label, .progress = true};
    PROCESS_AUTO_RESULT result = {0};
    return qemu_img_execute(&run, &argv, NULL, deadline, &result, err);
}

int qemu_img_convert(const qemu_img_convert_args *args, const vmc_deadline *deadline, vmctl_error **err) {
    const char *source_format = NULL;
    uint64_t bytes = 0;
    int rc = qemu_img_source_format(args->source, args->source_format, &source_format, err);
    if (rc == 0)
        rc = check_converted_source(args, source_format, deadline, &bytes, err);
    if (rc < 0)
        return rc;
    VMC_AUTO_FREE char *target = qemu_img_path(args->target);
    VMC_AUTO_FREE char *to = args->overwrite ? beside(target) : vmc_strdup(target);
    struct stat from_st, to_st;
    if (args->overwrite && stat(args->source, &from_st) == 0 && stat(target, &to_st) == 0 &&
        from_st.st_dev == to_st.st_dev && from_st.st_ino == to_st.st_ino)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s would be converted onto itself", args->source);
    rc = claim(to, err);
    if (rc < 0)
        return rc;
    rc = run_convert(args, source_format, to, bytes, deadline, err);
    if (rc == 0)
        rc = qemu_img_sync(to, err);
    if (rc == 0 && args->overwrite && rename(to, target) != 0)
        rc = vmc_error_errno(err, errno, "cannot replace %s", args->target);
    if (rc < 0)
        (void)unlink(to);
    return rc;
}

/* What QEMU would read as a protocol ("nbd:...", "json:{...}") is no file. */
static int check_backing(const qemu_img_create_args *args, vmctl_error **err) {
    if (!args->backing)
        return 0;
    if (!args->backing_format)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "the format of the backing file %s is not said", args->backing);
    if (args->backing[strcspn(args->backing, ":/")] == ':')
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "the backing file %s is no path", args->backing);
    return 0;
}

int qemu_img_create(const qemu_img_create_args *args, const vmc_deadline *deadline, vmctl_error **err) {
    int rc = check_backing(args, err);
    if (rc < 0)
        return rc;
    VMC_AUTO_FREE char *path = qemu_img_path(args->path);
    VMC_AUTO_FREE char *action = vmc_printf("make %s", args->path);
    VMC_AUTO_FREE char *doing = vmc_printf("making %s", args->path);
    VMC_AUTO_STRV argv = {0};
    qemu_img_words(&argv, (const char *const[]){"create", "-q", "-f", args->format, NULL});
    if (args->backing)
        for (const char *const *word = (const char *const[]){"-b", args->backing, "-F", args->backing_format, NULL};
             *word; word++)
            vmc_strv_add(&argv, *word);
    for (size_t i = 0; args->options && args->options[i]; i++) {
        vmc_strv_add(&argv, "-o");
        vmc_strv_add(&argv, args->options[i]);
    }
    vmc_strv_add(&argv, path);
    if (args->bytes)
        vmc_strv_printf(&argv, "%" PRIu64, args->bytes);
    rc = claim(path, err);
    if (rc < 0)
        return rc;
    qemu_img_run run = {.action = action, .doing = doing, .written = path, .needed = args->bytes};
    vmc_deadline step = vmc_deadline_within(deadline, STEP_MS);
    PROCESS_AUTO_RESULT result = {0};
    rc = qemu_img_execute(&run, &argv, NULL, args->options ? deadline : &step, &result, err);
    if (rc == 0)
        rc = qemu_img_sync(path, err);
    if (rc < 0)
        (void)unlink(path);
    return rc;
}

int qemu_img_resize(const char *path, const char *format, uint64_t bytes, bool shrink, const vmc_deadline *deadline,
                    vmctl_error **err) {
    QEMU_IMG_AUTO_INFO info = {0};
    int rc = qemu_img_inspect(path, format, deadline, &info, err);
    if (rc < 0)
        return rc;
    if (bytes < info.virtual_bytes && !shrink)
        return vmc_error(err, VMCTL_E_DATA_LOSS_PREVENTED,
                         "%s has %" PRIu64 " bytes; making it smaller (%" PRIu64 ") would lose data", path,
                         info.virtual_bytes, bytes);
    if (info.data_file)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s keeps its data in another file, \"%s\"", path,
                         info.data_file);
    VMC_AUTO_FREE char *file = qemu_img_path(path);
    VMC_AUTO_FREE char *action = vmc_printf("resize %s", path);
    VMC_AUTO_FREE char *doing = vmc_printf("resizing %s", path);
    VMC_AUTO_STRV argv = {0};
    qemu_img_words(&argv, (const char *const[]){"resize", "-q", "-f", info.format, NULL});
    if (bytes < info.virtual_bytes)
        vmc_strv_add(&argv, "--shrink");
    vmc_strv_add(&argv, file);
    vmc_strv_printf(&argv, "%" PRIu64, bytes);
    qemu_img_run run = {.action = action, .doing = doing, .written = file};
    vmc_deadline step = vmc_deadline_within(deadline, STEP_MS);
    PROCESS_AUTO_RESULT result = {0};
    return qemu_img_execute(&run, &argv, NULL, &step, &result, err);
}

int qemu_img_flatten(const char *path, const char *format, const qemu_img_label *label, const vmc_deadline *deadline,
                     vmctl_error **err) {
    VMC_AUTO_FREE char *file = qemu_img_path(path);
    VMC_AUTO_FREE char *action = vmc_printf("flatten %s", path);
    VMC_AUTO_FREE char *doing = vmc_printf("flattening %s", path);
    VMC_AUTO_STRV argv = {0};
    qemu_img_words(&argv, (const char *const[]){"rebase", "-p", "-f", format, "-b", "", file, NULL});
    qemu_img_run run = {.action = action, .doing = doing, .written = file, .label = label, .progress = true};
    PROCESS_AUTO_RESULT result = {0};
    int rc = qemu_img_execute(&run, &argv, NULL, deadline, &result, err);
    return rc < 0 ? rc : qemu_img_sync(file, err);
}
