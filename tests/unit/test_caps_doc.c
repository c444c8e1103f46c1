/* docs/capabilities.md is what the tables say: features.def, the descriptors, core/data. UPDATE=1 writes it anew. */
#include "base/file.h"
#include "data.h"
#include "feature_list.h"
#include "internal.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- features --------------------------------------------------------------------------------------------------- */

static void add_cell(vmc_str *out, const char *text) {
    for (; text && *text; text++) {
        if (*text == '|')
            vmc_str_add_char(out, '\\');
        vmc_str_add_char(out, *text);
    }
}

typedef struct answers {
    vmctl_cap caps[16];
    size_t count;
} answers;

static int keep(const vmctl_cap *cap, void *user) {
    answers *a = user;
    if (a->count < sizeof a->caps / sizeof a->caps[0])
        a->caps[a->count++] = *cap;
    return 0;
}

static void add_feature(vmc_str *out, const vmc_feature *feature) {
    answers a = {.count = 0};
    vmctl_caps_options options = VMCTL_CAPS_OPTIONS_INIT;
    options.feature = feature->id;
    assert_int_equal(vmctl_caps(&options, keep, &a, NULL), 0);
    vmc_str_printf(out, "| `%s` | ", feature->id);
    add_cell(out, feature->sentence);
    for (size_t i = 0; i < a.count; i++)
        vmc_str_printf(out, " | %s%s", vmctl_level_name(vmctl_cap_platform(&a.caps[i])),
                       a.caps[i].platform_correction ? "\\*" : "");
    for (size_t i = 0; i < a.count; i++) {
        const vmctl_cap *cap = &a.caps[i];
        if (!vmc_backend_by_name(cap->backend))
            continue;
        vmc_str_printf(out, " | %s", vmctl_level_name(cap->vmctl));
        if (cap->proof != VMCTL_PROOF_NONE)
            vmc_str_printf(out, ", %s", vmctl_proof_name(cap->proof));
        if (cap->vmctl_reason && feature->slot >= 0) {
            vmc_str_add(out, ": ");
            add_cell(out, cap->vmctl_reason);
        }
    }
    vmc_str_add(out, " |\n");
}

static void add_features(vmc_str *out) {
    const char *group = NULL;
    for (size_t i = 0; i < vmc_feature_count; i++) {
        const char *now = vmc_feature_group((vmc_feature_number)i);
        if (now != group) {
            size_t columns = 2;
            vmc_str_printf(out, "\n### %s\n\n| feature | what it is", now);
            for (size_t p = 0; p < VMC_PLATFORMS; p++, columns++)
                vmc_str_printf(out, " | %s", vmc_platform_name(p));
            for (size_t b = 0; vmctl_backend_name(b); b++, columns++)
                vmc_str_printf(out, " | vmctl on %s", vmctl_backend_name(b));
            vmc_str_add(out, " |\n|");
            while (columns-- > 0)
                vmc_str_add(out, "---|");
            vmc_str_add(out, "\n");
        }
        group = now;
        add_feature(out, &vmc_features[i]);
    }
}

/* --- the comparison ----------------------------------------------------------------------------------------------- */

typedef struct comparing {
    vmc_str *out;
    const char *row;
    size_t corrections;
} comparing;

static int add_comparison(const vmctl_comparison *cell, void *user) {
    comparing *c = user;
    if (cell->row != c->row)
        vmc_str_printf(c->out, "%s| %s", c->row ? " |\n" : "", cell->row);
    c->row = cell->row;
    vmc_str_add(c->out, " | ");
    add_cell(c->out, cell->text);
    if (cell->correction)
        vmc_str_printf(c->out, " [%zu]", ++c->corrections);
    return 0;
}

static int add_correction(const vmctl_comparison *cell, void *user) {
    comparing *c = user;
    if (cell->correction)
        vmc_str_printf(c->out, "%zu. %s, %s: %s; %s (%s).\n", ++c->corrections, cell->row, cell->platform,
                       vmctl_level_name(cell->corrected), cell->correction, cell->evidence);
    return 0;
}

static int add_note(const vmctl_comparison_note *note, void *user) {
    vmc_str *out = user;
    vmc_str_printf(out, "- %s%s%s: ", note->topic, note->platform ? ", " : "", note->platform ? note->platform : "");
    add_cell(out, note->text);
    vmc_str_add(out, "\n");
    return 0;
}

