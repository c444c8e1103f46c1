/* When a change is in force: KubeVirt has looked at it, and the running VM has what it can have at once. Sources: desiredGeneration,
 * currentCPUTopology, memory, volumeStatus, interfaces and migratedVolumes of the API reference; recordings 356-362. */
#include "change.h"

#include "quantity.h"
#include <stdlib.h>
#include <string.h>

enum { LOOK_MS = 30000 };

/* --- KubeVirt has looked ----------------------------------------------------------------------------------------------- */

typedef struct look {
    int64_t generation;
    char *restart;
} look;

static int is_looked_at(const cJSON *object, void *user, vmctl_error **err) {
    look *l = user;
    (void)err;
    if (!object)
        return 1;
    const cJSON *wanted = kubevirt_condition(object, "RestartRequired", "True");
    if (vmc_json_integer(object, "status.desiredGeneration", 0) < l->generation)
        return 0;
    free(l->restart);
    l->restart = wanted ? vmc_printf("KubeVirt: %s", vmc_json_string(wanted, "message", "it needs a restart")) : NULL;
    return 1;
}

/* virt-controller tells with the generation that it has seen whether a restart is needed for it. One that does not work now keeps the change, and
 * makes it when it does. */
static int wait_looked_at(kubevirt_changing *ch, vmctl_error **err) {
    look l = {.generation = vmc_json_integer(ch->after, "metadata.generation", 0)};
    vmc_deadline within = vmc_deadline_within(ch->deadline, LOOK_MS);
    const kubevirt_waiting waiting = {.plural = "virtualmachines",
                                      .name = ch->vm->name,
                                      .resource_version = vmc_json_string(ch->after, "metadata.resourceVersion", NULL),
                                      .doing = "waiting for KubeVirt to look at the change",
                                      .settled = is_looked_at,
                                      .user = &l};
    vmctl_error *why = NULL;
    int code = is_looked_at(ch->after, &l, NULL) ? 0 : kubevirt_wait(ch->conn, ch->vm, &waiting, &within, &why);
    if (!kubevirt_condition(ch->now, "RestartRequired", "True"))
        ch->restart = l.restart;
    else
        free(l.restart);
    if (code == VMCTL_E_TIMEOUT && vmc_deadline_left(ch->deadline) != 0) {
        vmc_note(ch->deadline, VMCTL_NOTE_WARNING,
                 "the change is there, but KubeVirt's controller has not looked at it yet");
        vmctl_error_free(why);
        return 0;
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}

/* --- the VM has it ----------------------------------------------------------------------------------------------------- */

typedef struct settling {
    const kubevirt_changing *ch;
    const vmctl_diff *diff;
    const char *migration; /* the last one before; "" */
} settling;

static int is_disk_there(const cJSON *vmi, const char *name, const char *claim, vmctl_error **err) {
    const cJSON *status = vmc_json_item(vmc_json_at(vmi, "status.volumeStatus"), name);
    const cJSON *volume = vmc_json_item(vmc_json_at(vmi, "spec.volumes"), name);
    const char *reason = vmc_json_string(status, "reason", "");
    const char *phase = vmc_json_string(status, "phase", NULL);
    if (!claim)
        return status == NULL && volume == NULL;
    if (strstr(reason, "Failed"))
        return vmc_error(err, VMCTL_E_UNAVAILABLE, "disk %s did not come: %s", name,
                         vmc_json_string(status, "message", reason));
    /* A volume of the boot has no phase, but a target. */
    return status && vmc_str_eq(kubevirt_claim_of(volume), claim) && (!phase || strcmp(phase, "Ready") == 0);
}

static int is_card_there(const cJSON *vmi, const char *name, bool wanted) {
    return (vmc_json_item(vmc_json_at(vmi, "status.interfaces"), name) != NULL) == wanted;
}

/* Before 1.5 the instance does not say what its links are; then what it was asked for counts. */
static int is_link(const cJSON *vmi, const char *name, bool down) {
    const cJSON *status = vmc_json_item(vmc_json_at(vmi, "status.interfaces"), name);
    const cJSON *asked = vmc_json_item(vmc_json_at(vmi, "spec.domain.devices.interfaces"), name);
    const char *now = vmc_json_string(status, "linkState", vmc_json_string(asked, "state", "up"));
    return (strcmp(now, "down") == 0) == down;
}

/* The disk is copied by a migration that KubeVirt begins; the instance then is on the new volume. */
static int is_moved(const settling *s, const cJSON *vmi, const char *name, vmctl_error **err) {
    const char *claim = kubevirt_claim_of(kubevirt_volume_of(s->ch->then, name));
    const cJSON *state = vmc_json_at(vmi, "status.migrationState");
    bool own = !vmc_str_eq(vmc_json_string(state, "migrationUid", ""), s->migration);
    if (own && vmc_json_boolean(state, "failed", false))
        return vmc_error(err, VMCTL_E_UNAVAILABLE, "disk %s could not be moved: %s", name,
                         vmc_json_string(state, "failureReason", "KubeVirt gives no reason"));
    return own && vmc_json_boolean(state, "completed", false) && !kubevirt_condition(vmi, "VolumesChange", "True") &&
           vmc_str_eq(kubevirt_claim_of(vmc_json_item(vmc_json_at(vmi, "spec.volumes"), name)), claim);
}

static int growth_failed(const cJSON *vmi, const char *kind, vmctl_error **err) {
    const cJSON *condition = kubevirt_condition(vmi, kind, "False");
    return condition ? vmc_error(err, VMCTL_E_UNAVAILABLE, "the VM did not get it: %s",
                                 vmc_json_string(condition, "message", vmc_json_string(condition, "reason", "")))
                     : 0;
}

static int is_change_there(const settling *s, const cJSON *vmi, const vmctl_change *change, vmctl_error **err) {
    KUBEVIRT_AUTO_PLACE where = kubevirt_place_of(change);
    const cJSON *domain = vmc_json_at(s->ch->then, "spec.template.spec.domain");
    const char *key = where.key ? where.key : "";
    bool adding = change->action == VMCTL_CHANGE_ADD;
    bool item = where.name && change->action != VMCTL_CHANGE_SET;
    int code = 0;
    if (strcmp(where.list, "cpus") == 0) {
        code = growth_failed(vmi, "HotVCPUChange", err);
        return code < 0 ? code
                        : kubevirt_read_cpus(vmc_json_at(vmi, "status.currentCPUTopology")) ==
                              kubevirt_read_cpus(vmc_json_key(domain, "cpu"));
    }
    if (strcmp(where.list, "memory") == 0) {
        code = growth_failed(vmi, "HotMemoryChange", err);
        return code < 0 ? code
                        : kubevirt_quantity_of(vmc_json_at(vmi, "status.memory.guestCurrent")) >=
                              kubevirt_quantity_of(vmc_json_at(domain, "memory.guest"));
    }
    if (strcmp(where.list, "disks") == 0 && (item || strcmp(key, "cdrom") == 0))
        return is_disk_there(vmi, where.name,
                             item && !adding ? NULL : kubevirt_claim_of(kubevirt_volume_of(s->ch->then, where.name)),
                             err);
    if (strcmp(where.list, "disks") == 0 && strcmp(key, "pool") == 0)
        return is_moved(s, vmi, where.name, err);
    if (strcmp(where.list, "networks") == 0 && item)
        return is_card_there(vmi, where.name, adding);
    if (strcmp(where.list, "networks") == 0 && strcmp(key, "link") == 0)
        return is_link(vmi, where.name, vmc_str_eq(vmctl_node_string(change->want, NULL, NULL), "down"));
    return 1;
}

static int is_there(const cJSON *vmi, void *user, vmctl_error **err) {
    const settling *s = user;
    if (!vmi)
        return 1; /* it stopped meanwhile: the next start has it as it is now */
    for (size_t i = 0; i < vmctl_diff_count(s->diff); i++) {
        const vmctl_change *change = vmctl_diff_at(s->diff, i);
        VMC_AUTO_FREE char *why = kubevirt_change_obstacle(s->ch, change);
        int code = why ? 1 : is_change_there(s, vmi, change, err);
        if (code != 1)
            return code;
    }
    return 1;
}

/* --- both -------------------------------------------------------------------------------------------------------------- */

static bool has_move(const vmctl_diff *diff) {
    for (size_t i = 0; i < vmctl_diff_count(diff); i++)
        if (kubevirt_is_move(vmctl_diff_at(diff, i)))
            return true;
    return false;
}

/* What goes while the VM runs goes when its guest lets it. */
static void tell_held(const kubevirt_changing *ch, const vmctl_diff *diff, vmctl_error **err) {
    for (size_t i = 0; i < vmctl_diff_count(diff); i++) {
        const vmctl_change *change = vmctl_diff_at(diff, i);
        KUBEVIRT_AUTO_PLACE where = kubevirt_place_of(change);
        VMC_AUTO_FREE char *why = kubevirt_change_obstacle(ch, change);
        if (why || change->action != VMCTL_CHANGE_REMOVE || !where.name || where.key)
            continue;
        vmc_error_append(err, "; the guest has not let %s go", where.name);
        vmc_error_next(err, "vmctl restart %s, after which it is gone", ch->vm->name);
    }
}

int kubevirt_change_settle(kubevirt_changing *ch, const vmctl_diff *diff, vmctl_error **err) {
    int64_t was = vmc_json_integer(ch->now, "metadata.generation", 0);
    if (!ch->vmi || !ch->after || vmc_json_integer(ch->after, "metadata.generation", 0) == was)
        return 0;
    int code = wait_looked_at(ch, err);
    settling s = {
        .ch = ch, .diff = diff, .migration = vmc_json_string(ch->vmi, "status.migrationState.migrationUid", "")};
    if (code < 0 || is_there(ch->vmi, &s, NULL) == 1)
        return code;
    bool moves = has_move(diff);
    VMC_AUTO_FREE char *doing = vmc_printf("waiting for %s to have it", ch->vm->name);
    vmc_deadline within = moves ? *ch->deadline : vmc_deadline_within(ch->deadline, KUBEVIRT_ACT_MS);
    const kubevirt_waiting waiting = {.plural = "virtualmachineinstances",
                                      .name = ch->vm->name,
                                      .doing = moves ? "copying the disks" : doing,
                                      .settled = is_there,
                                      .user = &s};
    code = kubevirt_wait(ch->conn, ch->vm, &waiting, &within, err);
    if (moves)
        return kubevirt_change_moved(ch, diff, code, err);
    if (code == VMCTL_E_TIMEOUT)
        tell_held(ch, diff, err);
    if (vmc_outcome_unknown(code))
        vmc_error_append(err, "; the change stands, and KubeVirt goes on trying");
    return code;
}
