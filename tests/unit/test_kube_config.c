/* tests/unit/test_kube_config.c - kubeconfig files: several as one, every form of every key, and what is said of a broken one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base64.h"
#include "drivers/kube/config.h"
#include "drivers/process/process.h"
#include "kube_lab.h"

static vmc_deadline far;
static char *folder;

static void run(const char *command) {
    const char *argv[] = {"sh", "-c", command, NULL};
    vmctl_error *err = NULL;
    if (process_run_ok(&(process_options){.argv = argv, .directory = folder}, &far, NULL, &err) < 0)
        fail_msg("%s", vmctl_error_text(err));
}

static char *base64_of(const char *name) {
    VMC_AUTO_FREE char *path = vmc_printf("%s/%s", folder, name);
    VMC_AUTO_FREE char *text = NULL;
    size_t length = 0;
    assert_int_equal(vmc_file_read(path, 1 << 20, &text, &length, NULL), 0);
    vmc_str out = {0};
    vmc_base64_add(&out, text, length, 0);
    return vmc_str_take(&out);
}

static kube_config *load(const char *cluster, const char *user) {
    VMC_AUTO_FREE char *path = lab_kubeconfig(folder, cluster, user);
    kube_config *config = NULL;
    vmctl_error *err = NULL;
    if (kube_config_load(&(kube_config_options){.file = path}, &config, &err) < 0)
        fail_msg("%s", vmctl_error_text(err));
    return config;
}

/* ---- Several files ---- */

static void test_the_first_file_wins(void **state) {
    (void)state;
    VMC_AUTO_FREE char *one = lab_write(folder, "one",
                                        "contexts:\n"
                                        "- {name: a, context: {cluster: c, user: u, namespace: first}}\n"
                                        "clusters:\n"
                                        "- {name: c, cluster: {server: \"https://first:6443\"}}\n");
    VMC_AUTO_FREE char *sub = vmc_printf("%s/sub", folder);
    assert_int_equal(vmc_mkdirs(sub, 0700, NULL), 0);
    VMC_AUTO_FREE char *two =
        lab_write(sub, "two",
                  "current-context: b\n"
                  "contexts:\n"
                  "- {name: a, context: {cluster: other, user: other}}\n"
                  "- {name: b, context: {cluster: c, user: u}}\n"
                  "clusters:\n"
                  "- {name: c, cluster: {server: \"https://second:6443\", tls-server-name: second}}\n"
                  "users:\n"
                  "- {name: u, user: {tokenFile: ./token}}\n");
    VMC_AUTO_FREE char *token = lab_write(sub, "token", "secret\n");
    VMC_AUTO_FREE char *list = vmc_printf("%s/missing:%s::%s:%s", folder, one, two, one);
    setenv("KUBECONFIG", list, 1);
    KUBE_AUTO_CONFIG *config = NULL;
    assert_int_equal(kube_config_load(NULL, &config, NULL), 0);
    assert_string_equal(kube_config_context(config), "b"); /* the first file says none */
    assert_string_equal(kube_config_file(config), two);
    assert_string_equal(kube_config_server(config), "https://first:6443");
    assert_null(config->server_name); /* an entry is not mixed of two files */
    assert_string_equal(config->token_file, token);
    assert_string_equal(kube_config_namespace(config), "default");
    KUBE_AUTO_CONFIG *other = NULL;
    assert_int_equal(kube_config_load(&(kube_config_options){.context = "a"}, &other, NULL), 0);
    assert_string_equal(kube_config_namespace(other), "first");
    KUBE_AUTO_CONFIG *own = NULL;
    assert_int_equal(kube_config_load(&(kube_config_options){.context = "a", .name_space = "mine"}, &own, NULL), 0);
    assert_string_equal(kube_config_namespace(own), "mine");
    VMC_AUTO_STRV names = {0};
    VMC_AUTO_FREE char *current = NULL;
    assert_int_equal(kube_config_contexts(NULL, &names, &current, NULL), 0);
    VMC_AUTO_FREE char *all = vmc_strv_join(&names, ",");
    assert_string_equal(all, "a,b");
    assert_string_equal(current, "b");
    unsetenv("KUBECONFIG");
}

