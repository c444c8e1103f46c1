/* backends/libvirt/change.c - making the changes of a diff, all or none.
 *
 * The new definition is worked out and every effect settled before anything is touched. Then: files of added disks, the
 * definition, the running domain, and last what cannot be taken back, the growth of disks.
 */
#include "change.h"

#include "networks.h"
#include "ops.h"
#include "plan.h"
#include "refuse.h"
#include "rpc.h"
#include <stdlib.h>
#include <string.h>

enum { UNDO_MS = 60000 };

/* --- what there is ---------------------------------------------------------------------------------------- */

/* domain -> text (the running one's XML; NULL: it does not run), out (the definition), number (autostart), found (it is kept), flags (1: its
 * memory is saved) */
static int work_read(libvirt_rpc *rpc) {
    int autostart = 0;
    int active = virDomainIsActive(rpc->domain);
    int persistent = virDomainIsPersistent(rpc->domain);
    if (active < 0 || persistent < 0)
        return -1;
    rpc->found = persistent == 1;
    if (!rpc->found)
        return 0;
    if (virDomainGetAutostart(rpc->domain, &autostart) < 0)
        return -1;
    rpc->number = (unsigned long long)autostart;
    rpc->out = virDomainGetXMLDesc(rpc->domain, VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE);
    if (active && rpc->out)
        rpc->text = virDomainGetXMLDesc(rpc->domain, VIR_DOMAIN_XML_SECURE);
    rpc->flags = !active && virDomainHasManagedSaveImage(rpc->domain, 0) == 1;
    return rpc->out && (rpc->text || !active) ? 0 : -1;
}

/* domain and number (1: on) */
static int work_autostart(libvirt_rpc *rpc) {
    return virDomainSetAutostart(rpc->domain, rpc->number != 0);
}

libvirt_rpc *libvirt_changing_rpc(const libvirt_changing *ch) {
    libvirt_rpc *rpc = libvirt_rpc_new(ch->conn);
    virDomainRef(ch->domain);
    rpc->domain = ch->domain;
    return rpc;
}

static int read_domain(libvirt_changing *ch, vmctl_error **err) {
    LIBVIRT_AUTO_RPC *rpc = libvirt_changing_rpc(ch);
    int code = libvirt_rpc_run(ch->conn, ch->deadline, "reading the domain", work_read, rpc, err);
    if (code < 0)
        return code;
    code = libvirt_change_check_kept(ch->vm->name, rpc->found, err);
    if (code < 0)
        return code;
    ch->autostart = (int)rpc->number;
    ch->old_xml = rpc->out;
    ch->live_xml = rpc->text;
    rpc->out = rpc->text = NULL;
    ch->active = ch->live_xml != NULL;
    ch->saved = rpc->flags != 0;
    code = libvirt_domain_facts_read(ch->old_xml, &ch->config, err);
    return code < 0 || !ch->active ? code : libvirt_domain_facts_read(ch->live_xml, &ch->now, err);
}

/* --- steps ------------------------------------------------------------------------------------------------ */

static libvirt_step_kind kind_of(const libvirt_step *step) {
    static const struct {
        const char *list, *key;
        libvirt_step_kind kind;
    } kinds[] = {
        {"autostart", NULL, LIBVIRT_STEP_AUTOSTART}, {"description", NULL, LIBVIRT_STEP_TEXTS},
        {"lifetime", NULL, LIBVIRT_STEP_TEXTS},      {"networks", "link", LIBVIRT_STEP_LINK},
        {"disks", "cdrom", LIBVIRT_STEP_MEDIUM},     {"disks", "size", LIBVIRT_STEP_SIZE},
        {"memory", "size", LIBVIRT_STEP_MEMORY},     {"cpus", "count", LIBVIRT_STEP_CPUS},
    };
    if (strcmp(step->list, "labels") == 0)
        return LIBVIRT_STEP_TEXTS;
    if (step->change->action == VMCTL_CHANGE_ADD)
        return LIBVIRT_STEP_ADD;
    if (step->change->action == VMCTL_CHANGE_REMOVE)
        return LIBVIRT_STEP_REMOVE;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(step->list, kinds[i].list) == 0 && (!kinds[i].key || vmc_str_eq(step->key, kinds[i].key)))
            return kinds[i].kind;
    return LIBVIRT_STEP_DEFINITION;
}

static void read_step(const vmctl_change *change, libvirt_step *step) {
    step->change = change;
    vmc_change_place(change, &step->list, &step->name, &step->key);
    step->kind = kind_of(step);
}

