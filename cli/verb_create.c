/* vmctl create. */
#include "output.h"
#include "specs.h"
#include "tree.h"
#include "verbs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Options that describe the VM itself: with one of them the operand is a name, not a file. */
static const char *const describing[] = {"image", "memory", "cpus", "disk",        "network", "cdrom",
                                         "size",  "label",  "user", "description", "ssh-key", NULL};

static const char *described_by(const cli_args *args) {
    for (const char *const *name = describing; *name; name++)
        if (cli_text(args, *name, NULL))
            return *name;
    return NULL;
}

/* A spec that is made from options, and the first fault. */
typedef struct builder {
    vmctl_spec *spec;
    const char *option; /* the one that is read now */
    vmctl_error *err;
} builder;

static int set(builder *b, const char *path, const char *value) {
    return value && !b->err ? vmctl_spec_set(b->spec, path, value, &b->err) : 0;
}

/* "20GiB" or "name=data,size=20GiB,bus=scsi" into the item `list`.NAME; a bare text is the value of `bare`. */
static void set_item(builder *b, const char *list, const char *bare, const char *fallback_name, const char *text) {
    CLI_AUTO_FREE char *copy = cli_strdup(text);
    const char *name = fallback_name;
    char *rest = NULL;

    CLI_AUTO_FREE char *scan = cli_strdup(text);
    for (char *word = strtok_r(scan, ",", &rest); word; word = strtok_r(NULL, ",", &rest))
        if (!strncmp(word, "name=", 5))
            name = word + 5;
    rest = NULL;
    for (char *word = strtok_r(copy, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
        char *equals = strchr(word, '=');
        if (equals)
            *equals = '\0';
        const char *key = equals ? word : bare;
        CLI_AUTO_FREE char *path = cli_printf("%s.%s.%s", list, name, key);
        if (strcmp(key, "name") != 0)
            set(b, path, equals ? equals + 1 : word);
    }
}

static void set_items(builder *b, const cli_args *args, const char *option, const char *list, const char *bare,
                      const char *stem) {
    CLI_AUTO_STRINGS texts = {0};

    cli_texts(args, option, &texts);
    for (size_t i = 0; i < texts.count; i++) {
        CLI_AUTO_FREE char *name = cli_printf("%s%zu", stem, i);
        set_item(b, list, bare, name, texts.items[i]);
    }
}

static void set_labels(builder *b, const cli_args *args) {
    CLI_AUTO_STRINGS texts = {0};

    cli_texts(args, "label", &texts);
    for (size_t i = 0; i < texts.count && !b->err; i++) {
        char *equals = strchr(texts.items[i], '=');
        if (equals)
            *equals = '\0';
        CLI_AUTO_FREE char *path = cli_printf("labels.%s", texts.items[i]);
        set(b, path, equals ? equals + 1 : "");
    }
}

/* A JSON list of texts, as vmctl_spec_set reads it. */
static void set_list(builder *b, const cli_args *args, const char *option, const char *path) {
    CLI_AUTO_STRINGS texts = {0};

    cli_texts(args, option, &texts);
    if (!texts.count)
        return;
    cJSON *array = cJSON_CreateArray();
    for (size_t i = 0; i < texts.count; i++)
        cJSON_AddItemToArray(array, cJSON_CreateString(texts.items[i]));
    CLI_AUTO_FREE char *text = cJSON_PrintUnformatted(array);
    cJSON_Delete(array);
    set(b, path, text);
}

static void set_overrides(builder *b, const cli_args *args) {
    CLI_AUTO_STRINGS texts = {0};

    cli_texts(args, "set", &texts);
    for (size_t i = 0; i < texts.count && !b->err; i++) {
        char *equals = strchr(texts.items[i], '=');
        if (equals)
            *equals = '\0';
        set(b, texts.items[i], equals ? equals + 1 : "");
    }
}

/* `count: N` makes N of it, which the loader does. */
static int expand(cli *c, builder *b, cli_specs *out) {
    char *text = NULL;
    vmctl_error *err = NULL;

    if (vmctl_spec_validate(b->spec, &err) < 0)
        return cli_report(c, err, NULL);
    if (vmctl_node_integer(vmctl_spec_root(b->spec), "count", 1) == 1) {
        out->items = cli_alloc(2 * sizeof(void *));
        out->items[0] = b->spec;
        out->count = 1;
        b->spec = NULL;
        return 0;
    }
    int rc = vmctl_spec_text(b->spec, VMCTL_FORMAT_YAML, false, &text, &err);
    if (rc == 0) {
        vmctl_spec_load_options options = VMCTL_SPEC_LOAD_OPTIONS_INIT;
        rc = vmctl_spec_load(text, strlen(text), &options, &out->items, &out->count, &err);
    }
    vmctl_string_free(text);
    return rc < 0 ? cli_report(c, err, NULL) : 0;
}

/* Every text of the option is KEY=VALUE. */
static int check_pairs(cli *c, const char *option) {
    CLI_AUTO_STRINGS texts = {0};

    cli_texts(&c->args, option, &texts);
    for (size_t i = 0; i < texts.count; i++) {
        const char *equals = strchr(texts.items[i], '=');
        if (!equals || equals == texts.items[i])
            return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, NULL, "--%s: \"%s\" is not KEY=VALUE", option, texts.items[i]);
    }
    return 0;
}

