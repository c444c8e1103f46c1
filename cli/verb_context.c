/* vmctl context list|add|use|remove|test. */
#include "output.h"
#include "tree.h"
#include "verbs.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

static const cli_column columns[] = {{"CURRENT", "current", CLI_CELL_YES, 0},
                                     {"NAME", "name", CLI_CELL_TEXT, 0},
                                     {"CONNECT", "connect", CLI_CELL_TEXT, 0},
                                     {NULL}};
static const cli_view view = {.columns = columns};

static cJSON *context_tree(const vmctl_config *config, const vmctl_context *context) {
    cJSON *tree = cJSON_CreateObject();
    const char *current = vmctl_config_current(config);

    cli_put(tree, "name", context->name);
    cli_put(tree, "connect", context->connect);
    cJSON_AddBoolToObject(tree, "current", current && !strcmp(current, context->name));
    if (context->password_file || context->password_command) {
        cJSON *credentials = cJSON_AddObjectToObject(tree, "credentials");
        cli_put(credentials, "passwordFile", context->password_file);
        cli_put_strings(credentials, "passwordCommand", context->password_command);
    }
    cJSON *defaults = cJSON_CreateObject();
    cli_put(defaults, "cluster", context->cluster);
    cli_put(defaults, "datastore", context->datastore);
    cli_put(defaults, "folder", context->folder);
    cli_put(defaults, "network", context->network);
    cli_put(defaults, "namespace", context->namespace_name);
    cli_put(defaults, "storageClass", context->storage_class);
    if (defaults->child)
        cJSON_AddItemToObject(tree, "defaults", defaults);
    else
        cJSON_Delete(defaults);
    return tree;
}

static int context_list(cli *c) {
    int status = 0;
    vmctl_config *config = cli_config(c, &status);

    if (!config)
        return status;
    cli_output_begin(c, &view);
    for (size_t i = 0; i < vmctl_config_context_count(config); i++)
        cli_output_add(c, context_tree(config, vmctl_config_context_at(config, i)));
    cli_output_end(c, false);
    return 0;
}

static const cli_verb verb_list = {
    .name = "list", .summary = "the contexts of the configuration file", .run = context_list};

/* A descriptor of the configuration's folder, which is made if it is not there. -1: none. */
static int open_folder(const char *path) {
    CLI_AUTO_FREE char *folder = cli_strdup(path);
    char *last = strrchr(folder, '/');

    if (!last || last == folder)
        return -1;
    for (char *at = strchr(folder + 1, '/'); at; at = strchr(at + 1, '/')) {
        *at = '\0';
        mkdir(folder, 0700);
        *at = '/';
    }
    *last = '\0';
    return open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* The configuration to change: read while no other vmctl changes it, until this one ends. What cannot be locked is
 * told by saving. */
static vmctl_config *config_to_change(cli *c, int *status) {
    const vmctl_config *before = cli_config(c, status);

    if (!before)
        return NULL;
    int folder = open_folder(vmctl_config_path(before)); /* open, and so locked, until the end */
    if (folder >= 0 && flock(folder, LOCK_EX) < 0 && vmctl_cancel_triggered(c->cancel)) {
        *status = cli_fail(c, VMCTL_E_CANCELLED, NULL, "cancelled waiting for another vmctl to change the contexts");
        return NULL;
    }
    vmctl_config_free(c->config);
    c->config = NULL;
    return cli_config(c, status);
}

/* Saves and tells; rc is the change's own. */
static int save(cli *c, vmctl_config *config, int rc, vmctl_error *err, const char *name, const char *outcome) {
    if (rc == 0)
        rc = vmctl_config_save(config, &err);
    if (rc < 0)
        return cli_report(c, err, NULL);
    cJSON *result = cJSON_CreateObject();
    cli_put(result, "name", name);
    cli_put(result, "outcome", outcome);
    cli_output_one(c, &cli_view_outcome, result);
    return 0;
}

/* --- add -------------------------------------------------------------------------------------------------------- */

/* Fills in one KEY=VALUE of --default; the value points into text. */
static bool set_default(vmctl_context *context, char *text) {
    struct {
        const char *key;
        const char **value;
    } keys[] = {{"cluster", &context->cluster},
                {"datastore", &context->datastore},
                {"folder", &context->folder},
                {"network", &context->network},
                {"namespace", &context->namespace_name},
                {"storageClass", &context->storage_class}};
    char *equals = strchr(text, '=');

    if (!equals)
        return false;
    *equals = '\0';
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!strcmp(keys[i].key, text)) {
            *keys[i].value = equals + 1;
            return true;
        }
    return false;
}

