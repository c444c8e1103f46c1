/* Making a VM: all that can be checked is checked first; then images are fetched, the backend makes it, and it is started. */
#include "base/file.h"
#include "internal.h"
#include "spec_internal.h"
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* --- the marker ------------------------------------------------------------------------------------------- */

static char *user_at_host(void) {
    struct passwd entry, *found = NULL;
    char buffer[4096], host[256] = "localhost";
    if (getpwuid_r(geteuid(), &entry, buffer, sizeof buffer, &found) != 0)
        found = NULL;
    if (gethostname(host, sizeof host) == 0)
        host[sizeof host - 1] = '\0';
    return found ? vmc_printf("%s@%s", found->pw_name, host) : vmc_printf("%u@%s", (unsigned)geteuid(), host);
}

static const char *given_or_environment(const char *given, const char *variable) {
    const char *value = given ? given : getenv(variable);
    return value && *value ? value : NULL;
}

int vmc_marker_make(const char *owner, const char *run, int64_t lifetime_ms, vmc_marker *out, vmctl_error **err) {
    *out = (vmc_marker){0};
    owner = given_or_environment(owner, "VMCTL_OWNER");
    run = given_or_environment(run, "VMCTL_RUN");
    int rc = owner ? vmc_check_text(owner, "the owner", err) : 0;
    if (rc == 0 && run)
        rc = vmc_check_text(run, "the run", err);
    if (rc < 0)
        return rc;
    out->owner = owner ? vmc_strdup(owner) : user_at_host();
    out->run = vmc_strdup(run);
    int64_t now = time(NULL);
    out->marker = (vmctl_marker){.size = sizeof out->marker,
                                 .version = VMCTL_VERSION,
                                 .owner = out->owner,
                                 .run = out->run,
                                 .created = now,
                                 .expires = lifetime_ms > 0 ? now + (lifetime_ms + 999) / 1000 : 0};
    return 0;
}

void vmc_marker_free(vmc_marker *marker) {
    free(marker->owner);
    free(marker->run);
    *marker = (vmc_marker){0};
}

/* --- preparing the spec ----------------------------------------------------------------------------------- */

static int prepare(const vmctl_backend_descriptor *descriptor, const vmctl_spec *spec, bool strict,
                   const vmctl_call *call, vmctl_spec **out, vmctl_error **err) {
    int rc = vmctl_spec_validate(spec, err);
    if (rc < 0)
        return rc;
    rc = vmc_spec_check_backend(spec, descriptor, strict, call, err);
    if (rc < 0)
        return rc;
    vmctl_spec *prepared = vmctl_spec_copy(spec);
    if (!prepared)
        return vmc_error_no_memory(err);
    rc = vmc_spec_complete(prepared, descriptor->default_network);
    if (rc < 0) {
        vmctl_spec_free(prepared);
        return vmc_error(err, rc, "the spec's defaults do not fit together");
    }
    *out = prepared;
    return 0;
}

int vmc_spec_prepare(vmctl_connection *connection, const vmctl_spec *spec, bool strict, const vmctl_call *call,
                     vmctl_spec **out, vmctl_error **err) {
    if (!spec)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "no spec was given");
    return prepare(connection->entry->descriptor, spec, strict, call, out, err);
}

int vmc_spec_ready(const char *backend, const vmctl_spec *spec, const vmctl_call *call, vmctl_spec **out,
                   vmctl_error **err) {
    const vmc_registry_entry *entry = vmc_backend_by_name(backend);
    if (!entry)
        return vmc_error(err, VMCTL_E_INTERNAL, "there is no backend %s", backend);
    return prepare(entry->descriptor, spec, false, call, out, err);
}

bool vmc_source_is_web(const char *source) {
    return source && (vmc_starts_with(source, "http://") || vmc_starts_with(source, "https://"));
}

