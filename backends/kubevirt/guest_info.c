/* What the guest's agent says of the system inside. Source: virt-api's guestosinfo, filesystemlist and userlist (FX/58-60);
 * v1.VirtualMachineInstanceGuestAgentInfo. */
#include "guest_info.h"

#include <stdlib.h>
#include <string.h>

enum { SHORT_LIST = 10, ANSWER_MS = 10000 };

/* NULL where it cannot be had: it is one fact of many. */
static cJSON *ask(kubevirt_conn *conn, const kubevirt_vm *vm, const char *sub, const vmc_deadline *deadline) {
    VMC_AUTO_FREE char *path =
        kube_path(KUBEVIRT_SUBRESOURCES, "v1", vm->namespace_name, "virtualmachineinstances", vm->name, sub);
    vmc_deadline within = vmc_deadline_within(deadline, ANSWER_MS);
    vmctl_error *ignored = NULL;
    cJSON *answer = NULL;
    if (kube_get(conn->client, path, &within, &answer, &ignored) < 0)
        vmctl_error_free(ignored);
    return answer;
}

/* guestosinfo has no more than the first ten of each list. */
static void complete(kubevirt_conn *conn, const kubevirt_vm *vm, const vmc_deadline *deadline, cJSON *map,
                     const char *list, const char *sub) {
    if (cJSON_GetArraySize(vmc_json_key(map, list)) < SHORT_LIST)
        return;
    VMC_AUTO_JSON *whole = ask(conn, vm, sub, deadline);
    cJSON *items = cJSON_DetachItemFromObjectCaseSensitive(whole, "items");
    if (items)
        vmc_json_put(map, list, items);
}

cJSON *kubevirt_guest_info(kubevirt_conn *conn, const kubevirt_vm *vm, const cJSON *vmi, const vmc_deadline *deadline) {
    if (!kubevirt_condition(vmi, "AgentConnected", "True") || kubevirt_condition(vmi, "Paused", "True"))
        return NULL;
    cJSON *info = ask(conn, vm, "guestosinfo", deadline);
    if (!cJSON_IsObject(info)) {
        cJSON_Delete(info);
        return NULL;
    }
    complete(conn, vm, deadline, vmc_json_map(info, "fsInfo"), "disks", "filesystemlist");
    complete(conn, vm, deadline, info, "userList", "userlist");
    return info;
}

static uint64_t bytes_of(const cJSON *item, const char *key) {
    int64_t bytes = vmc_json_integer(item, key, 0);
    return bytes > 0 ? (uint64_t)bytes : 0;
}

void kubevirt_guest_info_read(const cJSON *info, kubevirt_guest *out) {
    const cJSON *disks = vmc_json_at(info, "fsInfo.disks");
    const cJSON *users = vmc_json_key(info, "userList");
    *out = (kubevirt_guest){.guest = {.size = sizeof(vmctl_guest),
                                      .os_id = vmc_json_string(info, "os.id", NULL),
                                      .os_name = vmc_json_string(info, "os.name", NULL),
                                      .os_version = vmc_json_string(info, "os.versionId", NULL),
                                      .os_title = vmc_json_string(info, "os.prettyName", NULL),
                                      .kernel = vmc_json_string(info, "os.kernelRelease", NULL),
                                      .arch = vmc_json_string(info, "os.machine", NULL),
                                      .hostname = vmc_json_string(info, "hostname", NULL),
                                      .agent_version = vmc_json_string(info, "guestAgentVersion", NULL)}};
    /* "UTC, 0": the name and the offset in seconds. */
    const char *zone = vmc_json_string(info, "timezone", NULL);
    out->timezone = zone ? vmc_strndup(zone, strcspn(zone, ",")) : NULL;
    out->guest.timezone = out->timezone;
    out->filesystems = vmc_alloc((size_t)cJSON_GetArraySize(disks) * sizeof *out->filesystems + 1);
    out->users = vmc_alloc((size_t)cJSON_GetArraySize(users) * sizeof *out->users + 1);
    const cJSON *item;
    cJSON_ArrayForEach(item, disks) {
        out->filesystems[out->guest.filesystem_count++] =
            (vmctl_guest_filesystem){.size = sizeof(vmctl_guest_filesystem),
                                     .mount = vmc_json_string(item, "mountPoint", NULL),
                                     .type = vmc_json_string(item, "fileSystemType", NULL),
                                     .device = vmc_json_string(item, "diskName", NULL),
                                     .total_bytes = bytes_of(item, "totalBytes"),
                                     .used_bytes = bytes_of(item, "usedBytes")};
    }
    cJSON_ArrayForEach(item, users) {
        out->users[out->guest.user_count++] = (vmctl_guest_user){.size = sizeof(vmctl_guest_user),
                                                                 .name = vmc_json_string(item, "userName", NULL),
                                                                 .domain = vmc_json_string(item, "domain", NULL),
                                                                 .since = vmc_json_integer(item, "loginTime", 0)};
    }
    out->guest.filesystems = out->filesystems;
    out->guest.users = out->users;
}

void kubevirt_guest_free(kubevirt_guest *guest) {
    free(guest->timezone);
    free(guest->filesystems);
    free(guest->users);
    *guest = (kubevirt_guest){0};
}
