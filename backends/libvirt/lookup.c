/* Finding a domain by name or UUID, and the handle of one. */
#include "ops.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { LOOKUP_MS = 30000 };

typedef struct lookup_args {
    virConnectPtr virt;
    char *name;
    bool maybe_uuid;
    virDomainPtr domain;
} lookup_args;

static void lookup_drop(void *opaque) {
    lookup_args *args = opaque;
    if (args->domain)
        virDomainFree(args->domain);
    free(args->name);
    free(args);
}

static int lookup_work(void *opaque) {
    lookup_args *args = opaque;
    args->domain = virDomainLookupByName(args->virt, args->name);
    if (!args->domain && args->maybe_uuid && virGetLastErrorCode() == VIR_ERR_NO_DOMAIN)
        args->domain = virDomainLookupByUUIDString(args->virt, args->name);
    return args->domain ? 0 : -1;
}

static bool looks_like_uuid(const char *text) {
    size_t digits = 0;
    for (; *text; text++) {
        if (isxdigit((unsigned char)*text))
            digits++;
        else if (*text != '-')
            return false;
    }
    return digits == 2u * VIR_UUID_BUFLEN;
}

/* --- what is close ---------------------------------------------------------------------------------------------- */

typedef struct names_args {
    virConnectPtr virt;
    vmc_strv names;
} names_args;

static void names_drop(void *opaque) {
    names_args *args = opaque;
    vmc_strv_free(&args->names);
    free(args);
}

static int names_work(void *opaque) {
    names_args *args = opaque;
    virDomainPtr *domains = NULL;
    int count = virConnectListAllDomains(args->virt, &domains, 0);
    for (int i = 0; i < count; i++) {
        vmc_strv_add(&args->names, virDomainGetName(domains[i]));
        virDomainFree(domains[i]);
    }
    free(domains);
    return count < 0 ? -1 : 0;
}

static int not_found(libvirt_conn *conn, const char *name, const vmc_deadline *deadline, vmctl_error **err) {
    names_args *args = vmc_alloc(sizeof *args);
    args->virt = conn->virt;
    int code = libvirt_call(conn, deadline, "listing the domains", names_work, args, names_drop, NULL);
    bool lost = code == VMCTL_E_TIMEOUT || code == VMCTL_E_CANCELLED;
    const char *near = !code && args->names.count ? vmc_nearest(name, (const char *const *)args->names.items) : NULL;
    vmc_error(err, VMCTL_E_NOT_FOUND, "there is no VM named %s", name);
    if (near)
        vmc_error_next(err, "did you mean %s?", near);
    else
        vmc_error_next(err, "vmctl list shows the VMs that are there");
    if (!lost)
        names_drop(args);
    return VMCTL_E_NOT_FOUND;
}

void libvirt_uuid_text(virDomainPtr domain, char text[VIR_UUID_STRING_BUFLEN]) {
    static const char digits[] = "0123456789abcdef";
    unsigned char bytes[VIR_UUID_BUFLEN];
    char *to = text;
    if (virDomainGetUUID(domain, bytes) == 0)
        for (size_t i = 0; i < sizeof bytes; i++) {
            if (i == 4 || i == 6 || i == 8 || i == 10)
                *to++ = '-';
            *to++ = digits[bytes[i] >> 4];
            *to++ = digits[bytes[i] & 15];
        }
    *to = '\0';
}

/* --- the handle ----------------------------------------------------------------------------------------------------- */

libvirt_vm *libvirt_vm_new(virDomainPtr domain) {
    libvirt_vm *vm = vmc_alloc(sizeof *vm);
    vm->domain = domain;
    vm->name = vmc_strdup(virDomainGetName(domain));
    libvirt_uuid_text(domain, vm->uuid);
    return vm;
}

void libvirt_vm_identity(const libvirt_vm *vm, vmctl_identity *identity) {
    identity->name = vmc_strdup(vm->name);
    identity->id = vmc_strdup(vm->uuid);
}

static int domain_free(void *domain) {
    return virDomainFree(domain);
}

void libvirt_release(void *conn, void *opaque) {
    libvirt_vm *vm = opaque;
    if (!vm)
        return;
    libvirt_conn_release(conn, domain_free, vm->domain);
    free(vm->name);
    free(vm);
}

int libvirt_lookup(void *opaque, const char *name_or_id, const vmctl_lookup_options *options, void **vm,
                   vmctl_identity *identity, vmctl_error **err) {
    libvirt_conn *conn = opaque;
    vmc_deadline deadline = vmc_deadline_start(options->call, LOOKUP_MS);
    lookup_args *args = vmc_alloc(sizeof *args);
    args->virt = conn->virt;
    args->name = vmc_strdup(name_or_id);
    args->maybe_uuid = looks_like_uuid(name_or_id);
    vmctl_error *why = NULL;
    int code = libvirt_call(conn, &deadline, "looking the domain up", lookup_work, args, lookup_drop, &why);
    if (code == VMCTL_E_TIMEOUT || code == VMCTL_E_CANCELLED) {
        vmc_error_move(err, &why);
        return code;
    }
    if (!code) {
        libvirt_vm *made = libvirt_vm_new(args->domain);
        args->domain = NULL;
        libvirt_vm_identity(made, identity);
        *vm = made;
    } else if (code == VMCTL_E_NOT_FOUND) {
        vmctl_error_free(why);
        code = not_found(conn, name_or_id, &deadline, err);
    } else {
        vmc_error_move(err, &why);
    }
    lookup_drop(args);
    return code;
}
