/* The few helpers that every verb needs. */
#include "util.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void cli_free_ptr(void *pointer_to_pointer) {
    void **p = pointer_to_pointer;
    free(*p);
    *p = NULL;
}

void cli_error_ptr(vmctl_error **err) {
    vmctl_error_free(*err);
    *err = NULL;
}

static void *needed(void *p) {
    if (!p) {
        fputs("vmctl: out of memory\n", stderr);
        exit(11);
    }
    return p;
}

void *cli_alloc(size_t size) {
    return needed(calloc(1, size ? size : 1));
}

void *cli_grow(void *p, size_t count, size_t size) {
    return needed(reallocarray(p, count, size));
}

char *cli_strdup(const char *s) {
    return s ? needed(strdup(s)) : NULL;
}

char *cli_strndup(const char *s, size_t n) {
    return needed(strndup(s, n));
}

char *cli_printf(const char *format, ...) {
    va_list args;
    char *text = NULL;

    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    return needed(n < 0 ? NULL : text);
}

int64_t cli_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void cli_strings_take(cli_strings *list, char *text) {
    list->items = cli_grow(list->items, list->count + 2, sizeof *list->items);
    list->items[list->count++] = text;
    list->items[list->count] = NULL;
}

void cli_strings_add(cli_strings *list, const char *text) {
    cli_strings_take(list, cli_strdup(text));
}

void cli_strings_free(cli_strings *list) {
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (cli_strings){0};
}

int cli_words(const char *list, int (*each)(const char *word, size_t length, void *user), void *user) {
    for (const char *at = list; at && *at;) {
        size_t length = strcspn(at, " ");
        int rc = length ? each(at, length, user) : 0;
        if (rc)
            return rc;
        at += length + strspn(at + length, " ");
    }
    return 0;
}

static int same_word(const char *word, size_t length, void *user) {
    const char *wanted = user;
    return strlen(wanted) == length && !memcmp(word, wanted, length);
}

bool cli_has_word(const char *list, const char *word) {
    return cli_words(list, same_word, (void *)word) != 0;
}

/* The length of the UTF-8 character at s (RFC 3629), 0 when there is none. */
static size_t utf8_length(const unsigned char *s) {
    size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 : 0;

    if (s[0] >= 0xf0 && s[0] < 0xf5)
        n = 4;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}

static char *cleaned(const char *text, bool controls) {
    const unsigned char *s = (const unsigned char *)text;
    char *out = cli_alloc(strlen(text) * 3 + 1), *at = out;

    while (*s) {
        size_t n = utf8_length(s);
        bool control =
            controls && n &&
            ((*s < 0x20 && *s != '\n' && *s != '\t') || *s == 0x7f || (n == 2 && s[0] == 0xc2 && s[1] < 0xa0));
        if (n && !control) {
            memcpy(at, s, n);
            at += n;
        } else if (control) {
            *at++ = '?';
        } else {
            at = stpcpy(at, "\xef\xbf\xbd");
        }
        s += n ? n : 1;
    }
    return out;
}

char *cli_printable(const char *text) {
    return cleaned(text, true);
}
char *cli_utf8(const char *text) {
    return cleaned(text, false);
}

char *cli_human_bytes(double bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    size_t unit = 0;

    while (bytes >= 1024 && unit + 1 < sizeof units / sizeof *units) {
        bytes /= 1024;
        unit++;
    }
    if (bytes < 1024 && bytes == (double)(int64_t)bytes)
        return cli_printf("%d %s", (int)bytes, units[unit]); /* most are: printf takes long for a double */
    return cli_printf(bytes >= 100 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}

char *cli_time_text(int64_t seconds) {
    char text[40];
    time_t t = (time_t)seconds;
    struct tm tm;

    if (!gmtime_r(&t, &tm) || !strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm))
        return cli_strdup("");
    return cli_strdup(text);
}
