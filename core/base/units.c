/* Sizes and durations as text. */
#include "base/str.h"
#include <ctype.h>
#include <limits.h>
#include <string.h>

typedef struct unit {
    const char *name;
    long long factor;
} unit;

static const unit binary_units[] = {
    {"EiB", 1LL << 60}, {"PiB", 1LL << 50}, {"TiB", 1LL << 40}, {"GiB", 1LL << 30},
    {"MiB", 1LL << 20}, {"KiB", 1LL << 10}, {"B", 1},           {NULL, 0},
};
static const unit decimal_units[] = {
    {"EB", 1000000000000000000LL},
    {"PB", 1000000000000000LL},
    {"TB", 1000000000000LL},
    {"GB", 1000000000LL},
    {"MB", 1000000LL},
    {"KB", 1000LL},
    {"B", 1},
    {NULL, 0},
};
static const unit time_units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}, {NULL, 0},
};

static const unit *find_unit(const unit *units, const char *name, size_t length) {
    for (; units->name; units++)
        if (strlen(units->name) == length && strncmp(units->name, name, length) == 0)
            return units;
    return NULL;
}

enum { DIGITS = 19 }; /* of the largest number of 63 bits; times 2^60 still within 127 */

/* Digits with an optional fraction times the factor, exactly. */
static int scaled(const char *digits, size_t length, long long factor, long long *out, const char **why) {
    __int128 number = 0, denominator = 1;
    bool fraction = false;
    size_t significant = 0;
    for (size_t i = 0; i < length; i++) {
        if (digits[i] == '.') {
            fraction = true;
            continue;
        }
        number = number * 10 + (digits[i] - '0');
        if (fraction)
            denominator *= 10;
        if (number > 0 && ++significant > DIGITS) {
            *why = "the number has too many digits";
            return -1;
        }
    }
    number *= factor;
    if (number % denominator != 0) {
        *why = "this is not a whole number of the smallest unit";
        return -1;
    }
    number /= denominator;
    if (number > LLONG_MAX) {
        *why = "the number is too large";
        return -1;
    }
    *out = (long long)number;
    return 0;
}

/* "12", "1.5": its length, 0 when there is none. */
static size_t number_length(const char *text) {
    size_t length = strspn(text, "0123456789");
    if (length && text[length] == '.' && isdigit((unsigned char)text[length + 1])) {
        size_t decimals = strspn(text + length + 1, "0123456789");
        length += 1 + decimals;
        if (decimals > DIGITS)
            return 0;
    }
    return length;
}

int vmc_parse_size(const char *text, bool allow_bare, long long *bytes, const char **why) {
    const char *ignored;
    if (!why)
        why = &ignored;
    if (*text == '-') {
        *why = "a size cannot be negative";
        return -1;
    }
    size_t digits = number_length(text);
    if (!digits) {
        *why = "write a number and a unit, like 20GiB";
        return -1;
    }
    const char *name = text + digits;
    name += strspn(name, " ");
    size_t length = strlen(name);
    if (length == 0) {
        if (!allow_bare && strspn(text, "0") != digits) {
            *why = "the unit is missing: write B, KiB, MiB, GiB or TiB after the number";
            return -1;
        }
        return scaled(text, digits, 1, bytes, why);
    }
    const unit *found = find_unit(binary_units, name, length);
    if (!found)
        found = find_unit(decimal_units, name, length);
    if (!found && strcmp(name, "kB") == 0)
        found = find_unit(decimal_units, "KB", 2);
    if (!found) {
        *why = "the unit must be one of B, KiB, MiB, GiB, TiB, PiB, EiB or KB, MB, GB, TB, PB, EB";
        return -1;
    }
    return scaled(text, digits, found->factor, bytes, why);
}

int vmc_parse_duration(const char *text, long long *ms, const char **why) {
    const char *ignored;
    if (!why)
        why = &ignored;
    if (strcmp(text, "0") == 0) {
        *ms = 0;
        return 0;
    }
    if (*text == '-') {
        *why = "a duration cannot be negative";
        return -1;
    }
    long long total = 0, last_factor = LLONG_MAX;
    const char *p = text;
    do {
        size_t digits = number_length(p);
        if (!digits) {
            *why = "write a number and a unit, like 90s, 5m or 2h";
            return -1;
        }
        const char *name = p + digits;
        size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz");
        if (length == 0) {
            *why = "the unit is missing: write ms, s, m, h or d after the number";
            return -1;
        }
        const unit *found = find_unit(time_units, name, length);
        if (!found || found->factor >= last_factor) {
            *why = found ? "write the larger unit first and each once, like 1h30m"
                         : "the unit must be one of ms, s, m, h, d";
            return -1;
        }
        long long part;
        if (scaled(p, digits, found->factor, &part, why) < 0)
            return -1;
        if (__builtin_add_overflow(total, part, &total)) {
            *why = "the number is too large";
            return -1;
        }
        last_factor = found->factor;
        p = name + length;
    } while (*p);
    *ms = total;
    return 0;
}

static const unit *largest_exact(const unit *units, long long value) {
    while (units[1].name && (value < units->factor || value % units->factor != 0))
        units++;
    return units;
}

char *vmc_format_size(long long bytes) {
    if (bytes <= 0)
        return vmc_printf("%lldB", bytes);
    const unit *binary = largest_exact(binary_units, bytes), *decimal = largest_exact(decimal_units, bytes);
    char *text = vmc_printf("%lld%s", bytes / binary->factor, binary->name);
    char *shorter = vmc_printf("%lld%s", bytes / decimal->factor, decimal->name);
    if (strlen(shorter) < strlen(text)) {
        char *longer = text;
        text = shorter;
        shorter = longer;
    }
    vmc_free_ptr(&shorter);
    return text;
}

char *vmc_format_duration(long long ms) {
    if (ms == 0)
        return vmc_strdup("0s");
    const unit *units = ms < 0 ? time_units + 4 : largest_exact(time_units, ms);
    return vmc_printf("%lld%s", ms / units->factor, units->name);
}