static int from_options(cli *c, cli_specs *out) {
    const cli_args *args = &c->args;

    if (check_pairs(c, "label") || check_pairs(c, "set"))
        return vmctl_code_exit_status(VMCTL_E_INVALID_ARGUMENT);
    if (args->operand_count != 1)
        return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, NULL, "with --%s one name is given, and no files",
                        described_by(args));
    if (cli_text(args, "name", NULL))
        return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, NULL, "--name is for files; the name here is %s",
                        args->operands[0]);
    builder b = {.spec = vmctl_spec_new()};
    set(&b, "name", args->operands[0]);
    set(&b, "description", cli_text(args, "description", NULL));
    set(&b, "memory", cli_text(args, "memory", NULL));
    set(&b, "cpus", cli_text(args, "cpus", NULL));
    set(&b, "disks.root.image", cli_text(args, "image", NULL));
    set(&b, "disks.root.size", cli_text(args, "size", NULL));
    set_items(&b, args, "disk", "disks", "size", "disk");
    set_items(&b, args, "cdrom", "disks", "cdrom", "cdrom");
    if (cli_text(args, "network", NULL) && !strcmp(cli_text(args, "network", ""), "none"))
        set(&b, "networks", "[]");
    else
        set_items(&b, args, "network", "networks", "type", "net");
    set(&b, "cloudInit.user", cli_text(args, "user", NULL));
    set_list(&b, args, "ssh-key", "cloudInit.sshKeys");
    set_labels(&b, args);
    set_overrides(&b, args);
    int status = b.err ? cli_report(c, b.err, NULL) : cli_spec_place(c, b.spec);
    status = status ? status : expand(c, &b, out);
    vmctl_spec_free(b.spec);
    return status;
}

static int from_files(cli *c, cli_specs *out) {
    for (const char *const *file = c->args.operands; *file; file++)
        if (strcmp(*file, "-") != 0 && access(*file, F_OK) < 0 && errno == ENOENT) {
            CLI_AUTO_FREE char *next =
                cli_printf("vmctl create %s --image IMAGE --memory SIZE makes a VM from options", *file);
            return cli_fail(c, VMCTL_E_NOT_FOUND, strpbrk(*file, "/.") ? NULL : next, "there is no file %s", *file);
        }
    return cli_specs_load(c, c->args.operands, out);
}

static int create_one(cli *c, vmctl_connection *connection, const vmctl_spec *spec, void *user) {
    const vmctl_create_options *wanted = user;
    vmctl_create_options options = *wanted;
    vmctl_call call = cli_call(c);
    vmctl_vm *vm = NULL;
    vmctl_error *err = NULL;

    options.call = &call;
    int rc = vmctl_create(connection, spec, &options, &vm, &err);
    cli_progress_end();
    if (rc < 0)
        return cli_fail_one(c, vmctl_spec_name(spec), err, vmctl_connection_context(connection));
    cJSON *result = vm ? cli_tree_identity(vm) : cJSON_CreateObject();
    if (!vm)
        cli_put(result, "name", vmctl_spec_name(spec));
    cli_put(result, "outcome", options.dry_run ? "would be created" : options.start ? "running" : "created");
    vmctl_vm_free(vm);
    cli_output_add(c, result);
    return 0;
}

