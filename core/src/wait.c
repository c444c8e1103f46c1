/* Waiting for a stage of a VM's life: by the hypervisor's notifications, looking again at each. */
#include "wait.h"
#include "base/file.h"
#include "internal.h"
#include <cjson/cJSON.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef enum stage { RUNNING, STOPPED, DELETED, AGENT, ADDRESS, PORT, SSH, CLOUD_INIT } stage;

static const struct {
    const char *name;
    stage stage;
    unsigned tick_ms; /* how often to look when nothing is told: addresses, ports and files tell nothing */
} stages[] = {
    {"running", RUNNING, 5000}, {"stopped", STOPPED, 5000}, {"deleted", DELETED, 5000},       {"agent", AGENT, 1000},
    {"address", ADDRESS, 500},  {"ssh", SSH, 500},          {"cloud-init", CLOUD_INIT, 1000},
};

enum {
    DEFAULT_MS = 10 * 60 * 1000,
    TRY_MS = 2000, /* one connection */
    SSH_MS = 20 * 1000
};

typedef struct waiting {
    vmc_op *op;
    const vmctl_wait_options *options;
    vmc_deadline deadline;
    stage stage;
    unsigned tick_ms;
    int port;
    vmctl_spec *spec; /* for forwards and the user; NULL */
    const vmc_tools *tools;
    const char *told;     /* the step that progress was told last */
    char *last;           /* why it is not reached yet, for the timeout's message */
    bool logged_in;       /* ssh has run a program there */
    vmctl_forward tunnel; /* to the port, made for the while where its addresses are a cluster's own; local 0: none */
    vmc_journal *journal; /* of that */
    int rc;               /* 1: reached, negative: failed */
} waiting;

/* --- what is known of the VM ------------------------------------------------------------------------------ */

typedef struct facts {
    vmctl_state state;
    char *reason;
    int agent;
    vmc_strv addresses; /* that can be dialled from here */
    bool inside;        /* it has others */
} facts;

static int keep_facts(const vmctl_vm_info *info, void *user) {
    facts *f = user;
    f->state = info->state;
    f->reason = vmc_strdup(info->state_reason);
    f->agent = info->present & VMCTL_FACT_CONFIG ? info->agent_connected : -1;
    for (size_t i = 0; i < info->address_count; i++)
        if (info->addresses[i].inside)
            f->inside = true;
        else if (vmc_address_is_usable(info->addresses[i].ip))
            vmc_strv_add(&f->addresses, info->addresses[i].ip);
    return 0;
}

static void facts_free(facts *f) {
    free(f->reason);
    vmc_strv_free(&f->addresses);
}

static int get_facts(waiting *w, unsigned wanted, facts *f) {
    vmctl_call call = vmc_deadline_call(&w->deadline);
    vmctl_get_options get = VMCTL_GET_OPTIONS_INIT;
    get.call = &call;
    get.facts = wanted;
    return w->op->ops->get(w->op->conn, w->op->handle, &get, keep_facts, f, &w->op->why);
}

static void because(waiting *w, char *why) {
    free(w->last);
    w->last = why;
}

/* Tells a step once. */
static int step(waiting *w, const char *text) {
    if (vmc_str_eq(w->told, text))
        return 0;
    w->told = text;
    return vmc_progress(&w->deadline, w->op->name, text, NULL, VMCTL_UNIT_NONE, 0, 0, &w->op->why);
}

/* --- the stages ------------------------------------------------------------------------------------------- */

/* The stage is further inside the guest than the VM's state. */
static bool is_guest_stage(stage s) {
    return s >= AGENT;
}

static int cannot_come(waiting *w, const facts *f) {
    vmc_error(&w->op->why, VMCTL_E_INVALID_STATE, "%s is %s%s%s%s", w->op->name, vmctl_state_name(f->state),
              f->reason ? " (" : "", f->reason ? f->reason : "", f->reason ? ")" : "");
    if (f->state == VMCTL_STATE_CRASHED)
        vmc_error_next(&w->op->why, "vmctl logs %s shows what it printed last", w->op->name);
    else
        vmc_error_next(&w->op->why, "vmctl start %s", w->op->name);
    return VMCTL_E_INVALID_STATE;
}

