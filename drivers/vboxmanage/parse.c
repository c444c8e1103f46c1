/* What VBoxManage prints, as data. */
#include "parse.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { UUID_LENGTH = 36, LONG_COLUMN = 29 };

void vboxmanage_properties_free(vboxmanage_properties *properties) {
    for (size_t i = 0; i < properties->count; i++) {
        free(properties->items[i].key);
        free(properties->items[i].value);
    }
    free(properties->items);
    *properties = (vboxmanage_properties){0};
}

const char *vboxmanage_property_get(const vboxmanage_properties *properties, const char *key) {
    for (size_t i = 0; i < properties->count; i++)
        if (strcmp(properties->items[i].key, key) == 0)
            return properties->items[i].value;
    return NULL;
}

/* Owns both. */
static void add(vboxmanage_properties *to, char *key, char *value) {
    /* Grows by powers of two. */
    if ((to->count & (to->count + 1)) == 0)
        to->items = vmc_realloc(to->items, 2 * (to->count + 1), sizeof *to->items);
    to->items[to->count++] = (vboxmanage_property){key, value};
}

/* `at` is behind an opening quote: the text up to the closing one, unescaped; *end behind that. A quote ends it where `after` may
 * follow: older versions do not escape those inside. NULL: it never ends. */
static char *quoted(const char *at, const char *after, const char **end) {
    vmc_str value = {0};
    for (; *at; at++) {
        if (*at == '\\' && (at[1] == '"' || at[1] == '\\')) {
            at++;
        } else if (*at == '"' && (!at[1] || strchr(after, at[1]))) {
            *end = at + 1;
            return vmc_str_take(&value);
        }
        vmc_str_add_char(&value, *at);
    }
    vmc_str_free(&value);
    return NULL;
}

static const char *next_line(const char *at) {
    at += strcspn(at, "\n");
    return *at ? at + 1 : at;
}

static char *line_rest(const char *at) {
    size_t length = strcspn(at, "\n");
    while (length && isspace((unsigned char)at[length - 1]))
        length--;
    return vmc_strndup(at, length);
}

/* `at` is at the key; the place behind its `=`, NULL for a line without one. */
static const char *read_key(const char *at, char **key) {
    if (*at == '"') {
        const char *end = NULL;
        *key = quoted(at + 1, "=", &end);
        if (*key && *end == '=' && !strchr(*key, '\n'))
            return end + 1;
        free(*key);
        *key = NULL;
        return NULL;
    }
    size_t length = strcspn(at, "=\n");
    if (at[length] != '=' || length == 0)
        return NULL;
    *key = vmc_strndup(at, length);
    return at + length + 1;
}

void vboxmanage_parse_properties(const char *text, vboxmanage_properties *out) {
    for (const char *at = text; *at;) {
        char *key = NULL;
        const char *from = read_key(at, &key);
        if (!from) {
            at = next_line(at);
            continue;
        }
        const char *end = from;
        char *value = *from == '"' ? quoted(from + 1, "\n\r@", &end) : NULL;
        if (!value)
            value = line_rest(*from == '=' ? from + 1 : from);
        add(out, key, value);
        at = next_line(end);
    }
}

void vboxmanage_parse_records(const char *text, vboxmanage_properties *out) {
    for (const char *at = text; *at; at = next_line(at)) {
        size_t line = strcspn(at, "\n");
        size_t length = strcspn(at, ":\n");
        if (line == 0 || (line == 1 && *at == '\r')) {
            if (out->count && *out->items[out->count - 1].key)
                add(out, vmc_strdup(""), vmc_strdup(""));
            continue;
        }
        if (at[length] != ':' || length == 0)
            continue;
        const char *value = at + length + 1;
        while (*value == ' ' || *value == '\t')
            value++;
        add(out, vmc_strndup(at, length), line_rest(value));
    }
}

bool vboxmanage_is_uuid(const char *text, bool prefix) {
    for (size_t i = 0; i < UUID_LENGTH; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? text[i] != '-' : !isxdigit((unsigned char)text[i]))
            return false;
    }
    return prefix || !text[UUID_LENGTH];
}

void vboxmanage_parse_names(const char *text, vboxmanage_vm_names *out) {
    for (const char *at = text; *at;) {
        if (*at != '"') {
            at = next_line(at);
            continue;
        }
        /* The name ends where a quote, a UUID in braces and the line's end follow: it may hold quotes and newlines itself. */
        const char *end = at + 1;
        while ((end = strstr(end, "\" {"))) {
            const char *behind = end + 3;
            if (vboxmanage_is_uuid(behind, true) && behind[UUID_LENGTH] == '}' &&
                (!behind[UUID_LENGTH + 1] || strchr("\r\n", behind[UUID_LENGTH + 1])))
                break;
            end++;
        }
        if (!end)
            return;
        out->items = vmc_realloc(out->items, out->count + 1, sizeof *out->items);
        vboxmanage_vm_name *item = &out->items[out->count++];
        item->name = vmc_strndup(at + 1, (size_t)(end - at - 1));
        memcpy(item->id, end + 3, UUID_LENGTH);
        item->id[UUID_LENGTH] = 0;
        at = next_line(end + 3 + UUID_LENGTH);
    }
}

