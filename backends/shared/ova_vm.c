/* backends/shared/ova_vm.c - whole VMs into OVA files and out of them: the part that is the same whoever has the VM. */
#include "ova_vm.h"

#include "base/file.h"
#include "drivers/ova/ova.h"
#include "drivers/qemu_img/qemu_img.h"
#include "ovf_spec.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- out ------------------------------------------------------------------------------------------------------ */

int vmc_ova_check_target(const char *target, vmctl_error **err) {
    VMC_AUTO_FREE char *folder = vmc_path_dirname(target);
    struct stat st;
    if (stat(folder, &st) < 0)
        return vmc_error_errno(err, errno, "cannot write into %s", folder);
    if (!S_ISDIR(st.st_mode))
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s is no folder", folder);
    return eaccess(folder, W_OK | X_OK) < 0 ? vmc_error_errno(err, errno, "cannot write into %s", folder) : 0;
}

int vmc_ova_check_state(const char *vm, bool runs, bool saved, vmctl_error **err) {
    if (saved) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "%s is saved: its disks belong to the memory, which an OVA does not hold",
                  vm);
        return vmc_error_next(err, "start and stop it first: vmctl start %s && vmctl stop %s", vm, vm);
    }
    if (runs) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "%s is not stopped, and its disks change while they are read", vm);
        return vmc_error_next(err, "stop it first: vmctl stop %s", vm);
    }
    return 0;
}

int vmc_ova_compress(const char *source, const char *format, const char *vmdk, const qemu_img_label *label,
                     uint64_t *capacity, const vmc_deadline *deadline, vmctl_error **err) {
    static const char *const options[] = {"subformat=streamOptimized", NULL};
    QEMU_IMG_AUTO_INFO info = {0};
    int code = qemu_img_inspect(source, format, deadline, &info, err);
    qemu_img_convert_args args = {.source = source,
                                  .source_format = format,
                                  .target = vmdk,
                                  .target_format = "vmdk",
                                  .target_options = options,
                                  .follow_backing = true,
                                  .label = label};
    if (code == 0)
        code = qemu_img_convert(&args, deadline, err);
    if (code == 0)
        *capacity = info.virtual_bytes;
    return code;
}

int vmc_ova_pack(const vmctl_spec *spec, const vmc_ova_disk *list, size_t count, const char *vm, const char *target,
                 vmc_journal *journal, const vmc_deadline *deadline, vmctl_error **err) {
    const vmctl_node *disks = vmctl_node_get(vmctl_spec_root(spec), "disks");
    VMC_AUTO_FREE size_t *numbers = vmc_alloc((vmctl_node_count(disks) + 1) * sizeof *numbers);
    VMC_AUTO_FREE ovf_file *files = vmc_alloc((count + 1) * sizeof *files);
    VMC_AUTO_FREE ova_part *parts = vmc_alloc((count + 1) * sizeof *parts);
    for (size_t i = 0; i < count; i++) {
        struct stat st;
        if (stat(list[i].vmdk, &st) < 0)
            return vmc_error_errno(err, errno, "cannot read %s", list[i].vmdk);
        numbers[list[i].item] = i + 1;
        files[i] = (ovf_file){list[i].member, (uint64_t)st.st_size, list[i].capacity};
        parts[i + 1] = (ova_part){.name = list[i].member, .path = list[i].vmdk};
    }
    vmc_cleanup(ovf_free) ovf descriptor = {0};
    int code = vmc_ovf_of_spec(spec, numbers, deadline, &descriptor, err);
    if (code < 0)
        return code;
    VMC_AUTO_FREE char *text = ovf_write(&descriptor, files, count);
    VMC_AUTO_FREE char *name = vmc_printf("%s.ovf", vm);
    VMC_AUTO_FREE char *folder = vmc_path_dirname(target);
    VMC_AUTO_FREE char *unfinished = vmc_unfinished_name(folder, vmc_path_basename(target));
    parts[0] = (ova_part){.name = name, .bytes = text, .length = strlen(text)};
    code = vmc_journal_add(journal, "file", unfinished, NULL, err);
    if (code == 0)
        code = ova_write(unfinished, parts, count + 1, vm, deadline, err);
    if (code == 0 && vmc_file_place(unfinished, target) < 0)
        code = vmc_error_errno(err, errno, "cannot make %s", target);
    for (size_t i = 0; code == 0 && i < count; i++)
        (void)unlink(list[i].vmdk);
    return code;
}

/* --- in --------------------------------------------------------------------------------------------------------- */

typedef struct importing {
    const vmc_deadline *deadline;
    vmc_journal *journal;
    ova package;
    ovf descriptor;
    char **paths; /* as many as descriptor.disks; NULL: a blank disk */
    vmctl_spec *spec, *ready;
} importing;

static void importing_free(importing *im) {
    for (size_t i = 0; im->paths && i < im->descriptor.disk_count; i++)
        free(im->paths[i]);
    free(im->paths);
    vmctl_spec_free(im->spec);
    vmctl_spec_free(im->ready);
    ovf_free(&im->descriptor);
    ova_free(&im->package);
}

