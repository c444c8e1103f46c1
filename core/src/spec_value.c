/* One value: from text to a node by the type of its key, and back. */
#include "spec_value.h"
#include "base/file.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char *vmc_value_expected(const vmc_key *key) {
    switch (key->type) {
    case VMC_TYPE_MAP:
        return "a map of keys and values";
    case VMC_TYPE_ITEMS:
        return "a list of maps, each beginning with \"- \"";
    case VMC_TYPE_STRINGS:
        return "a list of strings";
    case VMC_TYPE_INTEGER:
        return "a whole number";
    case VMC_TYPE_SIZE:
        return "a size such as 512MiB or 20GiB";
    case VMC_TYPE_DURATION:
        return "a duration such as 90s, 5m or 2h";
    case VMC_TYPE_BOOLEAN:
        return "true or false";
    case VMC_TYPE_MAC:
        return "a MAC address such as 52:54:00:12:34:56";
    case VMC_TYPE_PORTS:
        return "a list of ports such as \"2222:22\"";
    case VMC_TYPE_KEYS:
        return "a list of public keys or of their files";
    case VMC_TYPE_STRING_MAP:
        return "a map of strings";
    case VMC_TYPE_PATH:
    case VMC_TYPE_SOURCE:
        return "a file";
    default:
        return "a string";
    }
}

static vmctl_node *fault(char **why, char *message) {
    if (why)
        *why = message;
    else
        free(message);
    return NULL;
}

static bool is_number(const char *text) {
    size_t digits = strspn(text, "0123456789");
    return digits && text[digits] == '\0';
}

/* --- numbers ---------------------------------------------------------------------------------------------- */

/* Within the key's limits, told in the unit it is written in. */
static vmctl_node *number_in_range(const vmc_key *key, long long value, char **why) {
    if (value >= key->minimum && (!key->maximum || value <= key->maximum)) {
        vmctl_node *node = vmc_node_new(VMCTL_KIND_INTEGER, key);
        node->value.integer = value;
        return node;
    }
    bool too_small = value < key->minimum;
    long long limit = too_small ? key->minimum : key->maximum;
    VMC_AUTO_FREE char *text = key->type == VMC_TYPE_SIZE       ? vmc_format_size(limit)
                               : key->type == VMC_TYPE_DURATION ? vmc_format_duration(limit)
                                                                : vmc_printf("%lld", limit);
    return fault(why, vmc_printf("too %s: %s is the %s", too_small ? "small" : "large", text,
                                 too_small ? "smallest" : "largest"));
}

static vmctl_node *parse_integer(const vmc_key *key, const char *text, char **why) {
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end || isspace((unsigned char)*text) || *text == '+')
        return fault(why, vmc_printf("\"%.60s\" is not a whole number", text));
    if (errno == ERANGE)
        return fault(why, vmc_printf("%.60s is out of range", text));
    return number_in_range(key, value, why);
}

static vmctl_node *parse_measure(const vmc_key *key, const char *text, char **why) {
    bool is_size = key->type == VMC_TYPE_SIZE;
    if (is_number(text)) {
        bool many =
            vmc_starts_with(key->path, "memory") && strlen(text) > 2; /* "2048" of memory is no GiB, "4" no MiB */
        const char *unit = !is_size ? "s" : many ? "MiB" : "GiB";
        return fault(why, vmc_printf("%.30s has no unit: write %.30s%s if that is meant", text, text, unit));
    }
    const char *reason = NULL;
    long long value = 0;
    int rc = is_size ? vmc_parse_size(text, false, &value, &reason) : vmc_parse_duration(text, &value, &reason);
    if (rc < 0)
        return fault(why, vmc_printf("\"%.60s\" is not %s%s%s", text, vmc_value_expected(key), reason ? ": " : "",
                                     reason ? reason : ""));
    return number_in_range(key, value, why);
}

static vmctl_node *parse_boolean(const vmc_key *key, const char *text, char **why) {
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcasecmp(text, words[i]) == 0) {
            vmctl_node *node = vmc_node_new(VMCTL_KIND_BOOLEAN, key);
            node->value.boolean = i % 2;
            return node;
        }
    }
    return fault(why, vmc_printf("\"%.60s\" is not true or false", text));
}

/* --- words ------------------------------------------------------------------------------------------------ */

