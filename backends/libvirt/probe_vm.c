/* backends/libvirt/probe_vm.c - what is possible with one VM as it is now, in the words of the operations' own checks. */
#include "probe.h"

#include "agent.h"
#include "change.h"
#include "clone.h"
#include "ops.h"
#include "xpath.h"
#include <stdlib.h>
#include <string.h>

/* --- its life -------------------------------------------------------------------------------------------------------- */

static void ask_life(libvirt_asked *asked, vmctl_slot slot, libvirt_answer *out) {
    const libvirt_snapshot_scene *scene = libvirt_asked_scene(asked, out);
    vmctl_error *why = NULL;
    if (!scene)
        return;
    int code = libvirt_life_check(asked->vm, slot, scene->vir_state, scene->vir_reason, scene->saved, &why);
    libvirt_answer_check(out, code, why);
}

#define ASK_LIFE(slot)                                                                                                 \
    static void ask_##slot(libvirt_asked *asked, libvirt_answer *out) {                                                \
        ask_life(asked, VMCTL_SLOT_##slot, out);                                                                       \
    }

ASK_LIFE(start)
ASK_LIFE(stop)
ASK_LIFE(restart)
ASK_LIFE(reset)
ASK_LIFE(pause)
ASK_LIFE(resume)
ASK_LIFE(save)
ASK_LIFE(rename)

static void ask_clone_as(libvirt_asked *asked, bool linked, libvirt_answer *out) {
    const libvirt_snapshot_scene *scene = libvirt_asked_scene(asked, out);
    vmctl_error *why = NULL;
    if (!scene)
        return;
    int code = libvirt_clone_check(scene, linked, NULL, &why);
    libvirt_answer_check(out, code, why);
}

static void ask_clone(libvirt_asked *asked, libvirt_answer *out) {
    ask_clone_as(asked, false, out);
}

static void ask_clone_linked(libvirt_asked *asked, libvirt_answer *out) {
    ask_clone_as(asked, true, out);
}

/* --- snapshots ---------------------------------------------------------------------------------------------------------- */

static void ask_snapshot(libvirt_asked *asked, vmctl_snapshot_memory memory, bool quiesce, libvirt_answer *out) {
    const libvirt_snapshot_scene *scene = libvirt_asked_scene(asked, out);
    libvirt_snapshot_kind kind;
    vmctl_error *why = NULL;
    if (!scene)
        return;
    int code = libvirt_snapshot_check_idle(scene, &why);
    if (code == 0)
        code = libvirt_snapshot_check_create(scene, memory, quiesce, &kind, &why);
    libvirt_answer_check(out, code, why);
}

static void ask_snapshot_disk(libvirt_asked *asked, libvirt_answer *out) {
    ask_snapshot(asked, VMCTL_MEMORY_WITHOUT, false, out);
}

static void ask_snapshot_memory(libvirt_asked *asked, libvirt_answer *out) {
    ask_snapshot(asked, VMCTL_MEMORY_WITH, false, out);
}

static void ask_snapshot_quiesce(libvirt_asked *asked, libvirt_answer *out) {
    ask_snapshot(asked, VMCTL_MEMORY_AUTO, true, out);
}

/* --- migration ------------------------------------------------------------------------------------------------------------ */

/* What the VM itself has against it; the target has its own say, which is asked when there is one. */
static void ask_migrate(libvirt_asked *asked, const vmctl_migrate_options *options, libvirt_answer *out) {
    const libvirt_migrate_vm *facts = libvirt_asked_migration(asked, out);
    LIBVIRT_AUTO_OBSTACLES obstacles = {0};
    vmctl_error *why = NULL;
    if (!facts)
        return;
    int code = libvirt_migrate_check_mode(asked->vm->name, facts, options, &why);
    libvirt_answer_check(out, code, why);
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
    libvirt_answer_say(out, worst->fatal ? VMCTL_LEVEL_NO : VMCTL_LEVEL_LIMITED, "%s", worst->reason);
    if (worst->remedy)
        libvirt_answer_remedy(out, "%s", worst->remedy);
}

