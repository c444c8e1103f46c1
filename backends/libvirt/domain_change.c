/* backends/libvirt/domain_change.c - a diff laid over a document: the persistent XML that it leads to.
 *
 * The changes are gathered first (what the whole spec becomes, and which keys of it are new), then the groups that have
 * changed keys are written. A key that cannot be changed ends it all with the reason: nothing is half done, as the document is a copy.
 */
#include "domain_model.h"
#include <string.h>
#include <time.h>

typedef struct work {
    libvirt_build build;
    const libvirt_disk_plan *added; /* the next plan */
    cJSON *want;                    /* the whole spec with the changes in it */
    cJSON *changed;                 /* the changed keys alone */
    cJSON *items;                   /* the lists again, with the items that are new or changed */
} work;

static bool is_items(const char *key) {
    return strcmp(key, "disks") == 0 || strcmp(key, "networks") == 0 || strcmp(key, "shares") == 0 ||
           strcmp(key, "usb") == 0 || strcmp(key, "gpus") == 0;
}

static const char *element_of(const char *list) {
    static const char *const elements[][2] = {
        {"disks", "disk"}, {"networks", "interface"}, {"shares", "filesystem"}, {"usb", "hostdev"}};
    for (size_t i = 0; i < sizeof elements / sizeof elements[0]; i++) {
        if (strcmp(elements[i][0], list) == 0)
            return elements[i][1];
    }
    return "none";
}

static cJSON *ensure(cJSON *map, const char *key) {
    cJSON *child = cJSON_GetObjectItemCaseSensitive(map, key);
    if (!cJSON_IsObject(child)) {
        child = cJSON_CreateObject();
        vmc_json_put(map, key, child);
    }
    return child;
}

/* "cpus.count" and what is below it; label keys keep their dots. value NULL: the key goes. */
static void gather(work *w, const char *path, const cJSON *value) {
    cJSON *want = w->want, *changed = w->changed;
    const char *step = path;
    for (const char *dot; (dot = strchr(step, '.')) != NULL; step = dot + 1) {
        VMC_AUTO_FREE char *key = vmc_strndup(step, (size_t)(dot - step));
        want = ensure(want, key);
        changed = ensure(changed, key);
        if (step == path && strcmp(key, "labels") == 0) {
            step = dot + 1;
            break;
        }
    }
    if (cJSON_IsObject(value)) {
        const cJSON *child;
        cJSON_ArrayForEach(child, value) {
            VMC_AUTO_FREE char *below = vmc_printf("%s.%s", path, child->string);
            gather(w, below, child);
        }
        return;
    }
    vmc_json_put(want, step, value ? cJSON_Duplicate(value, true) : NULL);
    vmc_json_put(changed, step, value ? cJSON_Duplicate(value, true) : cJSON_CreateNull());
}

/* --- devices --------------------------------------------------------------------------------------------------- */

static void note_item(work *w, const char *list, const cJSON *item) {
    cJSON *items = cJSON_GetObjectItemCaseSensitive(w->items, list);
    if (!items)
        items = cJSON_AddArrayToObject(w->items, list);
    cJSON *older = vmc_json_item(items, vmc_json_string(item, "name", ""));
    if (older)
        cJSON_Delete(cJSON_DetachItemViaPointer(items, older));
    cJSON_AddItemToArray(items, cJSON_Duplicate(item, true));
}

static int add_item(work *w, const char *list, const cJSON *item, vmctl_error **err) {
    cJSON *items = cJSON_GetObjectItemCaseSensitive(w->want, list);
    int code;
    if (strcmp(list, "disks") == 0)
        code = libvirt_disk_add(&w->build, item, w->added++, NULL, err);
    else if (strcmp(list, "networks") == 0)
        code = libvirt_nic_add(&w->build, item, NULL, err);
    else if (strcmp(list, "shares") == 0)
        code = libvirt_share_add(&w->build, item, NULL, err);
    else if (strcmp(list, "usb") == 0)
        code = libvirt_usb_add(&w->build, item, err);
    else
        code = vmc_error(err, VMCTL_E_UNSUPPORTED, "GPUs are not passed through by this backend");
    if (code < 0)
        return code;
    if (items)
        cJSON_AddItemToArray(items, cJSON_Duplicate(item, true));
    note_item(w, list, item);
    return 0;
}

