/* The tables of core/data hold together: every name in one is a name of the other; and what is told from them is right. */
#include "data.h"
#include "feature_list.h"
#include "internal.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool is_row(const char *name) {
    return vmc_row(&vmc_data_comparison, 0, 1, name) < vmc_data_comparison.rows;
}

static bool is_level(const char *name) {
    for (int i = VMCTL_LEVEL_NO; i <= VMCTL_LEVEL_YES; i++)
        if (strcmp(vmctl_level_name((vmctl_level)i), name) == 0)
            return true;
    return false;
}

/* The sizes that the comparison's README gives. */
static void the_comparison_is_whole(void **state) {
    (void)state;
    assert_int_equal(vmc_data_comparison.rows, 28);
    assert_int_equal(vmc_data_comparison.columns, 2 + VMC_PLATFORMS);
    assert_int_equal(vmc_data_levels.rows, 13);
    assert_int_equal(vmc_data_workloads.rows, 7);
    assert_int_equal(vmc_data_decision_guide.rows, 16);
    assert_int_equal(vmc_data_platforms.rows, VMC_PLATFORMS);
    for (size_t p = 0; p < VMC_PLATFORMS; p++) {
        assert_string_equal(vmc_data_comparison.cells[2 + p], vmc_platform_name(p));
        assert_int_equal(vmc_platform_find(vmc_platform_backend(p)), p);
    }
    for (size_t i = 0; i < vmc_data_workloads.rows; i++) {
        assert_true(vmc_platform_find(vmctl_workload_choice(i, 0)) >= 0);
        assert_true(vmc_platform_find(vmctl_workload_choice(i, 1)) >= 0);
    }
    assert_int_equal(vmc_platform_find("VMware"), 2);
    assert_int_equal(vmc_platform_find("vmware"), 2);
    assert_int_equal(vmc_platform_find("vm"), -1);
    assert_int_equal(vmc_platform_find(NULL), -1);
}

static void rows_that_are_features_have_one(void **state) {
    (void)state;
    for (size_t i = 0; i < vmc_feature_count; i++)
        if (vmc_features[i].row && !is_row(vmc_features[i].row))
            fail_msg("%s: the comparison has no row %s", vmc_features[i].id, vmc_features[i].row);
    for (size_t row = 0; row < vmc_data_levels.rows; row++) {
        const char *name = vmc_cell(&vmc_data_levels, row, 0);
        bool found = false;
        for (size_t i = 0; !found && i < vmc_feature_count; i++)
            found = vmc_features[i].row && strcmp(vmc_features[i].row, name) == 0;
        if (!found)
            fail_msg("no feature belongs to the row %s, which has a level", name);
        assert_true(is_row(name));
        for (size_t p = 0; p < VMC_PLATFORMS; p++)
            assert_int_not_equal(vmc_row_level(name, vmc_platform_name(p)), VMCTL_LEVEL_UNKNOWN);
    }
}

/* A source can be followed: each of them is "WORK: PLACE", and sources.tsv says where the work is to be had. */
static void check_source(const char *of, const char *text) {
    VMC_AUTO_FREE char *copy = vmc_strdup(text);
    char *rest = copy;
    while (rest) {
        char *one = rest, *end = strstr(rest, "; "), *colon;
        rest = end ? end + 2 : NULL;
        if (end)
            *end = 0;
        colon = strstr(one, ": ");
        if (!colon || !colon[2])
            fail_msg("%s: \"%s\" names no place in a work", of, one);
        if (!colon)
            return;
        *colon = 0;
        if (vmc_row(&vmc_data_sources, 0, 0, one) == vmc_data_sources.rows)
            fail_msg("%s: sources.tsv has no work \"%s\"", of, one);
    }
}

static bool is_cited(const vmc_table *t, size_t column, const char *work) {
    VMC_AUTO_FREE char *cited = vmc_printf("%s: ", work);
    for (size_t row = 0; row < t->rows; row++)
        if (strstr(vmc_cell(t, row, column), cited))
            return true;
    return false;
}

