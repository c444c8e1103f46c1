/* backends/virtualbox/migrate.h - a running VM to another VirtualBox, by teleporting.
 *
 * The target gets the same VM (its settings file, registered there), starts it so that it waits on a port, and the source sends its memory.
 * Disks are opened by both for a moment, which VirtualBox allows of shareable ones alone. Source: VirtualBox's manual, "Teleporting"; SDK reference,
 * IConsole::teleport. */
#ifndef VMC_VIRTUALBOX_MIGRATE_H
#define VMC_VIRTUALBOX_MIGRATE_H

#include "snapshot.h"

/* The mark of a VM that came by teleporting: VirtualBox leaves it waiting for the next one, which a start must switch off first. */
#define VIRTUALBOX_ARRIVED "vmctl.arrived"

/* In the VM's folder at the target, while it is teleported: what both VBoxManages read. */
#define VIRTUALBOX_PASSWORD_FILE "teleporter-password"

/* Everything that stands in the way, told to options->obstacle; the first fatal one's code. Nothing is touched. target NULL: the target is not
 * looked at. */
int virtualbox_migrate_check(const virtualbox_scene *scene, virtualbox_conn *target, const char *folder,
                             const vmctl_migrate_options *options, vmctl_error **err);

/* Whether it is moved as it lies there, and not teleported. */
bool virtualbox_moves_stopped(const virtualbox_scene *scene, const vmctl_migrate_options *options);
/* Makes it at the target, with all that is in its folder, and verifies that; the source stays (migrate_offline.c). */
int virtualbox_move_stopped(const virtualbox_scene *scene, virtualbox_conn *target, const virtualbox_vm *there,
                            const char *folder, const char *settings, vmctl_error **err);

/* Waits until VirtualBox works on the VM no more; what its state is then. */
int virtualbox_wait_idle(virtualbox_conn *conn, virtualbox_vm *vm, const vmc_deadline *deadline, vmctl_state *state,
                         char **native, vmctl_error **err);

/* The source's VM is gone to the target: its definition goes too, its disks and what it logged stay. */
int virtualbox_depart(virtualbox_conn *conn, virtualbox_vm *vm, const vmc_deadline *deadline, vmctl_error **err);

/* Undoing. "departure" UUID FOLDER: at the source; gone when the VM has been teleported. "arrival" UUID FOLDER: at the target; a VM that runs has arrived
 * and stays, what waits or never began goes, and its disks stay. "departed" UUID SETTINGS: it runs at the target; what the source has of it besides disks
 * and log goes, also where VirtualBox knows of it no more. */
int virtualbox_departed_undo(virtualbox_conn *conn, const char *detail, const vmc_deadline *deadline,
                             vmctl_error **err);
int virtualbox_departure_undo(virtualbox_conn *conn, const char *detail, const vmc_deadline *deadline,
                              vmctl_error **err);
int virtualbox_arrival_undo(virtualbox_conn *conn, const char *detail, const vmc_deadline *deadline, vmctl_error **err);

/* migrate_abort.c: whether there is one to stop: INVALID_STATE. Only looks. */
int virtualbox_migrate_check_abort(const virtualbox_vm *vm, vmctl_state state, vmctl_error **err);

#endif
