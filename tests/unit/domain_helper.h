/* tests/unit/domain_helper.h - for the tests of domain XML: specs from text, documents asked by XPath and held against libvirt's own schema. */
#ifndef VMC_TEST_DOMAIN_HELPER_H
#define VMC_TEST_DOMAIN_HELPER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "backends/libvirt/domain_xml.h"
#include "core/src/spec_internal.h"
#include <libxml/parser.h>
#include <libxml/relaxng.h>
#include <libxml/xpath.h>
#include <libxml/xpathInternals.h>
#include <vmctl/spec.h>

#define DOMAIN_SCHEMA "/usr/share/libvirt/schemas/domain.rng"

/* A host like Debian 12's. */
static const libvirt_host_features debian_tcg = {.arch = "x86_64",
                                                 .uefi = true,
                                                 .secure_boot = true,
                                                 .tpm = true,
                                                 .virtiofs = true,
                                                 .spice = true,
                                                 .vnc = true,
                                                 .libvirt_version = 9000000,
                                                 .qemu_version = 7002022};

static const vmctl_marker test_marker = {.size = sizeof(vmctl_marker),
                                         .version = "0.1.0",
                                         .owner = "someone@host",
                                         .run = "run-1",
                                         .created = 1700000000,
                                         .expires = 0};

static inline void fail_with(const char *what, vmctl_error *err) {
    fail_msg("%s: %s", what, err ? vmctl_error_message(err) : "no error given");
    abort(); /* not reached; the analyser does not know that fail_msg jumps */
}

static inline vmctl_spec *load(const char *yaml, bool incomplete) {
    vmctl_spec_load_options options = VMCTL_SPEC_LOAD_OPTIONS_INIT;
    vmctl_spec **list = NULL;
    vmctl_error *err = NULL;
    size_t count = 0;
    options.file_name = "test.yaml";
    options.base_dir = "/specs";
    options.incomplete = incomplete;
    if (vmctl_spec_load(yaml, strlen(yaml), &options, &list, &count, &err) < 0)
        fail_with(yaml, err);
    assert_non_null(list);
    vmctl_spec *spec = vmctl_spec_copy(list[0]);
    vmctl_spec_list_free(list);
    return spec;
}

/* As create gets it: with what was not written filled in. */
static inline vmctl_spec *spec_of(const char *yaml) {
    vmctl_spec *spec = load(yaml, false);
    assert_int_equal(0, vmc_spec_complete(spec, "nat"));
    return spec;
}

/* As apply and set have it: what is not written is not managed. */
static inline vmctl_spec *part_of(const char *yaml) {
    return load(yaml, true);
}

enum { MOST_DISKS = 32 };

/* What create would do with the disks: images and blanks become files of a pool, volumes and media stay where they are. */
typedef struct disk_files {
    libvirt_disk_plan plans[MOST_DISKS];
    char paths[MOST_DISKS][64];
} disk_files;

static inline void plan_disk(disk_files *files, size_t i, const vmctl_node *disk) {
    const char *volume = vmctl_node_string(disk, "volume", NULL), *cdrom = vmctl_node_string(disk, "cdrom", NULL);
    libvirt_disk_plan *plan = &files->plans[i];
    plan->format = vmctl_node_string(disk, "format", cdrom || volume ? "raw" : "qcow2");
    if (cdrom) {
        plan->path = *cdrom ? cdrom : NULL;
    } else if (volume) {
        plan->path = *volume == '/' ? volume : files->paths[i];
        snprintf(files->paths[i], sizeof files->paths[i], "/pools/%s", volume);
    } else {
        snprintf(files->paths[i], sizeof files->paths[i], "/pool/vm-%zu.qcow2", i);
        plan->path = files->paths[i];
        plan->own = true;
        plan->origin = vmctl_node_string(disk, "image", NULL);
    }
}

static inline void plan_disks(disk_files *files, const vmctl_spec *spec) {
    const vmctl_node *disks = vmctl_node_get(vmctl_spec_root(spec), "disks");
    memset(files, 0, sizeof *files);
    for (size_t i = 0; i < vmctl_node_count(disks) && i < MOST_DISKS; i++)
        plan_disk(files, i, vmctl_node_at(disks, i));
}

static inline int xml_with(const vmctl_spec *spec, libvirt_domain_plan *plan, char **xml, vmctl_error **err) {
    disk_files files;
    plan_disks(&files, spec);
    plan->disks = files.plans;
    plan->uuid = "6d3c1a5e-0b1f-4c7b-9f57-1f1a5cbd6a01";
    if (!plan->host)
        plan->host = &debian_tcg;
    plan->marker = &test_marker;
    plan->serial_log = vmctl_node_string(vmctl_spec_root(spec), "serial.log", NULL) ? "/logs/vm.log" : NULL;
    int code = libvirt_domain_xml(spec, plan, xml, err);
    plan->disks = NULL;
    return code;
}

/* The document, or the test fails with the reason. free. */
static inline char *xml_of_plan(const char *yaml, libvirt_domain_plan *plan) {
    vmctl_spec *spec = spec_of(yaml);
    vmctl_error *err = NULL;
    char *xml = NULL;
    if (xml_with(spec, plan, &xml, &err) < 0)
        fail_with(yaml, err);
    vmctl_spec_free(spec);
    return xml;
}

