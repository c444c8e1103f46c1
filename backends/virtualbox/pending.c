/* Changes that wait for a VM's next start, in its marker. */
#include "pending.h"

#include "facts.h"
#include <stdlib.h>
#include <string.h>

static const char *const actions[] = {
    [VMCTL_CHANGE_ADD] = "add", [VMCTL_CHANGE_REMOVE] = "remove", [VMCTL_CHANGE_SET] = "set"};

static vmctl_change_action action_of(const cJSON *entry) {
    const char *word = vmc_json_string(entry, "action", "set");
    return strcmp(word, "add") == 0      ? VMCTL_CHANGE_ADD
           : strcmp(word, "remove") == 0 ? VMCTL_CHANGE_REMOVE
                                         : VMCTL_CHANGE_SET;
}

size_t virtualbox_pending_count(const cJSON *marker) {
    size_t count = 0;
    const cJSON *entry;
    cJSON_ArrayForEach(entry, vmc_json_key(marker, "pending")) {
        count += strcmp(vmc_json_string(entry, "path", ""), "description") != 0;
    }
    return count;
}

bool virtualbox_pending_any(const vboxmanage_machine *machine) {
    VMC_AUTO_JSON *marker = virtualbox_marker_read(machine);
    return vmc_json_key(marker, "pending") != NULL;
}

const cJSON *virtualbox_pending_find(const cJSON *marker, const char *path) {
    const cJSON *entry;
    cJSON_ArrayForEach(entry, vmc_json_key(marker, "pending")) {
        if (strcmp(vmc_json_string(entry, "path", ""), path) == 0)
            return entry;
    }
    return NULL;
}

void virtualbox_pending_clear(cJSON *marker) {
    vmc_json_put(marker, "pending", NULL);
}

void virtualbox_pending_put(cJSON *marker, vmctl_change_action action, const char *path, cJSON *value) {
    cJSON *all = cJSON_GetObjectItemCaseSensitive(marker, "pending");
    if (!all)
        all = cJSON_AddArrayToObject(marker, "pending");
    cJSON *before = (cJSON *)virtualbox_pending_find(marker, path);
    bool undone = before && action_of(before) == VMCTL_CHANGE_ADD && action == VMCTL_CHANGE_REMOVE;
    if (before)
        cJSON_Delete(cJSON_DetachItemViaPointer(all, before));
    if (undone) {
        cJSON_Delete(value);
    } else {
        cJSON *entry = cJSON_CreateObject();
        cJSON_AddStringToObject(entry, "action", actions[action]);
        cJSON_AddStringToObject(entry, "path", path);
        if (value)
            cJSON_AddItemToObject(entry, "value", value);
        cJSON_AddItemToArray(all, entry);
    }
    if (cJSON_GetArraySize(all) == 0)
        virtualbox_pending_clear(marker);
}

/* --- laying over ----------------------------------------------------------------------------------------------------- */

static bool is_list(const char *word, size_t length) {
    static const char *const lists[] = {"disks", "networks", "shares", "usb"};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        if (strlen(lists[i]) == length && strncmp(lists[i], word, length) == 0)
            return true;
    return false;
}

/* "disks.root.size" of a device; a name may have dots, a key has none. */
static void lay_item(cJSON *spec, vmctl_change_action action, const char *path, cJSON *value) {
    size_t length = strcspn(path, ".");
    VMC_AUTO_FREE char *list_name = vmc_strndup(path, length);
    cJSON *list = cJSON_GetObjectItemCaseSensitive(spec, list_name);
    if (!list)
        list = cJSON_AddArrayToObject(spec, list_name);
    const char *last = action == VMCTL_CHANGE_SET ? strrchr(path + length + 1, '.') : NULL;
    VMC_AUTO_FREE char *name =
        last ? vmc_strndup(path + length + 1, (size_t)(last - path - length - 1)) : vmc_strdup(path + length + 1);
    cJSON *item = vmc_json_item(list, name);
    if (action == VMCTL_CHANGE_ADD && value) {
        cJSON_AddItemToArray(list, value);
    } else if (action == VMCTL_CHANGE_REMOVE && item) {
        cJSON_Delete(value);
        cJSON_Delete(cJSON_DetachItemViaPointer(list, item));
    } else if (action == VMCTL_CHANGE_SET && item && last) {
        vmc_json_put(item, last + 1, value);
    } else {
        cJSON_Delete(value);
    }
}

void virtualbox_json_lay(cJSON *spec, vmctl_change_action action, const char *path, cJSON *value) {
    size_t length = strcspn(path, ".");
    if (path[length] && is_list(path, length)) {
        lay_item(spec, action, path, value);
        return;
    }
    cJSON *map = spec;
    while (path[length]) {
        VMC_AUTO_FREE char *key = vmc_strndup(path, length);
        /* Labels, options and extra data are named by what stands behind the map's name, whatever is in it. */
        bool open = strcmp(key, "labels") == 0 || strcmp(key, "modifyvm") == 0 || strcmp(key, "extraData") == 0;
        cJSON *child = cJSON_GetObjectItemCaseSensitive(map, key);
        if (!cJSON_IsObject(child)) {
            vmc_json_put(map, key, cJSON_CreateObject());
            child = cJSON_GetObjectItemCaseSensitive(map, key);
        }
        map = child;
        path += length + 1;
        length = open ? strlen(path) : strcspn(path, ".");
    }
    vmc_json_put(map, path, value);
}

/* As get -o spec tells a disk that was made for the VM. */
static void show_own(const cJSON *marker, const vboxmanage_machine *machine, cJSON *disk) {
    const char *volume = vmc_json_string(disk, "volume", NULL);
    if (!volume || !virtualbox_marker_owns(marker, machine, volume))
        return;
    const char *dot = strrchr(volume, '.');
    VMC_AUTO_FREE char *size = vmc_format_size((long long)virtualbox_image_bytes(machine->manage, volume));
    cJSON *format = dot ? cJSON_CreateString(dot + 1) : NULL;
    vmc_json_put(disk, "size", cJSON_CreateString(size));
    vmc_json_put(disk, "format", format);
    vmc_json_put(disk, "volume", NULL);
}

void virtualbox_pending_lay(const cJSON *marker, const vboxmanage_machine *machine, bool shown, cJSON *spec) {
    const cJSON *entry;
    cJSON_ArrayForEach(entry, vmc_json_key(marker, "pending")) {
        const char *path = vmc_json_string(entry, "path", "");
        const cJSON *value = vmc_json_key(entry, "value");
        cJSON *copy = value ? cJSON_Duplicate(value, true) : NULL;
        if (shown && copy && action_of(entry) == VMCTL_CHANGE_ADD && vmc_starts_with(path, "disks."))
            show_own(marker, machine, copy);
        virtualbox_json_lay(spec, action_of(entry), path, copy);
    }
}
