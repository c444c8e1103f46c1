/* Three answers for each feature and backend: the platform's from the tables of core/data, vmctl's from the descriptors, and what is
 * possible here from the backend's probe. */
#include "data.h"
#include "feature_list.h"
#include "internal.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const char *const level_names[] = {
    [VMCTL_LEVEL_UNKNOWN] = "unknown", [VMCTL_LEVEL_NO] = "no",   [VMCTL_LEVEL_MANUAL] = "manual",
    [VMCTL_LEVEL_LIMITED] = "limited", [VMCTL_LEVEL_YES] = "yes",
};

const char *vmctl_level_name(vmctl_level level) {
    return (unsigned)level < sizeof level_names / sizeof level_names[0] ? level_names[level] : level_names[0];
}

static const char *const proof_names[] = {
    [VMCTL_PROOF_NONE] = NULL,           [VMCTL_PROOF_SPECIFICATION] = "specification",
    [VMCTL_PROOF_RECORDED] = "recorded", [VMCTL_PROOF_SIMULATOR] = "simulator",
    [VMCTL_PROOF_REAL] = "real",
};

const char *vmctl_proof_name(vmctl_proof proof) {
    return (unsigned)proof < sizeof proof_names / sizeof proof_names[0] ? proof_names[proof] : NULL;
}

/* --- features ------------------------------------------------------------------------------------------------ */

static void describe(const vmc_feature *feature, vmctl_feature *out) {
    vmctl_feature full = {
        .size = out->size,
        .id = feature->id,
        .title = feature->title,
        .group = vmc_feature_group((vmc_feature_number)(feature - vmc_features)),
        .sentence = feature->sentence,
        .operation = feature->slot < 0 ? NULL : vmc_slot_name((vmctl_slot)feature->slot),
        .key = feature->key,
        .value = feature->value,
        .row = feature->row,
    };
    memcpy(out, &full, out->size < sizeof full ? out->size : sizeof full);
}

bool vmctl_feature_at(size_t index, vmctl_feature *out) {
    if (index >= vmc_feature_count)
        return false;
    describe(&vmc_features[index], out);
    return true;
}

static int no_feature(const char *id, vmctl_error **err) {
    VMC_AUTO_STRV ids = {0};
    for (size_t i = 0; i < vmc_feature_count; i++)
        vmc_strv_add(&ids, vmc_features[i].id);
    const char *near = vmc_nearest(id, (const char *const *)ids.items);
    vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "there is no feature \"%s\"", id);
    if (near)
        vmc_error_append(err, "; did you mean %s?", near);
    vmc_error_next(err, "vmctl caps lists them all");
    return VMCTL_E_INVALID_ARGUMENT;
}

int vmctl_feature_find(const char *id, vmctl_feature *out, vmctl_error **err) {
    const vmc_feature *feature = vmc_feature_find(id);
    if (!feature)
        return no_feature(id ? id : "", err);
    describe(feature, out);
    return 0;
}

/* --- the platform ---------------------------------------------------------------------------------------------- */

static vmctl_level level_of(const char *name) {
    for (size_t i = 0; i < sizeof level_names / sizeof level_names[0]; i++)
        if (strcmp(level_names[i], name) == 0)
            return (vmctl_level)i;
    return VMCTL_LEVEL_UNKNOWN;
}

vmctl_level vmc_row_level(const char *row, const char *platform) {
    const vmc_table *t = &vmc_data_levels;
    return level_of(vmc_cell(t, vmc_row(t, 0, 0, row), vmc_column(t, platform)));
}

bool vmc_correction_of(const char *what, const char *platform, vmctl_level *level, const char **text,
                       const char **evidence) {
    enum { WHAT, PLATFORM, LEVEL, TEXT, EVIDENCE };
    const vmc_table *t = &vmc_data_corrections;
    for (size_t row = vmc_row(t, 0, WHAT, what); row < t->rows; row = vmc_row(t, row + 1, WHAT, what)) {
        if (strcmp(vmc_cell(t, row, PLATFORM), platform) != 0)
            continue;
        *level = level_of(vmc_cell(t, row, LEVEL));
        *text = vmc_cell(t, row, TEXT);
        *evidence = vmc_cell(t, row, EVIDENCE);
        return true;
    }
    return false;
}

