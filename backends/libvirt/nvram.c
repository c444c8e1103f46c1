/* Source: libvirt's qemu_domain.c, qemuDomainNVRAMPathFormat: FOLDER/NAME_VARS.fd (.qcow2 where the firmware's template is one). */
#include "nvram.h"
#include "base/file.h"
#include "ops.h"
#include "xml_tree.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const endings[] = {"fd", "qcow2"};

static char *folder_of(const libvirt_conn *conn) {
    if (!conn->session)
        return vmc_strdup("/var/lib/libvirt/qemu/nvram");
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (config && *config)
        return vmc_printf("%s/libvirt/qemu/nvram", config);
    return vmc_printf("%s/.config/libvirt/qemu/nvram", home ? home : "");
}

typedef struct define_args {
    virConnectPtr virt;
    char *xml;
} define_args;

static void define_drop(void *opaque) {
    define_args *args = opaque;
    free(args->xml);
    free(args);
}

static int define_work(void *opaque) {
    define_args *args = opaque;
    virDomainPtr domain = virDomainDefineXML(args->virt, args->xml);
    if (!domain)
        return -1;
    virDomainFree(domain);
    return 0;
}

static int define(libvirt_conn *conn, char *xml, const vmc_deadline *deadline, vmctl_error **err) {
    define_args *args = vmc_alloc(sizeof *args);
    args->virt = conn->virt;
    args->xml = xml;
    int code = libvirt_call(conn, deadline, "noting where the UEFI variables are", define_work, args, define_drop, err);
    if (code != VMCTL_E_TIMEOUT && code != VMCTL_E_CANCELLED)
        define_drop(args);
    return code;
}

static int check_place(const char *folder, const char *name, vmctl_error **err) {
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        VMC_AUTO_FREE char *path = vmc_printf("%s/%s_VARS.%s", folder, name, endings[i]);
        if (!vmc_file_exists(path))
            continue;
        vmc_error(err, VMCTL_E_ALREADY_EXISTS, "%s is there already, and would be taken for its UEFI variables", path);
        return vmc_error_next(err, "choose another name, or move that file away");
    }
    return 0;
}

int libvirt_nvram_prepare(libvirt_conn *conn, const libvirt_vm *vm, const char *new_name, const vmc_deadline *deadline,
                          libvirt_nvram *nvram, vmctl_error **err) {
    *nvram = (libvirt_nvram){0};
    VMC_AUTO_FREE char *xml = NULL;
    LIBVIRT_AUTO_XML *doc = NULL;
    int code = libvirt_vm_xml(conn, vm, VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE, deadline, &xml, err);
    if (!code)
        code = libvirt_xml_parse(xml, "the domain's XML", "domain", VMCTL_E_INTERNAL, &doc, NULL, err);
    if (code < 0)
        return code;
    xmlNode *os = libvirt_xml_child(xmlDocGetRootElement(doc), "os");
    if (!libvirt_xml_attr_is(os, "firmware", "efi") || libvirt_xml_child(os, "nvram"))
        return 0;
    VMC_AUTO_FREE char *folder = folder_of(conn);
    if (conn->local && access(folder, W_OK | X_OK) == 0) {
        nvram->folder = vmc_strdup(folder);
        nvram->old_name = vmc_strdup(vm->name);
        return check_place(folder, new_name, err);
    }
    if (conn->local && errno == ENOENT) /* no VM of this kind has ever run */
        return 0;
    VMC_AUTO_FREE char *path = vmc_printf("%s/%s_VARS.%s", folder, vm->name, endings[0]);
    libvirt_xml_add_text(os, "nvram", path);
    return define(conn, libvirt_xml_text(doc), deadline, err);
}

void libvirt_nvram_follow(const libvirt_nvram *nvram, const char *new_name, const vmc_deadline *deadline) {
    for (size_t i = 0; nvram->folder && i < sizeof endings / sizeof endings[0]; i++) {
        VMC_AUTO_FREE char *from = vmc_printf("%s/%s_VARS.%s", nvram->folder, nvram->old_name, endings[i]);
        VMC_AUTO_FREE char *to = vmc_printf("%s/%s_VARS.%s", nvram->folder, new_name, endings[i]);
        if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) < 0 && errno != ENOENT)
            vmc_note(deadline, VMCTL_NOTE_WARNING, "its UEFI variables stay in %s: %s", from, strerror(errno));
    }
}

void libvirt_nvram_free(libvirt_nvram *nvram) {
    free(nvram->folder);
    free(nvram->old_name);
}

int libvirt_nvram_of_clone(const libvirt_conn *conn, const xmlNode *domain, const char *name, const char *clone,
                           char **from, char **to, const vmc_deadline *deadline, vmctl_error **err) {
    const xmlNode *os = libvirt_xml_child(domain, "os");
    bool has_uefi = libvirt_xml_attr_is(os, "firmware", "efi") ||
                    libvirt_xml_attr_is(libvirt_xml_child(os, "loader"), "type", "pflash");
    if (!has_uefi || conn->test_driver)
        return 0;
    VMC_AUTO_FREE char *written = libvirt_xml_content(libvirt_xml_child(os, "nvram"));
    VMC_AUTO_FREE char *folder = written && *written ? vmc_path_dirname(written) : folder_of(conn);
    for (size_t i = 0; conn->local && i < sizeof endings / sizeof endings[0] && !*from; i++) {
        VMC_AUTO_FREE char *usual = vmc_printf("%s/%s_VARS.%s", folder, name, endings[i]);
        const char *source = written && *written ? written : usual;
        if (access(source, R_OK) < 0 || access(folder, W_OK | X_OK) < 0)
            continue;
        const char *dot = strrchr(source, '.');
        *from = vmc_strdup(source);
        *to = vmc_printf("%s/%s_VARS.%s", folder, clone, dot ? dot + 1 : endings[0]);
    }
    if (!*from) {
        vmc_note(deadline, VMCTL_NOTE_INFO, "%s begins with the firmware's own UEFI variables%s", clone,
                 conn->local ? "" : ": those of the original cannot be copied from here");
        return 0;
    }
    return check_place(folder, clone, err);
}
