/* drivers/tools.c - the table through which core reaches programs and wires (core/src/tools.h); the module vmctl-tools.so. */
#include "tools.h"
#include "base/file.h"
#include "drivers/http/fetch.h"
#include "drivers/openssh/openssh.h"
#include "drivers/process/process.h"
#include "drivers/qemu_img/qemu_img.h"
#include <stdlib.h>
#include <sys/stat.h>

enum { STEP_MS = 60000, LONG_MS = -1 };

/* Tells an image as vmctl_image does. */
static int tools_image_inspect(const char *path, const vmctl_call *call, vmctl_image_fn each, void *user,
                               vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, STEP_MS);
    qemu_img_kind kind;
    int rc = qemu_img_probe(path, &kind, err);
    if (rc == 0 && !kind.format)
        rc = qemu_img_expect(path, NULL, NULL, err);
    QEMU_IMG_AUTO_INFO info = {0};
    if (rc == 0)
        rc = qemu_img_inspect(path, kind.format, &deadline, &info, err);
    if (rc < 0)
        return rc;
    struct stat st = {0};
    (void)stat(path, &st);
    vmctl_image image = {.size = sizeof image,
                         .name = vmc_path_basename(path),
                         .path = path,
                         .format = vmc_str_eq(kind.name, "iso") ? "iso" : info.format,
                         .virtual_bytes = info.virtual_bytes,
                         .allocated_bytes = info.allocated_bytes,
                         .backing = info.backing ? info.backing : info.data_file,
                         .snapshots = info.snapshots.count ? (const char *const *)info.snapshots.items : NULL,
                         .modified = (int64_t)st.st_mtim.tv_sec};
    return each(&image, user);
}

/* Converts; follows no file that the source names. */
static int tools_image_convert(const char *source, const char *target, const vmctl_image_convert_options *options,
                               vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(options->call, LONG_MS);
    const char *format = options->format ? options->format : qemu_img_format_of_name(target);
    if (!format || vmc_str_eq(format, "iso")) {
        vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "the name %s does not say a disk format", target);
        vmc_error_next(err, "say one: qcow2, raw, vmdk, vdi or vpc");
        return VMCTL_E_INVALID_ARGUMENT;
    }
    qemu_img_convert_args args = {.source = source,
                                  .target = target,
                                  .target_format = format,
                                  .compress = options->compress,
                                  .overwrite = options->overwrite,
                                  .follow_backing = true};
    return qemu_img_convert(&args, &deadline, err);
}

/* Fetches a URL into a folder. */
static int tools_image_fetch(const char *url, const char *folder, const vmctl_image_pull_options *options, char **path,
                             vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(options->call, LONG_MS);
    http_fetch_options fetch = {.checksum = options->checksum, .name = options->name, .refresh = options->refresh};
    return http_fetch(url, folder, &fetch, &deadline, path, err);
}

/* Hands a result's stdout over. */
static void take_output(process_result *result, int *status, char **output) {
    *status = result->status;
    *output = result->output;
    result->output = NULL;
}

/* Runs words on a host through ssh. */
static int tools_ssh_run(const char *host, int port, const char *user, const char *identity, const char *known_hosts,
                         const char *const *argv, const vmctl_call *call, int *status, char **output,
                         vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, STEP_MS);
    openssh_target target = {
        .host = host, .port = port, .user = user, .identity = identity, .known_hosts = known_hosts};
    PROCESS_AUTO_RESULT result = {0};
    int rc = openssh_run(&target, argv, NULL, &deadline, &result, err);
    if (rc == 0)
        take_output(&result, status, output);
    return rc;
}

/* Runs a program, which may ask on the terminal. */
static int tools_run(const char *const *argv, const vmctl_call *call, int *status, char **output, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, STEP_MS);
    process_options options = {.argv = argv, .inherit_input = true};
    PROCESS_AUTO_RESULT result = {0};
    int rc = process_run(&options, &deadline, &result, err);
    if (rc == 0)
        take_output(&result, status, output);
    return rc;
}

static const vmc_tools tools = {
    .size = sizeof tools,
    .abi = VMC_TOOLS_ABI,
    .image_inspect = tools_image_inspect,
    .image_convert = tools_image_convert,
    .image_fetch = tools_image_fetch,
    .ssh_run = tools_ssh_run,
    .run = tools_run,
};

VMCTL_API const vmc_tools *vmctl_tools_entry(void);

const vmc_tools *vmctl_tools_entry(void) {
    return &tools;
}
