/* The backends of this build, and their tables of operations. */
#include "base/module.h"
#include "internal.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const vmc_registry_entry *replaced;

static const vmc_registry_entry *backends(void) {
    return replaced ? replaced : vmc_registry;
}

const vmc_registry_entry *vmc_backend_at(size_t index) {
    const vmc_registry_entry *entry = backends();
    for (size_t i = 0; entry[i].descriptor; i++)
        if (i == index)
            return &entry[i];
    return NULL;
}

const vmc_registry_entry *vmc_backend_by_name(const char *name) {
    const vmc_registry_entry *entry;
    for (size_t i = 0; (entry = vmc_backend_at(i)); i++) {
        if (vmc_str_eq(entry->descriptor->name, name))
            return entry;
        const char *const *alias = entry->descriptor->aliases;
        for (; alias && *alias; alias++)
            if (vmc_str_eq(*alias, name))
                return entry;
    }
    return NULL;
}

const vmc_registry_entry *vmc_backend_by_uri(const char *uri) {
    size_t length = strcspn(uri, ":+");
    const vmc_registry_entry *entry;
    for (size_t i = 0; (entry = vmc_backend_at(i)); i++) {
        const char *const *scheme = entry->descriptor->schemes;
        for (; scheme && *scheme; scheme++)
            if (strlen(*scheme) == length && strncmp(*scheme, uri, length) == 0)
                return entry;
    }
    return NULL;
}

const char *vmctl_backend_name(size_t index) {
    const vmc_registry_entry *entry = vmc_backend_at(index);
    return entry ? entry->descriptor->name : NULL;
}

const char *vmctl_backend_title(size_t index) {
    const vmc_registry_entry *entry = vmc_backend_at(index);
    return entry ? entry->descriptor->title : NULL;
}

/* --- modules ---------------------------------------------------------------------------------------------- */

typedef struct loaded {
    const vmc_registry_entry *entry;
    vmctl_backend_ops ops;
    struct loaded *next;
} loaded;

static pthread_mutex_t load_lock = PTHREAD_MUTEX_INITIALIZER;
static loaded *load_list;

static int check_table(const vmctl_backend_ops *table, const char *name, vmctl_error **err) {
    if (!table)
        return vmc_error(err, VMCTL_E_INTERNAL, "the module of %s has no table of operations", name);
    if (table->abi != VMCTL_BACKEND_ABI) {
        vmc_error(err, VMCTL_E_UNAVAILABLE, "the module of %s is made for another version of libvmctl (ABI %u, not %u)",
                  name, table->abi, VMCTL_BACKEND_ABI);
        vmc_error_next(err, "install libvmctl and its modules in the same version");
        return VMCTL_E_UNAVAILABLE;
    }
    if (table->size < offsetof(vmctl_backend_ops, open) || table->size > 4 * sizeof *table)
        return vmc_error(err, VMCTL_E_INTERNAL, "the module of %s has a table of an impossible size", name);
    return 0;
}

static int load(const vmc_registry_entry *entry, const vmctl_backend_ops **out, vmctl_error **err) {
    const vmctl_backend_descriptor *descriptor = entry->descriptor;
    vmctl_backend_entry_fn function = entry->entry;
    if (!function) {
        VMC_AUTO_FREE char *module = vmc_printf("vmctl-%s", descriptor->name);
        VMC_AUTO_FREE char *symbol = vmc_printf("vmctl_backend_%s", descriptor->name);
        void *address;
        vmc_module_libraries(descriptor->first);
        int rc = vmc_module_symbol(module, symbol, descriptor->package, &address, err);
        if (rc < 0) {
            vmc_error_prefix(err, "the %s backend is not here", descriptor->name);
            return rc;
        }
        memcpy(&function, &address, sizeof function);
    }
    const vmctl_backend_ops *table = function();
    int rc = check_table(table, descriptor->name, err);
    if (rc < 0)
        return rc;
    loaded *made = vmc_alloc(sizeof *made);
    made->entry = entry;
    /* An older module's shorter table gets NULL slots, what is beyond this version's is not known here. */
    memcpy(&made->ops, table, table->size < sizeof made->ops ? table->size : sizeof made->ops);
    made->next = load_list;
    load_list = made;
    *out = &made->ops;
    return 0;
}

int vmc_backend_ops(const vmc_registry_entry *entry, const vmctl_backend_ops **out, vmctl_error **err) {
    pthread_mutex_lock(&load_lock);
    int rc = 0;
    loaded *l = load_list;
    while (l && l->entry != entry)
        l = l->next;
    if (l)
        *out = &l->ops;
    else
        rc = load(entry, out, err);
    pthread_mutex_unlock(&load_lock);
    return rc;
}

void vmc_backends_replace(const vmc_registry_entry *list) {
    pthread_mutex_lock(&load_lock);
    replaced = list; /* tables that were opened stay: connections hold them */
    pthread_mutex_unlock(&load_lock);
}

/* --- slots and claims ------------------------------------------------------------------------------------- */

#define SLOT_OFFSET(slot) [VMCTL_SLOT_##slot] = offsetof(vmctl_backend_ops, slot),
static const size_t slot_offsets[] = {VMCTL_SLOTS(SLOT_OFFSET)};
#define SLOT_NAME(slot) [VMCTL_SLOT_##slot] = #slot,
static const char *const slot_names[] = {VMCTL_SLOTS(SLOT_NAME)};

bool vmc_slot_present(const vmctl_backend_ops *ops, vmctl_slot slot) {
    void (*function)(void);
    memcpy(&function, (const char *)ops + slot_offsets[slot], sizeof function);
    return function != NULL;
}

const char *vmc_slot_name(vmctl_slot slot) {
    return slot < VMCTL_SLOT_COUNT ? slot_names[slot] : NULL;
}

const vmctl_slot_claim *vmc_slot_claim(const vmctl_backend_descriptor *descriptor, vmctl_slot slot,
                                       const char *feature) {
    for (size_t i = 0; i < descriptor->slot_count; i++)
        if (descriptor->slots[i].slot == slot && vmc_str_eq(descriptor->slots[i].feature, feature))
            return &descriptor->slots[i];
    return NULL;
}

const vmctl_key_claim *vmc_key_claim(const vmctl_backend_descriptor *descriptor, const char *key) {
    for (size_t i = 0; i < descriptor->key_count; i++)
        if (strcmp(descriptor->keys[i].key, key) == 0)
            return &descriptor->keys[i];
    return NULL;
}
