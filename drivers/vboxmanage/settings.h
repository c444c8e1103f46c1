/* drivers/vboxmanage/settings.h - VirtualBox's own settings files, read without VBoxSVC: the fast path for everything that is no state.
 *
 * VBoxSVC writes them whole at every change, by renaming (vboxmanage_settings_text). Nothing here writes them.
 * Formats: VirtualBox.xml 1.12 to 1.14, .vbox 1.15 to 1.20 (src/VBox/Main/xml/VirtualBox-settings.xsd); others are
 * refused, so that callers ask VBoxManage instead. An attribute with its default value is absent.
 */
#ifndef VMC_VBOXMANAGE_SETTINGS_H
#define VMC_VBOXMANAGE_SETTINGS_H

#include "parse.h"
#include "usb.h"
#include "vboxmanage.h"

#include "base/str.h"
#include <stdint.h>
#include <vmctl/error.h>

/* One VM as VirtualBox.xml registers it. */
typedef struct vboxmanage_entry {
    char id[37];
    char *settings; /* path of its .vbox file */
} vboxmanage_entry;

typedef struct vboxmanage_machine vboxmanage_machine;

typedef struct vboxmanage_registry {
    vboxmanage_entry *entries;
    size_t count;
    vboxmanage_machine *shared; /* media that are registered for no VM in particular; only its media count */
    char *machine_folder;       /* where VMs are made; NULL: VirtualBox's default */
    char *autostart_folder;     /* the autostart database; NULL: none is set */
} vboxmanage_registry;

/* Reads a settings file. VBoxSVC writes PATH-tmp, renames PATH to PATH-prev and then PATH-tmp to PATH: between the two there is none, and
 * for the while it is waited for. NOT_FOUND where nobody is writing it. */
int vboxmanage_settings_text(const vboxmanage *manage, const char *path, const vmc_deadline *deadline, char **out,
                             size_t *length, vmctl_error **err);

/* Many in one go. outs[i] stays NULL where one cannot be read; each is the caller's to free. */
int vboxmanage_settings_texts(const vboxmanage *manage, const char *const *paths, size_t count,
                              const vmc_deadline *deadline, char **outs, size_t *lengths, vmctl_error **err);

/* VirtualBox.xml of a VBOX_USER_HOME. NOT_FOUND when there is none yet, UNSUPPORTED for a version that is not known, INTERNAL when it is
 * damaged. */
int vboxmanage_registry_read(const vboxmanage *manage, const vmc_deadline *deadline, vboxmanage_registry *out,
                             vmctl_error **err);
void vboxmanage_registry_free(vboxmanage_registry *registry);
/* The folder of VirtualBox.xml: its home, VBOX_USER_HOME, ~/.VirtualBox where that exists, else the XDG configuration folder. free. */
char *vboxmanage_home(const vboxmanage *manage);

typedef struct vboxmanage_medium {
    char id[37];
    char parent[37]; /* "" for a base */
    char *location;  /* absolute */
    char *format;    /* "VDI", "VMDK", "VHD", "RAW" (images of optical drives) */
    char *type;      /* "Normal", "Shareable", "Readonly", ...; NULL: Normal */
} vboxmanage_medium;

typedef struct vboxmanage_attachment {
    char *controller; /* its name */
    char *kind;       /* "HardDisk", "DVD", "Floppy" */
    unsigned port, device;
    char medium[37]; /* its id; "" for an empty drive */
    bool discard;
    bool nonrotational;
    bool passthrough;  /* the host's own drive */
    bool hotpluggable; /* it may leave while the VM runs */
} vboxmanage_attachment;

typedef struct vboxmanage_controller {
    char *name;
    char *type; /* "AHCI", "PIIX4", "LsiLogic", "LsiLogicSas", "NVMe", "VirtioSCSI", "USB", ... */
    unsigned ports;
    bool host_cache; /* useHostIOCache */
} vboxmanage_controller;

typedef struct vboxmanage_forward {
    char *name;
    bool udp;
    char *host_ip; /* NULL */
    unsigned host_port;
    char *guest_ip; /* NULL */
    unsigned guest_port;
} vboxmanage_forward;

typedef struct vboxmanage_nic {
    unsigned slot; /* from 0 */
    char mac[18];  /* with colons, lower case */
    bool cable;
    char *type;   /* "82540EM", "virtio", "Am79C973", ... */
    char *mode;   /* "nat", "bridged", "internal", "hostonly", "natnetwork", "generic", "null" */
    char *source; /* bridge, network; NULL */
    vboxmanage_forward *forwards;
    size_t forward_count;
} vboxmanage_nic;

typedef struct vboxmanage_share {
    char *name, *path;
    bool writable;
} vboxmanage_share;

/* One of the tree of a VM. */
typedef struct vboxmanage_snapshot {
    char id[37];
    char parent[37]; /* "" for the root */
    char *name, *description;
    char *state_file; /* its memory, absolute; NULL: it was taken without */
    int64_t created;  /* seconds since 1970 UTC; 0: not given */
    vboxmanage_attachment *attachments;
    size_t attachment_count;
} vboxmanage_snapshot;

