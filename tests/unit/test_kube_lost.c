/* tests/unit/test_kube_lost.c - writes whose answers get lost, on a server with one object: what is told, how often it is asked, and that what
 * another one did meanwhile stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "drivers/kube/client.h"
#include "kube_lab.h"

#define JSON   "Content-Type: application/json\r\nDate: Mon, 23 Nov 2026 05:00:10 GMT\r\n"
#define OBJECT "/apis/g/v1/namespaces/n/things/x"

static vmc_deadline far;
static char *folder;
static server lab;
static kube_client *client;

/* The object. */
static struct {
    bool there, leaving;
    int version, value;
    char uid;    /* 'a', and 'b' of another one of its name */
    bool recent; /* made in the second of the request */
    /* What happens to writes, a letter each: '-' is done and answered; 'l' is done, and the connection ends; 'c' the connection ends; 'x' as 'c', and
     * another one writes; 'd' as 'c', and another one deletes it and makes one of that name; 'g' is done, and a balancer says 502; 'G' a
     * balancer says 504. */
    const char *fates;
    int writes, done;
} world;

static void answer_object(int fd, int status) {
    VMC_AUTO_FREE char *body =
        vmc_printf("{\"metadata\":{\"name\":\"x\",\"uid\":\"%c\",\"resourceVersion\":\"%d\",\"creationTimestamp\":"
                   "\"2026-11-23T%s\"%s},"
                   "\"spec\":{\"value\":%d,\"other\":true}}",
                   world.uid, world.version, world.recent ? "05:00:10Z" : "04:00:00Z",
                   world.leaving ? ",\"deletionTimestamp\":\"2026-11-23T05:00:10Z\"" : "", world.value);
    server_answer(fd, status, JSON, body);
}

static void refuse(int fd, int status, const char *reason) {
    VMC_AUTO_FREE char *body =
        vmc_printf("{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":"
                   "\"no: %s\",\"reason\":\"%s\",\"code\":%d}",
                   reason, reason, status);
    server_answer(fd, status, JSON, body);
}

/* 0: done; else the refusal. */
static int write_object(const server_request *request) {
    cJSON *body = cJSON_Parse(request->body);
    const cJSON *metadata = cJSON_GetObjectItem(body, "metadata"), *spec = cJSON_GetObjectItem(body, "spec");
    const cJSON *version = cJSON_GetObjectItem(metadata, "resourceVersion");
    const cJSON *uid = cJSON_GetObjectItem(cJSON_GetObjectItem(body, "preconditions"), "uid");
    bool create = strcmp(request->method, "POST") == 0;
    int refused = create && world.there                                    ? 409
                  : !create && !world.there                                ? 404
                  : version && atoi(version->valuestring) != world.version ? 409
                  : uid && uid->valuestring[0] != world.uid                ? 409
                                                                           : 0;
    if (refused == 0 && strcmp(request->method, "DELETE") == 0) {
        world.there = false;
    } else if (refused == 0) {
        const cJSON *value = cJSON_GetObjectItem(spec, "value");
        world.there = true;
        world.value = cJSON_IsNumber(value) ? (int)value->valuedouble : 0;
        world.version++;
    }
    world.done += refused == 0;
    cJSON_Delete(body);
    return refused;
}

static bool answer(server *s, int fd, const server_request *request, int count) {
    (void)s;
    (void)count;
    if (strcmp(request->method, "GET") == 0) {
        if (strcmp(request->path, OBJECT) != 0)
            server_answer(fd, 200, JSON, "{}");
        else if (world.there)
            answer_object(fd, 200);
        else
            refuse(fd, 404, "NotFound");
        return true;
    }
    char fate = world.fates[world.writes++];
    int refused = fate == '-' || fate == 'l' || fate == 'g' ? write_object(request) : 0;
    if (fate == 'x') {
        world.value = 77;
        world.version++;
    } else if (fate == 'd') {
        world.uid = 'b';
        world.recent = true;
    } else if (fate == 'g' || fate == 'G') {
        server_answer(fd, fate == 'g' ? 502 : 504, "Content-Type: text/html\r\n", "<html></html>");
        return true;
    } else if (fate == '-' && refused) {
        refuse(fd, refused,
               refused == 404                    ? "NotFound"
               : strcmp(request->method, "POST") ? "Conflict"
                                                 : "AlreadyExists");
        return true;
    } else if (fate == '-') {
        answer_object(fd, 200);
        return true;
    }
    return false;
}

