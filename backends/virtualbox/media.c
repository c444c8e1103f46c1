/* Which VM has which disks, and on whose they stand. */
#include "media.h"

#include <stdlib.h>
#include <string.h>

int virtualbox_world_read(virtualbox_conn *conn, const vmc_deadline *deadline, virtualbox_world *out,
                          vmctl_error **err) {
    int code = virtualbox_registry(conn, deadline, &out->registry, err);
    if (code < 0)
        return code;
    out->machines = vmc_alloc((out->registry.count + 1) * sizeof(vboxmanage_machine *));
    code = vboxmanage_machines_read(conn->manage, &out->registry, deadline, out->machines, err);
    for (size_t i = 0; i < out->registry.count; i++)
        if (out->machines[i])
            out->machines[out->count++] = out->machines[i];
    return code;
}

void virtualbox_world_free(virtualbox_world *world) {
    for (size_t i = 0; i < world->count; i++)
        vboxmanage_machine_free(world->machines[i]);
    free(world->machines);
    vboxmanage_registry_free(&world->registry);
    *world = (virtualbox_world){0};
}

/* The medium wherever it is registered. */
static const vboxmanage_medium *find(const virtualbox_world *world, const char *id) {
    const vboxmanage_medium *medium = vboxmanage_medium_of(world->registry.shared, id);
    for (size_t i = 0; !medium && i < world->count; i++)
        medium = vboxmanage_medium_of(world->machines[i], id);
    return medium;
}

static bool stands_on(const virtualbox_world *world, const char *id, const char *base) {
    for (size_t depth = 0; *id && depth < 1000; depth++) {
        if (strcasecmp(id, base) == 0)
            return true;
        const vboxmanage_medium *medium = find(world, id);
        id = medium ? medium->parent : "";
    }
    return false;
}

static bool any_stands_on(const virtualbox_world *world, const vboxmanage_attachment *list, size_t count,
                          const char *base, bool *itself) {
    bool found = false;
    for (size_t i = 0; i < count; i++) {
        if (!*list[i].medium || !stands_on(world, list[i].medium, base))
            continue;
        found = true;
        *itself = *itself || strcasecmp(list[i].medium, base) == 0;
    }
    return found;
}

const vboxmanage_machine *virtualbox_world_user(const virtualbox_world *world, const char *vm_id, const char *medium_id,
                                                bool *itself) {
    for (size_t i = 0; i < world->count; i++) {
        const vboxmanage_machine *other = world->machines[i];
        if (strcasecmp(other->id, vm_id) == 0)
            continue;
        *itself = false;
        bool found = any_stands_on(world, other->attachments, other->attachment_count, medium_id, itself);
        for (size_t s = 0; s < other->snapshot_count; s++)
            found = any_stands_on(world, other->snapshots[s].attachments, other->snapshots[s].attachment_count,
                                  medium_id, itself) ||
                    found;
        if (found)
            return other;
    }
    return NULL;
}

static size_t children_in(const vboxmanage_machine *machine, const char *medium_id) {
    size_t count = 0;
    for (size_t i = 0; i < machine->medium_count; i++)
        count += strcasecmp(machine->media[i].parent, medium_id) == 0;
    return count;
}

size_t virtualbox_world_children(const virtualbox_world *world, const char *medium_id) {
    size_t count = children_in(world->registry.shared, medium_id);
    for (size_t i = 0; i < world->count; i++)
        count += children_in(world->machines[i], medium_id);
    return count;
}

/* --- media that are registered elsewhere ------------------------------------------------------------------------ */

/* Where to look, and the texts of all settings where they are another host's: read once, when they are first needed. */
typedef struct search {
    const virtualbox_conn *conn;
    const vboxmanage_registry *registry;
    const vmc_deadline *deadline;
    char **texts;
    size_t *lengths;
} search;

