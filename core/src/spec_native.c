/* Native documents. */
#include "spec_native.h"

#include "base/error.h"
#include "spec_build.h"

#include <ctype.h>
#include <string.h>
#include <vmctl/backend.h>

/* --- libvirt's XML ------------------------------------------------------------------------------------------ */

bool vmc_native_is_xml(const char *text, size_t length) {
    size_t i = length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    while (i < length && isspace((unsigned char)text[i]))
        i++;
    return i < length && text[i] == '<';
}

/* Behind what is not an element: a comment, a declaration, CDATA; NULL when its end is missing. */
static const char *skip_other(const char *p) {
    const char *close = vmc_starts_with(p, "<!--")        ? "-->"
                        : vmc_starts_with(p, "<![CDATA[") ? "]]>"
                        : p[1] == '?'                     ? "?>"
                                                          : ">";
    const char *end = strstr(p, close);
    return end ? end + strlen(close) : NULL;
}

/* The next element's tag at or after p, open or close. */
static const char *next_tag(const char *p) {
    while (p && (p = strchr(p, '<')) && (p[1] == '!' || p[1] == '?'))
        p = skip_other(p);
    return p;
}

/* The end of the tag, behind '>'; a '>' inside quotes does not end it. */
static const char *end_of_tag(const char *p) {
    char quote = '\0';
    for (; *p; p++) {
        if (quote)
            quote = *p == quote ? '\0' : quote;
        else if (*p == '"' || *p == '\'')
            quote = *p;
        else if (*p == '>')
            return p + 1;
    }
    return NULL;
}

static bool is_tag(const char *p, const char *name) {
    size_t length = strlen(name);
    return strncmp(p + 1, name, length) == 0 && (isspace((unsigned char)p[1 + length]) || strchr("/>", p[1 + length]));
}

static char *unescape(const char *text, size_t length) {
    static const char *const entities[][2] = {
        {"&lt;", "<"}, {"&gt;", ">"}, {"&amp;", "&"}, {"&quot;", "\""}, {"&apos;", "'"}};
    VMC_AUTO_STR out = {0};
    for (const char *p = text; p < text + length;) {
        size_t taken = 0;
        for (size_t i = 0; i < sizeof entities / sizeof *entities && !taken; i++) {
            if (vmc_starts_with(p, entities[i][0])) {
                vmc_str_add(&out, entities[i][1]);
                taken = strlen(entities[i][0]);
            }
        }
        if (!taken)
            vmc_str_add_char(&out, *p);
        p += taken ? taken : 1;
    }
    return vmc_str_take(&out);
}

/* The text of the <name> directly below the root. Lenient: the backend reads the document for good. */
static char *domain_name(const char *p) {
    int depth = 0;
    while ((p = next_tag(p))) {
        const char *end = end_of_tag(p);
        if (!end)
            return NULL;
        if (depth == 1 && is_tag(p, "name")) {
            while (isspace((unsigned char)*end))
                end++;
            size_t length = strcspn(end, "<");
            while (length && isspace((unsigned char)end[length - 1]))
                length--;
            return length ? unescape(end, length) : NULL;
        }
        if (p[1] == '/')
            depth--;
        else if (end[-2] != '/')
            depth++;
        p = end;
    }
    return NULL;
}

vmctl_spec *vmc_native_domain(const char *text, size_t length, vmc_faults *faults) {
    vmctl_spec *spec = vmctl_spec_new();
    spec->native = vmc_strndup(text, length);
    spec->native_backend = "libvirt";
    spec->line = 1;
    const char *tag = next_tag(spec->native);
    for (const char *p = spec->native; tag && p < tag; p++)
        spec->line += *p == '\n';
    if (tag && is_tag(tag, "domain")) {
        spec->native_name = domain_name(tag);
        return spec;
    }
    vmc_faults_add(faults, spec->line, 1, NULL, "this is XML, but no libvirt <domain>");
    vmctl_spec_free(spec);
    return NULL;
}

/* --- Kubernetes --------------------------------------------------------------------------------------------- */

bool vmc_native_is_kubernetes(const vmc_raw *root) {
    return vmc_raw_value(root, "apiVersion") != NULL;
}

static const char *text_of(const vmc_raw *raw) {
    return raw && raw->kind == VMC_RAW_SCALAR ? raw->text : "";
}

vmctl_spec *vmc_native_kubernetes(const vmc_raw_document *document, const char *text, vmc_faults *faults) {
    const vmc_raw *version = vmc_raw_value(document->root, "apiVersion");
    const vmc_raw *kind = vmc_raw_value(document->root, "kind");
    bool kubevirt = vmc_starts_with(text_of(version), "kubevirt.io/");
    if (version && (!kubevirt || strcmp(text_of(kind), "VirtualMachine") != 0)) {
        const vmc_raw *at = kubevirt && kind ? kind : version;
        vmc_faults_add(
            faults, at->line, at->column, kubevirt ? "kind" : "apiVersion",
            "a Kubernetes object \"%.60s\" of \"%.60s\" is no VM: only kind VirtualMachine of kubevirt.io is taken",
            text_of(kind), text_of(version));
        return NULL;
    }
    const vmc_raw *metadata = vmc_raw_value(document->root, "metadata");
    const char *name = text_of(vmc_raw_value(metadata, "name"));
    const char *namespace_name = text_of(vmc_raw_value(metadata, "namespace"));
    size_t begin = document->begin;
    while (begin < document->end && strchr("\r\n", text[begin]))
        begin++;
    vmctl_spec *spec = vmctl_spec_new();
    spec->native = vmc_strndup(text + begin, document->end - begin);
    spec->native_backend = "kubevirt";
    spec->native_name = *name ? vmc_strdup(name) : NULL;
    spec->native_namespace = *namespace_name ? vmc_strdup(namespace_name) : NULL;
    spec->line = document->first_line;
    return spec;
}

int vmc_spec_native_json(const vmctl_spec *spec, char **out, vmctl_error **err) {
    if (!spec->native)
        return vmc_error(err, VMCTL_E_INTERNAL, "the spec is no native document");
    vmc_faults faults = {.file = spec->file};
    vmc_builder builder = {.faults = &faults};
    vmc_raw_reader *reader = vmc_raw_open(spec->native, strlen(spec->native), &faults);
    vmc_raw_document document = {0};
    vmctl_node *root = vmc_raw_next(reader, &document) == 1
                           ? vmc_build(&builder, document.root, vmc_schema_find("kubevirt.patch")) /* as it is */
                           : NULL;
    vmc_raw_document_free(&document);
    vmc_raw_close(reader);
    vmc_str_free(&builder.path);
    int code = vmc_faults_end(&faults, err);
    if (code == 0 && root)
        *out = vmc_node_json(root);
    else if (code == 0)
        code = vmc_error(err, VMCTL_E_INVALID_SPEC, "the native document is empty");
    vmc_node_free(root);
    return code;
}
