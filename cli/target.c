/* Where a command goes: connections, VMs by "context/name", and several VMs side by side. */
#include "cli.h"
#include "output.h"
#include "tree.h"
#include "verbs.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_THREADS = 8 };

/* A connection of this run, or the attempt at one. */
typedef struct cli_link {
    char *key;
    vmctl_connection *connection; /* NULL: it failed, and that was reported */
    int status;
    pthread_mutex_t one; /* held during each call where the endpoint takes one thread only */
} cli_link;

vmctl_config *cli_config(cli *c, int *status) {
    CLI_AUTO_ERROR *err = NULL;

    if (!c->config && vmctl_config_load(cli_text(&c->args, "config", NULL), &c->config, &err) < 0) {
        *status = cli_report(c, err, NULL);
        err = NULL;
    }
    return c->config;
}

int cli_open(cli *c, const char *context, const vmctl_spec *spec, vmctl_connection **out, vmctl_error **err) {
    vmctl_connect_options options = VMCTL_CONNECT_OPTIONS_INIT;
    vmctl_call call = cli_call(c);

    options.call = &call;
    options.uri = cli_text(&c->args, "connect", NULL);
    options.backend = cli_text(&c->args, "backend", NULL);
    options.context = context ? context : cli_text(&c->args, "context", NULL);
    options.config_file = cli_text(&c->args, "config", NULL);
    options.spec = spec;
    return vmctl_connect(&options, out, err);
}

static cli_link *link_of(cli *c, const char *context, const vmctl_spec *spec) {
    const vmctl_node *root = spec ? vmctl_spec_root(spec) : NULL;
    const char *native = NULL;
    if (spec)
        (void)vmctl_spec_native(spec, &native);
    CLI_AUTO_FREE char *key =
        cli_printf("%s\n%s\n%s\n%s", context ? context : "", vmctl_node_string(root, "backend", ""),
                   vmctl_node_string(root, "context", ""), native ? native : "");

    for (size_t i = 0; i < c->link_count; i++)
        if (!strcmp(c->links[i].key, key))
            return &c->links[i];
    c->links = cli_grow(c->links, c->link_count + 1, sizeof *c->links);
    cli_link *link = &c->links[c->link_count++];
    *link = (cli_link){.key = cli_strdup(key)};
    vmctl_error *err = NULL;
    const char *flag = cli_text(&c->args, "context", NULL);
    if (context && flag && strcmp(context, flag) != 0)
        link->status = cli_fail(c, VMCTL_E_INVALID_ARGUMENT, "give only one of them",
                                "--context %s and a VM of the context %s do not go together", flag, context);
    else if (cli_open(c, context, spec, &link->connection, &err) < 0)
        link->status = cli_report(c, err, context);
    return link;
}

vmctl_connection *cli_connect(cli *c, const char *context, const vmctl_spec *spec, int *status) {
    cli_link *link = link_of(c, context, spec);

    if (!link->connection)
        *status = link->status;
    return link->connection;
}

char *cli_split_target(cli *c, const char *target, const char **vm) {
    const char *slash = strchr(target, '/');

    *vm = target;
    if (!slash || slash == target || !slash[1])
        return NULL;
    char *context = cli_strndup(target, (size_t)(slash - target));
    int ignored = 0;
    vmctl_config *config = context ? cli_config(c, &ignored) : NULL;
    if (config && vmctl_config_context(config, context)) {
        *vm = slash + 1;
        return context;
    }
    free(context);
    return NULL;
}

static int lookup(cli *c, vmctl_connection *connection, const char *name, vmctl_vm **out, vmctl_error **err) {
    vmctl_lookup_options options = VMCTL_LOOKUP_OPTIONS_INIT;
    vmctl_call call = cli_call(c);

    options.call = &call;
    options.namespace_name = c->namespace_name;
    options.folder = c->folder;
    options.lazy = c->verb && c->verb->lazy;
    return vmctl_vm_lookup(connection, name, &options, out, err);
}

