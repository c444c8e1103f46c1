/* drivers/kube/kube.h - a Kubernetes API server's client: kubeconfig, requests with typed errors, lists, watches, writes, discovery.
 *
 * It knows objects as cJSON and no kind of them. One client talks over one connection (HTTP/2) however many requests go at the same
 * time; only WebSockets have connections of their own. A client and its configuration may be used by several threads at once; callbacks run in the
 * thread that made the call. Warnings of the server (header Warning) go to the ears of the deadline's call as notes, each once per client.
 *
 * Sent again are only requests that the server itself asked to send again (429 and 5xx with Retry-After, at most ten times; a
 * create and an action only after 429), GET after a connection that was cut, and writes as said there. Source: Kubernetes API concepts; client-go,
 * rest/request.go and rest/with_retry.go.
 *
 * Secrets (tokens, passwords, keys) are in no error and in no log.
 */
#ifndef KUBE_H
#define KUBE_H

#include "base/deadline.h"
#include "base/error.h"
#include "base/str.h"
#include <cjson/cJSON.h>

/* ---- Configuration --------------------------------------------------------------------------------------------- */

typedef struct kube_config kube_config;

typedef struct kube_config_options {
    const char
        *file; /* this kubeconfig alone; NULL: the files of $KUBECONFIG merged, else ~/.kube/config, else the pod's
                               service account when this process runs in a pod */
    const char *context;    /* NULL: current-context */
    const char *name_space; /* instead of the context's; NULL */
    bool interactive;       /* an exec plugin may ask the person at the terminal */
} kube_config_options;

/* Reads and checks everything that the context names before anything is sent: a file that is missing or no certificate is told
 * with the kubeconfig's name, its line and the key. NOT_FOUND: no configuration, or no such context (the near one is named);
 * INVALID_ARGUMENT: a fault in a file. Runs no program. *out: kube_config_free. options may be NULL.
 * Source: "Organizing Cluster Access Using kubeconfig Files", "kubeconfig (v1)". */
int kube_config_load(const kube_config_options *options, kube_config **out, vmctl_error **err);
void kube_config_free(kube_config *config); /* NULL is allowed */
static inline void kube_config_free_ptr(kube_config **config) {
    kube_config_free(*config);
}
#define KUBE_AUTO_CONFIG vmc_cleanup(kube_config_free_ptr) kube_config

const char *kube_config_context(const kube_config *config);   /* "in-cluster" in a pod */
const char *kube_config_namespace(const kube_config *config); /* never NULL: "default" where none is said */
const char *kube_config_server(const kube_config *config);    /* URL without userinfo */
const char *kube_config_file(const kube_config *config);      /* that defines the context; NULL in a pod */

/* The names of all contexts that options->file or the merged files have, in their order; *current (may be NULL; free): current-context
 * or NULL. Nothing else of them is checked. */
int kube_config_contexts(const kube_config_options *options, vmc_strv *names, char **current, vmctl_error **err);

/* ---- Client ---------------------------------------------------------------------------------------------------- */

typedef struct kube_client kube_client;

/* Copies what it needs of config. Sends nothing and runs nothing yet. */
int kube_client_new(const kube_config *config, kube_client **out, vmctl_error **err);
void kube_client_free(kube_client *client); /* NULL is allowed; after the last call that uses it */
static inline void kube_client_free_ptr(kube_client **client) {
    kube_client_free(*client);
}
#define KUBE_AUTO_CLIENT vmc_cleanup(kube_client_free_ptr) kube_client

/* Counts what was sent that may change something: what was read at another count may be old. */
unsigned kube_client_writes(const kube_client *client);

const char *kube_client_namespace(const kube_client *client);
const char *kube_client_server(const kube_client *client);
const char *kube_client_context(const kube_client *client);
/* The authority (PEM) that the kubeconfig names for the server; NULL: the system's. For what the cluster shows beside its API. */
const char *kube_client_authority(const kube_client *client);

/* ---- Failures -------------------------------------------------------------------------------------------------- */

typedef struct kube_cause {
    char *reason, *message, *field; /* "FieldValueInvalid", words, "spec.running"; each may be NULL */
} kube_cause;

/* What the server said of a request that it refused: a Status object, or text. {0} is an empty one. */
typedef struct kube_status {
    int http;                  /* the HTTP status (of a watch's ERROR: its code); 0: the server has refused nothing */
    char *reason;              /* "AlreadyExists"; NULL where the server gives none (webhooks, text) */
    char *message;             /* never NULL once http is set */
    char *name, *group, *kind; /* details: of the object; NULL */
    char *continue_token;      /* of a 410 Expired; NULL */
    kube_cause *causes;
    size_t cause_count;
    int retry_after; /* seconds (header, else details.retryAfterSeconds); -1: the server said none */
    bool text;       /* no Status but text or nothing: of an API that is not there, of virt-api, of a proxy */
} kube_status;

