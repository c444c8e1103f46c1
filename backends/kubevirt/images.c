/* Images: data volumes that belong to no VM, and claims that CDI filled. Source: CDI's doc/datavolumes.md. */
#include "manifest.h"
#include "quantity.h"
#include "upload.h"

#include "base/random.h"
#include "drivers/http/http.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_MS = 60000, HEAD_BYTES = 512, HEAD_MS = 30000, GONE_MS = 30000, OVERHEAD = 1 << 20 };

static const char *const versions[] = {"v1beta1", NULL};
static const char missing[] = "install CDI (Containerized Data Importer) in the cluster";

/* "NAMESPACE/NAME" or a name in the connection's namespace. namespace: free. */
const char *kubevirt_image_name(const kubevirt_conn *conn, const char *given, char **namespace_name) {
    const char *slash = strchr(given, '/');
    *namespace_name = slash ? vmc_strndup(given, (size_t)(slash - given)) : vmc_strdup(conn->namespace_name);
    return slash ? slash + 1 : given;
}

static char *volume_path(const char *namespace_name, const char *name) {
    return kube_path(KUBEVIRT_CDI, "v1beta1", namespace_name, "datavolumes", name, NULL);
}

static char *claim_path(const char *namespace_name, const char *name) {
    return kube_path("", "v1", namespace_name, "persistentvolumeclaims", name, NULL);
}

/* --- list -------------------------------------------------------------------------------------------------------------- */

typedef struct listing {
    const char *pool;
    vmctl_image_fn each;
    void *user;
    cJSON *volumes; /* of the namespace, by name: true: an image, false: a VM's disk */
    bool stopped;
} listing;

static bool is_owned_by(const cJSON *object, const char *kind) {
    const cJSON *owner;
    cJSON_ArrayForEach(owner, vmc_json_at(object, "metadata.ownerReferences")) {
        if (strcmp(vmc_json_string(owner, "kind", ""), kind) == 0)
            return true;
    }
    return false;
}

static int note_volume(cJSON **item, void *user) {
    listing *l = user;
    const char *name = vmc_json_string(*item, "metadata.name", "");
    cJSON_AddBoolToObject(l->volumes, name, !is_owned_by(*item, "VirtualMachine"));
    return 0;
}

static bool is_filled_by_cdi(const cJSON *claim) {
    const char *app = vmc_json_string(claim, "metadata.labels.app", "");
    return strcmp(app, "containerized-data-importer") == 0 ||
           vmc_json_key(vmc_json_at(claim, "metadata.annotations"), "cdi.kubevirt.io/storage.contentType");
}

/* A claim is an image when a data volume of no VM made it, or when CDI filled it and the data volume was collected since. */
static int tell_claim(cJSON **item, void *user) {
    listing *l = user;
    const cJSON *claim = *item;
    const char *name = vmc_json_string(claim, "metadata.name", "");
    const cJSON *volume = vmc_json_key(l->volumes, name);
    const char *class = vmc_json_string(claim, "spec.storageClassName", NULL);
    bool is_left = is_filled_by_cdi(claim) && !is_owned_by(claim, "VirtualMachine") &&
                   !is_owned_by(claim, "DataVolume"); /* whose data volume is gone goes after it */
    bool is_image = volume ? cJSON_IsTrue(volume) : is_left;
    if (!is_image || vmc_json_at(claim, "metadata.deletionTimestamp") || (l->pool && !vmc_str_eq(l->pool, class)))
        return 0;
    VMC_AUTO_FREE char *path = vmc_printf("%s/%s", vmc_json_string(claim, "metadata.namespace", ""), name);
    uint64_t given = kubevirt_quantity_of(vmc_json_at(claim, "status.capacity.storage"));
    const vmctl_image image = {
        .size = sizeof image,
        .name = name,
        .path = path,
        .format = "raw", /* whatever it was, CDI writes what the guest sees */
        .virtual_bytes = given ? given : kubevirt_quantity_of(vmc_json_at(claim, "spec.resources.requests.storage")),
        .allocated_bytes = given,
        .modified = kubevirt_time_of(vmc_json_string(claim, "metadata.creationTimestamp", NULL)),
        .pool = class,
    };
    l->stopped = l->each(&image, l->user) != 0;
    return l->stopped;
}

