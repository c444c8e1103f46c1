/* vmctl send-key. */
#include "verbs.h"

static int send_key(cli *c) {
    vmctl_keys_options options = VMCTL_KEYS_OPTIONS_INIT;
    const char *text = cli_text(&c->args, "type", NULL);
    size_t keys = c->args.operand_count - 1;
    vmctl_error *err = NULL;
    int status = 0;

    if (!text && !keys)
        return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, "vmctl help send-key",
                        "something is missing: vmctl send-key VM KEY...");
    vmctl_vm *vm = cli_vm(c, c->args.operands[0], &status);
    if (!vm)
        return status;
    vmctl_call call = cli_call(c);
    options.call = &call;
    int64_t hold = cli_number(&c->args, "hold", 0);
    options.hold_ms = (unsigned)(hold < UINT32_MAX ? hold : UINT32_MAX);
    int rc = text ? vmctl_send_text(vm, text, &options, &err) : 0;
    if (rc == 0 && keys)
        rc = vmctl_send_keys(vm, c->args.operands + 1, keys, &options, &err);
    return cli_vm_end(c, vm, rc, err, cli_outcome(vm, text ? "text typed" : "keys sent", NULL));
}

static const cli_option options_list[] = {
    {"hold", 0, CLI_DURATION, "DUR", "how long the keys are held (100ms; with --type each 20ms)"},
    {"type", 0, CLI_TEXT, "TEXT", "type this first, as on a US keyboard"},
    {NULL}};

const cli_verb cli_verb_send_key = {
    .name = "send-key",
    .group = "look",
    .operands = "VM KEY...",
    .summary = "press keys together, or type a text",
    .help =
        "The names are those of Linux' input-event-codes.h, in any case and without KEY_, and what people say: ctrl,\n"
        "alt, altgr, shift, super, return, escape, del, pgup. All keys of one call are held together.\n"
        "\n"
        "  vmctl send-key web-1 ctrl alt delete\n"
        "  vmctl send-key web-1 ctrl+alt+f2\n"
        "  vmctl send-key web-1 --type root enter",
    .options = options_list,
    .min = 1,
    .max = -1,
    .hint = CLI_HINT_VM,
    .hint_rest = CLI_HINT_KEY,
    .run = send_key,
};
