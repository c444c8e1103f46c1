/* Uploads through CDI. Source: CDI's doc/upload.md and doc/datavolumes.md; CDIConfig, UploadTokenRequest. */
#include "upload.h"

#include "drivers/http/http.h"
#include "drivers/qemu_img/qemu_img.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_TRIES = 3, PAUSE_MS = 1000, MOST_PAUSE_MS = 60000, MOST_PAUSES = 30 };

/* --- sizes ------------------------------------------------------------------------------------------------------------- */

int kubevirt_file_bytes(const char *path, const vmc_deadline *deadline, uint64_t *bytes, vmctl_error **err) {
    qemu_img_kind kind;
    int code = qemu_img_expect(path, NULL, &kind, err);
    if (code < 0)
        return code;
    struct stat st;
    if (strcmp(kind.format, "raw") == 0 && stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
        *bytes = (uint64_t)st.st_size;
        return 0;
    }
    QEMU_IMG_AUTO_INFO info = {0};
    if (strcmp(kind.format, "qcow2") == 0) { /* its header says it, without a program */
        QEMU_IMG_AUTO_TABLE table = {0};
        code = qemu_img_snapshots(path, &table, err);
        info.virtual_bytes = table.virtual_bytes;
        info.backing = vmc_strdup(table.backing);
    } else {
        code = qemu_img_inspect(path, kind.format, deadline, &info, err);
    }
    if (code == 0 && (info.backing || info.data_file)) {
        vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s stands on another file, which the cluster has not", path);
        vmc_error_next(err, "vmctl image convert %s flat.qcow2 makes one that stands alone", path);
        return VMCTL_E_INVALID_ARGUMENT;
    }
    *bytes = info.virtual_bytes;
    return code;
}

int kubevirt_making_bytes(const char *path, void *user, int64_t *bytes, vmctl_error **err) {
    uint64_t found = 0;
    int code = kubevirt_file_bytes(path, user, &found, err);
    *bytes = (int64_t)found;
    return code;
}

/* --- waiting ----------------------------------------------------------------------------------------------------------- */

typedef struct awaiting {
    const char *phase; /* "UploadReady", "Succeeded" */
    bool began;        /* it was seen: gone means collected, as older CDIs do with what succeeded */
} awaiting;

static int settled(const cJSON *object, void *user, vmctl_error **err) {
    awaiting *a = user;
    bool to_the_end = strcmp(a->phase, "Succeeded") == 0;
    if (!object)
        return to_the_end && a->began ? 1 : vmc_error(err, VMCTL_E_NOT_FOUND, "the data volume was deleted meanwhile");
    a->began = true;
    const char *phase = vmc_json_string(object, "status.phase", "");
    if (strcmp(phase, a->phase) == 0 || strcmp(phase, "Succeeded") == 0)
        return 1;
    const cJSON *running = NULL, *condition;
    cJSON_ArrayForEach(condition, vmc_json_at(object, "status.conditions")) {
        if (strcmp(vmc_json_string(condition, "type", ""), "Running") == 0)
            running = condition;
    }
    const char *words = vmc_json_string(running, "message", "");
    const char *reason = vmc_json_string(running, "reason", "");
    bool hopeless = strcmp(phase, "Failed") == 0 || strcmp(reason, "ImagePullFailed") == 0;
    if (!hopeless)
        return 0;
    vmc_error(err, VMCTL_E_UNAVAILABLE, "CDI could not fill the data volume%s%s", *words ? ": " : "", words);
    vmc_error_hypervisor(err, *reason ? reason : NULL, *words ? words : phase);
    return VMCTL_E_UNAVAILABLE;
}