#define ASK_MIGRATE(name, ...)                                                                                         \
    static void ask_migrate_##name(libvirt_asked *asked, libvirt_answer *out) {                                        \
        const vmctl_migrate_options options = {.size = sizeof options, __VA_ARGS__};                                   \
        ask_migrate(asked, &options, out);                                                                             \
    }

ASK_MIGRATE(live, .mode = VMCTL_MIGRATE_LIVE)
ASK_MIGRATE(offline, .mode = VMCTL_MIGRATE_OFFLINE)
ASK_MIGRATE(storage, .storage = true)
ASK_MIGRATE(tunnelled, .mode = VMCTL_MIGRATE_LIVE, .tunnelled = true)
ASK_MIGRATE(postcopy, .mode = VMCTL_MIGRATE_LIVE, .postcopy = true)

/* --- the guest ------------------------------------------------------------------------------------------------------------ */

static const xmlNode *agent_channel(const xmlNode *domain) {
    LIBVIRT_XML_EACH(channel, libvirt_xml_child(domain, "devices"), "channel") {
        const xmlNode *target = libvirt_xml_child(channel, "target");
        if (libvirt_xml_attr_is(target, "name", "org.qemu.guest_agent.0"))
            return target;
    }
    return NULL;
}

static void ask_channel(libvirt_asked *asked, libvirt_answer *out) {
    const xmlNode *domain = libvirt_asked_domain(asked, out);
    if (!domain)
        return;
    const xmlNode *channel = agent_channel(domain);
    if (channel && libvirt_xml_attr_is(channel, "state", "connected")) {
        libvirt_answer_yes(out);
    } else if (channel) {
        libvirt_answer_say(out, VMCTL_LEVEL_LIMITED, "the guest's agent is not connected");
        libvirt_answer_remedy(out, "start qemu-guest-agent in the guest; vmctl wait %s --for agent", asked->vm->name);
    } else {
        libvirt_answer_say(out, VMCTL_LEVEL_NO, "%s has no channel for a guest agent", asked->vm->name);
        libvirt_answer_remedy(out, "vmctl set %s guestAgent=true", asked->vm->name);
    }
}

static void ask_agent(libvirt_asked *asked, libvirt_answer *out) {
    const xmlNode *domain = libvirt_asked_domain(asked, out);
    vmctl_error *why = NULL;
    if (!domain)
        return;
    int code = libvirt_agent_check(domain, asked->vm->name, &why);
    libvirt_answer_check(out, code, why);
}

/* --- growing ---------------------------------------------------------------------------------------------------------------- */

/* What is asked of a VM while it runs. NULL: it does not, or could not be asked, and *out says so. */
static const libvirt_snapshot_scene *running(libvirt_asked *asked, libvirt_answer *out) {
    const libvirt_snapshot_scene *scene = libvirt_asked_scene(asked, out);
    if (scene && !scene->active) {
        libvirt_answer_say(out, VMCTL_LEVEL_NO, "%s is stopped", asked->vm->name);
        libvirt_answer_remedy(out, "vmctl start %s", asked->vm->name);
        return NULL;
    }
    return scene;
}

/* The obstacle that `vmctl set` would name when it leaves the change for the next start; freed here. */
static void say_obstacle(libvirt_asked *asked, libvirt_answer *out, char *obstacle, const char *key) {
    if (!obstacle) {
        libvirt_answer_yes(out);
        return;
    }
    libvirt_answer_say(out, VMCTL_LEVEL_NO, "%s", obstacle);
    if (key)
        libvirt_answer_remedy(out, "vmctl set %s %s=..., which counts from its next start", asked->vm->name, key);
    free(obstacle);
}

static unsigned long long number_at(const char *xml, const char *xpath) {
    VMC_AUTO_FREE char *text = libvirt_xpath_text(xml, xpath);
    unsigned long long number = 0;
    return text && libvirt_xml_number(text, &number) ? number : 0;
}

