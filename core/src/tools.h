/* src/tools.h - what core needs of programs and wires without a hypervisor, reached through a table so that core includes no
 * driver. The table lives in the module vmctl-tools.so (or in the static library); backends/registry.c declares it, and tools.c opens it on
 * first use. */
#ifndef VMC_SRC_TOOLS_H
#define VMC_SRC_TOOLS_H

#include "base/deadline.h"
#include <vmctl/guest.h>
#include <vmctl/image.h>

#define VMC_TOOLS_ABI 1u

typedef struct vmc_tools {
    size_t size;
    uint32_t abi;
    int (*image_inspect)(const char *path, const vmctl_call *call, vmctl_image_fn each, void *user, vmctl_error **err);
    int (*image_convert)(const char *source, const char *target, const vmctl_image_convert_options *options,
                         vmctl_error **err);
    /* Into `folder`; *path is malloc'ed. */
    int (*image_fetch)(const char *url, const char *folder, const vmctl_image_pull_options *options, char **path,
                       vmctl_error **err);
    /* Runs argv on user@host:port through the person's ssh client, no terminal; output captured up to 1 MiB. *status: its exit code, 255: ssh itself.
     * known_hosts: the VM's own file of host keys, where a new key is kept and a changed one refused; NULL: the person's file and policy. */
    int (*ssh_run)(const char *host, int port, const char *user, const char *identity, const char *known_hosts,
                   const char *const *argv, const vmctl_call *call, int *status, char **output, vmctl_error **err);
    /* Runs a program (argument vector, no shell) and captures its stdout up to 1 MiB, for passwordCommand. */
    int (*run)(const char *const *argv, const vmctl_call *call, int *status, char **output, vmctl_error **err);
} vmc_tools;

/* VMCTL_E_UNAVAILABLE, naming the package, when the module is missing. */
int vmc_tools_get(const vmc_tools **out, vmctl_error **err);

/* For tests: this table instead; NULL puts the real one back. */
void vmc_tools_replace(const vmc_tools *table);

typedef const vmc_tools *(*vmc_tools_entry_fn)(void); /* exported as vmctl_tools_entry */

#endif
