/* backends/kubevirt/manifest.h - the common model as a VirtualMachine of kubevirt.io/v1. Pure: asks no server.
 * Sources: KubeVirt's API reference (v1.9), its user guide; CDI's datavolumes.md; Kubernetes' "Object Names and IDs". */
#ifndef VMC_KUBEVIRT_MANIFEST_H
#define VMC_KUBEVIRT_MANIFEST_H

#include "backends/shared/json.h"
#include "base/deadline.h"
#include <vmctl/backend.h>

#define KUBEVIRT_API "kubevirt.io/v1"

/* --- marker: labels and annotations of vmctl's own ----------------------------------------------------------------- */

#define KUBEVIRT_LABEL_MANAGED "vmctl.dev/managed-by" /* "vmctl" */
#define KUBEVIRT_LABEL_OWNER   "vmctl.dev/owner"      /* what of the owner a label can say, for selectors */
#define KUBEVIRT_LABEL_RUN     "vmctl.dev/run"
/* Annotations. */
#define KUBEVIRT_OWNER       "vmctl.dev/owner" /* exactly */
#define KUBEVIRT_RUN         "vmctl.dev/run"
#define KUBEVIRT_VERSION     "vmctl.dev/version"
#define KUBEVIRT_CREATED     "vmctl.dev/created" /* RFC 3339 */
#define KUBEVIRT_EXPIRES     "vmctl.dev/expires"
#define KUBEVIRT_DESCRIPTION "vmctl.dev/description"
#define KUBEVIRT_LABELS      "vmctl.dev/labels" /* JSON: labels of vm.yaml that Kubernetes' syntax does not allow */
#define KUBEVIRT_KEPT                                                                                                  \
    "vmctl.dev/kept" /* JSON: what vm.yaml says and a VirtualMachine does not (shared/json.h, vmc_kept_of) */
#define KUBEVIRT_LEFT                                                                                                  \
    "vmctl.dev/left-disks" /* JSON: data volume templates of disks that a revert took off; they go with the VM */
#define KUBEVIRT_STRATEGY "vmctl.dev/run-strategy" /* what start sets instead of Manual: "RerunOnFailure" */

/* --- names ----------------------------------------------------------------------------------------------------------- */

/* A DNS label (RFC 1123) of at most 63 characters. */
bool kubevirt_is_label_name(const char *text);
/* Labels joined by dots, at most 63 characters together, since the name becomes a label's value. */
bool kubevirt_is_vm_name(const char *text);
/* What may be a label's key ("prefix/name") and value. */
bool kubevirt_is_label_key(const char *key);
bool kubevirt_is_label_value(const char *value);
/* What a label's value can say of a text: other characters become '_'. free. */
char *kubevirt_label_value(const char *text);

/* --- making ---------------------------------------------------------------------------------------------------------- */

/* A file of this machine that becomes a disk: the data volume is made for an upload. */
typedef struct kubevirt_upload {
    char *disk;  /* its name in the spec */
    char *claim; /* the data volume and its PVC */
    char *path;
} kubevirt_upload;

typedef struct kubevirt_manifest {
    cJSON *vm;
    cJSON *secrets; /* a list of Secrets that the VM shall own; empty: none */
    kubevirt_upload *uploads;
    size_t upload_count;
    vmc_strv notes; /* what will surprise, one sentence each */
} kubevirt_manifest;

void kubevirt_manifest_free(kubevirt_manifest *manifest);
#define KUBEVIRT_AUTO_MANIFEST vmc_cleanup(kubevirt_manifest_free) kubevirt_manifest

/* What the spec does not say. Strings are borrowed. */
typedef struct kubevirt_making {
    const char *namespace_name; /* where placement.namespace says nothing */
    const char
        *storage_class; /* where neither pool: nor placement.storageClass says one; NULL: the cluster's default */
    const vmctl_marker *marker; /* NULL: without one */
    const cJSON *permitted; /* the KubeVirt CR's permittedHostDevices, for GPUs by ids or profile; NULL: it has none */
    /* How large the disk in a file of this machine is; NULL: files cannot be uploaded. */
    int (*file_bytes)(const char *path, void *user, int64_t *bytes, vmctl_error **err);
    void *user;
} kubevirt_making;

