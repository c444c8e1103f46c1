/* The table of keys as a tree: made once, on first use. */
#include "base/str.h"
#include "schema.h"

#include <pthread.h>
#include <string.h>

enum { KEY_LIMIT = 256, NONE = 0xffff };

static struct link {
    const char *name;
    unsigned short first, next; /* indexes into vmc_schema */
} links[KEY_LIMIT];
static unsigned short first_at_top = NONE;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static unsigned short *first_of(const vmc_key *parent) {
    return parent ? &links[parent - vmc_schema].first : &first_at_top;
}

/* The length of the path of the key that `path` stands below, 0 at the top. *name is its last part. */
static size_t parent_length(const char *path, const char **name) {
    const char *dot = strrchr(path, '.');
    *name = dot ? dot + 1 : path;
    if (!dot)
        return 0;
    size_t length = (size_t)(dot - path);
    return length > 2 && memcmp(dot - 2, "[]", 2) == 0 ? length - 2 : length;
}

static void make_tree(void) {
    for (size_t i = 0; i < vmc_schema_count; i++)
        links[i] = (struct link){NULL, NONE, NONE};
    for (size_t i = 0; i < vmc_schema_count; i++) {
        size_t length = parent_length(vmc_schema[i].path, &links[i].name);
        const vmc_key *parent = NULL;
        for (size_t p = 0; length && p < i; p++) {
            if (strncmp(vmc_schema[p].path, vmc_schema[i].path, length) == 0 && !vmc_schema[p].path[length])
                parent = &vmc_schema[p];
        }
        unsigned short *end = first_of(parent);
        while (*end != NONE)
            end = &links[*end].next;
        *end = (unsigned short)i;
    }
}

const vmc_key *vmc_schema_next(const vmc_key *parent, const vmc_key *after) {
    pthread_once(&once, make_tree);
    unsigned short i = after ? links[after - vmc_schema].next : *first_of(parent);
    return i == NONE ? NULL : &vmc_schema[i];
}

const vmc_key *vmc_schema_child(const vmc_key *parent, const char *name) {
    for (const vmc_key *key = vmc_schema_next(parent, NULL); key; key = vmc_schema_next(parent, key)) {
        if (strcmp(links[key - vmc_schema].name, name) == 0)
            return key;
    }
    return NULL;
}

const vmc_key *vmc_schema_find(const char *path) {
    for (size_t i = 0; i < vmc_schema_count; i++) {
        if (strcmp(vmc_schema[i].path, path) == 0)
            return &vmc_schema[i];
    }
    return NULL;
}

const char *vmc_schema_name(const vmc_key *key) {
    pthread_once(&once, make_tree);
    return links[key - vmc_schema].name;
}

const char *vmc_schema_nearest(const vmc_key *parent, const char *word) {
    const char *names[KEY_LIMIT + 1];
    size_t count = 0;
    for (const vmc_key *key = vmc_schema_next(parent, NULL); key; key = vmc_schema_next(parent, key))
        names[count++] = vmc_schema_name(key);
    names[count] = NULL;
    return vmc_nearest(word, names);
}

bool vmc_schema_is_free(const vmc_key *key) {
    return !key || key->type == VMC_TYPE_STRING_MAP || key->type == VMC_TYPE_ANY;
}
