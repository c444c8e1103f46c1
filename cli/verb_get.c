/* vmctl get, vmctl describe. */
#include "output.h"
#include "tree.h"
#include "verbs.h"

#include <stdlib.h>
#include <string.h>

static int keep(const vmctl_vm_info *info, void *user) {
    cJSON **tree = user;
    cJSON_Delete(*tree);
    *tree = cli_tree_vm(info);
    return 0;
}

static int get_facts_of(cli *c, cli_task *task, unsigned facts) {
    vmctl_get_options options = VMCTL_GET_OPTIONS_INIT;
    vmctl_call call = cli_call(c);

    options.call = &call;
    options.facts = facts;
    return vmctl_vm_get(task->vm, &options, keep, &task->result, &task->err);
}

/* A table has no room for what the guest says, and its agent need not be asked. */
static int get_facts(cli *c, cli_task *task) {
    bool table = c->format == CLI_TABLE || c->format == CLI_WIDE || c->format == CLI_NAME;

    return get_facts_of(c, task, table ? VMCTL_FACTS_ALL & ~(unsigned)VMCTL_FACT_GUEST : VMCTL_FACTS_ALL);
}

static int get_all_facts(cli *c, cli_task *task) {
    return get_facts_of(c, task, VMCTL_FACTS_ALL | VMCTL_FACT_POLICY);
}

/* The text of a document, in "text"; the documents of several VMs are told apart as YAML does. */
static int get_document(cli *c, cli_task *task) {
    vmctl_call call = cli_call(c);
    vmctl_spec *spec = NULL;
    char *text = NULL;

    int rc = c->format == CLI_NATIVE ? vmctl_vm_native(task->vm, &call, &text, &task->err)
                                     : vmctl_vm_spec(task->vm, &call, &spec, &task->err);
    if (rc == 0 && spec)
        rc = vmctl_spec_text(spec, VMCTL_FORMAT_YAML, false, &text, &task->err);
    vmctl_spec_free(spec);
    if (rc == 0) {
        task->result = cJSON_CreateObject();
        cJSON_AddStringToObject(task->result, "text", text);
        cJSON_AddBoolToObject(task->result, "separate", c->format == CLI_SPEC && c->args.operand_count > 1);
    }
    vmctl_string_free(text);
    return rc;
}

static void write_document(cli *c, FILE *to, const cJSON *result) {
    (void)c;
    const char *text = cli_get(result, "text");
    size_t length = strlen(text);

    if (cJSON_IsTrue(cJSON_GetObjectItem(result, "separate")) && strncmp(text, "---", 3) != 0)
        fputs("---\n", to);
    fputs(text, to);
    if (length && text[length - 1] != '\n')
        fputc('\n', to);
}

static const cli_view document_view = {.text = write_document};

static const cli_column columns[] = {{"NAME", "name", CLI_CELL_TEXT, CLI_COLUMN_CUT},
                                     {"STATE", "state", CLI_CELL_STATE, 0},
                                     {"CPUS", "cpus", CLI_CELL_TEXT, CLI_COLUMN_RIGHT},
                                     {"MEMORY", "memoryMiB", CLI_CELL_MIB, CLI_COLUMN_RIGHT},
                                     {"ADDRESSES", "addresses", CLI_CELL_IPS, CLI_COLUMN_CUT},
                                     {"OWNER", "owner", CLI_CELL_TEXT, CLI_COLUMN_CUT},
                                     {"HOST", "host", CLI_CELL_TEXT, CLI_COLUMN_WIDE},
                                     {"UPTIME", "uptimeSeconds", CLI_CELL_SECONDS, CLI_COLUMN_WIDE},
                                     {"ARCH", "arch", CLI_CELL_TEXT, CLI_COLUMN_WIDE},
                                     {"ACCEL", "accel", CLI_CELL_TEXT, CLI_COLUMN_WIDE},
                                     {"ID", "id", CLI_CELL_TEXT, CLI_COLUMN_WIDE},
                                     {"LABELS", "labels", CLI_CELL_LABELS, CLI_COLUMN_WIDE},
                                     {NULL}};

