/* From a text to specs. */
#include "base/error.h"
#include "base/file.h"
#include "spec_build.h"
#include "spec_native.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

struct loading {
    vmctl_spec_load_options options;
    const char *text;
    vmc_faults faults;
    vmc_builder builder;
    vmctl_spec **specs; /* NULL-terminated */
    size_t count;
    unsigned documents; /* that are not empty */
};

static void keep(struct loading *l, vmctl_spec *spec) {
    free(spec->file);
    spec->file = vmc_strdup(l->faults.file);
    l->specs = vmc_realloc(l->specs, l->count + 2, sizeof(vmctl_spec *));
    l->specs[l->count++] = spec;
    l->specs[l->count] = NULL;
}

/* --- one document ------------------------------------------------------------------------------------------- */

/* --set and --name have no place in a text: their faults name the key only, once for all documents. */
static void overlay_one(struct loading *l, vmctl_spec *spec, const char *path, const char *value) {
    VMC_AUTO_FREE char *why = NULL;
    if (vmc_spec_set_text(spec, path, value, &why) == 0)
        return;
    for (size_t i = 0; i < l->faults.count; i++) {
        const vmc_fault *fault = &l->faults.items[i];
        if (!fault->line && vmc_str_eq(fault->path, path) && vmc_str_eq(fault->message, why))
            return;
    }
    vmc_faults_add(&l->faults, 0, 0, path, "%s", why);
}

static void overlay(struct loading *l, vmctl_spec *spec) {
    for (size_t i = 0; l->options.set && l->options.set[i]; i++) {
        const char *text = l->options.set[i];
        const char *equals = strchr(text, '=');
        VMC_AUTO_FREE char *path = equals ? vmc_strndup(text, (size_t)(equals - text)) : NULL;
        if (equals)
            overlay_one(l, spec, path, equals + 1);
        else if (l->count == 1)
            vmc_faults_add(&l->faults, 0, 0, text, "KEY=VALUE is expected, not \"%.60s\"", text);
    }
    if (l->options.name)
        overlay_one(l, spec, "name", l->options.name);
}

static void take_native(struct loading *l, vmctl_spec *spec) {
    if (!spec)
        return;
    if (l->options.name || (l->options.set && l->options.set[0]))
        vmc_faults_add(&l->faults, spec->line, 1, NULL,
                       "a native document is taken as it is: no key of it can be set and no name given");
    keep(l, spec);
}

static void take_spec(struct loading *l, const vmc_raw_document *document) {
    vmctl_node *root = vmc_build(&l->builder, document->root, NULL);
    if (!root)
        return;
    vmctl_spec *spec = vmctl_spec_new();
    vmc_node_free(spec->root);
    spec->root = root;
    root->spec = spec;
    spec->line = document->root->line;
    keep(l, spec);
    overlay(l, spec);
    vmc_spec_name_items(spec);
    if (!l->builder.stopped)
        vmc_spec_rules(spec, l->options.incomplete, &l->faults);
}

static void read_documents(struct loading *l, size_t length) {
    vmc_raw_reader *reader = vmc_raw_open(l->text, length, &l->faults);
    int rc = 0;
    do {
        vmc_raw_document document;
        rc = vmc_raw_next(reader, &document);
        if (rc == -1)
            l->documents++;
        if (rc == 1 && !vmc_raw_is_null(document.root)) {
            l->documents++;
            if (vmc_native_is_kubernetes(document.root))
                take_native(l, vmc_native_kubernetes(&document, l->text, &l->faults));
            else
                take_spec(l, &document);
        }
        vmc_raw_document_free(&document);
    } while ((rc == 1 || rc == -1) && !l->builder.stopped && !l->faults.more);
    vmc_raw_close(reader);
    if (!l->documents && !l->faults.count)
        vmc_faults_add(&l->faults, 1, 1, NULL, "the text is empty: a VM needs at least name, memory and disks or boot");
}

/* --- all documents ------------------------------------------------------------------------------------------ */

static int64_t copies_of(const vmctl_spec *spec) {
    return vmctl_node_integer(spec->root, "count", 1);
}

static void drop_count(vmctl_spec *spec) {
    for (size_t i = 0; i < vmctl_node_count(spec->root); i++) {
        if (strcmp(spec->root->value.children.items[i]->key, "count") == 0) {
            vmc_node_remove(spec->root, i);
            return;
        }
    }
}

/* `count: N` becomes N specs, NAME-1 to NAME-N. */
static void expand_counts(struct loading *l) {
    vmctl_spec **before = l->specs;
    size_t count = l->count;
    l->specs = NULL;
    l->count = 0;
    for (size_t i = 0; i < count; i++) {
        vmctl_spec *spec = before[i];
        int64_t copies = copies_of(spec);
        const char *name = vmctl_spec_name(spec);
        drop_count(spec);
        for (int64_t n = 1; n < copies && name; n++) {
            vmctl_spec *copy = vmctl_spec_copy(spec);
            vmctl_node *node = vmc_node_child(copy->root, "name");
            free(node->value.string);
            node->value.string = vmc_printf("%s-%lld", name, (long long)n);
            keep(l, copy);
        }
        if (copies > 1 && name) {
            vmctl_node *node = vmc_node_child(spec->root, "name");
            char *last = vmc_printf("%s-%lld", name, (long long)copies);
            free(node->value.string);
            node->value.string = last;
        }
        keep(l, spec);
    }
    free(before);
}

