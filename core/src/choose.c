/* Where a command goes: flags, the spec, the environment, the current context, the default. */
#include "config.h"
#include "internal.h"
#include <stdlib.h>
#include <string.h>

/* --- URIs ------------------------------------------------------------------------------------------------- */

/* libvirt's drivers for other hypervisors (libvirt.org/drivers.html), and what to use here. */
static const struct {
    const char *scheme, *driver, *instead;
} foreign[] = {
    {"vbox", "VirtualBox", "virtualbox:///"},
    {"esx", "ESX", "vsphere://USER@HOST/"},
    {"gsx", "VMware GSX", "vsphere://USER@HOST/"},
    {"vpx", "vCenter", "vsphere://USER@HOST/DATACENTER"},
    {"vmwareplayer", "VMware Player", NULL},
    {"vmwarews", "VMware Workstation", NULL},
    {"vmwarefusion", "VMware Fusion", NULL},
    {"xen", "Xen", NULL},
    {"lxc", "LXC", NULL},
    {"bhyve", "bhyve", NULL},
    {"hyperv", "Hyper-V", NULL},
    {"openvz", "OpenVZ", NULL},
    {"vz", "Virtuozzo", NULL},
    {"ch", "Cloud Hypervisor", NULL},
};

/* Userinfo with a password, or a query value that is one. The text is not repeated: it would be shown. */
static bool has_password(const char *uri) {
    const char *authority = strstr(uri, "://");
    if (!authority)
        return false;
    authority += 3;
    size_t length = strcspn(authority, "/?#");
    const char *at = memrchr(authority, '@', length); /* the last one splits */
    const char *colon = at ? memchr(authority, ':', (size_t)(at - authority)) : NULL;
    if (colon && colon + 1 < at)
        return true;
    return strcasestr(uri, "?password=") || strcasestr(uri, "&password=");
}

int vmc_check_uri(const char *uri, const vmc_registry_entry **entry, vmctl_error **err) {
    size_t length = strcspn(uri, ":");
    if (!uri[length] || length == 0 || strcspn(uri, "/") < length) {
        vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "\"%s\" is no URI", uri);
        return vmc_error_next(err, "write one like qemu:///system or qemu+ssh://root@host/system"),
               VMCTL_E_INVALID_ARGUMENT;
    }
    if (has_password(uri)) {
        vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "the %.*s URI has a password in it, where others can read it",
                  (int)length, uri);
        vmc_error_next(err,
                       "leave it out, and name a passwordFile or passwordCommand in a context (vmctl context add)");
        return VMCTL_E_INVALID_ARGUMENT;
    }
    *entry = vmc_backend_by_uri(uri);
    if (*entry)
        return 0;
    size_t scheme = strcspn(uri, ":+");
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
        if (strlen(foreign[i].scheme) == scheme && strncmp(foreign[i].scheme, uri, scheme) == 0) {
            vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s is a URI of libvirt's %s driver, which vmctl does not use",
                      uri, foreign[i].driver);
            if (foreign[i].instead)
                vmc_error_next(err, "%s (vmctl speaks to that hypervisor itself)", foreign[i].instead);
            return VMCTL_E_INVALID_ARGUMENT;
        }
    VMC_AUTO_STRV schemes = {0};
    const vmc_registry_entry *other;
    for (size_t i = 0; (other = vmc_backend_at(i)); i++)
        for (const char *const *s = other->descriptor->schemes; s && *s; s++)
            vmc_strv_printf(&schemes, "%s://", *s);
    VMC_AUTO_FREE char *known = vmc_strv_join(&schemes, ", ");
    vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "no backend of this build takes %s", uri);
    vmc_error_next(err, "a URI that begins with one of %s", known);
    return VMCTL_E_INVALID_ARGUMENT;
}

/* --- the choice ------------------------------------------------------------------------------------------- */

void vmc_choice_free(vmc_choice *choice) {
    free(choice->uri);
    free(choice->reason);
    vmctl_config_free(choice->config);
    *choice = (vmc_choice){0};
}

/* The four that vmctl is for, by name and alias: one that this build lacks is no typing error. */
static const char *const ours[][2] = {
    {"libvirt", "libvirt kvm qemu"},
    {"virtualbox", "virtualbox vbox"},
    {"vsphere", "vsphere vmware esxi vcenter"},
    {"kubevirt", "kubevirt k8s"},
};

