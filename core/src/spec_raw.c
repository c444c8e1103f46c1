/* A YAML text as it stands, through libfyaml's events. */
#include "spec_raw.h"

#include <libfyaml.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

struct anchor {
    const char *name; /* of the raw node's own copy */
    vmc_raw *node;
};

struct vmc_raw_reader {
    const char *text;
    size_t length;
    size_t offset;   /* where the present parser began */
    size_t position; /* the end of the document before */
    unsigned line;   /* lines before the offset */
    struct fy_diag *diag;
    struct fy_parser *parser;
    struct fy_event *ahead; /* read, not used yet */
    vmc_faults *faults;
    size_t nodes;
    bool ended;
    vmc_str scratch; /* the present token's text */
};

/* --- nodes ------------------------------------------------------------------------------------------------ */

static void raw_free(vmc_raw *raw) {
    if (!raw)
        return;
    for (size_t i = 0; i < raw->count; i++)
        raw_free(raw->items[i]);
    free(raw->items);
    free(raw->text);
    free(raw);
}

void vmc_raw_document_free(vmc_raw_document *document) {
    raw_free(document->root);
    document->root = NULL;
}

static void raw_add(vmc_raw *parent, vmc_raw *child) {
    if (parent->count == parent->capacity) {
        parent->capacity = parent->capacity ? 2 * parent->capacity : 4;
        parent->items = vmc_realloc(parent->items, parent->capacity, sizeof(vmc_raw *));
    }
    parent->items[parent->count++] = child;
}

const vmc_raw *vmc_raw_follow(const vmc_raw *raw) {
    return raw && raw->kind == VMC_RAW_ALIAS ? raw->target : raw;
}

const vmc_raw *vmc_raw_value(const vmc_raw *map, const char *key) {
    map = vmc_raw_follow(map);
    for (size_t i = 0; map && map->kind == VMC_RAW_MAP && i + 1 < map->count; i += 2) {
        const vmc_raw *name = vmc_raw_follow(map->items[i]);
        if (name->kind == VMC_RAW_SCALAR && strcmp(name->text, key) == 0)
            return vmc_raw_follow(map->items[i + 1]);
    }
    return NULL;
}

bool vmc_raw_is_null(const vmc_raw *raw) {
    if (!raw)
        return true;
    if (raw->kind != VMC_RAW_SCALAR || !raw->plain)
        return false;
    return !*raw->text || strcmp(raw->text, "~") == 0 || strcmp(raw->text, "null") == 0 ||
           strcmp(raw->text, "Null") == 0 || strcmp(raw->text, "NULL") == 0;
}

/* --- one document ----------------------------------------------------------------------------------------- */

struct building {
    vmc_raw_reader *reader;
    vmc_raw *root;
    vmc_raw *stack[VMC_SPEC_DEPTH_LIMIT];
    size_t depth;
    void *anchors; /* tsearch(3) */
    unsigned line, column;
    bool failed, stopped;
};

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct anchor *)a)->name, ((const struct anchor *)b)->name);
}

static void anchor_free(void *anchor) {
    free((char *)((struct anchor *)anchor)->name);
    free(anchor);
}

static void stop(struct building *b, unsigned line, unsigned column, char *message) {
    vmc_faults_add(b->reader->faults, line, column, NULL, "%s", message);
    free(message);
    b->stopped = true;
}

/* Where the event begins. libfyaml's mark stands behind the opening quote or the '*'; it stands in the line after a "|", where the key says more;
 * and an empty scalar has none: these get the last one. */
static void place(struct building *b, struct fy_event *event) {
    const struct fy_mark *mark = fy_event_start_mark(event);
    enum fy_scalar_style style =
        event->type == FYET_SCALAR && event->scalar.value ? fy_token_scalar_style(event->scalar.value) : FYSS_PLAIN;
    bool behind = event->type == FYET_ALIAS || style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED;
    if (!mark || style == FYSS_LITERAL || style == FYSS_FOLDED)
        return;
    b->line = b->reader->line + (unsigned)mark->line + 1;
    b->column = (unsigned)mark->column + 1 - (behind && mark->column > 0);
}

/* A token's text in the reader's scratch; false: longer than a scalar may be. fy_token_get_text of libfyaml 0.7 leaks where a text is put
 * together from many pieces (a quoted one with many escapes); its iterator does not. */