vmctl_vm *cli_vm(cli *c, const char *target, int *status) {
    const char *name = NULL;
    CLI_AUTO_FREE char *context = cli_split_target(c, target, &name);
    vmctl_connection *connection = cli_connect(c, context, NULL, status);
    vmctl_vm *vm = NULL;
    vmctl_error *err = NULL;

    if (connection && lookup(c, connection, name, &vm, &err) < 0)
        *status = cli_report(c, err, vmctl_connection_context(connection));
    return vm;
}

cJSON *cli_outcome(const vmctl_vm *vm, const char *outcome, const char *detail) {
    cJSON *result = cli_tree_identity(vm);

    cli_put(result, "outcome", outcome);
    cli_put(result, "detail", detail);
    return result;
}

int cli_vm_end(cli *c, vmctl_vm *vm, int rc, vmctl_error *err, cJSON *result) {
    int status = 0;

    cli_progress_end();
    if (rc < 0) {
        status = cli_report(c, err, vmctl_connection_context(vmctl_vm_connection(vm)));
        cJSON_Delete(result);
    } else if (result) {
        cli_output_one(c, &cli_view_outcome, result);
    }
    vmctl_vm_free(vm);
    return status;
}

int cli_vm_into_file(cli *c, int (*make)(vmctl_vm *vm, const char *path, const vmctl_call *call, vmctl_error **err),
                     const char *outcome) {
    const char *path = c->args.operands[1];
    vmctl_error *err = NULL;
    int status = 0;
    vmctl_vm *vm = cli_vm(c, c->args.operands[0], &status);

    if (!vm)
        return status;
    vmctl_call call = cli_call(c);
    int rc = make(vm, path, &call, &err);
    return cli_vm_end(c, vm, rc, err, cli_outcome(vm, outcome, path));
}

cJSON *cli_failure(const cli *c, const char *name, const vmctl_error *err, const char *context) {
    if (c->format != CLI_JSON && c->format != CLI_JSONL && c->format != CLI_YAML)
        return NULL;
    cJSON *tree = cJSON_CreateObject();
    cli_put(tree, "name", name);
    cli_put(tree, "context", context);
    cli_put(tree, "outcome", "failed");
    cJSON_AddItemToObject(tree, "error", cli_error_tree(err, context));
    return tree;
}

int cli_fail_one(cli *c, const char *name, vmctl_error *err, const char *context) {
    cJSON *row = cli_failure(c, name, err, context);

    if (row)
        cli_output_add(c, row);
    return cli_report(c, err, context);
}

/* --- several at once --------------------------------------------------------------------------------------- */

typedef struct cli_crew {
    cli *c;
    cli_task *tasks;
    const char **names; /* without the context */
    size_t *links;
    size_t count;
    atomic_size_t next;
    cli_task_fn work;
    bool ignore_missing;
    bool outcomes;
} cli_crew;

static void do_task(cli_crew *crew, cli_task *task, const char *name) {
    cli *c = crew->c;
    int rc = lookup(c, task->connection, name, &task->vm, &task->err);

    if (rc == VMCTL_E_NOT_FOUND && crew->ignore_missing) {
        CLI_AUTO_FREE char *text = cli_printf("there is no VM %s", name);
        cli_note(c, VMCTL_NOTE_INFO, text);
        vmctl_error_free(task->err);
        task->err = NULL;
        return;
    }
    if (rc == 0)
        rc = crew->work(c, task);
    cli_progress_done(task->vm ? vmctl_vm_name(task->vm) : name);
    if (rc == 0)
        return;
    cJSON_Delete(task->result);
    task->result = NULL;
    const char *context = vmctl_connection_context(task->connection);
    if (crew->outcomes)
        task->result = cli_failure(c, task->vm ? vmctl_vm_name(task->vm) : task->target, task->err, context);
    task->status = cli_report(c, task->err, context);
    task->err = NULL;
}