/* Where a feature's rows begin in answers.tsv and proofs.tsv, both of which are in the order of the features: four backends times 150
 * features would search them too often. */
static size_t first_answer[VMC_FEATURE_COUNT], first_proof[VMC_FEATURE_COUNT];
static pthread_once_t indexed = PTHREAD_ONCE_INIT;

static void index_rows(const vmc_table *t, size_t *first) {
    size_t feature = 0;
    for (size_t i = 0; i < VMC_FEATURE_COUNT; i++)
        first[i] = t->rows;
    for (size_t row = 0; row < t->rows; row++) {
        const char *id = vmc_cell(t, row, 0);
        for (size_t tried = 0; tried < VMC_FEATURE_COUNT && strcmp(vmc_features[feature].id, id) != 0; tried++)
            feature = (feature + 1) % VMC_FEATURE_COUNT;
        if (first[feature] == t->rows && strcmp(vmc_features[feature].id, id) == 0)
            first[feature] = row;
    }
}

static void index_all(void) {
    index_rows(&vmc_data_answers, first_answer);
    index_rows(&vmc_data_proofs, first_proof);
}

/* The feature's row whose second cell is `second`; the number of rows: there is none. */
static size_t row_of(const vmc_table *t, const size_t *first, const vmc_feature *feature, const char *second) {
    pthread_once(&indexed, index_all);
    const char *id = feature->id;
    size_t row = first[feature - vmc_features];
    while (row < t->rows && strcmp(vmc_cell(t, row, 0), id) == 0 && strcmp(vmc_cell(t, row, 1), second) != 0)
        row++;
    return row < t->rows && strcmp(vmc_cell(t, row, 0), id) == 0 ? row : t->rows;
}

static void own_answer(const vmc_feature *feature, vmctl_cap *cap) {
    enum { LEVEL = 2, TEXT, SOURCE };
    const vmc_table *t = &vmc_data_answers;
    size_t row = row_of(t, first_answer, feature, cap->platform_name);
    if (row < t->rows) {
        cap->platform = level_of(vmc_cell(t, row, LEVEL));
        cap->platform_text = vmc_cell(t, row, TEXT);
        cap->platform_source = vmc_cell(t, row, SOURCE);
        return;
    }
    cap->platform_text = "neither the comparison nor our own table says; the platform's manual would";
}

static void platform_answer(const vmc_feature *feature, vmctl_cap *cap) {
    const vmc_table *t = &vmc_data_comparison;
    size_t row = feature->row ? vmc_row(t, 0, 1, feature->row) : t->rows;
    if (row < t->rows) {
        cap->platform = vmc_row_level(feature->row, cap->platform_name);
        cap->platform_text = vmc_cell(t, row, vmc_column(t, cap->platform_name));
        cap->platform_source = feature->row;
    } else {
        own_answer(feature, cap);
    }
    /* What is said of the feature itself is nearer than what is said of its whole row. */
    if (!vmc_correction_of(feature->id, cap->platform_name, &cap->corrected, &cap->platform_correction,
                           &cap->platform_evidence) &&
        feature->row)
        vmc_correction_of(feature->row, cap->platform_name, &cap->corrected, &cap->platform_correction,
                          &cap->platform_evidence);
}

vmctl_level vmctl_cap_platform(const vmctl_cap *cap) {
    return cap->platform_correction ? cap->corrected : cap->platform;
}

const char *vmctl_platform_name(size_t index) {
    return index < vmc_data_platforms.rows ? vmc_platform_name(index) : NULL;
}

const char *vmctl_platform_backend(size_t index) {
    return index < vmc_data_platforms.rows ? vmc_platform_backend(index) : NULL;
}

/* --- vmctl --------------------------------------------------------------------------------------------------------- */

