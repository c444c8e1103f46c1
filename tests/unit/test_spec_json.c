/* YAML, JSON and C lead to the same tree; what is written is read back as the same spec: for chosen texts, and for many
 * specs made by chance from a fixed seed. */
#include "spec_test.h"

#include <cjson/cJSON.h>

static vmctl_spec *load_text(const char *text) {
    return load_part(text);
}

static void assert_equal_specs(const vmctl_spec *a, const vmctl_spec *b) {
    if (vmc_node_equal(vmctl_spec_root(a), vmctl_spec_root(b), false))
        return;
    char *x = text_of(a, VMCTL_FORMAT_YAML, true), *y = text_of(b, VMCTL_FORMAT_YAML, true);
    print_error("--- one\n%s--- other\n%s", x, y);
    vmctl_string_free(x);
    vmctl_string_free(y);
    fail();
}

static void yaml_json_and_c_are_equal(void **state) {
    (void)state;
    vmctl_spec *yaml = load_text("name: web-1\nlabels: {team: infra, n: '1'}\ncpus: 2\nmemory: 2GiB\nfirmware: uefi\n"
                                 "disks:\n  - {name: root, image: /a.qcow2, size: 20GiB}\n  - {cdrom: ''}\n"
                                 "networks:\n  - {name: lan, type: nat, forward: ['2222:22']}\nrng: on\nlifetime: 2h\n"
                                 "virtualbox: {modifyvm: {vram: 64, x: [true, null, 1.5, a]}}\n");
    vmctl_spec *json = load_text(
        "{\"name\": \"web-1\", \"labels\": {\"team\": \"infra\", \"n\": \"1\"}, \"cpus\": 2,\n"
        "\t\"memory\": {\"size\": \"2GiB\"}, \"firmware\": {\"type\": \"uefi\"},\n"
        "\t\"disks\": [{\"name\": \"root\", \"image\": \"\\/a.qcow2\", \"size\": \"20480MiB\"}, {\"cdrom\": null}],\n"
        "\t\"networks\": [{\"name\": \"lan\", \"type\": \"nat\", \"forward\": [\"2222:22\"]}], \"rng\": true,\n"
        "\t\"lifetime\": \"120m\", \"virtualbox\": {\"modifyvm\": {\"vram\": 64, \"x\": [true, null, 1.5, \"a\"]}}}\n");
    vmctl_spec *c = vmctl_spec_new();
    static const char *const keys[][2] = {{"name", "web-1"},
                                          {"labels.team", "infra"},
                                          {"labels.n", "1"},
                                          {"cpus.count", "2"},
                                          {"memory", "2048MiB"},
                                          {"firmware", "uefi"},
                                          {"disk.root.image", "/a.qcow2"},
                                          {"disk.root.size", "20GiB"},
                                          {"disks[1].cdrom", ""},
                                          {"nic.lan.type", "nat"},
                                          {"nic.lan.forward", "2222:22"},
                                          {"rng", "yes"},
                                          {"lifetime", "7200s"},
                                          {"virtualbox.modifyvm.vram", "64"},
                                          {"virtualbox.modifyvm.x", "[true, null, 1.5, a]"}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        set_key(c, keys[i][0], keys[i][1]);
    assert_equal_specs(yaml, json);
    assert_equal_specs(yaml, c);
    vmctl_spec_free(yaml);
    vmctl_spec_free(json);
    vmctl_spec_free(c);
}

static void json_strings(void **state) {
    (void)state;
    vmctl_spec *spec = load_text("{\"description\": \"\\ud83d\\ude00\\u00e9 \\\"q\\\" \\\\ \\n\\t/\"}");
    assert_text(spec, "description", "\xf0\x9f\x98\x80\xc3\xa9 \"q\" \\ \n\t/");
    vmctl_spec_free(spec);
}

/* As a JSON writer puts a user-data of many lines; the sanitizer would show what is left behind. */
static void a_string_of_many_escapes(void **state) {
    (void)state;
    VMC_AUTO_STR text = {0}, expected = {0};
    vmc_str_add(&text, "{\"cloudInit\": {\"userData\": {\"inline\": \"");
    for (int i = 0; i < 1000; i++) {
        vmc_str_add(&text, "- \\\"a\\\"\\n");
        vmc_str_add(&expected, "- \"a\"\n");
    }
    vmc_str_add(&text, "\"}}}");
    vmctl_spec *spec = load_text(text.text);
    assert_text(spec, "cloudInit.userData.inline", expected.text);
    vmctl_spec_free(spec);
}

static void the_canonical_text(void **state) {
    (void)state;
    vmctl_spec *spec =
        load_text("rng: yes\nmemory: {size: 2048MiB}\ncpus: {count: 2, model: host}\nboot: {order: [a, 'b c']}\n"
                  "labels: {z: 'true', a: '', k: '12', m: 'x: y', n: '- q', o: '#', p: 'a b'}\nname: web-1\n"
                  "disks: [{size: 1024MiB, name: a}, {name: 'b c', cdrom: ''}]\nnetworks: []\n"
                  "cloudInit: {userData: {inline: \"#cloud-config\\na: b\\n\"}, networkData: {inline: \" x\\n\"}}\n"
                  "description: \"two\\nlines\"\nlifetime: 120m\n");
    char *text = text_of(spec, VMCTL_FORMAT_YAML, false);
    assert_string_equal(text, "name: web-1\n"
                              "labels:\n"
                              "  z: \"true\"\n"
                              "  a: \"\"\n"
                              "  k: \"12\"\n"
                              "  m: \"x: y\"\n"
                              "  \"n\": \"- q\"\n"
                              "  o: \"#\"\n"
                              "  p: a b\n"
                              "description: |-\n"
                              "  two\n"
                              "  lines\n"
                              "cpus:\n"
                              "  count: 2\n"
                              "  model: host\n"
                              "memory: 2GiB\n"
                              "boot:\n"
                              "  order: [a, b c]\n"
                              "disks:\n"
                              "  - name: a\n"
                              "    size: 1GiB\n"
                              "  - name: b c\n"
                              "    cdrom: \"\"\n"
                              "networks: []\n"
                              "cloudInit:\n"
                              "  userData:\n"
                              "    inline: |\n"
                              "      #cloud-config\n"
                              "      a: b\n"
                              "  networkData:\n"
                              "    inline: \" x\\n\"\n"
                              "rng: true\n"
                              "lifetime: 2h\n");
    vmctl_string_free(text);
    text = text_of(spec, VMCTL_FORMAT_JSON, false);
    cJSON *json = cJSON_Parse(text);
    assert_non_null(json);
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(json, "memory")), "2GiB");
    assert_int_equal((int)cJSON_GetNumberValue(cJSON_GetObjectItem(cJSON_GetObjectItem(json, "cpus"), "count")), 2);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(json, "rng")));
    cJSON_Delete(json);
    vmctl_string_free(text);
    vmctl_spec_free(spec);
    spec = vmctl_spec_new();
    text = text_of(spec, VMCTL_FORMAT_YAML, false);
    assert_string_equal(text, "{}\n");
    vmctl_string_free(text);
    vmctl_spec_free(spec);
}

