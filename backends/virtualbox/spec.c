/* Any VM as a spec: what vm.yaml can say of its settings. What it cannot say stays out, and is then never touched by apply. */
#include "facts.h"

#include "media.h"
#include "usb.h"
#include <stdlib.h>
#include <string.h>

static void put_text(cJSON *map, const char *key, const char *value) {
    if (value && *value)
        cJSON_AddStringToObject(map, key, value);
}

static void put_size(cJSON *map, const char *key, uint64_t bytes) {
    VMC_AUTO_FREE char *text = vmc_format_size((long long)bytes);
    if (bytes)
        cJSON_AddStringToObject(map, key, text);
}

/* --- disks ----------------------------------------------------------------------------------------------------- */

static cJSON *disk_json(const vboxmanage_machine *m, const cJSON *marker, const vboxmanage_attachment *from) {
    VMC_AUTO_FREE char *place = virtualbox_place(from);
    const char *name = virtualbox_marker_name(marker, place, place);
    const char *bus = virtualbox_bus(m, from->controller);
    const vboxmanage_medium *medium = vboxmanage_medium_of(m, from->medium);
    const vboxmanage_medium *base = vboxmanage_base_of(m, medium);
    bool drive = vmc_str_eq(from->kind, "DVD");
    if (vmc_str_eq(virtualbox_marker_type(marker, place), "seed") || !bus || from->passthrough || (!drive && !medium))
        return NULL;
    cJSON *disk = cJSON_CreateObject();
    cJSON_AddStringToObject(disk, "name", name);
    cJSON_AddStringToObject(disk, "bus", bus);
    if (drive) {
        cJSON_AddStringToObject(disk, "cdrom", medium ? medium->location : "");
        return disk;
    }
    if (!virtualbox_medium_own(marker, m, medium)) {
        cJSON_AddStringToObject(disk, "volume", base->location);
    } else {
        VMC_AUTO_FREE char *format = virtualbox_format(base->format);
        put_size(disk, "size", virtualbox_image_bytes(m->manage, medium->location));
        put_text(disk, "format", format);
    }
    if (from->discard)
        cJSON_AddStringToObject(disk, "discard", "unmap");
    if (vmc_str_eq(base->type, "Shareable"))
        cJSON_AddBoolToObject(disk, "shared", true);
    return disk;
}

/* --- networks -------------------------------------------------------------------------------------------------- */

static cJSON *nic_json(const cJSON *marker, const vboxmanage_nic *from) {
    const char *type = virtualbox_nic_type(from, marker);
    if (!type)
        return NULL;
    VMC_AUTO_FREE char *place = virtualbox_nic_place(from->slot);
    VMC_AUTO_FREE char *name = vmc_printf("net%u", from->slot);
    cJSON *nic = cJSON_CreateObject();
    cJSON_AddStringToObject(nic, "name", virtualbox_marker_name(marker, place, name));
    cJSON_AddStringToObject(nic, "type", type);
    put_text(nic, "source", from->source);
    put_text(nic, "model", virtualbox_nic_model(from->type));
    put_text(nic, "mac", from->mac);
    cJSON *forwards = NULL;
    for (size_t i = 0; i < from->forward_count; i++) {
        const vboxmanage_forward *f = &from->forwards[i];
        if (f->name && vmc_starts_with(f->name, VIRTUALBOX_FORWARD_NAME))
            continue; /* of a port-forward that goes on */
        if (!forwards)
            forwards = cJSON_AddArrayToObject(nic, "forward");
        bool address = f->host_ip && *f->host_ip;
        VMC_AUTO_FREE char *text = vmc_printf("%s%s%s%u:%u", f->udp ? "udp:" : "", address ? f->host_ip : "",
                                              address ? ":" : "", f->host_port, f->guest_port);
        cJSON_AddItemToArray(forwards, cJSON_CreateString(text));
    }
    if (!from->cable)
        cJSON_AddStringToObject(nic, "link", "down");
    return nic;
}

/* --- the whole ------------------------------------------------------------------------------------------------- */

