/* The library's facts as trees. */
#include "tree.h"

#include <string.h>

static bool is_ascii(const char *text) {
    while (*text && !((unsigned char)*text & 0x80))
        text++;
    return !*text;
}

/* The key is not copied. */
static void put_item(cJSON *map, const char *key, cJSON *item) {
    if (item && !cJSON_AddItemToObjectCS(map, key, item))
        cJSON_Delete(item);
}

void cli_put(cJSON *map, const char *key, const char *text) {
    if (!text)
        return;
    CLI_AUTO_FREE char *clean = is_ascii(text) ? NULL : cli_utf8(text);
    put_item(map, key, cJSON_CreateString(clean ? clean : text));
}

void cli_put_number(cJSON *map, const char *key, double number) {
    if (number >= 0)
        put_item(map, key, cJSON_CreateNumber(number));
}

void cli_put_bytes(cJSON *map, const char *key, uint64_t bytes) {
    if (bytes)
        cJSON_AddNumberToObject(map, key, (double)bytes);
}

void cli_put_time(cJSON *map, const char *key, int64_t seconds) {
    if (seconds <= 0)
        return;
    CLI_AUTO_FREE char *text = cli_time_text(seconds);
    cJSON_AddStringToObject(map, key, text);
}

void cli_put_known(cJSON *map, const char *key, int tristate) {
    if (tristate >= 0)
        cJSON_AddBoolToObject(map, key, tristate > 0);
}

void cli_put_strings(cJSON *map, const char *key, const char *const *list) {
    if (!list)
        return;
    cJSON *array = cJSON_AddArrayToObject(map, key);
    for (; *list; list++) {
        CLI_AUTO_FREE char *clean = cli_utf8(*list);
        cJSON_AddItemToArray(array, cJSON_CreateString(clean));
    }
}

const char *cli_get(const cJSON *map, const char *key) {
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(map, key));
    return text ? text : "";
}

cJSON *cli_tree_device(const vmctl_device *device) {
    cJSON *tree = cJSON_CreateObject();

    cli_put(tree, "name", device->name);
    cli_put(tree, "kind", vmctl_device_kind_name(device->kind));
    cli_put(tree, "target", device->target);
    cli_put(tree, device->kind == VMCTL_DEVICE_NIC ? "model" : "bus", device->bus);
    bool disk = device->kind == VMCTL_DEVICE_DISK || device->kind == VMCTL_DEVICE_CDROM;
    cli_put(tree, disk ? "format" : "type", device->type);
    cli_put(tree, "source", device->source);
    cli_put(tree, "mac", device->mac);
    cli_put_bytes(tree, "capacityBytes", device->capacity_bytes);
    cli_put_bytes(tree, "allocatedBytes", device->allocated_bytes);
    if (disk) {
        cJSON_AddBoolToObject(tree, "readonly", device->readonly);
        cJSON_AddBoolToObject(tree, "own", device->own);
    }
    if (device->kind == VMCTL_DEVICE_NIC)
        cJSON_AddBoolToObject(tree, "linkUp", device->link_up);
    if (device->pending)
        cJSON_AddTrueToObject(tree, "pending");
    if (device->leaving)
        cJSON_AddTrueToObject(tree, "leaving");
    return tree;
}

static void put_addresses(cJSON *tree, const vmctl_vm_info *info) {
    cJSON *array = cJSON_AddArrayToObject(tree, "addresses");

    for (size_t i = 0; i < info->address_count; i++) {
        const vmctl_address *a = &info->addresses[i];
        cJSON *item = cJSON_CreateObject();
        cli_put(item, "ip", a->ip);
        cli_put(item, "mac", a->mac);
        cli_put(item, "source", a->source);
        cli_put(item, "device", a->device);
        cJSON_AddItemToArray(array, item);
    }
}

static void put_gpus(cJSON *tree, const vmctl_vm_info *info) {
    cJSON *array = cJSON_AddArrayToObject(tree, "gpus");

    for (size_t i = 0; i < info->gpu_count; i++) {
        cJSON *item = cJSON_CreateObject();
        cli_put(item, "name", info->gpus[i].name);
        cli_put(item, "address", info->gpus[i].address);
        cli_put(item, "model", info->gpus[i].model);
        cJSON_AddItemToArray(array, item);
    }
}