/* Every disk of the descriptor must be in the OVA before anything is unpacked. */
static int place_disks(importing *im, vmctl_error **err) {
    VMC_AUTO_FREE char *folder = vmc_xdg_cache("import");
    int code = vmc_mkdirs(folder, 0700, err);
    im->paths = vmc_alloc((im->descriptor.disk_count + 1) * sizeof *im->paths);
    for (size_t i = 0; code == 0 && i < im->descriptor.disk_count; i++) {
        const char *file = im->descriptor.disks[i].file;
        if (!file)
            continue;
        if (!ova_find(&im->package, file)) {
            vmc_error(err, VMCTL_E_INVALID_ARGUMENT,
                      "%s is incomplete: the descriptor has the disk %s, which is not in it", im->package.path, file);
            return vmc_error_next(err, "fetch the file again");
        }
        for (size_t k = 0; k < i; k++)
            if (vmc_str_eq(im->descriptor.disks[k].file, file))
                return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s gives the file %s to two disks", im->package.path,
                                 file);
        im->paths[i] = vmc_unfinished_name(folder, file);
    }
    return code;
}

static int unpack(importing *im, const char *vm, vmctl_error **err) {
    VMC_AUTO_FREE ova_target *targets = vmc_alloc((im->descriptor.disk_count + 1) * sizeof *targets);
    size_t count = 0;
    int code = 0;
    for (size_t i = 0; code == 0 && i < im->descriptor.disk_count; i++) {
        if (!im->paths[i])
            continue;
        targets[count++] = (ova_target){im->descriptor.disks[i].file, im->paths[i]};
        code = vmc_journal_add(im->journal, "file", im->paths[i], NULL, err);
    }
    return code < 0 ? code : ova_extract(&im->package, targets, count, vm, im->deadline, err);
}

/* The unpacked files are gone when the VM is made: its spec names its own disks, and no image that nobody can create from. */
static void forget_origins(const importing *im) {
    const vmctl_node *disks = vmctl_node_get(vmctl_spec_root(im->ready), "disks");
    for (size_t i = 0; i < vmctl_node_count(disks); i++) {
        const char *image = vmctl_node_string(vmctl_node_at(disks, i), "image", NULL);
        VMC_AUTO_FREE char *key = vmc_printf("disks[%zu].image", i);
        for (size_t k = 0; image && k < im->descriptor.disk_count; k++)
            if (vmc_str_eq(im->paths[k], image))
                vmc_spec_set_origin(im->ready, key, "");
    }
}

/* The descriptor may say less than the disk has: then the disk is right. More is made room for. */
static int check_disks(const importing *im, vmctl_error **err) {
    for (size_t i = 0; i < im->descriptor.disk_count; i++) {
        QEMU_IMG_AUTO_INFO info = {0};
        qemu_img_kind kind = {0};
        if (!im->paths[i])
            continue;
        int code = qemu_img_expect(im->paths[i], NULL, &kind, err);
        if (code == 0)
            code = qemu_img_inspect(im->paths[i], kind.format, im->deadline, &info, err);
        const char *other = info.backing ? info.backing : info.data_file;
        if (code == 0 && other)
            code =
                vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "it does not stand alone: its header refers to %.200s", other);
        if (code < 0)
            return vmc_error_prefix(err, "the disk %s of the OVA", im->descriptor.disks[i].file);
        if (info.virtual_bytes != im->descriptor.disks[i].bytes)
            vmc_note(im->deadline, VMCTL_NOTE_INFO, "the descriptor says that %s has %llu bytes; it has %llu",
                     im->descriptor.disks[i].file, (unsigned long long)im->descriptor.disks[i].bytes,
                     (unsigned long long)info.virtual_bytes);
    }
    return 0;
}

int vmc_ova_import(const vmc_ova_import_request *want, const vmc_deadline *deadline, vmctl_error **err) {
    vmc_cleanup(importing_free) importing im = {.deadline = deadline, .journal = want->journal};
    int code = ova_open(want->path, deadline, &im.package, err);
    if (code == 0)
        code = ovf_read(im.package.descriptor, im.package.descriptor_length, &im.descriptor, err);
    if (code == 0)
        code = place_disks(&im, err);
    if (code == 0)
        code = vmc_ovf_to_spec(&im.descriptor, (const char *const *)im.paths, want->name, deadline, &im.spec, err);
    if (code < 0)
        return code;
    const char *named = vmctl_spec_name(im.spec);
    if (!im.package.has_manifest)
        vmc_note(deadline, VMCTL_NOTE_WARNING, "%s has no manifest: whether its disks are whole cannot be checked",
                 want->path);
    /* Before gigabytes are unpacked for a name that is taken. */
    code = want->check_name(want->user, named, deadline, err);
    if (code == VMCTL_E_ALREADY_EXISTS)
        vmc_error_next(err, "give it another name: vmctl import %s --name NAME", want->path);
    if (code == 0)
        code = unpack(&im, named, err);
    if (code == 0)
        code = check_disks(&im, err);
    vmctl_call inner = vmc_deadline_call(deadline);
    if (code == 0 && want->adapt)
        code = want->adapt(im.spec, want->user, err);
    if (code == 0)
        code = vmc_spec_ready(want->backend, im.spec, &inner, &im.ready, err);
    if (code < 0)
        return code;
    forget_origins(&im);
    vmctl_create_options options = VMCTL_CREATE_OPTIONS_INIT;
    options.call = &inner;
    code = want->create(want->user, im.ready, &options, err);
    for (size_t i = 0; code == 0 && i < im.descriptor.disk_count; i++)
        if (im.paths[i])
            (void)unlink(im.paths[i]);
    return code;
}
