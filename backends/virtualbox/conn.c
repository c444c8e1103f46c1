/* The connection: which VirtualBox, one queue per VM, and the settings of its VMs. */
#include "forward.h"
#include "media.h"

#include "backends/shared/uri.h"
#include "drivers/vboxmanage/host.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { BUSY_MS = 8000, QUEUE_SLICE_MS = 10, REACH_MS = 60000 };

/* One per VM that is in use: a call waits until the one before it is done. */
struct virtualbox_queue {
    char id[37];
    bool busy;
    unsigned users; /* those who wait, too */
    virtualbox_queue *after;
};

/* --- the endpoint ---------------------------------------------------------------------------------------------- */

typedef struct place {
    char *home, *ipc;
    char *host, *user, *keyfile, *no_verify; /* virtualbox+ssh */
    int port;
} place;

static void place_free(place *p) {
    free(p->home);
    free(p->ipc);
    free(p->host);
    free(p->user);
    free(p->keyfile);
    free(p->no_verify);
}

static int read_query(const char *query, place *out, vmctl_error **err) {
    const vmc_uri_field here[] = {{"home", &out->home}, {"ipc", &out->ipc}, {NULL, NULL}};
    const vmc_uri_field there[] = {{"home", &out->home},
                                   {"ipc", &out->ipc},
                                   {"keyfile", &out->keyfile},
                                   {"no_verify", &out->no_verify},
                                   {NULL, NULL}};
    int code = out->host
                   ? vmc_uri_read_query("virtualbox+ssh", query, there,
                                        "home=DIR (VBOX_USER_HOME), ipc=ID (VBOX_IPC_SOCKETID), keyfile=FILE (of "
                                        "a private key) and no_verify=1 (takes any host key) are known",
                                        err)
                   : vmc_uri_read_query("virtualbox", query, here,
                                        "home=DIR (VBOX_USER_HOME) and ipc=ID (VBOX_IPC_SOCKETID) are known", err);
    if (code < 0)
        return code;
    if (out->home && *out->home != '/')
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "home=%s is no absolute path", out->home);
    return 0;
}

/* virtualbox+ssh://[USER@]HOST[:PORT]/[?QUERY] (RFC 3986, 3.2); an IPv6 address in brackets. */
static int read_ssh(const char *uri, place *out, vmctl_error **err) {
    static const char form[] = "virtualbox+ssh://[USER@]HOST[:PORT]/[?home=DIR&ipc=ID&keyfile=FILE]";
    const char *begin = strstr(uri, "://");
    begin = begin ? begin + 3 : uri + strlen(uri);
    const char *end = begin + strcspn(begin, "/?#");
    const char *at = memchr(begin, '@', (size_t)(end - begin));
    if (at) {
        out->user = vmc_uri_decode(begin, (size_t)(at - begin));
        begin = at + 1;
    }
    bool bracket = *begin == '[';
    const char *close = bracket ? memchr(begin, ']', (size_t)(end - begin)) : NULL;
    const char *name_end = close ? close : begin + strcspn(begin, ":/?#");
    out->host = vmc_uri_decode(begin + bracket, (size_t)(name_end - begin) - bracket);
    const char *rest = name_end + (close != NULL);
    if (*rest == ':') {
        char *after = NULL;
        long port = strtol(rest + 1, &after, 10);
        if (after != end || port < 1 || port > 65535) {
            vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s names no port", uri);
            return vmc_error_next(err, "%s", form);
        }
        out->port = (int)port;
        rest = after;
    }
    const openssh_target target = {.host = out->host, .user = out->user};
    if (bracket && !close)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s has a bracket that is not closed", uri);
    int code = openssh_check(&target, err);
    if (code < 0)
        return vmc_error_next(err, "%s", form);
    rest += *rest == '/';
    if (*rest && *rest != '?' && *rest != '#') {
        vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s has a path, and VirtualBox has no parts to name by one", uri);
        return vmc_error_next(err, "%s", form);
    }
    code = read_query(*rest == '?' ? rest + 1 : "", out, err);
    if (code == 0 && out->keyfile && *out->keyfile != '/')
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "keyfile=%s is no absolute path", out->keyfile);
    if (code == 0 && out->no_verify && strcmp(out->no_verify, "1") != 0 && strcmp(out->no_verify, "0") != 0)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "no_verify is 0 or 1");
    return code;
}

