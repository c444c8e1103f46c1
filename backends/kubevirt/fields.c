/* What differs between two states of an object. */
#include "fields.h"

#include <stdlib.h>
#include <string.h>

enum { LONGEST = 80 };

static const char *const of_server[] = {"managedFields",     "resourceVersion",           "uid",
                                        "creationTimestamp", "deletionTimestamp",         "generation",
                                        "selfLink",          "deletionGracePeriodSeconds"};

void kubevirt_drop_server_fields(cJSON *object) {
    cJSON *metadata = cJSON_GetObjectItemCaseSensitive(object, "metadata");
    cJSON_DeleteItemFromObjectCaseSensitive(object, "status");
    for (size_t i = 0; metadata && i < sizeof of_server / sizeof of_server[0]; i++)
        cJSON_DeleteItemFromObjectCaseSensitive(metadata, of_server[i]);
}

const cJSON *kubevirt_managed_by_us(const cJSON *object, const char *operation) {
    const cJSON *entry;
    cJSON_ArrayForEach(entry, vmc_json_at(object, "metadata.managedFields")) {
        if (vmc_str_eq(vmc_json_key_string(entry, "manager"), "vmctl") &&
            vmc_str_eq(vmc_json_key_string(entry, "operation"), operation) &&
            !vmc_json_key_string(entry, "subresource"))
            return entry;
    }
    return NULL;
}

/* --- texts ------------------------------------------------------------------------------------------------------------- */

/* cloud-init's data has passwords and keys in it. */
static bool may_hold_secret(const char *key) {
    static const char *const keys[] = {"userData", "userDataBase64", "networkData", "networkDataBase64"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (vmc_str_eq(keys[i], key))
            return true;
    return false;
}

static void hide_secrets(cJSON *json) {
    cJSON *child;
    cJSON_ArrayForEach(child, json) {
        if (cJSON_IsString(child) && may_hold_secret(child->string)) {
            VMC_AUTO_FREE char *shown = vmc_printf("(%zu bytes)", strlen(child->valuestring));
            cJSON_SetValuestring(child, shown);
        }
        hide_secrets(child);
    }
}

/* In one line, for a person. NULL for NULL. */
static char *text_of(const cJSON *value) {
    if (!value)
        return NULL;
    if (cJSON_IsString(value))
        return may_hold_secret(value->string) ? vmc_printf("(%zu bytes)", strlen(value->valuestring))
                                              : vmc_strdup(value->valuestring);
    VMC_AUTO_JSON *shown = cJSON_Duplicate(value, true);
    hide_secrets(shown);
    char *text = cJSON_PrintUnformatted(shown);
    if (text && strlen(text) > LONGEST) {
        size_t end = LONGEST - 3;
        while (end > 0 && ((unsigned char)text[end] & 0xc0) == 0x80) /* not in the middle of a character */
            end--;
        memcpy(text + end, "...", 4);
    }
    return text;
}

static void add(kubevirt_fields *out, vmctl_change_action action, const char *path, const cJSON *have,
                const cJSON *want) {
    out->items = vmc_realloc(out->items, out->count + 1, sizeof *out->items);
    out->items[out->count++] = (vmctl_change){.size = sizeof(vmctl_change),
                                              .action = action,
                                              .path = vmc_strdup(path),
                                              .have_text = text_of(have),
                                              .want_text = text_of(want)};
}

void kubevirt_fields_free(kubevirt_fields *fields) {
    for (size_t i = 0; i < fields->count; i++) {
        free((char *)fields->items[i].path);
        free((char *)fields->items[i].have_text);
        free((char *)fields->items[i].want_text);
    }
    free(fields->items);
    *fields = (kubevirt_fields){0};
}

/* --- comparing --------------------------------------------------------------------------------------------------------- */

static void compare(const char *path, const cJSON *have, const cJSON *want, kubevirt_fields *out);

/* Data volume templates have their name in the metadata. */
static const char *name_of(const cJSON *item) {
    const char *name = vmc_json_key_string(item, "name");
    return name ? name : vmc_json_string(item, "metadata.name", NULL);
}

static const cJSON *named(const cJSON *list, const char *name) {
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        if (vmc_str_eq(name_of(item), name))
            return item;
    }
    return NULL;
}

