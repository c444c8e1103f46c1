/* vmctl/vmctl.h - all of libvmctl but backend.h, which is for authors of backends.
 *
 * Ownership: what comes back through a pointer to pointer is the caller's; what a callback gets is valid during the callback. Structs begin with
 * their size and have an initialiser; new fields are added at the end only, and 0 or NULL means the default. Functions
 * return 0 or a negative vmctl_code.
 */
#ifndef VMCTL_VMCTL_H
#define VMCTL_VMCTL_H

#include <vmctl/call.h>
#include <vmctl/caps.h>
#include <vmctl/compare.h>
#include <vmctl/connection.h>
#include <vmctl/device.h>
#include <vmctl/display.h>
#include <vmctl/error.h>
#include <vmctl/event.h>
#include <vmctl/guest.h>
#include <vmctl/host.h>
#include <vmctl/image.h>
#include <vmctl/migrate.h>
#include <vmctl/snapshot.h>
#include <vmctl/spec.h>
#include <vmctl/vm.h>

VMCTL_BEGIN_DECLS

/* "0.1.0": of the library that runs, not of this header. */
VMCTL_API const char *vmctl_version(void);

VMCTL_END_DECLS

#endif