static int check_state(waiting *w, const facts *f) {
    bool down = f->state == VMCTL_STATE_STOPPED || f->state == VMCTL_STATE_SAVED;
    bool crashed = f->state == VMCTL_STATE_CRASHED;
    bool up = f->state == VMCTL_STATE_RUNNING || f->state == VMCTL_STATE_MIGRATING;
    if (!up || !is_guest_stage(w->stage)) /* else the guest's own reason stays until there is another */
        because(w, vmc_printf("the VM is %s", vmctl_state_name(f->state)));
    if (w->stage == STOPPED)
        return crashed ? cannot_come(w, f) : down;
    if (w->stage == RUNNING)
        return crashed ? cannot_come(w, f) : f->state == VMCTL_STATE_RUNNING;
    if (down || crashed)
        return cannot_come(w, f);
    return up;
}

/* A local port that the backend leads to the guest's, made once. */
static int open_tunnel(waiting *w, int port) {
    if (w->tunnel.local || !w->op->ops->guest_forward)
        return 0;
    VMC_AUTO_FREE char *operation = vmc_printf("a port of %s", w->op->name);
    VMC_AUTO_FREE char *way = NULL;
    vmctl_call call = vmc_deadline_call(&w->deadline);
    w->tunnel = (vmctl_forward){.size = sizeof w->tunnel, .address = "127.0.0.1", .guest = port};
    int rc = w->journal ? 0 : vmc_journal_open(w->op->connection->uri, operation, &w->journal, &w->op->why);
    if (rc == 0)
        rc = w->op->ops->guest_forward(w->op->conn, w->op->handle, &w->tunnel, w->journal, &call, &way, &w->op->why);
    return rc;
}

/* What was made for the wait goes with its end; the wait's own error is the one that is told. */
static void close_tunnel(waiting *w) {
    if (!w->journal)
        return;
    vmctl_error *why = w->op->why;
    w->op->why = NULL;
    vmc_op_undo(w->op, w->journal);
    vmctl_error_free(w->op->why);
    w->op->why = why;
    vmc_journal_close(w->journal);
}

/* Every way to a port of the guest. */
static int find_dials(waiting *w, const facts *f, int port, vmc_dials *dials) {
    vmc_dials_add_forwards(dials, w->spec, port);
    if (dials->count == 0) /* addresses behind a forward lead nowhere from here */
        for (size_t i = 0; i < f->addresses.count; i++)
            vmc_dials_add(dials, f->addresses.items[i], port, false);
    if (dials->count > 0 || !f->inside)
        return 0;
    int rc = open_tunnel(w, port);
    if (rc == 0 && w->tunnel.local) {
        vmc_dials_add(dials, w->tunnel.address, w->tunnel.local, true);
        dials->items[0].far = true;
    }
    return rc;
}

/* 1 with *dial the one that answers (an index). */
static int try_port(waiting *w, const facts *f, const vmc_dials *dials, const char *greeting, size_t *dial) {
    if (dials->count == 0) {
        because(w, vmc_strdup("the VM has no address yet"));
        return step(w, "waiting for an address");
    }
    int rc = w->logged_in ? 0 : step(w, w->stage == PORT ? "waiting for the port" : "waiting for ssh");
    for (size_t i = 0; rc == 0 && i < dials->count; i++) {
        rc = vmc_dial_try(&dials->items[i], greeting, f->addresses.count > 0 || f->inside, TRY_MS, &w->deadline,
                          &w->op->why);
        if (rc == 0)
            because(w, dials->items[i].far
                           ? vmc_printf("nobody answers at port %d of the guest", w->tunnel.guest)
                           : vmc_printf("nobody answers at %s port %d", dials->items[i].host, dials->items[i].port));
        *dial = i;
    }
    return rc;
}

static int check_port(waiting *w, const facts *f) {
    vmc_dials dials = {0};
    size_t dial = 0;
    int rc = find_dials(w, f, w->port, &dials);
    if (rc == 0)
        rc = try_port(w, f, &dials, NULL, &dial);
    vmc_dials_free(&dials);
    return rc;
}

