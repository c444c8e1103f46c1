/* vmctl image list|inspect|pull|convert|upload|download|delete. */
#include "output.h"
#include "tree.h"
#include "verbs.h"

#include <stdlib.h>
#include <string.h>

static const cli_column columns[] = {{"NAME", "name", CLI_CELL_TEXT, CLI_COLUMN_CUT},
                                     {"POOL", "pool", CLI_CELL_TEXT, 0},
                                     {"FORMAT", "format", CLI_CELL_TEXT, 0},
                                     {"SIZE", "virtualBytes", CLI_CELL_BYTES, CLI_COLUMN_RIGHT},
                                     {"ON DISK", "allocatedBytes", CLI_CELL_BYTES, CLI_COLUMN_RIGHT},
                                     {"BACKING", "backing", CLI_CELL_TEXT, CLI_COLUMN_WIDE},
                                     {"MODIFIED", "modified", CLI_CELL_TEXT, CLI_COLUMN_WIDE},
                                     {"PATH", "path", CLI_CELL_TEXT, CLI_COLUMN_WIDE},
                                     {NULL}};
static const cli_view view = {.columns = columns};

static int show(const vmctl_image *image, void *user) {
    cli_output_add(user, cli_tree_image(image));
    return 0;
}

static void show_outcome(cli *c, const char *name, const char *path, const char *outcome) {
    cJSON *result = cJSON_CreateObject();

    cli_put(result, "name", name);
    cli_put(result, "path", path);
    cli_put(result, "outcome", outcome);
    cli_progress_end();
    cli_output_add(c, result);
}

/* --- list ------------------------------------------------------------------------------------------------------- */

static int image_list(cli *c) {
    vmctl_connection *connection = NULL;
    vmctl_error *err = NULL;
    int status = 0;

    if (!cli_flag(&c->args, "cache")) {
        connection = cli_connect(c, NULL, NULL, &status);
        if (!connection)
            return status;
    }
    vmctl_call call = cli_call(c);
    cli_output_begin(c, &view);
    int rc = vmctl_image_list(connection, cli_text(&c->args, "pool", NULL), &call, show, c, &err);
    cli_progress_end();
    cli_output_end(c, rc < 0);
    return rc < 0 ? cli_report(c, err, connection ? vmctl_connection_context(connection) : NULL) : 0;
}

static const cli_option list_options[] = {
    {"cache", 0, CLI_FLAG, NULL, "the images that were fetched by URL to this machine, not those of an endpoint"},
    {"pool", 0, CLI_TEXT, "POOL", "only this pool, datastore or library"},
    {NULL}};

static const cli_verb verb_list = {
    .name = "list",
    .summary = "the images of an endpoint, or of the cache",
    .options = list_options,
    .run = image_list,
};

/* --- inspect ---------------------------------------------------------------------------------------------------- */

static int image_inspect(cli *c) {
    CLI_AUTO_FREE int *statuses = cli_alloc(c->args.operand_count * sizeof *statuses);

    cli_output_begin(c, &view);
    for (size_t i = 0; i < c->args.operand_count; i++) {
        vmctl_call call = cli_call(c);
        vmctl_error *err = NULL;
        if (vmctl_image_inspect(c->args.operands[i], &call, show, c, &err) < 0)
            statuses[i] = cli_report(c, err, NULL);
    }
    int status = cli_status_of_many(statuses, c->args.operand_count);
    cli_output_end(c, status != 0);
    return status;
}

static const cli_verb verb_inspect = {
    .name = "inspect",
    .operands = "FILE...",
    .summary = "what a file is: its format by its content, its size, its backing file",
    .min = 1,
    .max = -1,
    .hint = CLI_HINT_FILE,
    .hint_rest = CLI_HINT_FILE,
    .run = image_inspect,
};

/* --- pull ------------------------------------------------------------------------------------------------------- */

