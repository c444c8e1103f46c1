/* vmctl/caps.h - what each platform can do, what vmctl does with it, and what is possible here: three separate answers. */
#ifndef VMCTL_CAPS_H
#define VMCTL_CAPS_H

#include <vmctl/vm.h>

VMCTL_BEGIN_DECLS

typedef enum vmctl_level {
    VMCTL_LEVEL_UNKNOWN = 0,
    VMCTL_LEVEL_NO = 1,
    VMCTL_LEVEL_MANUAL = 2,  /* possible, with steps outside of vmctl */
    VMCTL_LEVEL_LIMITED = 3, /* the reason says how */
    VMCTL_LEVEL_YES = 4
} vmctl_level;

VMCTL_API const char *vmctl_level_name(vmctl_level level); /* "yes", "limited", "manual", "no", "unknown" */

/* How it is known that vmctl does what it says. */
typedef enum vmctl_proof {
    VMCTL_PROOF_NONE = 0,
    VMCTL_PROOF_SPECIFICATION = 1, /* built from the specification only */
    VMCTL_PROOF_RECORDED = 2,      /* an exchange with the real one, replayed */
    VMCTL_PROOF_SIMULATOR = 3,
    VMCTL_PROOF_REAL = 4 /* a contract test on the real hypervisor */
} vmctl_proof;

VMCTL_API const char *vmctl_proof_name(vmctl_proof proof); /* "real", ...; NULL for NONE */

/* One feature of one backend. Strings are NULL where there is no answer. Valid during the callback. */
typedef struct vmctl_cap {
    size_t size;
    const char *feature; /* "snapshot.memory": dotted and stable */
    const char *title;
    const char *backend;
    /* what the platform is documented to do */
    vmctl_level platform;
    const char *platform_text;
    const char *platform_source;
    const char *platform_correction; /* where a measured fact disagrees with the documentation */
    /* what vmctl does with it, from the backend's descriptor */
    vmctl_level vmctl;
    const char *vmctl_reason;
    vmctl_proof proof; /* of that */
    /* what a probe of the endpoint or VM found; UNKNOWN without one */
    bool probed;
    vmctl_level here;
    const char *here_reason;
    const char *here_remedy;
} vmctl_cap;

typedef int (*vmctl_cap_fn)(const vmctl_cap *cap, void *user);

typedef struct vmctl_caps_options {
    size_t size;
    const vmctl_call *call;
    const char *backend;          /* only this one (name or alias); NULL: all that this build has */
    vmctl_connection *connection; /* probe this endpoint too; NULL: no hypervisor is asked */
    vmctl_vm *vm;                 /* probe for this VM; NULL */
    const char *feature;          /* only this one; NULL: all */
} vmctl_caps_options;

#define VMCTL_CAPS_OPTIONS_INIT                                                                                        \
    { sizeof(vmctl_caps_options), NULL, NULL, NULL, NULL, NULL }

/* Features in the order of their list, for each the backends. Without a connection or VM nothing is loaded or asked. */
VMCTL_API int vmctl_caps(const vmctl_caps_options *options, vmctl_cap_fn each, void *user, vmctl_error **err);

/* The backends of this build: names and titles ("libvirt", "QEMU/KVM (libvirt)"); NULL beyond the last. Constant. */
VMCTL_API const char *vmctl_backend_name(size_t index);
VMCTL_API const char *vmctl_backend_title(size_t index);

VMCTL_END_DECLS

#endif
