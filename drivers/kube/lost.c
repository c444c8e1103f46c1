/* drivers/kube/lost.c - a write to its end, also where its answer was lost: the object tells whether it was done, and what cannot be done twice is
 * sent once more. Sources: Kubernetes API concepts (resourceVersion, preconditions, generateName); RFC 7396; RFC 9110, 9.2.2. */
#include "drivers/kube/lost.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SKEW_SECONDS = 2 };

static cJSON *item_of(const cJSON *map, const char *name) {
    return cJSON_GetObjectItemCaseSensitive(map, name);
}

static const char *metadata_of(const cJSON *object, const char *name) {
    const cJSON *text = item_of(item_of(object, "metadata"), name);
    return cJSON_IsString(text) ? text->valuestring : NULL;
}

/* ---- What an object shows ---- */

/* Whether `there` has everything of `asked`; a server only adds. */
static bool contains(const cJSON *there, const cJSON *asked) {
    const cJSON *item;
    if (cJSON_IsObject(asked)) {
        cJSON_ArrayForEach(item, asked) {
            const cJSON *found = item_of(there, item->string);
            if (!cJSON_IsNull(item) && (!found || !contains(found, item)))
                return false;
        }
        return cJSON_IsObject(there);
    }
    if (cJSON_IsArray(asked)) {
        const cJSON *found = cJSON_IsArray(there) ? there->child : NULL;
        cJSON_ArrayForEach(item, asked) {
            if (!found || !contains(found, item))
                return false;
            found = found->next;
        }
        return cJSON_IsArray(there) && !found;
    }
    return cJSON_Compare(there, asked, true);
}

/* Whether a merge patch would change nothing any more. Of a list that the server completes it says no. */
static bool holds(const cJSON *there, const cJSON *patch) {
    const cJSON *item;
    if (!cJSON_IsObject(patch))
        return cJSON_Compare(there, patch, true);
    cJSON_ArrayForEach(item, patch) {
        const cJSON *found = item_of(there, item->string);
        if (cJSON_IsNull(item) ? found != NULL : !holds(found, item))
            return false;
    }
    return true;
}

/* Whether it was made since a request of `elapsed_ms` ago, by the server's own clock. */
static bool is_recent(const cJSON *object, const http_response *response, int64_t elapsed_ms) {
    const char *made = metadata_of(object, "creationTimestamp");
    const char *date = http_response_header(response, "date");
    struct tm then = {0}, now = {0};
    if (!made || !date || !strptime(made, "%Y-%m-%dT%H:%M:%SZ", &then) ||
        !strptime(date, "%a, %d %b %Y %H:%M:%S GMT", &now))
        return false;
    return timegm(&then) >= timegm(&now) - elapsed_ms / 1000 - SKEW_SECONDS;
}

typedef enum sight {
    DONE,
    NOT_YET,
    NEVER, /* it is not to be asked for again: *err says why */
    UNCLEAR
} sight;

static sight see_creation(const kube_writing *w, cJSON *object, bool recent, vmctl_error **err) {
    if (!object)
        return NOT_YET;
    if (recent && contains(object, w->request->body)) {
        /* It may have gone on since it was made: who waits from here would wait for what has been. */
        cJSON_DeleteItemFromObjectCaseSensitive(item_of(object, "metadata"), "resourceVersion");
        return DONE;
    }
    vmc_error(err, VMCTL_E_ALREADY_EXISTS, "%s is there, and is not what was to be created", w->object);
    return NEVER;
}

static sight see_change(const kube_writing *w, const cJSON *object, vmctl_error **err) {
    if (!object) {
        vmc_error(err, VMCTL_E_NOT_FOUND, "%s is not there any more", w->object);
        return NEVER;
    }
    cJSON *asked = cJSON_Duplicate(w->request->body, true);
    cJSON_DeleteItemFromObjectCaseSensitive(item_of(asked, "metadata"), "resourceVersion");
    bool done = holds(object, asked);
    cJSON_Delete(asked);
    return done ? DONE : NOT_YET;
}

