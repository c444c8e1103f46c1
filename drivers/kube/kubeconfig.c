#include "drivers/kube/kubeconfig.h"
#include "base/base64.h"
#include "base/file.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_LIMIT = 16 << 20, PART_LIMIT = 1 << 20 };

/* ---- Files ---- */

static int syntax_error(const char *path, struct fy_diag *diag, vmctl_error **err) {
    void *iterator = NULL;
    struct fy_diag_error *e = fy_diag_errors_iterate(diag, &iterator);
    if (e && e->line > 0)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s:%d: %s", path, e->line,
                         e->msg ? e->msg : "this is no YAML");
    return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s: %s", path, e && e->msg ? e->msg : "this is no YAML");
}

static int parse(kubeconfig_file *f, const char *text, size_t length, vmctl_error **err) {
    struct fy_diag_cfg diag_cfg;
    fy_diag_cfg_default(&diag_cfg);
    diag_cfg.fp = NULL;
    struct fy_diag *diag = fy_diag_create(&diag_cfg);
    if (!diag)
        return vmc_error_no_memory(err);
    fy_diag_set_collect_errors(diag, true);
    struct fy_parse_cfg cfg = {.flags = FYPCF_QUIET | FYPCF_RESOLVE_DOCUMENT, .diag = diag};
    f->document = fy_document_build_from_malloc_string(&cfg, vmc_strndup(text, length), length);
    struct fy_node *root = f->document ? fy_document_root(f->document) : NULL;
    int rc = 0;
    if (!f->document && strspn(text, " \t\r\n") != length)
        rc = syntax_error(f->path, diag, err);
    else if (root && !fy_node_is_mapping(root) && !fy_node_is_null(root))
        rc = vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s: this is no kubeconfig: a map is wanted at its top", f->path);
    fy_diag_destroy(diag);
    return rc;
}

static int add_file(kubeconfig *k, const char *path, vmctl_error **err) {
    if (vmc_strv_has(&k->tried, path))
        return 0;
    vmc_strv_add(&k->tried, path);
    if (!vmc_file_exists(path))
        return 0;
    VMC_AUTO_FREE char *text = NULL;
    size_t length = 0;
    int rc = vmc_file_read(path, FILE_LIMIT, &text, &length, err);
    if (rc < 0) {
        vmc_error_prefix(err, "the kubeconfig");
        return rc;
    }
    k->files = vmc_realloc(k->files, k->count + 1, sizeof *k->files);
    kubeconfig_file *f = &k->files[k->count++];
    *f = (kubeconfig_file){.path = vmc_strdup(path), .folder = vmc_path_dirname(path)};
    if (memchr(text, '\0', length))
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s: this is no kubeconfig: it has zero bytes", path);
    return parse(f, text, length, err);
}

static int add_list(kubeconfig *k, const char *list, vmctl_error **err) {
    int rc = 0;
    while (rc == 0 && *list) {
        size_t n = strcspn(list, ":");
        VMC_AUTO_FREE char *name = vmc_strndup(list, n);
        VMC_AUTO_FREE char *path = n > 0 ? vmc_path_absolute(NULL, name) : NULL;
        if (path)
            rc = add_file(k, path, err);
        list += n;
        list += *list == ':';
    }
    return rc;
}

int kubeconfig_open(const char *file, kubeconfig *k, vmctl_error **err) {
    *k = (kubeconfig){0};
    const char *list = getenv("KUBECONFIG");
    int rc;
    k->named = file || (list && *list);
    if (file) {
        VMC_AUTO_FREE char *path = vmc_path_absolute(NULL, file);
        rc = add_file(k, path, err);
        if (rc == 0 && k->count == 0)
            rc = vmc_error(err, VMCTL_E_NOT_FOUND, "there is no kubeconfig %s", path);
    } else if (list && *list) {
        rc = add_list(k, list, err);
        if (rc == 0 && k->count == 0)
            rc = vmc_error(err, VMCTL_E_NOT_FOUND, "no file of KUBECONFIG=%s exists", list);
    } else {
        VMC_AUTO_FREE char *path = vmc_path_absolute(NULL, "~/.kube/config");
        rc = add_file(k, path, err);
    }
    if (rc < 0)
        kubeconfig_close(k);
    return rc;
}

