/* cli/util.h - the few helpers that every verb needs. Memory that cannot be had ends the process with a message. */
#ifndef VMCTL_CLI_UTIL_H
#define VMCTL_CLI_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vmctl/error.h>

#define CLI_AUTO(fn)   __attribute__((cleanup(fn)))
#define CLI_AUTO_FREE  CLI_AUTO(cli_free_ptr)
#define CLI_AUTO_ERROR CLI_AUTO(cli_error_ptr) vmctl_error

void cli_free_ptr(void *pointer_to_pointer); /* free(*p) */
void cli_error_ptr(vmctl_error **err);       /* vmctl_error_free(*err) */

void *cli_alloc(size_t size); /* zeroed */
void *cli_grow(void *p, size_t count, size_t size);
char *cli_strdup(const char *s); /* NULL gives NULL */
char *cli_strndup(const char *s, size_t n);
char *cli_printf(const char *format, ...) VMCTL_PRINTF(1, 2);

/* CLOCK_MONOTONIC milliseconds. */
int64_t cli_now_ms(void);

/* A NULL-terminated list of owned strings; {0} is an empty one. */
typedef struct cli_strings {
    char **items;
    size_t count;
} cli_strings;
void cli_strings_add(cli_strings *list, const char *text);
void cli_strings_take(cli_strings *list, char *text); /* owns it from now on */
void cli_strings_free(cli_strings *list);
#define CLI_AUTO_STRINGS CLI_AUTO(cli_strings_free) cli_strings

/* Calls `each` with every word of a list that is separated by spaces, until it returns non-zero; returns that. */
int cli_words(const char *list, int (*each)(const char *word, size_t length, void *user), void *user);
bool cli_has_word(const char *list, const char *word);

/* A copy with control characters (terminal escapes among them) and bytes that are not UTF-8 replaced; newlines and tabs stay. */
char *cli_printable(const char *text);
/* A copy in which bytes that are not UTF-8 became U+FFFD: JSON and YAML have no other texts. */
char *cli_utf8(const char *text);

/* "1.5 GiB"; an exact multiple has no fraction. */
char *cli_human_bytes(double bytes);
/* RFC 3339 UTC, "2026-01-31T12:00:00Z". */
char *cli_time_text(int64_t seconds);

#endif
