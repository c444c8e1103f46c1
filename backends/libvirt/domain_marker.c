/* backends/libvirt/domain_marker.c - what vmctl writes about a VM into the domain's metadata (urn:vmctl:1).
 *
 *   <vmctl:vm version owner run created expires>      version and created are there only where vmctl made the VM
 *     <vmctl:label key>value</vmctl:label>
 *     <vmctl:file device path origin/>                made by vmctl for this VM; device: the alias
 *     <vmctl:file device path disk='no'/>             the same, and nobody's data: a seed, a medium, a kernel, a log
 *     <vmctl:file path base='yes'/>                   the same, where other VMs' disks stand on it too
 *     <vmctl:base path/>                              a file that its disks and other VMs' stand on, and that vmctl did not make
 *     <vmctl:device alias name/>                      where the alias cannot be the name
 *     <vmctl:key path was>JSON</vmctl:key>            what the XML does not show of the spec (domain_json.c)
 *   </vmctl:vm>
 */
#include "domain_model.h"
#include <string.h>
#include <time.h>

static bool is_ours(const xmlNode *node) {
    return libvirt_xml_is(node, "vm") && node->ns && strcmp((const char *)node->ns->href, LIBVIRT_VMCTL_NS) == 0;
}

xmlNode *libvirt_marker_find(const xmlNode *domain) {
    if (is_ours(domain))
        return (xmlNode *)domain; /* the metadata alone, as virDomainGetMetadata gives it */
    LIBVIRT_XML_EACH(node, libvirt_xml_child(domain, "metadata"), "vm") {
        if (is_ours(node))
            return node;
    }
    return NULL;
}

xmlNode *libvirt_marker_ensure(libvirt_build *build) {
    xmlNode *marker = libvirt_marker_find(build->domain);
    if (marker)
        return marker;
    xmlNode *metadata = libvirt_xml_ensure(build->domain, "metadata");
    marker = libvirt_xml_add(metadata, "vm", NULL);
    /* Declared here and not on the root: libvirt keeps metadata, but not the root's namespaces. */
    xmlSetNs(marker, xmlNewNs(marker, (const xmlChar *)LIBVIRT_VMCTL_NS, (const xmlChar *)"vmctl"));
    return marker;
}

char *libvirt_time_text(int64_t seconds) {
    time_t when = (time_t)seconds;
    struct tm parts;
    char text[32];
    if (!gmtime_r(&when, &parts) || !strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts))
        return vmc_strdup("");
    return vmc_strdup(text);
}

int64_t libvirt_time_parse(const char *text) {
    struct tm parts = {0};
    const char *end = text ? strptime(text, "%Y-%m-%dT%H:%M:%SZ", &parts) : NULL;
    return end && !*end ? (int64_t)timegm(&parts) : 0;
}

void libvirt_marker_write(libvirt_build *build, const vmctl_marker *marker) {
    xmlNode *node = libvirt_marker_ensure(build);
    VMC_AUTO_FREE char *created = libvirt_time_text(marker->created);
    VMC_AUTO_FREE char *expires = marker->expires ? libvirt_time_text(marker->expires) : NULL;
    libvirt_xml_set(node, "version", marker->version ? marker->version : VMCTL_VERSION);
    libvirt_xml_set(node, "owner", marker->owner);
    libvirt_xml_set(node, "run", marker->run);
    libvirt_xml_set(node, "created", created);
    libvirt_xml_set(node, "expires", expires);
}

xmlNode *libvirt_marker_file_of(const xmlNode *domain, const char *alias) {
    LIBVIRT_XML_EACH(file, libvirt_marker_find(domain), "file") {
        if (alias && libvirt_xml_attr_is(file, "device", alias))
            return file;
    }
    return NULL;
}

static xmlNode *add(libvirt_build *build, const char *name) {
    return libvirt_xml_add_ns(libvirt_marker_ensure(build), "vmctl", LIBVIRT_VMCTL_NS, name);
}

static xmlNode *note_file(libvirt_build *build, const char *alias, const char *path, const char *origin) {
    xmlNode *earlier = libvirt_marker_file_of(build->domain, alias), *file = NULL;
    if (earlier)
        libvirt_xml_set(earlier, "device", NULL); /* of a device that is gone; the file is still the VM's */
    LIBVIRT_XML_EACH(noted, libvirt_marker_find(build->domain), "file") {
        if (libvirt_xml_attr_is(noted, "path", path))
            file = noted;
    }
    if (!file)
        file = add(build, "file");
    libvirt_xml_set(file, "device", alias);
    libvirt_xml_set(file, "path", path);
    libvirt_xml_set(file, "origin", origin);
    return file;
}

void libvirt_marker_file(libvirt_build *build, const char *alias, const char *path, const char *origin) {
    libvirt_xml_set(note_file(build, alias, path, origin), "disk", NULL);
}

void libvirt_marker_no_disk(libvirt_build *build, const char *alias, const char *path, const char *origin) {
    libvirt_xml_set(note_file(build, alias, path, origin), "disk", "no");
}

static xmlNode *path_note(libvirt_build *build, const char *name, const char *path) {
    LIBVIRT_XML_EACH(note, libvirt_marker_find(build->domain), name) {
        if (libvirt_xml_attr_is(note, "path", path))
            return note;
    }
    xmlNode *note = add(build, name);
    libvirt_xml_set(note, "path", path);
    return note;
}

void libvirt_marker_base(libvirt_build *build, const char *path, bool own) {
    if (own)
        libvirt_xml_set(path_note(build, "file", path), "base", "yes");
    else
        path_note(build, "base", path);
}

static xmlNode *key_note(const libvirt_build *build, const char *path) {
    LIBVIRT_XML_EACH(key, libvirt_marker_find(build->domain), "key") {
        if (libvirt_xml_attr_is(key, "path", path))
            return key;
    }
    return NULL;
}

static char *json_text(const char *text) {
    VMC_AUTO_JSON *value = text ? cJSON_CreateString(text) : NULL;
    return value ? cJSON_PrintUnformatted(value) : NULL;
}

void libvirt_marker_key(libvirt_build *build, const char *path, const char *was, const char *value) {
    libvirt_xml_drop(key_note(build, path));
    if (!value)
        return;
    VMC_AUTO_FREE char *shown = json_text(was);
    VMC_AUTO_FREE char *text = json_text(value);
    xmlNode *key = add(build, "key");
    libvirt_xml_set(key, "path", path);
    libvirt_xml_set(key, "was", shown);
    libvirt_xml_set_text(key, text);
}

void libvirt_marker_key_change(libvirt_build *build, const char *path, const char *value) {
    VMC_AUTO_FREE char *text = json_text(value);
    xmlNode *key = key_note(build, path);
    if (key)
        libvirt_xml_set_text(key, text);
}

void libvirt_marker_labels(libvirt_build *build, const cJSON *labels) {
    xmlNode *marker = libvirt_marker_find(build->domain);
    if (!marker && cJSON_GetArraySize(labels) == 0)
        return;
    libvirt_xml_drop_children(marker, "label");
    const cJSON *label;
    cJSON_ArrayForEach(label, labels) {
        if (!cJSON_IsString(label))
            continue;
        xmlNode *node = add(build, "label");
        libvirt_xml_set(node, "key", label->string);
        libvirt_xml_set_text(node, label->valuestring);
    }
}
