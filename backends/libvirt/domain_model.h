/* backends/libvirt/domain_model.h - what the domain_*.c files share: a document being made or changed.
 *
 * Both directions go through one form, the spec as a plain JSON tree (normalised keys; sizes in bytes and durations in milliseconds, as
 * numbers). Making a document is a skeleton plus the setters; changing one is its own spec with the changes
 * laid over it plus the setters of the groups that the changes touch. A setter leaves alone what it does not name.
 */
#ifndef VMC_LIBVIRT_DOMAIN_MODEL_H
#define VMC_LIBVIRT_DOMAIN_MODEL_H

#include "backends/shared/json.h"
#include "domain_xml.h"
#include "xml_tree.h"

#define LIBVIRT_SEED_ALIAS "ua-vmctl-seed"

/* A document and what is known while it is worked on. */
typedef struct libvirt_build {
    xmlDoc *doc;
    xmlNode *domain;
    xmlNode *devices;
    const libvirt_domain_plan *plan;
    const libvirt_host_features *host;
    const vmctl_node *root; /* where keys were written, for messages; NULL */
    const char *arch, *machine, *guest;
    bool x86, q35, kvm;
    bool fresh; /* made from nothing: what no key says is chosen too */
    bool test;  /* test:///: takes any device, has no QEMU */
} libvirt_build;

/* Reads arch, machine and the rest from the document; guest from its marker. */
void libvirt_build_read(libvirt_build *build, xmlDoc *doc, const libvirt_domain_plan *plan);
/* The error of one key, with where it was written when that is known. */
int libvirt_refuse_key(const libvirt_build *build, const char *path, int code, vmctl_error **err, const char *format,
                       ...) VMCTL_PRINTF(5, 6);
void libvirt_warn(const libvirt_build *build, const char *format, ...) VMCTL_PRINTF(2, 3);

/* --- JSON (domain_json.c) ------------------------------------------------------------------------------------ */

/* A node without what vmctl filled in (with_defaults: with it). NULL only for a NULL node. */
cJSON *libvirt_json_of_node(const vmctl_node *node, bool with_defaults);
int libvirt_json_to_spec(const cJSON *json, vmctl_spec **out, vmctl_error **err);

/* Keys whose value the XML does not show are kept in the marker with what the XML showed for it then, and hold as long as it still does. */
void libvirt_keys_write(libvirt_build *build, const cJSON *want);
void libvirt_keys_read(const xmlNode *domain, cJSON *json);

/* --- the marker (domain_marker.c) ---------------------------------------------------------------------------- */

xmlNode *libvirt_marker_find(const xmlNode *domain); /* the element, NULL */
xmlNode *
libvirt_marker_ensure(libvirt_build *build); /* made without a version: labels of a VM that vmctl did not make */
void libvirt_marker_write(libvirt_build *build, const vmctl_marker *marker);
/* A file that vmctl made for this VM; alias NULL: of no device. */
void libvirt_marker_file(libvirt_build *build, const char *alias, const char *path, const char *origin);
/* The same for one that holds nobody's data: a seed, a medium, a kernel, a log. */
void libvirt_marker_no_disk(libvirt_build *build, const char *alias, const char *path, const char *origin);
xmlNode *libvirt_marker_file_of(const xmlNode *domain, const char *alias);
/* A file that its disks stand on, and other VMs' too; own: vmctl made it, and it goes with the last of them. */
void libvirt_marker_base(libvirt_build *build, const char *path, bool own);
/* A kept key of the spec with a text as its value (domain_json.c): `was` is what the XML shows, NULL: nothing; value NULL: the key is dropped. */
void libvirt_marker_key(libvirt_build *build, const char *path, const char *was, const char *value);
/* The same only where the key is there. */
void libvirt_marker_key_change(libvirt_build *build, const char *path, const char *value);
void libvirt_marker_labels(libvirt_build *build, const cJSON *labels);
int64_t libvirt_time_parse(const char *text); /* RFC 3339 UTC; 0 when it is none */
char *libvirt_time_text(int64_t seconds);

/* --- devices and their names (domain_names.c) ---------------------------------------------------------------- */

/* Sets the alias, and keeps the name in the marker where the alias is not it. */
void libvirt_name_write(libvirt_build *build, xmlNode *device, const char *name);
/* The device's name: its own, else from its target, MAC, tag or address; NULL: it has none; free. */
char *libvirt_name_read(const xmlNode *domain, const xmlNode *device);
/* The device that goes by that name, of one element name ("disk", "interface", "filesystem", "hostdev"). */
xmlNode *libvirt_name_find(const libvirt_build *build, const char *element, const char *name);
bool libvirt_is_seed(const xmlNode *device);
void libvirt_device_drop(libvirt_build *build, xmlNode *device); /* and what the marker says of it */

