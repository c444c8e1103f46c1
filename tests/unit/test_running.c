/* What a domain that runs cannot have before its next start, read from its XML: formatdomain.html, "CPU Allocation" and "Memory devices". */
#include "domain_helper.h"

#include "backends/libvirt/change.h"

#define GIB_KIB (1024ull * 1024)

static void says(char *obstacle, const char *words) {
    if (words) {
        assert_non_null(obstacle);
        assert_non_null(strstr(obstacle, words));
    } else {
        assert_null(obstacle);
    }
    free(obstacle);
}

#define DOMAIN(type, inside) "<domain type='" type "'>" inside "</domain>"
#define BOOTED               "<vcpu placement='static' current='2'>4</vcpu>"
#define GROWN                                                                                                          \
    "<vcpu placement='static' current='3'>4</vcpu><vcpus>"                                                             \
    "<vcpu id='0' enabled='yes' hotpluggable='no' order='1'/><vcpu id='1' enabled='yes' hotpluggable='no' order='2'/>" \
    "<vcpu id='2' enabled='yes' hotpluggable='yes' order='3'/><vcpu id='3' enabled='no' hotpluggable='yes'/></vcpus>"

static void cpus_of_the_start_stay(void **state) {
    (void)state;
    says(libvirt_cpus_obstacle(DOMAIN("kvm", BOOTED), 4), NULL);
    says(libvirt_cpus_obstacle(DOMAIN("kvm", BOOTED), 5), "room for 4 CPUs");
    says(libvirt_cpus_obstacle(DOMAIN("kvm", BOOTED), 2), NULL);
    says(libvirt_cpus_obstacle(DOMAIN("kvm", BOOTED), 1), "the 2 CPUs that it was started with stay");
    says(libvirt_cpus_obstacle(DOMAIN("kvm", GROWN), 2), NULL);
    says(libvirt_cpus_obstacle(DOMAIN("kvm", GROWN), 1), "the 2 CPUs that it was started with stay");
    says(libvirt_cpus_obstacle(DOMAIN("kvm", "<vcpu>4</vcpu>"), 3), "the 4 CPUs that it was started with stay");
}

/* QEMU 7.2 without KVM: the CPU leaves the guest, libvirt never hears of it, and QEMU dies when memory is added then. */
static void emulation_gives_up_no_cpu(void **state) {
    (void)state;
    says(libvirt_cpus_obstacle(DOMAIN("qemu", GROWN), 4), NULL);
    says(libvirt_cpus_obstacle(DOMAIN("qemu", GROWN), 2), "TCG");
    says(libvirt_cpus_obstacle(DOMAIN("qemu", GROWN), 1), "the 2 CPUs that it was started with stay");
}

#define MEMORY(slots, devices)                                                                                         \
    DOMAIN("kvm", "<maxMemory slots='" slots "' unit='KiB'>4194304</maxMemory><memory unit='KiB'>1048576</memory>"     \
                  "<currentMemory unit='KiB'>1048576</currentMemory><devices>" devices                                 \
                  "<memballoon model='virtio'/></devices>")
#define DIMM "<memory model='dimm'><target><size unit='KiB'>131072</size></target></memory>"

static void memory_has_slots_and_a_maximum(void **state) {
    (void)state;
    says(libvirt_memory_obstacle(MEMORY("2", ""), 4 * GIB_KIB), NULL);
    says(libvirt_memory_obstacle(MEMORY("2", ""), 5 * GIB_KIB), "room for 4GiB");
    says(libvirt_memory_obstacle(MEMORY("2", ""), GIB_KIB + 64 * 1024), "128MiB");
    says(libvirt_memory_obstacle(MEMORY("2", ""), GIB_KIB / 2), NULL);
    says(libvirt_memory_obstacle(MEMORY("2", DIMM), 2 * GIB_KIB), NULL);
    says(libvirt_memory_obstacle(MEMORY("2", DIMM DIMM), 2 * GIB_KIB), "all its slots");
    says(libvirt_memory_obstacle(DOMAIN("kvm", "<memory unit='KiB'>1048576</memory>"), 2 * GIB_KIB), "without room");
    says(libvirt_memory_obstacle(DOMAIN("kvm", "<memory unit='KiB'>1048576</memory>"), GIB_KIB / 2), "no balloon");
}

/* attach-device of a virtiofs share ends libvirtd 9.0. */
static void virtiofs_is_plugged_from_libvirt_10_on(void **state) {
    (void)state;
    const libvirt_conn conn = {0};
    const vmctl_device share = {.kind = VMCTL_DEVICE_SHARE, .type = "virtiofs"},
                       old = {.kind = VMCTL_DEVICE_SHARE, .type = "9p"};
    const char *shared = DOMAIN("kvm", "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>");
    says(libvirt_device_obstacle(&conn, 9000000, shared, &share, true), "libvirt 10.0");
    says(libvirt_device_obstacle(&conn, 9000000, shared, &share, false), "libvirt 10.0");
    says(libvirt_device_obstacle(&conn, 0, shared, &share, true), "libvirt 10.0");
    says(libvirt_device_obstacle(&conn, 10000000, shared, &share, true), NULL);
    says(libvirt_device_obstacle(&conn, 10000000, shared, &share, false), NULL);
    says(libvirt_device_obstacle(&conn, 10000000, DOMAIN("kvm", ""), &share, true), "memory");
    says(libvirt_device_obstacle(&conn, 10000000, shared, &old, true), "9p");
}

static void disks_come_where_the_bus_can(void **state) {
    (void)state;
    const libvirt_conn conn = {0};
    static const char *const buses[] = {"virtio", "scsi", "usb", "sata", "ide", "fdc"};
    for (size_t i = 0; i < sizeof buses / sizeof buses[0]; i++) {
        const vmctl_device disk = {.kind = VMCTL_DEVICE_DISK, .bus = buses[i]};
        says(libvirt_device_obstacle(&conn, 9000000, DOMAIN("kvm", ""), &disk, true), i < 3 ? NULL : buses[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cpus_of_the_start_stay),         cmocka_unit_test(emulation_gives_up_no_cpu),
        cmocka_unit_test(memory_has_slots_and_a_maximum), cmocka_unit_test(virtiofs_is_plugged_from_libvirt_10_on),
        cmocka_unit_test(disks_come_where_the_bus_can),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
