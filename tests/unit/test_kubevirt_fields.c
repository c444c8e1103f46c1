/* What differs between two states of an object, in the words of a diff. */
#include "kubevirt_helper.h"

#include "backends/kubevirt/fields.h"

/* "set spec.x: 1 -> 2" of each, a line each, in their order. */
static void assert_differs(const char *have, const char *want, const char *lines) {
    static const char *const actions[] = {"add", "remove", "set"};
    VMC_AUTO_JSON *from = cJSON_Parse(have);
    VMC_AUTO_JSON *to = cJSON_Parse(want);
    VMC_AUTO_STR text = {0};
    KUBEVIRT_AUTO_FIELDS fields = {0};
    assert_true(from && to);
    kubevirt_fields_compare(from, to, &fields);
    for (size_t i = 0; i < fields.count; i++) {
        const vmctl_change *change = &fields.items[i];
        assert_null(change->have);
        assert_null(change->want);
        vmc_str_printf(&text, "%s %s: %s -> %s\n", actions[change->action], change->path,
                       change->have_text ? change->have_text : "-", change->want_text ? change->want_text : "-");
    }
    assert_string_equal(text.text ? text.text : "", lines);
}

static void what_a_person_sets_is_compared(void **state) {
    (void)state;
    assert_differs("{\"spec\":{\"a\":1,\"b\":{\"c\":\"x\"},\"gone\":true}}",
                   "{\"spec\":{\"a\":2,\"b\":{\"c\":\"y\",\"d\":[1,2]}}}",
                   "set spec.a: 1 -> 2\nset spec.b.c: x -> y\nset spec.b.d: - -> [1,2]\nset spec.gone: true -> -\n");
    assert_differs("{\"spec\":{\"a\":{\"b\":{\"c\":1}}}}", "{\"spec\":{}}", "set spec.a.b.c: 1 -> -\n");
    assert_differs("{\"spec\":{}}", "{\"spec\":{\"masquerade\":{}}}", "set spec.masquerade: - -> {}\n");
    assert_differs("{\"spec\":{\"masquerade\":{}}}", "{\"spec\":{\"masquerade\":{\"x\":1}}}",
                   "set spec.masquerade.x: - -> 1\n");
    assert_differs("{\"spec\":{\"l\":[]}}", "{\"spec\":{}}", "");
}

static void the_server_counts_and_notes_for_itself(void **state) {
    (void)state;
    assert_differs(
        "{\"metadata\":{\"resourceVersion\":\"1\",\"uid\":\"u\",\"generation\":1,\"managedFields\":[],\"labels\":{"
        "\"a\":"
        "\"b\"}},\"status\":{\"ready\":true}}",
        "{\"metadata\":{\"resourceVersion\":\"2\",\"generation\":2,\"labels\":{\"a.b/c\":\"d\",\"a\":\"b\"}}}",
        "set metadata.labels.a.b/c: - -> d\n");
}

static void items_of_lists_go_by_their_names(void **state) {
    (void)state;
    assert_differs("{\"spec\":{\"volumes\":[{\"name\":\"a\",\"x\":1},{\"name\":\"b\",\"x\":1}]}}",
                   "{\"spec\":{\"volumes\":[{\"name\":\"b\",\"x\":2},{\"name\":\"c\"}]}}",
                   "remove spec.volumes.a: {\"name\":\"a\",\"x\":1} -> -\nset spec.volumes.b.x: 1 -> 2\n"
                   "add spec.volumes.c: - -> {\"name\":\"c\"}\n");
    assert_differs("{\"spec\":{\"t\":[{\"metadata\":{\"name\":\"d\"},\"x\":1}]}}",
                   "{\"spec\":{\"t\":[{\"metadata\":{\"name\":\"d\"},\"x\":2}]}}", "set spec.t.d.x: 1 -> 2\n");
    assert_differs("{\"spec\":{\"v\":[{\"name\":\"a\"},{\"name\":\"b\"}]}}",
                   "{\"spec\":{\"v\":[{\"name\":\"b\"},{\"name\":\"a\"}]}}", "set spec.v: a, b -> b, a\n");
    /* Without names, or twice the same: as a whole. */
    assert_differs("{\"spec\":{\"v\":[{\"name\":\"a\"}]}}", "{\"spec\":{\"v\":[{\"name\":\"a\"},{\"name\":\"a\"}]}}",
                   "set spec.v: [{\"name\":\"a\"}] -> [{\"name\":\"a\"},{\"name\":\"a\"}]\n");
}

