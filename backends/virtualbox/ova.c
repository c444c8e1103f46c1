/* Whole VMs into OVA files and out of them. VBoxManage's own export and import know nothing of vmctl's marker and trust what they are given. */
#include "backends/shared/ova_vm.h"
#include "facts.h"
#include "plan.h"
#include "snapshot.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- out ------------------------------------------------------------------------------------------------------ */

typedef struct exporting {
    virtualbox_scene scene;
    vmc_journal *journal;
    vmctl_spec *spec;
    char *target;
    vmc_strv members, vmdks;
    vmc_ova_disk *disks;
    size_t count;
} exporting;

static void exporting_free(exporting *x) {
    virtualbox_scene_free(&x->scene);
    vmctl_spec_free(x->spec);
    vmc_strv_free(&x->members);
    vmc_strv_free(&x->vmdks);
    free(x->target);
    free(x->disks);
}

int virtualbox_export_check(const virtualbox_scene *scene, vmctl_error **err) {
    int code = virtualbox_check_idle(scene, err);
    return code < 0 ? code
                    : vmc_ova_check_state(scene->vm->name, scene->state != VMCTL_STATE_STOPPED,
                                          scene->state == VMCTL_STATE_SAVED, err);
}

/* A disk that VirtualBox writes as one stream. */
typedef struct flattening {
    const exporting *x;
    const vboxmanage_medium *medium;
    const char *name;
} flattening;

/* What stands on other images only VirtualBox reads; it registers its copy, which must be let go of again. */
static int flatten(const char *vmdk, void *user, vmctl_error **err) {
    const flattening *f = user;
    const virtualbox_scene *scene = &f->x->scene;
    VMC_AUTO_FREE char *stage = vmc_printf("compressing disk %s", f->name);
    VMC_AUTO_STRV argv = {0};
    const char *const words[] = {"clonemedium", "disk", f->medium->id, vmdk, "--format", "VMDK", "--variant", "Stream"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        vmc_strv_add(&argv, words[i]);
    int code = virtualbox_run(scene->conn, scene->vm->id, &argv, "reading a disk", stage, scene->vm->name,
                              scene->deadline, NULL, err);
    if (code == 0)
        code = virtualbox_say(scene->conn, scene->vm, "letting go of the copy", scene->deadline, NULL, err,
                              "closemedium", "disk", vmdk, NULL);
    return code;
}

static const vboxmanage_attachment *attachment_of(const virtualbox_scene *scene, const char *name) {
    for (size_t i = 0; i < scene->machine->attachment_count; i++) {
        const vboxmanage_attachment *at = &scene->machine->attachments[i];
        VMC_AUTO_FREE char *place = virtualbox_place(at);
        if (vmc_str_eq(at->kind, "HardDisk") && vmc_str_eq(virtualbox_marker_name(scene->marker, place, place), name))
            return at;
    }
    return NULL;
}

static int read_disk(exporting *x, const char *name, size_t item, vmctl_error **err) {
    const virtualbox_scene *scene = &x->scene;
    const vboxmanage_attachment *at = attachment_of(scene, name);
    const vboxmanage_medium *medium = at ? vboxmanage_medium_of(scene->machine, at->medium) : NULL;
    if (!medium)
        return vmc_error(err, VMCTL_E_NOT_FOUND, "the image of disk %s is not known", name);
    VMC_AUTO_FREE char *folder = vmc_path_dirname(x->target);
    VMC_AUTO_FREE char *stage = vmc_printf("compressing disk %s", name);
    const qemu_img_label label = {scene->vm->name, stage, name};
    vmc_strv_printf(&x->members, "%s-disk%zu.vmdk", scene->vm->name, x->count + 1);
    /* VirtualBox tells a format from the name's end. */
    VMC_AUTO_FREE char *unfinished = vmc_unfinished_name(folder, x->members.items[x->count]);
    vmc_strv_printf(&x->vmdks, "%s.vmdk", unfinished);
    const char *vmdk = x->vmdks.items[x->count];
    vmc_ova_disk *disk = &x->disks[x->count++];
    *disk = (vmc_ova_disk){.item = item};
    int code = vmc_journal_add(x->journal, "file", vmdk, NULL, err);
    const vboxmanage *manage = scene->conn->manage;
    if (code == 0 && (*medium->parent || manage->host)) {
        disk->capacity = virtualbox_image_bytes(manage, medium->location);
        flattening f = {x, medium, name};
        code = virtualbox_make_here(scene->conn, scene->machine->folder, "disk.vmdk", vmdk, flatten, &f,
                                    scene->deadline, err);
    } else if (code == 0) {
        code = vmc_ova_compress(medium->location, NULL, vmdk, &label, &disk->capacity, scene->deadline, err);
    }
    return code;
}

static int read_disks(exporting *x, vmctl_error **err) {
    const vmctl_node *disks = vmctl_node_get(vmctl_spec_root(x->spec), "disks");
    x->disks = vmc_alloc((vmctl_node_count(disks) + 1) * sizeof *x->disks);
    int code = 0;
    for (size_t i = 0; code == 0 && i < vmctl_node_count(disks); i++) {
        const vmctl_node *disk = vmctl_node_at(disks, i);
        if (!vmctl_node_get(disk, "cdrom"))
            code = read_disk(x, vmctl_node_string(disk, "name", ""), i, err);
    }
    for (size_t i = 0; i < x->count; i++) { /* the lists have stopped moving */
        x->disks[i].member = x->members.items[i];
        x->disks[i].vmdk = x->vmdks.items[i];
    }
    if (code == 0 && x->count == 0)
        code = vmc_error(err, VMCTL_E_UNSUPPORTED, "%s has no disk", x->scene.vm->name);
    return code;
}

int virtualbox_export_ova(void *conn, void *vm, const char *path, const vmctl_call *call, vmc_journal *journal,
                          vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, -1);
    vmc_cleanup(exporting_free) exporting x = {.journal = journal};
    x.target = vmc_path_absolute(NULL, path);
    int code = vmc_ova_check_target(x.target, err);
    if (code == 0)
        code = virtualbox_look(conn, vm, &deadline, &x.scene, err);
    if (code == 0)
        code = virtualbox_export_check(&x.scene, err);
    vmctl_call inner = vmc_deadline_call(&deadline);
    if (code == 0)
        code = virtualbox_spec(conn, vm, &inner, &x.spec, err);
    if (code == 0)
        code = read_disks(&x, err);
    if (code == 0)
        code = vmc_ova_pack(x.spec, x.disks, x.count, x.scene.vm->name, x.target, journal, &deadline, err);
    return code;
}

