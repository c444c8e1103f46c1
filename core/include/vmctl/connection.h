/* vmctl/connection.h - choosing an endpoint and opening it; contexts and their configuration file.
 *
 * Choice, first that is given wins (CLI contract, "Where a command goes"): the options here, the spec's
 * `backend:` or `context:`, VMCTL_CONNECT, VMCTL_BACKEND, VMCTL_CONTEXT, the current context of the
 * configuration file, the first backend that finds an endpoint. Options that disagree among themselves or with the spec are
 * VMCTL_E_INVALID_ARGUMENT. An option `backend` alone leaves the endpoint to that backend; a spec's `backend:` says only which
 * hypervisor it is made for, so an endpoint of that backend in the environment or the current context is taken.
 *
 * Threads: a connection may be used by several threads at once unless vmctl_connection_threads says 1;
 * two connections never share state. VM handles keep their connection alive.
 */
#ifndef VMCTL_CONNECTION_H
#define VMCTL_CONNECTION_H

#include <vmctl/call.h>
#include <vmctl/error.h>

VMCTL_BEGIN_DECLS

typedef struct vmctl_connection vmctl_connection;
typedef struct vmctl_spec vmctl_spec;

typedef struct vmctl_connect_options {
    size_t size;
    const vmctl_call *call;  /* NULL: defaults (deadline 60 s) */
    const char *uri;         /* "qemu:///system", "kubevirt:///team-a"; NULL: choose */
    const char *backend;     /* a name or alias ("kvm", "k8s"); NULL: choose */
    const char *context;     /* a context of the configuration file; NULL: choose */
    const vmctl_spec *spec;  /* a spec whose backend: or context: takes part in the choice; NULL: none */
    const char *config_file; /* NULL: $XDG_CONFIG_HOME/vmctl/config.yaml */
} vmctl_connect_options;

#define VMCTL_CONNECT_OPTIONS_INIT                                                                                     \
    { sizeof(vmctl_connect_options), NULL, NULL, NULL, NULL, NULL, NULL }

/* Chooses and opens. *out is owned by the caller (vmctl_connection_free). */
VMCTL_API int vmctl_connect(const vmctl_connect_options *options, vmctl_connection **out, vmctl_error **err);

/* Drops the caller's reference; the endpoint is closed with the last VM handle. NULL is allowed. */
VMCTL_API void vmctl_connection_free(vmctl_connection *connection);

/* The backend's name ("libvirt"), the endpoint's canonical URI without secrets, the context's name (NULL when none
 * was used), and why this endpoint was chosen ("VMCTL_CONNECT", "current context \"lab\"", "default: qemu:///system
 * answers"). Owned by the connection. */
VMCTL_API const char *vmctl_connection_backend(const vmctl_connection *connection);
VMCTL_API const char *vmctl_connection_uri(const vmctl_connection *connection);
VMCTL_API const char *vmctl_connection_context(const vmctl_connection *connection);
VMCTL_API const char *vmctl_connection_reason(const vmctl_connection *connection);

/* How many threads may use the connection at once: 1, or 0 for any number. */
VMCTL_API unsigned vmctl_connection_threads(const vmctl_connection *connection);

/* --- contexts ------------------------------------------------------------------------------------------- */

/* The configuration file (YAML, mode 0600), read once, changed and saved as one. Not for several threads.
 *
 *   current: lab
 *   contexts:
 *     - name: lab
 *       connect: qemu+ssh://root@lab/system
 *       credentials: {passwordFile: lab.password}      # relative to the file's folder; or passwordCommand: [pass, show, lab]
 *       defaults: {cluster: , datastore: , folder: , network: , namespace: , storageClass: }
 *
 * A key that does not exist is VMCTL_E_INVALID_ARGUMENT with its line; comments do not survive vmctl_config_save. */
typedef struct vmctl_config vmctl_config;

typedef struct vmctl_context {
    size_t size;
    const char *name;
    const char *connect;       /* the URI */
    const char *password_file; /* credentials.passwordFile; NULL */
    const char *const
        *password_command; /* credentials.passwordCommand, NULL-terminated argument vector, no shell; NULL */
    /* defaults: NULL where not given */
    const char *cluster;
    const char *datastore;
    const char *folder;
    const char *network;
    const char *namespace_name;
    const char *storage_class;
} vmctl_context;

#define VMCTL_CONTEXT_INIT                                                                                             \
    { sizeof(vmctl_context), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL }

/* A file that does not exist is an empty configuration. path NULL: the usual place. *out is owned by the caller. */
VMCTL_API int vmctl_config_load(const char *path, vmctl_config **out, vmctl_error **err);
/* Writes beside the file and renames over it, 0600; folders are made 0700. */
VMCTL_API int vmctl_config_save(const vmctl_config *config, vmctl_error **err);
VMCTL_API void vmctl_config_free(vmctl_config *config);
VMCTL_API const char *vmctl_config_path(const vmctl_config *config);

VMCTL_API size_t vmctl_config_context_count(const vmctl_config *config);
/* Owned by the configuration, valid until it is changed or freed. index < count. */
VMCTL_API const vmctl_context *vmctl_config_context_at(const vmctl_config *config, size_t index);
/* NULL when there is none of that name. */
VMCTL_API const vmctl_context *vmctl_config_context(const vmctl_config *config, const char *name);
/* The current context's name, NULL when none is set. */
VMCTL_API const char *vmctl_config_current(const vmctl_config *config);
/* name NULL: no current context. VMCTL_E_NOT_FOUND. */
VMCTL_API int vmctl_config_use(vmctl_config *config, const char *name, vmctl_error **err);
/* The URI's scheme must belong to a backend; a password in it is refused. VMCTL_E_ALREADY_EXISTS unless replace. */
VMCTL_API int vmctl_config_add(vmctl_config *config, const vmctl_context *context, bool replace, vmctl_error **err);
VMCTL_API int vmctl_config_remove(vmctl_config *config, const char *name, vmctl_error **err);

/* Takes "context/vm" apart where a context of that name exists; else *context is NULL and *vm the whole name. config NULL: an empty
 * one. Both results are freed with vmctl_string_free. */
VMCTL_API int vmctl_config_vm_name(const vmctl_config *config, const char *name, char **context, char **vm,
                                   vmctl_error **err);

VMCTL_END_DECLS

#endif
