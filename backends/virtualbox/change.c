/* Making the changes of a diff, all or none.
 *
 * All calls are worked out before anything is touched. Then: files of added disks; devices, one call each, and each can be taken back; the
 * settings, by one call of modifyvm, which VirtualBox makes whole or not at all; the marker; and last what cannot be taken back, the growth of
 * disks. What needs a stop waits in the marker (pending.h). */
#include "change.h"

#include "facts.h"
#include <stdlib.h>
#include <string.h>

enum { UNDO_MS = 60000 };

/* --- steps ------------------------------------------------------------------------------------------------------------ */

static virtualbox_step_kind kind_of(const virtualbox_step *step) {
    static const struct {
        const char *list, *key;
        virtualbox_step_kind kind;
    } kinds[] = {
        {"autostart", NULL, VIRTUALBOX_STEP_AUTOSTART}, {"description", NULL, VIRTUALBOX_STEP_DESCRIPTION},
        {"lifetime", NULL, VIRTUALBOX_STEP_MARKER},     {"labels", NULL, VIRTUALBOX_STEP_MARKER},
        {"networks", NULL, VIRTUALBOX_STEP_NIC},        {"disks", "cdrom", VIRTUALBOX_STEP_MEDIUM},
        {"disks", "size", VIRTUALBOX_STEP_SIZE},        {"cpus", "count", VIRTUALBOX_STEP_CPUS},
        {"memory", "size", VIRTUALBOX_STEP_MEMORY},
    };
    if (step->change->action == VMCTL_CHANGE_ADD)
        return VIRTUALBOX_STEP_ADD;
    if (step->change->action == VMCTL_CHANGE_REMOVE)
        return VIRTUALBOX_STEP_REMOVE;
    if (vmc_starts_with(step->change->path, "virtualbox.extraData."))
        return VIRTUALBOX_STEP_MARKER;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(step->list, kinds[i].list) == 0 && (!kinds[i].key || vmc_str_eq(step->key, kinds[i].key)))
            return kinds[i].kind;
    return VIRTUALBOX_STEP_SETTING;
}

static void read_step(const vmctl_change *change, virtualbox_step *step) {
    step->change = change;
    vmc_change_place(change, &step->list, &step->name, &step->key);
    step->kind = kind_of(step);
}

/* A whole list at once (`--set disks=[...]`) is none that VirtualBox's VMs are changed by. */
static int read_steps(virtualbox_changing *ch, vmctl_error **err) {
    static const char *const lists[] = {"disks", "networks", "shares", "usb"};
    ch->count = vmctl_diff_count(ch->diff);
    ch->steps = vmc_alloc((ch->count + 1) * sizeof *ch->steps);
    for (size_t i = 0; i < ch->count; i++) {
        read_step(vmctl_diff_at(ch->diff, i), &ch->steps[i]);
        for (size_t l = 0; l < sizeof lists / sizeof lists[0]; l++)
            if (strcmp(ch->steps[i].change->path, lists[l]) == 0)
                return vmc_error(err, VMCTL_E_UNSUPPORTED,
                                 "%s as a whole cannot be changed: name the device and the key", lists[l]);
    }
    return 0;
}

static int check_live(const virtualbox_changing *ch, vmctl_error **err) {
    VMC_AUTO_STRV later = {0};
    for (size_t i = 0; i < ch->count; i++) {
        const virtualbox_step *step = &ch->steps[i];
        if (step->effect == VMCTL_EFFECT_AT_RESTART)
            vmc_strv_printf(&later, "%s (%s)", step->change->path, step->why ? step->why : "");
    }
    if (!ch->live || later.count == 0)
        return 0;
    VMC_AUTO_FREE char *paths = vmc_strv_join(&later, ", ");
    VMC_AUTO_FREE char *next = virtualbox_change_later(ch->scene.vm->name);
    vmc_error(err, VMCTL_E_INVALID_STATE, "%s cannot be changed while %s %s; nothing was changed", paths,
              ch->scene.vm->name, ch->scene.machine->state_file ? "is saved" : "runs");
    return vmc_error_next(err, "%s", next);
}

static void tell_later(const virtualbox_changing *ch) {
    for (size_t i = 0; i < ch->count; i++)
        if (ch->steps[i].effect == VMCTL_EFFECT_AT_RESTART && ch->steps[i].why)
            vmc_note(ch->scene.deadline, VMCTL_NOTE_INFO, "%s waits for a restart: %s", ch->steps[i].change->path,
                     ch->steps[i].why);
}