static inline char *xml_of(const char *yaml) {
    libvirt_domain_plan plan = {0};
    return xml_of_plan(yaml, &plan);
}

/* The code and words of the refusal. */
static inline void refused_plan(const char *yaml, libvirt_domain_plan *plan, int code, const char *words) {
    vmctl_spec *spec = spec_of(yaml);
    vmctl_error *err = NULL;
    char *xml = NULL;
    int got = xml_with(spec, plan, &xml, &err);
    if (got == 0)
        fail_msg("accepted: %s", yaml);
    assert_null(xml);
    assert_int_equal(code, got);
    const char *message = vmctl_error_message(err);
    if (vmctl_error_fault_count(err) > 0)
        message = vmctl_error_fault(err, 0)->message;
    if (!strstr(message, words))
        fail_msg("\"%s\" does not say \"%s\"", message, words);
    vmctl_error_free(err);
    vmctl_spec_free(spec);
}

static inline void refused(const char *yaml, int code, const char *words) {
    libvirt_domain_plan plan = {0};
    refused_plan(yaml, &plan, code, words);
}

/* XPath as a string: "count(//disk)", "string(//os/type/@machine)". free. */
static inline char *ask(const char *xml, const char *expression) {
    xmlDoc *doc = xmlReadMemory(xml, (int)strlen(xml), NULL, NULL, XML_PARSE_NONET);
    assert_non_null(doc);
    xmlXPathContext *context = xmlXPathNewContext(doc);
    xmlXPathRegisterNs(context, BAD_CAST "v", BAD_CAST "urn:vmctl:1");
    xmlXPathRegisterNs(context, BAD_CAST "q", BAD_CAST "http://libvirt.org/schemas/domain/qemu/1.0");
    xmlXPathObject *result = xmlXPathEvalExpression(BAD_CAST expression, context);
    if (!result)
        fail_msg("bad XPath %s", expression);
    xmlChar *text = xmlXPathCastToString(result);
    char *copy = strdup((const char *)text);
    xmlFree(text);
    xmlXPathFreeObject(result);
    xmlXPathFreeContext(context);
    xmlFreeDoc(doc);
    return copy;
}

static inline void has_at(const char *xml, const char *expression, const char *value, int line) {
    char *found = ask(xml, expression);
    if (strcmp(found, value) != 0)
        fail_msg("line %d: %s is \"%s\", not \"%s\" in\n%s", line, expression, found, value, xml);
    free(found);
}
#define has(xml, expression, value) has_at(xml, expression, value, __LINE__)

/* Against libvirt's schema; without it the test program ends as skipped (main asks first). */
static inline void valid(const char *xml) {
    static xmlRelaxNGPtr schema;
    if (!schema) {
        xmlRelaxNGParserCtxtPtr parser = xmlRelaxNGNewParserCtxt(DOMAIN_SCHEMA);
        schema = xmlRelaxNGParse(parser);
        xmlRelaxNGFreeParserCtxt(parser);
        assert_non_null(schema);
    }
    xmlDoc *doc = xmlReadMemory(xml, (int)strlen(xml), NULL, NULL, XML_PARSE_NONET);
    assert_non_null(doc);
    xmlRelaxNGValidCtxtPtr context = xmlRelaxNGNewValidCtxt(schema);
    int result = xmlRelaxNGValidateDoc(context, doc);
    xmlRelaxNGFreeValidCtxt(context);
    xmlFreeDoc(doc);
    if (result != 0)
        fail_msg("not valid by libvirt's schema:\n%s", xml);
}

static inline bool schema_is_missing(void) {
    if (access(DOMAIN_SCHEMA, R_OK) == 0)
        return false;
    fprintf(stderr, "SKIP: %s is not there (package libvirt0)\n", DOMAIN_SCHEMA);
    return true;
}

/* What apply would change when `want` is applied to this document; each change on a line; free. */
static inline char *changes_to(const char *xml, const vmctl_spec *want, vmctl_diff **out) {
    vmctl_spec *have = NULL;
    vmctl_error *err = NULL;
    vmctl_diff *diff = NULL;
    vmctl_diff_options options = VMCTL_DIFF_OPTIONS_INIT;
    options.prune = true;
    if (libvirt_domain_spec(xml, &have, &err) < 0)
        fail_with("reading it back", err);
    if (vmctl_spec_diff(have, want, &options, &diff, &err) < 0)
        fail_with("diff", err);
    char *text = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&text, &length);
    for (size_t i = 0; i < vmctl_diff_count(diff); i++) {
        const vmctl_change *change = vmctl_diff_at(diff, i);
        fprintf(stream, "%s: %s -> %s\n", change->path, change->have_text ? change->have_text : "(absent)",
                change->want_text ? change->want_text : "(absent)");
    }
    fclose(stream);
    if (out)
        *out = diff;
    else
        vmctl_diff_free(diff);
    vmctl_spec_free(have);
    return text;
}

#endif
