/* vmctl port-forward: ports of the guest at this machine until ^C. */
#include "guest_via.h"
#include "output.h"
#include "ssh_forward.h"
#include "tree.h"
#include "verbs.h"

#include <stdlib.h>
#include <string.h>

/* "[ADDRESS:]LOCAL:GUEST", or "PORT" for both; an IPv6 address in brackets. false: it is none. The address is the caller's (free). */
static bool parse(const char *text, vmctl_forward *out, char **address) {
    const char *colon = strrchr(text, ':');
    char *end = NULL;
    const char *guest = colon ? colon + 1 : text;
    long number = strtol(guest, &end, 10);
    if (end == guest || *end || number < 1 || number > 65535)
        return false;
    out->guest = out->local = (int)number;
    if (!colon)
        return true;
    const char *local = colon;
    while (local > text && local[-1] != ':')
        local--;
    number = strtol(local, &end, 10);
    if (end != colon || end == local || number < 0 || number > 65535)
        return false;
    out->local = (int)number;
    if (local == text)
        return true;
    size_t length = (size_t)(local - text) - 1;
    bool brackets = length > 2 && text[0] == '[' && text[length - 1] == ']';
    *address = cli_strndup(text + brackets, length - 2 * brackets);
    out->address = *address;
    return length > 0;
}

typedef struct telling {
    cli *c;
    vmctl_vm *vm;
    bool told;
} telling;

static const cli_column columns[] = {{"ADDRESS", "address", CLI_CELL_TEXT, 0},
                                     {"LOCAL", "local", CLI_CELL_TEXT, CLI_COLUMN_RIGHT},
                                     {"GUEST", "guest", CLI_CELL_TEXT, CLI_COLUMN_RIGHT},
                                     {"WAY", "way", CLI_CELL_TEXT, CLI_COLUMN_CUT},
                                     {NULL}};
static const cli_view view = {.columns = columns};

/* Each is told as it is ready: scripts wait for the line. */
static void on_ready(const vmctl_forward *forward, const char *way, void *user) {
    telling *t = user;

    t->told = true;
    if (t->c->format == CLI_TABLE || t->c->format == CLI_WIDE || t->c->format == CLI_NAME) {
        printf("%s:%d -> %d\n", forward->address, forward->local, forward->guest);
        CLI_AUTO_FREE char *text = cli_printf("port %d of %s goes %s", forward->guest, vmctl_vm_name(t->vm), way);
        cli_note(t->c, VMCTL_NOTE_INFO, text);
    } else {
        cJSON *row = cJSON_CreateObject();
        cli_put(row, "address", forward->address);
        cli_put_number(row, "local", forward->local);
        cli_put_number(row, "guest", forward->guest);
        cli_put(row, "way", way);
        cli_output_one(t->c, &view, row);
    }
    fflush(stdout);
}

static int port_forward(cli *c) {
    size_t count = c->args.operand_count - 1;
    CLI_AUTO_FREE vmctl_forward *forwards = cli_alloc((count + 1) * sizeof *forwards);
    CLI_AUTO_STRINGS addresses = {0};
    int status = 0;

    for (size_t i = 0; i < count; i++) {
        const char *text = c->args.operands[i + 1];
        char *address = NULL;
        forwards[i] = (vmctl_forward)VMCTL_FORWARD_INIT;
        bool good = parse(text, &forwards[i], &address);
        if (address)
            cli_strings_take(&addresses, address);
        if (!good)
            return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, "vmctl port-forward web-1 8080:80", "\"%s\" is no LOCAL:GUEST",
                            text);
    }
    vmctl_vm *vm = cli_vm(c, c->args.operands[0], &status);
    if (!vm)
        return status;
    vmctl_call call = cli_call(c);
    vmctl_error *err = NULL;
    telling t = {c, vm, false};
    vmctl_forward_options options = VMCTL_FORWARD_OPTIONS_INIT;
    options.call = &call;
    options.ready = on_ready;
    options.user = &t;
    bool done = !cli_guest_ssh(c, NULL) && vmctl_guest_forward(vm, forwards, count, &options, &err) == 0;
    cli_way way = {0};
    if (!done && !t.told && (cli_guest_ssh(c, NULL) || vmctl_error_code(err) == VMCTL_E_UNSUPPORTED)) {
        status = cli_guest_way(c, vm, &way, &err);
        if (status == 0 && way.host)
            status = cli_ssh_forward(c, vm, &way, forwards, count, on_ready, &t);
        cli_way_free(&way);
    }
    if (err)
        status = cli_report(c, err, vmctl_connection_context(vmctl_vm_connection(vm)));
    vmctl_vm_free(vm);
    return status;
}

static const cli_option port_forward_options[] = {
    CLI_WAY_OPTIONS,
    CLI_WAY_USER,
    {"via", 0, CLI_CHOICE, "WAY", "direct, or ssh (where there is no direct way)", "direct ssh"},
    {NULL}};

const cli_verb cli_verb_port_forward = {
    .name = "port-forward",
    .group = "guest",
    .operands = "VM [ADDRESS:]LOCAL:GUEST...",
    .summary = "make TCP ports of the guest reachable at this machine until ^C",
    .options = port_forward_options,
    .help = "LOCAL 0 takes a free port and prints it; ADDRESS is 127.0.0.1 unless given; PORT alone is both. Each line "
            "of output\n"
            "says where to dial, and a note which way it goes: directly to the guest's address where this machine "
            "reaches it,\n"
            "through a forward that the VM has, or by one that QEMU's user networking gets for the while. Where there "
            "is none,\n"
            "or with --via ssh, ssh -L: it reaches what listens at the guest's own loopback, too. ^C and --timeout\n"
            "end it with status 0; when the VM ends, it ends with 6.\n"
            "127.0.0.1 keeps out other machines only: every user of this one can dial the port.\n"
            "\n"
            "  vmctl port-forward web-1 8080:80 0:22",
    .min = 2,
    .max = -1,
    .hint = CLI_HINT_VM,
    .run = port_forward,
};