static void read_steps(libvirt_changing *ch) {
    ch->count = vmctl_diff_count(ch->diff);
    ch->steps = vmc_alloc((ch->count + 1) * sizeof *ch->steps);
    for (size_t i = 0; i < ch->count; i++)
        read_step(vmctl_diff_at(ch->diff, i), &ch->steps[i]);
}

static int check_live(const libvirt_changing *ch, vmctl_error **err) {
    VMC_AUTO_STRV later = {0};
    for (size_t i = 0; i < ch->count; i++) {
        const libvirt_step *step = &ch->steps[i];
        if (step->effect == VMCTL_EFFECT_AT_RESTART)
            vmc_strv_printf(&later, "%s%s%s%s", step->change->path, step->why ? " (" : "", step->why ? step->why : "",
                            step->why ? ")" : "");
    }
    if (later.count == 0)
        return 0;
    VMC_AUTO_FREE char *paths = vmc_strv_join(&later, ", ");
    vmc_error(err, VMCTL_E_INVALID_STATE, "%s cannot be changed while %s %s; nothing was changed", paths, ch->vm->name,
              ch->saved ? "is saved" : "runs");
    VMC_AUTO_FREE char *next = libvirt_change_later(ch->vm->name);
    return vmc_error_next(err, "%s", next);
}

/* The saved memory knows each disk as large as it was: a guest that goes on with a larger one works beyond what it believes in. */
static int check_saved(const libvirt_changing *ch, vmctl_error **err) {
    for (size_t i = 0; ch->saved && i < ch->count; i++) {
        if (ch->steps[i].kind == LIBVIRT_STEP_SIZE)
            return libvirt_change_check_grow(ch->vm->name, ch->saved, ch->steps[i].name, err);
    }
    return 0;
}

/* What is only in force later, and why, is said before anything is done; a step that comes to it later tells it then. */
static void tell_later(const libvirt_changing *ch) {
    for (size_t i = 0; i < ch->count; i++) {
        const libvirt_step *step = &ch->steps[i];
        if (step->effect == VMCTL_EFFECT_AT_RESTART && step->why)
            vmc_note(ch->deadline, VMCTL_NOTE_INFO, "%s waits for a restart: %s", step->change->path, step->why);
    }
}

static int settle(libvirt_changing *ch, const char *planned_xml, vmctl_error **err) {
    libvirt_domain_facts *planned = NULL;
    int code = libvirt_domain_facts_read(planned_xml, &planned, err);
    for (size_t i = 0; code == 0 && i < ch->count; i++)
        libvirt_step_settle(ch, &ch->steps[i], planned);
    libvirt_domain_facts_free(planned);
    if (code == 0)
        code = check_saved(ch, err);
    if (code == 0 && ch->live)
        code = check_live(ch, err);
    if (code == 0)
        tell_later(ch);
    return code;
}

/* --- files and the new definition ------------------------------------------------------------------------- */

static int plan_file(libvirt_changing *ch, const vmctl_node *item, vmctl_error **err) {
    ch->files = vmc_realloc(ch->files, ch->file_count + 1, sizeof *ch->files);
    int code = libvirt_plan_disk(&ch->store, item, &ch->files[ch->file_count], err);
    ch->file_count += code == 0;
    return code;
}

/* One file for each change that brings one, as libvirt_domain_xml_change counts them. */
static int plan_step(libvirt_changing *ch, const libvirt_step *step, vmctl_error **err) {
    const vmctl_node *want = step->change->want;
    int code = 0;
    if (strcmp(step->list, "networks") == 0 && step->change->action == VMCTL_CHANGE_ADD)
        return libvirt_network_ready(ch->conn, want, false, ch->deadline, err);
    if (strcmp(step->list, "disks") == 0 && step->change->action == VMCTL_CHANGE_ADD)
        return plan_file(ch, want, err);
    if (step->change->action != VMCTL_CHANGE_SET)
        return 0;
    if (strcmp(step->change->path, "disks") == 0) {
        for (size_t i = 0; code == 0 && i < vmctl_node_count(want); i++)
            code = plan_file(ch, vmctl_node_at(want, i), err);
        return code;
    }
    bool brings = strcmp(step->list, "disks") == 0 && step->name &&
                  (vmc_str_eq(step->key, "cdrom") || vmc_str_eq(step->key, "volume"));
    if (brings) {
        ch->files = vmc_realloc(ch->files, ch->file_count + 1, sizeof *ch->files);
        code = libvirt_plan_source(&ch->store, step->name, step->key, want, &ch->files[ch->file_count], err);
        ch->file_count += code == 0;
    } else if (want && strcmp(step->change->path, "serial.log") == 0) {
        code = libvirt_plan_log(&ch->store, want, &ch->serial_log, err);
    } else if (want && strcmp(step->change->path, "boot.kernel") == 0) {
        code =
            libvirt_plan_medium(&ch->store, want, vmctl_node_string(want, NULL, ""), "kernel", NULL, &ch->kernel, err);
    } else if (want && strcmp(step->change->path, "boot.initrd") == 0) {
        code =
            libvirt_plan_medium(&ch->store, want, vmctl_node_string(want, NULL, ""), "initrd", NULL, &ch->initrd, err);
    }
    return code;
}

