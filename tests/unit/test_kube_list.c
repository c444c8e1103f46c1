/* tests/unit/test_kube_list.c - lists in pages, watches over interruptions: what is told, how often, and what is asked for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "kube_lab.h"

#define JSON "Content-Type: application/json\r\n"

static vmc_deadline far;
static char *folder;
static server lab;
static kube_client *client;

/* Answers 200 with a body of which only `sent` bytes come before the connection ends. */
static bool answer_cut(int fd, const char *body, size_t sent) {
    VMC_AUTO_FREE char *text =
        vmc_printf("HTTP/1.1 200 OK\r\n" JSON "Content-Length: %zu\r\n\r\n%.*s", strlen(body), (int)sent, body);
    server_send(fd, text, strlen(text));
    return false;
}

/* Items vm-FROM..vm-TO of namespace n. */
static char *page(int from, int to, const char *version, const char *token) {
    vmc_str s = {0};
    vmc_str_add(&s, "{\"apiVersion\":\"kubevirt.io/v1\",\"items\":[");
    for (int i = from; i <= to; i++)
        vmc_str_printf(
            &s,
            "%s{\"metadata\":{\"name\":\"vm-%02d\",\"namespace\":\"n\",\"uid\":\"u%d\",\"resourceVersion\":\"%d\","
            "\"managedFields\":[{\"f:a\":{}}]}}",
            i > from ? "," : "", i, i, 100 + i);
    vmc_str_printf(&s,
                   "],\"kind\":\"VirtualMachineList\",\"metadata\":{\"continue\":\"%s\",\"resourceVersion\":\"%s\"}}",
                   token, version);
    return vmc_str_take(&s);
}

static bool has(const server_request *request, const char *what) {
    return strstr(request->path, what) != NULL;
}

static bool answer_page(int fd, int from, int to, const char *version, const char *token) {
    VMC_AUTO_FREE char *body = page(from, to, version, token);
    server_answer(fd, 200, JSON, body);
    return true;
}

static bool answer_cut_page(int fd, int from, int to, const char *version, const char *token) {
    VMC_AUTO_FREE char *body = page(from, to, version, token);
    return answer_cut(fd, body, strlen(body) * 2 / 3);
}

static bool answer_lists(int fd, const server_request *request, int count) {
    if (has(request, "/pages?"))
        return has(request, "continue=two")     ? answer_page(fd, 3, 4, "77", "three")
               : has(request, "continue=three") ? answer_page(fd, 5, 5, "77", "")
                                                : answer_page(fd, 1, 2, "77", "two");
    if (has(request, "/cut?")) {
        bool second = has(request, "continue=two");
        if (count == 0)
            return second ? answer_cut_page(fd, 10, 18, "77", "") : answer_cut_page(fd, 1, 9, "77", "two");
        return second ? answer_page(fd, 10, 18, "77", "") : answer_page(fd, 1, 9, "77", "two");
    }
    if (has(request, "/always-cut?"))
        return answer_cut_page(fd, 1, 9, "77", "");
    if (has(request, "/expired?")) {
        if (has(request, "continue=old")) {
            server_answer(fd, 410, JSON,
                          "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{\"continue\":\"fresh\"},\"status\":"
                          "\"Failure\",\"message\":\"too old\",\"reason\":\"Expired\",\"code\":410}");
            return true;
        }
        return has(request, "continue=fresh") ? answer_page(fd, 3, 4, "99", "") : answer_page(fd, 1, 2, "77", "old");
    }
    if (has(request, "/half?")) {
        server_answer(fd, 200, JSON, "{\"items\":[{\"metadata\":{\"name\":\"vm-01\"}},{\"metadata\":{\"na");
        return true;
    }
    server_answer(
        fd, 403, JSON,
        "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"virtualmachines.kubevirt.io "
        "is "
        "forbidden: User \\\"ci\\\" cannot list resource \\\"virtualmachines\\\" in API group \\\"kubevirt.io\\\" "
        "in the namespace \\\"vms\\\"\",\"reason\":\"Forbidden\",\"code\":403}");
    return true;
}

