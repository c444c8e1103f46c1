/* vmctl set, vmctl edit: a VM's spec, changed key by key or in an editor. */
#include "output.h"
#include "specs.h"
#include "tree.h"
#include "verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Makes the VM be as `want` says and shows what changed. */
static int change(cli *c, vmctl_vm *vm, const vmctl_spec *have, const vmctl_spec *want, bool prune) {
    vmctl_change_options options = VMCTL_CHANGE_OPTIONS_INIT;
    vmctl_diff_options diff_options = VMCTL_DIFF_OPTIONS_INIT;
    vmctl_call call = cli_call(c);
    vmctl_diff *diff = NULL;
    vmctl_error *err = NULL;
    cJSON *changes = cJSON_CreateArray();

    options.call = &call;
    options.live = cli_flag(&c->args, "live");
    options.dry_run = cli_flag(&c->args, "dry-run");
    options.changed = cli_collect_change;
    options.user = changes;
    diff_options.prune = prune;
    diff_options.all = true;
    int rc = vmctl_spec_diff(have, want, &diff_options, &diff, &err);
    bool any = rc == 0 && vmctl_diff_count(diff) > 0;
    if (any)
        rc = vmctl_vm_change(vm, diff, &options, &err);
    vmctl_diff_free(diff);
    cli_progress_end();
    if (rc < 0) {
        cJSON_Delete(changes);
        return cli_report(c, err, vmctl_connection_context(vmctl_vm_connection(vm)));
    }
    cJSON *result = cli_tree_identity(vm);
    cli_put(result, "outcome", !any ? "unchanged" : options.dry_run ? "would be changed" : "changed");
    cJSON_AddItemToObject(result, "changes", changes);
    cli_output_one(c, &cli_view_outcome, result);
    return 0;
}

static int have_spec(cli *c, vmctl_vm *vm, vmctl_spec **have) {
    vmctl_call call = cli_call(c);
    vmctl_error *err = NULL;

    if (vmctl_vm_spec(vm, &call, have, &err) < 0)
        return cli_report(c, err, vmctl_connection_context(vmctl_vm_connection(vm)));
    return 0;
}

/* Before anything is asked of an endpoint. */
static int check_keys(cli *c) {
    for (size_t i = 1; i < c->args.operand_count; i++) {
        const char *equals = strchr(c->args.operands[i], '=');
        if (!equals || equals == c->args.operands[i])
            return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, "vmctl set VM memory=4GiB", "\"%s\" is not KEY=VALUE",
                            c->args.operands[i]);
    }
    return 0;
}

static size_t count_devices(const vmctl_spec *spec) {
    static const char *const lists[] = {"disks", "networks", "gpus", "shares", "usb"};
    size_t count = 0;

    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        count += vmctl_node_count(vmctl_node_get(vmctl_spec_root(spec), lists[i]));
    return count;
}

/* A name that is mistyped must not become a new device: the spec makes an item for a name that it does not know. */
static int set_key(cli *c, const vmctl_vm *vm, vmctl_spec *want, const char *key, const char *value) {
    const size_t before = count_devices(want);
    vmctl_error *err = NULL;

    if (vmctl_spec_set(want, key, value, &err) < 0)
        return cli_report(c, err, NULL);
    if (!strchr(key, '.') || count_devices(want) <= before)
        return 0;
    CLI_AUTO_FREE char *next = cli_printf("vmctl device list %s shows its devices, vmctl attach %s adds one",
                                          vmctl_vm_name(vm), vmctl_vm_name(vm));
    return cli_fail(c, VMCTL_E_NOT_FOUND, next, "%s has no device for %s", vmctl_vm_name(vm), key);
}

static int set_keys(cli *c, const vmctl_vm *vm, vmctl_spec *want) {
    for (size_t i = 1; i < c->args.operand_count; i++) {
        CLI_AUTO_FREE char *key = cli_strdup(c->args.operands[i]);
        char *equals = strchr(key, '=');
        if (equals)
            *equals = '\0';
        int status = set_key(c, vm, want, key, equals ? equals + 1 : NULL);
        if (status)
            return status;
    }
    return 0;
}