static int await(kubevirt_conn *conn, const kubevirt_volume *volume, const char *phase, const char *doing,
                 const vmc_deadline *deadline, vmctl_error **err) {
    kubevirt_vm named = {.namespace_name = (char *)volume->namespace_name,
                         .name = (char *)(volume->vm ? volume->vm : volume->name)};
    awaiting a = {.phase = phase};
    VMC_AUTO_FREE char *collection =
        kube_path(KUBEVIRT_CDI, "v1beta1", volume->namespace_name, "datavolumes", NULL, NULL);
    const kubevirt_waiting waiting = {
        .name = volume->name, .doing = doing, .settled = settled, .user = &a, .awaited = true};
    return kubevirt_wait_in(conn, &named, collection, &waiting, deadline, err);
}

int kubevirt_volume_wait(kubevirt_conn *conn, const kubevirt_volume *volume, const vmc_deadline *deadline,
                         vmctl_error **err) {
    VMC_AUTO_FREE char *doing = vmc_printf("waiting for CDI to fill %s", volume->name);
    return await(conn, volume, "Succeeded", doing, deadline, err);
}

/* --- the upload proxy -------------------------------------------------------------------------------------------------- */

typedef struct proxy {
    char *url;  /* "https://host/v1beta1/upload-async" */
    char *base; /* "https://host" */
    http_client *client;
} proxy;

static void proxy_free(proxy *p) {
    free(p->url);
    free(p->base);
    http_client_free(p->client);
}

static int proxy_find(kubevirt_conn *conn, proxy *p, const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_FREE char *path = kube_path(KUBEVIRT_CDI, "v1beta1", NULL, "cdiconfigs", "config", NULL);
    VMC_AUTO_JSON *config = NULL;
    int code = kube_get(conn->client, path, deadline, &config, err);
    if (code < 0)
        return code;
    const char *address = vmc_json_string(config, "status.uploadProxyURL", "");
    if (!*address) {
        vmc_error(err, VMCTL_E_UNSUPPORTED, "the cluster shows no upload proxy");
        vmc_error_next(err,
                       "expose the service cdi-uploadproxy, and set spec.config.uploadProxyURLOverride of its CDI; or "
                       "vmctl image upload URL, which the cluster fetches itself");
        return VMCTL_E_UNSUPPORTED;
    }
    size_t length = strlen(address);
    while (length && address[length - 1] == '/')
        length--;
    p->base = vmc_printf("%s%.*s", strstr(address, "://") ? "" : "https://", (int)length, address);
    p->url = vmc_printf("%s/v1beta1/upload-async", p->base);
    /* The proxy's certificate: of its own authority, else of one that the system trusts, or the cluster's. */
    const char *authority = vmc_json_string(config, "status.uploadProxyCA", NULL);
    return http_client_new(&(http_client_options){.ca_pem = authority}, &p->client, err);
}

/* A certificate that the system does not know may be the cluster's own. false: nothing else can be tried. */
static bool trust_cluster(kubevirt_conn *conn, proxy *p) {
    const char *authority = kube_client_authority(conn->client);
    http_client *other = NULL;
    if (!authority || http_client_new(&(http_client_options){.ca_pem = authority}, &other, NULL) < 0)
        return false;
    http_client_free(p->client);
    p->client = other;
    return true;
}

static int new_token(kubevirt_conn *conn, const kubevirt_volume *volume, const vmc_deadline *deadline,
                     char **authorization, vmctl_error **err) {
    VMC_AUTO_FREE char *path =
        kube_path("upload.cdi.kubevirt.io", "v1beta1", volume->namespace_name, "uploadtokenrequests", NULL, NULL);
    VMC_AUTO_JSON *request = cJSON_CreateObject();
    cJSON_AddStringToObject(request, "apiVersion", "upload.cdi.kubevirt.io/v1beta1");
    cJSON_AddStringToObject(request, "kind", "UploadTokenRequest");
    cJSON_AddStringToObject(vmc_json_map(request, "metadata"), "name", volume->name);
    cJSON_AddStringToObject(vmc_json_map(request, "spec"), "pvcName", volume->name);
    VMC_AUTO_JSON *answer = NULL;
    const kube_request post = {.method = "POST", .path = path, .body = request, .repeatable = true};
    int code = kube_call(conn->client, &post, deadline, &answer, err);
    if (code < 0)
        return code;
    cJSON *token = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(answer, "status"), "token");
    if (!cJSON_IsString(token))
        return vmc_error(err, VMCTL_E_INTERNAL, "CDI gave no token for the upload");
    vmc_wipe_free(*authorization);
    *authorization = vmc_printf("Bearer %s", token->valuestring);
    explicit_bzero(token->valuestring, strlen(token->valuestring));
    return 0;
}