static void *crew_main(void *user) {
    cli_crew *crew = user;

    for (;;) {
        size_t i = atomic_fetch_add(&crew->next, 1);
        if (i >= crew->count)
            return NULL;
        cli_task *task = &crew->tasks[i];
        if (!task->connection)
            continue;
        cli_link *link = &crew->c->links[crew->links[i]];
        bool alone = vmctl_connection_threads(link->connection) == 1;
        if (alone)
            pthread_mutex_lock(&link->one);
        do_task(crew, task, crew->names[i]);
        if (alone)
            pthread_mutex_unlock(&link->one);
    }
}

static void crew_run(cli_crew *crew) {
    pthread_t threads[MOST_THREADS];
    size_t wanted = crew->count < MOST_THREADS ? crew->count : MOST_THREADS, started = 0;

    /* this thread is one of them */
    while (started + 1 < wanted && pthread_create(&threads[started], NULL, crew_main, crew) == 0)
        started++;
    crew_main(crew);
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
}

static bool named_before(char *const *targets, size_t i) {
    for (size_t j = 0; j < i; j++)
        if (!strcmp(targets[j], targets[i]))
            return true;
    return false;
}

int cli_each(cli *c, char *const *targets, cli_task_fn work, void *user, bool ignore_missing, const cli_view *view) {
    size_t count = 0, n = 0;
    while (targets[count])
        count++;
    CLI_AUTO_FREE cli_task *tasks = cli_alloc(count * sizeof *tasks);
    CLI_AUTO_FREE const char **names = cli_alloc(count * sizeof *names);
    CLI_AUTO_FREE size_t *links = cli_alloc(count * sizeof *links);
    CLI_AUTO_FREE int *statuses = cli_alloc(count * sizeof *statuses);

    for (size_t i = 0; i < count; i++) {
        if (named_before(targets, i))
            continue;
        CLI_AUTO_FREE char *context = cli_split_target(c, targets[i], &names[n]);
        cli_link *link = link_of(c, context, NULL);
        links[n] = (size_t)(link - c->links);
        tasks[n++] =
            (cli_task){.target = targets[i], .connection = link->connection, .user = user, .status = link->status};
    }
    for (size_t i = 0; i < c->link_count; i++)
        pthread_mutex_init(&c->links[i].one, NULL);
    cli_crew crew = {c, tasks, names, links, n, 0, work, ignore_missing, view == &cli_view_outcome};
    crew_run(&crew);
    for (size_t i = 0; i < c->link_count; i++)
        pthread_mutex_destroy(&c->links[i].one);

    cli_progress_end();
    for (size_t i = 0; i < n; i++)
        statuses[i] = tasks[i].status;
    int status = cli_status_of_many(statuses, n);
    if (view)
        cli_output_begin(c, view);
    for (size_t i = 0; i < n; i++) {
        if (view && tasks[i].result)
            cli_output_add(c, tasks[i].result);
        else
            cJSON_Delete(tasks[i].result);
        vmctl_vm_free(tasks[i].vm);
    }
    if (view)
        cli_output_end(c, status != 0);
    return status;
}

int cli_each_operand(cli *c, cli_task_fn work, void *user, const cli_view *view) {
    return cli_each(c, (char *const *)c->args.operands, work, user, false, view);
}

static void *leave(void *user) {
    cli *c = user;

    for (size_t i = 0; i < c->link_count; i++)
        vmctl_connection_free(c->links[i].connection);
    return NULL;
}

void cli_leave(cli *c) {
    if (!c->leaving)
        c->leaving = pthread_create(&c->leaver, NULL, leave, c) == 0;
}

void cli_close(cli *c) {
    if (c->leaving)
        pthread_join(c->leaver, NULL);
    else
        leave(c);
    c->leaving = false;
    for (size_t i = 0; i < c->link_count; i++)
        free(c->links[i].key);
    free(c->links);
    vmctl_config_free(c->config);
    c->links = NULL;
    c->link_count = 0;
    c->config = NULL;
}
