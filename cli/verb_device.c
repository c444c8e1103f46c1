/* vmctl device list, attach, detach, cdrom insert|eject, gpu list. */
#include "output.h"
#include "tree.h"
#include "verbs.h"

#include <stdlib.h>
#include <string.h>

static const cli_column device_columns[] = {{"DEVICE", "name", CLI_CELL_TEXT, 0},
                                            {"KIND", "kind", CLI_CELL_TEXT, 0},
                                            {"TARGET", "target", CLI_CELL_TEXT, 0},
                                            {"BUS", "bus", CLI_CELL_TEXT, 0},
                                            {"SIZE", "capacityBytes", CLI_CELL_BYTES, CLI_COLUMN_RIGHT},
                                            {"MAC", "mac", CLI_CELL_TEXT, 0},
                                            {"SOURCE", "source", CLI_CELL_TEXT, 0},
                                            {"PENDING", "pending", CLI_CELL_YES, 0},
                                            {"LEAVING", "leaving", CLI_CELL_YES, 0},
                                            {NULL}};
static const cli_view device_view = {.columns = device_columns};

static int keep_devices(const vmctl_vm_info *info, void *user) {
    for (size_t i = 0; i < info->device_count; i++)
        cJSON_AddItemToArray(user, cli_tree_device(&info->devices[i]));
    return 0;
}

static int show_outcome(cli *c, vmctl_vm *vm, int rc, vmctl_error *err, const char *outcome, const char *device,
                        vmctl_effect effect) {
    cli_progress_end();
    if (rc < 0)
        return cli_report(c, err, vmctl_connection_context(vmctl_vm_connection(vm)));
    cJSON *result = cli_tree_identity(vm);
    bool later = effect == VMCTL_EFFECT_AT_RESTART;
    CLI_AUTO_FREE char *detail = cli_printf("%s%s", device ? device : "", later ? ", in force after a restart" : "");
    cli_put(result, "outcome", outcome);
    cli_put(result, "device", device);
    cli_put(result, "effect", later ? "at-restart" : "now");
    cli_put(result, "detail", detail);
    cli_output_one(c, &cli_view_outcome, result);
    return 0;
}

static int device_list(cli *c) {
    vmctl_get_options options = VMCTL_GET_OPTIONS_INIT;
    vmctl_error *err = NULL;
    int status = 0;
    vmctl_vm *vm = cli_vm(c, c->args.operands[0], &status);

    if (!vm)
        return status;
    vmctl_call call = cli_call(c);
    cJSON *list = cJSON_CreateArray();
    cJSON *item = NULL;
    options.call = &call;
    options.facts = VMCTL_FACT_DEVICES;
    if (vmctl_vm_get(vm, &options, keep_devices, list, &err) < 0) {
        status = cli_report(c, err, vmctl_connection_context(vmctl_vm_connection(vm)));
    } else {
        cli_progress_end();
        cli_output_begin(c, &device_view);
        while ((item = cJSON_DetachItemFromArray(list, 0)))
            cli_output_add(c, item);
        cli_output_end(c, false);
    }
    cJSON_Delete(list);
    vmctl_vm_free(vm);
    return status;
}

static const cli_verb verb_list = {
    .name = "list",
    .operands = "VM",
    .summary = "the disks, NICs and other devices of a VM",
    .help = "PENDING: it is there after the next start. LEAVING: it is there until then. With -o wide or json more of "
            "each.",
    .min = 1,
    .max = 1,
    .hint = CLI_HINT_VM,
    .run = device_list,
};
static const cli_verb *const device_verbs[] = {&verb_list, NULL};

const cli_verb cli_verb_device = {
    .name = "device",
    .group = "device",
    .summary = "the devices of a VM",
    .verbs = device_verbs,
};

/* --- attach, detach ----------------------------------------------------------------------------------------------- */

/* What a person attaches is an item of one of the spec's lists. */
static const struct kind {
    const char *name, *list;
} kinds[] = {{"disk", "disks"},   {"cdrom", "disks"}, {"nic", "networks"},
             {"share", "shares"}, {"usb", "usb"},     {"gpu", "gpus"}};
enum { KINDS = sizeof kinds / sizeof *kinds };

static const struct kind *find_kind(const char *name) {
    for (size_t i = 0; i < KINDS; i++)
        if (!strcmp(name, kinds[i].name))
            return &kinds[i];
    return NULL;
}

static const char *key_value(const char *text, const char *key) {
    size_t length = strlen(key);
    return !strncmp(text, key, length) && text[length] == '=' ? text + length + 1 : NULL;
}