void kubeconfig_close(kubeconfig *k) {
    for (size_t i = 0; i < k->count; i++) {
        free(k->files[i].path);
        free(k->files[i].folder);
        fy_document_destroy(k->files[i].document);
    }
    free(k->files);
    vmc_strv_free(&k->tried);
    *k = (kubeconfig){0};
}

/* ---- Places ---- */

static unsigned line_of(struct fy_node *node) {
    struct fy_token *token = NULL;
    while (node && !token) {
        if (fy_node_is_scalar(node)) {
            token = fy_node_get_scalar_token(node);
            break;
        }
        void *iterator = NULL;
        if (fy_node_is_mapping(node)) {
            struct fy_node_pair *pair = fy_node_mapping_iterate(node, &iterator);
            node = pair ? fy_node_pair_key(pair) : NULL;
        } else {
            node = fy_node_sequence_iterate(node, &iterator);
        }
    }
    const struct fy_mark *mark = token ? fy_token_start_mark(token) : NULL;
    return mark ? (unsigned)mark->line + 1 : 0;
}

static struct fy_node_pair *pair_of(struct fy_node *map, const char *key) {
    void *iterator = NULL;
    struct fy_node_pair *pair;
    while (map && (pair = fy_node_mapping_iterate(map, &iterator))) {
        size_t length = 0;
        const char *text =
            fy_node_is_scalar(fy_node_pair_key(pair)) ? fy_node_get_scalar(fy_node_pair_key(pair), &length) : NULL;
        if (text && length == strlen(key) && memcmp(text, key, length) == 0)
            return pair;
    }
    return NULL;
}

/* "env: null" is what kubectl itself writes. */
static bool is_null(struct fy_node *node) {
    size_t length = 0;
    if (fy_node_is_null(node))
        return true;
    const char *text =
        fy_node_is_scalar(node) && fy_node_get_style(node) == FYNS_PLAIN ? fy_node_get_scalar(node, &length) : NULL;
    return text && ((length == 4 && memcmp(text, "null", 4) == 0) || (length == 1 && *text == '~'));
}

static struct fy_node *value_of(struct fy_node *map, const char *key) {
    struct fy_node_pair *pair = map && fy_node_is_mapping(map) ? pair_of(map, key) : NULL;
    struct fy_node *value = pair ? fy_node_pair_value(pair) : NULL;
    return value && !is_null(value) ? value : NULL;
}

static int fault_at(const kubeconfig_file *file, unsigned line, const char *path, const char *words,
                    vmctl_error **err) {
    if (line > 0)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s:%u: %s: %s", file->path, line, path, words);
    return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s: %s: %s", file->path, path, words);
}

int kubeconfig_fault(const kubeconfig_map *map, const char *key, vmctl_error **err, const char *format, ...) {
    va_list args;
    va_start(args, format);
    VMC_AUTO_FREE char *words = vmc_vprintf(format, args);
    va_end(args);
    struct fy_node_pair *pair = key && map->node ? pair_of(map->node, key) : NULL;
    unsigned line = line_of(pair ? fy_node_pair_key(pair) : map->node);
    VMC_AUTO_FREE char *path = key ? vmc_printf("%s.%s", map->path, key) : vmc_strdup(map->path);
    return fault_at(map->file, line, path, words, err);
}

static char *scalar(struct fy_node *node) {
    size_t length = 0;
    const char *text =
        node && fy_node_is_scalar(node) && !fy_node_is_alias(node) ? fy_node_get_scalar(node, &length) : NULL;
    return text && !memchr(text, '\0', length) ? vmc_strndup(text, length) : NULL;
}

/* ---- Top and lists ---- */

int kubeconfig_top(const kubeconfig *k, const char *key, char **out, vmctl_error **err) {
    *out = NULL;
    for (size_t i = 0; i < k->count; i++) {
        struct fy_node *root = k->files[i].document ? fy_document_root(k->files[i].document) : NULL;
        struct fy_node *value = value_of(root, key);
        if (!value)
            continue;
        *out = scalar(value);
        if (!*out)
            return fault_at(&k->files[i], line_of(value), key, "a text is wanted here", err);
        if (**out)
            return 0;
        free(*out);
        *out = NULL;
    }
    return 0;
}