static const char *one_of_ours(const char *name) {
    size_t length = strlen(name);
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        for (const char *at = ours[i][1]; length && *at; at += strcspn(at, " "), at += *at == ' ')
            if (strcspn(at, " ") == length && !strncmp(at, name, length))
                return ours[i][0];
    return NULL;
}

static int find_backend(const char *name, const char *from, const vmc_registry_entry **out, vmctl_error **err) {
    *out = vmc_backend_by_name(name);
    if (*out)
        return 0;
    VMC_AUTO_STRV names = {0};
    const vmc_registry_entry *entry;
    for (size_t i = 0; (entry = vmc_backend_at(i)); i++) {
        vmc_strv_add(&names, entry->descriptor->name);
        for (const char *const *alias = entry->descriptor->aliases; alias && *alias; alias++)
            vmc_strv_add(&names, *alias);
    }
    VMC_AUTO_FREE char *known = vmc_strv_join(&names, ", ");
    const char *near = vmc_nearest(name, (const char *const *)names.items);
    const char *absent = one_of_ours(name);
    if (absent)
        vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "vmctl's %s backend is not in this build (%s)", absent, from);
    else
        vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "there is no backend \"%s\" (%s)", name, from);
    if (near && !absent)
        vmc_error_append(err, "; did you mean \"%s\"?", near);
    vmc_error_next(err, "one of %s", known);
    return VMCTL_E_INVALID_ARGUMENT;
}

static int need_config(vmc_choice *choice, const vmctl_connect_options *options, vmctl_error **err) {
    if (choice->config)
        return 0;
    int rc = vmctl_config_load(options->config_file, &choice->config, err);
    if (rc == 0 && choice->config->exposed && options->call && options->call->note) {
        VMC_AUTO_FREE char *text = vmc_printf("%s can be read by others: chmod 600 it", choice->config->path);
        options->call->note(VMCTL_NOTE_WARNING, text, options->call->user);
    }
    return rc;
}

static int find_context(vmc_choice *choice, const vmctl_connect_options *options, const char *name,
                        const vmctl_context **context, const vmc_registry_entry **entry, vmctl_error **err) {
    int rc = need_config(choice, options, err);
    if (rc < 0)
        return rc;
    *context = vmctl_config_context(choice->config, name);
    if (!*context) {
        vmc_config_no_context(choice->config, name, err);
        return VMCTL_E_NOT_FOUND;
    }
    rc = vmc_check_uri((*context)->connect, entry, err);
    if (rc < 0)
        vmc_error_prefix(err, "context \"%s\"", name);
    return rc;
}

static int disagree(vmctl_error **err, const char *a, const char *a_value, const char *b, const char *b_value) {
    vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s %s and %s %s do not go together", a, a_value, b, b_value);
    vmc_error_next(err, "give only one of them");
    return VMCTL_E_INVALID_ARGUMENT;
}

/* One source's words about the endpoint. */
typedef struct wish {
    const char *uri, *backend, *context;                /* as given; NULL */
    const char *uri_from, *backend_from, *context_from; /* "--connect", "the spec's backend:" */
    const vmc_registry_entry *uri_entry, *backend_entry, *context_entry;
    const vmctl_context *found;
} wish;

static int resolve_wish(wish *w, vmc_choice *choice, const vmctl_connect_options *options, vmctl_error **err) {
    int rc = 0;
    if (w->uri)
        rc = vmc_check_uri(w->uri, &w->uri_entry, err);
    if (rc == 0 && w->backend)
        rc = find_backend(w->backend, w->backend_from, &w->backend_entry, err);
    if (rc == 0 && w->context)
        rc = find_context(choice, options, w->context, &w->found, &w->context_entry, err);
    return rc;
}

/* Whether what a and b say can be true together. a and b may be the same. */
static int check_pair(const wish *a, const wish *b, vmctl_error **err) {
    if (a->uri && b->backend && a->uri_entry != b->backend_entry)
        return disagree(err, a->uri_from, a->uri, b->backend_from, b->backend);
    if (a->uri && b->context && strcmp(a->uri, b->found->connect) != 0)
        return disagree(err, a->uri_from, a->uri, b->context_from, b->context);
    if (a->context && b->backend && a->context_entry != b->backend_entry)
        return disagree(err, a->context_from, a->context, b->backend_from, b->backend);
    if (a != b && a->context && b->context && strcmp(a->context, b->context) != 0)
        return disagree(err, a->context_from, a->context, b->context_from, b->context);
    if (a != b && a->backend && b->backend && a->backend_entry != b->backend_entry)
        return disagree(err, a->backend_from, a->backend, b->backend_from, b->backend);
    return 0;
}

