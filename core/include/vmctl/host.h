/* vmctl/host.h - what is behind an endpoint: the hypervisor, its hosts, storage pools and networks; metrics of all VMs. */
#ifndef VMCTL_HOST_H
#define VMCTL_HOST_H

#include <vmctl/vm.h>

VMCTL_BEGIN_DECLS

/* Valid during the callback. */
typedef struct vmctl_host {
    size_t size;
    const char *name;
    const char *hypervisor;         /* "QEMU" */
    const char *hypervisor_version; /* "7.2.11" */
    const char *api_version;        /* libvirt's, vSphere's, KubeVirt's: "9.0.0" */
    const char *arch;
    const char *cpu_model;
    unsigned cpus;
    uint64_t memory_mib;
    uint64_t memory_free_mib; /* 0 not known */
    const char *accel;        /* what `accel: auto` becomes here: "kvm", "tcg"; NULL where there is no choice */
    const char *accel_reason; /* why: "/dev/kvm cannot be opened by libvirt-qemu"; NULL */
    const char *accel_remedy; /* NULL */
    const char *status;       /* "ready", "maintenance", ...; NULL */
    int64_t vm_count;         /* VMs that run there; -1 not known */
} vmctl_host;

typedef int (*vmctl_host_fn)(const vmctl_host *host, void *user);

/* The endpoint itself: one call of `each`. */
VMCTL_API int vmctl_host_info(vmctl_connection *connection, const vmctl_call *call, vmctl_host_fn each, void *user,
                              vmctl_error **err);
/* The hosts or nodes that it manages; the one host where it manages one. */
VMCTL_API int vmctl_host_list(vmctl_connection *connection, const vmctl_call *call, vmctl_host_fn each, void *user,
                              vmctl_error **err);

typedef struct vmctl_pool {
    size_t size;
    const char *name; /* pool, datastore or storage class */
    const char *type; /* "dir", "logical", "vmfs", the provisioner */
    const char *path; /* NULL */
    bool active;
    int autostart;           /* 1, 0, -1 not known */
    bool is_default;         /* where disks without pool: go */
    uint64_t capacity_bytes; /* 0 not known */
    uint64_t available_bytes;
} vmctl_pool;

typedef int (*vmctl_pool_fn)(const vmctl_pool *pool, void *user);
VMCTL_API int vmctl_pool_list(vmctl_connection *connection, const vmctl_call *call, vmctl_pool_fn each, void *user,
                              vmctl_error **err);

typedef struct vmctl_network {
    size_t size;
    const char *name;
    const char *type;   /* "nat", "bridge", "isolated", "route", "portgroup", "multus" */
    const char *bridge; /* NULL */
    const char *subnet; /* "192.168.122.0/24"; NULL */
    bool active;
    int autostart;
    bool is_default; /* where NICs without source: go */
} vmctl_network;

typedef int (*vmctl_network_fn)(const vmctl_network *network, void *user);
VMCTL_API int vmctl_network_list(vmctl_connection *connection, const vmctl_call *call, vmctl_network_fn each,
                                 void *user, vmctl_error **err);

/* Counters of one VM at one time. Rates are the reader's: two samples and their times. Absent numbers are UINT64_MAX. */
typedef struct vmctl_metrics {
    size_t size;
    const char *name;
    const char *id;
    vmctl_state state;
    int64_t time_ns; /* monotonic, of this process */
    unsigned cpus;
    uint64_t cpu_ns;          /* consumed */
    uint64_t memory_mib;      /* given */
    uint64_t memory_used_mib; /* by the guest's own account */
    uint64_t resident_mib;    /* on the host */
    uint64_t disk_read_bytes, disk_write_bytes;
    uint64_t net_rx_bytes, net_tx_bytes;
} vmctl_metrics;

typedef int (*vmctl_metrics_fn)(const vmctl_metrics *metrics, void *user);

typedef struct vmctl_metrics_options {
    size_t size;
    const vmctl_call *call;
    bool inactive; /* also of VMs that do not run, which have hardly any numbers; may cost one more round trip */
} vmctl_metrics_options;

#define VMCTL_METRICS_OPTIONS_INIT                                                                                     \
    { sizeof(vmctl_metrics_options), NULL, false }

/* All VMs that run (or are paused), in one round trip where the hypervisor can. */
VMCTL_API int vmctl_metrics_list(vmctl_connection *connection, const vmctl_metrics_options *options,
                                 vmctl_metrics_fn each, void *user, vmctl_error **err);

VMCTL_END_DECLS

#endif
