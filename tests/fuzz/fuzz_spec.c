/* Any text as a vm.yaml: it ends in specs or in an error; the canonical text of a spec reads back as the same spec. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <vmctl/spec.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    vmctl_spec_load_options options = VMCTL_SPEC_LOAD_OPTIONS_INIT;
    options.file_name = "fuzz.yaml";
    options.base_dir = "/";
    options.incomplete = size > 0 && data[0] == ' ';
    vmctl_spec **specs = NULL;
    size_t count = 0;
    vmctl_error *err = NULL;
    int rc = vmctl_spec_load((const char *)data, size, &options, &specs, &count, &err);
    if ((rc < 0) != (err != NULL))
        abort();
    for (size_t i = 0; rc == 0 && i < count; i++) {
        char *first = NULL, *second = NULL;
        vmctl_spec **again = NULL;
        size_t again_count = 0;
        if (vmctl_spec_native(specs[i], NULL))
            continue;
        if (vmctl_spec_text(specs[i], VMCTL_FORMAT_YAML, false, &first, NULL) < 0)
            abort();
        if (vmctl_spec_load(first, strlen(first), &options, &again, &again_count, &err) < 0 || again_count != 1)
            abort();
        if (vmctl_spec_text(again[0], VMCTL_FORMAT_YAML, false, &second, NULL) < 0 || strcmp(first, second) != 0)
            abort();
        vmctl_string_free(first);
        vmctl_string_free(second);
        vmctl_spec_list_free(again);
    }
    if (rc == 0)
        vmctl_spec_list_free(specs);
    vmctl_error_free(err);
    return 0;
}
