/* drivers/kvm/guest.c - what a 64-bit kernel does first, in some fifty instructions.
 *
 * A KVM without hardware behind it may interpret privileged code instruction by instruction: it then runs firmware, but a kernel takes
 * for ever. So besides the things that may be missing altogether (page faults, system calls, MSRs), there is a loop long enough that
 * only a real CPU ends it in time.
 * Sources: linux/Documentation/virt/kvm/api.rst; AMD64 Architecture Programmer's Manual, volume 2.
 */
#include "drivers/kvm/guest.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

static const char *const stages[] = {
    "entering long mode",         "SSE arithmetic",       "CPUID",        "writing MSRs",
    "changing control registers", "changing page tables", "a page fault", "system calls",
    "a loop of a million turns"};

const char *kvm_guest_stage(int stage) {
    return stage >= 0 && stage < (int)(sizeof stages / sizeof stages[0]) ? stages[stage] : "the end";
}

#if defined(__x86_64__)

/* Guest-physical addresses; the first 2 MiB are mapped 1:1, and again at HIGH as kernels are. */
#define HIGH 0xffffffff80000000ULL
enum {
    MEMORY = 0x200000,
    PML4 = 0x1000,
    PDPT = 0x2000,
    PD = 0x3000,
    PT = 0x4000,
    GDT = 0x5000,
    IDT = 0x6000,
    CODE = 0x7000,
    DATA_A = 0x8000,
    DATA_B = 0x9000,
    TSS = 0xa000,
    STACK = 0x10000,
    WINDOW = 0x100000, /* virtual: first DATA_A, then DATA_B */
    FAULT = 0x101000,  /* virtual: nothing until its page fault */
    PORT = 0x10,
    DONE = 0x600d,
    PRESENT_WRITE_USER = 7
};

/* r15 is the stage. The constants are those above: PT 0x4000, WINDOW's entry 0x4800, FAULT's entry 0x4808. */
__asm__(".pushsection .rodata\n"
        ".balign 16\n"
        "vmc_kvm_guest_begin:\n"
        "    lea 1f(%rip), %rax\n"
        "    movabs $0xffffffff80000000, %rbx\n"
        "    add %rbx, %rax\n"
        "    jmp *%rax\n"
        "1:\n"
        "    mov $1, %r15d\n" /* SSE */
        "    movabs $0x1122334455667788, %rax\n"
        "    movq %rax, %xmm0\n"
        "    paddq %xmm0, %xmm0\n"
        "    movq %xmm0, %rdx\n"
        "    add %rax, %rax\n"
        "    cmp %rax, %rdx\n"
        "    jne vmc_kvm_guest_fail\n"
        "    mov $2, %r15d\n" /* CPUID: long mode is told */
        "    mov $0x80000001, %eax\n"
        "    cpuid\n"
        "    bt $29, %edx\n"
        "    jnc vmc_kvm_guest_fail\n"
        "    mov $3, %r15d\n" /* LSTAR, STAR, SFMASK, GS base */
        "    lea vmc_kvm_guest_syscall(%rip), %rax\n"
        "    mov %rax, %rdx\n"
        "    shr $32, %rdx\n"
        "    mov $0xc0000082, %ecx\n"
        "    wrmsr\n"
        "    xor %edx, %edx\n"
        "    rdmsr\n"
        "    cmp $0xffffffff, %edx\n"
        "    jne vmc_kvm_guest_fail\n"
        "    mov $0xc0000081, %ecx\n"
        "    xor %eax, %eax\n"
        "    mov $0x00100008, %edx\n"
        "    wrmsr\n"
        "    mov $0xc0000084, %ecx\n"
        "    mov $0x200, %eax\n"
        "    xor %edx, %edx\n"
        "    wrmsr\n"
        "    mov $0xc0000101, %ecx\n"
        "    mov $0x80008000, %eax\n"
        "    mov $0xffffffff, %edx\n"
        "    wrmsr\n"
        "    cmpl $0xaaaa, %gs:0\n"
        "    jne vmc_kvm_guest_fail\n"
        "    mov $4, %r15d\n" /* control registers */
        "    mov %cr4, %rax\n"
        "    or $0x80, %rax\n"
        "    mov %rax, %cr4\n"
        "    mov %cr3, %rax\n"
        "    mov %rax, %cr3\n"
        "    mov $0x28, %ax\n"
        "    ltr %ax\n"
        "    mov $5, %r15d\n" /* page tables */
        "    cmpl $0xaaaa, 0x100000\n"
        "    jne vmc_kvm_guest_fail\n"
        "    movq $0x9007, 0x4800\n"
        "    invlpg 0x100000\n"
        "    cmpl $0xbbbb, 0x100000\n"
        "    jne vmc_kvm_guest_fail\n"
        "    mov $6, %r15d\n" /* a page fault, whose handler maps the page */
        "    cmpl $0xbbbb, 0x101000\n"
        "    jne vmc_kvm_guest_fail\n"
        "    mov $7, %r15d\n" /* down to ring 3 and back */
        "    lea vmc_kvm_guest_user(%rip), %rcx\n"
        "    sub %rbx, %rcx\n"
        "    mov $2, %r11d\n"
        "    sysretq\n"
        "vmc_kvm_guest_user:\n"
        "    mov $0x77, %edi\n"
        "    syscall\n"
        "    ud2\n"
        "vmc_kvm_guest_syscall:\n"
        "    cmp $0x77, %edi\n"
        "    jne vmc_kvm_guest_fail\n"
        "    mov $8, %r15d\n" /* last, for it takes longest where it fails */
        "    mov $1000000, %ecx\n"
        "2:  dec %ecx\n"
        "    jnz 2b\n"
        "    mov $0x600d, %eax\n"
        "    out %eax, $0x10\n"
        "    hlt\n"
        "vmc_kvm_guest_fail:\n"
        "    xor %eax, %eax\n"
        "    out %eax, $0x10\n"
        "    hlt\n"
        "vmc_kvm_guest_fault:\n"
        "    movq $0x9007, 0x4808\n"
        "    add $8, %rsp\n"
        "    iretq\n"
        "vmc_kvm_guest_end:\n"
        ".popsection\n");