static vmctl_node *parse_enum(const vmc_key *key, const char *text, char **why) {
    VMC_AUTO_STRV words = {0};
    for (const char *p = key->values; *p; p += strspn(p, " ")) {
        size_t length = strcspn(p, " ");
        vmc_strv_take(&words, vmc_strndup(p, length));
        p += length;
    }
    if (vmc_strv_has(&words, text))
        return vmc_node_new_string(key, text);
    VMC_AUTO_FREE char *all = vmc_strv_join(&words, ", ");
    const char *near = vmc_nearest(text, (const char *const *)words.items);
    if (near)
        return fault(why, vmc_printf("\"%.60s\" is not one of %s; did you mean \"%s\"?", text, all, near));
    return fault(why, vmc_printf("\"%.60s\" is not one of %s", text, all));
}

static vmctl_node *parse_name(const vmc_key *key, const char *text, char **why) {
    size_t length = strlen(text);
    if (!length)
        return fault(why, vmc_strdup("a name cannot be empty"));
    if (length > 255)
        return fault(why, vmc_strdup("a name has at most 255 bytes"));
    if (strchr(text, '/'))
        return fault(why, vmc_printf("the name \"%s\" has a \"/\" in it", text));
    if (*text == '-')
        return fault(why, vmc_printf("the name \"%s\" begins with \"-\" and would be taken for an option", text));
    if (strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
        return fault(why, vmc_printf("\"%s\" cannot be a name", text));
    if (isspace((unsigned char)text[0]) || isspace((unsigned char)text[length - 1]))
        return fault(why, vmc_printf("the name \"%s\" has white space at its ends", text));
    return vmc_node_new_string(key, text);
}

/* Six pairs of digits with the same ':' or '-' between them. */
static bool read_mac(const char *text, unsigned byte[6]) {
    if (strlen(text) != 17 || (text[2] != ':' && text[2] != '-'))
        return false;
    for (size_t i = 0; i < 6; i++, text += 3) {
        if (!isxdigit((unsigned char)text[0]) || !isxdigit((unsigned char)text[1]) ||
            (i < 5 && text[2] != (i ? text[-1] : text[2])))
            return false;
        byte[i] = (unsigned)strtoul((const char[]){text[0], text[1], '\0'}, NULL, 16);
    }
    return true;
}

static vmctl_node *parse_mac(const vmc_key *key, const char *text, char **why) {
    unsigned byte[6];
    if (!read_mac(text, byte))
        return fault(why, vmc_printf("\"%.60s\" is not %s", text, vmc_value_expected(key)));
    if (byte[0] & 1)
        return fault(why, vmc_printf("%s is a multicast address: the second digit must be even", text));
    if (!(byte[0] | byte[1] | byte[2] | byte[3] | byte[4] | byte[5]))
        return fault(why, vmc_printf("%s is no address", text));
    vmctl_node *node = vmc_node_new(VMCTL_KIND_STRING, key);
    node->value.string =
        vmc_printf("%02x:%02x:%02x:%02x:%02x:%02x", byte[0], byte[1], byte[2], byte[3], byte[4], byte[5]);
    return node;
}

/* --- files ------------------------------------------------------------------------------------------------ */

static vmctl_node *file_node(const vmc_key *key, const char *base, const char *text) {
    vmctl_node *node = vmc_node_new(VMCTL_KIND_STRING, key);
    node->value.string = vmc_path_absolute(base, text);
    return node;
}

/* "https://...", "library:item": a scheme of two letters or more before the first '/'. */
static bool has_scheme(const char *text) {
    size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-");
    return length >= 2 && isalpha((unsigned char)*text) && text[length] == ':';
}

static vmctl_node *parse_file(const vmc_key *key, const char *text, const char *base, char **why) {
    if (!*text) {
        if (strcmp(key->path, "disks[].cdrom") == 0)
            return vmc_node_new_string(key, ""); /* a drive without a medium */
        return fault(why, vmc_strdup("a file's name cannot be empty"));
    }
    if (key->type == VMC_TYPE_SOURCE && has_scheme(text))
        return vmc_node_new_string(key, text);
    return file_node(key, base, text);
}

/* POOL/VOLUME as it is; what can only be a path of this machine made absolute. */
static vmctl_node *parse_volume(const vmc_key *key, const char *text, const char *base, char **why) {
    if (!*text)
        return fault(why, vmc_strdup("a volume's name cannot be empty: write POOL/VOLUME or a path"));
    if (*text == '/' || vmc_starts_with(text, "./") || vmc_starts_with(text, "../") || vmc_starts_with(text, "~/"))
        return file_node(key, base, text);
    return vmc_node_new_string(key, text);
}

static vmctl_node *parse_public_key(const vmc_key *key, const char *text, const char *base, char **why) {
    if (!*text)
        return fault(why, vmc_strdup("a key cannot be empty"));
    if (strstr(text, "PRIVATE KEY"))
        return fault(why, vmc_strdup("this is a private key; the public one is meant"));
    if (strchr(text, ' '))
        return vmc_node_new_string(key, text);
    return file_node(key, base, text);
}

/* --- ports ------------------------------------------------------------------------------------------------ */

static bool read_port(const char **text, unsigned *port) {
    size_t digits = strspn(*text, "0123456789");
    if (!digits || digits > 5)
        return false;
    *port = (unsigned)strtoul(*text, NULL, 10);
    *text += digits;
    return *port >= 1 && *port <= 65535;
}

bool vmc_port_parse(const char *text, vmc_port *out) {
    *out = (vmc_port){0};
    if (vmc_starts_with(text, "udp:")) {
        out->udp = true;
        text += 4;
    } else if (vmc_starts_with(text, "tcp:")) {
        text += 4;
    }
    if (*text == '[') {
        const char *end = strchr(text, ']');
        if (!end || end[1] != ':' || strspn(text + 1, "0123456789abcdefABCDEF:.") != (size_t)(end - text - 1))
            return false;
        out->address = text + 1;
        out->address_length = (size_t)(end - text - 1);
        text = end + 2;
    } else if (strchr(text, ':') && strchr(text, ':') != strrchr(text, ':')) {
        out->address = text;
        out->address_length = strcspn(text, ":");
        if (strspn(text, "0123456789.") != out->address_length)
            return false;
        text += out->address_length + 1;
    }
    if (out->address && !out->address_length)
        return false;
    return read_port(&text, &out->local) && *text++ == ':' && read_port(&text, &out->guest) && !*text;
}

static vmctl_node *parse_port(const vmc_key *key, const char *text, char **why) {
    vmc_port port;
    if (!vmc_port_parse(text, &port))
        return fault(why, vmc_printf("\"%.60s\" is not a port forward: write [tcp:|udp:][ADDRESS:]LOCAL:GUEST, such as "
                                     "\"2222:22\"",
                                     text));
    return vmc_node_new_string(key, text);
}

/* --- the table -------------------------------------------------------------------------------------------- */

static bool has_control_character(const char *text) {
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if ((c < 0x20 && c != '\n' && c != '\t' && c != '\r') || c == 0x7f)
            return true;
    }
    return false;
}