static const char *const source_keys[] = {"image", "cdrom"};
enum { SOURCE_KEYS = sizeof source_keys / sizeof source_keys[0] };

static size_t count_web_images(const vmctl_spec *spec) {
    const vmctl_node *disks = vmctl_node_get(vmctl_spec_root(spec), "disks");
    size_t found = 0;
    for (size_t i = 0; i < vmctl_node_count(disks); i++)
        for (size_t k = 0; k < SOURCE_KEYS; k++)
            found += vmc_source_is_web(vmctl_node_string(vmctl_node_at(disks, i), source_keys[k], NULL));
    return found;
}

static bool core_fetches(const vmctl_connection *connection) {
    return !(connection->entry->descriptor->image_sources & VMCTL_SOURCE_URL);
}

/* For a look that sends nothing: a disk whose image is not fetched stands as a blank one, a drive as an empty one. */
static int leave_out_web_images(vmctl_spec *spec, const vmctl_call *call, vmctl_error **err) {
    size_t disks = vmctl_node_count(vmctl_node_get(vmctl_spec_root(spec), "disks"));
    vmc_deadline ears = {-1, NULL, call};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < disks; i++) {
        VMC_AUTO_FREE char *image = vmc_printf("disks[%zu].image", i);
        VMC_AUTO_FREE char *cdrom = vmc_printf("disks[%zu].cdrom", i);
        VMC_AUTO_FREE char *size = vmc_printf("disks[%zu].size", i);
        if (vmc_source_is_web(vmctl_node_string(vmctl_spec_root(spec), cdrom, NULL))) {
            rc = vmctl_spec_set(spec, cdrom, "", err);
        } else if (vmc_source_is_web(vmctl_node_string(vmctl_spec_root(spec), image, NULL))) {
            rc = vmctl_spec_set(spec, image, NULL, err);
            if (rc == 0 && !vmctl_node_get(vmctl_spec_root(spec), size))
                rc = vmctl_spec_set(spec, size, "1GiB", err);
        } else {
            continue;
        }
        vmc_note(&ears, VMCTL_NOTE_INFO, "the image of disk %zu is not fetched for this; its content is not checked",
                 i + 1);
    }
    return rc;
}

/* Replaces images by URL with files of the cache; the URL stays as the value's origin (vmc_spec_origin). */
static int fetch_images(vmctl_spec *spec, const vmctl_create_options *o, const vmc_deadline *deadline,
                        vmctl_error **err) {
    size_t count = count_web_images(spec);
    if (count == 0) {
        if (o->image_checksum)
            return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "a checksum is given, but no image is fetched by URL");
        return 0;
    }
    if (o->image_checksum && count > 1)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "one checksum is given, but %zu images are fetched by URL",
                         count);
    const vmc_tools *tools;
    int rc = vmc_tools_get(&tools, err);
    if (rc < 0)
        return rc;
    VMC_AUTO_FREE char *folder = vmc_xdg_cache("images");
    size_t disks = vmctl_node_count(vmctl_node_get(vmctl_spec_root(spec), "disks"));
    for (size_t i = 0; i < disks; i++)
        for (size_t k = 0; k < SOURCE_KEYS; k++) {
            VMC_AUTO_FREE char *path = vmc_printf("disks[%zu].%s", i, source_keys[k]);
            VMC_AUTO_FREE char *url = vmc_strdup(vmctl_node_string(vmctl_spec_root(spec), path, NULL));
            if (!vmc_source_is_web(url))
                continue;
            vmctl_call call = vmc_deadline_call(deadline);
            vmctl_image_pull_options pull = VMCTL_IMAGE_PULL_OPTIONS_INIT;
            pull.call = &call;
            pull.checksum = o->image_checksum;
            VMC_AUTO_FREE char *file = NULL;
            rc = tools->image_fetch(url, folder, &pull, &file, err);
            if (rc == 0)
                rc = vmctl_spec_set(spec, path, file, err);
            if (rc < 0)
                return rc;
            vmc_spec_set_origin(spec, path, url);
        }
    return 0;
}

