/* USB devices of the host in a VM. */
#include "usb.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- names -------------------------------------------------------------------------------------------------------- */

/* As vm.yaml has them. */
static bool can_be_name(const char *text) {
    size_t length = text ? strlen(text) : 0;
    return length > 0 && length <= 255 && *text != '-' && !strchr(text, '/') && strcmp(text, ".") != 0 &&
           strcmp(text, "..") != 0 && !isspace((unsigned char)*text) && !isspace((unsigned char)text[length - 1]);
}

char *virtualbox_usb_name(const vboxmanage_machine *m, size_t filter) {
    const char *own = m->usb_filters[filter].values[VBOXMANAGE_USB_NAME];
    bool fits = can_be_name(own);
    for (size_t i = 0; fits && i < filter; i++)
        fits = !vmc_str_eq(m->usb_filters[i].values[VBOXMANAGE_USB_NAME], own);
    return fits ? vmc_strdup(own) : vmc_printf("usb-filter-%zu", filter);
}

size_t virtualbox_usb_named(const vboxmanage_machine *m, const char *name) {
    for (size_t i = 0; i < m->usb_filter_count; i++) {
        VMC_AUTO_FREE char *its = virtualbox_usb_name(m, i);
        if (strcmp(its, name) == 0)
            return i;
    }
    return m->usb_filter_count;
}

char *virtualbox_usb_ids(const vboxmanage_usb_filter *filter) {
    unsigned vendor = 0;
    unsigned product = 0;
    return vboxmanage_usb_filter_ids(filter, &vendor, &product) ? vmc_printf("%04x:%04x", vendor, product) : NULL;
}

char *virtualbox_usb_device_ids(const vboxmanage_usb_device *device) {
    return vmc_printf("%04x:%04x", device->vendor, device->product);
}

static bool lets_in(const vboxmanage_usb_filter *filter, const vboxmanage_usb_device *device) {
    unsigned vendor = 0;
    unsigned product = 0;
    const char *serial = filter->values[VBOXMANAGE_USB_SERIAL];
    return vboxmanage_usb_filter_ids(filter, &vendor, &product) && vendor == device->vendor &&
           product == device->product && (!serial || vmc_str_eq(serial, device->serial));
}

char *virtualbox_usb_stray_name(const vboxmanage_machine *m, const vboxmanage_usb_device *device) {
    for (size_t i = 0; i < m->usb_filter_count; i++)
        if (lets_in(&m->usb_filters[i], device))
            return NULL;
    return vmc_printf("usb-%04x-%04x", device->vendor, device->product);
}

static char *place_of(const char *name) {
    return vmc_printf("usb-%s", name);
}

cJSON *virtualbox_usb_json(const vboxmanage_machine *m, const cJSON *marker, size_t filter) {
    const vboxmanage_usb_filter *from = &m->usb_filters[filter];
    VMC_AUTO_FREE char *ids = virtualbox_usb_ids(from);
    if (!ids || vmc_str_eq(from->values[VBOXMANAGE_USB_ACTIVE], "no") ||
        vmc_str_eq(from->values[VBOXMANAGE_USB_REMOTE], "yes"))
        return NULL;
    VMC_AUTO_FREE char *name = virtualbox_usb_name(m, filter);
    VMC_AUTO_FREE char *place = place_of(name);
    const char *address = virtualbox_marker_type(marker, place);
    cJSON *item = cJSON_CreateObject();
    cJSON_AddStringToObject(item, "name", name);
    cJSON_AddStringToObject(item, address ? "address" : "device", address ? address : ids);
    return item;
}

/* --- the host's devices -------------------------------------------------------------------------------------------- */

int virtualbox_usb_check(const virtualbox_scene *scene, vboxmanage_usb_devices *devices, vmctl_error **err) {
    VBOXMANAGE_AUTO_USB_DEVICES ignored = {0};
    bool up = virtualbox_is_up(scene->state);
    VMC_AUTO_FREE char *later = virtualbox_change_later(scene->vm->name);
    if (scene->machine->state_file) {
        vmc_error(err, VMCTL_E_INVALID_STATE, VIRTUALBOX_SAVED_OBSTACLE);
        return vmc_error_next(err, "%s", later);
    }
    if (up && !scene->machine->usb) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "the VM was started without a USB controller");
        return vmc_error_next(err, "%s", later);
    }
    return vboxmanage_usb_list(scene->conn->manage, scene->deadline, devices ? devices : &ignored, err);
}

