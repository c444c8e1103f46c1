/* drivers/kube/exec.c - the credential plugin of a kubeconfig (client.authentication.k8s.io/v1 and v1beta1): a program that prints an
 * ExecCredential. Its output is never shown: it has secrets. */
#include "base/base64.h"
#include "base/log.h"
#include "drivers/kube/client.h"
#include "drivers/process/process.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ALONE_MS = 60000, WITH_PERSON_MS = 300000, OUTPUT_LIMIT = 1 << 20, WORDS_LIMIT = 4096 };

static void add_text(cJSON *object, const char *key, const char *text) {
    if (text)
        cJSON_AddStringToObject(object, key, text);
}

static cJSON *cluster_info(const kube_config *c) {
    cJSON *cluster = cJSON_CreateObject();
    add_text(cluster, "server", c->shown);
    add_text(cluster, "tls-server-name", c->server_name);
    if (c->insecure)
        cJSON_AddTrueToObject(cluster, "insecure-skip-tls-verify");
    if (c->ca_pem) {
        VMC_AUTO_STR data = {0};
        vmc_base64_add(&data, c->ca_pem, strlen(c->ca_pem), 0);
        add_text(cluster, "certificate-authority-data", data.text);
    }
    add_text(cluster, "proxy-url", c->proxy);
    cJSON *config = c->exec.cluster_config ? cJSON_Parse(c->exec.cluster_config) : NULL;
    if (config)
        cJSON_AddItemToObject(cluster, "config", config);
    return cluster;
}

static char *exec_info(const kube_config *c, bool interactive) {
    cJSON *info = cJSON_CreateObject();
    cJSON_AddStringToObject(info, "kind", "ExecCredential");
    cJSON_AddStringToObject(info, "apiVersion", c->exec.api_version);
    cJSON *spec = cJSON_AddObjectToObject(info, "spec");
    cJSON_AddBoolToObject(spec, "interactive", interactive);
    if (c->exec.cluster_info)
        cJSON_AddItemToObject(spec, "cluster", cluster_info(c));
    char *text = cJSON_PrintUnformatted(info);
    cJSON_Delete(info);
    return text;
}

typedef struct listener {
    vmc_str output, words;
    bool aloud; /* what it says on stderr is for the person at the terminal, as it comes: a prompt has no line end */
} listener;

static int on_output(const char *bytes, size_t length, void *user) {
    listener *l = user;
    if (l->output.length + length <= OUTPUT_LIMIT)
        vmc_str_add_n(&l->output, bytes, length);
    return 0;
}

static int on_words(const char *bytes, size_t length, void *user) {
    listener *l = user;
    if (l->words.length + length <= WORDS_LIMIT)
        vmc_str_add_n(&l->words, bytes, length);
    if (l->aloud) {
        ssize_t unused = write(STDERR_FILENO, bytes, length);
        (void)unused;
    }
    return 0;
}

static int fail(const kube_config *c, vmctl_error **err, int code, const char *what, const char *words) {
    const char *end = words ? words + strcspn(words, "\r\n") : NULL;
    VMC_AUTO_FREE char *first = words ? vmc_strndup(words, (size_t)(end - words)) : NULL;
    vmc_error(err, code, "the credential plugin %s of %s %s%s%s", c->exec.command, c->user_place, what,
              first && *first ? ": " : "", first ? first : "");
    if (c->exec.install_hint)
        vmc_error_next(err, "%s", c->exec.install_hint);
    return code;
}

/* RFC 3339 as Kubernetes prints it, in milliseconds of the wall clock; -1: it is none. */
static int64_t moment(const char *text) {
    struct tm tm = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!rest)
        return -1;
    if (*rest == '.')
        rest += 1 + strspn(rest + 1, "0123456789");
    int hours = 0, minutes = 0;
    char sign = *rest;
    if ((sign == '+' || sign == '-') && sscanf(rest + 1, "%2d:%2d", &hours, &minutes) != 2)
        return -1;
    int64_t seconds = timegm(&tm);
    int64_t shift = (hours * 60 + minutes) * 60;
    return (seconds + (sign == '+' ? -shift : shift)) * 1000;
}

static int read_expiry(const cJSON *status, int64_t *expires_ms) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(status, "expirationTimestamp");
    *expires_ms = -1;
    if (!item || cJSON_IsNull(item))
        return 0;
    int64_t at = cJSON_IsString(item) ? moment(item->valuestring) : -1;
    if (at < 0)
        return -1;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t left = at - ((int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000);
    *expires_ms = vmc_now_ms() + (left > 0 ? left : 0);
    return 0;
}

static char *take_text(const cJSON *status, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(status, key);
    return cJSON_IsString(item) && *item->valuestring ? vmc_strdup(item->valuestring) : NULL;
}

