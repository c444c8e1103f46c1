/* Disks, and what cloud-init and Windows' set-up read. */
#include "manifest.h"

#include "base/base64.h"
#include "base/file.h"
#include "drivers/qemu_img/qemu_img.h"
#include "quantity.h"
#include <string.h>

enum {
    INLINE_LIMIT = 2048,             /* bytes of user data in a VirtualMachine; virt-api refuses more */
    MEDIUM_BYTES_SHIFT = 33,         /* 8 GiB: for an optical medium by URL, whose size nobody says */
    ANSWER_FILE_LIMIT = 1024 * 1024, /* of a Secret */
};

/* --- volumes --------------------------------------------------------------------------------------------------------- */

static cJSON *new_volume(kubevirt_build *build, const char *name) {
    cJSON *volume = cJSON_CreateObject();
    cJSON_AddStringToObject(volume, "name", name);
    cJSON_AddItemToArray(vmc_json_list(build->pod, "volumes"), volume);
    return volume;
}

/* A data volume that the VM makes and owns; its spec. */
static cJSON *new_template(kubevirt_build *build, const vmctl_node *disk, const char *name, cJSON *volume,
                           int64_t bytes) {
    cJSON *template = cJSON_CreateObject();
    cJSON_AddStringToObject(vmc_json_map(template, "metadata"), "name", name);
    cJSON_AddItemToArray(vmc_json_list(vmc_json_map(build->vm, "spec"), "dataVolumeTemplates"), template);
    cJSON *spec = vmc_json_map(template, "spec");
    cJSON *storage = vmc_json_map(spec, "storage");
    if (bytes) {
        VMC_AUTO_FREE char *size = kubevirt_quantity_format((uint64_t)bytes);
        cJSON_AddStringToObject(vmc_json_map(storage, "resources.requests"), "storage", size);
    }
    const char *class = vmctl_node_string(disk, "pool", NULL);
    vmc_json_text(
        storage, "storageClassName",
        class ? class : vmctl_node_string(build->root, "placement.storageClass", build->making->storage_class));
    if (vmctl_node_boolean(disk, "shared", false)) {
        cJSON_AddItemToArray(vmc_json_list(storage, "accessModes"), cJSON_CreateString("ReadWriteMany"));
        cJSON_AddStringToObject(storage, "volumeMode", "Block");
    }
    cJSON_AddStringToObject(vmc_json_map(volume, "dataVolume"), "name", name);
    return spec;
}

/* "NAMESPACE/NAME" or "NAME"; the namespace is the VM's where nothing is said. false: neither is a name. */
static void put_reference(kubevirt_build *build, cJSON *to, const char *text) {
    const char *slash = strchr(text, '/');
    VMC_AUTO_FREE char *namespace_name = slash ? vmc_strndup(text, (size_t)(slash - text))
                                               : vmc_strdup(vmc_json_string(build->vm, "metadata.namespace", ""));
    cJSON_AddStringToObject(to, "namespace", namespace_name);
    cJSON_AddStringToObject(to, "name", slash ? slash + 1 : text);
}

static int add_upload(kubevirt_build *build, const vmctl_node *source, const char *disk, const char *claim,
                      cJSON *spec) {
    kubevirt_manifest *out = build->out;
    if (!build->making->file_bytes) {
        vmc_refuse(build->err, VMCTL_E_UNSUPPORTED, source, "a file of this machine has to be uploaded first");
        return vmc_error_next(build->err, "vmctl image upload FILE, then image: pvc:NAME");
    }
    vmc_json_map(spec, "source.upload");
    /* A class that waits for a pod would wait for ever: the VM starts when its disk is there. */
    cJSON *template = cJSON_GetArrayItem(vmc_json_at(build->vm, "spec.dataVolumeTemplates"),
                                         cJSON_GetArraySize(vmc_json_at(build->vm, "spec.dataVolumeTemplates")) - 1);
    vmc_json_put(vmc_json_map(template, "metadata.annotations"), "cdi.kubevirt.io/storage.bind.immediate.requested",
                 cJSON_CreateString("true"));
    out->uploads = vmc_realloc(out->uploads, out->upload_count + 1, sizeof *out->uploads);
    out->uploads[out->upload_count++] = (kubevirt_upload){
        .disk = vmc_strdup(disk), .claim = vmc_strdup(claim), .path = vmc_strdup(vmctl_node_string(source, NULL, ""))};
    return 0;
}

