#include "base/str.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void out_of_memory(void) {
    static const char text[] = "vmctl: out of memory\n";
    ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
    (void)written;
    abort();
}

void vmc_free_ptr(void *pointer_to_pointer) {
    void *p;
    memcpy(&p, pointer_to_pointer, sizeof p);
    free(p);
}

void vmc_close_ptr(int *fd) {
    if (*fd >= 0)
        close(*fd);
}

void *vmc_alloc(size_t size) {
    void *p = calloc(1, size ? size : 1);
    if (!p)
        out_of_memory();
    return p;
}

void *vmc_realloc(void *p, size_t count, size_t size) {
    void *grown = reallocarray(p, count ? count : 1, size ? size : 1);
    if (!grown)
        out_of_memory();
    return grown;
}

char *vmc_strdup(const char *s) {
    return s ? vmc_strndup(s, strlen(s)) : NULL;
}

char *vmc_strndup(const char *s, size_t n) {
    if (!s)
        return NULL;
    size_t length = strnlen(s, n);
    char *copy = vmc_alloc(length + 1);
    memcpy(copy, s, length);
    return copy;
}

char *vmc_vprintf(const char *format, va_list args) {
    char *text = NULL;
    if (vasprintf(&text, format, args) < 0)
        out_of_memory();
    return text;
}

char *vmc_printf(const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *text = vmc_vprintf(format, args);
    va_end(args);
    return text;
}

void vmc_wipe_free(char *s) {
    if (!s)
        return;
    explicit_bzero(s, strlen(s));
    free(s);
}

void vmc_str_add_n(vmc_str *s, const char *text, size_t n) {
    if (s->capacity - s->length <= n) {
        size_t wanted = s->length + n + 1;
        size_t capacity = s->capacity ? s->capacity * 2 : 64;
        if (capacity < wanted)
            capacity = wanted;
        s->text = vmc_realloc(s->text, capacity, 1);
        s->capacity = capacity;
    }
    if (n)
        memcpy(s->text + s->length, text, n);
    s->length += n;
    s->text[s->length] = '\0';
}

void vmc_str_add(vmc_str *s, const char *text) {
    if (text)
        vmc_str_add_n(s, text, strlen(text));
}

void vmc_str_add_char(vmc_str *s, char c) {
    vmc_str_add_n(s, &c, 1);
}

void vmc_str_printf(vmc_str *s, const char *format, ...) {
    va_list args;
    va_start(args, format);
    VMC_AUTO_FREE char *text = vmc_vprintf(format, args);
    va_end(args);
    vmc_str_add(s, text);
}

char *vmc_str_take(vmc_str *s) {
    char *text = s->text ? s->text : vmc_strdup("");
    *s = (vmc_str){0};
    return text;
}

void vmc_str_free(vmc_str *s) {
    free(s->text);
    *s = (vmc_str){0};
}

void vmc_strv_take(vmc_strv *v, char *text) {
    /* Room for the new one and the NULL; grows by doubling at each power of two. */
    if ((v->count & (v->count + 1)) == 0)
        v->items = vmc_realloc(v->items, (v->count + 1) * 2, sizeof *v->items);
    v->items[v->count++] = text;
    v->items[v->count] = NULL;
}

void vmc_strv_add(vmc_strv *v, const char *text) {
    vmc_strv_take(v, vmc_strdup(text ? text : ""));
}

void vmc_strv_printf(vmc_strv *v, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vmc_strv_take(v, vmc_vprintf(format, args));
    va_end(args);
}

bool vmc_strv_has(const vmc_strv *v, const char *text) {
    for (size_t i = 0; i < v->count; i++)
        if (vmc_str_eq(v->items[i], text))
            return true;
    return false;
}

char *vmc_strv_join(const vmc_strv *v, const char *between) {
    VMC_AUTO_STR joined = {0};
    for (size_t i = 0; i < v->count; i++) {
        if (i)
            vmc_str_add(&joined, between);
        vmc_str_add(&joined, v->items[i]);
    }
    return vmc_str_take(&joined);
}

void vmc_strv_free(vmc_strv *v) {
    for (size_t i = 0; i < v->count; i++)
        free(v->items[i]);
    free(v->items);
    *v = (vmc_strv){0};
}

bool vmc_str_eq(const char *a, const char *b) {
    if (!a || !b)
        return a == b;
    return strcmp(a, b) == 0;
}

bool vmc_starts_with(const char *s, const char *prefix) {
    return s && strncmp(s, prefix, strlen(prefix)) == 0;
}

bool vmc_ends_with(const char *s, const char *suffix) {
    if (!s)
        return false;
    size_t length = strlen(s), tail = strlen(suffix);
    return length >= tail && strcmp(s + length - tail, suffix) == 0;
}