/* The lesser of what was known and another answer, with that one's reason. */
static void lessen(vmctl_cap *cap, vmctl_level level, const char *reason) {
    if (level < cap->vmctl) {
        cap->vmctl = level;
        cap->vmctl_reason = reason;
    } else if (level == cap->vmctl && !cap->vmctl_reason) {
        cap->vmctl_reason = reason;
    }
}

static bool takes(const vmctl_key_claim *claim, const char *value) {
    if (!value || !claim->values)
        return true;
    for (const char *const *v = claim->values; *v; v++)
        if (strcmp(*v, value) == 0)
            return true;
    return false;
}

static void key_answer(const vmctl_backend_descriptor *descriptor, const vmc_feature *feature, vmctl_cap *cap) {
    const vmctl_key_claim *claim = vmc_key_claim(descriptor, feature->key);
    if (!claim)
        lessen(cap, VMCTL_LEVEL_NO, NULL);
    else if (!takes(claim, feature->value))
        lessen(cap, VMCTL_LEVEL_NO, claim->reason);
    else if (claim->values && feature->value) /* the reason is about the values that are left out */
        lessen(cap, claim->level == VMCTL_LEVEL_LIMITED ? VMCTL_LEVEL_YES : claim->level, NULL);
    else
        lessen(cap, claim->level, claim->reason);
}

static vmctl_proof proof_from_name(const char *name) {
    for (size_t i = 1; i < sizeof proof_names / sizeof proof_names[0]; i++)
        if (strcmp(proof_names[i], name) == 0)
            return (vmctl_proof)i;
    return VMCTL_PROOF_NONE;
}

/* What a run of the tests wrote. A backend that no run knows keeps its own claim: the fakes of tests. */
static void proof_of(const vmc_feature *feature, vmctl_cap *cap) {
    enum { BACKEND = 1, PROOF, AGAINST };
    const vmc_table *t = &vmc_data_proofs;
    if (vmc_row(t, 0, BACKEND, cap->backend) == t->rows)
        return;
    size_t row = row_of(t, first_proof, feature, cap->backend);
    const char *against = vmc_cell(t, row, AGAINST);
    if (row < t->rows)
        cap->proof = proof_from_name(vmc_cell(t, row, PROOF));
    else if (cap->proof != VMCTL_PROOF_SPECIFICATION) /* which no run can show */
        cap->proof = VMCTL_PROOF_NONE;
    cap->proof_against = *against ? against : NULL;
}

static void vmctl_answer(const vmctl_backend_descriptor *descriptor, const vmc_feature *feature, vmctl_cap *cap) {
    cap->vmctl = VMCTL_LEVEL_YES;
    if (feature->slot < 0 && !feature->key)
        lessen(cap, VMCTL_LEVEL_NO, "a fact about the platform; vmctl has no operation for it");
    if (feature->slot >= 0) {
        const vmctl_slot_claim *claim = vmc_slot_claim(descriptor, (vmctl_slot)feature->slot, feature->id);
        if (!claim)
            claim = vmc_slot_claim(descriptor, (vmctl_slot)feature->slot, NULL);
        cap->proof = claim ? claim->proof : VMCTL_PROOF_NONE;
        lessen(cap, claim ? claim->level : VMCTL_LEVEL_NO, claim ? claim->reason : NULL);
    }
    if (feature->key)
        key_answer(descriptor, feature, cap);
    if (cap->vmctl <= VMCTL_LEVEL_NO)
        cap->proof = VMCTL_PROOF_NONE;
    else
        proof_of(feature, cap);
}

/* --- here -------------------------------------------------------------------------------------------------------- */

/* What the probe told about one feature. */
typedef struct found {
    vmctl_level level;
    char *reason, *remedy; /* NULL */
} found;

typedef struct asking {
    const char *only;                 /* a backend's name; NULL: all */
    const vmc_registry_entry *probed; /* whose endpoint or VM it is; NULL: nothing is probed */
    vmctl_connection *connection;     /* NULL: it cannot be reached */
    void *handle;
    const char *unreachable;
    vmctl_call call;
    found *found; /* by feature; NULL: nothing was probed */
} asking;