static int plan_host(libvirt_changing *ch, vmctl_error **err) {
    const char *accel = NULL;
    for (size_t i = 0; i < ch->count; i++)
        if (strcmp(ch->steps[i].change->path, "accel") == 0)
            accel = vmctl_node_string(ch->steps[i].change->want, NULL, "auto");
    if (ch->conn->test_driver || accel)
        return libvirt_plan_host(ch->conn, ch->config->info.arch, accel, ch->deadline, &ch->host, &ch->foreign, err);
    const libvirt_capabilities *own = NULL;
    int code = libvirt_capabilities_get(ch->conn, ch->deadline, &own, err);
    if (code == 0)
        ch->host = own->features;
    return code;
}

static int new_definition(libvirt_changing *ch, char **xml, vmctl_error **err) {
    libvirt_disk_plan *plans = vmc_alloc((ch->file_count + 1) * sizeof *plans);
    for (size_t i = 0; i < ch->file_count; i++)
        plans[i] = libvirt_file_plan(&ch->files[i]);
    VMC_AUTO_STRV warnings = {0};
    libvirt_domain_plan plan = {
        .host = &ch->host,
        .kernel = ch->kernel.path,
        .initrd = ch->initrd.path,
        .serial_log = ch->serial_log,
        .remote = !ch->conn->local,
        .session = ch->conn->session,
        .test_driver = ch->conn->test_driver,
        .warnings = &warnings,
    };
    int code = libvirt_domain_xml_change(ch->old_xml, ch->diff, plans, &plan, xml, err);
    free(plans);
    for (size_t i = 0; code == 0 && i < warnings.count; i++)
        vmc_note(ch->deadline, VMCTL_NOTE_WARNING, "%s", warnings.items[i]);
    return code;
}

static int make_files(libvirt_changing *ch, vmc_journal *journal, vmctl_error **err) {
    int code = libvirt_make_pools(&ch->store, err);
    for (size_t i = 0; code == 0 && i < ch->count; i++)
        if (ch->steps[i].kind == LIBVIRT_STEP_ADD && strcmp(ch->steps[i].list, "networks") == 0)
            code = libvirt_network_ready(ch->conn, ch->steps[i].change->want, true, ch->deadline, err);
    for (size_t i = 0; code == 0 && i < ch->file_count; i++)
        code = libvirt_make_file(&ch->store, &ch->files[i], journal, err);
    if (code == 0)
        code = libvirt_make_file(&ch->store, &ch->kernel, journal, err);
    return code < 0 ? code : libvirt_make_file(&ch->store, &ch->initrd, journal, err);
}

/* --- doing and taking back -------------------------------------------------------------------------------- */

static const char changing[] = "changing the definition";

static int set_autostart(const libvirt_changing *ch, int on, const vmc_deadline *deadline, vmctl_error **err) {
    LIBVIRT_AUTO_RPC *rpc = libvirt_changing_rpc(ch);
    rpc->number = (unsigned long long)on;
    return libvirt_rpc_run(ch->conn, deadline, "changing the autostart", work_autostart, rpc, err);
}

static int do_step(libvirt_changing *ch, libvirt_step *step, vmctl_error **err) {
    int code = 0;
    if (step->kind == LIBVIRT_STEP_AUTOSTART) {
        code = set_autostart(ch, vmctl_node_boolean(step->change->want, NULL, false), ch->deadline, err);
        step->done = code == 0;
    } else if (ch->active && step->effect == VMCTL_EFFECT_NOW && step->kind != LIBVIRT_STEP_SIZE) {
        code = libvirt_step_do(ch, step, err);
    }
    return code;
}

