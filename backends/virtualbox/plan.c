/* A spec as what VBoxManage is told. */
#include "plan_parts.h"
#include "usb.h"

#include "base/random.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

vmc_strv *virtualbox_plan_command(virtualbox_plan *plan) {
    plan->commands = vmc_realloc(plan->commands, plan->command_count + 1, sizeof *plan->commands);
    plan->commands[plan->command_count] = (vmc_strv){0};
    return &plan->commands[plan->command_count++];
}

void virtualbox_add(vmc_strv *to, const char *a, const char *b) {
    vmc_strv_add(to, a);
    if (b)
        vmc_strv_add(to, b);
}

virtualbox_file *virtualbox_plan_file(virtualbox_plan *plan, virtualbox_file_kind kind, const char *device,
                                      char *path) {
    plan->files = vmc_realloc(plan->files, plan->file_count + 1, sizeof *plan->files);
    virtualbox_file *file = &plan->files[plan->file_count++];
    *file = (virtualbox_file){.kind = kind, .device = vmc_strdup(device), .path = path};
    virtualbox_marker_file(plan->marker, vmc_path_basename(path));
    return file;
}

void virtualbox_plan_drop_files(virtualbox_plan *plan, size_t count) {
    cJSON *names = cJSON_GetObjectItemCaseSensitive(plan->marker, "files");
    while (plan->file_count > count) {
        virtualbox_file *file = &plan->files[--plan->file_count];
        cJSON_DeleteItemFromArray(names, cJSON_GetArraySize(names) - 1);
        free(file->device);
        free(file->path);
        free(file->source);
        free(file->format);
    }
}

void virtualbox_say_numbered(vmc_strv *argv, const char *option, unsigned slot, const char *value) {
    vmc_strv_printf(argv, "%s%u", option, slot + 1);
    vmc_strv_add(argv, value);
}

/* --- the name, the folder -------------------------------------------------------------------------------------- */

int virtualbox_machine_folder(virtualbox_conn *conn, const vboxmanage_registry *registry, const vmc_deadline *deadline,
                              char **out, vmctl_error **err) {
    if (registry->machine_folder) {
        *out = vmc_strdup(registry->machine_folder);
        return 0;
    }
    VMC_AUTO_FREE char *text = NULL;
    int code = virtualbox_say(conn, NULL, "asking for the folder of VMs", deadline, &text, err, "list",
                              "systemproperties", NULL);
    if (code < 0)
        return code;
    VBOXMANAGE_AUTO_PROPERTIES properties = {0};
    vboxmanage_parse_records(text, &properties);
    const char *folder = vboxmanage_property_get(&properties, "Default machine folder");
    if (!folder) {
        vmc_error(err, VMCTL_E_INTERNAL, "VBoxManage does not tell where VMs are made");
        return VMCTL_E_INTERNAL;
    }
    *out = vmc_strdup(folder);
    return 0;
}

/* One code point of UTF-8; its length in bytes, 1 for a byte that begins none. */
static size_t code_point(const char *text, unsigned *out) {
    const unsigned char *c = (const unsigned char *)text;
    size_t length = *c < 0x80 ? 1 : *c >= 0xf0 ? 4 : *c >= 0xe0 ? 3 : *c >= 0xc0 ? 2 : 1;
    unsigned value = length == 1 ? *c : *c & (0xffu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if ((c[i] & 0xc0) != 0x80) {
            *out = 0;
            return 1;
        }
        value = value << 6 | (c[i] & 0x3fu);
    }
    *out = value;
    return length;
}