static int image_pull(cli *c) {
    vmctl_image_pull_options options = VMCTL_IMAGE_PULL_OPTIONS_INIT;
    vmctl_call call = cli_call(c);
    vmctl_error *err = NULL;
    char *path = NULL;

    options.call = &call;
    options.checksum = cli_text(&c->args, "checksum", NULL);
    options.name = cli_text(&c->args, "name", NULL);
    options.refresh = cli_flag(&c->args, "refresh");
    if (vmctl_image_pull(c->args.operands[0], &options, &path, &err) < 0)
        return cli_report(c, err, NULL);
    cli_output_begin(c, &cli_view_outcome);
    show_outcome(c, path, path, "is in the cache");
    cli_output_end(c, false);
    vmctl_string_free(path);
    return 0;
}

static const cli_option pull_options[] = {
    {"checksum", 0, CLI_TEXT, "SUM", "sha256:HEX or sha512:HEX; another content is refused"},
    {"name", 0, CLI_TEXT, "NAME", "its name in the cache, instead of the URL's"},
    {"refresh", 0, CLI_FLAG, NULL, "ask the server again even when it is in the cache"},
    {NULL}};

static const cli_verb verb_pull = {
    .name = "pull",
    .operands = "URL",
    .summary = "fetch an image into the cache of this machine",
    .help =
        "An interrupted download goes on where it stopped; an unchanged image is not fetched twice. -o name writes\n"
        "the file's path.",
    .options = pull_options,
    .min = 1,
    .max = 1,
    .run = image_pull,
};

/* --- convert ---------------------------------------------------------------------------------------------------- */

static int image_convert(cli *c) {
    vmctl_image_convert_options options = VMCTL_IMAGE_CONVERT_OPTIONS_INIT;
    vmctl_call call = cli_call(c);
    vmctl_error *err = NULL;
    const char *target = c->args.operands[1];

    options.call = &call;
    options.format = cli_text(&c->args, "format", NULL);
    options.compress = cli_flag(&c->args, "compress");
    options.overwrite = cli_flag(&c->args, "overwrite");
    if (vmctl_image_convert(c->args.operands[0], target, &options, &err) < 0)
        return cli_report(c, err, NULL);
    cli_output_begin(c, &cli_view_outcome);
    show_outcome(c, target, target, "written");
    cli_output_end(c, false);
    return 0;
}

static const cli_option convert_options[] = {
    {"compress", 0, CLI_FLAG, NULL, "compress, where the format can"},
    {"format", 0, CLI_TEXT, "FORMAT", "qcow2, raw, vmdk, vdi, vpc (default: by the target's name)"},
    {"overwrite", 0, CLI_FLAG, NULL, "replace the target"},
    {NULL}};

static const cli_verb verb_convert = {
    .name = "convert",
    .operands = "SOURCE TARGET",
    .summary = "write an image in another format, without its backing file",
    .options = convert_options,
    .min = 2,
    .max = 2,
    .hint = CLI_HINT_FILE,
    .hint_rest = CLI_HINT_FILE,
    .run = image_convert,
};

/* --- upload and delete ------------------------------------------------------------------------------------------ */

static int image_upload(cli *c) {
    vmctl_image_upload_options options = VMCTL_IMAGE_UPLOAD_OPTIONS_INIT;
    vmctl_error *err = NULL;
    int status = 0;
    vmctl_connection *connection = cli_connect(c, NULL, NULL, &status);

    if (!connection)
        return status;
    vmctl_call call = cli_call(c);
    options.call = &call;
    options.pool = cli_text(&c->args, "pool", NULL);
    options.name = cli_text(&c->args, "name", NULL);
    options.virtual_bytes = (uint64_t)cli_number(&c->args, "size", 0);
    const char *file = c->args.operands[0], *base = strrchr(file, '/');
    if (vmctl_image_upload(connection, file, &options, &err) < 0)
        return cli_report(c, err, vmctl_connection_context(connection));
    cli_output_begin(c, &cli_view_outcome);
    show_outcome(c, options.name ? options.name : base ? base + 1 : file, NULL, "uploaded");
    cli_output_end(c, false);
    return 0;
}