static bool read_token(vmc_raw_reader *reader, struct fy_token *token) {
    vmc_str *text = &reader->scratch;
    struct fy_token_iter *iterator = token ? fy_token_iter_create(token) : NULL;
    const struct fy_iter_chunk *chunk = NULL;
    int failed = 0;
    text->length = 0;
    vmc_str_add(text, "");
    while (iterator && text->length <= VMC_SPEC_SCALAR_LIMIT &&
           (chunk = fy_token_iter_chunk_next(iterator, chunk, &failed)))
        vmc_str_add_n(text, chunk->str, chunk->len);
    if (iterator) {
        fy_token_iter_finish(iterator);
        fy_token_iter_destroy(iterator);
    }
    return text->length <= VMC_SPEC_SCALAR_LIMIT;
}

static void set_anchor(struct building *b, struct fy_token *token, vmc_raw *node) {
    if (!read_token(b->reader, token)) {
        stop(b, b->line, b->column, vmc_printf("an anchor longer than %d MiB", VMC_SPEC_SCALAR_LIMIT >> 20));
        return;
    }
    struct anchor *anchor = vmc_alloc(sizeof *anchor);
    *anchor = (struct anchor){vmc_strdup(b->reader->scratch.text), node};
    struct anchor **found = tsearch(anchor, &b->anchors, by_name);
    if (*found != anchor) { /* an anchor may be given again: later aliases mean the later one */
        (*found)->node = node;
        anchor_free(anchor);
    }
}

/* Hangs the node into the one that is open. */
static vmc_raw *add_node(struct building *b, vmc_raw_kind kind) {
    if (++b->reader->nodes > VMC_SPEC_NODE_LIMIT) {
        stop(b, b->line, b->column, vmc_printf("more than %d values in one text", VMC_SPEC_NODE_LIMIT));
        return NULL;
    }
    vmc_raw *raw = vmc_alloc(sizeof *raw);
    raw->kind = kind;
    raw->line = b->line;
    raw->column = b->column;
    if (b->depth)
        raw_add(b->stack[b->depth - 1], raw);
    else
        b->root = raw;
    return raw;
}

/* Tags of YAML's own types are known; *is_string: "!!str" and "!". */
static bool check_tag(struct building *b, struct fy_event *event, bool *is_string) {
    struct fy_token *token = fy_event_get_tag_token(event);
    if (!token)
        return true;
    read_token(b->reader, token);
    const char *tag = b->reader->scratch.text;
    *is_string = strcmp(tag, "tag:yaml.org,2002:str") == 0 || strcmp(tag, "!") == 0 || strcmp(tag, "") == 0;
    static const char *const known[] = {"int", "float", "bool", "null", "map", "seq"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (vmc_starts_with(tag, "tag:yaml.org,2002:") && strcmp(strrchr(tag, ':') + 1, known[i]) == 0)
            return true;
    }
    if (*is_string)
        return true;
    const struct fy_mark *mark = fy_token_start_mark(token);
    vmc_faults_add(b->reader->faults, mark ? b->reader->line + (unsigned)mark->line + 1 : b->line,
                   mark ? (unsigned)mark->column + 1 : b->column, NULL,
                   "the tag \"%.60s\" means nothing here: leave it out", tag);
    b->failed = true;
    return true;
}

static bool is_good_text(const char *text, size_t length) {
    for (size_t i = 0; i < length;) {
        size_t n = text[i] ? vmc_utf8_length(text + i, length - i) : 0;
        if (!n)
            return false;
        i += n;
    }
    return true;
}

static void read_scalar(struct building *b, struct fy_event *event) {
    bool is_string = false;
    struct fy_token *token = event->scalar.value;
    const struct fy_mark *begin = fy_event_start_mark(event), *end = fy_event_end_mark(event);
    if (begin && end && end->input_pos - begin->input_pos > 6 * (size_t)VMC_SPEC_SCALAR_LIMIT) {
        /* six bytes is the longest way to write one ("A" as an escape): certainly too long, and not worth decoding */
        stop(b, b->line, b->column, vmc_printf("a value longer than %d MiB", VMC_SPEC_SCALAR_LIMIT >> 20));
        return;
    }
    if (!read_token(b->reader, token)) {
        stop(b, b->line, b->column, vmc_printf("a value longer than %d MiB", VMC_SPEC_SCALAR_LIMIT >> 20));
        return;
    }
    vmc_raw *raw = add_node(b, VMC_RAW_SCALAR);
    if (!raw)
        return;
    size_t length = b->reader->scratch.length;
    if (!is_good_text(b->reader->scratch.text, length)) {
        vmc_faults_add(b->reader->faults, b->line, b->column, NULL,
                       "an escape in this string stands for no character that can be used");
        b->failed = true;
        length = 0;
    }
    raw->text = vmc_strndup(b->reader->scratch.text, length);
    raw->length = length;
    check_tag(b, event, &is_string);
    raw->plain = !is_string && (!token || fy_token_scalar_style(token) == FYSS_PLAIN);
    if (event->scalar.anchor)
        set_anchor(b, event->scalar.anchor, raw);
}