static const cli_view get_view = {.columns = columns};

static int get(cli *c) {
    c->single = c->args.operand_count == 1;
    bool document = c->format == CLI_SPEC || c->format == CLI_NATIVE;
    return cli_each_operand(c, document ? get_document : get_facts, NULL, document ? &document_view : &get_view);
}

const cli_verb cli_verb_get = {
    .name = "get",
    .group = "look",
    .operands = "VM...",
    .summary = "all facts of a VM, or the VM as a document",
    .help =
        "-o spec writes a vm.yaml in which `vmctl apply` finds nothing to change; -o native writes the hypervisor's\n"
        "own document, such as the domain XML.\n"
        "\n"
        "  vmctl get web-1 -o json\n"
        "  vmctl get web-1 -o spec > web-1.yaml",
    .min = 1,
    .max = -1,
    .hint = CLI_HINT_VM,
    .hint_rest = CLI_HINT_VM,
    .formats = "spec native",
    .run = get,
};

/* --- describe --------------------------------------------------------------------------------------------------- */

static void line(FILE *to, const cJSON *vm, const char *title, const char *key, cli_cell cell) {
    CLI_AUTO_FREE char *text = cli_cell_text(vm, key, cell);
    CLI_AUTO_FREE char *safe = cli_printable(text);
    if (*safe)
        fprintf(to, "%-13s %s\n", title, safe);
}

static void write_addresses(FILE *to, const cJSON *vm) {
    const char *title = "addresses";
    const cJSON *item = NULL;

    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(vm, "addresses")) {
        const char *mac = cli_get(item, "mac"), *source = cli_get(item, "source");
        fprintf(to, "%-13s %s%s%s%s%s%s\n", title, cli_get(item, "ip"), *mac ? " on " : "", mac, *source ? " (" : "",
                source, *source ? ")" : "");
        title = "";
    }
}

static const cli_column filesystem_columns[] = {{"MOUNT", "mount", CLI_CELL_TEXT, 0},
                                                {"TYPE", "type", CLI_CELL_TEXT, 0},
                                                {"SIZE", "totalBytes", CLI_CELL_BYTES, CLI_COLUMN_RIGHT},
                                                {"USED", "usedBytes", CLI_CELL_BYTES, CLI_COLUMN_RIGHT},
                                                {"ON", "device", CLI_CELL_TEXT, 0},
                                                {NULL}};
static const cli_view filesystem_view = {.columns = filesystem_columns};

/* What the agent in it says. */
static void write_guest(FILE *to, const cJSON *guest) {
    const cJSON *os = cJSON_GetObjectItemCaseSensitive(guest, "os");

    line(to, os, "guest os", *cli_get(os, "prettyName") ? "prettyName" : "name", CLI_CELL_TEXT);
    line(to, guest, "kernel", "kernel", CLI_CELL_TEXT);
    line(to, guest, "host name", "hostname", CLI_CELL_TEXT);
    line(to, guest, "time zone", "timezone", CLI_CELL_TEXT);
    line(to, guest, "agent version", "agentVersion", CLI_CELL_TEXT);
    line(to, guest, "logged in", "users", CLI_CELL_NAMES);
}

static const cli_column device_columns[] = {{"DEVICE", "name", CLI_CELL_TEXT, 0},
                                            {"KIND", "kind", CLI_CELL_TEXT, 0},
                                            {"TARGET", "target", CLI_CELL_TEXT, 0},
                                            {"BUS", "bus", CLI_CELL_TEXT, 0},
                                            {"SIZE", "capacityBytes", CLI_CELL_BYTES, CLI_COLUMN_RIGHT},
                                            {"SOURCE", "source", CLI_CELL_TEXT, 0},
                                            {"MAC", "mac", CLI_CELL_TEXT, 0},
                                            {NULL}};
