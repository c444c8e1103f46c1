/* backends/libvirt/ops.h - the operations of this backend (the slots of vmctl/backend.h, whose comments hold here), and
 * what its files lend each other. The file that has each one stands beside it. */
#ifndef VMC_LIBVIRT_OPS_H
#define VMC_LIBVIRT_OPS_H

#include "conn.h"
#include <libxml/tree.h>

/* open.c, conn.c */
int libvirt_open(const vmctl_endpoint *endpoint, void **conn, vmctl_opened *opened, vmctl_error **err);
void libvirt_close(void *conn);

/* undo.c */
int libvirt_undo(void *conn, const char *kind, const char *detail, const vmctl_call *call, vmctl_error **err);

/* list.c, lookup.c, get.c */
int libvirt_list(void *conn, const vmctl_list_options *options, vmctl_vm_info_fn each, void *user, vmctl_error **err);
int libvirt_lookup(void *conn, const char *name_or_id, const vmctl_lookup_options *options, void **vm,
                   vmctl_identity *identity, vmctl_error **err);
void libvirt_release(void *conn, void *vm);
int libvirt_get(void *conn, void *vm, const vmctl_get_options *options, vmctl_vm_info_fn each, void *user,
                vmctl_error **err);
int libvirt_spec(void *conn, void *vm, const vmctl_call *call, vmctl_spec **out, vmctl_error **err);
int libvirt_native(void *conn, void *vm, const vmctl_call *call, char **out, vmctl_error **err);

/* render.c, create.c, remove.c, change.c */
int libvirt_render(void *conn, const vmctl_spec *spec, const vmctl_call *call, char **out, vmctl_error **err);
int libvirt_create(void *conn, const vmctl_spec *spec, const vmctl_create_options *options, const vmctl_marker *marker,
                   vmc_journal *journal, void **vm, vmctl_identity *identity, vmctl_error **err);
int libvirt_remove(void *conn, void *vm, const vmctl_delete_options *options, vmctl_error **err);
int libvirt_change(void *conn, void *vm, const vmctl_diff *diff, const vmctl_change_options *options,
                   vmc_journal *journal, vmctl_error **err);

/* hotplug.c */
int libvirt_device_attach(void *conn, void *vm, const char *list, const vmctl_node *item,
                          const vmctl_attach_options *options, vmc_journal *journal, vmctl_effect *effect,
                          vmctl_error **err);
int libvirt_device_detach(void *conn, void *vm, const char *name, const vmctl_attach_options *options,
                          vmctl_effect *effect, vmctl_error **err);
int libvirt_cdrom_change(void *conn, void *vm, const char *name, const char *image, const vmctl_cdrom_options *options,
                         vmc_journal *journal, vmctl_effect *effect, vmctl_error **err);

/* life.c */
int libvirt_start(void *conn, void *vm, const vmctl_start_options *options, vmctl_error **err);
int libvirt_stop(void *conn, void *vm, const vmctl_stop_options *options, vmctl_error **err);
int libvirt_restart(void *conn, void *vm, const vmctl_stop_options *options, vmctl_error **err);
int libvirt_reboot(void *conn, void *vm, const vmctl_call *call, vmctl_error **err);
int libvirt_reset(void *conn, void *vm, const vmctl_call *call, vmctl_error **err);
int libvirt_pause(void *conn, void *vm, const vmctl_call *call, vmctl_error **err);
int libvirt_resume(void *conn, void *vm, const vmctl_call *call, vmctl_error **err);
int libvirt_save(void *conn, void *vm, const vmctl_call *call, vmctl_error **err);
int libvirt_rename(void *conn, void *vm, const char *new_name, const vmctl_call *call, vmctl_error **err);

/* snapshot.c, snapshot_make.c, snapshot_revert.c, snapshot_delete.c */
int libvirt_snapshot_create(void *conn, void *vm, const char *name, const vmctl_snapshot_create_options *options,
                            vmc_journal *journal, vmctl_error **err);
int libvirt_snapshot_list(void *conn, void *vm, const vmctl_call *call, vmctl_snapshot_fn each, void *user,
                          vmctl_error **err);