/* --- by chance ----------------------------------------------------------------------------------------------- */

static uint64_t seed;

static unsigned chance(unsigned below) { /* xorshift64 */
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return below ? (unsigned)(seed % below) : 0;
}

/* Strings that YAML could take for something else. */
static const char *odd_string(void) {
    static const char *const strings[] = {
        "",
        " ",
        "a",
        "true",
        "No",
        "null",
        "~",
        "1",
        "1.5",
        "-1",
        "0x1f",
        "1e3",
        "2026-11-23",
        "12:30:45",
        "a: b",
        "a #b",
        "#a",
        "- a",
        "-",
        "?",
        ": x",
        "a:",
        "@a",
        "`a",
        "%a",
        "!a",
        "&a",
        "*a",
        "|",
        ">",
        "[a]",
        "{a}",
        "a,b",
        "'",
        "\"",
        "\\",
        "a'b\"c",
        " lead",
        "trail ",
        "two  spaces",
        "line\n",
        "\nline",
        "a\nb",
        "a\n\nb\n\n",
        "a\n b\n",
        " a\nb",
        "a \nb",
        "tab\there",
        "\ttab",
        "a\n\tb",
        "cr\rlf\r\n",
        "\xc3\xa9",
        "\xc2\x85",
        "\xe2\x80\xa8",
        "\xef\xbb\xbf x",
        "\xf0\x9f\x98\x80",
        "<<",
        "=",
        "---",
        "...",
        "--- a",
        "a\n---\nb",
        "a\n...\nb\n",
        "y",
        "n",
        "on",
        "Off",
        "yes",
        "%",
        "a%b",
        "$HOME",
        "${x}",
        "key=value",
        "http://x/y?z=1#a",
        "#cloud-config\nruncmd: [a]\n",
        "x\n# c\n",
        ".inf",
        ".nan",
        "0o7",
        "+1",
        "1_000",
        "a\n\n",
        "\n",
        "\n\n",
        " \n",
        "\\n",
        "very long text that goes on beyond the width of any line that an emitter would choose to fold it at"};
    return strings[chance(sizeof strings / sizeof *strings)];
}