void vboxmanage_vm_names_free(vboxmanage_vm_names *names) {
    for (size_t i = 0; i < names->count; i++)
        free(names->items[i].name);
    free(names->items);
    *names = (vboxmanage_vm_names){0};
}

/* A line of the fixed first column: "State:                       running (since ...)". NULL: another line. */
static const char *long_value(const char *line, const char *label) {
    size_t length = strlen(label);
    if (strncmp(line, label, length) != 0)
        return NULL;
    for (size_t i = length; i < LONG_COLUMN; i++)
        if (line[i] != ' ')
            return NULL;
    return line + LONG_COLUMN;
}

/* "live snapshotting (since ...)" -> "livesnapshotting", as --machinereadable spells it (machineStateToName). */
static char *state_name(const char *text) {
    vmc_str name = {0};
    size_t length = strcspn(text, "\n");
    const char *since = strstr(text, " (since ");
    if (since && (size_t)(since - text) < length)
        length = (size_t)(since - text);
    if (length >= strlen("teleporting (incoming)") && vmc_starts_with(text, "teleporting (incoming)"))
        return vmc_strdup("teleportingin");
    for (size_t i = 0; i < length; i++)
        if (text[i] != ' ' || vmc_starts_with(text, "powered off"))
            vmc_str_add_char(&name, text[i]);
    if (vmc_str_eq(name.text, "powered off")) {
        vmc_str_free(&name);
        return vmc_strdup("poweroff");
    }
    return vmc_str_take(&name);
}

/* The first line of that label of each VM. */
static void parse_long(const char *text, const char *label, char *(*read)(const char *), vboxmanage_properties *out) {
    char id[UUID_LENGTH + 1] = "";
    bool described = false; /* what a person wrote follows, up to the next VM */
    bool blank = true;
    for (const char *at = text; *at; at = next_line(at)) {
        if (*at == '\n') {
            blank = true;
            continue;
        }
        const char *value = NULL;
        if (blank && long_value(at, "Name:")) {
            *id = 0;
            described = false;
        } else if (!described && !*id && (value = long_value(at, "UUID:")) && vboxmanage_is_uuid(value, true)) {
            memcpy(id, value, UUID_LENGTH);
        } else if (!described && *id && (value = long_value(at, label))) {
            add(out, vmc_strdup(id), read(value));
            described = true;
        }
        blank = false;
    }
}

void vboxmanage_parse_states(const char *text, vboxmanage_properties *out) {
    parse_long(text, "State:", state_name, out);
}

void vboxmanage_parse_settings_files(const char *text, vboxmanage_properties *out) {
    parse_long(text, "Config file:", line_rest, out);
}

int vboxmanage_parse_version(const char *text, char **version, unsigned *major, unsigned *minor) {
    for (const char *at = text; *at; at = next_line(at)) {
        char *end = NULL;
        unsigned long first = strtoul(at, &end, 10);
        if (end == at || *end != '.' || !isdigit((unsigned char)end[1]))
            continue;
        unsigned long second = strtoul(end + 1, &end, 10);
        if (*end != '.' || !isdigit((unsigned char)end[1]) || first > 1000 || second > 1000)
            continue;
        strtoul(end + 1, &end, 10);
        *version = vmc_strndup(at, (size_t)(end - at));
        *major = (unsigned)first;
        *minor = (unsigned)second;
        return 0;
    }
    return -1;
}

int vboxmanage_parse_progress(const char *text) {
    int percent = -1;
    for (const char *at = text; (at = strchr(at, '%')); at++) {
        const char *begin = at;
        while (begin > text && at - begin < 3 && isdigit((unsigned char)begin[-1]))
            begin--;
        bool alone = begin == text || begin[-1] == '.' || begin[-1] == '\n';
        int number = begin < at && alone ? atoi(begin) : -1;
        if (number >= 0 && number <= 100)
            percent = number;
    }
    return percent;
}

bool vboxmanage_parse_is_answer(const char *output) {
    return vmc_starts_with(output, "This machine does not have any snapshots") ||
           (vmc_starts_with(output, "Oracle ") && strstr(output, " Command Line Management Interface Version ") &&
            strstr(output, "\nUsage\n"));
}

char *vboxmanage_parse_labelled(const char *text, const char *label) {
    size_t length = strlen(label);
    for (const char *at = text; *at; at = next_line(at)) {
        if (strncmp(at, label, length) != 0)
            continue;
        const char *value = at + length;
        while (*value == ' ')
            value++;
        char *rest = line_rest(value);
        size_t end = strlen(rest);
        if (end >= 2 && *rest == '\'' && rest[end - 1] == '\'') {
            char *inner = vmc_strndup(rest + 1, end - 2);
            free(rest);
            return inner;
        }
        return rest;
    }
    return NULL;
}

void vboxmanage_quote(vmc_str *to, const char *argument) {
    bool plain = *argument != 0;
    for (const char *c = argument; plain && *c; c++)
        plain = isalnum((unsigned char)*c) || strchr("-_./:,=@+%", *c);
    if (plain) {
        vmc_str_add(to, argument);
        return;
    }
    vmc_str_add_char(to, '\'');
    for (const char *c = argument; *c; c++) {
        if (*c == '\'')
            vmc_str_add(to, "'\\''");
        else
            vmc_str_add_char(to, *c);
    }
    vmc_str_add_char(to, '\'');
}