static void ask_cpu_hotplug(libvirt_asked *asked, libvirt_answer *out) {
    const libvirt_snapshot_scene *scene = running(asked, out);
    if (!scene)
        return;
    unsigned long long now = number_at(scene->xml, "/domain/vcpu/@current");
    if (now == 0)
        now = number_at(scene->xml, "/domain/vcpu");
    say_obstacle(asked, out, libvirt_cpus_obstacle(scene->xml, now + 1), "cpus.max");
}

/* The next piece: Linux takes memory in blocks of 128 MiB. */
static void ask_memory_hotplug(libvirt_asked *asked, libvirt_answer *out) {
    const libvirt_snapshot_scene *scene = running(asked, out);
    if (scene)
        say_obstacle(asked, out,
                     libvirt_memory_obstacle(scene->xml, number_at(scene->xml, "/domain/memory") + 128ull * 1024),
                     "memory.max");
}

static void ask_balloon(libvirt_asked *asked, libvirt_answer *out) {
    const libvirt_snapshot_scene *scene = running(asked, out);
    if (scene)
        say_obstacle(asked, out, libvirt_memory_obstacle(scene->xml, number_at(scene->xml, "/domain/memory")), NULL);
}

/* --- devices ---------------------------------------------------------------------------------------------------------------- */

/* NULL: it cannot be changed, or could not be asked, and *out says so. */
static const libvirt_snapshot_scene *kept(libvirt_asked *asked, libvirt_answer *out) {
    const libvirt_snapshot_scene *scene = libvirt_asked_scene(asked, out);
    vmctl_error *why = NULL;
    if (!scene)
        return NULL;
    int code = libvirt_change_check_kept(asked->vm->name, scene->definition != NULL, &why);
    libvirt_answer_check(out, code, why);
    return code == 0 ? scene : NULL;
}

static void ask_hotplug(libvirt_asked *asked, libvirt_answer *out) {
    if (running(asked, out))
        kept(asked, out);
}

static void say_later(libvirt_asked *asked, libvirt_answer *out, const char *obstacle) {
    VMC_AUTO_FREE char *next = libvirt_change_later(asked->vm->name);
    libvirt_answer_say(out, VMCTL_LEVEL_LIMITED, "%s", obstacle);
    libvirt_answer_remedy(out, "%s", next);
}

static void ask_apply(libvirt_asked *asked, libvirt_answer *out) {
    const libvirt_snapshot_scene *scene = kept(asked, out);
    if (scene && !scene->active && scene->saved)
        say_later(asked, out, LIBVIRT_SAVED_OBSTACLE);
}

/* The first device that cannot leave before the next start. */
static void ask_detach(libvirt_asked *asked, libvirt_answer *out) {
    const libvirt_snapshot_scene *scene = running(asked, out) ? kept(asked, out) : NULL;
    libvirt_domain_facts *facts = NULL;
    libvirt_answer ignored = {0};
    if (!scene || libvirt_domain_facts_read(scene->xml, &facts, NULL) < 0)
        return;
    const libvirt_capabilities *host = libvirt_asked_host(asked, &ignored);
    char *obstacle = NULL;
    for (size_t i = 0; !obstacle && i < facts->info.device_count; i++)
        obstacle = libvirt_device_obstacle(asked->conn, host ? host->features.libvirt_version : 0, scene->xml,
                                           &facts->info.devices[i], false);
    if (obstacle)
        say_later(asked, out, obstacle);
    free(obstacle);
    free(ignored.reason);
    libvirt_domain_facts_free(facts);
}

static void ask_medium(libvirt_asked *asked, libvirt_answer *out) {
    const libvirt_snapshot_scene *scene = kept(asked, out);
    libvirt_domain_facts *facts = NULL;
    const vmctl_device *drive;
    vmctl_error *why = NULL;
    if (!scene || libvirt_domain_facts_read(scene->definition, &facts, NULL) < 0)
        return;
    int code = libvirt_drive_find(asked->vm->name, facts, NULL, &drive, &why);
    if (code == VMCTL_E_AMBIGUOUS) { /* the command says which */
        vmctl_error_free(why);
        libvirt_answer_yes(out);
    } else {
        libvirt_answer_check(out, code, why);
    }
    libvirt_domain_facts_free(facts);
}