int kubevirt_image_list(void *opaque, const char *pool, const vmctl_call *call, vmctl_image_fn each, void *user,
                        vmctl_error **err) {
    kubevirt_conn *conn = opaque;
    vmc_deadline deadline = vmc_deadline_start(call, LIST_MS);
    VMC_AUTO_JSON *volumes = cJSON_CreateObject();
    listing l = {.pool = pool, .each = each, .user = user, .volumes = volumes};
    VMC_AUTO_FREE char *path = volume_path(conn->namespace_name, NULL);
    VMC_AUTO_FREE char *claims = claim_path(conn->namespace_name, NULL);
    int code = kube_list(conn->client, path, NULL, &deadline, note_volume, &l, err);
    if (code == VMCTL_E_UNSUPPORTED || code == VMCTL_E_NOT_FOUND)
        return vmc_error_next(err, "%s", missing);
    if (code == 0)
        code = kube_list(conn->client, claims, NULL, &deadline, tell_claim, &l, err);
    return code < 0 ? code : 0;
}

/* --- where the bytes come from ------------------------------------------------------------------------------------------ */

typedef struct origin {
    cJSON *source;  /* of the data volume */
    uint64_t bytes; /* 0: not known */
    bool file;
} origin;

static uint64_t big_endian(const unsigned char *bytes) {
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | bytes[i];
    return value;
}

/* The size of a disk by the first bytes of its file (qcow2's header has it) and the file's length. 0: compressed, or not told. */
static uint64_t bytes_behind(const char *url, const vmc_deadline *deadline) {
    static const char *const headers[] = {"Range: bytes=0-511", NULL};
    vmc_deadline soon = vmc_deadline_within(deadline, HEAD_MS);
    http_request get = {.url = url, .headers = headers, .identity = true, .limit = 1 << 20};
    HTTP_AUTO_RESPONSE *response = NULL;
    if (http_perform(NULL, &get, &soon, &response, NULL) < 0 || response->status != 206)
        return 0;
    const unsigned char *head = (const unsigned char *)response->body;
    if (response->length >= 32 && memcmp(head, "QFI\xfb", 4) == 0)
        return big_endian(head + 24);
    bool packed = response->length >= 4 && (memcmp(head, "\x1f\x8b", 2) == 0 ||
                                            memcmp(head,
                                                   "\xfd"
                                                   "7zX",
                                                   4) == 0 ||
                                            memcmp(head, "\x28\xb5\x2f\xfd", 4) == 0 || memcmp(head, "BZh", 3) == 0);
    const char *range = http_response_header(response, "content-range"), *slash = range ? strchr(range, '/') : NULL;
    return packed || !slash ? 0 : strtoull(slash + 1, NULL, 10);
}

static int from_claim(kubevirt_conn *conn, const char *given, origin *o, const vmc_deadline *deadline,
                      vmctl_error **err) {
    VMC_AUTO_FREE char *namespace_name = NULL;
    const char *name = kubevirt_image_name(conn, given, &namespace_name);
    VMC_AUTO_FREE char *path = claim_path(namespace_name, name);
    VMC_AUTO_JSON *claim = NULL;
    int code = kube_get(conn->client, path, deadline, &claim, err);
    if (code < 0)
        return code;
    o->bytes = kubevirt_quantity_of(vmc_json_at(claim, "status.capacity.storage"));
    cJSON *source = vmc_json_map(o->source, "pvc");
    cJSON_AddStringToObject(source, "namespace", namespace_name);
    cJSON_AddStringToObject(source, "name", name);
    return 0;
}