int libvirt_snapshot_rename(void *conn, void *vm, const char *name, const char *new_name, const vmctl_call *call,
                            vmctl_error **err);
int libvirt_snapshot_revert(void *conn, void *vm, const char *name, const vmctl_snapshot_revert_options *options,
                            vmc_journal *journal, vmctl_error **err);
int libvirt_snapshot_delete(void *conn, void *vm, const char *name, const vmctl_snapshot_delete_options *options,
                            vmctl_error **err);

/* migrate.c */
int libvirt_migrate(void *conn, void *vm, void *target, const char *host, const vmctl_migrate_options *options,
                    vmc_journal *journal, vmc_journal *arrivals, vmctl_error **err);
int libvirt_migrate_abort(void *conn, void *vm, const vmctl_call *call, vmctl_error **err);
/* clone.c */
int libvirt_clone(void *conn, void *vm, const char *name, const vmctl_clone_options *options,
                  const vmctl_marker *marker, vmc_journal *journal, void **out, vmctl_identity *identity,
                  vmctl_error **err);

/* events.c, console.c, serial_log.c, display.c */
int libvirt_events(void *conn, const vmctl_event_options *options, vmctl_event_fn each, void *user, vmctl_error **err);
int libvirt_console_open(void *conn, void *vm, const vmctl_console_options *options, vmctl_stream **out,
                         vmctl_error **err);
int libvirt_serial_log(void *conn, void *vm, const vmctl_log_options *options, vmctl_bytes_fn each, void *user,
                       vmctl_error **err);
int libvirt_display_list(void *conn, void *vm, const vmctl_call *call, vmctl_display_fn each, void *user,
                         vmctl_error **err);

/* screenshot.c, keys.c, metrics.c */
int libvirt_screenshot(void *conn, void *vm, const vmctl_screenshot_options *options, vmctl_bytes_fn each, void *user,
                       vmctl_error **err);
int libvirt_send_keys(void *conn, void *vm, const unsigned *codes, size_t count, const vmctl_keys_options *options,
                      vmctl_error **err);
int libvirt_metrics_list(void *conn, const vmctl_metrics_options *options, vmctl_metrics_fn each, void *user,
                         vmctl_error **err);

/* host.c, storage.c, images.c */
int libvirt_host_info(void *conn, const vmctl_call *call, vmctl_host_fn each, void *user, vmctl_error **err);
int libvirt_host_list(void *conn, const vmctl_call *call, vmctl_host_fn each, void *user, vmctl_error **err);
int libvirt_network_list(void *conn, const vmctl_call *call, vmctl_network_fn each, void *user, vmctl_error **err);
int libvirt_pool_list(void *conn, const vmctl_call *call, vmctl_pool_fn each, void *user, vmctl_error **err);
int libvirt_image_list(void *conn, const char *pool, const vmctl_call *call, vmctl_image_fn each, void *user,
                       vmctl_error **err);
int libvirt_image_upload(void *conn, const char *path, const vmctl_image_upload_options *options, vmc_journal *journal,
                         vmctl_error **err);
int libvirt_image_download(void *conn, const char *name, const char *path, const vmctl_call *call, vmc_journal *journal,
                           vmctl_error **err);
int libvirt_image_delete(void *conn, const char *name, const vmctl_call *call, vmctl_error **err);

/* ova.c */
int libvirt_export_ova(void *conn, void *vm, const char *path, const vmctl_call *call, vmc_journal *journal,
                       vmctl_error **err);
int libvirt_import_ova(void *conn, const char *path, const char *name, const vmctl_call *call,
                       const vmctl_marker *marker, vmc_journal *journal, void **vm, vmctl_identity *identity,
                       vmctl_error **err);

/* probe.c */
int libvirt_probe(void *conn, void *vm, const char *const *features, const vmctl_call *call, vmctl_here_fn each,
                  void *user, vmctl_error **err);

/* guest_exec.c, guest_copy.c, guest_fs.c, guest_forward.c */
int libvirt_guest_exec(void *conn, void *vm, const char *const *argv, const vmctl_exec_options *options, int *status,
                       vmctl_error **err);
