/* tests/unit/test_kube_discovery.c - what a server serves: in one request, from the disk, from an old server, while a part of it is down. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "kube_lab.h"
#include <glob.h>

#define JSON "Content-Type: application/json\r\n"

static vmc_deadline far;
static char *folder;
static server lab;
static char *current, *stale; /* recorded answers */
static enum { CURRENT, STALE, OLD, DENIED, RUBBISH } mode;

static char *recorded(const char *name) {
    VMC_AUTO_FREE char *path = vmc_printf(TEST_SOURCE_DIR "/fixtures/kubevirt/%s", name);
    VMC_AUTO_FREE char *text = NULL;
    assert_int_equal(vmc_file_read(path, 1 << 20, &text, NULL, NULL), 0);
    return vmc_strdup(strstr(strstr(text, "-----RESPONSE-----"), "\n\n") + 2);
}

static void answer_old(int fd, const char *path) {
    if (strcmp(path, "/apis") == 0)
        server_answer(
            fd, 200, JSON,
            "{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"groups\":[{\"name\":\"kubevirt.io\",\"versions\":[{"
            "\"groupVersion\":\"kubevirt.io/v1\",\"version\":\"v1\"}]},{\"name\":\"subresources.kubevirt.io\","
            "\"versions\":[{\"groupVersion\":\"subresources.kubevirt.io/v1\",\"version\":\"v1\"}]}]}");
    else if (strcmp(path, "/apis/kubevirt.io/v1") == 0)
        server_answer(
            fd, 200, JSON,
            "{\"kind\":\"APIResourceList\",\"groupVersion\":\"kubevirt.io/v1\",\"resources\":[{\"name\":"
            "\"virtualmachines\",\"namespaced\":true,\"kind\":\"VirtualMachine\"},{\"name\":"
            "\"virtualmachines/status\",\"namespaced\":true,\"kind\":\"VirtualMachine\"},{\"name\":\"kubevirts\","
            "\"namespaced\":false,\"kind\":\"KubeVirt\"}]}");
    else
        server_answer(fd, 503, "Content-Type: text/plain\r\n", "service unavailable");
}

static bool answer(server *s, int fd, const server_request *request, int count) {
    (void)s;
    (void)count;
    VMC_AUTO_FREE char *known = server_header(request, "If-None-Match");
    if (mode == OLD)
        answer_old(fd, request->path);
    else if (mode == DENIED)
        server_answer(fd, 403, JSON, "{\"kind\":\"Status\",\"message\":\"no\",\"reason\":\"Forbidden\",\"code\":403}");
    else if (mode == RUBBISH)
        server_answer(fd, 200, JSON, "{\"kind\":\"Pod\"}");
    else if (known && strcmp(known, "\"the-tag\"") == 0)
        server_answer(fd, 304, "Etag: \"the-tag\"\r\n", "");
    else
        server_answer(fd, 200, JSON "Etag: \"the-tag\"\r\n", mode == STALE ? stale : current);
    return true;
}

static kube_client *fresh_client(void) {
    return lab_client_of(folder, &lab, "{}");
}

static const kube_discovery *discover(kube_client *client, bool fresh) {
    const kube_discovery *d = NULL;
    vmctl_error *err = NULL;
    if (kube_discover(client, fresh, &far, &d, &err) < 0)
        fail_msg("%s", vmctl_error_text(err));
    return d;
}

static char *cache_path(void) {
    VMC_AUTO_FREE char *pattern = vmc_printf("%s/cache/vmctl/kube/*/discovery.json", folder);
    glob_t found;
    char *path = glob(pattern, 0, NULL, &found) == 0 ? vmc_strdup(found.gl_pathv[0]) : NULL;
    globfree(&found);
    return path;
}

static void forget(void) {
    VMC_AUTO_FREE char *path = cache_path();
    if (path)
        unlink(path);
}

static void test_one_request_then_none(void **state) {
    (void)state;
    mode = CURRENT;
    forget();
    int before = lab.seen_count;
    KUBE_AUTO_CLIENT *client = fresh_client();
    const kube_discovery *d = discover(client, false);
    assert_int_equal(lab.seen_count, before + 1);
    const char *const wanted[] = {"v1", "v1beta1", NULL}, *const never[] = {"v9", NULL};
    assert_string_equal(kube_discovery_version(d, "kubevirt.io", NULL), "v1");
    assert_string_equal(kube_discovery_version(d, "snapshot.kubevirt.io", wanted), "v1beta1");
    assert_null(kube_discovery_version(d, "kubevirt.io", never));
    assert_null(kube_discovery_version(d, "nothing.example.com", NULL));
    assert_string_equal(kube_discovery_version(d, "", NULL), "v1");
    assert_true(kube_discovery_has(d, "kubevirt.io", "v1", "virtualmachines"));
    assert_true(kube_discovery_has(d, "kubevirt.io", "v1", "virtualmachines/status"));
    assert_false(kube_discovery_has(d, "kubevirt.io", "v1", "virtualmachines/stat"));
    assert_false(kube_discovery_has(d, "kubevirt.io", "v1", "virtualmachine"));
    bool namespaced = true;
    assert_string_equal(kube_discovery_plural(d, "kubevirt.io", "v1", "VirtualMachine", &namespaced),
                        "virtualmachines");
    assert_true(namespaced);
    assert_string_equal(kube_discovery_plural(d, "instancetype.kubevirt.io", "v1beta1",
                                              "VirtualMachineClusterInstancetype", &namespaced),
                        "virtualmachineclusterinstancetypes");
    assert_false(namespaced);
    assert_null(kube_discovery_plural(d, "kubevirt.io", "v1", "virtualmachine", NULL));
    assert_ptr_equal(discover(client, true), d); /* it is fresh */
    KUBE_AUTO_CLIENT *other = fresh_client();
    assert_true(kube_discovery_has(discover(other, false), "kubevirt.io", "v1", "virtualmachines"));
    assert_int_equal(lab.seen_count, before + 1); /* from the disk */
    assert_true(kube_discovery_has(discover(other, true), "kubevirt.io", "v1", "virtualmachines"));
    assert_int_equal(lab.seen_count, before + 2); /* a write asks, and is told that nothing has changed */
}

