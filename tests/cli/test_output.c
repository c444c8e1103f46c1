/* Results as JSON, YAML and tables: the same tree, read back by other programs' parsers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <libfyaml.h>

#include "cli/output.h"
#include "cli/tree.h"

/* What `write` writes, as a text. */
#define WRITTEN(text, to, statement)                                                                                   \
    char *text = NULL;                                                                                                 \
    size_t text##_length = 0;                                                                                          \
    FILE *to = open_memstream(&(text), &text##_length);                                                                \
    statement;                                                                                                         \
    fclose(to)

/* Texts that a YAML reader takes for something else when they stand plain (YAML 1.2, "Scalar Resolution", "Plain Style"; and the words
 * of YAML 1.1). */
static const char *const texts[] = {"web-1",
                                    "",
                                    "true",
                                    "False",
                                    "null",
                                    "~",
                                    "yes",
                                    "NO",
                                    "on",
                                    "12",
                                    "1.5",
                                    "0x1F",
                                    "1e3",
                                    ".inf",
                                    ".nan",
                                    "-",
                                    "- a",
                                    "-1",
                                    "a: b",
                                    "a:",
                                    ":a",
                                    "a #b",
                                    "#a",
                                    "*a",
                                    "&a",
                                    "!a",
                                    "%a",
                                    "@a",
                                    "`a",
                                    "[a]",
                                    "{a}",
                                    "a, b",
                                    " a",
                                    "a ",
                                    "'a'",
                                    "\"a\"",
                                    "a\\b",
                                    "a\nb",
                                    "a\tb",
                                    "\x01",
                                    "qemu:///system",
                                    "/var/lib/x.qcow2",
                                    "2026-01-31",
                                    "12:30:45",
                                    "k=v,l=w",
                                    "h\xc3\xa4user",
                                    "\xe2\x80\xa8",
                                    "\xf0\x9f\x98\x80",
                                    "|",
                                    ">",
                                    "?",
                                    "? a",
                                    "=",
                                    "<<",
                                    "---",
                                    "...",
                                    "y",
                                    "N",
                                    "a:b",
                                    "a : b",
                                    "x#"};

static cJSON *sample(void) {
    cJSON *tree = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(tree, "texts");
    cJSON *map = cJSON_AddObjectToObject(tree, "keys");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        cJSON_AddItemToArray(list, cJSON_CreateString(texts[i]));
        cJSON *inner = cJSON_CreateObject();
        cJSON_AddStringToObject(inner, "value", texts[i]);
        cJSON_AddItemToArray(list, inner);
        if (texts[i][0])
            cJSON_AddStringToObject(map, texts[i], "x");
    }
    cJSON_AddItemToObject(tree, "emptyMap", cJSON_CreateObject());
    cJSON_AddItemToObject(tree, "emptyList", cJSON_CreateArray());
    cJSON_AddNumberToObject(tree, "memoryMiB", 2048);
    cJSON_AddNumberToObject(tree, "sizeBytes", 1099511627776.0);
    cJSON_AddTrueToObject(tree, "yes");
    cJSON_AddNullToObject(tree, "none");
    cJSON *nested = cJSON_AddArrayToObject(tree, "nested");
    cJSON *inner = cJSON_CreateArray();
    cJSON_AddItemToArray(inner, cJSON_CreateNumber(1));
    cJSON_AddItemToArray(inner, cJSON_CreateNumber(-2.5));
    cJSON_AddItemToArray(nested, inner);
    return tree;
}

static void json_is_read_back_as_the_same_tree(void **state) {
    (void)state;
    cJSON *tree = sample();
    WRITTEN(text, to, cli_json_write(to, tree, 0));
    cJSON *back = cJSON_Parse(text);
    assert_non_null(back);
    assert_true(cJSON_Compare(tree, back, true));
    cJSON_Delete(back);
    cJSON_Delete(tree);
    free(text);
}