static void put_machine(const vboxmanage_machine *m, cJSON *spec) {
    cJSON *cpus = cJSON_AddObjectToObject(spec, "cpus");
    cJSON_AddNumberToObject(cpus, "count", m->cpus);
    if (m->cpus_max)
        cJSON_AddNumberToObject(cpus, "max", m->cpus_max);
    put_size(cJSON_AddObjectToObject(spec, "memory"), "size", m->memory_mib << 20);
    if (m->os_type && vmc_starts_with(m->os_type, "Windows"))
        cJSON_AddStringToObject(spec, "guest", "windows");
    else if (m->os_type && vmc_starts_with(m->os_type, "Other"))
        cJSON_AddStringToObject(spec, "guest", "other");
    cJSON_AddStringToObject(spec, "machine", vmc_str_eq(m->chipset, "ich9") ? "q35" : "pc");
    cJSON *firmware = cJSON_AddObjectToObject(spec, "firmware");
    cJSON_AddStringToObject(firmware, "type", vmc_starts_with(m->firmware, "efi") ? "uefi" : "bios");
    if (m->tpm)
        cJSON_AddBoolToObject(firmware, "tpm", true);
}

static void put_parts(const vboxmanage_machine *m, cJSON *spec) {
    if (m->vrde && vmc_str_eq(m->vrde_pack, "VNC")) {
        cJSON *display = cJSON_AddObjectToObject(spec, "display");
        cJSON_AddStringToObject(display, "type", "vnc");
        put_text(display, "listen", m->vrde_address);
    } else if (vmc_str_eq(m->graphics, "none")) {
        cJSON_AddStringToObject(cJSON_AddObjectToObject(spec, "display"), "type", "none");
    }
    VMC_AUTO_FREE char *log = virtualbox_serial_log_path(m);
    if (log)
        cJSON_AddStringToObject(cJSON_AddObjectToObject(spec, "serial"), "log", vmc_path_basename(log));
    if (m->autostart)
        cJSON_AddBoolToObject(spec, "autostart", true);
}

cJSON *virtualbox_machine_json(const vboxmanage_machine *m, const cJSON *marker, bool with_kept) {
    cJSON *spec = cJSON_CreateObject();
    cJSON_AddStringToObject(spec, "name", m->name);
    cJSON_AddStringToObject(spec, "backend", "virtualbox");
    const cJSON *labels = vmc_json_key(marker, "labels");
    if (cJSON_GetArraySize(labels) > 0)
        cJSON_AddItemToObject(spec, "labels", cJSON_Duplicate(labels, true));
    put_text(spec, "description", m->description);
    put_machine(m, spec);
    cJSON *disks = cJSON_AddArrayToObject(spec, "disks");
    for (size_t i = 0; i < m->attachment_count; i++) {
        cJSON *disk = disk_json(m, marker, &m->attachments[i]);
        if (disk)
            cJSON_AddItemToArray(disks, disk);
    }
    cJSON *networks = cJSON_AddArrayToObject(spec, "networks");
    for (size_t i = 0; i < m->nic_count; i++) {
        cJSON *nic = nic_json(marker, &m->nics[i]);
        if (nic)
            cJSON_AddItemToArray(networks, nic);
    }
    cJSON *shares = m->share_count ? cJSON_AddArrayToObject(spec, "shares") : NULL;
    for (size_t i = 0; i < m->share_count; i++) {
        cJSON *share = cJSON_CreateObject();
        put_text(share, "name", m->shares[i].name);
        put_text(share, "path", m->shares[i].path);
        if (!m->shares[i].writable)
            cJSON_AddBoolToObject(share, "readonly", true);
        cJSON_AddItemToArray(shares, share);
    }
    cJSON *usb = NULL;
    for (size_t i = 0; i < m->usb_filter_count; i++) {
        cJSON *item = virtualbox_usb_json(m, marker, i);
        if (item && !usb)
            usb = cJSON_AddArrayToObject(spec, "usb");
        if (item)
            cJSON_AddItemToArray(usb, item);
    }
    put_parts(m, spec);
    int64_t created = virtualbox_marker_time(marker, "created");
    int64_t expires = virtualbox_marker_time(marker, "expires");
    VMC_AUTO_FREE char *lifetime = vmc_format_duration((expires - created) * 1000);
    if (created && expires > created)
        cJSON_AddStringToObject(spec, "lifetime", lifetime);
    if (with_kept)
        virtualbox_marker_restore(marker, spec);
    return spec;
}
