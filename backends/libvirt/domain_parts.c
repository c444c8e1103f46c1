/* backends/libvirt/domain_parts.c - display, serial port, agent, random numbers, watchdog and shared folders. */
#include "domain_model.h"
#include <string.h>

#define AGENT_CHANNEL "org.qemu.guest_agent.0"
#define SPICE_CHANNEL "com.redhat.spice.0"

/* --- display --------------------------------------------------------------------------------------------------- */

static xmlNode *find_graphics(const xmlNode *devices) {
    LIBVIRT_XML_EACH(graphics, devices, "graphics") {
        if (libvirt_xml_attr_is(graphics, "type", "vnc") || libvirt_xml_attr_is(graphics, "type", "spice"))
            return graphics;
    }
    return NULL;
}

static xmlNode *find_headless(const xmlNode *devices) {
    LIBVIRT_XML_EACH(graphics, devices, "graphics") {
        if (libvirt_xml_attr_is(graphics, "type", "egl-headless"))
            return graphics;
    }
    return NULL;
}

static xmlNode *find_channel(const xmlNode *devices, const char *name) {
    LIBVIRT_XML_EACH(channel, devices, "channel") {
        if (vmc_str_eq(libvirt_xml_attr_at(channel, "target", "name"), name))
            return channel;
    }
    return NULL;
}

static void write_listen(xmlNode *graphics, const char *address) {
    libvirt_xml_drop_children(graphics, "listen");
    libvirt_xml_set(graphics, "listen", address);
    libvirt_xml_set(graphics, "socket", NULL);
    libvirt_xml_add(graphics, "listen", "type", "address", "address", address, NULL);
}

static int check_display(const libvirt_build *build, const char *type, vmctl_error **err) {
    if (build->test || !build->host)
        return 0;
    if (strcmp(type, "spice") == 0 ? build->host->spice : build->host->vnc)
        return 0;
    libvirt_refuse_key(build, "display.type", VMCTL_E_UNSUPPORTED, err, "QEMU on the host is built without %s", type);
    return strcmp(type, "spice") == 0
               ? vmc_error_next(err, "take display: vnc, or install qemu-system-modules-spice on the host")
               : vmc_error_next(err, "take display: none");
}

static void write_pointer(libvirt_build *build) {
    if (libvirt_xml_child(build->devices, "input") || build->test)
        return;
    const char *bus = strcmp(build->guest, "linux") == 0 || !build->x86 ? "virtio" : "usb";
    libvirt_xml_add(build->devices, "input", "type", "tablet", "bus", bus, NULL);
    if (!build->x86)
        libvirt_xml_add(build->devices, "input", "type", "keyboard", "bus", bus, NULL);
}

static const char *default_video(const libvirt_build *build) {
    return strcmp(build->guest, "linux") == 0 || !build->x86 ? "virtio" : "vga";
}

static void write_video(libvirt_build *build, const char *model) {
    xmlNode *video = libvirt_xml_child(build->devices, "video");
    xmlNode *now = libvirt_xml_child(video, "model");
    if (now && libvirt_xml_attr_is(now, "type", model))
        return;
    libvirt_xml_drop_children(build->devices, "video"); /* memory sizes and the slot belong to the old card */
    libvirt_xml_add(libvirt_xml_add(build->devices, "video", NULL), "model", "type", model, NULL);
}

static int write_gl(libvirt_build *build, bool on, vmctl_error **err) {
    xmlNode *model = libvirt_xml_find(build->devices, "video/model");
    if (on && !libvirt_xml_attr_is(model, "type", "virtio"))
        return libvirt_refuse_key(build, "display.gl", VMCTL_E_UNSUPPORTED, err,
                                  "3D by the host's GPU needs display.video: virtio");
    if (on == (find_headless(build->devices) != NULL))
        return 0;
    libvirt_xml_drop_children(model, "acceleration");
    if (on) {
        libvirt_xml_add(model, "acceleration", "accel3d", "yes", NULL);
        libvirt_xml_add(build->devices, "graphics", "type", "egl-headless", NULL);
    } else {
        libvirt_xml_drop(find_headless(build->devices));
    }
    return 0;
}

