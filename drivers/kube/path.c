/* drivers/kube/path.c - paths and queries of the API. */
#include "drivers/kube/client.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* RFC 3986, unreserved characters stay; `slashes`: they too. */
static void add_escaped(vmc_str *s, const char *text, bool slashes) {
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (isalnum(c) || strchr("-._~", c) || (slashes && c == '/'))
            vmc_str_add_char(s, (char)c);
        else
            vmc_str_printf(s, "%%%02X", c);
    }
}

char *kube_path(const char *group, const char *version, const char *name_space, const char *plural, const char *name,
                const char *sub) {
    vmc_str s = {0};
    vmc_str_add(&s, group && *group ? "/apis/" : "/api/");
    if (group && *group) {
        add_escaped(&s, group, false);
        vmc_str_add_char(&s, '/');
    }
    add_escaped(&s, version, false);
    if (name_space) {
        vmc_str_add(&s, "/namespaces/");
        add_escaped(&s, name_space, false);
    }
    vmc_str_add_char(&s, '/');
    add_escaped(&s, plural, false);
    if (name) {
        vmc_str_add_char(&s, '/');
        add_escaped(&s, name, false);
    }
    if (sub) {
        vmc_str_add_char(&s, '/');
        add_escaped(&s, sub, true);
    }
    return vmc_str_take(&s);
}

char *kube_url(const kube_client *client, const char *path, const char *const *query) {
    vmc_str s = {0};
    vmc_str_add(&s, client->config->server);
    vmc_str_add(&s, path);
    for (size_t i = 0; query && query[i] && query[i + 1]; i += 2) {
        vmc_str_add_char(&s, i == 0 ? '?' : '&');
        add_escaped(&s, query[i], false);
        vmc_str_add_char(&s, '=');
        add_escaped(&s, query[i + 1], false);
    }
    return vmc_str_take(&s);
}

static size_t count_of(const char *const *list) {
    size_t n = 0;
    while (list && list[n])
        n++;
    return n;
}

const char **kube_query_join(const char *const *query, const char *const *more) {
    size_t n = count_of(query), m = count_of(more);
    const char **all = vmc_alloc((n + m + 1) * sizeof *all);
    for (size_t i = 0; i < n; i++)
        all[i] = query[i];
    for (size_t i = 0; i < m; i++)
        all[n + i] = more[i];
    return all;
}

/* As net/http's canonical form is not needed: header names have no case. Bytes that a header name cannot have are
 * percent-encoded, as the API server wants them. Source: "User impersonation", Impersonate-Extra. */
static void add_extra_name(vmc_str *s, const char *key) {
    for (; *key; key++) {
        unsigned char c = (unsigned char)*key;
        if (isalnum(c) || strchr("!#$&'*+-.^_`|~", c))
            vmc_str_add_char(s, (char)c);
        else
            vmc_str_printf(s, "%%%02X", c);
    }
}

void kube_add_impersonation(const kube_config *config, vmc_strv *headers) {
    if (config->as)
        vmc_strv_printf(headers, "Impersonate-User: %s", config->as);
    if (config->as_uid)
        vmc_strv_printf(headers, "Impersonate-Uid: %s", config->as_uid);
    for (size_t i = 0; i < config->as_groups.count; i++)
        vmc_strv_printf(headers, "Impersonate-Group: %s", config->as_groups.items[i]);
    for (size_t i = 0; i + 1 < config->as_extra.count; i += 2) {
        VMC_AUTO_STR line = {0};
        vmc_str_add(&line, "Impersonate-Extra-");
        add_extra_name(&line, config->as_extra.items[i]);
        vmc_str_printf(&line, ": %s", config->as_extra.items[i + 1]);
        vmc_strv_take(headers, vmc_str_take(&line));
    }
}