static int from_snapshot(kubevirt_conn *conn, const char *given, origin *o, const vmc_deadline *deadline,
                         vmctl_error **err) {
    VMC_AUTO_FREE char *namespace_name = NULL;
    const char *name = kubevirt_image_name(conn, given, &namespace_name);
    VMC_AUTO_FREE char *path =
        kube_path("snapshot.storage.k8s.io", "v1", namespace_name, "volumesnapshots", name, NULL);
    VMC_AUTO_JSON *snapshot = NULL;
    int code = kube_get(conn->client, path, deadline, &snapshot, err);
    if (code < 0)
        return code;
    o->bytes = kubevirt_quantity_of(vmc_json_at(snapshot, "status.restoreSize"));
    cJSON *source = vmc_json_map(o->source, "snapshot");
    cJSON_AddStringToObject(source, "namespace", namespace_name);
    cJSON_AddStringToObject(source, "name", name);
    return 0;
}

/* A file of this machine, or what the cluster can fetch itself. */
static int find_origin(kubevirt_conn *conn, const char *path, origin *o, const vmc_deadline *deadline,
                       vmctl_error **err) {
    if (vmc_starts_with(path, "http://") || vmc_starts_with(path, "https://")) {
        cJSON_AddStringToObject(vmc_json_map(o->source, "http"), "url", path);
        o->bytes = bytes_behind(path, deadline);
        return 0;
    }
    if (vmc_starts_with(path, "docker://") || vmc_starts_with(path, "oci-archive:")) {
        cJSON_AddStringToObject(vmc_json_map(o->source, "registry"), "url", path);
        return 0;
    }
    if (vmc_starts_with(path, "pvc:"))
        return from_claim(conn, path + strlen("pvc:"), o, deadline, err);
    if (vmc_starts_with(path, "snapshot:"))
        return from_snapshot(conn, path + strlen("snapshot:"), o, deadline, err);
    vmc_json_map(o->source, "upload");
    o->file = true;
    return kubevirt_file_bytes(path, deadline, &o->bytes, err);
}

/* --- upload ------------------------------------------------------------------------------------------------------------ */

/* "https://host/Debian_12.qcow2?x" -> "debian-12": what Kubernetes takes. free */
static char *name_of(const char *path) {
    static const char *const endings[] = {".gz",  ".xz",   ".zst", ".qcow2", ".raw", ".img",
                                          ".iso", ".vmdk", ".vdi", ".vhd",   ".vhdx"};
    size_t length = strcspn(path, "?#");
    while (length && path[length - 1] == '/')
        length--;
    size_t start = length;
    while (start && path[start - 1] != '/' && path[start - 1] != ':')
        start--;
    char *name = vmc_strndup(path + start, length - start);
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++)
        if (vmc_ends_with(name, endings[i])) {
            name[strlen(name) - strlen(endings[i])] = '\0';
            i = (size_t)-1; /* "x.qcow2.xz" */
        }
    for (char *c = name; *c; c++)
        *c = isalnum((unsigned char)*c) ? (char)tolower((unsigned char)*c) : '-';
    size_t skip = strspn(name, "-");
    memmove(name, name + skip, strlen(name + skip) + 1);
    for (size_t end = strlen(name); end && name[end - 1] == '-';)
        name[--end] = '\0';
    return name;
}

static cJSON *volume_object(const char *name, const char *mark, const char *class, origin *o) {
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "apiVersion", "cdi.kubevirt.io/v1beta1");
    cJSON_AddStringToObject(object, "kind", "DataVolume");
    cJSON_AddStringToObject(vmc_json_map(object, "metadata"), "name", name);
    cJSON_AddStringToObject(vmc_json_map(object, "metadata.labels"), KUBEVIRT_LABEL_MANAGED, "vmctl");
    cJSON *annotations = vmc_json_map(object, "metadata.annotations");
    cJSON_AddStringToObject(annotations, KUBEVIRT_MARK, mark);
    /* No VM that uses it is waited for, where the storage class would. */
    cJSON_AddStringToObject(annotations, "cdi.kubevirt.io/storage.bind.immediate.requested", "true");
    cJSON_AddItemToObject(vmc_json_map(object, "spec"), "source", o->source);
    o->source = NULL;
    VMC_AUTO_FREE char *size = kubevirt_quantity_format((o->bytes + OVERHEAD - 1) / OVERHEAD * OVERHEAD);
    cJSON_AddStringToObject(vmc_json_map(object, "spec.storage.resources.requests"), "storage", size);
    vmc_json_text(vmc_json_map(object, "spec.storage"), "storageClassName", class);
    return object;
}