/* ---- Watches ---- */

static const char added[] = "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"vm-01\",\"namespace\":\"n\","
                            "\"uid\":\"u1\",\"resourceVersion\":"
                            "\"101\"}}}\n"
                            "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"vm-02\",\"namespace\":\"n\","
                            "\"uid\":\"old\",\"resourceVersion\":"
                            "\"90\"}}}\n"
                            "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"vm-09\",\"namespace\":\"n\","
                            "\"uid\":\"u9\",\"resourceVersion\":"
                            "\"91\"}}}\n"
                            "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"vm-03\",\"namespace\":\"n\","
                            "\"uid\":\"u3\",\"resourceVersion\":"
                            "\"92\"}}}\n";
static const char bookmark[] = "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"150\"}}}\n";
static const char modified[] =
    "{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"name\":\"vm-01\",\"namespace\":\"n\","
    "\"uid\":\"u1\",\"resourceVersion\":\"160\"}}}\n";
static const char deleted[] = "{\"type\":\"DELETED\",\"object\":{\"metadata\":{\"name\":\"vm-01\",\"namespace\":\"n\","
                              "\"uid\":\"u1\",\"resourceVersion\":\"170\"}}}\n";
static const char too_old[] =
    "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\","
    "\"message\":\"too old resource version\",\"reason\":\"Expired\",\"code\":410}}\n";

static const char no_progress[] = "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"status\":\"Failure\","
                                  "\"message\":\"a watch stream was requested by the "
                                  "client but the required storage feature RequestWatchProgress is "
                                  "disabled\",\"reason\":\"InternalError\",\"code\":500}}\n";
static const char synced[] =
    "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"150\",\"annotations\":{"
    "\"k8s.io/initial-events-end\":\"true\"}}}}\n";

/* A stream that the server ends by itself. */
static bool answer_stream(int fd, const char *one, const char *two) {
    VMC_AUTO_FREE char *body = vmc_printf("%s%s", one, two);
    server_answer(fd, 200, JSON, body);
    return true;
}

static bool answer_watches(int fd, const server_request *request, int count) {
    (void)count;
    if (has(request, "/resumed?")) {
        if (has(request, "resourceVersion=150")) /* the bookmark's */
            return answer_stream(fd, modified, "");
        if (has(request, "resourceVersion=160"))
            return answer_stream(fd, deleted, "");
        return answer_stream(fd, added, bookmark);
    }
    if (has(request, "/broken?"))
        return has(request, "resourceVersion=150")   ? answer_cut(fd, modified, sizeof modified / 2)
               : has(request, "resourceVersion=101") ? answer_stream(fd, modified, "")
                                                     : answer_cut(fd, added, sizeof added - 20);
    if (has(request, "/expired?")) {
        if (has(request, "resourceVersion=300"))
            return answer_stream(
                fd, "{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"name\":\"vm-04\",\"namespace\":\"n\"}}}", "");
        if (has(request, "watch=true"))
            return answer_stream(fd, added, too_old);
        return answer_page(fd, 1, 4, "300", ""); /* vm-02 is another one now, vm-03 has changed, vm-09 is gone */
    }
    if (has(request, "/quiet?")) {
        static const char head[] = "HTTP/1.1 200 OK\r\n" JSON "Transfer-Encoding: chunked\r\n\r\n";
        server_send(fd, head, sizeof head - 1);
        char byte;
        return recv(fd, &byte, 1, 0) > 0; /* until the client goes */
    }
    if (has(request, "/old-etcd?"))
        return has(request, "allowWatchBookmarks") ? answer_stream(fd, no_progress, "") : answer_stream(fd, added, "");
    if (has(request, "/synced?"))
        return answer_stream(fd, added, synced);
    if (has(request, "/html?")) {
        server_answer(fd, 200, "Content-Type: text/html\r\n", "<html>log in</html>");
        return true;
    }
    if (has(request, "/unsteady?")) {
        if (lab.seen_count % 3 != 0)
            server_answer(fd, 500, "Content-Type: text/plain\r\n", "oops");
        else
            return answer_stream(fd, added, "");
        return true;
    }
    return false;
}