void kube_status_clear(kube_status *status);
#define KUBE_AUTO_STATUS vmc_cleanup(kube_status_clear) kube_status

/* From an answer's parts; content_type, retry_after (the header's value) and body may be NULL. *status was empty. */
void kube_status_read(kube_status *status, int http, const char *content_type, const char *retry_after,
                      const void *body, size_t length);
/* The code of the closed set (vmctl/error.h) for a refused request; method and path say what was asked. 401 UNAUTHENTICATED, but
 * empty from an aggregated API PERMISSION_DENIED; 403 PERMISSION_DENIED (quota RESOURCE_EXHAUSTED, system:anonymous
 * UNAUTHENTICATED); 404 NOT_FOUND, as text UNSUPPORTED (the API itself is not there); 405, 406, 415 INTERNAL; 409 ALREADY_EXISTS,
 * of a subresource INVALID_STATE, else CONFLICT; 410 CONFLICT; 400, 422 INVALID_ARGUMENT; 429 BUSY; 504 TIMEOUT; 5xx
 * UNAVAILABLE, with "already underway" INVALID_STATE, for a field in an apply that the schema does not know INVALID_ARGUMENT. */
int kube_status_code(const kube_status *status, const char *method, const char *path);
/* The error for it: the server's words, its causes, the next step (which verb on which resource is denied, which API is not there).
 * Returns the code. */
int kube_status_error(const kube_status *status, const char *method, const char *path, vmctl_error **err);
/* PERMISSION_DENIED in the words of every refusal of RBAC's, for what a SelfSubjectAccessReview says beforehand. resource: "virtualmachines/start";
 * group "": the core; namespace_name NULL: at the cluster scope. */
int kube_denied(const char *verb, const char *group, const char *resource, const char *namespace_name,
                vmctl_error **err);

/* What is not known of a request that changes something, when it failed. */
typedef enum kube_loss {
    KUBE_LOSS_NONE, /* the server refused it, or it did not go out */
    KUBE_LOSS_CUT,  /* the connection broke, or was silent for too long, or the answer cannot be read */
    KUBE_LOSS_TOLD, /* the server, or one before it, gave up waiting (502, 504, etcd's time-outs) */
    KUBE_LOSS_LATE  /* the caller's deadline passed, or it was cancelled */
} kube_loss;

/* ---- Requests -------------------------------------------------------------------------------------------------- */

/* "/apis/GROUP/VERSION/namespaces/NS/PLURAL/NAME/SUB", with "/api/v1" for the empty group; name_space NULL: of the cluster or of all
 * namespaces; name and sub may be NULL; sub may have slashes ("portforward/22/tcp"). Each part is escaped. free. */
char *kube_path(const char *group, const char *version, const char *name_space, const char *plural, const char *name,
                const char *sub);

typedef struct kube_request {
    const char *method;       /* NULL: GET */
    const char *path;         /* from kube_path, or "/version" */
    const char *const *query; /* name, value, name, value ..., NULL; not escaped. NULL: none */
    const cJSON *body;        /* NULL: none */
    const char *bytes;        /* a body that is no cJSON, instead */
    size_t length;
    const char *content_type; /* NULL: application/json */
    const char
        *accept;  /* NULL: application/json, or else anything: KubeVirt's subresources insist on that second part */
    size_t limit; /* of the answer, bytes; 0: 64 MiB */
    kube_status *status; /* filled when the server refuses; emptied at the start; NULL */
    bool repeatable;     /* whatever its method: done twice is as done once, and it is sent again as a GET is */
    kube_loss *loss;     /* told when it failed, for who can find out; NULL: the error says that it is not known */
} kube_request;

/* "; whether it was done is not known", with what to look at. Returns the code. */
int kube_say_unknown(const char *path, vmctl_error **err);

/* One request. *out (may be NULL): the object of the answer (cJSON_Delete), NULL when its body is empty (KubeVirt's actions). The
 * codes of kube_status_code; UNAVAILABLE (connection, TLS), TIMEOUT, CANCELLED; INTERNAL for an answer that is no JSON. A 401 runs an
 * exec plugin once more, reads a token file once more, and asks once more. */
int kube_call(kube_client *client, const kube_request *request, const vmc_deadline *deadline, cJSON **out,
              vmctl_error **err);
/* The same for an answer of any type: *bytes (free; NUL-terminated; never NULL on success) and *type (free; may be NULL): its
 * Content-Type, "" when it has none. For pictures, logs and text. */
