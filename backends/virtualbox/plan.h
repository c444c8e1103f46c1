/* backends/virtualbox/plan.h - a spec as what VBoxManage is told, and the files that are made for it. */
#ifndef VMC_VIRTUALBOX_PLAN_H
#define VMC_VIRTUALBOX_PLAN_H

#include "marker.h"
#include "ops.h"

typedef enum virtualbox_file_kind {
    VIRTUALBOX_FILE_COPY,  /* an image, converted */
    VIRTUALBOX_FILE_BLANK, /* a new disk */
    VIRTUALBOX_FILE_LINK,  /* a symbolic link to a medium whose name VirtualBox does not take for an optical disc */
    VIRTUALBOX_FILE_SEED   /* cloud-init's seed */
} virtualbox_file_kind;

typedef struct virtualbox_file {
    virtualbox_file_kind kind;
    char *device;   /* the disk's name */
    char *path;     /* in the VM's folder */
    char *source;   /* COPY, LINK */
    char *format;   /* COPY, BLANK: "vdi", "vmdk", "vhd" */
    uint64_t bytes; /* COPY: 0 as large as the image; BLANK */
    bool fixed;     /* all of it is allocated: what several VMs share must be */
} virtualbox_file;

typedef struct virtualbox_plan {
    char id[37];
    char *name;
    char *folder;       /* where VirtualBox will make it */
    vmc_strv *commands; /* after createvm and the marker, in order; they need the files */
    size_t command_count;
    virtualbox_file *files;
    size_t file_count;
    cJSON *marker;
    vmc_seed seed; /* empty without cloudInit */
} virtualbox_plan;

/* Decides everything that can be decided before anything is made, and looks at the images: INVALID_SPEC, NOT_FOUND, UNSUPPORTED,
 * ALREADY_EXISTS (the name or its folder is taken). */
int virtualbox_plan_make(virtualbox_conn *conn, const vmctl_spec *spec, const vmctl_marker *marker,
                         const vmc_deadline *deadline, virtualbox_plan *out, vmctl_error **err);
void virtualbox_plan_free(virtualbox_plan *plan);
#define VIRTUALBOX_AUTO_PLAN vmc_cleanup(virtualbox_plan_free) virtualbox_plan

/* createvm, and the call that sets the marker. */
void virtualbox_plan_begin(const virtualbox_plan *plan, const vmctl_spec *spec, vmc_strv *create, vmc_strv *mark);
/* Makes one file; what it began is removed when it fails. */
struct seed_iso_file;
/* cloud-init's seed, as a file of the connection's host. */
int virtualbox_write_seed(virtualbox_conn *conn, const char *path, const struct seed_iso_file *files, size_t count,
                          const vmc_deadline *deadline, vmctl_error **err);
int virtualbox_make_file(virtualbox_conn *conn, const virtualbox_plan *plan, const virtualbox_file *file,
                         const vmc_deadline *deadline, vmctl_error **err);

/* --- parts that a change needs, too ----------------------------------------------------------------------------- */

/* Options of modifyvm for one NIC in a slot (from 0), appended to argv; and its marker entry. */
int virtualbox_plan_nic(const vmctl_node *nic, unsigned slot, vmc_strv *argv, cJSON *marker, vmctl_error **err);
/* The folder of new VMs. free. */
int virtualbox_machine_folder(virtualbox_conn *conn, const vboxmanage_registry *registry, const vmc_deadline *deadline,
                              char **out, vmctl_error **err);
/* Where VirtualBox makes a VM of this name. free. */
char *virtualbox_folder_of(const char *machines, const char *name);
/* ALREADY_EXISTS: a VM has the name, or something is where its folder would be. */
int virtualbox_check_new(const virtualbox_conn *conn, const vboxmanage_registry *registry, const char *name,
                         const char *folder, const vmc_deadline *deadline, vmctl_error **err);
/* What is left in the folder of a VM that is registered no more and lives on elsewhere: all but disks and what it logged (remove.c). */
void virtualbox_remove_left(const vboxmanage_machine *machine, const cJSON *marker, const vmc_deadline *deadline);

#endif