static bool is_meant(const vboxmanage_usb_device *device, const vmctl_node *item) {
    const char *address = vmctl_node_string(item, "address", NULL);
    unsigned first = 0;
    unsigned second = 0;
    if (address)
        return sscanf(address, "%u:%u", &first, &second) == 2 && device->bus == first && device->number == second;
    return sscanf(vmctl_node_string(item, "device", ""), "%x:%x", &first, &second) == 2 && device->vendor == first &&
           device->product == second;
}

/* The one device that an item of usb: means. NOT_FOUND, AMBIGUOUS. */
static int find(const vboxmanage_usb_devices *devices, const vmctl_node *item, const vboxmanage_usb_device **out,
                vmctl_error **err) {
    const char *address = vmctl_node_string(item, "address", NULL);
    const char *what = address ? address : vmctl_node_string(item, "device", "");
    *out = NULL;
    for (size_t i = 0; i < devices->count; i++) {
        if (!is_meant(&devices->items[i], item))
            continue;
        if (*out) {
            vmc_refuse(err, VMCTL_E_AMBIGUOUS, item, "the host has several USB devices %s", what);
            return vmc_error_next(err, "say which by address: BUS:DEVICE, as lsusb shows it");
        }
        *out = &devices->items[i];
    }
    if (*out)
        return 0;
    vmc_refuse(err, VMCTL_E_NOT_FOUND, item, "the host has no USB device %s that VirtualBox sees", what);
    return vmc_error_next(err,
                          "lsusb shows the host's devices, VBoxManage list usbhost those that VirtualBox sees: the "
                          "user must be in the group vboxusers");
}

/* Whether it can come to a VM now. */
static int check_free(const vboxmanage_usb_device *device, const vmctl_node *item, vmctl_error **err) {
    VMC_AUTO_FREE char *ids = virtualbox_usb_device_ids(device);
    if (strcmp(device->state, "Captured") == 0) {
        vmc_refuse(err, VMCTL_E_BUSY, item, "another VM has the USB device %s", ids);
        return vmc_error_next(err, "detach it there first (vmctl list, vmctl device list VM)");
    }
    if (strcmp(device->state, "Unavailable") == 0 || strcmp(device->state, "Not supported") == 0) {
        vmc_refuse(err, VMCTL_E_BUSY, item, "the host does not give the USB device %s away: it is %s there", ids,
                   strcmp(device->state, "Unavailable") == 0 ? "in use" : "not supported");
        return vmc_error_next(err, "let go of it on the host first (unmount it, unload its driver)");
    }
    return 0;
}

/* --- filters --------------------------------------------------------------------------------------------------------- */

/* The filter of an item; with an address of the device that is there. vboxmanage_usb_filter_clear in every case. */
static int filter_of(const vboxmanage *manage, const vmc_deadline *deadline, vboxmanage_usb_devices *devices,
                     const vmctl_node *item, vboxmanage_usb_filter *out, vmctl_error **err) {
    const char *ids = vmctl_node_string(item, "device", NULL);
    const vboxmanage_usb_device *device = NULL;
    *out = (vboxmanage_usb_filter){{NULL}};
    if (!ids) {
        int code = devices->count ? 0 : vboxmanage_usb_list(manage, deadline, devices, err);
        if (code == 0)
            code = find(devices, item, &device, err);
        if (code < 0 || !device)
            return code;
        out->values[VBOXMANAGE_USB_SERIAL] = vmc_strdup(device->serial);
        out->values[VBOXMANAGE_USB_PORT] = device->port ? vmc_printf("%x", device->port) : NULL;
    }
    unsigned vendor = device ? device->vendor : 0;
    unsigned product = device ? device->product : 0;
    if (ids)
        sscanf(ids, "%x:%x", &vendor, &product);
    out->values[VBOXMANAGE_USB_NAME] = vmc_strdup(vmctl_node_string(item, "name", ""));
    out->values[VBOXMANAGE_USB_VENDOR] = vmc_printf("%04x", vendor);
    out->values[VBOXMANAGE_USB_PRODUCT] = vmc_printf("%04x", product);
    return 0;
}

static void note_address(cJSON *marker, const vmctl_node *item) {
    const char *name = vmctl_node_string(item, "name", "");
    const char *address = vmctl_node_string(item, "address", NULL);
    VMC_AUTO_FREE char *place = place_of(name);
    virtualbox_marker_device(marker, place, address ? name : NULL, address);
}

