/* Which platform fits: the table of workloads, the decision guide and the features decide, in that order. */
#include "data.h"
#include "feature_list.h"
#include "internal.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <vmctl/compare.h>

static const char *const kind_names[] = {
    [VMCTL_GROUND_WORKLOAD] = "workload", [VMCTL_GROUND_CRITERION] = "criterion", [VMCTL_GROUND_FEATURE] = "feature",
    [VMCTL_GROUND_GENERAL] = "general",   [VMCTL_GROUND_REACH] = "reach",
};

const char *vmctl_ground_kind_name(vmctl_ground_kind kind) {
    return (unsigned)kind < sizeof kind_names / sizeof kind_names[0] ? kind_names[kind] : "";
}

enum { WORKLOAD, FIRST, SECOND, WORKLOAD_NOTES };
enum { GUIDE_PLATFORM, GUIDE_NEED, GUIDE_TEXT };

const char *vmctl_workload_name(size_t index) {
    return index < vmc_data_workloads.rows ? vmc_cell(&vmc_data_workloads, index, WORKLOAD) : NULL;
}

const char *vmctl_workload_choice(size_t index, unsigned place) {
    return index < vmc_data_workloads.rows && place < 2 ? vmc_cell(&vmc_data_workloads, index, FIRST + place) : NULL;
}

const char *vmctl_workload_note(size_t index) {
    return index < vmc_data_workloads.rows ? vmc_cell(&vmc_data_workloads, index, WORKLOAD_NOTES) : NULL;
}

const char *vmctl_criterion_platform(size_t index) {
    return index < vmc_data_decision_guide.rows ? vmc_cell(&vmc_data_decision_guide, index, GUIDE_PLATFORM) : NULL;
}

const char *vmctl_criterion_name(size_t index) {
    return index < vmc_data_decision_guide.rows ? vmc_cell(&vmc_data_decision_guide, index, GUIDE_NEED) : NULL;
}

const char *vmctl_criterion_text(size_t index) {
    return index < vmc_data_decision_guide.rows ? vmc_cell(&vmc_data_decision_guide, index, GUIDE_TEXT) : NULL;
}

/* --- what is weighed ---------------------------------------------------------------------------------------------- */

typedef struct candidate {
    size_t platform;
    int place; /* of the table of workloads: 0, 1; 2: none */
    int points;
    bool disqualified, named; /* named: the comparison itself names it */
    vmctl_ground *grounds;
    size_t count;
} candidate;

/* A need that is met in full counts more than one that is met in part; what the decision guide names counts most. */
enum { POINTS_NAMED = 5, POINTS_ASKED = 10 };
static const int level_points[] = {
    [VMCTL_LEVEL_UNKNOWN] = 0, [VMCTL_LEVEL_NO] = 0,  [VMCTL_LEVEL_MANUAL] = 1,
    [VMCTL_LEVEL_LIMITED] = 2, [VMCTL_LEVEL_YES] = 3,
};

static void add_ground(candidate *c, vmctl_ground ground) {
    ground.size = sizeof ground;
    c->grounds = vmc_realloc(c->grounds, c->count + 1, sizeof *c->grounds);
    c->grounds[c->count++] = ground;
    c->disqualified |= ground.disqualifies;
}

/* What a row of the comparison, or "note TOPIC", says of the platform; *name is the row or topic. */
static const char *said_by(const char *source, const char *platform, const char **name) {
    const vmc_table *rows = &vmc_data_comparison, *notes = &vmc_data_notes;
    if (vmc_starts_with(source, "note ")) {
        *name = source + strlen("note ");
        for (size_t row = vmc_row(notes, 0, 0, *name); row < notes->rows; row = vmc_row(notes, row + 1, 0, *name))
            if (strcmp(vmc_cell(notes, row, 1), platform) == 0)
                return vmc_cell(notes, row, 2);
        return NULL;
    }
    *name = source;
    size_t row = vmc_row(rows, 0, 1, source);
    return row < rows->rows ? vmc_cell(rows, row, vmc_column(rows, platform)) : NULL;
}

static void weigh_workload(candidate *c, size_t row) {
    const vmc_table *t = &vmc_data_workloads;
    static const char *const places[] = {"first choice", "second choice", "neither first nor second choice"};
    c->place = 2;
    if (vmc_platform_find(vmc_cell(t, row, FIRST)) == (int)c->platform)
        c->place = 0;
    else if (vmc_platform_find(vmc_cell(t, row, SECOND)) == (int)c->platform)
        c->place = 1;
    c->named |= c->place < 2;
    add_ground(c, (vmctl_ground){.kind = VMCTL_GROUND_WORKLOAD,
                                 .speaks_for = c->place < 2,
                                 .what = vmc_cell(t, row, WORKLOAD),
                                 .row = places[c->place],
                                 .text = c->place < 2 ? vmc_cell(t, row, WORKLOAD_NOTES) : NULL});
}