static void begin(const char *fates, bool there) {
    world.there = there;
    world.leaving = false;
    world.recent = !there;
    world.version = 5;
    world.value = 1;
    world.uid = 'a';
    world.fates = fates;
    world.writes = world.done = 0;
}

#define CHECK(rc, code, asked, was_done)                                                                               \
    do {                                                                                                               \
        assert_int_equal(rc, code);                                                                                    \
        assert_int_equal(world.writes, asked);                                                                         \
        assert_int_equal(world.done, was_done);                                                                        \
    } while (0)

static int patch(const char *text, cJSON **out, vmctl_error **err) {
    cJSON *body = cJSON_Parse(text);
    int rc = kube_patch(client, OBJECT, body, NULL, &far, out, err);
    cJSON_Delete(body);
    return rc;
}

static void assert_unknown(vmctl_error **err) {
    assert_non_null(*err);
    assert_non_null(strstr(vmctl_error_message(*err), "whether it was done is not known"));
    assert_string_equal(vmctl_error_next(*err), "look at things/x in n as it is now, before it is asked for again");
    vmctl_error_free(*err);
    *err = NULL;
}

static void test_patches(void **state) {
    (void)state;
    vmctl_error *err = NULL;
    cJSON *out = NULL;
    begin("l", true); /* it was done: the object is what a patch gives */
    CHECK(patch("{\"spec\":{\"value\":2}}", &out, NULL), 0, 1, 1);
    assert_int_equal(cJSON_GetObjectItem(cJSON_GetObjectItem(out, "spec"), "value")->valuedouble, 2);
    cJSON_Delete(out);
    begin("c-", true);
    CHECK(patch("{\"spec\":{\"value\":2}}", NULL, NULL), 0, 2, 1);
    begin("l", true); /* what is taken away is looked for, too */
    CHECK(
        patch("{\"metadata\":{\"resourceVersion\":\"5\",\"labels\":{\"l\":null}},\"spec\":{\"value\":2,\"gone\":null}}",
              NULL, NULL),
        0, 1, 1);
    begin("c-", true); /* "other" is still there */
    CHECK(patch("{\"spec\":{\"value\":1,\"other\":null}}", NULL, NULL), 0, 2, 1);
    begin("x-", true); /* another one was faster: theirs stays */
    CHECK(patch("{\"metadata\":{\"resourceVersion\":\"5\"},\"spec\":{\"value\":2}}", NULL, &err), VMCTL_E_CONFLICT, 2,
          0);
    assert_null(strstr(vmctl_error_message(err), "not known"));
    vmctl_error_free(err);
    err = NULL;
    assert_int_equal(world.value, 77);
    begin("cl", true); /* the second one's answer is lost as well */
    CHECK(patch("{\"spec\":{\"value\":2}}", NULL, NULL), 0, 2, 1);
    begin("cc", true);
    CHECK(patch("{\"spec\":{\"value\":2}}", NULL, &err), VMCTL_E_UNAVAILABLE, 2, 0);
    assert_unknown(&err);
    begin("g", true);
    CHECK(patch("{\"spec\":{\"value\":2}}", NULL, NULL), 0, 1, 1);
    begin("G", true); /* whoever gave up is not asked again */
    CHECK(patch("{\"spec\":{\"value\":2}}", NULL, &err), VMCTL_E_TIMEOUT, 1, 0);
    assert_unknown(&err);
    begin("c", false); /* gone */
    CHECK(patch("{\"spec\":{\"value\":2}}", NULL, &err), VMCTL_E_NOT_FOUND, 1, 0);
    vmctl_error_free(err);
    err = NULL;
    begin("c", true); /* a JSON patch may do something the second time */
    CHECK(patch("[{\"op\":\"add\",\"path\":\"/spec/list/-\",\"value\":1}]", NULL, &err), VMCTL_E_UNAVAILABLE, 1, 0);
    assert_unknown(&err);
}

