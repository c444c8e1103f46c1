/* backends/libvirt/refuse.h - an error about one key of the spec, under the name that this room calls it by. */
#ifndef VMC_LIBVIRT_REFUSE_H
#define VMC_LIBVIRT_REFUSE_H

#include "base/error.h"
#include <vmctl/backend.h>

#define libvirt_refuse vmc_refuse

#endif
