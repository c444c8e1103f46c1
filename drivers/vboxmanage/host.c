/* VBoxManage on another host. */
#include "host.h"

#include "base/error.h"
#include "base/file.h"
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { GRACE_MS = 4000, DIAL_MS = 30000, RETRY_MS = 20 };

/* Becomes the program, under the eyes of a watcher: its stdin ends with the connection. By then the program may have ended and its number be another's,
 * which the time of its start tells. */
static const char watched[] = "exec 3<&0 </dev/null\n"
                              "(trap '' INT; b=$(ps -o lstart= -p $$); cat <&3 >/dev/null\n"
                              " [ -n \"$b\" ] && [ \"$b\" = \"$(ps -o lstart= -p $$)\" ] && kill -INT $$ && sleep 3 && "
                              "[ \"$b\" = \"$(ps -o lstart= -p $$)\" ] && kill -KILL $$\n"
                              ") >/dev/null 2>&1 &\n"
                              "exec 3<&- \"$@\"";

/* Debian's /usr/bin/VBoxManage is a script that writes its warnings to stdout. */
static const char find_program[] =
    "c=$(command -v VBoxManage); [ \"$c\" = /usr/bin/VBoxManage ] && c=\n"
    "p=; for f in \"$c\" /usr/lib/virtualbox/VBoxManage /opt/VirtualBox/VBoxManage "
    "/Applications/VirtualBox.app/Contents/MacOS/VBoxManage /usr/bin/VBoxManage; do\n"
    " if [ -z \"$p\" ] && [ -n \"$f\" ] && [ -x \"$f\" ]; then p=$f; fi\n"
    "done\n"
    "h=${1:-$VBOX_USER_HOME}\n"
    "if [ -z \"$h\" ] && [ -d \"$HOME/.VirtualBox\" ]; then h=$HOME/.VirtualBox; fi\n"
    "if [ -z \"$h\" ] && [ -d \"$HOME/Library/VirtualBox\" ]; then h=$HOME/Library/VirtualBox; fi\n"
    "printf '%s\\n%s\\n' \"$p\" \"${h:-${XDG_CONFIG_HOME:-$HOME/.config}/VirtualBox}\"";

void vboxmanage_host_free(vboxmanage_host *host) {
    if (!host)
        return;
    free(host->name);
    free(host->user);
    free(host->identity);
    free(host->control);
    free(host->home);
    free(host);
}

static vboxmanage_host *host_new(const vboxmanage_where *where, const char *folder) {
    vboxmanage_host *host = vmc_alloc(sizeof *host);
    host->name = vmc_strdup(where->host);
    host->user = vmc_strdup(where->user);
    host->identity = vmc_strdup(where->identity);
    /* A connection whose host was not checked serves nobody who wants that. */
    host->control = vmc_printf("ControlPath=%s/%s%%C", folder, where->no_verify ? "any-" : "");
    size_t n = 0;
    host->options[n++] = "ControlMaster=auto";
    host->options[n++] = "ControlPersist=30";
    host->options[n++] = host->control;
    host->options[n++] = "LogLevel=ERROR"; /* stderr is the program's */
    if (where->no_verify) {
        host->options[n++] = "StrictHostKeyChecking=no";
        host->options[n++] = "UserKnownHostsFile=/dev/null";
    }
    host->target = (openssh_target){.host = host->name,
                                    .port = where->port,
                                    .user = host->user,
                                    .identity = host->identity,
                                    .options = host->options};
    return host;
}

/* ssh's own failures, as they concern a host and no VM. */
static int explain(const vboxmanage_host *host, int code, vmctl_error **err) {
    if (code == VMCTL_E_UNAUTHENTICATED)
        vmc_error_next(err, "add your key to the authorized keys of %s, or name one: &keyfile=FILE", host->name);
    else if (code == VMCTL_E_PERMISSION_DENIED)
        vmc_error_next(err, "ssh %s shows the host's key and asks whether it is the right one", host->name);
    return code;
}

static int run_words(const vboxmanage_host *host, const vmc_strv *words, process_options *io,
                     const vmc_deadline *deadline, process_result *result, vmctl_error **err) {
    io->grace_ms = GRACE_MS;
    int code = openssh_run(&host->target, (const char *const *)words->items, io, deadline, result, err);
    return code < 0 ? explain(host, code, err) : code;
}

static void add_all(vmc_strv *to, const char *const *words) {
    for (; words && *words; words++)
        vmc_strv_add(to, *words);
}

int vboxmanage_host_run(const vboxmanage_host *host, const vmc_strv *argv, const vmc_strv *environment,
                        process_options *io, const vmc_deadline *deadline, process_result *result, vmctl_error **err) {
    VMC_AUTO_STRV words = {0};
    bool fed = io->input || io->input_path || io->inherit_input;
    if (!fed) {
        add_all(&words, (const char *const[]){"sh", "-c", watched, "vmctl", NULL});
        io->hold_input = true;
    }
    vmc_strv_add(&words, "env");
    for (size_t i = 0; i < environment->count; i++)
        if (strchr(environment->items[i], '='))
            vmc_strv_add(&words, environment->items[i]);
    add_all(&words, (const char *const *)argv->items);
    return run_words(host, &words, io, deadline, result, err);
}

