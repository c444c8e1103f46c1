/* Teleporting: the target waits, the source sends, and whose VM it is then is told by the two states alone: VBoxManage reports a failure when the
 * source's process ends before it has asked for the end. */
#include "migrate.h"

#include "base/random.h"
#include "drivers/qemu_img/qemu_img.h"
#include "drivers/vboxmanage/settings_move.h"
#include "facts.h"
#include "migrate_reach.h"
#include "plan.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LOOK_MS = 5,           /* at the port, in a file of the kernel */
    SETTLE_MS = 50,        /* at a state, by VBoxManage */
    ARRIVING_MS = 500,     /* after VBoxManage reported that it did not go well */
    AFTERWARDS_MS = 60000, /* for what must be done whatever became of the deadline */
    PASSWORD_BYTES = 24,
    COPY_LIMIT = 256 << 20
};

typedef struct moving {
    virtualbox_scene scene; /* at the source */
    virtualbox_conn *target;
    virtualbox_vm *there;
    const vmctl_migrate_options *options;
    const vmc_deadline *deadline;
    char *folder, *settings; /* at the target */
    char *password;          /* the file, at the target */
    char *password_here;     /* at the source, where that is another machine; NULL */
    char address[64];        /* where the target listens */
    unsigned port;
    virtualbox_tunnel tunnel; /* where the source sends to, between two machines */
} moving;

static const vboxmanage *source_of(const moving *m) {
    return m->scene.conn->manage;
}

/* While the journal still knows of the teleport: who kills vmctl later finds no password. */
static void remove_password(moving *m) {
    vmc_deadline afterwards = {.at_ms = vmc_now_ms() + AFTERWARDS_MS};
    if (m->password)
        vboxmanage_file_remove(m->target->manage, m->password, &afterwards, NULL);
    if (m->password_here)
        vboxmanage_file_remove(source_of(m), m->password_here, &afterwards, NULL);
    free(m->password);
    free(m->password_here);
    m->password = m->password_here = NULL;
}

static void moving_free(moving *m) {
    vmc_deadline afterwards = {.at_ms = vmc_now_ms() + AFTERWARDS_MS};
    remove_password(m);
    virtualbox_tunnel_close(&m->tunnel, &afterwards);
    virtualbox_scene_free(&m->scene);
    virtualbox_release(NULL, m->there);
    free(m->folder);
    free(m->settings);
}

/* --- the target's VM ------------------------------------------------------------------------------------------------- */

/* Media of drives that lie in the VM's own folder (its seed) come along; disks stay where both have them. */
static char *place_medium(const char *location, void *user) {
    const moving *m = user;
    const vboxmanage_machine *machine = m->scene.machine;
    VMC_AUTO_FREE char *folder = vmc_path_dirname(location);
    if (!vmc_str_eq(folder, machine->folder))
        return NULL;
    for (size_t i = 0; i < machine->attachment_count; i++) {
        const vboxmanage_medium *medium = vboxmanage_medium_of(machine, machine->attachments[i].medium);
        if (medium && vmc_str_eq(machine->attachments[i].kind, "DVD") && strcmp(medium->location, location) == 0)
            return vmc_printf("%s/%s", m->folder, vmc_path_basename(location));
    }
    return NULL;
}

static int copy_file(const moving *m, const char *from, const char *to, vmctl_error **err) {
    const vboxmanage *source = source_of(m), *target = m->target->manage;
    VMC_AUTO_FREE char *link = vboxmanage_file_link(source, from, m->deadline);
    if (link)
        return vboxmanage_symlink(target, link, to, m->deadline, err);
    if (!source->host && target->host)
        return vboxmanage_file_send(target, from, to, m->deadline, err);
    if (source->host) {
        VMC_AUTO_FREE char *bytes = NULL;
        size_t length = 0;
        int code = vboxmanage_file_read(source, from, COPY_LIMIT, m->deadline, &bytes, &length, err);
        return code < 0 ? code : vboxmanage_file_write(target, to, bytes, length, m->deadline, err);
    }
    const qemu_img_label label = {m->scene.vm->name, "copying what is not on a disk", NULL};
    return qemu_img_copy(from, to, 0600, &label, m->deadline, err);
}

