/* Source: libvirt's formatdomain.html; what a second VM must not have in common with the first. */
#include "domain_clone.h"

#include "base/file.h"
#include "base/random.h"
#include "domain_model.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct cloning {
    libvirt_build build;
    const libvirt_clone_plan *plan;
    vmc_strv *told;
} cloning;

static void tell(const cloning *c, const char *format, ...) VMCTL_PRINTF(2, 3);
static void tell(const cloning *c, const char *format, ...) {
    va_list args;
    va_start(args, format);
    VMC_AUTO_FREE char *text = vmc_vprintf(format, args);
    va_end(args);
    if (c->told)
        vmc_strv_add(c->told, text);
}

/* --- disks and files --------------------------------------------------------------------------------------- */

static const libvirt_clone_disk *disk_of(const libvirt_clone_plan *plan, const xmlNode *disk) {
    const char *target = libvirt_xml_attr_at(disk, "target", "dev");
    for (size_t i = 0; i < plan->disk_count; i++)
        if (vmc_str_eq(plan->disks[i].target, target))
            return &plan->disks[i];
    return NULL;
}

static void set_file(xmlNode *disk, const char *path, const char *format) {
    libvirt_xml_set(disk, "type", "file");
    libvirt_xml_drop_children(disk, "source");
    libvirt_xml_drop_children(disk, "backingStore");
    libvirt_xml_set(libvirt_xml_ensure(disk, "driver"), "type", format);
    libvirt_xml_add(disk, "source", "file", path, NULL);
}

static void note_base(libvirt_build *build, const libvirt_clone_disk *disk) {
    if (!disk->base)
        return;
    libvirt_marker_base(build, disk->base, disk->base_own);
}

/* The spec of a flat copy has no backing:, and that of an overlay has. */
static void keep_backing(libvirt_build *build, const char *name, const char *base) {
    VMC_AUTO_FREE char *path = vmc_printf("disks/%s/backing", name);
    libvirt_marker_key(build, path, NULL, base);
}

static void write_disk(cloning *c, xmlNode *disk, xmlNode *old_marker) {
    const libvirt_clone_disk *plan = disk_of(c->plan, disk);
    libvirt_xml_drop_children(disk, "wwn"); /* a name of the one device in the world */
    if (libvirt_is_seed(disk)) {
        if (c->plan->seed) {
            set_file(disk, c->plan->seed, "raw");
            libvirt_marker_no_disk(&c->build, LIBVIRT_SEED_ALIAS, c->plan->seed, NULL);
        }
        return;
    }
    if (!plan)
        return;
    VMC_AUTO_FREE char *name = libvirt_name_read(c->build.domain, disk);
    const char *alias = libvirt_xml_attr_at(disk, "alias", "name");
    const char *origin = NULL;
    LIBVIRT_XML_EACH(file, plan->base ? NULL : old_marker, "file") {
        if (alias && libvirt_xml_attr_is(file, "device", alias))
            origin = libvirt_xml_attr(file, "origin");
    }
    set_file(disk, plan->path, plan->format);
    libvirt_name_write(&c->build, disk, name ? name : plan->target);
    libvirt_marker_file(&c->build, libvirt_xml_attr_at(disk, "alias", "name"), plan->path, origin);
    note_base(&c->build, plan);
    keep_backing(&c->build, name ? name : plan->target, plan->base);
}

static void write_boot(cloning *c) {
    static const char *const names[] = {"kernel", "initrd"};
    const char *paths[] = {c->plan->kernel, c->plan->initrd};
    xmlNode *os = libvirt_xml_child(c->build.domain, "os");
    for (size_t i = 0; i < 2; i++) {
        if (!paths[i])
            continue;
        libvirt_xml_set_text(libvirt_xml_ensure(os, names[i]), paths[i]);
        libvirt_marker_no_disk(&c->build, NULL, paths[i], NULL);
    }
    xmlNode *nvram = libvirt_xml_child(os, "nvram");
    if (!nvram)
        return;
    if (c->plan->nvram)
        libvirt_xml_set_text(nvram, c->plan->nvram);
    else if (!libvirt_xml_attr(nvram, "template") && libvirt_xml_attr_is(os, "firmware", "efi"))
        libvirt_xml_drop(nvram);
    else
        libvirt_xml_set_text(nvram, "");
}

/* --- cards ------------------------------------------------------------------------------------------------- */