static void sources_can_be_found(void **state) {
    (void)state;
    const vmc_table *t = &vmc_data_sources;
    for (size_t row = 0; row < t->rows; row++) {
        const char *work = vmc_cell(t, row, 0);
        assert_true(*work && *vmc_cell(t, row, 1) && *vmc_cell(t, row, 2));
        assert_int_equal(vmc_row(t, 0, 0, work), row);
        if (!is_cited(&vmc_data_answers, 4, work) && !is_cited(&vmc_data_corrections, 4, work))
            fail_msg("sources.tsv: nothing is from \"%s\"", work);
    }
}

/* The comparison's own level stands wherever it has one; a correction beside it has evidence (below) and says something else. */
static int agrees_with_its_row(const vmctl_cap *cap, void *user) {
    (void)user;
    const vmc_feature *feature = vmc_feature_find(cap->feature);
    if (!feature->row)
        return 0;
    assert_int_equal(cap->platform, vmc_row_level(feature->row, cap->platform_name));
    assert_string_equal(cap->platform_source, feature->row);
    if (cap->platform_correction)
        assert_true(*cap->platform_correction && *cap->platform_evidence);
    else
        assert_int_equal(vmctl_cap_platform(cap), cap->platform);
    return 0;
}

static void levels_agree_with_the_comparison(void **state) {
    (void)state;
    assert_int_equal(vmctl_caps(NULL, agrees_with_its_row, NULL, NULL), 0);
}

static void corrections_have_evidence(void **state) {
    (void)state;
    const vmc_table *t = &vmc_data_corrections;
    for (size_t row = 0; row < t->rows; row++) {
        const char *what = vmc_cell(t, row, 0), *platform = vmc_cell(t, row, 1);
        if (!is_row(what) && !vmc_feature_find(what))
            fail_msg("a correction of %s, which is neither a row nor a feature", what);
        assert_true(vmc_platform_find(platform) >= 0);
        assert_true(is_level(vmc_cell(t, row, 2)));
        assert_true(*vmc_cell(t, row, 3));
        check_source(what, vmc_cell(t, row, 4));
        for (size_t other = 0; other < row; other++)
            assert_false(strcmp(vmc_cell(t, other, 0), what) == 0 && strcmp(vmc_cell(t, other, 1), platform) == 0);
    }
}

/* Every feature that no row is about has an answer for every platform; "unknown" is one that says what would answer. */
static void answers_are_complete(void **state) {
    (void)state;
    const vmc_table *t = &vmc_data_answers;
    size_t row = 0;
    for (size_t i = 0; i < vmc_feature_count; i++) {
        for (size_t p = 0; !vmc_features[i].row && p < VMC_PLATFORMS; p++, row++) {
            if (strcmp(vmc_cell(t, row, 0), vmc_features[i].id) != 0 ||
                strcmp(vmc_cell(t, row, 1), vmc_platform_name(p)) != 0)
                fail_msg("answers.tsv: line %zu is not about %s on %s", row + 2, vmc_features[i].id,
                         vmc_platform_name(p));
        }
    }
    assert_int_equal(row, t->rows);
}

static void answers_are_about_features_without_a_row(void **state) {
    (void)state;
    const vmc_table *t = &vmc_data_answers;
    size_t last = 0;
    for (size_t row = 0; row < t->rows; row++) {
        const vmc_feature *feature = vmc_feature_find(vmc_cell(t, row, 0));
        if (!feature)
            fail_msg("answers.tsv: there is no feature %s", vmc_cell(t, row, 0));
        else if (feature->row)
            fail_msg("answers.tsv: %s has a row of the comparison", feature->id);
        else if ((size_t)(feature - vmc_features) < last)
            fail_msg("answers.tsv: %s is not in the order of features.def", feature->id);
        else
            last = (size_t)(feature - vmc_features);
        assert_true(vmc_platform_find(vmc_cell(t, row, 1)) >= 0);
        const char *level = vmc_cell(t, row, 2), *text = vmc_cell(t, row, 3);
        if (strcmp(level, "unknown") == 0)
            assert_non_null(strstr(text, "would answer"));
        else
            assert_true(is_level(level) && *text);
        check_source(vmc_cell(t, row, 0), vmc_cell(t, row, 4));
    }
}

