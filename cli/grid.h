/* cli/grid.h - texts in columns that are wrapped to the terminal; and the same as Markdown and CSV. */
#ifndef VMCTL_CLI_GRID_H
#define VMCTL_CLI_GRID_H

#include "cli.h"

enum { CLI_GRID_COLUMNS = 12 };

typedef enum cli_grid_kind {
    CLI_GRID_TEXT,  /* wrapped when there is no room */
    CLI_GRID_WORD,  /* never wrapped */
    CLI_GRID_LEVEL, /* wrapped after a slash when all else is narrow; coloured by the level that it begins with */
    CLI_GRID_NOTE,  /* the last column: wrapped, and below its row where a column of it would be too narrow to read */
} cli_grid_kind;

typedef struct cli_grid {
    cli_grid_kind kinds[CLI_GRID_COLUMNS];
    size_t columns;
    char ***rows; /* of each row the cells; a heading has its text in the first and NULL in the second */
    size_t row_count;
} cli_grid;

/* Whether the result is wanted as a grid: table, wide, markdown or csv. */
bool cli_grid_wanted(const cli *c);

/* titles: the first row; a newline in one begins another line. */
void cli_grid_begin(cli_grid *grid, const char *const *titles, const cli_grid_kind *kinds, size_t columns);
/* One text per column; NULL is an empty one. */
void cli_grid_add(cli_grid *grid, const char *const *cells);
/* A line of its own across all columns, with a blank line before it. Not in Markdown and CSV. */
void cli_grid_heading(cli_grid *grid, const char *text);
/* As c->format says: CLI_MARKDOWN, CLI_CSV, else for people, no line wider than cli_width() where that can be. Empties the grid. */
void cli_grid_write(cli *c, FILE *to, cli_grid *grid);

/* The width to wrap to: COLUMNS, else the terminal's; 0: no terminal, nothing is wrapped. */
size_t cli_width(void);
/* One paragraph wrapped to cli_width(): `first` begins it, the lines that follow are indented by as much. */
void cli_wrap(FILE *to, const char *first, const char *text);

#endif
