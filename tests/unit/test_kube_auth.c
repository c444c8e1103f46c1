/* tests/unit/test_kube_auth.c - who a request says it is from: tokens, token files, plugins, basic, impersonation; and writes that must not
 * happen twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "drivers/kube/client.h"
#include "kube_lab.h"
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>

#define JSON "Content-Type: application/json\r\n"

static vmc_deadline far;
static char *folder;
static server lab;

static bool answer(server *s, int fd, const server_request *request, int count) {
    (void)s;
    VMC_AUTO_FREE char *authorization = server_header(request, "Authorization");
    if (strncmp(request->path, "/good/", 6) == 0) { /* only that token is good */
        bool good = authorization && strcmp(authorization + strlen("Bearer "), request->path + 6) == 0;
        server_answer(
            fd, good ? 200 : 401, JSON,
            good ? "{}"
                 : "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"Unauthorized\","
                   "\"reason\":\"Unauthorized\",\"code\":401}");
    } else if (strcmp(request->path, "/apis/subresources.kubevirt.io/v1/namespaces/n/virtualmachineinstances/v/vnc") ==
               0) {
        server_answer(fd, 401, "", "");
    } else if (strncmp(request->path, "/lost", 5) == 0 && strcmp(request->method, "POST") == 0 &&
               (count == 0 || strstr(request->path, "always"))) {
        return false; /* taken, and no answer */
    } else if (strncmp(request->path, "/lost", 5) == 0 && strcmp(request->method, "GET") == 0) {
        bool there = strstr(request->path, "/kept/") || strstr(request->path, "/kept-old/") ||
                     strstr(request->path, "/kept-other/");
        VMC_AUTO_FREE char *body = vmc_printf(
            "{\"metadata\":{\"name\":\"x\",\"uid\":\"u\",\"creationTimestamp\":\"2026-11-23T0%d:00:00Z\"},\"spec\":{"
            "\"a\":[{\"b\":%d,\"added\":true}]}}",
            strstr(request->path, "/kept-old/") ? 4 : 5, strstr(request->path, "/kept-other/") ? 2 : 1);
        server_answer(
            fd, there ? 200 : 404, JSON "Date: Mon, 23 Nov 2026 05:00:01 GMT\r\n",
            there ? body
                  : "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"not found\","
                    "\"reason\":\"NotFound\",\"code\":404}");
    } else {
        server_answer(fd, 200, JSON, "{\"metadata\":{\"uid\":\"new\"}}");
    }
    return true;
}

static int ask(kube_client *client, const char *path, const vmc_deadline *deadline, vmctl_error **err) {
    return kube_call(client, &(kube_request){.path = path}, deadline, NULL, err);
}

/* The plugin's script below the folder; its kubeconfig entry is YAML of `more` keys beside. */
static kube_client *plugin_client(const char *script, const char *more) {
    VMC_AUTO_FREE char *text = vmc_printf("#!/bin/sh\n%s\n", script);
    VMC_AUTO_FREE char *path = lab_write(folder, "plugin", text);
    assert_int_equal(chmod(path, 0700), 0);
    VMC_AUTO_FREE char *calls = vmc_printf("%s/calls", folder);
    unlink(calls);
    VMC_AUTO_FREE char *user =
        vmc_printf("{exec: {apiVersion: client.authentication.k8s.io/v1, command: ./plugin, env: [{name: "
                   "FOLDER, value: \"%s\"}], installHint: \"install the "
                   "plugin\"%s}}",
                   folder, more);
    return lab_client_of(folder, &lab, user);
}

static size_t calls(void) {
    VMC_AUTO_FREE char *path = vmc_printf("%s/calls", folder);
    VMC_AUTO_FREE char *text = NULL;
    size_t length = 0;
    return vmc_file_read(path, 1 << 20, &text, &length, NULL) < 0 ? 0 : length / 2; /* "x\n" each */
}

#define COUNT "echo x >>$FOLDER/calls; n=$(wc -l <$FOLDER/calls); "
#define CREDENTIAL(status)                                                                                             \
    "echo '{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":'\"" status      \
    "\"'}'"

static void test_a_plugin_is_run_once_and_again_after_401(void **state) {
    (void)state;
    KUBE_AUTO_CLIENT *client = plugin_client(COUNT CREDENTIAL("{\\\"token\\\":\\\"t$n\\\"}"), "");
    assert_int_equal(ask(client, "/good/t1", &far, NULL), 0);
    assert_int_equal(ask(client, "/good/t1", &far, NULL), 0);
    assert_int_equal(calls(), 1);
    assert_int_equal(ask(client, "/good/t2", &far, NULL), 0); /* 401, the plugin, once more */
    assert_int_equal(calls(), 2);
    vmctl_error *err = NULL;
    assert_int_equal(ask(client, "/good/t9", &far, &err), VMCTL_E_UNAUTHENTICATED);
    assert_int_equal(calls(), 3);
    assert_non_null(strstr(vmctl_error_text(err), "user \"me\""));
    vmctl_error_free(err);
    /* virt-api's empty 401 is no question of credentials. */
    assert_int_equal(
        ask(client, "/apis/subresources.kubevirt.io/v1/namespaces/n/virtualmachineinstances/v/vnc", &far, NULL),
        VMCTL_E_PERMISSION_DENIED);
    assert_int_equal(calls(), 3);
}

