/* backends/libvirt/change_check.c - what stands in the way of a change, known before anything is done. These only look: the operations call
 * them first, and `vmctl caps --vm` says the same words. */
#include "change.h"

#include "backends/shared/drive.h"
#include <string.h>

/* 9.0's daemon dies of it (measured: attach-device of a virtiofs filesystem ends libvirtd); newer ones could not be tried here. */
#define VIRTIOFS_SINCE 10000000ul

int libvirt_change_check_kept(const char *name, bool kept, vmctl_error **err) {
    if (kept)
        return 0;
    vmc_error(err, VMCTL_E_INVALID_STATE, "%s is transient: it ends with its present run and has no definition", name);
    return vmc_error_next(err, "make it permanent first: virsh dumpxml %s > vm.xml; virsh define vm.xml", name);
}

int libvirt_change_check_grow(const char *name, bool saved, const char *disk, vmctl_error **err) {
    if (!saved)
        return 0;
    vmc_error(err, VMCTL_E_INVALID_STATE, "%s is saved, and its memory knows disk %s as it is: it cannot be grown",
              name, disk);
    return vmc_error_next(err, "start it first (vmctl start %s): it grows while it runs", name);
}

char *libvirt_change_later(const char *name) {
    return vmc_printf("leave --live out and restart it afterwards (vmctl restart %s)", name);
}

char *libvirt_device_obstacle(const libvirt_conn *conn, unsigned long libvirt_version, const char *live_xml,
                              const vmctl_device *device, bool adding) {
    static const char *const fixed[] = {"ide", "sata", "fdc"};
    bool disk = device->kind == VMCTL_DEVICE_DISK || device->kind == VMCTL_DEVICE_CDROM;
    for (size_t i = 0; disk && i < sizeof fixed / sizeof fixed[0]; i++)
        if (vmc_str_eq(device->bus, fixed[i]))
            return vmc_printf("bus %s takes and gives no disks and drives while the VM runs", device->bus);
    if (device->kind != VMCTL_DEVICE_SHARE)
        return NULL;
    if (!vmc_str_eq(device->type, "virtiofs"))
        return vmc_strdup("9p shares are there from the start only");
    if (!conn->test_driver && libvirt_version < VIRTIOFS_SINCE)
        return vmc_strdup("a virtiofs share comes and goes while the VM runs from libvirt 10.0 on");
    return adding && !libvirt_memory_is_shared(live_xml)
               ? vmc_strdup("its memory was not started as one that virtiofs can share")
               : NULL;
}

int libvirt_drive_find(const char *vm, const libvirt_domain_facts *facts, const char *name, const vmctl_device **out,
                       vmctl_error **err) {
    VMC_AUTO_STRV names = {0};
    VMC_AUTO_FREE const vmctl_device **drives = vmc_alloc((facts->info.device_count + 1) * sizeof(void *));
    size_t at = 0;
    *out = NULL;
    for (size_t i = 0; i < facts->info.device_count; i++) {
        const vmctl_device *device = &facts->info.devices[i];
        if (device->kind != VMCTL_DEVICE_CDROM || !device->name || vmc_str_eq(device->name, "cloud-init"))
            continue;
        drives[names.count] = device;
        vmc_strv_add(&names, device->name);
    }
    int code = vmc_drive_pick(vm, &names, name, &at, err);
    if (code == 0)
        *out = drives[at];
    return code;
}
