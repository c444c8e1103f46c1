/* drivers/kube/config.c - a context, its cluster and its user, checked before anything is sent. */
#include "drivers/kube/config.h"
#include "base/file.h"
#include "base/redact.h"
#include "drivers/kube/kubeconfig.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define POD_FOLDER "/var/run/secrets/kubernetes.io/serviceaccount"

/* "https://host:6443/base" of what the kubeconfig says. As client-go's DefaultServerURL: without a scheme it is https when any TLS
 * setting is there, else http. */
static int set_server(kube_config *c, const kubeconfig_map *cluster, vmctl_error **err) {
    char *text = NULL;
    int rc = kubeconfig_text(cluster, "server", &text, err);
    if (rc < 0)
        return rc;
    if (!text)
        return kubeconfig_fault(cluster, NULL, err, "the server is missing: server: https://HOST:6443");
    const char *scheme = strstr(text, "://");
    if (!scheme) {
        bool tls = c->ca_pem || c->cert_pem || c->insecure || c->server_name;
        char *whole = vmc_printf("%s://%s", tls ? "https" : "http", text);
        free(text);
        text = whole;
    } else if (strncasecmp(text, "https://", 8) != 0 && strncasecmp(text, "http://", 7) != 0) {
        free(text);
        return kubeconfig_fault(cluster, "server", err, "a server begins with https:// (or http://)");
    }
    const char *host = strstr(text, "://") + 3;
    size_t length = strlen(text);
    if (strcspn(host, "/?#") == 0 || strpbrk(text, " ?#\"\\")) {
        free(text);
        return kubeconfig_fault(cluster, "server", err, "this is no server's URL: https://HOST:6443 is wanted");
    }
    while (length > (size_t)(host - text) && text[length - 1] == '/')
        text[--length] = '\0';
    c->server = text;
    c->shown = vmc_redact_url(text);
    return 0;
}

static int set_proxy(kube_config *c, const kubeconfig_map *cluster, vmctl_error **err) {
    int rc = kubeconfig_text(cluster, "proxy-url", &c->proxy, err);
    if (rc < 0 || !c->proxy)
        return rc;
    static const char *const schemes[] = {"http://", "https://", "socks5://", "socks5h://"};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
        if (strncasecmp(c->proxy, schemes[i], strlen(schemes[i])) == 0)
            return 0;
    return kubeconfig_fault(cluster, "proxy-url", err, "http, https and socks5 proxies are known: socks5://HOST:1080");
}

static int read_cluster(kube_config *c, const kubeconfig_map *cluster, vmctl_error **err) {
    VMC_AUTO_FREE char *from = NULL;
    int rc = kubeconfig_bool(cluster, "insecure-skip-tls-verify", &c->insecure, err);
    if (rc == 0)
        rc = kubeconfig_bytes(cluster, "certificate-authority", &c->ca_pem, &from, err);
    const char *why;
    if (rc == 0 && c->ca_pem && !kube_certificates_ok(c->ca_pem, &why))
        rc = kubeconfig_fault(cluster, from, err, "%s", why);
    if (rc == 0 && c->ca_pem && c->insecure)
        rc = kubeconfig_fault(cluster, "insecure-skip-tls-verify", err,
                              "a certificate authority is given too: one of both is meant");
    if (rc == 0)
        rc = kubeconfig_text(cluster, "tls-server-name", &c->server_name, err);
    if (rc == 0)
        rc = kubeconfig_bool(cluster, "disable-compression", &c->no_compression, err);
    return rc == 0 ? set_proxy(c, cluster, err) : rc;
}

/* What the plugin shall know of the cluster besides its address: the extension of that name. */
static char *exec_extension(const kubeconfig_map *cluster) {
    struct fy_node *list =
        cluster->node ? fy_node_by_path(cluster->node, "/extensions", FY_NT, FYNWF_DONT_FOLLOW) : NULL;
    void *iterator = NULL;
    struct fy_node *item;
    while (list && fy_node_is_sequence(list) && (item = fy_node_sequence_iterate(list, &iterator))) {
        struct fy_node *name = fy_node_mapping_lookup_by_string(item, "name", FY_NT);
        const char *text = name && fy_node_is_scalar(name) ? fy_node_get_scalar0(name) : NULL;
        struct fy_node *value = fy_node_mapping_lookup_by_string(item, "extension", FY_NT);
        if (!text || strcmp(text, "client.authentication.k8s.io/exec") != 0 || !value)
            continue;
        char *json = fy_emit_node_to_string(value, FYECF_MODE_JSON_ONELINE);
        char *copy = vmc_strdup(json);
        free(json);
        return copy;
    }
    return NULL;
}

