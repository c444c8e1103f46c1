/* Images out of the cluster: a VirtualMachineExport of the claim, whose server is read from. Source: KubeVirt's user guide, storage/export_api;
 * v1.VirtualMachineExport; FX/199, 200. */
#include "ops.h"

#include "base/base64.h"
#include "base/file.h"
#include "base/random.h"
#include "drivers/http/http.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GROUP "export.kubevirt.io"
#define MARK  "vmctl.dev/download" /* annotation: which download made it */
/* An export that nobody removes is removed by KubeVirt after so long. */
#define LIFETIME "12h"

enum { MOST_CUTS = 5, BLOCK = 65536, PROXY_MS = 30000, PROXY_PAUSE_MS = 200 };

/* --- the export -------------------------------------------------------------------------------------------------------- */

typedef struct downloading {
    kubevirt_conn *conn;
    const vmc_deadline *deadline;
    char *namespace_name;
    const char *claim;
    const char *file; /* in the claim's file system; NULL: the claim is a disk */
    const char *version;
    char *export;  /* its name */
    char *detail;  /* of the journal */
    cJSON *ready;  /* the export, once it serves */
    char *url;     /* of the bytes, from outside of the cluster */
    char *proxied; /* instead: a path of the API server */
    char *token;   /* header */
    char *etag;    /* of the bytes so far; NULL */
    http_client *client;
    int fd;
    const char *path;
    uint64_t at, total; /* total 0: not told */
    bool took;          /* some came since the last cut */
    vmctl_error *why;   /* of the writing side */
} downloading;

static void downloading_free(downloading *d) {
    free(d->namespace_name);
    free(d->export);
    free(d->detail);
    cJSON_Delete(d->ready);
    free(d->url);
    free(d->proxied);
    vmc_wipe_free(d->token);
    free(d->etag);
    http_client_free(d->client);
    if (d->fd >= 0)
        close(d->fd);
    vmctl_error_free(d->why);
}

static int make_export(downloading *d, vmc_journal *journal, vmctl_error **err) {
    char mark[VMC_UUID_BYTES];
    vmc_uuid_new(mark);
    d->export = vmc_printf("vmctl-download-%.8s", mark);
    VMC_AUTO_FREE char *path = kube_path(GROUP, d->version, d->namespace_name, "virtualmachineexports", NULL, NULL);
    d->detail = vmc_printf("%s/%s %s", d->namespace_name, d->export, mark);
    VMC_AUTO_JSON *object = cJSON_CreateObject();
    VMC_AUTO_FREE char *api = vmc_printf(GROUP "/%s", d->version);
    cJSON_AddStringToObject(object, "apiVersion", api);
    cJSON_AddStringToObject(object, "kind", "VirtualMachineExport");
    cJSON *metadata = vmc_json_map(object, "metadata");
    cJSON_AddStringToObject(metadata, "name", d->export);
    cJSON_AddStringToObject(vmc_json_map(metadata, "labels"), KUBEVIRT_LABEL_MANAGED, "vmctl");
    cJSON_AddStringToObject(vmc_json_map(metadata, "annotations"), MARK, mark);
    cJSON *spec = vmc_json_map(object, "spec");
    cJSON *source = vmc_json_map(spec, "source");
    cJSON_AddStringToObject(source, "apiGroup", "");
    cJSON_AddStringToObject(source, "kind", "PersistentVolumeClaim");
    cJSON_AddStringToObject(source, "name", d->claim);
    cJSON_AddStringToObject(spec, "ttlDuration", LIFETIME);
    size_t noted = 0;
    int code = vmc_journal_add(journal, "export", d->detail, &noted, err);
    if (code < 0)
        return code;
    code = kube_create(d->conn->client, path, object, NULL, d->deadline, NULL, err);
    if (code < 0 && !vmc_outcome_unknown(code))
        vmc_journal_drop(journal, noted, NULL);
    return code < 0 ? vmc_error_prefix(err, "an export of %s", d->claim) : 0;
}

