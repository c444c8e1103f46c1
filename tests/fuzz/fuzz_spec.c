/* Any bytes as a vm.yaml: they end in specs or in an error; what is written of a spec reads back as the same spec, and a
 * spec differs from itself in nothing. */
#include "spec_internal.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds) {
    if (!holds)
        abort();
}

/* Written and read again it is the same spec. */
static void round_trip(const vmctl_spec *spec, vmctl_format format) {
    char *text = NULL;
    check(vmctl_spec_text(spec, format, false, &text, NULL) == 0);
    vmctl_spec_load_options options = VMCTL_SPEC_LOAD_OPTIONS_INIT;
    options.incomplete = true;
    vmctl_spec **list = NULL;
    size_t count = 0;
    check(vmctl_spec_load(text, strlen(text), &options, &list, &count, NULL) == 0);
    check(count == 1 && vmc_node_equal(vmctl_spec_root(spec), vmctl_spec_root(list[0]), false));
    vmctl_spec_list_free(list);
    vmctl_string_free(text);
}

/* A spec differs from itself in nothing. */
static void no_difference(const vmctl_spec *spec) {
    vmctl_diff *diff = NULL;
    check(vmctl_spec_diff(spec, spec, NULL, &diff, NULL) == 0);
    check(vmctl_diff_count(diff) == 0);
    vmctl_diff_free(diff);
}

static void use(const vmctl_spec *spec) {
    if (vmctl_spec_native(spec, NULL))
        return;
    round_trip(spec, VMCTL_FORMAT_YAML);
    round_trip(spec, VMCTL_FORMAT_JSON);
    no_difference(spec);
    vmctl_spec *copy = vmctl_spec_copy(spec);
    vmc_spec_complete(copy, "nat");
    vmctl_spec_validate(copy, NULL);
    vmctl_spec_free(copy);
}

/* The first line as KEY=VALUE, the rest as the text. */
static void with_set(const char *text, size_t length) {
    const char *newline = memchr(text, '\n', length);
    if (!newline || memchr(text, '\0', (size_t)(newline - text)))
        return;
    char *line = strndup(text, (size_t)(newline - text));
    char *equals = line ? strchr(line, '=') : NULL;
    vmctl_spec *spec = vmctl_spec_new();
    vmc_spec_complete(spec, "nat");
    if (equals) {
        *equals = '\0';
        vmctl_spec_set(spec, line, equals + 1, NULL);
        vmctl_spec_validate(spec, NULL);
        vmctl_spec_set(spec, line, NULL, NULL);
    }
    vmctl_spec_free(spec);
    free(line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    /* a block of its own, without a NUL behind it, so that a read beyond the end shows */
    char *text = malloc(size ? size : 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    for (int incomplete = 0; incomplete < 2; incomplete++) {
        vmctl_spec_load_options options = VMCTL_SPEC_LOAD_OPTIONS_INIT;
        options.incomplete = incomplete;
        vmctl_spec **list = NULL;
        size_t count = 0;
        vmctl_error *err = NULL;
        if (vmctl_spec_load(text, size, &options, &list, &count, &err) == 0) {
            for (size_t i = 0; i < count && i < 3; i++)
                use(list[i]);
        } else {
            check(vmctl_error_text(err) != NULL);
        }
        vmctl_error_free(err);
        vmctl_spec_list_free(list);
    }
    with_set(text, size);
    free(text);
    return 0;
}