static int check_name(const char *name, vmctl_error **err) {
    if (kubevirt_is_label_name(name))
        return 0;
    vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "\"%s\" is no name of a Kubernetes object", name);
    vmc_error_next(err, "--name with small letters, digits and -, at most 63");
    return VMCTL_E_INVALID_ARGUMENT;
}

static int make(kubevirt_conn *conn, const char *name, const char *mark, const vmctl_image_upload_options *options,
                origin *o, vmc_journal *journal, const vmc_deadline *deadline, vmctl_error **err) {
    const char *version = NULL, *class = options->pool ? options->pool : conn->storage_class;
    VMC_AUTO_FREE char *path = volume_path(conn->namespace_name, NULL);
    VMC_AUTO_FREE char *detail = vmc_printf("%s/%s %s", conn->namespace_name, name, mark);
    size_t noted = 0;
    int code = kubevirt_version_of(conn, KUBEVIRT_CDI, versions, missing, deadline, &version, err);
    if (code == 0)
        code = vmc_journal_add(journal, "datavolume", detail, &noted, err);
    if (code < 0)
        return code;
    VMC_AUTO_JSON *object = volume_object(name, mark, class, o);
    code = kube_create(conn->client, path, object, NULL, deadline, NULL, err);
    if (code < 0 && !vmc_outcome_unknown(code)) /* refused: whatever has this name is not ours */
        vmc_journal_drop(journal, noted, NULL);
    if (code == VMCTL_E_ALREADY_EXISTS)
        vmc_error_next(err, "--name gives it another, or vmctl image delete %s", name);
    return code;
}

int kubevirt_image_upload(void *opaque, const char *path, const vmctl_image_upload_options *options,
                          vmc_journal *journal, vmctl_error **err) {
    kubevirt_conn *conn = opaque;
    vmc_deadline deadline = vmc_deadline_start(options->call, -1);
    VMC_AUTO_FREE char *name = options->name ? vmc_strdup(options->name) : name_of(path);
    char mark[VMC_UUID_BYTES];
    vmc_uuid_new(mark);
    VMC_AUTO_JSON *source = cJSON_CreateObject();
    origin o = {.source = source, .bytes = options->virtual_bytes};
    int code = check_name(name, err);
    if (code == 0)
        code = find_origin(conn, path, &o, &deadline, err);
    if (code == 0 && options->virtual_bytes > o.bytes)
        o.bytes = options->virtual_bytes;
    if (code == 0 && !o.bytes) {
        vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "how large the disk of %s is cannot be told from here", path);
        vmc_error_next(err, "--size 10GiB");
        code = VMCTL_E_INVALID_ARGUMENT;
    }
    if (code < 0)
        return code;
    source = NULL; /* the object's from now on */
    const kubevirt_volume volume = {.namespace_name = conn->namespace_name, .name = name};
    code = make(conn, name, mark, options, &o, journal, &deadline, err);
    cJSON_Delete(o.source);
    if (code == 0)
        code = o.file ? kubevirt_upload_file(conn, &volume, path, &deadline, err)
                      : kubevirt_volume_wait(conn, &volume, &deadline, err);
    if (code == 0 && !options->name)
        vmc_note(&deadline, VMCTL_NOTE_INFO, "the image is %s/%s, for disks with volume: or image: pvc:%s",
                 conn->namespace_name, name, name);
    return code;
}

int kubevirt_image_undo(kubevirt_conn *conn, const char *detail, const vmc_deadline *deadline, vmctl_error **err) {
    KUBEVIRT_AUTO_MARKED made = {0};
    int code = kubevirt_marked_read("datavolume", detail, &made, err);
    if (code < 0)
        return code;
    VMC_AUTO_FREE char *path = volume_path(made.namespace_name, made.name);
    return kubevirt_marked_drop(conn, path, KUBEVIRT_MARK, &made, deadline, err);
}

/* --- delete ------------------------------------------------------------------------------------------------------------ */

