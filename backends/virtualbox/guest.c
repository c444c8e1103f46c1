/* Inside the guest, through Guest Additions and VBoxManage guestcontrol. */
#include "guest.h"

#include "drivers/vboxmanage/hold.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ASK_MS = 60000, COPY_MS = 3600000, MOST_INPUT = 64 << 20, GUEST_PATH = 4096 };

/* --- what is known beforehand --------------------------------------------------------------------------------------------- */

unsigned virtualbox_additions(const vboxmanage_properties *info) {
    const char *level = vboxmanage_property_get(info, "GuestAdditionsRunLevel");
    return level ? (unsigned)strtoul(level, NULL, 10) : 0;
}

int virtualbox_guest_check(const virtualbox_vm *vm, vmctl_state state, unsigned additions, vmctl_error **err) {
    if (state != VMCTL_STATE_RUNNING) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "%s is %s, and its guest does nothing", vm->name,
                  vmctl_state_name(state));
        return vmc_error_next(err, state == VMCTL_STATE_PAUSED ? "vmctl resume %s" : "vmctl start %s", vm->name);
    }
    if (additions == 0) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "no Guest Additions run in the guest of %s", vm->name);
        return vmc_error_next(
            err,
            "install virtualbox-guest-utils (or VirtualBox's own) in it, wait until it has booted, or "
            "go by ssh: vmctl ssh %s",
            vm->name);
    }
    return 0;
}

int virtualbox_guest_ready(virtualbox_conn *conn, const virtualbox_vm *vm, const vmc_deadline *deadline,
                           vmctl_error **err) {
    VBOXMANAGE_AUTO_PROPERTIES info = {0};
    int code = virtualbox_ask_info(conn, vm, deadline, &info, err);
    if (code < 0)
        return code;
    vmctl_state state = virtualbox_state(vboxmanage_property_get(&info, "VMState"), NULL);
    return virtualbox_guest_check(vm, state, virtualbox_additions(&info), err);
}

/* --- who --------------------------------------------------------------------------------------------------------------------- */

/* The password is in no file of any disk: VBoxManage reads it from this process's memory, by a descriptor of it. The folder, in the VM's own, which
 * VBoxManage reaches wherever it is confined to, is for what is piped. */
typedef struct login {
    const char *user;
    bool windows; /* the guest, by the VM's type */
    int memory, input;
    char *folder, *file;
    vboxmanage_held *secret,
        *staging; /* of another host: folders for the password, which is in its memory where that has a place for it, and
                                          for what is copied */
} login;

static void login_end(login *l) {
    if (l->memory > 0)
        close(l->memory);
    if (l->input > 0)
        close(l->input);
    if (l->folder)
        rmdir(l->folder);
    vboxmanage_release(l->staging);
    vboxmanage_release(l->secret);
    free(l->file);
    free(l->folder);
    *l = (login){0};
}
#define AUTO_LOGIN vmc_cleanup(login_end) login

static int read_password(char **out, vmctl_error **err) {
    const char *file = getenv("VMCTL_GUEST_PASSWORD_FILE");
    const char *text = getenv("VMCTL_GUEST_PASSWORD");
    if (!file || !*file) {
        *out = vmc_strdup(text ? text : "");
        return 0;
    }
    int code = vmc_file_read(file, 4096, out, NULL, err);
    if (code == 0)
        (*out)[strcspn(*out, "\r\n")] = 0;
    return code;
}

static int keep_password(login *l, const char *folder, const char *password, vmctl_error **err) {
    l->folder = vmc_printf("%s/.vmctl-XXXXXX", folder);
    if (!mkdtemp(l->folder)) {
        int code = vmc_error_errno(err, errno, "cannot make a folder in %s", folder);
        free(l->folder);
        l->folder = NULL;
        return code;
    }
    l->memory = memfd_create("password", MFD_CLOEXEC);
    ssize_t length = (ssize_t)strlen(password);
    if (l->memory < 0 || write(l->memory, password, (size_t)length) != length)
        return vmc_error_errno(err, errno, "cannot keep the password for VBoxManage");
    l->file = vmc_printf("/proc/%ld/fd/%d", (long)getpid(), l->memory);
    return 0;
}

