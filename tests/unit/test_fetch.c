/* tests/unit/test_fetch.c - files by URL: resumed, verified, fetched once, and nothing broken left in the folder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/file.h"
#include "drivers/http/fetch.h"
#include "drivers/process/process.h"
#include "http_server.h"
#include "small_disk.h"
#include <cmocka.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define SIZE (3 << 20)

static char folder[64];
static server one;
static vmc_deadline far;

/* What the server does with /image. */
static char content[SIZE];
static const char *etag = "\"v1\"";
static int cut_after; /* bytes of an answer, then the connection ends; 0: whole */
static int slow_ms;   /* before the second half */
static bool no_ranges, wrong_range;

/* sha256 and sha512 of "abc": FIPS 180-2, appendices B.1 and C.1. */
#define ABC_SHA256 "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define ABC_SHA512                                                                                                     \
    "sha512:"                                                                                                          \
    "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643"      \
    "ce80e2a9ac94fa54ca49f"

static bool send_image(server *s, int fd, const server_request *r) {
    VMC_AUTO_FREE char *range = server_header(r, "Range"), *if_range = server_header(r, "If-Range");
    VMC_AUTO_FREE char *none = server_header(r, "If-None-Match");
    size_t start = 0;
    bool part = range && !no_ranges && sscanf(range, "bytes=%zu-", &start) == 1 && vmc_str_eq(if_range, etag);
    VMC_AUTO_FREE char *headers = NULL;
    if (none && vmc_str_eq(none, etag)) {
        headers = vmc_printf("HTTP/1.1 304 Not Modified\r\nETag: %s\r\n\r\n", etag);
        server_send(fd, headers, strlen(headers));
        return true;
    }
    if (part && start >= SIZE) {
        server_answer(fd, 416, "", "");
        return true;
    }
    if (part)
        headers = vmc_printf(
            "HTTP/1.1 206 Partial\r\nETag: %s\r\nContent-Range: bytes %zu-%d/%d\r\nContent-Length: %zu\r\n\r\n", etag,
            wrong_range ? start - 1 : start, SIZE - 1, SIZE, SIZE - start);
    else
        headers = vmc_printf("HTTP/1.1 200 OK\r\nETag: %s\r\nContent-Length: %d\r\n\r\n", etag, SIZE);
    if (!part)
        start = 0;
    server_send(fd, headers, strlen(headers));
    size_t length = SIZE - start;
    bool cut = cut_after && (size_t)cut_after < length;
    if (cut)
        length = (size_t)cut_after;
    server_send(fd, content + start, length / 2);
    for (int waited = 0; waited < slow_ms && !s->stop; waited += 10)
        usleep(10000);
    server_send(fd, content + start + length / 2, length - length / 2);
    return !cut;
}

static bool answer(server *s, int fd, const server_request *r, int count) {
    (void)count;
    if (strncmp(r->path, "/image", 6) == 0)
        return send_image(s, fd, r);
    if (strncmp(r->path, "/abc", 4) == 0)
        server_answer(fd, 200, "", "abc");
    else
        server_answer(fd, 404, "", "no such thing");
    return true;
}