static void new_mac(char out[18]) {
    unsigned char b[3];
    vmc_random_fill(b, sizeof b);
    snprintf(out, 18, "52:54:00:%02x:%02x:%02x", b[0], b[1], b[2]); /* QEMU's own prefix, as libvirt takes it */
}

libvirt_clone_mac *libvirt_clone_macs(const xmlDoc *doc, size_t *count) {
    const xmlNode *devices = libvirt_xml_child(xmlDocGetRootElement(doc), "devices");
    libvirt_clone_mac *macs = vmc_alloc((libvirt_xml_count(devices, "interface") + 1) * sizeof *macs);
    *count = 0;
    LIBVIRT_XML_EACH(nic, devices, "interface") {
        const char *before = libvirt_xml_attr_at(nic, "mac", "address");
        libvirt_clone_mac *mac = &macs[(*count)++];
        snprintf(mac->before, sizeof mac->before, "%s", before ? before : "");
        new_mac(mac->after);
    }
    return macs;
}

static void write_nic(const cloning *c, xmlNode *nic, const libvirt_clone_mac *mac) {
    VMC_AUTO_FREE char *name = libvirt_name_read(c->build.domain, nic);
    const char *before = mac->before;
    libvirt_xml_set(libvirt_xml_ensure(nic, "mac"), "address", mac->after);
    xmlNode *target = libvirt_xml_child(nic, "target");
    if (libvirt_xml_attr(target, "dev")) /* a name of the host's, which only one can have */
        libvirt_xml_drop(target);
    libvirt_build build = c->build;
    if (libvirt_nic_forwards_drop(&build, nic))
        tell(c,
             "the port forwards of network %s are not taken over, as only one VM can have them: vmctl set %s "
             "networks.%s.forward='[\"LOCAL:GUEST\"]'",
             name ? name : before, c->plan->name, name ? name : before);
}

/* --- what only one can have ---------------------------------------------------------------------------------- */

static void write_graphics(const cloning *c, xmlNode *graphics) {
    const char *type = libvirt_xml_attr(graphics, "type");
    const char *port = libvirt_xml_attr(graphics, "port");
    bool is_fixed = port && *port != '-' && !libvirt_xml_attr_is(graphics, "autoport", "yes");
    if (is_fixed) {
        tell(c, "its %s display gets a free port when it starts, and not %s", type ? type : "", port);
        libvirt_xml_set(graphics, "port", NULL);
        libvirt_xml_set(graphics, "tlsPort", NULL);
        libvirt_xml_set(graphics, "autoport", "yes");
    }
    libvirt_xml_set(graphics, "socket", NULL);
    LIBVIRT_XML_EACH(listen, graphics, "listen") {
        if (libvirt_xml_attr_is(listen, "type", "socket"))
            libvirt_xml_set(listen, "socket", NULL);
    }
}

static void write_channels(libvirt_build *build) {
    LIBVIRT_XML_EACH(channel, build->devices, "channel") {
        xmlNode *source = libvirt_xml_child(channel, "source");
        if (libvirt_xml_attr_is(channel, "type", "unix") && libvirt_xml_attr_is(source, "mode", "bind"))
            libvirt_xml_drop(source); /* libvirt names the socket after the VM */
    }
}

static void write_devices(cloning *c, xmlNode *old_marker) {
    LIBVIRT_XML_EACH(disk, c->build.devices, "disk") {
        write_disk(c, disk, old_marker);
    }
    size_t index = 0;
    LIBVIRT_XML_EACH(nic, c->build.devices, "interface") {
        if (index < c->plan->mac_count)
            write_nic(c, nic, &c->plan->macs[index++]);
    }
    LIBVIRT_XML_EACH(graphics, c->build.devices, "graphics") {
        write_graphics(c, graphics);
    }
    write_channels(&c->build);
    if (libvirt_serial_log_path(c->build.domain))
        libvirt_serial_write(&c->build, c->plan->serial_log);
    if (c->plan->serial_log)
        libvirt_marker_no_disk(&c->build, NULL, c->plan->serial_log, NULL);
    if (libvirt_xml_child(c->build.devices, "hostdev"))
        tell(c, "it has the same devices of the host, so that only one of the two can run at a time");
    if (libvirt_xml_attr_is(libvirt_xml_find(c->build.devices, "tpm/backend"), "type", "emulator"))
        tell(c, "its TPM is a new one: what was sealed to the original's (BitLocker, LUKS keys) does not open");
}

/* --- identity ------------------------------------------------------------------------------------------------ */