static void take_context(vmc_choice *choice, const vmctl_context *context, const vmc_registry_entry *entry,
                         const char *from) {
    choice->entry = entry;
    choice->context = context;
    choice->uri = vmc_strdup(context->connect);
    choice->reason = vmc_printf("%s \"%s\"", from, context->name);
}

static void take_uri(vmc_choice *choice, const char *uri, const vmc_registry_entry *entry, const char *from) {
    choice->entry = entry;
    choice->uri = vmc_strdup(uri);
    choice->reason = vmc_strdup(from);
}

static const char *environment(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

/* The environment and the current context; `only` (NULL: any) is the one backend that will do: others are passed over. */
static int choose_around(vmc_choice *choice, const vmctl_connect_options *options, const vmc_registry_entry *only,
                         vmctl_error **err) {
    const vmc_registry_entry *entry = NULL;
    const char *value = environment("VMCTL_CONNECT");
    int rc;
    if (value) {
        rc = vmc_check_uri(value, &entry, err);
        if (rc < 0)
            return vmc_error_prefix(err, "VMCTL_CONNECT"), rc;
        if (!only || entry == only)
            return take_uri(choice, value, entry, "VMCTL_CONNECT"), 0;
    }
    value = environment("VMCTL_BACKEND");
    if (value && !only) {
        rc = find_backend(value, "VMCTL_BACKEND", &entry, err);
        if (rc == 0)
            choice->entry = entry;
        return rc;
    }
    const vmctl_context *context = NULL;
    value = environment("VMCTL_CONTEXT");
    if (value) {
        rc = find_context(choice, options, value, &context, &entry, err);
        if (rc < 0)
            return vmc_error_prefix(err, "VMCTL_CONTEXT"), rc;
        if (!only || entry == only)
            return take_context(choice, context, entry, "VMCTL_CONTEXT"), 0;
    }
    rc = need_config(choice, options, err);
    if (rc < 0)
        return rc;
    value = vmctl_config_current(choice->config);
    if (value) {
        rc = find_context(choice, options, value, &context, &entry, err);
        if (rc < 0)
            return rc;
        if (!only || entry == only)
            return take_context(choice, context, entry, "current context"), 0;
    }
    choice->entry = only;
    return 0;
}

int vmc_choose(const vmctl_connect_options *options, vmc_choice *out, vmctl_error **err) {
    *out = (vmc_choice){0};
    wish flags = {.uri = options->uri,
                  .backend = options->backend,
                  .context = options->context,
                  .uri_from = "--connect",
                  .backend_from = "--backend",
                  .context_from = "--context"};
    wish spec = {.backend_from = "the spec's backend:", .context_from = "the spec's context:"};
    if (options->spec) {
        const vmctl_node *root = vmctl_spec_root(options->spec);
        if (!vmctl_spec_native(options->spec, &spec.backend)) {
            spec.backend = vmctl_node_string(root, "backend", NULL);
            spec.context = vmctl_node_string(root, "context", NULL);
        } else {
            spec.backend_from = "a native document of";
        }
    }
    int rc = resolve_wish(&flags, out, options, err);
    if (rc == 0)
        rc = resolve_wish(&spec, out, options, err);
    const wish *pairs[][2] = {{&flags, &flags}, {&spec, &spec}, {&flags, &spec}, {&spec, &flags}};
    for (size_t i = 0; rc == 0 && i < sizeof pairs / sizeof pairs[0]; i++)
        rc = check_pair(pairs[i][0], pairs[i][1], err);
    if (rc == 0) {
        if (flags.context)
            take_context(out, flags.found, flags.context_entry, flags.context_from);
        else if (flags.uri)
            take_uri(out, flags.uri, flags.uri_entry, flags.uri_from);
        else if (spec.context)
            take_context(out, spec.found, spec.context_entry, spec.context_from);
        else if (flags.backend)
            out->entry = flags.backend_entry;
        else
            rc = choose_around(out, options, spec.backend ? spec.backend_entry : NULL, err);
    }
    if (rc < 0)
        vmc_choice_free(out);
    return rc;
}
