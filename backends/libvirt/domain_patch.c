/* backends/libvirt/domain_patch.c - libvirt.xmlPatch: an incomplete <domain> laid over the document.
 *
 * An element of the patch meets the element of the same name in the same place (of devices: the one with the same alias, target, MAC
 * address, or type and index; without such a mark it is a new device). Its attributes replace those there, its
 * children are laid over in turn, its text replaces the text. What meets nothing is added. QEMU's own arguments are always added.
 * Laid over twice, a patch changes nothing more, except that devices without a mark are added again.
 */
#include "domain_model.h"
#include <string.h>

/* What tells devices of one kind apart. */
static const char *const marks[][2] = {
    {"alias", "name"}, {"target", "dev"}, {"target", "dir"}, {"target", "name"}, {"mac", "address"}};

static bool same_mark(const xmlNode *a, const xmlNode *b, const char *path, const char *attr, bool *marked) {
    const char *value = libvirt_xml_attr_at(b, path, attr);
    if (!value)
        return false;
    *marked = true;
    return vmc_str_eq(libvirt_xml_attr_at(a, path, attr), value);
}

static bool same_device(const xmlNode *have, const xmlNode *patch) {
    bool marked = false;
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        if (same_mark(have, patch, marks[i][0], marks[i][1], &marked))
            return true;
    }
    const char *type = libvirt_xml_attr(patch, "type"), *index = libvirt_xml_attr(patch, "index");
    if (index)
        return vmc_str_eq(libvirt_xml_attr(have, "type"), type) && vmc_str_eq(libvirt_xml_attr(have, "index"), index);
    return false;
}

/* Devices of which a VM has one: they are met without a mark. */
static bool is_single(const char *name) {
    static const char *const names[] = {"emulator", "memballoon", "tpm",   "vsock", "iommu",
                                        "rng",      "watchdog",   "panic", "video", "graphics"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], name) == 0)
            return true;
    }
    return false;
}

static xmlNode *counterpart(const xmlNode *parent, const xmlNode *patch) {
    const char *name = (const char *)patch->name;
    if (libvirt_xml_is(parent, "devices") && !is_single(name)) {
        LIBVIRT_XML_EACH(device, parent, name) {
            if (same_device(device, patch))
                return device;
        }
        return NULL;
    }
    static const char *const keys[] = {"name", "capability", "policy"};
    LIBVIRT_XML_EACH(node, parent, name) {
        bool same = true;
        for (size_t i = 0; i < 2; i++) {
            const char *wanted = libvirt_xml_attr(patch, keys[i]);
            same = same && (!wanted || libvirt_xml_attr_is(node, keys[i], wanted));
        }
        if (libvirt_xml_is(patch, "cell") || libvirt_xml_is(patch, "vcpupin"))
            same = vmc_str_eq(libvirt_xml_attr(node, "id"), libvirt_xml_attr(patch, "id")) &&
                   vmc_str_eq(libvirt_xml_attr(node, "vcpu"), libvirt_xml_attr(patch, "vcpu"));
        if (same)
            return node;
    }
    return NULL;
}

static bool has_argument(const xmlNode *line, const xmlNode *argument) {
    LIBVIRT_XML_EACH(arg, line, (const char *)argument->name) {
        if (vmc_str_eq(libvirt_xml_attr(arg, "value"), libvirt_xml_attr(argument, "value")) &&
            vmc_str_eq(libvirt_xml_attr(arg, "name"), libvirt_xml_attr(argument, "name")))
            return true;
    }
    return false;
}

/* Arguments come in rows whose order counts, so the row is added as it stands unless all of it is there. */
static bool has_arguments(const xmlNode *line, const xmlNode *patch) {
    LIBVIRT_XML_EACH(argument, patch, NULL) {
        if (!has_argument(line, argument))
            return false;
    }
    return true;
}

static void add_copy(xmlNode *parent, xmlNode *patch) {
    xmlNode *holder = libvirt_xml_add(parent, "x", NULL); /* gives the copy its place */
    xmlNode *copy = xmlDocCopyNode(patch, parent->doc, 1);
    xmlReplaceNode(holder, copy);
    xmlFreeNode(holder);
    xmlReconciliateNs(parent->doc, copy);
}

static void lay_over(xmlNode *have, xmlNode *patch) {
    for (const xmlAttr *attr = patch->properties; attr; attr = attr->next)
        libvirt_xml_set(have, (const char *)attr->name, libvirt_xml_attr(patch, (const char *)attr->name));
    if (!libvirt_xml_child(patch, NULL)) {
        VMC_AUTO_FREE char *text = libvirt_xml_content(patch);
        if (*text)
            libvirt_xml_set_text(have, text);
        return;
    }
    bool arguments = libvirt_xml_is(patch, "commandline");
    if (arguments && has_arguments(have, patch))
        return;
    LIBVIRT_XML_EACH(child, patch, NULL) {
        xmlNode *twin = arguments ? NULL : counterpart(have, child);
        if (twin)
            lay_over(twin, child);
        else
            add_copy(have, child);
    }
}

int libvirt_patch(libvirt_build *build, const char *patch, vmctl_error **err) {
    LIBVIRT_AUTO_XML *doc = NULL;
    unsigned line = 0;
    const char *key = "libvirt.xmlPatch";
    vmctl_error *why = NULL;
    if (libvirt_xml_parse(patch, "the patch", "domain", VMCTL_E_INVALID_SPEC, &doc, &line, &why) < 0) {
        int code = libvirt_refuse_key(build, key, VMCTL_E_INVALID_SPEC, err, "%s", vmctl_error_message(why));
        vmctl_error_free(why);
        return code;
    }
    xmlNode *root = xmlDocGetRootElement(doc);
    static const char *const identity[] = {"name", "uuid"};
    for (size_t i = 0; i < 2; i++) {
        const xmlNode *node = libvirt_xml_child(root, identity[i]);
        if (node)
            return libvirt_refuse_key(build, key, VMCTL_E_INVALID_SPEC, err,
                                      "line %ld of the patch: the VM's %s is not the patch's to set",
                                      xmlGetLineNo(node), identity[i]);
    }
    lay_over(build->domain, root);
    build->devices = libvirt_xml_ensure(build->domain, "devices");
    return 0;
}
