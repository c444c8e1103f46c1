/* src/spec_value.h - one value: from text to a node by the type of its key, and back. */
#ifndef VMC_SRC_SPEC_VALUE_H
#define VMC_SRC_SPEC_VALUE_H

#include "spec_internal.h"

/* A node from a scalar's text. base: what relative paths are relative to; NULL: the working folder. Lists take one text as a list
 * of one. NULL with *why (malloc'ed; why may be NULL where the text is known to be good) when it does not fit. */
vmctl_node *vmc_value_parse(const vmc_key *key, const char *text, const char *base, char **why);
/* One element of a list of strings, ports or keys. */
vmctl_node *vmc_value_parse_element(const vmc_key *list, const char *text, const char *base, char **why);

/* A plain scalar below an ANY: null, a boolean, an integer, a fraction or a string, by YAML 1.2's core schema. */
vmctl_node *vmc_value_plain(const char *text);

/* As it is written in a spec, without quotes: "20GiB", "2h", "4", "true"; NULL for lists and maps. malloc'ed. */
char *vmc_value_text(const vmctl_node *node);

/* What the type wants, for messages: "a size such as 20GiB". */
const char *vmc_value_expected(const vmc_key *key);

/* "tcp:127.0.0.1:2222:22" taken apart; false when it is none. address is not NUL-terminated. */
typedef struct vmc_port {
    bool udp;
    const char *address; /* NULL: none */
    size_t address_length;
    unsigned local, guest;
} vmc_port;
bool vmc_port_parse(const char *text, vmc_port *out);

#endif