/* --- what shall be ------------------------------------------------------------------------------------------------------ */

/* The guest has less for now, of what it began with: its settings are changed at its next start. */
static bool is_ballooned(const virtualbox_changing *ch, const virtualbox_step *step) {
    return step->kind == VIRTUALBOX_STEP_MEMORY && ch->fixed && step->effect == VMCTL_EFFECT_NOW;
}

/* The spec with the changes laid over it: those that are made now, or all of them. */
static cJSON *laid_over(const virtualbox_changing *ch, bool all) {
    cJSON *json = cJSON_Duplicate(ch->shown, true);
    for (size_t i = 0; i < ch->count; i++) {
        const virtualbox_step *step = &ch->steps[i];
        if (all || (step->effect == VMCTL_EFFECT_NOW && !is_ballooned(ch, step)))
            virtualbox_json_lay(json, step->change->action, step->change->path,
                                step->change->action == VMCTL_CHANGE_REMOVE ? NULL
                                                                            : vmc_json_of_node(step->change->want));
    }
    return json;
}

/* What waits: an added disk has its file by now. */
static void note_pending(virtualbox_changing *ch) {
    cJSON *marker = ch->files.marker;
    for (size_t i = 0; i < ch->count; i++) {
        const virtualbox_step *step = &ch->steps[i];
        bool description = step->kind == VIRTUALBOX_STEP_DESCRIPTION && ch->fixed && !ch->scene.machine->state_file;
        bool waits = virtualbox_pending_find(marker, step->change->path) != NULL;
        if (step->effect != VMCTL_EFFECT_AT_RESTART && !description && !waits && !is_ballooned(ch, step))
            continue;
        cJSON *value = step->change->action == VMCTL_CHANGE_REMOVE ? NULL : vmc_json_of_node(step->change->want);
        if (step->volume) {
            static const char *const made[] = {"image", "size", "format", "pool"};
            for (size_t k = 0; k < sizeof made / sizeof made[0]; k++)
                vmc_json_put(value, made[k], NULL);
            vmc_json_put(value, "volume", cJSON_CreateString(step->volume));
        }
        virtualbox_pending_put(marker, step->change->action, step->change->path, value);
    }
}

/* What is by now as the settings have it waits no more. */
static void drop_settled(virtualbox_changing *ch) {
    cJSON *all = cJSON_GetObjectItemCaseSensitive(ch->files.marker, "pending");
    cJSON *next = NULL;
    for (cJSON *entry = all ? all->child : NULL; entry; entry = next) {
        const cJSON *value = vmc_json_key(entry, "value");
        VMC_AUTO_JSON *laid = cJSON_Duplicate(ch->shown, true);
        next = entry->next;
        if (strcmp(vmc_json_string(entry, "action", ""), "set") != 0)
            continue;
        virtualbox_json_lay(laid, VMCTL_CHANGE_SET, vmc_json_string(entry, "path", ""),
                            value ? cJSON_Duplicate(value, true) : NULL);
        if (cJSON_Compare(laid, ch->shown, true))
            cJSON_Delete(cJSON_DetachItemViaPointer(all, entry));
    }
    if (all && cJSON_GetArraySize(all) == 0)
        virtualbox_pending_clear(ch->files.marker);
}

static void note_texts(virtualbox_changing *ch) {
    cJSON *marker = ch->files.marker;
    for (size_t i = 0; i < ch->count; i++) {
        const virtualbox_step *step = &ch->steps[i];
        if (strcmp(step->list, "labels") == 0) {
            if (!vmc_json_key(marker, "labels"))
                cJSON_AddObjectToObject(marker, "labels");
            virtualbox_json_lay(marker, VMCTL_CHANGE_SET, step->change->path,
                                step->change->want ? vmc_json_of_node(step->change->want) : NULL);
        } else if (strcmp(step->list, "lifetime") == 0) {
            virtualbox_marker_lifetime(marker, vmctl_node_integer(step->change->want, NULL, 0) / 1000);
        }
    }
}

/* --- the calls --------------------------------------------------------------------------------------------------------- */

static int call(const virtualbox_changing *ch, const vmc_strv *argv, const vmc_deadline *deadline, vmctl_error **err) {
    return virtualbox_run(ch->scene.conn, ch->scene.vm->id, argv, "changing the VM", NULL, ch->scene.vm->name, deadline,
                          NULL, err);
}

