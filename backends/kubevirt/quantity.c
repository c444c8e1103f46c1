/* Kubernetes' quantities. */
#include "quantity.h"

#include "base/str.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *suffix;
    double factor;
} suffixes[] = {
    {"Ki", 1024.0},
    {"Mi", 1048576.0},
    {"Gi", 1073741824.0},
    {"Ti", 1099511627776.0},
    {"Pi", 1125899906842624.0},
    {"Ei", 1152921504606846976.0},
    {"n", 1e-9},
    {"u", 1e-6},
    {"m", 1e-3},
    {"", 1},
    {"k", 1e3},
    {"M", 1e6},
    {"G", 1e9},
    {"T", 1e12},
    {"P", 1e15},
    {"E", 1e18},
};

bool kubevirt_quantity_parse(const char *text, uint64_t *out) {
    if (!text || (!isdigit((unsigned char)*text) && *text != '.' && *text != '+'))
        return false;
    /* strtod takes "0x10", "inf" and an exponent; of these only the last is one here, and "1E" is exa. */
    size_t length = strspn(text + (*text == '+'), "0123456789.") + (*text == '+');
    const char *rest = text + length;
    VMC_AUTO_FREE char *digits = vmc_strndup(text, length);
    char *end = digits;
    double number = strtod(digits, &end);
    if (end == digits || *end)
        return false;
    if ((*rest == 'e' || *rest == 'E') && rest[1]) {
        char *after = NULL;
        long exponent = strtol(rest + 1, &after, 10);
        if (*after || labs(exponent) > 18)
            return false;
        for (; exponent > 0; exponent--)
            number *= 10;
        for (; exponent < 0; exponent++)
            number /= 10;
        rest = "";
    }
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        if (strcmp(rest, suffixes[i].suffix) != 0)
            continue;
        number *= suffixes[i].factor;
        if (number >= 9223372036854775808.0)
            return false;
        *out = (uint64_t)number;
        *out += (double)*out < number;
        return true;
    }
    return false;
}

uint64_t kubevirt_quantity_of(const cJSON *value) {
    uint64_t out = 0;
    if (cJSON_IsNumber(value) && value->valuedouble > 0)
        return (uint64_t)value->valuedouble;
    if (cJSON_IsString(value))
        kubevirt_quantity_parse(value->valuestring, &out);
    return out;
}

char *kubevirt_quantity_format(uint64_t bytes) {
    static const char *const units[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
    size_t unit = 0;
    while (bytes && bytes % 1024 == 0 && unit + 1 < sizeof units / sizeof units[0]) {
        bytes /= 1024;
        unit++;
    }
    return vmc_printf("%llu%s", (unsigned long long)bytes, units[unit]);
}
