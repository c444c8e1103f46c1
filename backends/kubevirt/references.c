/* What a spec names of the cluster's: claims, storage classes, what disks are made from. Kubernetes takes a VM that names what is not there,
 * and then waits for it for ever. */
#include "ops.h"

#include <stdlib.h>
#include <string.h>

typedef struct checking {
    kubevirt_conn *conn;
    const char *namespace_name;
    const vmc_deadline *deadline;
    vmctl_error **err;
} checking;

/* Who may not look at it is not held up. what: "storage class"; next: how to see those that there are. */
static int is_there(const checking *c, const vmctl_node *node, const char *path, const char *what, const char *name,
                    const char *next) {
    vmctl_error *why = NULL;
    int code = kube_get(c->conn->client, path, c->deadline, NULL, &why);
    if (code == VMCTL_E_PERMISSION_DENIED || code == 0) {
        vmctl_error_free(why);
        return 0;
    }
    if (code != VMCTL_E_NOT_FOUND) {
        vmc_error_move(c->err, &why);
        return code;
    }
    vmctl_error_free(why);
    if (node)
        vmc_refuse(c->err, code, node, "there is no %s %s", what, name);
    else
        vmc_error(c->err, code, "there is no %s %s, which the context names", what, name);
    return vmc_error_next(c->err, "%s", next);
}

static int check_class(const checking *c, const vmctl_node *node, const char *name) {
    VMC_AUTO_FREE char *path = kube_path("storage.k8s.io", "v1", NULL, "storageclasses", name, NULL);
    return is_there(c, node, path, "storage class", name, "vmctl pool list shows those that there are");
}

static int check_claim(const checking *c, const vmctl_node *node, const char *text) {
    const char *slash = strchr(text, '/');
    VMC_AUTO_FREE char *namespace_name =
        slash ? vmc_strndup(text, (size_t)(slash - text)) : vmc_strdup(c->namespace_name);
    const char *name = slash ? slash + 1 : text;
    VMC_AUTO_FREE char *path = kube_path("", "v1", namespace_name, "persistentvolumeclaims", name, NULL);
    VMC_AUTO_FREE char *shown = vmc_printf("%s in namespace %s", name, namespace_name);
    return is_there(c, node, path, "claim", shown, "vmctl image list shows those that there are");
}

/* image: and cdrom: that name what is in the cluster; others are CDI's or the person's affair. */
static int check_source(const checking *c, const vmctl_node *node) {
    static const struct {
        const char *prefix, *group, *version, *plural, *what, *next;
    } kinds[] = {{"snapshot:", "snapshot.storage.k8s.io", "v1", "volumesnapshots", "VolumeSnapshot",
                  "kubectl get volumesnapshots shows those that there are"},
                 {"library:", KUBEVIRT_CDI, "v1beta1", "datasources", "DataSource",
                  "kubectl get datasources -A shows those that there are; library:NAMESPACE/NAME names one"}};
    const char *text = vmctl_node_string(node, NULL, "");
    if (vmc_starts_with(text, "pvc:"))
        return check_claim(c, node, text + strlen("pvc:"));
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (!vmc_starts_with(text, kinds[i].prefix))
            continue;
        const char *name = text + strlen(kinds[i].prefix), *slash = strchr(name, '/');
        VMC_AUTO_FREE char *namespace_name =
            slash ? vmc_strndup(name, (size_t)(slash - name)) : vmc_strdup(c->namespace_name);
        VMC_AUTO_FREE char *path = kube_path(kinds[i].group, kinds[i].version, namespace_name, kinds[i].plural,
                                             slash ? slash + 1 : name, NULL);
        return is_there(c, node, path, kinds[i].what, name, kinds[i].next);
    }
    return 0;
}

/* Whether the disk becomes a volume of its own, of some storage class. */
static bool is_made(const vmctl_node *disk) {
    const char *medium = vmctl_node_string(disk, "cdrom", NULL), *image = vmctl_node_string(disk, "image", NULL);
    bool sized = vmctl_node_get(disk, "size") != NULL;
    if (vmctl_node_get(disk, "volume"))
        return false;
    if (medium)
        return *medium && !vmc_starts_with(medium, "docker://") && !vmc_starts_with(medium, "pvc:");
    return !image || sized || !vmc_starts_with(image, "docker://");
}

/* class: the node of the usual storage class; *usual: its name, NULL once it was looked for. */
static int check_disk(const checking *c, const vmctl_node *disk, const vmctl_node *class, const char **usual) {
    const vmctl_node *volume = vmctl_node_get(disk, "volume"), *pool = vmctl_node_get(disk, "pool");
    const vmctl_node *image = vmctl_node_get(disk, "image"), *cdrom = vmctl_node_get(disk, "cdrom");
    int code = volume ? check_claim(c, volume, vmctl_node_string(volume, NULL, "")) : 0;
    if (code == 0 && (image || cdrom))
        code = check_source(c, image ? image : cdrom);
    if (code < 0 || !is_made(disk))
        return code;
    if (pool)
        return check_class(c, pool, vmctl_node_string(pool, NULL, ""));
    const char *name = *usual;
    *usual = NULL;
    return name ? check_class(c, class, name) : 0;
}

int kubevirt_references_check_disk(kubevirt_conn *conn, const char *namespace_name, const vmctl_node *disk,
                                   const vmc_deadline *deadline, vmctl_error **err) {
    const checking c = {.conn = conn, .namespace_name = namespace_name, .deadline = deadline, .err = err};
    const char *usual = NULL; /* it was looked for when the VM was made */
    return check_disk(&c, disk, NULL, &usual);
}

int kubevirt_references_check(kubevirt_conn *conn, const vmctl_spec *spec, const vmc_deadline *deadline,
                              vmctl_error **err) {
    const vmctl_node *root = vmctl_spec_root(spec), *disks = vmctl_node_get(root, "disks");
    const vmctl_node *class = vmctl_node_get(root, "placement.storageClass");
    const char *usual = vmctl_node_string(class, NULL, conn->storage_class);
    const checking c = {.conn = conn,
                        .namespace_name = vmctl_node_string(root, "placement.namespace", conn->namespace_name),
                        .deadline = deadline,
                        .err = err};
    int code = 0;
    for (size_t i = 0; code == 0 && i < vmctl_node_count(disks); i++)
        code = check_disk(&c, vmctl_node_at(disks, i), class, &usual);
    return code;
}
