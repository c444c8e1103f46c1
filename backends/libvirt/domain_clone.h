/* backends/libvirt/domain_clone.h - a domain's document as that of another VM: identity, addresses and files are the new one's. Pure: no
 * daemon, no files. */
#ifndef VMC_LIBVIRT_DOMAIN_CLONE_H
#define VMC_LIBVIRT_DOMAIN_CLONE_H

#include "domain_xml.h"
#include <libxml/tree.h>

/* A disk of the original that the clone has one of its own for. Strings are borrowed. */
typedef struct libvirt_clone_disk {
    const char *target; /* "vda" */
    const char *path;   /* the clone's file */
    const char *format;
    const char *base; /* what it is an overlay of; NULL: it stands alone */
    bool base_own;    /* vmctl made that: it goes with the last VM that stands on it */
} libvirt_clone_disk;

/* One card's address, before ("" when it had none) and after. */
typedef struct libvirt_clone_mac {
    char before[18], after[18];
} libvirt_clone_mac;

typedef struct libvirt_clone_plan {
    const char *name, *uuid;
    const libvirt_clone_mac *macs; /* libvirt_clone_macs */
    size_t mac_count;
    const libvirt_clone_disk *disks;
    size_t disk_count;
    const char *seed, *kernel, *initrd; /* copies of those that vmctl had made; NULL: as they are */
    const char *serial_log;             /* NULL: none */
    const char *nvram;                  /* NULL: where libvirt would put it */
    const vmctl_marker *marker;
} libvirt_clone_plan;

/* New addresses for all cards of the document, in their order; free. */
libvirt_clone_mac *libvirt_clone_macs(const xmlDoc *doc, size_t *count);

/* Changes `doc`, the original's definition, into the clone's. `told` gets one sentence for each thing that is not as it was (may be NULL). */
int libvirt_clone_xml(xmlDoc *doc, const libvirt_clone_plan *plan, vmc_strv *told, vmctl_error **err);

/* The original goes on in an overlay of its own, so that nothing writes to what clones stand on. `keep`: the base was vmctl's and stays noted. */
void libvirt_clone_step_aside(xmlDoc *doc, const libvirt_clone_disk *disks, size_t count);

#endif
