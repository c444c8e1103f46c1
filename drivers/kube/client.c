/* drivers/kube/client.c - a client: its connection and its credentials, got when they are needed and again when they are old. */
#include "drivers/kube/client.h"
#include "base/base64.h"
#include "base/file.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* A plugin's credentials are not used in their last seconds: they may end on the way. */
enum { TOKEN_FILE_MS = 60000, BEFORE_END_MS = 5000, TOKEN_LIMIT = 1 << 20 };

int kube_client_new(const kube_config *config, kube_client **out, vmctl_error **err) {
    kube_client *c = vmc_alloc(sizeof *c);
    c->config = kube_config_share(config);
    pthread_mutex_init(&c->lock, NULL);
    c->turn = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
    if (c->turn < 0) {
        int failed = errno;
        kube_client_free(c);
        return vmc_error_errno(err, failed, "cannot make a Kubernetes client");
    }
    *out = c;
    return 0;
}

static void drop_link(kube_link *link) {
    if (!link || --link->refs > 0)
        return;
    http_client_free(link->http);
    free(link);
}

void kube_client_free(kube_client *c) {
    if (!c)
        return;
    drop_link(c->link);
    vmc_wipe_free(c->authorization);
    vmc_wipe_free(c->key_pem);
    free(c->cert_pem);
    vmc_close_ptr(&c->turn);
    vmc_strv_free(&c->warned);
    kube_discovery_free(c->discovery);
    kube_config_free(c->config);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

unsigned kube_client_writes(const kube_client *client) {
    return client->writes;
}

const char *kube_client_namespace(const kube_client *client) {
    return client->config->name_space;
}
const char *kube_client_server(const kube_client *client) {
    return client->config->shown;
}
const char *kube_client_authority(const kube_client *client) {
    return client->config->ca_pem;
}

const char *kube_client_context(const kube_client *client) {
    return client->config->context;
}

/* Go's clients never use the environment's proxy for this machine itself; libcurl's would. */
static bool is_loopback(const char *server) {
    const char *host = strstr(server, "://");
    host = host ? host + 3 : server;
    const char *at = strpbrk(host, "@/");
    if (at && *at == '@')
        host = at + 1;
    return vmc_starts_with(host, "127.") || vmc_starts_with(host, "[::1]") ||
           (strncasecmp(host, "localhost", 9) == 0 && (host[9] == '\0' || host[9] == ':' || host[9] == '/'));
}

static int make_link(kube_client *c, vmctl_error **err) {
    const kube_config *config = c->config;
    VMC_AUTO_FREE char *proxy = NULL;
    if (config->proxy && strncasecmp(config->proxy, "socks5://", 9) == 0)
        proxy = vmc_printf("socks5h://%s", config->proxy + 9); /* names are the proxy's to resolve, as in Go */
    else if (config->proxy)
        proxy = vmc_strdup(config->proxy);
    else if (is_loopback(config->server))
        proxy = vmc_strdup("");
    http_client_options options = {.ca_pem = config->ca_pem,
                                   .cert_pem = c->cert_pem ? c->cert_pem : config->cert_pem,
                                   .key_pem = c->cert_pem ? c->key_pem : config->key_pem,
                                   .server_name = config->server_name,
                                   .proxy = proxy,
                                   .insecure = config->insecure};
    http_client *http = NULL;
    int rc = http_client_new(&options, &http, err);
    if (rc < 0)
        return rc;
    c->link = vmc_alloc(sizeof *c->link);
    *c->link = (kube_link){.http = http, .refs = 1};
    return 0;
}

/* ---- Credentials ---- */

static bool can_change(const kube_config *config) {
    return config->token_file || (config->exec.command && !config->token);
}

static char *basic(const kube_config *config) {
    VMC_AUTO_STR text = {0};
    VMC_AUTO_FREE char *pair = vmc_printf("%s:%s", config->username, config->password ? config->password : "");
    vmc_str_add(&text, "Basic ");
    vmc_base64_add(&text, pair, strlen(pair), 0);
    explicit_bzero(pair, strlen(pair));
    return vmc_str_take(&text);
}

static char *bearer(const char *token) {
    return vmc_printf("Bearer %s", token);
}

static int from_file(const kube_config *config, char **authorization, vmctl_error **err) {
    char *text = NULL;
    int rc = vmc_file_read(config->token_file, TOKEN_LIMIT, &text, NULL, err);
    if (rc < 0) {
        vmc_error_prefix(err, "the token of %s", config->user_place);
        return rc;
    }
    const char *token = text + strspn(text, " \t\r\n");
    size_t n = strcspn(token, " \t\r\n");
    if (n == 0)
        rc = vmc_error(err, VMCTL_E_UNAUTHENTICATED, "the token file %s of %s is empty", config->token_file,
                       config->user_place);
    else
        *authorization = vmc_printf("Bearer %.*s", (int)n, token);
    vmc_wipe_free(text);
    return rc;
}

typedef struct fresh {
    char *authorization, *cert_pem, *key_pem;
    int64_t good_until_ms;
} fresh;

/* Without the lock. */
static int get_fresh(const kube_config *config, const vmc_deadline *deadline, fresh *f, vmctl_error **err) {
    f->good_until_ms = -1;
    if (config->token_file) {
        f->good_until_ms = vmc_now_ms() + TOKEN_FILE_MS;
        return from_file(config, &f->authorization, err);
    }
    if (config->token) {
        f->authorization = bearer(config->token);
        return 0;
    }
    if (config->username) {
        f->authorization = basic(config);
        return 0;
    }
    if (!config->exec.command)
        return 0;
    kube_exec_result result;
    int rc = kube_exec_run(config, deadline, &result, err);
    if (rc < 0)
        return rc;
    f->authorization = result.token ? bearer(result.token) : NULL;
    f->cert_pem = vmc_strdup(result.cert_pem);
    f->key_pem = vmc_strdup(result.key_pem);
    if (result.expires_ms >= 0)
        f->good_until_ms = result.expires_ms - BEFORE_END_MS;
    kube_exec_result_free(&result);
    return 0;
}

static void keep_fresh(kube_client *c, fresh *f) {
    if (!vmc_str_eq(c->cert_pem, f->cert_pem)) {
        drop_link(c->link);
        c->link = NULL;
    }
    vmc_wipe_free(c->authorization);
    vmc_wipe_free(c->key_pem);
    free(c->cert_pem);
    c->authorization = f->authorization;
    c->cert_pem = f->cert_pem;
    c->key_pem = f->key_pem;
    c->good_until_ms = f->good_until_ms;
    c->generation++;
}

static bool is_good(const kube_client *c) {
    return c->generation > 0 && (c->good_until_ms < 0 || vmc_now_ms() < c->good_until_ms);
}

/* With the lock. */
static int take(kube_client *c, kube_grant *grant, vmctl_error **err) {
    int rc = c->link ? 0 : make_link(c, err);
    if (rc < 0)
        return rc;
    c->link->refs++;
    *grant = (kube_grant){c->link, vmc_strdup(c->authorization), c->generation};
    return 0;
}

int kube_grant_get(kube_client *c, const vmc_deadline *deadline, kube_grant *grant, vmctl_error **err) {
    *grant = (kube_grant){0};
    pthread_mutex_lock(&c->lock);
    bool good = is_good(c);
    int rc = good ? take(c, grant, err) : 0;
    pthread_mutex_unlock(&c->lock);
    if (good)
        return rc;
    uint64_t one;
    while (read(c->turn, &one, sizeof one) != (ssize_t)sizeof one) {
        rc = vmc_deadline_poll(deadline, c->turn, POLLIN, -1, "waiting for credentials", err);
        if (rc < 0)
            return rc;
    }
    rc = 0;
    pthread_mutex_lock(&c->lock);
    good = is_good(c); /* another thread's turn brought them */
    pthread_mutex_unlock(&c->lock);
    fresh f = {0};
    if (!good)
        rc = get_fresh(c->config, deadline, &f, err);
    pthread_mutex_lock(&c->lock);
    if (!good && rc == 0)
        keep_fresh(c, &f);
    if (rc == 0)
        rc = take(c, grant, err);
    pthread_mutex_unlock(&c->lock);
    one = 1;
    ssize_t unused = write(c->turn, &one, sizeof one);
    (void)unused;
    return rc;
}

void kube_grant_release(kube_client *c, kube_grant *grant) {
    pthread_mutex_lock(&c->lock);
    drop_link(grant->link);
    pthread_mutex_unlock(&c->lock);
    vmc_wipe_free(grant->authorization);
    *grant = (kube_grant){0};
}

bool kube_grant_refused(kube_client *c, const kube_grant *grant) {
    if (!can_change(c->config))
        return false;
    pthread_mutex_lock(&c->lock);
    if (c->generation == grant->generation)
        c->good_until_ms = 0;
    pthread_mutex_unlock(&c->lock);
    return true;
}