static int keep_found(const vmctl_here *here, void *user) {
    asking *a = user;
    const vmc_feature *feature = vmc_feature_find(here->feature);
    if (!feature)
        return 0;
    found *f = &a->found[feature - vmc_features];
    free(f->reason);
    free(f->remedy);
    *f = (found){here->level, vmc_strdup(here->reason), vmc_strdup(here->remedy)};
    return 0;
}

/* Once for all features that are wanted. What cannot be found out is unknown, with the reason: every feature has its other answers all the
 * same. */
static int probe(asking *a, const char *const *features, vmctl_error **err) {
    if (!a->connection || !a->connection->ops->probe)
        return 0;
    vmctl_error *why = NULL;
    a->found = vmc_alloc(VMC_FEATURE_COUNT * sizeof *a->found);
    int rc = a->connection->ops->probe(a->connection->conn, a->handle, features, &a->call, keep_found, a, &why);
    if (rc == VMCTL_E_CANCELLED) {
        vmc_error_move(err, &why);
        return rc;
    }
    for (size_t i = 0; rc < 0 && i < VMC_FEATURE_COUNT; i++)
        if (a->found[i].level == VMCTL_LEVEL_UNKNOWN && !a->found[i].reason)
            a->found[i].reason = vmc_strdup(why ? vmctl_error_message(why) : "the probe failed without a reason");
    vmctl_error_free(why);
    return 0;
}

static void asking_end(asking *a) {
    for (size_t i = 0; a->found && i < VMC_FEATURE_COUNT; i++) {
        free(a->found[i].reason);
        free(a->found[i].remedy);
    }
    free(a->found);
}

static void here_answer(const asking *a, const vmc_feature *feature, vmctl_cap *cap) {
    const found *f = a->found ? &a->found[feature - vmc_features] : NULL;
    cap->here = f ? f->level : VMCTL_LEVEL_UNKNOWN;
    cap->here_reason = f ? f->reason : a->unreachable;
    cap->here_remedy = f ? f->remedy : NULL;
    if (cap->here == VMCTL_LEVEL_UNKNOWN && !cap->here_reason && cap->vmctl > VMCTL_LEVEL_NO)
        cap->here_reason = "nothing asks for it beforehand; doing it would answer";
    cap->probed = cap->here != VMCTL_LEVEL_UNKNOWN || cap->here_reason;
}

/* One feature of one backend: entry is NULL where this build has no such backend. */
static void tell(const asking *a, const vmc_feature *feature, const char *platform, const char *backend,
                 const vmc_registry_entry *entry, vmctl_cap_fn each, void *user, bool *stop) {
    vmctl_cap cap = {.size = sizeof cap,
                     .feature = feature->id,
                     .title = feature->title,
                     .backend = backend,
                     .platform_name = platform};
    platform_answer(feature, &cap);
    if (entry)
        vmctl_answer(entry->descriptor, feature, &cap);
    else
        cap.vmctl = VMCTL_LEVEL_NO, cap.vmctl_reason = "this build has no such backend";
    if (entry && entry == a->probed)
        here_answer(a, feature, &cap);
    *stop = each(&cap, user) != 0;
}

static void tell_feature(const asking *a, const vmc_feature *feature, vmctl_cap_fn each, void *user, bool *stop) {
    for (size_t p = 0; !*stop && p < vmc_data_platforms.rows; p++) {
        const char *backend = vmc_platform_backend(p);
        if (!a->only || strcmp(a->only, backend) == 0)
            tell(a, feature, vmc_platform_name(p), backend, vmc_backend_by_name(backend), each, user, stop);
    }
    /* Backends beside the four platforms. */
    const vmc_registry_entry *entry;
    for (size_t b = 0; !*stop && (entry = vmc_backend_at(b)); b++) {
        const char *name = entry->descriptor->name;
        if (vmc_platform_find(name) < 0 && (!a->only || strcmp(a->only, name) == 0))
            tell(a, feature, entry->descriptor->platform ? entry->descriptor->platform : name, name, entry, each, user,
                 stop);
    }
}

