/* drivers/http/cache.c - names, lock and metadata of a fetched file. */
#include "drivers/http/cache.h"
#include "base/file.h"
#include "drivers/http/checksum.h"
#include "drivers/http/http.h"
#include <cjson/cJSON.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { META_LIMIT = 65536, LOCK_POLL_MS = 100, HASH_DIGITS = 8 };

void http_version_mark_set(http_version_mark *mark, const char *etag, const char *modified) {
    free(mark->etag);
    free(mark->modified);
    mark->etag = vmc_strdup(etag);
    mark->modified = vmc_strdup(modified);
}

static char *hash_of(const char *url) {
    http_checksum *sum = http_checksum_new("sha256");
    http_checksum_add(sum, url, strlen(url));
    return http_checksum_end(sum);
}

/* "1a2b3c4d-debian-12.qcow2": the last part of the path, told apart from others of that name. */
static char *default_name(const char *url, const char *hash) {
    const char *path = strstr(url, "://");
    path = path ? path + 3 : url;
    size_t length = strcspn(path, "?#");
    while (length > 0 && path[length - 1] == '/')
        length--;
    size_t start = length;
    while (start > 0 && path[start - 1] != '/')
        start--;
    VMC_AUTO_STR name = {0};
    vmc_str_add_n(&name, hash, HASH_DIGITS);
    vmc_str_add_char(&name, '-');
    size_t most = 128;
    for (size_t i = start; i < length && most > 0; i++, most--)
        vmc_str_add_char(&name, isalnum((unsigned char)path[i]) || strchr("._-", path[i]) ? path[i] : '_');
    return vmc_str_take(&name);
}

static int check_name(const char *name, vmctl_error **err) {
    bool fine = *name && *name != '.' && !strchr(name, '/') && strlen(name) < 200 && !vmc_ends_with(name, ".part") &&
                !vmc_ends_with(name, ".meta") && !vmc_ends_with(name, ".lock");
    return fine ? 0 : vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "\"%s\" is no name for a fetched file", name);
}

static int take_lock(http_cache_entry *e, const vmc_deadline *deadline, vmctl_error **err) {
    e->lock_fd = open(e->lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (e->lock_fd < 0)
        return vmc_error_errno(err, errno, "cannot make %s", e->lock);
    bool told = false;
    while (flock(e->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return vmc_error_errno(err, errno, "cannot lock %s", e->lock);
        if (!told)
            vmc_note(deadline, VMCTL_NOTE_INFO, "waiting for another vmctl that fetches %s", e->name);
        told = true;
        int rc =
            vmc_deadline_poll(deadline, -1, 0, LOCK_POLL_MS, "waiting for another vmctl that fetches the same", err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static const char *text_of(const cJSON *json, const char *key) {
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, key));
}

static double number_of(const cJSON *json, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, key);
    return cJSON_IsNumber(item) ? item->valuedouble : -1;
}

static void read_meta(http_cache_entry *e, const cJSON *json) {
    struct stat st;
    const cJSON *file = cJSON_GetObjectItemCaseSensitive(json, "file");
    const cJSON *part = cJSON_GetObjectItemCaseSensitive(json, "part");
    if (vmc_str_eq(text_of(file, "urlHash"), e->url_hash) && stat(e->file, &st) == 0 &&
        number_of(file, "sizeBytes") == (double)st.st_size &&
        number_of(file, "modified") == (double)st.st_mtim.tv_sec) {
        e->complete = true;
        http_version_mark_set(&e->whole, text_of(file, "etag"), text_of(file, "lastModified"));
        e->checksum = vmc_strdup(text_of(file, "checksum"));
    }
    if (vmc_str_eq(text_of(part, "urlHash"), e->url_hash))
        http_version_mark_set(&e->partial, text_of(part, "etag"), text_of(part, "lastModified"));
}

int http_cache_open(const char *url, const char *folder, const char *name, const vmc_deadline *deadline,
                    http_cache_entry *e, vmctl_error **err) {
    *e = (http_cache_entry){.lock_fd = -1, .url_hash = hash_of(url)};
    e->name = name ? vmc_strdup(name) : default_name(url, e->url_hash);
    int rc = check_name(e->name, err);
    if (rc == 0)
        rc = vmc_mkdirs(folder, 0755, err);
    if (rc < 0)
        return rc;
    e->file = vmc_path_absolute(folder, e->name);
    e->part = vmc_printf("%s.part", e->file);
    e->meta = vmc_printf("%s.meta", e->file);
    e->lock = vmc_printf("%s.lock", e->file);
    rc = take_lock(e, deadline, err);
    if (rc < 0)
        return rc;
    VMC_AUTO_FREE char *text = NULL;
    if (vmc_file_read(e->meta, META_LIMIT, &text, NULL, NULL) < 0)
        return 0; /* nothing is known */
    cJSON *json = cJSON_Parse(text);
    read_meta(e, json);
    cJSON_Delete(json);
    return 0;
}

static void add_mark(cJSON *object, const http_cache_entry *e, const http_version_mark *mark) {
    cJSON_AddStringToObject(object, "urlHash", e->url_hash);
    if (mark->etag)
        cJSON_AddStringToObject(object, "etag", mark->etag);
    if (mark->modified)
        cJSON_AddStringToObject(object, "lastModified", mark->modified);
}

int http_cache_save(const http_cache_entry *e, const char *url, vmctl_error **err) {
    struct stat st;
    VMC_AUTO_FREE char *shown = http_redact_url(url);
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "url", shown);
    if (e->complete && stat(e->file, &st) == 0) {
        cJSON *file = cJSON_AddObjectToObject(json, "file");
        add_mark(file, e, &e->whole);
        cJSON_AddNumberToObject(file, "sizeBytes", (double)st.st_size);
        cJSON_AddNumberToObject(file, "modified", (double)st.st_mtim.tv_sec);
        if (e->checksum)
            cJSON_AddStringToObject(file, "checksum", e->checksum);
    }
    if (e->partial.etag || e->partial.modified)
        add_mark(cJSON_AddObjectToObject(json, "part"), e, &e->partial);
    char *text = cJSON_Print(json);
    cJSON_Delete(json);
    int rc = text ? vmc_file_write(e->meta, text, strlen(text), 0644, err) : vmc_error_no_memory(err);
    cJSON_free(text);
    return rc;
}

void http_cache_close(http_cache_entry *e) {
    vmc_close_ptr(&e->lock_fd); /* which unlocks; the lock's file stays, for others may wait at it */
    free(e->file);
    free(e->part);
    free(e->meta);
    free(e->lock);
    free(e->name);
    free(e->url_hash);
    free(e->checksum);
    http_version_mark_set(&e->whole, NULL, NULL);
    http_version_mark_set(&e->partial, NULL, NULL);
    *e = (http_cache_entry){.lock_fd = -1};
}
