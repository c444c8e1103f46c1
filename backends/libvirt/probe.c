/* backends/libvirt/probe.c - the slot `probe`: asks once for what the wanted features need, and tells about each. */
#include "probe.h"

#include "host_check.h"
#include "ops.h"
#include "rpc.h"
#include <stdlib.h>
#include <string.h>

enum { PROBE_MS = 20000 };

/* --- what was asked ------------------------------------------------------------------------------------------------- */

static void cannot_tell(vmc_answer *out, const vmctl_error *why) {
    vmc_answer_say(out, VMCTL_LEVEL_UNKNOWN, "%s", why ? vmctl_error_message(why) : "libvirt gave no answer");
}

const libvirt_capabilities *libvirt_asked_host(libvirt_asked *asked, vmc_answer *out) {
    if (!asked->host.done)
        libvirt_capabilities_get(asked->conn, asked->deadline, &asked->host.of, &asked->host.why);
    asked->host.done = true;
    if (!asked->host.of)
        cannot_tell(out, asked->host.why);
    return asked->host.of;
}

const char *libvirt_asked_offers(libvirt_asked *asked, vmc_answer *out) {
    const libvirt_capabilities *host = libvirt_asked_host(asked, out);
    if (host && !host->document)
        vmc_answer_say(out, VMCTL_LEVEL_UNKNOWN,
                       "that libvirt does not tell what its QEMU offers; starting a VM with it would answer");
    return host ? host->document : NULL;
}

const xmlNode *libvirt_asked_capabilities(libvirt_asked *asked, vmc_answer *out) {
    if (!asked->capabilities.done)
        libvirt_host_capabilities(asked->conn, asked->deadline, &asked->capabilities.doc, &asked->capabilities.why);
    asked->capabilities.done = true;
    if (!asked->capabilities.doc)
        cannot_tell(out, asked->capabilities.why);
    return asked->capabilities.doc ? xmlDocGetRootElement(asked->capabilities.doc) : NULL;
}

const libvirt_snapshot_scene *libvirt_asked_scene(libvirt_asked *asked, vmc_answer *out) {
    if (!asked->scene.done &&
        libvirt_snapshot_look(asked->conn, asked->vm, asked->deadline, &asked->scene.of, &asked->scene.why) == 0)
        libvirt_xml_parse(asked->scene.of.xml, "the domain's XML", "domain", VMCTL_E_INTERNAL, &asked->scene.doc, NULL,
                          &asked->scene.why);
    asked->scene.done = true;
    if (!asked->scene.doc)
        cannot_tell(out, asked->scene.why);
    return asked->scene.doc ? &asked->scene.of : NULL;
}

const xmlNode *libvirt_asked_domain(libvirt_asked *asked, vmc_answer *out) {
    return libvirt_asked_scene(asked, out) ? xmlDocGetRootElement(asked->scene.doc) : NULL;
}

const libvirt_migrate_vm *libvirt_asked_migration(libvirt_asked *asked, vmc_answer *out) {
    if (!asked->migration.done)
        asked->migration.known = libvirt_migrate_vm_read(asked->conn, asked->vm, asked->deadline, &asked->migration.of,
                                                         &asked->migration.why) == 0;
    asked->migration.done = true;
    if (!asked->migration.known)
        cannot_tell(out, asked->migration.why);
    return asked->migration.known ? &asked->migration.of : NULL;
}

static void asked_end(libvirt_asked *asked) {
    vmctl_error_free(asked->host.why);
    vmctl_error_free(asked->capabilities.why);
    vmctl_error_free(asked->scene.why);
    libvirt_xml_free(&asked->capabilities.doc);
    libvirt_xml_free(&asked->scene.doc);
    vmctl_error_free(asked->migration.why);
    if (asked->migration.done)
        libvirt_migrate_vm_free(&asked->migration.of);
    if (asked->scene.done)
        libvirt_snapshot_scene_free(&asked->scene.of);
}

/* --- the slot ------------------------------------------------------------------------------------------------------- */

static const libvirt_probe_entry *entry_of(const libvirt_probe_entry *table, const char *feature) {
    while (table->feature && strcmp(table->feature, feature) != 0)
        table++;
    return table->feature ? table : NULL;
}

/* Of what only a VM can be asked about, where none was named. */
static void ask_per_vm(libvirt_asked *asked, vmc_answer *out) {
    (void)asked;
    vmc_answer_say(out, VMCTL_LEVEL_UNKNOWN, "it depends on the VM; caps --vm VM would answer");
}

/* true: the caller wants no more. */
static bool tell(libvirt_asked *asked, const libvirt_probe_entry *entry, vmctl_here_fn each, void *user) {
    vmc_answer answer = {VMCTL_LEVEL_UNKNOWN, NULL, NULL};
    entry->ask(asked, &answer);
    return vmc_answer_tell(&answer, entry->feature, each, user);
}

int libvirt_probe(void *conn, void *vm, const char *const *features, const vmctl_call *call, vmctl_here_fn each,
                  void *user, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, PROBE_MS);
    libvirt_asked asked = {.conn = conn, .vm = vm, .deadline = &deadline};
    bool enough = false;
    if (asked.conn->test_driver)
        return 0; /* its answers are made up: nothing is known of a hypervisor */
    /* What is known of the VM is nearer than what is known of its host. */
    for (const libvirt_probe_entry *entry = libvirt_vm_probes; !enough && entry->feature; entry++) {
        const libvirt_probe_entry later = {entry->feature, ask_per_vm};
        if (vmc_answer_is_wanted(features, entry->feature) && (vm || !entry_of(libvirt_host_probes, entry->feature)))
            enough = tell(&asked, vm ? entry : &later, each, user);
    }
    for (const libvirt_probe_entry *entry = libvirt_host_probes; !enough && entry->feature; entry++)
        if (vmc_answer_is_wanted(features, entry->feature) && !(vm && entry_of(libvirt_vm_probes, entry->feature)))
            enough = tell(&asked, entry, each, user);
    asked_end(&asked);
    return vmctl_cancel_triggered(call->cancel) ? vmc_error(err, VMCTL_E_CANCELLED, "cancelled while probing") : 0;
}
