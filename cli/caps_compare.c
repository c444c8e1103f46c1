/* vmctl caps --compare: the comparison as its source has it. */
#include "caps.h"
#include "grid.h"
#include "output.h"
#include "tree.h"

#include <stdlib.h>
#include <string.h>

enum { PLATFORMS = 4 };

/* A list of rows: {"section", "feature", "platforms": [{"platform", "backend", "level", "text", "correction"}]}. */
static int keep_cell(const vmctl_comparison *cell, void *user) {
    cJSON *rows = user, *row = rows->child ? rows->child->prev : NULL;

    if (!row || strcmp(cli_get(row, "feature"), cell->row) != 0 ||
        strcmp(cli_get(row, "section"), cell->section) != 0) {
        row = cJSON_CreateObject();
        cli_put(row, "section", cell->section);
        cli_put(row, "feature", cell->row);
        cJSON_AddArrayToObject(row, "platforms");
        cJSON_AddItemToArray(rows, row);
    }
    cJSON *item = cJSON_CreateObject();
    cli_put(item, "platform", cell->platform);
    cli_put(item, "backend", cell->backend);
    if (cell->level != VMCTL_LEVEL_UNKNOWN)
        cli_put(item, "level", vmctl_level_name(cell->level));
    cli_put(item, "text", cell->text);
    if (cell->correction)
        cJSON_AddItemToObject(item, "correction",
                              cli_tree_correction(cell->corrected, cell->correction, cell->evidence));
    cJSON_AddItemToArray(cJSON_GetObjectItem(row, "platforms"), item);
    return 0;
}

static int keep_note(const vmctl_comparison_note *note, void *user) {
    cJSON *item = cJSON_CreateObject();
    cli_put(item, "topic", note->topic);
    cli_put(item, "platform", note->platform);
    cli_put(item, "note", note->text);
    cJSON_AddItemToArray(user, item);
    return 0;
}

static int keep_step(const vmctl_path_step *step, void *user) {
    cJSON *item = cJSON_CreateObject();
    cli_put(item, "from", step->from);
    cli_put(item, "to", step->to);
    cli_put_number(item, "step", step->step);
    cli_put(item, "action", step->action);
    cli_put(item, "command", step->command);
    cJSON_AddItemToArray(user, item);
    return 0;
}

/* The parts that are no rows of the comparison: workloads, the decision guide, the paths. */
static cJSON *other_tables(const char *section) {
    cJSON *items = cJSON_CreateArray();

    if (!strcmp(section, "workloads"))
        for (size_t i = 0; vmctl_workload_name(i); i++) {
            cJSON *item = cJSON_CreateObject();
            cli_put(item, "workload", vmctl_workload_name(i));
            cli_put(item, "first", vmctl_workload_choice(i, 0));
            cli_put(item, "second", vmctl_workload_choice(i, 1));
            cli_put(item, "note", vmctl_workload_note(i));
            cJSON_AddItemToArray(items, item);
        }
    if (!strcmp(section, "decision-guide"))
        for (size_t i = 0; vmctl_criterion_name(i); i++) {
            cJSON *item = cJSON_CreateObject();
            cli_put(item, "platform", vmctl_criterion_platform(i));
            cli_put(item, "need", vmctl_criterion_name(i));
            cli_put(item, "criterion", vmctl_criterion_text(i));
            cJSON_AddItemToArray(items, item);
        }
    if (!strcmp(section, "migration-paths"))
        for (size_t i = 0; vmctl_platform_name(i); i++)
            for (size_t j = 0; vmctl_platform_name(j); j++)
                vmctl_migration_path(vmctl_platform_name(i), vmctl_platform_name(j), keep_step, items, NULL);
    return items;
}

/* --- for people ------------------------------------------------------------------------------------------------- */

static const char *section_title(const char *section) {
    for (size_t i = 0; vmctl_section_name(i); i++)
        if (!strcmp(vmctl_section_name(i), section))
            return vmctl_section_title(i);
    return section;
}

/* A cell with the number of its correction: "Not supported [1]". */
static char *marked_text(cli *c, const cJSON *cell, cli_strings *corrections, const char *feature) {
    const cJSON *correction = cJSON_GetObjectItem(cell, "correction");
    const char *level = c->format == CLI_WIDE ? cli_get(cell, "level") : "";
    CLI_AUTO_FREE char *text =
        cli_printf("%s%s%s%s", cli_get(cell, "text"), *level ? " (" : "", level, *level ? ")" : "");

    if (!correction || c->format == CLI_CSV)
        return cli_strdup(text);
    cli_strings_take(corrections,
                     cli_printf("%s, %s: %s; %s (%s)", feature, cli_get(cell, "platform"), cli_get(correction, "level"),
                                cli_get(correction, "text"), cli_get(correction, "evidence")));
    return cli_printf("%s [%zu]", text, corrections->count);
}

