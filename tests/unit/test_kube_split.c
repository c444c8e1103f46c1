/* tests/unit/test_kube_split.c - cutting lists and streams into objects, whatever pieces they come in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/file.h"
#include "base/str.h"
#include "drivers/kube/split.h"
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static int keep(cJSON **object, void *user) {
    cJSON_AddItemToArray(user, *object);
    *object = NULL;
    return 0;
}

/* All objects of the text, fed in pieces of `piece` bytes, as one array; NULL: it was refused, or is not complete. */
static cJSON *split(kube_split_kind kind, bool managed, const char *text, size_t length, size_t piece, cJSON **rest) {
    cJSON *all = cJSON_CreateArray();
    kube_split *s = kube_split_new(kind, managed, keep, all);
    int rc = 0;
    for (size_t at = 0; rc == 0 && at < length; at += piece)
        rc = kube_split_feed(s, text + at, length - at < piece ? length - at : piece, NULL);
    if (rc != 0 || !kube_split_complete(s)) {
        cJSON_Delete(all);
        all = NULL;
    } else if (rest) {
        *rest = kube_split_rest(s);
    }
    kube_split_free(s);
    return all;
}

static void drop_managed_fields(cJSON *object) {
    cJSON_DeleteItemFromObject(cJSON_GetObjectItem(object, "metadata"), "managedFields");
}

static char *recorded(const char *name, size_t *length) {
    VMC_AUTO_FREE char *path = vmc_printf(TEST_SOURCE_DIR "/fixtures/kubevirt/%s", name);
    VMC_AUTO_FREE char *text = NULL;
    assert_int_equal(vmc_file_read(path, 1 << 20, &text, NULL, NULL), 0);
    const char *body = strstr(strstr(text, "-----RESPONSE-----"), "\n\n") + 2;
    *length = strlen(body);
    return vmc_strdup(body);
}

static void check_list(const char *name, const char *items, bool managed, size_t piece) {
    size_t length;
    VMC_AUTO_FREE char *text = recorded(name, &length);
    cJSON *whole = cJSON_Parse(text), *rest = NULL;
    cJSON *wanted = cJSON_DetachItemFromObject(whole, items), *item;
    cJSON_AddItemToObject(whole, items, cJSON_CreateArray());
    cJSON_ArrayForEach(item, wanted) {
        if (!managed)
            drop_managed_fields(strcmp(items, "rows") == 0 ? cJSON_GetObjectItem(item, "object") : item);
    }
    cJSON *got = split(KUBE_SPLIT_LIST, managed, text, length, piece, &rest);
    assert_true(cJSON_GetArraySize(wanted) > 0);
    assert_true(cJSON_Compare(got, wanted, true));
    assert_true(cJSON_Compare(rest, whole, true));
    cJSON_Delete(got);
    cJSON_Delete(wanted);
    cJSON_Delete(rest);
    cJSON_Delete(whole);
}

static void test_lists_as_recorded(void **state) {
    (void)state;
    const size_t pieces[] = {1, 2, 3, 7, 64, 1000, 1 << 20};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++)
        for (int managed = 0; managed < 2; managed++) {
            check_list("38-list-all-ns.http", "items", managed, pieces[i]);
            check_list("39-list-limit1.http", "items", managed, pieces[i]);
            check_list("371-nodes-all.http", "items", managed, pieces[i]); /* metadata before its items */
            check_list("45-list-table.http", "rows", managed, pieces[i]);
            check_list("47-list-metadata.http", "items", managed, pieces[i]);
        }
}

static void test_streams_as_recorded(void **state) {
    (void)state;
    size_t length;
    VMC_AUTO_FREE char *text = recorded("215-restart-vm1.watch", &length);
    cJSON *wanted = cJSON_CreateArray(), *item;
    VMC_AUTO_FREE char *copy = vmc_strdup(text);
    for (char *line = strtok(copy, "\n"); line; line = strtok(NULL, "\n")) {
        cJSON_AddItemToArray(wanted, item = cJSON_Parse(line));
        drop_managed_fields(cJSON_GetObjectItem(item, "object"));
    }
    for (size_t piece = 1; piece < 5000; piece = piece * 3 + 1) {
        cJSON *got = split(KUBE_SPLIT_STREAM, false, text, length, piece, NULL);
        assert_true(cJSON_Compare(got, wanted, true));
        cJSON_Delete(got);
    }
    assert_true(cJSON_GetArraySize(wanted) > 3);
    cJSON_Delete(wanted);
}