static void add_sections(vmc_str *out) {
    comparing c = {.out = out};
    for (size_t s = 0; vmctl_section_name(s); s++) {
        const char *section = vmctl_section_name(s);
        bool rows = vmc_row(&vmc_data_comparison, 0, 0, section) < vmc_data_comparison.rows;
        if (!rows && !*vmc_cell(&vmc_data_sections, s, 2))
            continue;
        vmc_str_printf(out, "\n### %s\n\n", vmctl_section_title(s));
        if (rows) {
            vmc_str_add(out, "| |");
            for (size_t p = 0; p < VMC_PLATFORMS; p++)
                vmc_str_printf(out, " %s |", vmc_platform_name(p));
            vmc_str_add(out, "\n|---|---|---|---|---|\n");
            c.row = NULL;
            vmctl_compare(section, add_comparison, &c, NULL);
            vmc_str_add(out, " |\n\n");
        }
        vmctl_compare_notes(section, add_note, out, NULL);
    }
    vmc_str_add(out, "\n### Corrections\n\n");
    c.corrections = 0;
    vmctl_compare(NULL, add_correction, &c, NULL);
    vmc_str_add(out, "\nWhat is known better of one feature of a row:\n\n");
    const vmc_table *t = &vmc_data_corrections;
    for (size_t row = 0; row < t->rows; row++)
        if (vmc_feature_find(vmc_cell(t, row, 0)))
            vmc_str_printf(out, "- `%s`, %s: %s; %s (%s).\n", vmc_cell(t, row, 0), vmc_cell(t, row, 1),
                           vmc_cell(t, row, 2), vmc_cell(t, row, 3), vmc_cell(t, row, 4));
}

/* --- recommendations ------------------------------------------------------------------------------------------------ */

static int add_step(const vmctl_path_step *step, void *user) {
    vmc_str_printf(user, "%u. %s: %s%s%s\n", step->step, step->action, step->vmctl_command ? "`" : "",
                   step->vmctl_command ? step->vmctl_command : "by hand", step->vmctl_command ? "`" : "");
    return 0;
}

static void add_recommendations(vmc_str *out) {
    vmc_str_add(out, "\n## Which platform\n\n| workload | first | second | |\n|---|---|---|---|\n");
    for (size_t i = 0; vmctl_workload_name(i); i++)
        vmc_str_printf(out, "| %s | %s | %s | %s |\n", vmctl_workload_name(i), vmctl_workload_choice(i, 0),
                       vmctl_workload_choice(i, 1), vmctl_workload_note(i));
    vmc_str_add(out, "\n| need | what it is | platform |\n|---|---|---|\n");
    for (size_t i = 0; vmctl_criterion_name(i); i++)
        vmc_str_printf(out, "| `%s` | %s | %s |\n", vmctl_criterion_name(i), vmctl_criterion_text(i),
                       vmctl_criterion_platform(i));
    vmc_str_add(out, "\n## From one platform to another\n");
    for (size_t from = 0; from < VMC_PLATFORMS; from++) {
        for (size_t to = 0; to < VMC_PLATFORMS; to++) {
            VMC_AUTO_STR steps = {0};
            if (vmctl_migration_path(vmc_platform_name(from), vmc_platform_name(to), add_step, &steps, NULL) == 0)
                vmc_str_printf(out, "\n%s to %s:\n\n%s", vmc_platform_name(from), vmc_platform_name(to), steps.text);
        }
    }
}

static void add_sources(vmc_str *out) {
    const vmc_table *t = &vmc_data_sources;
    vmc_str_add(out, "\n## Sources\n\nWhat the answers and corrections are from. Each names its work and the place "
                     "in it; `vmctl caps --explain` and JSON\nshow them.\n\n| work | what it is | where |\n"
                     "|---|---|---|\n");
    for (size_t row = 0; row < t->rows; row++) {
        vmc_str_printf(out, "| %s | ", vmc_cell(t, row, 0));
        add_cell(out, vmc_cell(t, row, 1));
        vmc_str_printf(out, " | %s |\n", vmc_cell(t, row, 2));
    }
}

static char *document(void) {
    vmc_str out = {0};
    vmc_str_add(
        &out,
        "# Capabilities\n\n"
        "Made from the library's own tables (`core/src/features.def`, the backends' `descriptor.c`, `core/data`); "
        "`vmctl caps` and\n`vmctl recommend` print the same.\n\n"
        "## Features\n\n"
        "What each platform is documented to do, and what vmctl does with it in this version, shown by what: "
        "`real` is a test on\nthe real hypervisor, `simulator` one on a stand-in for it, `recorded` an exchange with "
        "the real one that is replayed,\n`specification` means built from its documentation and not tried. A level "
        "with \\* is a correction of the comparison\nbelow. `vmctl caps --vm VM` adds what is possible here, `vmctl "
        "caps --explain` the sources.\n");
    add_features(&out);
    vmc_str_add(&out, "\n## The comparison\n\nAs its source has it. A number leads to a correction, which stands "
                      "beside the cell and changes nothing in it.\n");
    add_sections(&out);
    add_recommendations(&out);
    add_sources(&out);
    return vmc_str_take(&out);
}

static void the_page_is_what_the_tables_say(void **state) {
    (void)state;
    VMC_AUTO_FREE char *wanted = document();
    VMC_AUTO_FREE char *path = vmc_printf("%s/../docs/capabilities.md", TEST_SOURCE_DIR);
    VMC_AUTO_FREE char *found = NULL;
    if (getenv("UPDATE"))
        assert_int_equal(vmc_file_write(path, wanted, strlen(wanted), 0644, NULL), 0);
    assert_int_equal(vmc_file_read(path, 1 << 20, &found, NULL, NULL), 0);
    if (strcmp(found, wanted) != 0)
        fail_msg("docs/capabilities.md is not what the tables say: UPDATE=1 build-asan/tests/test_caps_doc writes it");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_page_is_what_the_tables_say)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
