/* drivers/kube/discovery_cache.c - the copy of discovery on disk: a file per cluster, for this user alone. */
#include "base/file.h"
#include "base/log.h"
#include "drivers/kube/discovery.h"
#include <ctype.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FILE_LIMIT = 8 << 20, FORMAT = 1, HASH_SHOWN = 8, SERVER_SHOWN = 80 };

/* Clusters are told apart by address and authority: a tunnel's port may lead to another one tomorrow. */
static char *folder_of(const kube_config *c) {
    VMC_AUTO_FREE char *identity =
        vmc_printf("%s\n%s\n%s", c->server, c->server_name ? c->server_name : "", c->ca_pem ? c->ca_pem : "");
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    if (EVP_Digest(identity, strlen(identity), digest, &length, EVP_sha256(), NULL) != 1 || length < HASH_SHOWN)
        return NULL;
    VMC_AUTO_STR name = {0};
    vmc_str_add(&name, "kube/");
    const char *host = strstr(c->shown, "://") ? strstr(c->shown, "://") + 3 : c->shown;
    for (size_t i = 0; host[i] && i < SERVER_SHOWN; i++)
        vmc_str_add_char(&name, isalnum((unsigned char)host[i]) || host[i] == '.' || host[i] == '-' ? host[i] : '_');
    vmc_str_add_char(&name, '-');
    for (size_t i = 0; i < HASH_SHOWN; i++)
        vmc_str_printf(&name, "%02x", digest[i]);
    return vmc_xdg_cache(name.text);
}

kube_discovery *kube_cache_read(const kube_config *config, int64_t *age_s) {
    VMC_AUTO_FREE char *folder = folder_of(config);
    VMC_AUTO_FREE char *path = folder ? vmc_printf("%s/discovery.json", folder) : NULL;
    VMC_AUTO_FREE char *text = NULL;
    size_t length = 0;
    if (!path || !vmc_file_exists(path) || vmc_file_read(path, FILE_LIMIT, &text, &length, NULL) < 0)
        return NULL;
    cJSON *file = cJSON_ParseWithLength(text, length);
    const cJSON *format = cJSON_GetObjectItemCaseSensitive(file, "format");
    const cJSON *at = cJSON_GetObjectItemCaseSensitive(file, "at");
    const cJSON *etag = cJSON_GetObjectItemCaseSensitive(file, "etag");
    kube_discovery *d = NULL;
    if (cJSON_IsNumber(format) && format->valueint == FORMAT && cJSON_IsNumber(at)) {
        *age_s = (int64_t)time(NULL) - (int64_t)at->valuedouble;
        d = kube_discovery_new(cJSON_DetachItemFromObjectCaseSensitive(file, "list"),
                               cJSON_IsString(etag) ? etag->valuestring : NULL);
    }
    cJSON_Delete(file);
    if (d)
        d->from_disk = true;
    return d;
}

static bool is_stale(const kube_discovery *d) {
    const cJSON *group, *version;
    cJSON_ArrayForEach(group, cJSON_GetObjectItemCaseSensitive(d->list, "items")) {
        cJSON_ArrayForEach(version, cJSON_GetObjectItemCaseSensitive(group, "versions")) {
            const cJSON *freshness = cJSON_GetObjectItemCaseSensitive(version, "freshness");
            if (cJSON_IsString(freshness) && strcmp(freshness->valuestring, "Stale") == 0)
                return true;
        }
    }
    return false;
}

/* One of a group that does not answer is not kept: it may come back the next moment. */
void kube_cache_write(const kube_config *config, const kube_discovery *d) {
    VMC_AUTO_FREE char *folder = is_stale(d) ? NULL : folder_of(config);
    if (!folder)
        return;
    VMC_AUTO_FREE char *path = vmc_printf("%s/discovery.json", folder);
    cJSON *file = cJSON_CreateObject();
    cJSON_AddNumberToObject(file, "format", FORMAT);
    cJSON_AddNumberToObject(file, "at", (double)time(NULL));
    if (d->etag)
        cJSON_AddStringToObject(file, "etag", d->etag);
    cJSON_AddItemReferenceToObject(file, "list", d->list);
    char *text = cJSON_PrintUnformatted(file);
    cJSON_Delete(file);
    vmctl_error *why = NULL;
    if (vmc_mkdirs(folder, 0700, &why) < 0 || vmc_file_write(path, text, strlen(text), 0600, &why) < 0)
        vmc_log("kube", "discovery is not kept: %s", vmctl_error_message(why));
    vmctl_error_free(why);
    free(text);
}