static int no_backend(const char *name, vmctl_error **err) {
    VMC_AUTO_STRV names = {0};
    for (size_t p = 0; p < vmc_data_platforms.rows; p++) {
        vmc_strv_add(&names, vmc_platform_backend(p));
        vmc_strv_add(&names, vmc_platform_name(p));
    }
    const vmc_registry_entry *entry;
    for (size_t b = 0; (entry = vmc_backend_at(b)); b++)
        if (!vmc_strv_has(&names, entry->descriptor->name))
            vmc_strv_add(&names, entry->descriptor->name);
    const char *near = vmc_nearest(name, (const char *const *)names.items);
    VMC_AUTO_FREE char *known = vmc_strv_join(&names, ", ");
    vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "there is no backend \"%s\"", name);
    if (near)
        vmc_error_append(err, "; did you mean %s?", near);
    vmc_error_next(err, "one of %s", known);
    return VMCTL_E_INVALID_ARGUMENT;
}

const char *vmctl_backend_resolve(const char *given) {
    const vmc_registry_entry *entry = vmc_backend_by_name(given);
    if (entry)
        return entry->descriptor->name;
    int platform = vmc_platform_find(given);
    return platform < 0 ? NULL : vmc_platform_backend((size_t)platform);
}

static int prepare(const vmctl_caps_options *o, asking *a, vmctl_error **err) {
    if (o->backend) {
        a->only = vmctl_backend_resolve(o->backend);
        if (!a->only)
            return no_backend(o->backend, err);
    }
    a->connection = o->vm ? o->vm->connection : o->connection;
    a->handle = o->vm ? o->vm->handle : NULL;
    a->unreachable = a->connection ? NULL : o->unreachable;
    if (a->connection)
        a->probed = a->connection->entry;
    else if (a->unreachable && a->only)
        a->probed = vmc_backend_by_name(a->only);
    if (a->connection && !a->only)
        a->only = a->probed->descriptor->name;
    a->call = (vmctl_call)VMCTL_CALL_INIT;
    int rc = vmc_options_copy(&a->call, o->call, err);
    if (a->call.timeout_ms == 0)
        a->call.timeout_ms = VMC_ASK_MS;
    return rc;
}

/* features: NULL-terminated; NULL: all. */
static int tell_all(const vmctl_caps_options *o, const char *const *features, vmctl_cap_fn each, void *user,
                    vmctl_error **err) {
    asking a = {0};
    bool stop = false;
    int rc = prepare(o, &a, err);
    for (size_t i = 0; rc == 0 && features && features[i]; i++)
        if (!vmc_feature_find(features[i]))
            rc = no_feature(features[i], err);
    if (rc == 0)
        rc = probe(&a, features, err);
    for (size_t i = 0; rc == 0 && !stop && (features ? features[i] != NULL : i < vmc_feature_count); i++)
        tell_feature(&a, features ? vmc_feature_find(features[i]) : &vmc_features[i], each, user, &stop);
    if (rc < 0)
        vmc_error_where(err, "cannot tell what is possible", NULL, NULL, a.connection ? a.connection->uri : NULL);
    asking_end(&a);
    return rc;
}

int vmctl_caps(const vmctl_caps_options *options, vmctl_cap_fn each, void *user, vmctl_error **err) {
    vmctl_caps_options o = VMCTL_CAPS_OPTIONS_INIT;
    int rc = vmc_options_copy(&o, options, err);
    if (rc == 0 && !each)
        rc = vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "no callback was given");
    const char *const one[] = {o.feature, NULL};
    return rc < 0 ? rc : tell_all(&o, o.feature ? one : NULL, each, user, err);
}

/* --- require ------------------------------------------------------------------------------------------------------- */

bool vmctl_cap_met(const vmctl_cap *cap) {
    return cap->vmctl >= VMCTL_LEVEL_LIMITED && !(cap->probed && cap->here == VMCTL_LEVEL_NO);
}

typedef struct requiring {
    vmctl_cap_fn missing;
    void *user;
    size_t lacking;
    bool missed;     /* whatever the endpoint would say */
    bool unanswered; /* it was asked whether it is possible here, and the endpoint did not answer */
    bool unreachable;
    bool stop;
} requiring;