/* A VM that has a filter and gets nothing would be a riddle. */
static void warn(const vboxmanage *manage, vboxmanage_usb_devices *devices, const vmc_deadline *deadline) {
    vmctl_error *why = NULL;
    if (devices->count == 0 && vboxmanage_usb_list(manage, deadline, devices, &why) < 0)
        vmc_note(deadline, VMCTL_NOTE_WARNING, "the VM gets no USB devices for now: %s", vmctl_error_message(why));
    vmctl_error_free(why);
}

int virtualbox_plan_usb(virtualbox_planning *p, vmctl_error **err) {
    const vmctl_node *items = vmctl_node_get(p->root, "usb");
    VBOXMANAGE_AUTO_USB_DEVICES devices = {0};
    int code = 0;
    for (size_t i = 0; code == 0 && i < vmctl_node_count(items); i++) {
        const vmctl_node *item = vmctl_node_at(items, i);
        vboxmanage_usb_filter filter = {{NULL}};
        code = filter_of(p->conn->manage, p->deadline, &devices, item, &filter, err);
        if (code == 0) {
            vboxmanage_usb_filter_add(virtualbox_plan_command(p->plan), i, p->plan->id, &filter);
            if (vmctl_node_get(item, "address"))
                note_address(p->plan->marker, item);
        }
        vboxmanage_usb_filter_clear(&filter);
    }
    if (code == 0 && vmctl_node_count(items) > 0)
        warn(p->conn->manage, &devices, p->deadline);
    return code;
}

/* --- changes ---------------------------------------------------------------------------------------------------------- */

/* Where the filters are by the time that what is planned so far was done, by their names. */
static vmc_strv *planned(virtualbox_changing *ch) {
    const vboxmanage_machine *m = ch->scene.machine;
    if (!ch->usb_begun)
        for (size_t i = 0; i < m->usb_filter_count; i++)
            vmc_strv_take(&ch->usb_filters, virtualbox_usb_name(m, i));
    ch->usb_begun = true;
    return &ch->usb_filters;
}

static size_t position_of(virtualbox_changing *ch, const char *name) {
    const vmc_strv *now = planned(ch);
    size_t at = 0;
    while (at < now->count && strcmp(now->items[at], name) != 0)
        at++;
    return at;
}

static void say_remove(vmc_strv *argv, size_t position, const char *vm) {
    virtualbox_words(argv, "usbfilter", "remove", NULL, NULL);
    vmc_strv_printf(argv, "%zu", position);
    virtualbox_words(argv, "--target", vm, NULL, NULL);
}

static void plug(virtualbox_changing *ch, const char *device, bool in) {
    virtualbox_order *order = virtualbox_order_add(ch);
    virtualbox_words(&order->argv, "controlvm", ch->scene.vm->id, in ? "usbattach" : "usbdetach", device);
    virtualbox_words(&order->back, "controlvm", ch->scene.vm->id, in ? "usbdetach" : "usbattach", device);
}

static bool runs(const virtualbox_changing *ch) {
    return ch->fixed && !ch->scene.machine->state_file;
}

int virtualbox_usb_settle(virtualbox_changing *ch, virtualbox_step *step, vmctl_error **err) {
    const vmctl_node *item = step->change->want;
    const vboxmanage_usb_device *device = NULL;
    vmctl_error *why = NULL;
    if (step->kind != VIRTUALBOX_STEP_ADD) {
        if (step->kind != VIRTUALBOX_STEP_REMOVE) {
            step->effect = VMCTL_EFFECT_AT_RESTART;
            step->why = vmc_strdup(VIRTUALBOX_FIXED_OBSTACLE);
        }
        return 0;
    }
    int code = virtualbox_usb_check(&ch->scene, &ch->usb_host, &why);
    if (code == 0) {
        code = find(&ch->usb_host, item, &device, err);
        return code < 0 ? code : check_free(device, item, err);
    }
    bool waits = code == VMCTL_E_INVALID_STATE || code == VMCTL_E_UNSUPPORTED || code == VMCTL_E_PERMISSION_DENIED;
    /* A filter of ids can wait for better times; an address is that of a device which is there now. */
    if (ch->live || !waits || (vmctl_node_get(item, "address") && code != VMCTL_E_INVALID_STATE)) {
        vmc_error_move(err, &why);
        return code;
    }
    step->effect = VMCTL_EFFECT_AT_RESTART;
    step->why = vmc_strdup(vmctl_error_message(why));
    vmctl_error_free(why);
    return 0;
}