/* What an image: or cdrom: names, as a source of a data volume. UNSUPPORTED: this backend knows no such source. */
static int put_source(kubevirt_build *build, const vmctl_node *source, const char *disk, const char *claim,
                      cJSON *spec) {
    const char *text = vmctl_node_string(source, NULL, "");
    if (vmc_starts_with(text, "http://") || vmc_starts_with(text, "https://")) {
        cJSON_AddStringToObject(vmc_json_map(spec, "source.http"), "url", text);
    } else if (vmc_starts_with(text, "s3://")) {
        cJSON_AddStringToObject(vmc_json_map(spec, "source.s3"), "url", text);
    } else if (vmc_starts_with(text, "gs://")) {
        cJSON_AddStringToObject(vmc_json_map(spec, "source.gcs"), "url", text);
    } else if (vmc_starts_with(text, "docker://")) {
        cJSON_AddStringToObject(vmc_json_map(spec, "source.registry"), "url", text);
    } else if (vmc_starts_with(text, "pvc:")) {
        put_reference(build, vmc_json_map(spec, "source.pvc"), text + 4);
    } else if (vmc_starts_with(text, "snapshot:")) {
        put_reference(build, vmc_json_map(spec, "source.snapshot"), text + 9);
    } else if (vmc_starts_with(text, "library:")) {
        cJSON_AddStringToObject(vmc_json_map(spec, "sourceRef"), "kind", "DataSource");
        put_reference(build, vmc_json_map(spec, "sourceRef"), text + 8);
    } else if (*text == '/') {
        return add_upload(build, source, disk, claim, spec);
    } else {
        vmc_refuse(build->err, VMCTL_E_UNSUPPORTED, source, "%.200s is no image that KubeVirt can take", text);
        return vmc_error_next(build->err,
                              "a URL, docker://IMAGE, library:DATASOURCE, pvc:CLAIM, snapshot:VOLUMESNAPSHOT "
                              "or a file");
    }
    return 0;
}

/* These know their size, so that none needs to be said. */
static bool knows_size(const char *source) {
    static const char *const kinds[] = {"pvc:", "snapshot:", "library:"};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (vmc_starts_with(source, kinds[i]))
            return true;
    return false;
}

static int file_bytes(const kubevirt_build *build, const vmctl_node *source, int64_t *bytes) {
    vmctl_error *why = NULL;
    int code = build->making->file_bytes(vmctl_node_string(source, NULL, ""), build->making->user, bytes, &why);
    if (code < 0)
        code = vmc_refuse(build->err, vmctl_error_code(why), source, "%s", vmctl_error_message(why));
    vmctl_error_free(why);
    return code;
}

static int refuse_smaller(const kubevirt_build *build, const vmctl_node *disk, const char *image, int64_t has) {
    const vmctl_node *size = vmctl_node_get(disk, "size");
    VMC_AUTO_FREE char *is = vmc_format_size(has);
    VMC_AUTO_FREE char *wants = vmc_format_size(vmctl_node_integer(size, NULL, 0));
    return vmc_refuse(build->err, VMCTL_E_INVALID_SPEC, size,
                      "size %s is smaller than the image %s, which is %s; what is beyond would be lost", wants, image,
                      is);
}