static const cli_option upload_options[] = {
    {"name", 0, CLI_TEXT, "NAME", "its name there, instead of the file's"},
    {"pool", 0, CLI_TEXT, "POOL", "another pool, datastore or library than the default"},
    {"size", 0, CLI_SIZE, "SIZE", "of the disk, at least (for an image that nobody here can look into)"},
    {NULL}};

static const cli_verb verb_upload = {
    .name = "upload",
    .operands = "FILE|URL",
    .summary = "copy an image to an endpoint",
    .help =
        "KubeVirt also fetches by itself: an http or https URL, docker://IMAGE, pvc:[NAMESPACE/]NAME, snapshot:NAME.\n"
        "\n"
        "  vmctl image upload debian-12.qcow2\n"
        "  vmctl image upload docker://quay.io/containerdisks/debian:12 --name debian-12 --size 4GiB",
    .options = upload_options,
    .min = 1,
    .max = 1,
    .hint = CLI_HINT_FILE,
    .run = image_upload,
};

static int image_download(cli *c) {
    vmctl_error *err = NULL;
    int status = 0;
    vmctl_connection *connection = cli_connect(c, NULL, NULL, &status);

    if (!connection)
        return status;
    vmctl_call call = cli_call(c);
    const char *image = c->args.operands[0], *file = c->args.operands[1];
    if (vmctl_image_download(connection, image, file, &call, &err) < 0)
        return cli_report(c, err, vmctl_connection_context(connection));
    cli_output_begin(c, &cli_view_outcome);
    show_outcome(c, image, file, "downloaded");
    cli_output_end(c, false);
    return 0;
}

static const cli_verb verb_download = {
    .name = "download",
    .operands = "POOL/IMAGE FILE",
    .summary = "copy an image of an endpoint into a file",
    .help = "Byte for byte, with its holes; FILE must not exist. Cancelled or failed, it leaves no file.",
    .min = 2,
    .max = 2,
    .hint_rest = CLI_HINT_FILE,
    .run = image_download,
};

static int image_delete(cli *c) {
    vmctl_connection *connection = NULL;
    int status = 0;

    if (!cli_flag(&c->args, "cache")) {
        connection = cli_connect(c, NULL, NULL, &status);
        if (!connection)
            return status;
    }
    CLI_AUTO_FREE int *statuses = cli_alloc(c->args.operand_count * sizeof *statuses);
    cli_output_begin(c, &cli_view_outcome);
    for (size_t i = 0; i < c->args.operand_count; i++) {
        vmctl_call call = cli_call(c);
        vmctl_error *err = NULL;
        if (vmctl_image_delete(connection, c->args.operands[i], &call, &err) < 0)
            statuses[i] = cli_report(c, err, connection ? vmctl_connection_context(connection) : NULL);
        else
            show_outcome(c, c->args.operands[i], NULL, "deleted");
    }
    status = cli_status_of_many(statuses, c->args.operand_count);
    cli_output_end(c, status != 0);
    return status;
}

static const cli_option delete_options[] = {
    {"cache", 0, CLI_FLAG, NULL, "from the cache of this machine, not from an endpoint"}, {NULL}};

static const cli_verb verb_delete = {
    .name = "delete",
    .operands = "NAME...",
    .summary = "remove images of an endpoint (POOL/NAME), or of the cache",
    .options = delete_options,
    .min = 1,
    .max = -1,
    .run = image_delete,
};

static const cli_verb *const verbs[] = {&verb_list,   &verb_inspect,  &verb_pull,   &verb_convert,
                                        &verb_upload, &verb_download, &verb_delete, NULL};

const cli_verb cli_verb_image = {
    .name = "image",
    .group = "storage",
    .summary = "disk images: files, the cache, and those of an endpoint",
    .verbs = verbs,
};