static void test_deletions(void **state) {
    (void)state;
    const kube_write_options same = {.uid = "a"}, ours = {.unique = true};
    vmctl_error *err = NULL;
    cJSON *out = (cJSON *)folder;
    begin("l", true);
    CHECK(kube_delete(client, OBJECT, &same, &far, &out, NULL), 0, 1, 1);
    assert_null(out);
    begin("c-", true);
    CHECK(kube_delete(client, OBJECT, &same, &far, NULL, NULL), 0, 2, 1);
    begin("c-", true); /* an old one is the one that was meant */
    CHECK(kube_delete(client, OBJECT, NULL, &far, NULL, NULL), 0, 2, 1);
    assert_non_null(strstr(lab.seen[lab.seen_count - 1].body, "\"preconditions\":{\"uid\":\"a\"}"));
    begin("d", true); /* gone, and another one's is there: it stays */
    CHECK(kube_delete(client, OBJECT, &same, &far, NULL, NULL), 0, 1, 0);
    assert_true(world.there);
    begin("d", true); /* nobody can tell whose it is */
    CHECK(kube_delete(client, OBJECT, NULL, &far, NULL, &err), VMCTL_E_UNAVAILABLE, 1, 0);
    assert_unknown(&err);
    begin("c-", true);
    world.recent = true;
    CHECK(kube_delete(client, OBJECT, &ours, &far, NULL, NULL), 0, 2, 1);
    begin("c", true); /* it is on its way */
    world.leaving = true;
    CHECK(kube_delete(client, OBJECT, &same, &far, &out, NULL), 0, 1, 0);
    assert_non_null(out);
    cJSON_Delete(out);
    begin("g", true);
    CHECK(kube_delete(client, OBJECT, &same, &far, NULL, NULL), 0, 1, 1);
    begin("-", false); /* that is no lost answer */
    CHECK(kube_delete(client, OBJECT, &same, &far, NULL, NULL), VMCTL_E_NOT_FOUND, 1, 0);
}

static void test_creations(void **state) {
    (void)state;
    cJSON *object = cJSON_Parse("{\"metadata\":{\"name\":\"x\"},\"spec\":{\"value\":2}}"), *out = NULL;
    const char *all = "/apis/g/v1/namespaces/n/things";
    vmctl_error *err = NULL;
    begin("l", false);
    CHECK(kube_create(client, all, object, NULL, &far, &out, NULL), 0, 1, 1);
    /* Who would watch from there would miss what has been. */
    assert_null(cJSON_GetObjectItem(cJSON_GetObjectItem(out, "metadata"), "resourceVersion"));
    cJSON_Delete(out);
    begin("c-", false);
    CHECK(kube_create(client, all, object, NULL, &far, NULL, NULL), 0, 2, 1);
    begin("g", false);
    CHECK(kube_create(client, all, object, NULL, &far, NULL, NULL), 0, 1, 1);
    begin("G", false);
    CHECK(kube_create(client, all, object, NULL, &far, NULL, &err), VMCTL_E_TIMEOUT, 1, 0);
    assert_unknown(&err);
    begin("c", true); /* another one's, of before */
    CHECK(kube_create(client, all, object, NULL, &far, NULL, NULL), VMCTL_E_ALREADY_EXISTS, 1, 0);
    cJSON_Delete(object);
}

static void test_applies(void **state) {
    (void)state;
    cJSON *object = cJSON_Parse("{\"spec\":{\"value\":2}}"),
          *strict = cJSON_Parse("{\"metadata\":{\"resourceVersion\":\"5\"},\"spec\":{\"value\":2}}");
    vmctl_error *err = NULL;
    begin("l-", true); /* what it took away would show nowhere: it is asked again */
    CHECK(kube_apply(client, OBJECT, object, NULL, &far, NULL, NULL), 0, 2, 2);
    begin("l-", true); /* who said "as it was" plans anew */
    CHECK(kube_apply(client, OBJECT, strict, NULL, &far, NULL, NULL), VMCTL_E_CONFLICT, 2, 1);
    begin("g", true);
    CHECK(kube_apply(client, OBJECT, object, NULL, &far, NULL, &err), VMCTL_E_UNAVAILABLE, 1, 1);
    assert_unknown(&err);
    begin("c-", true); /* a dry run keeps nothing */
    CHECK(kube_apply(client, OBJECT, object, &(kube_write_options){.dry_run = true}, &far, NULL, NULL), 0, 2, 1);
    cJSON_Delete(object);
    cJSON_Delete(strict);
}

static void test_the_deadline(void **state) {
    (void)state;
    vmctl_error *err = NULL;
    cJSON *body = cJSON_Parse("{\"spec\":{\"value\":2}}");
    vmc_deadline over = {.at_ms = vmc_now_ms() - 1};
    begin("-", true);
    CHECK(kube_patch(client, OBJECT, body, NULL, &over, NULL, &err), VMCTL_E_TIMEOUT, 0, 0);
    assert_null(strstr(vmctl_error_message(err), "not known")); /* it did not go out */
    vmctl_error_free(err);
    cJSON_Delete(body);
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
        cmocka_unit_test(test_patches), cmocka_unit_test(test_deletions),    cmocka_unit_test(test_creations),
        cmocka_unit_test(test_applies), cmocka_unit_test(test_the_deadline),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