static int put_image(kubevirt_build *build, const vmctl_node *disk, const vmctl_node *image, const char *claim,
                     cJSON *volume) {
    const char *name = vmctl_node_string(disk, "name", "");
    const char *text = vmctl_node_string(image, NULL, "");
    int64_t bytes = vmctl_node_integer(disk, "size", 0);
    if (vmc_starts_with(text, "docker://") && !bytes) {
        cJSON_AddStringToObject(vmc_json_map(volume, "containerDisk"), "image", text + strlen("docker://"));
        vmc_strv_printf(
            &build->out->notes,
            "disk %s is a container disk: what the guest writes is gone when it stops; with a size it becomes "
            "a disk that stays",
            name);
        return 0;
    }
    if (*text == '/' && build->making->file_bytes) {
        int64_t has = 0;
        int code = file_bytes(build, image, &has);
        if (code == 0 && bytes && bytes < has)
            code = refuse_smaller(build, disk, text, has);
        if (code < 0)
            return code;
        bytes = bytes ? bytes : has;
    }
    if (!bytes && !knows_size(text))
        return vmc_refuse(build->err, VMCTL_E_INVALID_SPEC, image,
                          "KubeVirt has to know how large disk %s becomes: give it a size", name);
    return put_source(build, image, name, claim, new_template(build, disk, claim, volume, bytes));
}

/* By its first bytes, whatever it is called. */
static int check_disc(const kubevirt_build *build, const vmctl_node *cdrom, const char *path) {
    qemu_img_kind kind = {0};
    vmctl_error *why = NULL;
    int code = qemu_img_probe(path, &kind, &why);
    if (code < 0)
        code = vmc_refuse(build->err, code, cdrom, "%s", vmctl_error_message(why));
    else if (!kind.format || (strcmp(kind.name, "iso") != 0 && strcmp(kind.name, "raw") != 0))
        code = vmc_refuse(build->err, VMCTL_E_INVALID_SPEC, cdrom, "medium %s is %s, not an optical disc's image", path,
                          kind.description);
    vmctl_error_free(why);
    return code;
}

static int put_medium(kubevirt_build *build, const vmctl_node *disk, const vmctl_node *cdrom, const char *claim,
                      cJSON *volume) {
    const char *name = vmctl_node_string(disk, "name", "");
    const char *text = vmctl_node_string(cdrom, NULL, "");
    if (vmc_starts_with(text, "docker://")) {
        cJSON_AddStringToObject(vmc_json_map(volume, "containerDisk"), "image", text + strlen("docker://"));
        return 0;
    }
    if (vmc_starts_with(text, "pvc:")) {
        cJSON_AddStringToObject(vmc_json_map(volume, "persistentVolumeClaim"), "claimName", text + 4);
        return 0;
    }
    int64_t bytes = 0;
    if (*text == '/' && build->making->file_bytes) {
        int code = check_disc(build, cdrom, text);
        if (code == 0)
            code = file_bytes(build, cdrom, &bytes);
        if (code < 0)
            return code;
    } else if (!knows_size(text)) {
        bytes = (int64_t)1 << MEDIUM_BYTES_SHIFT;
        vmc_strv_printf(&build->out->notes,
                        "the volume of %s is made with 8 GiB, as nobody says how large its medium is", name);
    }
    return put_source(build, cdrom, name, claim, new_template(build, disk, claim, volume, bytes));
}

/* --- disks ----------------------------------------------------------------------------------------------------------- */

static void put_target(kubevirt_build *build, const vmctl_node *disk, cJSON *to, bool drive) {
    bool windows = strcmp(build->guest, "windows") == 0;
    const char *bus = vmctl_node_string(disk, "bus", drive || windows ? "sata" : "virtio");
    cJSON *target = vmc_json_map(to, drive ? "cdrom" : "disk");
    cJSON_AddStringToObject(target, "bus", bus);
    if (!drive && vmctl_node_boolean(disk, "readonly", false))
        cJSON_AddBoolToObject(target, "readonly", true);
    vmc_json_text(to, "serial", vmctl_node_string(disk, "serial", NULL));
    vmc_json_text(to, "cache", vmctl_node_string(disk, "cache", NULL));
    vmc_json_text(to, "io", vmctl_node_string(disk, "io", NULL));
    if (vmctl_node_boolean(disk, "shared", false))
        cJSON_AddBoolToObject(to, "shareable", true);
}