static bool is_kept(unsigned c) {
    return c == ' ' || c == '(' || c == ')' || c == '-' || c == '.' || (c >= '0' && c <= '9') ||
           (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || (c >= 0xa0 && c <= 0xd7af);
}

/* As VirtualBox makes a folder's name of a VM's (sanitiseMachineFilename of VirtualBoxImpl.cpp): every byte of another character becomes "_",
 * so do a dot or dash at the beginning, a dot at the end, and spaces at either. */
char *virtualbox_folder_of(const char *machines, const char *name) {
    char *folder = vmc_printf("%s/%s", machines, name);
    char *begin = folder + strlen(machines) + 1;
    size_t length = 0;
    for (char *c = begin; *c; c += length) {
        unsigned point = 0;
        length = code_point(c, &point);
        if (!is_kept(point))
            memset(c, '_', length);
    }
    if (*begin == '.' || *begin == '-')
        *begin = '_';
    char *last = folder + strlen(folder) - 1;
    if (last > begin && *last == '.')
        *last = '_';
    for (char *c = begin; *c == ' '; c++)
        *c = '_';
    for (char *c = last; c > begin && *c == ' '; c--)
        *c = '_';
    return folder;
}

int virtualbox_check_new(const virtualbox_conn *conn, const vboxmanage_registry *registry, const char *name,
                         const char *folder, const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_STRV names = {0};
    int code = vboxmanage_names_read(conn->manage, registry, deadline, &names, err);
    if (code < 0)
        return code;
    for (size_t i = 0; i < names.count; i++) {
        if (strcmp(names.items[i], name) == 0) {
            vmc_error(err, VMCTL_E_ALREADY_EXISTS, "there is a VM of the name %s already", name);
            return vmc_error_next(err, "choose another name, or vmctl apply to change that VM");
        }
    }
    if (vboxmanage_file_exists(conn->manage, folder, deadline)) {
        vmc_error(err, VMCTL_E_ALREADY_EXISTS, "the folder %s is in the way", folder);
        return vmc_error_next(err, "look what is in it and move it away, or choose another name");
    }
    return 0;
}

static int plan_all(virtualbox_planning *p, const vmctl_marker *marker, vmctl_error **err) {
    virtualbox_plan *plan = p->plan;
    plan->name = vmc_strdup(vmctl_spec_name(p->spec));
    vmc_uuid_new(plan->id);
    int code = virtualbox_machine_folder(p->conn, p->registry, p->deadline, &p->machines, err);
    if (code < 0)
        return code;
    plan->folder = virtualbox_folder_of(p->machines, plan->name);
    code = virtualbox_check_new(p->conn, p->registry, plan->name, plan->folder, p->deadline, err);
    if (code < 0)
        return code;
    plan->marker = virtualbox_marker_new(marker);
    cJSON *labels = vmc_json_of_node(vmctl_node_get(p->root, "labels"));
    if (labels)
        vmc_json_put(plan->marker, "labels", labels);
    virtualbox_add(&p->modify, "modifyvm", plan->id);
    code = virtualbox_plan_disks(p, err);
    if (code == 0)
        code = virtualbox_plan_networks(p, err);
    if (code == 0)
        code = virtualbox_plan_machine(p, err);
    if (code < 0)
        return code;
    size_t modify_at = plan->command_count;
    virtualbox_plan_command(plan);
    virtualbox_plan_own_section(p);
    plan->commands[modify_at] = p->modify;
    p->modify = (vmc_strv){0};
    if (vmctl_node_boolean(p->root, "firmware.secureBoot", false))
        virtualbox_plan_secure_boot(p);
    virtualbox_plan_controllers(p);
    virtualbox_plan_growth(plan);
    virtualbox_plan_shares(p);
    return virtualbox_plan_usb(p, err);
}

int virtualbox_plan_make(virtualbox_conn *conn, const vmctl_spec *spec, const vmctl_marker *marker,
                         const vmc_deadline *deadline, virtualbox_plan *out, vmctl_error **err) {
    vboxmanage_registry registry = {0};
    virtualbox_planning p = {
        .conn = conn, .spec = spec, .root = vmctl_spec_root(spec), .deadline = deadline, .plan = out};
    int code = virtualbox_registry(conn, deadline, &registry, err);
    p.registry = &registry;
    if (code == 0)
        code = plan_all(&p, marker, err);
    vmc_strv_free(&p.modify);
    for (size_t i = 0; i < p.attach_count; i++)
        vmc_strv_free(&p.attaches[i]);
    free(p.attaches);
    free(p.machines);
    vboxmanage_registry_free(&registry);
    return code;
}

void virtualbox_plan_free(virtualbox_plan *plan) {
    free(plan->name);
    free(plan->folder);
    for (size_t i = 0; i < plan->command_count; i++)
        vmc_strv_free(&plan->commands[i]);
    free(plan->commands);
    for (size_t i = 0; i < plan->file_count; i++) {
        free(plan->files[i].device);
        free(plan->files[i].path);
        free(plan->files[i].source);
        free(plan->files[i].format);
    }
    free(plan->files);
    cJSON_Delete(plan->marker);
    vmc_seed_free(&plan->seed);
    *plan = (virtualbox_plan){0};
}

const char *virtualbox_os_type(const char *guest) {
    return strcmp(guest, "windows") == 0 ? "WindowsNT_64" : strcmp(guest, "other") == 0 ? "Other_64" : "Linux_64";
}

void virtualbox_plan_begin(const virtualbox_plan *plan, const vmctl_spec *spec, vmc_strv *create, vmc_strv *mark) {
    const char *guest = vmctl_node_string(vmctl_spec_root(spec), "guest", "linux");
    virtualbox_add(create, "createvm", "--register");
    vmc_strv_printf(create, "--name=%s", plan->name); /* in one word: a name may begin with a dash */
    virtualbox_add(create, "--uuid", plan->id);
    virtualbox_add(create, "--ostype", virtualbox_os_type(guest));
    VMC_AUTO_FREE char *text = cJSON_PrintUnformatted(plan->marker);
    virtualbox_add(mark, "setextradata", plan->id);
    virtualbox_add(mark, VIRTUALBOX_MARKER, text);
}