static int remove_item(work *w, const char *list, const char *name, vmctl_error **err) {
    bool nic = strcmp(list, "networks") == 0;
    xmlNode *device = libvirt_name_find(&w->build, element_of(list), name);
    if (!device)
        return vmc_error(err, VMCTL_E_CONFLICT, "%s.%s is not there any more", list, name);
    if (nic)
        libvirt_nic_drop(&w->build, device);
    else
        libvirt_device_drop(&w->build, device);
    cJSON *items = cJSON_GetObjectItemCaseSensitive(w->want, list);
    cJSON *gone = vmc_json_item(items, name);
    if (gone)
        cJSON_Delete(cJSON_DetachItemViaPointer(items, gone));
    return 0;
}

/* "networks.lan.link": items are changed one key at a time, as the diff has them. */
static int change_item(work *w, const char *list, const char *rest, const cJSON *value, vmctl_error **err) {
    const char *last = strrchr(rest, '.');
    if (!last)
        return vmc_error(err, VMCTL_E_INTERNAL, "the change of %s.%s names no key", list, rest);
    VMC_AUTO_FREE char *name = vmc_strndup(rest, (size_t)(last - rest));
    const char *key = last + 1;
    cJSON *item = vmc_json_item(vmc_json_key(w->want, list), name);
    bool nic = strcmp(list, "networks") == 0, disk = strcmp(list, "disks") == 0;
    xmlNode *device = libvirt_name_find(&w->build, element_of(list), name);
    if (!item || !device)
        return vmc_error(err, VMCTL_E_CONFLICT, "%s.%s is not there any more", list, name);
    VMC_AUTO_JSON *changed = cJSON_CreateObject();
    vmc_json_put(item, key, value ? cJSON_Duplicate(value, true) : NULL);
    vmc_json_put(changed, key, value ? cJSON_Duplicate(value, true) : cJSON_CreateNull());
    note_item(w, list, item);
    if (nic)
        return libvirt_nic_change(&w->build, device, item, changed, err);
    if (strcmp(list, "usb") == 0)
        return libvirt_usb_change(&w->build, device, item, err);
    if (!disk)
        return libvirt_share_change(&w->build, device, item, err);
    bool brings_file = strcmp(key, "cdrom") == 0 || strcmp(key, "volume") == 0;
    return libvirt_disk_change(&w->build, device, item, changed, brings_file ? w->added++ : NULL, err);
}

/* --- keys ------------------------------------------------------------------------------------------------------ */

static int check_fixed(const work *w, vmctl_error **err) {
    static const struct {
        const char *key, *why, *next;
    } fixed[] = {
        {"name", "a change does not rename a VM", "vmctl rename"},
        {"arch", "a VM's architecture is settled when it is made", "make a new VM with these disks"},
        {"machine", "a VM's machine type is settled when it is made", "make a new VM with these disks"},
        {"confidential", "guests with encrypted memory are not made by this backend", NULL},
        {"gpus", "GPUs are not passed through by this backend", NULL},
        {"unattend", "unattended Windows set-up is not done by this backend", NULL},
    };
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
        if (!vmc_json_key(w->changed, fixed[i].key))
            continue;
        vmc_error(err, VMCTL_E_UNSUPPORTED, "%s cannot be changed: %s", fixed[i].key, fixed[i].why);
        return fixed[i].next ? vmc_error_next(err, "%s", fixed[i].next) : VMCTL_E_UNSUPPORTED;
    }
    return 0;
}

/* User and network data are not kept (they may hold secrets), so they always look new; the seed has them. */
static int check_cloud_init(const work *w, vmctl_error **err) {
    const cJSON *set_up = vmc_json_key(w->changed, "cloudInit"), *key;
    bool seeded = false;
    LIBVIRT_XML_EACH(disk, w->build.devices, "disk") {
        if (libvirt_is_seed(disk))
            seeded = true;
    }
    cJSON_ArrayForEach(key, set_up) {
        bool not_kept = strcmp(key->string, "userData") == 0 || strcmp(key->string, "networkData") == 0;
        if (seeded && not_kept)
            continue;
        vmc_error(err, VMCTL_E_UNSUPPORTED, "cloudInit.%s cannot be changed: it is read at the first boot only",
                  key->string);
        return vmc_error_next(err, "change it inside the guest, or make a new VM");
    }
    return 0;
}

/* More or fewer CPUs keep the shape: whole sockets where there are several of one core, else cores. */
static void fit_topology(work *w) {
    const cJSON *changed = vmc_json_key(w->changed, "cpus");
    cJSON *cpus = cJSON_GetObjectItemCaseSensitive(w->want, "cpus");
    if (vmc_json_key(changed, "sockets") || vmc_json_key(changed, "cores") || vmc_json_key(changed, "threads") ||
        !vmc_json_key(cpus, "sockets"))
        return;
    bool by_sockets = vmc_json_integer(cpus, "sockets", 1) > 1 && vmc_json_integer(cpus, "cores", 1) == 1;
    vmc_json_put(cpus, by_sockets ? "sockets" : "cores", NULL);
}

