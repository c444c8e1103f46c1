/* drivers/ova/ovf_write.c - writing a descriptor, by libxml2's text writer. Children of Item stand in the order of the alphabet, as the
 * standard's schema wants them. */
#include "ovf.h"
#include <libxml/xmlwriter.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define OVF  "http://schemas.dmtf.org/ovf/envelope/1"
#define RASD "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
#define VSSD "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData"
#define VMDK "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"

#define X(text) ((const xmlChar *)(text))

static void begin(xmlTextWriter *w, const char *name) {
    xmlTextWriterStartElement(w, X(name));
}

static void end(xmlTextWriter *w) {
    xmlTextWriterEndElement(w);
}

static void attribute(xmlTextWriter *w, const char *name, const char *value) {
    xmlTextWriterWriteAttribute(w, X(name), X(value));
}

static void number(xmlTextWriter *w, const char *name, unsigned long long value) {
    VMC_AUTO_FREE char *text = vmc_printf("%llu", value);
    attribute(w, name, text);
}

static void text(xmlTextWriter *w, const char *name, const char *value) {
    if (value)
        xmlTextWriterWriteElement(w, X(name), X(value));
}

static void config(xmlTextWriter *w, const char *key, const char *value) {
    begin(w, "vmw:Config");
    attribute(w, "ovf:required", "false");
    attribute(w, "vmw:key", key);
    attribute(w, "vmw:value", value);
    end(w);
}

static void write_files(xmlTextWriter *w, const ovf_file *files, size_t count) {
    begin(w, "References");
    for (size_t i = 0; i < count; i++) {
        VMC_AUTO_FREE char *id = vmc_printf("file%zu", i + 1);
        begin(w, "File");
        attribute(w, "ovf:href", files[i].name);
        attribute(w, "ovf:id", id);
        number(w, "ovf:size", files[i].bytes);
        end(w);
    }
    end(w);
    begin(w, "DiskSection");
    text(w, "Info", "Virtual disks");
    for (size_t i = 0; i < count; i++) {
        VMC_AUTO_FREE char *id = vmc_printf("vmdisk%zu", i + 1);
        VMC_AUTO_FREE char *file = vmc_printf("file%zu", i + 1);
        begin(w, "Disk");
        number(w, "ovf:capacity", files[i].capacity);
        attribute(w, "ovf:capacityAllocationUnits", "byte");
        attribute(w, "ovf:diskId", id);
        attribute(w, "ovf:fileRef", file);
        attribute(w, "ovf:format", VMDK);
        end(w);
    }
    end(w);
}

static void write_networks(xmlTextWriter *w, const ovf *from) {
    VMC_AUTO_STRV names = {0};
    begin(w, "NetworkSection");
    text(w, "Info", "Logical networks");
    for (size_t i = 0; i < from->item_count; i++) {
        const char *name = from->items[i].connection;
        if (!name || vmc_strv_has(&names, name))
            continue;
        vmc_strv_add(&names, name);
        begin(w, "Network");
        attribute(w, "ovf:name", name);
        text(w, "Description", name);
        end(w);
    }
    end(w);
}

static void write_item(xmlTextWriter *w, const ovf_item *item) {
    VMC_AUTO_FREE char *type = vmc_printf("%u", item->type);
    VMC_AUTO_FREE char *place = item->parent || item->type == OVF_NIC ? vmc_printf("%u", item->place) : NULL;
    bool controller = item->type == OVF_IDE || item->type == OVF_SCSI || item->type == OVF_SATA;
    unsigned long long amount = item->type == OVF_MEMORY ? item->amount >> 20 : item->amount;
    VMC_AUTO_FREE char *quantity = amount ? vmc_printf("%llu", amount) : NULL;
    begin(w, "Item");
    text(w, "rasd:Address", controller ? "0" : NULL);
    text(w, "rasd:AddressOnParent", place);
    text(w, "rasd:AllocationUnits", item->type == OVF_MEMORY ? "byte * 2^20" : NULL);
    text(w, "rasd:AutomaticAllocation", item->type == OVF_NIC ? "true" : item->type == OVF_CDROM ? "false" : NULL);
    text(w, "rasd:Caption", item->name); /* VirtualBox reads this one */
    text(w, "rasd:Connection", item->connection);
    text(w, "rasd:ElementName", item->name);
    text(w, "rasd:HostResource", item->resource);
    text(w, "rasd:InstanceID", item->instance);
    text(w, "rasd:Parent", item->parent);
    text(w, "rasd:ResourceSubType", item->subtype);
    text(w, "rasd:ResourceType", type);
    text(w, "rasd:VirtualQuantity", quantity);
    end(w);
}

static void write_machine(xmlTextWriter *w, const ovf *from) {
    begin(w, "VirtualSystem");
    attribute(w, "ovf:id", from->name);
    text(w, "Info", "A virtual machine");
    text(w, "Name", from->name);
    if (from->description) {
        begin(w, "AnnotationSection");
        text(w, "Info", "Description");
        text(w, "Annotation", from->description);
        end(w);
    }
    begin(w, "OperatingSystemSection");
    number(w, "ovf:id", from->os_id ? from->os_id : 1);
    if (from->os_text)
        attribute(w, "vmw:osType", from->os_text);
    text(w, "Info", "The kind of installed operating system");
    end(w);
    begin(w, "VirtualHardwareSection");
    text(w, "Info", "Virtual hardware");
    begin(w, "System");
    text(w, "vssd:ElementName", "Virtual Hardware Family");
    text(w, "vssd:InstanceID", "0");
    text(w, "vssd:VirtualSystemIdentifier", from->name);
    text(w, "vssd:VirtualSystemType", "vmx-13");
    end(w);
    for (size_t i = 0; i < from->item_count; i++)
        write_item(w, &from->items[i]);
    if (from->efi)
        config(w, "firmware", "efi");
    if (from->secure_boot)
        config(w, "bootOptions.efiSecureBootEnabled", "true");
    end(w);
    end(w);
}

char *ovf_write(const ovf *from, const ovf_file *files, size_t file_count) {
    xmlBuffer *buffer = xmlBufferCreate();
    xmlTextWriter *w = buffer ? xmlNewTextWriterMemory(buffer, 0) : NULL;
    if (!w)
        abort();
    xmlTextWriterSetIndent(w, 1);
    xmlTextWriterSetIndentString(w, X("  "));
    xmlTextWriterStartDocument(w, NULL, "UTF-8", NULL);
    begin(w, "Envelope");
    attribute(w, "xmlns", OVF);
    attribute(w, "xmlns:ovf", OVF);
    attribute(w, "xmlns:rasd", RASD);
    attribute(w, "xmlns:vssd", VSSD);
    attribute(w, "xmlns:vmw", "http://www.vmware.com/schema/ovf");
    write_files(w, files, file_count);
    write_networks(w, from);
    write_machine(w, from);
    end(w);
    xmlTextWriterEndDocument(w);
    xmlFreeTextWriter(w);
    char *out = vmc_strdup((const char *)xmlBufferContent(buffer));
    xmlBufferFree(buffer);
    return out;
}
