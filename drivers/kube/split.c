/* The bytes are only looked at as far as strings and nesting go; whether an object is JSON is cJSON's to say. */
#include "drivers/kube/split.h"
#include "drivers/kube/client.h"
#include <stdlib.h>
#include <string.h>

enum { KEY_DEPTH = 6, KEY_LENGTH = 16, OBJECT_LIMIT = 64 << 20, REST_LIMIT = 1 << 20, NESTING_LIMIT = 1000 };

typedef enum key { KEY_OTHER, KEY_ITEMS, KEY_METADATA, KEY_OBJECT, KEY_MANAGED_FIELDS } key;

struct kube_split {
    kube_split_kind kind;
    bool managed_fields;
    kube_item_fn object;
    void *user;

    int depth;   /* of objects and arrays around the next byte */
    int element; /* the depth inside a wanted object */
    bool in_string, escaped;
    key keys[KEY_DEPTH];         /* the latest one at each depth */
    char string[KEY_LENGTH + 1]; /* the latest one where keys are looked at; too long: "" */
    size_t string_length;
    size_t string_at; /* where it began in `text` */

    bool in_items;   /* below "items" */
    bool wanted;     /* inside a wanted object: its bytes go to `text`, others to `rest` */
    int dropped;     /* > 0: bytes are dropped until the depth is below it again */
    bool drop_comma; /* what was dropped was the first of its object */
    bool ended;
    int result; /* not 0: the callback's last word */
    vmc_str text, rest;
};

kube_split *kube_split_new(kube_split_kind kind, bool managed_fields, kube_item_fn object, void *user) {
    kube_split *s = vmc_alloc(sizeof *s);
    s->kind = kind;
    s->managed_fields = managed_fields;
    s->object = object;
    s->user = user;
    s->element = kind == KUBE_SPLIT_LIST ? 3 : 1;
    return s;
}

void kube_split_free(kube_split *s) {
    if (!s)
        return;
    vmc_str_free(&s->text);
    vmc_str_free(&s->rest);
    free(s);
}

static key key_of(const char *text) {
    static const struct {
        const char *name;
        key key;
    } names[] = {{"items", KEY_ITEMS},
                 {"rows", KEY_ITEMS},
                 {"metadata", KEY_METADATA},
                 {"object", KEY_OBJECT},
                 {"managedFields", KEY_MANAGED_FIELDS}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(text, names[i].name) == 0)
            return names[i].key;
    return KEY_OTHER;
}

static int hand_over(kube_split *s, vmctl_error **err) {
    cJSON *object = cJSON_ParseWithLength(s->text.text, s->text.length);
    s->text.length = 0;
    if (!object) {
        vmc_error(err, VMCTL_E_UNAVAILABLE, "an object of the answer is no JSON");
        return kube_explain_rubbish(err);
    }
    s->result = s->object(&object, s->user);
    cJSON_Delete(object);
    return s->result;
}

/* What is kept of from..to goes where it belongs. */
static int keep(kube_split *s, const char *from, const char *to, vmctl_error **err) {
    if (from >= to || s->dropped > 0)
        return 0;
    if (!s->wanted && s->kind == KUBE_SPLIT_STREAM)
        return 0;
    if (!s->wanted && s->in_items)
        return 0; /* commas and white space */
    vmc_str *into = s->wanted ? &s->text : &s->rest;
    if (into->length + (size_t)(to - from) > (s->wanted ? OBJECT_LIMIT : REST_LIMIT))
        return vmc_error(err, VMCTL_E_INTERNAL, "an object of the answer is larger than any that Kubernetes keeps");
    vmc_str_add_n(into, from, (size_t)(to - from));
    return 0;
}

static bool looks_at_keys(const kube_split *s) {
    return s->depth < KEY_DEPTH && s->depth <= s->element + 2;
}

/* Directly in metadata, or in object.metadata. */
static bool in_metadata(const kube_split *s) {
    int e = s->element;
    if (s->managed_fields || !s->wanted || s->dropped > 0)
        return false;
    return (s->depth == e + 1 && s->keys[e] == KEY_METADATA) ||
           (s->depth == e + 2 && s->keys[e] == KEY_OBJECT && s->keys[e + 1] == KEY_METADATA);
}

/* The key is taken back, and the comma before it; the value is to be dropped. */
static void begin_drop(kube_split *s) {
    size_t n = s->string_at;
    while (n > 0 && strchr(" \t\r\n", s->text.text[n - 1]))
        n--;
    s->drop_comma = n > 0 && s->text.text[n - 1] == '{';
    if (n > 0 && s->text.text[n - 1] == ',')
        n--;
    s->text.length = n;
    s->dropped = s->depth;
}

