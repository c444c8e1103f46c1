/* backends/libvirt/probe_vm.c - what is possible with one VM as it is now, in the words of the operations' own checks. */
#include "probe.h"

#include "agent.h"
#include "change.h"
#include "clone.h"
#include "guest_forward.h"
#include "ops.h"
#include "ova.h"
#include "xpath.h"

#include "backends/shared/removal.h"
#include <stdlib.h>
#include <string.h>

/* --- its life -------------------------------------------------------------------------------------------------------- */

static void ask_life(libvirt_asked *asked, vmctl_slot slot, vmc_answer *out) {
    const libvirt_snapshot_scene *scene = libvirt_asked_scene(asked, out);
    vmctl_error *why = NULL;
    if (!scene)
        return;
    int code = libvirt_life_check(asked->vm, slot, scene->vir_state, scene->vir_reason, scene->saved, &why);
    vmc_answer_check(out, code, why);
}

#define ASK_LIFE(slot)                                                                                                 \
    static void ask_##slot(libvirt_asked *asked, vmc_answer *out) {                                                    \
        ask_life(asked, VMCTL_SLOT_##slot, out);                                                                       \
    }

ASK_LIFE(start)
ASK_LIFE(stop)
ASK_LIFE(restart)
ASK_LIFE(reboot)
ASK_LIFE(reset)
ASK_LIFE(pause)
ASK_LIFE(resume)
ASK_LIFE(save)
ASK_LIFE(rename)

/* A running one goes with --force only. */
static void ask_delete(libvirt_asked *asked, vmc_answer *out) {
    const libvirt_snapshot_scene *scene = libvirt_asked_scene(asked, out);
    vmctl_error *why = NULL;
    if (!scene)
        return;
    int code = vmc_removal_check(asked->vm->name, scene->active ? "running" : NULL, false, &why);
    vmc_answer_check(out, code, why);
    if (code < 0)
        out->level = VMCTL_LEVEL_LIMITED;
}

static void ask_clone_as(libvirt_asked *asked, bool linked, vmc_answer *out) {
    const libvirt_snapshot_scene *scene = libvirt_asked_scene(asked, out);
    vmctl_error *why = NULL;
    if (!scene)
        return;
    int code = libvirt_clone_check(scene, linked, NULL, &why);
    vmc_answer_check(out, code, why);
}

static void ask_clone(libvirt_asked *asked, vmc_answer *out) {
    ask_clone_as(asked, false, out);
}

static void ask_clone_linked(libvirt_asked *asked, vmc_answer *out) {
    ask_clone_as(asked, true, out);
}

/* --- snapshots ---------------------------------------------------------------------------------------------------------- */

static void ask_snapshot(libvirt_asked *asked, vmctl_snapshot_memory memory, bool quiesce, vmc_answer *out) {
    const libvirt_snapshot_scene *scene = libvirt_asked_scene(asked, out);
    libvirt_snapshot_kind kind;
    vmctl_error *why = NULL;
    if (!scene)
        return;
    int code = libvirt_snapshot_check_idle(scene, &why);
    if (code == 0)
        code = libvirt_snapshot_check_create(scene, memory, quiesce, &kind, &why);
    vmc_answer_check(out, code, why);
}

static void ask_snapshot_disk(libvirt_asked *asked, vmc_answer *out) {
    ask_snapshot(asked, VMCTL_MEMORY_WITHOUT, false, out);
}

static void ask_snapshot_memory(libvirt_asked *asked, vmc_answer *out) {
    ask_snapshot(asked, VMCTL_MEMORY_WITH, false, out);
}

static void ask_snapshot_quiesce(libvirt_asked *asked, vmc_answer *out) {
    ask_snapshot(asked, VMCTL_MEMORY_AUTO, true, out);
}

/* What `snapshot create --no-memory` takes of it: a running VM's is one with overlays, a stopped one's stands in its disks. */
static void ask_snapshot_external(libvirt_asked *asked, vmc_answer *out) {
    const libvirt_snapshot_scene *scene = libvirt_asked_scene(asked, out);
    ask_snapshot(asked, VMCTL_MEMORY_WITHOUT, false, out);
    if (scene && !scene->active && out->level == VMCTL_LEVEL_YES)
        vmc_answer_say(out, VMCTL_LEVEL_LIMITED, "of a VM that does not run the snapshot stands in its disks");
}

