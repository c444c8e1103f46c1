/* A spec as canonical YAML or JSON: the schema's order, the short form where only that was written. */
#include "base/error.h"
#include "spec_raw.h"
#include "spec_value.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct writer {
    vmc_str out;
    bool json, defaults;
};

enum { FLOW_WIDTH = 80, LINE_WIDTH = 200, INDENT = 2 };

/* --- strings ------------------------------------------------------------------------------------------------ */

/* As JSON has it (RFC 8259, 7), which YAML reads the same; what YAML would take for a line break or a BOM is escaped too. */
static void add_quoted(vmc_str *out, const char *text) {
    vmc_str_add_char(out, '"');
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        const char *escape = *p == '"'    ? "\\\""
                             : *p == '\\' ? "\\\\"
                             : *p == '\n' ? "\\n"
                             : *p == '\t' ? "\\t"
                             : *p == '\r' ? "\\r"
                                          : NULL;
        if (escape) {
            vmc_str_add(out, escape);
        } else if (*p < 0x20 || *p == 0x7f) {
            vmc_str_printf(out, "\\u%04x", *p);
        } else if (p[0] == 0xc2 && p[1] < 0xa0) { /* C1 controls, NEL among them */
            vmc_str_printf(out, "\\u%04x", *++p);
        } else if (p[0] == 0xe2 && p[1] == 0x80 && (p[2] == 0xa8 || p[2] == 0xa9)) {
            vmc_str_printf(out, "\\u20%02x", p[2] - 0x80);
            p += 2;
        } else if (p[0] == 0xef && p[1] == 0xbb && p[2] == 0xbf) {
            vmc_str_add(out, "\\ufeff");
            p += 2;
        } else {
            vmc_str_add_char(out, (char)*p);
        }
    }
    vmc_str_add_char(out, '"');
}

/* Whether a string needs no quotes in any YAML, 1.1 or 1.2, block or flow: cautious rather than complete. */
static bool is_plain(const char *text) {
    static const char *const words[] = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcasecmp(text, words[i]) == 0)
            return false;
    }
    if (!isalpha((unsigned char)*text) && *text != '/' && *text != '_')
        return false;
    for (const char *p = text; *p; p++) {
        if (isalnum((unsigned char)*p) || strchr("_-./@+", *p))
            continue;
        bool inside = p[1] && p[1] != ' ' && p[1] != '#';
        if (!(inside && (*p == ' ' || *p == ':' || *p == '~' || *p == '%' || *p == '=')))
            return false;
    }
    return true;
}

static void add_string(struct writer *w, const char *text) {
    if (!w->json && is_plain(text))
        vmc_str_add(&w->out, text);
    else
        add_quoted(&w->out, text);
}

static void add_scalar(struct writer *w, const vmctl_node *node) {
    bool is_text = node->kind == VMCTL_KIND_STRING;
    VMC_AUTO_FREE char *text = vmc_value_text(node);
    bool measured = node->kind == VMCTL_KIND_INTEGER && node->schema &&
                    (node->schema->type == VMC_TYPE_SIZE || node->schema->type == VMC_TYPE_DURATION);
    if (is_text)
        add_string(w, text);
    else if (measured && w->json)
        add_quoted(&w->out, text);
    else
        vmc_str_add(&w->out, text);
}

/* Whether a text of several lines can stand as a literal block ("|"): what it holds is then what is seen. */
static bool is_block(const char *text) {
    if (!strchr(text, '\n') || *text == '\n' || *text == ' ' || *text == '\t')
        return false;
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        bool odd = (*p < 0x20 && *p != '\n') || *p == 0x7f || *p == 0xc2 || *p == 0xe2 || *p == 0xef;
        if (odd || (*p == ' ' && (p[1] == '\n' || !p[1])))
            return false;
    }
    return true;
}

static void add_indent(struct writer *w, size_t indent) {
    vmc_str_printf(&w->out, "%*s", (int)indent, "");
}

static void add_block(struct writer *w, const char *text, size_t indent) {
    size_t length = strlen(text), ends = 0;
    while (ends < length && text[length - 1 - ends] == '\n')
        ends++;
    vmc_str_add(&w->out, ends == 0 ? "|-\n" : ends == 1 ? "|\n" : "|+\n");
    while (*text) {
        size_t line = strcspn(text, "\n");
        if (line)
            add_indent(w, indent);
        vmc_str_add_n(&w->out, text, line);
        vmc_str_add_char(&w->out, '\n');
        text += line + (text[line] == '\n');
    }
}