static int read_interactive(kube_exec *exec, const kubeconfig_map *map, vmctl_error **err) {
    VMC_AUTO_FREE char *mode = NULL;
    int rc = kubeconfig_text(map, "interactiveMode", &mode, err);
    if (rc < 0 || !mode)
        return rc;
    static const char *const modes[] = {"IfAvailable", "Never", "Always"};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
        if (strcmp(mode, modes[i]) == 0) {
            exec->interactive = (kube_interactive)i;
            return 0;
        }
    return kubeconfig_fault(map, "interactiveMode", err, "IfAvailable, Never or Always is wanted here");
}

static int read_exec(kube_config *c, const kubeconfig_map *map, const kubeconfig_map *cluster, vmctl_error **err) {
    kube_exec *exec = &c->exec;
    int rc = kubeconfig_text(map, "command", &exec->command, err);
    if (rc == 0 && !exec->command)
        rc = kubeconfig_fault(map, NULL, err, "the command is missing");
    if (rc == 0 && exec->command && strchr(exec->command, '/')) {
        char *path = vmc_path_absolute(map->file->folder, exec->command);
        free(exec->command);
        exec->command = path;
    }
    if (rc == 0)
        rc = kubeconfig_text(map, "apiVersion", &exec->api_version, err);
    if (rc == 0 && (!exec->api_version || (strcmp(exec->api_version, "client.authentication.k8s.io/v1") != 0 &&
                                           strcmp(exec->api_version, "client.authentication.k8s.io/v1beta1") != 0)))
        rc = kubeconfig_fault(map, exec->api_version ? "apiVersion" : NULL, err,
                              "apiVersion: client.authentication.k8s.io/v1 or .../v1beta1 is wanted here");
    if (rc == 0)
        rc = kubeconfig_list(map, "args", &exec->args, err);
    if (rc == 0)
        rc = kubeconfig_pairs(map, "env", &exec->environment, err);
    if (rc == 0)
        rc = kubeconfig_bool(map, "provideClusterInfo", &exec->cluster_info, err);
    if (rc == 0)
        rc = kubeconfig_text(map, "installHint", &exec->install_hint, err);
    if (rc == 0)
        rc = read_interactive(exec, map, err);
    if (rc == 0 && exec->cluster_info)
        exec->cluster_config = exec_extension(cluster);
    return rc;
}

static int read_impersonation(kube_config *c, const kubeconfig_map *user, vmctl_error **err) {
    int rc = kubeconfig_text(user, "as", &c->as, err);
    if (rc == 0)
        rc = kubeconfig_text(user, "as-uid", &c->as_uid, err);
    if (rc == 0)
        rc = kubeconfig_list(user, "as-groups", &c->as_groups, err);
    KUBECONFIG_AUTO_MAP extra = {0};
    if (rc == 0)
        rc = kubeconfig_child(user, "as-user-extra", &extra, err);
    void *iterator = NULL;
    struct fy_node_pair *pair;
    while (rc == 0 && extra.node && (pair = fy_node_mapping_iterate(extra.node, &iterator))) {
        const char *key = fy_node_get_scalar0(fy_node_pair_key(pair));
        VMC_AUTO_STRV values = {0};
        rc = kubeconfig_list(&extra, key ? key : "", &values, err);
        for (size_t i = 0; rc == 0 && i < values.count; i++) {
            vmc_strv_add(&c->as_extra, key);
            vmc_strv_add(&c->as_extra, values.items[i]);
        }
    }
    if (rc == 0 && !c->as && (c->as_uid || c->as_groups.count > 0 || c->as_extra.count > 0))
        rc = kubeconfig_fault(user, NULL, err, "as-uid, as-groups and as-user-extra need \"as\" beside them");
    return rc;
}

static int read_certificate(kube_config *c, const kubeconfig_map *user, vmctl_error **err) {
    VMC_AUTO_FREE char *cert_from = NULL;
    VMC_AUTO_FREE char *key_from = NULL;
    int rc = kubeconfig_bytes(user, "client-certificate", &c->cert_pem, &cert_from, err);
    if (rc == 0)
        rc = kubeconfig_bytes(user, "client-key", &c->key_pem, &key_from, err);
    if (rc < 0)
        return rc;
    const char *why;
    if (c->cert_pem && !kube_certificates_ok(c->cert_pem, &why))
        return kubeconfig_fault(user, cert_from, err, "%s", why);
    if (c->cert_pem && !c->key_pem)
        return kubeconfig_fault(user, cert_from, err, "the client certificate needs its client-key");
    if (c->key_pem && !c->cert_pem)
        return kubeconfig_fault(user, key_from, err, "the client key needs its client-certificate");
    if (c->cert_pem && !kube_key_ok(c->cert_pem, c->key_pem, &why))
        return kubeconfig_fault(user, key_from, err, "%s", why);
    return 0;
}

