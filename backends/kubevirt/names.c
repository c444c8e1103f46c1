/* What names and labels Kubernetes takes. Source: "Object Names and IDs", "Labels and Selectors". */
#include "manifest.h"

#include <ctype.h>
#include <string.h>

enum { LABEL_LIMIT = 63, PREFIX_LIMIT = 253 };

static bool is_low(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_label_of(const char *text, size_t length) {
    if (!length || length > LABEL_LIMIT || !is_low(text[0]) || !is_low(text[length - 1]))
        return false;
    for (size_t i = 0; i < length; i++)
        if (!is_low(text[i]) && text[i] != '-')
            return false;
    return true;
}

bool kubevirt_is_label_name(const char *text) {
    return text && is_label_of(text, strlen(text));
}

static bool is_subdomain(const char *text, size_t limit) {
    if (!*text || strlen(text) > limit)
        return false;
    while (true) {
        size_t length = strcspn(text, ".");
        if (!is_label_of(text, length))
            return false;
        if (!text[length])
            return true;
        text += length + 1;
    }
}

bool kubevirt_is_vm_name(const char *text) {
    return text && is_subdomain(text, LABEL_LIMIT);
}

static bool is_word(const char *text, size_t length) {
    if (length > LABEL_LIMIT || !isalnum((unsigned char)text[0]) || !isalnum((unsigned char)text[length - 1]))
        return false;
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)text[i]) && !strchr("-_.", text[i]))
            return false;
    return true;
}

bool kubevirt_is_label_value(const char *value) {
    return value && (!*value || is_word(value, strlen(value)));
}

bool kubevirt_is_label_key(const char *key) {
    if (!key)
        return false;
    const char *slash = strchr(key, '/');
    if (slash) {
        VMC_AUTO_FREE char *prefix = vmc_strndup(key, (size_t)(slash - key));
        if (!is_subdomain(prefix, PREFIX_LIMIT))
            return false;
        key = slash + 1;
    }
    return *key && is_word(key, strlen(key));
}

char *kubevirt_label_value(const char *text) {
    size_t length = strlen(text);
    char *value = vmc_strndup(text, length > LABEL_LIMIT ? LABEL_LIMIT : length);
    for (char *c = value; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("-_.", *c))
            *c = '_';
    /* It begins and ends with a letter or digit. */
    char *end = value + strlen(value);
    while (end > value && !isalnum((unsigned char)end[-1]))
        *--end = '\0';
    size_t skip = 0;
    while (value[skip] && !isalnum((unsigned char)value[skip]))
        skip++;
    memmove(value, value + skip, strlen(value + skip) + 1);
    return value;
}

bool kubevirt_is_own_label(const char *key) {
    static const char *const domains[] = {"kubevirt.io", "kubernetes.io", "k8s.io", "vmctl.dev"};
    const char *slash = strchr(key, '/');
    if (!slash)
        return strcmp(key, "kubevirt.io") != 0;
    VMC_AUTO_FREE char *prefix = vmc_strndup(key, (size_t)(slash - key));
    for (size_t i = 0; i < sizeof domains / sizeof domains[0]; i++) {
        VMC_AUTO_FREE char *below = vmc_printf(".%s", domains[i]);
        if (strcmp(prefix, domains[i]) == 0 || vmc_ends_with(prefix, below))
            return false;
    }
    return true;
}