int kube_raw(kube_client *client, const kube_request *request, const vmc_deadline *deadline, char **bytes,
             size_t *length, char **type, vmctl_error **err);
/* The same for an answer that goes on for as long as the server likes (a log that is followed): each piece as it comes. Non-zero of `write`
 * ends it with success. */
int kube_stream(kube_client *client, const kube_request *request, const vmc_deadline *deadline,
                int (*write)(const void *bytes, size_t length, void *user), void *user, vmctl_error **err);
/* GET of something large: `get` has the headers, `head`, `write` and `failure` (drivers/http); its URL and authorization are the client's. Not
 * repeated, but for credentials that were old; refusals as in kube_call. */
struct http_request;
int kube_fetch(kube_client *client, const char *path, const struct http_request *get, const vmc_deadline *deadline,
               vmctl_error **err);
/* GET of one object. */
int kube_get(kube_client *client, const char *path, const vmc_deadline *deadline, cJSON **out, vmctl_error **err);

/* ---- WebSockets ------------------------------------------------------------------------------------------------ */

/* Opens one at a subresource: consoles, displays, forwarded ports. Of the request path, query and status are taken; subprotocol is
 * "plain.kubevirt.io" for KubeVirt. It has a connection of its own (HTTP/1.1) with the client's trust, proxy and credentials; a refusal, which comes
 * before the upgrade, is the same error that kube_call gives, and so is a 401. *out: websocket_free (drivers/websocket); it may outlive the client. */
struct websocket;
int kube_open_websocket(kube_client *client, const kube_request *request, const char *subprotocol,
                        const vmc_deadline *deadline, struct websocket **out, vmctl_error **err);

/* ---- Writes ---------------------------------------------------------------------------------------------------- */

typedef enum kube_validation { KUBE_STRICT, KUBE_WARN, KUBE_IGNORE } kube_validation;

typedef struct kube_write_options {
    bool dry_run;                 /* dryRun=All: everything is checked, nothing is kept */
    bool force;                   /* apply: takes fields over from other managers */
    kube_validation validation;   /* of fields that the schema does not know; 0: STRICT, an error */
    const char *uid;              /* delete: precondition; NULL */
    bool unique;                  /* delete: nobody else uses that name, so that what is there is what was there */
    const char *resource_version; /* delete: precondition; NULL */
    const char *propagation;      /* delete: "Foreground", "Background", "Orphan"; NULL: the server's default */
    int64_t grace_seconds;        /* delete: gracePeriodSeconds when has_grace */
    bool has_grace;
    kube_status *status; /* as in kube_request; NULL */
} kube_write_options;

/* All of these look at the object when their answer got lost: what was done is no failure then, and what was not is sent once more, being nothing
 * that can be done twice (a name that is taken, a resourceVersion that is old, a uid that is another's; a patch that changes nothing any
 * more). Where that cannot be told the error says so, and what to look at: with generateName, for a JSON patch, when the deadline has passed, for
 * a DELETE without uid of what was made at the same time, and for an apply that a server gave up (502, 504). A dry run is sent again as a GET is. */

/* POST to a collection, as field manager vmctl. options may be NULL, *out (cJSON_Delete) too; what had to be looked at has no resourceVersion in
 * *out, for it may have gone on since. */
int kube_create(kube_client *client, const char *path, const cJSON *object, const kube_write_options *options,
                const vmc_deadline *deadline, cJSON **out, vmctl_error **err);
/* PUT of a whole object; CONFLICT when its metadata.resourceVersion is old. */
int kube_update(kube_client *client, const char *path, const cJSON *object, const kube_write_options *options,
                const vmc_deadline *deadline, cJSON **out, vmctl_error **err);
/* Server-side apply as field manager vmctl. CONFLICT: fields of other managers (status.causes name them). */
int kube_apply(kube_client *client, const char *path, const cJSON *object, const kube_write_options *options,
               const vmc_deadline *deadline, cJSON **out, vmctl_error **err);
/* JSON merge patch (RFC 7396) of an object, and JSON patch (RFC 6902) of an array. A failed "test" is INVALID_ARGUMENT. */
int kube_patch(kube_client *client, const char *path, const cJSON *patch, const kube_write_options *options,
               const vmc_deadline *deadline, cJSON **out, vmctl_error **err);
/* *out: the object while finalizers hold it, or the Status of success; NULL: it is gone. */
int kube_delete(kube_client *client, const char *path, const kube_write_options *options, const vmc_deadline *deadline,
                cJSON **out, vmctl_error **err);

/* ---- Lists ----------------------------------------------------------------------------------------------------- */