static void needs_are_known(void **state) {
    (void)state;
    assert_int_equal(vmc_data_criteria.rows, vmc_data_decision_guide.rows);
    for (size_t row = 0; row < vmc_data_criteria.rows; row++) {
        const char *need = vmc_cell(&vmc_data_criteria, row, 0), *source = vmc_cell(&vmc_data_criteria, row, 1);
        size_t guide = vmc_row(&vmc_data_decision_guide, 0, 1, need);
        assert_true(guide < vmc_data_decision_guide.rows);
        assert_null(vmc_feature_find(need));
        if (vmc_starts_with(source, "note "))
            assert_true(vmc_row(&vmc_data_notes, 0, 0, source + 5) < vmc_data_notes.rows);
        else
            assert_true(is_row(source));
        for (size_t column = 2; column < vmc_data_criteria.columns; column++)
            assert_true(is_level(vmc_cell(&vmc_data_criteria, row, column)));
        /* what the guide names meets it in full */
        size_t named = vmc_column(&vmc_data_criteria, vmc_cell(&vmc_data_decision_guide, guide, 0));
        assert_string_equal(vmc_cell(&vmc_data_criteria, row, named), "yes");
    }
    for (size_t row = 0; row < vmc_data_workload_needs.rows; row++)
        assert_true(vmc_row(&vmc_data_workloads, 0, 0, vmc_cell(&vmc_data_workload_needs, row, 0)) <
                    vmc_data_workloads.rows);
    assert_int_equal(vmc_data_workload_needs.rows, vmc_data_workloads.rows);
}

/* --- what is told -------------------------------------------------------------------------------------------------- */

static int keep_first(const vmctl_recommendation *told, void *user) {
    const char **names = user;
    names[told->rank - 1] = told->disqualified ? "-" : told->platform;
    return 0;
}

static void workloads_are_the_tables(void **state) {
    (void)state;
    for (size_t i = 0; vmctl_workload_name(i); i++) {
        const char *names[VMC_PLATFORMS] = {0};
        vmctl_recommend_options options = VMCTL_RECOMMEND_OPTIONS_INIT;
        options.workload = vmctl_workload_name(i);
        assert_int_equal(vmctl_recommend(&options, keep_first, names, NULL), 0);
        for (unsigned place = 0; place < 2; place++)
            assert_int_equal(vmc_platform_find(names[place]), vmc_platform_find(vmctl_workload_choice(i, place)));
    }
}

static void criteria_lead_to_their_platform(void **state) {
    (void)state;
    for (size_t i = 0; vmctl_criterion_name(i); i++) {
        const char *names[VMC_PLATFORMS] = {0};
        const char *const needs[] = {vmctl_criterion_name(i), NULL};
        vmctl_recommend_options options = VMCTL_RECOMMEND_OPTIONS_INIT;
        options.needs = needs;
        assert_int_equal(vmctl_recommend(&options, keep_first, names, NULL), 0);
        assert_string_equal(names[0], vmctl_criterion_platform(i));
    }
}

static void an_unmet_need_disqualifies(void **state) {
    (void)state;
    const char *names[VMC_PLATFORMS] = {0};
    const char *const needs[] = {"gpu.passthrough", NULL};
    vmctl_recommend_options options = VMCTL_RECOMMEND_OPTIONS_INIT;
    options.workload = "dev/test"; /* VirtualBox first, which has no GPU passthrough */
    options.needs = needs;
    assert_int_equal(vmctl_recommend(&options, keep_first, names, NULL), 0);
    assert_string_equal(names[0], "QEMU/KVM");
    assert_string_equal(names[VMC_PLATFORMS - 1], "-");
    static const char *const libvirt[] = {"libvirt", NULL};
    options.workload = NULL;
    options.needs = NULL;
    options.reachable = libvirt;
    assert_int_equal(vmctl_recommend(&options, keep_first, names, NULL), 0);
    assert_string_equal(names[0], "QEMU/KVM");
    assert_string_equal(names[1], "-");
}