/* --- sending ----------------------------------------------------------------------------------------------------------- */

typedef struct sending {
    const kubevirt_volume *volume;
    const vmc_deadline *deadline;
    int fd;
    uint64_t done, total;
    int failure; /* of the reading side: errno */
    bool began;
    vmctl_error *why;
} sending;

static ssize_t next_bytes(void *bytes, size_t size, void *user) {
    sending *s = user;
    s->began = true;
    ssize_t n = pread(s->fd, bytes, size, (off_t)s->done);
    if (n < 0)
        return vmc_error_errno(&s->why, errno, "the image cannot be read");
    s->done += (uint64_t)n;
    int code = vmc_progress(s->deadline, s->volume->vm, "uploading", s->volume->name, VMCTL_UNIT_BYTES, s->done,
                            s->total, &s->why);
    return code < 0 ? code : n;
}

/* Whether the proxy takes it now; *async: it answers before the image is written. Sends nothing yet. Source: virtctl's image-upload asks so
 * too. */
static int ask(kubevirt_conn *conn, proxy *p, const char *authorization, http_response **response,
               const vmc_deadline *deadline, vmctl_error **err) {
    http_failure failure = HTTP_FAILURE_NONE;
    http_request head = {
        .method = "HEAD", .url = p->url, .authorization = authorization, .max_retries = -1, .failure = &failure};
    vmctl_error *why = NULL;
    int code = http_perform(p->client, &head, deadline, response, &why);
    if (code < 0 && failure == HTTP_FAILURE_TLS && trust_cluster(conn, p)) {
        vmctl_error_free(why);
        why = NULL;
        code = http_perform(p->client, &head, deadline, response, &why);
    }
    if (code < 0) {
        vmc_error_prefix(&why, "CDI's upload proxy");
        vmc_error_next(&why, "check status.uploadProxyURL and uploadProxyCA of the CDIConfig \"config\"");
        vmc_error_move(err, &why);
    }
    return code;
}

/* The proxy's answer to HEAD: 1 go on, 0 later, negative. */
static int judge(proxy *p, const http_response *response, vmctl_error **err) {
    if (response->status == 404 && vmc_ends_with(p->url, "-async")) {
        p->url[strlen(p->url) - strlen("-async")] = '\0'; /* of before CDI 1.22 */
        return 0;
    }
    if (response->status == 401 || response->status == 503)
        return 0; /* the upload server is not quite there */
    http_request head = {.method = "HEAD", .url = p->url};
    int code = http_status_error(&head, response, err);
    return code < 0 ? code : 1;
}

/* Waits until the proxy takes it, with a token that is then fresh. */
static int get_ready(kubevirt_conn *conn, proxy *p, const kubevirt_volume *volume, char **authorization,
                     const vmc_deadline *deadline, vmctl_error **err) {
    for (int pauses = 0;; pauses++) {
        HTTP_AUTO_RESPONSE *response = NULL;
        int code = new_token(conn, volume, deadline, authorization, err);
        if (code == 0)
            code = ask(conn, p, *authorization, &response, deadline, err);
        if (code == 0)
            code = judge(p, response, err);
        if (code != 0)
            return code < 0 ? code : 0;
        if (pauses >= MOST_PAUSES)
            return http_status_error(&(http_request){.method = "HEAD"}, response, err);
        code = vmc_deadline_poll(deadline, -1, 0, PAUSE_MS, "waiting for CDI's upload proxy", err);
        if (code < 0)
            return code;
    }
}

