/* backends/libvirt/domain_disk.c - disks and optical drives (formatdomain.html, "Hard drives, floppy disks, CDROMs"). */
#include "domain_model.h"
#include <string.h>

typedef struct bus_info {
    const char *name;
    const char *prefix; /* of the target: "vd" for vda */
    bool cdrom;
} bus_info;

static const bus_info buses[] = {
    {"virtio", "vd", false}, {"scsi", "sd", true}, {"sata", "sd", true}, {"usb", "sd", true}, {"ide", "hd", true},
};

enum { SCSI_UNITS = 7 }; /* per controller, as libvirt counts a narrow bus */

static const bus_info *find_bus(const char *name) {
    for (size_t i = 0; i < sizeof buses / sizeof buses[0]; i++) {
        if (vmc_str_eq(buses[i].name, name))
            return &buses[i];
    }
    return NULL;
}

/* Windows has no virtio drivers of its own; a machine without IDE or SATA reads optical drives through SCSI. */
static const char *default_bus(const libvirt_build *build, bool cdrom) {
    bool linux_guest = strcmp(build->guest, "linux") == 0;
    if (linux_guest && !cdrom)
        return "virtio";
    if (!build->x86)
        return "scsi";
    return build->q35 ? "sata" : "ide";
}

static char *letters(size_t index) {
    char text[8];
    size_t at = sizeof text - 1;
    text[at] = '\0';
    for (size_t rest = index + 1; rest > 0 && at > 0; rest = (rest - 1) / 26)
        text[--at] = (char)('a' + (rest - 1) % 26);
    return vmc_strdup(text + at);
}

static bool target_is_taken(const libvirt_build *build, const char *target) {
    LIBVIRT_XML_EACH(disk, build->devices, "disk") {
        if (vmc_str_eq(libvirt_xml_attr_at(disk, "target", "dev"), target))
            return true;
    }
    return false;
}

static char *free_target(const libvirt_build *build, const char *prefix, size_t *index) {
    for (*index = 0;; (*index)++) {
        VMC_AUTO_FREE char *suffix = letters(*index);
        char *target = vmc_printf("%s%s", prefix, suffix);
        if (!target_is_taken(build, target))
            return target;
        vmc_free_ptr(&target);
    }
}

static void ensure_scsi_controllers(libvirt_build *build, size_t highest) {
    for (size_t index = 0; index <= highest; index++) {
        VMC_AUTO_FREE char *number = vmc_printf("%zu", index);
        bool there = false;
        LIBVIRT_XML_EACH(controller, build->devices, "controller") {
            if (libvirt_xml_attr_is(controller, "type", "scsi") && libvirt_xml_attr_is(controller, "index", number))
                there = true;
        }
        if (!there)
            libvirt_xml_add(build->devices, "controller", "type", "scsi", "index", number, "model", "virtio-scsi",
                            NULL);
    }
}

static int check_bus(const libvirt_build *build, const char *name, const char *bus, bool cdrom, vmctl_error **err) {
    VMC_AUTO_FREE char *path = vmc_printf("disks.%s.bus", name);
    const bus_info *info = find_bus(bus);
    if (!info)
        return libvirt_refuse_key(build, path, VMCTL_E_UNSUPPORTED, err, "libvirt has no disk bus \"%s\" here", bus);
    if (cdrom && !info->cdrom)
        return libvirt_refuse_key(build, path, VMCTL_E_INVALID_SPEC, err,
                                  "an optical drive cannot be on bus virtio; take sata, scsi, ide or usb");
    if (strcmp(bus, "ide") == 0 && !build->test && (build->q35 || !build->x86)) {
        libvirt_refuse_key(build, path, VMCTL_E_UNSUPPORTED, err, "machine %s has no IDE",
                           build->machine ? build->machine : build->arch);
        return vmc_error_next(err, "take bus: %s, or machine: pc", build->x86 ? "sata" : "scsi");
    }
    if (strcmp(bus, "sata") == 0 && !build->test && !build->x86)
        return libvirt_refuse_key(build, path, VMCTL_E_UNSUPPORTED, err, "architecture %s has no SATA; take bus: scsi",
                                  build->arch);
    return 0;
}

