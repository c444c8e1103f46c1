/* backends/kubevirt/upload.h - data volumes of CDI: made, filled from this machine, waited for. */
#ifndef VMC_KUBEVIRT_UPLOAD_H
#define VMC_KUBEVIRT_UPLOAD_H

#include "ops.h"

/* Where a disk's bytes go. */
typedef struct kubevirt_volume {
    const char *namespace_name;
    const char *name; /* of the data volume, and of its claim */
    const char *vm;   /* for progress; NULL */
} kubevirt_volume;

/* Sends the bytes of a file to a data volume with source `upload`: waits until CDI can take them, sends them through its upload proxy with
 * a token that is fresh for each try, and waits until CDI has written them. CDI cannot go on in the middle: a connection that is cut begins
 * again, three times at most. UNSUPPORTED: the cluster shows no upload proxy. */
int kubevirt_upload_file(kubevirt_conn *conn, const kubevirt_volume *volume, const char *path,
                         const vmc_deadline *deadline, vmctl_error **err);
/* Watches a data volume until it is Succeeded; its failure is the error. */
int kubevirt_volume_wait(kubevirt_conn *conn, const kubevirt_volume *volume, const vmc_deadline *deadline,
                         vmctl_error **err);

/* What an image takes as a disk: bytes that the guest will see. NOT_FOUND, INVALID_ARGUMENT (no image). qemu-img is run for formats other
 * than qcow2 and raw. */
int kubevirt_file_bytes(const char *path, const vmc_deadline *deadline, uint64_t *bytes, vmctl_error **err);
/* The same as what a kubevirt_making wants; user: its deadline. */
int kubevirt_making_bytes(const char *path, void *user, int64_t *bytes, vmctl_error **err);

#endif
