/* drivers/kube/config.h - what a context of a kubeconfig says, whole and checked. */
#ifndef KUBE_CONFIG_H
#define KUBE_CONFIG_H

#include "drivers/kube/kube.h"
#include <stdatomic.h>

typedef enum kube_interactive { KUBE_IF_AVAILABLE, KUBE_NEVER, KUBE_ALWAYS } kube_interactive;

/* A plugin that gives credentials; command NULL: none. Source: client-go credential plugins, client.authentication.k8s.io/v1. */
typedef struct kube_exec {
    char *command; /* a path where the kubeconfig gives one (relative to it), else a name for $PATH */
    vmc_strv args;
    vmc_strv environment; /* "NAME=VALUE" */
    char *api_version;
    bool cluster_info;
    kube_interactive interactive;
    char *install_hint;   /* NULL */
    char *cluster_config; /* JSON of the cluster's extension "client.authentication.k8s.io/exec"; NULL */
} kube_exec;

struct kube_config {
    atomic_uint refs; /* not changed otherwise once it is loaded */
    char *file;       /* NULL in a pod */
    char *context, *name_space;
    char *server; /* "https://host:port[/path]" without a slash at its end */
    char *shown;  /* the same without userinfo */

    /* cluster */
    char *cluster;
    char *ca_pem;      /* NULL: the system's */
    char *server_name; /* NULL */
    char *proxy;       /* NULL: from the environment */
    bool insecure, no_compression;

    /* user */
    char *user;                /* NULL: none */
    char *user_place;          /* "user \"ci\" in /root/.kube/config", for errors */
    char *cert_pem, *key_pem;  /* NULL */
    char *token, *token_file;  /* token_file wins */
    char *username, *password; /* NULL */
    char *as, *as_uid;
    vmc_strv as_groups;
    vmc_strv as_extra; /* key, value, key, value ... */
    kube_exec exec;
    bool interactive;
};

kube_config *kube_config_new(void);
/* One more owner of it: kube_config_free. */
kube_config *kube_config_share(const kube_config *config);

/* What kube_config_load does in a pod, its service account's folder being another one. *out is NULL, with 0, when this is no pod. */
int kube_config_in_pod(const char *folder, kube_config **out, vmctl_error **err);

/* certificate.c: "" is no certificate. *why (static) says what is wrong. */
bool kube_certificates_ok(const char *pem, const char **why);
/* Both belong together; the key's text is never shown. */
bool kube_key_ok(const char *cert_pem, const char *key_pem, const char **why);
/* "2026-11-23 05:44:32 UTC" (free) when the first certificate is past its time, or not yet in it (*future); NULL otherwise. */
char *kube_certificate_expired(const char *pem, bool *future);

#endif
