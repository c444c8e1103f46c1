/* vmctl top. */
#include "output.h"
#include "tree.h"
#include "verbs.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Two samples of one VM make its rates. */
typedef struct sample {
    char *id;
    vmctl_metrics metrics; /* its strings are not kept */
} sample;

typedef struct sampler {
    cli *c;
    sample *before;
    size_t before_count;
    sample *now;
    size_t now_count;
    bool show;
} sampler;

static const sample *find_sample(const sampler *s, const char *id) {
    for (size_t i = 0; i < s->before_count; i++)
        if (!strcmp(s->before[i].id, id))
            return &s->before[i];
    return NULL;
}

static void put_rate(cJSON *row, const char *key, uint64_t now, uint64_t before, double seconds) {
    if (now != UINT64_MAX && before != UINT64_MAX && now >= before && seconds > 0)
        cli_put_number(row, key, (double)(int64_t)((double)(now - before) / seconds));
}

static void put_count(cJSON *row, const char *key, uint64_t value) {
    if (value != UINT64_MAX)
        cli_put_number(row, key, (double)value);
}

static int on_metrics(const vmctl_metrics *m, void *user) {
    sampler *s = user;
    const char *id = m->id ? m->id : m->name;
    const sample *before = find_sample(s, id);

    s->now = cli_grow(s->now, s->now_count + 1, sizeof *s->now);
    s->now[s->now_count++] = (sample){cli_strdup(id), *m};
    if (!s->show)
        return 0;
    cJSON *row = cJSON_CreateObject();
    cli_put(row, "name", m->name);
    cli_put(row, "id", m->id);
    cli_put(row, "state", vmctl_state_name(m->state));
    if (before) {
        const vmctl_metrics *b = &before->metrics;
        double seconds = (double)(m->time_ns - b->time_ns) / 1e9;
        if (m->cpu_ns != UINT64_MAX && b->cpu_ns != UINT64_MAX && m->cpu_ns >= b->cpu_ns && seconds > 0)
            cli_put_number(row, "cpuPercent", (double)(int64_t)((double)(m->cpu_ns - b->cpu_ns) / seconds / 1e6) / 10);
        put_rate(row, "diskReadBytesPerSecond", m->disk_read_bytes, b->disk_read_bytes, seconds);
        put_rate(row, "diskWriteBytesPerSecond", m->disk_write_bytes, b->disk_write_bytes, seconds);
        put_rate(row, "netRxBytesPerSecond", m->net_rx_bytes, b->net_rx_bytes, seconds);
        put_rate(row, "netTxBytesPerSecond", m->net_tx_bytes, b->net_tx_bytes, seconds);
    }
    put_count(row, "memoryMiB", m->memory_mib);
    put_count(row, "memoryUsedMiB", m->memory_used_mib);
    put_count(row, "residentMiB", m->resident_mib);
    cli_output_add(s->c, row);
    return 0;
}

static void free_samples(sample *samples, size_t count) {
    for (size_t i = 0; i < count; i++)
        free(samples[i].id);
    free(samples);
}

static const cli_column top_columns[] = {{"NAME", "name", CLI_CELL_TEXT, CLI_COLUMN_CUT},
                                         {"STATE", "state", CLI_CELL_STATE, 0},
                                         {"CPU %", "cpuPercent", CLI_CELL_TEXT, CLI_COLUMN_RIGHT},
                                         {"MEMORY", "memoryMiB", CLI_CELL_MIB, CLI_COLUMN_RIGHT},
                                         {"USED", "memoryUsedMiB", CLI_CELL_MIB, CLI_COLUMN_RIGHT},
                                         {"RESIDENT", "residentMiB", CLI_CELL_MIB, CLI_COLUMN_RIGHT},
                                         {"READ/s", "diskReadBytesPerSecond", CLI_CELL_BYTES, CLI_COLUMN_RIGHT},
                                         {"WRITE/s", "diskWriteBytesPerSecond", CLI_CELL_BYTES, CLI_COLUMN_RIGHT},
                                         {"RX/s", "netRxBytesPerSecond", CLI_CELL_BYTES, CLI_COLUMN_RIGHT},
                                         {"TX/s", "netTxBytesPerSecond", CLI_CELL_BYTES, CLI_COLUMN_RIGHT},
                                         {NULL}};
static const cli_view top_view = {.columns = top_columns};

/* One sample; shown from the second on. */
static int take_sample(sampler *s, vmctl_connection *connection, bool show) {
    cli *c = s->c;
    vmctl_call call = cli_call(c);
    vmctl_error *err = NULL;

    s->show = show;
    if (show)
        cli_output_begin(c, &top_view);
    int rc = vmctl_metrics_list(connection, &call, on_metrics, s, &err);
    if (show)
        cli_output_end(c, rc < 0);
    free_samples(s->before, s->before_count);
    s->before = s->now;
    s->before_count = s->now_count;
    s->now = NULL;
    s->now_count = 0;
    return rc < 0 ? cli_report(c, err, vmctl_connection_context(connection)) : 0;
}

static int top(cli *c) {
    sampler s = {.c = c};
    int64_t interval = cli_number(&c->args, "interval", 1000), rounds = cli_number(&c->args, "count", 0);
    bool terminal = isatty(STDOUT_FILENO) && (c->format == CLI_TABLE || c->format == CLI_WIDE);
    int status = 0;
    vmctl_connection *connection = cli_connect(c, NULL, NULL, &status);

    if (!connection)
        return status;
    if (!rounds && !terminal)
        rounds = 1;
    status = take_sample(&s, connection, false);
    for (int64_t i = 0; !status && (!rounds || i < rounds); i++) {
        struct pollfd cancel = {vmctl_cancel_fd(c->cancel), POLLIN, 0};
        if (poll(&cancel, 1, (int)interval) != 0) {
            status = vmctl_code_exit_status(VMCTL_E_CANCELLED);
            break;
        }
        if (terminal && rounds != 1)
            fputs("\033[H\033[2J", stdout);
        status = take_sample(&s, connection, true);
        fflush(stdout);
    }
    free_samples(s.before, s.before_count);
    return status;
}

static const cli_option top_options[] = {
    {"count", 0, CLI_INTEGER, "N", "so many times (until ^C on a terminal, else once)"},
    {"interval", 0, CLI_DURATION, "DUR", "the time between two samples (1s)"},
    {NULL}};

const cli_verb cli_verb_top = {
    .name = "top",
    .group = "look",
    .summary = "what VMs use now: CPU, memory, disks, network",
    .options = top_options,
    .run = top,
};