/* Kubernetes would mark it, and remove it under a VM that is only stopped. */
static int check_unused(kubevirt_conn *conn, const char *namespace_name, const char *name, const vmc_deadline *deadline,
                        vmctl_error **err) {
    kubevirt_claim_user found = {.claim = name};
    int code = kubevirt_find_claim_user(conn, namespace_name, &found, deadline, err);
    VMC_AUTO_FREE char *user = found.name;
    if (code < 0 || !user)
        return code;
    vmc_error(err, VMCTL_E_BUSY, "%s is a disk of the VM %s", name, user);
    vmc_error_next(err, "vmctl delete %s, or take the disk from it", user);
    return VMCTL_E_BUSY;
}

/* The claim goes after its data volume, by the cluster's own collector. */
static int wait_gone(kubevirt_conn *conn, const char *namespace_name, const char *name, const vmc_deadline *deadline,
                     vmctl_error **err) {
    VMC_AUTO_FREE char *path = claim_path(namespace_name, name);
    VMC_AUTO_FREE char *claims = claim_path(namespace_name, NULL);
    VMC_AUTO_FREE char *doing = vmc_printf("waiting for %s to go", name);
    VMC_AUTO_JSON *now = NULL;
    vmctl_error *why = NULL;
    int code = kube_get(conn->client, path, deadline, &now, &why);
    if (code == VMCTL_E_NOT_FOUND) {
        vmctl_error_free(why);
        return 0;
    }
    kubevirt_vm named = {.namespace_name = (char *)namespace_name, .name = (char *)name};
    const kubevirt_waiting waiting = {.name = name,
                                      .resource_version = vmc_json_string(now, "metadata.resourceVersion", NULL),
                                      .doing = doing,
                                      .settled = kubevirt_is_gone};
    vmc_deadline soon = vmc_deadline_within(deadline, GONE_MS);
    if (code == 0)
        code = kubevirt_wait_in(conn, &named, claims, &waiting, &soon, &why);
    if (code == VMCTL_E_TIMEOUT && vmc_deadline_left(deadline) != 0) { /* a pod still has it, of a copy for example */
        vmc_note(deadline, VMCTL_NOTE_WARNING, "the claim %s is marked, and goes when no pod uses it any more", name);
        vmctl_error_free(why);
        return 0;
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}

/* Only what is there now: of the same name, it may be another's in a moment. */
static int delete_same(kubevirt_conn *conn, const char *path, const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_JSON *now = NULL;
    int code = kube_get(conn->client, path, deadline, &now, err);
    const kube_write_options same = {.uid = vmc_json_string(now, "metadata.uid", NULL)};
    return code < 0 ? code : kube_delete(conn->client, path, &same, deadline, NULL, err);
}

int kubevirt_image_delete(void *opaque, const char *given, const vmctl_call *call, vmctl_error **err) {
    kubevirt_conn *conn = opaque;
    vmc_deadline deadline = vmc_deadline_start(call, KUBEVIRT_ACT_MS);
    VMC_AUTO_FREE char *namespace_name = NULL;
    const char *name = kubevirt_image_name(conn, given, &namespace_name);
    VMC_AUTO_FREE char *volume = volume_path(namespace_name, name);
    VMC_AUTO_FREE char *claim = claim_path(namespace_name, name);
    int code = check_unused(conn, namespace_name, name, &deadline, err);
    if (code < 0)
        return code;
    vmctl_error *why = NULL;
    code = delete_same(conn, volume, &deadline, &why);
    if (code == VMCTL_E_NOT_FOUND || code == VMCTL_E_UNSUPPORTED) { /* collected, or no CDI here */
        vmctl_error_free(why);
        why = NULL;
        code = delete_same(conn, claim, &deadline, &why);
    }
    if (code == VMCTL_E_NOT_FOUND) {
        vmc_error(&why, code, "there is no image %s in namespace %s", name, namespace_name);
        vmc_error_next(&why, "vmctl image list shows what there is");
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code < 0 ? code : wait_gone(conn, namespace_name, name, &deadline, err);
}