static void ask_snapshots(libvirt_asked *asked, vmc_answer *out) {
    if (libvirt_asked_scene(asked, out))
        out->level = VMCTL_LEVEL_YES;
}

/* Whether there is one to do something with. NULL: there is none yet, and *out says so. */
static const libvirt_snapshot_scene *with_snapshots(libvirt_asked *asked, vmc_answer *out) {
    const libvirt_snapshot_scene *scene = libvirt_asked_scene(asked, out);
    if (scene && scene->snapshots.count == 0) {
        vmc_answer_say(out, VMCTL_LEVEL_UNKNOWN, "%s has no snapshot yet; asking again with one would answer",
                       asked->vm->name);
        vmc_answer_remedy(out, "vmctl snapshot create %s NAME", asked->vm->name);
        return NULL;
    }
    return scene;
}

static void ask_snapshot_rename(libvirt_asked *asked, vmc_answer *out) {
    if (with_snapshots(asked, out))
        out->level = VMCTL_LEVEL_YES;
}

/* The first that cannot be gone back to: the others can. */
static void ask_snapshot_revert(libvirt_asked *asked, vmc_answer *out) {
    const libvirt_snapshot_scene *scene = with_snapshots(asked, out);
    size_t refused = 0;
    for (size_t i = 0; scene && i < scene->snapshots.count; i++) {
        vmctl_error *why = NULL;
        int code = libvirt_snapshot_check_revert(scene, &scene->snapshots.items[i], &why);
        if (code < 0 && refused++ == 0)
            vmc_answer_check(out, code, why);
        else
            vmctl_error_free(why);
    }
    if (scene && refused == 0)
        out->level = VMCTL_LEVEL_YES;
    else if (scene && refused < scene->snapshots.count)
        out->level = VMCTL_LEVEL_LIMITED;
}

/* Alone, without its children. */
static void ask_snapshot_delete(libvirt_asked *asked, vmc_answer *out) {
    const libvirt_snapshot_scene *scene = with_snapshots(asked, out);
    size_t refused = 0;
    if (!scene)
        return;
    bool *gone = vmc_alloc(scene->snapshots.count * sizeof *gone);
    for (size_t i = 0; i < scene->snapshots.count; i++) {
        vmctl_error *why = NULL;
        memset(gone, 0, scene->snapshots.count * sizeof *gone);
        gone[i] = true;
        int code = libvirt_snapshot_check_delete(scene, &scene->snapshots.items[i], gone, &why);
        if (code < 0 && refused++ == 0)
            vmc_answer_check(out, code, why);
        else
            vmctl_error_free(why);
    }
    free(gone);
    if (refused == 0)
        out->level = VMCTL_LEVEL_YES;
    else if (refused < scene->snapshots.count)
        out->level = VMCTL_LEVEL_LIMITED;
}

static void ask_export(libvirt_asked *asked, vmc_answer *out) {
    const libvirt_snapshot_scene *scene = libvirt_asked_scene(asked, out);
    vmctl_error *why = NULL;
    if (!scene)
        return;
    int code = libvirt_export_check(scene, &why);
    vmc_answer_check(out, code, why);
}

/* --- migration ------------------------------------------------------------------------------------------------------------ */

/* What the VM itself has against it; the target has its own say, which is asked when there is one. */
static void ask_migrate(libvirt_asked *asked, const vmctl_migrate_options *options, vmc_answer *out) {
    const libvirt_migrate_vm *facts = libvirt_asked_migration(asked, out);
    LIBVIRT_AUTO_OBSTACLES obstacles = {0};
    vmctl_error *why = NULL;
    if (!facts)
        return;
    int code = libvirt_migrate_check_mode(asked->vm->name, facts, options, &why);
    vmc_answer_check(out, code, why);
    if (code < 0)
        return;
    const libvirt_migrate_how how = {.live = facts->active,
                                     .storage = options->storage,
                                     .tunnelled = options->tunnelled,
                                     .postcopy = options->postcopy};
    libvirt_migrate_check_vm(asked->vm->name, facts, &how, &obstacles);
    const libvirt_obstacle *worst = NULL;
    for (size_t i = 0; i < obstacles.count; i++)
        if (!worst || (obstacles.items[i].fatal && !worst->fatal))
            worst = &obstacles.items[i];
    if (!worst)
        return;
    vmc_answer_say(out, worst->fatal ? VMCTL_LEVEL_NO : VMCTL_LEVEL_LIMITED, "%s", worst->reason);
    if (worst->remedy)
        vmc_answer_remedy(out, "%s", worst->remedy);
}