/* Only free text may have several lines. */
static bool may_have_lines(const vmc_key *key) {
    return key->type == VMC_TYPE_STRING_MAP || key->type == VMC_TYPE_KEYS || strcmp(key->path, "description") == 0 ||
           vmc_ends_with(key->path, ".inline") || strcmp(key->path, "libvirt.xmlPatch") == 0 ||
           strcmp(key->path, "libvirt.qemuArgs") == 0;
}

static char *check_characters(const vmc_key *key, const char *text) {
    if (has_control_character(text))
        return vmc_strdup("a control character is not possible here");
    if (strpbrk(text, "\r\n") && !may_have_lines(key))
        return vmc_strdup("a line break is not possible here");
    return NULL;
}

vmctl_node *vmc_value_parse_element(const vmc_key *list, const char *text, const char *base, char **why) {
    char *reason = check_characters(list, text);
    if (reason)
        return fault(why, reason);
    if (list->type == VMC_TYPE_PORTS)
        return parse_port(list, text, why);
    if (list->type == VMC_TYPE_KEYS)
        return parse_public_key(list, text, base, why);
    return vmc_node_new_string(list, text);
}

static vmctl_node *parse_list_of_one(const vmc_key *key, const char *text, const char *base, char **why) {
    vmctl_node *element = vmc_value_parse_element(key, text, base, why);
    if (!element)
        return NULL;
    vmctl_node *list = vmc_node_new(VMCTL_KIND_LIST, key);
    vmc_node_append(list, element);
    return list;
}

