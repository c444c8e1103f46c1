/* cloud_init.c - the seed's texts. Expectations: cloud-init's manual, "NoCloud", "User data formats" and "Users and groups". */
#include "backends/libvirt/cloud_init.h"
#include "base/str.h"
#include <libfyaml.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vmctl/vmctl.h>
/* cmocka wants these before it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define UUID "6f1e7c1a-0d4e-4e0b-9d0a-3f6a5b2c1d00"

static vmctl_spec *spec_of(const char *cloud_init) {
    char text[4096];
    snprintf(text, sizeof text, "name: web-1\nmemory: 64MiB\ndisks: [{name: root, size: 1MiB}]\n%s\n", cloud_init);
    vmctl_spec **list = NULL;
    size_t count = 0;
    vmctl_error *err = NULL;
    if (vmctl_spec_load(text, strlen(text), NULL, &list, &count, &err) < 0)
        fail_msg("%s", vmctl_error_text(err));
    vmctl_spec *spec = vmctl_spec_copy(list[0]);
    vmctl_spec_list_free(list);
    return spec;
}

static libvirt_seed seed_of(const char *cloud_init) {
    vmctl_spec *spec = spec_of(cloud_init);
    libvirt_seed seed;
    vmctl_error *err = NULL;
    if (libvirt_seed_texts(spec, UUID, &seed, &err) < 0)
        fail_msg("%s", vmctl_error_text(err));
    vmctl_spec_free(spec);
    return seed;
}

/* The scalar at a path of a YAML text; free. NULL: it is not there, or the text is no YAML. */
static char *yaml_at(const char *text, const char *path) {
    struct fy_document *doc = fy_document_build_from_string(NULL, text, FY_NT);
    if (!doc)
        return NULL;
    struct fy_node *node = fy_node_by_path(fy_document_root(doc), path, FY_NT, FYNWF_DONT_FOLLOW);
    char *value = node ? vmc_strdup(fy_node_get_scalar0(node)) : NULL;
    fy_document_destroy(doc);
    return value;
}

static void assert_yaml(const char *text, const char *path, const char *wanted) {
    VMC_AUTO_FREE char *value = yaml_at(text, path);
    if (!value)
        fail_msg("%s is not in:\n%s", path, text);
    assert_string_equal(value, wanted);
}

static void a_user_with_keys_and_sudo(void **state) {
    (void)state;
    libvirt_seed seed = seed_of("cloudInit: {hostname: front, user: ci, sshKeys: [\"ssh-ed25519 AAAAkey me@host\"]}");
    assert_int_equal(strncmp(seed.user_data, "#cloud-config\n", 14), 0);
    assert_yaml(seed.user_data, "/hostname", "front");
    assert_yaml(seed.user_data, "/users/0/name", "ci");
    assert_yaml(seed.user_data, "/users/0/sudo", "ALL=(ALL) NOPASSWD:ALL");
    assert_yaml(seed.user_data, "/users/0/ssh_authorized_keys/0", "ssh-ed25519 AAAAkey me@host");
    assert_yaml(seed.meta_data, "/local-hostname", "front");
    assert_null(seed.network_config);
    libvirt_seed_free(&seed);
}

static void keys_without_a_user_are_the_default_users(void **state) {
    (void)state;
    libvirt_seed seed = seed_of("cloudInit: {sshKeys: [\"ssh-rsa AAAA1 a\", \"ssh-rsa AAAA2 b\"]}");
    assert_yaml(seed.user_data, "/ssh_authorized_keys/1", "ssh-rsa AAAA2 b");
    assert_yaml(seed.user_data, "/hostname", "web-1");
    assert_null(yaml_at(seed.user_data, "/users/0/name"));
    libvirt_seed_free(&seed);
}

static void names_that_yaml_would_take_for_something_else(void **state) {
    (void)state;
    libvirt_seed seed = seed_of("cloudInit: {user: \"yes\", hostname: \"12e3\"}");
    assert_non_null(strstr(seed.user_data, "\"yes\""));
    assert_non_null(strstr(seed.user_data, "\"12e3\""));
    libvirt_seed_free(&seed);
    seed = seed_of("cloudInit: {user: \"a\\\"b\\\\: [x]\"}");
    assert_yaml(seed.user_data, "/users/0/name", "a\"b\\: [x]");
    libvirt_seed_free(&seed);
}

static void the_instance_is_the_vm(void **state) {
    (void)state;
    vmctl_spec *spec = spec_of("cloudInit: {user: ci}");
    libvirt_seed one;
    libvirt_seed two;
    assert_int_equal(libvirt_seed_texts(spec, UUID, &one, NULL), 0);
    assert_int_equal(libvirt_seed_texts(spec, "6f1e7c1a-0d4e-4e0b-9d0a-3f6a5b2c1d01", &two, NULL), 0);
    VMC_AUTO_FREE char *first = yaml_at(one.meta_data, "/instance-id");
    VMC_AUTO_FREE char *second = yaml_at(two.meta_data, "/instance-id");
    assert_non_null(first);
    assert_non_null(second);
    assert_string_not_equal(first, second);
    libvirt_seed_free(&one);
    libvirt_seed_free(&two);
    vmctl_spec_free(spec);
}

static void own_texts_pass_unchanged(void **state) {
    (void)state;
    libvirt_seed seed = seed_of("cloudInit: {userData: {inline: \"#!/bin/sh\\necho  \\\"x\\\"\\t\\n\"}, "
                                "networkData: {inline: \"version: 2\\n\"}}");
    assert_string_equal(seed.user_data, "#!/bin/sh\necho  \"x\"\t\n");
    assert_string_equal(seed.network_config, "version: 2\n");
    libvirt_seed_free(&seed);
}

