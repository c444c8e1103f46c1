/* backends/shared/json.h - JSON trees (cJSON) as backends read and build them, and the spec as one. It knows no hypervisor. */
#ifndef VMC_SHARED_JSON_H
#define VMC_SHARED_JSON_H

#include "base/error.h"
#include "base/str.h"
#include <cjson/cJSON.h>
#include <stdint.h>
#include <vmctl/spec.h>

void vmc_json_free(cJSON **json);
#define VMC_AUTO_JSON vmc_cleanup(vmc_json_free) cJSON

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* The value below json at a path of keys joined by dots ("spec.template.spec"); NULL when absent or json is NULL. */
const cJSON *vmc_json_at(const cJSON *json, const char *path);
/* The value of one key, which may have dots in it ("kubevirt.io/vm"). */
const cJSON *vmc_json_key(const cJSON *json, const char *key);
/* The value at the path, the fallback where it is absent or of another kind. Strings belong to the tree. */
const char *vmc_json_string(const cJSON *json, const char *path, const char *fallback);
int64_t vmc_json_integer(const cJSON *json, const char *path, int64_t fallback);
bool vmc_json_boolean(const cJSON *json, const char *path, bool fallback);
/* The string of one key with dots in it; NULL. */
const char *vmc_json_key_string(const cJSON *json, const char *key);
/* The item of a list whose `name` is this; NULL. */
cJSON *vmc_json_item(const cJSON *list, const char *name);

/* --- building ----------------------------------------------------------------------------------------------------- */

/* The map at the path, made with all that is missing above it. json must be a map. */
cJSON *vmc_json_map(cJSON *json, const char *path);
/* The list of that key in a map, made when missing. */
cJSON *vmc_json_list(cJSON *map, const char *key);
/* Replaces; value NULL removes. */
void vmc_json_put(cJSON *map, const char *key, cJSON *value);
/* Adds a string; nothing for NULL. */
void vmc_json_text(cJSON *map, const char *key, const char *value);

/* --- the spec as JSON --------------------------------------------------------------------------------------------- */

/* What the person wrote below the node, as vm.yaml would: sizes and durations with their unit, no defaults (but the names of items, which
 * tell them apart). NULL: a default. cJSON_Delete. */
cJSON *vmc_json_of_node(const vmctl_node *node);
/* The same of a value that vm.yaml passes on untouched (kubevirt.patch): numbers as they are. Never NULL. */
cJSON *vmc_json_of_value(const vmctl_node *node);
/* A spec of a VM that exists, from a tree in vm.yaml's words. What vm.yaml has no way to say (a name with a newline) stays out. INTERNAL
 * when that leads nowhere. *out: vmctl_spec_free. */
int vmc_json_to_spec(const cJSON *json, vmctl_spec **out, vmctl_error **err);

/* --- keys that a hypervisor does not show ------------------------------------------------------------------------- */

/* A map {"disks/root/image": {"value": ..., "was": ...}} of what `want` says beyond or other than `shown`, both in vm.yaml's words. was:
 * what the hypervisor showed then. Secrets (vmc_kept_holds_secret, inline user-data) and what has a place of its own (name, labels, autostart, ...) stay out. */
cJSON *vmc_kept_of(const cJSON *shown, const cJSON *want);
/* Whether the value of that key ("virtualbox/modifyvm/vrdeproperty") may hold a password or the like: by the key's name or one inside, by its own
 * words ("passwd='...'", "VNCPassword=..."), as a URL with credentials. Such a value is kept nowhere. */
bool vmc_kept_holds_secret(const char *path, const cJSON *value);
/* Puts what was kept back into `shown`, where the hypervisor still shows what it did then. */
void vmc_kept_restore(const cJSON *kept, cJSON *shown);

#endif