/* The spec (a vm.yaml, complete with defaults) as what create sends. INVALID_SPEC, UNSUPPORTED, NOT_FOUND (a GPU that is not permitted, with
 * what there is). out: kubevirt_manifest_free, also after a failure. */
int kubevirt_manifest_of_spec(const vmctl_spec *spec, const kubevirt_making *making, kubevirt_manifest *out,
                              vmctl_error **err);
/* A native document: all its fields as they are, with the namespace and the marker added. The same failures. */
int kubevirt_manifest_of_native(const vmctl_spec *spec, const kubevirt_making *making, kubevirt_manifest *out,
                                vmctl_error **err);

/* Whether the translation needs to know what the cluster permits: GPUs or USB devices by anything but a resource's name. */
bool kubevirt_needs_permitted(const vmctl_spec *spec);

/* --- parts, for changes too ------------------------------------------------------------------------------------------ */

typedef struct kubevirt_build {
    const vmctl_node *root;
    const kubevirt_making *making;
    kubevirt_manifest *out;
    const char *name;
    cJSON *vm, *pod, *domain, *devices; /* spec.template.spec, its domain, and its devices */
    const char *guest;                  /* "linux" */
    vmctl_error **err;
} kubevirt_build;

/* manifest_disk.c: one item of disks:, and all that cloudInit: and unattend: become. */
int kubevirt_build_disk(kubevirt_build *build, const vmctl_node *disk);
int kubevirt_build_seed(kubevirt_build *build, const vmctl_spec *spec);
/* manifest_nic.c: one item of networks:. */
int kubevirt_build_nic(kubevirt_build *build, const vmctl_node *nic);
/* manifest_gpu.c: one item of gpus: or usb:. */
int kubevirt_build_gpu(kubevirt_build *build, const vmctl_node *gpu);
int kubevirt_build_usb(kubevirt_build *build, const vmctl_node *usb);
/* manifest_cpu.c: cpus:, memory:, and what guest:, machine:, firmware: and confidential: become; also over what is there. */
void kubevirt_build_cpus(cJSON *domain, const vmctl_node *cpus, const char *guest);
int kubevirt_check_cpus(const vmctl_node *cpus, vmctl_error **err);
void kubevirt_build_memory(cJSON *domain, const vmctl_node *memory);
void kubevirt_build_machine(kubevirt_build *build);
/* manifest.c: what of the spec the manifest does not show goes into the annotation of `vm`. */
void kubevirt_keep(cJSON *vm, const vmctl_node *root);
/* What boot:, display:, serial:, rng:, watchdog:, placement: or kubevirt: becomes, over what is there. */
int kubevirt_rebuild_parts(kubevirt_build *build, const char *top);
/* Labels and annotations of vmctl's own, over what is there. */
void kubevirt_put_marker(cJSON *vm, const vmctl_marker *marker);
/* RFC 3339; seconds 0: removed. */
void kubevirt_put_time(cJSON *annotations, const char *key, int64_t seconds);
/* A label of the person's: on the VM and its template, or in the annotation where Kubernetes' syntax does not allow it; value NULL removes it. */
void kubevirt_put_label(cJSON *vm, const char *key, const char *value);

/* --- back ------------------------------------------------------------------------------------------------------------ */

/* The VM in vm.yaml's words; with what the marker kept. Never NULL; cJSON_Delete. */
cJSON *kubevirt_read_vm(const cJSON *vm, bool with_kept);
/* One volume with its disk, in vm.yaml's words; NULL: vm.yaml has no word for it (cloud-init's seed ...). */
cJSON *kubevirt_read_disk(const cJSON *vm, const cJSON *disk);
cJSON *kubevirt_read_nic(const cJSON *vm, const cJSON *interface);
/* The volume of a disk, the data volume template of a volume; NULL. */
const cJSON *kubevirt_volume_of(const cJSON *vm, const char *disk);
const cJSON *kubevirt_template_of(const cJSON *vm, const cJSON *volume);
/* How many CPUs the guest has; 0: an instance type says. */
unsigned kubevirt_read_cpus(const cJSON *cpu);
/* Whether the label is the person's, not Kubernetes', KubeVirt's or vmctl's. */
bool kubevirt_is_own_label(const char *key);
/* RFC 3339 -> seconds since 1970 UTC; 0: none. */
int64_t kubevirt_time_of(const char *text);

#endif