static bool answer(server *s, int fd, const server_request *request, int count) {
    (void)s;
    return strstr(request->path, "watch=true") || strncmp(request->path, "/w/", 3) == 0
               ? answer_watches(fd, request, count)
               : answer_lists(fd, request, count);
}

/* ---- Lists ---- */

typedef struct seen {
    vmc_strv names;
    size_t stop_after; /* 0: never */
    int result;
} seen;

static int keep_name(cJSON **item, void *user) {
    seen *s = user;
    const cJSON *metadata = cJSON_GetObjectItem(*item, "metadata");
    assert_null(cJSON_GetObjectItem(metadata, "managedFields"));
    vmc_strv_add(&s->names, cJSON_GetObjectItem(metadata, "name")->valuestring);
    return s->names.count == s->stop_after ? s->result : 0;
}

static int list(const char *path, seen *s, char **version, vmctl_error **err) {
    return kube_list(client, path, &(kube_list_options){.resource_version = version}, &far, keep_name, s, err);
}

static void assert_names(const seen *s, int from, int to) {
    assert_int_equal(s->names.count, to - from + 1);
    for (int i = from; i <= to; i++) {
        VMC_AUTO_FREE char *name = vmc_printf("vm-%02d", i);
        assert_string_equal(s->names.items[i - from], name);
    }
}

static void test_pages_follow_each_other(void **state) {
    (void)state;
    seen s = {0};
    VMC_AUTO_FREE char *version = NULL;
    assert_int_equal(list("/pages", &s, &version, NULL), 0);
    assert_names(&s, 1, 5);
    assert_string_equal(version, "77");
    assert_int_equal(server_count(&lab, "/pages?limit=500"), 1);
    assert_int_equal(server_count(&lab, "/pages?limit=500&continue=two"), 1);
    assert_int_equal(server_count(&lab, "/pages?limit=500&continue=three"), 1);
    vmc_strv_free(&s.names);
}

static void test_a_cut_page_is_taken_up(void **state) {
    (void)state;
    seen s = {0};
    assert_int_equal(list("/cut", &s, NULL, NULL), 0);
    assert_names(&s, 1, 18); /* each once */
    assert_int_equal(server_count(&lab, "/cut?limit=500"), 2);
    assert_int_equal(server_count(&lab, "/cut?limit=500&continue=two"), 2);
    vmc_strv_free(&s.names);
    vmctl_error *err = NULL;
    seen none = {0};
    assert_int_equal(list("/always-cut", &none, NULL, &err), VMCTL_E_UNAVAILABLE);
    assert_true(vmctl_error_retryable(err));
    vmctl_error_free(err);
    vmc_strv_free(&none.names);
    seen half = {0};
    assert_int_equal(list("/half", &half, NULL, NULL), VMCTL_E_UNAVAILABLE);
    assert_names(&half, 1, 1);
    vmc_strv_free(&half.names);
}

static void test_an_expired_token_is_replaced(void **state) {
    (void)state;
    seen s = {0};
    VMC_AUTO_FREE char *version = NULL;
    assert_int_equal(list("/expired", &s, &version, NULL), 0);
    assert_names(&s, 1, 4);
    assert_string_equal(version, "77"); /* what changed since the first page is the watch's */
    vmc_strv_free(&s.names);
}

static void test_the_callback_ends_a_list(void **state) {
    (void)state;
    seen enough = {.stop_after = 3, .result = 1}, bad = {.stop_after = 1, .result = VMCTL_E_INVALID_STATE};
    int before = server_count(&lab, "/pages?limit=500&continue=three");
    assert_int_equal(list("/pages", &enough, NULL, NULL), 0);
    assert_names(&enough, 1, 3);
    assert_int_equal(server_count(&lab, "/pages?limit=500&continue=three"), before);
    assert_int_equal(list("/pages", &bad, NULL, NULL), VMCTL_E_INVALID_STATE);
    vmc_strv_free(&enough.names);
    vmc_strv_free(&bad.names);
}

