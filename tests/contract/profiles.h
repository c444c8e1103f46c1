/* profiles.h - what the suite has to know of each backend. */
#ifndef CONTRACT_PROFILES_H
#define CONTRACT_PROFILES_H

#include "contract.h"

/* libvirt: domain XML as virDomainGetXMLDesc writes it; formatdomain.html names the elements. */
static const contract_mark libvirt_marks[] = {
    {"bus virtio", "bus='virtio'"},
    {"bus scsi", "bus='scsi'"},
    {"bus sata", "bus='sata'"},
    {"bus ide", "bus='ide'"},
    {"bus usb", "bus='usb'"},
    {"cdrom", "device='cdrom'"},
    {"cache none", "cache='none'"},
    {"discard unmap", "discard='unmap'"},
    {"serial number", "<serial>disk-4711</serial>"},
    {"shareable", "<shareable/>"},
    {"nat", "<source network='default'"},
    {"user", "<interface type='user'>"},
    {"bridge", "<source bridge='ct0'"},
    {"mac", "<mac address='52:54:00:12:34:56'/>"},
    {"nic e1000", "<model type='e1000'/>"},
    {"link down", "<link state='down'/>"},
    {"secure boot", "secure='yes'"},
    {"tpm", "<backend type='emulator' version='2.0'"},
    {"kernel", "<kernel>"},
    {"initrd", "<initrd>"},
    {"agent channel", "name='org.qemu.guest_agent.0'"},
    {"vnc", "<graphics type='vnc'"},
    {"spice", "<graphics type='spice'"},
    {"virtiofs", "<driver type='virtiofs'"},
    {"9p", "<filesystem type='mount'"},
    {"rng", "<rng model='virtio'>"},
    {"watchdog", "<watchdog model="},
    {"watchdog reset", "action='reset'"},
    {"topology", "sockets='1'"},
    {"cores", "cores='2'"},
    {"maximum cpus", "<vcpu placement='static' current='1'>4</vcpu>"},
    {"tcg", "<domain type='qemu'"},
    {"managed", "urn:vmctl:1"},
    {"pc", "machine='pc"},
    {"q35", "machine='pc-q35"},
    {NULL, NULL},
};

static const contract_profile profiles[] = {
    {
        .backend = "libvirt",
        .buses = (const char *const[]){"virtio", "scsi", "sata", "ide", "usb", NULL},
        .folders = (const char *const[]){"/etc/libvirt/qemu", "/etc/libvirt/storage", "/var/lib/libvirt/images",
                                         "/var/lib/libvirt/qemu/nvram", "/var/lib/libvirt/qemu/save",
                                         "/var/lib/libvirt/swtpm", "/var/lib/libvirt/vmctl", NULL},
        .marks = libvirt_marks,
        .bad_start = "libvirt: {qemuArgs: [\"-no-such-option\"]}",
        .bad_key = "gpus: [{name: gpu0, pci: \"0000:65:00.0\"}]",
    },
};
#define PROFILES (sizeof profiles / sizeof profiles[0])

#endif
