/* Progress on stderr: bars on a terminal (one line per VM), plain lines, or JSON lines. */
#include "cli.h"
#include "tree.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

/* The line of one VM (or of the work that is for no single VM). */
typedef struct cli_track {
    char *vm; /* NULL: no single VM */
    char *stage;
    char *device;
    vmctl_unit unit;
    uint64_t done, total;
    uint64_t bytes_per_second;
    int64_t remaining_ms, downtime_ms;
    int64_t told_ms; /* when it was last written */
    int told_percent;
    int64_t since_ms; /* when its stage began */
} cli_track;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static cli_track *tracks;
static size_t track_count;
static size_t lines_shown; /* bars that stand on the terminal now, above the cursor */
static bool bars;
static int64_t drawn_ms;
static pthread_t ticker; /* draws the bars once a second, so that their clocks go on */
static bool ticking;
static pthread_cond_t bars_ended = PTHREAD_COND_INITIALIZER;

static bool same(const char *a, const char *b) {
    return a == b || (a && b && !strcmp(a, b));
}

static int percent(const cli_track *t) {
    if (t->unit == VMCTL_UNIT_PERCENT)
        return t->done > 100 ? 100 : (int)t->done;
    return t->total ? (int)((double)t->done * 100.0 / (double)t->total) : -1;
}

/* ", 45 MiB/s, 3 s left, downtime 30 ms": what is known of it. */
static char *pace(const cli_track *t) {
    CLI_AUTO_FREE char *rate = t->bytes_per_second ? cli_human_bytes((double)t->bytes_per_second) : NULL;
    CLI_AUTO_FREE char *left =
        t->remaining_ms > 0 ? cli_printf(", %lld s left", (long long)(t->remaining_ms + 999) / 1000) : cli_strdup("");
    CLI_AUTO_FREE char *downtime =
        t->downtime_ms > 0 ? cli_printf(", downtime %lld ms", (long long)t->downtime_ms) : cli_strdup("");

    return cli_printf("%s%s%s%s%s", rate ? ", " : "", rate ? rate : "", rate ? "/s" : "", left, downtime);
}

static char *amount(const cli_track *t) {
    if (t->unit == VMCTL_UNIT_BYTES && (t->done || t->total)) {
        CLI_AUTO_FREE char *done = cli_human_bytes((double)t->done);
        CLI_AUTO_FREE char *total = t->total ? cli_human_bytes((double)t->total) : NULL;
        CLI_AUTO_FREE char *speed = pace(t);
        return cli_printf("%s%s%s%s", done, total ? " of " : "", total ? total : "", speed);
    }
    if (t->unit == VMCTL_UNIT_ITEMS && t->total)
        return cli_printf("%llu of %llu", (unsigned long long)t->done, (unsigned long long)t->total);
    return cli_strdup("");
}

static void erase(void) {
    for (; lines_shown; lines_shown--)
        fputs("\033[1A\033[2K", stderr);
}