static int no_display(libvirt_build *build, const cJSON *display, vmctl_error **err) {
    if (vmc_json_boolean(display, "gl", false))
        return libvirt_refuse_key(build, "display.gl", VMCTL_E_INVALID_SPEC, err, "there is no display to draw on");
    xmlNode *graphics;
    while ((graphics = find_graphics(build->devices)) != NULL)
        libvirt_xml_drop(graphics);
    libvirt_xml_drop(find_headless(build->devices));
    libvirt_xml_drop(find_channel(build->devices, SPICE_CHANNEL));
    libvirt_xml_drop_children(build->devices, "redirdev"); /* they are spice's */
    const char *video = vmc_json_string(display, "video", NULL);
    if (video)
        write_video(build, video);
    else if (!build->test)
        write_video(build, "none");
    return 0;
}

int libvirt_display_write(libvirt_build *build, const cJSON *display, vmctl_error **err) {
    xmlNode *graphics = find_graphics(build->devices);
    const char *now = libvirt_xml_attr(graphics, "type");
    const char *type = vmc_json_string(display, "type", now ? now : "vnc");
    if (strcmp(type, "none") == 0)
        return no_display(build, display, err);
    int code = vmc_str_eq(type, now) ? 0 : check_display(build, type, err);
    if (code < 0)
        return code;
    const char *listen = vmc_json_string(display, "listen", NULL);
    if (!vmc_str_eq(type, now)) {
        bool none = vmc_str_eq(libvirt_xml_attr_at(build->devices, "video/model", "type"), "none");
        libvirt_xml_drop(graphics);
        libvirt_xml_drop(find_channel(build->devices, SPICE_CHANNEL));
        libvirt_xml_drop_children(build->devices, "redirdev");
        graphics = libvirt_xml_add(build->devices, "graphics", "type", type, "port", "-1", "autoport", "yes", NULL);
        write_listen(graphics, listen ? listen : "127.0.0.1");
        if (none)
            libvirt_xml_drop_children(build->devices, "video");
        if (strcmp(type, "spice") == 0 && !build->test) {
            xmlNode *channel = libvirt_xml_add(build->devices, "channel", "type", "spicevmc", NULL);
            libvirt_xml_add(channel, "target", "type", "virtio", "name", SPICE_CHANNEL, NULL);
        }
        write_pointer(build);
    } else if (listen && !libvirt_xml_attr_is(graphics, "listen", listen)) {
        write_listen(graphics, listen);
    }
    const char *video = vmc_json_string(display, "video", NULL);
    if (video || !libvirt_xml_child(build->devices, "video"))
        write_video(build, video ? video : default_video(build));
    const cJSON *gl = vmc_json_key(display, "gl");
    return gl && !build->test ? write_gl(build, cJSON_IsTrue(gl), err) : 0;
}

static void read_display(const xmlNode *devices, cJSON *spec) {
    cJSON *display = cJSON_AddObjectToObject(spec, "display");
    const xmlNode *graphics = find_graphics(devices);
    const char *type = libvirt_xml_attr(graphics, "type");
    const char *video = libvirt_xml_attr_at(devices, "video/model", "type");
    const char *listen = libvirt_xml_attr(graphics, "listen");
    cJSON_AddStringToObject(display, "type", type ? type : "none");
    if (video)
        cJSON_AddStringToObject(display, "video", video);
    if (graphics && video && strcmp(video, "virtio") == 0)
        cJSON_AddBoolToObject(display, "gl", find_headless(devices) != NULL);
    if (!listen)
        listen = libvirt_xml_attr_at(graphics, "listen", "address");
    if (listen && *listen)
        cJSON_AddStringToObject(display, "listen", listen);
}

/* --- serial port ----------------------------------------------------------------------------------------------- */

void libvirt_console_add(libvirt_build *build) {
    if (build->test) {
        libvirt_xml_add(libvirt_xml_add(build->devices, "console", "type", "pty", NULL), "target", "type", "serial",
                        "port", "0", NULL);
        return;
    }
    xmlNode *serial = libvirt_xml_add(build->devices, "serial", "type", "pty", NULL);
    libvirt_xml_add(serial, "target", "port", "0", NULL);
    xmlNode *console = libvirt_xml_add(build->devices, "console", "type", "pty", NULL);
    libvirt_xml_add(console, "target", "type", "serial", "port", "0", NULL);
}