extern const char vmc_kvm_guest_begin[] __attribute__((visibility("hidden")));
extern const char vmc_kvm_guest_fault[] __attribute__((visibility("hidden")));
extern const char vmc_kvm_guest_end[] __attribute__((visibility("hidden")));

static void put64(char *memory, size_t at, uint64_t value) {
    memcpy(memory + at, &value, sizeof value);
}

static void fill_page_tables(char *memory) {
    put64(memory, PML4, PDPT | PRESENT_WRITE_USER);
    put64(memory, PML4 + 511 * 8, PDPT | PRESENT_WRITE_USER);
    put64(memory, PDPT, PD | PRESENT_WRITE_USER);
    put64(memory, PDPT + 510 * 8, PD | PRESENT_WRITE_USER);
    put64(memory, PD, PT | PRESENT_WRITE_USER);
    for (uint64_t page = 0; page < 256; page++)
        put64(memory, PT + page * 8, page << 12 | PRESENT_WRITE_USER);
    put64(memory, PT + (WINDOW >> 12) * 8, DATA_A | PRESENT_WRITE_USER);
}

static void fill_memory(char *memory) {
    fill_page_tables(memory);
    put64(memory, GDT + 0x08, 0x00af9b000000ffffULL); /* 64-bit code, ring 0 */
    put64(memory, GDT + 0x10, 0x00cf93000000ffffULL); /* data, ring 0 */
    put64(memory, GDT + 0x18, 0x00cff3000000ffffULL); /* data, ring 3 */
    put64(memory, GDT + 0x20, 0x00affb000000ffffULL); /* 64-bit code, ring 3 */
    put64(memory, GDT + 0x28, 0x0000890000000067ULL | (uint64_t)TSS << 16);
    put64(memory, TSS + 4, STACK); /* RSP0 */
    uint64_t handler = HIGH + CODE + (uint64_t)(vmc_kvm_guest_fault - vmc_kvm_guest_begin);
    put64(memory, IDT + 14 * 16, (handler & 0xffff) | 0x08ULL << 16 | 0x8e00ULL << 32 | (handler >> 16 & 0xffff) << 48);
    put64(memory, IDT + 14 * 16 + 8, handler >> 32);
    put64(memory, DATA_A, 0xaaaa);
    put64(memory, DATA_B, 0xbbbb);
    memcpy(memory + CODE, vmc_kvm_guest_begin, (size_t)(vmc_kvm_guest_end - vmc_kvm_guest_begin));
}

/* The CPU as QEMU would offer it. */
static int copy_cpuid(int fd, int vcpu, bool *arch_capabilities) {
    enum { ENTRIES = 256 };
    static _Alignas(
        struct kvm_cpuid2) char space[sizeof(struct kvm_cpuid2) + ENTRIES * sizeof(struct kvm_cpuid_entry2)];
    struct kvm_cpuid2 *cpuid = (struct kvm_cpuid2 *)space;
    cpuid->nent = ENTRIES;
    if (ioctl(fd, KVM_GET_SUPPORTED_CPUID, cpuid) != 0)
        return -1;
    for (uint32_t i = 0; i < cpuid->nent; i++)
        if (cpuid->entries[i].function == 7 && cpuid->entries[i].index == 0)
            *arch_capabilities = cpuid->entries[i].edx >> 29 & 1;
    return ioctl(vcpu, KVM_SET_CPUID2, cpuid);
}

/* What `-cpu host` does with IA32_ARCH_CAPABILITIES, and what QEMU ends over when it fails. */
static bool host_cpu_works(int fd, int vcpu, bool arch_capabilities) {
    if (!arch_capabilities)
        return true;
    _Alignas(struct kvm_msrs) char space[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)] = {0};
    struct kvm_msrs *msrs = (struct kvm_msrs *)space;
    msrs->nmsrs = 1;
    msrs->entries[0].index = 0x10a;
    return ioctl(fd, KVM_GET_MSRS, msrs) == 1 && ioctl(vcpu, KVM_SET_MSRS, msrs) == 1;
}

