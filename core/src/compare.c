/* The comparison as its source has it, with the corrections beside it, and the paths from one platform to another. */
#include "data.h"
#include "internal.h"
#include <stdlib.h>
#include <string.h>
#include <vmctl/compare.h>

/* --- sections ---------------------------------------------------------------------------------------------------- */

enum { SECTION_NAME, SECTION_TITLE, SECTION_NOTES };

const char *vmctl_section_name(size_t index) {
    return index < vmc_data_sections.rows ? vmc_cell(&vmc_data_sections, index, SECTION_NAME) : NULL;
}

const char *vmctl_section_title(size_t index) {
    return index < vmc_data_sections.rows ? vmc_cell(&vmc_data_sections, index, SECTION_TITLE) : NULL;
}

static int find_section(const char *name, size_t *row, vmctl_error **err) {
    const vmc_table *t = &vmc_data_sections;
    *row = vmc_row(t, 0, SECTION_NAME, name);
    if (*row < t->rows)
        return 0;
    VMC_AUTO_STRV names = {0};
    for (size_t i = 0; i < t->rows; i++)
        vmc_strv_add(&names, vmc_cell(t, i, SECTION_NAME));
    const char *near = vmc_nearest(name, (const char *const *)names.items);
    VMC_AUTO_FREE char *all = vmc_strv_join(&names, ", ");
    vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "the comparison has no section \"%s\"", name);
    if (near)
        vmc_error_append(err, "; did you mean %s?", near);
    vmc_error_next(err, "one of %s", all);
    return VMCTL_E_INVALID_ARGUMENT;
}

/* --- rows ------------------------------------------------------------------------------------------------------------ */

int vmctl_compare(const char *section, vmctl_comparison_fn each, void *user, vmctl_error **err) {
    enum { SECTION, ROW };
    const vmc_table *t = &vmc_data_comparison;
    size_t found;
    if (!each)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "no callback was given");
    if (section && find_section(section, &found, err) < 0)
        return VMCTL_E_INVALID_ARGUMENT;
    for (size_t row = 0; row < t->rows; row++) {
        if (section && strcmp(vmc_cell(t, row, SECTION), section) != 0)
            continue;
        for (size_t p = 0; p < vmc_data_platforms.rows; p++) {
            const char *platform = vmc_platform_name(p);
            vmctl_comparison cell = {.size = sizeof cell,
                                     .section = vmc_cell(t, row, SECTION),
                                     .row = vmc_cell(t, row, ROW),
                                     .platform = platform,
                                     .backend = vmc_platform_backend(p),
                                     .text = vmc_cell(t, row, vmc_column(t, platform))};
            cell.level = vmc_row_level(cell.row, platform);
            vmc_correction_of(cell.row, platform, &cell.corrected, &cell.correction, &cell.evidence);
            if (each(&cell, user))
                return 0;
        }
    }
    return 0;
}

static bool has_topic(const char *topics, const char *topic) {
    size_t length = strlen(topic);
    for (const char *p = topics; *p; p += strspn(p, ",")) {
        size_t n = strcspn(p, ",");
        if (n == length && strncmp(p, topic, n) == 0)
            return true;
        p += n;
    }
    return false;
}

int vmctl_compare_notes(const char *section, vmctl_comparison_note_fn each, void *user, vmctl_error **err) {
    enum { TOPIC, PLATFORM, TEXT };
    const vmc_table *t = &vmc_data_notes;
    size_t found;
    if (!each || !section)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "no %s was given", each ? "section" : "callback");
    int rc = find_section(section, &found, err);
    if (rc < 0)
        return rc;
    const char *topics = vmc_cell(&vmc_data_sections, found, SECTION_NOTES);
    for (size_t row = 0; row < t->rows; row++) {
        if (!has_topic(topics, vmc_cell(t, row, TOPIC)))
            continue;
        const char *platform = vmc_cell(t, row, PLATFORM);
        vmctl_comparison_note note = {.size = sizeof note,
                                      .topic = vmc_cell(t, row, TOPIC),
                                      .platform = strcmp(platform, "all") == 0 ? NULL : platform,
                                      .text = vmc_cell(t, row, TEXT)};
        if (each(&note, user))
            break;
    }
    return 0;
}

/* --- paths ------------------------------------------------------------------------------------------------------------ */

enum { PATH_FROM, PATH_TO, PATH_STEP, PATH_ACTION, PATH_COMMAND };

