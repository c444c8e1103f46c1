/* vmctl/display.h - looking at a VM and typing into it: serial console, serial log, display, screenshot, keys. */
#ifndef VMCTL_DISPLAY_H
#define VMCTL_DISPLAY_H

#include <vmctl/vm.h>

VMCTL_BEGIN_DECLS

/* A two-way byte stream. */
typedef struct vmctl_stream vmctl_stream;

/* A socket that can be polled, read and written (non-blocking); end of file: the VM or the endpoint closed it. Owned
 * by the stream. */
VMCTL_API int vmctl_stream_fd(const vmctl_stream *stream);
/* Closes; tells in err why the other side had ended it, if it was a failure. NULL is allowed. */
VMCTL_API int vmctl_stream_close(vmctl_stream *stream, vmctl_error **err);

typedef struct vmctl_console_options {
    size_t size;
    const vmctl_call *call;
    const char *device; /* the serial device; NULL: the first */
    bool force;         /* take it over from whoever has it */
} vmctl_console_options;

#define VMCTL_CONSOLE_OPTIONS_INIT                                                                                     \
    { sizeof(vmctl_console_options), NULL, NULL, false }

/* VMCTL_E_INVALID_STATE when it does not run, VMCTL_E_BUSY when someone else has it. *out: vmctl_stream_close. */
VMCTL_API int vmctl_console_open(vmctl_vm *vm, const vmctl_console_options *options, vmctl_stream **out,
                                 vmctl_error **err);

/* Bytes of a file or stream that belong to the hypervisor's side; non-zero ends the reading. */
typedef int (*vmctl_bytes_fn)(const void *bytes, size_t length, void *user);

typedef struct vmctl_log_options {
    size_t size;
    const vmctl_call *call; /* with follow the end of the deadline is no error */
    bool follow;
    int64_t tail_bytes; /* only the last so many; -1: all */
} vmctl_log_options;

#define VMCTL_LOG_OPTIONS_INIT                                                                                         \
    { sizeof(vmctl_log_options), NULL, false, -1 }

/* The serial log (the spec's serial.log). VMCTL_E_NOT_FOUND when the VM keeps none. */
VMCTL_API int vmctl_serial_log(vmctl_vm *vm, const vmctl_log_options *options, vmctl_bytes_fn each, void *user,
                               vmctl_error **err);

typedef struct vmctl_display {
    size_t size;
    const char *type;    /* "vnc", "spice", "rdp", "webmks" */
    const char *address; /* as a viewer on this machine would dial it; NULL when only a socket */
    int port;            /* -1 none */
    const char *socket;  /* NULL */
    const char *uri;     /* "vnc://127.0.0.1:5900" */
    bool served;         /* by this process, as long as the connection is open: elsewhere nobody can dial it */
} vmctl_display;

typedef int (*vmctl_display_fn)(const vmctl_display *display, void *user);
VMCTL_API int vmctl_display_list(vmctl_vm *vm, const vmctl_call *call, vmctl_display_fn each, void *user,
                                 vmctl_error **err);

typedef struct vmctl_screenshot_options {
    size_t size;
    const vmctl_call *call;
    unsigned screen; /* of a VM with several: 0 is the first */
} vmctl_screenshot_options;

#define VMCTL_SCREENSHOT_OPTIONS_INIT                                                                                  \
    { sizeof(vmctl_screenshot_options), NULL, 0 }

/* What the display shows now, as a PNG file. A failed or cancelled one leaves no file, and an old file as it was.
 * VMCTL_E_INVALID_STATE: it does not run; VMCTL_E_UNSUPPORTED: it has no display; VMCTL_E_NOT_FOUND: no such screen. */
VMCTL_API int vmctl_screenshot(vmctl_vm *vm, const char *path, const vmctl_screenshot_options *options,
                               vmctl_error **err);
/* The same as bytes. */
VMCTL_API int vmctl_screenshot_bytes(vmctl_vm *vm, const vmctl_screenshot_options *options, vmctl_bytes_fn each,
                                     void *user, vmctl_error **err);

typedef struct vmctl_keys_options {
    size_t size;
    const vmctl_call *call;
    unsigned hold_ms; /* how long the keys are held, at most a minute; 0: as long as a person does, about 100 */
} vmctl_keys_options;

#define VMCTL_KEYS_OPTIONS_INIT                                                                                        \
    { sizeof(vmctl_keys_options), NULL, 0 }

enum { VMCTL_KEYS_MAX = 16 };

/* Presses keys together and returns; the hypervisor releases them after hold_ms (VirtualBox has no timer for that: there the call waits). At most VMCTL_KEYS_MAX at once. The names are those
 * of Linux' input-event-codes.h in any case, with or without KEY_ ("leftctrl", "a", "f1"), and what people say: ctrl, alt,
 * altgr, shift, super, win, return, escape, del, ins, pgup, pgdn, up, ... "ctrl+alt+delete" is three keys. VMCTL_E_INVALID_ARGUMENT: no
 * such key (with the nearest name), before any is pressed. VMCTL_E_INVALID_STATE: the VM's CPUs do not run. */
VMCTL_API int vmctl_send_keys(vmctl_vm *vm, const char *const *keys, size_t count, const vmctl_keys_options *options,
                              vmctl_error **err);
/* Types a text as on a US keyboard, key after key, and returns when the last one is released. Printable ASCII, tab and
 * newline (the enter key); another character is VMCTL_E_INVALID_ARGUMENT before any key is pressed. hold_ms: of each key; 0: 20. */
VMCTL_API int vmctl_send_text(vmctl_vm *vm, const char *text, const vmctl_keys_options *options, vmctl_error **err);

/* The names of all keys, without aliases, NULL-terminated; for completion. */
VMCTL_API const char *const *vmctl_key_names(void);

VMCTL_END_DECLS

#endif
