/* vmctl top. */
#include "output.h"
#include "tree.h"
#include "verbs.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

/* One VM at one time; two of them make its rates. */
typedef struct sample {
    vmctl_metrics metrics; /* name and id are owned */
    double cpu;            /* per cent of one CPU of the host; negative while it is not known, as the others */
    double read, write, rx, tx;
} sample;

typedef struct samples {
    sample *items; /* sorted by id once they are complete */
    size_t count;
} samples;

typedef int (*order_fn)(const void *a, const void *b);

typedef struct sampler {
    cli *c;
    vmctl_connection *connection;
    cli_strings wanted; /* names or ids; empty: all */
    order_fn order;
    bool screen; /* a terminal that is written to in place */
    samples before, now;
} sampler;

static void samples_free(samples *s) {
    for (size_t i = 0; i < s->count; i++) {
        free((char *)s->items[i].metrics.name);
        free((char *)s->items[i].metrics.id);
    }
    free(s->items);
    *s = (samples){0};
}

static const char *id_of(const sample *s) {
    return s->metrics.id ? s->metrics.id : s->metrics.name;
}

/* --- orders --------------------------------------------------------------------------------------------------------- */

static int by_id(const void *a, const void *b) {
    return strcmp(id_of(a), id_of(b));
}

static int by_name(const void *a, const void *b) {
    const sample *x = a, *y = b;
    return strverscmp(x->metrics.name, y->metrics.name);
}

/* The most first. */
static int more(double x, double y, const void *a, const void *b) {
    return x > y ? -1 : x < y ? 1 : by_name(a, b);
}

static int by_cpu(const void *a, const void *b) {
    const sample *x = a, *y = b;
    return more(x->cpu, y->cpu, a, b);
}

static double memory(const sample *s) {
    const vmctl_metrics *m = &s->metrics;
    uint64_t mib = m->resident_mib != UINT64_MAX ? m->resident_mib : m->memory_used_mib;
    return mib == UINT64_MAX ? -1 : (double)mib;
}

static int by_memory(const void *a, const void *b) {
    return more(memory(a), memory(b), a, b);
}

static int by_disk(const void *a, const void *b) {
    const sample *x = a, *y = b;
    return more(x->read + x->write, y->read + y->write, a, b);
}

static int by_network(const void *a, const void *b) {
    const sample *x = a, *y = b;
    return more(x->rx + x->tx, y->rx + y->tx, a, b);
}

static order_fn order_of(const char *name) {
    static const struct {
        const char *name;
        order_fn order;
    } orders[] = {
        {"cpu", by_cpu}, {"memory", by_memory}, {"disk", by_disk}, {"network", by_network}, {"name", by_name}};
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++)
        if (!strcmp(orders[i].name, name))
            return orders[i].order;
    return by_cpu;
}

/* --- sampling ------------------------------------------------------------------------------------------------------- */

static double rate(uint64_t now, uint64_t before, double seconds) {
    bool known = now != UINT64_MAX && before != UINT64_MAX && now >= before && seconds > 0;
    return known ? (double)(now - before) / seconds : -1;
}

static bool is_wanted(const sampler *s, const vmctl_metrics *m) {
    for (size_t i = 0; i < s->wanted.count; i++)
        if (!strcmp(s->wanted.items[i], m->name) || (m->id && !strcmp(s->wanted.items[i], m->id)))
            return true;
    return !s->wanted.count;
}

