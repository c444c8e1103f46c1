/* A spec against what a backend claims: every refusal at once, with its line, before anything is touched. */
#include "base/file.h"
#include "internal.h"
#include "spec_internal.h"
#include <string.h>

typedef struct check {
    const vmctl_backend_descriptor *descriptor;
    bool strict;
    const vmctl_call *call;
    vmctl_error *refused; /* UNSUPPORTED, as faults */
    vmctl_error *missing; /* files, as faults */
} check;

static void refuse(vmctl_error **faults, const vmctl_node *node, const char *text) {
    const char *file = NULL;
    unsigned line = 0, column = 0;
    vmctl_node_location(node, &file, &line, &column);
    VMC_AUTO_FREE char *path = vmctl_node_path(node);
    vmc_error_fault(faults, file, line, column, path, "%s", text);
}

/* Keys that core itself takes care of. */
static bool is_core_key(const char *key) {
    static const char *const own[] = {"name", "backend", "context", "count"};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if (strcmp(own[i], key) == 0)
            return true;
    return false;
}

/* The sections of vm.yaml that belong to one backend. */
static bool is_section(const char *key) {
    static const char *const sections[] = {"libvirt", "virtualbox", "vsphere", "kubevirt"};
    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++)
        if (strcmp(sections[i], key) == 0)
            return true;
    return false;
}

static void foreign_section(check *c, const vmctl_node *node) {
    const char *key = vmctl_node_key(node);
    VMC_AUTO_FREE char *text = vmc_printf("%s ignores what is for %s", c->descriptor->name, key);
    if (c->strict) {
        refuse(&c->refused, node, text);
        return;
    }
    const char *file = NULL;
    unsigned line = 0, column = 0;
    vmctl_node_location(node, &file, &line, &column);
    vmc_deadline ears = {-1, NULL, c->call};
    if (file && line)
        vmc_note(&ears, VMCTL_NOTE_WARNING, "%s:%u:%u: %s", file, line, column, text);
    else
        vmc_note(&ears, VMCTL_NOTE_WARNING, "%s: %s", key, text);
}

static const struct {
    const char *prefix;
    unsigned source;
    const char *name;
} sources[] = {
    {"http://", VMCTL_SOURCE_FILE | VMCTL_SOURCE_URL, "an image by URL"},
    {"https://", VMCTL_SOURCE_FILE | VMCTL_SOURCE_URL, "an image by URL"},
    {"library:", VMCTL_SOURCE_LIBRARY, "an image library"},
    {"docker://", VMCTL_SOURCE_CONTAINER, "a container disk"},
};

/* An image: of a kind that the backend takes, and a file that is there. A file is enough for a URL: core fetches. */
static void check_source(check *c, const vmctl_node *node) {
    const char *value = vmctl_node_string(node, NULL, "");
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++)
        if (vmc_starts_with(value, sources[i].prefix)) {
            if (!(c->descriptor->image_sources & sources[i].source)) {
                VMC_AUTO_FREE char *text = vmc_printf("%s cannot take %s", c->descriptor->name, sources[i].name);
                refuse(&c->refused, node, text);
            }
            return;
        }
    if (value[0] == '/' && !vmc_file_exists(value)) {
        VMC_AUTO_FREE char *text = vmc_printf("there is no file %s", value);
        refuse(&c->missing, node, text);
    }
}

static bool takes_value(const vmctl_key_claim *claim, const char *value) {
    for (const char *const *v = claim->values; v && *v; v++)
        if (strcmp(*v, value) == 0)
            return true;
    return !claim->values;
}

static void check_value(check *c, const vmctl_node *node, const vmctl_key_claim *claim) {
    const char *value = vmctl_node_string(node, NULL, NULL);
    if (!value || takes_value(claim, value))
        return;
    VMC_AUTO_STR text = {0};
    vmc_str_printf(&text, "%s cannot take \"%s\"", c->descriptor->name, value);
    if (claim->reason)
        vmc_str_printf(&text, ": %s", claim->reason);
    vmc_str_add(&text, "; it takes ");
    for (const char *const *v = claim->values; *v; v++)
        vmc_str_printf(&text, v == claim->values ? "%s" : ", %s", *v);
    refuse(&c->refused, node, text.text);
}