struct vboxmanage_machine {
    const vboxmanage *manage; /* whose files those are that it names; NULL: this machine's */
    char id[37];
    char snapshot[37]; /* the current one; "" */
    char *name, *os_type, *description;
    char *settings;    /* its .vbox file */
    char *folder;      /* of that: other relative paths start there */
    char *nvram;       /* the file of UEFI variables and TPM, which need not be there; NULL: none is named */
    char *state_file;  /* absolute; NULL: not saved */
    char *last_change; /* "2026-11-26T15:02:08Z"; NULL */
    uint64_t memory_mib;
    unsigned cpus;                  /* that are plugged */
    unsigned cpus_max;              /* 0: none can be plugged while it runs */
    uint64_t cpu_ids;               /* with cpus_max: bit n is CPU n */
    vboxmanage_snapshot *snapshots; /* parents before children */
    size_t snapshot_count;
    bool modified; /* since its current snapshot, as far as VirtualBox noticed */
    bool aborted;  /* its process died */
    bool accelerate_3d;
    bool autostart;
    bool teleporter; /* it starts by waiting for a VM that is teleported to it */
    bool vrde;
    bool serial_server; /* of HostPipe and TCP: VirtualBox listens */
    unsigned monitors;
    char *chipset;                               /* "piix3", "ich9" */
    char *firmware;                              /* "bios", "efi", "efi32", "efi64" */
    char *tpm;                                   /* "v2_0", ...; NULL: none */
    char *graphics;                              /* "vmsvga", "none", ... */
    char *boot[4];                               /* "HardDisk", "DVD", "Network", "Floppy", "None" */
    char *vrde_pack, *vrde_ports, *vrde_address; /* NULL where not given */
    char *serial_mode, *serial_path; /* of the first port: "RawFile", "HostPipe", "TCP"; NULL: there is none */
    vboxmanage_controller *controllers;
    size_t controller_count;
    vboxmanage_attachment *attachments;
    size_t attachment_count;
    vboxmanage_medium *media;
    size_t medium_count;
    vboxmanage_nic *nics; /* those that are enabled */
    size_t nic_count;
    vboxmanage_share *shares;
    size_t share_count;
    vboxmanage_usb_filter *usb_filters; /* the first that matches a device decides */
    size_t usb_filter_count;
    bool usb; /* it has a USB controller */
    vmc_strv extra_keys, extra_values;
};

/* One .vbox file. NOT_FOUND, UNSUPPORTED (another version, an encrypted VM), INTERNAL (damaged). */
int vboxmanage_machine_read(const vboxmanage *manage, const char *path, const vmc_deadline *deadline,
                            vboxmanage_machine **out, vmctl_error **err);
/* The same of its text; path is what it says of itself. */
int vboxmanage_machine_parse(const vboxmanage *manage, const char *path, const char *text, size_t length,
                             vboxmanage_machine **out, vmctl_error **err);
void vboxmanage_machine_free(vboxmanage_machine *machine);
const char *vboxmanage_extra(const vboxmanage_machine *machine, const char *key); /* NULL: none */
/* NULL: the medium is registered elsewhere. */
const vboxmanage_medium *vboxmanage_medium_of(const vboxmanage_machine *machine, const char *id);
const vboxmanage_snapshot *vboxmanage_snapshot_of(const vboxmanage_machine *machine, const char *id);
/* The media of a linked clone are registered where its original's are: copies this one and all that it stands on from there. false: it is
 * not there. */
bool vboxmanage_adopt_medium(vboxmanage_machine *machine, const vboxmanage_machine *from, const char *id);
/* The medium that has no parent, from which this one's chain begins. */
const vboxmanage_medium *vboxmanage_base_of(const vboxmanage_machine *machine, const vboxmanage_medium *medium);

/* The slow path, for a settings file of a version that is not known: what `showvminfo ID --machinereadable` tells. Without extra data, snapshots, the
 * parents of media and where a saved memory is. NULL: it describes no VM. vboxmanage_machine_free. */
vboxmanage_machine *vboxmanage_machine_described(const char *text);
/* Only how the first serial port is bound, in place of what the machine says of it: settings of a VM that runs come into its file some time later. */
void vboxmanage_read_serial(vboxmanage_machine *machine, const vboxmanage_properties *described);
/* The same for VirtualBox.xml: what `list --long vms` tells. Without folders. */
void vboxmanage_registry_described(const char *text, vboxmanage_registry *out);

/* Only the name (free), by reading as far as that stands; NULL: it has none. */
char *vboxmanage_machine_name(const char *path, const char *text, size_t length);
/* All VMs of the registry: outs[i] (vboxmanage_machine_free) is NULL where its settings cannot be read. */
int vboxmanage_machines_read(const vboxmanage *manage, const vboxmanage_registry *registry,
                             const vmc_deadline *deadline, vboxmanage_machine **outs, vmctl_error **err);
/* The name of a VM whose settings cannot be read, as VBoxManage list vms calls it. */
#define VBOXMANAGE_INACCESSIBLE "<inaccessible>"
/* The names of all VMs, in the registry's order. */
int vboxmanage_names_read(const vboxmanage *manage, const vboxmanage_registry *registry, const vmc_deadline *deadline,
                          vmc_strv *names, vmctl_error **err);

#endif