static size_t terminal_width(void) {
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

static void draw_one(const cli_track *t, size_t width) {
    int p = percent(t);
    CLI_AUTO_FREE char *much = amount(t);
    CLI_AUTO_FREE char *rest = NULL;
    CLI_AUTO_FREE char *line = NULL;
    char bar[22];

    if (p >= 0) {
        memset(bar, '.', 20);
        memset(bar, '#', (size_t)(p / 5));
        bar[20] = '\0';
        rest = cli_printf("  [%s] %3d%%  %s", bar, p, much);
    } else {
        rest = cli_printf("  %llds  %s", (long long)(cli_now_ms() - t->since_ms) / 1000, much);
    }
    line = cli_printf("%s%s%s", t->vm ? t->vm : "", t->vm ? ": " : "", t->stage ? t->stage : "");
    CLI_AUTO_FREE char *safe = cli_printable(line);
    /* cut at a character's edge */
    size_t room = width > strlen(rest) + 2 ? width - strlen(rest) - 1 : 1, cut = strlen(safe);
    if (cut > room)
        for (cut = room; cut > 0 && ((unsigned char)safe[cut] & 0xc0) == 0x80; cut--)
            ;
    fprintf(stderr, "%.*s%s\n", (int)cut, safe, rest);
}

static void draw(void) {
    size_t width = terminal_width();

    for (size_t i = 0; i < track_count; i++)
        draw_one(&tracks[i], width);
    lines_shown = track_count;
    drawn_ms = cli_now_ms();
    fflush(stderr);
}

void cli_stderr_lock(void) {
    pthread_mutex_lock(&lock);
    erase();
}

void cli_stderr_unlock(void) {
    if (bars && track_count)
        draw();
    pthread_mutex_unlock(&lock);
}

static void track_free(cli_track *t) {
    free(t->vm);
    free(t->stage);
    free(t->device);
}

static void *tick(void *user) {
    (void)user;
    pthread_mutex_lock(&lock);
    while (bars) {
        struct timespec next;
        clock_gettime(CLOCK_REALTIME, &next);
        next.tv_sec++;
        if (pthread_cond_timedwait(&bars_ended, &lock, &next) != 0 && bars) {
            erase();
            draw();
        }
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

void cli_progress_end(void) {
    pthread_mutex_lock(&lock);
    erase();
    fflush(stderr);
    for (size_t i = 0; i < track_count; i++)
        track_free(&tracks[i]);
    free(tracks);
    tracks = NULL;
    track_count = 0;
    bars = false;
    bool join = ticking;
    ticking = false;
    pthread_cond_signal(&bars_ended);
    pthread_mutex_unlock(&lock);
    if (join)
        pthread_join(ticker, NULL);
}

void cli_progress_done(const char *vm) {
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < track_count; i++) {
        if (!same(tracks[i].vm, vm))
            continue;
        erase();
        track_free(&tracks[i]);
        memmove(&tracks[i], &tracks[i + 1], (track_count - i - 1) * sizeof *tracks);
        track_count--;
        if (bars)
            draw();
        break;
    }
    pthread_mutex_unlock(&lock);
}

static cli_track *track_of(const char *vm) {
    for (size_t i = 0; i < track_count; i++)
        if (same(tracks[i].vm, vm))
            return &tracks[i];
    tracks = cli_grow(tracks, track_count + 1, sizeof *tracks);
    tracks[track_count] = (cli_track){.vm = cli_strdup(vm), .told_percent = -1};
    return &tracks[track_count++];
}

/* A line when the stage changes, then at every tenth of it, at most one a second. */
static void tell_plain(cli_track *t, bool new_stage) {
    int p = percent(t);
    int64_t now = cli_now_ms();

    if (!new_stage && (p < 0 || p / 10 <= t->told_percent / 10 || (now - t->told_ms < 1000 && p < 100)))
        return;
    t->told_ms = now;
    t->told_percent = p;
    CLI_AUTO_FREE char *much = amount(t);
    CLI_AUTO_FREE char *share = p >= 0 ? cli_printf(" %d%%", p) : cli_strdup("");
    CLI_AUTO_FREE char *line = cli_printf("vmctl: %s%s%s%s%s%s", t->vm ? t->vm : "", t->vm ? ": " : "",
                                          t->stage ? t->stage : "", share, *much ? ", " : "", much);
    CLI_AUTO_FREE char *safe = cli_printable(line);
    fprintf(stderr, "%s\n", safe);
    fflush(stderr);
}

static void tell_json(cli_track *t, bool new_stage) {
    static const char *const units[] = {NULL, "bytes", "percent", "items"};
    int64_t now = cli_now_ms();

    if (!new_stage && now - t->told_ms < 200 && !(t->total && t->done >= t->total))
        return;
    t->told_ms = now;
    cJSON *line = cJSON_CreateObject();
    cJSON *p = cJSON_AddObjectToObject(line, "progress");
    cli_put(p, "vm", t->vm);
    cli_put(p, "stage", t->stage);
    cli_put(p, "device", t->device);
    if (t->unit > VMCTL_UNIT_NONE && t->unit <= VMCTL_UNIT_ITEMS) {
        cli_put(p, "unit", units[t->unit]);
        cli_put_number(p, "done", (double)t->done);
        if (t->total)
            cli_put_number(p, "total", (double)t->total);
    }
    if (t->bytes_per_second)
        cli_put_number(p, "bytesPerSecond", (double)t->bytes_per_second);
    if (t->remaining_ms > 0)
        cli_put_number(p, "remainingMs", (double)t->remaining_ms);
    if (t->downtime_ms > 0)
        cli_put_number(p, "downtimeMs", (double)t->downtime_ms);
    CLI_AUTO_FREE char *text = cJSON_PrintUnformatted(line);
    cJSON_Delete(line);
    if (text)
        fprintf(stderr, "%s\n", text);
    fflush(stderr);
}

static int on_progress(const vmctl_progress *progress, void *user) {
    cli *c = user;

    pthread_mutex_lock(&lock);
    cli_track *t = track_of(progress->vm);
    bool new_stage = !same(t->stage, progress->stage) || !same(t->device, progress->device);
    if (new_stage) {
        free(t->stage);
        free(t->device);
        t->stage = cli_strdup(progress->stage);
        t->device = cli_strdup(progress->device);
        t->since_ms = cli_now_ms();
        t->told_percent = -1;
    }
    t->unit = progress->unit;
    t->done = progress->done;
    t->total = progress->total;
    t->bytes_per_second = progress->bytes_per_second;
    t->remaining_ms = progress->remaining_ms;
    t->downtime_ms = progress->downtime_ms;
    if (c->progress == CLI_PROGRESS_PLAIN) {
        tell_plain(t, new_stage);
    } else if (c->progress == CLI_PROGRESS_JSON) {
        tell_json(t, new_stage);
    } else {
        bars = true;
        if (!ticking)
            ticking = pthread_create(&ticker, NULL, tick, NULL) == 0;
        if (new_stage || cli_now_ms() - drawn_ms >= 100) {
            erase();
            draw();
        }
    }
    pthread_mutex_unlock(&lock);
    return 0;
}

static void on_note(vmctl_note_level level, const char *text, void *user) {
    cli_note(user, level, text);
}

vmctl_call cli_call(cli *c) {
    vmctl_call call = VMCTL_CALL_INIT;

    call.cancel = c->cancel;
    call.note = on_note;
    call.user = c;
    if (c->progress != CLI_PROGRESS_NONE)
        call.progress = on_progress;
    if (c->deadline_ms >= 0) {
        int64_t left = c->deadline_ms - cli_now_ms();
        call.timeout_ms = left > 1 ? left : 1;
    }
    return call;
}