/* --- what is written ---------------------------------------------------------------------------------------- */

static bool is_written(const struct writer *w, const vmctl_node *node) {
    return node && (w->defaults || !node->is_default);
}

/* The children that are written, in the order in which they are: begun with {w, node}, ended by false. */
struct each {
    const struct writer *w;
    const vmctl_node *node, *child;
    const vmc_key *key;
    size_t index;
};

static bool next_child(struct each *each) {
    const vmctl_node *node = each->node;
    bool by_schema = node->kind == VMCTL_KIND_MAP && (node->schema ? !vmc_schema_is_free(node->schema) : !node->parent);
    while (by_schema && (each->key = vmc_schema_next(node->parent ? node->schema : NULL, each->key))) {
        each->child = vmc_node_child(node, vmc_schema_name(each->key));
        if (is_written(each->w, each->child))
            return true;
    }
    while (!by_schema && each->index < vmctl_node_count(node)) {
        each->child = vmctl_node_at(node, each->index++);
        if (is_written(each->w, each->child))
            return true;
    }
    return false;
}

static size_t written_count(const struct writer *w, const vmctl_node *node) {
    size_t count = 0;
    for (struct each each = {w, node}; next_child(&each);)
        count++;
    return count;
}

/* `memory: 2GiB` for a map of which only the key is written that a scalar means. */
static const vmctl_node *short_form(const struct writer *w, const vmctl_node *node) {
    if (node->kind != VMCTL_KIND_MAP || !node->schema || !node->key || !node->schema->scalar ||
        written_count(w, node) != 1)
        return node;
    const vmctl_node *only = vmc_node_child(node, node->schema->scalar);
    return is_written(w, only) ? only : node;
}

/* --- YAML --------------------------------------------------------------------------------------------------- */

static bool is_short_list(const vmctl_node *node) {
    size_t width = 0;
    if (!node->schema || (node->schema->type != VMC_TYPE_STRINGS && node->schema->type != VMC_TYPE_PORTS))
        return false;
    for (size_t i = 0; i < vmctl_node_count(node); i++)
        width += 2 + strlen(vmctl_node_at(node, i)->value.string);
    return width < FLOW_WIDTH;
}

static void add_flow(struct writer *w, const vmctl_node *node) {
    vmc_str_add(&w->out, " [");
    for (size_t i = 0; i < vmctl_node_count(node); i++) {
        vmc_str_add(&w->out, i ? ", " : "");
        add_scalar(w, vmctl_node_at(node, i));
    }
    vmc_str_add(&w->out, "]\n");
}

static void add_yaml(struct writer *w, const vmctl_node *node, size_t indent);

/* The first key follows "- " where the map is a list's item. */
static void add_yaml_map(struct writer *w, const vmctl_node *node, size_t indent, bool in_line) {
    for (struct each each = {w, node}; next_child(&each);) {
        if (!in_line)
            add_indent(w, indent);
        in_line = false;
        add_string(w, each.child->key);
        vmc_str_add_char(&w->out, ':');
        add_yaml(w, short_form(w, each.child), indent + INDENT);
    }
}

static void add_yaml_list(struct writer *w, const vmctl_node *node, size_t indent) {
    for (size_t i = 0; i < vmctl_node_count(node); i++) {
        const vmctl_node *item = vmctl_node_at(node, i);
        if (!is_written(w, item))
            continue;
        add_indent(w, indent);
        vmc_str_add_char(&w->out, '-');
        if (item->kind == VMCTL_KIND_MAP && written_count(w, item)) {
            vmc_str_add_char(&w->out, ' ');
            add_yaml_map(w, item, indent + INDENT, true);
        } else {
            add_yaml(w, item, indent + INDENT);
        }
    }
}

