/* base/str.h - the one string builder, the one list of strings, the one way to clean up.
 *
 * Memory: allocation failure ends the process with a message (the amounts here are small; the library promises no recovery
 * from an exhausted heap, as glib's programs do), so none of these return NULL.
 */
#ifndef VMC_BASE_STR_H
#define VMC_BASE_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <vmctl/export.h>

/* Frees, closes or ends a variable when it goes out of scope: vmc_cleanup(vmc_str_free) struct ..., or the shorthands below. */
#define vmc_cleanup(fn) __attribute__((cleanup(fn)))
VMCTL_API void vmc_free_ptr(void *pointer_to_pointer); /* free(*p) */
VMCTL_API void vmc_close_ptr(int *fd);                 /* close(*fd) when >= 0 */
#define VMC_AUTO_FREE  vmc_cleanup(vmc_free_ptr)
#define VMC_AUTO_CLOSE vmc_cleanup(vmc_close_ptr)

VMCTL_API void *vmc_alloc(size_t size); /* zeroed */
VMCTL_API void *vmc_realloc(void *p, size_t count, size_t size);
VMCTL_API char *vmc_strdup(const char *s); /* NULL gives NULL */
VMCTL_API char *vmc_strndup(const char *s, size_t n);
VMCTL_API char *vmc_printf(const char *format, ...) VMCTL_PRINTF(1, 2);
VMCTL_API char *vmc_vprintf(const char *format, va_list args) VMCTL_PRINTF(1, 0);
/* Overwrites before freeing: for secrets. */
VMCTL_API void vmc_wipe_free(char *s);

/* Grows; always NUL-terminated once something was added. {0} is an empty one. */
typedef struct vmc_str {
    char *text; /* NULL while empty */
    size_t length;
    size_t capacity;
} vmc_str;

VMCTL_API void vmc_str_add(vmc_str *s, const char *text);
VMCTL_API void vmc_str_add_n(vmc_str *s, const char *text, size_t n);
VMCTL_API void vmc_str_add_char(vmc_str *s, char c);
VMCTL_API void vmc_str_printf(vmc_str *s, const char *format, ...) VMCTL_PRINTF(2, 3);
VMCTL_API char *vmc_str_take(vmc_str *s); /* the text (never NULL), the builder is empty again */
VMCTL_API void vmc_str_free(vmc_str *s);
#define VMC_AUTO_STR vmc_cleanup(vmc_str_free) vmc_str

/* A NULL-terminated list of owned strings; {0} is an empty one. */
typedef struct vmc_strv {
    char **items; /* NULL while empty */
    size_t count;
} vmc_strv;

VMCTL_API void vmc_strv_add(vmc_strv *v, const char *text);
VMCTL_API void vmc_strv_take(vmc_strv *v, char *text); /* owns it from now on */
VMCTL_API void vmc_strv_printf(vmc_strv *v, const char *format, ...) VMCTL_PRINTF(2, 3);
VMCTL_API bool vmc_strv_has(const vmc_strv *v, const char *text);
VMCTL_API char *vmc_strv_join(const vmc_strv *v, const char *between);
VMCTL_API void vmc_strv_free(vmc_strv *v);
#define VMC_AUTO_STRV vmc_cleanup(vmc_strv_free) vmc_strv

VMCTL_API bool vmc_str_eq(const char *a, const char *b); /* NULL equals NULL only */
VMCTL_API bool vmc_starts_with(const char *s, const char *prefix);
VMCTL_API bool vmc_ends_with(const char *s, const char *suffix);
/* The closest of candidates (NULL-terminated) by edit distance, of equally close ones the first by strcmp, whatever their order; NULL when
 * none is close. */
VMCTL_API const char *vmc_nearest(const char *word, const char *const *candidates);

/* "20GiB" -> bytes: B, KiB..EiB, KB..EB; "512" alone is refused unless allow_bare (then bytes). 0, or -1 with *why. */
VMCTL_API int vmc_parse_size(const char *text, bool allow_bare, long long *bytes, const char **why);
/* "90s", "5m", "2h", "1d", "250ms" -> milliseconds. */
VMCTL_API int vmc_parse_duration(const char *text, long long *ms, const char **why);
/* The shortest exact form: 2147483648 -> "2GiB"; 1500 -> "1500B"; and for durations 90000 -> "90s". */
VMCTL_API char *vmc_format_size(long long bytes);
VMCTL_API char *vmc_format_duration(long long ms);

#endif
