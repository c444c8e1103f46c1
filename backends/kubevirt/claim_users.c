/* Claims: who uses one, whether there is one. */
#include "ops.h"

#include <string.h>

const char *kubevirt_claim_of(const cJSON *volume) {
    return vmc_json_string(volume, "persistentVolumeClaim.claimName", vmc_json_string(volume, "dataVolume.name", NULL));
}

static int look_for_user(cJSON **item, void *user) {
    kubevirt_claim_user *u = user;
    const char *name = vmc_json_string(*item, "metadata.name", "");
    const cJSON *pod = vmc_json_at(*item, "spec.template.spec");
    const cJSON *volume;
    if (vmc_str_eq(name, u->except))
        return 0;
    cJSON_ArrayForEach(volume, vmc_json_key(pod, "volumes")) {
        if (!vmc_str_eq(kubevirt_claim_of(volume), u->claim))
            continue;
        const cJSON *disk =
            vmc_json_item(vmc_json_at(pod, "domain.devices.disks"), vmc_json_key_string(volume, "name"));
        u->name = vmc_strdup(name);
        u->running = vmc_json_boolean(*item, "status.created", false);
        u->shared = vmc_json_boolean(disk, "shareable", false);
        return 1;
    }
    return 0;
}

int kubevirt_find_claim_user(kubevirt_conn *conn, const char *namespace_name, kubevirt_claim_user *user,
                             const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_FREE char *collection = kubevirt_collection("virtualmachines", namespace_name);
    int code = kube_list(conn->client, collection, NULL, deadline, look_for_user, user, err);
    return code < 0 ? code : 0;
}

static int is_at(kubevirt_conn *conn, const char *path, const vmc_deadline *deadline, bool *there, vmctl_error **err) {
    vmctl_error *why = NULL;
    int code = kube_get(conn->client, path, deadline, NULL, &why);
    *there = code == 0;
    if (code == VMCTL_E_NOT_FOUND || code == VMCTL_E_UNSUPPORTED) { /* UNSUPPORTED: there is no CDI */
        vmctl_error_free(why);
        return 0;
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}

int kubevirt_claim_exists(kubevirt_conn *conn, const char *namespace_name, const char *claim,
                          const vmc_deadline *deadline, bool *there, vmctl_error **err) {
    VMC_AUTO_FREE char *path = kube_path("", "v1", namespace_name, "persistentvolumeclaims", claim, NULL);
    VMC_AUTO_FREE char *volume = kube_path(KUBEVIRT_CDI, "v1beta1", namespace_name, "datavolumes", claim, NULL);
    int code = is_at(conn, path, deadline, there, err);
    return code == 0 && !*there ? is_at(conn, volume, deadline, there, err) : code;
}
