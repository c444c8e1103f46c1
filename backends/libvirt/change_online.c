/* backends/libvirt/change_online.c - added CPUs and memory come online in the guest.
 *
 * Linux leaves what was plugged offline unless its configuration or a udev rule says otherwise (memory-hotplug.rst, "Onlining"; Debian's
 * does). The guest agent lists and sets both (qemu-ga-ref: guest-get-vcpus, guest-set-vcpus, guest-get-memory-blocks,
 * guest-set-memory-blocks). Only what came with this change is touched: somebody may have taken another CPU offline on purpose.
 */
#include "change.h"

#include "agent.h"
#include "xml_tree.h"
#include <stdlib.h>

enum { ONLINE_MS = 15000, FIRST_LOOK_MS = 50, LAST_LOOK_MS = 500 };

typedef struct online_words {
    const char *get, *set, *argument, *id, *what, *place;
} online_words;

static const online_words words[] = {
    [LIBVIRT_ONLINE_CPUS] = {"guest-get-vcpus", "guest-set-vcpus", "vcpus", "logical-id", "CPUs",
                             "/sys/devices/system/cpu/cpuN/online"},
    [LIBVIRT_ONLINE_MEMORY] = {"guest-get-memory-blocks", "guest-set-memory-blocks", "mem-blks", "phys-index", "memory",
                               "/sys/devices/system/memory/memoryN/state"},
};

struct libvirt_online {
    const online_words *words;
    cJSON *before; /* what the guest had; NULL: nobody to ask */
};

static bool agent_is_there(const libvirt_changing *ch) {
    LIBVIRT_AUTO_XML *doc = NULL;
    return !ch->conn->test_driver &&
           libvirt_xml_parse(ch->live_xml, "the domain XML", "domain", VMCTL_E_INTERNAL, &doc, NULL, NULL) == 0 &&
           libvirt_agent_check(xmlDocGetRootElement(doc), ch->vm->name, NULL) == 0;
}

/* The handle of this change, which may be another one than the caller's (reach_again). */
static libvirt_vm vm_of(const libvirt_changing *ch) {
    libvirt_vm vm = *ch->vm;
    vm.domain = ch->domain;
    return vm;
}

libvirt_online *libvirt_online_begin(libvirt_changing *ch, libvirt_online_kind kind) {
    libvirt_online *online = vmc_alloc(sizeof *online);
    const libvirt_vm vm = vm_of(ch);
    online->words = &words[kind];
    if (agent_is_there(ch))
        libvirt_agent_ask(ch->conn, &vm, online->words->get, NULL, ch->deadline, &online->before, NULL);
    return online;
}

static const cJSON *find(const cJSON *list, const char *key, double id) {
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        const cJSON *number = cJSON_GetObjectItemCaseSensitive(item, key);
        if (cJSON_IsNumber(number) && number->valuedouble == id)
            return item;
    }
    return NULL;
}

/* What is new in the guest's list and offline, as the agent takes it; *came counts all that is new. */
static cJSON *offline_ones(const libvirt_online *online, const cJSON *now, uint64_t *came) {
    const char *key = online->words->id;
    cJSON *list = cJSON_CreateArray();
    const cJSON *item;
    *came = 0;
    cJSON_ArrayForEach(item, now) {
        const cJSON *number = cJSON_GetObjectItemCaseSensitive(item, key);
        if (!cJSON_IsNumber(number) || find(online->before, key, number->valuedouble))
            continue;
        ++*came;
        if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(item, "online")))
            continue;
        cJSON *one = cJSON_CreateObject();
        cJSON_AddNumberToObject(one, key, number->valuedouble);
        cJSON_AddTrueToObject(one, "online");
        cJSON_AddItemToArray(list, one);
    }
    return list;
}

/* The guest sees them one after another; it tells nobody, so it is asked until all are there and online. Each question has libvirt's own
 * limit, for one that is given up takes the connection with it. */
static int bring_online(libvirt_changing *ch, const libvirt_online *online, uint64_t added, vmctl_error **err) {
    static const char doing[] = "waiting for the guest to bring it online";
    vmc_deadline deadline = vmc_deadline_within(ch->deadline, ONLINE_MS);
    const libvirt_vm vm = vm_of(ch);
    int code = vmc_progress(ch->deadline, ch->vm->name, doing, online->words->what, VMCTL_UNIT_NONE, 0, 0, err);
    for (int pause = FIRST_LOOK_MS; code == 0; pause = pause * 2 > LAST_LOOK_MS ? LAST_LOOK_MS : pause * 2) {
        cJSON *now = NULL;
        uint64_t came = 0;
        code = libvirt_agent_ask(ch->conn, &vm, online->words->get, NULL, ch->deadline, &now, err);
        if (code < 0)
            return code;
        cJSON *offline = offline_ones(online, now, &came);
        bool all = came >= added && cJSON_GetArraySize(offline) == 0;
        cJSON_Delete(now);
        if (!all && cJSON_GetArraySize(offline) > 0) {
            cJSON *arguments = cJSON_CreateObject();
            cJSON_AddItemToObject(arguments, online->words->argument, offline);
            code = libvirt_agent_ask(ch->conn, &vm, online->words->set, arguments, ch->deadline, NULL, err);
        } else {
            cJSON_Delete(offline);
        }
        if (all)
            return 0;
        if (code == 0)
            code = vmc_deadline_poll(&deadline, -1, 0, pause, doing, err);
    }
    return code;
}

void libvirt_online_end(libvirt_changing *ch, libvirt_online *online, uint64_t added) {
    vmctl_error *why = NULL;
    if (!online)
        return;
    if (added > 0 && !online->before)
        vmc_note(
            ch->deadline, VMCTL_NOTE_INFO,
            "a guest that does not bring added %s online by itself needs qemu-guest-agent for it, or a person (%s)",
            online->words->what, online->words->place);
    else if (added > 0 && bring_online(ch, online, added, &why) < 0)
        vmc_note(ch->deadline, VMCTL_NOTE_WARNING, "the added %s may still be offline in the guest (%s): %s",
                 online->words->what, vmctl_error_message(why), online->words->place);
    vmctl_error_free(why);
    cJSON_Delete(online->before);
    free(online);
}