static void put_value(vmctl_spec *spec, const char *path, const vmc_key *key) {
    static const char *const sizes[] = {"512MiB", "1GiB", "20GB", "1500000B", "3TiB", "1048577B"};
    static const char *const durations[] = {"1s", "90s", "5m", "36h", "1500ms", "2d"};
    static const char *const macs[] = {"52:54:00:00:00:01", "02-00-00-AA-BB-CC"};
    static const char *const ports[] = {"[\"1:2\"]", "[\"udp:3:4\", \"127.0.0.1:5:6\"]", "[]"};
    char number[16];
    VMC_AUTO_STRV words = {0};
    switch (key->type) {
    case VMC_TYPE_INTEGER:
        snprintf(number, sizeof number, "%u", (unsigned)key->minimum + chance(50));
        set_key(spec, path, number);
        break;
    case VMC_TYPE_SIZE:
        set_key(spec, path, sizes[chance(6)]);
        break;
    case VMC_TYPE_DURATION:
        set_key(spec, path, durations[chance(6)]);
        break;
    case VMC_TYPE_BOOLEAN:
        set_key(spec, path, chance(2) ? "true" : "off");
        break;
    case VMC_TYPE_MAC:
        set_key(spec, path, macs[chance(2)]);
        break;
    case VMC_TYPE_PORTS:
        set_key(spec, path, ports[chance(3)]);
        break;
    case VMC_TYPE_NAME:
        snprintf(number, sizeof number, "%s%u", chance(2) ? "n-" : "5 ", chance(1000000));
        set_key(spec, path, number);
        break;
    case VMC_TYPE_ENUM:
        for (const char *p = key->values; *p; p += strspn(p, " ")) {
            vmc_strv_take(&words, vmc_strndup(p, strcspn(p, " ")));
            p += strcspn(p, " ");
        }
        set_key(spec, path, words.items ? words.items[chance((unsigned)words.count)] : NULL);
        break;
    case VMC_TYPE_KEYS:
        set_key(spec, path, "[ssh-ed25519 AAAA a@b, /k.pub]");
        break;
    default:
        break;
    }
    if (key->type == VMC_TYPE_STRING || key->type == VMC_TYPE_PATH || key->type == VMC_TYPE_SOURCE ||
        key->type == VMC_TYPE_STRINGS)
        vmctl_spec_set(spec, path, odd_string(), NULL); /* not every string is good for every key */
}

/* Something below a free section: scalars of all kinds, lists and maps in each other. */
static vmctl_node *free_value(unsigned depth) {
    vmctl_node *node = NULL;
    char key[16];
    switch (chance(depth ? 7 : 5)) {
    case 0:
        node = vmc_node_new(VMCTL_KIND_INTEGER, NULL);
        node->value.integer = chance(2) ? INT64_MIN : (int64_t)chance(1000);
        break;
    case 1:
        node = vmc_node_new(VMCTL_KIND_BOOLEAN, NULL);
        node->value.boolean = chance(2);
        break;
    case 2:
        node = vmc_node_new(VMCTL_KIND_NULL, NULL);
        break;
    case 3:
        node = vmc_node_new_string(NULL, chance(2) ? "1.5" : "-2e+7");
        node->kind = VMCTL_KIND_NUMBER;
        break;
    case 4:
        node = vmc_node_new_string(NULL, odd_string());
        break;
    case 5:
        node = vmc_node_new(VMCTL_KIND_LIST, NULL);
        for (unsigned n = chance(4); n; n--)
            vmc_node_append(node, free_value(depth - 1));
        break;
    default:
        node = vmc_node_new(VMCTL_KIND_MAP, NULL);
        for (unsigned n = chance(4); n; n--) {
            snprintf(key, sizeof key, "k%u", n);
            vmc_node_put(node, chance(2) ? key : odd_string(), free_value(depth - 1));
        }
    }
    return node;
}

