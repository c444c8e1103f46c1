/* vmctl host info|list, vmctl pool list, vmctl network list: what is behind an endpoint. */
#include "output.h"
#include "tree.h"
#include "verbs.h"

#include <string.h>

static void line(FILE *to, const cJSON *tree, const char *title, const char *key, cli_cell cell) {
    CLI_AUTO_FREE char *text = cli_cell_text(tree, key, cell);
    CLI_AUTO_FREE char *safe = cli_printable(text);
    if (*safe)
        fprintf(to, "%-15s %s\n", title, safe);
}

static void write_info(cli *c, FILE *to, const cJSON *host) {
    (void)c;
    line(to, host, "endpoint", "endpoint", CLI_CELL_TEXT);
    line(to, host, "chosen by", "endpointReason", CLI_CELL_TEXT);
    line(to, host, "backend", "backend", CLI_CELL_TEXT);
    line(to, host, "context", "context", CLI_CELL_TEXT);
    line(to, host, "host", "name", CLI_CELL_TEXT);
    line(to, host, "hypervisor", "hypervisor", CLI_CELL_TEXT);
    line(to, host, "version", "hypervisorVersion", CLI_CELL_TEXT);
    line(to, host, "API version", "apiVersion", CLI_CELL_TEXT);
    line(to, host, "arch", "arch", CLI_CELL_TEXT);
    line(to, host, "CPU model", "cpuModel", CLI_CELL_TEXT);
    line(to, host, "CPUs", "cpus", CLI_CELL_TEXT);
    line(to, host, "memory", "memoryMiB", CLI_CELL_MIB);
    line(to, host, "memory free", "memoryFreeMiB", CLI_CELL_MIB);
    line(to, host, "acceleration", "accel", CLI_CELL_TEXT);
    line(to, host, "  because", "accelReason", CLI_CELL_TEXT);
    line(to, host, "  remedy", "accelRemedy", CLI_CELL_TEXT);
    line(to, host, "status", "status", CLI_CELL_TEXT);
    line(to, host, "running VMs", "vmCount", CLI_CELL_TEXT);
}

static const cli_view info_view = {.text = write_info};

static int keep_host(const vmctl_host *host, void *user) {
    cJSON **tree = user;
    cJSON_Delete(*tree);
    *tree = cli_tree_host(host);
    return 0;
}

static int host_info(cli *c) {
    vmctl_error *err = NULL;
    cJSON *host = NULL;
    int status = 0;
    vmctl_connection *connection = cli_connect(c, NULL, NULL, &status);

    if (!connection)
        return status;
    vmctl_call call = cli_call(c);
    int rc = vmctl_host_info(connection, &call, keep_host, &host, &err);
    cli_progress_end();
    if (rc < 0) {
        cJSON_Delete(host);
        return cli_report(c, err, vmctl_connection_context(connection));
    }
    if (!host)
        host = cJSON_CreateObject();
    cli_put(host, "backend", vmctl_connection_backend(connection));
    cli_put(host, "endpoint", vmctl_connection_uri(connection));
    cli_put(host, "endpointReason", vmctl_connection_reason(connection));
    cli_put(host, "context", vmctl_connection_context(connection));
    cli_output_one(c, &info_view, host);
    return 0;
}

static const cli_verb verb_info = {
    .name = "info",
    .summary = "the endpoint that was chosen and why, its hypervisor and its host",
    .run = host_info,
};

/* --- lists -------------------------------------------------------------------------------------------------------- */

static int show_host(const vmctl_host *host, void *user) {
    cli_output_add(user, cli_tree_host(host));
    return 0;
}

static int show_pool(const vmctl_pool *pool, void *user) {
    cli_output_add(user, cli_tree_pool(pool));
    return 0;
}

static int show_network(const vmctl_network *network, void *user) {
    cli_output_add(user, cli_tree_network(network));
    return 0;
}