static int keep_password_there(login *l, const virtualbox_conn *conn, const char *folder, const char *password,
                               const vmc_deadline *deadline, vmctl_error **err) {
    int code =
        vboxmanage_hold(conn->manage, (const char *const[]){"/dev/shm", folder, NULL}, deadline, &l->secret, err);
    if (code < 0)
        return code;
    l->file = vmc_printf("%s/password", vboxmanage_held_folder(l->secret));
    return vboxmanage_file_write(conn->manage, l->file, password, strlen(password), deadline, err);
}

/* Once the guest can be spoken to at all. files: some are copied. */
static int login_begin(virtualbox_conn *conn, const virtualbox_vm *vm, bool files, const vmc_deadline *deadline,
                       login *l, vmctl_error **err) {
    vboxmanage_machine *machine = NULL;
    char *password = NULL;
    int code = virtualbox_guest_ready(conn, vm, deadline, err);
    if (code < 0)
        return code;
    l->user = getenv("VMCTL_GUEST_USER");
    if (!l->user || !*l->user) {
        vmc_error(err, VMCTL_E_UNAUTHENTICATED, "Guest Additions do nothing without a user of the guest");
        return vmc_error_next(err, "VMCTL_GUEST_USER=NAME and VMCTL_GUEST_PASSWORD_FILE=FILE name one");
    }
    code = read_password(&password, err);
    if (code == 0)
        code = virtualbox_load(conn, vm, deadline, &machine, err);
    l->windows = code == 0 && machine->os_type && vmc_starts_with(machine->os_type, "Windows");
    if (code == 0)
        code = conn->manage->host ? keep_password_there(l, conn, machine->folder, password, deadline, err)
                                  : keep_password(l, machine->folder, password, err);
    if (code == 0 && files && conn->manage->host)
        code = vboxmanage_hold(conn->manage, (const char *const[]){machine->folder, NULL}, deadline, &l->staging, err);
    vboxmanage_machine_free(machine);
    vmc_wipe_free(password);
    return code;
}

static void say_login(vmc_strv *argv, const virtualbox_vm *vm, const char *verb, const login *l) {
    vmc_strv_add(argv, "guestcontrol");
    vmc_strv_add(argv, vm->id);
    vmc_strv_add(argv, verb);
    vmc_strv_printf(argv, "--username=%s", l->user);
    vmc_strv_printf(argv, "--passwordfile=%s", l->file);
}

static void add_words(vmc_strv *argv, const char *const *words) {
    for (; *words; words++)
        vmc_strv_add(argv, *words);
}

/* --- running something there --------------------------------------------------------------------------------------------------- */

int virtualbox_guest_status(int exit_code, int *status, vmctl_error **err) {
    enum { SIGNAL = 18, ABNORMAL = 19, TIMED_OUT = 20, DOWN = 21, FIRST = 33, LAST = 125, BIG = 126, SHIFT = 32 };
    *status = exit_code == 0 ? 0 : exit_code >= FIRST && exit_code <= LAST ? exit_code - SHIFT : -1;
    if (*status >= 0 || exit_code == BIG)
        return 0;
    if (exit_code == SIGNAL ||
        exit_code == ABNORMAL) { /* which signal it was is not told: as a shell that was killed says it */
        *status = 128 + 9;
        return 0;
    }
    if (exit_code == TIMED_OUT)
        return vmc_error(err, VMCTL_E_TIMEOUT, "the program did not end in time");
    if (exit_code == DOWN)
        return vmc_error(err, VMCTL_E_UNAVAILABLE, "the guest shut down while the program ran");
    return vmc_error(err, VMCTL_E_INTERNAL, "VBoxManage ended with %d, and tells nothing of the program", exit_code);
}

/* Since 7.0 the first argument is the program's name by itself; before it had to be given. */
static int names_itself(virtualbox_conn *conn, const vmc_deadline *deadline, bool *out, vmctl_error **err) {
    VMC_AUTO_FREE char *help = NULL;
    int code =
        virtualbox_say(conn, NULL, "asking what VBoxManage knows", deadline, &help, err, "help", "guestcontrol", NULL);
    *out = code == 0 && strstr(help, "--arg0") != NULL;
    return code;
}

