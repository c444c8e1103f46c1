/* The vm.yaml files that verbs take. */
#include "specs.h"
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One byte more than vmctl_spec_load takes, which then says so. */
enum { MOST_BYTES = (16 << 20) + 1 };

/* A descriptor to read a pipe from: standard input, or a FIFO such as bash's <(...). -1: a file, or what cannot be opened. */
static int open_pipe(const char *file) {
    struct stat st;

    if (!strcmp(file, "-"))
        return STDIN_FILENO;
    if (stat(file, &st) < 0 || !S_ISFIFO(st.st_mode))
        return -1;
    return open(file, O_RDONLY | O_CLOEXEC);
}

static int wait_for_bytes(const cli *c, int fd) {
    struct pollfd fds[2] = {{fd, POLLIN, 0}, {vmctl_cancel_fd(c->cancel), POLLIN, 0}};
    int64_t left = c->deadline_ms < 0 ? -1 : c->deadline_ms - cli_now_ms();

    if (c->deadline_ms >= 0 && left <= 0)
        return VMCTL_E_TIMEOUT;
    (void)poll(fds, 2, left > INT32_MAX ? INT32_MAX : (int)left);
    return vmctl_cancel_triggered(c->cancel) ? VMCTL_E_CANCELLED : fds[0].revents ? 1 : 0;
}

/* Whoever writes may never end; an interrupt and --timeout must be heard meanwhile. free *out. */
static int read_pipe(cli *c, int fd, const char *file, char **out, size_t *length) {
    const char *shown = fd == STDIN_FILENO ? "standard input" : file;
    size_t capacity = 0;
    int rc = 0;

    while (*length < MOST_BYTES) {
        rc = wait_for_bytes(c, fd);
        if (rc < 0)
            break;
        if (rc == 0)
            continue;
        if (*length + 65536 > capacity)
            *out = cli_grow(*out, capacity = capacity * 2 + 131072, 1);
        ssize_t n = read(fd, *out + *length, 65536);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, NULL, "cannot read %s: %s", shown, strerror(errno));
        if (n == 0)
            break;
        *length += (size_t)n;
    }
    return rc < 0 ? cli_fail(c, rc, NULL, "%s reading %s", rc == VMCTL_E_TIMEOUT ? "timed out" : "cancelled", shown)
                  : 0;
}

/* An exit status. */
static int load(cli *c, const char *file, vmctl_spec_load_options *options, vmctl_spec ***list, size_t *count) {
    vmctl_error *err = NULL;
    int fd = open_pipe(file);

    if (fd < 0) {
        if (vmctl_cancel_triggered(c->cancel))
            return cli_fail(c, VMCTL_E_CANCELLED, NULL, "cancelled opening %s", file);
        return vmctl_spec_load_file(file, options, list, count, &err) < 0 ? cli_report(c, err, NULL) : 0;
    }
    CLI_AUTO_FREE char *text = NULL;
    size_t length = 0;
    int status = read_pipe(c, fd, file, &text, &length);
    if (fd != STDIN_FILENO)
        close(fd);
    if (status)
        return status;
    options->file_name = file;
    /* a pipe of the shell's is in no folder */
    CLI_AUTO_FREE char *here = !strncmp(file, "/dev/fd/", 8) ? getcwd(NULL, 0) : NULL;
    options->base_dir = here;
    return vmctl_spec_load(text ? text : "", length, options, list, count, &err) < 0 ? cli_report(c, err, NULL) : 0;
}

int cli_spec_place(cli *c, vmctl_spec *spec) {
    const char *name = vmctl_spec_name(spec), *shown = name ? name : "the document", *key = "placement.namespace";
    vmctl_error *err = NULL;

    if (!c->namespace_name)
        return 0;
    const char *said = vmctl_spec_namespace(spec);
    if (said && strcmp(said, c->namespace_name) != 0)
        return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, NULL, "%s: -n %s, but its %s is %s", shown, c->namespace_name,
                        vmctl_spec_native(spec, NULL) ? "metadata.namespace" : key, said);
    return said ? 0 : vmctl_spec_set(spec, key, c->namespace_name, &err) < 0 ? cli_report(c, err, NULL) : 0;
}

int cli_specs_load(cli *c, const char *const *files, cli_specs *out) {
    CLI_AUTO_STRINGS set = {0};
    int status = 0;

    cli_texts(&c->args, "set", &set);
    *out = (cli_specs){0};
    for (; *files; files++) {
        vmctl_spec_load_options options = VMCTL_SPEC_LOAD_OPTIONS_INIT;
        vmctl_spec **list = NULL;
        size_t count = 0;
        options.set = (const char *const *)set.items;
        options.name = cli_text(&c->args, "name", NULL);
        int one = load(c, *files, &options, &list, &count);
        if (one || !list) {
            status = one ? one : vmctl_code_exit_status(VMCTL_E_INTERNAL);
            if (vmctl_cancel_triggered(c->cancel))
                break;
            continue;
        }
        out->items = cli_grow(out->items, out->count + count + 1, sizeof(void *));
        memcpy(out->items + out->count, list, count * sizeof(void *));
        for (size_t i = 0; i < count; i++) {
            one = cli_spec_place(c, list[i]);
            status = one ? one : status;
        }
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