static int copy_files(const moving *m, vmctl_error **err) {
    const vboxmanage_machine *machine = m->scene.machine;
    int code = 0;
    for (size_t i = 0; code == 0 && i < machine->attachment_count; i++) {
        const vboxmanage_medium *medium = vboxmanage_medium_of(machine, machine->attachments[i].medium);
        VMC_AUTO_FREE char *to = medium ? place_medium(medium->location, (void *)m) : NULL;
        if (to && vmc_str_eq(machine->attachments[i].kind, "DVD"))
            code = copy_file(m, medium->location, to, err);
    }
    VMC_AUTO_FREE char *to = machine->nvram ? vmc_printf("%s/%s", m->folder, vmc_path_basename(machine->nvram)) : NULL;
    if (code == 0 && to && vboxmanage_file_exists(source_of(m), machine->nvram, m->deadline))
        code = copy_file(m, machine->nvram, to, err);
    return code;
}

/* Its own disks stay in the source's folder, so that the marker names them whole. */
static char *marker_there(const moving *m) {
    VMC_AUTO_JSON *marker = cJSON_Duplicate(m->scene.marker, true);
    cJSON *files = cJSON_CreateArray();
    const cJSON *file;
    cJSON_ArrayForEach(file, vmc_json_key(marker, "files")) {
        if (!cJSON_IsString(file))
            continue;
        VMC_AUTO_FREE char *whole = vmc_path_absolute(m->scene.machine->folder, file->valuestring);
        VMC_AUTO_FREE char *there = place_medium(whole, (void *)m);
        cJSON_AddItemToArray(files, cJSON_CreateString(there ? file->valuestring : whole));
    }
    vmc_json_put(marker, "files", files);
    return cJSON_PrintUnformatted(marker);
}

static int write_settings(moving *m, vmctl_error **err) {
    const vboxmanage_machine *machine = m->scene.machine;
    VMC_AUTO_FREE char *marker = marker_there(m);
    VMC_AUTO_FREE char *inside = machine->serial_path ? vmc_path_dirname(machine->serial_path) : NULL;
    VMC_AUTO_FREE char *serial = vmc_str_eq(inside, machine->folder)
                                     ? vmc_printf("%s/%s", m->folder, vmc_path_basename(machine->serial_path))
                                     : NULL;
    const char *const marked[] = {VIRTUALBOX_MARKER, marker, VIRTUALBOX_ARRIVED, "1", NULL};
    const char *const unmarked[] = {VIRTUALBOX_ARRIVED, "1", NULL};
    const vboxmanage_move move = {.from = machine->settings,
                                  .to = m->settings,
                                  .source = source_of(m),
                                  .target = m->target->manage,
                                  .deadline = m->deadline,
                                  .serial_path = serial,
                                  .extra = virtualbox_marker_is_made(m->scene.marker) ? marked : unmarked,
                                  .place = place_medium,
                                  .user = m};
    return vboxmanage_settings_move(&move, err);
}

