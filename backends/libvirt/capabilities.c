#include "capabilities.h"
#include "base/file.h"
#include "daemons.h"
#include <ctype.h>
#include <errno.h>
#include <libxml/parser.h>
#include <libxml/xpath.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CONF_LIMIT = 1 << 20 };

/* --- QEMU's user ---------------------------------------------------------------------------------------------- */

/* The value of `user = "NAME"`, the last one that is not commented out; NULL: none. */
static char *user_in_conf(const char *text) {
    const char *found = NULL;
    size_t length = 0;
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        const char *p = line + strspn(line, " \t");
        if (!vmc_starts_with(p, "user"))
            continue;
        p += 4;
        p += strspn(p, " \t");
        if (*p++ != '=')
            continue;
        p += strspn(p, " \t");
        char quote = *p;
        if (quote != '"' && quote != '\'')
            continue;
        length = strcspn(++p, "\"'\n");
        found = p;
    }
    return found && length ? vmc_strndup(found, length) : NULL;
}

char *libvirt_qemu_user(void) {
    static const char *const usual[] = {"libvirt-qemu", "qemu"};
    VMC_AUTO_FREE char *conf = NULL;
    size_t length = 0;
    if (vmc_file_read("/etc/libvirt/qemu.conf", CONF_LIMIT, &conf, &length, NULL) == 0) {
        char *user = user_in_conf(conf);
        if (user)
            return user;
    }
    for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++) {
        struct passwd entry, *found = NULL;
        char buffer[4096];
        if (getpwnam_r(usual[i], &entry, buffer, sizeof buffer, &found) == 0 && found)
            return vmc_strdup(usual[i]);
    }
    return NULL;
}

int libvirt_kvm_probe(const char *user, const vmc_deadline *deadline, kvm_result *out, vmctl_error **err) {
    if (!user)
        return kvm_probe(geteuid(), getegid(), deadline, out, err);
    const char *digits = *user == '+' ? user + 1 : user;
    char *end = NULL;
    unsigned long uid = strtoul(digits, &end, 10);
    if (isdigit((unsigned char)*digits) && !*end) {
        struct passwd entry, *found = NULL;
        char buffer[4096];
        getpwuid_r((uid_t)uid, &entry, buffer, sizeof buffer, &found);
        return kvm_probe((uid_t)uid, found ? found->pw_gid : (gid_t)uid, deadline, out, err);
    }
    return kvm_probe_user(user, deadline, out, err);
}

/* --- what the daemon says ----------------------------------------------------------------------------------------- */

typedef struct ask_args {
    virConnectPtr virt;
    char *arch;           /* NULL: the host's */
    const char *virttype; /* constant; NULL: libvirt's choice */
    bool versions;
    unsigned long libvirt_version, qemu_version;
    char *xml; /* NULL: this driver has none */
} ask_args;

static void ask_drop(void *opaque) {
    ask_args *args = opaque;
    free(args->xml);
    free(args->arch);
    free(args);
}

static int ask_work(void *opaque) {
    ask_args *args = opaque;
    if (args->versions && (virConnectGetLibVersion(args->virt, &args->libvirt_version) < 0 ||
                           virConnectGetVersion(args->virt, &args->qemu_version) < 0))
        return -1;
    /* Of the machine type that VMs get: libvirt's default on x86, i440FX, has no SMM and so no secure boot. */
    bool x86 = !args->arch || strcmp(args->arch, "x86_64") == 0;
    args->xml = virConnectGetDomainCapabilities(args->virt, NULL, args->arch, x86 ? "q35" : NULL, args->virttype, 0);
    if (!args->xml && x86 && virGetLastErrorCode() != VIR_ERR_NO_SUPPORT)
        args->xml = virConnectGetDomainCapabilities(args->virt, NULL, args->arch, NULL, args->virttype, 0);
    if (!args->xml && virGetLastErrorCode() != VIR_ERR_NO_SUPPORT)
        return -1;
    return 0;
}

static char *text_at(xmlXPathContextPtr context, const char *path) {
    xmlXPathObjectPtr object = xmlXPathEvalExpression(BAD_CAST path, context);
    char *text = NULL;
    if (object && object->nodesetval && object->nodesetval->nodeNr > 0) {
        xmlChar *content = xmlNodeGetContent(object->nodesetval->nodeTab[0]);
        text = vmc_strdup((const char *)content);
        xmlFree(content);
    }
    xmlXPathFreeObject(object);
    return text;
}

