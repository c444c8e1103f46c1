/* Creates a VM of a disk image, starts it, waits until it runs, and removes it again.
 *
 *   cc first-vm.c $(pkg-config --cflags --libs vmctl) -o first-vm && ./first-vm debian.qcow2
 */
#include <stdio.h>
#include <vmctl/vmctl.h>

static int show(const vmctl_vm_info *info, void *user) {
    (void)user;
    printf("%s: %s, %u CPUs, %llu MiB\n", info->name, vmctl_state_name(info->state), info->cpus,
           (unsigned long long)info->memory_mib);
    return 0;
}

int main(int argc, char **argv) {
    vmctl_error *err = NULL;
    vmctl_connection *connection = NULL;
    vmctl_spec *spec = vmctl_spec_new();
    vmctl_vm *vm = NULL;
    vmctl_create_options create = VMCTL_CREATE_OPTIONS_INIT;
    vmctl_delete_options remove = VMCTL_DELETE_OPTIONS_INIT;
    create.start = true;
    remove.force = true;

    int failed = argc < 2 || vmctl_connect(NULL, &connection, &err) < 0 ||
                 vmctl_spec_set(spec, "name", "first-vm", &err) < 0 ||
                 vmctl_spec_set(spec, "memory", "512MiB", &err) < 0 || vmctl_spec_set(spec, "cpus", "2", &err) < 0 ||
                 vmctl_spec_set(spec, "disks.root.image", argv[1], &err) < 0 ||
                 vmctl_create(connection, spec, &create, &vm, &err) < 0 ||
                 vmctl_vm_wait(vm, "running", NULL, &err) < 0 || vmctl_vm_get(vm, NULL, show, NULL, &err) < 0;
    if (vm && vmctl_vm_delete(vm, &remove, failed ? NULL : &err) < 0)
        failed = 1;

    if (failed)
        fprintf(stderr, "first-vm: %s\n", err ? vmctl_error_text(err) : "usage: first-vm IMAGE");
    vmctl_error_free(err);
    vmctl_vm_free(vm);
    vmctl_spec_free(spec);
    vmctl_connection_free(connection);
    return failed;
}