static void test_where_it_is_looked_for(void **state) {
    (void)state;
    KUBE_AUTO_CONFIG *config = NULL;
    vmctl_error *err = NULL;
    setenv("KUBECONFIG", "/nonexistent/a:/nonexistent/b", 1);
    assert_int_equal(kube_config_load(NULL, &config, &err), VMCTL_E_NOT_FOUND);
    assert_non_null(strstr(vmctl_error_message(err), "/nonexistent/a:/nonexistent/b"));
    vmctl_error_free(err);
    err = NULL;
    unsetenv("KUBECONFIG");
    setenv("HOME", folder, 1);
    assert_int_equal(kube_config_load(NULL, &config, &err), VMCTL_E_NOT_FOUND);
    assert_non_null(strstr(vmctl_error_message(err), "/.kube/config"));
    vmctl_error_free(err);
    VMC_AUTO_FREE char *kube = vmc_printf("%s/.kube", folder);
    assert_int_equal(vmc_mkdirs(kube, 0700, NULL), 0);
    VMC_AUTO_FREE char *path = lab_kubeconfig(kube, "{server: \"https://h\"}", "{}");
    assert_int_equal(kube_config_load(NULL, &config, NULL), 0);
    assert_string_equal(kube_config_file(config), path);
}

static void test_in_a_pod(void **state) {
    (void)state;
    VMC_AUTO_FREE char *pod = vmc_printf("%s/pod", folder);
    assert_int_equal(vmc_mkdirs(pod, 0700, NULL), 0);
    KUBE_AUTO_CONFIG *none = NULL;
    setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
    setenv("KUBERNETES_SERVICE_PORT", "443", 1);
    assert_int_equal(kube_config_in_pod(pod, &none, NULL), 0);
    assert_null(none); /* no token */
    VMC_AUTO_FREE char *token = lab_write(pod, "token", "t");
    free(lab_write(pod, "namespace", "apps\n"));
    KUBE_AUTO_CONFIG *config = NULL;
    assert_int_equal(kube_config_in_pod(pod, &config, NULL), 0);
    assert_string_equal(kube_config_server(config), "https://[fd00::1]:443");
    assert_string_equal(kube_config_namespace(config), "apps");
    assert_string_equal(config->token_file, token);
    assert_null(kube_config_file(config));
    unsetenv("KUBERNETES_SERVICE_HOST");
    assert_int_equal(kube_config_in_pod(pod, &none, NULL), 0);
    assert_null(none);
}

/* ---- Every form ---- */

static void test_files_and_data(void **state) {
    (void)state;
    KUBE_AUTO_CONFIG *files = load("{server: \"https://h:6443\", certificate-authority: ca.pem}",
                                   "{client-certificate: cert.pem, client-key: ./key.pem}");
    VMC_AUTO_FREE char *ca = base64_of("ca.pem"), *cert = base64_of("cert.pem"), *key = base64_of("key.pem");
    VMC_AUTO_FREE char *cluster =
        vmc_printf("{server: \"https://h:6443\", certificate-authority: nowhere, certificate-authority-data: %s}", ca);
    VMC_AUTO_FREE char *user =
        vmc_printf("{client-certificate-data: %s, client-key-data: %s, client-key: nowhere}", cert, key);
    KUBE_AUTO_CONFIG *data = load(cluster, user);
    assert_non_null(strstr(files->ca_pem, "BEGIN CERTIFICATE"));
    assert_string_equal(files->ca_pem, data->ca_pem);
    assert_string_equal(files->cert_pem, data->cert_pem);
    assert_string_equal(files->key_pem, data->key_pem);
}