static int read_uri(const char *uri, place *out, vmctl_error **err) {
    if (vmc_starts_with(uri, "virtualbox+ssh:"))
        return read_ssh(uri, out, err);
    const char *rest = strstr(uri, "://");
    if (!rest || rest[3] != '/') {
        vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s names a host, and virtualbox:/// is this one", uri);
        return vmc_error_next(err, "virtualbox:///?home=DIR&ipc=ID, or virtualbox+ssh://[USER@]HOST/");
    }
    rest += 4;
    if (*rest && *rest != '?')
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s has a path, and VirtualBox has no parts to name by one",
                         uri);
    return read_query(*rest ? rest + 1 : rest, out, err);
}

/* What the environment chooses belongs to the endpoint's name: the journal is kept by it. */
static void take_environment(place *out) {
    const char *home = getenv("VBOX_USER_HOME");
    const char *ipc = getenv("VBOX_IPC_SOCKETID");
    if (!out->home && home && *home == '/')
        out->home = vmc_strdup(home);
    if (!out->ipc && ipc && *ipc)
        out->ipc = vmc_strdup(ipc);
}

static char *canonical(const place *from) {
    vmc_str uri = {0};
    if (from->host) {
        bool brackets = strchr(from->host, ':') != NULL;
        vmc_str_printf(&uri, "virtualbox+ssh://%s%s%s%s%s", from->user ? from->user : "", from->user ? "@" : "",
                       brackets ? "[" : "", from->host, brackets ? "]" : "");
        if (from->port)
            vmc_str_printf(&uri, ":%d", from->port);
        vmc_str_add_char(&uri, '/');
    } else {
        vmc_str_add(&uri, "virtualbox:///");
    }
    vmc_uri_add(&uri, "home", from->home);
    vmc_uri_add(&uri, "ipc", from->ipc);
    vmc_uri_add(&uri, "keyfile", from->keyfile);
    vmc_uri_add(&uri, "no_verify", vmc_str_eq(from->no_verify, "1") ? "1" : NULL);
    return vmc_str_take(&uri);
}

int virtualbox_open(const vmctl_endpoint *endpoint, void **out, vmctl_opened *opened, vmctl_error **err) {
    place where = {0};
    int code = endpoint->uri ? read_uri(endpoint->uri, &where, err) : 0;
    if (code == 0 && !where.host)
        take_environment(&where);
    vboxmanage *manage = NULL;
    if (code == 0 && where.host) {
        vmc_deadline deadline = vmc_deadline_start(endpoint->call, REACH_MS);
        const vboxmanage_where there = {.host = where.host,
                                        .user = where.user,
                                        .identity = where.keyfile,
                                        .port = where.port,
                                        .no_verify = vmc_str_eq(where.no_verify, "1")};
        code = vboxmanage_open_there(&there, where.home, where.ipc, &deadline, &manage, err);
    } else if (code == 0) {
        code = vboxmanage_open(where.home, where.ipc, &manage, err);
    }
    if (code == 0) {
        virtualbox_conn *conn = vmc_alloc(sizeof *conn);
        conn->manage = manage;
        pthread_mutex_init(&conn->lock, NULL);
        opened->uri = canonical(&where);
        if (!endpoint->uri)
            opened->reason = vmc_printf("found %s", manage->program);
        *out = conn;
    }
    place_free(&where);
    return code;
}

void virtualbox_close(void *opaque) {
    virtualbox_conn *conn = opaque;
    virtualbox_poller_end(conn);
    virtualbox_tunnels_end(conn, NULL);
    while (conn->queues) {
        virtualbox_queue *gone = conn->queues;
        conn->queues = gone->after;
        free(gone);
    }
    pthread_mutex_destroy(&conn->lock);
    vboxmanage_close(conn->manage);
    free(conn);
}

/* --- queues ---------------------------------------------------------------------------------------------------- */

