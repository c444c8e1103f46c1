/* The configuration file's YAML:
 *
 *   current: lab
 *   contexts:
 *     - name: lab
 *       connect: qemu+ssh://root@lab/system
 *       credentials: {passwordFile: ~/.config/vmctl/lab.password}   # or passwordCommand: [pass, show, lab]
 *       defaults: {cluster: , datastore: , folder: , network: , namespace: , storageClass: }
 */
#include "base/error.h"
#include "base/file.h"
#include "config.h"
#include "internal.h"
#include <libfyaml.h>
#include <stdlib.h>
#include <string.h>

typedef struct reader {
    vmctl_config *config;
    vmctl_error **faults;
} reader;

static void fault_at(reader *r, struct fy_node *node, const char *path, const char *message, const char *detail) {
    unsigned line = 0, column = 0;
    struct fy_token *token = fy_node_is_scalar(node) ? fy_node_get_scalar_token(node) : NULL;
    const struct fy_mark *mark = token ? fy_token_start_mark(token) : NULL;
    if (mark) {
        line = (unsigned)mark->line + 1;
        column = (unsigned)mark->column + 1;
    }
    vmc_error_fault(r->faults, r->config->path, line, column, path, "%s%s", message, detail ? detail : "");
}

/* A scalar's text (free); NULL with a fault otherwise, NULL without one for an empty value. */
static char *text_of(reader *r, struct fy_node *key, struct fy_node *value, const char *path) {
    if (!value || fy_node_is_null(value))
        return NULL;
    size_t length;
    const char *text = fy_node_is_scalar(value) && !fy_node_is_alias(value) ? fy_node_get_scalar(value, &length) : NULL;
    if (!text) {
        fault_at(r, key, path, "a text is wanted here", NULL);
        return NULL;
    }
    if (memchr(text, '\0', length)) {
        fault_at(r, key, path, "a zero byte is not allowed", NULL);
        return NULL;
    }
    return vmc_strndup(text, length);
}

typedef struct field {
    const char *key;
    const char **to;
    bool path; /* made absolute from the file's folder */
} field;

/* Reads a map of texts; other keys are handed to `other` (NULL: none is known). */
static void read_map(reader *r, struct fy_node *at, struct fy_node *map, const char *path, const field *fields,
                     bool (*other)(reader *, const char *, struct fy_node *, struct fy_node *, void *), void *user,
                     const char *const *known) {
    if (!map || fy_node_is_null(map))
        return;
    if (!fy_node_is_mapping(map)) {
        fault_at(r, at ? at : map, path, "a map of keys and values is wanted here", NULL);
        return;
    }
    void *iterator = NULL;
    struct fy_node_pair *pair;
    while ((pair = fy_node_mapping_iterate(map, &iterator))) {
        struct fy_node *key = fy_node_pair_key(pair), *value = fy_node_pair_value(pair);
        size_t length = 0;
        const char *text = key && fy_node_is_scalar(key) ? fy_node_get_scalar(key, &length) : NULL;
        VMC_AUTO_FREE char *name = vmc_strndup(text ? text : "", length);
        VMC_AUTO_FREE char *full = vmc_printf("%s%s%s", path, *path ? "." : "", name);
        const field *f = fields;
        while (f && f->key && strcmp(f->key, name) != 0)
            f++;
        if (f && f->key) {
            VMC_AUTO_FREE char *given = text_of(r, key, value, full);
            VMC_AUTO_FREE char *folder = vmc_path_dirname(r->config->path);
            free((char *)*f->to);
            *f->to = given && f->path ? vmc_path_absolute(folder, given) : vmc_strdup(given);
        } else if (!other || !other(r, name, key, value, user)) {
            const char *near = vmc_nearest(name, known);
            VMC_AUTO_FREE char *hint = near ? vmc_printf("; did you mean \"%s\"?", near) : NULL;
            fault_at(r, key ? key : map, full, "there is no such key", hint);
        }
    }
}

