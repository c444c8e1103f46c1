/* A list of results as a table for people, through libsmartcols. */
#include "output.h"
#include "tree.h"

#include <langinfo.h>
#include <libsmartcols.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const cJSON *reach(const cJSON *row, const char *key) {
    for (;;) {
        size_t length = strcspn(key, ".");
        if (!key[length])
            return cJSON_GetObjectItemCaseSensitive(row, key);
        CLI_AUTO_FREE char *part = cli_strndup(key, length);
        row = part ? cJSON_GetObjectItemCaseSensitive(row, part) : NULL;
        if (!row)
            return NULL;
        key += length + 1;
    }
}

static char *join(const cJSON *list, const char *key) {
    char *text = NULL;
    size_t length = 0;
    FILE *to = open_memstream(&text, &length);
    const cJSON *item = NULL;
    const char *between = "";

    if (!to)
        return cli_strdup("");
    cJSON_ArrayForEach(item, list) {
        const char *value = cJSON_GetStringValue(cJSON_IsObject(item) ? cJSON_GetObjectItem(item, key) : item);
        if (!value)
            continue;
        fprintf(to, "%s%s", between, value);
        between = ",";
    }
    fclose(to);
    return text;
}

static char *labels(const cJSON *map) {
    char *text = NULL;
    size_t length = 0;
    FILE *to = open_memstream(&text, &length);
    const cJSON *item = NULL;

    if (!to)
        return cli_strdup("");
    cJSON_ArrayForEach(item, map) fprintf(to, "%s%s=%s", item == map->child ? "" : ",", item->string,
                                          cJSON_IsString(item) ? item->valuestring : "");
    fclose(to);
    return text;
}

static char *duration(double seconds) {
    long long s = (long long)seconds;

    if (s < 120)
        return cli_printf("%llds", s);
    if (s < 7200)
        return cli_printf("%lldm", s / 60);
    if (s < 172800)
        return cli_printf("%lldh %lldm", s / 3600, s / 60 % 60);
    return cli_printf("%lldd %lldh", s / 86400, s / 3600 % 24);
}

char *cli_cell_text(const cJSON *row, const char *key, cli_cell cell) {
    const cJSON *item = reach(row, key);

    if (!item || cJSON_IsNull(item))
        return cli_strdup("");
    switch (cell) {
    case CLI_CELL_MIB:
        return cli_human_bytes(item->valuedouble * 1024 * 1024);
    case CLI_CELL_BYTES:
        return cli_human_bytes(item->valuedouble);
    case CLI_CELL_TENTHS:
        return cli_printf("%.1f", item->valuedouble);
    case CLI_CELL_SECONDS:
        return duration(item->valuedouble);
    case CLI_CELL_YES:
        return cli_strdup(cJSON_IsTrue(item) ? "yes" : "");
    case CLI_CELL_IPS:
        return join(item, "ip");
    case CLI_CELL_NAMES:
        return join(item, "name");
    case CLI_CELL_LABELS:
        return labels(item);
    case CLI_CELL_TEXT:
    case CLI_CELL_STATE:
    case CLI_CELL_LEVEL:
        break;
    }
    if (cJSON_IsString(item))
        return cli_strdup(item->valuestring);
    if (cJSON_IsBool(item))
        return cli_strdup(cJSON_IsTrue(item) ? "yes" : "no");
    if (cJSON_IsNumber(item) && item->valuedouble == item->valueint) /* as cJSON writes it, but a third of the time */
        return cli_printf("%d", item->valueint);
    char *text = cJSON_PrintUnformatted(item);
    return text ? text : cli_strdup("");
}