static const cli_column host_columns[] = {{"NAME", "name", CLI_CELL_TEXT, 0},
                                          {"STATUS", "status", CLI_CELL_TEXT, 0},
                                          {"HYPERVISOR", "hypervisor", CLI_CELL_TEXT, 0},
                                          {"VERSION", "hypervisorVersion", CLI_CELL_TEXT, 0},
                                          {"CPUS", "cpus", CLI_CELL_TEXT, CLI_COLUMN_RIGHT},
                                          {"MEMORY", "memoryMiB", CLI_CELL_MIB, CLI_COLUMN_RIGHT},
                                          {"FREE", "memoryFreeMiB", CLI_CELL_MIB, CLI_COLUMN_RIGHT},
                                          {"VMS", "vmCount", CLI_CELL_TEXT, CLI_COLUMN_RIGHT},
                                          {"CPU MODEL", "cpuModel", CLI_CELL_TEXT, CLI_COLUMN_WIDE},
                                          {NULL}};
static const cli_view host_view = {.columns = host_columns};

static const cli_column pool_columns[] = {{"NAME", "name", CLI_CELL_TEXT, 0},
                                          {"TYPE", "type", CLI_CELL_TEXT, 0},
                                          {"ACTIVE", "active", CLI_CELL_YES, 0},
                                          {"DEFAULT", "default", CLI_CELL_YES, 0},
                                          {"SIZE", "capacityBytes", CLI_CELL_BYTES, CLI_COLUMN_RIGHT},
                                          {"FREE", "availableBytes", CLI_CELL_BYTES, CLI_COLUMN_RIGHT},
                                          {"AUTOSTART", "autostart", CLI_CELL_YES, CLI_COLUMN_WIDE},
                                          {"PATH", "path", CLI_CELL_TEXT, CLI_COLUMN_WIDE},
                                          {NULL}};
static const cli_view pool_view = {.columns = pool_columns};

static const cli_column network_columns[] = {{"NAME", "name", CLI_CELL_TEXT, 0},
                                             {"TYPE", "type", CLI_CELL_TEXT, 0},
                                             {"ACTIVE", "active", CLI_CELL_YES, 0},
                                             {"DEFAULT", "default", CLI_CELL_YES, 0},
                                             {"BRIDGE", "bridge", CLI_CELL_TEXT, 0},
                                             {"SUBNET", "subnet", CLI_CELL_TEXT, 0},
                                             {"AUTOSTART", "autostart", CLI_CELL_YES, CLI_COLUMN_WIDE},
                                             {NULL}};
static const cli_view network_view = {.columns = network_columns};

/* Shows one list of the endpoint; which says whose. */
static int show_list(cli *c, const cli_view *view) {
    vmctl_error *err = NULL;
    int status = 0, rc = 0;
    vmctl_connection *connection = cli_connect(c, NULL, NULL, &status);

    if (!connection)
        return status;
    vmctl_call call = cli_call(c);
    cli_output_begin(c, view);
    if (view == &host_view)
        rc = vmctl_host_list(connection, &call, show_host, c, &err);
    else if (view == &pool_view)
        rc = vmctl_pool_list(connection, &call, show_pool, c, &err);
    else
        rc = vmctl_network_list(connection, &call, show_network, c, &err);
    cli_progress_end();
    cli_output_end(c, rc < 0);
    return rc < 0 ? cli_report(c, err, vmctl_connection_context(connection)) : 0;
}

static int host_list(cli *c) {
    return show_list(c, &host_view);
}
static int pool_list(cli *c) {
    return show_list(c, &pool_view);
}
static int network_list(cli *c) {
    return show_list(c, &network_view);
}

static const cli_verb verb_host_list = {
    .name = "list",
    .summary = "the hosts or nodes that the endpoint manages",
    .run = host_list,
};
static const cli_verb verb_pool_list = {
    .name = "list",
    .summary = "the storage pools, datastores or storage classes",
    .run = pool_list,
};
static const cli_verb verb_network_list = {
    .name = "list",
    .summary = "the networks that NICs can be on",
    .run = network_list,
};

static const cli_verb *const host_verbs[] = {&verb_info, &verb_host_list, NULL};
static const cli_verb *const pool_verbs[] = {&verb_pool_list, NULL};
static const cli_verb *const network_verbs[] = {&verb_network_list, NULL};

const cli_verb cli_verb_host = {
    .name = "host",
    .group = "setup",
    .summary = "the endpoint and the hosts behind it",
    .verbs = host_verbs,
};
const cli_verb cli_verb_pool = {
    .name = "pool",
    .group = "storage",
    .summary = "where disks are kept",
    .verbs = pool_verbs,
};
const cli_verb cli_verb_network = {
    .name = "network",
    .group = "storage",
    .summary = "what NICs can be on",
    .verbs = network_verbs,
};