/* Words of VirtualBox that a person can do something about. */
static int explain(const virtualbox_changing *ch, const virtualbox_order *order, vmctl_error **err) {
    const char *said = err && *err ? vmctl_error_message(*err) : "";
    const char *words =
        err && *err && vmctl_error_hypervisor_message(*err) ? vmctl_error_hypervisor_message(*err) : said;
    bool unplug = order->argv.count > 2 && strcmp(order->argv.items[2], "unplugcpu") == 0;
    if (unplug && strstr(words, "may still be used by the guest")) {
        VMC_AUTO_FREE char *text = vmc_strdup(words);
        vmc_error(err, VMCTL_E_BUSY, "the guest of %s does not give the CPU back", ch->scene.vm->name);
        vmc_error_hypervisor(err, NULL, text);
        return vmc_error_next(err, "take it offline in the guest first, or leave --live out");
    }
    if (strstr(words, "tray") || strstr(words, "is locked by the guest") || strstr(words, "Could not unmount")) {
        VMC_AUTO_FREE char *text = vmc_strdup(words);
        vmc_error(err, VMCTL_E_BUSY, "the guest of %s keeps the drive locked", ch->scene.vm->name);
        vmc_error_hypervisor(err, NULL, text);
        return vmc_error_next(err, "eject it in the guest, or take it out with --force");
    }
    return err && *err ? vmctl_error_code(*err) : VMCTL_E_INTERNAL;
}

static int do_orders(virtualbox_changing *ch, bool last, vmctl_error **err) {
    int code = 0;
    for (size_t i = 0; code == 0 && i < ch->order_count; i++) {
        virtualbox_order *order = &ch->orders[i];
        if (order->last != last)
            continue;
        code = call(ch, &order->argv, ch->scene.deadline, err);
        order->done = code == 0;
        if (code < 0)
            code = explain(ch, order, err);
    }
    return code;
}

static int write_marker(const virtualbox_changing *ch, const cJSON *marker, const vmc_deadline *deadline,
                        vmctl_error **err) {
    VMC_AUTO_STRV argv = {0};
    VMC_AUTO_FREE char *text = cJSON_PrintUnformatted(marker);
    bool none = cJSON_GetArraySize(marker) == 0;
    vmc_strv_add(&argv, "setextradata");
    vmc_strv_add(&argv, ch->scene.vm->id);
    vmc_strv_add(&argv, VIRTUALBOX_MARKER);
    vmc_strv_add(&argv, none ? "" : text);
    return call(ch, &argv, deadline, err);
}

/* What the settings show by now tells what else must be kept. */
static int note_all(virtualbox_changing *ch, vmctl_error **err) {
    vboxmanage_machine *after = NULL;
    int code = virtualbox_load(ch->scene.conn, ch->scene.vm, ch->scene.deadline, &after, err);
    if (code < 0)
        return code;
    note_pending(ch);
    drop_settled(ch);
    note_texts(ch);
    VMC_AUTO_JSON *shown = virtualbox_machine_json(after, ch->files.marker, false);
    VMC_AUTO_JSON *want = laid_over(ch, false);
    vboxmanage_machine_free(after);
    virtualbox_marker_keep(ch->files.marker, shown, want);
    if (cJSON_Compare(ch->files.marker, ch->scene.marker, true))
        return 0;
    code = write_marker(ch, ch->files.marker, ch->scene.deadline, err);
    ch->noted = code == 0;
    return code;
}

static bool has_options(const virtualbox_changing *ch) {
    return ch->p.modify.count > 2;
}

static int do_all(virtualbox_changing *ch, bool *modified, vmctl_error **err) {
    int code = do_orders(ch, false, err);
    if (code == 0 && has_options(ch)) {
        code = call(ch, &ch->p.modify, ch->scene.deadline, err);
        *modified = code == 0;
    }
    if (code == 0)
        code = note_all(ch, err);
    return code < 0 ? code : do_orders(ch, true, err);
}

