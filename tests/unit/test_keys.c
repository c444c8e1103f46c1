/* Names of keys: held against <linux/input-event-codes.h> itself, aliases, wrong names, and texts as keys. */
#include "keys.h"
#include <ctype.h>
#include <linux/input-event-codes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vmctl/display.h>

#include <cmocka.h>

#define HEADER "/usr/include/linux/input-event-codes.h"

/* Every key up to KEY_MICMUTE (the last that a keyboard's 8 bits hold) has its name, and no other has one. */
static void every_key_of_the_header(void **state) {
    (void)state;
    FILE *header = fopen(HEADER, "r");
    if (!header) {
        print_message("skip: %s is not here\n", HEADER);
        skip();
    }
    char line[256], name[64], value[64];
    size_t wanted = 0, listed = 0;
    while (fgets(line, sizeof line, header)) {
        if (sscanf(line, "#define KEY_%63s %63s", name, value) != 2 || !isdigit((unsigned char)value[0]))
            continue;
        unsigned long code = strtoul(value, NULL, 0);
        if (code == KEY_RESERVED || code > KEY_MICMUTE)
            continue;
        wanted++;
        assert_int_equal(vmc_key_code(name), code);
    }
    fclose(header);
    for (const char *const *key = vmctl_key_names(); *key; key++) {
        listed++;
        for (const char *c = *key; *c; c++)
            assert_false(isupper((unsigned char)*c));
    }
    assert_true(wanted > 200);
    assert_int_equal(listed, wanted);
}

static void names_as_people_say_them(void **state) {
    (void)state;
    static const struct {
        const char *name;
        unsigned code;
    } said[] = {{"a", KEY_A},           {"A", KEY_A},         {"KEY_A", KEY_A},        {"key_leftctrl", KEY_LEFTCTRL},
                {"ctrl", KEY_LEFTCTRL}, {"Alt", KEY_LEFTALT}, {"altgr", KEY_RIGHTALT}, {"enter", KEY_ENTER},
                {"Return", KEY_ENTER},  {"esc", KEY_ESC},     {"Escape", KEY_ESC},     {"F1", KEY_F1},
                {"f12", KEY_F12},       {"del", KEY_DELETE},  {"pgup", KEY_PAGEUP},    {"win", KEY_LEFTMETA},
                {"7", KEY_7},           {"/", KEY_SLASH},     {"102nd", KEY_102ND}};
    for (size_t i = 0; i < sizeof said / sizeof *said; i++)
        assert_int_equal(vmc_key_code(said[i].name), said[i].code);
    static const char *const none[] = {"", "KEY_", "KEY_CTRL", "crtl", "f99", "reserved", "a "};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_int_equal(vmc_key_code(none[i]), 0);
}

static void combinations_and_their_faults(void **state) {
    (void)state;
    unsigned codes[VMCTL_KEYS_MAX];
    size_t count = 0;
    const char *three[] = {"ctrl+alt", "delete"};
    assert_int_equal(vmc_key_codes(three, 2, codes, &count, NULL), 0);
    assert_int_equal(count, 3);
    assert_int_equal(codes[0], KEY_LEFTCTRL);
    assert_int_equal(codes[1], KEY_LEFTALT);
    assert_int_equal(codes[2], KEY_DELETE);

    vmctl_error *err = NULL;
    const char *wrong[] = {"ctrl", "delte"};
    assert_int_equal(vmc_key_codes(wrong, 2, codes, &count, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_non_null(strstr(vmctl_error_message(err), "\"delte\""));
    assert_non_null(strstr(vmctl_error_message(err), "nearest is delete"));
    vmctl_error_free(err);
    err = NULL;
    const char *empty[] = {"ctrl++a"};
    assert_int_equal(vmc_key_codes(empty, 1, codes, &count, &err), VMCTL_E_INVALID_ARGUMENT);
    vmctl_error_free(err);
    err = NULL;
    const char *many[VMCTL_KEYS_MAX + 1];
    for (size_t i = 0; i <= VMCTL_KEYS_MAX; i++)
        many[i] = "a";
    assert_int_equal(vmc_key_codes(many, VMCTL_KEYS_MAX, codes, &count, &err), 0);
    assert_int_equal(vmc_key_codes(many, VMCTL_KEYS_MAX + 1, codes, &count, &err), VMCTL_E_INVALID_ARGUMENT);
    vmctl_error_free(err);
}

/* All of printable ASCII is on a US keyboard, each character on a key of its own or with shift. */
static void characters_as_keys(void **state) {
    (void)state;
    bool taken[256][2] = {{false}};
    for (int c = ' '; c <= '~'; c++) {
        bool shift = false;
        unsigned code = vmc_key_of_char((char)c, &shift);
        assert_in_range(code, 1, 255);
        assert_false(taken[code][shift]);
        taken[code][shift] = true;
    }
    static const struct {
        char c;
        unsigned code;
        bool shift;
    } some[] = {{'q', KEY_Q, false},       {'Q', KEY_Q, true},          {'!', KEY_1, true},
                {'_', KEY_MINUS, true},    {'"', KEY_APOSTROPHE, true}, {'~', KEY_GRAVE, true},
                {'\n', KEY_ENTER, false},  {'\t', KEY_TAB, false},      {'|', KEY_BACKSLASH, true},
                {'{', KEY_LEFTBRACE, true}};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        bool shift = !some[i].shift;
        assert_int_equal(vmc_key_of_char(some[i].c, &shift), some[i].code);
        assert_int_equal(shift, some[i].shift);
    }
    bool shift;
    assert_int_equal(vmc_key_of_char('\r', &shift), 0);
    assert_int_equal(vmc_key_of_char('\xe4', &shift), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_of_the_header),
        cmocka_unit_test(names_as_people_say_them),
        cmocka_unit_test(combinations_and_their_faults),
        cmocka_unit_test(characters_as_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