static int read_user(kube_config *c, const kubeconfig_map *user, const kubeconfig_map *cluster, vmctl_error **err) {
    int rc = read_certificate(c, user, err);
    if (rc == 0)
        rc = kubeconfig_text(user, "token", &c->token, err);
    if (rc == 0)
        rc = kubeconfig_path(user, "tokenFile", &c->token_file, err);
    if (rc == 0 && c->token_file && !vmc_file_exists(c->token_file))
        rc = kubeconfig_fault(user, "tokenFile", err, "there is no file %s", c->token_file);
    if (rc == 0)
        rc = kubeconfig_text(user, "username", &c->username, err);
    if (rc == 0)
        rc = kubeconfig_text(user, "password", &c->password, err);
    if (rc == 0 && c->username && (c->token || c->token_file))
        rc = kubeconfig_fault(user, "username", err, "a token is given too: one of both is meant");
    if (rc == 0)
        rc = read_impersonation(c, user, err);
    KUBECONFIG_AUTO_MAP exec = {0}, provider = {0};
    if (rc == 0)
        rc = kubeconfig_child(user, "exec", &exec, err);
    if (rc == 0 && exec.node)
        rc = read_exec(c, &exec, cluster, err);
    if (rc == 0)
        rc = kubeconfig_child(user, "auth-provider", &provider, err);
    if (rc == 0 && provider.node && !exec.node && !c->token && !c->token_file) {
        rc = kubeconfig_fault(user, "auth-provider", err, "Kubernetes has removed auth-provider in its version 1.26");
        vmc_error_next(err,
                       "let the tool that wrote this kubeconfig write it again: it gives an \"exec\" plugin today");
    }
    return rc;
}

static int read_context(kube_config *c, const kubeconfig *k, const kube_config_options *o, vmctl_error **err) {
    KUBECONFIG_AUTO_MAP context = {0}, cluster = {0}, user = {0};
    int rc = kubeconfig_find(k, "contexts", "context", c->context, "", &context, err);
    if (rc < 0)
        return rc;
    c->file = vmc_strdup(context.file->path);
    VMC_AUTO_FREE char *by = vmc_printf("context \"%s\"", c->context);
    rc = kubeconfig_text(&context, "namespace", &c->name_space, err);
    if (rc == 0 && o->name_space) {
        free(c->name_space);
        c->name_space = vmc_strdup(o->name_space);
    }
    if (rc == 0)
        rc = kubeconfig_text(&context, "cluster", &c->cluster, err);
    if (rc == 0 && !c->cluster)
        rc = kubeconfig_fault(&context, NULL, err, "the cluster is missing");
    if (rc == 0)
        rc = kubeconfig_text(&context, "user", &c->user, err);
    if (rc == 0)
        rc = kubeconfig_find(k, "clusters", "cluster", c->cluster, by, &cluster, err);
    if (rc == 0)
        rc = read_cluster(c, &cluster, err);
    if (rc == 0 && c->user)
        rc = kubeconfig_find(k, "users", "user", c->user, by, &user, err);
    if (rc == 0 && c->user) {
        c->user_place = vmc_printf("user \"%s\" in %s", c->user, user.file->path);
        rc = read_user(c, &user, &cluster, err);
    }
    return rc == 0 ? set_server(c, &cluster, err) : rc;
}

/* ---- In a pod ---- */

static char *pod_part(const char *folder, const char *name) {
    VMC_AUTO_FREE char *path = vmc_printf("%s/%s", folder, name);
    char *text = NULL;
    if (vmc_file_read(path, 1 << 20, &text, NULL, NULL) < 0)
        return NULL;
    return text;
}

int kube_config_in_pod(const char *folder, kube_config **out, vmctl_error **err) {
    *out = NULL;
    const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
    VMC_AUTO_FREE char *token_file = vmc_printf("%s/token", folder);
    if (!host || !*host || !port || !*port || !vmc_file_exists(token_file))
        return 0;
    kube_config *c = kube_config_new();
    c->context = vmc_strdup("in-cluster");
    c->user_place = vmc_printf("the pod's service account (%s)", folder);
    c->server = strchr(host, ':') ? vmc_printf("https://[%s]:%s", host, port) : vmc_printf("https://%s:%s", host, port);
    c->shown = vmc_redact_url(c->server);
    c->token_file = vmc_strdup(token_file);
    c->ca_pem = pod_part(folder, "ca.crt");
    c->name_space = pod_part(folder, "namespace");
    if (c->name_space)
        c->name_space[strcspn(c->name_space, " \r\n")] = '\0';
    const char *why;
    if (c->ca_pem && !kube_certificates_ok(c->ca_pem, &why)) {
        kube_config_free(c);
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s/ca.crt: %s", folder, why);
    }
    *out = c;
    return 0;
}

