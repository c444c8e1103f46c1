/* drivers/http/fetch.c - a file by URL: asked for, resumed, verified, put in its place. */
#include "drivers/http/fetch.h"
#include "base/file.h"
#include "drivers/http/cache.h"
#include "drivers/http/checksum.h"
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { MOST_RESUMES = 8, PROGRESS_MS = 50, COPY_CHUNK = 1 << 20 };

/* A fetch while it goes on. */
typedef struct fetch {
    const char *url;
    char *shown; /* the URL, redacted */
    const http_fetch_options *options;
    const vmc_deadline *deadline;
    http_cache_entry entry;
    const char *algorithm; /* asked for; NULL: no checksum */
    char *wanted;
    http_checksum *sum;
    char *stage;
    int fd;            /* of the .part */
    int64_t at, total; /* bytes; total -1: not known */
    int64_t next_report;
    bool full;
    vmctl_error *own; /* of a callback */
} fetch;

static int report(fetch *f, bool always) {
    int64_t now = vmc_now_ms();
    if (!always && now < f->next_report)
        return 0;
    f->next_report = now + PROGRESS_MS;
    return vmc_progress(f->deadline, f->options->vm, f->stage, f->options->device, VMCTL_UNIT_BYTES, (uint64_t)f->at,
                        f->total > 0 ? (uint64_t)f->total : 0, &f->own);
}

static int say_full(fetch *f, uint64_t free_bytes) {
    f->full = true;
    VMC_AUTO_FREE char *folder = vmc_path_dirname(f->entry.file);
    vmc_error(&f->own, VMCTL_E_RESOURCE_EXHAUSTED, "no space left in %s to fetch %s: %llu MiB free", folder, f->shown,
              (unsigned long long)(free_bytes >> 20));
    if (f->total > 0)
        vmc_error_append(&f->own, ", %lld MiB needed", (long long)((f->total - f->at + (1 << 20) - 1) >> 20));
    vmc_error_next(&f->own, "make room in %s", folder);
    return VMCTL_E_RESOURCE_EXHAUSTED;
}

static uint64_t free_bytes_of(const fetch *f) {
    struct statvfs fs;
    return fstatvfs(f->fd, &fs) == 0 ? (uint64_t)fs.f_bavail * fs.f_frsize : UINT64_MAX;
}

static int check_room(fetch *f) {
    uint64_t free_bytes = free_bytes_of(f);
    return f->total > f->at && (uint64_t)(f->total - f->at) > free_bytes ? say_full(f, free_bytes) : 0;
}

static int take_bytes(const void *bytes, size_t length, void *user) {
    fetch *f = user;
    const char *p = bytes;
    for (size_t done = 0; done < length;) {
        ssize_t n = pwrite(f->fd, p + done, length - done, f->at + (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == ENOSPC || errno == EDQUOT))
            return say_full(f, free_bytes_of(f));
        if (n < 0)
            return vmc_error_errno(&f->own, errno, "cannot write %s", f->entry.part);
        done += (size_t)n;
    }
    f->at += (int64_t)length;
    if (f->sum)
        http_checksum_add(f->sum, bytes, length);
    return report(f, false);
}

/* From its first byte. */
static int start_part(fetch *f) {
    f->at = 0;
    http_checksum_drop(f->sum);
    f->sum = f->algorithm ? http_checksum_new(f->algorithm) : NULL;
    return ftruncate(f->fd, 0) == 0 ? 0 : vmc_error_errno(&f->own, errno, "cannot empty %s", f->entry.part);
}

static int64_t number_header(const http_response *response, const char *name) {
    const char *text = http_response_header(response, name);
    char *end = NULL;
    long long value = text ? strtoll(text, &end, 10) : -1;
    return end && end != text && *end == '\0' && value >= 0 ? value : -1;
}

/* "bytes 100-199/200" must begin where the .part ends. */
static int go_on_at(fetch *f, const http_response *response) {
    const char *range = http_response_header(response, "content-range");
    long long start = -1, end = -1, total = -1;
    if (!range || sscanf(range, "bytes %lld-%lld/%lld", &start, &end, &total) < 2 || start != f->at)
        return vmc_error(&f->own, VMCTL_E_INTERNAL, "%s answered with another range than asked for", f->shown);
    f->total = total > 0 ? total : end + 1;
    return 0;
}

static int take_head(const http_response *response, void *user) {
    fetch *f = user;
    int rc = 0;
    if (response->status == 206) {
        rc = go_on_at(f, response);
    } else if (response->status == 200) {
        f->total = number_header(response, "content-length");
        rc = start_part(f);
        http_version_mark_set(&f->entry.partial, http_response_header(response, "etag"),
                              http_response_header(response, "last-modified"));
        if (rc == 0)
            rc = http_cache_save(&f->entry, f->url, &f->own);
    } else {
        return 0;
    }
    return rc < 0 ? rc : check_room(f);
}

/* A weak ETag names no bytes (RFC 9110, 13.1.5). */
static const char *range_validator(const http_version_mark *mark) {
    if (mark->etag && strncmp(mark->etag, "W/", 2) != 0)
        return mark->etag;
    return mark->etag ? NULL : mark->modified;
}