static int context_add(cli *c) {
    vmctl_context context = VMCTL_CONTEXT_INIT;
    CLI_AUTO_STRINGS defaults = {0}, command = {0};
    vmctl_error *err = NULL;
    int status = 0;

    context.name = c->args.operands[0];
    const char *option = cli_text(&c->args, "connect", NULL);
    context.connect = c->args.operand_count > 1 ? c->args.operands[1] : option;
    if (!context.connect || (option && c->args.operand_count > 1))
        return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, "vmctl context add lab qemu+ssh://root@lab/system",
                        "the context needs one URI");
    vmctl_config *config = config_to_change(c, &status);
    if (!config)
        return status;
    cli_texts(&c->args, "default", &defaults);
    cli_texts(&c->args, "password-command", &command);
    context.password_file = cli_text(&c->args, "password-file", NULL);
    context.password_command = (const char *const *)command.items;
    for (size_t i = 0; i < defaults.count; i++) {
        CLI_AUTO_FREE char *given = cli_strdup(defaults.items[i]);
        if (!set_default(&context, defaults.items[i]))
            return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, NULL,
                            "--default: \"%s\" is not KEY=VALUE with a KEY of: cluster datastore folder network "
                            "namespace storageClass",
                            given);
    }
    int rc = vmctl_config_add(config, &context, cli_flag(&c->args, "replace"), &err);
    if (rc == 0 && cli_flag(&c->args, "use"))
        rc = vmctl_config_use(config, context.name, &err);
    return save(c, config, rc, err, context.name, "added");
}

static const cli_option add_options[] = {
    {"default", 0, CLI_TEXT, "KEY=VALUE",
     "what VMs get there: cluster, datastore, folder, network, namespace, storageClass (again: several)"},
    {"password-command", 0, CLI_TEXT, "WORD",
     "a program that prints the password, word by word (again: its arguments); no shell"},
    {"password-file", 0, CLI_TEXT, "FILE", "the password is the first line of this file", NULL, CLI_HINT_FILE},
    {"replace", 0, CLI_FLAG, NULL, "replace a context of this name"},
    {"use", 0, CLI_FLAG, NULL, "make it the current one"},
    {NULL}};

static const cli_verb verb_add = {
    .name = "add",
    .operands = "NAME URI",
    .summary = "give an endpoint a name",
    .help = "  vmctl context add lab qemu+ssh://root@lab/system --use\n"
            "  vmctl context add dc vsphere://ann@vc.example/DC1 --password-command pass --password-command vc/ann",
    .options = add_options,
    .min = 1,
    .max = 2,
    .run = context_add,
};

/* --- use, remove ------------------------------------------------------------------------------------------------ */

static int context_use(cli *c) {
    vmctl_error *err = NULL;
    int status = 0;
    bool none = cli_flag(&c->args, "none");
    const char *name = none ? NULL : c->args.operands[0];

    if (none == (c->args.operand_count == 1))
        return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, NULL, "one context, or --none");
    vmctl_config *config = config_to_change(c, &status);
    if (!config)
        return status;
    int rc = vmctl_config_use(config, name, &err);
    return save(c, config, rc, err, name ? name : "no context", "is current");
}

static const cli_option use_options[] = {{"none", 0, CLI_FLAG, NULL, "no context is the current one"}, {NULL}};

static const cli_verb verb_use = {
    .name = "use",
    .operands = "NAME",
    .summary = "where commands go when no option says so",
    .options = use_options,
    .max = 1,
    .hint = CLI_HINT_CONTEXT,
    .run = context_use,
};

