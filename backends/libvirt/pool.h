/* backends/libvirt/pool.h - storage pools: finding the one that a disk goes to, making `default` where there is none.
 * Source: libvirt's formatstorage.html. */
#ifndef VMC_LIBVIRT_POOL_H
#define VMC_LIBVIRT_POOL_H

#include "conn.h"

#define LIBVIRT_DEFAULT_POOL "default"

typedef struct libvirt_pool {
    struct libvirt_pool *next; /* storage.h: the pools of one operation */
    virStoragePoolPtr virt;    /* NULL: there is none yet (only `default`) */
    char *name;
    char *wanted_as; /* storage.h: the name that the spec uses for it; NULL */
    char *type;      /* "dir", "logical", ... */
    char *path;      /* where its volumes are on the host; NULL: its kind has no folder */
    bool active;
    bool folder;           /* volumes are plain files in `path` */
    bool direct;           /* and this process may write there itself: no stream through the daemon */
    bool touched;          /* files came or went behind the daemon's back */
    uint64_t free_bytes;   /* 0: not known */
    uint64_t wanted_bytes; /* what the operation will put there */
} libvirt_pool;

/* The pool of this name; NULL: the default one, for which a pool of another name at its usual place serves too. A missing or inactive `default` is
 * described as it will be. NOT_FOUND (lists the pools there are), INVALID_STATE never: libvirt_pool_ready starts it.
 * *out: libvirt_pool_free. */
int libvirt_pool_find(libvirt_conn *conn, const char *name, const vmc_deadline *deadline, libvirt_pool **out,
                      vmctl_error **err);
/* Makes the missing default pool (defined, built, started, started with the host) and starts an inactive one. Several
 * processes may do so at once. */
int libvirt_pool_ready(libvirt_conn *conn, libvirt_pool *pool, const vmc_deadline *deadline, vmctl_error **err);
/* Lets the daemon see what was changed in the folder. Its failure changes nothing but what others see, and is only logged. */
void libvirt_pool_refresh(libvirt_conn *conn, libvirt_pool *pool, const vmc_deadline *deadline);
void libvirt_pool_free(libvirt_pool *pool);

#endif