static int set_up(void **state) {
    (void)state;
    far = vmc_deadline_start(NULL, 30000);
    strcpy(folder, "/tmp/vmctl-test-fetch-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    for (size_t i = 0; i < SIZE; i++)
        content[i] = (char)(i * 31 + i / 4096);
    etag = "\"v1\"";
    cut_after = slow_ms = 0;
    no_ranges = wrong_range = false;
    server_start(&one, answer);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    server_stop(&one);
    const char *argv[] = {"rm", "-rf", folder, NULL};
    return process_run_ok(&(process_options){.argv = argv}, &far, NULL, NULL);
}

static char *url_of(const char *path) {
    static char urls[4][256];
    static int next;
    char *url = urls[next++ % 4];
    snprintf(url, sizeof urls[0], "http://127.0.0.1:%d%s", one.port, path);
    return url;
}

static char *in_folder(const char *name) {
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static int fetch_as(const char *url, const http_fetch_options *options, char **path) {
    *path = NULL;
    return http_fetch(url, folder, options, &far, path, NULL);
}

static void assert_image(const char *path) {
    VMC_AUTO_FREE char *bytes = NULL;
    size_t length = 0;
    assert_int_equal(vmc_file_read(path, SIZE + 10, &bytes, &length, NULL), 0);
    assert_int_equal(length, SIZE);
    assert_memory_equal(bytes, content, SIZE);
}

static bool exists(const char *name) {
    return access(in_folder(name), F_OK) == 0;
}

static void a_file_is_fetched_once(void **state) {
    (void)state;
    VMC_AUTO_FREE char *path = NULL, *again = NULL, *other = NULL;
    assert_int_equal(fetch_as(url_of("/image/debian 12.qcow2?x=/y"), NULL, &path), VMCTL_E_INVALID_ARGUMENT);
    assert_int_equal(fetch_as(url_of("/image/debian-12.qcow2?x=/y"), NULL, &path), 0);
    assert_image(path);
    assert_true(vmc_ends_with(path, "-debian-12.qcow2"));
    assert_int_equal(fetch_as(url_of("/image/debian-12.qcow2?x=/y"), NULL, &again), 0);
    assert_string_equal(path, again);
    assert_int_equal(server_count(&one, "/image/debian-12.qcow2?x=/y"), 1);
    /* Another URL of the same last part is another file. */
    assert_int_equal(fetch_as(url_of("/image/2/debian-12.qcow2"), NULL, &other), 0);
    assert_string_not_equal(path, other);
}

static void an_unchanged_file_is_asked_for_and_not_sent_again(void **state) {
    (void)state;
    VMC_AUTO_FREE char *path = NULL, *again = NULL, *newer = NULL;
    http_fetch_options options = {.name = "a.img", .refresh = true};
    assert_int_equal(fetch_as(url_of("/image"), &options, &path), 0);
    assert_int_equal(fetch_as(url_of("/image"), &options, &again), 0);
    assert_int_equal(server_count(&one, "/image"), 2);
    VMC_AUTO_FREE char *condition = server_last_header(&one, "/image", "If-None-Match");
    assert_string_equal(condition, "\"v1\"");
    assert_image(again);
    assert_false(exists("a.img.part"));
    etag = "\"v2\"";
    memset(content, 'n', SIZE);
    assert_int_equal(fetch_as(url_of("/image"), &options, &newer), 0);
    assert_image(newer);
}

static void checksums_are_kept_to(void **state) {
    (void)state;
    VMC_AUTO_FREE char *a = NULL, *b = NULL, *c = NULL;
    assert_int_equal(fetch_as(url_of("/abc"), &(http_fetch_options){.name = "a", .checksum = ABC_SHA256}, &a), 0);
    assert_int_equal(fetch_as(url_of("/abc"), &(http_fetch_options){.name = "b", .checksum = ABC_SHA512}, &b), 0);
    /* Wrong: an error with both sums, nothing in the folder. */
    char wrong[160];
    snprintf(wrong, sizeof wrong, "%s", ABC_SHA256);
    wrong[10] = wrong[10] == '0' ? '1' : '0';
    vmctl_error *err = NULL;
    http_fetch_options options = {.name = "c", .checksum = wrong};
    assert_int_equal(http_fetch(url_of("/abc"), folder, &options, &far, &c, &err), VMCTL_E_CONFLICT);
    assert_non_null(strstr(vmctl_error_message(err), &ABC_SHA256[7]));
    assert_non_null(strstr(vmctl_error_message(err), wrong + 7));
    vmctl_error_free(err);
    assert_null(c);
    assert_false(exists("c"));
    assert_false(exists("c.part"));
    /* A file that was complete stays when a newer wish is not met; upper case is the same sum. */
    options.name = "a";
    assert_int_equal(fetch_as(url_of("/abc"), &options, &c), VMCTL_E_CONFLICT);
    assert_true(exists("a"));
    char upper[160] = "sha256:";
    for (size_t i = 7; ABC_SHA256[i - 1]; i++)
        upper[i] = (char)(ABC_SHA256[i] >= 'a' ? ABC_SHA256[i] - 32 : ABC_SHA256[i]);
    options.checksum = upper;
    int before = server_count(&one, "/abc");
    assert_int_equal(fetch_as(url_of("/abc"), &options, &c), 0);
    assert_int_equal(server_count(&one, "/abc"), before);
    VMC_AUTO_FREE char *hex = NULL;
    assert_int_equal(http_file_checksum(a, "sha512", &far, &hex, NULL), 0);
    assert_string_equal(hex, &ABC_SHA512[7]);
    static const char *const bad[] = {"md5:00", "sha256:12", "sha256", "sha256:zz"};
    for (size_t i = 0; i < 4; i++) {
        options.checksum = bad[i];
        VMC_AUTO_FREE char *none = NULL;
        assert_int_equal(fetch_as(url_of("/abc"), &options, &none), VMCTL_E_INVALID_ARGUMENT);
    }
}

static void a_broken_transfer_goes_on_where_it_ended(void **state) {
    (void)state;
    VMC_AUTO_FREE char *sum = NULL, *path = NULL;
    FILE *f = fopen(in_folder("reference"), "w");
    fwrite(content, 1, SIZE, f);
    fclose(f);
    assert_int_equal(http_file_checksum(in_folder("reference"), "sha256", &far, &sum, NULL), 0);
    VMC_AUTO_FREE char *checksum = vmc_printf("sha256:%s", sum);
    cut_after = 1 << 20;
    assert_int_equal(fetch_as(url_of("/image"), &(http_fetch_options){.name = "a", .checksum = checksum}, &path), 0);
    assert_image(path);
    assert_int_equal(server_count(&one, "/image"), 3); /* 1 MiB each */
    VMC_AUTO_FREE char *range = server_last_header(&one, "/image", "Range");
    assert_string_equal(range, "bytes=2097152-");
}

static void a_cancelled_transfer_goes_on_with_the_next_call(void **state) {
    (void)state;
    VMC_AUTO_FREE char *path = NULL;
    slow_ms = 5000;
    vmc_deadline d = vmc_deadline_start(NULL, 500);
    http_fetch_options options = {.name = "a"};
    assert_int_equal(http_fetch(url_of("/image"), folder, &options, &d, &path, NULL), VMCTL_E_TIMEOUT);
    assert_null(path);
    assert_false(exists("a"));
    assert_true(exists("a.part"));
    slow_ms = 0;
    assert_int_equal(fetch_as(url_of("/image"), &options, &path), 0);
    assert_image(path);
    VMC_AUTO_FREE char *range = server_last_header(&one, "/image", "Range");
    assert_string_equal(range, "bytes=1572864-");
    assert_false(exists("a.part"));
}

static void a_changed_file_is_not_glued_to_the_old_part(void **state) {
    (void)state;
    VMC_AUTO_FREE char *path = NULL;
    slow_ms = 5000;
    vmc_deadline d = vmc_deadline_start(NULL, 300);
    http_fetch_options options = {.name = "a"};
    assert_int_equal(http_fetch(url_of("/image"), folder, &options, &d, &path, NULL), VMCTL_E_TIMEOUT);
    slow_ms = 0;
    etag = "\"v2\"";
    memset(content, 'n', SIZE);
    assert_int_equal(fetch_as(url_of("/image"), &options, &path), 0);
    assert_image(path);
    /* A server without ranges sends all again, and one that answers another range is not believed. */
    VMC_AUTO_FREE char *second = NULL, *third = NULL;
    no_ranges = true;
    cut_after = 1 << 20;
    options.name = "b";
    assert_int_equal(fetch_as(url_of("/image"), &options, &second), VMCTL_E_UNAVAILABLE);
    cut_after = 0;
    assert_int_equal(fetch_as(url_of("/image"), &options, &second), 0);
    assert_image(second);
    no_ranges = false;
    wrong_range = true;
    cut_after = 1 << 20;
    options.name = "c";
    assert_int_equal(fetch_as(url_of("/image"), &options, &third), VMCTL_E_INTERNAL);
    assert_false(exists("c"));
}

static void a_part_longer_than_the_file_is_thrown_away(void **state) {
    (void)state;
    VMC_AUTO_FREE char *path = NULL;
    slow_ms = 5000;
    vmc_deadline d = vmc_deadline_start(NULL, 300);
    http_fetch_options options = {.name = "a"};
    assert_int_equal(http_fetch(url_of("/image"), folder, &options, &d, &path, NULL), VMCTL_E_TIMEOUT);
    slow_ms = 0;
    assert_int_equal(truncate(in_folder("a.part"), SIZE + 100), 0);
    assert_int_equal(fetch_as(url_of("/image"), &options, &path), 0);
    assert_image(path);
}

static void what_is_missing_or_no_url_is_named(void **state) {
    (void)state;
    VMC_AUTO_FREE char *path = NULL;
    vmctl_error *err = NULL;
    assert_int_equal(http_fetch(url_of("/nothing"), folder, NULL, &far, &path, &err), VMCTL_E_NOT_FOUND);
    assert_non_null(strstr(vmctl_error_message(err), "/nothing"));
    vmctl_error_free(err);
    static const char *const urls[] = {"ftp://host/x", "/tmp/x", "scp://host/x", "file://otherhost/x", ""};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(fetch_as(urls[i], NULL, &path), VMCTL_E_INVALID_ARGUMENT);
    static const char *const names[] = {"", "../a", "a/b", ".hidden", "a.part", "a.lock", "a.meta"};
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(fetch_as(url_of("/abc"), &(http_fetch_options){.name = names[i]}, &path),
                         VMCTL_E_INVALID_ARGUMENT);
    assert_null(path);
}

static void local_files_are_copied_into_the_folder(void **state) {
    (void)state;
    VMC_AUTO_FREE char *first = NULL, *second = NULL, *third = NULL;
    assert_int_equal(vmc_file_write(in_folder("some file"), "abc", 3, 0644, NULL), 0);
    char url[256];
    snprintf(url, sizeof url, "file://%s/some%%20file", folder);
    http_fetch_options options = {.name = "copy", .checksum = ABC_SHA256};
    assert_int_equal(fetch_as(url, &options, &first), 0);
    VMC_AUTO_FREE char *text = NULL, *newer = NULL;
    assert_int_equal(vmc_file_read(first, 10, &text, NULL, NULL), 0);
    assert_string_equal(text, "abc");
    /* Changed: seen without being asked. */
    assert_int_equal(vmc_file_write(in_folder("some file"), "abcd", 4, 0644, NULL), 0);
    options.checksum = NULL;
    assert_int_equal(fetch_as(url, &options, &second), 0);
    assert_int_equal(vmc_file_read(second, 10, &newer, NULL, NULL), 0);
    assert_string_equal(newer, "abcd");
    snprintf(url, sizeof url, "file://%s/absent", folder);
    assert_int_equal(fetch_as(url, NULL, &third), VMCTL_E_NOT_FOUND);
    snprintf(url, sizeof url, "file://%s", folder);
    assert_int_equal(fetch_as(url, NULL, &third), VMCTL_E_INVALID_ARGUMENT);
}

static void secrets_of_the_url_are_not_written_down(void **state) {
    (void)state;
    VMC_AUTO_FREE char *path = NULL, *meta = NULL;
    char url[256];
    snprintf(url, sizeof url, "http://me:p4ssw0rd@127.0.0.1:%d/abc?token=t0ken", one.port);
    assert_int_equal(fetch_as(url, &(http_fetch_options){.name = "a"}, &path), 0);
    assert_int_equal(vmc_file_read(in_folder("a.meta"), 10000, &meta, NULL, NULL), 0);
    assert_null(strstr(meta, "p4ssw0rd"));
    assert_null(strstr(meta, "t0ken"));
}

static int hear(const vmctl_progress *p, void *user) {
    uint64_t *last = user;
    assert_int_equal(p->unit, VMCTL_UNIT_BYTES);
    assert_true(p->done >= *last);
    assert_int_equal(p->total, SIZE);
    *last = p->done;
    return 0;
}

static void progress_goes_to_the_end(void **state) {
    (void)state;
    VMC_AUTO_FREE char *path = NULL;
    uint64_t last = 0;
    vmctl_call call = VMCTL_CALL_INIT;
    call.progress = hear;
    call.user = &last;
    vmc_deadline d = vmc_deadline_start(&call, 20000);
    assert_int_equal(http_fetch(url_of("/image"), folder, NULL, &d, &path, NULL), 0);
    assert_int_equal(last, SIZE);
}

static void two_processes_fetch_once(void **state) {
    (void)state;
    slow_ms = 300;
    pid_t pids[3];
    for (int i = 0; i < 3; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            char *path = NULL;
            _exit(http_fetch(url_of("/image"), folder, &(http_fetch_options){.name = "a"}, &far, &path, NULL) != 0);
        }
    }
    for (int i = 0; i < 3; i++) {
        int status = -1;
        waitpid(pids[i], &status, 0);
        assert_int_equal(status, 0);
    }
    assert_int_equal(server_count(&one, "/image"), 1);
    assert_image(in_folder("a"));
    /* A lock that is never given up meets the deadline. */
    int fd = open(in_folder("b.lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    vmc_deadline d = vmc_deadline_start(NULL, 300);
    VMC_AUTO_FREE char *path = NULL;
    assert_int_equal(http_fetch(url_of("/image"), folder, &(http_fetch_options){.name = "b"}, &d, &path, NULL),
                     VMCTL_E_TIMEOUT);
    close(fd);
}

/* On a filesystem of 1 MiB. Exit 77: a mount namespace is not to be had. */
static int on_a_full_disk(void) {
    if (!small_disk(folder, "1m"))
        return 77;
    vmctl_error *err = NULL;
    char *path = NULL;
    if (http_fetch(url_of("/image"), folder, &(http_fetch_options){.name = "a"}, &far, &path, &err) !=
        VMCTL_E_RESOURCE_EXHAUSTED)
        return 1;
    if (!strstr(vmctl_error_message(err), "3 MiB needed"))
        return 2;
    vmctl_error_free(err);
    return exists("a") || exists("a.part") ? 3 : 0;
}

static void a_full_disk_is_said_and_left_clean(void **state) {
    (void)state;
    pid_t pid = fork();
    if (pid == 0)
        _exit(on_a_full_disk());
    int status = 0;
    waitpid(pid, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        print_message("skip: a mount namespace is not to be had here\n");
        skip();
    }
    assert_int_equal(status, 0);
}

int main(void) {
    static const char *const proxies[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"};
    for (size_t i = 0; i < sizeof proxies / sizeof proxies[0]; i++)
        unsetenv(proxies[i]);
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_file_is_fetched_once),
        TEST(an_unchanged_file_is_asked_for_and_not_sent_again),
        TEST(checksums_are_kept_to),
        TEST(a_broken_transfer_goes_on_where_it_ended),
        TEST(a_cancelled_transfer_goes_on_with_the_next_call),
        TEST(a_changed_file_is_not_glued_to_the_old_part),
        TEST(a_part_longer_than_the_file_is_thrown_away),
        TEST(what_is_missing_or_no_url_is_named),
        TEST(local_files_are_copied_into_the_folder),
        TEST(secrets_of_the_url_are_not_written_down),
        TEST(progress_goes_to_the_end),
        TEST(two_processes_fetch_once),
        TEST(a_full_disk_is_said_and_left_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