static void read_command(reader *r, struct fy_node *key, struct fy_node *list, vmc_context *context) {
    if (!list || !fy_node_is_sequence(list)) {
        fault_at(r, key, "credentials.passwordCommand", "a list is wanted here: [program, argument]", NULL);
        return;
    }
    void *iterator = NULL;
    struct fy_node *word;
    while ((word = fy_node_sequence_iterate(list, &iterator))) {
        char *text = text_of(r, key, word, "credentials.passwordCommand");
        if (text)
            vmc_strv_take(&context->command, text);
    }
    context->view.password_command = (const char *const *)context->command.items;
}

static bool credentials_key(reader *r, const char *name, struct fy_node *key, struct fy_node *value, void *user) {
    if (strcmp(name, "passwordCommand") != 0)
        return false;
    read_command(r, key, value, user);
    return true;
}

static bool context_key(reader *r, const char *name, struct fy_node *key, struct fy_node *value, void *user) {
    vmc_context *context = user;
    if (strcmp(name, "credentials") == 0) {
        const field fields[] = {{"passwordFile", &context->view.password_file, true}, {NULL, NULL, false}};
        static const char *const known[] = {"passwordFile", "passwordCommand", NULL};
        read_map(r, key, value, "credentials", fields, credentials_key, context, known);
        return true;
    }
    if (strcmp(name, "defaults") == 0) {
        const field fields[] = {
            {"cluster", &context->view.cluster, false},
            {"datastore", &context->view.datastore, false},
            {"folder", &context->view.folder, false},
            {"network", &context->view.network, false},
            {"namespace", &context->view.namespace_name, false},
            {"storageClass", &context->view.storage_class, false},
            {NULL, NULL, false},
        };
        static const char *const known[] = {"cluster",   "datastore",    "folder", "network",
                                            "namespace", "storageClass", NULL};
        read_map(r, key, value, "defaults", fields, NULL, NULL, known);
        return true;
    }
    return false;
}

static void check_context(reader *r, struct fy_node *at, const vmc_context *context) {
    const vmctl_context *view = &context->view;
    if (!view->name || !*view->name) {
        fault_at(r, at, "contexts", "a context needs a name", NULL);
        return;
    }
    if (vmctl_config_context(r->config, view->name) != view)
        fault_at(r, at, "contexts", "there are two contexts of the name ", view->name);
    if (!view->connect) {
        fault_at(r, at, "contexts", "connect: URI is missing in context ", view->name);
        return;
    }
    vmctl_error *why = NULL;
    const vmc_registry_entry *entry;
    /* A backend that this build lacks is told when it is used, not for every other context too. */
    if (vmc_check_uri(view->connect, &entry, &why) < 0 && vmctl_error_code(why) == VMCTL_E_INVALID_ARGUMENT)
        fault_at(r, at, "contexts", vmctl_error_message(why), NULL);
    vmctl_error_free(why);
    if (view->password_file && view->password_command)
        fault_at(r, at, "credentials", "passwordFile or passwordCommand, not both", NULL);
}

static bool top_key(reader *r, const char *name, struct fy_node *key, struct fy_node *value, void *user) {
    (void)user;
    if (strcmp(name, "contexts") != 0)
        return false;
    if (!value || fy_node_is_null(value))
        return true;
    if (!fy_node_is_sequence(value)) {
        fault_at(r, key, "contexts", "a list is wanted here", NULL);
        return true;
    }
    void *iterator = NULL;
    struct fy_node *item;
    while ((item = fy_node_sequence_iterate(value, &iterator))) {
        size_t before = vmctl_error_fault_count(*r->faults);
        vmc_context *context = vmc_config_new_context(r->config);
        const field fields[] = {
            {"name", &context->view.name, false}, {"connect", &context->view.connect, false}, {NULL, NULL, false}};
        static const char *const known[] = {"name", "connect", "credentials", "defaults", NULL};
        read_map(r, key, item, "contexts", fields, context_key, context, known);
        if (vmctl_error_fault_count(*r->faults) == before) /* no consequences of a fault */
            check_context(r, key, context);
    }
    return true;
}

