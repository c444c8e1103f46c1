/* What a host lacks for a VM. Source: libvirt's formatcaps.html. */
#include "host_check.h"

#include "rpc.h"
#include <dirent.h>

/* out: the host's capabilities */
static int work_capabilities(libvirt_rpc *rpc) {
    rpc->out = virConnectGetCapabilities(rpc->virt);
    return rpc->out ? 0 : -1;
}

int libvirt_host_capabilities(libvirt_conn *conn, const vmc_deadline *deadline, xmlDoc **doc, vmctl_error **err) {
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    int code = libvirt_rpc_run(conn, deadline, "asking what the host is", work_capabilities, rpc, err);
    return code < 0 ? code
                    : libvirt_xml_parse(rpc->out, "libvirt's capabilities", "capabilities", VMCTL_E_INTERNAL, doc, NULL,
                                        err);
}

int libvirt_hugepages_check(const xmlNode *capabilities, vmctl_error **err) {
    LIBVIRT_XML_EACH(cell, libvirt_xml_find(capabilities, "host/topology/cells"), "cell") {
        LIBVIRT_XML_EACH(pages, cell, "pages") {
            unsigned long long size = 0, count = 0;
            VMC_AUTO_FREE char *text = libvirt_xml_content(pages);
            if (libvirt_xml_number(libvirt_xml_attr(pages, "size"), &size) && size > 4 &&
                libvirt_xml_number(text, &count) && count > 0)
                return 0;
        }
    }
    vmc_error(err, VMCTL_E_UNSUPPORTED, "the host has no huge pages reserved");
    return vmc_error_next(err, "sysctl vm.nr_hugepages=N there, N pages of 2 MiB");
}

int libvirt_render_check(const libvirt_conn *conn, vmctl_error **err) {
    DIR *dir = conn->local ? opendir("/dev/dri") : NULL;
    bool found = !conn->local;
    for (struct dirent *entry; dir && !found && (entry = readdir(dir));)
        found = vmc_starts_with(entry->d_name, "renderD");
    if (dir)
        closedir(dir);
    if (found)
        return 0;
    vmc_error(err, VMCTL_E_UNSUPPORTED, "the host has no render node (/dev/dri/renderD*)");
    return vmc_error_next(err, "a GPU with a driver of the host is needed; display.gl: false does without");
}

int libvirt_host_check(libvirt_conn *conn, const vmctl_node *root, const vmc_deadline *deadline, vmctl_error **err) {
    int code = 0;
    if (vmctl_node_boolean(root, "memory.hugepages", false)) {
        LIBVIRT_AUTO_XML *doc = NULL;
        code = libvirt_host_capabilities(conn, deadline, &doc, err);
        if (code == 0)
            code = libvirt_hugepages_check(xmlDocGetRootElement(doc), err);
    }
    if (code == 0 && vmctl_node_boolean(root, "display.gl", false))
        code = libvirt_render_check(conn, err);
    return code;
}