/* In a file, as the list of processes shows arguments to everyone. */
static int write_password(moving *m, vmctl_error **err) {
    unsigned char bytes[PASSWORD_BYTES];
    char text[2 * PASSWORD_BYTES + 1];
    vmc_random_fill(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    m->password = vmc_printf("%s/" VIRTUALBOX_PASSWORD_FILE, m->folder);
    int code = vboxmanage_file_write(m->target->manage, m->password, text, sizeof text - 1, m->deadline, err);
    if (code == 0 && !virtualbox_same_machine(source_of(m), m->target->manage)) {
        m->password_here = vmc_printf("%s/" VIRTUALBOX_PASSWORD_FILE, m->scene.machine->folder);
        code = vboxmanage_file_write(source_of(m), m->password_here, text, sizeof text - 1, m->deadline, err);
    }
    return code;
}

/* "tcp://10.0.0.2:6000"; without a port, or without all of it, a free one is looked for. */
static int choose_port(moving *m, vmctl_error **err) {
    const char *uri = m->options->migrate_uri;
    struct sockaddr_in at = {.sin_family = AF_INET};
    unsigned port = 0;
    int end = 0;
    snprintf(m->address, sizeof m->address, "127.0.0.1");
    if (uri && (sscanf(uri, "tcp://%63[0-9.]%n", m->address, &end) != 1 ||
                (uri[end] && (sscanf(uri + end, ":%u", &port) != 1 || port > 65535)))) {
        vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s is nowhere that VirtualBox listens", uri);
        return vmc_error_next(err, "tcp://ADDRESS or tcp://ADDRESS:PORT, an IPv4 address of the target's host");
    }
    if (inet_pton(AF_INET, m->address, &at.sin_addr) != 1)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s is no IPv4 address", m->address);
    if (m->target->manage->host) {
        m->port = port;
        return port ? 0 : virtualbox_random_port(m->target, m->deadline, &m->port, err);
    }
    at.sin_port = htons((uint16_t)port);
    socklen_t length = sizeof at;
    VMC_AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0 ||
        getsockname(fd, (struct sockaddr *)&at, &length) < 0)
        return vmc_error_errno(err, errno, "cannot listen on %s:%u for the VM", m->address, port);
    m->port = ntohs(at.sin_port);
    return 0;
}

static int make_target(moving *m, vmctl_error **err) {
    int code = vboxmanage_folder_make(m->target->manage, m->folder, m->deadline, err);
    if (code == 0)
        code = copy_files(m, err);
    if (code == 0)
        code = write_settings(m, err);
    if (code == 0)
        code = virtualbox_say(m->target, m->there, "registering the VM at the target", m->deadline, NULL, err,
                              "registervm", m->settings, NULL);
    if (code == 0)
        code = write_password(m, err);
    if (code == 0)
        code = choose_port(m, err);
    VMC_AUTO_FREE char *port = vmc_printf("%u", m->port);
    if (code == 0)
        code = virtualbox_say(m->target, m->there, "preparing the VM at the target", m->deadline, NULL, err, "modifyvm",
                              m->there->id, "--teleporter", "on", "--teleporter-port", port, "--teleporter-address",
                              m->address, "--teleporter-password-file", m->password, NULL);
    return code;
}

/* --- waiting and sending --------------------------------------------------------------------------------------------- */

/* startvm at the target, which returns when the VM has arrived. */
typedef struct waiting {
    const moving *m;
    vmc_deadline deadline; /* silent: callbacks are the caller's thread's */
    pthread_t thread;
    int code;
    vmctl_error *why;
    _Atomic bool ended;
} waiting;

static void *wait_there(void *user) {
    waiting *w = user;
    w->code = virtualbox_say(w->m->target, w->m->there, "starting the VM at the target", &w->deadline, NULL, &w->why,
                             "startvm", w->m->there->id, "--type", "headless", NULL);
    w->ended = true;
    return NULL;
}

static int wait_listening(const moving *m, const waiting *w, vmctl_error **err) {
    static const char doing[] = "waiting for the target to listen";
    int code = vmc_progress(m->deadline, m->scene.vm->name, doing, NULL, VMCTL_UNIT_NONE, 0, 0, err);
    while (code == 0 && !w->ended) {
        vmctl_state state = VMCTL_STATE_UNKNOWN;
        int heard = virtualbox_is_heard(m->target, m->port, m->deadline);
        VMC_AUTO_FREE char *native = NULL;
        if (heard < 0) {
            code = virtualbox_ask_state(m->target, m->there, m->deadline, &state, &native, err);
            heard = code == 0 && vmc_str_eq(native, "teleportingin");
        }
        if (heard == 1)
            return 0;
        if (code == 0)
            code = vmc_deadline_poll(m->deadline, -1, 0, m->target->manage->host ? SETTLE_MS : LOOK_MS, doing, err);
    }
    return code < 0 ? code : 0;
}