static void yaml_is_read_back_as_the_same_tree(void **state) {
    (void)state;
    cJSON *tree = sample();
    WRITTEN(text, to, cli_yaml_write(to, tree, 0));
    struct fy_document *document = fy_document_build_from_string(NULL, text, FY_NT);
    if (!document)
        fail_msg("libfyaml cannot read:\n%s", text);
    char *json = fy_emit_document_to_string(document, FYECF_MODE_JSON_ONELINE);
    assert_non_null(json);
    cJSON *back = cJSON_Parse(json);
    assert_non_null(back);
    const cJSON *list = cJSON_GetObjectItem(back, "texts");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const cJSON *item = cJSON_GetArrayItem(list, (int)(2 * i));
        if (!cJSON_IsString(item) || strcmp(item->valuestring, texts[i]) != 0)
            fail_msg("\"%s\" came back as something else", texts[i]);
    }
    assert_true(cJSON_Compare(tree, back, true));
    cJSON_Delete(back);
    cJSON_Delete(tree);
    free(json);
    fy_document_destroy(document);
    free(text);
}

/* Words of YAML 1.1 (yes, on, y ...) come back as texts from a 1.2 reader even when plain: here they must be quoted for the others. */
static void words_of_yaml_1_1_are_quoted(void **state) {
    (void)state;
    static const char *const words[] = {"yes", "No", "ON", "off", "y", "N", "true", "null"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        cJSON *item = cJSON_CreateString(words[i]);
        WRITTEN(text, to, cli_yaml_write(to, item, 0));
        assert_int_equal(text[0], '"');
        cJSON_Delete(item);
        free(text);
    }
}

static const cli_column columns[] = {{"NAME", "name", CLI_CELL_TEXT, CLI_COLUMN_TREE},
                                     {"MEMORY", "memoryMiB", CLI_CELL_MIB, CLI_COLUMN_RIGHT},
                                     {"IPS", "addresses", CLI_CELL_IPS, 0},
                                     {"ID", "id", CLI_CELL_TEXT, CLI_COLUMN_WIDE},
                                     {NULL}};

static void a_table_has_a_line_per_row_and_no_color_for_programs(void **state) {
    (void)state;
    cli c = {.format = CLI_TABLE};
    const cli_view view = {.columns = columns, .parent_key = "parent"};
    cJSON *rows = cJSON_Parse(
        "[{\"name\":\"web-1\",\"memoryMiB\":2048,\"id\":\"i-1\",\"addresses\":[{\"ip\":\"10.0.0.1\"},{\"ip\":"
        "\"fe80::1\"}]},{\"name\":\"child\",\"parent\":\"web-1\",\"memoryMiB\":1536}]");
    assert_non_null(rows);
    WRITTEN(text, to, cli_table_write(&c, to, &view, rows, true));
    assert_non_null(strstr(text, "NAME"));
    assert_null(strstr(text, "ID"));
    assert_non_null(strstr(text, "2 GiB"));
    assert_non_null(strstr(text, "1.5 GiB"));
    assert_non_null(strstr(text, "10.0.0.1,fe80::1"));
    assert_non_null(strstr(text, "\xe2\x94\x94\xe2\x94\x80"
                                 "child"));
    assert_null(strchr(text, '\033'));
    size_t lines = 0;
    for (const char *at = text; *at; at++)
        lines += *at == '\n';
    assert_int_equal(lines, 3);
    free(text);
    c.format = CLI_WIDE;
    WRITTEN(wide, wide_to, cli_table_write(&c, wide_to, &view, rows, true));
    assert_non_null(strstr(wide, "i-1"));
    free(wide);
    cJSON_Delete(rows);
}

static void terminal_escapes_in_names_do_not_reach_the_terminal(void **state) {
    (void)state;
    cli c = {.format = CLI_TABLE};
    const cli_view view = {.columns = columns};
    cJSON *rows = cJSON_CreateArray();
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "name", "evil\033[2J");
    cJSON_AddItemToArray(rows, row);
    WRITTEN(text, to, cli_table_write(&c, to, &view, rows, true));
    assert_null(strchr(text, '\033'));
    free(text);
    cJSON_Delete(rows);
    char *printable = cli_printable("a\033[2J\x7f\xc2\x9b"
                                    "b\n");
    assert_string_equal(printable, "a?[2J??b\n");
    free(printable);
}

