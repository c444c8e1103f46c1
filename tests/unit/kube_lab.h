/* tests/unit/kube_lab.h - a kubeconfig and a client for tests that talk to a server of their own. */
#ifndef TEST_KUBE_LAB_H
#define TEST_KUBE_LAB_H

#include "base/file.h"
#include "drivers/http/http.h"
#include "drivers/kube/kube.h"
#include "http_server.h"
#include <cmocka.h>
#include <unistd.h>

/* A new folder below /tmp; free. */
static inline char *lab_folder(void) {
    char *folder = vmc_strdup("/tmp/vmctl-test-kube-XXXXXX");
    assert_non_null(mkdtemp(folder));
    return folder;
}

static inline void lab_remove(char *folder) {
    VMC_AUTO_FREE char *command = vmc_printf("rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
    free(folder);
}

static inline char *lab_write(const char *folder, const char *name, const char *text) {
    char *path = vmc_printf("%s/%s", folder, name);
    assert_int_equal(vmc_file_write(path, text, strlen(text), 0600, NULL), 0);
    return path;
}

/* Context "lab" of cluster and user as YAML flow maps, namespace vms; free. */
static inline char *lab_kubeconfig(const char *folder, const char *cluster, const char *user) {
    VMC_AUTO_FREE char *text = vmc_printf("apiVersion: v1\n"
                                          "kind: Config\n"
                                          "current-context: lab\n"
                                          "contexts:\n"
                                          "- name: lab\n"
                                          "  context: {cluster: one, user: me, namespace: vms}\n"
                                          "clusters:\n"
                                          "- name: one\n"
                                          "  cluster: %s\n"
                                          "users:\n"
                                          "- name: me\n"
                                          "  user: %s\n",
                                          cluster, user);
    return lab_write(folder, "config", text);
}

static inline kube_client *lab_client(const char *folder, const char *cluster, const char *user) {
    VMC_AUTO_FREE char *path = lab_kubeconfig(folder, cluster, user);
    KUBE_AUTO_CONFIG *config = NULL;
    vmctl_error *err = NULL;
    if (kube_config_load(&(kube_config_options){.file = path}, &config, &err) < 0)
        fail_msg("%s", vmctl_error_text(err));
    kube_client *client = NULL;
    assert_int_equal(kube_client_new(config, &client, NULL), 0);
    return client;
}

static inline kube_client *lab_client_of(const char *folder, const server *s, const char *user) {
    VMC_AUTO_FREE char *cluster = vmc_printf("{server: \"http://127.0.0.1:%d/\"}", s->port);
    return lab_client(folder, cluster, user);
}

#endif
