/* What one call has made in the cluster, told by a mark in its annotations: the journal's entry is "NAMESPACE/NAME MARK". */
#include "ops.h"

#include <stdlib.h>
#include <string.h>

int kubevirt_marked_read(const char *kind, const char *detail, kubevirt_marked *out, vmctl_error **err) {
    size_t namespace_length = strcspn(detail, "/");
    const char *name = detail + namespace_length + (detail[namespace_length] == '/');
    size_t name_length = strcspn(name, " ");
    *out = (kubevirt_marked){0};
    if (!namespace_length || !name_length || !name[name_length])
        return vmc_error(err, VMCTL_E_INTERNAL, "the journal's entry \"%s %s\" cannot be read", kind, detail);
    out->namespace_name = vmc_strndup(detail, namespace_length);
    out->name = vmc_strndup(name, name_length);
    out->mark = vmc_strdup(name + name_length + 1);
    return 0;
}

void kubevirt_marked_free(kubevirt_marked *marked) {
    free(marked->namespace_name);
    free(marked->name);
    free(marked->mark);
    *marked = (kubevirt_marked){0};
}

int kubevirt_marked_drop(kubevirt_conn *conn, const char *path, const char *annotation, const kubevirt_marked *marked,
                         const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_JSON *now = NULL;
    vmctl_error *why = NULL;
    int code = kube_get(conn->client, path, deadline, &now, &why);
    if (code == 0 &&
        vmc_str_eq(vmc_json_key_string(vmc_json_at(now, "metadata.annotations"), annotation), marked->mark)) {
        const kube_write_options same = {.uid = vmc_json_string(now, "metadata.uid", NULL)};
        code = kube_delete(conn->client, path, &same, deadline, NULL, &why);
    }
    if (code == VMCTL_E_NOT_FOUND || code == VMCTL_E_UNSUPPORTED) {
        vmctl_error_free(why);
        return 0;
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}