/* --- groups: what the spec has in one key ------------------------------------------------------------------- */

int libvirt_cpus_write(libvirt_build *build, const cJSON *cpus, vmctl_error **err);
int libvirt_memory_write(libvirt_build *build, const cJSON *memory, vmctl_error **err);
int libvirt_firmware_write(libvirt_build *build, const cJSON *firmware, vmctl_error **err);
int libvirt_boot_write(libvirt_build *build, const cJSON *boot, vmctl_error **err);
void libvirt_boot_default(libvirt_build *build); /* disks first, then optical drives */
void libvirt_memory_share(libvirt_build *build); /* memory that another process can map: virtiofs */
void libvirt_cpus_read(const xmlNode *domain, cJSON *spec);
void libvirt_memory_read(const xmlNode *domain, cJSON *spec);
void libvirt_firmware_read(const xmlNode *domain, cJSON *spec);
void libvirt_boot_read(const xmlNode *domain, cJSON *spec);

/* `plan` for an added disk; adds it to devices. *out (may be NULL) is borrowed. */
int libvirt_disk_add(libvirt_build *build, const cJSON *item, const libvirt_disk_plan *plan, xmlNode **out,
                     vmctl_error **err);
/* An existing disk takes on `item` (its spec with the changes in it); plan: a new medium or volume, else NULL. */
int libvirt_disk_change(libvirt_build *build, xmlNode *disk, const cJSON *item, const cJSON *changed,
                        const libvirt_disk_plan *plan, vmctl_error **err);
void libvirt_seed_add(libvirt_build *build, const char *path);
cJSON *libvirt_disk_read(const xmlNode *domain, const xmlNode *disk); /* NULL: the spec cannot say it */
const char *libvirt_disk_path(const xmlNode *disk);                   /* file or block device; NULL */

int libvirt_nic_add(libvirt_build *build, const cJSON *item, xmlNode **out, vmctl_error **err);
int libvirt_nic_change(libvirt_build *build, xmlNode *nic, const cJSON *item, const cJSON *changed, vmctl_error **err);
void libvirt_nic_drop(libvirt_build *build, xmlNode *nic);
bool libvirt_nic_forwards_drop(libvirt_build *build, xmlNode *nic); /* true: it had some */
cJSON *libvirt_nic_read(const xmlNode *domain, const xmlNode *nic);
/* QEMU's own arguments, without those that are port forwards. */
void libvirt_qemu_args_write(libvirt_build *build, const cJSON *args);
cJSON *libvirt_qemu_args_read(const xmlNode *domain);

int libvirt_share_add(libvirt_build *build, const cJSON *item, xmlNode **out, vmctl_error **err);
int libvirt_share_change(libvirt_build *build, xmlNode *share, const cJSON *item, vmctl_error **err);
cJSON *libvirt_share_read(const xmlNode *domain, const xmlNode *share);

int libvirt_usb_add(libvirt_build *build, const cJSON *item, vmctl_error **err);
int libvirt_usb_change(libvirt_build *build, xmlNode *usb, const cJSON *item, vmctl_error **err);
cJSON *libvirt_usb_read(const xmlNode *domain, const xmlNode *hostdev); /* NULL also for PCI devices */

int libvirt_display_write(libvirt_build *build, const cJSON *display, vmctl_error **err);
void libvirt_serial_write(libvirt_build *build, const char *log); /* the path on the host; NULL: no log */
void libvirt_console_add(libvirt_build *build);                   /* the port that the log is of */
void libvirt_agent_write(libvirt_build *build, bool on);
void libvirt_rng_write(libvirt_build *build, bool on);
void libvirt_watchdog_write(libvirt_build *build, const char *action);
void libvirt_parts_read(const xmlNode *domain, cJSON *spec); /* display, serial, guestAgent, rng, watchdog */
const char *libvirt_serial_log_path(const xmlNode *domain);

/* libvirt.xmlPatch: an incomplete <domain> laid over the document (domain_patch.c). */
int libvirt_patch(libvirt_build *build, const char *patch, vmctl_error **err);

/* The document as a spec in JSON, as get -o spec gives it; with_kept false: only what the XML itself shows. */
cJSON *libvirt_domain_json(const xmlNode *domain, bool with_kept);

#endif
