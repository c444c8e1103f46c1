/* Contexts: the model, loading and saving. */
#include "config.h"
#include "base/file.h"
#include "internal.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { LARGEST = 1 << 20 };

vmc_context *vmc_config_new_context(vmctl_config *config) {
    vmc_context *context = vmc_alloc(sizeof *context);
    context->view.size = sizeof context->view;
    config->contexts = vmc_realloc(config->contexts, config->count + 1, sizeof(vmc_context *));
    config->contexts[config->count++] = context;
    return context;
}

void vmc_context_free(vmc_context *context) {
    const char *owned[] = {context->view.name,    context->view.connect,        context->view.password_file,
                           context->view.cluster, context->view.datastore,      context->view.folder,
                           context->view.network, context->view.namespace_name, context->view.storage_class};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++)
        free((char *)owned[i]);
    vmc_strv_free(&context->command);
    free(context);
}

void vmctl_config_free(vmctl_config *config) {
    if (!config)
        return;
    for (size_t i = 0; i < config->count; i++)
        vmc_context_free(config->contexts[i]);
    free(config->contexts);
    free(config->current);
    free(config->path);
    free(config);
}

int vmctl_config_load(const char *path, vmctl_config **out, vmctl_error **err) {
    if (!out)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "no place for the configuration was given");
    vmctl_config *config = vmc_alloc(sizeof *config);
    config->path = path ? vmc_path_absolute(NULL, path) : vmc_xdg_config("config.yaml");
    struct stat st;
    if (stat(config->path, &st) < 0 && (errno == ENOENT || errno == ENOTDIR)) {
        *out = config;
        return 0;
    }
    VMC_AUTO_FREE char *text = NULL;
    size_t length = 0;
    int rc = vmc_file_read(config->path, LARGEST, &text, &length, err);
    if (rc == 0) {
        config->exposed = stat(config->path, &st) == 0 && (st.st_mode & 077) != 0;
        rc = vmc_config_parse(config, text, length, err);
    }
    if (rc < 0) {
        vmctl_config_free(config);
        return rc;
    }
    *out = config;
    return 0;
}

int vmctl_config_save(const vmctl_config *config, vmctl_error **err) {
    if (!config)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "no configuration was given");
    VMC_AUTO_FREE char *folder = vmc_path_dirname(config->path);
    int rc = vmc_mkdirs(folder, 0700, err);
    if (rc < 0)
        return rc;
    VMC_AUTO_FREE char *text = vmc_config_format(config);
    return vmc_file_write(config->path, text, strlen(text), 0600, err);
}

const char *vmctl_config_path(const vmctl_config *config) {
    return config ? config->path : NULL;
}

size_t vmctl_config_context_count(const vmctl_config *config) {
    return config ? config->count : 0;
}

const vmctl_context *vmctl_config_context_at(const vmctl_config *config, size_t index) {
    return config && index < config->count ? &config->contexts[index]->view : NULL;
}

const vmctl_context *vmctl_config_context(const vmctl_config *config, const char *name) {
    if (!config || !name)
        return NULL;
    for (size_t i = 0; i < config->count; i++)
        if (strcmp(config->contexts[i]->view.name, name) == 0)
            return &config->contexts[i]->view;
    return NULL;
}

const char *vmctl_config_current(const vmctl_config *config) {
    return config ? config->current : NULL;
}

int vmc_config_no_context(const vmctl_config *config, const char *name, vmctl_error **err) {
    if (!err)
        return VMCTL_E_NOT_FOUND;
    VMC_AUTO_STRV names = {0};
    for (size_t i = 0; i < config->count; i++)
        vmc_strv_add(&names, config->contexts[i]->view.name);
    const char *near = vmc_nearest(name, (const char *const *)names.items);
    vmc_error(err, VMCTL_E_NOT_FOUND, "there is no context \"%s\" in %s", name, config->path);
    if (near)
        vmc_error_append(err, "; did you mean \"%s\"?", near);
    vmc_error_next(err, "vmctl context list shows them, vmctl context add %s URI makes one", name);
    return VMCTL_E_NOT_FOUND;
}

int vmctl_config_use(vmctl_config *config, const char *name, vmctl_error **err) {
    if (!config)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "no configuration was given");
    if (name && !vmctl_config_context(config, name))
        return vmc_config_no_context(config, name, err);
    free(config->current);
    config->current = vmc_strdup(name);
    return 0;
}