static int on_metrics(const vmctl_metrics *m, void *user) {
    sampler *s = user;

    if (!is_wanted(s, m))
        return 0;
    if (!(s->now.count & (s->now.count - 1)))
        s->now.items = cli_grow(s->now.items, s->now.count ? 2 * s->now.count : 1, sizeof *s->now.items);
    sample *now = &s->now.items[s->now.count++];
    *now = (sample){*m, -1, -1, -1, -1, -1};
    now->metrics.name = cli_strdup(m->name);
    now->metrics.id = cli_strdup(m->id);
    if (!s->before.count)
        return 0;
    const sample *found = bsearch(now, s->before.items, s->before.count, sizeof *found, by_id);
    if (!found)
        return 0;
    const vmctl_metrics *b = &found->metrics;
    double seconds = (double)(m->time_ns - b->time_ns) / 1e9;
    now->cpu = rate(m->cpu_ns, b->cpu_ns, seconds);
    now->cpu = now->cpu < 0 ? -1 : now->cpu / 1e7;
    now->read = rate(m->disk_read_bytes, b->disk_read_bytes, seconds);
    now->write = rate(m->disk_write_bytes, b->disk_write_bytes, seconds);
    now->rx = rate(m->net_rx_bytes, b->net_rx_bytes, seconds);
    now->tx = rate(m->net_tx_bytes, b->net_tx_bytes, seconds);
    return 0;
}

/* Every VM that was named must be there the first time, and be one; later it may go. */
static int check_wanted(const sampler *s) {
    for (size_t i = 0; i < s->wanted.count; i++) {
        const char *wanted = s->wanted.items[i];
        size_t named = 0;
        bool there = false;
        CLI_AUTO_FREE char *ids = NULL;
        for (size_t k = 0; k < s->now.count; k++) {
            there = there || !strcmp(wanted, id_of(&s->now.items[k]));
            if (strcmp(wanted, s->now.items[k].metrics.name) != 0)
                continue;
            char *more = cli_printf("%s%s%s", named++ ? ids : "", ids ? ", " : "", id_of(&s->now.items[k]));
            free(ids);
            ids = more;
        }
        if (named > 1)
            return cli_fail(s->c, VMCTL_E_AMBIGUOUS, "name one by its id", "%zu VMs are named %s: %s", named, wanted,
                            ids);
        if (!there && !named)
            return cli_fail(s->c, VMCTL_E_NOT_FOUND, "vmctl list", "there is no VM %s", wanted);
    }
    return 0;
}

static int take_sample(sampler *s, bool first) {
    cli *c = s->c;
    vmctl_metrics_options options = VMCTL_METRICS_OPTIONS_INIT;
    vmctl_call call = cli_call(c);
    vmctl_error *err = NULL;

    options.call = &call;
    options.inactive = cli_flag(&c->args, "all") || s->wanted.count;
    samples_free(&s->before);
    s->before = s->now;
    s->now = (samples){0};
    if (vmctl_metrics_list(s->connection, &options, on_metrics, s, &err) < 0)
        return cli_report(c, err, vmctl_connection_context(s->connection));
    if (s->now.count)
        qsort(s->now.items, s->now.count, sizeof *s->now.items, by_id);
    return first ? check_wanted(s) : 0;
}

/* --- showing -------------------------------------------------------------------------------------------------------- */

static void put_rate(cJSON *row, const char *key, double value) {
    if (value >= 0)
        cli_put_number(row, key, (double)(int64_t)value);
}

static void put_count(cJSON *row, const char *key, uint64_t value) {
    if (value != UINT64_MAX)
        cli_put_number(row, key, (double)value);
}

static cJSON *row_of(const sample *s, const char *context, int64_t time) {
    const vmctl_metrics *m = &s->metrics;
    cJSON *row = cJSON_CreateObject();

    cli_put_time(row, "time", time);
    cli_put(row, "name", m->name);
    cli_put(row, "id", m->id);
    cli_put(row, "context", context);
    cli_put(row, "state", vmctl_state_name(m->state));
    if (m->cpus)
        cli_put_number(row, "cpus", m->cpus);
    if (s->cpu >= 0)
        cli_put_number(row, "cpuPercent", (double)(int64_t)(s->cpu * 10 + 0.5) / 10);
    put_count(row, "memoryMiB", m->memory_mib);
    put_count(row, "memoryUsedMiB", m->memory_used_mib);
    put_count(row, "residentMiB", m->resident_mib);
    put_rate(row, "diskReadBytesPerSecond", s->read);
    put_rate(row, "diskWriteBytesPerSecond", s->write);
    put_rate(row, "netRxBytesPerSecond", s->rx);
    put_rate(row, "netTxBytesPerSecond", s->tx);
    return row;
}