static void read_alias(struct building *b, struct fy_event *event) {
    read_token(b->reader, event->alias.anchor);
    const char *name = b->reader->scratch.text;
    struct anchor **found = tfind(&(struct anchor){name, NULL}, &b->anchors, by_name);
    vmc_raw *raw = add_node(b, VMC_RAW_ALIAS);
    if (!raw)
        return;
    if (found && !(*found)->node->open) {
        raw->target = (vmc_raw *)vmc_raw_follow((*found)->node);
        return;
    }
    vmc_faults_add(
        b->reader->faults, b->line, b->column, NULL,
        found ? "the alias *%.60s stands inside what it is an alias of" : "no anchor &%.60s before this alias", name);
    b->failed = true;
    raw->kind = VMC_RAW_SCALAR;
    raw->text = vmc_strdup("");
}

static void read_collection(struct building *b, struct fy_event *event) {
    bool is_string = false, is_map = event->type == FYET_MAPPING_START;
    if (b->depth == VMC_SPEC_DEPTH_LIMIT) {
        stop(b, b->line, b->column, vmc_printf("nested deeper than %d levels", VMC_SPEC_DEPTH_LIMIT));
        return;
    }
    vmc_raw *raw = add_node(b, is_map ? VMC_RAW_MAP : VMC_RAW_LIST);
    if (!raw)
        return;
    raw->open = true;
    check_tag(b, event, &is_string);
    struct fy_token *anchor = fy_event_get_anchor_token(event);
    if (anchor)
        set_anchor(b, anchor, raw);
    b->stack[b->depth++] = raw;
}

static void read_event(struct building *b, struct fy_event *event) {
    place(b, event);
    switch (event->type) {
    case FYET_SCALAR:
        read_scalar(b, event);
        break;
    case FYET_ALIAS:
        read_alias(b, event);
        break;
    case FYET_MAPPING_START:
    case FYET_SEQUENCE_START:
        read_collection(b, event);
        break;
    case FYET_MAPPING_END:
    case FYET_SEQUENCE_END:
        if (b->depth)
            b->stack[--b->depth]->open = false;
        break;
    default:
        break;
    }
}

/* --- the text --------------------------------------------------------------------------------------------- */

static void close_parser(vmc_raw_reader *reader) {
    if (reader->ahead)
        fy_parser_event_free(reader->parser, reader->ahead);
    reader->ahead = NULL;
    if (reader->parser)
        fy_parser_destroy(reader->parser);
    reader->parser = NULL;
    if (reader->diag)
        fy_diag_destroy(reader->diag);
    reader->diag = NULL;
}

static void open_parser(vmc_raw_reader *reader) {
    struct fy_diag_cfg diag_cfg;
    fy_diag_cfg_default(&diag_cfg);
    diag_cfg.fp = NULL;
    diag_cfg.level = FYET_ERROR;
    reader->diag = fy_diag_create(&diag_cfg);
    if (!reader->diag)
        return;
    fy_diag_set_collect_errors(reader->diag, true);
    struct fy_parse_cfg cfg = {.flags = FYPCF_QUIET | FYPCF_DISABLE_RECYCLING, .diag = reader->diag};
    reader->parser = fy_parser_create(&cfg);
    if (reader->parser)
        fy_parser_set_string(reader->parser, reader->text + reader->offset, reader->length - reader->offset);
}

vmc_raw_reader *vmc_raw_open(const char *text, size_t length, vmc_faults *faults) {
    vmc_raw_reader *reader = vmc_alloc(sizeof *reader);
    reader->text = text;
    reader->length = length;
    reader->faults = faults;
    open_parser(reader);
    return reader;
}

void vmc_raw_close(vmc_raw_reader *reader) {
    if (!reader)
        return;
    close_parser(reader);
    vmc_str_free(&reader->scratch);
    free(reader);
}

static struct fy_event *next_event(vmc_raw_reader *reader) {
    struct fy_event *event = reader->ahead;
    reader->ahead = NULL;
    if (!event && reader->parser)
        event = fy_parser_parse(reader->parser);
    return event;
}

static const struct fy_diag_error *first_error(const vmc_raw_reader *reader) {
    void *iterator = NULL;
    return reader->diag ? fy_diag_errors_iterate(reader->diag, &iterator) : NULL;
}

