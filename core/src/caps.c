/* What vmctl does with each backend, from the descriptors; what is possible here, from the backend's probe. */
#include "feature_list.h"
#include "internal.h"
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

typedef struct asking {
    const vmc_registry_entry *only;
    vmctl_connection *connection; /* NULL: nothing is probed */
    void *handle;
    vmctl_call call;
} asking;

/* What the endpoint has is asked only of its own backend, and only where vmctl does something with it. */
static int probe(const asking *a, const vmc_registry_entry *entry, vmctl_cap *cap, vmctl_error **err) {
    if (!a->connection || a->connection->entry != entry || !a->connection->ops->probe || cap->vmctl <= VMCTL_LEVEL_NO)
        return 0;
    int rc = a->connection->ops->probe(a->connection->conn, a->handle, cap->feature, &a->call, cap, err);
    cap->probed = rc == 0;
    return rc;
}

static int tell(const asking *a, const vmc_feature *feature, vmctl_cap_fn each, void *user, bool *stop,
                vmctl_error **err) {
    const vmc_registry_entry *entry;
    for (size_t b = 0; !*stop && (entry = vmc_backend_at(b)); b++) {
        if (a->only && entry != a->only)
            continue;
        vmctl_cap cap = {.size = sizeof cap,
                         .feature = feature->id,
                         .title = feature->title,
                         .backend = entry->descriptor->name,
                         .platform = VMCTL_LEVEL_UNKNOWN,
                         .here = VMCTL_LEVEL_UNKNOWN};
        vmctl_answer(entry->descriptor, feature, &cap);
        int rc = probe(a, entry, &cap, err);
        if (rc < 0)
            return rc;
        *stop = each(&cap, user) != 0;
    }
    return 0;
}

static int prepare(const vmctl_caps_options *o, asking *a, const vmc_feature **feature, vmctl_error **err) {
    if (o->backend) {
        a->only = vmc_backend_by_name(o->backend);
        if (!a->only)
            return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "there is no backend \"%s\" in this build", o->backend);
    }
    if (o->feature) {
        *feature = vmc_feature_find(o->feature);
        if (!*feature)
            return no_feature(o->feature, err);
    }
    a->connection = o->vm ? o->vm->connection : o->connection;
    a->handle = o->vm ? o->vm->handle : NULL;
    if (a->connection && !a->only)
        a->only = a->connection->entry;
    a->call = (vmctl_call)VMCTL_CALL_INIT;
    int rc = vmc_options_copy(&a->call, o->call, err);
    if (a->call.timeout_ms == 0)
        a->call.timeout_ms = VMC_ASK_MS;
    return rc;
}

int vmctl_caps(const vmctl_caps_options *options, vmctl_cap_fn each, void *user, vmctl_error **err) {
    vmctl_caps_options o = VMCTL_CAPS_OPTIONS_INIT;
    int rc = vmc_options_copy(&o, options, err);
    if (rc == 0 && !each)
        rc = vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "no callback was given");
    asking a = {0};
    const vmc_feature *one = NULL;
    if (rc == 0)
        rc = prepare(&o, &a, &one, err);
    bool stop = false;
    if (rc == 0 && one)
        rc = tell(&a, one, each, user, &stop, err);
    for (size_t i = 0; rc == 0 && !one && !stop && i < vmc_feature_count; i++)
        rc = tell(&a, &vmc_features[i], each, user, &stop, err);
    if (rc < 0)
        vmc_error_where(err, "cannot tell what is possible", NULL, NULL, a.connection ? a.connection->uri : NULL);
    return rc;
}