/* What is left out, and what only looks like it. */
static void test_managed_fields_are_left_out(void **state) {
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"{\"metadata\":{\"managedFields\":[{\"a\":\"}]\\\"\"}],\"name\":\"x\"}}", "{\"metadata\":{\"name\":\"x\"}}"},
        {"{\"metadata\":{\"a\":1 , \"managedFields\" : [] }}", "{\"metadata\":{\"a\":1}}"},
        {"{\"metadata\":{\"a\":1,\"managedFields\":[[]],\"b\":2}}", "{\"metadata\":{\"a\":1,\"b\":2}}"},
        {"{\"metadata\":{\"managedFields\":null}}", "{\"metadata\":{}}"},
        {"{\"metadata\":{ \"managedFields\": null , \"b\":2}}", "{\"metadata\":{\"b\":2}}"},
        {"{\"metadata\":{\"managedFields\":[]},\"spec\":{\"managedFields\":[1]}}",
         "{\"metadata\":{},\"spec\":{\"managedFields\":[1]}}"},
        {"{\"metadata\":{\"labels\":{\"managedFields\":\"yes\"}}}",
         "{\"metadata\":{\"labels\":{\"managedFields\":\"yes\"}}}"},
        {"{\"spec\":{\"template\":{\"metadata\":{\"managedFields\":[1]}}}}",
         "{\"spec\":{\"template\":{\"metadata\":{\"managedFields\":[1]}}}}"},
        {"{\"metadata\":\"managedFields\",\"a\":[\"managedFields\"]}",
         "{\"metadata\":\"managedFields\",\"a\":[\"managedFields\"]}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        VMC_AUTO_FREE char *list = vmc_printf("{\"items\": [ %s ,\n%s],\"metadata\":{}}", cases[i].in, cases[i].in);
        VMC_AUTO_FREE char *both = vmc_printf("[%s,%s]", cases[i].out, cases[i].out);
        cJSON *wanted = cJSON_Parse(both);
        for (size_t piece = 1; piece < 40; piece++) {
            cJSON *got = split(KUBE_SPLIT_LIST, false, list, strlen(list), piece, NULL);
            if (!cJSON_Compare(got, wanted, true))
                fail_msg("%s in pieces of %zu", cases[i].in, piece);
            cJSON_Delete(got);
        }
        cJSON_Delete(wanted);
    }
}

static void test_lists_without_items(void **state) {
    (void)state;
    const char *const texts[] = {"{\"items\":[],\"metadata\":{\"continue\":\"\"}}", "{\"items\":null,\"metadata\":{}}",
                                 "{\"metadata\":{\"items\":[{\"a\":1}]}}", " { } "};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        cJSON *rest = NULL, *got = split(KUBE_SPLIT_LIST, false, texts[i], strlen(texts[i]), 1, &rest);
        assert_int_equal(cJSON_GetArraySize(got), 0);
        cJSON *wanted = cJSON_Parse(texts[i]);
        assert_true(cJSON_Compare(rest, wanted, true));
        cJSON_Delete(wanted);
        cJSON_Delete(rest);
        cJSON_Delete(got);
    }
}

/* Half-written, or no JSON at all: never success. */
static void test_what_is_no_list_is_refused(void **state) {
    (void)state;
    const char *const texts[] = {"",
                                 "<html>",
                                 "404 page not found",
                                 "[]",
                                 "}",
                                 "{\"items\":[{\"a\":1},",
                                 "{\"items\":[{\"a\":1}]",
                                 "{\"items\":[{\"a\":1x}]}",
                                 "{\"items\":[{\"a\"}]}",
                                 "{\"items\":[]}{\"items\":[]}",
                                 "\"items\""};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        for (size_t piece = 1; piece < 30; piece += 28)
            assert_null(split(KUBE_SPLIT_LIST, false, texts[i], strlen(texts[i]), piece, NULL));
    const char half[] = "{\"type\":\"ADDED\",\"object\":{}}\n{\"type\":\"ADD";
    assert_null(split(KUBE_SPLIT_STREAM, false, half, sizeof half - 1, 5, NULL));
    VMC_AUTO_STR deep = {0};
    vmc_str_add(&deep, "{\"items\":[");
    for (int i = 0; i < 100000; i++)
        vmc_str_add(&deep, "{\"a\":[");
    assert_null(split(KUBE_SPLIT_LIST, false, deep.text, deep.length, 4096, NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists_as_recorded),           cmocka_unit_test(test_streams_as_recorded),
        cmocka_unit_test(test_managed_fields_are_left_out), cmocka_unit_test(test_lists_without_items),
        cmocka_unit_test(test_what_is_no_list_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