static virtualbox_queue *queue_of(virtualbox_conn *conn, const char *id) {
    virtualbox_queue *queue = conn->queues;
    while (queue && strcmp(queue->id, id) != 0)
        queue = queue->after;
    if (!queue) {
        queue = vmc_alloc(sizeof *queue);
        memcpy(queue->id, id, sizeof queue->id);
        queue->after = conn->queues;
        conn->queues = queue;
    }
    return queue;
}

static void forget_if_unused(virtualbox_conn *conn, virtualbox_queue *queue) {
    if (queue->users)
        return;
    virtualbox_queue **at = &conn->queues;
    while (*at != queue)
        at = &(*at)->after;
    *at = queue->after;
    free(queue);
}

static int enter(virtualbox_conn *conn, const char *id, const vmc_deadline *deadline, const char *doing,
                 virtualbox_queue **out, vmctl_error **err) {
    pthread_mutex_lock(&conn->lock);
    virtualbox_queue *queue = queue_of(conn, id);
    queue->users++;
    int code = 0;
    while (code == 0 && queue->busy) {
        pthread_mutex_unlock(&conn->lock);
        code = vmc_deadline_poll(deadline, -1, 0, QUEUE_SLICE_MS, doing, err);
        pthread_mutex_lock(&conn->lock);
    }
    if (code < 0) {
        queue->users--;
        forget_if_unused(conn, queue);
    } else {
        queue->busy = true;
        *out = queue;
    }
    pthread_mutex_unlock(&conn->lock);
    return code < 0 ? code : 0;
}

static void leave(virtualbox_conn *conn, virtualbox_queue *queue) {
    pthread_mutex_lock(&conn->lock);
    queue->busy = false;
    queue->users--;
    forget_if_unused(conn, queue);
    pthread_mutex_unlock(&conn->lock);
}

static int run(virtualbox_conn *conn, const char *vm_id, const vmc_strv *argv, const char *doing, const char *stage,
               const char *vm_name, int64_t busy_ms, const vmc_deadline *deadline, char **output, vmctl_error **err) {
    virtualbox_queue *queue = NULL;
    int code = vm_id ? enter(conn, vm_id, deadline, doing, &queue, err) : 0;
    if (code < 0)
        return code;
    const vboxmanage_call call = {
        .argv = (const char *const *)argv->items, .doing = doing, .vm = vm_name, .stage = stage, .busy_ms = busy_ms};
    code = vboxmanage_run(conn->manage, &call, deadline, output, err);
    if (queue)
        leave(conn, queue);
    return code;
}

int virtualbox_run(virtualbox_conn *conn, const char *vm_id, const vmc_strv *argv, const char *doing, const char *stage,
                   const char *vm_name, const vmc_deadline *deadline, char **output, vmctl_error **err) {
    return run(conn, vm_id, argv, doing, stage, vm_name, vm_id ? BUSY_MS : 0, deadline, output, err);
}

int virtualbox_try(virtualbox_conn *conn, const char *vm_id, const vmc_strv *argv, const char *doing, const char *stage,
                   const char *vm_name, const vmc_deadline *deadline, char **output, vmctl_error **err) {
    return run(conn, vm_id, argv, doing, stage, vm_name, 0, deadline, output, err);
}

int virtualbox_say(virtualbox_conn *conn, const virtualbox_vm *vm, const char *doing, const vmc_deadline *deadline,
                   char **output, vmctl_error **err, ...) {
    VMC_AUTO_STRV argv = {0};
    va_list list;
    va_start(list, err);
    for (const char *arg; (arg = va_arg(list, const char *));)
        vmc_strv_add(&argv, arg);
    va_end(list);
    return virtualbox_run(conn, vm ? vm->id : NULL, &argv, doing, NULL, vm ? vm->name : NULL, deadline, output, err);
}

/* --- settings -------------------------------------------------------------------------------------------------- */