static int send_memory(moving *m, vmctl_error **err) {
    VMC_AUTO_STRV argv = {0};
    const virtualbox_scene *scene = &m->scene;
    vmc_strv_add(&argv, "controlvm");
    vmc_strv_add(&argv, scene->vm->id);
    vmc_strv_add(&argv, "teleport");
    int code = m->options->migrate_uri
                   ? 0
                   : virtualbox_tunnel_open(scene->conn, m->target, m->port, &m->tunnel, m->deadline, err);
    if (code < 0)
        return code;
    vmc_strv_printf(&argv, "--host=%s", m->address);
    vmc_strv_printf(&argv, "--port=%u", m->tunnel.port ? m->tunnel.port : m->port);
    vmc_strv_printf(&argv, "--passwordfile=%s", m->password_here ? m->password_here : m->password);
    return virtualbox_try(scene->conn, scene->vm->id, &argv, "teleporting the VM", "teleporting", scene->vm->name,
                          m->deadline, NULL, err);
}

int virtualbox_wait_idle(virtualbox_conn *conn, virtualbox_vm *vm, const vmc_deadline *deadline, vmctl_state *state,
                         char **native, vmctl_error **err) {
    virtualbox_scene scene = {.conn = conn, .vm = vm, .deadline = deadline};
    int code = VMCTL_E_BUSY;
    while (code == VMCTL_E_BUSY) {
        free(scene.native);
        scene.native = NULL;
        code = virtualbox_ask_state(conn, vm, deadline, &scene.state, &scene.native, err);
        if (code == 0 && virtualbox_check_idle(&scene, NULL) == VMCTL_E_BUSY) {
            code = vmc_deadline_poll(deadline, -1, 0, SETTLE_MS, "waiting until VirtualBox is done with the VM", err);
            code = code < 0 ? code : VMCTL_E_BUSY;
        }
    }
    *state = scene.state;
    if (native && code == 0)
        *native = vmc_strdup(scene.native);
    free(scene.native);
    return code;
}

/* 1: the VM is the target's. */
static int has_left(const moving *m, const vmc_deadline *deadline) {
    vmctl_state state = VMCTL_STATE_UNKNOWN;
    VMC_AUTO_FREE char *native = NULL;
    int code = virtualbox_wait_idle(m->scene.conn, m->scene.vm, deadline, &state, &native, NULL);
    if (code == 0 && state != VMCTL_STATE_RUNNING && state != VMCTL_STATE_PAUSED) {
        vmctl_state there = VMCTL_STATE_UNKNOWN;
        code = virtualbox_wait_idle(m->target, m->there, deadline, &there, NULL, NULL);
        return code == 0 && (there == VMCTL_STATE_RUNNING || there == VMCTL_STATE_PAUSED);
    }
    return 0;
}

/* The target's start has ended well: the VM runs there. That is told sooner than VBoxManage tells any state. */
static bool has_arrived(const waiting *w, int64_t patience_ms) {
    int64_t until = vmc_now_ms() + patience_ms;
    while (!w->ended && vmc_now_ms() < until)
        vmc_deadline_poll(&w->deadline, -1, 0, LOOK_MS, "waiting for the VM to arrive", NULL);
    return w->ended && w->code == 0;
}

