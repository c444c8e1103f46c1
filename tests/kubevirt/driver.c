/* tests/kubevirt/driver.c - drivers/kube against a real kube-apiserver: `tests/integration/world --kubevirt -- kube_driver`. What an API
 * server does of itself (dry runs, server-side apply, conflicts, patches, pages, watches, roles) and how few connections it takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "drivers/http/http.h"
#include "drivers/kube/client.h"
#include "drivers/kube/kube.h"
#include <cmocka.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static vmc_deadline far;
static kube_client *admin;
static char *vms; /* the collection's path */

static kube_client *client_of(const char *context) {
    KUBE_AUTO_CONFIG *config = NULL;
    vmctl_error *err = NULL;
    if (kube_config_load(&(kube_config_options){.context = context}, &config, &err) < 0)
        fail_msg("%s", vmctl_error_text(err));
    kube_client *client = NULL;
    assert_int_equal(kube_client_new(config, &client, NULL), 0);
    return client;
}

static cJSON *machine(const char *name, const char *more) {
    VMC_AUTO_FREE char *text =
        vmc_printf("{\"apiVersion\":\"kubevirt.io/"
                   "v1\",\"kind\":\"VirtualMachine\",\"metadata\":{\"name\":\"%s\"},\"spec\":{\"runStrategy\":"
                   "\"Halted\",\"template\":{\"spec\":{\"domain\":{\"cpu\":{\"cores\":2},\"memory\":{\"guest\":"
                   "\"512Mi\"},\"devices\":{}%s}}}}}",
                   name, more);
    cJSON *object = cJSON_Parse(text);
    assert_non_null(object);
    return object;
}

static char *path_of(const char *name) {
    return vmc_printf("%s/%s", vms, name);
}

static const char *text_at(const cJSON *object, const char *map, const char *key) {
    const cJSON *item = cJSON_GetObjectItem(cJSON_GetObjectItem(object, map), key);
    return cJSON_IsString(item) ? item->valuestring : "";
}

/* Counts the changes of its spec. */
static int generation_of(const cJSON *object) {
    return cJSON_GetObjectItem(cJSON_GetObjectItem(object, "metadata"), "generation")->valueint;
}

static cJSON *create(const char *name) {
    cJSON *object = machine(name, ""), *made = NULL;
    vmctl_error *err = NULL;
    if (kube_create(admin, vms, object, NULL, &far, &made, &err) < 0)
        fail_msg("%s", vmctl_error_text(err));
    cJSON_Delete(object);
    return made;
}

static void destroy(const char *name) {
    VMC_AUTO_FREE char *path = path_of(name);
    assert_int_equal(kube_delete(admin, path, NULL, &far, NULL, NULL), 0);
}

static void test_discovery_is_the_servers(void **state) {
    (void)state;
    const kube_discovery *d = NULL;
    assert_int_equal(kube_discover(admin, true, &far, &d, NULL), 0);
    assert_string_equal(kube_discovery_version(d, "kubevirt.io", NULL), "v1");
    bool namespaced = false;
    assert_string_equal(kube_discovery_plural(d, "kubevirt.io", "v1", "VirtualMachine", &namespaced),
                        "virtualmachines");
    assert_true(namespaced);
    assert_true(kube_discovery_has(d, "subresources.kubevirt.io", "v1", "virtualmachines/start"));
    assert_false(kube_discovery_stale(d, "subresources.kubevirt.io"));
    assert_null(kube_discovery_version(d, "nothing.example.com", NULL));
}

static int create_code(const char *name, const char *more, const kube_write_options *options, vmctl_error **err) {
    cJSON *object = machine(name, more);
    int rc = kube_create(admin, vms, object, options, &far, NULL, err);
    cJSON_Delete(object);
    return rc;
}

