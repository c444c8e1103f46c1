/* The connection: which cluster and namespace. */
#include "ops.h"
#include "socket.h"

#include "backends/shared/uri.h"
#include <stdlib.h>
#include <string.h>

/* --- the endpoint ------------------------------------------------------------------------------------------------------ */

typedef struct place {
    char *namespace_name, *context, *kubeconfig;
} place;

static void place_free(place *where) {
    free(where->namespace_name);
    free(where->context);
    free(where->kubeconfig);
}
#define AUTO_PLACE vmc_cleanup(place_free) place

static int read_query(const char *query, place *out, vmctl_error **err) {
    const vmc_uri_field fields[] = {{"context", &out->context}, {"kubeconfig", &out->kubeconfig}, {NULL, NULL}};
    int code = vmc_uri_read_query("kubevirt", query, fields, "context=NAME and kubeconfig=FILE are known", err);
    if (code < 0)
        return code;
    if (out->kubeconfig && *out->kubeconfig != '/')
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "kubeconfig=%s is no absolute path", out->kubeconfig);
    return 0;
}

static int read_uri(const char *uri, place *out, vmctl_error **err) {
    const char *rest = strstr(uri, "://");
    if (!rest || (rest[3] != '/' && rest[3] != '?' && rest[3])) {
        vmc_error(err, VMCTL_E_INVALID_ARGUMENT,
                  "%s names a host, and a kubeconfig's context says where the cluster is", uri);
        return vmc_error_next(err, "kubevirt:///NAMESPACE?context=NAME&kubeconfig=FILE");
    }
    rest += 3;
    size_t path = strcspn(rest, "?#");
    const char *name = rest + (*rest == '/');
    size_t length = path - (*rest == '/');
    if (length) {
        out->namespace_name = vmc_uri_decode(name, length);
        if (!kubevirt_is_label_name(out->namespace_name))
            return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "\"%s\" is no namespace", out->namespace_name);
    }
    return rest[path] == '?' ? read_query(rest + path + 1, out, err) : 0;
}

static char *canonical(const char *namespace_name, const char *context, const char *kubeconfig) {
    vmc_str uri = {0};
    vmc_str_printf(&uri, "kubevirt:///%s", namespace_name);
    vmc_uri_add(&uri, "context", context);
    vmc_uri_add(&uri, "kubeconfig", kubeconfig);
    return vmc_str_take(&uri);
}

/* The kubeconfig that was found belongs to the endpoint's name: the journal is kept by it. */
int kubevirt_open(const vmctl_endpoint *endpoint, void **out, vmctl_opened *opened, vmctl_error **err) {
    AUTO_PLACE where = {0};
    int code = endpoint->uri ? read_uri(endpoint->uri, &where, err) : 0;
    if (code < 0)
        return code;
    const vmctl_context *context = endpoint->context;
    const kube_config_options options = {
        .file = where.kubeconfig,
        .context = where.context,
        .name_space = where.namespace_name ? where.namespace_name
                      : context            ? context->namespace_name
                                           : NULL,
        .interactive = true,
    };
    KUBE_AUTO_CONFIG *config = NULL;
    code = kube_config_load(&options, &config, err);
    kube_client *client = NULL;
    if (code == 0)
        code = kube_client_new(config, &client, err);
    if (code < 0)
        return code;
    kubevirt_conn *conn = vmc_alloc(sizeof *conn);
    conn->client = client;
    conn->namespace_name = vmc_strdup(kube_config_namespace(config));
    conn->storage_class = context ? vmc_strdup(context->storage_class) : NULL;
    pthread_mutex_init(&conn->lock, NULL);
    opened->uri = canonical(conn->namespace_name, kube_config_context(config),
                            where.kubeconfig ? where.kubeconfig : kube_config_file(config));
    if (!endpoint->uri)
        opened->reason = vmc_printf("context %s of %s", kube_config_context(config),
                                    kube_config_file(config) ? kube_config_file(config) : "the pod's service account");
    *out = conn;
    return 0;
}

void kubevirt_close(void *opaque) {
    kubevirt_conn *conn = opaque;
    kubevirt_tunnels_close(conn);
    kube_client_free(conn->client);
    cJSON_Delete(conn->installation);
    pthread_mutex_destroy(&conn->lock);
    free(conn->namespace_name);
    free(conn->storage_class);
    free(conn);
}