void libvirt_serial_write(libvirt_build *build, const char *log) {
    xmlNode *serial = libvirt_xml_child(build->devices, "serial");
    if (!serial && log && !build->test) {
        libvirt_console_add(build);
        serial = libvirt_xml_child(build->devices, "serial");
    }
    /* The first console is the same port again; libvirt takes its log from the serial element. */
    libvirt_xml_drop_children(libvirt_xml_child(build->devices, "console"), "log");
    libvirt_xml_drop_children(serial, "log");
    if (serial && log)
        libvirt_xml_add(serial, "log", "file", log, "append", "on", NULL);
}

const char *libvirt_serial_log_path(const xmlNode *domain) {
    const xmlNode *devices = libvirt_xml_child(domain, "devices");
    const char *path = libvirt_xml_attr_at(devices, "serial/log", "file");
    return path ? path : libvirt_xml_attr_at(devices, "console/log", "file");
}

/* --- agent, random numbers, watchdog --------------------------------------------------------------------------- */

void libvirt_agent_write(libvirt_build *build, bool on) {
    xmlNode *channel = find_channel(build->devices, AGENT_CHANNEL);
    if (on && !channel) {
        channel = libvirt_xml_add(build->devices, "channel", "type", "unix", NULL);
        libvirt_xml_add(channel, "target", "type", "virtio", "name", AGENT_CHANNEL, NULL);
    } else if (!on) {
        libvirt_xml_drop(channel);
    }
}

void libvirt_rng_write(libvirt_build *build, bool on) {
    if (on && !libvirt_xml_child(build->devices, "rng")) {
        xmlNode *rng = libvirt_xml_add(build->devices, "rng", "model", "virtio", NULL);
        libvirt_xml_set(libvirt_xml_add_text(rng, "backend", "/dev/urandom"), "model", "random");
    } else if (!on) {
        libvirt_xml_drop_children(build->devices, "rng");
    }
}

/* The itco that libvirt (9.1 and newer) shows is part of every q35 board and is not the one that was asked for. */
static xmlNode *find_watchdog(const xmlNode *devices) {
    xmlNode *watchdog = libvirt_xml_child(devices, "watchdog");
    while (watchdog && libvirt_xml_attr_is(watchdog, "model", "itco"))
        watchdog = libvirt_xml_next(watchdog, "watchdog");
    return watchdog;
}

void libvirt_watchdog_write(libvirt_build *build, const char *action) {
    xmlNode *watchdog = find_watchdog(build->devices);
    if (!action || strcmp(action, "none") == 0)
        libvirt_xml_drop(watchdog);
    else if (watchdog)
        libvirt_xml_set(watchdog, "action", action);
    else
        libvirt_xml_add(build->devices, "watchdog", "model", "i6300esb", "action", action, NULL);
}

void libvirt_parts_read(const xmlNode *domain, cJSON *spec) {
    const xmlNode *devices = libvirt_xml_child(domain, "devices");
    read_display(devices, spec);
    const char *log = libvirt_serial_log_path(domain);
    if (log)
        cJSON_AddStringToObject(cJSON_AddObjectToObject(spec, "serial"), "log", log);
    cJSON_AddBoolToObject(spec, "guestAgent", find_channel(devices, AGENT_CHANNEL) != NULL);
    cJSON_AddBoolToObject(spec, "rng", libvirt_xml_child(devices, "rng") != NULL);
    const xmlNode *watchdog = find_watchdog(devices);
    const char *action = libvirt_xml_attr(watchdog, "action");
    if (!watchdog || vmc_str_eq(action, "reset") || vmc_str_eq(action, "poweroff") || vmc_str_eq(action, "pause"))
        cJSON_AddStringToObject(spec, "watchdog", watchdog ? action : "none");
}

/* --- shared folders -------------------------------------------------------------------------------------------- */

enum { VIRTIOFS_TAG_LONGEST = 36, P9_TAG_LONGEST = 31 };