static void bytes_that_are_no_utf8_are_replaced(void **state) {
    (void)state;
    cJSON *map = cJSON_CreateObject();
    cli_put(map, "name", "a\xff\xc3(\xed\xa0\x80z");
    const char *name = cli_get(map, "name");
    /* RFC 3629: FF, a C3 without its second byte, and each byte of a surrogate */
    assert_string_equal(name, "a\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz");
    cJSON_Delete(map);
}

static void an_absent_fact_is_an_absent_key(void **state) {
    (void)state;
    vmctl_vm_info info = {.size = sizeof info,
                          .present = VMCTL_FACT_STATE | VMCTL_FACT_CONFIG,
                          .name = "web-1",
                          .state = VMCTL_STATE_RUNNING,
                          .autostart = -1,
                          .agent_connected = 0,
                          .uptime_seconds = -1,
                          .restart_required = -1};
    cJSON *tree = cli_tree_vm(&info);
    assert_string_equal(cli_get(tree, "state"), "running");
    static const char *const absent[] = {"id",        "cpus",          "memoryMiB",       "addresses",
                                         "owner",     "labels",        "snapshotCount",   "devices",
                                         "autostart", "uptimeSeconds", "restartRequired", "stateReason"};
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        assert_false(cJSON_HasObjectItem(tree, absent[i]));
    assert_true(cJSON_IsFalse(cJSON_GetObjectItem(tree, "agentConnected")));
    cJSON_Delete(tree);
}

static void times_are_rfc_3339_utc(void **state) {
    (void)state;
    char *text = cli_time_text(951782400); /* date -u -d @951782400 */
    assert_string_equal(text, "2000-02-29T00:00:00Z");
    free(text);
    vmctl_event event = {.size = sizeof event, .kind = VMCTL_EVENT_STATE, .time_ms = 951782400007, .name = "a"};
    cJSON *tree = cli_tree_event(&event);
    assert_string_equal(cli_get(tree, "time"), "2000-02-29T00:00:00.007Z");
    cJSON_Delete(tree);
}

static void sizes_for_people(void **state) {
    (void)state;
    static const struct {
        double bytes;
        const char *text;
    } sizes[] = {{0, "0 B"},       {512, "512 B"}, {1024, "1 KiB"}, {1536, "1.5 KiB"}, {20.0 * (1 << 30), "20 GiB"},
                 {1e12, "931 GiB"}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *text = cli_human_bytes(sizes[i].bytes);
        assert_string_equal(text, sizes[i].text);
        free(text);
    }
}

/* The CLI contract: "All failed alike: that status; mixed: 10"; cancelled is 130. */
static void statuses_of_several(void **state) {
    (void)state;
    assert_int_equal(cli_status_of_many((const int[]){0, 0}, 2), 0);
    assert_int_equal(cli_status_of_many((const int[]){4, 4}, 2), 4);
    assert_int_equal(cli_status_of_many((const int[]){4}, 1), 4);
    assert_int_equal(cli_status_of_many((const int[]){0, 4}, 2), 10);
    assert_int_equal(cli_status_of_many((const int[]){4, 6, 4}, 3), 10);
    assert_int_equal(cli_status_of_many((const int[]){4, 130}, 2), 130);
    assert_int_equal(cli_status_of_many(NULL, 0), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(json_is_read_back_as_the_same_tree),
                                       cmocka_unit_test(yaml_is_read_back_as_the_same_tree),
                                       cmocka_unit_test(words_of_yaml_1_1_are_quoted),
                                       cmocka_unit_test(a_table_has_a_line_per_row_and_no_color_for_programs),
                                       cmocka_unit_test(terminal_escapes_in_names_do_not_reach_the_terminal),
                                       cmocka_unit_test(bytes_that_are_no_utf8_are_replaced),
                                       cmocka_unit_test(an_absent_fact_is_an_absent_key),
                                       cmocka_unit_test(times_are_rfc_3339_utc),
                                       cmocka_unit_test(sizes_for_people),
                                       cmocka_unit_test(statuses_of_several)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