static void test_credentials_that_end_are_got_again(void **state) {
    (void)state;
    KUBE_AUTO_CLIENT *past = plugin_client(
        COUNT CREDENTIAL("{\\\"token\\\":\\\"t$n\\\",\\\"expirationTimestamp\\\":\\\"2020-01-01T00:00:00Z\\\"}"), "");
    assert_int_equal(ask(past, "/good/t1", &far, NULL), 0);
    assert_int_equal(ask(past, "/good/t2", &far, NULL), 0);
    KUBE_AUTO_CLIENT *future = plugin_client(
        COUNT CREDENTIAL("{\\\"token\\\":\\\"t$n\\\",\\\"expirationTimestamp\\\":\\\"2999-01-01T00:00:00.5+02:00\\\"}"),
        "");
    assert_int_equal(ask(future, "/good/t1", &far, NULL), 0);
    assert_int_equal(ask(future, "/good/t1", &far, NULL), 0);
    assert_int_equal(calls(), 1);
}

static void test_a_plugin_is_told_what_it_is_for(void **state) {
    (void)state;
    KUBE_AUTO_CLIENT *client =
        plugin_client("printf '%s' \"$KUBERNETES_EXEC_INFO\" >$FOLDER/info; " CREDENTIAL("{\\\"token\\\":\\\"t\\\"}"),
                      ", provideClusterInfo: true");
    assert_int_equal(ask(client, "/good/t", &far, NULL), 0);
    VMC_AUTO_FREE char *path = vmc_printf("%s/info", folder);
    VMC_AUTO_FREE char *text = NULL;
    assert_int_equal(vmc_file_read(path, 1 << 20, &text, NULL, NULL), 0);
    cJSON *info = cJSON_Parse(text), *spec = cJSON_GetObjectItem(info, "spec"),
          *cluster = cJSON_GetObjectItem(spec, "cluster");
    assert_string_equal(cJSON_GetObjectItem(info, "kind")->valuestring, "ExecCredential");
    assert_string_equal(cJSON_GetObjectItem(info, "apiVersion")->valuestring, "client.authentication.k8s.io/v1");
    assert_true(cJSON_IsFalse(cJSON_GetObjectItem(spec, "interactive")));
    VMC_AUTO_FREE char *url = vmc_printf("http://127.0.0.1:%d", lab.port);
    assert_string_equal(cJSON_GetObjectItem(cluster, "server")->valuestring, url);
    cJSON_Delete(info);
}

static void fails(const char *script, const char *more, const vmc_deadline *deadline, int code, const char *words) {
    KUBE_AUTO_CLIENT *client = plugin_client(script, more);
    vmctl_error *err = NULL;
    int rc = ask(client, "/good/t", deadline, &err);
    const char *text = err ? vmctl_error_text(err) : "success";
    if (rc != code || !strstr(text, words) || !strstr(text, "/plugin") || strstr(text, "hidden"))
        fail_msg("%s: got %d %s", words, rc, text);
    vmctl_error_free(err);
}