/* The VM's own file of host keys, as `vmctl ssh` has it: a new VM at an old address is no attack. NULL: no folder for it. */
static char *known_hosts_of(const waiting *w) {
    const char *id = vmctl_vm_id(w->op->vm) ? vmctl_vm_id(w->op->vm) : vmctl_vm_name(w->op->vm);
    VMC_AUTO_FREE char *folder = vmc_xdg_state("known_hosts");
    if (!folder || strpbrk(folder, " \t\"\\%$") || vmc_mkdirs(folder, 0700, NULL) < 0)
        return NULL;
    char *file = vmc_printf("%s/%s", folder, id);
    for (char *at = file + strlen(folder) + 1; *at; at++) {
        if (!isalnum((unsigned char)*at) && !strchr("-._", *at))
            *at = '_';
    }
    return file;
}

/* Runs argv in the guest by ssh. 1: it ended with status 0, 0: not yet. */
static int run_by_ssh(waiting *w, const facts *f, const char *const *argv, char **output) {
    vmc_dials dials = {0};
    size_t dial = 0;
    int rc = find_dials(w, f, 22, &dials);
    if (rc == 0)
        rc = try_port(w, f, &dials, "SSH-", &dial);
    if (rc == 1) {
        const char *user = w->options->user;
        if (!user && w->spec)
            user = vmctl_node_string(vmctl_spec_root(w->spec), "cloudInit.user", NULL);
        vmc_deadline one = vmc_deadline_within(&w->deadline, SSH_MS);
        vmctl_call call = vmc_deadline_call(&one);
        int status = 0;
        vmctl_error *why = NULL;
        VMC_AUTO_FREE char *known = known_hosts_of(w);
        rc = w->tools->ssh_run(dials.items[dial].host, dials.items[dial].port, user, w->options->identity, known, argv,
                               &call, &status, output, &why);
        if (rc == VMCTL_E_CANCELLED || rc == VMCTL_E_PERMISSION_DENIED || rc == VMCTL_E_INVALID_ARGUMENT) {
            vmc_error_move(&w->op->why, &why); /* waiting cannot help */
        } else if (rc < 0) {
            because(w, vmc_printf("ssh: %s", why ? vmctl_error_message(why) : "it failed"));
            rc = 0; /* the user or the key may come with cloud-init */
        } else {
            because(w, vmc_printf("%s ended with status %d in the guest", argv[0], status));
            w->logged_in = true;
            rc = status == 0;
        }
        vmctl_error_free(why);
    }
    vmc_dials_free(&dials);
    return rc;
}

static int check_ssh(waiting *w, const facts *f) {
    static const char *const argv[] = {"true", NULL};
    VMC_AUTO_FREE char *output = NULL;
    return run_by_ssh(w, f, argv, &output);
}

static int collect(const void *bytes, size_t length, void *user) {
    vmc_str *text = user;
    if (text->length + length <= 1 << 20)
        vmc_str_add_n(text, bytes, length);
    return 0;
}

/* The file through the agent: 1 with *output, 0 when it is not there yet. */
static int read_by_agent(waiting *w, const char *const *argv, char **output) {
    VMC_AUTO_STR text = {0};
    vmctl_call call = vmc_deadline_call(&w->deadline);
    vmctl_exec_options exec = VMCTL_EXEC_OPTIONS_INIT;
    exec.call = &call;
    exec.output = collect;
    exec.user = &text;
    int status = 0;
    vmctl_error *why = NULL;
    int rc = w->op->ops->guest_exec(w->op->conn, w->op->handle, argv, &exec, &status, &why);
    if (rc == VMCTL_E_CANCELLED || rc == VMCTL_E_TIMEOUT)
        vmc_error_move(&w->op->why, &why);
    else if (rc < 0)
        because(w, vmc_printf("the agent: %s", why ? vmctl_error_message(why) : "no answer"));
    vmctl_error_free(why);
    if (rc == VMCTL_E_CANCELLED || rc == VMCTL_E_TIMEOUT)
        return rc;
    *output = vmc_str_take(&text);
    return rc == 0 && status == 0;
}

