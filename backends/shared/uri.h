/* backends/shared/uri.h - the query of a connection's URI, taken apart and put together (RFC 3986, section 2.1 and 3.4). */
#ifndef VMC_SHARED_URI_H
#define VMC_SHARED_URI_H

#include "base/error.h"
#include "base/str.h"

/* A key of the query and where its decoded value goes (free; one that is there already is replaced). */
typedef struct vmc_uri_field {
    const char *key; /* NULL ends the list */
    char **value;
} vmc_uri_field;

/* Without its percent signs; free. */
char *vmc_uri_decode(const char *text, size_t length);
/* Reads "KEY=VALUE&..." up to its end or a '#'. INVALID_ARGUMENT for a key that is no field of the scheme's URIs; `known` is the next step then. */
int vmc_uri_read_query(const char *scheme, const char *query, const vmc_uri_field *fields, const char *known,
                       vmctl_error **err);
/* Adds "?KEY=VALUE", or "&KEY=VALUE" where the URI has a query already; nothing for value NULL. */
void vmc_uri_add(vmc_str *uri, const char *key, const char *value);

#endif