/* --- create ----------------------------------------------------------------------------------------------- */

/* ALREADY_EXISTS when the name is taken; 0 when it is free or nobody can say. */
static int check_free(vmc_op *op, const char *name, const char *namespace_name, const vmctl_call *call) {
    if (!op->ops->lookup)
        return 0;
    vmctl_lookup_options lookup = VMCTL_LOOKUP_OPTIONS_INIT;
    lookup.call = call;
    lookup.namespace_name = namespace_name;
    vmctl_identity identity = {.size = sizeof identity};
    void *handle = NULL;
    vmctl_error *why = NULL;
    int rc = op->ops->lookup(op->conn, name, &lookup, &handle, &identity, &why);
    if (rc == 0 && op->ops->release)
        op->ops->release(op->conn, handle);
    vmc_identity_free(&identity);
    if (rc == 0 || rc == VMCTL_E_AMBIGUOUS) {
        vmctl_error_free(why);
        vmc_error(&op->why, VMCTL_E_ALREADY_EXISTS, "there is a VM of the name %s already", name);
        vmc_error_next(&op->why, "choose another name, or vmctl apply to change that VM");
        return VMCTL_E_ALREADY_EXISTS;
    }
    if (rc == VMCTL_E_NOT_FOUND) {
        vmctl_error_free(why);
        return 0;
    }
    vmc_error_move(&op->why, &why);
    return rc;
}

/* The backend's own create decides, up to where it would make something; the hypervisor too, where it can be asked. */
static int check_only(vmc_op *op, vmctl_spec *spec, vmctl_create_options *o, const vmctl_marker *marker,
                      const vmc_deadline *deadline) {
    int rc = core_fetches(op->connection) ? leave_out_web_images(spec, &op->call, &op->why) : 0;
    if (rc < 0)
        return rc;
    vmctl_call call = vmc_deadline_call(deadline);
    o->call = &call;
    return op->ops->create(op->conn, spec, o, marker, NULL, NULL, NULL, &op->why);
}

static int make_and_start(vmc_op *op, const vmctl_spec *spec, vmctl_create_options *o, const vmctl_marker *marker,
                          vmc_journal *journal, const vmc_deadline *deadline, vmctl_vm **out) {
    vmctl_call call = vmc_deadline_call(deadline);
    o->call = &call;
    vmctl_identity identity = {.size = sizeof identity};
    void *handle = NULL;
    int rc = op->ops->create(op->conn, spec, o, marker, journal, &handle, &identity, &op->why);
    if (rc < 0) {
        vmc_identity_free(&identity);
        return rc;
    }
    vmctl_vm *made = vmc_vm_new(op->connection, handle, &identity);
    rc = vmc_deadline_check(deadline, "creating the VM", &op->why);
    if (rc == 0 && o->start) {
        vmctl_start_options start = VMCTL_START_OPTIONS_INIT;
        call = vmc_deadline_call(deadline);
        if (call.timeout_ms < 0)
            call.timeout_ms = VMC_ACT_MS;
        start.call = &call;
        rc = op->ops->start(op->conn, made->handle, &start, &op->why);
        if (rc < 0)
            vmc_error_prefix(&op->why, "it was made, but did not start");
    }
    if (rc < 0)
        vmctl_vm_free(made);
    else
        *out = made;
    return rc;
}