static int read_credential(const kube_config *c, const cJSON *object, kube_exec_result *r, vmctl_error **err) {
    const cJSON *kind = cJSON_GetObjectItemCaseSensitive(object, "kind");
    const cJSON *version = cJSON_GetObjectItemCaseSensitive(object, "apiVersion");
    const cJSON *status = cJSON_GetObjectItemCaseSensitive(object, "status");
    if (!object || !cJSON_IsString(kind) || strcmp(kind->valuestring, "ExecCredential") != 0)
        return fail(c, err, VMCTL_E_UNAUTHENTICATED, "printed no ExecCredential", NULL);
    if (!cJSON_IsString(version) || strcmp(version->valuestring, c->exec.api_version) != 0) {
        VMC_AUTO_FREE char *what =
            vmc_printf("printed an ExecCredential of %.80s, not of %s",
                       cJSON_IsString(version) ? version->valuestring : "no apiVersion", c->exec.api_version);
        return fail(c, err, VMCTL_E_UNAUTHENTICATED, what, NULL);
    }
    r->token = take_text(status, "token");
    r->cert_pem = take_text(status, "clientCertificateData");
    r->key_pem = take_text(status, "clientKeyData");
    const char *why;
    if (!r->token && !r->cert_pem)
        return fail(c, err, VMCTL_E_UNAUTHENTICATED, "gave neither a token nor a client certificate", NULL);
    if (!r->cert_pem != !r->key_pem)
        return fail(c, err, VMCTL_E_UNAUTHENTICATED, "gave a client certificate without its key, or a key alone", NULL);
    if (r->cert_pem && (!kube_certificates_ok(r->cert_pem, &why) || !kube_key_ok(r->cert_pem, r->key_pem, &why)))
        return fail(c, err, VMCTL_E_UNAUTHENTICATED, "gave a client certificate that is none", why);
    if (read_expiry(status, &r->expires_ms) < 0)
        return fail(c, err, VMCTL_E_UNAUTHENTICATED, "gave an expirationTimestamp that is no time", NULL);
    return 0;
}

static int run(const kube_config *c, bool interactive, const vmc_deadline *deadline, listener *l, vmctl_error **err) {
    const kube_exec *exec = &c->exec;
    VMC_AUTO_STRV argv = {0}, environment = {0};
    vmc_strv_add(&argv, exec->command);
    for (size_t i = 0; i < exec->args.count; i++)
        vmc_strv_add(&argv, exec->args.items[i]);
    for (size_t i = 0; i < exec->environment.count; i++)
        vmc_strv_add(&environment, exec->environment.items[i]);
    char *info = exec_info(c, interactive);
    vmc_strv_printf(&environment, "KUBERNETES_EXEC_INFO=%s", info);
    free(info);
    VMC_AUTO_FREE char *doing = vmc_printf("waiting for the credential plugin %s of %s", exec->command, c->user_place);
    process_options options = {.argv = (const char *const *)argv.items,
                               .environment = (const char *const *)environment.items,
                               .output = on_output,
                               .error = on_words,
                               .user = l,
                               .inherit_input = interactive,
                               .doing = doing};
    vmc_deadline limit = vmc_deadline_within(deadline, interactive ? WITH_PERSON_MS : ALONE_MS);
    PROCESS_AUTO_RESULT result = {0};
    vmctl_error *why = NULL;
    int rc = process_run(&options, &limit, &result, &why);
    if (rc == VMCTL_E_UNAVAILABLE || rc == VMCTL_E_PERMISSION_DENIED) {
        fail(c, err, VMCTL_E_UNAUTHENTICATED, "cannot be run", vmctl_error_message(why));
        vmctl_error_free(why);
        return VMCTL_E_UNAUTHENTICATED;
    }
    if (rc < 0) {
        vmc_error_move(err, &why);
        return rc;
    }
    if (result.status != 0) {
        VMC_AUTO_FREE char *what = vmc_printf("failed (exit status %d)", result.status);
        return fail(c, err, VMCTL_E_UNAUTHENTICATED, what, l->words.text);
    }
    return 0;
}

int kube_exec_run(const kube_config *c, const vmc_deadline *deadline, kube_exec_result *result, vmctl_error **err) {
    *result = (kube_exec_result){.expires_ms = -1};
    bool interactive = c->interactive && c->exec.interactive != KUBE_NEVER && isatty(STDIN_FILENO);
    if (c->exec.interactive == KUBE_ALWAYS && !interactive)
        return fail(c, err, VMCTL_E_UNAUTHENTICATED,
                    "must ask a person (interactiveMode: Always), and there is no terminal", NULL);
    listener l = {.aloud = interactive};
    int rc = run(c, interactive, deadline, &l, err);
    if (rc == 0) {
        cJSON *object = l.output.text ? cJSON_ParseWithLength(l.output.text, l.output.length) : NULL;
        rc = read_credential(c, object, result, err);
        cJSON_Delete(object);
    }
    vmc_log("kube", "credential plugin %s: %s", c->exec.command, rc < 0 ? vmctl_code_name(rc) : "ok");
    vmc_wipe_free(l.output.text);
    vmc_str_free(&l.words);
    if (rc < 0)
        kube_exec_result_free(result);
    return rc;
}

void kube_exec_result_free(kube_exec_result *r) {
    vmc_wipe_free(r->token);
    vmc_wipe_free(r->key_pem);
    free(r->cert_pem);
    *r = (kube_exec_result){0};
}