static bool host_has_virtiofs(const libvirt_build *build) {
    bool session = build->plan && build->plan->session;
    return build->test || !build->host ||
           (build->host->virtiofs && (!session || build->host->libvirt_version >= 10000000ul));
}

static int write_share(libvirt_build *build, xmlNode *share, const cJSON *item, vmctl_error **err) {
    const char *name = vmc_json_string(item, "name", "");
    const char *type = vmc_json_string(item, "type", host_has_virtiofs(build) ? "virtiofs" : "9p");
    bool virtiofs = strcmp(type, "virtiofs") == 0, readonly = vmc_json_boolean(item, "readonly", false);
    VMC_AUTO_FREE char *path = vmc_printf("shares.%s", name);
    size_t longest = virtiofs ? VIRTIOFS_TAG_LONGEST : P9_TAG_LONGEST;
    if (strlen(name) > longest)
        return libvirt_refuse_key(build, path, VMCTL_E_INVALID_SPEC, err, "a %s tag has at most %zu bytes", type,
                                  longest);
    if (!vmc_json_key(item, "path"))
        return libvirt_refuse_key(build, path, VMCTL_E_INVALID_SPEC, err, "say which folder in path");
    if (virtiofs && !host_has_virtiofs(build)) {
        libvirt_refuse_key(build, path, VMCTL_E_UNSUPPORTED, err, "the host cannot share by virtiofs%s",
                           build->plan && build->plan->session ? " in a session before libvirt 10.0" : "");
        return vmc_error_next(err, "take type: 9p, or install virtiofsd on the hypervisor's host");
    }
    if (virtiofs && readonly && !build->test && build->host && build->host->libvirt_version < 11000000ul)
        return libvirt_refuse_key(build, path, VMCTL_E_UNSUPPORTED, err,
                                  "a virtiofs share is read-only from libvirt 11.0 on only; take type: 9p");
    libvirt_xml_set(share, "accessmode", virtiofs ? "passthrough" : "mapped");
    xmlNode *driver = libvirt_xml_ensure(share, "driver");
    libvirt_xml_set(driver, "type", virtiofs ? "virtiofs" : "path");
    libvirt_xml_set(libvirt_xml_ensure(share, "source"), "dir", vmc_json_string(item, "path", ""));
    libvirt_xml_set(libvirt_xml_ensure(share, "target"), "dir", name);
    libvirt_xml_drop_children(share, "readonly");
    if (readonly)
        libvirt_xml_add(share, "readonly", NULL);
    if (virtiofs && !build->test)
        libvirt_memory_share(build);
    return 0;
}

int libvirt_share_add(libvirt_build *build, const cJSON *item, xmlNode **out, vmctl_error **err) {
    xmlNode *share = libvirt_xml_add(build->devices, "filesystem", "type", "mount", NULL);
    int code = write_share(build, share, item, err);
    if (code < 0) {
        libvirt_xml_drop(share);
        return code;
    }
    VMC_AUTO_FREE char *alias = libvirt_alias(vmc_json_string(item, "name", ""));
    libvirt_xml_add(share, "alias", "name", alias, NULL);
    if (out)
        *out = share;
    return 0;
}

int libvirt_share_change(libvirt_build *build, xmlNode *share, const cJSON *item, vmctl_error **err) {
    return write_share(build, share, item, err);
}

cJSON *libvirt_share_read(const xmlNode *domain, const xmlNode *share) {
    const char *type = libvirt_xml_attr(share, "type"), *dir = libvirt_xml_attr_at(share, "source", "dir");
    const char *driver = libvirt_xml_attr_at(share, "driver", "type");
    VMC_AUTO_FREE char *name = libvirt_name_read(domain, share);
    if (!name || !dir || (type && strcmp(type, "mount") != 0))
        return NULL;
    cJSON *item = cJSON_CreateObject();
    cJSON_AddStringToObject(item, "name", name);
    cJSON_AddStringToObject(item, "path", dir);
    cJSON_AddStringToObject(item, "type", vmc_str_eq(driver, "virtiofs") ? "virtiofs" : "9p");
    cJSON_AddBoolToObject(item, "readonly", libvirt_xml_child(share, "readonly") != NULL);
    return item;
}
