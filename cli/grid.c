/* Texts in columns that are wrapped to the terminal. */
#include "grid.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { GAP = 2, LEAST = 6, NOTE_LEAST = 36, NOTE_INDENT = 4 };

bool cli_grid_wanted(const cli *c) {
    return c->format == CLI_TABLE || c->format == CLI_WIDE || c->format == CLI_MARKDOWN || c->format == CLI_CSV;
}

size_t cli_width(void) {
    const char *given = getenv("COLUMNS");
    struct winsize size;
    long columns = given ? strtol(given, NULL, 10) : 0;

    if (columns > 0)
        return (size_t)columns;
    if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
        return size.ws_col;
    return 0;
}

void cli_grid_begin(cli_grid *grid, const char *const *titles, const cli_grid_kind *kinds, size_t columns) {
    *grid = (cli_grid){.columns = columns < CLI_GRID_COLUMNS ? columns : CLI_GRID_COLUMNS};
    memcpy(grid->kinds, kinds, grid->columns * sizeof *kinds);
    cli_grid_add(grid, titles);
}

static char **add_row(cli_grid *grid) {
    grid->rows = cli_grow(grid->rows, grid->row_count + 1, sizeof *grid->rows);
    char **row = cli_alloc(CLI_GRID_COLUMNS * sizeof *row);
    grid->rows[grid->row_count++] = row;
    return row;
}

void cli_grid_add(cli_grid *grid, const char *const *cells) {
    char **row = add_row(grid);
    for (size_t i = 0; i < grid->columns; i++)
        row[i] = cli_printable(cells[i] ? cells[i] : "");
}

void cli_grid_heading(cli_grid *grid, const char *text) {
    add_row(grid)[0] = cli_printable(text);
}

static bool is_heading(const cli_grid *grid, char *const *row) {
    return grid->columns > 1 && !row[1];
}

/* --- for people ------------------------------------------------------------------------------------------------- */

/* Characters, not bytes. */
static size_t width_of(const char *text, size_t bytes) {
    size_t width = 0;
    for (size_t i = 0; i < bytes; i++)
        width += ((unsigned char)text[i] & 0xc0) != 0x80;
    return width;
}

static size_t widest_line(const char *text) {
    size_t most = 0;
    for (const char *p = text; *p; p += *p == '\n') {
        size_t bytes = strcspn(p, "\n"), width = width_of(p, bytes);
        most = width > most ? width : most;
        p += bytes;
    }
    return most;
}

/* The longest piece that is not to be torn apart. */
static size_t widest_piece(const char *text) {
    size_t most = 0;
    for (const char *p = text; *p;) {
        size_t bytes = strcspn(p, " \n/,");
        bytes += p[bytes] == '/' || p[bytes] == ',';
        size_t width = width_of(p, bytes);
        most = width > most ? width : most;
        p += bytes + strspn(p + bytes, " \n");
    }
    return most;
}

static size_t column_width(const cli_grid *grid, size_t column, size_t (*measure)(const char *text)) {
    size_t most = 0;
    for (size_t r = 0; r < grid->row_count; r++) {
        size_t width = is_heading(grid, grid->rows[r]) ? 0 : measure(grid->rows[r][column]);
        most = width > most ? width : most;
    }
    return most;
}

/* Takes one from the widest column that has more than its least, until all is within the limit. */
static size_t shrink(size_t *widths, const size_t *least, size_t columns, size_t total, size_t limit) {
    while (total > limit) {
        size_t widest = columns;
        for (size_t i = 0; i < columns; i++)
            if (widths[i] > least[i] && (widest == columns || widths[i] >= widths[widest]))
                widest = i;
        if (widest == columns)
            break;
        widths[widest]--;
        total--;
    }
    return total;
}

static bool is_text(cli_grid_kind kind) {
    return kind == CLI_GRID_TEXT || kind == CLI_GRID_NOTE;
}

/* Texts give first, as far as their words stay whole, then levels ("can/does" in two lines), then words are torn apart. */
static void choose_widths(const cli_grid *grid, size_t columns, size_t limit, size_t *widths) {
    size_t total = (columns - 1) * GAP, pieces[CLI_GRID_COLUMNS], least[CLI_GRID_COLUMNS];

    for (size_t i = 0; i < columns; i++) {
        widths[i] = column_width(grid, i, widest_line);
        pieces[i] = column_width(grid, i, widest_piece);
        total += widths[i];
    }
    for (int step = 0; step < 3 && limit && total > limit; step++) {
        for (size_t i = 0; i < columns; i++) {
            bool gives = step == 1 ? grid->kinds[i] == CLI_GRID_LEVEL : is_text(grid->kinds[i]);
            least[i] = !gives ? widths[i] : step == 2 ? LEAST : pieces[i];
        }
        total = shrink(widths, least, columns, total, limit);
    }
}

/* How many bytes of text go into a line of that width, and where the next line begins. A word that would be whole on a line of its own stays
 * whole: people copy paths and URIs. */
static size_t line_length(const char *text, size_t width, const char **next) {
    size_t line = strcspn(text, "\n"), bytes = 0, fits = 0, blank = 0, within = 0;

    for (size_t columns = 0; bytes < line; columns++) {
        size_t n = 1;
        while (bytes + n < line && ((unsigned char)text[bytes + n] & 0xc0) == 0x80)
            n++;
        if (columns == width)
            break;
        bytes += n;
        fits = bytes;
        if (text[bytes] == ' ')
            blank = bytes;
        else if (strchr("/,", text[bytes - 1]))
            within = bytes;
    }
    if (bytes == line) {
        *next = text + line + (text[line] == '\n');
        return line;
    }
    /* the blank itself may stand just beyond the edge */
    size_t end = text[fits] == ' ' ? fits : blank ? blank : within ? within : fits;
    *next = text + end + strspn(text + end, " ");
    while (end > 0 && text[end - 1] == ' ')
        end--;
    return end;
}