/* Target and bus, and the controller that the bus needs. */
static void write_target(libvirt_build *build, xmlNode *disk, const char *bus) {
    size_t index;
    libvirt_xml_drop_children(disk, "target");
    VMC_AUTO_FREE char *target = free_target(build, find_bus(bus)->prefix, &index);
    libvirt_xml_add(disk, "target", "dev", target, "bus", bus, NULL);
    if (strcmp(bus, "scsi") == 0 && !build->test)
        ensure_scsi_controllers(build, index / SCSI_UNITS);
}

static void write_medium(xmlNode *disk, const libvirt_disk_plan *plan) {
    bool block = plan && plan->path && plan->block;
    libvirt_xml_set(disk, "type", block ? "block" : "file");
    libvirt_xml_drop_children(disk, "source");
    libvirt_xml_drop_children(disk, "backingStore");
    xmlNode *driver = libvirt_xml_ensure(disk, "driver");
    libvirt_xml_set(driver, "name", "qemu");
    libvirt_xml_set(driver, "type", plan && plan->format ? plan->format : "raw");
    if (plan && plan->path)
        libvirt_xml_add(disk, "source", block ? "dev" : "file", plan->path, NULL);
}

static void write_flag(xmlNode *disk, const char *name, bool on) {
    libvirt_xml_drop_children(disk, name);
    if (on)
        libvirt_xml_add(disk, name, NULL);
}

/* What a drive is set to, whatever is in it; changed NULL: all of it. */
static int write_settings(libvirt_build *build, xmlNode *disk, const cJSON *item, const cJSON *changed,
                          vmctl_error **err) {
    const char *name = vmc_json_string(item, "name", "");
    const char *cache = vmc_json_string(item, "cache", NULL), *io = vmc_json_string(item, "io", NULL);
    xmlNode *driver = libvirt_xml_ensure(disk, "driver");
    bool cdrom = libvirt_xml_attr_is(disk, "device", "cdrom");
#define TOUCHED(key) (!changed || vmc_json_key(changed, key))
    if (io && strcmp(io, "native") == 0 &&
        !(cache && (strcmp(cache, "none") == 0 || strcmp(cache, "directsync") == 0))) {
        VMC_AUTO_FREE char *path = vmc_printf("disks.%s.io", name);
        return libvirt_refuse_key(build, path, VMCTL_E_INVALID_SPEC, err,
                                  "io: native bypasses the host's cache and needs cache: none or directsync");
    }
    if (TOUCHED("cache"))
        libvirt_xml_set(driver, "cache", cache);
    if (TOUCHED("io"))
        libvirt_xml_set(driver, "io", io);
    if (TOUCHED("discard"))
        libvirt_xml_set(driver, "discard", vmc_json_string(item, "discard", NULL));
    if (TOUCHED("readonly"))
        write_flag(disk, "readonly", cdrom || vmc_json_boolean(item, "readonly", false));
    if (TOUCHED("shared")) {
        bool shared = vmc_json_boolean(item, "shared", false);
        if (shared && !libvirt_xml_attr_is(driver, "type", "raw")) {
            VMC_AUTO_FREE char *path = vmc_printf("disks.%s.shared", name);
            return libvirt_refuse_key(build, path, VMCTL_E_UNSUPPORTED, err,
                                      "only a raw disk can be shared; a %s disk has one writer",
                                      libvirt_xml_attr(driver, "type"));
        }
        write_flag(disk, "shareable", shared);
    }
    if (TOUCHED("serial")) {
        const char *serial = vmc_json_string(item, "serial", NULL);
        libvirt_xml_drop_children(disk, "serial");
        if (serial)
            libvirt_xml_add_text(disk, "serial", serial);
    }
#undef TOUCHED
    return 0;
}