/* The value behind "key:" or "-", with what separates it and the end of its line. */
static void add_yaml(struct writer *w, const vmctl_node *node, size_t indent) {
    bool is_map = node->kind == VMCTL_KIND_MAP, is_list = node->kind == VMCTL_KIND_LIST;
    if ((is_map || is_list) && !written_count(w, node)) {
        vmc_str_add(&w->out, is_map ? " {}\n" : " []\n");
    } else if (is_map) {
        vmc_str_add_char(&w->out, '\n');
        add_yaml_map(w, node, indent, false);
    } else if (is_list && is_short_list(node)) {
        add_flow(w, node);
    } else if (is_list) {
        vmc_str_add_char(&w->out, '\n');
        add_yaml_list(w, node, indent);
    } else {
        vmc_str_add_char(&w->out, ' ');
        if (node->kind == VMCTL_KIND_STRING && is_block(node->value.string)) {
            add_block(w, node->value.string, indent);
            return;
        }
        add_scalar(w, node);
        vmc_str_add_char(&w->out, '\n');
    }
}

/* --- JSON --------------------------------------------------------------------------------------------------- */

static void add_json(struct writer *w, const vmctl_node *node, size_t indent) {
    bool is_map = node->kind == VMCTL_KIND_MAP, first = true;
    if (!is_map && node->kind != VMCTL_KIND_LIST) {
        add_scalar(w, node);
        return;
    }
    vmc_str_add_char(&w->out, is_map ? '{' : '[');
    for (struct each each = {w, node}; next_child(&each);) {
        vmc_str_add(&w->out, first ? "\n" : ",\n");
        first = false;
        add_indent(w, indent + INDENT);
        if (is_map) {
            add_quoted(&w->out, each.child->key);
            vmc_str_add(&w->out, ": ");
        }
        add_json(w, short_form(w, each.child), indent + INDENT);
    }
    if (!first) {
        vmc_str_add_char(&w->out, '\n');
        add_indent(w, indent);
    }
    vmc_str_add_char(&w->out, is_map ? '}' : ']');
}

char *vmc_node_json(const vmctl_node *node) {
    struct writer w = {.json = true, .defaults = true};
    add_json(&w, node, 0);
    return vmc_str_take(&w.out);
}

/* --- one line ----------------------------------------------------------------------------------------------- */

static void add_line(struct writer *w, const vmctl_node *node) {
    bool is_map = node->kind == VMCTL_KIND_MAP, first = true;
    if (!is_map && node->kind != VMCTL_KIND_LIST) {
        add_scalar(w, node);
        return;
    }
    vmc_str_add_char(&w->out, is_map ? '{' : '[');
    for (struct each each = {w, node}; next_child(&each);) {
        vmc_str_add(&w->out, first ? "" : ", ");
        first = false;
        if (is_map) {
            add_string(w, each.child->key);
            vmc_str_add(&w->out, ": ");
        }
        add_line(w, short_form(w, each.child));
    }
    vmc_str_add_char(&w->out, is_map ? '}' : ']');
}

char *vmc_node_line(const vmctl_node *node) {
    if (!node)
        return NULL;
    struct writer w = {.defaults = true};
    add_line(&w, node);
    if (w.out.length > LINE_WIDTH) {
        size_t cut = LINE_WIDTH;
        while (cut && (w.out.text[cut] & 0xc0) == 0x80)
            cut--;
        w.out.length = cut;
        vmc_str_add(&w.out, "...");
    }
    return vmc_str_take(&w.out);
}

int vmctl_spec_text(const vmctl_spec *spec, vmctl_format format, bool with_defaults, char **out, vmctl_error **err) {
    if (!spec || !out || (format != VMCTL_FORMAT_YAML && format != VMCTL_FORMAT_JSON))
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT,
                         "vmctl_spec_text needs a spec, a known format and a place for the text");
    if (spec->native && format == VMCTL_FORMAT_JSON)
        return vmc_error(err, VMCTL_E_UNSUPPORTED, "a native document of %s has no JSON form", spec->native_backend);
    if (spec->native) {
        *out = vmc_strdup(spec->native);
        return 0;
    }
    struct writer w = {.json = format == VMCTL_FORMAT_JSON, .defaults = with_defaults};
    if (w.json) {
        add_json(&w, spec->root, 0);
        vmc_str_add_char(&w.out, '\n');
    } else if (written_count(&w, spec->root)) {
        add_yaml_map(&w, spec->root, 0, false);
    } else {
        vmc_str_add(&w.out, "{}\n");
    }
    *out = vmc_str_take(&w.out);
    return 0;
}
