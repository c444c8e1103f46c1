/* src/spec_raw.h - a YAML (or JSON) text as it stands: documents, marks, anchors; no schema yet. libfyaml reads, event by
 * event, so that every limit holds before memory is spent. */
#ifndef VMC_SRC_SPEC_RAW_H
#define VMC_SRC_SPEC_RAW_H

#include "spec_internal.h"

typedef enum vmc_raw_kind { VMC_RAW_SCALAR, VMC_RAW_LIST, VMC_RAW_MAP, VMC_RAW_ALIAS } vmc_raw_kind;

typedef struct vmc_raw {
    vmc_raw_kind kind;
    bool plain; /* a scalar without quotes and tag: may be null, a number ... */
    bool open;  /* its end was not read yet */
    unsigned line, column;
    char *text; /* SCALAR */
    size_t length;
    struct vmc_raw *target; /* ALIAS */
    struct vmc_raw **items; /* LIST; MAP: key, value, key, value */
    size_t count, capacity;
} vmc_raw;

/* One document; freed by vmc_raw_document_free. */
typedef struct vmc_raw_document {
    vmc_raw *root;       /* NULL: an empty document */
    size_t begin, end;   /* of its text, without "---" */
    unsigned first_line; /* of `begin` */
} vmc_raw_document;

typedef struct vmc_raw_reader vmc_raw_reader;

/* The text must live as long as the reader. false (and a fault): beyond the limits, or not UTF-8. */
bool vmc_raw_check(const char *text, size_t length, vmc_faults *faults);
vmc_raw_reader *vmc_raw_open(const char *text, size_t length, vmc_faults *faults);
/* 1: a document; 0: the end; -1: one with faults, go on with the next; -2: a limit was hit, nothing more is read. */
int vmc_raw_next(vmc_raw_reader *reader, vmc_raw_document *out);
void vmc_raw_close(vmc_raw_reader *reader);
void vmc_raw_document_free(vmc_raw_document *document);

/* The length of the UTF-8 character at text (at most `left` bytes), 0 when it is none. RFC 3629. */
size_t vmc_utf8_length(const char *text, size_t left);
/* The node itself, or what the alias stands for. */
const vmc_raw *vmc_raw_follow(const vmc_raw *raw);
/* The value of a key in a map, without merged ones; NULL. */
const vmc_raw *vmc_raw_value(const vmc_raw *map, const char *key);
/* null, "~" or nothing at all. */
bool vmc_raw_is_null(const vmc_raw *raw);

#endif
