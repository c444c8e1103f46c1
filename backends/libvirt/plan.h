/* backends/libvirt/plan.h - all that a VM will be, worked out and checked before anything is made. */
#ifndef VMC_LIBVIRT_PLAN_H
#define VMC_LIBVIRT_PLAN_H

#include "capabilities.h"
#include "cloud_init.h"
#include "storage.h"

typedef struct libvirt_plan {
    libvirt_store store;
    libvirt_file *disks; /* as many as the spec's disks:, same order */
    libvirt_disk_plan *disk_plans;
    size_t disk_count;
    libvirt_file seed, kernel, initrd; /* NONE when not wanted */
    char *serial_log;
    char uuid[VIR_UUID_STRING_BUFLEN];
    libvirt_host_features host;
    libvirt_capabilities *foreign; /* of another architecture than the host's */
    libvirt_domain_plan domain;    /* borrows from the rest */
    vmc_strv warnings;
} libvirt_plan;

/* predict: for render; what is taken or not free is told by notes and is no error. `spec`, `deadline` and `marker` (may be NULL) must outlive the
 * plan. libvirt_plan_free also after a failure. */
int libvirt_plan_vm(libvirt_conn *conn, const vmctl_spec *spec, const vmctl_marker *marker, bool predict,
                    const vmc_deadline *deadline, libvirt_plan *plan, vmctl_error **err);
void libvirt_plan_free(libvirt_plan *plan);

/* What the host offers for the spec's architecture, with `accel` decided; *foreign (may stay NULL): libvirt_capabilities_free. */
int libvirt_plan_host(libvirt_conn *conn, const char *arch, const char *accel, const vmc_deadline *deadline,
                      libvirt_host_features *host, libvirt_capabilities **foreign, vmctl_error **err);

/* The domain's document for the plan as it stands. *xml: free. */
int libvirt_plan_xml(const vmctl_spec *spec, libvirt_plan *plan, char **xml, vmctl_error **err);

/* The path of serial.log in the default pool. *path: free. */
int libvirt_plan_log(libvirt_store *store, const vmctl_node *node, char **path, vmctl_error **err);

/* cloud-init's seed with these texts, for the store's VM. */
int libvirt_plan_seed(libvirt_store *store, const libvirt_seed *texts, libvirt_file *out, vmctl_error **err);

/* ALREADY_EXISTS when a VM has that name, or (uuid not NULL) that UUID. */
int libvirt_check_free(libvirt_conn *conn, const char *name, const char *uuid, const vmc_deadline *deadline,
                       vmctl_error **err);
/* create.c: defines a new domain, noted in the journal before. VIR_DOMAIN_DEFINE_* flags; autostart: with the host. */
int libvirt_define_new(libvirt_conn *conn, const char *xml, const char *name, const char *uuid, unsigned flags,
                       bool autostart, const vmc_deadline *deadline, vmc_journal *journal, void **vm,
                       vmctl_error **err);
/* create.c: another definition for a domain that there is. doing: in the error's words; kept: as libvirt keeps it, with its secrets (free; NULL: not
 * wanted). */
int libvirt_redefine(libvirt_conn *conn, const char *xml, const char *doing, const vmc_deadline *deadline, char **kept,
                     vmctl_error **err);

#endif
