/* backends/libvirt/stock.h - what is known of all domains, so that what happened while nobody listened can be told: state, name,
 * run, configuration, devices, agent and block jobs of each. */
#ifndef VMC_LIBVIRT_STOCK_H
#define VMC_LIBVIRT_STOCK_H

#include "listener.h"

typedef struct libvirt_stock libvirt_stock;

/* Non-zero ends the telling. */
typedef int (*libvirt_stock_tell)(vmctl_event_kind kind, const char *name, const char *uuid, vmctl_state state,
                                  const char *detail, void *user);

/* only: the name or UUID of the one domain of which more than its state is wanted; NULL: of all. */
libvirt_stock *libvirt_stock_new(const char *only);
void libvirt_stock_free(libvirt_stock *stock);

/* Asks what is there now: two calls, and one or two more for each domain that is wanted. With `briefly` only the two. */
int libvirt_stock_take(libvirt_stock *stock, libvirt_conn *conn, bool briefly, const vmc_deadline *deadline,
                       vmctl_error **err);
/* After the daemon came back: whether it has taken up again every QEMU that was running at the last taking, or found it gone. Until then a state is that
 * of before, and libvirt tells no event when it turns out that the QEMU died. One call for each that runs. */
int libvirt_stock_settled(const libvirt_stock *stock, libvirt_conn *conn, bool *settled, const vmc_deadline *deadline,
                          vmctl_error **err);
/* How the last taking differs from the one before it and the events noted since; 1: `tell` has had enough. */
int libvirt_stock_differences(const libvirt_stock *stock, libvirt_stock_tell tell, void *user);
/* The state of every domain and how it came to it. */
int libvirt_stock_states(const libvirt_stock *stock, libvirt_stock_tell tell, void *user);

/* The UUID of the one domain, when `only` is a name and there is one; NULL. */
const char *libvirt_stock_only_uuid(const libvirt_stock *stock);
/* An event is about a domain that is wanted. */
bool libvirt_stock_wants(const libvirt_stock *stock, const char *name, const char *uuid);
/* Takes an event in, and says better what it is about: a device by vmctl's name, the name before a rename. NULL: the detail is good
 * as it is; else free. */
char *libvirt_stock_note(libvirt_stock *stock, const libvirt_event *event, libvirt_conn *conn,
                         const vmc_deadline *deadline);
/* Asks again for the domains that events were about; their failure is none of the listening. */
int libvirt_stock_refresh(libvirt_stock *stock, libvirt_conn *conn, const vmc_deadline *deadline, vmctl_error **err);

#endif