#define ASK_MIGRATE(name, ...)                                                                                         \
    static void ask_migrate_##name(libvirt_asked *asked, vmc_answer *out) {                                            \
        const vmctl_migrate_options options = {.size = sizeof options, __VA_ARGS__};                                   \
        ask_migrate(asked, &options, out);                                                                             \
    }

ASK_MIGRATE(live, .mode = VMCTL_MIGRATE_LIVE)
ASK_MIGRATE(offline, .mode = VMCTL_MIGRATE_OFFLINE)
ASK_MIGRATE(storage, .storage = true)
ASK_MIGRATE(tunnelled, .mode = VMCTL_MIGRATE_LIVE, .tunnelled = true)
ASK_MIGRATE(postcopy, .mode = VMCTL_MIGRATE_LIVE, .postcopy = true)

static void ask_abort(libvirt_asked *asked, vmc_answer *out) {
    const libvirt_snapshot_scene *scene = libvirt_asked_scene(asked, out);
    vmctl_error *why = NULL;
    if (!scene)
        return;
    int code = libvirt_migrate_check_abort(asked->vm->name, scene->job == VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT, &why);
    vmc_answer_check(out, code, why);
}

/* --- the guest ------------------------------------------------------------------------------------------------------------ */

static const xmlNode *agent_channel(const xmlNode *domain) {
    LIBVIRT_XML_EACH(channel, libvirt_xml_child(domain, "devices"), "channel") {
        const xmlNode *target = libvirt_xml_child(channel, "target");
        if (libvirt_xml_attr_is(target, "name", "org.qemu.guest_agent.0"))
            return target;
    }
    return NULL;
}

static void ask_channel(libvirt_asked *asked, vmc_answer *out) {
    const xmlNode *domain = libvirt_asked_domain(asked, out);
    if (!domain)
        return;
    const xmlNode *channel = agent_channel(domain);
    if (channel && libvirt_xml_attr_is(channel, "state", "connected")) {
        out->level = VMCTL_LEVEL_YES;
    } else if (channel) {
        vmc_answer_say(out, VMCTL_LEVEL_LIMITED, "the guest's agent is not connected");
        vmc_answer_remedy(out, "start qemu-guest-agent in the guest; vmctl wait %s --for agent", asked->vm->name);
    } else {
        vmc_answer_say(out, VMCTL_LEVEL_NO, "%s has no channel for a guest agent", asked->vm->name);
        vmc_answer_remedy(out, "vmctl set %s guestAgent=true", asked->vm->name);
    }
}

static void ask_agent(libvirt_asked *asked, vmc_answer *out) {
    const xmlNode *domain = libvirt_asked_domain(asked, out);
    vmctl_error *why = NULL;
    if (!domain)
        return;
    int code = libvirt_agent_check(domain, asked->vm->name, &why);
    vmc_answer_check(out, code, why);
}

static void ask_addresses(libvirt_asked *asked, vmc_answer *out) {
    const xmlNode *domain = libvirt_asked_domain(asked, out);
    if (!domain)
        return;
    const xmlNode *channel = agent_channel(domain);
    if (!libvirt_xml_attr(domain, "id"))
        vmc_answer_say(out, VMCTL_LEVEL_UNKNOWN, "%s is stopped; its addresses once it runs would answer",
                       asked->vm->name);
    else if (channel && libvirt_xml_attr_is(channel, "state", "connected"))
        out->level = VMCTL_LEVEL_YES;
    else
        vmc_answer_say(
            out, VMCTL_LEVEL_LIMITED,
            "the guest's agent is not connected: leases of libvirt's networks and the host's ARP table only");
}

