/* The configuration file: contexts kept, checked, and private. */
#include "base/deadline.h"
#include "base/file.h"
#include "base/str.h"
#include "config.h"
#include "internal.h"
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char home[] = "/tmp/vmctl-test-config.XXXXXX";

static char *file(void) {
    return vmc_printf("%s/vmctl/config.yaml", home);
}

static void write_file(const char *text) {
    VMC_AUTO_FREE char *path = file();
    VMC_AUTO_FREE char *folder = vmc_path_dirname(path);
    assert_int_equal(vmc_mkdirs(folder, 0700, NULL), 0);
    assert_int_equal(vmc_file_write(path, text, strlen(text), 0600, NULL), 0);
}

static void no_file_is_an_empty_configuration(void **state) {
    (void)state;
    vmctl_config *config = NULL;
    assert_int_equal(vmctl_config_load(NULL, &config, NULL), 0);
    assert_int_equal(vmctl_config_context_count(config), 0);
    assert_null(vmctl_config_current(config));
    VMC_AUTO_FREE char *path = file();
    assert_string_equal(vmctl_config_path(config), path);
    vmctl_config_free(config);
}

static void everything_survives_saving(void **state) {
    (void)state;
    vmctl_config *config = NULL;
    assert_int_equal(vmctl_config_load(NULL, &config, NULL), 0);
    vmctl_context context = VMCTL_CONTEXT_INIT;
    context.name = "lab";
    context.connect = "qemu+ssh://root@lab/system";
    context.password_command = (const char *const[]){"pass", "show", "a \"quoted\" \\ \t word", NULL};
    context.cluster = "c1";
    context.datastore = "yes";
    context.folder = "/a: b";
    context.network = "123";
    context.namespace_name = "#team";
    context.storage_class = "\xc3\xbc";
    assert_int_equal(vmctl_config_add(config, &context, false, NULL), 0);
    vmctl_context other = VMCTL_CONTEXT_INIT;
    other.name = "here";
    other.connect = "qemu:///session";
    other.password_file = "/etc/secret";
    assert_int_equal(vmctl_config_add(config, &other, false, NULL), 0);
    assert_int_equal(vmctl_config_use(config, "lab", NULL), 0);
    assert_int_equal(vmctl_config_save(config, NULL), 0);
    vmctl_config_free(config);

    struct stat st;
    VMC_AUTO_FREE char *path = file();
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);

    config = NULL;
    vmctl_error *err = NULL;
    if (vmctl_config_load(NULL, &config, &err) < 0)
        fail_msg("%s", vmctl_error_text(err));
    assert_int_equal(vmctl_config_context_count(config), 2);
    assert_string_equal(vmctl_config_current(config), "lab");
    const vmctl_context *read = vmctl_config_context(config, "lab");
    assert_string_equal(read->connect, "qemu+ssh://root@lab/system");
    assert_string_equal(read->password_command[2], "a \"quoted\" \\ \t word");
    assert_null(read->password_command[3]);
    assert_null(read->password_file);
    assert_string_equal(read->cluster, "c1");
    assert_string_equal(read->datastore, "yes");
    assert_string_equal(read->folder, "/a: b");
    assert_string_equal(read->network, "123");
    assert_string_equal(read->namespace_name, "#team");
    assert_string_equal(read->storage_class, "\xc3\xbc");
    assert_string_equal(vmctl_config_context_at(config, 1)->password_file, "/etc/secret");
    assert_null(vmctl_config_context_at(config, 2));
    assert_false(config->exposed);
    vmctl_config_free(config);
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(vmctl_config_load(NULL, &config, NULL), 0);
    assert_true(config->exposed);
    vmctl_config_free(config);
}

static void what_a_person_writes(void **state) {
    (void)state;
    write_file("# my machines\n"
               "current: lab\n"
               "contexts:\n"
               "  - name: lab\n"
               "    connect: qemu+ssh://root@lab/system\n"
               "    credentials: {passwordFile: secret}\n"
               "    defaults: {namespace: team, storageClass: fast}\n");
    vmctl_config *config = NULL;
    assert_int_equal(vmctl_config_load(NULL, &config, NULL), 0);
    const vmctl_context *context = vmctl_config_context(config, "lab");
    VMC_AUTO_FREE char *beside = vmc_printf("%s/vmctl/secret", home); /* relative to the file */
    assert_string_equal(context->password_file, beside);
    assert_string_equal(context->namespace_name, "team");
    assert_string_equal(context->storage_class, "fast");
    vmctl_config_free(config);
}