static int write_cpus(work *w, vmctl_error **err) {
    libvirt_build *build = &w->build;
    const char *accel = vmc_json_string(w->changed, "accel", NULL);
    if (accel && !build->test) {
        bool automatic = strcmp(accel, "auto") == 0;
        build->kvm = automatic ? build->host && build->host->kvm : strcmp(accel, "kvm") == 0;
        const char *type = build->kvm ? "kvm" : "qemu";
        if (!libvirt_xml_attr_is(build->domain, "type", type)) {
            libvirt_xml_set(build->domain, "type", type);
            libvirt_xml_set(libvirt_xml_child(build->domain, "cpu"), "mode", NULL); /* chosen anew */
        }
    }
    if (!accel && !vmc_json_key(w->changed, "cpus"))
        return 0;
    fit_topology(w);
    return libvirt_cpus_write(build, vmc_json_key(w->want, "cpus"), err);
}

static void write_texts(work *w) {
    libvirt_build *build = &w->build;
    const cJSON *description = vmc_json_key(w->changed, "description");
    if (cJSON_IsString(description) && *description->valuestring)
        libvirt_xml_set_text(libvirt_xml_ensure(build->domain, "description"), description->valuestring);
    else if (description)
        libvirt_xml_drop_children(build->domain, "description");
    if (vmc_json_key(w->changed, "labels"))
        libvirt_marker_labels(build, vmc_json_key(w->want, "labels"));
    if (vmc_json_key(w->changed, "lifetime")) {
        xmlNode *marker = libvirt_marker_ensure(build);
        int64_t from = libvirt_time_parse(libvirt_xml_attr(marker, "created"));
        int64_t lifetime = vmc_json_integer(w->changed, "lifetime", 0) / 1000;
        VMC_AUTO_FREE char *expires = libvirt_time_text((from ? from : (int64_t)time(NULL)) + lifetime);
        libvirt_xml_set(marker, "expires", lifetime ? expires : NULL);
    }
}

static void write_serial(work *w) {
    const cJSON *log = vmc_json_key(vmc_json_key(w->changed, "serial"), "log");
    const char *path = w->build.plan && w->build.plan->serial_log ? w->build.plan->serial_log : NULL;
    if (!log)
        return;
    libvirt_serial_write(&w->build, cJSON_IsString(log) ? (path ? path : log->valuestring) : NULL);
    if (path && libvirt_marker_find(w->build.domain))
        libvirt_marker_no_disk(&w->build, NULL, path, NULL);
}

static void write_parts(work *w) {
    write_serial(w);
    if (vmc_json_key(w->changed, "guestAgent"))
        libvirt_agent_write(&w->build, vmc_json_boolean(w->changed, "guestAgent", false));
    if (vmc_json_key(w->changed, "rng"))
        libvirt_rng_write(&w->build, vmc_json_boolean(w->changed, "rng", false));
    if (vmc_json_key(w->changed, "watchdog"))
        libvirt_watchdog_write(&w->build, vmc_json_string(w->changed, "watchdog", NULL));
}

static int write_keys(work *w, vmctl_error **err) {
    libvirt_build *build = &w->build;
    int code = check_fixed(w, err);
    if (code == 0)
        code = check_cloud_init(w, err);
    if (code == 0)
        code = write_cpus(w, err);
    if (code == 0 && vmc_json_key(w->changed, "memory"))
        code = libvirt_memory_write(build, vmc_json_key(w->want, "memory"), err);
    if (code == 0 && vmc_json_key(w->changed, "firmware"))
        code = libvirt_firmware_write(build, vmc_json_key(w->changed, "firmware"), err);
    if (code == 0 && vmc_json_key(w->changed, "boot"))
        code = libvirt_boot_write(build, vmc_json_key(w->changed, "boot"), err);
    if (code == 0 && vmc_json_key(w->changed, "display"))
        code = libvirt_display_write(build, vmc_json_key(w->changed, "display"), err);
    if (code < 0)
        return code;
    write_texts(w);
    write_parts(w);
    const cJSON *own = vmc_json_key(w->changed, "libvirt");
    if (vmc_json_key(own, "qemuArgs"))
        libvirt_qemu_args_write(build, vmc_json_key(own, "qemuArgs"));
    const char *patch = vmc_json_string(own, "xmlPatch", NULL);
    return patch ? libvirt_patch(build, patch, err) : 0;
}

