/* drivers/kube/watch.c - changes as they come, over interruptions. */
#include "drivers/kube/client.h"
#include "drivers/kube/split.h"
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The server is asked to end the stream by itself now and then: a connection that a middle box has forgotten is found so. */
enum { STREAM_SECONDS = 290, SPREAD_SECONDS = 20, QUIET_SECONDS = 30 };
enum { FIRST_PAUSE_MS = 250, LONGEST_PAUSE_MS = 10000, AWAY_MS = 60000, HEALTHY_MS = 1000 };

/* An object that was told. */
typedef struct known {
    char *place; /* "NAMESPACE/NAME" */
    char *uid, *version;
    unsigned round; /* of the list that had it last */
} known;

typedef struct watcher {
    kube_client *client;
    const char *path;
    const kube_watch_options *o;
    const vmc_deadline *deadline;
    kube_event_fn event;
    void *user;

    kube_status *status;
    char *version; /* to go on from; NULL: none yet */
    bool list;     /* the version is too old, or there is to be a list first */
    void *known;   /* tsearch(3) tree */
    unsigned round;
    int stopped;
    bool heard;     /* of the stream that is read: something came */
    bool bookmarks; /* are asked for */
    kube_split *split;
    vmctl_error *broken;
    int pauses;
    int64_t away_since; /* -1: it answers */
} watcher;

static int by_place(const void *a, const void *b) {
    return strcmp(((const known *)a)->place, ((const known *)b)->place);
}

static void free_known(void *node) {
    known *k = node;
    free(k->place);
    free(k->uid);
    free(k->version);
    free(k);
}

