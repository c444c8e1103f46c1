/* unit/spec_test.h - what the tests of specs share. */
#ifndef VMC_TEST_SPEC_TEST_H
#define VMC_TEST_SPEC_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spec_internal.h"
#include <vmctl/spec.h>

/* Relative paths in the tests are below this folder. */
#define BASE "/srv/specs"

/* The specs of a text that has no faults; vmctl_spec_list_free. */
static inline vmctl_spec **load_all(const char *text, const char *const *set, bool incomplete, size_t *count) {
    vmctl_spec_load_options options = VMCTL_SPEC_LOAD_OPTIONS_INIT;
    options.file_name = "t.yaml";
    options.base_dir = BASE;
    options.set = set;
    options.incomplete = incomplete;
    vmctl_spec **list = NULL;
    vmctl_error *err = NULL;
    if (vmctl_spec_load(text, strlen(text), &options, &list, count, &err) != 0)
        fail_msg("%s\n%s", vmctl_error_text(err), text);
    assert_null(err);
    return list;
}

/* The one spec of a text, required keys or not; vmctl_spec_free. */
static inline vmctl_spec *load_part(const char *text) {
    size_t count = 0;
    vmctl_spec **list = load_all(text, NULL, true, &count);
    assert_int_equal(count, 1);
    vmctl_spec *spec = list[0];
    free(list);
    return spec;
}

static inline void assert_text(const vmctl_spec *spec, const char *path, const char *expected) {
    const char *text = vmctl_node_string(vmctl_spec_root(spec), path, NULL);
    if (!text || strcmp(text, expected) != 0)
        fail_msg("%s is \"%s\", not \"%s\"", path, text ? text : "(absent)", expected);
}

static inline void assert_number(const vmctl_spec *spec, const char *path, int64_t expected) {
    int64_t number = vmctl_node_integer(vmctl_spec_root(spec), path, -1);
    if (number != expected)
        fail_msg("%s is %lld, not %lld", path, (long long)number, (long long)expected);
}

static inline void assert_absent(const vmctl_spec *spec, const char *path) {
    assert_null(vmctl_node_get(vmctl_spec_root(spec), path));
}

static inline char *text_of(const vmctl_spec *spec, vmctl_format format, bool with_defaults) {
    char *text = NULL;
    vmctl_error *err = NULL;
    if (vmctl_spec_text(spec, format, with_defaults, &text, &err) != 0)
        fail_msg("%s", vmctl_error_text(err));
    return text;
}

/* Sets a key that is known to be good. */
static inline void set_key(vmctl_spec *spec, const char *path, const char *value) {
    vmctl_error *err = NULL;
    if (vmctl_spec_set(spec, path, value, &err) != 0)
        fail_msg("%s=%s: %s", path, value ? value : "(removed)", vmctl_error_text(err));
}

#endif