static const char *color_of(cli_cell cell, const char *text) {
    static const char *const colors[][2] = {{"running", "green"}, {"yes", "green"},     {"limited", "brown"},
                                            {"manual", "brown"},  {"paused", "brown"},  {"saved", "brown"},
                                            {"starting", "cyan"}, {"stopping", "cyan"}, {"migrating", "cyan"},
                                            {"stopped", "gray"},  {"no", "gray"},       {"crashed", "red"}};
    if (cell == CLI_CELL_STATE || cell == CLI_CELL_LEVEL)
        for (size_t i = 0; i < sizeof colors / sizeof *colors; i++)
            if (!strcmp(text, colors[i][0]))
                return colors[i][1];
    return NULL;
}

static void fill(cli *c, const cli_view *view, struct libscols_line *line, const cJSON *row) {
    size_t at = 0;

    for (const cli_column *column = view->columns; column->title; column++) {
        if ((column->flags & CLI_COLUMN_WIDE) && c->format != CLI_WIDE)
            continue;
        char *text = cli_cell_text(row, column->key, column->cell);
        const char *color = c->color ? color_of(column->cell, text) : NULL;
        if (scols_line_refer_data(line, at, text) != 0) /* it is the table's from now on */
            free(text);
        if (color)
            scols_cell_set_color(scols_line_get_cell(line, at), color);
        at++;
    }
}

/* The line of the row whose name is that, among those before `end`. */
static struct libscols_line *parent_of(struct libscols_table *table, const cJSON *rows, const cJSON *end,
                                       const char *name) {
    size_t n = 0;
    const cJSON *row = NULL;

    cJSON_ArrayForEach(row, rows) {
        if (row == end)
            return NULL;
        if (!strcmp(cli_get(row, "name"), name))
            return scols_table_get_line(table, n);
        n++;
    }
    return NULL;
}

/* Widths are counted in characters only in a UTF-8 locale; elsewhere names would be shown as \x escapes. */
static void use_utf8(void) {
    static bool done;

    if (done)
        return;
    done = true;
    if (!setlocale(LC_CTYPE, "") || strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
        setlocale(LC_CTYPE, "C.UTF-8");
}

/* libsmartcols writes nothing at all for a table without lines. */
static void print_headings(const cli *c, FILE *to, const cli_view *view) {
    const char *between = "";

    for (const cli_column *column = view->columns; column->title; column++) {
        if ((column->flags & CLI_COLUMN_WIDE) && c->format != CLI_WIDE)
            continue;
        fprintf(to, "%s%s", between, column->title);
        between = "  ";
    }
    fputc('\n', to);
}

void cli_table_write(cli *c, FILE *to, const cli_view *view, const cJSON *rows, bool headings) {
    use_utf8();
    struct libscols_table *table = scols_new_table();
    const cJSON *row = NULL;

    if (!table)
        return;
    scols_table_set_stream(table, to);
    scols_table_enable_noheadings(table, !headings);
    scols_table_enable_colors(table, c->color);
    bool terminal = to == stdout && isatty(STDOUT_FILENO);
    scols_table_set_termforce(table, terminal ? SCOLS_TERMFORCE_AUTO : SCOLS_TERMFORCE_NEVER);
    scols_table_set_column_separator(table, "  ");
    for (const cli_column *column = view->columns; column->title; column++) {
        if ((column->flags & CLI_COLUMN_WIDE) && c->format != CLI_WIDE)
            continue;
        int flags = (column->flags & CLI_COLUMN_RIGHT ? SCOLS_FL_RIGHT : 0) |
                    (column->flags & CLI_COLUMN_CUT && terminal ? SCOLS_FL_TRUNC : 0) |
                    (column->flags & CLI_COLUMN_TREE ? SCOLS_FL_TREE : 0);
        scols_table_new_column(table, column->title, 0, flags);
    }
    cJSON_ArrayForEach(row, rows) {
        struct libscols_line *parent =
            view->parent_key ? parent_of(table, rows, row, cli_get(row, view->parent_key)) : NULL;
        struct libscols_line *line = scols_table_new_line(table, parent);
        if (line)
            fill(c, view, line, row);
    }
    if (rows->child)
        scols_print_table(table);
    else if (headings)
        print_headings(c, to, view);
    scols_unref_table(table);
}
