/* src/data.h - the tables of core/data as arrays; the build makes them (core/data/tables.awk). */
#ifndef VMC_SRC_DATA_H
#define VMC_SRC_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <vmctl/caps.h>

typedef struct vmc_table {
    const char *const *cells; /* row by row; the first row is the header */
    size_t rows;              /* without the header */
    size_t columns;
} vmc_table;

/* The comparison that the project started from; README.md of core/data tells which file is what. */
extern const vmc_table vmc_data_comparison, vmc_data_levels, vmc_data_workloads, vmc_data_decision_guide,
    vmc_data_notes, vmc_data_migration_paths;
/* What vmctl's authors add. */
extern const vmc_table vmc_data_platforms, vmc_data_sections, vmc_data_corrections, vmc_data_answers, vmc_data_criteria,
    vmc_data_workload_needs, vmc_data_against, vmc_data_path_commands, vmc_data_proofs, vmc_data_sources;

/* The text of a cell, never NULL; row counts from 0 and leaves out the header. */
const char *vmc_cell(const vmc_table *table, size_t row, size_t column);
/* The column that the header names so; the number of columns: there is none. */
size_t vmc_column(const vmc_table *table, const char *name);
/* The first row at or after `from` whose cell in this column is `text`; the number of rows: there is none. */
size_t vmc_row(const vmc_table *table, size_t from, size_t column, const char *text);

/* --- platforms ------------------------------------------------------------------------------------------------- */

/* The platforms in the order of the comparison. Number of a platform by its name there ("VMware ESXi"), an alias ("VMware") or its
 * backend's name; -1: there is none. */
enum { VMC_PLATFORMS = 4 };
const char *vmc_platform_name(size_t platform);
const char *vmc_platform_backend(size_t platform);
int vmc_platform_find(const char *name);

/* The level of a row that is a feature; UNKNOWN for the others. */
vmctl_level vmc_row_level(const char *row, const char *platform);
/* Whether a correction stands beside this row's cell (or belongs to this feature). */
bool vmc_correction_of(const char *what, const char *platform, vmctl_level *level, const char **text,
                       const char **evidence);

#endif