/* "NAME", or "NAMESPACE/NAME" with the VM's own namespace: as image list shows it. */
static int put_claim(kubevirt_build *build, const vmctl_node *source, cJSON *volume) {
    const char *text = vmctl_node_string(source, NULL, "");
    const char *own = vmc_json_string(build->vm, "metadata.namespace", ""), *slash = strchr(text, '/');
    if (slash && strlen(own) == (size_t)(slash - text) && vmc_starts_with(text, own))
        text = slash + 1;
    if (strchr(text, '/') || !*text) {
        vmc_refuse(build->err, VMCTL_E_INVALID_SPEC, source,
                   "a volume is a PersistentVolumeClaim of the VM's namespace, and \"%.80s\" is no name of one", text);
        return VMCTL_E_INVALID_SPEC;
    }
    cJSON_AddStringToObject(vmc_json_map(volume, "persistentVolumeClaim"), "claimName", text);
    return 0;
}

int kubevirt_build_disk(kubevirt_build *build, const vmctl_node *disk) {
    const char *name = vmctl_node_string(disk, "name", "");
    const vmctl_node *cdrom = vmctl_node_get(disk, "cdrom");
    const vmctl_node *image = vmctl_node_get(disk, "image");
    const vmctl_node *source = vmctl_node_get(disk, "volume");
    cJSON *to = cJSON_CreateObject();
    cJSON_AddStringToObject(to, "name", name);
    cJSON_AddItemToArray(vmc_json_list(build->devices, "disks"), to);
    put_target(build, disk, to, cdrom != NULL);
    if (cdrom && !*vmctl_node_string(cdrom, NULL, ""))
        return 0; /* a drive without a medium has no volume */
    VMC_AUTO_FREE char *claim = vmc_printf("%s-%s", build->name, name);
    cJSON *volume = new_volume(build, name);
    if (cdrom)
        return put_medium(build, disk, cdrom, claim, volume);
    if (image)
        return put_image(build, disk, image, claim, volume);
    if (source)
        return put_claim(build, source, volume);
    cJSON *spec = new_template(build, disk, claim, volume, vmctl_node_integer(disk, "size", 0));
    vmc_json_map(spec, "source.blank");
    return 0;
}

/* --- cloud-init and answer files ------------------------------------------------------------------------------------- */

static cJSON *new_secret(kubevirt_build *build, const char *name) {
    cJSON *secret = cJSON_CreateObject();
    cJSON_AddStringToObject(secret, "apiVersion", "v1");
    cJSON_AddStringToObject(secret, "kind", "Secret");
    cJSON *metadata = vmc_json_map(secret, "metadata");
    cJSON_AddStringToObject(metadata, "name", name);
    cJSON_AddStringToObject(metadata, "namespace", vmc_json_string(build->vm, "metadata.namespace", ""));
    vmc_json_put(vmc_json_map(metadata, "labels"), KUBEVIRT_LABEL_MANAGED, cJSON_CreateString("vmctl"));
    cJSON_AddItemToArray(build->out->secrets, secret);
    return secret;
}

static void put_secret_text(cJSON *secret, const char *key, const char *text) {
    VMC_AUTO_STR encoded = {0};
    vmc_base64_add(&encoded, text, strlen(text), 0);
    vmc_json_put(vmc_json_map(secret, "data"), key, cJSON_CreateString(encoded.text ? encoded.text : ""));
}

/* Whoever may read VMs reads what stands in them. cloud-init's lock_passwd is a switch and no password. */
static bool is_secret(const char *text) {
    static const char lock[] = "lock_";
    for (const char *at = text; at && (at = strstr(at, "passwd")); at++)
        if (at - text < (ptrdiff_t)strlen(lock) || strncmp(at - strlen(lock), lock, strlen(lock)) != 0)
            return true;
    return text && (strstr(text, "password") || strstr(text, "PRIVATE KEY"));
}