/* RFC 2045: our part first, then the person's, which cloud-init merges over it; both survive in base64. */
static void own_text_and_a_user_become_two_parts(void **state) {
    (void)state;
    libvirt_seed seed = seed_of("cloudInit: {user: ci, userData: {inline: \"#!/bin/sh\\ntrue\\n\"}}");
    assert_int_equal(strncmp(seed.user_data, "Content-Type: multipart/mixed", 29), 0);
    const char *ours = strstr(seed.user_data, "text/cloud-config");
    const char *theirs = strstr(seed.user_data, "text/x-shellscript");
    assert_non_null(ours);
    assert_non_null(theirs);
    assert_true(ours < theirs);
    assert_non_null(strstr(theirs, "IyEvYmluL3NoCnRydWUK")); /* printf '#!/bin/sh\ntrue\n' | base64 */
    libvirt_seed_free(&seed);

    vmctl_spec *spec = spec_of("cloudInit: {user: ci, userData: {inline: \"nothing that cloud-init knows\"}}");
    vmctl_error *err = NULL;
    assert_int_equal(libvirt_seed_texts(spec, UUID, &seed, &err), VMCTL_E_INVALID_SPEC);
    assert_non_null(strstr(vmctl_error_text(err), "cloudInit.userData"));
    vmctl_error_free(err);
    vmctl_spec_free(spec);
}

static void several_cards_by_their_addresses(void **state) {
    (void)state;
    libvirt_seed seed = seed_of("networks: [{name: a, type: user, mac: \"52:54:00:00:00:01\"}, "
                                "{name: b, type: user, mac: \"52:54:00:00:00:02\"}]\ncloudInit: {user: ci}");
    assert_yaml(seed.network_config, "/version", "2");
    assert_yaml(seed.network_config, "/ethernets/nic1/match/macaddress", "52:54:00:00:00:02");
    assert_yaml(seed.network_config, "/ethernets/nic0/dhcp4", "true");
    libvirt_seed_free(&seed);
}

static void keys_come_from_files_but_never_private_ones(void **state) {
    (void)state;
    char path[] = "/tmp/vmctl-key-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    const char public_keys[] = "# mine\nssh-ed25519 AAAAone me\n\nssh-ed25519 AAAAtwo me\n";
    assert_int_equal(write(fd, public_keys, sizeof public_keys - 1), sizeof public_keys - 1);
    char text[256];
    snprintf(text, sizeof text, "cloudInit: {sshKeys: [%s]}", path);
    libvirt_seed seed = seed_of(text);
    assert_yaml(seed.user_data, "/ssh_authorized_keys/1", "ssh-ed25519 AAAAtwo me");
    libvirt_seed_free(&seed);

    const char private_key[] = "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n";
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(pwrite(fd, private_key, sizeof private_key - 1, 0), sizeof private_key - 1);
    close(fd);
    vmctl_spec *spec = spec_of(text);
    vmctl_error *err = NULL;
    assert_int_equal(libvirt_seed_texts(spec, UUID, &seed, &err), VMCTL_E_INVALID_SPEC);
    assert_null(strstr(vmctl_error_text(err), "c2VjcmV0"));
    vmctl_error_free(err);
    err = NULL;
    unlink(path);
    assert_int_equal(libvirt_seed_texts(spec, UUID, &seed, &err), VMCTL_E_NOT_FOUND);
    vmctl_error_free(err);
    vmctl_spec_free(spec);
}

static void a_clone_is_somebody_else(void **state) {
    (void)state;
    static const char *const macs[] = {"52:54:00:00:00:01", "52:54:00:AA:BB:CC"};
    libvirt_seed seed = seed_of("cloudInit: {hostname: web-1, user: ci}\n");
    seed.network_config = vmc_strdup("match: {macaddress: \"52:54:00:00:00:01\"}\n");
    char *told = NULL;
    libvirt_seed_for_clone(&seed, "0a1b2c3d-0d4e-4e0b-9d0a-3f6a5b2c1d00", "web-2", macs, 1, &told);
    assert_null(told);
    char *instance = yaml_at(seed.meta_data, "/instance-id"), *name = yaml_at(seed.meta_data, "/local-hostname");
    char *host = yaml_at(seed.user_data, "/hostname"), *user = yaml_at(seed.user_data, "/users/0/name");
    assert_non_null(strstr(instance, "0a1b2c3d"));
    assert_string_equal(name, "web-2");
    assert_string_equal(host, "web-2");
    assert_string_equal(user, "ci");
    assert_string_equal(seed.network_config, "match: {macaddress: \"52:54:00:AA:BB:CC\"}\n");
    free(instance);
    free(name);
    free(host);
    free(user);
    libvirt_seed_free(&seed);
    /* A person's own text is not rewritten, and what that means is told. */
    seed = seed_of("cloudInit: {userData: {inline: \"#cloud-config\\nfqdn: a.lan\\nhostname: a\\n\"}}\n");
    libvirt_seed_for_clone(&seed, UUID, "web-2", NULL, 0, &told);
    assert_non_null(told);
    assert_non_null(strstr(seed.user_data, "hostname: a\n"));
    free(told);
    libvirt_seed_free(&seed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_user_with_keys_and_sudo),
        cmocka_unit_test(keys_without_a_user_are_the_default_users),
        cmocka_unit_test(names_that_yaml_would_take_for_something_else),
        cmocka_unit_test(the_instance_is_the_vm),
        cmocka_unit_test(a_clone_is_somebody_else),
        cmocka_unit_test(own_texts_pass_unchanged),
        cmocka_unit_test(own_text_and_a_user_become_two_parts),
        cmocka_unit_test(several_cards_by_their_addresses),
        cmocka_unit_test(keys_come_from_files_but_never_private_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
