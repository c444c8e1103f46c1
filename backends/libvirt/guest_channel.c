#include "guest_channel.h"

#include "base/random.h"
#include "rpc.h"
#include "xml_tree.h"
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 256 * 1024, STALL_MS = 30000, CLOSE_MS = 15000, HANG_UP_MS = 5000 };

struct libvirt_guest_channel {
    libvirt_conn *conn, *own;
    char uuid[VIR_UUID_STRING_BUFLEN];
    char name[48];
    vmc_journal *journal;
    size_t mark;
    libvirt_rpc *rpc; /* of the stream, on the own connection */
    bool plugged;
};

/* domain, text (XML) */
static int work_plug(libvirt_rpc *rpc) {
    return virDomainAttachDeviceFlags(rpc->domain, rpc->text, VIR_DOMAIN_AFFECT_LIVE);
}

static char *channel_xml(const char *xml, const char *name) {
    LIBVIRT_AUTO_XML *doc = NULL;
    if (libvirt_xml_parse(xml, "the domain's XML", "domain", VMCTL_E_INTERNAL, &doc, NULL, NULL) < 0)
        return NULL;
    LIBVIRT_XML_EACH(channel, libvirt_xml_child(xmlDocGetRootElement(doc), "devices"), "channel") {
        if (libvirt_xml_attr_is(libvirt_xml_child(channel, "target"), "name", name))
            return libvirt_xml_node_text(doc, channel);
    }
    return NULL;
}

/* name (UUID), text (the port's name): libvirt wants the whole element, with its address, to take it away */
static int work_unplug(libvirt_rpc *rpc) {
    rpc->domain = virDomainLookupByUUIDString(rpc->virt, rpc->name);
    if (!rpc->domain)
        return libvirt_rpc_absent(rpc, VIR_ERR_NO_DOMAIN);
    if (virDomainIsActive(rpc->domain) == 0)
        return 0;
    char *xml = virDomainGetXMLDesc(rpc->domain, 0);
    char *element = xml ? channel_xml(xml, rpc->text) : NULL;
    int code = xml ? 0 : -1;
    if (element)
        code = virDomainDetachDeviceFlags(rpc->domain, element, VIR_DOMAIN_AFFECT_LIVE);
    if (code < 0 &&
        (virGetLastErrorCode() == VIR_ERR_DEVICE_MISSING || virGetLastErrorCode() == VIR_ERR_OPERATION_INVALID))
        code = 0; /* it went, or the domain stopped, in this moment */
    free(element);
    free(xml);
    return code;
}

/* name (UUID), text (the port's name) -> stream */
static int work_open(libvirt_rpc *rpc) {
    rpc->domain = virDomainLookupByUUIDString(rpc->virt, rpc->name);
    rpc->stream = rpc->domain ? virStreamNew(rpc->virt, 0) : NULL;
    rpc->streaming = rpc->stream && virDomainOpenChannel(rpc->domain, rpc->text, rpc->stream, 0) == 0;
    return rpc->streaming ? 0 : -1;
}

/* bytes and length */
static int work_send(libvirt_rpc *rpc) {
    for (size_t done = 0; done < rpc->length;) {
        int n = virStreamSend(rpc->stream, rpc->bytes + done, rpc->length - done);
        if (n < 0)
            return -1;
        done += (size_t)n;
    }
    return 0;
}

/* -> bytes, length */
static int work_receive(libvirt_rpc *rpc) {
    int n = virStreamRecv(rpc->stream, rpc->bytes, CHUNK);
    rpc->length = n < 0 ? 0 : (size_t)n;
    return n < 0 ? -1 : 0;
}

static int plug(libvirt_guest_channel *c, const libvirt_vm *vm, const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_FREE char *detail = vmc_printf("%s %s", c->uuid, c->name);
    int code = vmc_journal_add(c->journal, "channel", detail, &c->mark, err);
    if (code < 0)
        return code;
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(c->conn);
    rpc->domain = vm->domain;
    virDomainRef(vm->domain);
    rpc->text = vmc_printf("<channel type='unix'><target type='virtio' name='%s'/></channel>", c->name);
    c->plugged = true;
    return libvirt_rpc_run(c->conn, deadline, "plugging a serial port for the copy", work_plug, rpc, err);
}