static bool is_no_program(const vmctl_error *why) {
    const char *words = why ? vmctl_error_hypervisor_message(why) : NULL;
    return words && vmctl_error_code(why) == VMCTL_E_NOT_FOUND && strstr(words, "on guest");
}

static int run_words(virtualbox_conn *conn, const virtualbox_vm *vm, const login *l, const char *const *argv,
                     const vmctl_exec_options *options, const vmc_deadline *deadline, int *status, vmctl_error **err) {
    VMC_AUTO_STRV words = {0};
    bool itself = false;
    int code = names_itself(conn, deadline, &itself, err);
    if (code < 0)
        return code;
    say_login(&words, vm, "run", l);
    vmc_strv_printf(&words, "--exe=%s", argv[0]);
    for (const char *const *name = options->environment; name && *name; name++)
        vmc_strv_printf(&words, "--putenv=%s", *name);
    vmc_strv_add(&words, "--wait-stdout");
    vmc_strv_add(&words, "--wait-stderr");
    vmc_strv_add(&words, "--");
    for (size_t i = itself ? 1 : 0; argv[i]; i++)
        vmc_strv_add(&words, argv[i]);
    const vboxmanage_stream stream = {.argv = (const char *const *)words.items,
                                      .doing = "running a program in the guest",
                                      .output = options->output,
                                      .error = options->error,
                                      .user = options->user};
    int exit_code = 0;
    vmctl_error *why = NULL;
    code = vboxmanage_stream_run(conn->manage, &stream, deadline, &exit_code, &why);
    if (code < 0 && is_no_program(why)) { /* as a shell says it */
        VMC_AUTO_FREE char *line = vmc_printf("%s: not found\n", argv[0]);
        vmctl_error_free(why);
        if (options->error)
            options->error(line, strlen(line), options->user);
        *status = 127;
        return 0;
    }
    if (code < 0)
        vmc_error_move(err, &why);
    else
        code = virtualbox_guest_status(exit_code, status, err);
    if (code == 0 && *status < 0) {
        vmc_note(deadline, VMCTL_NOTE_WARNING,
                 "the program's exit status was 94 or more; VBoxManage does not tell which");
        *status = 255;
    }
    return code;
}

static int copy_call(virtualbox_conn *conn, const virtualbox_vm *vm, const login *l, const char *verb, const char *from,
                     const char *to, const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_STRV argv = {0};
    say_login(&argv, vm, verb, l);
    vmc_strv_add(&argv, from);
    if (to)
        vmc_strv_add(&argv, to);
    return virtualbox_run(conn, NULL, &argv, "copying a file", "copying", vm->name, deadline, NULL, err);
}

/* The input, in memory of this process's or, of another host, in that of the host, where VBoxManage finds it. */
static int keep_input(virtualbox_conn *conn, login *l, const vmctl_exec_options *options, const vmc_deadline *deadline,
                      char **path, vmctl_error **err) {
    VMC_AUTO_FREE char *read = NULL;
    const char *bytes = options->input;
    size_t length = options->input_length;
    int code = 0;
    if (options->input_fd >= 0) {
        VMC_AUTO_FREE char *from = vmc_printf("/proc/self/fd/%d", options->input_fd);
        code = vmc_file_read(from, MOST_INPUT, &read, &length, err);
        bytes = read;
    }
    if (code == 0 && l->secret) {
        *path = vmc_printf("%s/input", vboxmanage_held_folder(l->secret));
        code = vboxmanage_file_write(conn->manage, *path, bytes, length, deadline, err);
    } else if (code == 0) {
        l->input = memfd_create("input", MFD_CLOEXEC);
        if (l->input < 0 || write(l->input, bytes, length) != (ssize_t)length)
            code = vmc_error_errno(err, errno, "cannot keep the input for VBoxManage");
        *path = vmc_printf("/proc/%ld/fd/%d", (long)getpid(), l->input);
    }
    if (read)
        explicit_bzero(read, length);
    return code;
}