static int need_platform(const char *name, const char *which, int *platform, vmctl_error **err) {
    *platform = vmc_platform_find(name);
    if (*platform >= 0)
        return 0;
    VMC_AUTO_STRV names = {0};
    for (size_t p = 0; p < vmc_data_platforms.rows; p++)
        vmc_strv_add(&names, vmc_platform_name(p));
    const char *near = vmc_nearest(name ? name : "", (const char *const *)names.items);
    VMC_AUTO_FREE char *all = vmc_strv_join(&names, ", ");
    vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s: there is no platform \"%s\"", which, name ? name : "");
    if (near)
        vmc_error_append(err, "; did you mean %s?", near);
    vmc_error_next(err, "one of %s", all);
    return VMCTL_E_INVALID_ARGUMENT;
}

static bool is_path(size_t row, int from, int to) {
    const vmc_table *t = &vmc_data_migration_paths;
    return vmc_platform_find(vmc_cell(t, row, PATH_FROM)) == from && vmc_platform_find(vmc_cell(t, row, PATH_TO)) == to;
}

static int no_path(int from, int to, vmctl_error **err) {
    const vmc_table *t = &vmc_data_migration_paths;
    VMC_AUTO_STRV paths = {0};
    for (size_t row = 0; row < t->rows; row++) {
        VMC_AUTO_FREE char *path =
            vmc_printf("--from %s --to %s", vmc_cell(t, row, PATH_FROM), vmc_cell(t, row, PATH_TO));
        if (!vmc_strv_has(&paths, path))
            vmc_strv_add(&paths, path);
    }
    VMC_AUTO_FREE char *all = vmc_strv_join(&paths, ", or ");
    vmc_error(err, VMCTL_E_NOT_FOUND, "the comparison has no migration path from %s to %s",
              vmc_platform_name((size_t)from), vmc_platform_name((size_t)to));
    vmc_error_next(err, "%s", all);
    return VMCTL_E_NOT_FOUND;
}

static int keep_answer(const vmctl_cap *cap, void *user) {
    *(vmctl_cap *)user = *cap;
    return 1;
}

/* The vmctl command for the step, where this build does what it needs; else why not. */
static void add_command(vmctl_path_step *step) {
    enum { FROM, TO, STEP, BACKEND, FEATURE, COMMAND };
    const vmc_table *t = &vmc_data_path_commands;
    for (size_t row = 0; row < t->rows; row++) {
        if (strcmp(vmc_cell(t, row, FROM), step->from) != 0 || strcmp(vmc_cell(t, row, TO), step->to) != 0 ||
            (unsigned)atoi(vmc_cell(t, row, STEP)) != step->step)
            continue;
        const char *feature = vmc_cell(t, row, FEATURE);
        vmctl_cap cap = {.vmctl = VMCTL_LEVEL_YES};
        vmctl_caps_options options = VMCTL_CAPS_OPTIONS_INIT;
        options.backend = vmc_cell(t, row, BACKEND);
        options.feature = feature;
        if (*feature)
            vmctl_caps(&options, keep_answer, &cap, NULL);
        if (vmctl_cap_met(&cap))
            step->vmctl_command = vmc_cell(t, row, COMMAND);
        else
            step->reason = cap.vmctl_reason;
    }
}

int vmctl_migration_path(const char *from, const char *to, vmctl_path_fn each, void *user, vmctl_error **err) {
    const vmc_table *t = &vmc_data_migration_paths;
    int source, target;
    bool found = false;
    if (!each)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "no callback was given");
    int rc = need_platform(from, "from", &source, err);
    if (rc == 0)
        rc = need_platform(to, "to", &target, err);
    for (size_t row = 0; rc == 0 && row < t->rows; row++) {
        if (!is_path(row, source, target))
            continue;
        found = true;
        const char *command = vmc_cell(t, row, PATH_COMMAND);
        vmctl_path_step step = {.size = sizeof step,
                                .from = vmc_cell(t, row, PATH_FROM),
                                .to = vmc_cell(t, row, PATH_TO),
                                .step = (unsigned)atoi(vmc_cell(t, row, PATH_STEP)),
                                .action = vmc_cell(t, row, PATH_ACTION),
                                .command = *command ? command : NULL};
        add_command(&step);
        if (each(&step, user))
            break;
    }
    return rc == 0 && !found ? no_path(source, target, err) : rc;
}
