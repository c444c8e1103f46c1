/* docs/vm.yaml.md is what the table of keys says. UPDATE=1 writes it anew. */
#include "base/file.h"
#include "spec_test.h"
#include "spec_value.h"

static const char *type_text(const vmc_key *key) {
    switch (key->type) {
    case VMC_TYPE_MAP:
        return "map";
    case VMC_TYPE_ITEMS:
        return "list of maps";
    case VMC_TYPE_STRINGS:
        return "list of strings";
    case VMC_TYPE_NAME:
        return "name";
    case VMC_TYPE_PATH:
        return "file";
    case VMC_TYPE_SOURCE:
        return "file or URL";
    case VMC_TYPE_ENUM:
        return "one of";
    case VMC_TYPE_INTEGER:
        return "number";
    case VMC_TYPE_SIZE:
        return "size";
    case VMC_TYPE_DURATION:
        return "duration";
    case VMC_TYPE_BOOLEAN:
        return "true or false";
    case VMC_TYPE_MAC:
        return "MAC address";
    case VMC_TYPE_PORTS:
        return "list of ports";
    case VMC_TYPE_KEYS:
        return "list of public keys";
    case VMC_TYPE_STRING_MAP:
        return "map of strings";
    case VMC_TYPE_ANY:
        return "anything";
    default:
        return "string";
    }
}

static void add_limits(vmc_str *out, const vmc_key *key) {
    vmctl_node low = {.kind = VMCTL_KIND_INTEGER, .schema = key, .value.integer = key->minimum};
    vmctl_node high = {.kind = VMCTL_KIND_INTEGER, .schema = key, .value.integer = key->maximum};
    VMC_AUTO_FREE char *least = vmc_value_text(&low), *most = vmc_value_text(&high);
    if (key->type != VMC_TYPE_INTEGER && key->type != VMC_TYPE_SIZE && key->type != VMC_TYPE_DURATION)
        return;
    if (key->maximum)
        vmc_str_printf(out, ", %s to %s", least, most);
    else if (key->minimum)
        vmc_str_printf(out, ", at least %s", least);
}

static void add_values(vmc_str *out, const vmc_key *key) {
    for (const char *p = key->values; p && *p; p += strspn(p, " ")) {
        int length = (int)strcspn(p, " ");
        vmc_str_printf(out, "%s`%.*s`", p == key->values ? " " : ", ", length, p);
        p += length;
    }
}

static char *document(void) {
    vmc_str out = {0};
    vmc_str_add(
        &out,
        "# vm.yaml: every key\n\n"
        "Made from the library's own table (`core/src/schema.c`). `disks[]` is each item of the list `disks`. Sizes "
        "are\n"
        "written as `512MiB` or `20GiB`, durations as `90s`, `5m` or `2h`; relative paths are from the file's folder.\n"
        "`examples/` has whole files, `vmctl caps` tells which hypervisor honours which key.\n\n"
        "| key | value | meaning |\n|---|---|---|\n");
    for (size_t i = 0; i < vmc_schema_count; i++) {
        const vmc_key *key = &vmc_schema[i];
        vmc_str_printf(&out, "| `%s` | %s", key->path, type_text(key));
        add_values(&out, key);
        add_limits(&out, key);
        if (key->fallback)
            vmc_str_printf(&out, "; `%s` when absent", key->fallback);
        if (key->scalar)
            vmc_str_printf(&out, "; a value in its place is `%s`", key->scalar);
        vmc_str_printf(&out, " | %s |\n", key->help);
    }
    return vmc_str_take(&out);
}

static void the_page_is_what_the_table_says(void **state) {
    (void)state;
    VMC_AUTO_FREE char *wanted = document();
    VMC_AUTO_FREE char *path = vmc_printf("%s/../docs/vm.yaml.md", TEST_SOURCE_DIR);
    VMC_AUTO_FREE char *found = NULL;
    if (getenv("UPDATE"))
        assert_int_equal(vmc_file_write(path, wanted, strlen(wanted), 0644, NULL), 0);
    assert_int_equal(vmc_file_read(path, 1 << 20, &found, NULL, NULL), 0);
    if (strcmp(found, wanted) != 0)
        fail_msg("docs/vm.yaml.md is not what core/src/schema.c says: run this test with UPDATE=1");
}

static void every_key_is_explained(void **state) {
    (void)state;
    for (size_t i = 0; i < vmc_schema_count; i++) {
        assert_non_null(vmc_schema[i].help);
        assert_null(strchr(vmc_schema[i].help, '|'));
        assert_true(vmc_schema[i].type != VMC_TYPE_ENUM || vmc_schema[i].values);
        assert_true(!vmc_schema[i].scalar || vmc_schema_child(&vmc_schema[i], vmc_schema[i].scalar));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page_is_what_the_table_says),
        cmocka_unit_test(every_key_is_explained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