/* cloudbase-init, which Windows images have, looks for a config drive first. */
static void put_seed(kubevirt_build *build, const vmc_seed *seed) {
    bool windows = strcmp(build->guest, "windows") == 0;
    size_t user = seed->user_data ? strlen(seed->user_data) : 0;
    size_t network = seed->network_config ? strlen(seed->network_config) : 0;
    cJSON *source = vmc_json_map(new_volume(build, "cloudinit"), windows ? "cloudInitConfigDrive" : "cloudInitNoCloud");
    if (user <= INLINE_LIMIT && network <= INLINE_LIMIT && !is_secret(seed->user_data) &&
        !is_secret(seed->network_config)) {
        vmc_json_text(source, "userData", seed->user_data);
        vmc_json_text(source, "networkData", seed->network_config);
        return;
    }
    VMC_AUTO_FREE char *name = vmc_printf("%s-cloudinit", build->name);
    cJSON *secret = new_secret(build, name);
    if (seed->user_data) {
        put_secret_text(secret, "userdata", seed->user_data);
        cJSON_AddStringToObject(vmc_json_map(source, "secretRef"), "name", name);
    }
    if (seed->network_config) {
        put_secret_text(secret, "networkdata", seed->network_config);
        cJSON_AddStringToObject(vmc_json_map(source, "networkDataSecretRef"), "name", name);
    }
}

static void add_drive(kubevirt_build *build, const char *name, bool drive) {
    cJSON *disk = cJSON_CreateObject();
    cJSON_AddStringToObject(disk, "name", name);
    cJSON_AddStringToObject(vmc_json_map(disk, drive ? "cdrom" : "disk"), "bus",
                            drive || strcmp(build->guest, "windows") == 0 ? "sata" : "virtio");
    cJSON_AddItemToArray(vmc_json_list(build->devices, "disks"), disk);
}

static int put_answer_file(kubevirt_build *build, const vmctl_node *file) {
    VMC_AUTO_FREE char *text = NULL;
    size_t length = 0;
    vmctl_error *why = NULL;
    if (vmc_file_read(vmctl_node_string(file, NULL, ""), ANSWER_FILE_LIMIT, &text, &length, &why) < 0) {
        int code = vmc_refuse(build->err, vmctl_error_code(why), file, "%s", vmctl_error_message(why));
        vmctl_error_free(why);
        return code;
    }
    VMC_AUTO_FREE char *name = vmc_printf("%s-sysprep", build->name);
    cJSON *secret = new_secret(build, name);
    put_secret_text(secret, "autounattend.xml", text);
    put_secret_text(secret, "unattend.xml", text);
    cJSON_AddStringToObject(vmc_json_map(new_volume(build, "sysprep"), "sysprep.secret"), "name", name);
    add_drive(build, "sysprep", true);
    return 0;
}

int kubevirt_build_seed(kubevirt_build *build, const vmctl_spec *spec) {
    const vmctl_node *cloud_init = vmctl_node_get(build->root, "cloudInit");
    const vmctl_node *file = vmctl_node_get(build->root, "unattend.file");
    if (cloud_init) {
        vmc_seed seed = {0};
        int code = vmc_seed_texts(spec, build->name, &seed, build->err);
        if (code < 0)
            return code;
        add_drive(build, "cloudinit", false);
        put_seed(build, &seed);
        vmc_seed_free(&seed);
        const char *hostname = vmctl_node_string(cloud_init, "hostname", NULL);
        if (hostname && !kubevirt_is_label_name(hostname))
            return vmc_refuse(build->err, VMCTL_E_INVALID_SPEC, vmctl_node_get(cloud_init, "hostname"),
                              "\"%.80s\" is no host name for Kubernetes: lower case letters, digits and '-'", hostname);
        vmc_json_text(build->pod, "hostname", hostname);
    }
    return file ? put_answer_file(build, file) : 0;
}
