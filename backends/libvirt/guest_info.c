/* What the guest's agent says, from libvirt's typed parameters. */
#include "guest_info.h"

#include "base/str.h"
#include <stdlib.h>
#include <string.h>

enum { MOST = 4096 }; /* of a list: the guest says how long it is */

static const virTypedParameter *find(const virTypedParameter *params, int count, const char *name, int type) {
    for (int i = 0; i < count; i++)
        if (params[i].type == type && strcmp(params[i].field, name) == 0)
            return &params[i];
    return NULL;
}

static const char *text(const virTypedParameter *params, int count, const char *name) {
    const virTypedParameter *found = find(params, count, name, VIR_TYPED_PARAM_STRING);
    return found && *found->value.s ? found->value.s : NULL;
}

static size_t length_of(const virTypedParameter *params, int count, const char *name) {
    const virTypedParameter *found = find(params, count, name, VIR_TYPED_PARAM_UINT);
    return !found ? 0 : found->value.ui < MOST ? found->value.ui : MOST;
}

/* "fs.3.mountpoint" -> index 3, "mountpoint"; NULL: of another list. */
static const char *item_of(const char *field, const char *list, size_t *index) {
    size_t length = strlen(list);
    if (strncmp(field, list, length) != 0 || field[length] != '.')
        return NULL;
    char *end = NULL;
    *index = strtoul(field + length + 1, &end, 10);
    return *end == '.' ? end + 1 : NULL;
}

static void read_filesystem(vmctl_guest_filesystem *fs, const char *key, const virTypedParameter *p) {
    if (p->type == VIR_TYPED_PARAM_STRING && strcmp(key, "mountpoint") == 0)
        fs->mount = p->value.s;
    else if (p->type == VIR_TYPED_PARAM_STRING && strcmp(key, "fstype") == 0)
        fs->type = p->value.s;
    else if (p->type == VIR_TYPED_PARAM_STRING && strcmp(key, "name") == 0)
        fs->device = p->value.s;
    else if (p->type == VIR_TYPED_PARAM_ULLONG && strcmp(key, "total-bytes") == 0)
        fs->total_bytes = p->value.ul;
    else if (p->type == VIR_TYPED_PARAM_ULLONG && strcmp(key, "used-bytes") == 0)
        fs->used_bytes = p->value.ul;
}

static void read_user(vmctl_guest_user *user, const char *key, const virTypedParameter *p) {
    if (p->type == VIR_TYPED_PARAM_STRING && strcmp(key, "name") == 0)
        user->name = p->value.s;
    else if (p->type == VIR_TYPED_PARAM_STRING && strcmp(key, "domain") == 0)
        user->domain = p->value.s;
    else if (p->type == VIR_TYPED_PARAM_ULLONG && strcmp(key, "login-time") == 0)
        user->since = (int64_t)(p->value.ul / 1000);
}

bool libvirt_guest_info_read(const virTypedParameter *params, int count, libvirt_guest_info *out) {
    size_t filesystems = length_of(params, count, "fs.count"), users = length_of(params, count, "user.count");
    *out = (libvirt_guest_info){.guest = {.size = sizeof(vmctl_guest),
                                          .os_id = text(params, count, "os.id"),
                                          .os_name = text(params, count, "os.name"),
                                          .os_version = text(params, count, "os.version-id"),
                                          .os_title = text(params, count, "os.pretty-name"),
                                          .kernel = text(params, count, "os.kernel-release"),
                                          .arch = text(params, count, "os.machine"),
                                          .hostname = text(params, count, "hostname"),
                                          .timezone = text(params, count, "timezone.name")}};
    out->filesystems = vmc_alloc(filesystems * sizeof *out->filesystems + 1);
    out->users = vmc_alloc(users * sizeof *out->users + 1);
    for (int i = 0; i < count; i++) {
        size_t index = 0;
        const char *key = item_of(params[i].field, "fs", &index);
        if (key && index < filesystems)
            read_filesystem(&out->filesystems[index], key, &params[i]);
        key = item_of(params[i].field, "user", &index);
        if (key && index < users)
            read_user(&out->users[index], key, &params[i]);
    }
    for (size_t i = 0; i < filesystems; i++)
        out->filesystems[i].size = sizeof *out->filesystems;
    for (size_t i = 0; i < users; i++)
        out->users[i].size = sizeof *out->users;
    out->guest.filesystems = out->filesystems;
    out->guest.filesystem_count = filesystems;
    out->guest.users = out->users;
    out->guest.user_count = users;
    return count > 0;
}

void libvirt_guest_info_free(libvirt_guest_info *info) {
    free(info->filesystems);
    free(info->users);
    *info = (libvirt_guest_info){0};
}