static void ask_forward(libvirt_asked *asked, vmc_answer *out) {
    const libvirt_snapshot_scene *scene = libvirt_asked_scene(asked, out);
    const xmlNode *domain = scene ? libvirt_asked_domain(asked, out) : NULL;
    const char *alias = NULL;
    vmctl_error *why = NULL;
    if (!domain)
        return;
    if (!scene->active) { /* the address is waited for first */
        ask_life(asked, VMCTL_SLOT_reset, out);
        return;
    }
    int code = libvirt_guest_forward_check(asked->conn, domain, asked->vm->name, &alias, &why);
    vmc_answer_check(out, code, why);
    if (code == VMCTL_E_UNSUPPORTED) /* where the guest's address can be reached it is dialled, without QEMU */
        out->level = VMCTL_LEVEL_LIMITED;
}

/* --- what changes while it runs ------------------------------------------------------------------------------------------- */

/* NULL: it cannot be changed, or could not be asked, and *out says so. */
static const libvirt_snapshot_scene *kept(libvirt_asked *asked, vmc_answer *out) {
    const libvirt_snapshot_scene *scene = libvirt_asked_scene(asked, out);
    vmctl_error *why = NULL;
    if (!scene)
        return NULL;
    int code = libvirt_change_check_kept(asked->vm->name, scene->definition != NULL, &why);
    vmc_answer_check(out, code, why);
    return code == 0 ? scene : NULL;
}

/* The obstacle that `vmctl set --live` and its like name, and what they advise. */
static void say_obstacle(libvirt_asked *asked, vmc_answer *out, vmctl_level level, const char *obstacle) {
    VMC_AUTO_FREE char *next = libvirt_change_later(asked->vm->name);
    vmc_answer_say(out, level, "%s", obstacle);
    vmc_answer_remedy(out, "%s", next);
}

/* What is asked of a VM while it runs. NULL: it does not, or could not be asked, and *out says so: what a stopped VM gets needs no
 * plugging, and a saved one takes nothing. */
static const libvirt_snapshot_scene *running(libvirt_asked *asked, vmc_answer *out) {
    const libvirt_snapshot_scene *scene = kept(asked, out);
    if (!scene || scene->active)
        return scene;
    if (scene->saved)
        say_obstacle(asked, out, VMCTL_LEVEL_NO, LIBVIRT_SAVED_OBSTACLE);
    else
        vmc_answer_say(out, VMCTL_LEVEL_LIMITED, "%s is stopped: a change of it needs no plugging", asked->vm->name);
    return NULL;
}

/* What stands in the way while it runs; freed here. */
static void ask_obstacle(libvirt_asked *asked, vmc_answer *out, char *obstacle) {
    if (obstacle)
        say_obstacle(asked, out, VMCTL_LEVEL_NO, obstacle);
    else
        out->level = VMCTL_LEVEL_YES;
    free(obstacle);
}

static unsigned long long number_at(const char *xml, const char *xpath) {
    VMC_AUTO_FREE char *text = libvirt_xpath_text(xml, xpath);
    unsigned long long number = 0;
    return text && libvirt_xml_number(text, &number) ? number : 0;
}

static void ask_cpu_hotplug(libvirt_asked *asked, vmc_answer *out) {
    const libvirt_snapshot_scene *scene = running(asked, out);
    if (!scene)
        return;
    unsigned long long now = number_at(scene->xml, "/domain/vcpu/@current");
    if (now == 0)
        now = number_at(scene->xml, "/domain/vcpu");
    ask_obstacle(asked, out, libvirt_cpus_obstacle(scene->xml, now + 1));
}

/* The next piece: Linux takes memory in blocks of 128 MiB. */
static void ask_memory_hotplug(libvirt_asked *asked, vmc_answer *out) {
    const libvirt_snapshot_scene *scene = running(asked, out);
    if (scene)
        ask_obstacle(asked, out,
                     libvirt_memory_obstacle(scene->xml, number_at(scene->xml, "/domain/memory") + 128ull * 1024));
}

static void ask_balloon(libvirt_asked *asked, vmc_answer *out) {
    const libvirt_snapshot_scene *scene = running(asked, out);
    if (scene)
        ask_obstacle(asked, out, libvirt_memory_obstacle(scene->xml, number_at(scene->xml, "/domain/memory")));
}

static void ask_hotplug(libvirt_asked *asked, vmc_answer *out) {
    if (running(asked, out))
        out->level = VMCTL_LEVEL_YES;
}

/* Of the definition: a running VM has it from its next start. */
static void ask_definition(libvirt_asked *asked, vmc_answer *out) {
    kept(asked, out);
}