static void open_one(kube_split *s, char c) {
    if (s->kind == KUBE_SPLIT_LIST && c == '[' && s->depth == 1 && s->keys[1] == KEY_ITEMS)
        s->in_items = true; /* its bracket is not kept: see close_one */
    if (c == '{' && s->depth == s->element - 1 && (s->in_items || s->kind == KUBE_SPLIT_STREAM))
        s->wanted = true;
    s->depth++;
    if (s->depth < KEY_DEPTH)
        s->keys[s->depth] = KEY_OTHER;
}

/* In a string: its end in from..end, or end. */
static const char *string_end(kube_split *s, const char *from, const char *end) {
    const char *p = from;
    for (; p < end; p++) {
        if (s->escaped)
            s->escaped = false;
        else if (*p == '\\')
            s->escaped = true;
        else if (*p == '"')
            break;
    }
    if (looks_at_keys(s)) {
        size_t n = (size_t)(p - from);
        if (s->string_length + n <= KEY_LENGTH)
            memcpy(s->string + s->string_length, from, n);
        s->string_length += n;
    }
    return p;
}

static void end_string(kube_split *s) {
    s->in_string = false;
    if (looks_at_keys(s))
        s->string[s->string_length <= KEY_LENGTH ? s->string_length : 0] = '\0';
}

static int not_an_object(vmctl_error **err) {
    vmc_error(err, VMCTL_E_UNAVAILABLE, "the answer is no JSON object");
    return kube_explain_rubbish(err);
}

/* One byte that has a meaning outside of strings; *kept is where what is not yet kept begins. */
static int meet(kube_split *s, const char *p, const char **kept, vmctl_error **err) {
    int rc = 0;
    switch (*p) {
    case '"':
        s->in_string = true;
        s->string_length = 0;
        if (in_metadata(s)) {
            rc = keep(s, *kept, p, err);
            *kept = p;
            s->string_at = s->text.length;
        }
        return rc;
    case ':':
        if (!looks_at_keys(s))
            return 0;
        s->keys[s->depth] = key_of(s->string);
        if (s->keys[s->depth] != KEY_MANAGED_FIELDS || !in_metadata(s))
            return 0;
        rc = keep(s, *kept, p, err);
        begin_drop(s);
        return rc;
    case ',':
        if (s->dropped == s->depth && s->dropped > 0) { /* a dropped value that was no object */
            s->dropped = 0;
            *kept = p + s->drop_comma;
            s->drop_comma = false;
        }
        return 0;
    case '{':
    case '[':
        if (s->depth >= NESTING_LIMIT || (s->ended && s->kind == KUBE_SPLIT_LIST))
            return not_an_object(err);
        rc = keep(s, *kept, p, err);
        open_one(s, *p);
        *kept = p + (s->in_items && s->depth == 2);
        return rc;
    default: /* } ] */
        break;
    }
    if (s->dropped == s->depth) { /* the object around what is dropped */
        s->dropped = 0;
        *kept = p;
        s->drop_comma = false;
    }
    s->depth--;
    if (s->wanted && s->depth == s->element - 1) {
        rc = keep(s, *kept, p + 1, err);
        *kept = p + 1;
        s->wanted = false;
        if (rc == 0)
            rc = hand_over(s, err);
    } else if (s->in_items && s->depth == 1) {
        s->in_items = false;
        *kept = p + 1;
        vmc_str_add(&s->rest, "[]");
    }
    s->ended = s->ended || s->depth == 0;
    return rc;
}

static const bool has_meaning[256] = {
    ['"'] = true, [':'] = true, [','] = true, ['{'] = true, ['['] = true, ['}'] = true, [']'] = true};

int kube_split_feed(kube_split *s, const void *bytes, size_t length, vmctl_error **err) {
    const char *p = bytes, *end = p + length, *kept = p;
    if (s->result != 0)
        return s->result;
    while (p < end) {
        if (s->in_string) {
            p = string_end(s, p, end);
            if (p == end)
                break;
            end_string(s);
            p++;
            continue;
        }
        while (p < end && !has_meaning[(unsigned char)*p] && (s->depth > 0 || strchr(" \t\r\n", *p)))
            p++;
        if (p == end)
            break;
        int rc = s->depth == 0 && *p != '{' ? not_an_object(err) : meet(s, p, &kept, err);
        if (rc != 0)
            return rc;
        p++;
    }
    return keep(s, kept, end, err);
}

bool kube_split_complete(const kube_split *s) {
    return s->depth == 0 && !s->in_string && (s->kind == KUBE_SPLIT_STREAM || s->ended);
}

cJSON *kube_split_rest(kube_split *s) {
    cJSON *rest = s->rest.length > 0 ? cJSON_ParseWithLength(s->rest.text, s->rest.length) : NULL;
    if (cJSON_IsObject(rest))
        return rest;
    cJSON_Delete(rest);
    return NULL;
}