/* One that was there before the request is the one that it meant, whatever it was told of its uid. */
static sight see_deletion(kube_writing *w, const cJSON *object, bool recent) {
    const char *uid = metadata_of(object, "uid");
    cJSON *preconditions = item_of(w->body, "preconditions");
    const cJSON *wanted = item_of(preconditions, "uid");
    if (!object || metadata_of(object, "deletionTimestamp"))
        return DONE;
    if (cJSON_IsString(wanted))
        return uid && strcmp(uid, wanted->valuestring) == 0 ? NOT_YET : DONE;
    if ((recent && !w->unique) || !uid)
        return UNCLEAR;
    if (!preconditions)
        preconditions = cJSON_AddObjectToObject(w->body, "preconditions");
    cJSON_AddStringToObject(preconditions, "uid", uid);
    return NOT_YET;
}

static sight look(kube_writing *w, const vmc_deadline *deadline, cJSON **out, vmctl_error **err) {
    KUBE_AUTO_STATUS status = {0};
    kube_request get = {.path = w->object, .status = &status};
    HTTP_AUTO_RESPONSE *response = NULL;
    vmctl_error *why = NULL;
    int rc = kube_exchange_run(w->client, &(kube_exchange){.request = &get}, deadline, &response, &why);
    vmctl_error_free(why);
    if (rc < 0 && !(rc == VMCTL_E_NOT_FOUND && !status.text))
        return UNCLEAR;
    cJSON *object = rc == 0 ? cJSON_ParseWithLength(response->body, response->length) : NULL;
    if (rc == 0 && !object)
        return UNCLEAR;
    bool recent = object && is_recent(object, response, vmc_now_ms() - w->began_ms);
    sight seen = w->kind == KUBE_WRITE_CREATE   ? see_creation(w, object, recent, err)
                 : w->kind == KUBE_WRITE_DELETE ? see_deletion(w, object, recent)
                                                : see_change(w, object, err);
    if (seen == DONE)
        *out = object;
    else
        cJSON_Delete(object);
    return seen;
}

/* ---- Sending ---- */

/* "virtualmachines/web-1 in vms": the end of the path. free */
static char *shown(const char *path) {
    const char *space = strstr(path, "/namespaces/");
    if (!space || !strchr(space + 12, '/'))
        return vmc_strdup(path);
    space += 12;
    size_t length = strcspn(space, "/");
    return vmc_printf("%s in %.*s", space + length + 1, (int)length, space);
}

int kube_say_unknown(const char *path, vmctl_error **err) {
    VMC_AUTO_FREE char *what = shown(path);
    vmc_error_append(err, "; whether it was done is not known");
    return vmc_error_next(err, "look at %s as it is now, before it is asked for again", what);
}

static void give(cJSON *object, cJSON **out) {
    if (out)
        *out = object;
    else
        cJSON_Delete(object);
}

int kube_write(kube_writing *w, const vmc_deadline *deadline, cJSON **out, vmctl_error **err) {
    kube_loss loss = KUBE_LOSS_NONE;
    kube_request request = *w->request;
    request.loss = &loss;
    w->request = &request;
    w->began_ms = vmc_now_ms();
    for (int tries = 0;; tries++) {
        cJSON *object = NULL;
        vmctl_error *why = NULL, *other = NULL;
        int rc = kube_call(w->client, &request, deadline, &object, &why);
        /* The second one is refused where the first came through after all. */
        bool overtaken = tries > 0 && loss == KUBE_LOSS_NONE && rc < 0;
        if (loss == KUBE_LOSS_NONE && !overtaken) {
            vmc_error_move(rc < 0 ? err : NULL, &why);
            give(object, out);
            return rc;
        }
        bool again = tries == 0 && loss == KUBE_LOSS_CUT && w->object;
        bool shows = w->object && loss != KUBE_LOSS_LATE && w->kind != KUBE_WRITE_APPLY;
        sight seen = shows ? look(w, deadline, &object, &other) : again ? NOT_YET : UNCLEAR;
        if (seen == DONE) {
            vmctl_error_free(why);
            if (request.status)
                kube_status_clear(request.status);
            give(object, out);
            return 0;
        }
        if (seen == NEVER && !overtaken) {
            vmctl_error_free(why);
            rc = vmctl_error_code(other);
            vmc_error_move(err, &other);
            return rc;
        }
        vmctl_error_free(other);
        if (seen == NOT_YET && again) {
            vmctl_error_free(why);
            continue;
        }
        if (!overtaken)
            kube_say_unknown(w->object ? w->object : request.path, &why);
        vmc_error_move(err, &why);
        return rc;
    }
}