static void syntax_faults(reader *r, struct fy_diag *diag) {
    void *iterator = NULL;
    struct fy_diag_error *e;
    bool any = false;
    while ((e = fy_diag_errors_iterate(diag, &iterator))) {
        vmc_error_fault(r->faults, r->config->path, e->line > 0 ? (unsigned)e->line : 0,
                        e->column > 0 ? (unsigned)e->column : 0, NULL, "%s", e->msg ? e->msg : "this is no YAML");
        any = true;
    }
    if (!any)
        vmc_error_fault(r->faults, r->config->path, 0, 0, NULL, "this is no YAML");
}

int vmc_config_parse(vmctl_config *config, const char *text, size_t length, vmctl_error **err) {
    vmctl_error *faults = NULL;
    reader r = {config, &faults};
    struct fy_diag_cfg diag_cfg;
    fy_diag_cfg_default(&diag_cfg);
    diag_cfg.fp = NULL;
    struct fy_diag *diag = fy_diag_create(&diag_cfg);
    if (!diag)
        return vmc_error_no_memory(err);
    fy_diag_set_collect_errors(diag, true);
    struct fy_parse_cfg cfg = {.flags = FYPCF_QUIET, .diag = diag};
    struct fy_document *document = fy_document_build_from_string(&cfg, text, length);
    struct fy_node *root = document ? fy_document_root(document) : NULL;
    static const char *const known[] = {"current", "contexts", NULL};
    const char *current = NULL;
    const field fields[] = {{"current", &current, false}, {NULL, NULL, false}};
    if (!document && strspn(text, " \t\r\n") != length)
        syntax_faults(&r, diag);
    else if (root)
        read_map(&r, NULL, root, "", fields, top_key, NULL, known);
    config->current = (char *)current;
    if (!faults && current && !vmctl_config_context(config, current))
        vmc_error_fault(&faults, config->path, 0, 0, "current", "there is no context \"%s\"", current);
    fy_document_destroy(document);
    fy_diag_destroy(diag);
    if (!faults)
        return 0;
    vmc_error_recode(&faults, VMCTL_E_INVALID_ARGUMENT);
    vmc_error_move(err, &faults);
    return VMCTL_E_INVALID_ARGUMENT;
}

/* --- writing ---------------------------------------------------------------------------------------------- */

/* Double-quoted, which YAML shares with JSON. */
static void quoted(vmc_str *s, const char *text) {
    vmc_str_add_char(s, '"');
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            vmc_str_printf(s, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            vmc_str_printf(s, "\\x%02x", c);
        else
            vmc_str_add_char(s, (char)c);
    }
    vmc_str_add_char(s, '"');
}

static void line(vmc_str *s, const char *before, const char *key, const char *value) {
    if (!value)
        return;
    vmc_str_printf(s, "%s%s: ", before, key);
    quoted(s, value);
    vmc_str_add_char(s, '\n');
}

static void format_context(vmc_str *s, const vmctl_context *c) {
    line(s, "  - ", "name", c->name);
    line(s, "    ", "connect", c->connect);
    if (c->password_file || c->password_command) {
        vmc_str_add(s, "    credentials:\n");
        line(s, "      ", "passwordFile", c->password_file);
        if (c->password_command) {
            vmc_str_add(s, "      passwordCommand: [");
            for (const char *const *word = c->password_command; *word; word++) {
                vmc_str_add(s, word == c->password_command ? "" : ", ");
                quoted(s, *word);
            }
            vmc_str_add(s, "]\n");
        }
    }
    if (c->cluster || c->datastore || c->folder || c->network || c->namespace_name || c->storage_class) {
        vmc_str_add(s, "    defaults:\n");
        line(s, "      ", "cluster", c->cluster);
        line(s, "      ", "datastore", c->datastore);
        line(s, "      ", "folder", c->folder);
        line(s, "      ", "network", c->network);
        line(s, "      ", "namespace", c->namespace_name);
        line(s, "      ", "storageClass", c->storage_class);
    }
}

char *vmc_config_format(const vmctl_config *config) {
    VMC_AUTO_STR s = {0};
    line(&s, "", "current", config->current);
    vmc_str_add(&s, config->count ? "contexts:\n" : "contexts: []\n");
    for (size_t i = 0; i < config->count; i++)
        format_context(&s, &config->contexts[i]->view);
    return vmc_str_take(&s);
}