static void test_a_copy_that_is_broken_or_old(void **state) {
    (void)state;
    mode = CURRENT;
    forget();
    KUBE_AUTO_CLIENT *first = fresh_client();
    discover(first, false);
    VMC_AUTO_FREE char *path = cache_path();
    assert_non_null(path);
    const char *const texts[] = {
        "", "{", "{\"format\":1}", "{\"format\":2,\"at\":99999999999,\"list\":{}}",
        "{\"format\":1,\"at\":1000,\"list\":{\"kind\":\"APIGroupDiscoveryList\",\"items\":[]}}"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_int_equal(vmc_file_write(path, texts[i], strlen(texts[i]), 0600, NULL), 0);
        int before = lab.seen_count;
        KUBE_AUTO_CLIENT *client = fresh_client();
        assert_true(kube_discovery_has(discover(client, false), "kubevirt.io", "v1", "virtualmachines"));
        assert_int_equal(lab.seen_count, before + 1);
    }
}

static void test_what_is_stale_is_not_kept(void **state) {
    (void)state;
    mode = STALE;
    forget();
    KUBE_AUTO_CLIENT *client = fresh_client();
    const kube_discovery *d = discover(client, false);
    assert_true(kube_discovery_stale(d, "subresources.kubevirt.io"));
    assert_false(kube_discovery_stale(d, "kubevirt.io"));
    assert_string_equal(kube_discovery_version(d, "subresources.kubevirt.io", NULL), "v1");
    assert_false(kube_discovery_has(d, "subresources.kubevirt.io", "v1", "virtualmachines/start"));
    VMC_AUTO_FREE char *path = cache_path();
    assert_null(path);
}

static void test_a_server_without_aggregation(void **state) {
    (void)state;
    mode = OLD;
    forget();
    KUBE_AUTO_CLIENT *client = fresh_client();
    const kube_discovery *d = discover(client, false);
    assert_true(kube_discovery_has(d, "kubevirt.io", "v1", "virtualmachines/status"));
    bool namespaced = true;
    assert_string_equal(kube_discovery_plural(d, "kubevirt.io", "v1", "KubeVirt", &namespaced), "kubevirts");
    assert_false(namespaced);
    assert_true(kube_discovery_stale(d, "subresources.kubevirt.io"));
}

static void test_failures(void **state) {
    (void)state;
    forget();
    KUBE_AUTO_CLIENT *client = fresh_client();
    const kube_discovery *d = NULL;
    mode = DENIED;
    assert_int_equal(kube_discover(client, false, &far, &d, NULL), VMCTL_E_PERMISSION_DENIED);
    mode = RUBBISH;
    assert_int_equal(kube_discover(client, false, &far, &d, NULL), VMCTL_E_UNAVAILABLE);
    mode = CURRENT;
    VMC_AUTO_FREE char *blocked = lab_write(folder, "no-folder", "");
    setenv("XDG_CACHE_HOME", blocked, 1); /* cannot be kept: works all the same */
    assert_non_null(discover(client, false));
}

static int set_up(void **state) {
    (void)state;
    far = vmc_deadline_start(NULL, 100000);
    current = recorded("02-api-aggregated-discovery.http");
    stale = recorded("285-virt-api-down-aggregated-discovery.http");
    /* The first was recorded while virt-api was down too. */
    for (char *word; (word = strstr(current, "\"Stale\""));)
        memcpy(word, "\"Fresh\"", 7);
    server_start(&lab, answer);
    folder = lab_folder();
    VMC_AUTO_FREE char *cache = vmc_printf("%s/cache", folder);
    setenv("XDG_CACHE_HOME", cache, 1);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    http_shutdown();
    server_stop(&lab);
    lab_remove(folder);
    free(current);
    free(stale);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_request_then_none),
        cmocka_unit_test(test_a_copy_that_is_broken_or_old),
        cmocka_unit_test(test_what_is_stale_is_not_kept),
        cmocka_unit_test(test_a_server_without_aggregation),
        cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