/* Where the line is indented by a tab: its column, else 0. In flow style, as in JSON, that is allowed. */
static unsigned tab_in_indent(const vmc_raw_reader *reader, unsigned line) {
    const char *p = reader->text + reader->offset, *end = reader->text + reader->length;
    for (unsigned at = reader->line + 1; at < line && p; at++) {
        p = memchr(p, '\n', (size_t)(end - p));
        p = p ? p + 1 : NULL;
    }
    for (const char *begin = p; p && p < end && (*p == ' ' || *p == '\t'); p++) {
        if (*p == '\t')
            return (unsigned)(p - begin) + 1;
    }
    return 0;
}

static void add_syntax_fault(vmc_raw_reader *reader, unsigned line, unsigned column) {
    const struct fy_diag_error *first = first_error(reader);
    if (first && first->line > 0) {
        line = reader->line + (unsigned)first->line;
        column = first->column > 0 ? (unsigned)first->column : 1;
    }
    const char *content = reader->text + reader->offset, *end = reader->text + reader->length;
    while (content < end && strchr(" \t\r\n", *content))
        content++;
    bool is_flow = content < end && (*content == '{' || *content == '[');
    for (unsigned near = line; near <= line + 1 && !is_flow; near++) {
        unsigned tab = tab_in_indent(reader, near);
        if (tab) {
            vmc_faults_add(reader->faults, near, tab, NULL, "a tab indents this line: YAML takes spaces only");
            return;
        }
    }
    const char *said = first && first->msg ? first->msg : "the YAML cannot be read here";
    if (strstr(said, "missing document start"))
        said = "the document has ended before this: another one begins with \"---\"";
    VMC_AUTO_FREE char *message = vmc_strdup(said);
    message[strcspn(message, "\r\n")] = '\0';
    vmc_faults_add(reader->faults, line, column, NULL, "%s", message);
}

/* The next line after `from` that begins a document; the end of the text when there is none. */
static size_t next_document(const vmc_raw_reader *reader, size_t from) {
    const char *end = reader->text + reader->length;
    for (const char *p = reader->text + from; p < end && (p = memchr(p, '\n', (size_t)(end - p))); p++) {
        size_t left = (size_t)(end - p) - 1;
        if (left >= 3 && memcmp(p + 1, "---", 3) == 0 && (left == 3 || strchr(" \t\r\n", p[4])))
            return (size_t)(p - reader->text) + 1;
    }
    return reader->length;
}

static unsigned lines_before(const vmc_raw_reader *reader, size_t offset) {
    unsigned lines = 0;
    for (const char *p = reader->text, *end = p + offset; (p = memchr(p, '\n', (size_t)(end - p))); p++)
        lines++;
    return lines;
}

/* After a fault of syntax: reads on with the document that begins at `next`. */
static void restart(vmc_raw_reader *reader, size_t next) {
    close_parser(reader);
    reader->offset = next;
    reader->line = lines_before(reader, next);
    reader->ended = next == reader->length;
    if (!reader->ended)
        open_parser(reader);
}

/* Until the document's first event; NULL at the end of the text or at a fault. */
static struct fy_event *next_start(vmc_raw_reader *reader) {
    struct fy_event *event;
    while ((event = next_event(reader)) && event->type != FYET_DOCUMENT_START) {
        reader->ended = event->type == FYET_STREAM_END;
        fy_parser_event_free(reader->parser, event);
        if (reader->ended)
            return NULL;
    }
    return event;
}

/* No document could be begun. What is wrong with the next one is found again, and told, by a parser that begins there. */
static void fault_between_documents(vmc_raw_reader *reader, const struct building *b) {
    const struct fy_diag_error *first = first_error(reader);
    size_t next = reader->position;
    if (next <= reader->offset)
        next = next_document(reader, reader->offset);
    else if (first && next < reader->length && reader->line + (unsigned)first->line > lines_before(reader, next)) {
        restart(reader, next);
        return;
    }
    add_syntax_fault(reader, b->line, b->column);
    restart(reader, next);
}

/* Where the document's text ends: before the next "---". */
static size_t find_end(vmc_raw_reader *reader, size_t begin) {
    reader->ahead = next_event(reader);
    if (reader->ahead && reader->ahead->type == FYET_DOCUMENT_START && reader->ahead->document_start.document_start)
        return reader->offset + fy_event_start_mark(reader->ahead)->input_pos;
    if (reader->ahead && reader->ahead->type == FYET_STREAM_END)
        return reader->length;
    return next_document(reader, begin);
}

