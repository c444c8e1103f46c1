/* backends/libvirt/guest_channel.h - a byte stream into the guest: a virtio serial port that is plugged for one copy. The agent's own
 * messages are base64 in JSON, which its parser in the guest reads character by character; this is plain bytes.
 * Source: virDomainAttachDeviceFlags with <channel type='unix'>, virDomainOpenChannel. */
#ifndef VMC_LIBVIRT_GUEST_CHANNEL_H
#define VMC_LIBVIRT_GUEST_CHANNEL_H

#include "base/journal.h"
#include "ops.h"

typedef struct libvirt_guest_channel libvirt_guest_channel;

/* Plugs it and opens its stream, on a connection of its own: a guest that takes nothing holds up nobody else. Noted in the journal
 * ("channel UUID NAME") before it is made. */
int libvirt_guest_channel_open(libvirt_conn *conn, const libvirt_vm *vm, vmc_journal *journal,
                               const vmc_deadline *deadline, libvirt_guest_channel **out, vmctl_error **err);
/* The port's name; the guest has it as /dev/virtio-ports/NAME, or by /sys/class/virtio-ports. */
const char *libvirt_guest_channel_name(const libvirt_guest_channel *channel);
/* TIMEOUT when the guest takes or gives nothing for a while; the channel can only be closed then. */
int libvirt_guest_channel_send(libvirt_guest_channel *channel, const void *bytes, size_t length,
                               const vmc_deadline *deadline, vmctl_error **err);
/* *length: what came, 0 at the end; *bytes is valid until the next call. */
int libvirt_guest_channel_receive(libvirt_guest_channel *channel, const vmc_deadline *deadline, const char **bytes,
                                  size_t *length, vmctl_error **err);
/* Ends the stream, which the guest sees as the end of the data. Before _close, or by it. */
void libvirt_guest_channel_hang_up(libvirt_guest_channel *channel);
/* Unplugs it; what fails stays in the journal. NULL is allowed. */
int libvirt_guest_channel_close(libvirt_guest_channel *channel, vmctl_error **err);

/* The journal's "channel UUID NAME"; a channel or a domain that is gone is success. */
int libvirt_guest_channel_undo(libvirt_conn *conn, const char *detail, const vmc_deadline *deadline, vmctl_error **err);

#endif