static int set(cli *c) {
    int status = check_keys(c);
    vmctl_spec *have = NULL, *want = NULL;
    vmctl_vm *vm = status ? NULL : cli_vm(c, c->args.operands[0], &status);

    if (vm)
        status = have_spec(c, vm, &have);
    if (have) {
        want = vmctl_spec_copy(have);
        status = set_keys(c, vm, want);
        if (!status)
            status = change(c, vm, have, want, false);
    }
    vmctl_spec_free(have);
    vmctl_spec_free(want);
    vmctl_vm_free(vm);
    return status;
}

static const cli_option set_options[] = {
    {"dry-run", 0, CLI_FLAG, NULL, "tell what would change, change nothing"},
    {"live", 0, CLI_FLAG, NULL, "every change must be in force now; else nothing is changed (status 6)"},
    {NULL}};

const cli_verb cli_verb_set = {
    .name = "set",
    .group = "life",
    .operands = "VM KEY=VALUE...",
    .summary = "change a VM, key by key of its spec",
    .help =
        "The keys are those of vm.yaml; an item of a list is named: disk.root.size, nic.lan.link. What is in force\n"
        "only after a restart is said.\n"
        "\n"
        "  vmctl set web-1 cpus=4 memory=4GiB\n"
        "  vmctl set web-1 disk.root.size=40GiB nic.lan.link=down labels.tier=front --live",
    .options = set_options,
    .min = 2,
    .max = -1,
    .hint = CLI_HINT_VM,
    .run = set,
};

/* --- edit ----------------------------------------------------------------------------------------------------- */

/* Ctrl-C and Ctrl-\ in the editor are the editor's: both programs get them from the terminal, and an interrupt here would
 * end the command under it. As system(3) does. */
static pid_t start_editor(char *const *argv, struct sigaction old[2]) {
    const struct sigaction ignore = {.sa_handler = SIG_IGN};

    sigaction(SIGINT, &ignore, &old[0]);
    sigaction(SIGQUIT, &ignore, &old[1]);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGINT, SIG_DFL);
        signal(SIGQUIT, SIG_DFL);
        signal(SIGPIPE, SIG_DFL);
        execvp(argv[0], argv);
        _exit(127);
    }
    return child;
}

/* Runs the person's editor ($VISUAL, $EDITOR; its words are separated by blanks) on the file. */
static int run_editor(cli *c, const char *file) {
    const char *wanted = getenv("VISUAL");
    if (!wanted || !*wanted)
        wanted = getenv("EDITOR");
    CLI_AUTO_FREE char *words = cli_strdup(wanted && *wanted ? wanted : "vi");
    const char *argv[32];
    size_t n = 0;
    char *rest = NULL;
    int how = 0;

    for (char *word = strtok_r(words, " \t", &rest); word && n < 30; word = strtok_r(NULL, " \t", &rest))
        argv[n++] = word;
    if (!n)
        argv[n++] = "vi";
    argv[n++] = file;
    argv[n] = NULL;
    fflush(stdout);
    cli_progress_end();
    struct sigaction old[2];
    pid_t child = start_editor((char *const *)argv, old);
    while (child > 0 && waitpid(child, &how, 0) < 0 && errno == EINTR)
        ;
    sigaction(SIGINT, &old[0], NULL);
    sigaction(SIGQUIT, &old[1], NULL);
    if (child > 0 && WIFEXITED(how) && WEXITSTATUS(how) == 0)
        return 0;
    return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, "EDITOR=nano vmctl edit VM", "the editor \"%s\" failed%s", argv[0],
                    child > 0 && WIFEXITED(how) && WEXITSTATUS(how) == 127 ? ": it cannot be run" : "");
}

static bool write_file(const char *path, const char *head, const char *text) {
    FILE *to = fopen(path, "we");

    if (!to)
        return false;
    fputs(head, to);
    fputs(text, to);
    return fclose(to) == 0;
}

static char *read_file(const char *path) {
    char *text = NULL;
    size_t capacity = 0;
    FILE *from = fopen(path, "re");

    if (!from)
        return NULL;
    ssize_t n = getdelim(&text, &capacity, EOF, from);
    fclose(from);
    if (n < 0) {
        free(text);
        return cli_strdup("");
    }
    return text;
}

static const char head_text[] =
    "# The VM as it is. Lines that begin with # are ignored; a key that is taken away is left alone.\n"
    "# Leave the editor without a change to change nothing.\n";

