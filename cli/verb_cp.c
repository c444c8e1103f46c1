/* vmctl cp: a file into or out of the guest, through its agent or, where there is none, by scp. */
#include "guest_via.h"
#include "verbs.h"

#include <stdlib.h>
#include <string.h>

/* "VM:PATH" (not "./a:b", not "/a:b"): the colon, else NULL. */
static const char *guest_side(const char *text) {
    const char *colon = strchr(text, ':');
    return colon && colon != text && text[0] != '.' && text[0] != '/' ? colon : NULL;
}

/* scp itself: as fast as it is. */
static int by_scp(cli *c, cli_way *w, vmctl_vm *vm, const char *local, const char *guest, bool out) {
    cli_strings argv = {0};
    const char *user = cli_way_user(c, w);
    bool six = strchr(w->host, ':') != NULL;
    char *remote =
        cli_printf("%s%s%s%s%s:%s", user ? user : "", user ? "@" : "", six ? "[" : "", w->host, six ? "]" : "", guest);
    CLI_AUTO_FREE char *path = *local == '-' ? cli_printf("./%s", local) : cli_strdup(local);

    cli_strings_add(&argv, "scp");
    cli_strings_add(&argv, "-q");
    cli_strings_add(&argv, "-p");
    cli_strings_add(&argv, "-r");
    cli_way_options(c, w, true, &argv);
    cli_strings_add(&argv, "--");
    if (!out)
        cli_strings_add(&argv, path);
    cli_strings_take(&argv, remote);
    if (out)
        cli_strings_add(&argv, path);
    int status = cli_way_run(c, w, vm, (const char *const *)argv.items);
    cli_strings_free(&argv);
    return status;
}

static int cp(cli *c) {
    const char *from = c->args.operands[0], *to = c->args.operands[1];
    const char *from_guest = guest_side(from), *to_guest = guest_side(to);
    vmctl_error *err = NULL;
    int status = 0;

    if (!from_guest == !to_guest)
        return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, "vmctl cp file.txt web-1:/tmp/file.txt",
                        "one side is VM:PATH, the other a file of this machine");
    const char *colon = from_guest ? from_guest : to_guest;
    const char *side = from_guest ? from : to;
    CLI_AUTO_FREE char *target = cli_strndup(side, (size_t)(colon - side));
    vmctl_vm *vm = cli_vm(c, target ? target : "", &status);
    if (!vm)
        return status;
    vmctl_call call = cli_call(c);
    const char *local = from_guest ? to : from;
    cli_way way = {0};
    if (!cli_guest_ssh(c, NULL) && (from_guest ? vmctl_guest_copy_out(vm, colon + 1, local, &call, &err)
                                               : vmctl_guest_copy_in(vm, local, colon + 1, &call, &err)) == 0) {
        vmctl_vm_free(vm);
        return 0;
    }
    if (cli_guest_ssh(c, err) && strcmp(local, "-") != 0) {
        status = cli_guest_way(c, vm, &way, &err);
        if (status == 0 && way.host) {
            status = by_scp(c, &way, vm, local, colon + 1, from_guest != NULL);
            cli_way_free(&way);
            return status;
        }
    } else if (!err) {
        status =
            cli_fail(c, VMCTL_E_UNSUPPORTED, "vmctl ssh VM -- 'cat >FILE'", "scp copies files, not standard input");
    }
    if (err)
        status = cli_report(c, err, vmctl_connection_context(vmctl_vm_connection(vm)));
    cli_way_free(&way);
    vmctl_vm_free(vm);
    return status;
}

static const cli_option cp_options[] = {CLI_WAY_OPTIONS, CLI_WAY_USER, CLI_GUEST_VIA, {NULL}};

const cli_verb cli_verb_cp = {
    .name = "cp",
    .group = "guest",
    .operands = "FILE VM:PATH | VM:PATH FILE",
    .summary = "copy a file into or out of the guest, through its agent or by scp",
    .options = cp_options,
    .help = "One file, with its mode and time; - is standard input or output. A target that is a folder gets the "
            "file's name in it.\n"
            "The target appears whole or not at all, and its size is checked. Files over 128 KiB go through a serial "
            "port that is\n"
            "plugged for the copy; where none can be plugged, through the agent's file commands, which are much "
            "slower.\n"
            "Where there is no agent, or with --via ssh, scp does it, folders too; through the agent they go as an "
            "archive:\n"
            "\n"
            "  vmctl cp app.tar web-1:/tmp/\n"
            "  tar c -C site . | vmctl exec web-1 --stdin -- tar x -C /var/www",
    .min = 2,
    .max = 2,
    .hint = CLI_HINT_FILE,
    .hint_rest = CLI_HINT_FILE,
    .run = cp,
};
