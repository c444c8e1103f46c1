/* vmctl display, vmctl address. */
#include "output.h"
#include "run.h"
#include "tree.h"
#include "verbs.h"

#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

static const cli_column display_columns[] = {{"VM", "vm", CLI_CELL_TEXT, 0},
                                             {"TYPE", "type", CLI_CELL_TEXT, 0},
                                             {"ADDRESS", "address", CLI_CELL_TEXT, 0},
                                             {"PORT", "port", CLI_CELL_TEXT, CLI_COLUMN_RIGHT},
                                             {"URI", "uri", CLI_CELL_TEXT, 0},
                                             {"SOCKET", "socket", CLI_CELL_TEXT, CLI_COLUMN_WIDE},
                                             {NULL}};
static const cli_view display_view = {.columns = display_columns, .name_key = "uri"};

static int add_display(const vmctl_display *display, void *user) {
    cJSON_AddItemToArray(user, cli_tree_display(display));
    return 0;
}

static bool is_served(const cJSON *displays) {
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(displays->child, "served"));
}

/* Becomes a viewer of the first display; one that this process serves has its viewer beside it. */
static int view_display(cli *c, const cJSON *displays) {
    const char *uri = displays->child ? cli_get(displays->child, "uri") : "";

    if (!*uri)
        return cli_fail(c, VMCTL_E_NOT_FOUND, NULL, "%s has no display that a viewer can reach", c->args.operands[0]);
    CLI_AUTO_FREE char *wanted = cli_strdup(uri);
    const char *const argv[] = {"remote-viewer", wanted, NULL};
    if (is_served(displays))
        return cli_run_beside(c, argv, "virt-viewer");
    return cli_become(c, argv, "virt-viewer");
}

/* ^C and --timeout are its end. */
static int serve(cli *c) {
    fflush(stdout);
    cli_note(c, VMCTL_NOTE_INFO, "the address is there until ^C; --viewer opens a viewer instead");
    while (!vmctl_cancel_triggered(c->cancel)) {
        struct pollfd cancel = {vmctl_cancel_fd(c->cancel), POLLIN, 0};
        int64_t left = c->deadline_ms < 0 ? INT_MAX : c->deadline_ms - cli_now_ms();
        if (left <= 0)
            break;
        poll(&cancel, 1, left > INT_MAX ? INT_MAX : (int)left);
    }
    return 0;
}

static int display(cli *c) {
    vmctl_error *err = NULL;
    int status = 0;
    vmctl_vm *vm = cli_vm(c, c->args.operands[0], &status);

    if (!vm)
        return status;
    vmctl_call call = cli_call(c);
    cJSON *displays = cJSON_CreateArray();
    CLI_AUTO_FREE char *name = cli_strdup(vmctl_vm_name(vm));
    if (vmctl_display_list(vm, &call, add_display, displays, &err) < 0)
        status = cli_report(c, err, vmctl_connection_context(vmctl_vm_connection(vm)));
    vmctl_vm_free(vm); /* its connection stays until the end of the run */
    cli_progress_end();
    if (!status && cli_flag(&c->args, "viewer")) {
        status = view_display(c, displays);
    } else if (!status && !displays->child) {
        CLI_AUTO_FREE char *next = cli_printf("vmctl screenshot %s FILE.png, or vmctl console %s", name, name);
        status = cli_fail(c, VMCTL_E_NOT_FOUND, next, "%s has no display that a viewer can reach", name);
    } else if (!status) {
        bool served = is_served(displays);
        cJSON *item = NULL;
        cli_output_begin(c, &display_view);
        while ((item = cJSON_DetachItemFromArray(displays, 0))) {
            cli_put(item, "vm", name);
            cli_output_add(c, item);
        }
        cli_output_end(c, false);
        if (served)
            status = serve(c);
    }
    cJSON_Delete(displays);
    return status;
}

static const cli_option display_options[] = {{"viewer", 0, CLI_FLAG, NULL, "open it with remote-viewer"}, {NULL}};

const cli_verb cli_verb_display = {
    .name = "display",
    .group = "look",
    .operands = "VM",
    .summary = "where the VNC or SPICE display of a VM is; status 4 when it has none",
    .help =
        "Where the hypervisor has no address for it (KubeVirt), vmctl serves one at 127.0.0.1 until ^C or --timeout,\n"
        "or with --viewer until the viewer is closed. VNC asks for no password, and 127.0.0.1 keeps out other "
        "machines\n"
        "only: every user of the machine can connect to a display there.",
    .options = display_options,
    .min = 1,
    .max = 1,
    .hint = CLI_HINT_VM,
    .run = display,
};

/* --- address ---------------------------------------------------------------------------------------------------- */

static const cli_column address_columns[] = {
    {"VM", "vm", CLI_CELL_TEXT, 0},         {"IP", "ip", CLI_CELL_TEXT, 0},         {"MAC", "mac", CLI_CELL_TEXT, 0},
    {"SOURCE", "source", CLI_CELL_TEXT, 0}, {"DEVICE", "device", CLI_CELL_TEXT, 0}, {NULL}};
static const cli_view address_view = {.columns = address_columns, .name_key = "ip"};

static int keep_addresses(const vmctl_vm_info *info, void *user) {
    cJSON *tree = cli_tree_vm(info);
    cJSON *list = cJSON_DetachItemFromObjectCaseSensitive(tree, "addresses");
    cJSON *item = NULL;

    while (list && (item = cJSON_DetachItemFromArray(list, 0))) {
        cli_put(item, "vm", info->name);
        cJSON_AddItemToArray(user, item);
    }
    cJSON_Delete(list);
    cJSON_Delete(tree);
    return 0;
}

static int address(cli *c) {
    vmctl_get_options options = VMCTL_GET_OPTIONS_INIT;
    vmctl_error *err = NULL;
    int status = 0;
    vmctl_vm *vm = cli_vm(c, c->args.operands[0], &status);

    if (!vm)
        return status;
    vmctl_call call = cli_call(c);
    options.call = &call;
    options.facts = VMCTL_FACT_STATE | VMCTL_FACT_ADDRESSES;
    cJSON *list = cJSON_CreateArray();
    if (vmctl_vm_get(vm, &options, keep_addresses, list, &err) < 0) {
        status = cli_report(c, err, vmctl_connection_context(vmctl_vm_connection(vm)));
    } else if (!list->child) {
        CLI_AUTO_FREE char *next = cli_printf("vmctl wait %s --for address", c->args.operands[0]);
        status = cli_fail(c, VMCTL_E_NOT_FOUND, next, "%s has no address that is known", c->args.operands[0]);
    } else {
        cJSON *item = NULL;
        cli_progress_end();
        cli_output_begin(c, &address_view);
        while ((item = cJSON_DetachItemFromArray(list, 0)))
            cli_output_add(c, item);
        cli_output_end(c, false);
    }
    cJSON_Delete(list);
    vmctl_vm_free(vm);
    return status;
}

const cli_verb cli_verb_address = {
    .name = "address",
    .group = "look",
    .operands = "VM",
    .summary = "the addresses of a VM; status 4 when none is known",
    .help = "  ping $(vmctl address web-1 -o name | head -1)",
    .min = 1,
    .max = 1,
    .hint = CLI_HINT_VM,
    .run = address,
};
