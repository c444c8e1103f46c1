/* src/schema.h - every key of vm.yaml, once. From this table come the checks, the nearest key, normalisation, `set`, the
 * canonical text, what a descriptor may claim, and the documentation. */
#ifndef VMC_SRC_SCHEMA_H
#define VMC_SRC_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum vmc_type {
    VMC_TYPE_MAP,     /* keys below it are in the table */
    VMC_TYPE_ITEMS,   /* a list of maps with a unique `name`; its keys are "path[].key" */
    VMC_TYPE_STRINGS, /* a list of strings */
    VMC_TYPE_STRING,
    VMC_TYPE_NAME,   /* a string without control characters, '/' or white space at its ends; not empty */
    VMC_TYPE_PATH,   /* a file of this machine: made absolute */
    VMC_TYPE_SOURCE, /* a file (made absolute), a URL, or what the backend's library calls it ("library:...") */
    VMC_TYPE_ENUM,
    VMC_TYPE_INTEGER,
    VMC_TYPE_SIZE,     /* "20GiB" -> bytes */
    VMC_TYPE_DURATION, /* "2h" -> milliseconds */
    VMC_TYPE_BOOLEAN,
    VMC_TYPE_MAC,
    VMC_TYPE_PORTS,      /* a list of "[tcp:|udp:][ADDRESS:]LOCAL:GUEST" */
    VMC_TYPE_KEYS,       /* a list of public keys: a file's path or the key itself */
    VMC_TYPE_STRING_MAP, /* any keys, string values */
    VMC_TYPE_ANY         /* passed on untouched */
} vmc_type;

typedef struct vmc_key {
    const char *path; /* "disks[].bus" */
    vmc_type type;
    const char *values;   /* ENUM: separated by spaces */
    const char *fallback; /* the default, as it would be written; NULL: stays absent */
    const char *scalar;   /* MAP: the key that a scalar in its place means; NULL: a scalar is a fault */
    int64_t minimum;      /* INTEGER, SIZE, DURATION */
    int64_t maximum;      /* 0: no limit */
    const char *help;     /* one line */
} vmc_key;

extern const vmc_key vmc_schema[];
extern const size_t vmc_schema_count;

/* "disks[].bus"; NULL. */
const vmc_key *vmc_schema_find(const char *path);
/* The key below a map or list of items (parent NULL: at the top); NULL. */
const vmc_key *vmc_schema_child(const vmc_key *parent, const char *name);
/* The next key on the same level as `after` (NULL: the first); NULL at the end. */
const vmc_key *vmc_schema_next(const vmc_key *parent, const vmc_key *after);
/* "bus" of "disks[].bus". */
const char *vmc_schema_name(const vmc_key *key);
/* The key on that level that is closest to a misspelt one; NULL when none is close. */
const char *vmc_schema_nearest(const vmc_key *parent, const char *word);
/* Whether the value below is passed on untouched, its keys not in the table. */
bool vmc_schema_is_free(const vmc_key *key);

#endif
