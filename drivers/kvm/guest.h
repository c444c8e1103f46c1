/* drivers/kvm/guest.h - one CPU in long mode and the few instructions that it has to get through. */
#ifndef VMC_KVM_GUEST_H
#define VMC_KVM_GUEST_H

#include <stdbool.h>
#include <stdint.h>

/* Written by the child as it is, read by the parent. */
typedef struct kvm_outcome {
    int open_error;  /* errno of opening /dev/kvm; 0 */
    int setup_error; /* errno of making the VM; 0 */
    int stage;       /* of guest.c, where it stopped */
    bool user_error; /* the child could not become that user */
    bool runs;       /* all stages done in time */
    bool host_cpu;   /* IA32_ARCH_CAPABILITIES can be set as -cpu host does */
} kvm_outcome;

/* What the guest does at a stage, for the reason: "a page fault". */
const char *kvm_guest_stage(int stage);

/* Only system calls, no memory from the heap: runs in a child of a program with many threads. fd: /dev/kvm. `limit_ms`: of processor time
 * for the guest's run (a busy machine is no reason), by SIGPROF. */
void kvm_guest_try(int fd, int limit_ms, kvm_outcome *out);

#endif
