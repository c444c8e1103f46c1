/* What is possible on this VirtualBox and with this VM: a table of features and functions. A probe only looks, and where an operation has a check
 * of its own, it calls that: `caps` and the refusal say the same words. */
#include "change.h"
#include "clone.h"
#include "facts.h"
#include "forward.h"
#include "guest.h"
#include "migrate.h"
#include "screen.h"
#include "usb.h"

#include "backends/shared/answer.h"
#include "backends/shared/removal.h"
#include "drivers/process/process.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROBE_MS = 20000 };

/* What is being asked about, and what was asked already: each thing once, when a probe first needs it. */
typedef struct asked {
    virtualbox_conn *conn;
    virtualbox_vm *vm; /* NULL: the endpoint */
    const vmc_deadline *deadline;
    bool looked, listed;
    virtualbox_scene scene; /* machine NULL: it could not be looked at */
    vmctl_error *why_scene;
    vboxmanage_properties info;         /* showvminfo */
    vboxmanage_properties limits, host; /* list systemproperties, hostinfo */
    char *packs;                        /* list extpacks */
    vboxmanage_registry registry;
    vmctl_error *why_host;
} asked;

/* --- what was asked ----------------------------------------------------------------------------------------------------- */

static void list(asked *a, const char *what, vboxmanage_properties *out, char **raw) {
    VMC_AUTO_FREE char *text = NULL;
    if (a->why_host || virtualbox_say(a->conn, NULL, "asking what VirtualBox has", a->deadline, &text, &a->why_host,
                                      "list", what, NULL) < 0)
        return;
    if (out)
        vboxmanage_parse_records(text, out);
    if (raw) {
        *raw = text;
        text = NULL;
    }
}

/* false: it could not be asked, and *out says why. */
static bool host(asked *a, vmc_answer *out) {
    if (!a->listed) {
        list(a, "systemproperties", &a->limits, NULL);
        list(a, "hostinfo", &a->host, NULL);
        list(a, "extpacks", NULL, &a->packs);
        if (!a->why_host)
            virtualbox_registry(a->conn, a->deadline, &a->registry, &a->why_host);
    }
    a->listed = true;
    if (a->why_host)
        vmc_answer_say(out, VMCTL_LEVEL_UNKNOWN, "%s", vmctl_error_message(a->why_host));
    return !a->why_host;
}

static const virtualbox_scene *scene(asked *a, vmc_answer *out) {
    if (!a->looked) {
        if (virtualbox_look(a->conn, a->vm, a->deadline, &a->scene, &a->why_scene) == 0)
            virtualbox_ask_info(a->conn, a->vm, a->deadline, &a->info, NULL);
    }
    a->looked = true;
    if (a->why_scene || !a->scene.machine) {
        vmc_answer_say(out, VMCTL_LEVEL_UNKNOWN, "%s",
                       a->why_scene ? vmctl_error_message(a->why_scene) : "it could not be looked at");
        return NULL;
    }
    return &a->scene;
}

/* --- the host ------------------------------------------------------------------------------------------------------------- */

static void ask_here(asked *a, vmc_answer *out) {
    if (host(a, out))
        out->level = VMCTL_LEVEL_YES;
}