static const char *text_of(const cJSON *object, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

static char *place_of(const cJSON *metadata) {
    const char *name = text_of(metadata, "name"), *name_space = text_of(metadata, "namespace");
    return vmc_printf("%s/%s", name_space ? name_space : "", name ? name : "");
}

static known *find(watcher *w, char *place) {
    known wanted = {.place = place};
    void *node = tfind(&wanted, &w->known, by_place);
    return node ? *(known **)node : NULL;
}

static void set_text(char **to, const char *text) {
    free(*to);
    *to = vmc_strdup(text);
}

static void remember(watcher *w, const cJSON *metadata) {
    char *place = place_of(metadata);
    known *k = find(w, place);
    if (k) {
        free(place);
    } else {
        k = vmc_alloc(sizeof *k);
        k->place = place;
        tsearch(k, &w->known, by_place);
    }
    set_text(&k->uid, text_of(metadata, "uid"));
    set_text(&k->version, text_of(metadata, "resourceVersion"));
    k->round = w->round;
}

static void forget(watcher *w, const cJSON *metadata) {
    VMC_AUTO_FREE char *place = place_of(metadata);
    known *k = find(w, place);
    if (!k)
        return;
    tdelete(k, &w->known, by_place);
    free_known(k);
}

/* Objects that are there at the start come in any order: a version goes forward only. Versions that are no numbers follow the
 * order of the events. Source: KEP-5504, comparable resource versions. */
static void go_forward(watcher *w, const char *version) {
    if (!version || !*version)
        return;
    char *end, *old_end = NULL;
    unsigned long long number = strtoull(version, &end, 10);
    unsigned long long old = w->version ? strtoull(w->version, &old_end, 10) : 0;
    if (w->version && *end == '\0' && old_end && *old_end == '\0' && number <= old)
        return;
    set_text(&w->version, version);
}

static int tell(watcher *w, kube_event event, cJSON **object) {
    w->stopped = w->event(event, object, w->user);
    return w->stopped;
}

/* ---- A list instead of changes ---- */

static cJSON *minimal(const known *k) {
    cJSON *object = cJSON_CreateObject(), *metadata = cJSON_AddObjectToObject(object, "metadata");
    const char *slash = strchr(k->place, '/');
    VMC_AUTO_FREE char *name_space = vmc_strndup(k->place, (size_t)(slash - k->place));
    cJSON_AddStringToObject(metadata, "name", slash + 1);
    if (*name_space)
        cJSON_AddStringToObject(metadata, "namespace", name_space);
    if (k->uid)
        cJSON_AddStringToObject(metadata, "uid", k->uid);
    return object;
}

static int tell_gone(watcher *w, const known *k) {
    cJSON *object = minimal(k);
    int rc = tell(w, KUBE_DELETED, &object);
    cJSON_Delete(object);
    return rc;
}

static int on_listed(cJSON **item, void *user) {
    watcher *w = user;
    const cJSON *metadata = cJSON_GetObjectItemCaseSensitive(*item, "metadata");
    VMC_AUTO_FREE char *place = place_of(metadata);
    const known *k = find(w, place);
    bool same = k && vmc_str_eq(k->uid, text_of(metadata, "uid"));
    bool changed = !same || !vmc_str_eq(k->version, text_of(metadata, "resourceVersion"));
    if (k && !same && tell_gone(w, k) != 0)
        return w->stopped;
    remember(w, metadata);
    return changed ? tell(w, same ? KUBE_MODIFIED : KUBE_ADDED, item) : 0;
}

typedef struct collection {
    unsigned round;
    known **old;
    size_t count;
} collection;

static void collect_old(const void *node, VISIT visit, void *user) {
    collection *c = user;
    known *k = *(known *const *)node;
    if ((visit != postorder && visit != leaf) || k->round == c->round)
        return;
    c->old = vmc_realloc(c->old, c->count + 1, sizeof(known *));
    c->old[c->count++] = k;
}

static int list_again(watcher *w, vmctl_error **err) {
    char *version = NULL;
    w->round++;
    kube_list_options o = {.query = w->o->query,
                           .managed_fields = w->o->managed_fields,
                           .resource_version = &version,
                           .status = w->status};
    int rc = kube_list(w->client, w->path, &o, w->deadline, on_listed, w, err);
    if (rc < 0 || w->stopped != 0) {
        free(version);
        return rc;
    }
    free(w->version);
    w->version = version;
    w->list = false;
    collection c = {.round = w->round};
    twalk_r(w->known, collect_old, &c);
    for (size_t i = 0; i < c.count; i++) {
        if (w->stopped == 0)
            (void)tell_gone(w, c.old[i]);
        tdelete(c.old[i], &w->known, by_place);
        free_known(c.old[i]);
    }
    free(c.old);
    if (w->stopped == 0) {
        cJSON *none = NULL;
        (void)tell(w, KUBE_SYNCED, &none);
    }
    return w->stopped < 0 ? w->stopped : 0;
}

/* ---- The stream ---- */

static void status_of_event(watcher *w, const cJSON *object) {
    char *text = cJSON_PrintUnformatted(object);
    const cJSON *code = cJSON_GetObjectItemCaseSensitive(object, "code");
    kube_status_clear(w->status);
    kube_status_read(w->status, cJSON_IsNumber(code) && code->valueint >= 400 ? code->valueint : 500,
                     "application/json", NULL, text, strlen(text));
    free(text);
}

/* Where a stream without a version ends what was there and begins what changes. Source: KEP-3157, watch list. */
static bool ends_initial_events(const cJSON *metadata) {
    const cJSON *annotations = cJSON_GetObjectItemCaseSensitive(metadata, "annotations");
    return vmc_str_eq(text_of(annotations, "k8s.io/initial-events-end"), "true");
}

static int on_bookmark(watcher *w, const cJSON *metadata) {
    cJSON *none = NULL;
    return ends_initial_events(metadata) ? tell(w, KUBE_SYNCED, &none) : 0;
}

static int on_event(cJSON **line, void *user) {
    watcher *w = user;
    const char *type = text_of(*line, "type");
    cJSON *object = cJSON_DetachItemFromObjectCaseSensitive(*line, "object");
    const cJSON *metadata = cJSON_GetObjectItemCaseSensitive(object, "metadata");
    int rc = 0;
    if (!type || !object) {
        vmc_error(&w->broken, VMCTL_E_UNAVAILABLE, "an event of %s has no type or no object", w->path);
        rc = kube_explain_rubbish(&w->broken);
    } else if (strcmp(type, "ERROR") == 0) {
        status_of_event(w, object);
        rc = 1;
    } else {
        w->heard = true;
        go_forward(w, text_of(metadata, "resourceVersion"));
        kube_event event = strcmp(type, "DELETED") == 0    ? KUBE_DELETED
                           : strcmp(type, "MODIFIED") == 0 ? KUBE_MODIFIED
                                                           : KUBE_ADDED;
        if (event == KUBE_DELETED)
            forget(w, metadata);
        else if (strcmp(type, "BOOKMARK") != 0)
            remember(w, metadata);
        rc = strcmp(type, "BOOKMARK") == 0 ? on_bookmark(w, metadata) : tell(w, event, &object);
    }
    cJSON_Delete(object);
    return rc;
}

static int on_bytes(const void *bytes, size_t length, void *user) {
    watcher *w = user;
    return kube_split_feed(w->split, bytes, length, &w->broken);
}

/* One stream to its end. 0: it ended (w->stopped, or a refusal in w->status). */
static int read_stream(watcher *w, vmctl_error **err) {
    int seconds = STREAM_SECONDS + (int)(vmc_now_ms() % SPREAD_SECONDS);
    char timeout[16];
    snprintf(timeout, sizeof timeout, "%d", seconds);
    const char *more[9] = {"watch", "true", "timeoutSeconds", timeout};
    size_t n = 4;
    if (w->bookmarks || w->version) {
        more[n++] = "allowWatchBookmarks";
        more[n++] = "true";
    }
    if (w->version) {
        more[n++] = "resourceVersion";
        more[n++] = w->version;
    }
    const char **query = kube_query_join(w->o->query, more);
    kube_request request = {.path = w->path, .query = query, .status = w->status};
    kube_exchange exchange = {
        .request = &request, .write = on_bytes, .user = w, .idle_ms = (int64_t)(seconds + QUIET_SECONDS) * 1000};
    HTTP_AUTO_RESPONSE *response = NULL;
    w->split = kube_split_new(KUBE_SPLIT_STREAM, w->o->managed_fields, on_event, w);
    w->heard = false;
    int rc = kube_exchange_run(w->client, &exchange, w->deadline, &response, err);
    free(query);
    kube_split_free(w->split);
    w->split = NULL;
    if (w->stopped != 0)
        return w->stopped < 0 ? w->stopped : 0;
    if (w->broken) {
        rc = vmctl_error_code(w->broken);
        vmc_error_move(err, &w->broken);
    }
    return rc;
}

/* A server whose etcd cannot tell progress (3.4) refuses bookmarks of a stream without a version, and gives it without them. */
static bool drop_bookmarks(watcher *w) {
    if (w->version || w->heard || !w->bookmarks || w->status->http < 500)
        return false;
    w->bookmarks = false;
    return true;
}

/* After an end that is none of the caller's: 0, it goes on (after a pause), or the failure's code. */
static int go_on(watcher *w, int rc, int64_t lived_ms, vmctl_error **why, vmctl_error **err) {
    bool local = w->status->http == 0;
    if (rc == 0 && !local) /* ERROR in the stream */
        rc = w->status->http == 410 ? 0 : kube_status_error(w->status, "GET", w->path, why);
    bool expired = w->status->http == 410;
    bool passes = rc == 0 || expired || (vmctl_error_retryable(*why) && (rc != VMCTL_E_TIMEOUT || !local));
    if (!passes) {
        vmc_error_move(err, why);
        return rc;
    }
    if (expired)
        w->list = true;
    bool healthy = w->heard || (rc == 0 && lived_ms >= HEALTHY_MS);
    int64_t now = vmc_now_ms();
    if (healthy) {
        w->pauses = 0;
        w->away_since = -1;
    } else if (w->away_since < 0 && rc < 0 && !expired) {
        w->away_since = now;
    }
    if (w->away_since >= 0 && now - w->away_since >= AWAY_MS) {
        vmc_error_move(err, why);
        return rc;
    }
    vmctl_error_free(*why);
    *why = NULL;
    if (healthy || (expired && w->pauses++ == 0))
        return 0;
    int64_t pause = (int64_t)FIRST_PAUSE_MS << (w->pauses < 6 ? w->pauses : 6);
    w->pauses++;
    return vmc_deadline_poll(w->deadline, -1, 0, (int)(pause < LONGEST_PAUSE_MS ? pause : LONGEST_PAUSE_MS),
                             "waiting for the API server", err);
}

static int run(watcher *w, vmctl_error **err) {
    for (;;) {
        vmctl_error *why = NULL;
        int64_t began = vmc_now_ms();
        bool listing = w->list;
        int rc = listing ? list_again(w, &why) : read_stream(w, &why);
        if (w->stopped != 0) {
            vmctl_error_free(why);
            return w->stopped < 0 ? w->stopped : 0;
        }
        if (rc == 0 && ((listing && !w->list) || (!listing && drop_bookmarks(w))))
            continue; /* the stream follows */
        rc = go_on(w, rc, vmc_now_ms() - began, &why, err);
        if (rc < 0)
            return rc;
    }
}

int kube_watch(kube_client *client, const char *path, const kube_watch_options *options, const vmc_deadline *deadline,
               kube_event_fn event, void *user, vmctl_error **err) {
    kube_watch_options o = options ? *options : (kube_watch_options){0};
    KUBE_AUTO_STATUS own = {0};
    watcher w = {.client = client,
                 .path = path,
                 .o = &o,
                 .deadline = deadline,
                 .event = event,
                 .user = user,
                 .status = o.status ? o.status : &own,
                 .version = vmc_strdup(o.resource_version),
                 .bookmarks = !o.brief,
                 .list = o.list_first && !o.resource_version,
                 .away_since = -1};
    kube_status_clear(w.status);
    int rc = run(&w, err);
    tdestroy(w.known, free_known);
    free(w.version);
    return rc;
}
