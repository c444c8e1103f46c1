/* src/config.h - the configuration file's contents as config.c (the model) and config_file.c (its YAML) share them. */
#ifndef VMC_SRC_CONFIG_H
#define VMC_SRC_CONFIG_H

#include "base/str.h"
#include <vmctl/connection.h>

typedef struct vmc_context {
    vmctl_context view; /* its strings are malloc'ed and owned here */
    vmc_strv command;
} vmc_context;

struct vmctl_config {
    char *path;
    char *current; /* NULL */
    vmc_context **contexts;
    size_t count;
    bool exposed; /* others may read the file */
};

vmc_context *vmc_config_new_context(vmctl_config *config);
void vmc_context_free(vmc_context *context);

/* Reads the text into an empty configuration; every fault in one INVALID_ARGUMENT error. */
int vmc_config_parse(vmctl_config *config, const char *text, size_t length, vmctl_error **err);
char *vmc_config_format(const vmctl_config *config);

/* NOT_FOUND, with the nearest name. */
int vmc_config_no_context(const vmctl_config *config, const char *name, vmctl_error **err);

/* The password that a context's credentials give; *out NULL when it has none. vmc_wipe_free. */
int vmc_context_password(const vmctl_context *context, const vmctl_call *call, char **out, vmctl_error **err);

#endif
