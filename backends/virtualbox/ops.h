/* backends/virtualbox/ops.h - the connection, the handle of a VM, and the operations of the table.
 *
 * What a VM is stands in VirtualBox's settings files and is read from there (drivers/vboxmanage/settings.h); what it does now, and every
 * change, goes through VBoxManage. VMs are addressed by UUID: names are not unique.
 */
#ifndef VMC_VIRTUALBOX_OPS_H
#define VMC_VIRTUALBOX_OPS_H

#include "base/error.h"
#include "base/file.h"
#include "base/journal.h"
#include "drivers/vboxmanage/files.h"
#include "drivers/vboxmanage/parse.h"
#include "drivers/vboxmanage/settings.h"
#include "drivers/vboxmanage/vboxmanage.h"
#include <pthread.h>
#include <vmctl/backend.h>

typedef struct virtualbox_queue virtualbox_queue;
typedef struct virtualbox_poller virtualbox_poller;
typedef struct virtualbox_tunnel virtualbox_tunnel;

/* Any number of threads may use it. */
typedef struct virtualbox_conn {
    vboxmanage *manage;
    pthread_mutex_t lock; /* of what follows */
    virtualbox_queue *queues;
    virtualbox_poller *poller;  /* while somebody listens (events.c) */
    virtualbox_tunnel *tunnels; /* forwards through ssh that are open (forward.c) */
} virtualbox_conn;

typedef struct virtualbox_vm {
    char id[37];
    char *name;
} virtualbox_vm;

virtualbox_vm *virtualbox_vm_new(const char *id, const char *name);
void virtualbox_vm_identity(const virtualbox_vm *vm, vmctl_identity *identity);

/* --- calls (conn.c) -------------------------------------------------------------------------------------------- */

/* One call about a VM (or about none: vm NULL). Calls about one VM queue up: VirtualBox refuses what comes while another session holds the
 * VM's lock, and what other processes hold is waited for as long as a session takes to end. stage NULL: its progress is not told. */
int virtualbox_run(virtualbox_conn *conn, const char *vm_id, const vmc_strv *argv, const char *doing, const char *stage,
                   const char *vm_name, const vmc_deadline *deadline, char **output, vmctl_error **err);
/* Fails at once with BUSY where virtualbox_run would wait for another session. */
int virtualbox_try(virtualbox_conn *conn, const char *vm_id, const vmc_strv *argv, const char *doing, const char *stage,
                   const char *vm_name, const vmc_deadline *deadline, char **output, vmctl_error **err);
/* virtualbox_run for a fixed argument list, ended by NULL. */
int virtualbox_say(virtualbox_conn *conn, const virtualbox_vm *vm, const char *doing, const vmc_deadline *deadline,
                   char **output, vmctl_error **err, ...) __attribute__((sentinel));

/* The settings of a VM. NOT_FOUND when VirtualBox has it no more. The caller frees *out. */
int virtualbox_load(virtualbox_conn *conn, const virtualbox_vm *vm, const vmc_deadline *deadline,
                    vboxmanage_machine **out, vmctl_error **err);
/* The slow path: what VBoxManage tells of a VM whose settings file is of a version that is not known. Two calls. */
int virtualbox_describe(virtualbox_conn *conn, const char *id, const vmc_deadline *deadline, vboxmanage_machine **out,
                        vmctl_error **err);
/* All VMs that are registered. */
int virtualbox_registry(virtualbox_conn *conn, const vmc_deadline *deadline, vboxmanage_registry *out,
                        vmctl_error **err);

/* fetch.c: `make` lets VBoxManage write a file, and it becomes `local`: at once, or of another host `name` in a folder below `parent` there, which goes
 * with this call or the connection, and fetched from there. */
int virtualbox_make_here(const virtualbox_conn *conn, const char *parent, const char *name, const char *local,
                         int (*make)(const char *path, void *user, vmctl_error **err), void *user,
                         const vmc_deadline *deadline, vmctl_error **err);

/* --- states (state.c) ------------------------------------------------------------------------------------------ */

/* *reason: what the common model's word does not tell, or NULL. Constant. */
vmctl_state virtualbox_state(const char *native, const char **reason);
/* What the settings file says of a VM that has no process. */
vmctl_state virtualbox_state_at_rest(const vboxmanage_machine *machine, const char **reason);
/* A reason as one of virtualbox_state's constants, which outlives the facts; NULL: none of them. */
const char *virtualbox_constant_reason(const char *reason);
/* Asks: one call. native as VBoxManage spells it (free); may be NULL. */
int virtualbox_ask_state(virtualbox_conn *conn, const virtualbox_vm *vm, const vmc_deadline *deadline,
                         vmctl_state *state, char **native, vmctl_error **err);