static void write_rows(cli *c, const cJSON *rows, cli_strings *corrections) {
    bool csv = c->format == CLI_CSV, flat = csv || c->format == CLI_MARKDOWN;
    const char *titles[CLI_GRID_COLUMNS];
    cli_grid_kind kinds[CLI_GRID_COLUMNS] = {CLI_GRID_TEXT};
    CLI_AUTO_STRINGS names = {0};
    const char *section = "";
    size_t columns = 0;
    cli_grid grid;

    if (flat)
        titles[columns++] = csv ? "section" : "Section";
    titles[columns++] = csv ? "feature" : flat ? "Feature" : "FEATURE";
    for (size_t p = 0; vmctl_platform_name(p); p++)
        titles[columns++] = vmctl_platform_name(p);
    for (size_t p = 0; csv && vmctl_platform_name(p); p++) {
        cli_strings_take(&names, cli_printf("%s correction", vmctl_platform_name(p)));
        titles[columns++] = names.items[names.count - 1];
    }
    cli_grid_begin(&grid, titles, kinds, columns);
    const cJSON *row = NULL;
    cJSON_ArrayForEach(row, rows) {
        const char *feature = cli_get(row, "feature");
        CLI_AUTO_STRINGS cells = {0};
        if (strcmp(section, cli_get(row, "section")) != 0) {
            section = cli_get(row, "section");
            cli_grid_heading(&grid, section_title(section));
        }
        if (flat)
            cli_strings_add(&cells, section);
        cli_strings_add(&cells, feature);
        const cJSON *cell = NULL, *platforms = cJSON_GetObjectItem(row, "platforms");
        cJSON_ArrayForEach(cell, platforms) cli_strings_take(&cells, marked_text(c, cell, corrections, feature));
        cJSON_ArrayForEach(cell, platforms)
            cli_strings_add(&cells, cli_get(cJSON_GetObjectItem(cell, "correction"), "text"));
        cli_grid_add(&grid, (const char *const *)cells.items);
    }
    cli_grid_write(c, stdout, &grid);
}

/* Any list of flat objects: the keys of the first are the titles. */
static void write_items(cli *c, const cJSON *items, const char *const *keys, size_t count) {
    const char *titles[CLI_GRID_COLUMNS];
    cli_grid_kind kinds[CLI_GRID_COLUMNS] = {CLI_GRID_TEXT};
    CLI_AUTO_STRINGS upper = {0};
    cli_grid grid;

    for (size_t i = 0; i < count; i++) {
        char *title = cli_strdup(keys[i]);
        for (char *p = title; c->format != CLI_CSV && *p; p++)
            *p = (char)(*p >= 'a' && *p <= 'z' ? *p - 32 : *p);
        cli_strings_take(&upper, title);
        titles[i] = title;
    }
    cli_grid_begin(&grid, titles, kinds, count);
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, items) {
        CLI_AUTO_STRINGS cells = {0};
        for (size_t i = 0; i < count; i++)
            cli_strings_take(&cells, cli_cell_text(item, keys[i], CLI_CELL_TEXT));
        cli_grid_add(&grid, (const char *const *)cells.items);
    }
    cli_grid_write(c, stdout, &grid);
}

static const char *const note_keys[] = {"topic", "platform", "note"};
static const char *const workload_keys[] = {"workload", "first", "second", "note"};
static const char *const guide_keys[] = {"platform", "need", "criterion"};
static const char *const path_keys[] = {"from", "to", "step", "action", "command"};

static void write_other(cli *c, const char *section, const cJSON *items) {
    if (!strcmp(section, "workloads"))
        write_items(c, items, workload_keys, 4);
    else if (!strcmp(section, "decision-guide"))
        write_items(c, items, guide_keys, 3);
    else
        write_items(c, items, path_keys, 5);
}

static void write_for_people(cli *c, const char *section, const cJSON *rows, const cJSON *notes, const cJSON *others) {
    CLI_AUTO_STRINGS corrections = {0};
    const char *between = "";

    if (rows->child) {
        write_rows(c, rows, &corrections);
        between = "\n";
    }
    for (size_t i = 0; i < corrections.count; i++) {
        CLI_AUTO_FREE char *number = cli_printf("[%zu] ", i + 1);
        fputs(i == 0 || c->format == CLI_MARKDOWN ? "\n" : "", stdout);
        cli_wrap(stdout, number, corrections.items[i]);
    }
    if (notes->child) {
        fputs(between, stdout);
        write_items(c, notes, note_keys, 3);
        between = "\n";
    }
    if (section && others->child) {
        fputs(between, stdout);
        write_other(c, section, others);
    }
}

int cli_caps_compare(cli *c, const char *section) {
    cJSON *rows = cJSON_CreateArray(), *notes = cJSON_CreateArray();
    vmctl_error *err = NULL;
    int status = 0;

    if (vmctl_compare(section, keep_cell, rows, &err) < 0 ||
        (section && vmctl_compare_notes(section, keep_note, notes, &err) < 0))
        status = cli_report(c, err, NULL);
    cJSON *others = !status && section ? other_tables(section) : cJSON_CreateArray();
    if (!status && cli_grid_wanted(c)) {
        write_for_people(c, section, rows, notes, others);
    } else if (!status) {
        static const cli_view view = {.name_key = "feature"};
        cJSON *lists[] = {rows, notes, others}, *item = NULL;
        cli_output_begin(c, &view);
        for (size_t i = 0; i < 3; i++)
            while ((item = cJSON_DetachItemFromArray(lists[i], 0)))
                cli_output_add(c, item);
        cli_output_end(c, false);
    }
    cJSON_Delete(rows);
    cJSON_Delete(notes);
    cJSON_Delete(others);
    return status;
}
