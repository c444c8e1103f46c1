/* What a domain's display shows. Source: virDomainScreenshot, which sends a PPM (QEMU) or a PNG (the test driver) through a stream. */
#include "drivers/picture/picture.h"
#include "ops.h"
#include "rpc.h"
#include "xml_tree.h"
#include <stdlib.h>
#include <string.h>

enum { SCREENSHOT_MS = 60000, CHUNK = 1 << 18, MOST = 1 << 28 };

/* How many screens <video> has; libvirt counts heads, over all cards. */
static unsigned screens(const xmlNode *domain) {
    unsigned count = 0;
    LIBVIRT_XML_EACH(video, libvirt_xml_child(domain, "devices"), "video") {
        const xmlNode *model = libvirt_xml_child(video, "model");
        unsigned long long heads = 1;
        if (libvirt_xml_attr_is(model, "type", "none"))
            continue;
        if (!libvirt_xml_number(libvirt_xml_attr(model, "heads"), &heads) || heads < 1)
            heads = 1;
        count += (unsigned)heads;
    }
    return count;
}

int libvirt_screenshot_check(libvirt_conn *conn, const libvirt_vm *vm, unsigned screen, const vmc_deadline *deadline,
                             vmctl_error **err) {
    VMC_AUTO_FREE char *xml = NULL;
    LIBVIRT_AUTO_XML *doc = NULL;
    int code = libvirt_vm_xml(conn, vm, 0, deadline, &xml, err);
    if (code == 0)
        code = libvirt_xml_parse(xml, "the domain's XML", "domain", VMCTL_E_INTERNAL, &doc, NULL, err);
    if (code < 0)
        return code;
    const xmlNode *domain = xmlDocGetRootElement(doc);
    unsigned count = screens(domain);
    if (!libvirt_xml_attr(domain, "id")) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "%s does not run, so it shows no screen", vm->name);
        return vmc_error_next(err, "vmctl start %s", vm->name);
    }
    if (!count) {
        vmc_error(err, VMCTL_E_UNSUPPORTED, "%s has no display", vm->name);
        return vmc_error_next(err,
                              "vmctl set %s display.type=vnc gives it one at its next start; vmctl console and "
                              "vmctl logs show its serial port",
                              vm->name);
    }
    if (screen >= count)
        return vmc_error(err, VMCTL_E_NOT_FOUND, "%s has no screen %u: it has %u, counted from 0", vm->name, screen,
                         count);
    return 0;
}

/* domain and number (the screen) -> bytes and length */
static int work_take(libvirt_rpc *rpc) {
    size_t room = 0;
    rpc->stream = virStreamNew(rpc->virt, 0);
    if (!rpc->stream)
        return -1;
    char *mime = virDomainScreenshot(rpc->domain, rpc->stream, (unsigned)rpc->number, 0);
    if (!mime)
        return -1;
    free(mime);
    for (;;) {
        if (room - rpc->length < CHUNK)
            rpc->bytes = vmc_realloc(rpc->bytes, room = room * 2 + CHUNK, 1);
        int n = virStreamRecv(rpc->stream, rpc->bytes + rpc->length, room - rpc->length);
        if (n == 0)
            return virStreamFinish(rpc->stream);
        if (n < 0 || rpc->length + (size_t)n > MOST) {
            rpc->failure = virSaveLastError();
            virStreamAbort(rpc->stream);
            return -1;
        }
        rpc->length += (size_t)n;
    }
}

int libvirt_screenshot(void *opaque, void *handle, const vmctl_screenshot_options *options, vmctl_bytes_fn each,
                       void *user, vmctl_error **err) {
    libvirt_conn *conn = opaque;
    const libvirt_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(options->call, SCREENSHOT_MS);
    int code = libvirt_screenshot_check(conn, vm, options->screen, &deadline, err);
    if (code < 0)
        return code;
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    virDomainRef(vm->domain);
    rpc->domain = vm->domain;
    rpc->number = options->screen;
    code = libvirt_rpc_run(conn, &deadline, "taking the picture", work_take, rpc, err);
    if (code < 0)
        return code;
    if (picture_is_png(rpc->bytes, rpc->length)) {
        each(rpc->bytes, rpc->length, user);
        return 0;
    }
    picture pixels = {0};
    VMC_AUTO_FREE char *png = NULL;
    size_t length = 0;
    code = picture_read_ppm(rpc->bytes, rpc->length, &pixels, err);
    if (code == 0)
        code = picture_png(&pixels, &png, &length, err);
    if (code == 0)
        each(png, length, user);
    return code;
}