/* Sends it, while the target waits in a thread of its own. */
static int teleport(moving *m, vmctl_error **err) {
    vmctl_cancel *stop = vmctl_cancel_new();
    vmc_deadline afterwards = {.at_ms = vmc_now_ms() + AFTERWARDS_MS};
    waiting w = {.m = m, .deadline = {.at_ms = -1, .cancel = stop}};
    if (pthread_create(&w.thread, NULL, wait_there, &w) != 0) {
        vmctl_cancel_free(stop);
        return vmc_error(err, VMCTL_E_RESOURCE_EXHAUSTED, "cannot start a thread");
    }
    int code = wait_listening(m, &w, err);
    bool sent = code == 0 && !w.ended;
    if (sent)
        code = send_memory(m, err);
    afterwards.at_ms = vmc_now_ms() + AFTERWARDS_MS;
    bool left = sent && (has_arrived(&w, code == 0 ? AFTERWARDS_MS : ARRIVING_MS) || has_left(m, &afterwards));
    if (!left)
        vmctl_cancel_trigger(stop);
    pthread_join(w.thread, NULL);
    if (!left) /* what undoes it would wait for a VM that is known not to come */
        virtualbox_power_off(m->target, m->there, &afterwards, NULL);
    vmctl_cancel_free(stop);
    if (left) {
        vmctl_error_free(w.why);
        if (err && code < 0) {
            vmctl_error_free(*err);
            *err = NULL;
        }
        return 0;
    }
    if (!sent && code == 0) { /* the target ended before it listened, or without the VM */
        code = w.code < 0 ? w.code : VMCTL_E_INTERNAL;
        if (w.why)
            vmc_error_move(err, &w.why);
        else
            vmc_error(err, code, "the target does not wait for the VM");
    }
    vmctl_error_free(w.why);
    if (code < 0 && err && *err &&
        (strstr(vmctl_error_text(*err), "exit status 130") || strstr(vmctl_error_text(*err), "VERR_SSM_CANCELLED")) &&
        code != VMCTL_E_CANCELLED && code != VMCTL_E_TIMEOUT) { /* SIGINT, from elsewhere (migrate_abort.c) */
        vmctl_error_free(*err);
        *err = NULL;
        return vmc_error(err, VMCTL_E_CANCELLED, "the teleport was stopped by another command, and %s goes on here",
                         m->scene.vm->name);
    }
    return code < 0 ? code : vmc_error(err, VMCTL_E_INTERNAL, "the VM did not arrive, and goes on here");
}

/* --- leaving ---------------------------------------------------------------------------------------------------------- */

int virtualbox_depart(virtualbox_conn *conn, virtualbox_vm *vm, const vmc_deadline *deadline, vmctl_error **err) {
    vboxmanage_machine *machine = NULL;
    int code = virtualbox_load(conn, vm, deadline, &machine, err);
    if (code == 0)
        code = virtualbox_unregister(conn, vm, machine, false, deadline, err);
    if (code == 0) {
        VMC_AUTO_JSON *marker = virtualbox_marker_read(machine);
        virtualbox_remove_left(machine, marker, deadline);
        virtualbox_tell(conn, VMCTL_EVENT_DELETED, vm, VMCTL_STATE_UNKNOWN, NULL);
    }
    vboxmanage_machine_free(machine);
    return code;
}

static void arrive(const moving *m, vmc_journal *journal) {
    virtualbox_tell(m->target, VMCTL_EVENT_DEFINED, m->there, VMCTL_STATE_RUNNING, "added");
    vmc_deadline afterwards = {.at_ms = vmc_now_ms() + AFTERWARDS_MS};
    vmctl_error *why = NULL;
    VMC_AUTO_FREE char *detail = vmc_printf("%s %s", m->scene.vm->id, m->scene.machine->settings);
    int code = vmc_journal_add(journal, "departed", detail, NULL, &why);
    if (code == 0)
        code = virtualbox_depart(m->scene.conn, m->scene.vm, &afterwards, &why);
    if (code < 0)
        vmc_note(m->deadline, VMCTL_NOTE_WARNING, "%s runs at the target, and its old definition is still here (%s)",
                 m->scene.vm->name, vmctl_error_message(why));
    vmctl_error_free(why);
}

