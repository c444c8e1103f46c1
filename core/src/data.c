/* Reading the tables of core/data. */
#include "data.h"
#include "base/str.h"
#include <string.h>
#include <strings.h>

const char *vmc_cell(const vmc_table *table, size_t row, size_t column) {
    return row < table->rows && column < table->columns ? table->cells[(row + 1) * table->columns + column] : "";
}

size_t vmc_column(const vmc_table *table, const char *name) {
    size_t column = 0;
    while (column < table->columns && strcmp(table->cells[column], name) != 0)
        column++;
    return column;
}

size_t vmc_row(const vmc_table *table, size_t from, size_t column, const char *text) {
    size_t row = from;
    while (row < table->rows && strcmp(vmc_cell(table, row, column), text) != 0)
        row++;
    return row;
}

enum { PLATFORM_NAME, PLATFORM_BACKEND, PLATFORM_ALIASES };

const char *vmc_platform_name(size_t platform) {
    return vmc_cell(&vmc_data_platforms, platform, PLATFORM_NAME);
}

const char *vmc_platform_backend(size_t platform) {
    return vmc_cell(&vmc_data_platforms, platform, PLATFORM_BACKEND);
}

static bool in_list(const char *list, const char *word) {
    size_t length = strlen(word);
    for (const char *p = list; *p; p += strspn(p, ",")) {
        size_t n = strcspn(p, ",");
        if (n == length && strncasecmp(p, word, n) == 0)
            return true;
        p += n;
    }
    return false;
}

int vmc_platform_find(const char *name) {
    for (size_t i = 0; name && i < vmc_data_platforms.rows; i++)
        if (strcasecmp(vmc_platform_name(i), name) == 0 || strcasecmp(vmc_platform_backend(i), name) == 0 ||
            in_list(vmc_cell(&vmc_data_platforms, i, PLATFORM_ALIASES), name))
            return (int)i;
    return -1;
}