static vmctl_level level_named(const char *name) {
    for (int i = VMCTL_LEVEL_UNKNOWN; i <= VMCTL_LEVEL_YES; i++)
        if (strcmp(vmctl_level_name((vmctl_level)i), name) == 0)
            return (vmctl_level)i;
    return VMCTL_LEVEL_UNKNOWN;
}

/* hard: the person asked for it; what it cannot meet disqualifies. */
static void weigh_criterion(candidate *c, size_t guide, bool hard) {
    const vmc_table *t = &vmc_data_criteria;
    const char *need = vmc_cell(&vmc_data_decision_guide, guide, GUIDE_NEED);
    const char *platform = vmc_platform_name(c->platform);
    bool named = strcmp(vmc_cell(&vmc_data_decision_guide, guide, GUIDE_PLATFORM), platform) == 0;
    size_t row = vmc_row(t, 0, 0, need);
    vmctl_ground ground = {.kind = VMCTL_GROUND_CRITERION, .what = need, .ours = !named};
    ground.level = level_named(vmc_cell(t, row, vmc_column(t, platform)));
    ground.speaks_for = named || ground.level == VMCTL_LEVEL_YES;
    ground.disqualifies = hard && ground.level == VMCTL_LEVEL_NO;
    ground.text = said_by(vmc_cell(t, row, 1), platform, &ground.row);
    c->points += (hard ? POINTS_ASKED : 1) * (named ? POINTS_NAMED : level_points[ground.level]);
    c->named |= named && hard;
    add_ground(c, ground);
}

static int keep_answer(const vmctl_cap *cap, void *user) {
    *(vmctl_cap *)user = *cap;
    return 1;
}

static void weigh_feature(candidate *c, const vmc_feature *feature, bool hard) {
    vmctl_cap cap = {0};
    vmctl_caps_options options = VMCTL_CAPS_OPTIONS_INIT;
    options.backend = vmc_platform_backend(c->platform);
    options.feature = feature->id;
    vmctl_caps(&options, keep_answer, &cap, NULL);
    vmctl_ground ground = {.kind = VMCTL_GROUND_FEATURE, .what = feature->id, .level = vmctl_cap_platform(&cap)};
    ground.ours = !feature->row;
    ground.speaks_for = ground.level == VMCTL_LEVEL_YES;
    ground.disqualifies = hard && ground.level == VMCTL_LEVEL_NO;
    ground.row = cap.platform_source;
    ground.text = cap.platform_text;
    ground.correction = cap.platform_correction;
    c->points += (hard ? POINTS_ASKED : 1) * level_points[ground.level];
    add_ground(c, ground);
}

/* --- needs ------------------------------------------------------------------------------------------------------------ */

static int no_need(const char *need, vmctl_error **err) {
    VMC_AUTO_STRV names = {0};
    for (size_t i = 0; i < vmc_data_decision_guide.rows; i++)
        vmc_strv_add(&names, vmctl_criterion_name(i));
    VMC_AUTO_FREE char *criteria = vmc_strv_join(&names, ", ");
    for (size_t i = 0; i < vmc_feature_count; i++)
        vmc_strv_add(&names, vmc_features[i].id);
    const char *near = vmc_nearest(need, (const char *const *)names.items);
    vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "there is no need \"%s\"", need);
    if (near)
        vmc_error_append(err, "; did you mean %s?", near);
    vmc_error_next(err, "a feature (vmctl caps lists them) or one of %s", criteria);
    return VMCTL_E_INVALID_ARGUMENT;
}

static bool is_need(const char *need) {
    return vmc_feature_find(need) ||
           vmc_row(&vmc_data_decision_guide, 0, GUIDE_NEED, need) < vmc_data_decision_guide.rows;
}

static void weigh_need(candidate *c, const char *need, bool hard) {
    size_t guide = vmc_row(&vmc_data_decision_guide, 0, GUIDE_NEED, need);
    if (guide < vmc_data_decision_guide.rows)
        weigh_criterion(c, guide, hard);
    else
        weigh_feature(c, vmc_feature_find(need), hard);
}

/* What the workload asks for by itself: only where the comparison names no place. */
static void weigh_implied(candidate *c, const char *workload) {
    const vmc_table *t = &vmc_data_workload_needs;
    const char *list = vmc_cell(t, vmc_row(t, 0, 0, workload), 1);
    for (const char *p = list; *p; p += strspn(p, ",")) {
        size_t length = strcspn(p, ",");
        VMC_AUTO_FREE char *need = vmc_strndup(p, length);
        size_t before = c->count;
        weigh_need(c, need, false);
        for (size_t i = before; i < c->count; i++)
            c->grounds[i].ours = c->grounds[i].implied = true;
        p += length;
    }
}

