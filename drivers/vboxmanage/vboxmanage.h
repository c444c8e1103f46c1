/* drivers/vboxmanage/vboxmanage.h - runs VBoxManage: finds it, calls it by argument vector, and turns what it says into codes.
 *
 * Exit codes (measured on 7.2): 0 done, 1 failed, 2 syntax. Neither is the whole truth: some failures exit with 0 and an
 * error on stderr (discardstate of a VM that is off), some answers exit with 1 (snapshot list where there are none). So a
 * call has failed when stderr has an error, or when it exits with another code than 0 without saying why.
 * A handle may be used by any number of threads: every call is a process of its own.
 */
#ifndef VMC_VBOXMANAGE_H
#define VMC_VBOXMANAGE_H

#include "base/deadline.h"
#include "base/str.h"
#include "drivers/openssh/openssh.h"

typedef struct vboxmanage_host vboxmanage_host;

typedef struct vboxmanage {
    vboxmanage_host *host; /* where it runs, reached by ssh (host.h); NULL: here */
    char *program;         /* its path */
    char *home;            /* VBOX_USER_HOME of its VBoxSVC; NULL: as the environment says */
    char *ipc;             /* VBOX_IPC_SOCKETID, which tells VBoxSVCs of one user apart; NULL */
} vboxmanage;

/* Looks in PATH, then in VirtualBox's install folders; runs nothing. UNAVAILABLE when there is none, saying where it looked.
 * The wrapper scripts of packages are passed by: Debian's writes its warnings to stdout. */
int vboxmanage_open(const char *home, const char *ipc, vboxmanage **out, vmctl_error **err);
void vboxmanage_close(vboxmanage *manage);
/* *version: "7.2.22" (free). UNAVAILABLE when it tells none. */
int vboxmanage_version(const vboxmanage *manage, const vmc_deadline *deadline, char **version, vmctl_error **err);

/* One call. */
typedef struct vboxmanage_call {
    const char *const *argv; /* without the program; NULL-terminated */
    const char *doing;       /* for errors: "starting the VM" */
    const char *vm, *stage;  /* reported with the percents that it prints; stage NULL: none is reported */
    const char *device;      /* NULL */
    int64_t busy_ms;         /* tries again so long while another session holds the VM's lock; 0: fails at once */
    char **warnings;         /* what it printed on stderr, after success (free); NULL: not wanted */
} vboxmanage_call;

/* Runs it to its end. *output: its stdout, never NULL after success (free); output may be NULL. Fails as vboxmanage_failed says. */
int vboxmanage_run(const vboxmanage *manage, const vboxmanage_call *call, const vmc_deadline *deadline, char **output,
                   vmctl_error **err);

/* A call whose output is somebody else's: a program of the guest. */
typedef struct vboxmanage_stream {
    const char *const *argv; /* without the program; NULL-terminated */
    const char *doing;
    const void *input; /* for its stdin; NULL: none */
    size_t input_length;
    bool inherit_input; /* stdin is the caller's own */
    /* As it comes. Lines of VBoxManage's own on stderr ("VBoxManage: error: ...") are kept out. Non-zero ends it. NULL: thrown away */
    int (*output)(const void *bytes, size_t length, void *user);
    int (*error)(const void *bytes, size_t length, void *user);
    void *user;
} vboxmanage_stream;

/* *status: its exit code, whatever it was, where VBoxManage itself tells of no error. */
int vboxmanage_stream_run(const vboxmanage *manage, const vboxmanage_stream *stream, const vmc_deadline *deadline,
                          int *status, vmctl_error **err);

/* --- errors (error.c) ------------------------------------------------------------------------------------------ */

/* Whether stderr tells of an error ("VBoxManage: error: ..."); warnings and progress are none. */
bool vboxmanage_has_error(const char *error_text);

/* Makes *err of what a call printed, and returns its code: the sentences as the hypervisor's words, its code (VBOX_E_...,
 * NS_ERROR_..., VERR_...) beside them. NOT_FOUND, INVALID_STATE, BUSY (retryable: another session holds the lock), ALREADY_EXISTS,
 * UNSUPPORTED, INVALID_ARGUMENT, RESOURCE_EXHAUSTED, PERMISSION_DENIED, UNAVAILABLE (VBoxSVC died), DATA_LOSS_PREVENTED (something stands on it), INTERNAL.
 * Source: VirtualBox's SDK reference (result codes) and include/iprt/err.h by name. */
int vboxmanage_failed(const char *doing, int status, const char *error_text, vmctl_error **err);

#endif