static int send_once(proxy *p, sending *s, const char *authorization, bool *again, vmctl_error **err) {
    static const char *const headers[] = {"Content-Type: application/octet-stream", NULL};
    HTTP_AUTO_RESPONSE *response = NULL;
    http_failure failure = HTTP_FAILURE_NONE;
    http_request post = {.method = "POST",
                         .url = p->url,
                         .headers = headers,
                         .authorization = authorization,
                         .read = next_bytes,
                         .read_length = (int64_t)s->total,
                         .user = s,
                         .idle_ms = -1, /* the older way answers when the image is written */
                         .failure = &failure};
    s->done = 0;
    int code = http_perform(p->client, &post, s->deadline, &response, err);
    if (s->why) { /* the file, or a person who had enough */
        vmc_error_move(err, &s->why);
        return vmctl_error_code(*err);
    }
    *again = code < 0 ? failure == HTTP_FAILURE_CUT || failure == HTTP_FAILURE_CONNECT
                      : response->status == 401 || response->status == 429 || response->status >= 500;
    if (code == 0 && response->status == 429) {
        int64_t pause = http_retry_after_ms(http_response_header(response, "retry-after"));
        code = vmc_deadline_poll(s->deadline, -1, 0,
                                 (int)(pause > MOST_PAUSE_MS ? MOST_PAUSE_MS
                                       : pause < 0           ? PAUSE_MS
                                                             : pause),
                                 "waiting as CDI's upload proxy asked to", err);
    }
    return code < 0 ? code : http_status_error(&post, response, err);
}

/* What the cluster has of it, after a connection that was cut: 1 all. */
static int has_all(kubevirt_conn *conn, const kubevirt_volume *volume, const vmc_deadline *deadline) {
    VMC_AUTO_FREE char *path =
        kube_path(KUBEVIRT_CDI, "v1beta1", volume->namespace_name, "datavolumes", volume->name, NULL);
    VMC_AUTO_JSON *now = NULL;
    return kube_get(conn->client, path, deadline, &now, NULL) == 0 &&
           strcmp(vmc_json_string(now, "status.phase", ""), "Succeeded") == 0;
}

static int send_all(kubevirt_conn *conn, proxy *p, sending *s, vmctl_error **err) {
    char *authorization = NULL;
    int code = 0;
    for (int tries = 1;; tries++) {
        bool again = false;
        vmctl_error *why = NULL;
        code = await(conn, s->volume, "UploadReady", "waiting for CDI to take the image", s->deadline, err);
        if (code == 0)
            code = get_ready(conn, p, s->volume, &authorization, s->deadline, err);
        if (code < 0)
            break;
        code = send_once(p, s, authorization, &again, &why);
        if (code < 0 && again && has_all(conn, s->volume, s->deadline)) {
            vmctl_error_free(why);
            code = 0;
            break;
        }
        if (code == 0 || !again || tries >= MOST_TRIES) {
            vmc_error_move(code < 0 ? err : NULL, &why);
            break;
        }
        vmc_note(s->deadline, VMCTL_NOTE_WARNING, "the upload of %s was cut off and begins again: %s", s->volume->name,
                 why ? vmctl_error_message(why) : "");
        vmctl_error_free(why);
    }
    vmc_wipe_free(authorization);
    return code;
}

int kubevirt_upload_file(kubevirt_conn *conn, const kubevirt_volume *volume, const char *path,
                         const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return vmc_error_errno(err, errno, "cannot open %s", path);
    proxy p = {0};
    sending s = {.volume = volume, .deadline = deadline, .fd = fd, .total = (uint64_t)st.st_size};
    int code = proxy_find(conn, &p, deadline, err);
    if (code == 0)
        code = send_all(conn, &p, &s, err);
    proxy_free(&p);
    return code < 0 ? code : kubevirt_volume_wait(conn, volume, deadline, err);
}
