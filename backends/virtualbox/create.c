/* Making a VM: planned and checked first, then made. Everything lies in a folder that was not there before, so that one entry of the
 * journal covers it all. */
#include "facts.h"
#include "plan.h"

#include "drivers/qemu_img/qemu_img.h"
#include "drivers/seed_iso/seed_iso.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RENDER_MS = 60000 };

/* --- files ----------------------------------------------------------------------------------------------------- */

/* Where a file of another host is made before it is sent: removed with its folder. */
typedef struct scratch {
    char *path;
} scratch;

static void scratch_free(scratch *own) {
    VMC_AUTO_FREE char *folder = own->path ? vmc_path_dirname(own->path) : NULL;
    if (!folder)
        return;
    unlink(own->path);
    rmdir(folder);
    free(own->path);
}

static int scratch_make(scratch *own, const char *name, vmctl_error **err) {
    const char *given = getenv("TMPDIR");
    VMC_AUTO_FREE char *folder = vmc_printf("%s/vmctl-XXXXXX", given && *given == '/' ? given : "/var/tmp");
    if (!mkdtemp(folder))
        return vmc_error_errno(err, errno, "cannot make a folder for what is sent: %s", folder);
    own->path = vmc_printf("%s/%s", folder, name);
    return 0;
}

/* Disks are made by qemu-img: a medium that VirtualBox itself makes or opens before it belongs to a VM stays in its registry. */
static const char *image_format(const char *format) {
    return strcmp(format, "vhd") == 0 ? "vpc" : format;
}

static const char *const *image_options(const virtualbox_file *file) {
    static const char *const vdi[] = {"static=on", NULL};
    static const char *const vhd[] = {"force_size=on", NULL};
    static const char *const fixed_vhd[] = {"force_size=on", "subformat=fixed", NULL};
    if (strcmp(file->format, "vhd") == 0)
        return file->fixed ? fixed_vhd : vhd;
    return file->fixed && strcmp(file->format, "vdi") == 0 ? vdi : NULL;
}

static int make_copy(const virtualbox_plan *plan, const virtualbox_file *file, const char *path,
                     const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_FREE char *stage = vmc_printf("copying disk %s", file->device);
    const qemu_img_label label = {plan->name, stage, file->device};
    const qemu_img_convert_args args = {
        .source = file->source,
        .target = path,
        .target_format = image_format(file->format),
        .target_options = image_options(file),
        .label = &label,
    };
    return qemu_img_convert(&args, deadline, err);
}

static int make_blank(const virtualbox_file *file, const char *path, const vmc_deadline *deadline, vmctl_error **err) {
    const qemu_img_create_args args = {
        .path = path, .format = image_format(file->format), .bytes = file->bytes, .options = image_options(file)};
    return qemu_img_create(&args, deadline, err);
}

int virtualbox_write_seed(virtualbox_conn *conn, const char *path, const struct seed_iso_file *files, size_t count,
                          const vmc_deadline *deadline, vmctl_error **err) {
    vmc_cleanup(scratch_free) scratch own = {NULL};
    int code = conn->manage->host ? scratch_make(&own, "seed.iso", err) : 0;
    if (code == 0)
        code = seed_iso_write(own.path ? own.path : path, 0600, "cidata", files, count, err);
    return code == 0 && own.path ? vboxmanage_file_send(conn->manage, own.path, path, deadline, err) : code;
}

static int make_seed(virtualbox_conn *conn, const virtualbox_plan *plan, const virtualbox_file *file,
                     const vmc_deadline *deadline, vmctl_error **err) {
    const char *texts[] = {plan->seed.meta_data, plan->seed.user_data, plan->seed.network_config};
    const char *const names[] = {"meta-data", "user-data", "network-config"};
    seed_iso_file files[3];
    size_t count = 0;
    for (size_t i = 0; i < 3; i++)
        if (texts[i])
            files[count++] = (seed_iso_file){names[i], texts[i], strlen(texts[i])};
    return virtualbox_write_seed(conn, file->path, files, count, deadline, err);
}