/* A spec that holds nothing but the new device, from KEY=VALUE operands. */
static int build_item(cli *c, const struct kind *kind, const char *name, vmctl_spec *spec) {
    vmctl_error *err = NULL;
    CLI_AUTO_FREE char *first = cli_printf("%s[0].name", kind->list);
    if (vmctl_spec_set(spec, first, name, &err) < 0)
        return cli_report(c, err, NULL);
    bool drive = !strcmp(kind->name, "cdrom");
    for (size_t i = 2; i < c->args.operand_count; i++) {
        CLI_AUTO_FREE char *text = cli_strdup(c->args.operands[i]);
        char *equals = strchr(text, '=');
        if (!equals || equals == text)
            return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, "vmctl attach VM disk name=data size=20GiB",
                            "\"%s\" is not KEY=VALUE", text);
        *equals = '\0';
        if (!strcmp(text, "name"))
            continue;
        drive = drive && strcmp(text, "cdrom") != 0;
        CLI_AUTO_FREE char *path = cli_printf("%s[0].%s", kind->list, text);
        if (vmctl_spec_set(spec, path, equals + 1, &err) < 0)
            return cli_report(c, err, NULL);
    }
    CLI_AUTO_FREE char *empty = cli_printf("%s[0].cdrom", kind->list);
    if (drive && vmctl_spec_set(spec, empty, "", &err) < 0)
        return cli_report(c, err, NULL);
    return 0;
}

typedef struct naming {
    const char *kind;
    unsigned next;
    bool taken;
} naming;

static int see_name(const vmctl_vm_info *info, void *user) {
    naming *n = user;
    do {
        CLI_AUTO_FREE char *name = cli_printf("%s%u", n->kind, n->next);
        n->taken = false;
        for (size_t i = 0; i < info->device_count; i++)
            n->taken |= info->devices[i].name && !strcmp(info->devices[i].name, name);
        n->next += n->taken;
    } while (n->taken);
    return 0;
}

/* "disk0": the first of its kind that the VM has not; the caller frees. NULL: reported. */
static char *free_name(cli *c, vmctl_vm *vm, const char *kind, int *status) {
    vmctl_get_options options = VMCTL_GET_OPTIONS_INIT;
    vmctl_call call = cli_call(c);
    vmctl_error *err = NULL;
    naming n = {.kind = kind};
    options.call = &call;
    options.facts = VMCTL_FACT_DEVICES;
    if (vmctl_vm_get(vm, &options, see_name, &n, &err) < 0) {
        *status = cli_report(c, err, vmctl_connection_context(vmctl_vm_connection(vm)));
        return NULL;
    }
    return cli_printf("%s%u", kind, n.next);
}

static int attach(cli *c) {
    vmctl_attach_options options = VMCTL_ATTACH_OPTIONS_INIT;
    const struct kind *kind = find_kind(c->args.operands[1]);
    vmctl_effect effect = VMCTL_EFFECT_NOW;
    vmctl_error *err = NULL;
    CLI_AUTO_FREE char *name = NULL;
    int status = 0;

    if (!kind)
        return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, NULL, "\"%s\" is none of: disk cdrom nic share usb gpu",
                        c->args.operands[1]);
    for (size_t i = 2; !name && i < c->args.operand_count; i++)
        name = cli_strdup(key_value(c->args.operands[i], "name"));
    /* What is wrong in the words themselves is said before anything is asked of an endpoint. */
    vmctl_spec *spec = vmctl_spec_new();
    vmctl_vm *vm = NULL;
    status = build_item(c, kind, name ? name : "device", spec);
    if (!status)
        vm = cli_vm(c, c->args.operands[0], &status);
    if (vm && !name) {
        name = free_name(c, vm, kind->name, &status);
        vmctl_spec_free(spec);
        spec = vmctl_spec_new();
        if (name)
            status = build_item(c, kind, name, spec);
    }
    if (vm && !status) {
        CLI_AUTO_FREE char *path = cli_printf("%s[0]", kind->list);
        vmctl_call call = cli_call(c);
        options.call = &call;
        options.live = cli_flag(&c->args, "live");
        int rc =
            vmctl_device_attach(vm, kind->list, vmctl_node_get(vmctl_spec_root(spec), path), &options, &effect, &err);
        status = show_outcome(c, vm, rc, err, "attached", name, effect);
    }
    vmctl_vm_free(vm);
    vmctl_spec_free(spec);
    return status;
}

static int detach(cli *c) {
    vmctl_attach_options options = VMCTL_ATTACH_OPTIONS_INIT;
    vmctl_effect effect = VMCTL_EFFECT_NOW;
    vmctl_error *err = NULL;
    int status = 0;
    vmctl_vm *vm = cli_vm(c, c->args.operands[0], &status);

    if (!vm)
        return status;
    vmctl_call call = cli_call(c);
    options.call = &call;
    options.live = cli_flag(&c->args, "live");
    int rc = vmctl_device_detach(vm, c->args.operands[1], &options, &effect, &err);
    status = show_outcome(c, vm, rc, err, "detached", c->args.operands[1], effect);
    vmctl_vm_free(vm);
    return status;
}