/* Whatever became of it, the VM goes back to what it was; what does not is named in the error. */
static void take_back(virtualbox_changing *ch, bool modified, vmctl_error **err) {
    vmc_deadline patient = {.at_ms = vmc_now_ms() + UNDO_MS};
    VMC_AUTO_STRV left = {0};
    vmctl_error *why = NULL;
    if (ch->noted && write_marker(ch, ch->scene.marker, &patient, &why) < 0)
        vmc_strv_printf(&left, "the marker (%s)", vmctl_error_message(why));
    if (modified && ch->modify_back.count > 2 && call(ch, &ch->modify_back, &patient, &why) < 0)
        vmc_strv_printf(&left, "the settings (%s)", vmctl_error_message(why));
    if (modified && ch->unknown_back)
        vmc_strv_add(&left, "the options of virtualbox.modifyvm");
    for (size_t i = ch->order_count; i-- > 0;) {
        const virtualbox_order *order = &ch->orders[i];
        VMC_AUTO_FREE char *what = vmc_strv_join(&order->argv, " ");
        if (order->done && !order->of_file && (order->back.count == 0 || call(ch, &order->back, &patient, &why) < 0))
            vmc_strv_printf(&left, "%s (%s)", what, order->back.count ? vmctl_error_message(why) : "it stays");
    }
    vmctl_error_free(why);
    VMC_AUTO_FREE char *all = vmc_strv_join(&left, ", ");
    if (left.count)
        vmc_error_append(err, "; all was taken back but %s", all);
    else
        vmc_error_append(err, "; nothing was changed");
}

/* --- the whole ------------------------------------------------------------------------------------------------------------ */

int virtualbox_changing_open(virtualbox_changing *ch, virtualbox_conn *conn, virtualbox_vm *vm,
                             const vmc_deadline *deadline, vmctl_error **err) {
    *ch = (virtualbox_changing){0};
    int code = virtualbox_look(conn, vm, deadline, &ch->scene, err);
    if (code == 0)
        code = virtualbox_change_check(&ch->scene, err);
    if (code == 0)
        code = virtualbox_registry(conn, deadline, &ch->registry, err);
    if (code < 0 || !ch->scene.machine)
        return code;
    virtualbox_media_complete(ch->scene.conn, &ch->registry, ch->scene.machine, ch->scene.deadline);
    ch->fixed = ch->scene.state != VMCTL_STATE_STOPPED;
    return 0;
}

void virtualbox_changing_close(virtualbox_changing *ch) {
    for (size_t i = 0; i < ch->count; i++) {
        free(ch->steps[i].list);
        free(ch->steps[i].name);
        free(ch->steps[i].key);
        free(ch->steps[i].why);
    }
    for (size_t i = 0; i < ch->order_count; i++) {
        vmc_strv_free(&ch->orders[i].argv);
        vmc_strv_free(&ch->orders[i].back);
        free(ch->orders[i].place);
    }
    for (size_t i = 0; i < ch->p.attach_count; i++)
        vmc_strv_free(&ch->p.attaches[i]);
    free(ch->p.attaches);
    free(ch->p.machines);
    free(ch->steps);
    free(ch->orders);
    vmc_strv_free(&ch->p.modify);
    vmc_strv_free(&ch->modify_back);
    vboxmanage_usb_devices_free(&ch->usb_host);
    vmc_strv_free(&ch->usb_filters);
    vmctl_spec_free(ch->wanted);
    cJSON_Delete(ch->shown);
    virtualbox_plan_free(&ch->files);
    vboxmanage_registry_free(&ch->registry);
    virtualbox_scene_free(&ch->scene);
}

static int begin(virtualbox_changing *ch, vmctl_error **err) {
    virtualbox_scene *scene = &ch->scene;
    memcpy(ch->files.id, scene->vm->id, sizeof ch->files.id);
    ch->files.name = vmc_strdup(scene->vm->name);
    ch->files.folder = vmc_strdup(scene->machine->folder);
    ch->files.marker = cJSON_Duplicate(scene->marker, true);
    if (ch->settles)
        virtualbox_pending_clear(ch->files.marker);
    ch->shown = virtualbox_machine_json(scene->machine, scene->marker, true);
    ch->p = (virtualbox_planning){
        .conn = scene->conn, .deadline = scene->deadline, .registry = &ch->registry, .plan = &ch->files};
    virtualbox_add(&ch->p.modify, "modifyvm", scene->vm->id);
    virtualbox_add(&ch->modify_back, "modifyvm", scene->vm->id);
    return virtualbox_machine_folder(scene->conn, &ch->registry, scene->deadline, &ch->p.machines, err);
}

static int prepare(virtualbox_changing *ch, vmctl_error **err) {
    int code = begin(ch, err);
    if (code == 0)
        code = read_steps(ch, err);
    for (size_t i = 0; code == 0 && i < ch->count; i++)
        code = virtualbox_step_settle(ch, &ch->steps[i], err);
    if (code == 0)
        code = check_live(ch, err);
    VMC_AUTO_JSON *want = code == 0 ? laid_over(ch, true) : NULL;
    if (code == 0)
        code = vmc_json_to_spec(want, &ch->wanted, err);
    if (code < 0)
        return code;
    ch->p.spec = ch->wanted;
    ch->p.root = vmctl_spec_root(ch->wanted);
    for (size_t i = 0; code == 0 && i < ch->count; i++)
        code = virtualbox_step_plan(ch, &ch->steps[i], err);
    if (code == 0)
        tell_later(ch);
    return code;
}