/* What is easily taken back comes first; what needs the guest for that, then; the growth of disks stays last. */
static int rank(const libvirt_step *step) {
    switch (step->kind) {
    case LIBVIRT_STEP_ADD:
    case LIBVIRT_STEP_MEMORY:
    case LIBVIRT_STEP_CPUS:
        return 1;
    case LIBVIRT_STEP_SIZE:
        return 2;
    default:
        return 0;
    }
}

/* The marker tells which files are the VM's own: a running domain shows it too. */
static int note_devices(libvirt_changing *ch, vmctl_error **err) {
    bool any = false;
    for (size_t i = 0; i < ch->count; i++) {
        const libvirt_step *step = &ch->steps[i];
        bool device =
            step->kind == LIBVIRT_STEP_ADD || step->kind == LIBVIRT_STEP_REMOVE || step->kind == LIBVIRT_STEP_MEDIUM;
        any |= device && step->done;
    }
    if (!any || !ch->active)
        return 0;
    int code = libvirt_live_texts(ch, ch->new_xml, ch->deadline, err);
    ch->noted = code == 0;
    return code;
}

static int do_all(libvirt_changing *ch, const char *xml, vmctl_error **err) {
    ch->defining = true;
    int code = libvirt_redefine(ch->conn, xml, changing, ch->deadline, &ch->new_xml, err);
    if (code < 0)
        return ch->count > 0 ? libvirt_step_explain(ch, &ch->steps[0], err) : code;
    for (int now = 0; now < 2; now++)
        for (size_t i = 0; code == 0 && i < ch->count; i++)
            if (rank(&ch->steps[i]) == now)
                code = do_step(ch, &ch->steps[i], err);
    if (code == 0)
        code = note_devices(ch, err);
    for (size_t i = 0; code == 0 && i < ch->count; i++) {
        if (ch->steps[i].kind != LIBVIRT_STEP_SIZE)
            continue;
        code = libvirt_grow_disk(ch, &ch->steps[i], err);
        ch->steps[i].done = code == 0;
    }
    return code;
}

/* domain (of this connection again) of name (UUID) */
static int work_find(libvirt_rpc *rpc) {
    rpc->domain = virDomainLookupByUUIDString(rpc->virt, rpc->name);
    return rpc->domain ? 0 : -1;
}

static int domain_free(void *domain) {
    return virDomainFree(domain);
}

/* An abandoned call takes the connection with it, and the domain's handle. */
static int reach_again(libvirt_changing *ch, const vmc_deadline *deadline, vmctl_error **err) {
    int code = libvirt_conn_renew(ch->conn, deadline, err);
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(ch->conn);
    rpc->name = vmc_strdup(ch->vm->uuid);
    if (code == 0)
        code = libvirt_rpc_run(ch->conn, deadline, "looking for the domain", work_find, rpc, err);
    if (code < 0)
        return code;
    libvirt_conn_release(ch->conn, domain_free, ch->domain);
    ch->domain = rpc->domain;
    rpc->domain = NULL;
    return 0;
}

/* Whatever became of the call, the VM goes back to what it was; what does not is named in the error. */
static void take_back(libvirt_changing *ch, int failed, vmctl_error **err) {
    vmc_deadline patient = {.at_ms = vmc_now_ms() + UNDO_MS};
    VMC_AUTO_STRV left = {0};
    vmctl_error *why = NULL;
    bool abandoned = vmc_outcome_unknown(failed);
    if (abandoned && reach_again(ch, &patient, &why) < 0) {
        vmc_error_append(err, "; it could not be taken back (%s)", vmctl_error_message(why));
        vmc_error_next(err, "see how it is: vmctl get %s", ch->vm->name);
        vmctl_error_free(why);
        return;
    }
    for (size_t i = ch->count; i-- > 0;) {
        libvirt_step *step = &ch->steps[i];
        int code = step->done && step->kind == LIBVIRT_STEP_AUTOSTART ? set_autostart(ch, ch->autostart, &patient, &why)
                                                                      : libvirt_step_undo(ch, step, &patient, &why);
        if (code < 0)
            vmc_strv_printf(&left, "%s (%s)", step->change->path, vmctl_error_message(why));
    }
    if (ch->noted && libvirt_live_texts(ch, ch->live_xml, &patient, &why) < 0)
        vmc_strv_printf(&left, "the marker (%s)", vmctl_error_message(why));
    /* Also one whose answer never came: libvirt may have taken it. */
    if (ch->defining && (ch->new_xml || abandoned) &&
        libvirt_redefine(ch->conn, ch->old_xml, changing, &patient, NULL, &why) < 0)
        vmc_strv_printf(&left, "the definition for the next start (%s)", vmctl_error_message(why));
    vmctl_error_free(why);
    VMC_AUTO_FREE char *all = vmc_strv_join(&left, ", ");
    if (left.count > 0)
        vmc_error_append(err, "; all was taken back but %s", all);
    else if (ch->defining && !ch->new_xml && abandoned)
        vmc_error_append(err, "; the definition was put back as it was");
    else
        vmc_error_append(err, "; nothing was changed");
}