/* --- what the marker keeps ------------------------------------------------------------------------------------- */

static void merge(cJSON *into, const cJSON *changed) {
    const cJSON *value;
    cJSON_ArrayForEach(value, changed) {
        if (cJSON_IsObject(value))
            merge(ensure(into, value->string), value);
        else
            vmc_json_put(into, value->string, cJSON_IsNull(value) ? NULL : cJSON_Duplicate(value, true));
    }
}

/* A VM that has grown to all that it has room for: the document shows no room any more, but the VM can shrink and grow again. */
static void keep_room(const work *w, cJSON *said) {
    static const char *const keys[] = {"cpus", "memory"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const cJSON *most = vmc_json_key(vmc_json_key(w->want, keys[i]), "max");
        if (most && !vmc_json_key(vmc_json_key(said, keys[i]), "max"))
            vmc_json_put(ensure(said, keys[i]), "max", cJSON_Duplicate(most, true));
    }
}

/* What the document shows now (with what was kept and still holds), and what this change said on top. */
static void keep_keys(work *w) {
    if (!libvirt_xml_attr(libvirt_marker_find(w->build.domain), "version"))
        return;
    VMC_AUTO_JSON *said = libvirt_domain_json(w->build.domain, true);
    keep_room(w, said);
    merge(said, w->changed);
    const cJSON *list, *item;
    cJSON_ArrayForEach(list, w->items) {
        cJSON *now = cJSON_GetObjectItemCaseSensitive(said, list->string);
        cJSON_ArrayForEach(item, list) {
            cJSON *twin = vmc_json_item(now, vmc_json_string(item, "name", ""));
            if (twin)
                cJSON_ReplaceItemViaPointer(now, twin, cJSON_Duplicate(item, true));
        }
    }
    libvirt_keys_write(&w->build, said);
}

/* --- the diff -------------------------------------------------------------------------------------------------- */

static int take_change(work *w, const vmctl_change *change, vmctl_error **err) {
    const char *dot = strchr(change->path, '.');
    VMC_AUTO_FREE char *head = dot ? vmc_strndup(change->path, (size_t)(dot - change->path)) : vmc_strdup(change->path);
    VMC_AUTO_JSON *value = libvirt_json_of_node(change->want, true);
    if (change->action == VMCTL_CHANGE_ADD)
        return add_item(w, head, value, err);
    if (change->action == VMCTL_CHANGE_REMOVE)
        return remove_item(w, head, vmctl_node_string(change->have, "name", ""), err);
    if (!is_items(head)) {
        gather(w, change->path, value);
        return 0;
    }
    if (dot)
        return change_item(w, head, dot + 1, value, err);
    const cJSON *item;
    int code = 0;
    cJSON_ArrayForEach(item, value) {
        if (code == 0)
            code = add_item(w, head, item, err);
    }
    return code;
}

/* Devices first, so that boot.order may name new ones. The root of the wanted spec tells where keys were written, which
 * the change's own node knows better. */
static int take_changes(work *w, const vmctl_diff *diff, vmctl_error **err) {
    for (size_t i = 0; i < vmctl_diff_count(diff); i++) {
        int code = take_change(w, vmctl_diff_at(diff, i), err);
        if (code < 0)
            return code;
    }
    return write_keys(w, err);
}

int libvirt_domain_xml_change(const char *domain_xml, const vmctl_diff *diff, const libvirt_disk_plan *added,
                              const libvirt_domain_plan *plan, char **xml, vmctl_error **err) {
    LIBVIRT_AUTO_XML *doc = NULL;
    work w = {.added = added};
    *xml = NULL;
    if (vmctl_diff_count(diff) == 0) {
        *xml = vmc_strdup(domain_xml);
        return 0;
    }
    int code = libvirt_xml_parse(domain_xml, "the domain XML", "domain", VMCTL_E_INTERNAL, &doc, NULL, err);
    if (code < 0)
        return code;
    libvirt_build_read(&w.build, doc, plan);
    w.want = libvirt_domain_json(w.build.domain, true);
    w.changed = cJSON_CreateObject();
    w.items = cJSON_CreateObject();
    code = take_changes(&w, diff, err);
    if (code == 0) {
        keep_keys(&w);
        *xml = libvirt_xml_text(doc);
    }
    cJSON_Delete(w.want);
    cJSON_Delete(w.changed);
    cJSON_Delete(w.items);
    return code;
}
