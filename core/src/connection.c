#include "config.h"
#include "internal.h"
#include <stdlib.h>
#include <string.h>

/* --- opening ---------------------------------------------------------------------------------------------- */

typedef struct password_source {
    const vmctl_context *context;
    const vmctl_call *call;
} password_source;

static int password(void *user, char **out, vmctl_error **err) {
    const password_source *source = user;
    return vmc_context_password(source->context, source->call, out, err);
}

static int open_endpoint(const vmc_registry_entry *entry, const vmc_choice *choice, const vmctl_call *call,
                         vmctl_connection **out, vmctl_error **err) {
    const vmctl_backend_ops *ops;
    const char *name = entry->descriptor->name;
    const char *shown = choice->uri;
    int rc = vmc_backend_ops(entry, &ops, err);
    if (rc == 0 && !ops->open) {
        vmc_error(err, VMCTL_E_INTERNAL, "the module of %s cannot open an endpoint", name);
        rc = VMCTL_E_INTERNAL;
    }
    if (rc < 0) {
        vmc_error_where(err, "cannot connect", NULL, name, shown);
        return rc;
    }
    password_source source = {choice->context, call};
    const vmctl_endpoint endpoint = {sizeof endpoint, call, choice->uri, choice->context, password, &source};
    vmctl_opened opened = {.size = sizeof opened};
    void *conn = NULL;
    rc = ops->open(&endpoint, &conn, &opened, err);
    if (rc < 0) {
        free(opened.uri);
        free(opened.reason);
        if (err && !*err)
            vmc_error(err, rc, "%s gave no reason", name);
        vmc_error_where(err, "cannot connect", NULL, name, shown ? shown : entry->descriptor->default_uri);
        return rc;
    }
    vmctl_connection *made = vmc_alloc(sizeof *made);
    atomic_init(&made->references, 1);
    made->entry = entry;
    made->ops = ops;
    made->conn = conn;
    made->uri = opened.uri ? opened.uri : vmc_strdup(shown ? shown : entry->descriptor->default_uri);
    made->reason = opened.reason ? opened.reason : vmc_strdup(choice->reason ? choice->reason : "default");
    made->context = choice->context ? vmc_strdup(choice->context->name) : NULL;
    made->threads = opened.threads;
    *out = made;
    return 0;
}

/* No backend is named anywhere: the first one that finds an endpoint. What the first one said is told when none does. */
static int open_first(const vmc_choice *choice, const vmctl_call *call, vmctl_connection **out, vmctl_error **err) {
    vmctl_error *first = NULL;
    const vmc_registry_entry *entry;
    int rc = vmc_error(&first, VMCTL_E_UNSUPPORTED, "this build has no backend");
    for (size_t i = 0; (entry = vmc_backend_at(i)); i++) {
        vmctl_error *why = NULL;
        int result = open_endpoint(entry, choice, call, out, &why);
        if (result == 0 || result == VMCTL_E_CANCELLED) {
            vmctl_error_free(first);
            vmc_error_move(err, &why);
            return result;
        }
        if (i == 0) {
            rc = result;
            vmc_error_move(&first, &why);
        }
        vmctl_error_free(why);
    }
    vmc_error_move(err, &first);
    return rc;
}

int vmctl_connect(const vmctl_connect_options *options, vmctl_connection **out, vmctl_error **err) {
    if (!out)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "no place for the connection was given");
    vmctl_connect_options o = VMCTL_CONNECT_OPTIONS_INIT;
    vmctl_call given = VMCTL_CALL_INIT;
    int rc = vmc_options_copy(&o, options, err);
    if (rc == 0)
        rc = vmc_options_copy(&given, o.call, err);
    if (rc < 0)
        return rc;
    o.call = &given;
    vmc_deadline deadline = vmc_deadline_start(&given, VMC_ASK_MS);
    vmc_choice choice;
    rc = vmc_choose(&o, &choice, err);
    if (rc < 0) {
        vmc_error_where(err, "cannot connect", NULL, NULL, NULL);
        return rc;
    }
    vmctl_call call = vmc_deadline_call(&deadline);
    vmctl_connection *made = NULL;
    rc =
        choice.entry ? open_endpoint(choice.entry, &choice, &call, &made, err) : open_first(&choice, &call, &made, err);
    vmc_choice_free(&choice);
    if (rc == 0)
        *out = made;
    return rc;
}

/* --- the handle ------------------------------------------------------------------------------------------- */

vmctl_connection *vmc_connection_ref(vmctl_connection *connection) {
    atomic_fetch_add(&connection->references, 1);
    return connection;
}

void vmctl_connection_free(vmctl_connection *connection) {
    if (!connection || atomic_fetch_sub(&connection->references, 1) != 1)
        return;
    if (connection->ops->close)
        connection->ops->close(connection->conn);
    free(connection->uri);
    free(connection->reason);
    free(connection->context);
    free(connection);
}

const char *vmctl_connection_backend(const vmctl_connection *connection) {
    return connection ? connection->entry->descriptor->name : NULL;
}

const char *vmctl_connection_uri(const vmctl_connection *connection) {
    return connection ? connection->uri : NULL;
}

const char *vmctl_connection_context(const vmctl_connection *connection) {
    return connection ? connection->context : NULL;
}

const char *vmctl_connection_reason(const vmctl_connection *connection) {
    return connection ? connection->reason : NULL;
}

unsigned vmctl_connection_threads(const vmctl_connection *connection) {
    return connection ? connection->threads : 0;
}