static bool is_true(xmlXPathContextPtr context, const char *path) {
    xmlXPathObjectPtr object = xmlXPathEvalExpression(BAD_CAST path, context);
    bool yes = object && xmlXPathCastToBoolean(object);
    xmlXPathFreeObject(object);
    return yes;
}

#define OFFERS(device, list, value)                                                                                    \
    "boolean(/domainCapabilities/devices/" device "[@supported='yes']/enum[@name='" list "']/value[.='" value "'])"

#define LAUNCHES(type)                                                                                                 \
    "boolean(/domainCapabilities/features/launchSecurity[@supported='yes']/enum[@name='sectype']/value[.='" type "'])"

/* Source: formatdomaincaps.html. */
static int read_domain_capabilities(const char *xml, libvirt_capabilities *c, vmctl_error **err) {
    xmlDocPtr document = xmlReadMemory(xml, (int)strlen(xml), "capabilities.xml", NULL,
                                       XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    xmlXPathContextPtr context = document ? xmlXPathNewContext(document) : NULL;
    if (!context) {
        xmlFreeDoc(document);
        return vmc_error(err, VMCTL_E_INTERNAL, "libvirt's domain capabilities are no XML");
    }
    libvirt_host_features *f = &c->features;
    f->emulator = text_at(context, "/domainCapabilities/path");
    f->arch = text_at(context, "/domainCapabilities/arch");
    c->machine = text_at(context, "/domainCapabilities/machine");
    VMC_AUTO_FREE char *type = text_at(context, "/domainCapabilities/domain");
    c->kvm_offered = vmc_str_eq(type, "kvm");
    f->uefi = is_true(context, "boolean(/domainCapabilities/os/enum[@name='firmware']/value[.='efi'])");
    f->secure_boot = f->uefi && is_true(context, "boolean(/domainCapabilities/os/loader[@supported='yes']"
                                                 "/enum[@name='secure']/value[.='yes'])");
    f->tpm = is_true(context, OFFERS("tpm", "backendModel", "emulator"));
    f->virtiofs = is_true(context, OFFERS("filesystem", "driverType", "virtiofs"));
    f->spice = is_true(context, OFFERS("graphics", "type", "spice"));
    f->vnc = is_true(context, OFFERS("graphics", "type", "vnc"));
    c->sev = is_true(context, "boolean(/domainCapabilities/features/sev[@supported='yes'])");
    c->sev_snp = is_true(context, LAUNCHES("sev-snp"));
    c->tdx = is_true(context, LAUNCHES("tdx"));
    xmlXPathFreeContext(context);
    xmlFreeDoc(document);
    return 0;
}

static int ask(libvirt_conn *conn, const char *arch, const char *virttype, const vmc_deadline *deadline,
               libvirt_capabilities *c, vmctl_error **err) {
    ask_args *args = vmc_alloc(sizeof *args);
    args->virt = conn->virt;
    args->arch = vmc_strdup(arch);
    args->virttype = virttype;
    args->versions = true;
    int code = libvirt_call(conn, deadline, "asking what the host offers", ask_work, args, ask_drop, err);
    if (code == VMCTL_E_TIMEOUT || code == VMCTL_E_CANCELLED)
        return code;
    if (!code) {
        c->features.libvirt_version = args->libvirt_version;
        c->features.qemu_version = args->qemu_version;
        if (args->xml)
            code = read_domain_capabilities(args->xml, c, err);
        c->document = args->xml;
        args->xml = NULL;
    }
    ask_drop(args);
    return code;
}

/* What QEMU's user on this machine can do with /dev/kvm; false when that cannot be found out from here. */
static bool probe_here(libvirt_conn *conn, const vmc_deadline *deadline, kvm_result *result) {
    if (!conn->local || conn->test_driver)
        return false;
    VMC_AUTO_FREE char *user = conn->session ? NULL : libvirt_qemu_user();
    if (!conn->session && !user)
        return false;
    return libvirt_kvm_probe(user, deadline, result, NULL) == 0;
}

static int gather(libvirt_conn *conn, const char *arch, const vmc_deadline *deadline, libvirt_capabilities *c,
                  vmctl_error **err) {
    kvm_result kvm = {0};
    bool probed = probe_here(conn, deadline, &kvm);
    bool unusable = probed && !kvm.usable;
    c->qemu_user = conn->local && !conn->session && !conn->test_driver ? libvirt_qemu_user() : NULL;
    int code = ask(conn, arch, unusable ? "qemu" : NULL, deadline, c, err);
    if (code < 0)
        return code;
    c->features.kvm = c->kvm_offered && !unusable;
    c->features.no_host_cpu = probed && kvm.usable && !kvm.host_cpu;
    if (c->features.kvm || conn->test_driver)
        return 0;
    if (unusable) {
        c->accel_reason = vmc_strdup(kvm.reason);
        c->accel_remedy = kvm.remedy[0] ? vmc_strdup(kvm.remedy) : NULL;
    } else {
        c->accel_reason = vmc_printf("libvirt offers no KVM on %s", conn->local ? "this machine" : "that host");
    }
    return 0;
}

void libvirt_capabilities_free(libvirt_capabilities *c) {
    if (!c)
        return;
    free((char *)c->features.arch);
    free((char *)c->features.emulator);
    free(c->machine);
    free(c->document);
    free(c->accel_reason);
    free(c->accel_remedy);
    free(c->qemu_user);
    free(c);
}

int libvirt_capabilities_of_arch(libvirt_conn *conn, const char *arch, const vmc_deadline *deadline,
                                 libvirt_capabilities **out, vmctl_error **err) {
    libvirt_capabilities *c = vmc_alloc(sizeof *c);
    int code = gather(conn, arch, deadline, c, err);
    if (code < 0) {
        libvirt_capabilities_free(c);
        return code;
    }
    *out = c;
    return 0;
}

int libvirt_capabilities_get(libvirt_conn *conn, const vmc_deadline *deadline, const libvirt_capabilities **out,
                             vmctl_error **err) {
    libvirt_capabilities *known = __atomic_load_n(&conn->capabilities, __ATOMIC_ACQUIRE);
    if (!known) {
        libvirt_capabilities *made = NULL;
        int code = libvirt_capabilities_of_arch(conn, NULL, deadline, &made, err);
        if (code < 0)
            return code;
        /* Another thread may have asked meanwhile; its answer is as good. */
        if (__atomic_compare_exchange_n(&conn->capabilities, &known, made, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            known = made;
        else
            libvirt_capabilities_free(made);
    }
    *out = known;
    return 0;
}

/* A /dev/kvm that QEMU's user cannot open makes a daemon probe QEMU anew at every define. */
static void warn_of_slow_daemon(const libvirt_conn *conn, const vmc_deadline *deadline) {
    kvm_result kvm = {0};
    if (conn->session || !probe_here((libvirt_conn *)conn, deadline, &kvm) || !kvm.present || kvm.openable ||
        libvirt_daemons_ours())
        return;
    vmc_note(deadline, VMCTL_NOTE_WARNING,
             "%s: libvirtd then examines QEMU anew at every change of a VM, which takes about a minute%s%s", kvm.reason,
             kvm.remedy[0] ? "; remedy: " : "", kvm.remedy);
}

int libvirt_accel(libvirt_conn *conn, const char *wanted, const vmc_deadline *deadline, bool *kvm, vmctl_error **err) {
    *kvm = false;
    warn_of_slow_daemon(conn, deadline);
    if (vmc_str_eq(wanted, "tcg"))
        return 0;
    const libvirt_capabilities *c = NULL;
    int code = libvirt_capabilities_get(conn, deadline, &c, err);
    if (code < 0)
        return code;
    *kvm = c->features.kvm;
    if (*kvm || conn->test_driver)
        return 0;
    if (vmc_str_eq(wanted, "kvm")) {
        vmc_error(err, VMCTL_E_UNSUPPORTED, "KVM cannot be used: %s", c->accel_reason);
        return c->accel_remedy ? vmc_error_next(err, "%s; or accel: tcg", c->accel_remedy)
                               : vmc_error_next(err, "accel: tcg emulates the CPU in software");
    }
    vmc_note(deadline, VMCTL_NOTE_INFO, "the CPU is emulated in software (TCG): %s%s%s", c->accel_reason,
             c->accel_remedy ? "; remedy: " : "", c->accel_remedy ? c->accel_remedy : "");
    return 0;
}