int libvirt_guest_channel_open(libvirt_conn *conn, const libvirt_vm *vm, vmc_journal *journal,
                               const vmc_deadline *deadline, libvirt_guest_channel **out, vmctl_error **err) {
    libvirt_guest_channel *c = vmc_alloc(sizeof *c);
    c->conn = conn;
    c->journal = journal;
    memcpy(c->uuid, vm->uuid, sizeof c->uuid);
    (void)snprintf(c->name, sizeof c->name, "org.vmctl.copy.%08x", (unsigned)vmc_random());
    int code = plug(c, vm, deadline, err);
    if (code == 0)
        code = libvirt_conn_sibling(conn, false, deadline, &c->own, err);
    if (code == 0) {
        c->rpc = libvirt_rpc_new(c->own);
        c->rpc->name = vmc_strdup(c->uuid);
        c->rpc->text = vmc_strdup(c->name);
        c->rpc->bytes = vmc_alloc(CHUNK);
        code = libvirt_rpc_run(c->own, deadline, "opening the serial port of the copy", work_open, c->rpc, err);
    }
    if (code < 0) {
        libvirt_guest_channel_close(c, NULL);
        return code;
    }
    *out = c;
    return 0;
}

const char *libvirt_guest_channel_name(const libvirt_guest_channel *channel) {
    return channel->name;
}

/* A stalled call is abandoned with its connection and its arguments. */
static int run(libvirt_guest_channel *c, const char *doing, int (*work)(libvirt_rpc *), const vmc_deadline *deadline,
               vmctl_error **err) {
    vmc_deadline one = vmc_deadline_within(deadline, STALL_MS);
    return libvirt_rpc_run(c->own, &one, doing, work, c->rpc, err);
}

int libvirt_guest_channel_send(libvirt_guest_channel *channel, const void *bytes, size_t length,
                               const vmc_deadline *deadline, vmctl_error **err) {
    const char *from = bytes;
    int code = 0;
    for (size_t done = 0; code == 0 && done < length; done += channel->rpc->length) {
        channel->rpc->length = length - done < CHUNK ? length - done : CHUNK;
        memcpy(channel->rpc->bytes, from + done, channel->rpc->length);
        code = run(channel, "sending to the guest", work_send, deadline, err);
        if (code < 0)
            break;
    }
    return code;
}

int libvirt_guest_channel_receive(libvirt_guest_channel *channel, const vmc_deadline *deadline, const char **bytes,
                                  size_t *length, vmctl_error **err) {
    int code = run(channel, "receiving from the guest", work_receive, deadline, err);
    *bytes = channel->rpc->bytes;
    *length = code == 0 ? channel->rpc->length : 0;
    return code;
}

void libvirt_guest_channel_hang_up(libvirt_guest_channel *channel) {
    vmctl_call plain = VMCTL_CALL_INIT;
    vmc_deadline deadline = vmc_deadline_start(&plain, HANG_UP_MS);
    if (channel->rpc)
        libvirt_rpc_run(channel->own, &deadline, "ending the copy's stream", libvirt_rpc_stream_finish, channel->rpc,
                        NULL);
    libvirt_rpc_free(&channel->rpc);
    if (channel->own)
        libvirt_conn_free(channel->own);
    channel->own = NULL;
}

static int unplug(libvirt_conn *conn, const char *uuid, const char *name, const vmc_deadline *deadline,
                  vmctl_error **err) {
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    rpc->name = vmc_strdup(uuid);
    rpc->text = vmc_strdup(name);
    return libvirt_rpc_run(conn, deadline, "unplugging the serial port of the copy", work_unplug, rpc, err);
}

int libvirt_guest_channel_close(libvirt_guest_channel *channel, vmctl_error **err) {
    if (!channel)
        return 0;
    vmctl_call plain = VMCTL_CALL_INIT;
    vmc_deadline deadline = vmc_deadline_start(&plain, CLOSE_MS);
    libvirt_guest_channel_hang_up(channel);
    int code = 0;
    if (channel->plugged) {
        code = libvirt_conn_renew(channel->conn, &deadline, err);
        if (code == 0)
            code = unplug(channel->conn, channel->uuid, channel->name, &deadline, err);
        if (code == 0)
            vmc_journal_drop(channel->journal, channel->mark, NULL);
    }
    free(channel);
    return code;
}

int libvirt_guest_channel_undo(libvirt_conn *conn, const char *detail, const vmc_deadline *deadline,
                               vmctl_error **err) {
    const char *space = strchr(detail, ' ');
    if (!space)
        return vmc_error(err, VMCTL_E_INTERNAL, "the journal's entry \"channel %s\" cannot be read", detail);
    VMC_AUTO_FREE char *uuid = vmc_strndup(detail, (size_t)(space - detail));
    return unplug(conn, uuid, space + 1, deadline, err);
}
