/* Command lines as GNU programs read them (the C library manual, "Program Argument Syntax Conventions"), but without abbreviations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/options.h"

static const cli_option own[] = {{"force", 'f', CLI_FLAG, NULL, "force"},
                                 {"grace", 'g', CLI_DURATION, "DUR", "grace"},
                                 {"level", 0, CLI_CHOICE, "L", "level", "low high"},
                                 {"number", 0, CLI_INTEGER, "N", "number"},
                                 {"set", 's', CLI_TEXT, "K=V", "set"},
                                 {"size", 0, CLI_SIZE, "SIZE", "size"},
                                 {NULL}};
static const cli_option global[] = {
    {"output", 'o', CLI_TEXT, "F", "output"}, {"quiet", 'q', CLI_FLAG, NULL, "quiet"}, {NULL}};

typedef struct fixture {
    cli_args args;
    char *why, *next;
    bool command;
} fixture;

static int all_operands(const char *operand, void *user, char **why, char **next) {
    (void)operand;
    (void)user;
    (void)why;
    (void)next;
    return 0;
}

static int parse(fixture *f, char *const *argv) {
    const cli_option *tables[] = {own, global, NULL};
    return cli_parse(&f->args, tables, argv, all_operands, NULL, &f->command, &f->why, &f->next);
}

static void clear(fixture *f) {
    cli_args_free(&f->args);
    free(f->why);
    free(f->next);
    *f = (fixture){0};
}

#define ARGV(...) ((char *const[]){__VA_ARGS__, NULL})

static void options_and_operands_stand_in_any_order(void **state) {
    (void)state;
    fixture f = {0};
    assert_int_equal(parse(&f, ARGV("a", "--force", "b", "-o", "json", "-")), 0);
    assert_int_equal(f.args.operand_count, 3);
    assert_string_equal(f.args.operands[0], "a");
    assert_string_equal(f.args.operands[1], "b");
    assert_string_equal(f.args.operands[2], "-");
    assert_null(f.args.operands[3]);
    assert_true(cli_flag(&f.args, "force"));
    assert_false(cli_flag(&f.args, "quiet"));
    assert_string_equal(cli_text(&f.args, "output", NULL), "json");
    clear(&f);
}

static void values_in_every_writing(void **state) {
    (void)state;
    fixture f = {0};
    assert_int_equal(parse(&f, ARGV("--set=a=b", "--set", "c=d", "-se=f", "-s", "g=h", "-fqojson", "--set=")), 0);
    cli_strings list = {0};
    cli_texts(&f.args, "set", &list);
    assert_int_equal(list.count, 5);
    assert_string_equal(list.items[0], "a=b");
    assert_string_equal(list.items[1], "c=d");
    assert_string_equal(list.items[2], "e=f");
    assert_string_equal(list.items[3], "g=h");
    assert_string_equal(list.items[4], "");
    assert_true(cli_flag(&f.args, "force"));
    assert_true(cli_flag(&f.args, "quiet"));
    assert_string_equal(cli_text(&f.args, "output", NULL), "json");
    cli_strings_free(&list);
    clear(&f);
}

static void the_last_one_counts(void **state) {
    (void)state;
    fixture f = {0};
    assert_int_equal(parse(&f, ARGV("-o", "json", "--output=yaml")), 0);
    assert_string_equal(cli_text(&f.args, "output", NULL), "yaml");
    assert_string_equal(cli_text(&f.args, "level", "low"), "low");
    assert_int_equal(cli_number(&f.args, "number", 7), 7);
    clear(&f);
}

static void units_are_read(void **state) {
    (void)state;
    fixture f = {0};
    assert_int_equal(parse(&f, ARGV("--grace", "90s", "--size=2GiB", "--number", "3")), 0);
    assert_int_equal(cli_number(&f.args, "grace", 0), 90000);
    assert_int_equal(cli_number(&f.args, "size", 0), 2147483648);
    assert_int_equal(cli_number(&f.args, "number", 0), 3);
    clear(&f);
}

static void two_hyphens_end_the_options(void **state) {
    (void)state;
    fixture f = {0};
    assert_int_equal(parse(&f, ARGV("a", "--", "--force", "-x")), 0);
    assert_int_equal(f.args.operand_count, 3);
    assert_false(cli_flag(&f.args, "force"));
    assert_null(f.args.command);
    clear(&f);
    f.command = true;
    assert_int_equal(parse(&f, ARGV("a", "--", "ls", "--force", "--")), 0);
    assert_int_equal(f.args.operand_count, 1);
    assert_non_null(f.args.command);
    assert_string_equal(f.args.command[0], "ls");
    assert_string_equal(f.args.command[1], "--force");
    assert_string_equal(f.args.command[2], "--");
    assert_null(f.args.command[3]);
    clear(&f);
}

static void a_command_that_is_empty_was_still_given(void **state) {
    (void)state;
    fixture f = {.command = true};
    assert_int_equal(parse(&f, ARGV("a", "--")), 0);
    assert_non_null(f.args.command);
    assert_null(f.args.command[0]);
    clear(&f);
}

/* why has the wanted words, next is the wanted suggestion (NULL: any). */
static void refused(char *const *argv, const char *word, const char *suggestion) {
    fixture f = {0};
    assert_int_equal(parse(&f, argv), -1);
    assert_non_null(f.why);
    assert_non_null(strstr(f.why, word));
    if (suggestion) {
        assert_non_null(f.next);
        assert_string_equal(f.next, suggestion);
    }
    clear(&f);
}

static void faults_are_named(void **state) {
    (void)state;
    refused(ARGV("--forse"), "--forse", "--force");
    refused(ARGV("--outptu=json"), "--outptu", "--output");
    refused(ARGV("--forc"), "--forc", "--force");
    refused(ARGV("-x"), "-x", NULL);
    refused(ARGV("-fx"), "-x", NULL);
    refused(ARGV("--force=yes"), "--force", NULL);
    refused(ARGV("--set"), "--set", NULL);
    refused(ARGV("-s"), "-s", NULL);
    refused(ARGV("--grace", "90"), "--grace", NULL);
    refused(ARGV("--size", "20"), "--size", NULL);
    refused(ARGV("--size=much"), "--size", NULL);
    refused(ARGV("--number=-1"), "--number", NULL);
    refused(ARGV("--number="), "--number", NULL);
    refused(ARGV("--level=mid"), "low high", NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(options_and_operands_stand_in_any_order),
                                       cmocka_unit_test(values_in_every_writing),
                                       cmocka_unit_test(the_last_one_counts),
                                       cmocka_unit_test(units_are_read),
                                       cmocka_unit_test(two_hyphens_end_the_options),
                                       cmocka_unit_test(a_command_that_is_empty_was_still_given),
                                       cmocka_unit_test(faults_are_named)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