static void test_a_denied_list_says_what_to_ask_for(void **state) {
    (void)state;
    seen s = {0};
    vmctl_error *err = NULL;
    assert_int_equal(list("/denied", &s, NULL, &err), VMCTL_E_PERMISSION_DENIED);
    assert_string_equal(vmctl_error_next(err),
                        "ask for a role that allows list on virtualmachines in the namespace \"vms\"");
    vmctl_error_free(err);
}

/* ---- Watches ---- */

static int keep_event(kube_event event, cJSON **object, void *user) {
    seen *s = user;
    static const char *const names[] = {"ADDED", "MODIFIED", "DELETED", "SYNCED"};
    const cJSON *metadata = cJSON_GetObjectItem(*object, "metadata"), *uid = cJSON_GetObjectItem(metadata, "uid");
    if (event == KUBE_SYNCED)
        vmc_strv_add(&s->names, names[event]);
    else
        vmc_strv_printf(&s->names, "%s %s %s", names[event], cJSON_GetObjectItem(metadata, "name")->valuestring,
                        uid ? uid->valuestring : "-");
    return s->names.count == s->stop_after ? s->result : 0;
}

static int watch(const char *path, const kube_watch_options *options, const vmc_deadline *deadline, seen *s,
                 vmctl_error **err) {
    return kube_watch(client, path, options, deadline, keep_event, s, err);
}

static void assert_events(seen *s, const char *wanted) {
    VMC_AUTO_FREE char *all = vmc_strv_join(&s->names, ", ");
    assert_string_equal(all, wanted);
    vmc_strv_free(&s->names);
}

#define ALL_ADDED "ADDED vm-01 u1, ADDED vm-02 old, ADDED vm-09 u9, ADDED vm-03 u3"

static void test_a_watch_goes_on_where_it_ended(void **state) {
    (void)state;
    seen s = {.stop_after = 6, .result = 1};
    const char *const query[] = {"fieldSelector", "metadata.name=vm-01", NULL};
    assert_int_equal(watch("/w/resumed", &(kube_watch_options){.query = query}, &far, &s, NULL), 0);
    assert_events(&s, ALL_ADDED ", MODIFIED vm-01 u1, DELETED vm-01 u1");
    pthread_mutex_lock(&lab.lock);
    const char *first = NULL;
    for (int i = 0; i < lab.seen_count && !first; i++)
        first = has(&lab.seen[i], "/w/resumed?") ? lab.seen[i].path : NULL;
    assert_non_null(strstr(first, "fieldSelector=metadata.name%3Dvm-01&watch=true&timeoutSeconds="));
    assert_non_null(strstr(first, "allowWatchBookmarks=true"));
    assert_null(strstr(first, "resourceVersion"));
    pthread_mutex_unlock(&lab.lock);
}

static void test_a_broken_stream_goes_on_too(void **state) {
    (void)state;
    seen s = {.stop_after = 4, .result = 1};
    /* The fourth ADDED was cut in its middle: it is not told. The highest version that was is 101. */
    assert_int_equal(watch("/w/broken", NULL, &far, &s, NULL), 0);
    assert_events(&s, "ADDED vm-01 u1, ADDED vm-02 old, ADDED vm-09 u9, MODIFIED vm-01 u1");
}

static void test_a_version_too_old_is_a_list(void **state) {
    (void)state;
    seen s = {.stop_after = 11, .result = 1};
    assert_int_equal(watch("/w/expired", NULL, &far, &s, NULL), 0);
    assert_events(&s, ALL_ADDED
                  ", DELETED vm-02 old, ADDED vm-02 u2, MODIFIED vm-03 u3, ADDED vm-04 u4, DELETED vm-09 u9, SYNCED, "
                  "MODIFIED vm-04 -");
}

static void test_a_list_comes_first_when_asked_for(void **state) {
    (void)state;
    seen s = {.stop_after = 6, .result = 1};
    assert_int_equal(watch("/w/expired", &(kube_watch_options){.list_first = true}, &far, &s, NULL), 0);
    assert_events(&s, "ADDED vm-01 u1, ADDED vm-02 u2, ADDED vm-03 u3, ADDED vm-04 u4, SYNCED, MODIFIED vm-04 -");
}

