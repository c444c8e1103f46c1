#include "base/file.h"
#include "internal.h"
#include <stdlib.h>
#include <unistd.h>

struct vmctl_stream {
    vmctl_connection *connection; /* kept open: `finish` may still ask it */
    int fd;
    int (*finish)(void *state, vmctl_error **err);
    void *state;
};

vmctl_stream *vmctl_stream_new(int fd, int (*finish)(void *state, vmctl_error **err), void *state) {
    vmctl_stream *stream = vmc_alloc(sizeof *stream);
    *stream = (vmctl_stream){.fd = fd, .finish = finish, .state = state};
    return stream;
}

int vmctl_stream_fd(const vmctl_stream *stream) {
    return stream ? stream->fd : -1;
}

int vmctl_stream_close(vmctl_stream *stream, vmctl_error **err) {
    if (!stream)
        return 0;
    if (stream->fd >= 0)
        close(stream->fd); /* the pump sees the end of file */
    int rc = stream->finish ? stream->finish(stream->state, err) : 0;
    vmctl_connection_free(stream->connection);
    free(stream);
    return rc;
}

int vmctl_console_open(vmctl_vm *vm, const vmctl_console_options *options, vmctl_stream **out, vmctl_error **err) {
    vmctl_console_options o = VMCTL_CONSOLE_OPTIONS_INIT;
    int rc = vmc_options_copy(&o, options, err);
    if (rc < 0)
        return rc;
    vmc_op op;
    rc = vmc_op_begin_vm(&op, vm, VMCTL_SLOT_console_open, o.call, VMC_ASK_MS, false, err);
    o.call = &op.call;
    if (rc == 0 && !out)
        rc = vmc_error(&op.why, VMCTL_E_INVALID_ARGUMENT, "no place for the stream was given");
    if (rc == 0)
        rc = op.ops->console_open(op.conn, op.handle, &o, out, &op.why);
    if (rc == 0 && out)
        (*out)->connection = vmc_connection_ref(op.connection);
    return vmc_op_end(&op, rc, "open the console of %s", op.name);
}

int vmctl_serial_log(vmctl_vm *vm, const vmctl_log_options *options, vmctl_bytes_fn each, void *user,
                     vmctl_error **err) {
    vmctl_log_options o = VMCTL_LOG_OPTIONS_INIT;
    int rc = vmc_options_copy(&o, options, err);
    if (rc < 0)
        return rc;
    vmc_op op;
    rc = vmc_op_begin_vm(&op, vm, VMCTL_SLOT_serial_log, o.call, o.follow ? VMC_NO_LIMIT : VMC_ASK_MS, false, err);
    o.call = &op.call;
    if (rc == 0 && !each)
        rc = vmc_error(&op.why, VMCTL_E_INVALID_ARGUMENT, "no callback was given");
    if (rc == 0)
        rc = op.ops->serial_log(op.conn, op.handle, &o, each, user, &op.why);
    if (rc == VMCTL_E_TIMEOUT && o.follow)
        rc = 0;
    return vmc_op_end(&op, rc, "read the serial log of %s", op.name);
}

int vmctl_display_list(vmctl_vm *vm, const vmctl_call *call, vmctl_display_fn each, void *user, vmctl_error **err) {
    vmc_op op;
    int rc = vmc_op_begin_vm(&op, vm, VMCTL_SLOT_display_list, call, VMC_ASK_MS, false, err);
    if (rc == 0 && !each)
        rc = vmc_error(&op.why, VMCTL_E_INVALID_ARGUMENT, "no callback was given");
    if (rc == 0)
        rc = op.ops->display_list(op.conn, op.handle, &op.call, each, user, &op.why);
    return vmc_op_end(&op, rc, "find the display of %s", op.name);
}

static int keep_bytes(const void *bytes, size_t length, void *user) {
    vmc_str_add_n(user, bytes, length);
    return 0;
}

static int take(vmctl_vm *vm, const vmctl_screenshot_options *options, const char *path, vmctl_bytes_fn each,
                void *user, vmctl_error **err) {
    vmctl_screenshot_options o = VMCTL_SCREENSHOT_OPTIONS_INIT;
    int rc = vmc_options_copy(&o, options, err);
    if (rc < 0)
        return rc;
    vmc_op op;
    rc = vmc_op_begin_vm(&op, vm, VMCTL_SLOT_screenshot, o.call, VMC_ASK_MS, false, err);
    o.call = &op.call;
    if (rc == 0 && !each)
        rc = vmc_check_text(path, "the file's name", &op.why);
    VMC_AUTO_STR picture = {0};
    if (rc == 0)
        rc = op.ops->screenshot(op.conn, op.handle, &o, each ? each : keep_bytes, each ? user : &picture, &op.why);
    if (rc == 0 && !each)
        rc = vmc_file_save(path, picture.text, picture.length, &op.why);
    return vmc_op_end(&op, rc, "take a screenshot of %s", op.name);
}

int vmctl_screenshot(vmctl_vm *vm, const char *path, const vmctl_screenshot_options *options, vmctl_error **err) {
    return take(vm, options, path, NULL, NULL, err);
}

int vmctl_screenshot_bytes(vmctl_vm *vm, const vmctl_screenshot_options *options, vmctl_bytes_fn each, void *user,
                           vmctl_error **err) {
    return each ? take(vm, options, NULL, each, user, err)
                : vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "no callback was given");
}
