/* The one place where results are written to standard output. */
#include "output.h"
#include "tree.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const cli_view *view_now;
static cJSON *rows; /* of a table, until the end */
static size_t added;

/* Written at once, not into a text first: a list of ten thousand VMs needs no more memory than one of them. */
void cli_json_write(FILE *to, const cJSON *tree, int indent) {
    bool map = cJSON_IsObject(tree);

    if ((!map && !cJSON_IsArray(tree)) || !tree->child) {
        CLI_AUTO_FREE char *text = cJSON_PrintUnformatted(tree);
        fputs(text ? text : "null", to);
        return;
    }
    fputc(map ? '{' : '[', to);
    for (const cJSON *item = tree->child; item; item = item->next) {
        fprintf(to, "%s\n%*s", item == tree->child ? "" : ",", indent + 2, "");
        if (map) {
            cJSON key = {.type = cJSON_String, .valuestring = item->string};
            CLI_AUTO_FREE char *text = cJSON_PrintUnformatted(&key);
            fprintf(to, "%s: ", text ? text : "\"\"");
        }
        cli_json_write(to, item, indent + 2);
    }
    fprintf(to, "\n%*s%c", indent, "", map ? '}' : ']');
}

void cli_output_begin(cli *c, const cli_view *view) {
    (void)c;
    view_now = view;
    added = 0;
    rows = NULL;
}

static void write_line(const cJSON *item) {
    CLI_AUTO_FREE char *text = cJSON_PrintUnformatted(item);
    fprintf(stdout, "%s\n", text ? text : "{}");
    fflush(stdout);
}

static void write_table_item(cli *c, cJSON *result) {
    if (!view_now->columns) {
        if (!c->quiet || view_now != &cli_view_outcome)
            view_now->text(c, stdout, result);
        cJSON_Delete(result);
        return;
    }
    if (!rows)
        rows = cJSON_CreateArray();
    cJSON_AddItemToArray(rows, result);
}

void cli_output_add(cli *c, cJSON *result) {
    const char *name = NULL;

    switch (c->format) {
    case CLI_JSON:
        if (!c->single)
            fputs(added ? ",\n  " : "[\n  ", stdout);
        cli_json_write(stdout, result, c->single ? 0 : 2);
        break;
    case CLI_JSONL:
        write_line(result);
        break;
    case CLI_YAML:
        if (!c->single)
            fputs("- ", stdout);
        cli_yaml_write(stdout, result, c->single ? 0 : 2);
        break;
    case CLI_NAME:
        name = cli_get(result, view_now->name_key ? view_now->name_key : "name");
        if (*name)
            fprintf(stdout, "%s\n", name);
        break;
    case CLI_TABLE:
    case CLI_WIDE:
    case CLI_SPEC:
    case CLI_NATIVE:
    case CLI_MARKDOWN:
    case CLI_CSV:
        write_table_item(c, result);
        added++;
        return;
    }
    added++;
    cJSON_Delete(result);
}

/* A row and what it is sorted by. */
typedef struct sortable {
    cJSON *row;
    const char *context, *name;
} sortable;

static int by_name(const void *a, const void *b) {
    const sortable *x = a, *y = b;
    int order = strcmp(x->context, y->context);
    return order ? order : strverscmp(x->name, y->name);
}

/* For people: web-2 before web-10. */
static void sort_rows(cJSON *list) {
    size_t count = (size_t)cJSON_GetArraySize(list), i = 0;
    CLI_AUTO_FREE sortable *items = cli_alloc(count * sizeof *items);
    cJSON *item = NULL;

    while ((item = cJSON_DetachItemFromArray(list, 0)))
        items[i++] = (sortable){item, cli_get(item, "context"), cli_get(item, "name")};
    qsort(items, count, sizeof *items, by_name);
    for (i = 0; i < count; i++)
        cJSON_AddItemToArray(list, items[i].row);
}

void cli_output_end(cli *c, bool failed) {
    if (c->format == CLI_JSON && c->single)
        fputs(added ? "\n" : "", stdout);
    else if (c->format == CLI_JSON && (added || !failed))
        fputs(added ? "\n]\n" : "[]\n", stdout);
    if (c->format == CLI_YAML && !c->single && !added && !failed)
        fputs("[]\n", stdout);
    bool table = (c->format == CLI_TABLE || c->format == CLI_WIDE) && view_now->columns;
    if (table && (added || !failed)) {
        cJSON *none = rows ? NULL : cJSON_CreateArray();
        if (rows && view_now->sorted)
            sort_rows(rows);
        cli_table_write(c, stdout, view_now, rows ? rows : none, true);
        cJSON_Delete(none);
    }
    cJSON_Delete(rows);
    rows = NULL;
    added = 0;
}

void cli_output_one(cli *c, const cli_view *view, cJSON *result) {
    c->single = view != &cli_view_outcome;
    cli_output_begin(c, view);
    cli_output_add(c, result);
    cli_output_end(c, false);
}

int cli_output_finish(cli *c, int status) {
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    int why = errno;
    struct pollfd reader = {STDOUT_FILENO, POLLOUT, 0};
    /* an earlier write failed, and its errno is gone: a pipe that nobody reads any more says so itself */
    if (!why && poll(&reader, 1, 0) == 1 && (reader.revents & POLLERR))
        why = EPIPE;
    int code = why == ENOSPC || why == EDQUOT || why == EFBIG ? VMCTL_E_RESOURCE_EXHAUSTED : VMCTL_E_UNAVAILABLE;
    /* a reader that has seen enough, as in `| head`, needs no message; its status tells */
    if (why == EPIPE)
        return status ? status : vmctl_code_exit_status(code);
    int failure = cli_fail(c, code, NULL, "cannot write the result to standard output%s%s", why ? ": " : "",
                           why ? strerror(why) : "");
    return status ? status : failure;
}

static void write_outcome(cli *c, FILE *to, const cJSON *result) {
    (void)c;
    CLI_AUTO_FREE char *name = cli_printable(cli_get(result, "name"));
    CLI_AUTO_FREE char *detail = cli_printable(cli_get(result, "detail"));
    fprintf(to, "%s %s%s%s%s\n", name, cli_get(result, "outcome"), *detail ? " (" : "", detail, *detail ? ")" : "");
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(result, "removed")) {
        CLI_AUTO_FREE char *what = cli_printable(cli_get(item, "name"));
        fprintf(to, "  removed %s %s\n", cli_get(item, "kind"), what);
    }
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(result, "changes")) {
        CLI_AUTO_FREE char *path = cli_printable(cli_get(item, "path"));
        CLI_AUTO_FREE char *have = cli_printable(cli_get(item, "have"));
        CLI_AUTO_FREE char *want = cli_printable(cli_get(item, "want"));
        const char *action = cli_get(item, "action");
        const char *effect = cli_get(item, "effect");
        fprintf(to, "  %s %s: %s%s%s%s\n",
                !strcmp(action, "add")      ? "+"
                : !strcmp(action, "remove") ? "-"
                                            : "~",
                path, have, *have && *want ? " -> " : "", want,
                !strcmp(effect, "at-restart") ? "  (after a restart)" : "");
    }
}

const cli_view cli_view_outcome = {NULL, write_outcome, NULL, NULL};