/* --- in --------------------------------------------------------------------------------------------------------- */

typedef struct importing {
    virtualbox_conn *conn;
    const vmctl_marker *marker;
    vmc_journal *journal;
    void **vm;
    vmctl_identity *identity;
    const vmc_deadline *deadline;
} importing;

static int check_name(void *user, const char *name, const vmc_deadline *deadline, vmctl_error **err) {
    const importing *im = user;
    vboxmanage_registry registry = {0};
    VMC_AUTO_FREE char *machines = NULL;
    int code = virtualbox_registry(im->conn, deadline, &registry, err);
    if (code == 0)
        code = virtualbox_machine_folder(im->conn, &registry, deadline, &machines, err);
    VMC_AUTO_FREE char *folder = code == 0 ? virtualbox_folder_of(machines, name) : NULL;
    if (code == 0)
        code = virtualbox_check_new(im->conn, &registry, name, folder, deadline, err);
    vboxmanage_registry_free(&registry);
    return code;
}

/* Cards that only other makers have become one that every guest knows. */
static int adapt(vmctl_spec *spec, void *user, vmctl_error **err) {
    const importing *im = user;
    size_t count = vmctl_node_count(vmctl_node_get(vmctl_spec_root(spec), "networks"));
    int code = 0;
    for (size_t i = 0; code == 0 && i < count; i++) {
        const vmctl_node *nic = vmctl_node_at(vmctl_node_get(vmctl_spec_root(spec), "networks"), i);
        const char *model = vmctl_node_string(nic, "model", NULL);
        if (!model || !vmc_starts_with(model, "vmxnet"))
            continue;
        VMC_AUTO_FREE char *key = vmc_printf("networks.%s.model", vmctl_node_string(nic, "name", "net"));
        vmc_note(im->deadline, VMCTL_NOTE_WARNING, "VirtualBox has no %s: network %s gets an e1000", model,
                 vmctl_node_string(nic, "name", "net"));
        code = vmctl_spec_set(spec, key, "e1000", err);
    }
    return code;
}

static int create(void *user, const vmctl_spec *spec, const vmctl_create_options *options, vmctl_error **err) {
    const importing *im = user;
    return virtualbox_create(im->conn, spec, options, im->marker, im->journal, im->vm, im->identity, err);
}

int virtualbox_import_ova(void *conn, const char *path, const char *name, const vmctl_call *call,
                          const vmctl_marker *marker, vmc_journal *journal, void **vm, vmctl_identity *identity,
                          vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, -1);
    importing im = {conn, marker, journal, vm, identity, &deadline};
    const vmc_ova_import_request want = {.backend = "virtualbox",
                                         .path = path,
                                         .name = name,
                                         .journal = journal,
                                         .check_name = check_name,
                                         .adapt = adapt,
                                         .create = create,
                                         .user = &im};
    return vmc_ova_import(&want, &deadline, err);
}