int libvirt_disk_add(libvirt_build *build, const cJSON *item, const libvirt_disk_plan *plan, xmlNode **out,
                     vmctl_error **err) {
    const char *name = vmc_json_string(item, "name", "");
    bool cdrom = vmc_json_key(item, "cdrom") != NULL;
    const char *bus = vmc_json_string(item, "bus", default_bus(build, cdrom));
    VMC_AUTO_FREE char *alias = libvirt_alias(name);
    VMC_AUTO_FREE char *path = vmc_printf("disks.%s.name", name);
    if (strcmp(alias, LIBVIRT_SEED_ALIAS) == 0)
        return libvirt_refuse_key(build, path, VMCTL_E_INVALID_SPEC, err,
                                  "the name \"%s\" is kept for cloud-init's seed; take another", name);
    int code = check_bus(build, name, bus, cdrom, err);
    if (code < 0)
        return code;
    xmlNode *disk = libvirt_xml_add(build->devices, "disk", "type", "file", "device", cdrom ? "cdrom" : "disk", NULL);
    write_medium(disk, plan);
    write_target(build, disk, bus);
    code = write_settings(build, disk, item, NULL, err);
    if (code < 0) {
        libvirt_xml_drop(disk);
        return code;
    }
    libvirt_name_write(build, disk, name);
    if (plan && plan->path && plan->own && libvirt_marker_find(build->domain))
        (cdrom ? libvirt_marker_no_disk : libvirt_marker_file)(build, alias, plan->path, plan->origin);
    if (out)
        *out = disk;
    return 0;
}

int libvirt_disk_change(libvirt_build *build, xmlNode *disk, const cJSON *item, const cJSON *changed,
                        const libvirt_disk_plan *plan, vmctl_error **err) {
    const char *name = vmc_json_string(item, "name", "");
    bool cdrom = libvirt_xml_attr_is(disk, "device", "cdrom");
    static const char *const fixed[] = {"image", "backing", "format", "pool"};
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
        VMC_AUTO_FREE char *path = vmc_printf("disks.%s.%s", name, fixed[i]);
        if (vmc_json_key(changed, fixed[i]))
            return libvirt_refuse_key(build, path, VMCTL_E_UNSUPPORTED, err,
                                      "the %s of a disk that exists cannot be changed; add another disk", fixed[i]);
    }
    if (vmc_json_key(changed, "cdrom") || vmc_json_key(changed, "volume")) {
        const char *key = vmc_json_key(changed, "cdrom") ? "cdrom" : "volume";
        VMC_AUTO_FREE char *path = vmc_printf("disks.%s.%s", name, key);
        if (cdrom != (strcmp(key, "cdrom") == 0))
            return libvirt_refuse_key(build, path, VMCTL_E_UNSUPPORTED, err,
                                      "a disk cannot become an optical drive, nor a drive a disk; add another one");
        write_medium(disk, plan);
    }
    if (vmc_json_key(changed, "bus")) {
        const char *bus = vmc_json_string(item, "bus", "");
        int code = check_bus(build, name, bus, cdrom, err);
        if (code < 0)
            return code;
        libvirt_xml_drop_children(disk, "address"); /* the bus's own: libvirt gives it a new one */
        write_target(build, disk, bus);
    }
    return write_settings(build, disk, item, changed, err);
}

/* On virtio as a read-only disk for Linux: cloud kernels have no AHCI, and cloud-init looks for the label on any disk. */
void libvirt_seed_add(libvirt_build *build, const char *path) {
    bool disk_like = strcmp(build->guest, "linux") == 0;
    libvirt_disk_plan plan = {.path = path, .format = "raw", .own = true};
    xmlNode *disk =
        libvirt_xml_add(build->devices, "disk", "type", "file", "device", disk_like ? "disk" : "cdrom", NULL);
    write_medium(disk, &plan);
    write_target(build, disk, disk_like ? "virtio" : default_bus(build, true));
    libvirt_xml_add(disk, "readonly", NULL);
    libvirt_xml_add(disk, "alias", "name", LIBVIRT_SEED_ALIAS, NULL);
    if (libvirt_marker_find(build->domain))
        libvirt_marker_no_disk(build, LIBVIRT_SEED_ALIAS, path, NULL);
}