/* ---- Loading ---- */

static int none_at_all(const kubeconfig *k, vmctl_error **err) {
    VMC_AUTO_FREE char *tried = vmc_strv_join(&k->tried, ", ");
    vmc_error(err, VMCTL_E_NOT_FOUND, "there is no kubeconfig (%s)", tried);
    return vmc_error_next(err,
                          "set KUBECONFIG to the file that your cluster's administrator gave you, or copy it there");
}

static int choose_context(const kubeconfig *k, const kube_config_options *o, char **out, vmctl_error **err) {
    if (o->context) {
        *out = vmc_strdup(o->context);
        return 0;
    }
    int rc = kubeconfig_top(k, "current-context", out, err);
    if (rc < 0 || *out)
        return rc;
    VMC_AUTO_STRV names = {0};
    rc = kubeconfig_names(k, "contexts", &names, err);
    if (rc < 0)
        return rc;
    VMC_AUTO_FREE char *all = vmc_strv_join(&names, ", ");
    vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s has no current-context", k->files[0].path);
    return names.count > 0 ? vmc_error_next(err, "choose a context: %s", all) : VMCTL_E_INVALID_ARGUMENT;
}

int kube_config_load(const kube_config_options *options, kube_config **out, vmctl_error **err) {
    kube_config_options o = options ? *options : (kube_config_options){0};
    kubeconfig k;
    int rc = kubeconfig_open(o.file, &k, err);
    if (rc < 0)
        return rc;
    kube_config *c = NULL;
    if (k.count == 0 && !o.context)
        rc = kube_config_in_pod(POD_FOLDER, &c, err);
    if (rc == 0 && !c && k.count == 0)
        rc = none_at_all(&k, err);
    if (rc == 0 && !c) {
        c = kube_config_new();
        rc = choose_context(&k, &o, &c->context, err);
        if (rc == 0)
            rc = read_context(c, &k, &o, err);
    } else if (rc == 0 && o.name_space) {
        free(c->name_space);
        c->name_space = vmc_strdup(o.name_space);
    }
    kubeconfig_close(&k);
    if (rc < 0 || !c) {
        kube_config_free(c);
        return rc;
    }
    c->interactive = o.interactive;
    if (!c->name_space || !*c->name_space) {
        free(c->name_space);
        c->name_space = vmc_strdup("default");
    }
    *out = c;
    return 0;
}

int kube_config_contexts(const kube_config_options *options, vmc_strv *names, char **current, vmctl_error **err) {
    kubeconfig k;
    int rc = kubeconfig_open(options ? options->file : NULL, &k, err);
    if (rc < 0)
        return rc;
    rc = kubeconfig_names(&k, "contexts", names, err);
    if (rc == 0 && current)
        rc = kubeconfig_top(&k, "current-context", current, err);
    kubeconfig_close(&k);
    return rc;
}

kube_config *kube_config_new(void) {
    kube_config *c = vmc_alloc(sizeof *c);
    atomic_init(&c->refs, 1);
    return c;
}

kube_config *kube_config_share(const kube_config *config) {
    kube_config *shared = (kube_config *)config; /* only the count changes */
    atomic_fetch_add(&shared->refs, 1);
    return shared;
}

void kube_config_free(kube_config *c) {
    if (!c || atomic_fetch_sub(&c->refs, 1) > 1)
        return;
    char *const texts[] = {c->file,        c->context, c->name_space, c->server,     c->shown,
                           c->cluster,     c->ca_pem,  c->user,       c->user_place, c->as,
                           c->server_name, c->as_uid,  c->cert_pem,   c->username,   c->token_file};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        free(texts[i]);
    vmc_wipe_free(c->proxy);
    vmc_wipe_free(c->key_pem);
    vmc_wipe_free(c->token);
    vmc_wipe_free(c->password);
    vmc_strv_free(&c->as_groups);
    vmc_strv_free(&c->as_extra);
    free(c->exec.command);
    vmc_strv_free(&c->exec.args);
    vmc_strv_free(&c->exec.environment);
    free(c->exec.api_version);
    free(c->exec.install_hint);
    free(c->exec.cluster_config);
    free(c);
}

const char *kube_config_context(const kube_config *config) {
    return config->context;
}
const char *kube_config_namespace(const kube_config *config) {
    return config->name_space;
}
const char *kube_config_server(const kube_config *config) {
    return config->shown;
}
const char *kube_config_file(const kube_config *config) {
    return config->file;
}