static void put_marker(cJSON *tree, const vmctl_vm_info *info) {
    cJSON_AddBoolToObject(tree, "managed", info->managed);
    cli_put_time(tree, "created", info->created);
    cli_put(tree, "owner", info->owner);
    cli_put(tree, "run", info->run);
    cli_put_time(tree, "expires", info->expires);
    cli_put(tree, "description", info->description);
    cJSON *labels = cJSON_AddObjectToObject(tree, "labels");
    for (size_t i = 0; i < info->label_count; i++) {
        const char *value = info->labels[i].value;
        CLI_AUTO_FREE char *clean = cli_utf8(value ? value : "");
        cJSON_AddStringToObject(labels, info->labels[i].key, clean);
    }
}

static void put_config(cJSON *tree, const vmctl_vm_info *info) {
    cli_put(tree, "arch", info->arch);
    cli_put(tree, "machine", info->machine);
    cli_put(tree, "firmware", info->firmware);
    cli_put(tree, "accel", info->accel);
    cli_put_known(tree, "autostart", info->autostart);
    cli_put_known(tree, "agentConnected", info->agent_connected);
    cli_put_number(tree, "uptimeSeconds", (double)info->uptime_seconds);
    cli_put_known(tree, "restartRequired", info->restart_required);
}

static void put_guest(cJSON *tree, const vmctl_guest *guest) {
    cJSON *inside = cJSON_AddObjectToObject(tree, "guest"), *os = cJSON_AddObjectToObject(inside, "os");

    cli_put(os, "id", guest->os_id);
    cli_put(os, "name", guest->os_name);
    cli_put(os, "version", guest->os_version);
    cli_put(os, "prettyName", guest->os_title);
    cli_put(inside, "kernel", guest->kernel);
    cli_put(inside, "arch", guest->arch);
    cli_put(inside, "hostname", guest->hostname);
    cli_put(inside, "timezone", guest->timezone);
    cli_put(inside, "agentVersion", guest->agent_version);
    cJSON *filesystems = cJSON_AddArrayToObject(inside, "filesystems");
    for (size_t i = 0; i < guest->filesystem_count; i++) {
        const vmctl_guest_filesystem *fs = &guest->filesystems[i];
        cJSON *item = cJSON_CreateObject();
        cli_put(item, "mount", fs->mount);
        cli_put(item, "type", fs->type);
        cli_put(item, "device", fs->device);
        cli_put_bytes(item, "totalBytes", fs->total_bytes);
        if (fs->total_bytes)
            cli_put_number(item, "usedBytes", (double)fs->used_bytes);
        cJSON_AddItemToArray(filesystems, item);
    }
    cJSON *users = cJSON_AddArrayToObject(inside, "users");
    for (size_t i = 0; i < guest->user_count; i++) {
        cJSON *item = cJSON_CreateObject();
        cli_put(item, "name", guest->users[i].name);
        cli_put(item, "domain", guest->users[i].domain);
        cli_put_time(item, "since", guest->users[i].since);
        cJSON_AddItemToArray(users, item);
    }
}

cJSON *cli_tree_vm(const vmctl_vm_info *info) {
    cJSON *tree = cJSON_CreateObject();

    cli_put(tree, "name", info->name);
    cli_put(tree, "id", info->id);
    cli_put(tree, "backend", info->backend);
    cli_put(tree, "context", info->context);
    cli_put(tree, "namespace", info->namespace_name);
    cli_put(tree, "folder", info->folder);
    if (info->present & VMCTL_FACT_STATE) {
        cli_put(tree, "state", vmctl_state_name(info->state));
        cli_put(tree, "stateReason", info->state_reason);
        cli_put(tree, "host", info->host);
    }
    if (info->present & VMCTL_FACT_RESOURCES) {
        cli_put_number(tree, "cpus", info->cpus);
        cli_put_number(tree, "memoryMiB", (double)info->memory_mib);
    }
    if (info->present & VMCTL_FACT_ADDRESSES)
        put_addresses(tree, info);
    if (info->present & VMCTL_FACT_MARKER)
        put_marker(tree, info);
    if (info->present & VMCTL_FACT_SNAPSHOTS)
        cli_put_number(tree, "snapshotCount", info->snapshot_count);
    if (info->present & VMCTL_FACT_GPUS)
        put_gpus(tree, info);
    if (info->present & VMCTL_FACT_CONFIG)
        put_config(tree, info);
    if (info->present & VMCTL_FACT_GUEST && info->guest)
        put_guest(tree, info->guest);
    if (info->present & VMCTL_FACT_POLICY)
        cli_put(tree, "migrationPolicy", info->migration_policy);
    if (info->present & VMCTL_FACT_DEVICES) {
        cJSON *array = cJSON_AddArrayToObject(tree, "devices");
        for (size_t i = 0; i < info->device_count; i++)
            cJSON_AddItemToArray(array, cli_tree_device(&info->devices[i]));
    }
    return tree;
}