/* The target has the whole of it: here it goes with its own disks, and what is not its own stays. */
static int leave_stopped(moving *m, vmc_journal *arrivals, size_t arrival, vmctl_error **err) {
    vmc_deadline afterwards = {.at_ms = vmc_now_ms() + AFTERWARDS_MS};
    vmctl_call call = vmc_deadline_call(&afterwards);
    vmctl_delete_options gone = VMCTL_DELETE_OPTIONS_INIT;
    vmctl_error *why = NULL;
    gone.call = &call;
    int code = vmc_journal_drop(arrivals, arrival, err);
    virtualbox_tell(m->target, VMCTL_EVENT_DEFINED, m->there, VMCTL_STATE_STOPPED, "added");
    if (code == 0 && virtualbox_remove(m->scene.conn, m->scene.vm, &gone, &why) < 0)
        vmc_note(m->deadline, VMCTL_NOTE_WARNING, "%s is at the target, and still here too (%s)", m->scene.vm->name,
                 vmctl_error_message(why));
    vmctl_error_free(why);
    return code;
}

static int prepare(moving *m, virtualbox_vm *vm, vmctl_error **err) {
    vboxmanage_registry registry = {0};
    VMC_AUTO_FREE char *machines = NULL;
    int code = virtualbox_look(m->scene.conn, vm, m->deadline, &m->scene, err);
    if (code == 0)
        code = virtualbox_registry(m->target, m->deadline, &registry, err);
    if (code == 0)
        code = virtualbox_machine_folder(m->target, &registry, m->deadline, &machines, err);
    vboxmanage_registry_free(&registry);
    if (code < 0)
        return code;
    m->scene.deadline = m->deadline;
    m->there = virtualbox_vm_new(vm->id, vm->name);
    m->folder = virtualbox_folder_of(machines, vm->name);
    m->settings = vmc_printf("%s/%s.vbox", m->folder, vmc_path_basename(m->folder));
    return virtualbox_migrate_check(&m->scene, m->target, m->folder, m->options, err);
}

int virtualbox_migrate(void *conn, void *vm, void *target, const char *host, const vmctl_migrate_options *options,
                       vmc_journal *journal, vmc_journal *arrivals, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(options->call, -1);
    vmc_cleanup(moving_free)
        moving m = {.scene = {.conn = conn}, .target = target, .options = options, .deadline = &deadline};
    if (!target) {
        vmc_error(err, VMCTL_E_UNSUPPORTED, "VirtualBox has no cluster that %s could be a host of", host);
        return vmc_error_next(err, "name the target's endpoint: --to virtualbox:///?home=DIR&ipc=ID");
    }
    int code = prepare(&m, vm, err);
    if (code < 0 || options->dry_run)
        return code;
    size_t arrival = 0;
    VMC_AUTO_FREE char *detail = vmc_printf("%s %s", m.there->id, m.folder);
    VMC_AUTO_FREE char *from = vmc_printf("%s %s", m.there->id, m.scene.machine->folder);
    code = vmc_journal_add(journal, "departure", from, NULL, err);
    if (code == 0)
        code = vmc_journal_add(arrivals, "arrival", detail, &arrival, err);
    if (virtualbox_moves_stopped(&m.scene, options)) {
        if (code == 0)
            code = virtualbox_move_stopped(&m.scene, target, m.there, m.folder, m.settings, err);
        return code < 0 ? code : leave_stopped(&m, arrivals, arrival, err);
    }
    if (code == 0)
        code = make_target(&m, err);
    if (code == 0)
        code = teleport(&m, err);
    remove_password(&m);
    if (code < 0)
        return code;
    code = vmc_journal_drop(arrivals, arrival, err);
    arrive(&m, journal);
    vmc_note(&deadline, VMCTL_NOTE_INFO,
             "VirtualBox leaves the teleporter of %s switched on; the next vmctl start there switches it off",
             m.there->name);
    return code;
}