int vmctl_config_add(vmctl_config *config, const vmctl_context *context, bool replace, vmctl_error **err) {
    if (!config || !context)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "no %s was given", config ? "context" : "configuration");
    vmctl_context given = VMCTL_CONTEXT_INIT;
    int rc = vmc_options_copy(&given, context, err);
    if (rc == 0)
        rc = vmc_check_text(given.name, "the context's name", err);
    if (rc == 0)
        rc = vmc_check_text(given.connect, "the context's URI", err);
    if (rc < 0)
        return rc;
    if (strchr(given.name, '/'))
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "a context's name has no '/': context/vm names a VM");
    const vmc_registry_entry *entry;
    rc = vmc_check_uri(given.connect, &entry, err);
    if (rc < 0)
        return rc;
    if (given.password_file && given.password_command)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT,
                         "a context has a password file or a password command, not both");
    size_t at = 0;
    while (at < config->count && strcmp(config->contexts[at]->view.name, given.name) != 0)
        at++;
    if (at < config->count && !replace) {
        vmc_error(err, VMCTL_E_ALREADY_EXISTS, "there is a context \"%s\" already, for %s", given.name,
                  config->contexts[at]->view.connect);
        vmc_error_next(err, "choose another name, or remove it first: vmctl context remove %s", given.name);
        return VMCTL_E_ALREADY_EXISTS;
    }
    vmc_context *made = vmc_config_new_context(config);
    vmctl_context *view = &made->view;
    view->name = vmc_strdup(given.name);
    view->connect = vmc_strdup(given.connect);
    view->password_file = given.password_file ? vmc_path_absolute(NULL, given.password_file) : NULL;
    for (const char *const *word = given.password_command; word && *word; word++)
        vmc_strv_add(&made->command, *word);
    view->password_command = (const char *const *)made->command.items;
    view->cluster = vmc_strdup(given.cluster);
    view->datastore = vmc_strdup(given.datastore);
    view->folder = vmc_strdup(given.folder);
    view->network = vmc_strdup(given.network);
    view->namespace_name = vmc_strdup(given.namespace_name);
    view->storage_class = vmc_strdup(given.storage_class);
    if (at < config->count - 1) { /* takes the place of the old one */
        vmc_context_free(config->contexts[at]);
        config->contexts[at] = made;
        config->count--;
    }
    return 0;
}

int vmctl_config_remove(vmctl_config *config, const char *name, vmctl_error **err) {
    if (!config || !name)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "no %s was given", config ? "context" : "configuration");
    size_t at = 0;
    while (at < config->count && strcmp(config->contexts[at]->view.name, name) != 0)
        at++;
    if (at == config->count)
        return vmc_config_no_context(config, name, err);
    if (vmc_str_eq(config->current, name)) {
        free(config->current);
        config->current = NULL;
    }
    vmc_context_free(config->contexts[at]);
    config->count--;
    memmove(config->contexts + at, config->contexts + at + 1, (config->count - at) * sizeof(vmc_context *));
    return 0;
}

int vmctl_config_vm_name(const vmctl_config *config, const char *name, char **context, char **vm, vmctl_error **err) {
    if (!name || !context || !vm)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "no VM name was given");
    *context = NULL;
    const char *slash = strchr(name, '/');
    if (slash && slash > name && slash[1]) {
        VMC_AUTO_FREE char *before = vmc_strndup(name, (size_t)(slash - name));
        if (vmctl_config_context(config, before)) {
            *context = vmc_strdup(before);
            *vm = vmc_strdup(slash + 1);
            return 0;
        }
    }
    *vm = vmc_strdup(name);
    return 0;
}

/* --- credentials ------------------------------------------------------------------------------------------ */

/* One line: what follows the first newline is no part of it. */
static int first_line(const char *text, const char *from, char **out, vmctl_error **err) {
    size_t length = strcspn(text, "\r\n");
    if (length == 0)
        return vmc_error(err, VMCTL_E_UNAUTHENTICATED, "%s gave no password", from);
    *out = vmc_strndup(text, length);
    return 0;
}

/* All of it: what came behind a zero byte too. */
static void wipe(char *text, size_t length) {
    if (text)
        explicit_bzero(text, length);
    free(text);
}

static int from_file(const char *path, char **out, vmctl_error **err) {
    char *text = NULL;
    size_t length = 0;
    int rc = vmc_file_read(path, 64 << 10, &text, &length, err);
    if (rc < 0) {
        vmc_error_prefix(err, "the context's password file");
        return rc;
    }
    rc = first_line(text, path, out, err);
    wipe(text, length);
    return rc;
}

static int from_command(const vmctl_context *context, const vmctl_call *call, char **out, vmctl_error **err) {
    const vmc_tools *tools;
    int rc = vmc_tools_get(&tools, err);
    if (rc < 0)
        return rc;
    int status = 0;
    char *output = NULL;
    const char *program = context->password_command[0];
    rc = tools->run(context->password_command, call, &status, &output, err);
    if (rc < 0)
        vmc_error_prefix(err, "the password command of context \"%s\"", context->name);
    else if (status != 0)
        rc = vmc_error(err, VMCTL_E_UNAUTHENTICATED, "the password command of context \"%s\" (%s) ended with status %d",
                       context->name, program, status);
    else
        rc = first_line(output, program, out, err);
    vmc_wipe_free(output);
    return rc;
}

int vmc_context_password(const vmctl_context *context, const vmctl_call *call, char **out, vmctl_error **err) {
    *out = NULL;
    if (!context)
        return 0;
    if (context->password_file)
        return from_file(context->password_file, out, err);
    if (context->password_command && context->password_command[0])
        return from_command(context, call, out, err);
    return 0;
}