static const cli_column columns[] = {{"NAME", "name", CLI_CELL_TEXT, CLI_COLUMN_CUT},
                                     {"STATE", "state", CLI_CELL_STATE, 0},
                                     {"CPUS", "cpus", CLI_CELL_TEXT, CLI_COLUMN_RIGHT},
                                     {"CPU %", "cpuPercent", CLI_CELL_TENTHS, CLI_COLUMN_RIGHT},
                                     {"MEMORY", "memoryMiB", CLI_CELL_MIB, CLI_COLUMN_RIGHT},
                                     {"USED", "memoryUsedMiB", CLI_CELL_MIB, CLI_COLUMN_RIGHT},
                                     {"RESIDENT", "residentMiB", CLI_CELL_MIB, CLI_COLUMN_RIGHT},
                                     {"READ/s", "diskReadBytesPerSecond", CLI_CELL_BYTES, CLI_COLUMN_RIGHT},
                                     {"WRITE/s", "diskWriteBytesPerSecond", CLI_CELL_BYTES, CLI_COLUMN_RIGHT},
                                     {"RX/s", "netRxBytesPerSecond", CLI_CELL_BYTES, CLI_COLUMN_RIGHT},
                                     {"TX/s", "netTxBytesPerSecond", CLI_CELL_BYTES, CLI_COLUMN_RIGHT},
                                     {"CONTEXT", "context", CLI_CELL_TEXT, CLI_COLUMN_WIDE},
                                     {"ID", "id", CLI_CELL_TEXT, CLI_COLUMN_WIDE},
                                     {NULL}};
static const cli_view view = {.columns = columns};

/* The head line of a screen, and how many lines are left below it and the headings. */
static size_t show_head(const sampler *s, int64_t time) {
    struct winsize size;
    size_t running = 0;
    double cpu = 0, resident = 0;

    for (size_t i = 0; i < s->now.count; i++) {
        const sample *one = &s->now.items[i];
        running += one->metrics.state == VMCTL_STATE_RUNNING;
        cpu += one->cpu > 0 ? one->cpu : 0;
        resident += one->metrics.resident_mib != UINT64_MAX ? (double)one->metrics.resident_mib : 0;
    }
    CLI_AUTO_FREE char *when = cli_time_text(time);
    CLI_AUTO_FREE char *bytes = cli_human_bytes(resident * 1024 * 1024);
    printf("\033[H\033[J%s  %zu VM%s, %zu running, CPU %.0f %%, %s resident\n\n", when, s->now.count,
           s->now.count == 1 ? "" : "s", running, cpu, bytes);
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 5;
    return known ? size.ws_row - 4u : 20;
}

static void show(sampler *s) {
    cli *c = s->c;
    int64_t now = time(NULL);
    const char *context = vmctl_connection_context(s->connection);
    size_t count = s->now.count;
    sample *rows = cli_alloc(count * sizeof *rows);

    if (count)
        memcpy(rows, s->now.items, count * sizeof *rows);
    qsort(rows, count, sizeof *rows, s->order);
    if (s->screen) {
        size_t room = show_head(s, now);
        count = count < room ? count : room;
        cli_output_begin(c, &view);
    }
    for (size_t i = 0; i < count; i++)
        cli_output_add(c, row_of(&rows[i], context, now));
    if (s->screen)
        cli_output_end(c, false);
    fflush(stdout);
    free(rows);
}