/* showvminfo, or only VMState "starting" of one that is being launched: it can be asked nothing else then. */
int virtualbox_ask_info(virtualbox_conn *conn, const virtualbox_vm *vm, const vmc_deadline *deadline,
                        vboxmanage_properties *out, vmctl_error **err);
typedef struct virtualbox_processes virtualbox_processes;
/* The states, as VBoxManage spells them, of those VMs of the registry that have a process, and of some that have just lost theirs; what the settings
 * file of any other says of its state holds, when it is read afterwards. One call, and one more for each that starts, stops, saves or
 * has crashed. processes: as they were a moment before or meanwhile (processes.h); NULL: not looked at yet. */
int virtualbox_states(virtualbox_conn *conn, const vboxmanage_registry *registry, const virtualbox_processes *processes,
                      const vmc_deadline *deadline, vboxmanage_properties *out, vmctl_error **err);
/* Whether it has a process that does something. */
bool virtualbox_is_up(vmctl_state state);

/* --- the table ------------------------------------------------------------------------------------------------- */

int virtualbox_open(const vmctl_endpoint *endpoint, void **conn, vmctl_opened *opened, vmctl_error **err);
void virtualbox_close(void *conn);
int virtualbox_undo(void *conn, const char *kind, const char *detail, const vmctl_call *call, vmctl_error **err);

int virtualbox_list(void *conn, const vmctl_list_options *options, vmctl_vm_info_fn each, void *user,
                    vmctl_error **err);
int virtualbox_lookup(void *conn, const char *name_or_id, const vmctl_lookup_options *options, void **vm,
                      vmctl_identity *identity, vmctl_error **err);
void virtualbox_release(void *conn, void *vm);
int virtualbox_get(void *conn, void *vm, const vmctl_get_options *options, vmctl_vm_info_fn each, void *user,
                   vmctl_error **err);
int virtualbox_spec(void *conn, void *vm, const vmctl_call *call, vmctl_spec **out, vmctl_error **err);
int virtualbox_native(void *conn, void *vm, const vmctl_call *call, char **out, vmctl_error **err);
int virtualbox_render(void *conn, const vmctl_spec *spec, const vmctl_call *call, char **out, vmctl_error **err);

int virtualbox_create(void *conn, const vmctl_spec *spec, const vmctl_create_options *options,
                      const vmctl_marker *marker, vmc_journal *journal, void **vm, vmctl_identity *identity,
                      vmctl_error **err);
int virtualbox_remove(void *conn, void *vm, const vmctl_delete_options *options, vmctl_error **err);
int virtualbox_change(void *conn, void *vm, const vmctl_diff *diff, const vmctl_change_options *options,
                      vmc_journal *journal, vmctl_error **err);

int virtualbox_device_attach(void *conn, void *vm, const char *list, const vmctl_node *item,
                             const vmctl_attach_options *options, vmc_journal *journal, vmctl_effect *effect,
                             vmctl_error **err);
int virtualbox_device_detach(void *conn, void *vm, const char *name, const vmctl_attach_options *options,
                             vmctl_effect *effect, vmctl_error **err);
int virtualbox_cdrom_change(void *conn, void *vm, const char *name, const char *image,
                            const vmctl_cdrom_options *options, vmc_journal *journal, vmctl_effect *effect,
                            vmctl_error **err);

int virtualbox_start(void *conn, void *vm, const vmctl_start_options *options, vmctl_error **err);
int virtualbox_stop(void *conn, void *vm, const vmctl_stop_options *options, vmctl_error **err);
int virtualbox_restart(void *conn, void *vm, const vmctl_stop_options *options, vmctl_error **err);
int virtualbox_reboot(void *conn, void *vm, const vmctl_call *call, vmctl_error **err);
int virtualbox_reset(void *conn, void *vm, const vmctl_call *call, vmctl_error **err);
int virtualbox_pause(void *conn, void *vm, const vmctl_call *call, vmctl_error **err);
int virtualbox_resume(void *conn, void *vm, const vmctl_call *call, vmctl_error **err);
int virtualbox_save(void *conn, void *vm, const vmctl_call *call, vmctl_error **err);
int virtualbox_rename(void *conn, void *vm, const char *new_name, const vmctl_call *call, vmctl_error **err);

