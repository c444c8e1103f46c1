/* A copy of a VM's settings for another VirtualBox. */
#include "settings_move.h"

#include "base/error.h"
#include "base/file.h"
#include "files.h"
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <stdlib.h>
#include <string.h>

enum { XML_FLAGS = XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING };

static bool is(const xmlNode *node, const char *name) {
    return node->type == XML_ELEMENT_NODE && strcmp((const char *)node->name, name) == 0;
}

static xmlNode *child_of(xmlNode *node, const char *name) {
    xmlNode *child = node ? node->children : NULL;
    while (child && !is(child, name))
        child = child->next;
    return child;
}

static void set(xmlNode *node, const char *name, const char *value) {
    xmlSetProp(node, (const xmlChar *)name, (const xmlChar *)value);
}

/* Hard disks stand on each other as elements in elements. */
static void place_media(const vboxmanage_move *move, const char *folder, xmlNode *list, const char *element) {
    for (xmlNode *node = list ? list->children : NULL; node; node = node->next) {
        if (!is(node, element))
            continue;
        xmlChar *location = xmlGetProp(node, (const xmlChar *)"location");
        VMC_AUTO_FREE char *whole = vmc_path_absolute(folder, location ? (const char *)location : "");
        VMC_AUTO_FREE char *there = move->place ? move->place(whole, move->user) : NULL;
        set(node, "location", there ? there : whole);
        xmlFree(location);
        place_media(move, folder, node, element);
    }
}

static void set_extra(xmlNode *machine, const char *key, const char *value) {
    xmlNode *list = child_of(machine, "ExtraData");
    if (!list) {
        list = xmlNewNode(machine->ns, (const xmlChar *)"ExtraData");
        xmlNode *hardware = child_of(machine, "Hardware");
        if (hardware)
            xmlAddPrevSibling(hardware, list);
        else
            xmlAddChild(machine, list);
    }
    xmlNode *item = list->children;
    for (; item; item = item->next) {
        xmlChar *name = is(item, "ExtraDataItem") ? xmlGetProp(item, (const xmlChar *)"name") : NULL;
        bool same = name && strcmp((const char *)name, key) == 0;
        xmlFree(name);
        if (same)
            break;
    }
    if (!item) {
        item = xmlNewChild(list, machine->ns, (const xmlChar *)"ExtraDataItem", NULL);
        set(item, "name", key);
    }
    set(item, "value", value);
}

static void edit(const vboxmanage_move *move, xmlNode *machine) {
    VMC_AUTO_FREE char *folder = vmc_path_dirname(move->from);
    xmlNode *registry = child_of(machine, "MediaRegistry");
    place_media(move, folder, child_of(registry, "HardDisks"), "HardDisk");
    place_media(move, folder, child_of(registry, "DVDImages"), "Image");
    place_media(move, folder, child_of(registry, "FloppyImages"), "Image");
    xmlUnsetProp(machine, (const xmlChar *)"stateFile");
    xmlUnsetProp(machine, (const xmlChar *)"aborted");
    xmlNode *port = child_of(child_of(child_of(machine, "Hardware"), "UART"), "Port");
    if (move->serial_path && port)
        set(port, "path", move->serial_path);
    for (size_t i = 0; move->extra && move->extra[i]; i += 2)
        set_extra(machine, move->extra[i], move->extra[i + 1]);
}

int vboxmanage_settings_move(const vboxmanage_move *move, vmctl_error **err) {
    vboxmanage_machine *known = NULL; /* checks the version */
    VMC_AUTO_FREE char *text = NULL;
    size_t text_length = 0;
    int code = vboxmanage_settings_text(move->source, move->from, move->deadline, &text, &text_length, err);
    if (code == 0)
        code = vboxmanage_machine_parse(move->source, move->from, text, text_length, &known, err);
    if (code == 0 && known->snapshot_count)
        code = vmc_error(err, VMCTL_E_UNSUPPORTED, "%s has snapshots", known->name);
    vboxmanage_machine_free(known);
    if (code == 0 && vboxmanage_file_exists(move->target, move->to, move->deadline))
        code = vmc_error(err, VMCTL_E_ALREADY_EXISTS, "%s is there already", move->to);
    if (code < 0)
        return code;
    xmlDoc *doc = xmlReadMemory(text, (int)text_length, move->from, NULL, XML_FLAGS);
    xmlNode *machine = doc ? child_of(xmlDocGetRootElement(doc), "Machine") : NULL;
    xmlChar *bytes = NULL;
    int length = 0;
    if (machine) {
        edit(move, machine);
        xmlDocDumpMemory(doc, &bytes, &length);
    }
    code = bytes ? vboxmanage_file_write(move->target, move->to, bytes, (size_t)length, move->deadline, err)
                 : vmc_error(err, VMCTL_E_INTERNAL, "%s cannot be read", move->from);
    xmlFree(bytes);
    xmlFreeDoc(doc);
    return code;
}