static int context_remove(cli *c) {
    vmctl_error *err = NULL;
    int status = 0;
    vmctl_config *config = config_to_change(c, &status);

    if (!config)
        return status;
    int rc = vmctl_config_remove(config, c->args.operands[0], &err);
    return save(c, config, rc, err, c->args.operands[0], "removed");
}

static const cli_verb verb_remove = {
    .name = "remove",
    .operands = "NAME",
    .summary = "forget a context; nothing at its endpoint changes",
    .min = 1,
    .max = 1,
    .hint = CLI_HINT_CONTEXT,
    .run = context_remove,
};

/* --- test ------------------------------------------------------------------------------------------------------- */

typedef struct trial {
    cli *c;
    const char *name;
    cJSON *result;
    int status;
    pthread_t thread;
    bool threaded;
} trial;

static int note_version(const vmctl_host *host, void *user) {
    cJSON *host_tree = cli_tree_host(host);
    CLI_AUTO_FREE char *detail =
        cli_printf("%s %s", cli_get(host_tree, "hypervisor"), cli_get(host_tree, "hypervisorVersion"));
    cli_put(user, "detail", detail);
    cJSON_AddItemToObject(user, "host", host_tree);
    return 0;
}

static void *try_context(void *user) {
    trial *t = user;
    vmctl_connection *connection = NULL;
    vmctl_error *err = NULL;

    t->result = cJSON_CreateObject();
    cli_put(t->result, "name", t->name);
    int rc = cli_open(t->c, t->name, NULL, &connection, &err);
    if (rc == 0) {
        vmctl_call call = cli_call(t->c);
        cli_put(t->result, "endpoint", vmctl_connection_uri(connection));
        rc = vmctl_host_info(connection, &call, note_version, t->result, &err);
    }
    vmctl_connection_free(connection);
    cli_put(t->result, "outcome", rc < 0 ? "failed" : "answers");
    if (rc < 0) {
        cJSON_AddItemToObject(t->result, "error", cli_error_tree(err, t->name));
        t->status = cli_report(t->c, err, t->name);
    }
    return NULL;
}

static int context_test(cli *c) {
    int status = 0;
    vmctl_config *config = cli_config(c, &status);

    if (!config)
        return status;
    size_t count = c->args.operand_count ? c->args.operand_count : vmctl_config_context_count(config);
    CLI_AUTO_FREE trial *trials = cli_alloc(count * sizeof *trials);
    CLI_AUTO_FREE int *statuses = cli_alloc(count * sizeof *statuses);
    for (size_t i = 0; i < count; i++) {
        trials[i].c = c;
        trials[i].name = c->args.operand_count ? c->args.operands[i] : vmctl_config_context_at(config, i)->name;
        trials[i].threaded = pthread_create(&trials[i].thread, NULL, try_context, &trials[i]) == 0;
        if (!trials[i].threaded)
            try_context(&trials[i]);
    }
    for (size_t i = 0; i < count; i++)
        if (trials[i].threaded)
            pthread_join(trials[i].thread, NULL);
    cli_progress_end();
    cli_output_begin(c, &cli_view_outcome);
    for (size_t i = 0; i < count; i++) {
        statuses[i] = trials[i].status;
        cli_output_add(c, trials[i].result);
    }
    cli_output_end(c, false);
    return cli_status_of_many(statuses, count);
}

static const cli_verb verb_test = {
    .name = "test",
    .operands = "[NAME...]",
    .summary = "whether the endpoints of contexts answer, all at once",
    .max = -1,
    .hint = CLI_HINT_CONTEXT,
    .hint_rest = CLI_HINT_CONTEXT,
    .run = context_test,
};

static const cli_verb *const verbs[] = {&verb_list, &verb_add, &verb_use, &verb_remove, &verb_test, NULL};

const cli_verb cli_verb_context = {
    .name = "context",
    .group = "setup",
    .summary = "names for endpoints",
    .help = "Contexts are kept in $XDG_CONFIG_HOME/vmctl/config.yaml (mode 0600). A VM of another context is named\n"
            "CONTEXT/VM.",
    .verbs = verbs,
};