cJSON *cli_tree_identity(const vmctl_vm *vm) {
    cJSON *tree = cJSON_CreateObject();
    const vmctl_connection *connection = vmctl_vm_connection(vm);

    cli_put(tree, "name", vmctl_vm_name(vm));
    cli_put(tree, "id", vmctl_vm_id(vm));
    cli_put(tree, "backend", vmctl_connection_backend(connection));
    cli_put(tree, "context", vmctl_connection_context(connection));
    return tree;
}

cJSON *cli_tree_host(const vmctl_host *host) {
    cJSON *tree = cJSON_CreateObject();

    cli_put(tree, "name", host->name);
    cli_put(tree, "hypervisor", host->hypervisor);
    cli_put(tree, "hypervisorVersion", host->hypervisor_version);
    cli_put(tree, "apiVersion", host->api_version);
    cli_put(tree, "arch", host->arch);
    cli_put(tree, "cpuModel", host->cpu_model);
    if (host->cpus)
        cli_put_number(tree, "cpus", host->cpus);
    cli_put_bytes(tree, "memoryMiB", host->memory_mib);
    cli_put_bytes(tree, "memoryFreeMiB", host->memory_free_mib);
    cli_put(tree, "accel", host->accel);
    cli_put(tree, "accelReason", host->accel_reason);
    cli_put(tree, "accelRemedy", host->accel_remedy);
    cli_put(tree, "status", host->status);
    cli_put_number(tree, "vmCount", (double)host->vm_count);
    return tree;
}

cJSON *cli_tree_pool(const vmctl_pool *pool) {
    cJSON *tree = cJSON_CreateObject();

    cli_put(tree, "name", pool->name);
    cli_put(tree, "type", pool->type);
    cli_put(tree, "path", pool->path);
    cJSON_AddBoolToObject(tree, "active", pool->active);
    cli_put_known(tree, "autostart", pool->autostart);
    cJSON_AddBoolToObject(tree, "default", pool->is_default);
    cli_put_bytes(tree, "capacityBytes", pool->capacity_bytes);
    if (pool->capacity_bytes)
        cli_put_number(tree, "availableBytes", (double)pool->available_bytes);
    return tree;
}

cJSON *cli_tree_network(const vmctl_network *network) {
    cJSON *tree = cJSON_CreateObject();

    cli_put(tree, "name", network->name);
    cli_put(tree, "type", network->type);
    cli_put(tree, "bridge", network->bridge);
    cli_put(tree, "subnet", network->subnet);
    cJSON_AddBoolToObject(tree, "active", network->active);
    cli_put_known(tree, "autostart", network->autostart);
    cJSON_AddBoolToObject(tree, "default", network->is_default);
    return tree;
}

cJSON *cli_tree_image(const vmctl_image *image) {
    cJSON *tree = cJSON_CreateObject();

    cli_put(tree, "name", image->name);
    cli_put(tree, "pool", image->pool);
    cli_put(tree, "path", image->path);
    cli_put(tree, "format", image->format);
    cli_put_bytes(tree, "virtualBytes", image->virtual_bytes);
    cli_put_bytes(tree, "allocatedBytes", image->allocated_bytes);
    cli_put(tree, "backing", image->backing);
    cli_put_strings(tree, "snapshots", image->snapshots);
    cli_put(tree, "sha256", image->sha256);
    cli_put_time(tree, "modified", image->modified);
    return tree;
}

cJSON *cli_tree_display(const vmctl_display *display) {
    cJSON *tree = cJSON_CreateObject();

    cli_put(tree, "type", display->type);
    cli_put(tree, "address", display->address);
    cli_put_number(tree, "port", display->port);
    cli_put(tree, "socket", display->socket);
    cli_put(tree, "uri", display->uri);
    if (display->served)
        cJSON_AddTrueToObject(tree, "served");
    return tree;
}