static const cli_option live_options[] = {
    {"live", 0, CLI_FLAG, NULL, "it must be in force now; else nothing is changed (status 6; 8: the guest kept it)"},
    {NULL}};

const cli_verb cli_verb_attach = {
    .name = "attach",
    .group = "device",
    .operands = "VM disk|cdrom|nic|share|usb|gpu KEY=VALUE...",
    .summary = "add a device: now where possible, and for the next start",
    .help = "The keys are those of the item in vm.yaml; without a name it gets the first free one of its kind, disk0.\n"
            "What cannot be plugged while the VM runs waits for its next start, which is said.\n"
            "\n"
            "  vmctl attach web-1 disk name=data size=20GiB\n"
            "  vmctl attach web-1 disk name=db volume=fast/db-1 bus=scsi --live\n"
            "  vmctl attach web-1 nic name=lan type=bridge source=br0\n"
            "  vmctl attach web-1 cdrom cdrom=debian.iso bus=usb\n"
            "  vmctl attach web-1 share name=src path=./src\n"
            "  vmctl attach web-1 usb device=0781:5583",
    .options = live_options,
    .min = 2,
    .max = -1,
    .hint = CLI_HINT_VM,
    .hint_rest = CLI_HINT_KIND,
    .run = attach,
};
const cli_verb cli_verb_detach = {
    .name = "detach",
    .group = "device",
    .operands = "VM NAME",
    .summary = "take a device away; nothing of its data is removed",
    .help =
        "The guest is asked to let the device go and waited for. Where it does not, the device stays until the next\n"
        "start; with --live, or when --timeout is over, nothing is changed. A disk that vmctl made for the VM stays\n"
        "where it is, and is deleted with the VM.\n"
        "\n"
        "  vmctl detach web-1 data\n"
        "  vmctl detach web-1 lan --live --timeout 30s",
    .options = live_options,
    .min = 2,
    .max = 2,
    .hint = CLI_HINT_VM,
    .hint_rest = CLI_HINT_DEVICE,
    .run = detach,
};

/* --- cdrom -------------------------------------------------------------------------------------------------------- */

static int change_cdrom(cli *c, const char *image) {
    vmctl_cdrom_options options = VMCTL_CDROM_OPTIONS_INIT;
    vmctl_effect effect = VMCTL_EFFECT_NOW;
    vmctl_error *err = NULL;
    int status = 0;
    vmctl_vm *vm = cli_vm(c, c->args.operands[0], &status);

    if (!vm)
        return status;
    vmctl_call call = cli_call(c);
    options.call = &call;
    options.live = cli_flag(&c->args, "live");
    options.force = cli_flag(&c->args, "force");
    int rc = vmctl_cdrom_change(vm, cli_text(&c->args, "device", NULL), image, &options, &effect, &err);
    status = show_outcome(c, vm, rc, err, image ? "inserted" : "ejected", image, effect);
    vmctl_vm_free(vm);
    return status;
}

static int cdrom_insert(cli *c) {
    return change_cdrom(c, c->args.operands[1]);
}
static int cdrom_eject(cli *c) {
    return change_cdrom(c, NULL);
}

static const cli_option cdrom_options[] = {
    {"device", 0, CLI_TEXT, "NAME", "which drive, when there are several"},
    {"force", 0, CLI_FLAG, NULL, "also where the guest keeps the tray locked"},
    {"live", 0, CLI_FLAG, NULL, "it must be in force now; else nothing is changed (status 6)"},
    {NULL}};
static const cli_verb verb_insert = {
    .name = "insert",
    .operands = "VM ISO",
    .summary = "put a CD into the drive, in the place of the one that is there",
    .help = "  vmctl cdrom insert web-1 ./debian.iso\n"
            "  vmctl cdrom insert win-1 ./virtio-win.iso --device drivers",
    .options = cdrom_options,
    .min = 2,
    .max = 2,
    .hint = CLI_HINT_VM,
    .hint_rest = CLI_HINT_FILE,
    .run = cdrom_insert,
};
static const cli_verb verb_eject = {
    .name = "eject",
    .operands = "VM",
    .summary = "take the CD out of the drive",
    .help = "  vmctl cdrom eject web-1 --force",
    .options = cdrom_options,
    .min = 1,
    .max = 1,
    .hint = CLI_HINT_VM,
    .run = cdrom_eject,
};
static const cli_verb *const cdrom_verbs[] = {&verb_insert, &verb_eject, NULL};

const cli_verb cli_verb_cdrom = {
    .name = "cdrom",
    .group = "device",
    .summary = "change the CD in a drive",
    .verbs = cdrom_verbs,
};