static void secrets_are_told_by_their_length(void **state) {
    (void)state;
    assert_differs(
        "{\"spec\":{\"volumes\":[{\"name\":\"ci\",\"cloudInitNoCloud\":{\"userData\":\"password: old\"}}]}}",
        "{\"spec\":{\"volumes\":[{\"name\":\"ci\",\"cloudInitNoCloud\":{\"userData\":\"password: "
        "newer\"}},{\"name\":\"x\","
        "\"cloudInitConfigDrive\":{\"userDataBase64\":\"c2VjcmV0\"}}]}}",
        "set spec.volumes.ci.cloudInitNoCloud.userData: (13 bytes) -> (15 bytes)\n"
        "add spec.volumes.x: - -> {\"name\":\"x\",\"cloudInitConfigDrive\":{\"userDataBase64\":\"(8 bytes)\"}}\n");
}

static void a_long_value_is_cut(void **state) {
    (void)state;
    char item[200] = {0};
    memset(item, '7', 150);
    VMC_AUTO_FREE char *have = vmc_printf("{\"spec\":{\"l\":[\"%s\"]}}", item);
    VMC_AUTO_JSON *from = cJSON_Parse(have);
    VMC_AUTO_JSON *to = cJSON_Parse("{\"spec\":{}}");
    KUBEVIRT_AUTO_FIELDS fields = {0};
    kubevirt_fields_compare(from, to, &fields);
    assert_int_equal(fields.count, 1);
    assert_int_equal(strlen(fields.items[0].have_text), 80);
    assert_true(vmc_ends_with(fields.items[0].have_text, "..."));
}

/* Characters of several bytes: `["` and 37 of two bytes are 76, and the next one would end after the 77th. */
static void a_character_is_not_cut(void **state) {
    (void)state;
    VMC_AUTO_STR long_one = {0};
    VMC_AUTO_STR most = {0};
    vmc_str_add(&most, "[\"");
    for (int i = 0; i < 60; i++) {
        vmc_str_add(&long_one, "\xc3\xa9");
        if (i < 37)
            vmc_str_add(&most, "\xc3\xa9");
    }
    vmc_str_add(&most, "...");
    VMC_AUTO_FREE char *have = vmc_printf("{\"spec\":{\"l\":[\"%s\"]}}", long_one.text);
    VMC_AUTO_JSON *from = cJSON_Parse(have);
    VMC_AUTO_JSON *to = cJSON_Parse("{\"spec\":{}}");
    KUBEVIRT_AUTO_FIELDS fields = {0};
    kubevirt_fields_compare(from, to, &fields);
    assert_int_equal(fields.count, 1);
    assert_string_equal(fields.items[0].have_text, most.text);
}

/* FX/138: an object that server-side apply made. */
static void whose_fields_they_are(void **state) {
    (void)state;
    VMC_AUTO_JSON *object = recorded("138-ssa-create", false);
    assert_non_null(kubevirt_managed_by_us(object, "Apply"));
    assert_null(kubevirt_managed_by_us(object, "Update"));
    kubevirt_drop_server_fields(object);
    assert_null(kubevirt_managed_by_us(object, "Apply"));
    assert_null(vmc_json_at(object, "metadata.uid"));
    assert_string_equal(vmc_json_string(object, "metadata.labels.app", ""), "t");
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_person_sets_is_compared),
        cmocka_unit_test(the_server_counts_and_notes_for_itself),
        cmocka_unit_test(items_of_lists_go_by_their_names),
        cmocka_unit_test(secrets_are_told_by_their_length),
        cmocka_unit_test(a_long_value_is_cut),
        cmocka_unit_test(a_character_is_not_cut),
        cmocka_unit_test(whose_fields_they_are),
    };
    return cmocka_run_group_tests_name("kubevirt_fields", tests, NULL, NULL);
}