static void test_plugins_that_fail(void **state) {
    (void)state;
    int no = VMCTL_E_UNAUTHENTICATED;
    fails("echo 'hidden'; echo 'your session has ended' >&2; echo more >&2; exit 3", "", &far, no,
          "failed (exit status 3): your session has ended");
    fails("exit 3", "", &far, no, "try: install the plugin");
    fails("echo hidden-token", "", &far, no, "printed no ExecCredential");
    fails(":", "", &far, no, "printed no ExecCredential");
    fails("echo "
          "'{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1beta1\",\"status\":{\"token\":"
          "\"hidden\"}}'",
          "", &far, no, "v1beta1, not of client.authentication.k8s.io/v1");
    fails(CREDENTIAL("{}"), "", &far, no, "neither a token nor a client certificate");
    fails(CREDENTIAL("{\\\"clientCertificateData\\\":\\\"hidden\\\"}"), "", &far, no, "without its key");
    fails(CREDENTIAL("{\\\"clientCertificateData\\\":\\\"hidden\\\",\\\"clientKeyData\\\":\\\"hidden\\\"}"), "", &far,
          no, "a client certificate that is none");
    fails(CREDENTIAL("{\\\"token\\\":\\\"hidden\\\",\\\"expirationTimestamp\\\":\\\"tomorrow\\\"}"), "", &far, no,
          "expirationTimestamp");
    fails(":", ", interactiveMode: Always", &far, no, "must ask a person");
    vmc_deadline soon = vmc_deadline_within(&far, 500);
    fails("echo $$ >$FOLDER/pid; exec sleep 1000", "", &soon, VMCTL_E_TIMEOUT, "waiting for the credential plugin");
    VMC_AUTO_FREE char *path = vmc_printf("%s/pid", folder);
    VMC_AUTO_FREE char *pid = NULL;
    if (vmc_file_read(path, 64, &pid, NULL, NULL) == 0) /* a busy machine may not have got so far */
        assert_int_not_equal(kill((pid_t)strtol(pid, NULL, 10), 0), 0);
    KUBE_AUTO_CLIENT *missing = lab_client_of(folder, &lab,
                                              "{exec: {apiVersion: client.authentication.k8s.io/v1, command: "
                                              "vmctl-no-such-plugin, installHint: \"see the web\"}}");
    vmctl_error *err = NULL;
    assert_int_equal(ask(missing, "/good/t", &far, &err), no);
    assert_non_null(strstr(vmctl_error_message(err), "vmctl-no-such-plugin"));
    assert_string_equal(vmctl_error_next(err), "see the web");
    vmctl_error_free(err);
}

static void *ask_in_thread(void *client) {
    return (void *)(intptr_t)ask(client, "/good/t1", &far, NULL);
}

static void test_threads_share_one_run(void **state) {
    (void)state;
    KUBE_AUTO_CLIENT *client = plugin_client(COUNT CREDENTIAL("{\\\"token\\\":\\\"t$n\\\"}"), "");
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_in_thread, client), 0);
    for (int i = 0; i < 8; i++) {
        void *rc;
        pthread_join(threads[i], &rc);
        assert_int_equal((intptr_t)rc, 0);
    }
    assert_int_equal(calls(), 1);
}

static void test_a_token_file_is_read_again(void **state) {
    (void)state;
    free(lab_write(folder, "token", "  one \n"));
    KUBE_AUTO_CLIENT *client = lab_client_of(folder, &lab, "{tokenFile: token, token: never}");
    assert_int_equal(ask(client, "/good/one", &far, NULL), 0);
    free(lab_write(folder, "token", "two\n"));
    assert_int_equal(ask(client, "/good/two", &far, NULL), 0);
    free(lab_write(folder, "token", "\n"));
    assert_int_equal(ask(client, "/good/three", &far, NULL), VMCTL_E_UNAUTHENTICATED);
}

static void test_basic_and_impersonation(void **state) {
    (void)state;
    KUBE_AUTO_CLIENT *client = lab_client_of(
        folder, &lab,
        "{username: Aladdin, password: open sesame, as: root, as-uid: u7, as-groups: [\"system:masters\"],"
        " as-user-extra: {\"acme.com/project\": [p]}}");
    assert_int_equal(ask(client, "/me", &far, NULL), 0);
    static const struct {
        const char *name, *value;
    } wanted[] = {{"Authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}, /* RFC 7617, 2 */
                  {"Impersonate-User", "root"},
                  {"Impersonate-Uid", "u7"},
                  {"Impersonate-Group", "system:masters"},
                  {"Impersonate-Extra-acme.com%2Fproject", "p"}}; /* Kubernetes: authentication, user impersonation */
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        VMC_AUTO_FREE char *value = server_last_header(&lab, "/me", wanted[i].name);
        if (!value || strcmp(value, wanted[i].value) != 0)
            fail_msg("%s: %s", wanted[i].name, value ? value : "absent");
    }
}

/* ---- Writes whose answer is lost ---- */

static int create(kube_client *client, const char *path, const char *object, cJSON **out, vmctl_error **err) {
    cJSON *body = cJSON_Parse(object);
    int rc = kube_create(client, path, body, NULL, &far, out, err);
    cJSON_Delete(body);
    return rc;
}

#define WRITE "?fieldManager=vmctl&fieldValidation=Strict"