/* VMs run at the speed of the host's CPU, or in VirtualBox's recompiler, or not at all. */
static void ask_start(asked *a, vmc_answer *out) {
    if (!host(a, out))
        return;
    const char *cpu = vboxmanage_property_get(&a->host, "Processor supports HW virtualization");
    out->level = VMCTL_LEVEL_YES;
    if (!vboxmanage_file_exists(a->conn->manage, "/dev/vboxdrv", NULL)) {
        vmc_answer_say(out, VMCTL_LEVEL_LIMITED,
                       "VirtualBox's kernel driver is not loaded: a VM starts only with a software CPU and "
                       "with NAT for a network");
        vmc_answer_remedy(out,
                          "modprobe vboxdrv (package virtualbox-dkms), or virtualbox.modifyvm: {vm-execution-engine: "
                          "recompiler, paravirt-provider: none}");
    } else if (vmc_str_eq(cpu, "no")) {
        vmc_answer_say(out, VMCTL_LEVEL_LIMITED, "the host's CPU offers no virtualization: VMs run in software");
        vmc_answer_remedy(
            out, "turn on VT-x or AMD-V in the host's firmware, or nested virtualization where the host is a VM");
    } else if (vmc_str_eq(vboxmanage_property_get(&a->host, "Processor supports nested paging"), "no")) {
        vmc_answer_say(out, VMCTL_LEVEL_LIMITED, "the host's CPU has no nested paging: VMs are slow, and have one CPU");
    }
}

static void ask_driver_network(asked *a, vmc_answer *out) {
    if (!host(a, out))
        return;
    out->level = VMCTL_LEVEL_YES;
    if (vboxmanage_file_exists(a->conn->manage, "/dev/vboxnetctl", NULL) ||
        vboxmanage_file_exists(a->conn->manage, "/dev/vboxdrv", NULL))
        return;
    vmc_answer_say(out, VMCTL_LEVEL_NO,
                   "VirtualBox's kernel driver is not loaded, and without it NAT is the only network");
    vmc_answer_remedy(out, "modprobe vboxdrv vboxnetflt vboxnetadp (package virtualbox-dkms)");
}

static void ask_vnc(asked *a, vmc_answer *out) {
    if (!host(a, out))
        return;
    out->level = VMCTL_LEVEL_YES;
    if (a->packs && strstr(a->packs, "VBoxVNC"))
        return;
    vmc_answer_say(out, VMCTL_LEVEL_NO, "this VirtualBox has no VNC extension pack");
    vmc_answer_remedy(
        out, "Debian's package virtualbox-ext-pack or a build with VNC; the window of VirtualBox itself needs none");
}

static void ask_autostart(asked *a, vmc_answer *out) {
    vmctl_error *why = NULL;
    if (!host(a, out))
        return;
    int code = virtualbox_check_autostart(&a->registry, NULL, &why);
    vmc_answer_check(out, code, why);
}

static void ask_limit(asked *a, vmc_answer *out, const char *least, const char *most, const char *unit) {
    if (!host(a, out))
        return;
    const char *from = vboxmanage_property_get(&a->limits, least);
    const char *to = vboxmanage_property_get(&a->limits, most);
    if (from && to)
        vmc_answer_say(out, VMCTL_LEVEL_LIMITED, "this VirtualBox gives a VM %lu to %lu %s", strtoul(from, NULL, 10),
                       strtoul(to, NULL, 10), unit);
    else
        out->level = VMCTL_LEVEL_YES;
}

static void ask_cpus(asked *a, vmc_answer *out) {
    ask_limit(a, out, "Minimum guest CPU count", "Maximum guest CPU count", "CPUs");
}

static void ask_memory(asked *a, vmc_answer *out) {
    ask_limit(a, out, "Minimum guest RAM size", "Maximum guest RAM size", "MiB");
}

/* Disks are made by it. */
static void ask_image(asked *a, vmc_answer *out) {
    (void)a;
    VMC_AUTO_FREE char *program = process_find("qemu-img");
    out->level = VMCTL_LEVEL_YES;
    if (program)
        return;
    vmc_answer_say(out, VMCTL_LEVEL_NO, "qemu-img, which makes and converts disks, is not there");
    vmc_answer_remedy(out, "install the package qemu-utils");
}

static void ask_usb(asked *a, vmc_answer *out) {
    VBOXMANAGE_AUTO_USB_DEVICES devices = {0};
    vmctl_error *why = NULL;
    int code = vboxmanage_usb_list(a->conn->manage, a->deadline, &devices, &why);
    vmc_answer_check(out, code, why);
}