static struct kvm_segment segment(uint16_t selector, uint8_t type, bool code) {
    return (struct kvm_segment){
        .limit = 0xffffffff, .selector = selector, .type = type, .present = 1, .s = 1, .l = code, .db = !code, .g = 1};
}

static int enter_long_mode(int vcpu) {
    struct kvm_sregs s;
    if (ioctl(vcpu, KVM_GET_SREGS, &s) != 0)
        return -1;
    s.cs = segment(0x08, 11, true);
    s.ds = s.es = s.fs = s.gs = s.ss = segment(0x10, 3, false);
    s.gdt.base = GDT;
    s.gdt.limit = 0x37;
    s.idt.base = HIGH + IDT;
    s.idt.limit = 15 * 16 - 1;
    s.cr3 = PML4;
    s.cr4 = 1 << 5 | 1 << 9 | 1 << 10;                            /* PAE, OSFXSR, OSXMMEXCPT */
    s.cr0 = 0x80000000U | 1 << 16 | 1 << 5 | 1 << 4 | 1 << 1 | 1; /* PG, WP, NE, ET, MP, PE */
    s.efer = 1 << 10 | 1 << 8 | 1;                                /* LMA, LME, SCE */
    if (ioctl(vcpu, KVM_SET_SREGS, &s) != 0)
        return -1;
    struct kvm_regs r = {.rip = CODE, .rsp = STACK, .rflags = 2};
    return ioctl(vcpu, KVM_SET_REGS, &r);
}

static void on_alarm(int number) {
    (void)number;
}

static void run_guest(int vcpu, const struct kvm_run *run, int limit_ms, kvm_outcome *out) {
    struct sigaction action = {.sa_handler = on_alarm}; /* no SA_RESTART: KVM_RUN ends with EINTR */
    sigaction(SIGPROF, &action, NULL);
    struct itimerval timer = {.it_value = {limit_ms / 1000, limit_ms % 1000 * 1000}, .it_interval = {0, 20000}};
    setitimer(ITIMER_PROF, &timer, NULL);
    int rc = ioctl(vcpu, KVM_RUN, 0);
    int saved = errno;
    setitimer(ITIMER_PROF, &(struct itimerval){0}, NULL);
    uint32_t answer = 0;
    if (rc == 0 && run->exit_reason == KVM_EXIT_IO && run->io.port == PORT && run->io.size == sizeof answer)
        memcpy(&answer, (const char *)run + run->io.data_offset, sizeof answer);
    struct kvm_regs r = {0};
    if (ioctl(vcpu, KVM_GET_REGS, &r) == 0)
        out->stage = (int)(r.r15 & 0xff);
    out->runs = answer == DONE;
    if (rc != 0 && saved != EINTR)
        out->setup_error = saved;
}

static int set_up(int fd, int *vm, int *vcpu, struct kvm_run **run, kvm_outcome *out) {
    *vm = ioctl(fd, KVM_CREATE_VM, 0);
    char *memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (*vm < 0 || memory == MAP_FAILED)
        return -1;
    fill_memory(memory);
    /* Intel's virtual real mode needs these pages outside the guest's memory. */
    (void)ioctl(*vm, KVM_SET_TSS_ADDR, 0xfffbd000);
    struct kvm_userspace_memory_region region = {.memory_size = MEMORY, .userspace_addr = (uint64_t)(uintptr_t)memory};
    if (ioctl(*vm, KVM_SET_USER_MEMORY_REGION, &region) != 0)
        return -1;
    *vcpu = ioctl(*vm, KVM_CREATE_VCPU, 0);
    int run_size = ioctl(fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (*vcpu < 0 || run_size < (int)sizeof(struct kvm_run))
        return -1;
    *run = mmap(NULL, (size_t)run_size, PROT_READ | PROT_WRITE, MAP_SHARED, *vcpu, 0);
    bool arch_capabilities = false;
    if (*run == MAP_FAILED || copy_cpuid(fd, *vcpu, &arch_capabilities) != 0)
        return -1;
    out->host_cpu = host_cpu_works(fd, *vcpu, arch_capabilities);
    return enter_long_mode(*vcpu);
}

void kvm_guest_try(int fd, int limit_ms, kvm_outcome *out) {
    int vm = -1, vcpu = -1;
    struct kvm_run *run = NULL;
    if (set_up(fd, &vm, &vcpu, &run, out) != 0)
        out->setup_error = errno;
    else
        run_guest(vcpu, run, limit_ms, out);
    /* The child ends now: its memory, VM and CPU go with it. */
}

#else

/* Elsewhere a VM with a CPU is what can be tried. */
void kvm_guest_try(int fd, int limit_ms, kvm_outcome *out) {
    (void)limit_ms;
    int vm = ioctl(fd, KVM_CREATE_VM, 0);
    int vcpu = vm < 0 ? -1 : ioctl(vm, KVM_CREATE_VCPU, 0);
    out->runs = out->host_cpu = vcpu >= 0;
    if (vcpu < 0)
        out->setup_error = errno;
}

#endif