static int judge(const vmctl_cap *cap, void *user) {
    requiring *r = user;
    bool met = vmctl_cap_met(cap);
    bool unanswered = met && r->unreachable && cap->here == VMCTL_LEVEL_UNKNOWN;
    r->unanswered |= unanswered;
    r->missed |= !met;
    if (met && !unanswered)
        return 0;
    r->lacking++;
    if (r->missing && !r->stop)
        r->stop = r->missing(cap, r->user) != 0;
    return 0;
}

int vmctl_caps_require(const vmctl_caps_options *options, const char *const *features, const char **backend,
                       vmctl_cap_fn missing, void *user, vmctl_error **err) {
    vmctl_caps_options o = VMCTL_CAPS_OPTIONS_INIT;
    int rc = vmc_options_copy(&o, options, err);
    for (size_t i = 0; rc == 0 && features && features[i]; i++)
        if (!vmc_feature_find(features[i]))
            rc = no_feature(features[i], err);
    if (rc == 0 && (!features || !features[0]))
        rc = vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "no feature is required");
    if (rc < 0)
        return rc;
    vmctl_connection *connection = o.vm ? o.vm->connection : o.connection;
    const char *only = o.backend ? o.backend : connection ? connection->entry->descriptor->name : NULL;
    bool unreachable = !connection && o.unreachable, unanswered = false;
    const vmc_registry_entry *entry;
    for (size_t b = 0; only ? b == 0 : (entry = vmc_backend_at(b)) != NULL; b++) {
        const char *name = only ? only : entry->descriptor->name;
        requiring r = {.missing = missing, .user = user, .unreachable = unreachable};
        o.backend = name;
        rc = tell_all(&o, features, judge, &r, err);
        if (rc < 0)
            return rc;
        if (r.lacking == 0) {
            if (backend)
                *backend = vmctl_backend_resolve(name);
            return 0;
        }
        unanswered |= r.unanswered && !r.missed;
    }
    if (unanswered)
        return vmc_error(err, VMCTL_E_UNAVAILABLE, "whether it is possible here cannot be found out: %s",
                         o.unreachable);
    if (only)
        return vmc_error(err, VMCTL_E_UNSUPPORTED, "%s lacks some of what is required", only);
    return vmc_error(err, VMCTL_E_UNSUPPORTED, "no backend of this build has all that is required");
}

/* --- explain ------------------------------------------------------------------------------------------------------- */

static void add_sentence(vmc_str *out, const char *before, const char *text, const char *after) {
    if (text)
        vmc_str_printf(out, "%s%s%s", before, text, after);
}

char *vmctl_cap_explain(const vmctl_cap *cap) {
    vmc_str out = {0};
    vmc_str_printf(&out, "%s on %s (%s)\n", cap->feature, cap->backend, cap->title);
    vmc_str_printf(&out, "platform: %s", vmctl_level_name(vmctl_cap_platform(cap)));
    add_sentence(&out, "; ", cap->platform_text, "");
    add_sentence(&out, " (", cap->platform_source, ")");
    if (cap->platform_correction) {
        vmc_str_printf(&out, "\n  corrected from %s: %s", vmctl_level_name(cap->platform), cap->platform_correction);
        add_sentence(&out, " (", cap->platform_evidence, ")");
    }
    vmc_str_printf(&out, "\nvmctl: %s", vmctl_level_name(cap->vmctl));
    add_sentence(&out, "; ", cap->vmctl_reason, "");
    add_sentence(&out, "; proven by: ", vmctl_proof_name(cap->proof), "");
    add_sentence(&out, " (", cap->proof_against, ")");
    if (cap->probed) {
        vmc_str_printf(&out, "\nhere: %s", vmctl_level_name(cap->here));
        add_sentence(&out, "; ", cap->here_reason, "");
        add_sentence(&out, "; try: ", cap->here_remedy, "");
    }
    vmc_str_add(&out, "\n");
    return vmc_str_take(&out);
}