/* --- one VM ------------------------------------------------------------------------------------------------------------------ */

/* What one check of an operation's says; *why and s are the check's to use. */
#define ASK(name, check)                                                                                               \
    static void ask_##name(asked *a, vmc_answer *out) {                                                                \
        const virtualbox_scene *s = scene(a, out);                                                                     \
        vmctl_error *why = NULL;                                                                                       \
        if (!s)                                                                                                        \
            return;                                                                                                    \
        int code = (check);                                                                                            \
        vmc_answer_check(out, code, why);                                                                              \
    }
#define ASK_LIFE(slot) ASK(vm_##slot, virtualbox_life_check(a->vm, VMCTL_SLOT_##slot, s->state, &why))

ASK_LIFE(start)
ASK_LIFE(stop)
ASK_LIFE(restart)
ASK_LIFE(reset)
ASK_LIFE(pause)
ASK_LIFE(resume)
ASK_LIFE(save)
ASK_LIFE(rename)
ASK(clone, virtualbox_clone_check(s, NULL, &why))
ASK(abort, virtualbox_migrate_check_abort(a->vm, s->state, &why))
ASK(export, virtualbox_export_check(s, &why))
ASK(snapshot_disk, virtualbox_snapshot_check_create(s, VMCTL_MEMORY_AUTO, &why))
ASK(snapshot_memory, virtualbox_snapshot_check_create(s, VMCTL_MEMORY_WITH, &why))
ASK(screenshot, virtualbox_screenshot_check(a->vm, s->machine, s->state, 0, &why))
ASK(dump, virtualbox_dump_check(a->vm, s->state, &why))
ASK(keys, virtualbox_keys_check(a->vm, s->state, &why))
ASK(console, virtualbox_console_check(a->vm, s->machine, s->state, NULL, &why))
ASK(guest, virtualbox_guest_check(a->vm, s->state, virtualbox_additions(&a->info), &why))

static void later(asked *a, vmc_answer *out, vmctl_level level, const char *obstacle) {
    VMC_AUTO_FREE char *next = virtualbox_change_later(a->vm->name);
    vmc_answer_say(out, level, "%s", obstacle);
    vmc_answer_remedy(out, "%s", next);
}

static bool is_saved(const virtualbox_scene *s) {
    return s->machine->state_file && s->state == VMCTL_STATE_SAVED;
}

static void ask_apply(asked *a, vmc_answer *out) {
    const virtualbox_scene *s = scene(a, out);
    vmctl_error *why = NULL;
    if (!s)
        return;
    int code = virtualbox_change_check(s, &why);
    vmc_answer_check(out, code, why);
    if (code == 0 && is_saved(s))
        later(a, out, VMCTL_LEVEL_LIMITED, VIRTUALBOX_SAVED_OBSTACLE);
    else if (code == 0 && s->state != VMCTL_STATE_STOPPED)
        later(a, out, VMCTL_LEVEL_LIMITED, VIRTUALBOX_FIXED_OBSTACLE);
}

/* What is asked of a VM while it runs. NULL: it does not, and *out says so: what a stopped VM gets needs no plugging, and a saved one takes
 * nothing. */
static const virtualbox_scene *running(asked *a, vmc_answer *out) {
    const virtualbox_scene *s = scene(a, out);
    if (!s || s->state == VMCTL_STATE_RUNNING || s->state == VMCTL_STATE_PAUSED)
        return s;
    if (is_saved(s))
        later(a, out, VMCTL_LEVEL_NO, VIRTUALBOX_SAVED_OBSTACLE);
    else
        vmc_answer_say(out, VMCTL_LEVEL_LIMITED, "%s is %s: a change of it needs no plugging", a->vm->name,
                       vmctl_state_name(s->state));
    return NULL;
}

/* What stands in the way while it runs; freed here. */
static void obstacle(asked *a, vmc_answer *out, char *text) {
    if (text)
        later(a, out, VMCTL_LEVEL_NO, text);
    else
        out->level = VMCTL_LEVEL_YES;
    free(text);
}