vmctl_node *vmc_value_parse(const vmc_key *key, const char *text, const char *base, char **why) {
    char *reason = check_characters(key, text);
    if (reason)
        return fault(why, reason);
    switch (key->type) {
    case VMC_TYPE_INTEGER:
        return parse_integer(key, text, why);
    case VMC_TYPE_SIZE:
    case VMC_TYPE_DURATION:
        return parse_measure(key, text, why);
    case VMC_TYPE_BOOLEAN:
        return parse_boolean(key, text, why);
    case VMC_TYPE_ENUM:
        return parse_enum(key, text, why);
    case VMC_TYPE_NAME:
        return parse_name(key, text, why);
    case VMC_TYPE_MAC:
        return parse_mac(key, text, why);
    case VMC_TYPE_PATH:
    case VMC_TYPE_SOURCE:
        return parse_file(key, text, base, why);
    case VMC_TYPE_STRING:
        if (strcmp(key->path, "disks[].volume") == 0)
            return parse_volume(key, text, base, why);
        return vmc_node_new_string(key, text);
    case VMC_TYPE_STRINGS:
    case VMC_TYPE_PORTS:
    case VMC_TYPE_KEYS:
        return parse_list_of_one(key, text, base, why);
    default:
        return fault(why, vmc_printf("%s is expected", vmc_value_expected(key)));
    }
}

/* How JSON writes a number (RFC 8259, 6); *fraction: it is no integer. What YAML's core schema takes besides ("007", "+1", "0x1f", ".5")
 * stays a string here, so that it is passed on as it was written. */
static bool is_json_number(const char *text, bool *fraction) {
    static const char digits[] = "0123456789";
    text += *text == '-';
    size_t whole = strspn(text, digits);
    if (!whole || (whole > 1 && *text == '0'))
        return false;
    text += whole;
    *fraction = *text != '\0';
    if (*text == '.') {
        size_t decimals = strspn(text + 1, digits);
        if (!decimals)
            return false;
        text += 1 + decimals;
    }
    if (*text == 'e' || *text == 'E') {
        text += 1 + (text[1] == '+' || text[1] == '-');
        size_t exponent = strspn(text, digits);
        if (!exponent)
            return false;
        text += exponent;
    }
    return !*text;
}

vmctl_node *vmc_value_plain(const char *text) {
    if (!*text || strcmp(text, "~") == 0 || strcmp(text, "null") == 0 || strcmp(text, "Null") == 0 ||
        strcmp(text, "NULL") == 0)
        return vmc_node_new(VMCTL_KIND_NULL, NULL);
    bool is_true = strcmp(text, "true") == 0 || strcmp(text, "True") == 0 || strcmp(text, "TRUE") == 0;
    if (is_true || strcmp(text, "false") == 0 || strcmp(text, "False") == 0 || strcmp(text, "FALSE") == 0) {
        vmctl_node *node = vmc_node_new(VMCTL_KIND_BOOLEAN, NULL);
        node->value.boolean = is_true;
        return node;
    }
    vmctl_node *node = vmc_node_new_string(NULL, text);
    bool fraction = false;
    if (!is_json_number(text, &fraction))
        return node;
    node->kind = VMCTL_KIND_NUMBER;
    errno = 0;
    long long value = fraction ? 0 : strtoll(text, NULL, 10);
    if (fraction || errno || strcmp(text, "-0") == 0)
        return node;
    free(node->value.string);
    node->kind = VMCTL_KIND_INTEGER;
    node->value.integer = value;
    return node;
}

char *vmc_value_text(const vmctl_node *node) {
    switch (node->kind) {
    case VMCTL_KIND_BOOLEAN:
        return vmc_strdup(node->value.boolean ? "true" : "false");
    case VMCTL_KIND_INTEGER:
        if (node->schema && node->schema->type == VMC_TYPE_SIZE)
            return vmc_format_size(node->value.integer);
        if (node->schema && node->schema->type == VMC_TYPE_DURATION)
            return vmc_format_duration(node->value.integer);
        return vmc_printf("%lld", (long long)node->value.integer);
    case VMCTL_KIND_STRING:
    case VMCTL_KIND_NUMBER:
        return vmc_strdup(node->value.string);
    case VMCTL_KIND_NULL:
        return vmc_strdup("null");
    default:
        return NULL;
    }
}
