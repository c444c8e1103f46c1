/* Where a viewer finds the screen: <graphics> of the running domain. Source: formatdomain.html, "Graphical framebuffers". */
#include "ops.h"
#include "xml_tree.h"
#include <stdlib.h>
#include <string.h>

enum { DISPLAY_MS = 30000 };

/* As a viewer here would dial it: "any address" is the host's own name, or this machine. */
static char *dialled(const libvirt_conn *conn, const char *listen) {
    bool any = !listen || !*listen || !strcmp(listen, "0.0.0.0") || !strcmp(listen, "::");
    if (!any)
        return vmc_strdup(listen);
    if (!conn->local && conn->host)
        return vmc_strdup(conn->host);
    return vmc_strdup(listen && !strcmp(listen, "::") ? "::1" : "127.0.0.1");
}

/* libvirt writes port -1 and 0 where none is given out. */
static int port_of(const char *text) {
    unsigned long long number = 0;
    return libvirt_xml_number(text, &number) && number > 0 && number < 65536 ? (int)number : -1;
}

static int tell(const libvirt_conn *conn, const xmlNode *graphics, vmctl_display_fn each, void *user) {
    const char *type = libvirt_xml_attr(graphics, "type");
    int port = port_of(libvirt_xml_attr(graphics, "port"));
    if (port < 0)
        port = port_of(libvirt_xml_attr(graphics, "tlsPort"));
    const xmlNode *listen = libvirt_xml_child(graphics, "listen");
    const char *socket = libvirt_xml_attr(graphics, "socket");
    if (!socket && libvirt_xml_attr_is(listen, "type", "socket"))
        socket = libvirt_xml_attr(listen, "socket");
    if (port < 0 && !socket)
        return 0;
    const char *bound = listen ? libvirt_xml_attr(listen, "address") : NULL;
    VMC_AUTO_FREE char *address = dialled(conn, bound ? bound : libvirt_xml_attr(graphics, "listen"));
    bool v6 = strchr(address, ':') != NULL;
    VMC_AUTO_FREE char *uri = port > 0 ? vmc_printf(v6 ? "%s://[%s]:%d" : "%s://%s:%d", type, address, port)
                                       : vmc_printf("%s+unix://%s", type, socket);
    const vmctl_display display = {.size = sizeof display,
                                   .type = type,
                                   .address = port > 0 ? address : NULL,
                                   .port = port,
                                   .socket = socket,
                                   .uri = uri};
    return each(&display, user);
}

int libvirt_display_check(const xmlNode *domain, const char *name, vmctl_error **err) {
    if (libvirt_xml_attr(domain, "id"))
        return 0;
    vmc_error(err, VMCTL_E_INVALID_STATE, "%s does not run, so it shows no screen", name);
    return vmc_error_next(err, "vmctl start %s", name);
}

int libvirt_display_list(void *opaque, void *handle, const vmctl_call *call, vmctl_display_fn each, void *user,
                         vmctl_error **err) {
    libvirt_conn *conn = opaque;
    libvirt_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(call, DISPLAY_MS);
    VMC_AUTO_FREE char *xml = NULL;
    int code = libvirt_vm_xml(conn, vm, 0, &deadline, &xml, err);
    if (code < 0)
        return code;
    LIBVIRT_AUTO_XML *doc = NULL;
    code = libvirt_xml_parse(xml, "the domain's XML", "domain", VMCTL_E_INTERNAL, &doc, NULL, err);
    if (code < 0)
        return code;
    const xmlNode *domain = xmlDocGetRootElement(doc);
    code = libvirt_display_check(domain, vm->name, err);
    if (code < 0)
        return code;
    LIBVIRT_XML_EACH(graphics, libvirt_xml_child(domain, "devices"), "graphics")
    if (tell(conn, graphics, each, user))
        break;
    return 0;
}
