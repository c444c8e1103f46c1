/* drivers/kvm/kvm.h - whether KVM can be used by the user that QEMU runs as, and runs 64-bit code: by trying.
 *
 * A child process becomes that user (with all its groups), opens /dev/kvm, makes a VM with one CPU in long mode and runs
 * a few instructions under a time limit. What the file's mode or /proc/cpuinfo say proves neither.
 * Source: linux/Documentation/virt/kvm/api.rst.
 */
#ifndef VMC_KVM_H
#define VMC_KVM_H

#include "base/deadline.h"
#include "base/error.h"
#include <stdbool.h>
#include <sys/types.h>

typedef struct kvm_result {
    bool present;     /* there is a /dev/kvm */
    bool openable;    /* that user can open it */
    bool usable;      /* and 64-bit code runs: accel=kvm works */
    bool host_cpu;    /* and -cpu host works too; always false when not usable */
    bool cached;      /* the answer of an earlier process since this boot */
    char reason[256]; /* "/dev/kvm cannot be opened by libvirt-qemu (mode 0600, root:root)"; "" when usable */
    char remedy[256]; /* "chmod 0666 /dev/kvm, or add libvirt-qemu to group kvm"; "" when there is none */
} kvm_result;

/* For this uid and gid. 0 with the answer also when it is no; an error only when the question could not be asked. A caller that is not
 * root learns of another user what the device's mode and its own try say; PERMISSION_DENIED when these do not tell. The probe takes a few
 * milliseconds, at most 2 s. Answers are kept per boot, user and state of /dev/kvm in vmc_runtime_dir. */
int kvm_probe(uid_t uid, gid_t gid, const vmc_deadline *deadline, kvm_result *out, vmctl_error **err);
/* The same for a user's name, "libvirt-qemu"; NOT_FOUND when there is no such user. */
int kvm_probe_user(const char *name, const vmc_deadline *deadline, kvm_result *out, vmctl_error **err);

#endif