static void ask_apply(libvirt_asked *asked, vmc_answer *out) {
    const libvirt_snapshot_scene *scene = kept(asked, out);
    if (scene && !scene->active && scene->saved)
        say_obstacle(asked, out, VMCTL_LEVEL_LIMITED, LIBVIRT_SAVED_OBSTACLE);
}

/* The first device that cannot leave before the next start. */
static void ask_detach(libvirt_asked *asked, vmc_answer *out) {
    const libvirt_snapshot_scene *scene = running(asked, out);
    libvirt_domain_facts *facts = NULL;
    vmc_answer ignored = {0};
    if (!scene || libvirt_domain_facts_read(scene->xml, &facts, NULL) < 0)
        return;
    const libvirt_capabilities *host = libvirt_asked_host(asked, &ignored);
    char *obstacle = NULL;
    for (size_t i = 0; !obstacle && i < facts->info.device_count; i++)
        obstacle = libvirt_device_obstacle(asked->conn, host ? host->features.libvirt_version : 0, scene->xml,
                                           &facts->info.devices[i], false);
    if (obstacle)
        say_obstacle(asked, out, VMCTL_LEVEL_LIMITED, obstacle);
    free(obstacle);
    free(ignored.reason);
    libvirt_domain_facts_free(facts);
}

static void ask_medium(libvirt_asked *asked, vmc_answer *out) {
    const libvirt_snapshot_scene *scene = kept(asked, out);
    libvirt_domain_facts *facts = NULL;
    const vmctl_device *drive;
    vmctl_error *why = NULL;
    if (!scene || libvirt_domain_facts_read(scene->definition, &facts, NULL) < 0)
        return;
    int code = libvirt_drive_find(asked->vm->name, facts, NULL, &drive, &why);
    if (code == VMCTL_E_AMBIGUOUS) { /* the command says which */
        vmctl_error_free(why);
        out->level = VMCTL_LEVEL_YES;
    } else {
        vmc_answer_check(out, code, why);
    }
    libvirt_domain_facts_free(facts);
}

static void ask_grow(libvirt_asked *asked, vmc_answer *out) {
    const libvirt_snapshot_scene *scene = kept(asked, out);
    libvirt_domain_facts *facts = NULL;
    vmctl_error *why = NULL;
    if (!scene || libvirt_domain_facts_read(scene->definition, &facts, NULL) < 0)
        return;
    const vmctl_device *disk = NULL;
    for (size_t i = 0; !disk && i < facts->info.device_count; i++)
        if (facts->info.devices[i].kind == VMCTL_DEVICE_DISK && facts->info.devices[i].name)
            disk = &facts->info.devices[i];
    if (disk) {
        int code = libvirt_change_check_grow(asked->vm->name, scene->saved, disk->name, &why);
        vmc_answer_check(out, code, why);
    } else {
        vmc_answer_say(out, VMCTL_LEVEL_NO, "%s has no disk", asked->vm->name);
        vmc_answer_remedy(out, "vmctl attach %s disk name=NAME size=SIZE gives it one", asked->vm->name);
    }
    libvirt_domain_facts_free(facts);
}

/* One more of them while it runs. */
static void ask_virtiofs(libvirt_asked *asked, vmc_answer *out) {
    const libvirt_snapshot_scene *scene = kept(asked, out);
    const libvirt_capabilities *host = scene ? libvirt_asked_host(asked, out) : NULL;
    if (!host)
        return;
    for (const libvirt_probe_entry *entry = libvirt_host_probes; entry->feature; entry++)
        if (strcmp(entry->feature, "share.virtiofs") == 0)
            entry->ask(asked, out);
    if (out->level != VMCTL_LEVEL_YES || !scene->active)
        return;
    const vmctl_device share = {.kind = VMCTL_DEVICE_SHARE, .type = "virtiofs"};
    VMC_AUTO_FREE char *obstacle =
        libvirt_device_obstacle(asked->conn, host->features.libvirt_version, scene->xml, &share, true);
    if (obstacle)
        say_obstacle(asked, out, VMCTL_LEVEL_LIMITED, obstacle);
}

/* --- display and console ------------------------------------------------------------------------------------------------------ */

static void ask_screenshot(libvirt_asked *asked, vmc_answer *out) {
    vmctl_error *why = NULL;
    int code = libvirt_screenshot_check(asked->conn, asked->vm, 0, asked->deadline, &why);
    vmc_answer_check(out, code, why);
}