static void put_free(vmctl_spec *spec, const vmc_key *key) {
    set_key(spec, key->path, "{}");
    vmctl_node *map = (vmctl_node *)vmctl_node_get(vmctl_spec_root(spec), key->path);
    for (unsigned n = chance(4); n; n--) {
        char name[16];
        snprintf(name, sizeof name, "k%u", n);
        vmc_node_put(map, chance(2) ? name : odd_string(),
                     key->type == VMC_TYPE_ANY ? free_value(3) : vmc_node_new_string(NULL, odd_string()));
    }
}

static vmctl_spec *make_spec(void) {
    vmctl_spec *spec = vmctl_spec_new();
    for (size_t i = 0; i < vmc_schema_count; i++) {
        const vmc_key *key = &vmc_schema[i];
        if (chance(3) || strcmp(key->path, "count") == 0)
            continue;
        const char *item = strstr(key->path, "[]");
        if (key->type == VMC_TYPE_STRING_MAP || (key->type == VMC_TYPE_ANY && !item)) {
            put_free(spec, key);
        } else if (item && key->type != VMC_TYPE_NAME) {
            for (unsigned n = 0; n < 3; n++) {
                char path[64];
                snprintf(path, sizeof path, "%.*s.item%u%s", (int)(item - key->path), key->path, n, item + 2);
                if (chance(2))
                    put_value(spec, path, key);
            }
        } else if (!item && key->type != VMC_TYPE_MAP && key->type != VMC_TYPE_ITEMS) {
            put_value(spec, key->path, key);
        }
    }
    return spec;
}

/* Reads a text without the rules that keys have among each other, which a spec made by chance does not keep. */
static vmctl_spec *read_back(const char *text) {
    vmctl_spec_load_options options = VMCTL_SPEC_LOAD_OPTIONS_INIT;
    options.incomplete = true;
    vmctl_spec **list = NULL;
    size_t count = 0;
    vmctl_error *err = NULL;
    if (vmctl_spec_load(text, strlen(text), &options, &list, &count, &err) != 0)
        fail_msg("%s\n%s", vmctl_error_text(err), text);
    assert_int_equal(count, 1);
    vmctl_spec *spec = list[0];
    free(list);
    return spec;
}

/* Takes out what the rules between keys refuse. */
static void keep_the_rules(vmctl_spec *spec) {
    for (bool again = true; again;) {
        vmc_faults faults = {0};
        vmc_spec_rules(spec, true, &faults);
        again = faults.count > 0;
        if (again && strncmp(faults.items[0].path, "labels.", 7) == 0)
            set_key(spec, "labels", NULL);
        else if (again)
            set_key(spec, faults.items[0].path, NULL);
        vmc_faults_end(&faults, NULL);
    }
}

static void what_is_written_is_read_back(void **state) {
    (void)state;
    seed = 20261123;
    size_t keys = 0;
    for (unsigned round = 0; round < 500; round++) {
        vmctl_spec *spec = make_spec();
        keep_the_rules(spec);
        for (unsigned form = 0; form < 4; form++) {
            char *text = text_of(spec, form & 1 ? VMCTL_FORMAT_JSON : VMCTL_FORMAT_YAML, form & 2);
            vmctl_spec *again = read_back(text);
            assert_equal_specs(spec, again);
            keys += vmctl_node_count(vmctl_spec_root(again));
            vmctl_spec_free(again);
            vmctl_string_free(text);
        }
        vmctl_spec_free(spec);
    }
    assert_true(keys > 20000); /* specs of many keys, not of none */
}

static void the_table_fits_the_tree(void **state) {
    (void)state;
    assert_true(vmc_schema_count < 256); /* schema_tree.c's limit */
    for (size_t i = 0; i < vmc_schema_count; i++)
        assert_ptr_equal(vmc_schema_find(vmc_schema[i].path), &vmc_schema[i]);
    assert_ptr_equal(vmc_schema_child(vmc_schema_find("disks"), "bus"), vmc_schema_find("disks[].bus"));
    assert_ptr_equal(vmc_schema_child(vmc_schema_find("cloudInit.userData"), "inline"),
                     vmc_schema_find("cloudInit.userData.inline"));
    assert_null(vmc_schema_child(NULL, "bus"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(yaml_json_and_c_are_equal),    cmocka_unit_test(json_strings),
        cmocka_unit_test(a_string_of_many_escapes),     cmocka_unit_test(the_canonical_text),
        cmocka_unit_test(what_is_written_is_read_back), cmocka_unit_test(the_table_fits_the_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