int virtualbox_clone(void *conn, void *vm, const char *name, const vmctl_clone_options *options,
                     const vmctl_marker *marker, vmc_journal *journal, void **out, vmctl_identity *identity,
                     vmctl_error **err);

int virtualbox_snapshot_create(void *conn, void *vm, const char *name, const vmctl_snapshot_create_options *options,
                               vmc_journal *journal, vmctl_error **err);
int virtualbox_snapshot_list(void *conn, void *vm, const vmctl_call *call, vmctl_snapshot_fn each, void *user,
                             vmctl_error **err);
int virtualbox_snapshot_rename(void *conn, void *vm, const char *name, const char *new_name, const vmctl_call *call,
                               vmctl_error **err);
int virtualbox_snapshot_revert(void *conn, void *vm, const char *name, const vmctl_snapshot_revert_options *options,
                               vmc_journal *journal, vmctl_error **err);
int virtualbox_snapshot_delete(void *conn, void *vm, const char *name, const vmctl_snapshot_delete_options *options,
                               vmctl_error **err);

int virtualbox_migrate(void *conn, void *vm, void *target, const char *host, const vmctl_migrate_options *options,
                       vmc_journal *journal, vmc_journal *arrivals, vmctl_error **err);

int virtualbox_migrate_abort(void *conn, void *vm, const vmctl_call *call, vmctl_error **err);

int virtualbox_dump(void *conn, void *vm, const char *path, vmc_journal *journal, const vmctl_call *call,
                    vmctl_error **err);
/* dump.c: whether there is a memory to write, and VirtualBox writes it here. */
int virtualbox_dump_check(const virtualbox_vm *vm, vmctl_state state, vmctl_error **err);
int virtualbox_export_ova(void *conn, void *vm, const char *path, const vmctl_call *call, vmc_journal *journal,
                          vmctl_error **err);
int virtualbox_import_ova(void *conn, const char *path, const char *name, const vmctl_call *call,
                          const vmctl_marker *marker, vmc_journal *journal, void **vm, vmctl_identity *identity,
                          vmctl_error **err);

int virtualbox_events(void *conn, const vmctl_event_options *options, vmctl_event_fn each, void *user,
                      vmctl_error **err);
int virtualbox_console_open(void *conn, void *vm, const vmctl_console_options *options, vmctl_stream **out,
                            vmctl_error **err);
int virtualbox_serial_log(void *conn, void *vm, const vmctl_log_options *options, vmctl_bytes_fn each, void *user,
                          vmctl_error **err);
int virtualbox_screenshot(void *conn, void *vm, const vmctl_screenshot_options *options, vmctl_bytes_fn each,
                          void *user, vmctl_error **err);
int virtualbox_send_keys(void *conn, void *vm, const unsigned *codes, size_t count, const vmctl_keys_options *options,
                         vmctl_error **err);
int virtualbox_guest_exec(void *conn, void *vm, const char *const *argv, const vmctl_exec_options *options, int *status,
                          vmctl_error **err);
int virtualbox_guest_copy_in(void *conn, void *vm, const char *local, const char *guest, vmc_journal *journal,
                             const vmctl_call *call, vmctl_error **err);
int virtualbox_guest_copy_out(void *conn, void *vm, const char *guest, const char *local, vmc_journal *journal,
                              const vmctl_call *call, vmctl_error **err);
int virtualbox_guest_set_password(void *conn, void *vm, const char *user, const char *password, const vmctl_call *call,
                                  vmctl_error **err);
int virtualbox_guest_forward(void *conn, void *vm, vmctl_forward *forward, vmc_journal *journal, const vmctl_call *call,
                             char **way, vmctl_error **err);
int virtualbox_metrics_list(void *conn, const vmctl_metrics_options *options, vmctl_metrics_fn each, void *user,
                            vmctl_error **err);
int virtualbox_display_list(void *conn, void *vm, const vmctl_call *call, vmctl_display_fn each, void *user,
                            vmctl_error **err);

int virtualbox_probe(void *conn, void *vm, const char *const *features, const vmctl_call *call, vmctl_here_fn each,
                     void *user, vmctl_error **err);
