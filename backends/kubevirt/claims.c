/* GPUs and devices by claims of dynamic resource allocation: whether the claim, the request in it and its device class are there, before a VM
 * is made that would wait for them for ever. Source: Kubernetes, "Dynamic Resource Allocation"; KubeVirt's user guide, "Host Devices
 * Assignment with DRA". */
#include "ops.h"

#include "gates.h"
#include "gpus.h"
#include <string.h>

#define GROUP "resource.k8s.io"

typedef struct checking {
    kubevirt_conn *conn;
    const vmc_deadline *deadline;
    const cJSON *vm;
    const char *version;
    const char *namespace_name;
} checking;

/* GET; *out NULL and 0: this user may not look, so that nothing is known. */
static int look(const checking *c, const char *namespace_name, const char *plural, const char *name, cJSON **out,
                vmctl_error **err) {
    VMC_AUTO_FREE char *path = kube_path(GROUP, c->version, namespace_name, plural, name, NULL);
    vmctl_error *why = NULL;
    int code = kube_get(c->conn->client, path, c->deadline, out, &why);
    if (code == VMCTL_E_PERMISSION_DENIED) {
        vmctl_error_free(why);
        return 0;
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}

static int check_class(const checking *c, const char *class, const char *device, vmctl_error **err) {
    VMC_AUTO_JSON *found = NULL;
    if (!class)
        return 0;
    vmctl_error *why = NULL;
    int code = look(c, NULL, "deviceclasses", class, &found, &why);
    if (code != VMCTL_E_NOT_FOUND) {
        vmc_error_move(code < 0 ? err : NULL, &why);
        return code;
    }
    vmctl_error_free(why);
    vmc_error(err, code, "%s: the claim asks for devices of class %s, which the cluster does not have", device, class);
    return vmc_error_next(err, "a driver's installation brings its classes: kubectl get deviceclasses");
}

/* The class stands in the request, in its `exactly` since v1beta2, or in each of its alternatives. */
static int check_classes(const checking *c, const cJSON *request, const char *device, vmctl_error **err) {
    int code = check_class(
        c, vmc_json_string(request, "exactly.deviceClassName", vmc_json_string(request, "deviceClassName", NULL)),
        device, err);
    const cJSON *one;
    cJSON_ArrayForEach(one, vmc_json_key(request, "firstAvailable")) {
        if (code == 0)
            code = check_class(c, vmc_json_string(one, "deviceClassName", NULL), device, err);
    }
    return code;
}

static int check_request(const checking *c, const cJSON *claim, const char *kind, const char *name, const char *request,
                         const char *device, vmctl_error **err) {
    VMC_AUTO_STR there = {0};
    const cJSON *item;
    cJSON_ArrayForEach(item, vmc_json_at(claim, "devices.requests")) {
        const char *has = vmc_json_string(item, "name", "");
        if (vmc_str_eq(has, request))
            return check_classes(c, item, device, err);
        vmc_str_printf(&there, "%s%s", there.length ? ", " : "", has);
    }
    return vmc_error(err, VMCTL_E_NOT_FOUND, "%s: the %s %s has no request %s; it has: %s", device, kind, name, request,
                     there.length ? there.text : "none");
}

static int check_device(const checking *c, const cJSON *device, vmctl_error **err) {
    const char *name = vmc_json_string(device, "name", "");
    const char *claim_name = vmc_json_string(device, "claimName", "");
    const cJSON *source = vmc_json_item(vmc_json_at(c->vm, "spec.template.spec.resourceClaims"), claim_name);
    const char *template = vmc_json_string(source, "resourceClaimTemplateName", NULL);
    const char *claim = vmc_json_string(source, "resourceClaimName", template);
    const char *kind = template ? "ResourceClaimTemplate" : "ResourceClaim";
    if (!claim)
        return vmc_error(err, VMCTL_E_INVALID_SPEC, "%s: the VM has no resource claim of the name %s", name,
                         claim_name);
    VMC_AUTO_JSON *found = NULL;
    vmctl_error *why = NULL;
    int code = look(c, c->namespace_name, template ? "resourceclaimtemplates" : "resourceclaims", claim, &found, &why);
    if (code == VMCTL_E_NOT_FOUND) {
        vmctl_error_free(why);
        vmc_error(err, code, "%s: there is no %s %s in namespace %s", name, kind, claim, c->namespace_name);
        return vmc_error_next(err, "make it first: kubectl get %ss -n %s shows those there are",
                              template ? "resourceclaimtemplate" : "resourceclaim", c->namespace_name);
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    const cJSON *spec = template ? vmc_json_at(found, "spec.spec") : vmc_json_at(found, "spec");
    const char *request = vmc_json_string(device, "requestName", NULL);
    return code < 0 || !found || !request ? code : check_request(c, spec, kind, claim, request, name, err);
}

static int check_gate(const cJSON *installation, const char *gate, const char *device, vmctl_error **err) {
    if (kubevirt_gate(installation, gate) != 0)
        return 0;
    vmc_error(err, VMCTL_E_UNSUPPORTED, "%s: the cluster's KubeVirt has its gate %s off", device, gate);
    return vmc_error_next(err, "an administrator adds %s to the KubeVirt object's featureGates", gate);
}

int kubevirt_claims_check(kubevirt_conn *conn, const cJSON *vm, const cJSON *installation, const vmc_deadline *deadline,
                          vmctl_error **err) {
    static const char *const wanted[] = {"v1", "v1beta2", "v1beta1", NULL};
    static const struct {
        const char *list, *gate;
    } lists[] = {{"gpus", "GPUsWithDRA"}, {"hostDevices", "HostDevicesWithDRA"}};
    checking c = {.conn = conn,
                  .deadline = deadline,
                  .vm = vm,
                  .namespace_name = vmc_json_string(vm, "metadata.namespace", conn->namespace_name)};
    for (size_t l = 0; l < sizeof lists / sizeof lists[0]; l++) {
        const cJSON *device;
        cJSON_ArrayForEach(device, vmc_json_key(vmc_json_at(vm, "spec.template.spec.domain.devices"), lists[l].list)) {
            if (!vmc_json_key(device, "claimName"))
                continue;
            int code = check_gate(installation, lists[l].gate, vmc_json_string(device, "name", ""), err);
            if (code == 0 && !c.version)
                code =
                    kubevirt_version_of(conn, GROUP, wanted,
                                        "dynamic resource allocation is on from Kubernetes 1.34, before that by a gate",
                                        deadline, &c.version, err);
            if (code == 0)
                code = check_device(&c, device, err);
            if (code < 0)
                return code;
        }
    }
    return 0;
}
