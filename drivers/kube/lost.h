/* drivers/kube/lost.h - writes whose answers may get lost. */
#ifndef KUBE_LOST_H
#define KUBE_LOST_H

#include "drivers/kube/client.h"

typedef enum kube_write_kind {
    KUBE_WRITE_CREATE, /* by its own name: there cannot be two */
    KUBE_WRITE_PATCH,  /* a merge patch: the second changes nothing, or fails by its resourceVersion */
    KUBE_WRITE_APPLY,  /* apply and update: done twice they are as done once; what they take away shows nowhere */
    KUBE_WRITE_DELETE  /* with the uid as a precondition for the second */
} kube_write_kind;

typedef struct kube_writing {
    kube_client *client;
    kube_write_kind kind;
    const kube_request *request;
    const char *object; /* its path, where it can be looked at; NULL: it cannot */
    cJSON *body;        /* the request's, of a deletion */
    bool unique;        /* nobody else uses the name */
    int64_t began_ms;   /* kube_write's own */
} kube_writing;

/* Sends it. Where the answer got lost it looks whether it was done, and sends it once more where it was not. A server that gave up (502, 504)
 * is not asked again: then it only looks. *out (may be NULL) as in kube_call, of what is there; *out NULL: a deletion that is
 * over. */
int kube_write(kube_writing *writing, const vmc_deadline *deadline, cJSON **out, vmctl_error **err);

#endif