/* The faults as comments above what was written, so that they are seen where they are mended. */
static char *with_faults(const vmctl_error *err, const char *text) {
    char *out = NULL;
    size_t length = 0;
    FILE *to = open_memstream(&out, &length);

    if (!to)
        return cli_strdup(text);
    fputs("# ! ", to);
    for (const char *at = vmctl_error_text(err); *at; at++) {
        fputc(*at, to);
        if (*at == '\n')
            fputs("# ! ", to);
    }
    fputc('\n', to);
    /* the comments of the last time go */
    while (!strncmp(text, "# !", 3)) {
        text += strcspn(text, "\n");
        text += *text == '\n';
    }
    fputs(text, to);
    fclose(to);
    return out;
}

static bool same_without_faults(const char *a, const char *b) {
    while (!strncmp(a, "# !", 3)) {
        a += strcspn(a, "\n");
        a += *a == '\n';
    }
    while (!strncmp(b, "# !", 3)) {
        b += strcspn(b, "\n");
        b += *b == '\n';
    }
    return !strcmp(a, b);
}

/* Edits until the document is a spec. *want stays NULL when nothing was changed. */
static int edit_until_valid(cli *c, const char *file, vmctl_spec **want) {
    vmctl_spec_load_options options = VMCTL_SPEC_LOAD_OPTIONS_INIT;

    for (;;) {
        CLI_AUTO_FREE char *before = read_file(file);
        int status = run_editor(c, file);
        if (status)
            return status;
        CLI_AUTO_FREE char *text = read_file(file);
        if (!text)
            return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, NULL, "%s cannot be read: %s", file, strerror(errno));
        bool same = before && same_without_faults(before, text);
        vmctl_spec **list = NULL;
        size_t count = 0;
        vmctl_error *err = NULL;
        if (vmctl_spec_load(text, strlen(text), &options, &list, &count, &err) == 0) {
            if (!same && count == 1)
                *want = vmctl_spec_copy(list[0]);
            vmctl_spec_list_free(list);
            return count == 1 || same ? 0 : cli_fail(c, VMCTL_E_INVALID_SPEC, NULL, "one document is one VM");
        }
        if (same || vmctl_cancel_triggered(c->cancel))
            return cli_report(c, err, NULL);
        CLI_AUTO_FREE char *again = with_faults(err, text);
        vmctl_error_free(err);
        if (!write_file(file, "", again))
            return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, NULL, "%s cannot be written: %s", file, strerror(errno));
    }
}

static int edit_spec(cli *c, vmctl_vm *vm, const vmctl_spec *have) {
    const char *folder = getenv("TMPDIR");
    CLI_AUTO_FREE char *file = cli_printf("%s/vmctl-edit-XXXXXX.yaml", folder && *folder ? folder : "/tmp");
    vmctl_error *err = NULL;
    vmctl_spec *want = NULL;
    char *text = NULL;

    if (vmctl_spec_text(have, VMCTL_FORMAT_YAML, false, &text, &err) < 0)
        return cli_report(c, err, NULL);
    int fd = mkostemps(file, 5, O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    if (fd < 0 || !write_file(file, head_text, text)) {
        vmctl_string_free(text);
        return cli_fail(c, VMCTL_E_RESOURCE_EXHAUSTED, NULL, "%s cannot be written: %s", file, strerror(errno));
    }
    vmctl_string_free(text);
    int status = edit_until_valid(c, file, &want);
    if (!status && want)
        status = change(c, vm, have, want, true);
    else if (!status)
        cli_note(c, VMCTL_NOTE_INFO, "nothing was changed");
    if (status) {
        CLI_AUTO_FREE char *kept = cli_printf("what was written is kept in %s", file);
        cli_note(c, VMCTL_NOTE_INFO, kept);
    } else {
        unlink(file);
    }
    vmctl_spec_free(want);
    return status;
}

static int edit(cli *c) {
    int status = 0;
    vmctl_spec *have = NULL;
    vmctl_vm *vm = cli_vm(c, c->args.operands[0], &status);

    if (vm)
        status = have_spec(c, vm, &have);
    if (have)
        status = edit_spec(c, vm, have);
    vmctl_spec_free(have);
    vmctl_vm_free(vm);
    return status;
}

const cli_verb cli_verb_edit = {
    .name = "edit",
    .group = "life",
    .operands = "VM",
    .summary = "change a VM's spec in $VISUAL or $EDITOR",
    .help =
        "A document with faults is opened again, with the faults above it. A device that is taken out of a list is\n"
        "removed from the VM.",
    .options = set_options,
    .min = 1,
    .max = 1,
    .hint = CLI_HINT_VM,
    .run = edit,
};
