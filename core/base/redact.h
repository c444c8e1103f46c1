/* base/redact.h - what of a text may be shown or kept. */
#ifndef VMC_BASE_REDACT_H
#define VMC_BASE_REDACT_H

#include <vmctl/export.h>

/* The URL without userinfo and fragment, and with "***" for query values whose names mean a secret (token, key, secret, password,
 * signature, credential, ...). The same again for what it gave. free. */
VMCTL_API char *vmc_redact_url(const char *url);

#endif