/* --- the whole -------------------------------------------------------------------------------------------- */

int libvirt_changing_open(libvirt_changing *ch, libvirt_conn *conn, const libvirt_vm *vm, const vmc_deadline *deadline,
                          vmctl_error **err) {
    *ch = (libvirt_changing){.conn = conn, .vm = vm, .deadline = deadline, .domain = vm->domain};
    virDomainRef(vm->domain);
    libvirt_store_open(&ch->store, conn, deadline, vm->name, NULL);
    ch->store.keep_used = true;
    ch->store.uuid = vm->uuid;
    return read_domain(ch, err);
}

void libvirt_changing_close(libvirt_changing *ch) {
    libvirt_listener_close(ch->listener);
    libvirt_conn_release(ch->conn, domain_free, ch->domain);
    for (size_t i = 0; i < ch->count; i++) {
        free(ch->steps[i].list);
        free(ch->steps[i].name);
        free(ch->steps[i].key);
        free(ch->steps[i].why);
        free(ch->steps[i].undo_xml);
        free(ch->steps[i].alias);
    }
    for (size_t i = 0; i < ch->file_count; i++)
        libvirt_file_free(&ch->files[i]);
    free(ch->steps);
    free(ch->files);
    libvirt_file_free(&ch->kernel);
    libvirt_file_free(&ch->initrd);
    free(ch->serial_log);
    free(ch->live_xml);
    free(ch->old_xml);
    free(ch->new_xml);
    libvirt_domain_facts_free(ch->now);
    libvirt_domain_facts_free(ch->config);
    libvirt_capabilities_free(ch->foreign);
    libvirt_store_close(&ch->store);
}

static int prepare(libvirt_changing *ch, char **xml, vmctl_error **err) {
    read_steps(ch);
    int code = plan_host(ch, err);
    const libvirt_capabilities *own = NULL;
    if (code == 0 && !ch->conn->test_driver && !ch->conn->session &&
        libvirt_capabilities_get(ch->conn, ch->deadline, &own, NULL) == 0)
        ch->store.qemu_user = own->qemu_user;
    for (size_t i = 0; code == 0 && i < ch->count; i++)
        code = plan_step(ch, &ch->steps[i], err);
    if (code == 0)
        code = libvirt_plan_fits(&ch->store, err);
    if (code == 0)
        code = new_definition(ch, xml, err);
    return code < 0 ? code : settle(ch, *xml, err);
}

int libvirt_changing_run(libvirt_changing *ch, const vmctl_diff *diff, bool dry_run, vmc_journal *journal,
                         vmctl_error **err) {
    VMC_AUTO_FREE char *xml = NULL;
    ch->diff = diff;
    int code = prepare(ch, &xml, err);
    if (code < 0 || dry_run)
        return code;
    code = make_files(ch, journal, err);
    /* A volume may have come to be elsewhere than the pool's folder said. */
    if (code == 0 && ch->file_count > 0) {
        vmc_free_ptr(&xml);
        code = new_definition(ch, &xml, err);
    }
    if (code < 0)
        return code;
    code = do_all(ch, xml, err);
    if (code < 0)
        take_back(ch, code, err);
    else
        libvirt_store_sync(&ch->store);
    return code;
}

int libvirt_change(void *conn, void *vm, const vmctl_diff *diff, const vmctl_change_options *options,
                   vmc_journal *journal, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(options->call, -1);
    libvirt_changing ch;
    int code = libvirt_changing_open(&ch, conn, vm, &deadline, err);
    ch.live = options->live;
    if (code == 0)
        code = libvirt_changing_run(&ch, diff, options->dry_run, journal, err);
    for (size_t i = 0; code == 0 && options->changed && i < ch.count; i++)
        options->changed(ch.steps[i].change, ch.steps[i].effect, options->user);
    libvirt_changing_close(&ch);
    return code;
}