static void write_identity(cloning *c) {
    xmlNode *domain = c->build.domain;
    libvirt_xml_set_text(libvirt_xml_ensure(domain, "name"), c->plan->name);
    libvirt_xml_set_text(libvirt_xml_ensure(domain, "uuid"), c->plan->uuid);
    libvirt_xml_set(domain, "id", NULL);
    xmlNode *generation = libvirt_xml_child(domain, "genid"); /* Windows sees a copy by it */
    if (generation)
        libvirt_xml_set_text(generation, "");
    LIBVIRT_XML_EACH(sysinfo, domain, "sysinfo") {
        LIBVIRT_XML_EACH(entry, libvirt_xml_child(sysinfo, "system"), "entry") {
            if (libvirt_xml_attr_is(entry, "name", "uuid"))
                libvirt_xml_set_text(entry, c->plan->uuid); /* libvirt refuses two different ones */
        }
    }
    libvirt_xml_drop_children(libvirt_xml_child(domain, "metadata"), "snapshot"); /* of a snapshot's document */
}

/* Files of the original are none of the clone's; its labels are. *old (freed by the caller) is the marker as it was. */
static void write_marker(cloning *c, xmlNode **old) {
    xmlNode *marker = libvirt_marker_find(c->build.domain);
    *old = marker ? xmlCopyNode(marker, 1) : NULL;
    bool linked = false;
    for (size_t i = 0; i < c->plan->disk_count; i++)
        linked |= c->plan->disks[i].base != NULL;
    for (xmlNode *file = libvirt_xml_child(marker, NULL), *next; file; file = next) {
        next = libvirt_xml_next(file, NULL);
        bool is_base = libvirt_xml_is(file, "base") || libvirt_xml_attr_is(file, "base", "yes");
        if ((libvirt_xml_is(file, "file") && !(is_base && linked)) || (libvirt_xml_is(file, "base") && !linked))
            libvirt_xml_drop(file);
    }
    libvirt_marker_write(&c->build, c->plan->marker);
    libvirt_marker_key_change(&c->build, "cloudInit/hostname", c->plan->name);
    if (c->plan->serial_log)
        libvirt_marker_key(&c->build, "serial/log", c->plan->serial_log, vmc_path_basename(c->plan->serial_log));
}

int libvirt_clone_xml(xmlDoc *doc, const libvirt_clone_plan *plan, vmc_strv *told, vmctl_error **err) {
    cloning c = {.plan = plan, .told = told};
    libvirt_build_read(&c.build, doc, NULL);
    if (!libvirt_xml_child(c.build.domain, "os"))
        return vmc_error(err, VMCTL_E_INTERNAL, "the domain's XML has no <os>");
    xmlNode *old_marker = NULL;
    write_identity(&c);
    write_marker(&c, &old_marker);
    write_devices(&c, old_marker);
    write_boot(&c);
    xmlFreeNode(old_marker);
    libvirt_xml_indent(doc);
    return 0;
}

void libvirt_clone_step_aside(xmlDoc *doc, const libvirt_clone_disk *disks, size_t count) {
    libvirt_build build;
    libvirt_build_read(&build, doc, NULL);
    const libvirt_clone_plan plan = {.disks = disks, .disk_count = count};
    LIBVIRT_XML_EACH(disk, build.devices, "disk") {
        const libvirt_clone_disk *aside = disk_of(&plan, disk);
        if (!aside)
            continue;
        VMC_AUTO_FREE char *name = libvirt_name_read(build.domain, disk);
        VMC_AUTO_FREE char *was_format = vmc_strdup(libvirt_xml_attr_at(disk, "driver", "type"));
        const char *alias = libvirt_xml_attr_at(disk, "alias", "name");
        const xmlNode *file = libvirt_marker_file_of(build.domain, alias);
        VMC_AUTO_FREE char *origin = vmc_strdup(libvirt_xml_attr(file, "origin"));
        bool is_own = file != NULL;
        set_file(disk, aside->path, aside->format);
        libvirt_name_write(&build, disk, name ? name : aside->target);
        libvirt_marker_file(&build, libvirt_xml_attr_at(disk, "alias", "name"), aside->path, origin);
        note_base(&build, aside);
        /* To its spec it is the disk that it was: applying the same vm.yaml again changes nothing. */
        VMC_AUTO_FREE char *key = vmc_printf("disks/%s/format", name ? name : aside->target);
        if (is_own && was_format && strcmp(was_format, aside->format) != 0)
            libvirt_marker_key(&build, key, aside->format, was_format);
    }
    libvirt_xml_indent(doc);
}
