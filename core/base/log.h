/* base/log.h - diagnostics for developers: VMCTL_LOG=debug|info to stderr, or VMCTL_LOG=FILE. Never a secret, never the result. */
#ifndef VMC_BASE_LOG_H
#define VMC_BASE_LOG_H

#include <stdbool.h>
#include <vmctl/export.h>

VMCTL_API bool vmc_log_enabled(void); /* cheap: for logs that cost something to make */
VMCTL_API void vmc_log(const char *room, const char *format, ...) VMCTL_PRINTF(2, 3);

#endif