static void what_does_not_exist_is_named(void **state) {
    (void)state;
    const char *names[VMC_PLATFORMS] = {0};
    vmctl_recommend_options options = VMCTL_RECOMMEND_OPTIONS_INIT;
    vmctl_error *err = NULL;
    assert_int_equal(vmctl_recommend(&options, keep_first, names, &err), VMCTL_E_INVALID_ARGUMENT);
    vmctl_error_free(err);
    err = NULL;
    options.workload = "Dev/Tset";
    assert_int_equal(vmctl_recommend(&options, keep_first, names, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_non_null(strstr(vmctl_error_text(err), "did you mean \"Dev/Test\""));
    for (size_t i = 0; vmctl_workload_name(i); i++)
        assert_non_null(strstr(vmctl_error_text(err), vmctl_workload_name(i)));
    vmctl_error_free(err);
    err = NULL;
    const char *const needs[] = {"open-sauce", NULL};
    options.workload = NULL;
    options.needs = needs;
    assert_int_equal(vmctl_recommend(&options, keep_first, names, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_non_null(strstr(vmctl_error_text(err), "open-source"));
    vmctl_error_free(err);
}

/* --- the API of caps ------------------------------------------------------------------------------------------------ */

static int count(const vmctl_cap *cap, void *user) {
    (void)cap;
    ++*(int *)user;
    return 0;
}

static int keep_cap(const vmctl_cap *cap, void *user) {
    *(vmctl_cap *)user = *cap;
    return 1;
}

static vmctl_cap ask(const char *feature, const char *backend) {
    vmctl_cap cap = {0};
    vmctl_caps_options options = VMCTL_CAPS_OPTIONS_INIT;
    options.feature = feature;
    options.backend = backend;
    assert_int_equal(vmctl_caps(&options, keep_cap, &cap, NULL), 0);
    return cap;
}

static void the_platform_answers_without_a_backend(void **state) {
    (void)state;
    vmctl_cap teleport = ask("migrate.live", "virtualbox");
    assert_int_equal(teleport.platform, VMCTL_LEVEL_NO);
    assert_string_equal(teleport.platform_text, "Not supported");
    assert_string_equal(teleport.platform_source, "Live Migration");
    assert_int_equal(vmctl_cap_platform(&teleport), VMCTL_LEVEL_LIMITED);
    assert_non_null(strstr(teleport.platform_evidence, "teleport"));
    assert_int_equal(teleport.vmctl, VMCTL_LEVEL_LIMITED);
    assert_true(vmctl_cap_met(&teleport));
    assert_int_equal(ask("gpu.hotplug", "VMware ESXi").corrected, VMCTL_LEVEL_NO);
    assert_int_equal(ask("gpu.passthrough", "kvm").platform, VMCTL_LEVEL_YES);
    VMC_AUTO_FREE char *text = vmctl_cap_explain(&teleport);
    assert_non_null(strstr(text, "corrected from no"));
}

/* The four questions that the comparison's README asks. */
static void the_four_questions(void **state) {
    (void)state;
    for (size_t p = 0; p < VMC_PLATFORMS; p++) {
        vmctl_cap cap = ask("gpu.passthrough", vmc_platform_backend(p));
        assert_int_equal(cap.platform == VMCTL_LEVEL_NO, strcmp(cap.platform_name, "VirtualBox") == 0);
    }
    const char *names[VMC_PLATFORMS] = {0};
    const char *const vgpu[] = {"best-vgpu", NULL}, *const containers[] = {"containers", NULL};
    vmctl_recommend_options options = VMCTL_RECOMMEND_OPTIONS_INIT;
    options.needs = vgpu;
    vmctl_recommend(&options, keep_first, names, NULL);
    assert_string_equal(names[0], "VMware ESXi");
    options.needs = containers;
    vmctl_recommend(&options, keep_first, names, NULL);
    assert_string_equal(names[0], "KubeVirt");
}

static int find_conversion(const vmctl_path_step *step, void *user) {
    if (step->command && strstr(step->command, "-f vmdk -O qcow2") && step->vmctl_command)
        *(unsigned *)user = step->step;
    return 0;
}

static void paths_have_steps(void **state) {
    (void)state;
    unsigned conversion = 0;
    vmctl_error *err = NULL;
    assert_int_equal(vmctl_migration_path("VMware", "KubeVirt", find_conversion, &conversion, NULL), 0);
    assert_int_equal(conversion, 2);
    assert_int_equal(vmctl_migration_path("KubeVirt", "VMware", find_conversion, NULL, &err), VMCTL_E_NOT_FOUND);
    assert_non_null(strstr(vmctl_error_text(err), "--from VMware --to KubeVirt"));
    vmctl_error_free(err);
    err = NULL;
    assert_int_equal(vmctl_migration_path("VMvare", "KubeVirt", find_conversion, NULL, &err), VMCTL_E_INVALID_ARGUMENT);
    vmctl_error_free(err);
}

static void requirements(void **state) {
    (void)state;
    const char *const met[] = {"lifecycle.create", "lifecycle.start", NULL}, *backend = NULL;
    const char *const unmet[] = {"lifecycle.create", "limits.vms", NULL}, *const unknown[] = {"limits.vm", NULL};
    int missing = 0;
    vmctl_error *err = NULL;
    assert_int_equal(vmctl_caps_require(NULL, met, &backend, count, &missing, NULL), 0);
    assert_string_equal(backend, "libvirt");
    assert_int_equal(missing, 0);
    assert_int_equal(vmctl_caps_require(NULL, unmet, NULL, count, &missing, NULL), VMCTL_E_UNSUPPORTED);
    int backends = 0; /* no platform lets vmctl change how many VMs it is built for: each lacks that one */
    while (vmctl_backend_name((size_t)backends))
        backends++;
    assert_int_equal(missing, backends);
    assert_int_equal(vmctl_caps_require(NULL, unknown, NULL, NULL, NULL, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_non_null(strstr(vmctl_error_text(err), "limits.vms"));
    vmctl_error_free(err);
    vmctl_caps_options options = VMCTL_CAPS_OPTIONS_INIT;
    options.backend = "libvirt";
    options.unreachable = "nothing answers";
    assert_int_equal(vmctl_caps_require(&options, met, NULL, NULL, NULL, NULL), VMCTL_E_UNAVAILABLE);
    options.backend = "vsphere"; /* which this build does not have: whatever answers, vmctl cannot */
    assert_int_equal(vmctl_caps_require(&options, met, NULL, NULL, NULL, NULL), VMCTL_E_UNSUPPORTED);
    options.backend = "libvrt";
    err = NULL;
    assert_int_equal(vmctl_caps_require(&options, met, NULL, NULL, NULL, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_non_null(strstr(vmctl_error_text(err), "did you mean libvirt"));
    vmctl_error_free(err);
}

static void features_can_be_walked(void **state) {
    (void)state;
    vmctl_feature feature = {.size = sizeof feature};
    size_t n = 0;
    while (vmctl_feature_at(n, &feature))
        n++;
    assert_int_equal(n, vmc_feature_count);
    assert_int_equal(vmctl_feature_find("snapshot.memory", &feature, NULL), 0);
    assert_string_equal(feature.operation, "snapshot_create");
    assert_string_equal(feature.group, "Snapshots");
    assert_string_equal(feature.row, "Snapshots");
    assert_null(feature.key);
    int entries = 0;
    assert_int_equal(vmctl_caps(NULL, count, &entries, NULL), 0);
    assert_int_equal(entries, vmc_feature_count * VMC_PLATFORMS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_comparison_is_whole),
        cmocka_unit_test(rows_that_are_features_have_one),
        cmocka_unit_test(levels_agree_with_the_comparison),
        cmocka_unit_test(sources_can_be_found),
        cmocka_unit_test(corrections_have_evidence),
        cmocka_unit_test(answers_are_complete),
        cmocka_unit_test(answers_are_about_features_without_a_row),
        cmocka_unit_test(needs_are_known),
        cmocka_unit_test(workloads_are_the_tables),
        cmocka_unit_test(criteria_lead_to_their_platform),
        cmocka_unit_test(an_unmet_need_disqualifies),
        cmocka_unit_test(what_does_not_exist_is_named),
        cmocka_unit_test(the_platform_answers_without_a_backend),
        cmocka_unit_test(the_four_questions),
        cmocka_unit_test(paths_have_steps),
        cmocka_unit_test(requirements),
        cmocka_unit_test(features_can_be_walked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