/* Each item of a list: user says whether it is enough (positive). */
typedef int (*item_fn)(const kubeconfig_file *file, struct fy_node *item, const char *name, void *user);

static int each_of_file(const kubeconfig_file *file, const char *list, item_fn fn, void *user, vmctl_error **err) {
    struct fy_node *root = file->document ? fy_document_root(file->document) : NULL;
    struct fy_node *items = value_of(root, list), *item;
    if (!items)
        return 0;
    if (!fy_node_is_sequence(items))
        return fault_at(file, line_of(items), list, "a list is wanted here", err);
    void *iterator = NULL;
    int rc = 0;
    while (rc == 0 && (item = fy_node_sequence_iterate(items, &iterator))) {
        VMC_AUTO_FREE char *name = scalar(value_of(item, "name"));
        if (!name)
            return fault_at(file, line_of(item), list, "each of this list needs a name", err);
        rc = fn(file, item, name, user);
    }
    return rc;
}

static int add_name(const kubeconfig_file *file, struct fy_node *item, const char *name, void *user) {
    (void)file;
    (void)item;
    if (!vmc_strv_has(user, name))
        vmc_strv_add(user, name);
    return 0;
}

int kubeconfig_names(const kubeconfig *k, const char *list, vmc_strv *names, vmctl_error **err) {
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < k->count; i++)
        rc = each_of_file(&k->files[i], list, add_name, names, err);
    return rc;
}

typedef struct search {
    const char *name;
    const kubeconfig_file *file;
    struct fy_node *item;
} search;

static int is_it(const kubeconfig_file *file, struct fy_node *item, const char *name, void *user) {
    search *s = user;
    if (strcmp(name, s->name) != 0)
        return 0;
    s->file = file;
    s->item = item;
    return 1;
}

static int no_such(const kubeconfig *k, const char *list, const char *key, const char *name, const char *by,
                   vmctl_error **err) {
    VMC_AUTO_STRV names = {0};
    int rc = kubeconfig_names(k, list, &names, err);
    if (rc < 0)
        return rc;
    VMC_AUTO_FREE char *tried = vmc_strv_join(&k->tried, ", ");
    if (*by)
        return vmc_error(err, VMCTL_E_NOT_FOUND, "%s names the %s \"%s\", which is not in %s", by, key, name, tried);
    vmc_error(err, VMCTL_E_NOT_FOUND, "there is no %s \"%s\" in %s", key, name, tried);
    const char *near = names.count > 0 ? vmc_nearest(name, (const char *const *)names.items) : NULL;
    VMC_AUTO_FREE char *all = vmc_strv_join(&names, ", ");
    if (near)
        vmc_error_next(err, "did you mean \"%s\"?", near);
    else if (names.count > 0)
        vmc_error_next(err, "choose one of %s", all);
    return VMCTL_E_NOT_FOUND;
}

int kubeconfig_find(const kubeconfig *k, const char *list, const char *key, const char *name, const char *by,
                    kubeconfig_map *map, vmctl_error **err) {
    search s = {.name = name};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < k->count; i++)
        rc = each_of_file(&k->files[i], list, is_it, &s, err);
    if (rc < 0)
        return rc;
    if (!s.item)
        return no_such(k, list, key, name, by, err);
    *map = (kubeconfig_map){.file = s.file, .path = vmc_printf("%s[%s].%s", list, name, key)};
    map->node = value_of(s.item, key);
    if (map->node && !fy_node_is_mapping(map->node))
        return fault_at(map->file, line_of(map->node), map->path, "a map of keys and values is wanted here", err);
    return 0;
}

void kubeconfig_map_free(kubeconfig_map *map) {
    free(map->path);
    *map = (kubeconfig_map){0};
}

/* ---- Values ---- */

int kubeconfig_text(const kubeconfig_map *map, const char *key, char **out, vmctl_error **err) {
    struct fy_node *value = value_of(map->node, key);
    if (!value)
        return 0;
    char *text = scalar(value);
    if (!text)
        return kubeconfig_fault(map, key, err, "a text is wanted here");
    if (!*text) { /* kubectl takes an empty text as none */
        free(text);
        return 0;
    }
    vmc_wipe_free(*out);
    *out = text;
    return 0;
}

