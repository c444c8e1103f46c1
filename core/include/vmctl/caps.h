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

/* --- features --------------------------------------------------------------------------------------------------- */

/* Constant, also its strings. */
typedef struct vmctl_feature {
    size_t size;
    const char *id; /* "snapshot.memory": dotted and stable */
    const char *title;
    const char *group;     /* "Snapshots" */
    const char *sentence;  /* what it is */
    const char *operation; /* the slot of the backend table that does it: "snapshot_create"; NULL */
    const char *key;       /* the key of vm.yaml that asks for it: "disks[].bus"; NULL */
    const char *value;     /* the value of that key: "nvme"; NULL: any */
    const char *row;       /* the row of the comparison that it belongs to: "Snapshots"; NULL */
} vmctl_feature;

/* In the order of `vmctl caps`. false: beyond the last; *out then stays as it was. Set out->size before. */
VMCTL_API bool vmctl_feature_at(size_t index, vmctl_feature *out);
/* INVALID_ARGUMENT, with the nearest id, when there is none. */
VMCTL_API int vmctl_feature_find(const char *id, vmctl_feature *out, vmctl_error **err);

/* --- the three answers ------------------------------------------------------------------------------------------- */

/* One feature on one backend. Strings are NULL where there is no answer. Those of `here` are valid during the callback, all others are
 * constant. */
typedef struct vmctl_cap {
    size_t size;
    const char *feature;
    const char *title;
    const char *backend; /* "libvirt"; also of the platforms that this build has no backend for */
    /* What the platform is documented to do. Where a fact disagrees with the comparison, the cell stands as it is and the correction
     * beside it. */
    const char *platform_name; /* "QEMU/KVM" */
    vmctl_level platform;      /* UNKNOWN: neither the comparison nor our own table says */
    const char *platform_text; /* the cell, or what the platform has for it */
    const char *platform_source;
    vmctl_level corrected;           /* UNKNOWN: no correction */
    const char *platform_correction; /* what is true instead */
    const char *platform_evidence;   /* of the correction */
    /* What vmctl does with it, from the backend's descriptor. */
    vmctl_level vmctl;
    const char *vmctl_reason;
    vmctl_proof proof;         /* of that */
    const char *proof_against; /* what it was shown on: "libvirt 9.0, QEMU 7.2"; NULL */
    /* What a probe of the endpoint or VM found. UNKNOWN without one, or with the reason why it could not be found out. */
    bool probed;
    vmctl_level here;
    const char *here_reason;
    const char *here_remedy;
} vmctl_cap;

/* The platform's level with the correction, where there is one. */
VMCTL_API vmctl_level vmctl_cap_platform(const vmctl_cap *cap);
/* Whether vmctl does it (yes or limited) and, where it was probed, it is not impossible here. */
VMCTL_API bool vmctl_cap_met(const vmctl_cap *cap);
/* The three answers as sentences. vmctl_string_free. */
VMCTL_API char *vmctl_cap_explain(const vmctl_cap *cap);

typedef int (*vmctl_cap_fn)(const vmctl_cap *cap, void *user);

typedef struct vmctl_caps_options {
    size_t size;
    const vmctl_call *call;
    const char *backend;          /* only this one (name, alias or platform); NULL: all */
    vmctl_connection *connection; /* probe this endpoint too; NULL: no hypervisor is asked */
    vmctl_vm *vm;                 /* probe for this VM; NULL */
    const char *feature;          /* only this one; NULL: all */
    const char *unreachable;      /* why there is no connection to probe: `here` is unknown for this reason; NULL */
} vmctl_caps_options;

#define VMCTL_CAPS_OPTIONS_INIT                                                                                        \
    { sizeof(vmctl_caps_options), NULL, NULL, NULL, NULL, NULL, NULL }

/* Features in the order of their list, for each the backends: the four of the comparison, also those that this build does not have.
 * Without a connection or VM nothing is loaded or asked. A feature that cannot be probed is `here` unknown with the reason, no failure. */
VMCTL_API int vmctl_caps(const vmctl_caps_options *options, vmctl_cap_fn each, void *user, vmctl_error **err);

/* Whether one backend has all of these features (NULL-terminated): 0, and *backend (may be NULL) is its constant name. options->backend
 * NULL: the first backend of this build that has all. UNSUPPORTED when none has, after each feature that one lacks was told to
 * `missing` (may be NULL). INVALID_ARGUMENT for an id that does not exist. With a connection or VM, what is not possible here is
 * missing; UNAVAILABLE where that could not be found out. */
VMCTL_API int vmctl_caps_require(const vmctl_caps_options *options, const char *const *features, const char **backend,
                                 vmctl_cap_fn missing, void *user, vmctl_error **err);

/* The backends of this build: names and titles ("libvirt", "QEMU/KVM (libvirt)"); NULL beyond the last. Constant. */
VMCTL_API const char *vmctl_backend_name(size_t index);
VMCTL_API const char *vmctl_backend_title(size_t index);
/* The backend that a name, an alias or a platform means ("kvm", "VMware ESXi"), in this build or not; NULL: none. Constant. */
VMCTL_API const char *vmctl_backend_resolve(const char *name);
/* The four platforms of the comparison, and the backend of each, in this build or not; NULL beyond the last. Constant. */
VMCTL_API const char *vmctl_platform_name(size_t index);
VMCTL_API const char *vmctl_platform_backend(size_t index);

VMCTL_END_DECLS

#endif
