/* tests/unit/test_kube.c - drivers/kube against a small server: requests as they are sent, refusals, repetitions, writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "kube_lab.h"

static vmc_deadline far;
static char *folder;
static server lab;

static kube_client *client_of(const server *s, const char *user) {
    return lab_client_of(folder, s, user);
}

static bool answer_lab(server *s, int fd, const server_request *request, int count) {
    (void)s;
    const char *json = "Content-Type: application/json\r\n";
    if (strcmp(request->path, "/apis/kubevirt.io/v1/namespaces/vms/virtualmachines/web-1") == 0)
        server_answer(fd, 200, json, "{\"kind\":\"VirtualMachine\",\"metadata\":{\"name\":\"web-1\"}}");
    else if (strcmp(request->path, "/half") == 0)
        server_answer(fd, 200, json, "{\"kind\":\"VirtualMachine\",\"meta");
    else if (strcmp(request->path, "/busy") == 0 && count < 2)
        server_answer(fd, 429, "Retry-After: 0\r\n", "slow down");
    else if (strcmp(request->path, "/busy-for-ever") == 0)
        server_answer(
            fd, 429, json,
            "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"Cannot evict pod\","
            "\"code\":429}");
    else if (strcmp(request->path, "/down") == 0 && count < 1)
        server_answer(fd, 503, "Retry-After: 0\r\nContent-Type: text/plain\r\n", "service unavailable");
    else if (strcmp(request->path, "/empty") == 0)
        server_answer(fd, 202, "", "");
    else if (strcmp(request->path, "/login") == 0)
        server_answer(fd, 302, "Location: https://login.example.com/?token=abc\r\n", "");
    else if (strcmp(request->path, "/warned") == 0)
        server_answer(fd, 200, "Content-Type: application/json\r\nWarning: 299 - \"unknown field \\\"spec.x\\\"\"\r\n",
                      "{}");
    else if (strncmp(request->path, "/ok", 3) == 0 || count >= 1)
        server_answer(fd, 200, json, "{\"ok\":true}");
    else
        server_answer(fd, 404, "Content-Type: text/plain; charset=utf-8\r\n", "404 page not found\n");
    return true;
}

static void test_get_is_what_the_api_wants(void **state) {
    (void)state;
    KUBE_AUTO_CLIENT *client = client_of(&lab, "{token: abc.def}");
    assert_string_equal(kube_client_namespace(client), "vms");
    VMC_AUTO_FREE char *path =
        kube_path("kubevirt.io", "v1", kube_client_namespace(client), "virtualmachines", "web-1", NULL);
    cJSON *object = NULL;
    assert_int_equal(kube_get(client, path, &far, &object, NULL), 0);
    assert_string_equal(cJSON_GetObjectItem(cJSON_GetObjectItem(object, "metadata"), "name")->valuestring, "web-1");
    cJSON_Delete(object);
    VMC_AUTO_FREE char *accept = server_last_header(&lab, path, "Accept");
    VMC_AUTO_FREE char *agent = server_last_header(&lab, path, "User-Agent");
    VMC_AUTO_FREE char *authorization = server_last_header(&lab, path, "Authorization");
    assert_string_equal(accept, "application/json, */*");
    assert_string_equal(agent, "vmctl/" VMCTL_VERSION);
    assert_string_equal(authorization, "Bearer abc.def");
}

static void test_paths_and_queries_are_escaped(void **state) {
    (void)state;
    VMC_AUTO_FREE char *core = kube_path("", "v1", "a b", "secrets", "x/y", NULL);
    assert_string_equal(core, "/api/v1/namespaces/a%20b/secrets/x%2Fy");
    VMC_AUTO_FREE char *sub =
        kube_path("subresources.kubevirt.io", "v1", "n", "virtualmachineinstances", "v", "portforward/22/tcp");
    assert_string_equal(sub,
                        "/apis/subresources.kubevirt.io/v1/namespaces/n/virtualmachineinstances/v/portforward/22/tcp");
    VMC_AUTO_FREE char *all = kube_path("kubevirt.io", "v1", NULL, "virtualmachines", NULL, NULL);
    assert_string_equal(all, "/apis/kubevirt.io/v1/virtualmachines");
    KUBE_AUTO_CLIENT *client = client_of(&lab, "{}");
    const char *const query[] = {"fieldSelector", "metadata.name=a b", "limit", "1", NULL};
    assert_int_equal(kube_call(client, &(kube_request){.path = "/ok", .query = query}, &far, NULL, NULL), 0);
    assert_int_equal(server_count(&lab, "/ok?fieldSelector=metadata.name%3Da%20b&limit=1"), 1);
}