int kubeconfig_bool(const kubeconfig_map *map, const char *key, bool *out, vmctl_error **err) {
    VMC_AUTO_FREE char *text = NULL;
    int rc = kubeconfig_text(map, key, &text, err);
    if (rc < 0 || !text)
        return rc;
    if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
        return kubeconfig_fault(map, key, err, "true or false is wanted here");
    *out = strcmp(text, "true") == 0;
    return 0;
}

int kubeconfig_list(const kubeconfig_map *map, const char *key, vmc_strv *out, vmctl_error **err) {
    struct fy_node *value = value_of(map->node, key), *item;
    if (!value)
        return 0;
    if (!fy_node_is_sequence(value))
        return kubeconfig_fault(map, key, err, "a list of texts is wanted here");
    void *iterator = NULL;
    while ((item = fy_node_sequence_iterate(value, &iterator))) {
        char *text = scalar(item);
        if (!text)
            return kubeconfig_fault(map, key, err, "a list of texts is wanted here");
        vmc_strv_take(out, text);
    }
    return 0;
}

int kubeconfig_child(const kubeconfig_map *map, const char *key, kubeconfig_map *out, vmctl_error **err) {
    *out = (kubeconfig_map){.file = map->file, .path = vmc_printf("%s.%s", map->path, key)};
    out->node = value_of(map->node, key);
    if (out->node && !fy_node_is_mapping(out->node))
        return kubeconfig_fault(map, key, err, "a map of keys and values is wanted here");
    return 0;
}

int kubeconfig_path(const kubeconfig_map *map, const char *key, char **out, vmctl_error **err) {
    VMC_AUTO_FREE char *text = NULL;
    int rc = kubeconfig_text(map, key, &text, err);
    if (rc < 0 || !text)
        return rc;
    free(*out);
    *out = vmc_path_absolute(map->file->folder, text);
    return 0;
}

int kubeconfig_bytes(const kubeconfig_map *map, const char *key, char **out, char **from, vmctl_error **err) {
    VMC_AUTO_FREE char *data_key = vmc_printf("%s-data", key);
    char *data = NULL;
    int rc = kubeconfig_text(map, data_key, &data, err);
    if (rc < 0)
        return rc;
    if (data) {
        vmc_str bytes = {0};
        bool decoded = vmc_base64_decode(&bytes, data) && bytes.length > 0 && strlen(bytes.text) == bytes.length;
        vmc_wipe_free(data);
        *out = vmc_str_take(&bytes);
        *from = vmc_strdup(data_key);
        return decoded ? 0 : kubeconfig_fault(map, data_key, err, "this is no base64 of a PEM text");
    }
    VMC_AUTO_FREE char *path = NULL;
    rc = kubeconfig_path(map, key, &path, err);
    if (rc < 0 || !path)
        return rc;
    vmctl_error *why = NULL;
    size_t length = 0;
    rc = vmc_file_read(path, PART_LIMIT, out, &length, &why);
    if (rc < 0) {
        kubeconfig_fault(map, key, err, "%s", vmctl_error_message(why));
        vmc_error_recode(err, rc);
        vmctl_error_free(why);
        return rc;
    }
    *from = vmc_strdup(key);
    return 0;
}

int kubeconfig_pairs(const kubeconfig_map *map, const char *key, vmc_strv *out, vmctl_error **err) {
    struct fy_node *value = value_of(map->node, key), *item;
    if (!value)
        return 0;
    void *iterator = NULL;
    bool ok = fy_node_is_sequence(value);
    while (ok && (item = fy_node_sequence_iterate(value, &iterator))) {
        VMC_AUTO_FREE char *name = scalar(value_of(item, "name"));
        VMC_AUTO_FREE char *text = scalar(value_of(item, "value"));
        ok = name && *name && !strchr(name, '=');
        if (ok)
            vmc_strv_printf(out, "%s=%s", name, text ? text : "");
    }
    return ok ? 0 : kubeconfig_fault(map, key, err, "a list of {name, value} is wanted here");
}