int vmc_create(vmc_op *op, const vmctl_spec *spec, vmctl_create_options *o, vmctl_vm **out) {
    vmc_deadline deadline = vmc_deadline_start(&op->call, VMC_NO_LIMIT);
    vmctl_spec *prepared = NULL;
    int rc = vmc_spec_prepare(op->connection, spec, o->strict, &op->call, &prepared, &op->why);
    if (rc == 0 && o->start)
        rc = vmc_op_need(op, VMCTL_SLOT_start, NULL);
    /* Copies: nodes do not outlive a change of their spec. */
    VMC_AUTO_FREE char *name = prepared ? vmc_strdup(vmctl_spec_name(prepared)) : NULL;
    const vmctl_node *root = prepared ? vmctl_spec_root(prepared) : NULL;
    VMC_AUTO_FREE char *namespace_name = vmc_strdup(vmctl_spec_namespace(prepared));
    vmc_marker marker = {0};
    if (rc == 0)
        rc = vmc_marker_make(o->owner, o->run, vmctl_node_integer(root, "lifetime", 0), &marker, &op->why);
    if (rc == 0 && o->dry_run) {
        rc = check_only(op, prepared, o, &marker.marker, &deadline);
    } else if (rc == 0) {
        bool fetch = core_fetches(op->connection);
        if (fetch && count_web_images(prepared)) { /* not half a gigabyte for a name that is taken */
            vmctl_call call = vmc_deadline_call(&deadline);
            rc = check_free(op, name, namespace_name, &call);
        }
        if (rc == 0 && fetch)
            rc = fetch_images(prepared, o, &deadline, &op->why);
        vmc_journal *journal = NULL;
        if (rc == 0) {
            VMC_AUTO_FREE char *operation = vmc_printf("create of %s", name);
            rc = vmc_journal_open(op->connection->uri, operation, &journal, &op->why);
        }
        if (rc == 0) {
            rc = make_and_start(op, prepared, o, &marker.marker, journal, &deadline, out);
            if (rc < 0)
                vmc_op_undo(op, journal);
        }
        vmc_journal_close(journal);
    }
    vmc_marker_free(&marker);
    vmctl_spec_free(prepared);
    if (rc < 0)
        vmc_error_where(&op->why, NULL, spec ? vmctl_spec_name(spec) : NULL, NULL, NULL);
    return rc;
}

static const char *shown_name(const vmctl_spec *spec) {
    const char *name = spec ? vmctl_spec_name(spec) : NULL;
    return name ? name : "the VM";
}

int vmctl_create(vmctl_connection *connection, const vmctl_spec *spec, const vmctl_create_options *options,
                 vmctl_vm **out, vmctl_error **err) {
    vmctl_create_options o = VMCTL_CREATE_OPTIONS_INIT;
    int rc = vmc_options_copy(&o, options, err);
    if (rc < 0)
        return rc;
    vmc_op op;
    rc = vmc_op_begin(&op, connection, NULL, VMCTL_SLOT_create, o.call, VMC_NO_LIMIT, !o.dry_run, err);
    vmctl_vm *made = NULL;
    if (rc == 0)
        rc = vmc_create(&op, spec, &o, &made);
    if (rc == 0 && out)
        *out = made;
    else
        vmctl_vm_free(made);
    return vmc_op_end(&op, rc, "create %s", shown_name(spec));
}

int vmctl_render(vmctl_connection *connection, const vmctl_spec *spec, const vmctl_call *call, char **out,
                 vmctl_error **err) {
    vmc_op op;
    int rc = vmc_op_begin(&op, connection, NULL, VMCTL_SLOT_render, call, VMC_ASK_MS, false, err);
    if (rc == 0 && !out)
        rc = vmc_error(&op.why, VMCTL_E_INVALID_ARGUMENT, "no place for the document was given");
    vmctl_spec *prepared = NULL;
    if (rc == 0)
        rc = vmc_spec_prepare(connection, spec, false, &op.call, &prepared, &op.why);
    if (rc == 0 && core_fetches(connection))
        rc = leave_out_web_images(prepared, &op.call, &op.why);
    if (rc == 0)
        rc = op.ops->render(op.conn, prepared, &op.call, out, &op.why);
    vmctl_spec_free(prepared);
    return vmc_op_end(&op, rc, "render %s", shown_name(spec));
}