static int open_part(fetch *f, vmctl_error **err) {
    vmc_close_ptr(&f->fd);
    f->fd = open(f->entry.part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (f->fd < 0)
        return vmc_error_errno(err, errno, "cannot make %s", f->entry.part);
    struct stat st;
    f->total = -1;
    if (fstat(f->fd, &st) != 0 || st.st_size == 0 || !range_validator(&f->entry.partial)) {
        int rc = start_part(f);
        if (rc < 0)
            vmc_error_move(err, &f->own);
        return rc;
    }
    f->at = st.st_size;
    http_checksum_drop(f->sum);
    f->sum = f->algorithm ? http_checksum_new(f->algorithm) : NULL;
    return f->sum ? http_checksum_add_file(f->sum, f->fd, f->entry.part, f->at, f->deadline, err) : 0;
}

/* What is asked for: the rest, a newer version, or all. */
static void add_conditions(const fetch *f, vmc_strv *headers) {
    const http_version_mark *whole = &f->entry.whole;
    if (f->at > 0) {
        vmc_strv_printf(headers, "Range: bytes=%lld-", (long long)f->at);
        vmc_strv_printf(headers, "If-Range: %s", range_validator(&f->entry.partial));
    } else if (f->entry.complete && whole->etag) {
        vmc_strv_printf(headers, "If-None-Match: %s", whole->etag);
    } else if (f->entry.complete && whole->modified) {
        vmc_strv_printf(headers, "If-Modified-Since: %s", whole->modified);
    }
}

static int ask_once(fetch *f, http_response **response, http_request *request, vmctl_error **err) {
    VMC_AUTO_STRV headers = {0};
    add_conditions(f, &headers);
    request->headers = (const char *const *)headers.items;
    int rc = http_perform(f->options->client, request, f->deadline, response, err);
    request->headers = NULL;
    if (f->own) {
        vmc_error_move(err, &f->own);
        f->own = NULL;
    }
    return rc;
}

/* 0: the .part is whole. 1: the file in the folder is the server's present one. */
static int fetch_http(fetch *f, vmctl_error **err) {
    http_request request = {.url = f->url, .head = take_head, .write = take_bytes, .user = f, .identity = true};
    for (int tries = 0;; tries++) {
        int rc = open_part(f, err);
        if (rc < 0)
            return rc;
        int64_t before = f->at;
        HTTP_AUTO_RESPONSE *response = NULL;
        vmctl_error *own = NULL;
        rc = ask_once(f, &response, &request, &own);
        int status = rc == 0 ? response->status : 0;
        bool broke = rc == VMCTL_E_UNAVAILABLE && f->at > before && range_validator(&f->entry.partial);
        bool past_end = status == 416 && before > 0;
        if ((broke || past_end) && tries < MOST_RESUMES) {
            vmctl_error_free(own);
            if (past_end)
                http_version_mark_set(&f->entry.partial, NULL, NULL);
            continue;
        }
        if (own)
            vmc_error_move(err, &own);
        if (rc < 0)
            return rc;
        if (status == 304)
            return 1;
        return status == 200 || status == 206 ? 0 : http_status_error(&request, response, err);
    }
}

/* The path of "file:///a%20b"; free. NULL: of another host, or none. */
static char *path_of_url(const char *url) {
    CURLU *parser = curl_url();
    char *text = NULL, *path = NULL;
    if (parser && curl_url_set(parser, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_get(parser, CURLUPART_PATH, &text, CURLU_URLDECODE) == CURLUE_OK && *text == '/')
        path = vmc_strdup(text);
    curl_free(text);
    curl_url_cleanup(parser);
    return path;
}

static int copy_all(fetch *f, int from, const char *path, vmctl_error **err) {
    VMC_AUTO_FREE char *chunk = vmc_alloc(COPY_CHUNK);
    for (;;) {
        int rc = vmc_deadline_check(f->deadline, f->stage, err);
        if (rc < 0)
            return rc;
        ssize_t n = read(from, chunk, COPY_CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return vmc_error_errno(err, errno, "cannot read %s", path);
        if (n == 0)
            return 0;
        rc = take_bytes(chunk, (size_t)n, f);
        if (rc < 0) {
            vmc_error_move(err, &f->own);
            return rc;
        }
    }
}

/* As fetch_http. */
static int fetch_local(fetch *f, vmctl_error **err) {
    VMC_AUTO_FREE char *path = path_of_url(f->url);
    if (!path)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s names no file of this machine", f->shown);
    VMC_AUTO_CLOSE int from = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (from < 0 || fstat(from, &st) != 0)
        return vmc_error_errno(err, errno, "cannot open %s", path);
    if (!S_ISREG(st.st_mode))
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s is no file", path);
    VMC_AUTO_FREE char *mark =
        vmc_printf("\"%lld-%lld.%09ld\"", (long long)st.st_size, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    if (f->entry.complete && vmc_str_eq(f->entry.whole.etag, mark))
        return 1;
    http_version_mark_set(&f->entry.partial, NULL, NULL); /* nothing is resumed */
    int rc = open_part(f, err);
    if (rc < 0)
        return rc;
    f->total = st.st_size;
    rc = check_room(f);
    if (rc < 0) {
        vmc_error_move(err, &f->own);
        return rc;
    }
    http_version_mark_set(&f->entry.partial, mark, NULL);
    return copy_all(f, from, path, err);
}

static int verify(fetch *f, vmctl_error **err) {
    if (!f->algorithm)
        return 0;
    VMC_AUTO_FREE char *found = http_checksum_end(f->sum);
    f->sum = NULL;
    if (!vmc_str_eq(found, f->wanted)) {
        vmc_error(err, VMCTL_E_CONFLICT, "%s has the %s %s, not %s", f->shown, f->algorithm, found, f->wanted);
        vmc_error_next(err, "compare the checksum with the one that the publisher names");
        return VMCTL_E_CONFLICT;
    }
    free(f->entry.checksum);
    f->entry.checksum = vmc_printf("%s:%s", f->algorithm, found);
    return 0;
}

/* The .part becomes the file. */
static int put_in_place(fetch *f, vmctl_error **err) {
    http_cache_entry *e = &f->entry;
    free(e->checksum);
    e->checksum = NULL;
    int rc = verify(f, err);
    if (rc == 0 && fsync(f->fd) != 0)
        rc = vmc_error_errno(err, errno, "cannot write %s", e->part);
    if (rc == 0 && rename(e->part, e->file) != 0)
        rc = vmc_error_errno(err, errno, "cannot make %s", e->file);
    if (rc < 0)
        return rc;
    e->complete = true;
    http_version_mark_set(&e->whole, e->partial.etag, e->partial.modified);
    http_version_mark_set(&e->partial, NULL, NULL);
    (void)report(f, true);
    return http_cache_save(e, f->url, err);
}

/* The file that is there is taken. 1: it is; 0: it must be fetched. */
static int take_present(fetch *f, vmctl_error **err) {
    http_cache_entry *e = &f->entry;
    if (!e->complete)
        return 0;
    if (!f->algorithm)
        return 1;
    VMC_AUTO_FREE char *wanted = vmc_printf("%s:%s", f->algorithm, f->wanted);
    if (vmc_str_eq(e->checksum, wanted))
        return 1;
    VMC_AUTO_FREE char *found = NULL;
    int rc = http_file_checksum(e->file, f->algorithm, f->deadline, &found, err);
    if (rc < 0)
        return rc;
    if (!vmc_str_eq(found, f->wanted)) {
        /* Another version than the one wanted: no condition may say "not modified". */
        http_version_mark_set(&e->whole, NULL, NULL);
        return 0;
    }
    free(e->checksum);
    e->checksum = vmc_strdup(wanted);
    rc = http_cache_save(e, f->url, err);
    return rc < 0 ? rc : 1;
}

static int run(fetch *f, bool local, vmctl_error **err) {
    int rc = take_present(f, err);
    if (rc < 0 || (rc == 1 && !f->options->refresh && !local))
        return rc < 0 ? rc : 0;
    rc = local ? fetch_local(f, err) : fetch_http(f, err);
    if (rc == 0)
        rc = put_in_place(f, err);
    struct stat st;
    bool useless = rc == VMCTL_E_CONFLICT || f->full || !range_validator(&f->entry.partial) ||
                   (stat(f->entry.part, &st) == 0 && st.st_size == 0);
    if (useless)
        (void)unlink(f->entry.part);
    return rc < 0 ? rc : 0;
}

int http_fetch(const char *url, const char *folder, const http_fetch_options *options, const vmc_deadline *deadline,
               char **path, vmctl_error **err) {
    static const http_fetch_options defaults = {0};
    fetch f = {.url = url,
               .options = options ? options : &defaults,
               .deadline = deadline,
               .fd = -1,
               .entry.lock_fd = -1,
               .shown = http_redact_url(url)};
    bool local = strncasecmp(url, "file:", 5) == 0;
    bool known = local || strncasecmp(url, "http://", 7) == 0 || strncasecmp(url, "https://", 8) == 0;
    int rc = known ? 0 : vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "\"%s\" is no http, https or file URL", f.shown);
    if (rc == 0 && f.options->checksum)
        rc = http_checksum_parse(f.options->checksum, &f.algorithm, &f.wanted, err);
    if (rc == 0)
        rc = http_cache_open(url, folder, f.options->name, deadline, &f.entry, err);
    if (rc == 0) {
        f.stage = vmc_printf("fetching %s", f.entry.name);
        rc = run(&f, local, err);
    }
    if (rc == 0)
        *path = vmc_strdup(f.entry.file);
    http_checksum_drop(f.sum);
    vmctl_error_free(f.own);
    vmc_close_ptr(&f.fd);
    http_cache_close(&f.entry);
    free(f.wanted);
    free(f.shown);
    free(f.stage);
    return rc;
}
