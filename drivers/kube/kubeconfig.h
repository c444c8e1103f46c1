/* drivers/kube/kubeconfig.h - kubeconfig files as YAML: several of them as one, every value with its place. */
#ifndef KUBE_KUBECONFIG_H
#define KUBE_KUBECONFIG_H

#include "drivers/kube/config.h"
#include <libfyaml.h>

typedef struct kubeconfig_file {
    char *path, *folder;
    struct fy_document *document; /* NULL: an empty file */
} kubeconfig_file;

typedef struct kubeconfig {
    kubeconfig_file *files; /* the first one that says something wins */
    size_t count;
    vmc_strv tried; /* all that were looked for */
    bool named;     /* by the option or $KUBECONFIG, not the default */
} kubeconfig;

/* A map of one of them, with the words for errors: "users[ci].user". */
typedef struct kubeconfig_map {
    const kubeconfig_file *file;
    struct fy_node *node; /* NULL: empty */
    char *path;
} kubeconfig_map;

/* file NULL: $KUBECONFIG, else ~/.kube/config. Files of a list that are missing are passed over. */
int kubeconfig_open(const char *file, kubeconfig *k, vmctl_error **err);
void kubeconfig_close(kubeconfig *k);

/* The first file's scalar of that name at the top; NULL. free. */
int kubeconfig_top(const kubeconfig *k, const char *key, char **out, vmctl_error **err);
/* The names of a list ("contexts"), each once. */
int kubeconfig_names(const kubeconfig *k, const char *list, vmc_strv *names, vmctl_error **err);
/* The entry of that name: its `key` ("cluster" of an item of "clusters"). NOT_FOUND names the near one; by says who refers to
 * it. map->path is free's. */
int kubeconfig_find(const kubeconfig *k, const char *list, const char *key, const char *name, const char *by,
                    kubeconfig_map *map, vmctl_error **err);
void kubeconfig_map_free(kubeconfig_map *map);
#define KUBECONFIG_AUTO_MAP vmc_cleanup(kubeconfig_map_free) kubeconfig_map

/* Values of a map, all 0 with *out untouched where the key is absent or null. Texts: free. */
int kubeconfig_text(const kubeconfig_map *map, const char *key, char **out, vmctl_error **err);
int kubeconfig_bool(const kubeconfig_map *map, const char *key, bool *out, vmctl_error **err);
int kubeconfig_list(const kubeconfig_map *map, const char *key, vmc_strv *out, vmctl_error **err);
int kubeconfig_child(const kubeconfig_map *map, const char *key, kubeconfig_map *out, vmctl_error **err);
/* A path, made absolute from the file's folder. */
int kubeconfig_path(const kubeconfig_map *map, const char *key, char **out, vmctl_error **err);
/* KEY-data decoded, else the file that KEY names, read; *from says which ("certificate-authority-data"; static or the file's
 * path: free). Secrets: the caller wipes. */
int kubeconfig_bytes(const kubeconfig_map *map, const char *key, char **out, char **from, vmctl_error **err);
/* A list of maps {name, value}: appended as "NAME=VALUE". */
int kubeconfig_pairs(const kubeconfig_map *map, const char *key, vmc_strv *out, vmctl_error **err);

/* "FILE:LINE: PATH.KEY: words", INVALID_ARGUMENT; key NULL: of the map itself. */
int kubeconfig_fault(const kubeconfig_map *map, const char *key, vmctl_error **err, const char *format, ...)
    VMCTL_PRINTF(4, 5);

#endif