cJSON *cli_tree_event(const vmctl_event *event) {
    cJSON *tree = cJSON_CreateObject();
    CLI_AUTO_FREE char *seconds = cli_time_text(event->time_ms / 1000);
    /* milliseconds before the Z */
    CLI_AUTO_FREE char *time =
        cli_printf("%.*s.%03dZ", (int)strcspn(seconds, "Z"), seconds, (int)(event->time_ms % 1000));

    cli_put(tree, "time", event->time_ms ? time : NULL);
    cli_put(tree, "kind", vmctl_event_kind_name(event->kind));
    cli_put(tree, "name", event->name);
    cli_put(tree, "id", event->id);
    if (event->kind == VMCTL_EVENT_STATE)
        cli_put(tree, "state", vmctl_state_name(event->state));
    cli_put(tree, "detail", event->detail);
    return tree;
}

cJSON *cli_tree_snapshot(const vmctl_snapshot *snapshot) {
    cJSON *tree = cJSON_CreateObject();

    cli_put(tree, "name", snapshot->name);
    cli_put(tree, "id", snapshot->id);
    cli_put(tree, "parent", snapshot->parent);
    cli_put(tree, "description", snapshot->description);
    cli_put_time(tree, "created", snapshot->created);
    cli_put(tree, "state", vmctl_state_name(snapshot->state));
    cJSON_AddBoolToObject(tree, "memory", snapshot->memory);
    cJSON_AddBoolToObject(tree, "current", snapshot->current);
    cli_put_known(tree, "quiesced", snapshot->quiesced);
    cJSON_AddBoolToObject(tree, "external", snapshot->external);
    cli_put_bytes(tree, "sizeBytes", snapshot->bytes);
    cli_put_strings(tree, "excluded", snapshot->excluded);
    return tree;
}

cJSON *cli_tree_change(const vmctl_change *change) {
    static const char *const actions[] = {"add", "remove", "set"};
    cJSON *tree = cJSON_CreateObject();

    cli_put(tree, "action", (unsigned)change->action < 3 ? actions[change->action] : "set");
    cli_put(tree, "path", change->path);
    cli_put(tree, "have", change->have_text);
    cli_put(tree, "want", change->want_text);
    return tree;
}

/* Of the library's own constants: neither copied nor looked through. There are hundreds of these entries. */
static void put_constant(cJSON *map, const char *key, const char *text) {
    if (text)
        cJSON_AddItemToObjectCS(map, key, cJSON_CreateStringReference(text));
}

static cJSON *add_map(cJSON *map, const char *key) {
    cJSON *item = cJSON_CreateObject();
    cJSON_AddItemToObjectCS(map, key, item);
    return item;
}

cJSON *cli_tree_cap(const vmctl_cap *cap) {
    cJSON *tree = cJSON_CreateObject();

    put_constant(tree, "feature", cap->feature);
    put_constant(tree, "title", cap->title);
    put_constant(tree, "backend", cap->backend);
    cJSON *platform = add_map(tree, "platform");
    put_constant(platform, "name", cap->platform_name);
    put_constant(platform, "level", vmctl_level_name(cap->platform));
    put_constant(platform, "text", cap->platform_text);
    put_constant(platform, "source", cap->platform_source);
    if (cap->platform_correction)
        cJSON_AddItemToObjectCS(platform, "correction",
                                cli_tree_correction(cap->corrected, cap->platform_correction, cap->platform_evidence));
    cJSON *ours = add_map(tree, "vmctl");
    put_constant(ours, "level", vmctl_level_name(cap->vmctl));
    put_constant(ours, "reason", cap->vmctl_reason);
    put_constant(ours, "provenBy", vmctl_proof_name(cap->proof));
    put_constant(ours, "provenAgainst", cap->proof_against);
    if (cap->probed) {
        cJSON *here = add_map(tree, "here");
        put_constant(here, "level", vmctl_level_name(cap->here));
        cli_put(here, "reason", cap->here_reason);
        cli_put(here, "remedy", cap->here_remedy);
    }
    return tree;
}

cJSON *cli_tree_correction(vmctl_level level, const char *text, const char *evidence) {
    cJSON *tree = cJSON_CreateObject();
    put_constant(tree, "level", vmctl_level_name(level));
    put_constant(tree, "text", text);
    put_constant(tree, "evidence", evidence);
    return tree;
}
