/* vmctl screenshot. */
#include "verbs.h"

#include <string.h>
#include <unistd.h>

static int to_stdout(const void *bytes, size_t length, void *user) {
    (void)user;
    return fwrite(bytes, 1, length, stdout) != length;
}

static int screenshot(cli *c) {
    vmctl_screenshot_options options = VMCTL_SCREENSHOT_OPTIONS_INIT;
    const char *file = c->args.operands[1];
    bool pipe = !strcmp(file, "-");
    vmctl_error *err = NULL;
    int status = 0;

    if (pipe && isatty(STDOUT_FILENO))
        return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, "vmctl screenshot VM FILE.png",
                        "standard output is a terminal, which shows no picture");
    vmctl_vm *vm = cli_vm(c, c->args.operands[0], &status);
    if (!vm)
        return status;
    vmctl_call call = cli_call(c);
    options.call = &call;
    options.screen = (unsigned)cli_number(&c->args, "screen", 0);
    int rc =
        pipe ? vmctl_screenshot_bytes(vm, &options, to_stdout, NULL, &err) : vmctl_screenshot(vm, file, &options, &err);
    if (!pipe || rc < 0)
        return cli_vm_end(c, vm, rc, err, cli_outcome(vm, "screenshot taken", file));
    cli_progress_end();
    vmctl_vm_free(vm);
    return 0;
}

static const cli_option options_list[] = {
    {"screen", 0, CLI_INTEGER, "N", "of a VM with several screens: which one, counted from 0"}, {NULL}};

const cli_verb cli_verb_screenshot = {
    .name = "screenshot",
    .group = "look",
    .operands = "VM FILE.png",
    .summary = "what the display shows, as a PNG",
    .help = "FILE is written whole or not at all; - is standard output.\n"
            "\n"
            "  vmctl screenshot web-1 web-1.png\n"
            "  vmctl screenshot web-1 - | display",
    .options = options_list,
    .min = 2,
    .max = 2,
    .hint = CLI_HINT_VM,
    .hint_rest = CLI_HINT_FILE,
    .run = screenshot,
};
