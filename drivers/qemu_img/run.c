/* drivers/qemu_img/run.c - one run of qemu-img: its progress, its errors. */
#include "drivers/qemu_img/run.h"
#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

void qemu_img_words(vmc_strv *argv, const char *const *words) {
    vmc_strv_add(argv, "qemu-img");
    for (; *words; words++)
        vmc_strv_add(argv, *words);
}

char *qemu_img_path(const char *path) {
    return vmc_path_absolute(NULL, path);
}

int qemu_img_source_format(const char *path, const char *format, const char **out, vmctl_error **err) {
    if (format) {
        *out = vmc_str_eq(format, "iso") ? "raw" : vmc_str_eq(format, "vhd") ? "vpc" : format;
        return 0;
    }
    qemu_img_kind kind;
    int rc = qemu_img_probe(path, &kind, err);
    if (rc < 0)
        return rc;
    if (!kind.format)
        return qemu_img_expect(path, NULL, NULL, err); /* says what it is instead */
    *out = kind.format;
    return 0;
}

uint64_t qemu_img_free_bytes(const char *path) {
    struct statvfs fs;
    if (statvfs(path, &fs) == 0)
        return (uint64_t)fs.f_bavail * fs.f_frsize;
    VMC_AUTO_FREE char *folder = vmc_path_dirname(path);
    return statvfs(folder, &fs) == 0 ? (uint64_t)fs.f_bavail * fs.f_frsize : UINT64_MAX;
}

/* For people: "1.4GiB". */
static char *roughly(uint64_t bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1024;
        unit++;
    }
    return vmc_printf(unit ? "%.1f%s" : "%.0f%s", value, units[unit]);
}

int qemu_img_full(const char *action, const char *path, uint64_t needed, vmctl_error **err) {
    uint64_t free_bytes = qemu_img_free_bytes(path);
    VMC_AUTO_FREE char *free_text = free_bytes == UINT64_MAX ? vmc_strdup("little") : roughly(free_bytes);
    VMC_AUTO_FREE char *needed_text = roughly(needed);
    VMC_AUTO_FREE char *folder = vmc_path_dirname(path);
    vmc_error(err, VMCTL_E_RESOURCE_EXHAUSTED, "cannot %s: no space left in %s: %s free%s%s%s", action, folder,
              free_text, needed ? ", up to " : "", needed ? needed_text : "", needed ? " needed" : "");
    vmc_error_next(err, "make room in %s, or choose another place", folder);
    return VMCTL_E_RESOURCE_EXHAUSTED;
}

static int sync_one(const char *path, int flags, vmctl_error **err) {
    VMC_AUTO_CLOSE int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        return vmc_error_errno(err, errno, "cannot write %s to disk", path);
    return 0;
}

int qemu_img_sync(const char *path, vmctl_error **err) {
    VMC_AUTO_FREE char *folder = vmc_path_dirname(path);
    int rc = sync_one(path, O_RDONLY, err);
    return rc < 0 ? rc : sync_one(folder, O_RDONLY | O_DIRECTORY, err);
}

typedef struct listener {
    const qemu_img_run *run;
    const vmc_deadline *deadline;
    vmctl_error **err;
} listener;

/* "    (12.34/100%)" */
static int hear_progress(const char *line, size_t length, void *user) {
    const listener *l = user;
    (void)length;
    const char *open = strchr(line, '(');
    if (!open || !strstr(open, "/100%)"))
        return 0;
    double percent = strtod(open + 1, NULL);
    const qemu_img_label *label = l->run->label;
    return vmc_progress(l->deadline, label ? label->vm : NULL, label && label->stage ? label->stage : l->run->doing,
                        label ? label->device : NULL, VMCTL_UNIT_PERCENT, percent < 0 ? 0 : (uint64_t)percent, 100,
                        l->err);
}

/* What qemu-img's words mean in our codes. */
static int words_code(const char *words, int fallback) {
    static const struct {
        const char *words;
        int code;
    } meanings[] = {{"No space left on device", VMCTL_E_RESOURCE_EXHAUSTED},
                    {"Disk quota exceeded", VMCTL_E_RESOURCE_EXHAUSTED},
                    {"File too large", VMCTL_E_RESOURCE_EXHAUSTED},
                    {"\" lock", VMCTL_E_BUSY},
                    {"No such file or directory", VMCTL_E_NOT_FOUND},
                    {"Permission denied", VMCTL_E_PERMISSION_DENIED},
                    {"Read-only file system", VMCTL_E_PERMISSION_DENIED},
                    {"not in ", VMCTL_E_INVALID_ARGUMENT},
                    {"Image not in", VMCTL_E_INVALID_ARGUMENT},
                    {"invalid VMDK", VMCTL_E_INVALID_ARGUMENT},
                    {"Unknown file format", VMCTL_E_INVALID_ARGUMENT},
                    {"Unknown option", VMCTL_E_INVALID_ARGUMENT},
                    {"Invalid parameter", VMCTL_E_INVALID_ARGUMENT}};
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++)
        if (strstr(words, meanings[i].words))
            return meanings[i].code;
    return fallback;
}

static int failed(const qemu_img_run *run, const process_options *options, const process_result *result,
                  vmctl_error **err) {
    vmctl_error *own = NULL;
    int code = words_code(result->error, process_failed(options, result, &own));
    if (code == VMCTL_E_RESOURCE_EXHAUSTED && run->written) {
        vmctl_error_free(own);
        return qemu_img_full(run->action, run->written, run->needed, err);
    }
    vmc_error(err, code, "cannot %s: %s", run->action, vmctl_error_message(own));
    vmctl_error_free(own);
    if (code == VMCTL_E_BUSY)
        vmc_error_next(err, "stop the VM that uses it first");
    return code;
}

int qemu_img_execute(const qemu_img_run *run, const vmc_strv *argv, const int *answers, const vmc_deadline *deadline,
                     process_result *result, vmctl_error **err) {
    listener l = {run, deadline, err};
    static const char *const environment[] = {"LC_ALL=C", NULL};
    process_options options = {.argv = (const char *const *)argv->items,
                               .package = "qemu-utils",
                               .environment = environment,
                               .output = run->progress ? hear_progress : NULL,
                               .user = &l,
                               .lines = true,
                               .doing = run->doing};
    int rc = process_run(&options, deadline, result, err);
    if (rc < 0)
        return rc;
    for (; answers && *answers; answers++)
        if (result->status == *answers && !result->signal)
            return 0;
    return result->status == 0 ? 0 : failed(run, &options, result, err);
}