static int create(cli *c) {
    vmctl_create_options options = VMCTL_CREATE_OPTIONS_INIT;
    cli_specs specs = {0};

    int status = described_by(&c->args) ? from_options(c, &specs) : from_files(c, &specs);
    if (status)
        return status;
    options.start = cli_flag(&c->args, "start");
    options.dry_run = cli_flag(&c->args, "dry-run");
    options.strict = cli_flag(&c->args, "strict");
    options.run = cli_text(&c->args, "run", NULL);
    options.image_checksum = cli_text(&c->args, "checksum", NULL);
    cli_output_begin(c, &cli_view_outcome);
    status = cli_specs_each(c, &specs, create_one, &options);
    cli_output_end(c, status != 0);
    cli_specs_free(&specs);
    return status;
}

static const cli_option options[] = {
    {"cdrom", 0, CLI_TEXT, "ISO", "a CD image (again: several)", NULL, CLI_HINT_FILE},
    {"checksum", 0, CLI_TEXT, "SUM", "sha256:... or sha512:... of the image, when it comes from a URL"},
    {"cpus", 0, CLI_TEXT, "N", "virtual CPUs"},
    {"description", 0, CLI_TEXT, "TEXT", "one line for people"},
    {"disk", 0, CLI_TEXT, "DISK",
     "another disk: its size, or name=data,size=20GiB,bus=scsi,pool=fast (again: several)"},
    {"dry-run", 0, CLI_FLAG, NULL, "check all that can be checked, make nothing"},
    {"image", 0, CLI_TEXT, "IMAGE", "the root disk is a copy of this image: a file, or a URL", NULL, CLI_HINT_FILE},
    {"label", 'l', CLI_TEXT, "KEY=VALUE", "a label (again: several)"},
    {"memory", 0, CLI_TEXT, "SIZE", "memory, such as 2GiB"},
    {"name", 0, CLI_TEXT, "NAME", "another name than the file says"},
    {"network", 0, CLI_TEXT, "NIC",
     "nat, user, none, or type=bridge,source=br0,model=e1000 (again: several; default: one)"},
    {"run", 0, CLI_TEXT, "RUN", "the run that the VM belongs to (VMCTL_RUN)"},
    {"set", 0, CLI_TEXT, "KEY=VALUE", "lay one key of the spec over what is written, such as disks.root.size=20GiB"},
    {"size", 0, CLI_TEXT, "SIZE", "grow the root disk to this size"},
    {"ssh-key", 0, CLI_TEXT, "FILE", "a public key that may log in, through cloud-init (again: several)", NULL,
     CLI_HINT_FILE},
    {"start", 0, CLI_FLAG, NULL, "start it; when that fails, nothing is left"},
    {"strict", 0, CLI_FLAG, NULL, "refuse what would be ignored with a warning"},
    {"user", 0, CLI_TEXT, "NAME", "the user that cloud-init makes"},
    {NULL}};

const cli_verb cli_verb_create = {
    .name = "create",
    .group = "life",
    .operands = "FILE... | NAME --image IMAGE --memory SIZE",
    .summary = "make VMs from vm.yaml files, or from options",
    .help = "Each VM is made whole or not at all; when one fails, the others of a file are made all the same. The\n"
            "images are never changed: disks are copies. An existing name is an error (status 5).\n"
            "\n"
            "  vmctl create web-1.yaml --start\n"
            "  vmctl create web-1 --image debian-12.qcow2 --memory 2GiB --cpus 2 --size 20GiB --start\n"
            "  vmctl create web.yaml --name web-2 --set memory=4GiB",
    .options = options,
    .min = 1,
    .max = -1,
    .hint = CLI_HINT_FILE,
    .hint_rest = CLI_HINT_FILE,
    .run = create,
};