/* Whether the backend claims something below a key: then the key itself is only the way there. */
static bool claims_below(const check *c, const char *path) {
    size_t length = strlen(path);
    for (size_t i = 0; i < c->descriptor->key_count; i++) {
        const char *key = c->descriptor->keys[i].key;
        if (strncmp(key, path, length) == 0 && (key[length] == '.' || key[length] == '['))
            return true;
    }
    return false;
}

static void check_node(check *c, const vmctl_node *node);

static void check_children(check *c, const vmctl_node *node) {
    for (size_t i = 0; i < vmctl_node_count(node); i++)
        check_node(c, vmctl_node_at(node, i));
}

/* Defaults are vmctl's own and no reason to refuse a spec. */
static void check_node(check *c, const vmctl_node *node) {
    if (node->is_default || !node->schema)
        return;
    const char *path = node->schema->path;
    bool item = !vmctl_node_key(node) && node->parent; /* shares its list's row */
    if (!item && !is_core_key(path)) {
        const vmctl_key_claim *claim = vmc_key_claim(c->descriptor, path);
        if (is_section(path) && strcmp(path, c->descriptor->name) != 0) {
            foreign_section(c, node);
            return;
        }
        if (claim ? claim->level < VMCTL_LEVEL_LIMITED : !claims_below(c, path)) {
            VMC_AUTO_FREE char *text =
                vmc_printf("%s does not do this%s%s", c->descriptor->name, claim && claim->reason ? ": " : "",
                           claim && claim->reason ? claim->reason : "");
            refuse(&c->refused, node, text);
            return;
        }
        if (claim)
            check_value(c, node, claim);
        if (node->schema->type == VMC_TYPE_SOURCE)
            check_source(c, node);
    }
    if (node->schema->type == VMC_TYPE_MAP || node->schema->type == VMC_TYPE_ITEMS)
        check_children(c, node);
}

static int finish(check *c, vmctl_error **err) {
    int rc = 0;
    if (c->refused) {
        rc = vmc_error_recode(&c->refused, VMCTL_E_UNSUPPORTED);
        vmc_error_next(&c->refused, "vmctl caps %s shows what it can do; leave these keys out, or use another backend",
                       c->descriptor->name);
        vmc_error_move(err, &c->refused);
    } else if (c->missing) {
        rc = vmc_error_recode(&c->missing, VMCTL_E_NOT_FOUND);
        vmc_error_move(err, &c->missing);
    }
    vmctl_error_free(c->missing);
    return rc;
}

static int check_native(const vmctl_spec *spec, const char *backend, const vmctl_backend_descriptor *descriptor,
                        vmctl_error **err) {
    if (vmc_str_eq(backend, descriptor->name))
        return 0;
    vmc_error_fault(err, spec->file, spec->line, 1, NULL, "this is a document of %s, which %s cannot take", backend,
                    descriptor->name);
    vmc_error_recode(err, VMCTL_E_UNSUPPORTED);
    vmc_error_next(err, "use --backend %s, or describe the VM in vm.yaml", backend);
    return VMCTL_E_UNSUPPORTED;
}

int vmc_spec_check_backend(const vmctl_spec *spec, const vmctl_backend_descriptor *descriptor, bool strict,
                           const vmctl_call *call, vmctl_error **err) {
    const char *backend = NULL;
    if (vmctl_spec_native(spec, &backend))
        return check_native(spec, backend, descriptor, err);
    check c = {.descriptor = descriptor, .strict = strict, .call = call};
    check_children(&c, vmctl_spec_root(spec));
    return finish(&c, err);
}

void vmc_spec_tell_sections(const vmctl_spec *spec, const vmctl_backend_descriptor *descriptor,
                            const vmctl_call *call) {
    check c = {.descriptor = descriptor, .call = call};
    const vmctl_node *root = vmctl_spec_root(spec);
    for (size_t i = 0; i < vmctl_node_count(root); i++) {
        const char *key = vmctl_node_key(vmctl_node_at(root, i));
        if (is_section(key) && strcmp(key, descriptor->name) != 0)
            foreign_section(&c, vmctl_node_at(root, i));
    }
}

int vmc_node_check_backend(const vmctl_node *node, const vmctl_backend_descriptor *descriptor, const vmctl_call *call,
                           vmctl_error **err) {
    check c = {.descriptor = descriptor, .call = call};
    check_node(&c, node);
    return finish(&c, err);
}
