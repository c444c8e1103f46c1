/* backends/libvirt/domain_xml.h - the common model to domain XML and back. Pure: no daemon, no files, libxml2 only.
 * Source: libvirt's formatdomain.html. */
#ifndef VMC_LIBVIRT_DOMAIN_XML_H
#define VMC_LIBVIRT_DOMAIN_XML_H

#include "base/error.h"
#include "base/str.h"
#include <vmctl/backend.h>

/* What one disk of the spec became on the host. */
typedef struct libvirt_disk_plan {
    const char *path;   /* on the hypervisor's host; NULL: a drive without a medium */
    const char *format; /* "qcow2", "raw" */
    bool block;         /* a block device, not a file */
    bool own;           /* vmctl made it: noted in the marker, removed with the VM */
    const char *origin; /* the image it was copied from, as the spec names it; "": one that is gone; NULL */
} libvirt_disk_plan;

/* What the host offers, from virConnectGetDomainCapabilities (capabilities.c fills it). */
typedef struct libvirt_host_features {
    const char *arch;     /* the host's */
    const char *emulator; /* NULL: libvirt's choice */
    bool kvm;             /* what `accel` became: KVM, else TCG */
    bool no_host_cpu;     /* KVM works, but not with the host's CPU passed through: a model near it is named instead */
    bool uefi, secure_boot, tpm, virtiofs, spice, vnc;
    unsigned long libvirt_version; /* 9000000 for 9.0.0 */
    unsigned long qemu_version;    /* 7002011 */
} libvirt_host_features;

/* All that the XML says and the spec does not. Strings are borrowed. */
typedef struct libvirt_domain_plan {
    const char *uuid;
    const libvirt_host_features *host;
    const libvirt_disk_plan *disks; /* as many as the spec's disks:, same order */
    const char *seed_iso;           /* cloud-init's seed on the host; NULL: none */
    const char *kernel, *initrd;    /* on the host; NULL */
    const char *serial_log;         /* on the host; NULL */
    const vmctl_marker *marker;     /* NULL: written without one */
    bool remote;                    /* for shares and sockets: the host is another machine */
    bool session;                   /* no system network: nat becomes user networking */
    bool test_driver;               /* test:///: the domain is of type test; host is not looked at for features */
    vmc_strv *warnings;             /* what was left out, one sentence each; NULL */
    const vmc_strv *own_files; /* what else vmctl made for it (a kernel that it uploaded): noted in the marker; NULL */
} libvirt_domain_plan;

/* The whole document, spec validated and complete; it makes nothing, so calling it first with the planned paths finds what cannot be
 * honoured before anything is made: VMCTL_E_UNSUPPORTED, VMCTL_E_INVALID_SPEC. A native spec is taken as it is, with the marker
 * (and without a UUID of another's: plan->uuid, where given, replaces it). Port forwards are part of the document (arguments of QEMU's command line
 * that add to the interface's own netdev), so they hold however the VM is started. *xml: free. */
int libvirt_domain_xml(const vmctl_spec *spec, const libvirt_domain_plan *plan, char **xml, vmctl_error **err);

/* A device's alias: "ua-NAME", with what an alias cannot hold replaced and a sum of the name added; free. */
char *libvirt_alias(const char *name);
/* Whether a running domain's memory can be mapped by another process, as virtiofs needs. */
bool libvirt_memory_is_shared(const char *domain_xml);

/* The document changed by a diff (all but disks' contents and autostart): the persistent XML that the change leads to. Only what
 * the diff names is touched. `added` has one plan for each change, in the diff's order, that brings a file: the
 * disks that are added, and every SET of disks.NAME.cdrom or disks.NAME.volume. plan->kernel, ->initrd and ->serial_log are
 * those of changed keys. plan->marker is not looked at: the document keeps its own. What cannot be changed: VMCTL_E_UNSUPPORTED
 * with the reason, and *xml stays NULL. */
int libvirt_domain_xml_change(const char *domain_xml, const vmctl_diff *diff, const libvirt_disk_plan *added,
                              const libvirt_domain_plan *plan, char **xml, vmctl_error **err);

/* Any domain as a spec (get -o spec): whatever the spec can say; `apply` of it changes nothing. */
int libvirt_domain_spec(const char *domain_xml, vmctl_spec **out, vmctl_error **err);

/* The facts that are only in the document. Everything is owned by the struct. */
typedef struct libvirt_domain_facts {
    vmctl_vm_info info; /* name, id, cpus, memory, MARKER, DEVICES, GPUS, CONFIG except agent, uptime, sizes */
    char *nvram;        /* the variable store's path; NULL */
    char *serial_log;   /* NULL */
    vmc_strv own_files; /* what vmctl made for it, paths */
    vmc_strv no_disks;  /* those of them that are nobody's data: seeds, media, kernels, logs */
    void *arena;        /* domain_facts.c */
} libvirt_domain_facts;

int libvirt_domain_facts_read(const char *domain_xml, libvirt_domain_facts **out, vmctl_error **err);
void libvirt_domain_facts_free(libvirt_domain_facts *facts);

/* The marker alone (<metadata> urn:vmctl:1), from what virDomainGetMetadata gives or a whole domain. false: none. */
bool libvirt_marker_read(const char *xml, libvirt_domain_facts *facts);

#endif
