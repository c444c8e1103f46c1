/* backends/libvirt/probe.h - what is possible on this endpoint and with this VM: a table of features and functions.
 *
 * A probe only looks. Where an operation has a check of its own (a function that only looks and gives reason and remedy), the probe calls that
 * very function, so that `caps --vm` and the refusal say the same words. To add one: a function here, and a line in probe_host.c's or
 * probe_vm.c's table. */
#ifndef VMC_LIBVIRT_PROBE_H
#define VMC_LIBVIRT_PROBE_H

#include "backends/shared/answer.h"
#include "capabilities.h"
#include "conn.h"
#include "migrate.h"
#include "snapshot.h"
#include "xml_tree.h"

/* What is being asked about, and what was asked already: each thing once, when a probe first needs it. */
typedef struct libvirt_asked {
    libvirt_conn *conn;
    const libvirt_vm *vm; /* NULL: the endpoint */
    const vmc_deadline *deadline;
    /* not to be read but through the functions below */
    struct {
        bool done;
        const libvirt_capabilities *of;
        vmctl_error *why;
    } host;
    struct {
        bool done;
        xmlDoc *doc;
        vmctl_error *why;
    } capabilities;
    struct {
        bool done;
        libvirt_snapshot_scene of;
        xmlDoc *doc;
        vmctl_error *why;
    } scene;
    struct {
        bool done, known;
        libvirt_migrate_vm of;
        vmctl_error *why;
    } migration;
} libvirt_asked;

typedef struct libvirt_probe_entry {
    const char *feature;
    void (*ask)(libvirt_asked *asked, vmc_answer *out);
} libvirt_probe_entry;

extern const libvirt_probe_entry libvirt_host_probes[], libvirt_vm_probes[]; /* ended by a NULL feature */

/* Host and domain capabilities, the VM with all that snapshots want to know. NULL: could not be asked, and *out says why. */
const libvirt_capabilities *libvirt_asked_host(libvirt_asked *asked, vmc_answer *out);
/* libvirt's domain capabilities, as a document. */
const char *libvirt_asked_offers(libvirt_asked *asked, vmc_answer *out);
const xmlNode *libvirt_asked_capabilities(libvirt_asked *asked, vmc_answer *out);
const libvirt_snapshot_scene *libvirt_asked_scene(libvirt_asked *asked, vmc_answer *out);
const libvirt_migrate_vm *libvirt_asked_migration(libvirt_asked *asked, vmc_answer *out);
/* The VM's <domain>, of the running one where it runs. */
const xmlNode *libvirt_asked_domain(libvirt_asked *asked, vmc_answer *out);

#endif
