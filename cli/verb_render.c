/* vmctl render. */
#include "output.h"
#include "specs.h"
#include "tree.h"
#include "verbs.h"

#include <string.h>

static int render_one(cli *c, vmctl_connection *connection, const vmctl_spec *spec, void *user) {
    (void)user;
    vmctl_call call = cli_call(c);
    vmctl_error *err = NULL;
    char *text = NULL;

    int rc = vmctl_render(connection, spec, &call, &text, &err);
    cli_progress_end();
    if (rc < 0)
        return cli_report(c, err, vmctl_connection_context(connection));
    cJSON *result = cJSON_CreateObject();
    cli_put(result, "name", vmctl_spec_name(spec));
    cli_put(result, "backend", vmctl_connection_backend(connection));
    cli_put(result, "document", text);
    vmctl_string_free(text);
    cli_output_add(c, result);
    return 0;
}

static void write_text(cli *c, FILE *to, const cJSON *result) {
    (void)c;
    const char *text = cli_get(result, "document");
    size_t length = strlen(text);

    fputs(text, to);
    if (length && text[length - 1] != '\n')
        fputc('\n', to);
}

static const cli_view view = {.text = write_text};

static int render(cli *c) {
    cli_specs specs = {0};
    int status = cli_specs_load(c, c->args.operands, &specs);

    if (status)
        return status;
    cli_output_begin(c, &view);
    status = cli_specs_each(c, &specs, render_one, NULL);
    cli_output_end(c, status != 0);
    cli_specs_free(&specs);
    return status;
}

static const cli_option options[] = {{"name", 0, CLI_TEXT, "NAME", "another name than the file says"},
                                     {"set", 0, CLI_TEXT, "KEY=VALUE", "lay one key of the spec over what is written"},
                                     {NULL}};

const cli_verb cli_verb_render = {
    .name = "render",
    .group = "look",
    .operands = "FILE...",
    .summary = "what create would send, in the hypervisor's own form",
    .help = "Nothing is sent, and nothing is made.",
    .options = options,
    .min = 1,
    .max = -1,
    .hint = CLI_HINT_FILE,
    .hint_rest = CLI_HINT_FILE,
    .run = render,
};
