/* Secrets in URLs. */
#include "base/redact.h"
#include "base/str.h"
#include <ctype.h>
#include <string.h>

static bool is_secret_name(const char *name, size_t length) {
    static const char *const parts[] = {"token",     "key",        "secret", "passw",   "pwd",
                                        "signature", "credential", "auth",   "session", "code"};
    char lower[64];
    size_t n = length < sizeof lower - 1 ? length : sizeof lower - 1;
    for (size_t i = 0; i < n; i++)
        lower[i] = (char)tolower((unsigned char)name[i]);
    lower[n] = '\0';
    if (strcmp(lower, "sig") == 0)
        return true;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (strstr(lower, parts[i]))
            return true;
    return false;
}

static void redact_query(const char *query, vmc_str *out) {
    while (*query && *query != '#') {
        size_t length = strcspn(query, "&#");
        const char *equals = memchr(query, '=', length);
        size_t name = equals ? (size_t)(equals - query) : length;
        if (equals && is_secret_name(query, name)) {
            vmc_str_add_n(out, query, name + 1);
            vmc_str_add(out, "***");
        } else {
            vmc_str_add_n(out, query, length);
        }
        query += length;
        if (*query == '&')
            vmc_str_add_char(out, *query++);
    }
}

/* By hand, for what is no proper URL must not show its secrets either. */
char *vmc_redact_url(const char *url) {
    VMC_AUTO_STR out = {0};
    const char *scheme_end = strstr(url, "://"), *rest = url;
    if (scheme_end) {
        vmc_str_add_n(&out, url, (size_t)(scheme_end + 3 - url));
        rest = scheme_end + 3;
    }
    size_t authority = strcspn(rest, "/?#");
    const char *at = memrchr(rest, '@', authority);
    if (at) {
        authority -= (size_t)(at + 1 - rest);
        rest = at + 1;
    }
    vmc_str_add_n(&out, rest, authority);
    rest += authority;
    size_t path = strcspn(rest, "?#");
    vmc_str_add_n(&out, rest, path);
    if (rest[path] == '?') {
        vmc_str_add_char(&out, '?');
        redact_query(rest + path + 1, &out);
    }
    return vmc_str_take(&out);
}