static bool all_named(const cJSON *list) {
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        const char *name = name_of(item);
        if (!name || named(list, name) != item)
            return false;
    }
    return true;
}

static char *order_of(const cJSON *list) {
    VMC_AUTO_STR text = {0};
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        vmc_str_printf(&text, "%s%s", text.length ? ", " : "", name_of(item));
    }
    return vmc_str_take(&text);
}

static void compare_items(const char *path, const cJSON *have, const cJSON *want, kubevirt_fields *out) {
    size_t before = out->count;
    const cJSON *item;
    cJSON_ArrayForEach(item, have) {
        VMC_AUTO_FREE char *below = vmc_printf("%s.%s", path, name_of(item));
        const cJSON *twin = named(want, name_of(item));
        if (twin)
            compare(below, item, twin, out);
        else
            add(out, VMCTL_CHANGE_REMOVE, below, item, NULL);
    }
    cJSON_ArrayForEach(item, want) {
        VMC_AUTO_FREE char *below = vmc_printf("%s.%s", path, name_of(item));
        if (!named(have, name_of(item)))
            add(out, VMCTL_CHANGE_ADD, below, NULL, item);
    }
    VMC_AUTO_FREE char *was = order_of(have);
    VMC_AUTO_FREE char *becomes = order_of(want);
    if (out->count == before && !vmc_str_eq(was, becomes)) {
        VMC_AUTO_JSON *a = cJSON_CreateString(was ? was : "");
        VMC_AUTO_JSON *b = cJSON_CreateString(becomes ? becomes : "");
        add(out, VMCTL_CHANGE_SET, path, a, b);
    }
}

static void compare_maps(const char *path, const cJSON *have, const cJSON *want, kubevirt_fields *out) {
    const cJSON *value;
    cJSON_ArrayForEach(value, have) {
        VMC_AUTO_FREE char *below = vmc_printf("%s.%s", path, value->string);
        compare(below, value, vmc_json_key(want, value->string), out);
    }
    cJSON_ArrayForEach(value, want) {
        VMC_AUTO_FREE char *below = vmc_printf("%s.%s", path, value->string);
        if (!vmc_json_key(have, value->string))
            compare(below, NULL, value, out);
    }
}

/* Empty maps and lists are what is not there. */
static bool says_nothing(const cJSON *value) {
    return !value || cJSON_IsNull(value) || (cJSON_IsArray(value) && !value->child);
}

static void compare(const char *path, const cJSON *have, const cJSON *want, kubevirt_fields *out) {
    if ((says_nothing(have) && says_nothing(want)) || cJSON_Compare(have, want, true))
        return;
    bool lists = (cJSON_IsArray(have) || says_nothing(have)) && (cJSON_IsArray(want) || says_nothing(want));
    if (lists && all_named(have) && all_named(want))
        compare_items(path, have, want, out);
    else if ((cJSON_IsObject(have) || !have) && (cJSON_IsObject(want) || !want) &&
             ((have && have->child) || (want && want->child)))
        compare_maps(path, have, want, out);
    else
        add(out, VMCTL_CHANGE_SET, path, have, want);
}

void kubevirt_fields_compare(const cJSON *have, const cJSON *want, kubevirt_fields *out) {
    static const char *const tops[] = {"metadata", "spec"};
    VMC_AUTO_JSON *from = cJSON_Duplicate(have, true);
    VMC_AUTO_JSON *to = cJSON_Duplicate(want, true);
    *out = (kubevirt_fields){0};
    kubevirt_drop_server_fields(from);
    kubevirt_drop_server_fields(to);
    for (size_t i = 0; i < sizeof tops / sizeof tops[0]; i++)
        compare(tops[i], vmc_json_key(from, tops[i]), vmc_json_key(to, tops[i]), out);
}