static void test_servers_differ_in_how_they_begin(void **state) {
    (void)state;
    seen told = {.stop_after = 5, .result = 1}, old = {.stop_after = 4, .result = 1};
    assert_int_equal(watch("/w/synced", NULL, &far, &told, NULL), 0);
    assert_events(&told, ALL_ADDED ", SYNCED");
    int before = lab.seen_count;
    assert_int_equal(watch("/w/old-etcd", NULL, &far, &old, NULL), 0);
    assert_events(&old, ALL_ADDED);
    assert_int_equal(lab.seen_count, before + 2); /* at once, without a pause that would count as a failure */
}

static int quiet_requests(void) {
    int count = 0;
    pthread_mutex_lock(&lab.lock);
    for (int i = 0; i < lab.seen_count; i++)
        count += has(&lab.seen[i], "/w/quiet?");
    pthread_mutex_unlock(&lab.lock);
    return count;
}

static void *watch_quietly(void *user) {
    vmctl_call call = VMCTL_CALL_INIT;
    call.cancel = user;
    vmc_deadline deadline = vmc_deadline_start(&call, 60000);
    seen s = {0};
    return (void *)(intptr_t)watch("/w/quiet", NULL, &deadline, &s, NULL);
}

static void test_a_quiet_watch_asks_once(void **state) {
    (void)state;
    vmctl_cancel *cancel = vmctl_cancel_new();
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, watch_quietly, cancel), 0);
    while (quiet_requests() == 0)
        usleep(1000);
    usleep(700000); /* more than the first pause of a watch that asks again */
    vmctl_cancel_trigger(cancel);
    void *rc;
    pthread_join(thread, &rc);
    assert_int_equal((intptr_t)rc, VMCTL_E_CANCELLED);
    assert_int_equal(quiet_requests(), 1);
    vmctl_cancel_free(cancel);
    seen s = {0};
    vmc_deadline soon = vmc_deadline_within(&far, 100);
    assert_int_equal(watch("/w/quiet", NULL, &soon, &s, NULL), VMCTL_E_TIMEOUT);
}

static void test_errors_on_the_way_pass_or_end_it(void **state) {
    (void)state;
    seen s = {.stop_after = 4, .result = 1};
    assert_int_equal(watch("/w/unsteady", NULL, &far, &s, NULL), 0);
    assert_events(&s, ALL_ADDED);
    seen none = {0};
    assert_int_equal(watch("/w/html", NULL, &far, &none, NULL), VMCTL_E_UNAVAILABLE);
    assert_int_equal(none.names.count, 0);
    seen bad = {.stop_after = 2, .result = VMCTL_E_INVALID_STATE};
    assert_int_equal(watch("/w/resumed", NULL, &far, &bad, NULL), VMCTL_E_INVALID_STATE);
    vmc_strv_free(&bad.names);
}

static int set_up(void **state) {
    (void)state;
    far = vmc_deadline_start(NULL, 100000);
    server_start(&lab, answer);
    folder = lab_folder();
    client = lab_client_of(folder, &lab, "{}");
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    kube_client_free(client);
    http_shutdown();
    server_stop(&lab);
    lab_remove(folder);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages_follow_each_other),
        cmocka_unit_test(test_a_cut_page_is_taken_up),
        cmocka_unit_test(test_an_expired_token_is_replaced),
        cmocka_unit_test(test_the_callback_ends_a_list),
        cmocka_unit_test(test_a_denied_list_says_what_to_ask_for),
        cmocka_unit_test(test_a_watch_goes_on_where_it_ended),
        cmocka_unit_test(test_a_broken_stream_goes_on_too),
        cmocka_unit_test(test_a_version_too_old_is_a_list),
        cmocka_unit_test(test_a_list_comes_first_when_asked_for),
        cmocka_unit_test(test_a_quiet_watch_asks_once),
        cmocka_unit_test(test_errors_on_the_way_pass_or_end_it),
        cmocka_unit_test(test_servers_differ_in_how_they_begin),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
