/* A stopped VM to another VirtualBox: its folder is copied, the copies are compared, the target registers the VM, and then it goes here. */
#include "migrate.h"

#include "drivers/qemu_img/qemu_img.h"
#include "drivers/vboxmanage/settings_move.h"
#include "facts.h"
#include "migrate_reach.h"
#include "plan.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DIGEST = 64 };

typedef struct moving {
    const virtualbox_scene *scene;
    const virtualbox_conn *target;
    const char *folder; /* at the target */
} moving;

/* What lies in the VM's folder comes along; other media stay where both have them. */
static char *place(const char *location, void *user) {
    const moving *m = user;
    VMC_AUTO_FREE char *folder = vmc_path_dirname(location);
    return vmc_str_eq(folder, m->scene->machine->folder) ? vmc_printf("%s/%s", m->folder, vmc_path_basename(location))
                                                         : NULL;
}

/* sha256sum(1); shasum where that is not. */
static int digest(const vboxmanage *manage, const char *path, const vmc_deadline *deadline, char out[DIGEST + 1],
                  vmctl_error **err) {
    VMC_AUTO_FREE char *text = NULL;
    int code = 0;
    if (manage->host) {
        code = vboxmanage_files_script(manage, "sha256sum -- \"$1\" 2>/dev/null || shasum -a 256 -- \"$1\"",
                                       (const char *const[]){path, NULL}, "comparing the copies", deadline, &text, err);
    } else {
        const process_options options = {.argv = (const char *const[]){"sha256sum", "--", path, NULL},
                                         .package = "coreutils",
                                         .doing = "comparing the copies"};
        PROCESS_AUTO_RESULT result = {0};
        code = process_run_ok(&options, deadline, &result, err);
        text = vmc_strdup(result.output ? result.output : "");
    }
    if (code < 0)
        return code;
    const char *sum = *text == '\\' ? text + 1 : text; /* of a name with a backslash */
    if (strlen(sum) < DIGEST)
        return vmc_error(err, VMCTL_E_INTERNAL, "sha256sum tells nothing of %s", path);
    memcpy(out, sum, DIGEST);
    out[DIGEST] = 0;
    return 0;
}

static int copy(const moving *m, const char *from, const char *to, vmctl_error **err) {
    const vboxmanage *source = m->scene->conn->manage;
    const vboxmanage *target = m->target->manage;
    const vmc_deadline *deadline = m->scene->deadline;
    const char *name = m->scene->vm->name;
    const qemu_img_label label = {name, "copying to the target", NULL};
    VMC_AUTO_FREE char *link = vboxmanage_file_link(source, from, deadline);
    if (link)
        return vboxmanage_symlink(target, link, to, deadline, err);
    int code = vmc_progress(deadline, name, "copying to the target", NULL, VMCTL_UNIT_NONE, 0, 0, err);
    if (code == 0)
        code = !source->host && !target->host ? qemu_img_copy(from, to, 0600, &label, deadline, err)
               : !source->host                ? vboxmanage_file_send(target, from, to, deadline, err)
               : !target->host
                   ? vboxmanage_file_fetch(source, from, to, deadline, err)
                   : vboxmanage_files_script(source, "umask 077; exec cp -p -- \"$1\" \"$2\"",
                                             (const char *const[]){from, to, NULL}, label.stage, deadline, NULL, err);
    char one[DIGEST + 1] = "";
    char two[DIGEST + 1] = "";
    if (code == 0)
        code = digest(source, from, deadline, one, err);
    if (code == 0)
        code = digest(target, to, deadline, two, err);
    return code == 0 && strcmp(one, two) != 0
               ? vmc_error(err, VMCTL_E_INTERNAL, "%s is not what was copied from %s", to, from)
               : code;
}

static int copy_all(const moving *m, vmctl_error **err) {
    const vboxmanage_machine *machine = m->scene->machine;
    VMC_AUTO_STRV done = {0};
    int code = vboxmanage_folder_make(m->target->manage, m->folder, m->scene->deadline, err);
    for (size_t i = 0; code == 0 && i < machine->attachment_count; i++) {
        const vboxmanage_medium *medium = vboxmanage_medium_of(machine, machine->attachments[i].medium);
        VMC_AUTO_FREE char *to = medium ? place(medium->location, (void *)m) : NULL;
        if (!to || vmc_strv_has(&done, to))
            continue;
        vmc_strv_add(&done, to);
        code = copy(m, medium->location, to, err);
    }
    VMC_AUTO_FREE char *to = machine->nvram ? place(machine->nvram, (void *)m) : NULL;
    if (code == 0 && to && vboxmanage_file_exists(m->scene->conn->manage, machine->nvram, m->scene->deadline))
        code = copy(m, machine->nvram, to, err);
    return code;
}

int virtualbox_move_stopped(const virtualbox_scene *scene, virtualbox_conn *target, const virtualbox_vm *there,
                            const char *folder, const char *settings, vmctl_error **err) {
    moving m = {scene, target, folder};
    const vboxmanage_machine *machine = scene->machine;
    VMC_AUTO_FREE char *serial = machine->serial_path ? place(machine->serial_path, &m) : NULL;
    const vboxmanage_move move = {.from = machine->settings,
                                  .to = settings,
                                  .source = scene->conn->manage,
                                  .target = target->manage,
                                  .deadline = scene->deadline,
                                  .serial_path = serial,
                                  .place = place,
                                  .user = &m};
    vboxmanage_machine *arrived = NULL;
    int code = copy_all(&m, err);
    if (code == 0)
        code = vboxmanage_settings_move(&move, err);
    if (code == 0)
        code = virtualbox_say(target, there, "registering the VM at the target", scene->deadline, NULL, err,
                              "registervm", settings, NULL);
    /* What the target read of it, before anything goes here. */
    if (code == 0)
        code = virtualbox_load(target, there, scene->deadline, &arrived, err);
    if (code == 0 && arrived->attachment_count != machine->attachment_count)
        code = vmc_error(err, VMCTL_E_INTERNAL, "the target has %zu of the %zu disks and drives of %s",
                         arrived->attachment_count, machine->attachment_count, scene->vm->name);
    vboxmanage_machine_free(arrived);
    return code;
}