static void ask_cpu_hotplug(asked *a, vmc_answer *out) {
    const virtualbox_scene *s = running(a, out);
    if (s)
        obstacle(a, out, virtualbox_cpus_obstacle(s->machine, s->machine->cpus + 1u));
}

static void ask_balloon(asked *a, vmc_answer *out) {
    const virtualbox_scene *s = running(a, out);
    if (s)
        obstacle(a, out, virtualbox_memory_obstacle(s, s->machine->memory_mib));
}

static void ask_disk_hotplug(asked *a, vmc_answer *out) {
    const virtualbox_scene *s = running(a, out);
    if (!s)
        return;
    char *sata = virtualbox_disk_obstacle(s->machine, "sata", NULL);
    VMC_AUTO_FREE char *usb = virtualbox_disk_obstacle(s->machine, "usb", NULL);
    if (!usb) { /* one bus is enough */
        free(sata);
        sata = NULL;
    }
    obstacle(a, out, sata);
}

static void ask_detach(asked *a, vmc_answer *out) {
    const virtualbox_scene *s = running(a, out);
    if (!s)
        return;
    out->level = VMCTL_LEVEL_YES;
    for (size_t i = 0; i < s->machine->attachment_count; i++) {
        const vboxmanage_attachment *at = &s->machine->attachments[i];
        VMC_AUTO_FREE char *text = virtualbox_disk_obstacle(s->machine, virtualbox_bus(s->machine, at->controller), at);
        if (text && out->level == VMCTL_LEVEL_YES)
            later(a, out, VMCTL_LEVEL_LIMITED, text);
    }
}

static void ask_medium(asked *a, vmc_answer *out) {
    const virtualbox_scene *s = scene(a, out);
    const vboxmanage_attachment *drive = NULL;
    vmctl_error *why = NULL;
    if (!s)
        return;
    int code = virtualbox_drive_find(s, NULL, &drive, &why);
    if (code == VMCTL_E_AMBIGUOUS) {
        vmctl_error_free(why);
        why = NULL;
        code = 0;
    }
    vmc_answer_check(out, code, why);
    if (code == 0 && is_saved(s))
        later(a, out, VMCTL_LEVEL_LIMITED, VIRTUALBOX_SAVED_OBSTACLE);
}

static void ask_grow(asked *a, vmc_answer *out) {
    const virtualbox_scene *s = scene(a, out);
    vmctl_error *why = NULL;
    if (!s)
        return;
    for (size_t i = 0; i < s->machine->attachment_count; i++) {
        const vboxmanage_attachment *at = &s->machine->attachments[i];
        const vboxmanage_medium *medium = vboxmanage_medium_of(s->machine, at->medium);
        VMC_AUTO_FREE char *place = virtualbox_place(at);
        if (!medium || !vmc_str_eq(at->kind, "HardDisk"))
            continue;
        int code = virtualbox_grow_check(s, virtualbox_marker_name(s->marker, place, place), medium, &why);
        vmc_answer_check(out, code, why);
        if (code == 0 && s->state != VMCTL_STATE_STOPPED)
            later(a, out, VMCTL_LEVEL_LIMITED, VIRTUALBOX_FIXED_OBSTACLE);
        return;
    }
    vmc_answer_say(out, VMCTL_LEVEL_NO, "%s has no disk", a->vm->name);
    vmc_answer_remedy(out, "vmctl attach %s disk name=NAME size=SIZE gives it one", a->vm->name);
}

static void ask_forward(asked *a, vmc_answer *out) {
    const virtualbox_scene *s = scene(a, out);
    vmctl_error *why = NULL;
    unsigned slot = 0;
    if (!s)
        return;
    int code = virtualbox_forward_check(a->vm, s->machine, s->state, &slot, &why);
    vmc_answer_check(out, code, why);
}

