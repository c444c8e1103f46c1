/* What vmctl keeps about a VM in its extra data. */
#include "marker.h"

#include "base/file.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* --- the marker ------------------------------------------------------------------------------------------------ */

static cJSON *time_json(int64_t seconds) {
    time_t when = (time_t)seconds;
    struct tm parts;
    char text[32] = "";
    if (gmtime_r(&when, &parts))
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return cJSON_CreateString(text);
}

int64_t virtualbox_marker_time(const cJSON *marker, const char *key) {
    struct tm parts = {0};
    const char *text = vmc_json_string(marker, key, NULL);
    const char *end = text ? strptime(text, "%Y-%m-%dT%H:%M:%SZ", &parts) : NULL;
    return end && !*end ? (int64_t)timegm(&parts) : 0;
}

void virtualbox_marker_lifetime(cJSON *marker, int64_t seconds) {
    int64_t from = virtualbox_marker_time(marker, "created");
    if (!from && seconds)
        from = (int64_t)time(NULL);
    vmc_json_put(marker, "expires", seconds ? time_json(from + seconds) : NULL);
}

cJSON *virtualbox_marker_read(const vboxmanage_machine *machine) {
    const char *text = vboxmanage_extra(machine, VIRTUALBOX_MARKER);
    cJSON *marker = text ? cJSON_Parse(text) : NULL;
    if (marker && !cJSON_IsObject(marker)) {
        cJSON_Delete(marker);
        marker = NULL;
    }
    return marker ? marker : cJSON_CreateObject();
}

bool virtualbox_marker_is_made(const cJSON *marker) {
    return vmc_json_key(marker, "created") != NULL;
}

cJSON *virtualbox_marker_new(const vmctl_marker *marker) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "version", marker->version ? marker->version : VMCTL_VERSION);
    if (marker->owner)
        cJSON_AddStringToObject(json, "owner", marker->owner);
    if (marker->run)
        cJSON_AddStringToObject(json, "run", marker->run);
    cJSON_AddItemToObject(json, "created", time_json(marker->created));
    if (marker->expires)
        cJSON_AddItemToObject(json, "expires", time_json(marker->expires));
    return json;
}

static const cJSON *device_of(const cJSON *marker, const char *place) {
    return vmc_json_key(vmc_json_key(marker, "devices"), place);
}

const char *virtualbox_marker_name(const cJSON *marker, const char *place, const char *fallback) {
    return vmc_json_string(device_of(marker, place), "name", fallback);
}

const char *virtualbox_marker_type(const cJSON *marker, const char *place) {
    return vmc_json_string(device_of(marker, place), "type", NULL);
}

void virtualbox_marker_device(cJSON *marker, const char *place, const char *name, const char *type) {
    cJSON *devices = vmc_json_map(marker, "devices");
    cJSON *device = name ? cJSON_CreateObject() : NULL;
    if (!device) {
        vmc_json_put(devices, place, NULL);
        return;
    }
    cJSON_AddStringToObject(device, "name", name);
    if (type)
        cJSON_AddStringToObject(device, "type", type);
    vmc_json_put(devices, place, device);
}

void virtualbox_marker_file(cJSON *marker, const char *name) {
    cJSON *files = cJSON_GetObjectItemCaseSensitive(marker, "files");
    if (!files)
        files = cJSON_AddArrayToObject(marker, "files");
    cJSON_AddItemToArray(files, cJSON_CreateString(name));
}

bool virtualbox_marker_owns(const cJSON *marker, const vboxmanage_machine *machine, const char *path) {
    const cJSON *file;
    cJSON_ArrayForEach(file, vmc_json_key(marker, "files")) {
        if (!cJSON_IsString(file))
            continue;
        VMC_AUTO_FREE char *whole = vmc_path_absolute(machine->folder, file->valuestring);
        if (vmc_str_eq(whole, path) || vmc_str_eq(file->valuestring, path))
            return true;
    }
    return false;
}

void virtualbox_marker_keep(cJSON *marker, const cJSON *shown, const cJSON *want) {
    vmc_json_put(marker, "keys", vmc_kept_of(shown, want));
}

void virtualbox_marker_restore(const cJSON *marker, cJSON *shown) {
    vmc_kept_restore(vmc_json_key(marker, "keys"), shown);
}