static bool is_end_of_document(vmc_raw_reader *reader, struct building *b, vmc_raw_document *out) {
    struct fy_event *event = next_event(reader);
    if (!event) {
        add_syntax_fault(reader, b->line, b->column);
        b->failed = true;
        restart(reader, next_document(reader, out->begin));
        return true;
    }
    bool ends = event->type == FYET_DOCUMENT_END;
    if (!ends)
        read_event(b, event);
    fy_parser_event_free(reader->parser, event);
    if (ends)
        out->end = reader->position = find_end(reader, out->begin);
    return ends || b->stopped;
}

int vmc_raw_next(vmc_raw_reader *reader, vmc_raw_document *out) {
    *out = (vmc_raw_document){0};
    if (reader->ended)
        return 0;
    struct building b = {.reader = reader, .line = reader->line + 1, .column = 1};
    struct fy_event *start = next_start(reader);
    if (!start) {
        if (reader->ended)
            return 0;
        fault_between_documents(reader, &b);
        return -1;
    }
    place(&b, start);
    const struct fy_mark *mark = start->document_start.document_start ? fy_event_end_mark(start) : NULL;
    out->begin = reader->offset + (mark ? mark->input_pos : 0);
    out->end = reader->length;
    out->first_line = b.line;
    fy_parser_event_free(reader->parser, start);
    while (!is_end_of_document(reader, &b, out))
        ;
    tdestroy(b.anchors, anchor_free);
    if (b.stopped)
        reader->ended = true;
    if (b.stopped || b.failed)
        raw_free(b.root);
    else
        out->root = b.root;
    return b.stopped ? -2 : b.failed ? -1 : 1;
}

/* --- before the first event ------------------------------------------------------------------------------- */

size_t vmc_utf8_length(const char *text, size_t left) {
    const unsigned char *p = (const unsigned char *)text;
    if (p[0] < 0x80)
        return 1;
    size_t length = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || length > left)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool surrogate = p[0] == 0xed && p[1] >= 0xa0;
    bool too_large = p[0] == 0xf4 && p[1] >= 0x90;
    return overlong || surrogate || too_large ? 0 : length;
}

enum {
    DIRECTIVE_LIMIT = 100, /* libfyaml compares each with all before it */
    BRACKET_LIMIT =
        5000 /* open at once, whatever they stand in: it reads on to the last one before it tells of the first */
};

/* What libfyaml would read differently than a person, or at a cost that does not fit the text's length: it takes the whole of a line
 * of "[a, b]" apart before it tells the first event, at some 400 bytes a value. */
bool vmc_raw_check(const char *text, size_t length, vmc_faults *faults) {
    unsigned line = 1, column = 1, marks = 0, directives = 0, open = 0;
    if (length > VMC_SPEC_INPUT_LIMIT) {
        vmc_faults_add(faults, 1, 1, NULL, "the text is longer than %d MiB", VMC_SPEC_INPUT_LIMIT >> 20);
        return false;
    }
    for (size_t i = 0; i < length;) {
        unsigned char c = (unsigned char)text[i];
        size_t n = vmc_utf8_length(text + i, length - i);
        if (!n || (c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f) {
            vmc_faults_add(faults, line, column, NULL,
                           !n       ? "the byte 0x%02x is not UTF-8"
                           : c == 0 ? "a NUL byte (0x%02x): the text is not UTF-8"
                                    : "the control character 0x%02x: in a string it is written as an escape",
                           c);
            return false;
        }
        directives += column == 1 && c == '%';
        open += c == '[' || c == '{';
        open -= open && (c == ']' || c == '}');
        if (open > BRACKET_LIMIT) {
            vmc_faults_add(faults, line, column, NULL, "more than %d brackets are open here", BRACKET_LIMIT);
            return false;
        }
        marks += c == ',' || c == '[' || c == ']' || c == '{' || c == '}';
        if (marks > VMC_SPEC_NODE_LIMIT || directives > DIRECTIVE_LIMIT) {
            vmc_faults_add(faults, line, column, NULL,
                           directives > DIRECTIVE_LIMIT ? "more than %d directives (lines that begin with %%)"
                                                        : "more than %d values in one line",
                           directives > DIRECTIVE_LIMIT ? DIRECTIVE_LIMIT : VMC_SPEC_NODE_LIMIT);
            return false;
        }
        column++;
        if (c == '\n') {
            line++;
            column = 1;
            marks = 0;
        }
        i += n;
    }
    return true;
}