/* VirtualBox.xml is of a version that is not known, or is not there yet: VBoxManage tells which VMs there are, and the rest is asked for when it is needed. */
static int describe_registry(virtualbox_conn *conn, const vmc_deadline *deadline, vboxmanage_registry *out,
                             vmctl_error **err) {
    VMC_AUTO_FREE char *text = NULL;
    VMC_AUTO_FREE char *limits = NULL;
    int code = virtualbox_say(conn, NULL, "asking VirtualBox for its VMs", deadline, &text, err, "list", "--long",
                              "vms", NULL);
    if (code == 0)
        code = virtualbox_say(conn, NULL, "asking VirtualBox for its folders", deadline, &limits, err, "list",
                              "systemproperties", NULL);
    if (code < 0)
        return code;
    VBOXMANAGE_AUTO_PROPERTIES properties = {0};
    vboxmanage_parse_records(limits, &properties);
    const char *autostart = vboxmanage_property_get(&properties, "Autostart database path");
    vboxmanage_registry_described(text, out);
    out->machine_folder = vmc_strdup(vboxmanage_property_get(&properties, "Default machine folder"));
    out->autostart_folder = autostart && *autostart ? vmc_strdup(autostart) : NULL;
    return 0;
}

int virtualbox_describe(virtualbox_conn *conn, const char *id, const vmc_deadline *deadline, vboxmanage_machine **out,
                        vmctl_error **err) {
    VMC_AUTO_FREE char *text = NULL;
    VMC_AUTO_FREE char *marker = NULL;
    virtualbox_vm which = {.name = NULL};
    memcpy(which.id, id, sizeof which.id);
    int code = virtualbox_say(conn, &which, "asking what the VM is", deadline, &text, err, "showvminfo", id,
                              "--machinereadable", NULL);
    if (code == 0)
        code = virtualbox_say(conn, &which, "asking for the VM's marker", deadline, &marker, err, "getextradata", id,
                              "vmctl.marker", NULL);
    if (code < 0)
        return code;
    *out = vboxmanage_machine_described(text);
    if (!*out)
        return vmc_error(err, VMCTL_E_INTERNAL, "VBoxManage does not tell what the VM %s is", id);
    VMC_AUTO_FREE char *value = vboxmanage_parse_labelled(marker, "Value:");
    if (value) {
        vmc_strv_add(&(*out)->extra_keys, "vmctl.marker");
        vmc_strv_add(&(*out)->extra_values, value);
    }
    return 0;
}

int virtualbox_registry(virtualbox_conn *conn, const vmc_deadline *deadline, vboxmanage_registry *out,
                        vmctl_error **err) {
    vmctl_error *why = NULL;
    int code = vboxmanage_registry_read(conn->manage, deadline, out, &why);
    /* VBoxSVC writes its registry when there is something to be kept, not before. */
    if (code == VMCTL_E_UNSUPPORTED || code == VMCTL_E_NOT_FOUND) {
        vmctl_error_free(why);
        return describe_registry(conn, deadline, out, err);
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}

int virtualbox_load(virtualbox_conn *conn, const virtualbox_vm *vm, const vmc_deadline *deadline,
                    vboxmanage_machine **out, vmctl_error **err) {
    vboxmanage_registry registry = {0};
    int code = virtualbox_registry(conn, deadline, &registry, err);
    const char *settings = NULL;
    for (size_t i = 0; code == 0 && i < registry.count; i++)
        if (strcasecmp(registry.entries[i].id, vm->id) == 0)
            settings = registry.entries[i].settings;
    if (code == 0 && !settings) {
        code = vmc_error(err, VMCTL_E_NOT_FOUND, "there is no VM %s any more", vm->name);
        vmc_error_next(err, "vmctl list shows the VMs that are there");
    } else if (code == 0) {
        vmctl_error *why = NULL;
        code = vboxmanage_machine_read(conn->manage, settings, deadline, out, &why);
        if (code == VMCTL_E_UNSUPPORTED) {
            vmctl_error_free(why);
            why = NULL;
            code = virtualbox_describe(conn, vm->id, deadline, out, &why);
        }
        vmc_error_move(code < 0 ? err : NULL, &why);
        if (code == VMCTL_E_NOT_FOUND || code == VMCTL_E_INTERNAL)
            code = vmc_error_recode(err, VMCTL_E_INVALID_STATE); /* registered, and not readable: inaccessible */
        if (code == 0)
            virtualbox_media_complete(conn, &registry, *out, deadline);
    }
    vboxmanage_registry_free(&registry);
    return code;
}
