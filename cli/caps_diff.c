/* vmctl caps --diff A B: only what differs between two backends, endpoints or VMs. */
#include "caps.h"
#include "grid.h"
#include "output.h"
#include "tree.h"

#include <stdlib.h>
#include <string.h>

/* The backend, platform or context that a word could have been meant as. free; NULL: none is near. */
static char *nearest_subject(const vmctl_config *config, const char *word) {
    CLI_AUTO_STRINGS names = {0};

    for (size_t i = 0; vmctl_platform_backend(i); i++)
        cli_strings_add(&names, vmctl_platform_backend(i));
    for (size_t i = 0; config && i < vmctl_config_context_count(config); i++)
        cli_strings_add(&names, vmctl_config_context_at(config, i)->name);
    return cli_strdup(vmctl_nearest(word, (const char *const *)names.items));
}

/* A VM: also a word that is none, which says what else it may have been meant as. */
static int open_vm(cli *c, const vmctl_config *config, const char *name, cli_subject *out) {
    CLI_AUTO_FREE char *near = nearest_subject(config, name);
    vmctl_error *err = NULL;
    vmctl_vm *vm = NULL;

    if (!near || strchr(name, '/'))
        return cli_subject_open(c, NULL, NULL, name, out);
    int status = cli_subject_open(c, NULL, NULL, NULL, out);
    if (status || !out->options.connection)
        return status;
    vmctl_lookup_options lookup = VMCTL_LOOKUP_OPTIONS_INIT;
    lookup.call = &out->call;
    int rc = vmctl_vm_lookup(out->options.connection, name, &lookup, &vm, &err);
    if (rc == VMCTL_E_NOT_FOUND) {
        vmctl_error_free(err);
        return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, near, "--diff: there is no backend, endpoint or VM \"%s\"", name);
    }
    if (rc < 0)
        return cli_report(c, err, vmctl_connection_context(out->options.connection));
    out->options.vm = out->vm = vm;
    return 0;
}

/* A backend, a URI, a context or a VM, in this order. */
static int open_subject(cli *c, const char *name, cli_subject *out) {
    int status = 0;

    if (vmctl_backend_resolve(name)) {
        *out = (cli_subject){.options = VMCTL_CAPS_OPTIONS_INIT};
        out->options.backend = name;
        return 0;
    }
    if (strstr(name, "://"))
        return cli_subject_open(c, NULL, name, NULL, out);
    vmctl_config *config = cli_config(c, &status);
    if (config && vmctl_config_context(config, name))
        return cli_subject_open(c, name, NULL, NULL, out);
    return status ? status : open_vm(c, config, name, out);
}

static int keep(const vmctl_cap *cap, void *user) {
    cJSON_AddItemToArray(user, cli_tree_cap(cap));
    return 0;
}

static int ask(cli *c, const char *name, cJSON *entries) {
    cli_subject subject = {0};
    vmctl_error *err = NULL;
    int status = open_subject(c, name, &subject);

    if (!status && !subject.options.backend && !subject.options.connection)
        subject.options.backend = vmctl_backend_name(0);
    if (!status && vmctl_caps(&subject.options, keep, entries, &err) < 0)
        status = cli_report(c, err, NULL);
    cli_subject_close(&subject);
    return status;
}

static bool level_differs(const cJSON *a, const cJSON *b, const char *answer) {
    const cJSON *x = cJSON_GetObjectItem(a, answer), *y = cJSON_GetObjectItem(b, answer);
    return x && y && strcmp(cli_get(x, "level"), cli_get(y, "level")) != 0;
}

/* A fact that only one of the two has is no difference. */
static bool differs(const cJSON *a, const cJSON *b) {
    char x[16], y[16];
    return strcmp(cli_platform_level(a, x), cli_platform_level(b, y)) != 0 || level_differs(a, b, "vmctl") ||
           level_differs(a, b, "here");
}

static char *levels(const cJSON *entry, bool here) {
    char platform[16];
    const char *found = cli_get(cJSON_GetObjectItem(entry, "here"), "level");
    return cli_printf("%s/%s%s%s", cli_platform_level(entry, platform),
                      cli_get(cJSON_GetObjectItem(entry, "vmctl"), "level"), here ? "/" : "",
                      here ? (*found ? found : "-") : "");
}

static void write_grid(cli *c, const char *a, const char *b, const cJSON *rows, bool here) {
    const char *words = here ? "can/does/here" : "can/does";
    CLI_AUTO_FREE char *first = cli_printf("%s\n%s", a, words);
    CLI_AUTO_FREE char *second = cli_printf("%s\n%s", b, words);
    const char *titles[] = {"FEATURE", first, second, "WHAT IT IS"};
    static const cli_grid_kind kinds[] = {CLI_GRID_WORD, CLI_GRID_LEVEL, CLI_GRID_LEVEL, CLI_GRID_TEXT};
    cli_grid grid;

    cli_grid_begin(&grid, titles, kinds, 4);
    const cJSON *row = NULL;
    cJSON_ArrayForEach(row, rows) {
        CLI_AUTO_FREE char *x = levels(cJSON_GetObjectItem(row, "a"), here);
        CLI_AUTO_FREE char *y = levels(cJSON_GetObjectItem(row, "b"), here);
        const char *cells[] = {cli_get(row, "feature"), x, y, cli_get(row, "title")};
        cli_grid_add(&grid, cells);
    }
    cli_grid_write(c, stdout, &grid);
}

int cli_caps_diff(cli *c, const char *a, const char *b) {
    cJSON *first = cJSON_CreateArray(), *second = cJSON_CreateArray(), *rows = cJSON_CreateArray();
    const char *words = cli_text(&c->args, "feature", NULL);
    int status = ask(c, a, first);

    if (!status)
        status = ask(c, b, second);
    cli_progress_end();
    bool here = false;
    const cJSON *x = first->child;
    for (const cJSON *y = second->child; !status && x && y; x = x->next, y = y->next) {
        if (!cli_caps_selected(words, cli_get(x, "feature")) || !differs(x, y))
            continue;
        here |= level_differs(x, y, "here");
        cJSON *row = cJSON_CreateObject();
        cli_put(row, "feature", cli_get(x, "feature"));
        cli_put(row, "title", cli_get(x, "title"));
        cJSON_AddItemToObject(row, "a", cJSON_Duplicate(x, true));
        cJSON_AddItemToObject(row, "b", cJSON_Duplicate(y, true));
        cJSON_AddItemToArray(rows, row);
    }
    bool people = cli_grid_wanted(c);
    if (!status && people && rows->child) {
        write_grid(c, a, b, rows, here);
    } else if (!status && !people) {
        static const cli_view view = {.name_key = "feature"};
        cJSON *row = NULL;
        cli_output_begin(c, &view);
        while ((row = cJSON_DetachItemFromArray(rows, 0)))
            cli_output_add(c, row);
        cli_output_end(c, false);
    }
    cJSON_Delete(first);
    cJSON_Delete(second);
    cJSON_Delete(rows);
    return status;
}
