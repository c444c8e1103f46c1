/* tests/unit/kubevirt_helper.h - for the tests of KubeVirt's pure parts: recorded exchanges as trees, and specs as create gets them. */
#ifndef VMC_TEST_KUBEVIRT_HELPER_H
#define VMC_TEST_KUBEVIRT_HELPER_H

#include "spec_test.h"

#include "backends/kubevirt/manifest.h"
#include "base/file.h"

/* The request's or the answer's body of a recorded exchange; cJSON_Delete. */
static inline cJSON *recorded(const char *name, bool request) {
    VMC_AUTO_FREE char *path = vmc_printf("%s/fixtures/kubevirt/%s.http", TEST_SOURCE_DIR, name);
    VMC_AUTO_FREE char *text = NULL;
    if (vmc_file_read(path, 1u << 20, &text, NULL, NULL) < 0)
        fail_msg("there is no recorded exchange %s", path);
    char *answer = strstr(text, "-----RESPONSE-----");
    assert_non_null(answer);
    *answer = '\0';
    const char *body = strstr(request ? text : answer + 1, "\n\n");
    assert_non_null(body);
    cJSON *json = cJSON_Parse(body);
    if (!json)
        fail_msg("%s has no JSON there", path);
    return json;
}

/* A spec as the backend gets it. */
static inline vmctl_spec *ready_spec(const char *yaml) {
    size_t count = 0;
    vmctl_spec **list = load_all(yaml, NULL, false, &count);
    assert_int_equal(count, 1);
    vmctl_spec *spec = NULL;
    vmctl_error *err = NULL;
    if (vmctl_spec_native(list[0], NULL))
        spec = vmctl_spec_copy(list[0]);
    else if (vmc_spec_ready("kubevirt", list[0], NULL, &spec, &err) < 0)
        fail_msg("%s\n%s", vmctl_error_text(err), yaml);
    vmctl_spec_list_free(list);
    return spec;
}

/* The manifest of a text that has no faults; kubevirt_manifest_free. */
static inline kubevirt_manifest manifest_of(const char *yaml, const cJSON *permitted) {
    vmctl_spec *spec = ready_spec(yaml);
    const kubevirt_making making = {.namespace_name = "default", .permitted = permitted};
    kubevirt_manifest out;
    vmctl_error *err = NULL;
    if (kubevirt_manifest_of_spec(spec, &making, &out, &err) < 0)
        fail_msg("%s\n%s", vmctl_error_text(err), yaml);
    vmctl_spec_free(spec);
    return out;
}

static inline void assert_same_json(const cJSON *have, const cJSON *want) {
    if (cJSON_Compare(have, want, true))
        return;
    VMC_AUTO_FREE char *has = cJSON_Print(have);
    VMC_AUTO_FREE char *wants = cJSON_Print(want);
    fail_msg("have %s\nwant %s", has, wants);
}

#endif
