/* The vm.yaml files that verbs take. */
#include "specs.h"
#include "tree.h"

#include <stdlib.h>
#include <string.h>

int cli_specs_load(cli *c, const char *const *files, cli_specs *out) {
    CLI_AUTO_STRINGS set = {0};
    int status = 0;

    cli_texts(&c->args, "set", &set);
    *out = (cli_specs){0};
    for (; *files; files++) {
        vmctl_spec_load_options options = VMCTL_SPEC_LOAD_OPTIONS_INIT;
        vmctl_spec **list = NULL;
        vmctl_error *err = NULL;
        size_t count = 0;
        options.set = (const char *const *)set.items;
        options.name = cli_text(&c->args, "name", NULL);
        if (vmctl_spec_load_file(*files, &options, &list, &count, &err) < 0) {
            status = cli_report(c, err, NULL);
            continue;
        }
        out->items = cli_grow(out->items, out->count + count + 1, sizeof(void *));
        memcpy(out->items + out->count, list, count * sizeof(void *));
        out->count += count;
        out->items[out->count] = NULL;
        /* the specs are ours now; the emptied list still has to go */
        list[0] = NULL;
        vmctl_spec_list_free(list);
    }
    if (status)
        cli_specs_free(out);
    return status;
}

void cli_specs_free(cli_specs *specs) {
    for (size_t i = 0; i < specs->count; i++)
        vmctl_spec_free(specs->items[i]);
    free(specs->items);
    *specs = (cli_specs){0};
}

int cli_specs_each(cli *c, const cli_specs *specs, cli_spec_fn work, void *user) {
    CLI_AUTO_FREE int *statuses = cli_alloc(specs->count * sizeof *statuses);

    for (size_t i = 0; i < specs->count; i++) {
        /* What is done is done: an interrupt that came too late for the last one changes nothing. */
        if (vmctl_cancel_triggered(c->cancel)) {
            const char *name = vmctl_spec_name(specs->items[i]);
            return cli_fail(c, VMCTL_E_CANCELLED, NULL, "interrupted before %s%s", name ? name : "the next document",
                            i + 1 < specs->count ? " and those after it" : "");
        }
        vmctl_connection *connection = cli_connect(c, NULL, specs->items[i], &statuses[i]);
        if (connection)
            statuses[i] = work(c, connection, specs->items[i], user);
    }
    return cli_status_of_many(statuses, specs->count);
}

void cli_collect_change(const vmctl_change *change, vmctl_effect effect, void *user) {
    cJSON *tree = cli_tree_change(change);

    cli_put(tree, "effect", effect == VMCTL_EFFECT_AT_RESTART ? "at-restart" : "now");
    cJSON_AddItemToArray(user, tree);
}