static void check_fault(const char *text, unsigned line, const char *words) {
    write_file(text);
    vmctl_config *config = NULL;
    vmctl_error *err = NULL;
    assert_int_equal(vmctl_config_load(NULL, &config, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_null(config);
    if (!strstr(vmctl_error_text(err), words))
        fail_msg("\"%s\" is not in: %s", words, vmctl_error_text(err));
    if (line)
        assert_int_equal(vmctl_error_fault(err, 0)->line, line);
    vmctl_error_free(err);
}

static void faults_name_their_line(void **state) {
    (void)state;
    check_fault("contexts:\n  - name: a\n    conect: qemu:///system\n", 3, "\"connect\"");
    check_fault("curent: a\n", 1, "\"current\"");
    check_fault("contexts:\n  - name: a\n    connect: qemu:///system\n  - name: a\n    connect: qemu:///system\n", 0,
                "two contexts");
    check_fault("current: b\ncontexts:\n  - {name: a, connect: \"qemu:///system\"}\n", 0, "no context \"b\"");
    check_fault("contexts: [{name: a}]\n", 0, "connect");
    check_fault("contexts: [{connect: \"qemu:///system\"}]\n", 0, "needs a name");
    check_fault("contexts: {a: b}\n", 1, "a list");
    check_fault("contexts: [\n", 0, "config.yaml");
    check_fault("- a\n", 0, "a map");
    check_fault(
        "contexts:\n - name: a\n   connect: qemu:///system\n   credentials: {passwordFile: a, passwordCommand: [b]}\n",
        0, "not both");
    check_fault("contexts:\n - name: a\n   connect: \"qemu+ssh://root:secretword@lab/system\"\n", 0, "password");
}

static void a_password_is_never_repeated(void **state) {
    (void)state;
    static const char *const uris[] = {"qemu+ssh://root:secretword@lab/system", "qemu+ssh://a@b:secretword@lab/system",
                                       "qemu:///system?password=secretword"};
    for (size_t i = 0; i < sizeof uris / sizeof uris[0]; i++) {
        const vmc_registry_entry *entry;
        vmctl_error *err = NULL;
        assert_int_equal(vmc_check_uri(uris[i], &entry, &err), VMCTL_E_INVALID_ARGUMENT);
        assert_null(strstr(vmctl_error_text(err), "secretword"));
        vmctl_error_free(err);
    }
    const vmc_registry_entry *entry;
    assert_int_equal(vmc_check_uri("qemu+ssh://root@lab:2222/system?keyfile=a:b@c", &entry, NULL), 0);
}

static void adding_and_removing(void **state) {
    (void)state;
    vmctl_config *config = NULL;
    VMC_AUTO_FREE char *path = vmc_printf("%s/none.yaml", home);
    assert_int_equal(vmctl_config_load(path, &config, NULL), 0);
    vmctl_context context = VMCTL_CONTEXT_INIT;
    context.name = "a";
    context.connect = "qemu:///system";
    assert_int_equal(vmctl_config_add(config, &context, false, NULL), 0);
    assert_int_equal(vmctl_config_add(config, &context, false, NULL), VMCTL_E_ALREADY_EXISTS);
    context.connect = "qemu:///session";
    assert_int_equal(vmctl_config_add(config, &context, true, NULL), 0);
    assert_int_equal(vmctl_config_context_count(config), 1);
    assert_string_equal(vmctl_config_context(config, "a")->connect, "qemu:///session");
    context.name = "b/c";
    assert_int_equal(vmctl_config_add(config, &context, false, NULL), VMCTL_E_INVALID_ARGUMENT);
    context.name = "b";
    context.connect = "nosuch:///x";
    assert_int_equal(vmctl_config_add(config, &context, false, NULL), VMCTL_E_INVALID_ARGUMENT);
    vmctl_error *err = NULL;
    assert_int_equal(vmctl_config_use(config, "aa", &err), VMCTL_E_NOT_FOUND);
    vmctl_error_free(err);
    assert_int_equal(vmctl_config_use(config, "a", NULL), 0);
    assert_int_equal(vmctl_config_remove(config, "a", NULL), 0);
    assert_null(vmctl_config_current(config));
    assert_int_equal(vmctl_config_remove(config, "a", NULL), VMCTL_E_NOT_FOUND);
    vmctl_config_free(config);
}

static void check_split(const vmctl_config *config, const char *name, const char *context, const char *vm) {
    char *c = NULL, *v = NULL;
    assert_int_equal(vmctl_config_vm_name(config, name, &c, &v, NULL), 0);
    assert_string_equal(v, vm);
    if (context)
        assert_string_equal(c, context);
    else
        assert_null(c);
    free(c);
    free(v);
}

static void a_vm_of_a_context(void **state) {
    (void)state;
    write_file("contexts: [{name: lab, connect: \"qemu:///system\"}]\n");
    vmctl_config *config = NULL;
    assert_int_equal(vmctl_config_load(NULL, &config, NULL), 0);
    check_split(config, "lab/web", "lab", "web");
    check_split(config, "lab/a/b", "lab", "a/b");
    check_split(config, "other/web", NULL, "other/web");
    check_split(config, "web", NULL, "web");
    check_split(config, "lab/", NULL, "lab/");
    check_split(NULL, "lab/web", NULL, "lab/web");
    vmctl_config_free(config);
}

/* --- credentials ------------------------------------------------------------------------------------------ */

static int command_status;
static int run(const char *const *argv, const vmctl_call *call, int *status, char **output, vmctl_error **err) {
    (void)call, (void)err;
    assert_string_equal(argv[0], "pass");
    assert_string_equal(argv[1], "show");
    *status = command_status;
    *output = strdup("hush\nmore\n");
    return 0;
}

static void passwords_come_from_file_or_command(void **state) {
    (void)state;
    static const vmc_tools tools = {.size = sizeof tools, .abi = VMC_TOOLS_ABI, .run = run};
    vmc_tools_replace(&tools);
    vmctl_context context = VMCTL_CONTEXT_INIT;
    context.name = "lab";
    char *password = NULL;
    assert_int_equal(vmc_context_password(&context, NULL, &password, NULL), 0);
    assert_null(password);
    context.password_command = (const char *const[]){"pass", "show", NULL};
    assert_int_equal(vmc_context_password(&context, NULL, &password, NULL), 0);
    assert_string_equal(password, "hush");
    vmc_wipe_free(password);
    command_status = 1;
    vmctl_error *err = NULL;
    assert_int_equal(vmc_context_password(&context, NULL, &password, &err), VMCTL_E_UNAUTHENTICATED);
    assert_null(strstr(vmctl_error_text(err), "hush"));
    vmctl_error_free(err);
    VMC_AUTO_FREE char *secret = vmc_printf("%s/secret", home);
    assert_int_equal(vmc_file_write(secret, "quiet\r\n", 7, 0600, NULL), 0);
    context.password_command = NULL;
    context.password_file = secret;
    assert_int_equal(vmc_context_password(&context, NULL, &password, NULL), 0);
    assert_string_equal(password, "quiet");
    vmc_wipe_free(password);
    vmc_tools_replace(NULL);
}

static int make(void **state) {
    (void)state;
    return mkdtemp(home) && setenv("XDG_CONFIG_HOME", home, 1) == 0 ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int clean(void **state) {
    (void)state;
    return nftw(home, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_file_is_an_empty_configuration),
        cmocka_unit_test(everything_survives_saving),
        cmocka_unit_test(what_a_person_writes),
        cmocka_unit_test(faults_name_their_line),
        cmocka_unit_test(a_password_is_never_repeated),
        cmocka_unit_test(adding_and_removing),
        cmocka_unit_test(a_vm_of_a_context),
        cmocka_unit_test(passwords_come_from_file_or_command),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