/* An image is made here, where the tools and what it is made of are, and goes there whole. */
static int make_image(virtualbox_conn *conn, const virtualbox_plan *plan, const virtualbox_file *file,
                      const vmc_deadline *deadline, vmctl_error **err) {
    vmc_cleanup(scratch_free) scratch own = {NULL};
    int code = conn->manage->host ? scratch_make(&own, vmc_path_basename(file->path), err) : 0;
    const char *path = own.path ? own.path : file->path;
    if (code == 0)
        code = file->kind == VIRTUALBOX_FILE_COPY ? make_copy(plan, file, path, deadline, err)
                                                  : make_blank(file, path, deadline, err);
    if (code < 0 || !own.path)
        return code;
    VMC_AUTO_FREE char *text = vmc_printf("sending disk %s", file->device);
    code = vmc_progress(deadline, plan->name, text, file->device, VMCTL_UNIT_NONE, 0, 0, err);
    return code < 0 ? code : vboxmanage_file_send(conn->manage, path, file->path, deadline, err);
}

int virtualbox_make_file(virtualbox_conn *conn, const virtualbox_plan *plan, const virtualbox_file *file,
                         const vmc_deadline *deadline, vmctl_error **err) {
    switch (file->kind) {
    case VIRTUALBOX_FILE_COPY:
    case VIRTUALBOX_FILE_BLANK:
        return make_image(conn, plan, file, deadline, err);
    case VIRTUALBOX_FILE_SEED:
        return make_seed(conn, plan, file, deadline, err);
    case VIRTUALBOX_FILE_LINK:
        break;
    }
    return vboxmanage_symlink(conn->manage, file->source, file->path, deadline, err);
}

/* --- create ---------------------------------------------------------------------------------------------------- */

static int stage(const virtualbox_plan *plan, const vmc_deadline *deadline, const char *text, const char *device,
                 vmctl_error **err) {
    int code = vmc_progress(deadline, plan->name, text, device, VMCTL_UNIT_NONE, 0, 0, err);
    return code < 0 ? code : vmc_deadline_check(deadline, "creating the VM", err);
}

/* The VM is in the folder that was planned, or it is somewhere that the journal does not know. */
static int check_folder(const virtualbox_plan *plan, const char *printed, vmctl_error **err) {
    VMC_AUTO_FREE char *settings = vboxmanage_parse_labelled(printed, "Settings file:");
    VMC_AUTO_FREE char *folder = settings ? vmc_path_dirname(settings) : NULL;
    if (vmc_str_eq(folder, plan->folder))
        return 0;
    return vmc_error(err, VMCTL_E_INTERNAL, "VirtualBox made the VM in %s instead of %s",
                     folder ? folder : "another folder", plan->folder);
}

/* What the settings show by now tells what else must be kept. */
static int keep_keys(virtualbox_conn *conn, const virtualbox_vm *vm, virtualbox_plan *plan, const vmctl_spec *spec,
                     const vmc_deadline *deadline, vmctl_error **err) {
    vboxmanage_machine *machine = NULL;
    int code = virtualbox_load(conn, vm, deadline, &machine, err);
    if (code < 0)
        return code;
    VMC_AUTO_JSON *shown = virtualbox_machine_json(machine, plan->marker, false);
    VMC_AUTO_JSON *want = vmc_json_of_node(vmctl_spec_root(spec));
    vboxmanage_machine_free(machine);
    cJSON *disk;
    int index = 0;
    cJSON_ArrayForEach(disk, vmc_json_key(want, "disks")) {
        VMC_AUTO_FREE char *path = vmc_printf("disks[%d].image", index++);
        const char *origin = vmc_spec_origin(spec, path);
        if (origin)
            vmc_json_put(disk, "image", cJSON_CreateString(origin));
    }
    virtualbox_marker_keep(plan->marker, shown, want);
    VMC_AUTO_STRV create = {0};
    VMC_AUTO_STRV mark = {0};
    virtualbox_plan_begin(plan, spec, &create, &mark);
    return virtualbox_run(conn, vm->id, &mark, "marking the VM", NULL, vm->name, deadline, NULL, err);
}

static int make(virtualbox_conn *conn, const virtualbox_vm *vm, virtualbox_plan *plan, const vmctl_spec *spec,
                const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_STRV create = {0};
    VMC_AUTO_STRV mark = {0};
    VMC_AUTO_FREE char *printed = NULL;
    virtualbox_plan_begin(plan, spec, &create, &mark);
    int code = stage(plan, deadline, "making the VM", NULL, err);
    if (code == 0)
        code = virtualbox_run(conn, vm->id, &create, "making the VM", NULL, vm->name, deadline, &printed, err);
    if (code == 0)
        code = check_folder(plan, printed, err);
    if (code == 0)
        code = virtualbox_run(conn, vm->id, &mark, "marking the VM", NULL, vm->name, deadline, NULL, err);
    for (size_t i = 0; code == 0 && i < plan->file_count; i++) {
        VMC_AUTO_FREE char *text = vmc_printf("making %s", vmc_path_basename(plan->files[i].path));
        code = stage(plan, deadline, text, plan->files[i].device, err);
        if (code == 0)
            code = virtualbox_make_file(conn, plan, &plan->files[i], deadline, err);
    }
    for (size_t i = 0; code == 0 && i < plan->command_count; i++)
        code =
            virtualbox_run(conn, vm->id, &plan->commands[i], "configuring the VM", NULL, vm->name, deadline, NULL, err);
    return code == 0 ? keep_keys(conn, vm, plan, spec, deadline, err) : code;
}

