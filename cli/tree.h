/* cli/tree.h - the library's facts as trees with the keys of the CLI contract. A fact that is absent there is absent here. */
#ifndef VMCTL_CLI_TREE_H
#define VMCTL_CLI_TREE_H

#include "cli.h"

/* Nothing is added for a NULL text, a zero time, a number below zero. Bytes that are not UTF-8 are replaced. The key is not copied
 * by the first two: it must last as long as the map, as a literal does. */
void cli_put(cJSON *map, const char *key, const char *text);
void cli_put_number(cJSON *map, const char *key, double number);
void cli_put_bytes(cJSON *map, const char *key, uint64_t bytes); /* 0: absent */
void cli_put_time(cJSON *map, const char *key, int64_t seconds);
void cli_put_known(cJSON *map, const char *key, int tristate); /* -1: absent */
void cli_put_strings(cJSON *map, const char *key, const char *const *list);
const char *cli_get(const cJSON *map, const char *key); /* "" when absent */

cJSON *cli_tree_vm(const vmctl_vm_info *info);
/* name, id, backend, context: what says which VM an outcome is about. */
cJSON *cli_tree_identity(const vmctl_vm *vm);
cJSON *cli_tree_host(const vmctl_host *host);
cJSON *cli_tree_pool(const vmctl_pool *pool);
cJSON *cli_tree_network(const vmctl_network *network);
cJSON *cli_tree_image(const vmctl_image *image);
cJSON *cli_tree_display(const vmctl_display *display);
cJSON *cli_tree_device(const vmctl_device *device);
cJSON *cli_tree_event(const vmctl_event *event);
cJSON *cli_tree_snapshot(const vmctl_snapshot *snapshot);
cJSON *cli_tree_change(const vmctl_change *change);
cJSON *cli_tree_cap(const vmctl_cap *cap);
cJSON *cli_tree_correction(vmctl_level level, const char *text, const char *evidence);

#endif