int virtualbox_host_info(void *conn, const vmctl_call *call, vmctl_host_fn each, void *user, vmctl_error **err);
int virtualbox_host_list(void *conn, const vmctl_call *call, vmctl_host_fn each, void *user, vmctl_error **err);
int virtualbox_pool_list(void *conn, const vmctl_call *call, vmctl_pool_fn each, void *user, vmctl_error **err);
int virtualbox_network_list(void *conn, const vmctl_call *call, vmctl_network_fn each, void *user, vmctl_error **err);

/* How the rules begin that a port-forward adds for the while (forward.c). */
#define VIRTUALBOX_FORWARD_NAME "vmctl-"

/* --- what others of this room need ------------------------------------------------------------------------------ */

/* Something of ours happened: told at once to those who listen, who would see it at the next look only (events.c). */
void virtualbox_tell(virtualbox_conn *conn, vmctl_event_kind kind, const virtualbox_vm *vm, vmctl_state state,
                     const char *detail);
void virtualbox_poller_end(virtualbox_conn *conn);

/* One who hears what happens. There is no notification: one poller a connection looks, with a back-off, for all of them. */
typedef struct virtualbox_listener virtualbox_listener;
/* What happens from now on is heard. */
int virtualbox_listener_open(virtualbox_conn *conn, const vmc_deadline *deadline, virtualbox_listener **out,
                             vmctl_error **err);
void virtualbox_listener_close(virtualbox_conn *conn, virtualbox_listener *listener);
/* Waits at most slice_ms (-1: for ever). 1: *event is the next one (free it by virtualbox_event_free); 0: nothing came. */
typedef struct virtualbox_event {
    vmctl_event_kind kind;
    int64_t time_ms;
    char id[37];
    char *name;
    vmctl_state state;
    const char *detail; /* constant; NULL */
    struct virtualbox_event *next;
} virtualbox_event;
int virtualbox_listener_next(virtualbox_conn *conn, virtualbox_listener *listener, const vmc_deadline *deadline,
                             int slice_ms, virtualbox_event **event, vmctl_error **err);
void virtualbox_event_free(virtualbox_event *event);

/* The serial log goes on over starts, although VirtualBox empties the file at each (serial.c): before a start what is there goes to the
 * file of earlier starts. machine's port must write a file, else nothing happens. *kept: how much, for taking it back when the start did
 * not empty the file after all. */
int virtualbox_serial_keep(const vboxmanage_machine *machine, int64_t *kept, const vmc_deadline *deadline,
                           vmctl_error **err);
void virtualbox_serial_unkeep(const vboxmanage_machine *machine, int64_t kept);
/* The file of earlier starts. free. */
char *virtualbox_serial_earlier(const char *path);
/* The file that the first port writes, or would if no console had it; NULL: none. free. */
char *virtualbox_serial_log_path(const vboxmanage_machine *machine);
/* The socket that a console makes of such a port. free. */
char *virtualbox_serial_console_path(const char *log_path);
/* Before a start: the port that a console left as a socket goes back to its file. */
int virtualbox_serial_heal(virtualbox_conn *conn, const virtualbox_vm *vm, const vboxmanage_machine *machine,
                           const vmc_deadline *deadline, vmctl_error **err);

/* Closes the media of a VM's drives, of one that VirtualBox has no more (remove.c). */
void virtualbox_let_go_of_media(virtualbox_conn *conn, const virtualbox_vm *vm, const vboxmanage_machine *machine,
                                const vmc_deadline *deadline);
/* unregistervm, with its disks or without; and its drives' media are let go of, as machine (NULL: none are known) shows them (remove.c). */
int virtualbox_unregister(virtualbox_conn *conn, const virtualbox_vm *vm, const vboxmanage_machine *machine, bool disks,
                          const vmc_deadline *deadline, vmctl_error **err);
/* Starts it, from its saved memory where it has one. */
int virtualbox_start_up(virtualbox_conn *conn, const virtualbox_vm *vm, const vmc_deadline *deadline,
                        vmctl_error **err);
/* Whether a verb of its life can be done in this state, in the words of its refusal. Only looks. INVALID_STATE. */
int virtualbox_life_check(const virtualbox_vm *vm, vmctl_slot slot, vmctl_state state, vmctl_error **err);
/* Powers off at once and waits until the lock is gone (life.c). */
int virtualbox_power_off(virtualbox_conn *conn, virtualbox_vm *vm, const vmc_deadline *deadline, vmctl_error **err);

#endif