static void test_servers(void **state) {
    (void)state;
    static const struct {
        const char *cluster, *server;
    } cases[] = {
        {"{server: \"https://h:6443/\"}", "https://h:6443"},
        {"{server: \"https://rancher/k8s/clusters/c-1//\"}", "https://rancher/k8s/clusters/c-1"},
        {"{server: \"HTTP://h\"}", "HTTP://h"},
        {"{server: h:8080}", "http://h:8080"}, /* client-go: no TLS setting, no TLS */
        {"{server: h:6443, insecure-skip-tls-verify: true}", "https://h:6443"},
        {"{server: h:6443, certificate-authority: ca.pem}", "https://h:6443"},
        {"{server: \"https://[::1]:6443\"}", "https://[::1]:6443"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        KUBE_AUTO_CONFIG *config = load(cases[i].cluster, "{}");
        assert_string_equal(config->server, cases[i].server);
    }
    KUBE_AUTO_CONFIG *secret = load("{server: \"https://me:word@h:6443\"}", "{}");
    assert_null(strstr(kube_config_server(secret), "word"));
}

static void test_keys_of_clusters_and_users(void **state) {
    (void)state;
    KUBE_AUTO_CONFIG *c = load(
        "{server: \"https://h\", tls-server-name: api.internal, proxy-url: \"socks5://127.0.0.1:1080\", "
        "disable-compression: true, insecure-skip-tls-verify: true, extensions: [{name: other, extension: 1}, {name: "
        "client.authentication.k8s.io/exec, extension: {audience: x, list: [1, a]}}]}",
        "{as: root, as-uid: \"17\", as-groups: [a, b], as-user-extra: {scopes: [one, two]}, exec: {apiVersion: "
        "client.authentication.k8s.io/v1, command: ./bin/plugin, args: [get, token], env: [{name: A, value: b}, {name: "
        "EMPTY, value: \"\"}], provideClusterInfo: true, interactiveMode: Never, installHint: \"apt install it\"}}");
    assert_string_equal(c->server_name, "api.internal");
    assert_string_equal(c->proxy, "socks5://127.0.0.1:1080");
    assert_true(c->no_compression && c->insecure);
    assert_string_equal(c->as, "root");
    assert_string_equal(c->as_uid, "17");
    assert_int_equal(c->as_groups.count, 2);
    assert_int_equal(c->as_extra.count, 4);
    assert_string_equal(c->as_extra.items[2], "scopes");
    assert_string_equal(c->as_extra.items[3], "two");
    VMC_AUTO_FREE char *plugin = vmc_printf("%s/bin/plugin", folder);
    assert_string_equal(c->exec.command, plugin); /* relative to the kubeconfig */
    assert_int_equal(c->exec.args.count, 2);
    assert_string_equal(c->exec.environment.items[0], "A=b");
    assert_string_equal(c->exec.environment.items[1], "EMPTY=");
    assert_int_equal(c->exec.interactive, KUBE_NEVER);
    assert_string_equal(c->exec.install_hint, "apt install it");
    cJSON *extension = cJSON_Parse(c->exec.cluster_config);
    assert_string_equal(cJSON_GetObjectItem(extension, "audience")->valuestring, "x");
    cJSON_Delete(extension);
    KUBE_AUTO_CONFIG *named =
        load("{server: \"https://h\"}",
             "{exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: aws, args: null}}");
    assert_string_equal(named->exec.command, "aws"); /* for $PATH */
    assert_int_equal(named->exec.interactive, KUBE_IF_AVAILABLE);
}

/* ---- What is broken ---- */

/* The message of loading cluster and user, which begins with the file and has `line`; then `words` is in it. */
static void broken(const char *cluster, const char *user, int code, int line, const char *words) {
    VMC_AUTO_FREE char *path = lab_kubeconfig(folder, cluster, user);
    kube_config *config = NULL;
    vmctl_error *err = NULL;
    int rc = kube_config_load(&(kube_config_options){.file = path}, &config, &err);
    VMC_AUTO_FREE char *place = vmc_printf("%s:%d: ", path, line);
    const char *message = err ? vmctl_error_message(err) : "success";
    if (rc != code || !vmc_starts_with(message, place) || !strstr(message, words))
        fail_msg("%d, %s%s: got %d %s", code, place, words, rc, message);
    vmctl_error_free(err);
}

enum { CLUSTER_LINE = 9, USER_LINE = 12, BAD = VMCTL_E_INVALID_ARGUMENT };

static void test_faults_name_file_line_and_key(void **state) {
    (void)state;
    const char *good = "{server: \"https://h\"}";
    broken("{server: \"ftp://h\"}", "{}", BAD, CLUSTER_LINE, "clusters[one].cluster.server");
    broken("{server: \"https://\"}", "{}", BAD, CLUSTER_LINE, "clusters[one].cluster.server");
    broken("{server: [1]}", "{}", BAD, CLUSTER_LINE, "clusters[one].cluster.server: a text is wanted");
    broken("{certificate-authority: ca.pem}", "{}", BAD, CLUSTER_LINE, "the server is missing");
    broken("{server: \"https://h\", certificate-authority: nowhere.pem}", "{}", VMCTL_E_NOT_FOUND, CLUSTER_LINE,
           "certificate-authority: cannot open");
    broken("{server: \"https://h\", certificate-authority: config}", "{}", BAD, CLUSTER_LINE,
           "certificate-authority: this is no PEM");
    broken("{server: \"https://h\", certificate-authority-data: \"%%%\"}", "{}", BAD, CLUSTER_LINE,
           "certificate-authority-data: this is no base64");
    broken("{server: \"https://h\", certificate-authority-data: aGVsbG8=}", "{}", BAD, CLUSTER_LINE,
           "certificate-authority-data: this is no PEM");
    broken("{server: \"https://h\", certificate-authority: ca.pem, insecure-skip-tls-verify: true}", "{}", BAD,
           CLUSTER_LINE, "insecure-skip-tls-verify");
    broken("{server: \"https://h\", insecure-skip-tls-verify: maybe}", "{}", BAD, CLUSTER_LINE, "true or false");
    broken("{server: \"https://h\", proxy-url: \"gopher://h\"}", "{}", BAD, CLUSTER_LINE,
           "clusters[one].cluster.proxy-url");
    broken("17", "{}", BAD, CLUSTER_LINE, "clusters[one].cluster: a map");
    broken(good, "{client-certificate: cert.pem}", BAD, USER_LINE, "needs its client-key");
    broken(good, "{client-key: key.pem}", BAD, USER_LINE, "needs its client-certificate");
    broken(good, "{client-certificate: cert.pem, client-key: other.pem}", BAD, USER_LINE,
           "users[me].user.client-key: the key is not");
    broken(good, "{client-certificate: cert.pem, client-key: locked.pem}", BAD, USER_LINE, "passphrase");
    broken(good, "{client-certificate: cert.pem, client-key: cert.pem}", BAD, USER_LINE, "no private key");
    broken(good, "{tokenFile: nowhere}", BAD, USER_LINE, "users[me].user.tokenFile: there is no file");
    broken(good, "{username: a, token: b}", BAD, USER_LINE, "users[me].user.username");
    broken(good, "{as-groups: [a]}", BAD, USER_LINE, "need \"as\"");
    broken(good, "{exec: {command: x}}", BAD, USER_LINE, "apiVersion");
    broken(good, "{exec: {apiVersion: client.authentication.k8s.io/v1alpha1, command: x}}", BAD, USER_LINE,
           "users[me].user.exec.apiVersion");
    broken(good, "{exec: {apiVersion: client.authentication.k8s.io/v1}}", BAD, USER_LINE, "the command is missing");
    broken(good, "{exec: {apiVersion: client.authentication.k8s.io/v1, command: x, env: [{value: 1}]}}", BAD, USER_LINE,
           "users[me].user.exec.env");
    broken(good, "{exec: {apiVersion: client.authentication.k8s.io/v1, command: x, interactiveMode: Perhaps}}", BAD,
           USER_LINE, "interactiveMode");
    broken(good, "{auth-provider: {name: gcp}}", BAD, USER_LINE, "auth-provider");
}

static void check_text(const char *text, const char *context, int code, const char *words) {
    VMC_AUTO_FREE char *path = lab_write(folder, "text", text);
    kube_config *config = NULL;
    vmctl_error *err = NULL;
    int rc = kube_config_load(&(kube_config_options){.file = path, .context = context}, &config, &err);
    const char *all = err ? vmctl_error_text(err) : "success";
    if (rc != code || !strstr(all, words) || !strstr(all, path))
        fail_msg("%s: got %d %s", words, rc, all);
    vmctl_error_free(err);
}

static void test_files_that_are_no_kubeconfig(void **state) {
    (void)state;
    check_text("a: [1", NULL, BAD, "closing bracket");
    check_text("clusters:\n\t- x", NULL, BAD, ":2: ");
    check_text("just words", NULL, BAD, "no kubeconfig");
    check_text("", NULL, BAD, "no current-context");
    check_text("contexts: 7", "a", BAD, "contexts");
    check_text("contexts: [{context: {}}]", "a", BAD, "needs a name");
    check_text("contexts: [{name: lab-one}, {name: prod}]", "lab-on", VMCTL_E_NOT_FOUND, "lab-one");
    check_text("contexts: [{name: lab-one}, {name: prod}]", NULL, BAD, "lab-one, prod");
    check_text("contexts: [{name: a, context: {user: u}}]", "a", BAD, "the cluster is missing");
    check_text("contexts: [{name: a, context: {cluster: c}}]", "a", VMCTL_E_NOT_FOUND,
               "context \"a\" names the cluster \"c\"");
    check_text("contexts: [{name: a, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: "
               "\"https://h\"}}]",
               "a", VMCTL_E_NOT_FOUND, "context \"a\" names the user \"u\"");
}

static int set_up(void **state) {
    (void)state;
    far = vmc_deadline_start(NULL, 100000);
    unsetenv("KUBECONFIG");
    unsetenv("KUBERNETES_SERVICE_HOST");
    folder = lab_folder();
    run("q() { \"$@\" 2>>log; };"
        "q openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=ca -keyout ca-key.pem "
        "-out ca.pem;"
        "q openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=me -keyout key.pem -out "
        "cert.pem;"
        "q openssl genpkey -algorithm ec -pkeyopt ec_paramgen_curve:prime256v1 -out other.pem;"
        "q openssl pkey -in key.pem -aes128 -passout pass:word -out locked.pem");
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    lab_remove(folder);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_file_wins),
        cmocka_unit_test(test_where_it_is_looked_for),
        cmocka_unit_test(test_in_a_pod),
        cmocka_unit_test(test_files_and_data),
        cmocka_unit_test(test_servers),
        cmocka_unit_test(test_keys_of_clusters_and_users),
        cmocka_unit_test(test_faults_name_file_line_and_key),
        cmocka_unit_test(test_files_that_are_no_kubeconfig),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