static const char *color_of(const char *text) {
    static const char *const colors[][2] = {
        {"yes", "\033[32m"}, {"limited", "\033[33m"}, {"manual", "\033[33m"}, {"no", "\033[31m"}};
    for (size_t i = 0; i < sizeof colors / sizeof *colors; i++)
        if (!strncmp(text, colors[i][0], strlen(colors[i][0])))
            return colors[i][1];
    return NULL;
}

static void write_row(cli *c, FILE *to, const cli_grid *grid, size_t columns, char *const *row, const size_t *widths) {
    const char *rest[CLI_GRID_COLUMNS];
    bool more = true;

    for (size_t i = 0; i < columns; i++)
        rest[i] = row[i];
    while (more) {
        size_t owed = 0; /* blanks before the next text: none at the end of a line */
        more = false;
        for (size_t i = 0; i < columns; i++) {
            const char *text = rest[i];
            size_t bytes = line_length(text, widths[i], &rest[i]), width = width_of(text, bytes);
            const char *color =
                c->color && grid->kinds[i] == CLI_GRID_LEVEL && row != grid->rows[0] ? color_of(text) : NULL;
            more |= *rest[i] != 0;
            if (bytes)
                fprintf(to, "%*s%s%.*s%s", (int)owed, "", color ? color : "", (int)bytes, text, color ? "\033[0m" : "");
            owed = (bytes ? 0 : owed) + widths[i] - width + GAP;
        }
        fputc('\n', to);
    }
}

/* How many columns stand side by side: the last one does not where it would be too narrow. */
static size_t side_by_side(const cli_grid *grid) {
    size_t limit = cli_width(), last = grid->columns - 1, before = 0;

    if (!limit || last == 0 || grid->kinds[last] != CLI_GRID_NOTE)
        return grid->columns;
    for (size_t i = 0; i < last; i++)
        before += column_width(grid, i, widest_line) + GAP;
    size_t wanted = column_width(grid, last, widest_line);
    return before + (wanted < NOTE_LEAST ? wanted : NOTE_LEAST) <= limit ? grid->columns : last;
}

static void write_table(cli *c, FILE *to, const cli_grid *grid) {
    size_t widths[CLI_GRID_COLUMNS], columns = side_by_side(grid);

    choose_widths(grid, columns, cli_width(), widths);
    for (size_t r = 0; r < grid->row_count; r++) {
        if (is_heading(grid, grid->rows[r])) {
            fprintf(to, "\n%s\n", grid->rows[r][0]);
            continue;
        }
        write_row(c, to, grid, columns, grid->rows[r], widths);
        if (columns < grid->columns && r > 0 && *grid->rows[r][columns]) {
            CLI_AUTO_FREE char *indent = cli_printf("%*s", NOTE_INDENT, "");
            cli_wrap(to, indent, grid->rows[r][columns]);
        }
    }
}

/* --- Markdown and CSV ----------------------------------------------------------------------------------------------- */

static void write_escaped(FILE *to, const char *text, bool csv) {
    bool quoted = csv && strpbrk(text, ",\"\n");

    if (quoted)
        fputc('"', to);
    for (; *text; text++) {
        if (csv && *text == '"')
            fputc('"', to);
        else if (!csv && *text == '|')
            fputc('\\', to);
        fputc(!csv && *text == '\n' ? ' ' : *text, to);
    }
    if (quoted)
        fputc('"', to);
}

/* GitHub's tables; RFC 4180 with the line ends of Unix. */
static void write_marked(FILE *to, const cli_grid *grid, bool csv) {
    for (size_t r = 0; r < grid->row_count; r++) {
        if (is_heading(grid, grid->rows[r]))
            continue;
        fputs(csv ? "" : "| ", to);
        for (size_t i = 0; i < grid->columns; i++) {
            fputs(i == 0 ? "" : csv ? "," : " | ", to);
            write_escaped(to, grid->rows[r][i], csv);
        }
        fputs(csv ? "\n" : " |\n", to);
        for (size_t i = 0; r == 0 && !csv && i < grid->columns; i++)
            fputs(i + 1 < grid->columns ? "|---" : "|---|\n", to);
    }
}

void cli_grid_write(cli *c, FILE *to, cli_grid *grid) {
    if (c->format == CLI_MARKDOWN || c->format == CLI_CSV)
        write_marked(to, grid, c->format == CLI_CSV);
    else
        write_table(c, to, grid);
    for (size_t r = 0; r < grid->row_count; r++) {
        for (size_t i = 0; i < grid->columns; i++)
            free(grid->rows[r][i]);
        free(grid->rows[r]);
    }
    free(grid->rows);
    *grid = (cli_grid){0};
}

void cli_wrap(FILE *to, const char *first, const char *text) {
    size_t indent = strlen(first), limit = cli_width();
    size_t width = limit > indent + LEAST ? limit - indent : limit ? LEAST : (size_t)-1;

    fputs(first, to);
    for (const char *next = text; *text; text = next) {
        size_t bytes = line_length(text, width, &next);
        fprintf(to, "%.*s\n%*s", (int)bytes, text, *next ? (int)indent : 0, "");
    }
}