const char *libvirt_disk_path(const xmlNode *disk) {
    const xmlNode *source = libvirt_xml_child(disk, "source");
    if (libvirt_xml_attr_is(disk, "type", "block"))
        return libvirt_xml_attr(source, "dev");
    return libvirt_xml_attr_is(disk, "type", "file") ? libvirt_xml_attr(source, "file") : NULL;
}

static void put_text(cJSON *item, const char *key, const char *value) {
    if (value)
        cJSON_AddStringToObject(item, key, value);
}

/* A value that the spec's list does not have ("io_uring" came later than some) is not said. */
static void put_known(cJSON *item, const char *key, const char *value, const char *const *known) {
    for (; value && *known; known++) {
        if (strcmp(value, *known) == 0)
            cJSON_AddStringToObject(item, key, value);
    }
}

static bool put_content(const xmlNode *domain, const xmlNode *disk, cJSON *item) {
    const char *path = libvirt_disk_path(disk);
    const xmlNode *source = libvirt_xml_child(disk, "source");
    if (libvirt_xml_attr_is(disk, "device", "cdrom")) {
        if (!path && libvirt_xml_child(source, NULL))
            return false; /* a medium that is no file */
        cJSON_AddStringToObject(item, "cdrom", path ? path : "");
        return true;
    }
    if (libvirt_xml_attr_is(disk, "type", "volume") && libvirt_xml_attr(source, "pool") &&
        libvirt_xml_attr(source, "volume")) {
        VMC_AUTO_FREE char *volume =
            vmc_printf("%s/%s", libvirt_xml_attr(source, "pool"), libvirt_xml_attr(source, "volume"));
        cJSON_AddStringToObject(item, "volume", volume);
        return true;
    }
    if (!path)
        return false;
    const xmlNode *file = libvirt_marker_file_of(domain, libvirt_xml_attr_at(disk, "alias", "name"));
    if (!file || !libvirt_xml_attr_is(file, "path", path)) {
        cJSON_AddStringToObject(item, "volume", path);
        return true;
    }
    const char *origin = libvirt_xml_attr(file, "origin");
    if (origin && !*origin) /* out of an archive: there is no image of it that `create` would take */
        cJSON_AddStringToObject(item, "volume", path);
    else
        put_text(item, "image", origin);
    const char *format = libvirt_xml_attr_at(disk, "driver", "type");
    put_known(item, "format", format, (const char *const[]){"qcow2", "raw", NULL});
    return true;
}

cJSON *libvirt_disk_read(const xmlNode *domain, const xmlNode *disk) {
    const char *device = libvirt_xml_attr(disk, "device");
    const xmlNode *driver = libvirt_xml_child(disk, "driver");
    if (libvirt_is_seed(disk) || (device && strcmp(device, "disk") != 0 && strcmp(device, "cdrom") != 0))
        return NULL;
    VMC_AUTO_FREE char *name = libvirt_name_read(domain, disk);
    cJSON *item = cJSON_CreateObject();
    if (name)
        cJSON_AddStringToObject(item, "name", name);
    if (!name || !put_content(domain, disk, item)) {
        cJSON_Delete(item);
        return NULL;
    }
    put_known(item, "bus", libvirt_xml_attr_at(disk, "target", "bus"),
              (const char *const[]){"virtio", "scsi", "sata", "nvme", "ide", "usb", NULL});
    put_known(item, "cache", libvirt_xml_attr(driver, "cache"),
              (const char *const[]){"none", "writeback", "writethrough", "directsync", "unsafe", NULL});
    put_known(item, "io", libvirt_xml_attr(driver, "io"), (const char *const[]){"threads", "native", "io_uring", NULL});
    put_known(item, "discard", libvirt_xml_attr(driver, "discard"), (const char *const[]){"unmap", "ignore", NULL});
    if (!libvirt_xml_attr_is(disk, "device", "cdrom") && libvirt_xml_child(disk, "readonly"))
        cJSON_AddTrueToObject(item, "readonly");
    VMC_AUTO_FREE char *serial = libvirt_xml_content(libvirt_xml_child(disk, "serial"));
    put_text(item, "serial", serial);
    if (libvirt_xml_child(disk, "shareable"))
        cJSON_AddTrueToObject(item, "shared");
    return item;
}