static int find_workload(const char *name, size_t *row, vmctl_error **err) {
    VMC_AUTO_STRV names = {0};
    for (size_t i = 0; i < vmc_data_workloads.rows; i++) {
        if (strcasecmp(vmctl_workload_name(i), name) == 0) {
            *row = i;
            return 0;
        }
        vmc_strv_add(&names, vmctl_workload_name(i));
    }
    const char *near = vmc_nearest(name, (const char *const *)names.items);
    VMC_AUTO_FREE char *all = vmc_strv_join(&names, ", ");
    vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "there is no workload \"%s\"", name);
    if (near)
        vmc_error_append(err, "; did you mean \"%s\"?", near);
    vmc_error_next(err, "one of %s", all);
    return VMCTL_E_INVALID_ARGUMENT;
}

/* --- the order --------------------------------------------------------------------------------------------------------- */

static void weigh_general(candidate *c) {
    const vmc_table *t = &vmc_data_against;
    const char *platform = vmc_platform_name(c->platform);
    for (size_t row = vmc_row(t, 0, 0, platform); row < t->rows; row = vmc_row(t, row + 1, 0, platform)) {
        vmctl_ground ground = {.kind = VMCTL_GROUND_GENERAL, .ours = true};
        vmctl_level level;
        const char *evidence;
        ground.text = said_by(vmc_cell(t, row, 1), platform, &ground.row);
        ground.what = ground.row;
        ground.level = vmc_row_level(ground.row, platform);
        vmc_correction_of(ground.row, platform, &level, &ground.correction, &evidence);
        add_ground(c, ground);
    }
}

static void weigh_reach(candidate *c, const char *const *reachable) {
    const char *backend = vmc_platform_backend(c->platform);
    bool reached = false;
    for (size_t i = 0; reachable[i]; i++)
        reached |= strcmp(reachable[i], backend) == 0;
    const char *why = reached                        ? "an endpoint answers"
                      : vmc_backend_by_name(backend) ? "no endpoint answers"
                                                     : "this build has no such backend";
    add_ground(c, (vmctl_ground){.kind = VMCTL_GROUND_REACH,
                                 .speaks_for = reached,
                                 .disqualifies = !reached,
                                 .ours = true,
                                 .what = backend,
                                 .text = why});
}

static int by_fitness(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    if (x->disqualified != y->disqualified)
        return x->disqualified ? 1 : -1;
    if (x->place != y->place)
        return x->place - y->place;
    if (x->points != y->points)
        return y->points - x->points;
    return x->platform < y->platform ? -1 : 1;
}

static int check(const vmctl_recommend_options *o, size_t *workload, vmctl_error **err) {
    int rc = o->workload ? find_workload(o->workload, workload, err) : 0;
    for (size_t i = 0; rc == 0 && o->needs && o->needs[i]; i++)
        if (!is_need(o->needs[i]))
            rc = no_need(o->needs[i], err);
    if (rc == 0 && !o->workload && !o->reachable && (!o->needs || !o->needs[0])) {
        vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "nothing was asked for");
        vmc_error_next(err, "name a workload or needs: --workload \"Dev/Test\", --need gpu.mig,open-source");
        return VMCTL_E_INVALID_ARGUMENT;
    }
    return rc;
}

int vmctl_recommend(const vmctl_recommend_options *options, vmctl_recommendation_fn each, void *user,
                    vmctl_error **err) {
    vmctl_recommend_options o = VMCTL_RECOMMEND_OPTIONS_INIT;
    size_t workload = 0;
    int rc = vmc_options_copy(&o, options, err);
    if (rc == 0 && !each)
        rc = vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "no callback was given");
    if (rc == 0)
        rc = check(&o, &workload, err);
    if (rc < 0)
        return rc;
    candidate all[VMC_PLATFORMS] = {0};
    for (size_t p = 0; p < VMC_PLATFORMS; p++) {
        candidate *c = &all[p];
        c->platform = p;
        if (o.workload)
            weigh_workload(c, workload);
        for (size_t i = 0; o.needs && o.needs[i]; i++)
            weigh_need(c, o.needs[i], true);
        if (o.workload)
            weigh_implied(c, vmctl_workload_name(workload));
        if (o.reachable)
            weigh_reach(c, o.reachable);
        weigh_general(c);
    }
    qsort(all, VMC_PLATFORMS, sizeof all[0], by_fitness);
    bool stop = false;
    for (size_t p = 0; p < VMC_PLATFORMS; p++) {
        vmctl_recommendation told = {.size = sizeof told,
                                     .rank = (unsigned)p + 1,
                                     .platform = vmc_platform_name(all[p].platform),
                                     .backend = vmc_platform_backend(all[p].platform),
                                     .disqualified = all[p].disqualified,
                                     .ours = !all[p].named,
                                     .grounds = all[p].grounds,
                                     .ground_count = all[p].count};
        if (!stop)
            stop = each(&told, user) != 0;
        free(all[p].grounds);
    }
    return 0;
}