int vboxmanage_host_script(const vboxmanage_host *host, const char *script, const char *const *words_of,
                           process_options *io, const vmc_deadline *deadline, process_result *result,
                           vmctl_error **err) {
    process_options plain = {.doing = NULL};
    process_options *options = io ? io : &plain;
    VMC_AUTO_STRV words = {0};
    if (!options->input && !options->input_path) {
        add_all(&words, (const char *const[]){"sh", "-c", watched, "vmctl", NULL});
        options->hold_input = true;
    }
    add_all(&words, (const char *const[]){"env", "LC_ALL=C.UTF-8", "sh", "-c", script, "vmctl", NULL});
    add_all(&words, words_of);
    return run_words(host, &words, options, deadline, result, err);
}

int vboxmanage_open_there(const vboxmanage_where *where, const char *home, const char *ipc,
                          const vmc_deadline *deadline, vboxmanage **out, vmctl_error **err) {
    VMC_AUTO_FREE char *folder = vmc_runtime_dir("ssh");
    int code = vmc_mkdirs(folder, 0700, err);
    if (code < 0)
        return code;
    vboxmanage_host *host = host_new(where, folder);
    PROCESS_AUTO_RESULT result = {0};
    code = vboxmanage_host_script(host, find_program, (const char *const[]){home ? home : "", NULL}, NULL, deadline,
                                  &result, err);
    char *end = code == 0 ? strchr(result.output, '\n') : NULL;
    char *last = end ? strchr(end + 1, '\n') : NULL;
    if (code == 0 && !last) {
        code = vmc_error(err, VMCTL_E_UNAVAILABLE, "the shell of %s does not tell whether VirtualBox is there",
                         where->host);
        vmc_error_hypervisor(err, NULL, result.error);
    } else if (code == 0 && end == result.output) {
        code = vmc_error(err, VMCTL_E_UNAVAILABLE,
                         "VBoxManage is neither on PATH of %s nor in VirtualBox' folders there", where->host);
        vmc_error_next(err, "install VirtualBox there (virtualbox.org/wiki/Downloads), or put its folder on PATH");
    }
    if (code < 0) {
        vboxmanage_host_free(host);
        return code;
    }
    vboxmanage *manage = vmc_alloc(sizeof *manage);
    host->home = vmc_strndup(end + 1, (size_t)(last - end - 1));
    manage->host = host;
    manage->program = vmc_strndup(result.output, (size_t)(end - result.output));
    manage->home = vmc_strdup(home);
    manage->ipc = vmc_strdup(ipc);
    *out = manage;
    return 0;
}

/* --- sockets ------------------------------------------------------------------------------------------------------------- */

/* A word to the master, which the last session may have left long ago: it is brought back then. */
int vboxmanage_host_forward(const vboxmanage_host *host, bool begin, bool back, const char *forward,
                            const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_STRV argv = {0};
    PROCESS_AUTO_RESULT result = {0};
    int code = begin ? vboxmanage_host_script(host, ":", NULL, NULL, deadline, &result, err) : 0;
    if (code < 0)
        return code;
    const char *const first[] = {"ssh",   "-O", begin ? "forward" : "cancel", "-o", host->control, back ? "-R" : "-L",
                                 forward, NULL};
    add_all(&argv, first);
    if (host->target.port) {
        vmc_strv_add(&argv, "-p");
        vmc_strv_printf(&argv, "%d", host->target.port);
    }
    if (host->user)
        add_all(&argv, (const char *const[]){"-l", host->user, NULL});
    add_all(&argv, (const char *const[]){"--", host->name, NULL});
    const process_options options = {.argv = (const char *const *)argv.items,
                                     .package = "openssh-client",
                                     .doing = "leading a connection through ssh"};
    return process_run_ok(&options, deadline, NULL, err);
}

int vboxmanage_host_dial(const vboxmanage_host *host, const char *there, const vmc_deadline *deadline, int *fd,
                         vmctl_error **err) {
    vmc_deadline within = vmc_deadline_within(deadline, DIAL_MS);
    VMC_AUTO_FREE char *folder = vmc_runtime_dir("ssh/dial-XXXXXX");
    if (!mkdtemp(folder))
        return vmc_error(err, VMCTL_E_UNAVAILABLE, "cannot make a folder for a socket in %s", folder);
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    VMC_AUTO_FREE char *path = vmc_printf("%s/s", folder);
    VMC_AUTO_FREE char *forward =
        *there == '/' ? vmc_printf("%s:%s", path, there) : vmc_printf("%s:127.0.0.1:%s", path, there);
    int code = 0;
    if (strlen(path) >= sizeof name.sun_path)
        code = vmc_error(err, VMCTL_E_UNAVAILABLE, "%s is too long for the name of a socket", path);
    if (code == 0)
        code = vboxmanage_host_forward(host, true, false, forward, &within, err);
    if (code == 0) {
        memcpy(name.sun_path, path, strlen(path) + 1);
        int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (made < 0 || connect(made, (struct sockaddr *)&name, sizeof name) < 0)
            code = vmc_error(err, VMCTL_E_UNAVAILABLE, "ssh does not lead to %s of %s", there, host->name);
        if (code == 0)
            *fd = made;
        else if (made >= 0)
            close(made);
        vboxmanage_host_forward(host, false, false, forward, &within, NULL); /* what is connected stays */
    }
    unlink(path);
    rmdir(folder);
    return code;
}