/* A VM that is stopped keeps a filter for better times. */
static void ask_vm_usb(asked *a, vmc_answer *out) {
    const virtualbox_scene *s = scene(a, out);
    vmctl_error *why = NULL;
    if (!s)
        return;
    int code = virtualbox_usb_check(s, NULL, &why);
    vmc_answer_check(out, code, why);
    if (out->level == VMCTL_LEVEL_NO && s->state == VMCTL_STATE_STOPPED)
        out->level = VMCTL_LEVEL_LIMITED;
}

/* Of those that are there: the first that something stands in the way of. */
static void ask_revert(asked *a, vmc_answer *out) {
    const virtualbox_scene *s = scene(a, out);
    size_t refused = 0;
    for (size_t i = 0; s && i < s->machine->snapshot_count; i++) {
        vmctl_error *why = NULL;
        int code = virtualbox_snapshot_check_revert(s, &s->machine->snapshots[i], &why);
        if (code < 0 && refused++ == 0)
            vmc_answer_check(out, code, why);
        else
            vmctl_error_free(why);
    }
    if (s && s->machine->snapshot_count == 0)
        vmc_answer_say(out, VMCTL_LEVEL_UNKNOWN, "%s has no snapshot yet; asking again with one would answer",
                       a->vm->name);
    else if (s && refused < s->machine->snapshot_count)
        out->level = refused ? VMCTL_LEVEL_LIMITED : VMCTL_LEVEL_YES;
}

/* A running one goes with --force only. */
static void ask_delete(asked *a, vmc_answer *out) {
    const virtualbox_scene *s = scene(a, out);
    vmctl_error *why = NULL;
    if (!s)
        return;
    bool runs = s->state != VMCTL_STATE_STOPPED && s->state != VMCTL_STATE_SAVED;
    int code = vmc_removal_check(a->vm->name, runs ? vmctl_state_name(s->state) : NULL, false, &why);
    vmc_answer_check(out, code, why);
    if (code < 0)
        out->level = VMCTL_LEVEL_LIMITED;
}

/* What the VM itself has against it; the target has its own say, which is asked when there is one. */
static void ask_move(asked *a, vmctl_migrate_mode mode, vmc_answer *out) {
    const virtualbox_scene *s = scene(a, out);
    const vmctl_migrate_options options = {.size = sizeof options, .mode = mode};
    vmctl_error *why = NULL;
    if (!s)
        return;
    int code = virtualbox_migrate_check(s, NULL, NULL, &options, &why);
    vmc_answer_check(out, code, why);
}

static void ask_migrate(asked *a, vmc_answer *out) {
    ask_move(a, VMCTL_MIGRATE_LIVE, out);
}

static void ask_migrate_offline(asked *a, vmc_answer *out) {
    ask_move(a, VMCTL_MIGRATE_OFFLINE, out);
}

/* --- the slot ----------------------------------------------------------------------------------------------------------------- */

typedef struct probe_entry {
    const char *feature;
    void (*ask)(asked *a, vmc_answer *out);
} probe_entry;