/* A folder of the user's own in the guest. *folder: free */
static int make_folder(virtualbox_conn *conn, const virtualbox_vm *vm, const login *l, const vmc_deadline *deadline,
                       char **folder, vmctl_error **err) {
    VMC_AUTO_STRV argv = {0};
    VMC_AUTO_FREE char *said = NULL;
    say_login(&argv, vm, "mktemp", l);
    add_words(&argv, (const char *const[]){"--directory", "--mode=0700", "--tmpdir=/tmp", "vmctl-XXXXXX", NULL});
    int code = virtualbox_run(conn, NULL, &argv, "making a folder in the guest", "giving input to a program in",
                              vm->name, deadline, &said, err);
    const char *at = code == 0 ? strstr(said, "/tmp/") : NULL; /* "Directory name: /tmp/vmctl-abcdef" */
    if (code == 0 && !at)
        return vmc_error(err, VMCTL_E_INTERNAL, "VBoxManage does not tell which folder it made: %s", said);
    *folder = at ? vmc_strndup(at, strcspn(at, "\r\n")) : NULL;
    return code;
}

/* `guestcontrol run` gives a program no standard input. It goes there as a file of the user's own, which a shell opens, removes, and becomes the
 * program. */
static const char take_input[] = "exec <\"$1/input\" && rm -r \"$1\" && shift && exec \"$@\"";

static int run_fed(virtualbox_conn *conn, const virtualbox_vm *vm, login *l, const char *const *argv,
                   const vmctl_exec_options *options, const vmc_deadline *deadline, int *status, vmctl_error **err) {
    VMC_AUTO_FREE char *kept = NULL;
    VMC_AUTO_FREE char *folder = NULL;
    int code = keep_input(conn, l, options, deadline, &kept, err);
    if (code == 0)
        code = make_folder(conn, vm, l, deadline, &folder, err);
    if (code < 0)
        return code;
    VMC_AUTO_FREE char *file = vmc_printf("%s/input", folder);
    VMC_AUTO_STRV words = {0};
    add_words(&words, (const char *const[]){"/bin/sh", "-c", take_input, "sh", folder, NULL});
    add_words(&words, argv);
    code = copy_call(conn, vm, l, "copyto", kept, file, deadline, err);
    if (code == 0)
        code = run_words(conn, vm, l, (const char *const *)words.items, options, deadline, status, err);
    if (code < 0) { /* whether the shell came to it is not known */
        vmc_deadline after = {.at_ms = vmc_now_ms() + ASK_MS};
        VMC_AUTO_STRV remove = {0};
        say_login(&remove, vm, "rmdir", l);
        add_words(&remove, (const char *const[]){"--recursive", folder, NULL});
        virtualbox_run(conn, NULL, &remove, "removing a folder in the guest", "cleaning up in", vm->name, &after, NULL,
                       NULL);
    }
    return code;
}

static int run_given(virtualbox_conn *conn, const virtualbox_vm *vm, login *l, const char *const *argv,
                     const vmctl_exec_options *options, const vmc_deadline *deadline, int *status, vmctl_error **err) {
    bool fed = options->input_fd >= 0 || options->input_length > 0;
    return fed ? run_fed(conn, vm, l, argv, options, deadline, status, err)
               : run_words(conn, vm, l, argv, options, deadline, status, err);
}

/* Guest Additions look for a program in no PATH; a shell does. 127 is beyond what VBoxManage can tell (virtualbox_guest_status), so that the shell
 * says NOWHERE, which a program may say too: whether it is there is then asked for. */
#define NOWHERE 93
static const char is_there[] = "command -v \"$1\" >/dev/null 2>&1";
static const char find_it[] =
    "command -v \"$1\" >/dev/null 2>&1 || { echo \"$1: not found\" >&2; exit 93; }; exec \"$@\"";