/* /run/cloud-init/result.json: {"v1": {"datasource": ..., "errors": []}}. Its errors are the end of the waiting. */
static int read_result(waiting *w, const char *text) {
    cJSON *json = cJSON_Parse(text);
    const cJSON *errors = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(json, "v1"), "errors");
    if (!cJSON_IsArray(errors)) { /* being written */
        cJSON_Delete(json);
        return 0;
    }
    VMC_AUTO_STRV list = {0};
    const cJSON *item;
    cJSON_ArrayForEach(item, errors) vmc_strv_add(&list, cJSON_IsString(item) ? item->valuestring : "(not a text)");
    cJSON_Delete(json);
    if (list.count == 0)
        return 1;
    VMC_AUTO_FREE char *all = vmc_strv_join(&list, "; ");
    vmc_error(&w->op->why, VMCTL_E_INVALID_STATE, "cloud-init ended with errors: %s", all);
    vmc_error_next(&w->op->why, "vmctl ssh %s -- cat /var/log/cloud-init.log", w->op->name);
    return VMCTL_E_INVALID_STATE;
}

static int check_cloud_init(waiting *w, const facts *f) {
    static const char *const argv[] = {"cat", "/run/cloud-init/result.json", NULL};
    VMC_AUTO_FREE char *output = NULL;
    int rc;
    if (w->op->ops->guest_exec && f->agent == 1) {
        rc = step(w, "waiting for cloud-init");
        if (rc == 0)
            rc = read_by_agent(w, argv, &output);
    } else {
        rc = run_by_ssh(w, f, argv, &output);
        if (rc == 0 && w->logged_in)
            rc = step(w, "waiting for cloud-init");
    }
    if (rc != 1)
        return rc;
    because(w, vmc_strdup("cloud-init is still at work"));
    return read_result(w, output);
}

static int check_guest(waiting *w, const facts *f) {
    switch (w->stage) {
    case AGENT:
        because(w, vmc_strdup(f->agent < 0 ? "nothing is known of an agent" : "the agent is not connected"));
        return f->agent == 1 ? 1 : step(w, "waiting for the agent");
    case ADDRESS:
        because(w, vmc_strdup("the VM has no address yet"));
        return f->addresses.count > 0 || f->inside ? 1 : step(w, "waiting for an address");
    case PORT:
        return check_port(w, f);
    case SSH:
        return check_ssh(w, f);
    default:
        return check_cloud_init(w, f);
    }
}

static unsigned wanted_facts(stage s) {
    unsigned wanted = VMCTL_FACT_STATE;
    if (s == AGENT || s == CLOUD_INIT)
        wanted |= VMCTL_FACT_CONFIG;
    if (s >= ADDRESS)
        wanted |= VMCTL_FACT_ADDRESSES;
    return wanted;
}

/* Looks once. 1: reached, 0: not yet, negative: it cannot be reached. */
static int look(waiting *w) {
    facts f = {.agent = -1};
    int rc = get_facts(w, wanted_facts(w->stage), &f);
    if (rc == VMCTL_E_NOT_FOUND) {
        if (w->stage == DELETED)
            rc = 1;
        else
            rc = vmc_error(&w->op->why, VMCTL_E_INVALID_STATE, "the VM was deleted meanwhile");
    } else if (rc < 0 && vmctl_error_retryable(w->op->why) && rc != VMCTL_E_TIMEOUT) {
        because(w, vmc_strdup(vmctl_error_message(w->op->why)));
        rc = 0;
    } else if (rc == 0 && w->stage == DELETED) {
        because(w, vmc_strdup("the VM is still there"));
        rc = step(w, "waiting for the VM to be deleted");
    } else if (rc == 0) {
        rc = check_state(w, &f);
        if (rc == 0)
            rc = step(w, w->stage == STOPPED ? "waiting for the VM to stop" : "waiting for the VM to run");
        else if (rc == 1 && is_guest_stage(w->stage))
            rc = check_guest(w, &f);
    }
    facts_free(&f);
    return rc;
}

/* --- the loop --------------------------------------------------------------------------------------------- */

static int on_event(const vmctl_event *event, void *user) {
    waiting *w = user;
    const vmctl_identity *identity = &w->op->vm->identity;
    bool other = (event->id && identity->id && !vmc_str_eq(event->id, identity->id)) ||
                 (event->name && !event->id && !vmc_str_eq(event->name, identity->name));
    if (other)
        return 0;
    w->rc = look(w);
    return w->rc != 0;
}