static void ask_grow(libvirt_asked *asked, libvirt_answer *out) {
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
        libvirt_answer_check(out, code, why);
    } else {
        libvirt_answer_say(out, VMCTL_LEVEL_NO, "%s has no disk", asked->vm->name);
        libvirt_answer_remedy(out, "vmctl attach %s disk name=NAME size=SIZE gives it one", asked->vm->name);
    }
    libvirt_domain_facts_free(facts);
}

/* One more of them while it runs. */
static void ask_virtiofs(libvirt_asked *asked, libvirt_answer *out) {
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
        say_later(asked, out, obstacle);
}

/* --- display and console ------------------------------------------------------------------------------------------------------ */

static void ask_screenshot(libvirt_asked *asked, libvirt_answer *out) {
    vmctl_error *why = NULL;
    int code = libvirt_screenshot_check(asked->conn, asked->vm, 0, asked->deadline, &why);
    libvirt_answer_check(out, code, why);
}

static void ask_keys(libvirt_asked *asked, libvirt_answer *out) {
    vmctl_error *why = NULL;
    int code = libvirt_keys_check(asked->conn, asked->vm, asked->deadline, &why);
    libvirt_answer_check(out, code, why);
}

static void ask_console(libvirt_asked *asked, libvirt_answer *out) {
    const libvirt_snapshot_scene *scene = libvirt_asked_scene(asked, out);
    const xmlNode *domain = scene ? libvirt_asked_domain(asked, out) : NULL;
    if (!domain)
        return;
    const xmlNode *devices = libvirt_xml_child(domain, "devices");
    if (!libvirt_xml_child(devices, "serial") && !libvirt_xml_child(devices, "console")) {
        libvirt_answer_say(out, VMCTL_LEVEL_NO, "%s has no serial port", asked->vm->name);
    } else if (!scene->active) {
        libvirt_answer_say(out, VMCTL_LEVEL_NO, "%s is stopped", asked->vm->name);
        libvirt_answer_remedy(out, "vmctl start %s", asked->vm->name);
    } else {
        libvirt_answer_yes(out);
    }
}

const libvirt_probe_entry libvirt_vm_probes[] = {
    {"lifecycle.start", ask_start},
    {"lifecycle.stop", ask_stop},
    {"lifecycle.restart", ask_restart},
    {"lifecycle.reset", ask_reset},
    {"lifecycle.pause", ask_pause},
    {"lifecycle.resume", ask_resume},
    {"lifecycle.save", ask_save},
    {"lifecycle.rename", ask_rename},
    {"lifecycle.clone", ask_clone},
    {"lifecycle.clone.linked", ask_clone_linked},
    {"cpu.hotplug", ask_cpu_hotplug},
    {"memory.hotplug", ask_memory_hotplug},
    {"memory.balloon", ask_balloon},
    {"change.apply", ask_apply},
    {"device.disk.hotplug", ask_hotplug},
    {"device.nic.hotplug", ask_hotplug},
    {"device.detach", ask_detach},
    {"device.cdrom.change", ask_medium},
    {"storage.grow", ask_grow},
    {"share.virtiofs", ask_virtiofs},
    {"guest.channel", ask_channel},
    {"guest.exec", ask_agent},
    {"guest.copy", ask_agent},
    {"guest.copy.out", ask_agent},
    {"guest.freeze", ask_agent},
    {"guest.thaw", ask_agent},
    {"guest.password", ask_agent},
    {"snapshot.disk", ask_snapshot_disk},
    {"snapshot.memory", ask_snapshot_memory},
    {"snapshot.quiesce", ask_snapshot_quiesce},
    {"migrate.live", ask_migrate_live},
    {"migrate.offline", ask_migrate_offline},
    {"migrate.storage", ask_migrate_storage},
    {"migrate.tunnelled", ask_migrate_tunnelled},
    {"migrate.postcopy", ask_migrate_postcopy},
    {"display.screenshot", ask_screenshot},
    {"display.keys", ask_keys},
    {"console.serial", ask_console},
    {NULL, NULL},
};