static int code_of(kube_client *client, const char *method, const char *path, kube_status *status, vmctl_error **err) {
    cJSON *object = NULL;
    int rc = kube_call(client, &(kube_request){.method = method, .path = path, .status = status}, &far, &object, err);
    cJSON_Delete(object);
    return rc;
}

static void test_refusals_are_typed(void **state) {
    (void)state;
    KUBE_AUTO_CLIENT *client = client_of(&lab, "{}");
    KUBE_AUTO_STATUS status = {0};
    vmctl_error *err = NULL;
    assert_int_equal(code_of(client, NULL, "/apis/cdi.kubevirt.io/v1beta1/datavolumes", &status, &err),
                     VMCTL_E_UNSUPPORTED);
    assert_int_equal(status.http, 404);
    assert_true(status.text);
    assert_non_null(strstr(vmctl_error_next(err), "cdi.kubevirt.io"));
    vmctl_error_free(err);
    err = NULL;
    assert_int_equal(code_of(client, NULL, "/half", NULL, &err), VMCTL_E_UNAVAILABLE);
    vmctl_error_free(err);
    err = NULL;
    assert_int_equal(code_of(client, NULL, "/login", NULL, &err), VMCTL_E_UNAVAILABLE);
    assert_non_null(strstr(vmctl_error_message(err), "login.example.com"));
    assert_null(strstr(vmctl_error_message(err), "abc"));
    vmctl_error_free(err);
    assert_int_equal(code_of(client, "PUT", "/empty", NULL, NULL), 0);
}

static void test_sent_again_only_when_the_server_asks(void **state) {
    (void)state;
    KUBE_AUTO_CLIENT *client = client_of(&lab, "{}");
    /* 429 with Retry-After: anything; 503 with it: reads; without it: nothing. */
    assert_int_equal(code_of(client, "POST", "/busy", NULL, NULL), 0);
    assert_int_equal(server_count(&lab, "/busy"), 3);
    assert_int_equal(code_of(client, "GET", "/down", NULL, NULL), 0);
    assert_int_equal(server_count(&lab, "/down"), 2);
    vmctl_error *err = NULL;
    assert_int_equal(code_of(client, "POST", "/busy-for-ever", NULL, &err), VMCTL_E_BUSY);
    assert_true(vmctl_error_retryable(err));
    vmctl_error_free(err);
    assert_int_equal(server_count(&lab, "/busy-for-ever"), 1);
}

static void keep_note(vmctl_note_level level, const char *text, void *user) {
    assert_int_equal(level, VMCTL_NOTE_WARNING);
    vmc_strv_add(user, text);
}

static void test_warnings_are_told_once(void **state) {
    (void)state;
    KUBE_AUTO_CLIENT *client = client_of(&lab, "{}");
    VMC_AUTO_STRV notes = {0};
    vmctl_call call = VMCTL_CALL_INIT;
    call.note = keep_note;
    call.user = &notes;
    vmc_deadline deadline = vmc_deadline_start(&call, 60000);
    for (int i = 0; i < 2; i++)
        assert_int_equal(kube_call(client, &(kube_request){.path = "/warned"}, &deadline, NULL, NULL), 0);
    assert_int_equal(notes.count, 1);
    assert_string_equal(notes.items[0], "the cluster warns: unknown field \"spec.x\"");
}

static int set_up(void **state) {
    (void)state;
    far = vmc_deadline_start(NULL, 60000);
    server_start(&lab, answer_lab);
    folder = lab_folder();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    http_shutdown();
    server_stop(&lab);
    lab_remove(folder);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get_is_what_the_api_wants), cmocka_unit_test(test_paths_and_queries_are_escaped),
        cmocka_unit_test(test_refusals_are_typed),        cmocka_unit_test(test_sent_again_only_when_the_server_asks),
        cmocka_unit_test(test_warnings_are_told_once),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