static int timed_out(waiting *w, const char *name) {
    int rc = vmc_error(&w->op->why, VMCTL_E_TIMEOUT, "timed out waiting for %s%s%s", name, w->last ? ": " : "",
                       w->last ? w->last : "");
    vmc_error_retryable(&w->op->why);
    return rc;
}

static int wait_for(waiting *w, const char *name) {
    w->rc = look(w);
    while (w->rc == 0) {
        vmctl_call call = vmc_deadline_call(&w->deadline);
        vmctl_event_options listen = VMCTL_EVENT_OPTIONS_INIT;
        listen.call = &call;
        listen.vm = w->op->vm->identity.id ? w->op->vm->identity.id : w->op->vm->identity.name;
        listen.tick_ms = w->tick_ms;
        int rc = VMCTL_E_UNSUPPORTED;
        if (w->op->ops->events)
            rc = w->op->ops->events(w->op->conn, &listen, on_event, w, &w->op->why);
        if (w->rc != 0)
            break;
        if (rc == VMCTL_E_UNSUPPORTED || rc == 0) { /* without notifications, or they ended: look again after a tick */
            rc = vmc_deadline_poll(&w->deadline, -1, 0, (int)w->tick_ms, "waiting", &w->op->why);
            w->rc = rc < 0 ? rc : look(w);
        } else {
            w->rc = rc;
        }
    }
    return w->rc == VMCTL_E_TIMEOUT ? timed_out(w, name) : w->rc;
}

static int parse_stage(waiting *w, const char *name, vmctl_error **err) {
    for (size_t i = 0; i < sizeof stages / sizeof stages[0]; i++)
        if (vmc_str_eq(stages[i].name, name)) {
            w->stage = stages[i].stage;
            w->tick_ms = stages[i].tick_ms;
            return 0;
        }
    if (vmc_starts_with(name, "port:")) {
        char *end = NULL;
        long port = isdigit((unsigned char)name[5]) ? strtol(name + 5, &end, 10) : 0;
        if (port < 1 || port > 65535 || *end)
            return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "\"%s\" names no port: write port:80", name);
        w->stage = PORT;
        w->tick_ms = 500;
        w->port = (int)port;
        return 0;
    }
    static const char *const known[] = {"running", "stopped", "deleted",    "agent", "address",
                                        "port:",   "ssh",     "cloud-init", NULL};
    const char *near = vmc_nearest(name, known);
    vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "\"%s\" is no stage%s%s%s", name ? name : "",
              near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    vmc_error_next(err, "one of running, stopped, deleted, agent, address, port:N, ssh, cloud-init");
    return VMCTL_E_INVALID_ARGUMENT;
}

int vmctl_vm_wait(vmctl_vm *vm, const char *stage_name, const vmctl_wait_options *options, vmctl_error **err) {
    vmctl_wait_options o = VMCTL_WAIT_OPTIONS_INIT;
    int rc = vmc_options_copy(&o, options, err);
    if (rc < 0)
        return rc;
    vmc_op op;
    rc = vmc_op_begin_vm(&op, vm, VMCTL_SLOT_get, o.call, DEFAULT_MS, false, err);
    waiting w = {.op = &op, .options = &o};
    if (rc == 0)
        rc = parse_stage(&w, stage_name, &op.why);
    if (rc == 0) {
        w.deadline = vmc_deadline_start(&op.call, DEFAULT_MS);
        if (w.stage >= SSH)
            rc = vmc_tools_get(&w.tools, &op.why);
        if (rc == 0 && w.stage >= PORT && op.ops->spec) {
            vmctl_call call = vmc_deadline_call(&w.deadline);
            rc = op.ops->spec(op.conn, op.handle, &call, &w.spec, &op.why);
        }
        if (rc == 0)
            rc = wait_for(&w, stage_name);
        close_tunnel(&w);
        vmctl_spec_free(w.spec);
        free(w.last);
    }
    return vmc_op_end(&op, rc, "wait for %s of %s", stage_name ? stage_name : "a stage", op.name);
}
