/* The query of a connection's URI. */
#include "uri.h"

#include <stdlib.h>
#include <string.h>

static int hex(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

char *vmc_uri_decode(const char *text, size_t length) {
    vmc_str out = {0};
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '%' && i + 2 < length && hex(text[i + 1]) >= 0 && hex(text[i + 2]) >= 0) {
            vmc_str_add_char(&out, (char)(hex(text[i + 1]) * 16 + hex(text[i + 2])));
            i += 2;
        } else {
            vmc_str_add_char(&out, text[i]);
        }
    }
    return vmc_str_take(&out);
}

static char **place_of(const vmc_uri_field *fields, const char *key, size_t length) {
    for (; fields->key; fields++)
        if (strlen(fields->key) == length && strncmp(fields->key, key, length) == 0)
            return fields->value;
    return NULL;
}

int vmc_uri_read_query(const char *scheme, const char *query, const vmc_uri_field *fields, const char *known,
                       vmctl_error **err) {
    while (*query && *query != '#') {
        size_t length = strcspn(query, "&#");
        const char *equals = memchr(query, '=', length);
        size_t key = equals ? (size_t)(equals - query) : length;
        char **to = equals ? place_of(fields, query, key) : NULL;
        if (!to) {
            vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "a %s URI has no parameter \"%.*s\"", scheme, (int)key, query);
            return vmc_error_next(err, "%s", known);
        }
        free(*to);
        *to = vmc_uri_decode(equals + 1, length - key - 1);
        query += length + (query[length] == '&');
    }
    return 0;
}

void vmc_uri_add(vmc_str *uri, const char *key, const char *value) {
    if (!value)
        return;
    vmc_str_printf(uri, "%c%s=", uri->text && strchr(uri->text, '?') ? '&' : '?', key);
    for (; *value; value++) {
        if (strchr("%&#?+ ", *value) || (unsigned char)*value < 0x20)
            vmc_str_printf(uri, "%%%02X", (unsigned char)*value);
        else
            vmc_str_add_char(uri, *value);
    }
}