int virtualbox_create(void *opaque, const vmctl_spec *spec, const vmctl_create_options *options,
                      const vmctl_marker *marker, vmc_journal *journal, void **vm, vmctl_identity *identity,
                      vmctl_error **err) {
    virtualbox_conn *conn = opaque;
    vmc_deadline deadline = vmc_deadline_start(options->call, -1);
    VIRTUALBOX_AUTO_PLAN plan = {0};
    int code = virtualbox_plan_make(conn, spec, marker, &deadline, &plan, err);
    if (code < 0 || options->dry_run)
        return code;
    virtualbox_vm *made = virtualbox_vm_new(plan.id, plan.name);
    VMC_AUTO_FREE char *detail = vmc_printf("%s %s", plan.id, plan.folder);
    code = vmc_journal_add(journal, "vm", detail, NULL, err);
    if (code == 0)
        code = make(conn, made, &plan, spec, &deadline, err);
    if (code < 0) {
        virtualbox_release(conn, made);
        return code;
    }
    virtualbox_tell(conn, VMCTL_EVENT_DEFINED, made, VMCTL_STATE_STOPPED, "added");
    virtualbox_vm_identity(made, identity);
    *vm = made;
    return 0;
}

/* --- render ---------------------------------------------------------------------------------------------------- */

static void render_line(vmc_str *to, const vmc_strv *argv) {
    vmc_str_add(to, "VBoxManage");
    for (size_t i = 0; i < argv->count; i++) {
        vmc_str_add_char(to, ' ');
        vboxmanage_quote(to, argv->items[i]);
    }
    vmc_str_add_char(to, '\n');
}

static void render_words(vmc_str *to, const char *const *words) {
    for (size_t i = 0; words[i]; i++) {
        if (i)
            vmc_str_add_char(to, ' ');
        vboxmanage_quote(to, words[i]);
    }
    vmc_str_add_char(to, '\n');
}

static void render_file(vmc_str *to, const virtualbox_file *file) {
    VMC_AUTO_FREE char *size = vmc_printf("%llu", (unsigned long long)file->bytes);
    switch (file->kind) {
    case VIRTUALBOX_FILE_COPY:
        render_words(to, (const char *const[]){"qemu-img", "convert", "-O", image_format(file->format), file->source,
                                               file->path, NULL});
        return;
    case VIRTUALBOX_FILE_BLANK:
        render_words(
            to, (const char *const[]){"qemu-img", "create", "-f", image_format(file->format), file->path, size, NULL});
        return;
    case VIRTUALBOX_FILE_LINK:
        render_words(to, (const char *const[]){"ln", "-s", file->source, file->path, NULL});
        return;
    case VIRTUALBOX_FILE_SEED:
        vmc_str_printf(to, "# vmctl writes cloud-init's seed to %s\n", file->path);
        return;
    }
}

int virtualbox_render(void *opaque, const vmctl_spec *spec, const vmctl_call *call, char **out, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, RENDER_MS);
    const vmctl_marker nobody = {.size = sizeof nobody, .version = VMCTL_VERSION, .owner = NULL};
    VIRTUALBOX_AUTO_PLAN plan = {0};
    int code = virtualbox_plan_make(opaque, spec, &nobody, &deadline, &plan, err);
    if (code < 0)
        return code;
    vmc_json_put(plan.marker, "created", NULL); /* nothing is made by showing it */
    VMC_AUTO_STRV create = {0};
    VMC_AUTO_STRV mark = {0};
    vmc_str text = {0};
    virtualbox_plan_begin(&plan, spec, &create, &mark);
    render_line(&text, &create);
    render_line(&text, &mark);
    for (size_t i = 0; i < plan.file_count; i++)
        render_file(&text, &plan.files[i]);
    for (size_t i = 0; i < plan.command_count; i++)
        render_line(&text, &plan.commands[i]);
    *out = vmc_str_take(&text);
    return 0;
}