/* The entry "disk UUID PATH" (undo.c): a file that may be attached by the time that it is taken back. */
static int make_files(virtualbox_changing *ch, vmc_journal *journal, vmctl_error **err) {
    int code = 0;
    for (size_t i = 0; code == 0 && i < ch->files.file_count; i++) {
        VMC_AUTO_FREE char *detail = vmc_printf("%s %s", ch->scene.vm->id, ch->files.files[i].path);
        code = vmc_journal_add(journal, "disk", detail, NULL, err);
        if (code == 0)
            code = virtualbox_make_file(ch->scene.conn, &ch->files, &ch->files.files[i], ch->scene.deadline, err);
    }
    return code;
}

int virtualbox_changing_run(virtualbox_changing *ch, const vmctl_diff *diff, bool dry_run, vmc_journal *journal,
                            vmctl_error **err) {
    bool modified = false;
    ch->diff = diff;
    int code = prepare(ch, err);
    if (code < 0 || dry_run)
        return code;
    code = make_files(ch, journal, err);
    if (code < 0)
        return code;
    code = do_all(ch, &modified, err);
    if (code < 0)
        take_back(ch, modified, err);
    return code;
}

/* --- what waits ------------------------------------------------------------------------------------------------------------ */

int virtualbox_pending_make(virtualbox_conn *conn, virtualbox_vm *vm, const vboxmanage_machine *machine,
                            const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_JSON *marker = virtualbox_marker_read(machine);
    if (!vmc_json_key(marker, "pending") || machine->state_file)
        return 0;
    VMC_AUTO_JSON *have = virtualbox_machine_json(machine, marker, true);
    VMC_AUTO_JSON *want = cJSON_Duplicate(have, true);
    virtualbox_pending_lay(marker, machine, false, want);
    vmctl_spec *specs[2] = {NULL, NULL};
    vmctl_diff *diff = NULL;
    const vmctl_diff_options rules = {.size = sizeof rules, .prune = true, .all = true};
    int code = vmc_json_to_spec(have, &specs[0], err);
    if (code == 0)
        code = vmc_json_to_spec(want, &specs[1], err);
    if (code == 0)
        code = vmctl_spec_diff(specs[0], specs[1], &rules, &diff, err);
    virtualbox_changing ch = {0};
    if (code == 0)
        code = virtualbox_changing_open(&ch, conn, vm, deadline, err);
    if (code == 0 && !ch.fixed) {
        ch.settles = true;
        code = virtualbox_changing_run(&ch, diff, false, NULL, err);
    }
    if (code < 0)
        vmc_error_prefix(err, "what waited for this start could not be changed");
    virtualbox_changing_close(&ch);
    vmctl_diff_free(diff);
    vmctl_spec_free(specs[0]);
    vmctl_spec_free(specs[1]);
    return code;
}

int virtualbox_changing_ready(virtualbox_changing *ch, virtualbox_conn *conn, virtualbox_vm *vm,
                              const vmc_deadline *deadline, vmctl_error **err) {
    int code = virtualbox_changing_open(ch, conn, vm, deadline, err);
    if (code < 0 || ch->fixed || !vmc_json_key(ch->scene.marker, "pending"))
        return code;
    code = virtualbox_pending_make(conn, vm, ch->scene.machine, deadline, err);
    virtualbox_changing_close(ch);
    *ch = (virtualbox_changing){0};
    return code < 0 ? code : virtualbox_changing_open(ch, conn, vm, deadline, err);
}

int virtualbox_change(void *conn, void *vm, const vmctl_diff *diff, const vmctl_change_options *options,
                      vmc_journal *journal, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(options->call, -1);
    virtualbox_changing ch;
    int code = options->dry_run ? virtualbox_changing_open(&ch, conn, vm, &deadline, err)
                                : virtualbox_changing_ready(&ch, conn, vm, &deadline, err);
    ch.live = options->live;
    if (code == 0)
        code = virtualbox_changing_run(&ch, diff, options->dry_run, journal, err);
    for (size_t i = 0; code == 0 && options->changed && i < ch.count; i++)
        options->changed(ch.steps[i].change, ch.steps[i].effect, options->user);
    virtualbox_changing_close(&ch);
    return code;
}
