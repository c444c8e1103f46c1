/* drivers/kube/list.c - a collection, page by page, its items handed over as they come. */
#include "drivers/kube/client.h"
#include "drivers/kube/split.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = 500, MOST_CUTS = 5, CUT_PAUSE_MS = 200, MOST_EXPIRED = 5 };

typedef struct lister {
    kube_client *client;
    const char *path;
    const kube_list_options *o;
    const vmc_deadline *deadline;
    kube_item_fn item;
    void *user;

    kube_split *split;
    char *token; /* of the page that is read; NULL: the first */
    char *
        last; /* "NAMESPACE/NAME" of the item that was handed over last: etcd's order, so that a page can be taken up */
    bool skips;  /* what is not behind `last` was told already */
    int stopped; /* the callback's word */
    int cuts, expired;
    vmctl_error *broken; /* why the body could not be split */
} lister;

static const char *text_of(const cJSON *object, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

/* Free; NULL: it has no name (a row without its object). */
static char *place_of(const cJSON *item) {
    const cJSON *metadata = cJSON_GetObjectItemCaseSensitive(item, "metadata");
    if (!metadata)
        metadata = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(item, "object"), "metadata");
    const char *name = text_of(metadata, "name"), *name_space = text_of(metadata, "namespace");
    return name ? vmc_printf("%s/%s", name_space ? name_space : "", name) : NULL;
}

static int on_item(cJSON **item, void *user) {
    lister *l = user;
    char *place = place_of(*item);
    bool old = l->skips && place && l->last && strcmp(place, l->last) <= 0;
    if (old) {
        free(place);
        return 0;
    }
    free(l->last);
    l->last = place;
    l->stopped = l->item(item, l->user);
    return l->stopped;
}

static int on_bytes(const void *bytes, size_t length, void *user) {
    lister *l = user;
    return kube_split_feed(l->split, bytes, length, &l->broken);
}

/* One page. *rest: the list without its items; NULL with 0: the callback has seen enough. */
static int read_page(lister *l, kube_status *status, http_failure *failure, cJSON **rest, vmctl_error **err) {
    int page = l->o->page ? l->o->page : PAGE;
    char limit[16];
    snprintf(limit, sizeof limit, "%d", page);
    const char *more[5] = {NULL};
    size_t n = 0;
    if (page > 0) {
        more[n++] = "limit";
        more[n++] = limit;
    }
    if (l->token) {
        more[n++] = "continue";
        more[n++] = l->token;
    }
    const char **query = kube_query_join(l->o->query, more);
    kube_request request = {.path = l->path, .query = query, .accept = l->o->accept, .status = status};
    kube_exchange exchange = {.request = &request, .write = on_bytes, .user = l, .failure = failure};
    HTTP_AUTO_RESPONSE *response = NULL;
    l->split = kube_split_new(KUBE_SPLIT_LIST, l->o->managed_fields, on_item, l);
    int rc = kube_exchange_run(l->client, &exchange, l->deadline, &response, err);
    free(query);
    if (l->stopped != 0)
        rc = l->stopped < 0 ? l->stopped : 0;
    else if (l->broken)
        vmc_error_move(err, &l->broken);
    else if (rc == 0 && !kube_split_complete(l->split)) {
        *failure = HTTP_FAILURE_CUT;
        vmc_error(err, VMCTL_E_UNAVAILABLE, "the list of %s ended in its middle", l->path);
        rc = vmc_error_retryable(err);
    } else if (rc == 0) {
        *rest = kube_split_rest(l->split);
        if (!cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(*rest, "metadata"))) {
            cJSON_Delete(*rest);
            vmc_error(err, VMCTL_E_UNAVAILABLE, "the answer to the list of %s is no list", l->path);
            rc = kube_explain_rubbish(err);
        }
    }
    kube_split_free(l->split);
    l->split = NULL;
    return rc;
}

/* Whether the page is to be asked for again after a failure: the connection was cut, or the token is too old. */
static bool take_up(lister *l, const kube_status *status, http_failure failure) {
    if (status->http == 410 && ++l->expired < MOST_EXPIRED) {
        free(l->token);
        l->token = vmc_strdup(status->continue_token);
        l->skips = true; /* without a token it begins anew */
        return true;
    }
    if ((failure == HTTP_FAILURE_CUT || failure == HTTP_FAILURE_SILENT) && ++l->cuts < MOST_CUTS) {
        l->skips = true;
        return vmc_deadline_poll(l->deadline, -1, 0, CUT_PAUSE_MS, "listing", NULL) == 0;
    }
    return false;
}

static int run(lister *l, kube_status *status, char **version, vmctl_error **err) {
    for (;;) {
        http_failure failure = HTTP_FAILURE_NONE;
        cJSON *rest = NULL;
        vmctl_error *why = NULL;
        int rc = read_page(l, status, &failure, &rest, &why);
        if (rc < 0 && l->stopped == 0 && take_up(l, status, failure)) {
            vmctl_error_free(why);
            continue;
        }
        if (rc < 0 || l->stopped != 0) {
            if (why)
                vmc_error_move(err, &why);
            return rc;
        }
        const cJSON *metadata = cJSON_GetObjectItemCaseSensitive(rest, "metadata");
        const char *token = text_of(metadata, "continue");
        if (!*version)
            *version = vmc_strdup(text_of(metadata, "resourceVersion"));
        free(l->token);
        l->token = token && *token ? vmc_strdup(token) : NULL;
        l->cuts = 0;
        cJSON_Delete(rest);
        if (!l->token)
            return 0;
    }
}

int kube_list(kube_client *client, const char *path, const kube_list_options *options, const vmc_deadline *deadline,
              kube_item_fn item, void *user, vmctl_error **err) {
    kube_list_options o = options ? *options : (kube_list_options){0};
    lister l = {.client = client, .path = path, .o = &o, .deadline = deadline, .item = item, .user = user};
    KUBE_AUTO_STATUS own = {0};
    char *version = NULL;
    int rc = run(&l, o.status ? o.status : &own, &version, err);
    if (rc == 0 && o.resource_version) {
        *o.resource_version = version;
        version = NULL;
    }
    free(version);
    free(l.token);
    free(l.last);
    return rc;
}