static int compare_texts(const char *a, const char *b) {
    return strcmp(a ? a : "", b ? b : "");
}

static int same_vm(const void *a, const void *b) {
    static const char *const keys[] = {"context", "backend", "placement.folder"};
    const vmctl_spec *x = a, *y = b;
    int order = strcmp(vmctl_spec_name(x), vmctl_spec_name(y));
    for (size_t i = 0; !order && i < sizeof keys / sizeof *keys; i++)
        order = strcmp(vmctl_node_string(x->root, keys[i], ""), vmctl_node_string(y->root, keys[i], ""));
    if (!order)
        order = compare_texts(vmctl_spec_namespace(x), vmctl_spec_namespace(y));
    return order ? order : compare_texts(x->native_backend, y->native_backend);
}

static void keep_spec(void *spec) {
    (void)spec;
}

/* Two documents of one text cannot be the same VM. */
static void check_twins(struct loading *l) {
    void *names = NULL;
    for (size_t i = 0; i < l->count; i++) {
        const char *name = vmctl_spec_name(l->specs[i]);
        if (!name)
            continue;
        vmctl_spec **found = tsearch(l->specs[i], &names, same_vm);
        if (*found == l->specs[i])
            continue;
        const vmctl_node *second = vmc_node_child(l->specs[i]->root, "name");
        const vmctl_node *first = vmc_node_child((*found)->root, "name");
        vmc_faults_add(&l->faults, second && second->line ? second->line : l->specs[i]->line,
                       second && second->line ? second->column : 1, "name",
                       "a VM \"%s\" is described twice; the first is in line %u", name,
                       first && first->line ? first->line : (*found)->line);
    }
    tdestroy(names, keep_spec);
}

static int check_options(struct loading *l, vmctl_error **err) {
    if (l->options.name && l->documents > 1)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "a name can be given to one VM only, and %s describes %u",
                         l->faults.file, l->documents);
    return 0;
}

int vmctl_spec_load(const char *text, size_t length, const vmctl_spec_load_options *options, vmctl_spec ***out,
                    size_t *count, vmctl_error **err) {
    if (!out || (!text && length))
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "vmctl_spec_load needs a text and a place for the specs");
    struct loading l = {.options = VMCTL_SPEC_LOAD_OPTIONS_INIT};
    if (options)
        memcpy(&l.options, options, options->size < sizeof l.options ? options->size : sizeof l.options);
    VMC_AUTO_FREE char *folder = NULL;
    if (!l.options.base_dir && l.options.file_name && strcmp(l.options.file_name, "-") != 0)
        folder = vmc_path_dirname(l.options.file_name);
    l.text = text ? text : "";
    l.faults.file = l.options.file_name ? l.options.file_name : "(input)";
    l.builder.faults = &l.faults;
    l.builder.base = l.options.base_dir ? l.options.base_dir : folder;

    if (vmc_raw_check(l.text, length, &l.faults)) {
        if (vmc_native_is_xml(l.text, length))
            take_native(&l, vmc_native_domain(l.text, length, &l.faults));
        else
            read_documents(&l, length);
    }
    if (!l.faults.count)
        expand_counts(&l);
    if (!l.faults.count)
        check_twins(&l);
    vmc_str_free(&l.builder.path);
    int rc = check_options(&l, err);
    if (rc == 0)
        rc = vmc_faults_end(&l.faults, err);
    else
        vmc_faults_end(&l.faults, NULL);
    if (rc < 0) {
        vmctl_spec_list_free(l.specs);
        return rc;
    }
    *out = l.specs;
    if (count)
        *count = l.count;
    return 0;
}

int vmctl_spec_load_file(const char *path, const vmctl_spec_load_options *options, vmctl_spec ***out, size_t *count,
                         vmctl_error **err) {
    if (!path || !out)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "vmctl_spec_load_file needs a file and a place for the specs");
    vmctl_spec_load_options o = VMCTL_SPEC_LOAD_OPTIONS_INIT;
    if (options)
        memcpy(&o, options, options->size < sizeof o ? options->size : sizeof o);
    o.size = sizeof o;
    if (!o.file_name)
        o.file_name = path;
    VMC_AUTO_FREE char *text = NULL;
    size_t length = 0;
    vmctl_error *why = NULL;
    int rc = vmc_file_read(path, VMC_SPEC_INPUT_LIMIT, &text, &length, &why);
    if (rc == VMCTL_E_INVALID_ARGUMENT) { /* a folder, or beyond the limit: a fault of what is read like any other */
        rc = vmc_error_fault(err, o.file_name, 0, 0, NULL, "%s", vmctl_error_message(why));
        vmctl_error_free(why);
        return rc;
    }
    if (rc < 0) {
        vmc_error_move(err, &why);
        return rc;
    }
    return vmctl_spec_load(text, length, &o, out, count, err);
}