/* export NAMESPACE/NAME MARK. The secret of its token, its service and its pod are its own, and go with it. */
int kubevirt_export_undo(kubevirt_conn *conn, const char *detail, const vmc_deadline *deadline, vmctl_error **err) {
    static const char *const wanted[] = {"v1", "v1beta1", "v1alpha1", NULL};
    KUBEVIRT_AUTO_MARKED made = {0};
    const char *version = NULL;
    int code = kubevirt_marked_read("export", detail, &made, err);
    if (code < 0)
        return code;
    vmctl_error *why = NULL;
    code = kubevirt_version_of(conn, GROUP, wanted, "", deadline, &version, &why);
    if (code == VMCTL_E_NOT_FOUND || code == VMCTL_E_UNSUPPORTED) { /* no exports are served any more */
        vmctl_error_free(why);
        return 0;
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    if (code < 0)
        return code;
    VMC_AUTO_FREE char *path = kube_path(GROUP, version, made.namespace_name, "virtualmachineexports", made.name, NULL);
    return kubevirt_marked_drop(conn, path, MARK, &made, deadline, err);
}

/* --- until it serves --------------------------------------------------------------------------------------------------- */

static int settled(const cJSON *object, void *user, vmctl_error **err) {
    downloading *d = user;
    if (!object)
        return vmc_error(err, VMCTL_E_NOT_FOUND, "the export was deleted meanwhile");
    const char *phase = vmc_json_string(object, "status.phase", "");
    if (strcmp(phase, "Ready") == 0) {
        cJSON_Delete(d->ready);
        d->ready = cJSON_Duplicate(object, true);
        return 1;
    }
    const cJSON *ready = kubevirt_condition(object, "Ready", NULL);
    const char *words = vmc_json_string(ready, "message", "");
    if (strcmp(vmc_json_string(ready, "reason", ""), "InUse") == 0) {
        vmc_error(err, VMCTL_E_BUSY, "the claim %s is in use, and KubeVirt exports it when no pod has it", d->claim);
        vmc_error_hypervisor(err, "InUse", *words ? words : NULL);
        return vmc_error_next(err, "stop the VM that has it, or copy it first: vmctl image upload pvc:%s --name COPY",
                              d->claim);
    }
    if (strcmp(phase, "Skipped") == 0 || strcmp(phase, "Terminated") == 0) {
        vmc_error(err, VMCTL_E_UNAVAILABLE, "KubeVirt does not export %s%s%s", d->claim, *words ? ": " : "", words);
        return vmc_error_hypervisor(err, vmc_json_string(ready, "reason", phase), *words ? words : NULL);
    }
    return 0;
}

static int wait_ready(downloading *d, vmctl_error **err) {
    VMC_AUTO_FREE char *collection =
        kube_path(GROUP, d->version, d->namespace_name, "virtualmachineexports", NULL, NULL);
    VMC_AUTO_FREE char *doing = vmc_printf("waiting for KubeVirt to export %s", d->claim);
    kubevirt_vm named = {.namespace_name = d->namespace_name, .name = d->export};
    const kubevirt_waiting waiting = {
        .name = d->export, .doing = doing, .settled = settled, .user = d, .awaited = true};
    return kubevirt_wait_in(d->conn, &named, collection, &waiting, d->deadline, err);
}

/* The URL of that format among an export's links; NULL: there is none. */
static const char *url_of(const cJSON *link, const char *wanted) {
    const cJSON *volume = vmc_json_key(link, "volumes");
    const cJSON *format;
    cJSON_ArrayForEach(format, vmc_json_key(volume ? volume->child : NULL, "formats")) {
        if (strcmp(vmc_json_string(format, "format", ""), wanted) == 0)
            return vmc_json_string(format, "url", NULL);
    }
    return NULL;
}

/* free */
static char *place_in(const char *url, const char *file) {
    return vmc_printf("%s%s%s", url, !file || vmc_ends_with(url, "/") ? "" : "/", file ? file : "");
}

/* The export's own service, by the API server's proxy: "https://virt-export-x.lab.svc/volumes/..." Its certificate is the cluster's own affair. Source:
 * Kubernetes, "Access Services Running on Clusters". free. */
static char *through_api_server(const downloading *d, const char *url) {
    const char *host = strstr(url, "://");
    const char *path = host ? strchr(host + 3, '/') : NULL;
    if (!path)
        return NULL;
    VMC_AUTO_FREE char *service = vmc_strndup(host + 3, strcspn(host + 3, ".:/"));
    VMC_AUTO_FREE char *name = vmc_printf("https:%s:443", service);
    VMC_AUTO_FREE char *file = place_in(path, d->file);
    VMC_AUTO_FREE char *rest = vmc_printf("proxy%s", file);
    return kube_path("", "v1", d->namespace_name, "services", name, rest);
}

/* Where it is to be had from, and with what. */
static int find_place(downloading *d, vmctl_error **err) {
    const char *format = d->file ? "dir" : "raw";
    const cJSON *outside = vmc_json_at(d->ready, "status.links.external");
    const char *inside = url_of(vmc_json_at(d->ready, "status.links.internal"), format);
    const char *url = url_of(outside, format);
    if (!url && inside) {
        d->proxied = through_api_server(d, inside);
        vmc_note(d->deadline, VMCTL_NOTE_INFO,
                 "the cluster shows its exports to nobody outside of it: this one comes through the API server");
        return d->proxied ? 0 : vmc_error(err, VMCTL_E_INTERNAL, "the export's address cannot be read: %s", inside);
    }
    if (!url) {
        vmc_error(err, VMCTL_E_UNSUPPORTED,
                  d->file ? "the claim %s holds the image of a disk, not files"
                          : "the claim %s holds files, not the image of a disk",
                  d->claim);
        return vmc_error_next(err, "vmctl image list shows the images that there are");
    }
    d->url = place_in(url, d->file);
    const char *authority = vmc_json_string(outside, "cert", "");
    return http_client_new(&(http_client_options){.ca_pem = *authority ? authority : NULL}, &d->client, err);
}

static int get_token(downloading *d, vmctl_error **err) {
    const char *name = vmc_json_string(d->ready, "status.tokenSecretRef", NULL);
    if (!name)
        return vmc_error(err, VMCTL_E_UNSUPPORTED, "the export names no secret with its token");
    VMC_AUTO_FREE char *path = kube_path("", "v1", d->namespace_name, "secrets", name, NULL);
    VMC_AUTO_JSON *secret = NULL;
    int code = kube_get(d->conn->client, path, d->deadline, &secret, err);
    if (code < 0)
        return vmc_error_prefix(err, "the export's token");
    cJSON *coded = (cJSON *)vmc_json_at(secret, "data.token");
    vmc_str token = {0};
    if (cJSON_IsString(coded) && vmc_base64_decode(&token, coded->valuestring) && token.length)
        d->token = vmc_printf("x-kubevirt-export-token: %s", token.text);
    if (cJSON_IsString(coded))
        explicit_bzero(coded->valuestring, strlen(coded->valuestring));
    vmc_wipe_free(vmc_str_take(&token));
    return d->token ? 0 : vmc_error(err, VMCTL_E_INTERNAL, "the secret %s has no token", name);
}

/* --- the bytes --------------------------------------------------------------------------------------------------------- */

/* Of a part that was asked for: whether it is of the same bytes. */
static int take_head(const http_response *response, void *user) {
    downloading *d = user;
    if (response->status >= 400)
        return 0;
    const char *tag = http_response_header(response, "etag");
    if (!tag)
        tag = http_response_header(response, "last-modified");
    if (response->status != 206 && d->at) { /* the whole again: what was written would show through its holes */
        d->at = 0;
        if (ftruncate(d->fd, 0) < 0)
            return vmc_error_errno(&d->why, errno, "cannot write %s", d->path);
    }
    free(d->etag);
    d->etag = tag && !vmc_starts_with(tag, "W/") ? vmc_strdup(tag) : NULL;
    const char *length = http_response_header(response, "content-length");
    d->total = length ? d->at + strtoull(length, NULL, 10) : 0;
    return 0;
}

/* Zeros become holes. */
static int put(downloading *d, const char *bytes, size_t length) {
    for (size_t done = 0; done < length;) {
        size_t block = BLOCK - (size_t)(d->at % BLOCK);
        size_t piece = length - done < block ? length - done : block;
        bool zero = bytes[done] == 0 && memcmp(bytes + done, bytes + done + 1, piece - 1) == 0;
        for (size_t n = 0; !zero && n < piece;) {
            ssize_t wrote = pwrite(d->fd, bytes + done + n, piece - n, (off_t)(d->at + n));
            if (wrote < 0 && errno != EINTR)
                return vmc_error_errno(&d->why, errno, "cannot write %s", d->path);
            n += wrote > 0 ? (size_t)wrote : 0;
        }
        done += piece;
        d->at += piece;
    }
    return 0;
}

static int take_bytes(const void *bytes, size_t length, void *user) {
    downloading *d = user;
    d->took = true;
    int code = put(d, bytes, length);
    if (code == 0)
        code = vmc_progress(d->deadline, NULL, "downloading", d->claim, VMCTL_UNIT_BYTES, d->at,
                            d->total > d->at ? d->total : d->at, &d->why);
    return code;
}

/* *cut: the connection ended before the bytes did. */
static int read_once(downloading *d, bool *cut, vmctl_error **err) {
    VMC_AUTO_FREE char *range = vmc_printf("Range: bytes=%llu-", (unsigned long long)d->at);
    VMC_AUTO_FREE char *same = d->etag ? vmc_printf("If-Range: %s", d->etag) : NULL;
    const char *const secrets[] = {d->token, NULL};
    const char *const headers[] = {range, same, NULL};
    HTTP_AUTO_RESPONSE *response = NULL;
    http_failure failure = HTTP_FAILURE_NONE;
    /* Without a mark of the bytes nobody could tell that the rest is of the same. */
    http_request get = {.url = d->url,
                        .headers = d->at && d->etag ? headers : NULL,
                        .secret_headers = secrets,
                        .identity = true,
                        .head = take_head,
                        .write = take_bytes,
                        .user = d,
                        .failure = &failure};
    d->took = false;
    int code = d->proxied ? kube_fetch(d->conn->client, d->proxied, &get, d->deadline, err)
                          : http_perform(d->client, &get, d->deadline, &response, err);
    if (d->why) {
        if (err)
            vmctl_error_free(*err);
        vmc_error_move(err, &d->why);
        return code;
    }
    *cut = code < 0 && (failure == HTTP_FAILURE_CUT || failure == HTTP_FAILURE_SILENT);
    return code < 0 || d->proxied ? code : http_status_error(&get, response, err);
}

/* What was written from an earlier beginning and is a hole now must be one. */
static int begin_again(downloading *d, vmctl_error **err) {
    if (d->etag && d->at)
        return 0;
    d->at = 0;
    return ftruncate(d->fd, 0) < 0 ? vmc_error_errno(err, errno, "cannot write %s", d->path) : 0;
}

/* The API server hears of a new service, and of the pod behind it, some moments after them. */
static bool comes_later(const downloading *d, int code, int64_t began) {
    return d->proxied && !d->took && !d->at && (code == VMCTL_E_NOT_FOUND || code == VMCTL_E_UNAVAILABLE) &&
           vmc_now_ms() - began < PROXY_MS;
}

static int read_all(downloading *d, vmctl_error **err) {
    int64_t began = vmc_now_ms();
    int code = 0;
    for (int cuts = 0;; cuts++) {
        bool cut = false;
        vmctl_error *why = NULL;
        code = begin_again(d, err);
        if (code < 0)
            return code;
        code = read_once(d, &cut, &why);
        if (!cut && comes_later(d, code, began)) {
            vmctl_error_free(why);
            code = vmc_deadline_poll(d->deadline, -1, 0, PROXY_PAUSE_MS, "waiting for the export's service", err);
            if (code < 0)
                return code;
            cuts = -1;
            continue;
        }
        if (d->took)
            cuts = 0;
        if (code == 0 || !cut || cuts >= MOST_CUTS) {
            vmc_error_move(code < 0 ? err : NULL, &why);
            break;
        }
        vmc_note(d->deadline, VMCTL_NOTE_WARNING, "the download of %s was cut off and goes on: %s", d->claim,
                 why ? vmctl_error_message(why) : "");
        vmctl_error_free(why);
    }
    if (code == 0 && (ftruncate(d->fd, (off_t)d->at) < 0 || fsync(d->fd) < 0)) /* a hole at the end */
        code = vmc_error_errno(err, errno, "cannot write %s", d->path);
    return code;
}

/* --- the slot ---------------------------------------------------------------------------------------------------------- */

static int find_claim(downloading *d, vmctl_error **err) {
    VMC_AUTO_FREE char *path = kube_path("", "v1", d->namespace_name, "persistentvolumeclaims", d->claim, NULL);
    vmctl_error *why = NULL;
    int code = kube_get(d->conn->client, path, d->deadline, NULL, &why);
    if (code == VMCTL_E_NOT_FOUND) {
        vmctl_error_free(why);
        vmc_error(err, code, "there is no image %s in namespace %s", d->claim, d->namespace_name);
        return vmc_error_next(err, "vmctl image list shows those there are");
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}

/* The export is no longer needed, whatever becomes of the file. */
static void remove_export(downloading *d) {
    vmctl_error *why = NULL;
    vmc_deadline own = vmc_deadline_start(NULL, KUBEVIRT_ASK_MS);
    if (kubevirt_export_undo(d->conn, d->detail, &own, &why) < 0)
        vmc_note(d->deadline, VMCTL_NOTE_WARNING,
                 "the export %s could not be removed, and is by KubeVirt after " LIFETIME ": %s", d->export,
                 vmctl_error_message(why));
    vmctl_error_free(why);
}

static int fetch(downloading *d, const char *path, vmc_journal *journal, vmctl_error **err) {
    static const char *const wanted[] = {"v1", "v1beta1", "v1alpha1", NULL};
    int code = kubevirt_version_of(d->conn, GROUP, wanted,
                                   "use a KubeVirt that has VirtualMachineExport, with its gate VMExport on",
                                   d->deadline, &d->version, err);
    if (code < 0)
        return code;
    VMC_AUTO_FREE char *folder = vmc_path_dirname(path);
    VMC_AUTO_FREE char *unfinished = vmc_unfinished_name(folder, vmc_path_basename(path));
    VMC_AUTO_FREE char *absolute = vmc_path_absolute(NULL, unfinished); /* whoever undoes it may be in another folder */
    d->path = path;
    code = vmc_journal_add(journal, "file", absolute, NULL, err);
    if (code < 0)
        return code;
    d->fd = open(absolute, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, d->file ? 0600 : 0666);
    if (d->fd < 0)
        return vmc_error_errno(err, errno, "cannot make %s", path);
    code = make_export(d, journal, err);
    if (code == 0)
        code = wait_ready(d, err);
    if (code == 0)
        code = find_place(d, err);
    if (code == 0)
        code = get_token(d, err);
    if (code == 0)
        code = read_all(d, err);
    if (code == 0 && vmc_file_place(absolute, path) < 0)
        code = vmc_error_errno(err, errno, "cannot make %s", path);
    if (code < 0)
        return code; /* what is noted is undone */
    remove_export(d);
    return 0;
}

int kubevirt_fetch_claim(kubevirt_conn *conn, const char *namespace_name, const char *claim, const char *file,
                         const char *path, vmc_journal *journal, const vmc_deadline *deadline, vmctl_error **err) {
    vmc_cleanup(downloading_free)
        downloading d = {.conn = conn, .deadline = deadline, .claim = claim, .file = file, .fd = -1};
    d.namespace_name = vmc_strdup(namespace_name);
    return fetch(&d, path, journal, err);
}

int kubevirt_image_download(void *opaque, const char *name, const char *path, const vmctl_call *call,
                            vmc_journal *journal, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, -1);
    vmc_cleanup(downloading_free) downloading d = {.conn = opaque, .deadline = &deadline, .fd = -1};
    d.claim = kubevirt_image_name(opaque, name, &d.namespace_name);
    int code = find_claim(&d, err);
    return code == 0 ? fetch(&d, path, journal, err) : code;
}