static void ask_dump(libvirt_asked *asked, vmc_answer *out) {
    vmctl_error *why = NULL;
    int code = libvirt_dump_check(asked->conn, asked->vm, asked->deadline, &why);
    vmc_answer_check(out, code, why);
}

static void ask_keys(libvirt_asked *asked, vmc_answer *out) {
    vmctl_error *why = NULL;
    int code = libvirt_keys_check(asked->conn, asked->vm, asked->deadline, &why);
    vmc_answer_check(out, code, why);
}

static void ask_console(libvirt_asked *asked, vmc_answer *out) {
    const xmlNode *domain = libvirt_asked_domain(asked, out);
    vmctl_error *why = NULL;
    if (!domain)
        return;
    int code = libvirt_console_check(domain, asked->vm->name, &why);
    vmc_answer_check(out, code, why);
}

static void ask_display(libvirt_asked *asked, vmc_answer *out) {
    const xmlNode *domain = libvirt_asked_domain(asked, out);
    vmctl_error *why = NULL;
    if (!domain)
        return;
    int code = libvirt_display_check(domain, asked->vm->name, &why);
    vmc_answer_check(out, code, why);
    if (code == 0 && !libvirt_xml_child(libvirt_xml_child(domain, "devices"), "graphics"))
        vmc_answer_say(out, VMCTL_LEVEL_LIMITED, "%s has no display: there is nothing to tell", asked->vm->name);
}

const libvirt_probe_entry libvirt_vm_probes[] = {
    {"lifecycle.delete", ask_delete},
    {"lifecycle.start", ask_start},
    {"lifecycle.stop", ask_stop},
    {"lifecycle.restart", ask_restart},
    {"lifecycle.reboot", ask_reboot},
    {"lifecycle.reset", ask_reset},
    {"lifecycle.pause", ask_pause},
    {"lifecycle.resume", ask_resume},
    {"lifecycle.save", ask_save},
    {"lifecycle.rename", ask_rename},
    {"lifecycle.clone", ask_clone},
    {"lifecycle.clone.linked", ask_clone_linked},
    {"lifecycle.autostart", ask_definition},
    {"cpu.hotplug", ask_cpu_hotplug},
    {"memory.hotplug", ask_memory_hotplug},
    {"memory.balloon", ask_balloon},
    {"change.apply", ask_apply},
    {"device.disk.hotplug", ask_hotplug},
    {"device.nic.hotplug", ask_hotplug},
    {"device.detach", ask_detach},
    {"device.cdrom.change", ask_medium},
    {"device.usb", ask_hotplug},
    {"storage.grow", ask_grow},
    {"share.virtiofs", ask_virtiofs},
    {"guest.channel", ask_channel},
    {"guest.addresses", ask_addresses},
    {"guest.info", ask_agent},
    {"guest.exec", ask_agent},
    {"guest.copy", ask_agent},
    {"guest.copy.out", ask_agent},
    {"guest.freeze", ask_agent},
    {"guest.thaw", ask_agent},
    {"guest.password", ask_agent},
    {"guest.forward", ask_forward},
    {"guest.memory-dump", ask_dump},
    {"snapshot.disk", ask_snapshot_disk},
    {"snapshot.memory", ask_snapshot_memory},
    {"snapshot.quiesce", ask_snapshot_quiesce},
    {"snapshot.external", ask_snapshot_external},
    {"snapshot.tree", ask_snapshots},
    {"snapshot.list", ask_snapshots},
    {"snapshot.rename", ask_snapshot_rename},
    {"snapshot.revert", ask_snapshot_revert},
    {"snapshot.delete", ask_snapshot_delete},
    {"migrate.live", ask_migrate_live},
    {"migrate.offline", ask_migrate_offline},
    {"migrate.storage", ask_migrate_storage},
    {"migrate.tunnelled", ask_migrate_tunnelled},
    {"migrate.postcopy", ask_migrate_postcopy},
    {"migrate.abort", ask_abort},
    {"display.screenshot", ask_screenshot},
    {"display.keys", ask_keys},
    {"display.address", ask_display},
    {"console.serial", ask_console},
    {"image.export", ask_export},
    {NULL, NULL},
};