int libvirt_guest_copy_in(void *conn, void *vm, const char *local, const char *guest, vmc_journal *journal,
                          const vmctl_call *call, vmctl_error **err);
int libvirt_guest_copy_out(void *conn, void *vm, const char *guest, const char *local, vmc_journal *journal,
                           const vmctl_call *call, vmctl_error **err);
int libvirt_guest_freeze(void *conn, void *vm, int *count, const vmctl_call *call, vmctl_error **err);
int libvirt_guest_thaw(void *conn, void *vm, int *count, const vmctl_call *call, vmctl_error **err);
int libvirt_guest_forward(void *conn, void *vm, vmctl_forward *forward, vmc_journal *journal, const vmctl_call *call,
                          char **way, vmctl_error **err);
int libvirt_guest_set_password(void *conn, void *vm, const char *user, const char *password, const vmctl_call *call,
                               vmctl_error **err);

/* --- between the files ------------------------------------------------------------------------------------ */

/* lookup.c: the handle of a domain, whose reference it takes over. Never NULL. */
libvirt_vm *libvirt_vm_new(virDomainPtr domain);
/* Name and UUID as the dispatcher wants them, malloc'ed. */
void libvirt_vm_identity(const libvirt_vm *vm, vmctl_identity *identity);

/* get.c: the domain's XML with these virDomainXMLFlags. *xml: free. */
int libvirt_vm_xml(libvirt_conn *conn, const libvirt_vm *vm, unsigned flags, const vmc_deadline *deadline, char **xml,
                   vmctl_error **err);

/* lookup.c: as virDomainGetUUIDString writes it, which goes through printf and takes a third of the time of a long list. */
void libvirt_uuid_text(virDomainPtr domain, char text[VIR_UUID_STRING_BUFLEN]);

/* console.c, display.c: whether its <domain> has a console that can be opened, a display that can be looked at now; INVALID_STATE, NOT_FOUND or
 * UNSUPPORTED with the remedy. */
int libvirt_console_check(const xmlNode *domain, const char *name, vmctl_error **err);
int libvirt_display_check(const xmlNode *domain, const char *name, vmctl_error **err);

/* screenshot.c: whether a picture of this screen can be taken; INVALID_STATE, UNSUPPORTED or NOT_FOUND with the remedy. */
int libvirt_screenshot_check(libvirt_conn *conn, const libvirt_vm *vm, unsigned screen, const vmc_deadline *deadline,
                             vmctl_error **err);
/* keys.c: whether a key press would reach the guest; INVALID_STATE with the remedy. */
int libvirt_keys_check(libvirt_conn *conn, const libvirt_vm *vm, const vmc_deadline *deadline, vmctl_error **err);

/* state.c: libvirt's state and reason (virDomainState, and its reason) in common terms; saved: a managed save image is
 * there. *reason is constant, NULL when there is nothing to say. */
vmctl_state libvirt_state(int state, int reason, bool saved, const char **text);

/* life.c: whether the slot (start, stop, restart, reset, pause, resume, save, rename) is possible in the domain's state: INVALID_STATE with the words
 * that the operation itself would refuse with. state: libvirt_vm_state's; saved: a managed save image is there. */
int libvirt_life_check(const libvirt_vm *vm, vmctl_slot slot, int vir_state, int vir_reason, bool saved,
                       vmctl_error **err);

/* dump.c: whether the memory can be written into a file here. */
int libvirt_dump(void *conn, void *vm, const char *path, vmc_journal *journal, const vmctl_call *call,
                 vmctl_error **err);
int libvirt_dump_check(libvirt_conn *conn, const libvirt_vm *vm, const vmc_deadline *deadline, vmctl_error **err);

/* life.c: the domain's state now. *vir_state may be NULL. */
int libvirt_vm_state(libvirt_conn *conn, const libvirt_vm *vm, const vmc_deadline *deadline, int *vir_state,
                     int *vir_reason, vmctl_error **err);

#endif