static int run_there(virtualbox_conn *conn, const virtualbox_vm *vm, login *l, const char *const *argv,
                     const vmctl_exec_options *options, const vmc_deadline *deadline, int *status, vmctl_error **err) {
    if (l->windows || strchr(argv[0], '/'))
        return run_given(conn, vm, l, argv, options, deadline, status, err);
    VMC_AUTO_STRV words = {0};
    add_words(&words, (const char *const[]){"/bin/sh", "-c", find_it, "sh", NULL});
    add_words(&words, argv);
    int code = run_given(conn, vm, l, (const char *const *)words.items, options, deadline, status, err);
    if (code < 0 || *status != NOWHERE)
        return code;
    const char *const asking[] = {"/bin/sh", "-c", is_there, "sh", argv[0], NULL};
    vmctl_exec_options quiet = VMCTL_EXEC_OPTIONS_INIT;
    quiet.environment = options->environment; /* its PATH */
    int there = 0;
    code = run_words(conn, vm, l, asking, &quiet, deadline, &there, err);
    if (code == 0 && there != 0)
        *status = 127;
    return code;
}

int virtualbox_guest_exec(void *opaque, void *handle, const char *const *argv, const vmctl_exec_options *options,
                          int *status, vmctl_error **err) {
    virtualbox_conn *conn = opaque;
    const virtualbox_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(options->call, -1);
    AUTO_LOGIN l = {0};
    int code = login_begin(conn, vm, false, &deadline, &l, err);
    return code < 0 ? code : run_there(conn, vm, &l, argv, options, &deadline, status, err);
}

/* By the guest's chpasswd, which reads it from its standard input; VirtualBox has no call for that. */
int virtualbox_guest_set_password(void *opaque, void *handle, const char *user, const char *password,
                                  const vmctl_call *call, vmctl_error **err) {
    static const char *const argv[] = {"/usr/sbin/chpasswd", NULL};
    virtualbox_conn *conn = opaque;
    const virtualbox_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(call, ASK_MS);
    AUTO_LOGIN l = {0};
    if (strpbrk(user, ":\n") || strchr(password, '\n'))
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "a user's name has no colon, and a password no end of line");
    int code = login_begin(conn, vm, false, &deadline, &l, err);
    if (code < 0)
        return code;
    char *line = vmc_printf("%s:%s\n", user, password);
    vmctl_exec_options options = VMCTL_EXEC_OPTIONS_INIT;
    options.input = line;
    options.input_length = strlen(line);
    int status = 0;
    code = run_there(conn, vm, &l, argv, &options, &deadline, &status, err);
    vmc_wipe_free(line);
    if (code == 0 && status != 0) {
        vmc_error(err, VMCTL_E_PERMISSION_DENIED, "the guest's chpasswd ended with %d: the password is as it was",
                  status);
        code = vmc_error_next(err, "VMCTL_GUEST_USER=root, and a Linux guest, are needed for it");
    }
    return code;
}

/* --- copying ---------------------------------------------------------------------------------------------------------------------- */

/* Beside its place first: what is there under the name is whole, before and after. */
static char *beside(const char *path) {
    return vmc_printf("%s.vmctl-%ld", path, (long)getpid());
}

/* A folder of this machine for what is piped: the VM's, or of this machine alone where the VM is another's. */
static int own_folder(login *l, vmctl_error **err) {
    if (l->folder)
        return 0;
    VMC_AUTO_FREE char *base = vmc_runtime_dir("copy");
    int code = vmc_mkdirs(base, 0700, err);
    if (code < 0)
        return code;
    l->folder = vmc_printf("%s/XXXXXX", base);
    if (mkdtemp(l->folder))
        return 0;
    code = vmc_error_errno(err, errno, "cannot make a folder in %s", base);
    free(l->folder);
    l->folder = NULL;
    return code;
}

static int standard_input(login *l, char **path, vmctl_error **err) {
    char *bytes = NULL;
    size_t length = 0;
    int code = own_folder(l, err);
    if (code == 0)
        code = vmc_file_read("-", MOST_INPUT, &bytes, &length, err);
    *path = code == 0 ? vmc_printf("%s/input", l->folder) : NULL;
    if (code == 0)
        code = vmc_file_write(*path, bytes, length, 0600, err);
    free(bytes);
    return code;
}