/* An item. To keep it, take it (cJSON_Delete) and leave NULL in *item. Negative ends the list with that code (the callback keeps the
 * words for it), positive ends it with success. */
typedef int (*kube_item_fn)(cJSON **item, void *user);

typedef struct kube_list_options {
    const char *const *query; /* labelSelector, fieldSelector ...; as in kube_request; NULL */
    const char *accept;       /* NULL: whole objects; KUBE_METADATA_ONLY, KUBE_TABLE */
    int page;                 /* items a request; 0: 500; -1: all in one */
    bool managed_fields;      /* metadata.managedFields too: the half of an object, left out while reading otherwise */
    char **resource_version;  /* of its first page, so that a watch from it misses nothing; free; NULL */
    kube_status *status;
} kube_list_options;

#define KUBE_METADATA_ONLY "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"
/* The items are the rows: {"cells": [...], "object": {...}}. */
#define KUBE_TABLE "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"

/* All items of a collection, page by page, each handed over as it comes: no page is ever whole in memory. A connection that is cut in a page
 * is taken up where it broke. A continue token that expired is replaced by the server's fresh one: what changed meanwhile may then
 * be seen or not. Items have apiVersion and kind only where the server gives them. options may be NULL. */
int kube_list(kube_client *client, const char *path, const kube_list_options *options, const vmc_deadline *deadline,
              kube_item_fn item, void *user, vmctl_error **err);

/* ---- Watches --------------------------------------------------------------------------------------------------- */

typedef enum kube_event {
    KUBE_ADDED,
    KUBE_MODIFIED,
    KUBE_DELETED, /* its last state; only metadata.name, namespace and uid when it went while the watch was interrupted */
    KUBE_SYNCED /* no object: what was there at the start, or after an interruption, has all been told. At the start only
                     from servers that say so (Kubernetes 1.34 and later on etcd 3.5), else with list_first */
} kube_event;

/* As kube_item_fn; *object is NULL for KUBE_SYNCED. */
typedef int (*kube_event_fn)(kube_event event, cJSON **object, void *user);

typedef struct kube_watch_options {
    const char *const *query;     /* fieldSelector, labelSelector ...; NULL */
    const char *resource_version; /* changes after it; NULL: first what is there now (ADDED), in the same request */
    bool list_first;     /* without resource_version: list, then watch, so that SYNCED can be told: two requests */
    bool brief;          /* it ends soon: no bookmarks, which only a long watch is the better for */
    bool managed_fields; /* as in kube_list_options */
    kube_status *status;
} kube_watch_options;

/* Tells changes as the server sends them until the callback ends it, or the deadline or cancel comes (TIMEOUT, CANCELLED). It asks for bookmarks,
 * goes on from the last version after a connection that ended, and lists again when that version is too old (410): objects that did not
 * change are then not told again, those that went meanwhile are DELETED. A server that stays away for a minute ends
 * it (UNAVAILABLE). */
int kube_watch(kube_client *client, const char *path, const kube_watch_options *options, const vmc_deadline *deadline,
               kube_event_fn event, void *user, vmctl_error **err);

/* ---- Discovery ------------------------------------------------------------------------------------------------- */

/* What the server serves: groups, versions, resources. Kept on disk per cluster for six hours, as kubectl does. */
typedef struct kube_discovery kube_discovery;

/* One request (aggregated discovery; a server without it: one per group), none when the cache on disk has it and `fresh` is
 * false. A write decides by a fresh one. *out belongs to the client, is valid as long as it, and is the same for each call until one asks for
 * a fresh one. */
int kube_discover(kube_client *client, bool fresh, const vmc_deadline *deadline, const kube_discovery **out,
                  vmctl_error **err);
/* The version of a group that the server prefers, among `wanted` (NULL-terminated, best first; NULL: any); NULL: not served. Valid as long
 * as the discovery. */
const char *kube_discovery_version(const kube_discovery *discovery, const char *group, const char *const *wanted);
/* Whether it serves that resource ("virtualmachines" or "virtualmachines/start"). False for the core group (""), which is not asked
 * for: every server has it, its version is v1. */
bool kube_discovery_has(const kube_discovery *discovery, const char *group, const char *version, const char *resource);
/* The group is registered, but whoever serves it does not answer (virt-api is down): what it has is not known. */
bool kube_discovery_stale(const kube_discovery *discovery, const char *group);
/* The plural of a kind ("VirtualMachine" -> "virtualmachines"); *namespaced may be NULL. NULL: not served. */
const char *kube_discovery_plural(const kube_discovery *discovery, const char *group, const char *version,
                                  const char *kind, bool *namespaced);

#endif