/* The first look has no rates yet: shown at once to a person, left out otherwise. */
static int go_on(sampler *s, int64_t interval, int64_t rounds) {
    int status = take_sample(s, true);

    if (!status && s->screen)
        show(s);
    for (int64_t i = 0; !status && (!rounds || i < rounds) && !ferror(stdout); i++) {
        struct pollfd cancel = {vmctl_cancel_fd(s->c->cancel), POLLIN, 0};
        int64_t left = s->c->deadline_ms < 0 ? interval : s->c->deadline_ms - cli_now_ms();
        bool last = left < interval;
        if (poll(&cancel, 1, (int)(last ? (left > 0 ? left : 0) : interval)) != 0)
            return vmctl_code_exit_status(VMCTL_E_CANCELLED);
        if (last)
            break; /* --timeout: its end is the end of the looking */
        status = take_sample(s, false);
        if (!status)
            show(s);
    }
    return status;
}

/* The VMs that were named, all at one endpoint: there is one question a round. */
static int read_wanted(sampler *s, char **context) {
    cli *c = s->c;

    for (size_t i = 0; i < c->args.operand_count; i++) {
        const char *name = NULL;
        CLI_AUTO_FREE char *at = cli_split_target(c, c->args.operands[i], &name);
        if (i && strcmp(at ? at : "", *context ? *context : "") != 0)
            return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, NULL, "%s and %s are at different endpoints",
                            c->args.operands[0], c->args.operands[i]);
        if (!i)
            *context = cli_strdup(at);
        cli_strings_add(&s->wanted, name);
    }
    return 0;
}

static int top(cli *c) {
    sampler s = {.c = c, .order = order_of(cli_text(&c->args, "sort", "cpu"))};
    bool table = c->format == CLI_TABLE || c->format == CLI_WIDE;
    int64_t interval = cli_number(&c->args, "interval", 1000);
    int64_t rounds = cli_number(&c->args, "count", 0);
    CLI_AUTO_FREE char *context = NULL;

    if (interval < 100 || interval > INT32_MAX)
        return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, NULL, "--interval: at least 100ms");
    if (cli_flag(&c->args, "follow") && cli_text(&c->args, "count", NULL))
        return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, NULL, "--follow and --count exclude each other");
    s.screen = table && isatty(STDOUT_FILENO) && rounds != 1;
    if (!rounds && !s.screen && !cli_flag(&c->args, "follow"))
        rounds = 1;
    int status = read_wanted(&s, &context);
    if (!status)
        s.connection = cli_connect(c, context, NULL, &status);
    if (s.connection) {
        if (s.screen)
            setvbuf(stdout, NULL, _IOFBF, 1 << 16); /* a screen is written at once, or it flickers */
        else
            cli_output_begin(c, &view);
        status = go_on(&s, interval, rounds);
        if (!s.screen)
            cli_output_end(c, status != 0);
    }
    samples_free(&s.before);
    samples_free(&s.now);
    cli_strings_free(&s.wanted);
    return status;
}

static const cli_option options[] = {
    {"all", 'a', CLI_FLAG, NULL, "also VMs that do not run"},
    {"count", 0, CLI_INTEGER, "N", "so many times (until ^C on a terminal, else once)"},
    {"follow", 'f', CLI_FLAG, NULL, "until ^C or --timeout, also where it is no terminal"},
    {"interval", 0, CLI_DURATION, "DUR", "the time between two samples (1s)"},
    {"sort", 0, CLI_CHOICE, "KEY", "what comes first: cpu (the default), memory, disk, network, name",
     "cpu memory disk network name"},
    {NULL}};

const cli_verb cli_verb_top = {
    .name = "top",
    .group = "look",
    .operands = "[VM...]",
    .summary = "what VMs use now: CPU, memory, disks, network",
    .help =
        "CPU is in per cent of one CPU of the host, so a VM with four CPUs may show 400. USED is what the guest says\n"
        "(its balloon driver), RESIDENT what the host gave it. All VMs are one question to the hypervisor a round.\n"
        "\n"
        "  vmctl top --sort memory\n"
        "  vmctl top web-1 -o jsonl --follow --interval 5s",
    .options = options,
    .max = -1,
    .hint = CLI_HINT_VM,
    .hint_rest = CLI_HINT_VM,
    .run = top,
};