static void test_nothing_is_created_twice(void **state) {
    (void)state;
    KUBE_AUTO_CLIENT *client = lab_client_of(folder, &lab, "{}");
    const char *object = "{\"metadata\":{\"name\":\"x\"},\"spec\":{\"a\":[{\"b\":1}]}}";
    /* A kept connection that the server closes when the request is there: libcurl would send it once more by itself. */
    assert_int_equal(ask(client, "/warm", &far, NULL), 0);
    cJSON *made = NULL;
    assert_int_equal(create(client, "/lost/kept", object, &made, NULL), 0); /* it had arrived */
    assert_string_equal(cJSON_GetObjectItem(cJSON_GetObjectItem(made, "metadata"), "uid")->valuestring, "u");
    cJSON_Delete(made);
    assert_int_equal(server_count(&lab, "/lost/kept" WRITE), 1);
    made = NULL;
    assert_int_equal(create(client, "/lost/gone", object, &made, NULL), 0); /* it had not */
    cJSON_Delete(made);
    assert_int_equal(server_count(&lab, "/lost/gone" WRITE), 2);
    assert_int_equal(create(client, "/lost/kept-other", object, NULL, NULL),
                     VMCTL_E_ALREADY_EXISTS); /* not what was asked for */
    assert_int_equal(create(client, "/lost/kept-old", object, NULL, NULL), VMCTL_E_ALREADY_EXISTS); /* there before */
    vmctl_error *err = NULL;
    assert_int_equal(create(client, "/lost/named", "{\"metadata\":{\"generateName\":\"x-\"}}", NULL, &err),
                     VMCTL_E_UNAVAILABLE);
    assert_non_null(strstr(vmctl_error_message(err), "whether it was done is not known"));
    vmctl_error_free(err);
    assert_int_equal(server_count(&lab, "/lost/named" WRITE), 1);
}

static void test_a_write_goes_over_the_kept_connection(void **state) {
    (void)state;
    KUBE_AUTO_CLIENT *client = lab_client_of(folder, &lab, "{}");
    assert_int_equal(ask(client, "/first", &far, NULL), 0);
    int before = lab.connections;
    assert_int_equal(create(client, "/second", "{\"metadata\":{\"name\":\"x\"}}", NULL, NULL), 0);
    assert_int_equal(kube_delete(client, "/third", NULL, &far, NULL, NULL), 0);
    assert_int_equal(lab.connections, before);
}

static void test_writes_are_what_the_api_wants(void **state) {
    (void)state;
    KUBE_AUTO_CLIENT *client = lab_client_of(folder, &lab, "{}");
    cJSON *object = cJSON_Parse("{\"a\":1}"), *list = cJSON_Parse("[{\"op\":\"test\"}]");
    kube_write_options dry = {.dry_run = true, .force = true, .validation = KUBE_WARN};
    assert_int_equal(kube_apply(client, "/apply", object, &dry, &far, NULL, NULL), 0);
    const char *apply = "/apply?fieldManager=vmctl&fieldValidation=Warn&dryRun=All&force=true";
    VMC_AUTO_FREE char *apply_type = server_last_header(&lab, apply, "Content-Type");
    assert_string_equal(apply_type, "application/apply-patch+yaml");
    assert_int_equal(kube_patch(client, "/merge", object, NULL, &far, NULL, NULL), 0);
    VMC_AUTO_FREE char *merge_type = server_last_header(&lab, "/merge" WRITE, "Content-Type");
    assert_string_equal(merge_type, "application/merge-patch+json");
    assert_int_equal(kube_patch(client, "/json", list, NULL, &far, NULL, NULL), 0);
    VMC_AUTO_FREE char *json_type = server_last_header(&lab, "/json" WRITE, "Content-Type");
    assert_string_equal(json_type, "application/json-patch+json");
    kube_write_options o = {
        .uid = "u", .resource_version = "7", .propagation = "Foreground", .has_grace = true, .dry_run = true};
    assert_int_equal(kube_delete(client, "/delete", &o, &far, NULL, NULL), 0);
    const server_request *last = &lab.seen[lab.seen_count - 1];
    assert_string_equal(last->method, "DELETE");
    assert_string_equal(last->body,
                        "{\"apiVersion\":\"v1\",\"kind\":\"DeleteOptions\",\"propagationPolicy\":\"Foreground\","
                        "\"gracePeriodSeconds\":0,\"dryRun\":[\"All\"],\"preconditions\":{\"uid\":\"u\","
                        "\"resourceVersion\":\"7\"}}");
    cJSON_Delete(object);
    cJSON_Delete(list);
}

static int set_up(void **state) {
    (void)state;
    far = vmc_deadline_start(NULL, 100000);
    server_start(&lab, answer);
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
        cmocka_unit_test(test_a_plugin_is_run_once_and_again_after_401),
        cmocka_unit_test(test_credentials_that_end_are_got_again),
        cmocka_unit_test(test_a_plugin_is_told_what_it_is_for),
        cmocka_unit_test(test_plugins_that_fail),
        cmocka_unit_test(test_threads_share_one_run),
        cmocka_unit_test(test_a_token_file_is_read_again),
        cmocka_unit_test(test_basic_and_impersonation),
        cmocka_unit_test(test_nothing_is_created_twice),
        cmocka_unit_test(test_a_write_goes_over_the_kept_connection),
        cmocka_unit_test(test_writes_are_what_the_api_wants),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