static const cli_view device_view = {.columns = device_columns};

static void write_vm(cli *c, FILE *to, const cJSON *vm) {
    line(to, vm, "name", "name", CLI_CELL_TEXT);
    line(to, vm, "id", "id", CLI_CELL_TEXT);
    line(to, vm, "description", "description", CLI_CELL_TEXT);
    line(to, vm, "backend", "backend", CLI_CELL_TEXT);
    line(to, vm, "context", "context", CLI_CELL_TEXT);
    line(to, vm, "namespace", "namespace", CLI_CELL_TEXT);
    line(to, vm, "folder", "folder", CLI_CELL_TEXT);
    line(to, vm, "host", "host", CLI_CELL_TEXT);
    line(to, vm, "state", "state", CLI_CELL_TEXT);
    line(to, vm, "reason", "stateReason", CLI_CELL_TEXT);
    line(to, vm, "uptime", "uptimeSeconds", CLI_CELL_SECONDS);
    line(to, vm, "cpus", "cpus", CLI_CELL_TEXT);
    line(to, vm, "memory", "memoryMiB", CLI_CELL_MIB);
    line(to, vm, "arch", "arch", CLI_CELL_TEXT);
    line(to, vm, "machine", "machine", CLI_CELL_TEXT);
    line(to, vm, "firmware", "firmware", CLI_CELL_TEXT);
    line(to, vm, "accel", "accel", CLI_CELL_TEXT);
    line(to, vm, "autostart", "autostart", CLI_CELL_TEXT);
    line(to, vm, "guest agent", "agentConnected", CLI_CELL_TEXT);
    line(to, vm, "migrates by", "migrationPolicy", CLI_CELL_TEXT);
    line(to, vm, "restart due", "restartRequired", CLI_CELL_YES);
    line(to, vm, "snapshots", "snapshotCount", CLI_CELL_TEXT);
    line(to, vm, "owner", "owner", CLI_CELL_TEXT);
    line(to, vm, "run", "run", CLI_CELL_TEXT);
    line(to, vm, "created", "created", CLI_CELL_TEXT);
    line(to, vm, "expires", "expires", CLI_CELL_TEXT);
    line(to, vm, "labels", "labels", CLI_CELL_LABELS);
    line(to, vm, "gpus", "gpus", CLI_CELL_NAMES);
    write_addresses(to, vm);
    const cJSON *guest = cJSON_GetObjectItemCaseSensitive(vm, "guest");
    if (guest)
        write_guest(to, guest);
    const cJSON *filesystems = cJSON_GetObjectItemCaseSensitive(guest, "filesystems");
    if (filesystems && filesystems->child) {
        fputc('\n', to);
        cli_table_write(c, to, &filesystem_view, filesystems, true);
    }
    const cJSON *devices = cJSON_GetObjectItemCaseSensitive(vm, "devices");
    if (devices && devices->child) {
        fputc('\n', to);
        cli_table_write(c, to, &device_view, devices, true);
    }
    if (c->args.operand_count > 1)
        fputc('\n', to);
}

static const cli_view describe_view = {.text = write_vm};

static int describe(cli *c) {
    c->single = c->args.operand_count == 1;
    return cli_each_operand(c, get_all_facts, NULL, &describe_view);
}

const cli_verb cli_verb_describe = {
    .name = "describe",
    .group = "look",
    .operands = "VM...",
    .summary = "all facts of a VM, for reading",
    .help = "The same facts as `vmctl get`, and of a VM of a cluster the MigrationPolicy that it would migrate by; "
            "with -o json, jsonl "
            "and yaml also the same output.",
    .min = 1,
    .max = -1,
    .hint = CLI_HINT_VM,
    .hint_rest = CLI_HINT_VM,
    .run = describe,
};
