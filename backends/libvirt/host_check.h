/* backends/libvirt/host_check.h - what a host lacks for a VM, known before one is made. These only look: libvirt_plan_vm calls them first, and
 * `vmctl caps` says the same words. */
#ifndef VMC_LIBVIRT_HOST_CHECK_H
#define VMC_LIBVIRT_HOST_CHECK_H

#include "conn.h"
#include "xml_tree.h"
#include <vmctl/spec.h>

/* The host's capabilities (virConnectGetCapabilities). *doc: libvirt_xml_free. */
int libvirt_host_capabilities(libvirt_conn *conn, const vmc_deadline *deadline, xmlDoc **doc, vmctl_error **err);

/* Huge pages reserved, of any size; capabilities: <capabilities>. UNSUPPORTED. */
int libvirt_hugepages_check(const xmlNode *capabilities, vmctl_error **err);
/* A render node for display.gl, on this machine: of another host 0, as it cannot be seen from here. UNSUPPORTED. */
int libvirt_render_check(const libvirt_conn *conn, vmctl_error **err);

/* All that the spec asks of its host. */
int libvirt_host_check(libvirt_conn *conn, const vmctl_node *root, const vmc_deadline *deadline, vmctl_error **err);

#endif
