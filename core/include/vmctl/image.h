/* vmctl/image.h - disk images: local files, images by URL (fetched into a cache), and images kept by an endpoint.
 *
 * Local work goes through qemu-img (package qemu-utils); VMCTL_E_UNAVAILABLE names the package when it is missing.
 */
#ifndef VMCTL_IMAGE_H
#define VMCTL_IMAGE_H

#include <vmctl/vm.h>

VMCTL_BEGIN_DECLS

/* Valid during the callback. */
typedef struct vmctl_image {
    size_t size;
    const char *name;             /* file name, volume name, library item */
    const char *path;             /* where it is: a path, pool/volume, URL */
    const char *format;           /* "qcow2", "raw", "vmdk", "vdi", "vpc", "iso"; what it is, not what its name says */
    uint64_t virtual_bytes;       /* what a guest would see; 0 not known */
    uint64_t allocated_bytes;     /* what it takes; 0 not known */
    const char *backing;          /* the file that it is an overlay of; NULL */
    const char *const *snapshots; /* names of internal snapshots, NULL-terminated; NULL */
    const char *sha256;           /* hexadecimal, where known; NULL */
    int64_t modified;             /* seconds since 1970 UTC; 0 not known */
    const char *pool;             /* NULL for files */
} vmctl_image;

typedef int (*vmctl_image_fn)(const vmctl_image *image, void *user);

/* What a local file is. VMCTL_E_NOT_FOUND, VMCTL_E_INVALID_ARGUMENT when it is not an image at all. */
VMCTL_API int vmctl_image_inspect(const char *path, const vmctl_call *call, vmctl_image_fn each, void *user,
                                  vmctl_error **err);

typedef struct vmctl_image_convert_options {
    size_t size;
    const vmctl_call *call;
    const char *format; /* of the result; NULL: by its name's ending */
    bool compress;
    bool overwrite;
} vmctl_image_convert_options;

#define VMCTL_IMAGE_CONVERT_OPTIONS_INIT                                                                               \
    { sizeof(vmctl_image_convert_options), NULL, NULL, false, false }

/* Flattens overlays. A failed or cancelled conversion leaves no target. */
VMCTL_API int vmctl_image_convert(const char *source, const char *target, const vmctl_image_convert_options *options,
                                  vmctl_error **err);

typedef struct vmctl_image_pull_options {
    size_t size;
    const vmctl_call *call;
    const char *checksum; /* "sha256:HEX" or "sha512:HEX"; NULL: not checked */
    const char *name;     /* name in the cache; NULL: from the URL */
    bool refresh;         /* ask the server again even when it is in the cache */
} vmctl_image_pull_options;

#define VMCTL_IMAGE_PULL_OPTIONS_INIT                                                                                  \
    { sizeof(vmctl_image_pull_options), NULL, NULL, NULL, false }

/* Fetches http, https or file URLs into $XDG_CACHE_HOME/vmctl/images; an interrupted one is resumed; unchanged ones (ETag,
 * Last-Modified) are not fetched twice. *path is the file in the cache (vmctl_string_free). */
VMCTL_API int vmctl_image_pull(const char *url, const vmctl_image_pull_options *options, char **path,
                               vmctl_error **err);

/* Images of the cache (connection NULL) or of the endpoint. */
VMCTL_API int vmctl_image_list(vmctl_connection *connection, const char *pool, const vmctl_call *call,
                               vmctl_image_fn each, void *user, vmctl_error **err);

typedef struct vmctl_image_upload_options {
    size_t size;
    const vmctl_call *call;
    const char *pool; /* NULL: the default */
    const char *name; /* NULL: the file's */
    uint64_t
        virtual_bytes; /* of the disk, at least; 0: the image's own. Needed for what neither this machine nor the endpoint can look into */
} vmctl_image_upload_options;

#define VMCTL_IMAGE_UPLOAD_OPTIONS_INIT                                                                                \
    { sizeof(vmctl_image_upload_options), NULL, NULL, NULL, 0 }

/* path: a file of this machine; or, where the endpoint fetches by itself (KubeVirt), an http or https URL, "docker://IMAGE" of a registry,
 * "pvc:[NAMESPACE/]NAME" or "snapshot:[NAMESPACE/]NAME". */
VMCTL_API int vmctl_image_upload(vmctl_connection *connection, const char *path,
                                 const vmctl_image_upload_options *options, vmctl_error **err);
/* From the cache (connection NULL: name is one that vmctl_image_list gave) or from the endpoint ("pool/volume" or a
 * volume of the default pool). VMCTL_E_BUSY when a VM uses it. */
VMCTL_API int vmctl_image_delete(vmctl_connection *connection, const char *name, const vmctl_call *call,
                                 vmctl_error **err);

/* The bytes of an image of the endpoint ("pool/volume", or a volume of the default pool) into a new file of this machine, holes kept.
 * ALREADY_EXISTS: path is taken. A failed or cancelled download leaves no file. */
VMCTL_API int vmctl_image_download(vmctl_connection *connection, const char *name, const char *path,
                                   const vmctl_call *call, vmctl_error **err);

/* Whole VMs as OVA. The VM must be stopped, path free; a failed or cancelled export leaves no file. */
VMCTL_API int vmctl_export(vmctl_vm *vm, const char *path, const vmctl_call *call, vmctl_error **err);
/* Whole or not at all. name NULL: the descriptor's. What an OVA says and this endpoint cannot do is told by notes. *out may be NULL. */
VMCTL_API int vmctl_import(vmctl_connection *connection, const char *path, const char *name, const vmctl_call *call,
                           vmctl_vm **out, vmctl_error **err);

VMCTL_END_DECLS

#endif