static void fetch(search *in) {
    VMC_AUTO_FREE const char **paths = vmc_alloc((in->registry->count + 1) * sizeof(char *));
    in->texts = vmc_alloc((in->registry->count + 1) * sizeof(char *));
    in->lengths = vmc_alloc((in->registry->count + 1) * sizeof(size_t));
    for (size_t i = 0; i < in->registry->count; i++)
        paths[i] = in->registry->entries[i].settings;
    vboxmanage_settings_texts(in->conn->manage, paths, in->registry->count, in->deadline, in->texts, in->lengths, NULL);
}

static bool adopt(search *in, vboxmanage_machine *machine, const char *id) {
    const vboxmanage_registry *registry = in->registry;
    if (vboxmanage_adopt_medium(machine, registry->shared, id))
        return true;
    bool found = false;
    if (in->conn->manage->host && !in->texts)
        fetch(in);
    for (size_t i = 0; i < registry->count && !found; i++) {
        VMC_AUTO_FREE char *read = NULL;
        vboxmanage_machine *other = NULL;
        if (strcasecmp(registry->entries[i].id, machine->id) == 0 ||
            (!in->texts &&
             vboxmanage_settings_text(NULL, registry->entries[i].settings, in->deadline, &read, NULL, NULL) < 0))
            continue;
        const char *text = in->texts ? in->texts[i] : read;
        /* Reading the text is a tenth of parsing it. */
        if (!text || !strstr(text, id) ||
            vboxmanage_machine_parse(in->conn->manage, registry->entries[i].settings, text, strlen(text), &other,
                                     NULL) < 0)
            continue;
        found = vboxmanage_adopt_medium(machine, other, id);
        vboxmanage_machine_free(other);
    }
    return found;
}

static void complete(search *in, vboxmanage_machine *machine, const vboxmanage_attachment *list, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (*list[i].medium && !vboxmanage_medium_of(machine, list[i].medium))
            adopt(in, machine, list[i].medium);
}

void virtualbox_media_complete(const virtualbox_conn *conn, const vboxmanage_registry *registry,
                               vboxmanage_machine *machine, const vmc_deadline *deadline) {
    search in = {.conn = conn, .registry = registry, .deadline = deadline};
    complete(&in, machine, machine->attachments, machine->attachment_count);
    for (size_t i = 0; i < machine->snapshot_count; i++)
        complete(&in, machine, machine->snapshots[i].attachments, machine->snapshots[i].attachment_count);
    for (size_t i = 0; in.texts && i < registry->count; i++)
        free(in.texts[i]);
    free(in.texts);
    free(in.lengths);
}

/* --- whose they are ----------------------------------------------------------------------------------------------- */

static bool is_inside(const vboxmanage_machine *machine, const char *path) {
    size_t length = strlen(machine->folder);
    return strncmp(path, machine->folder, length) == 0 && path[length] == '/';
}

bool virtualbox_medium_linked(const cJSON *marker, const vboxmanage_machine *machine, const vboxmanage_medium *medium) {
    const vboxmanage_medium *base = vboxmanage_base_of(machine, medium);
    return base && base != medium && cJSON_IsTrue(vmc_json_key(marker, "linked")) &&
           is_inside(machine, medium->location) && !is_inside(machine, base->location);
}

bool virtualbox_medium_own(const cJSON *marker, const vboxmanage_machine *machine, const vboxmanage_medium *medium) {
    const vboxmanage_medium *base = vboxmanage_base_of(machine, medium);
    return base && (virtualbox_marker_owns(marker, machine, base->location) ||
                    virtualbox_medium_linked(marker, machine, medium));
}

const vboxmanage_medium *virtualbox_lowest_inside(const vboxmanage_machine *machine, const vboxmanage_medium *medium) {
    const vboxmanage_medium *lowest = medium;
    for (const vboxmanage_medium *at = medium; at && is_inside(machine, at->location);) {
        lowest = at;
        const vboxmanage_medium *parent = *at->parent ? vboxmanage_medium_of(machine, at->parent) : NULL;
        at = parent && parent < at ? parent : NULL;
    }
    return lowest;
}