static void test_create_is_strict(void **state) {
    (void)state;
    vmctl_error *err = NULL;
    KUBE_AUTO_STATUS status = {0};
    assert_int_equal(create_code("strict", ",\"cpuu\":{}", &(kube_write_options){.status = &status}, &err),
                     VMCTL_E_INVALID_ARGUMENT);
    assert_non_null(strstr(vmctl_error_message(err), "unknown field \"spec.template.spec.domain.cpuu\""));
    assert_int_equal(status.http, 400);
    vmctl_error_free(err);
    err = NULL;
    assert_int_equal(create_code("Not_A_Name", "", NULL, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_non_null(strstr(vmctl_error_message(err), "RFC 1123"));
    vmctl_error_free(err);
    /* A dry run keeps nothing. */
    assert_int_equal(create_code("strict", "", &(kube_write_options){.dry_run = true}, NULL), 0);
    assert_int_equal(create_code("strict", "", NULL, NULL), 0);
    assert_int_equal(create_code("strict", "", NULL, NULL), VMCTL_E_ALREADY_EXISTS);
    destroy("strict");
}

static void keep_note(vmctl_note_level level, const char *text, void *user) {
    (void)level;
    vmc_strv_add(user, text);
}

static void test_unknown_fields_may_be_warnings(void **state) {
    (void)state;
    VMC_AUTO_STRV notes = {0};
    vmctl_call call = VMCTL_CALL_INIT;
    call.note = keep_note;
    call.user = &notes;
    vmc_deadline deadline = vmc_deadline_start(&call, 60000);
    cJSON *object = machine("warned", ",\"cpuu\":{}");
    kube_write_options o = {.dry_run = true, .validation = KUBE_WARN};
    assert_int_equal(kube_create(admin, vms, object, &o, &deadline, NULL, NULL), 0);
    cJSON_Delete(object);
    assert_int_equal(notes.count, 1);
    assert_string_equal(notes.items[0], "the cluster warns: unknown field \"spec.template.spec.domain.cpuu\"");
}

static void test_apply_and_conflicts(void **state) {
    (void)state;
    VMC_AUTO_FREE char *path = path_of("applied");
    cJSON *object = machine("applied", ""), *made = NULL, *again = NULL;
    assert_int_equal(kube_apply(admin, path, object, NULL, &far, &made, NULL), 0);
    assert_int_equal(kube_apply(admin, path, object, NULL, &far, &again, NULL), 0);
    assert_int_equal(generation_of(made), generation_of(again)); /* nothing to do */
    const char *const other[] = {"fieldManager", "other", NULL};
    cJSON *theirs = cJSON_Parse(
        "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachine\",\"metadata\":{\"name\":\"applied\"},"
        "\"spec\":{\"template\":{\"spec\":{\"domain\":{\"cpu\":{\"cores\":3}}}}}}");
    KUBE_AUTO_STATUS status = {0};
    kube_request request = {.method = "PATCH",
                            .path = path,
                            .query = other,
                            .body = theirs,
                            .content_type = "application/apply-patch+yaml",
                            .status = &status};
    assert_int_equal(kube_call(admin, &request, &far, NULL, NULL), VMCTL_E_CONFLICT);
    assert_true(status.cause_count >= 1);
    assert_string_equal(status.causes[0].reason, "FieldManagerConflict");
    assert_string_equal(status.causes[0].field, ".spec.template.spec.domain.cpu.cores");
    const char *const force[] = {"fieldManager", "other", "force", "true", NULL};
    request.query = force;
    assert_int_equal(kube_call(admin, &request, &far, NULL, NULL), 0);
    assert_int_equal(kube_apply(admin, path, object, NULL, &far, NULL, NULL), VMCTL_E_CONFLICT);
    assert_int_equal(kube_apply(admin, path, object, &(kube_write_options){.force = true}, &far, NULL, NULL), 0);
    /* The object that was read first is old by now. */
    assert_int_equal(kube_update(admin, path, made, NULL, &far, NULL, NULL), VMCTL_E_CONFLICT);
    cJSON_Delete(theirs);
    cJSON_Delete(object);
    cJSON_Delete(made);
    cJSON_Delete(again);
    destroy("applied");
}

static void test_patches_and_preconditions(void **state) {
    (void)state;
    VMC_AUTO_FREE char *path = path_of("patched");
    cJSON *made = create("patched"), *patched = NULL;
    cJSON *merge = cJSON_Parse("{\"metadata\":{\"labels\":{\"a\":\"b\"}}}");
    cJSON *test = cJSON_Parse("[{\"op\":\"test\",\"path\":\"/metadata/labels/"
                              "a\",\"value\":\"c\"},{\"op\":\"remove\",\"path\":\"/metadata/labels/a\"}]");
    assert_int_equal(kube_patch(admin, path, merge, NULL, &far, &patched, NULL), 0);
    assert_string_equal(text_at(cJSON_GetObjectItem(patched, "metadata"), "labels", "a"), "b");
    assert_int_equal(kube_patch(admin, path, test, NULL, &far, NULL, NULL), VMCTL_E_INVALID_ARGUMENT);
    kube_write_options wrong = {.uid = "00000000-0000-0000-0000-000000000000"};
    assert_int_equal(kube_delete(admin, path, &wrong, &far, NULL, NULL), VMCTL_E_CONFLICT);
    kube_write_options dry = {.dry_run = true};
    assert_int_equal(kube_delete(admin, path, &dry, &far, NULL, NULL), 0);
    kube_write_options right = {.uid = text_at(made, "metadata", "uid"), .propagation = "Background"};
    assert_int_equal(kube_delete(admin, path, &right, &far, NULL, NULL), 0);
    cJSON_Delete(made);
    cJSON_Delete(patched);
    cJSON_Delete(merge);
    cJSON_Delete(test);
}

static int count_labelled(cJSON **item, void *user) {
    assert_null(cJSON_GetObjectItem(cJSON_GetObjectItem(*item, "metadata"), "managedFields"));
    ++*(int *)user;
    return 0;
}

static int count_rows(cJSON **item, void *user) {
    assert_true(cJSON_IsArray(cJSON_GetObjectItem(*item, "cells")));
    ++*(int *)user;
    return 0;
}

static void test_lists_in_pages_and_other_forms(void **state) {
    (void)state;
    for (int i = 0; i < 7; i++) {
        VMC_AUTO_FREE char *name = vmc_printf("listed-%d", i);
        VMC_AUTO_FREE char *path = path_of(name);
        cJSON_Delete(create(name));
        cJSON *merge = cJSON_Parse("{\"metadata\":{\"labels\":{\"listed\":\"yes\"}}}");
        assert_int_equal(kube_patch(admin, path, merge, NULL, &far, NULL, NULL), 0);
        cJSON_Delete(merge);
    }
    const char *const query[] = {"labelSelector", "listed=yes", NULL};
    VMC_AUTO_FREE char *version = NULL;
    int whole = 0, metadata = 0, rows = 0;
    kube_list_options o = {.query = query, .page = 3, .resource_version = &version};
    assert_int_equal(kube_list(admin, vms, &o, &far, count_labelled, &whole, NULL), 0);
    assert_int_equal(whole, 7);
    assert_true(strlen(version) > 0);
    kube_list_options names = {.query = query, .page = 2, .accept = KUBE_METADATA_ONLY};
    assert_int_equal(kube_list(admin, vms, &names, &far, count_labelled, &metadata, NULL), 0);
    assert_int_equal(metadata, 7);
    kube_list_options table = {.query = query, .page = 4, .accept = KUBE_TABLE};
    assert_int_equal(kube_list(admin, vms, &table, &far, count_rows, &rows, NULL), 0);
    assert_int_equal(rows, 7);
    const char *const bad[] = {"fieldSelector", "status.phase=Running", NULL};
    assert_int_equal(kube_list(admin, vms, &(kube_list_options){.query = bad}, &far, count_labelled, &whole, NULL),
                     VMCTL_E_INVALID_ARGUMENT);
    for (int i = 0; i < 7; i++) {
        VMC_AUTO_FREE char *name = vmc_printf("listed-%d", i);
        destroy(name);
    }
}

/* ---- Watches ---- */

typedef struct watched {
    int added, modified, deleted;
    char *path;
} watched;

/* Each event causes the next one, over the connection that the watch is on. */
static int on_event(kube_event event, cJSON **object, void *user) {
    watched *w = user;
    (void)object;
    if (event == KUBE_ADDED && w->added++ == 0) {
        cJSON *merge = cJSON_Parse("{\"metadata\":{\"labels\":{\"seen\":\"added\"}}}");
        assert_int_equal(kube_patch(admin, w->path, merge, NULL, &far, NULL, NULL), 0);
        cJSON_Delete(merge);
    } else if (event == KUBE_MODIFIED && w->modified++ == 0) {
        assert_int_equal(kube_delete(admin, w->path, NULL, &far, NULL, NULL), 0);
    } else if (event == KUBE_DELETED) {
        w->deleted++;
        return 1;
    }
    return 0;
}

/* This process' connections to the API server. */
static int connections(void) {
    int count = 0;
    for (int fd = 3; fd < 1024; fd++) {
        struct sockaddr_in peer;
        socklen_t size = sizeof peer;
        count += getpeername(fd, (struct sockaddr *)&peer, &size) == 0 && peer.sin_family == AF_INET &&
                 ntohs(peer.sin_port) == 6443;
    }
    return count;
}

static void test_a_watch_sees_a_whole_life_on_one_connection(void **state) {
    (void)state;
    watched w = {.path = path_of("watched")};
    cJSON_Delete(create("watched"));
    const char *const query[] = {"fieldSelector", "metadata.name=watched", NULL};
    assert_int_equal(kube_watch(admin, vms, &(kube_watch_options){.query = query}, &far, on_event, &w, NULL), 0);
    assert_int_equal(w.added, 1);
    assert_true(w.modified >= 1);
    assert_int_equal(w.deleted, 1);
    free(w.path);
    assert_int_equal(connections(), 1);
}

static int count_synced(kube_event event, cJSON **object, void *user) {
    (void)object;
    watched *w = user;
    w->added += event == KUBE_ADDED;
    return event == KUBE_SYNCED;
}

/* etcd forgets what was before `version` (etcd's API, KV.Compact), as it does every five minutes by itself. */
static void forget_before(const char *version) {
    HTTP_AUTO_RESPONSE *answer = NULL;
    VMC_AUTO_FREE char *body = vmc_printf("{\"revision\":\"%s\",\"physical\":true}", version);
    const http_request request = {
        .method = "POST", .url = "http://127.0.0.1:2379/v3/kv/compaction", .body = body, .body_length = strlen(body)};
    assert_int_equal(http_perform_ok(NULL, &request, &far, &answer, NULL), 0);
}

static void test_a_version_too_old_begins_anew(void **state) {
    (void)state;
    cJSON *old = create("old");
    forget_before(text_at(old, "metadata", "resourceVersion"));
    cJSON_Delete(old);
    const char *const query[] = {"fieldSelector", "metadata.name=old", NULL};
    watched w = {0};
    kube_watch_options o = {.query = query, .resource_version = "1"};
    assert_int_equal(kube_watch(admin, vms, &o, &far, count_synced, &w, NULL), 0);
    assert_int_equal(w.added, 1);
    destroy("old");
}

/* ---- Who asks ---- */

static int list_as(const char *context, vmctl_error **err) {
    KUBE_AUTO_CLIENT *client = client_of(context);
    int count = 0;
    return kube_list(client, vms, NULL, &far, count_labelled, &count, err);
}

static void test_roles_and_credentials(void **state) {
    (void)state;
    vmctl_error *err = NULL;
    assert_int_equal(list_as("certificate", NULL), 0);
    assert_int_equal(list_as("editor", NULL), 0);
    assert_int_equal(list_as("viewer", &err), VMCTL_E_PERMISSION_DENIED);
    assert_string_equal(vmctl_error_next(err),
                        "ask for a role that allows list on virtualmachines in the namespace \"default\"");
    vmctl_error_free(err);
    err = NULL;
    assert_int_equal(list_as("anonymous", NULL), VMCTL_E_UNAUTHENTICATED);
    assert_int_equal(list_as("bad-token", NULL), VMCTL_E_UNAUTHENTICATED);
    assert_int_equal(list_as("wrong-ca", &err), VMCTL_E_UNAVAILABLE);
    assert_non_null(strstr(vmctl_error_text(err), "certificate"));
    vmctl_error_free(err);
}

static void test_the_api_that_is_not_there(void **state) {
    (void)state;
    vmctl_error *err = NULL;
    assert_int_equal(kube_get(admin, "/apis/nothing.example.com/v1/things", &far, NULL, &err), VMCTL_E_UNSUPPORTED);
    vmctl_error_free(err);
    err = NULL;
    VMC_AUTO_FREE char *path = path_of("nobody");
    assert_int_equal(kube_get(admin, path, &far, NULL, &err), VMCTL_E_NOT_FOUND);
    assert_non_null(strstr(vmctl_error_message(err), "\"nobody\" not found"));
    vmctl_error_free(err);
}

static int set_up(void **state) {
    (void)state;
    far = vmc_deadline_start(NULL, 200000);
    admin = client_of("admin");
    vms = kube_path("kubevirt.io", "v1", "default", "virtualmachines", NULL, NULL);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    kube_client_free(admin);
    free(vms);
    http_shutdown();
    return 0;
}

static void test_it_is_http_2(void **state) {
    (void)state;
    HTTP_AUTO_RESPONSE *response = NULL;
    const kube_request request = {.path = "/version"};
    assert_int_equal(kube_exchange_run(admin, &(kube_exchange){.request = &request}, &far, &response, NULL), 0);
    assert_int_equal(response->version, 20);
}

int main(void) {
    if (!getenv("WORLD") || !getenv("KUBECONFIG")) {
        fputs("no cluster: run it by world --kubevirt\n", stderr);
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_is_http_2),
        cmocka_unit_test(test_discovery_is_the_servers),
        cmocka_unit_test(test_create_is_strict),
        cmocka_unit_test(test_unknown_fields_may_be_warnings),
        cmocka_unit_test(test_apply_and_conflicts),
        cmocka_unit_test(test_patches_and_preconditions),
        cmocka_unit_test(test_lists_in_pages_and_other_forms),
        cmocka_unit_test(test_a_watch_sees_a_whole_life_on_one_connection),
        cmocka_unit_test(test_a_version_too_old_begins_anew),
        cmocka_unit_test(test_roles_and_credentials),
        cmocka_unit_test(test_the_api_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