int virtualbox_usb_add(virtualbox_changing *ch, const virtualbox_step *step, vmctl_error **err) {
    const vmctl_node *item = step->change->want;
    const vboxmanage_usb_device *device = NULL;
    vboxmanage_usb_filter filter = {{NULL}};
    if (step->effect != VMCTL_EFFECT_NOW)
        return 0;
    int code = filter_of(ch->scene.conn->manage, ch->scene.deadline, &ch->usb_host, item, &filter, err);
    if (code == 0 && runs(ch))
        code = find(&ch->usb_host, item, &device, err);
    if (code == 0) {
        size_t position = planned(ch)->count;
        virtualbox_order *order = virtualbox_order_add(ch);
        vboxmanage_usb_filter_add(&order->argv, position, ch->scene.vm->id, &filter);
        say_remove(&order->back, position, ch->scene.vm->id);
        vmc_strv_add(&ch->usb_filters, vmctl_node_string(item, "name", ""));
        if (vmctl_node_get(item, "address"))
            note_address(ch->files.marker, item);
        if (device)
            plug(ch, device->id, true);
        else
            warn(ch->scene.conn->manage, &ch->usb_host, ch->scene.deadline);
        if (!device && !ch->scene.machine->usb && !vmc_strv_has(&ch->p.modify, "--usbxhci")) {
            virtualbox_words(&ch->p.modify, "--usbxhci", "on", NULL, NULL);
            virtualbox_words(&ch->modify_back, "--usbxhci", "off", NULL, NULL);
        }
    }
    vboxmanage_usb_filter_clear(&filter);
    return code;
}

bool virtualbox_usb_remove(virtualbox_changing *ch, const virtualbox_step *step) {
    const vboxmanage_machine *m = ch->scene.machine;
    size_t filter = virtualbox_usb_named(m, step->name);
    bool found = false;
    for (size_t i = 0; i < ch->scene.usb.count; i++) {
        const vboxmanage_usb_device *device = &ch->scene.usb.items[i];
        VMC_AUTO_FREE char *stray = virtualbox_usb_stray_name(m, device);
        if (filter < m->usb_filter_count ? !lets_in(&m->usb_filters[filter], device) : !vmc_str_eq(stray, step->name))
            continue;
        if (step->effect == VMCTL_EFFECT_NOW)
            plug(ch, device->id, false);
        found = true;
    }
    if (filter == m->usb_filter_count)
        return found;
    if (step->effect != VMCTL_EFFECT_NOW)
        return true;
    size_t position = position_of(ch, step->name);
    virtualbox_order *order = virtualbox_order_add(ch);
    say_remove(&order->argv, position, ch->scene.vm->id);
    vboxmanage_usb_filter_add(&order->back, position, ch->scene.vm->id, &m->usb_filters[filter]);
    free(ch->usb_filters.items[position]);
    memmove(&ch->usb_filters.items[position], &ch->usb_filters.items[position + 1],
            (ch->usb_filters.count - position) * sizeof(char *)); /* with the NULL at its end */
    ch->usb_filters.count--;
    VMC_AUTO_FREE char *place = place_of(step->name);
    virtualbox_marker_device(ch->files.marker, place, NULL, NULL);
    return true;
}

int virtualbox_usb_change(virtualbox_changing *ch, virtualbox_step *step, vmctl_error **err) {
    const vboxmanage_machine *m = ch->scene.machine;
    size_t which = virtualbox_usb_named(m, step->name);
    VMC_AUTO_FREE char *path = vmc_printf("usb.%s", step->name);
    const vmctl_node *item = vmctl_node_get(ch->p.root, path);
    vboxmanage_usb_filter filter = {{NULL}};
    if (which == m->usb_filter_count || !item)
        return vmc_error(err, VMCTL_E_NOT_FOUND, "%s has no USB device %s", ch->scene.vm->name, step->name);
    for (size_t i = 0; i < ch->count && &ch->steps[i] != step; i++)
        if (ch->steps[i].made && vmc_str_eq(ch->steps[i].name, step->name))
            return 0; /* with that one: an address in place of ids is two steps */
    step->made = true;
    int code = filter_of(ch->scene.conn->manage, ch->scene.deadline, &ch->usb_host, item, &filter, err);
    if (code == 0) {
        size_t position = position_of(ch, step->name);
        virtualbox_order *order = virtualbox_order_add(ch);
        say_remove(&order->argv, position, ch->scene.vm->id);
        vboxmanage_usb_filter_add(&order->back, position, ch->scene.vm->id, &m->usb_filters[which]);
        order = virtualbox_order_add(ch);
        vboxmanage_usb_filter_add(&order->argv, position, ch->scene.vm->id, &filter);
        say_remove(&order->back, position, ch->scene.vm->id);
        note_address(ch->files.marker, item);
    }
    vboxmanage_usb_filter_clear(&filter);
    return code;
}