static const probe_entry vm_probes[] = {
    {"lifecycle.delete", ask_delete},
    {"lifecycle.start", ask_vm_start},
    {"lifecycle.stop", ask_vm_stop},
    {"lifecycle.restart", ask_vm_restart},
    {"lifecycle.reboot", ask_guest},
    {"lifecycle.reset", ask_vm_reset},
    {"lifecycle.pause", ask_vm_pause},
    {"lifecycle.resume", ask_vm_resume},
    {"lifecycle.save", ask_vm_save},
    {"lifecycle.rename", ask_vm_rename},
    {"lifecycle.clone", ask_clone},
    {"lifecycle.clone.linked", ask_clone},
    {"change.apply", ask_apply},
    {"cpu.hotplug", ask_cpu_hotplug},
    {"memory.balloon", ask_balloon},
    {"device.disk.hotplug", ask_disk_hotplug},
    {"device.detach", ask_detach},
    {"device.cdrom.change", ask_medium},
    {"device.usb", ask_vm_usb},
    {"storage.grow", ask_grow},
    {"snapshot.disk", ask_snapshot_disk},
    {"snapshot.external", ask_snapshot_disk},
    {"snapshot.memory", ask_snapshot_memory},
    {"snapshot.revert", ask_revert},
    {"image.export", ask_export},
    {"migrate.live", ask_migrate},
    {"migrate.offline", ask_migrate_offline},
    {"migrate.abort", ask_abort},
    {"display.screenshot", ask_screenshot},
    {"display.keys", ask_keys},
    {"console.serial", ask_console},
    {"guest.addresses", ask_guest},
    {"guest.info", ask_guest},
    {"guest.exec", ask_guest},
    {"guest.copy", ask_guest},
    {"guest.copy.out", ask_guest},
    {"guest.password", ask_guest},
    {"guest.forward", ask_forward},
    {"guest.memory-dump", ask_dump},
};

static const probe_entry host_probes[] = {
    {"lifecycle.create", ask_image},
    {"lifecycle.start", ask_start},
    {"lifecycle.autostart", ask_autostart},
    {"look.list", ask_here},
    {"look.get", ask_here},
    {"look.spec", ask_here},
    {"look.native", ask_here},
    {"look.render", ask_here},
    {"look.events", ask_here},
    {"look.wait", ask_here},
    {"look.metrics", ask_here},
    {"cpu.count", ask_cpus},
    {"memory.size", ask_memory},
    {"storage.image", ask_image},
    {"storage.blank", ask_image},
    {"network.nat", ask_here},
    {"network.user", ask_here},
    {"network.bridge", ask_driver_network},
    {"network.network", ask_driver_network},
    {"display.vnc", ask_vnc},
    {"device.usb", ask_usb},
    {"host.info", ask_here},
    {"host.networks", ask_here},
    {"host.pools", ask_here},
};
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static bool has_entry(const char *feature) {
    for (size_t i = 0; i < COUNT(vm_probes); i++)
        if (strcmp(vm_probes[i].feature, feature) == 0)
            return true;
    return false;
}

/* true: the caller wants no more. */
static bool tell(asked *a, const probe_entry *entry, vmctl_here_fn each, void *user) {
    vmc_answer said = {VMCTL_LEVEL_UNKNOWN, NULL, NULL};
    entry->ask(a, &said);
    return vmc_answer_tell(&said, entry->feature, each, user);
}

int virtualbox_probe(void *conn, void *vm, const char *const *features, const vmctl_call *call, vmctl_here_fn each,
                     void *user, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, PROBE_MS);
    asked a = {.conn = conn, .vm = vm, .deadline = &deadline};
    bool enough = false;
    /* What is known of the VM is nearer than what is known of its host. */
    for (size_t i = 0; vm && !enough && i < COUNT(vm_probes); i++)
        if (vmc_answer_is_wanted(features, vm_probes[i].feature))
            enough = tell(&a, &vm_probes[i], each, user);
    for (size_t i = 0; !enough && i < COUNT(host_probes); i++)
        if (vmc_answer_is_wanted(features, host_probes[i].feature) && !(vm && has_entry(host_probes[i].feature)))
            enough = tell(&a, &host_probes[i], each, user);
    virtualbox_scene_free(&a.scene);
    vboxmanage_properties_free(&a.info);
    vboxmanage_properties_free(&a.limits);
    vboxmanage_properties_free(&a.host);
    vboxmanage_registry_free(&a.registry);
    vmctl_error_free(a.why_scene);
    vmctl_error_free(a.why_host);
    free(a.packs);
    return vmctl_cancel_triggered(call->cancel) ? vmc_error(err, VMCTL_E_CANCELLED, "cancelled while probing") : 0;
}