/* *from, a file of this machine, becomes one that VBoxManage can read. */
static int send_there(const virtualbox_conn *conn, const login *l, char **from, const vmc_deadline *deadline,
                      vmctl_error **err) {
    if (!l->staging)
        return 0;
    char *there = vmc_printf("%s/file", vboxmanage_held_folder(l->staging));
    int code = vboxmanage_file_send(conn->manage, *from, there, deadline, err);
    free(*from);
    *from = there;
    return code;
}

int virtualbox_guest_copy_in(void *opaque, void *handle, const char *local, const char *guest, vmc_journal *journal,
                             const vmctl_call *call, vmctl_error **err) {
    virtualbox_conn *conn = opaque;
    const virtualbox_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(call, COPY_MS);
    AUTO_LOGIN l = {0};
    (void)journal;
    int code = login_begin(conn, vm, true, &deadline, &l, err);
    if (code < 0)
        return code;
    VMC_AUTO_FREE char *input = NULL;
    VMC_AUTO_FREE char *source = NULL;
    if (strcmp(local, "-") == 0) {
        code = standard_input(&l, &input, err);
        source = vmc_strdup(input);
    } else {
        source = vmc_path_absolute(NULL, local);
        if (access(source, R_OK) < 0)
            code = vmc_error_errno(err, errno, "cannot read %s", local);
    }
    VMC_AUTO_FREE char *target =
        vmc_ends_with(guest, "/") ? vmc_printf("%s%s", guest, vmc_path_basename(local)) : vmc_strdup(guest);
    VMC_AUTO_FREE char *first = beside(target);
    if (code == 0)
        code = send_there(conn, &l, &source, &deadline, err);
    bool begun = code == 0;
    if (code == 0)
        code = copy_call(conn, vm, &l, "copyto", source, first, &deadline, err);
    if (code == 0)
        code = copy_call(conn, vm, &l, "mv", first, target, &deadline, err);
    if (code < 0 && begun) {
        vmc_deadline after = {.at_ms = vmc_now_ms() + ASK_MS};
        copy_call(conn, vm, &l, "rm", first, NULL, &after, NULL);
    }
    if (input)
        unlink(input);
    return code;
}

static int to_standard_output(const char *path, vmctl_error **err) {
    char *bytes = NULL;
    size_t length = 0;
    int code = vmc_file_read(path, MOST_INPUT, &bytes, &length, err);
    for (size_t done = 0; code == 0 && done < length;) {
        ssize_t wrote = write(STDOUT_FILENO, bytes + done, length - done);
        if (wrote < 0 && errno != EINTR)
            code = vmc_error_errno(err, errno, "cannot write to standard output");
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    free(bytes);
    return code;
}

int virtualbox_guest_copy_out(void *opaque, void *handle, const char *guest, const char *local, vmc_journal *journal,
                              const vmctl_call *call, vmctl_error **err) {
    virtualbox_conn *conn = opaque;
    const virtualbox_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(call, COPY_MS);
    AUTO_LOGIN l = {0};
    (void)journal;
    int code = login_begin(conn, vm, true, &deadline, &l, err);
    bool standard = strcmp(local, "-") == 0;
    if (code == 0 && standard)
        code = own_folder(&l, err);
    if (code < 0)
        return code;
    VMC_AUTO_FREE char *target = standard ? vmc_printf("%s/output", l.folder) : vmc_path_absolute(NULL, local);
    VMC_AUTO_FREE char *first = standard ? vmc_strdup(target) : beside(target);
    VMC_AUTO_FREE char *there =
        l.staging ? vmc_printf("%s/file", vboxmanage_held_folder(l.staging)) : vmc_strdup(first);
    code = copy_call(conn, vm, &l, "copyfrom", guest, there, &deadline, err);
    if (code == 0 && l.staging)
        code = vboxmanage_file_fetch(conn->manage, there, first, &deadline, err);
    if (code == 0 && standard)
        code = to_standard_output(first, err);
    else if (code == 0 && first && target && rename(first, target) < 0)
        code = vmc_error_errno(err, errno, "cannot put %s in its place", target);
    if (first && (code < 0 || standard))
        unlink(first);
    return code;
}
