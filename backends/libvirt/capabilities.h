/* backends/libvirt/capabilities.h - what the host offers, asked once a connection; and what `accel: auto` becomes.
 * Source: libvirt's formatdomaincaps.html. */
#ifndef VMC_LIBVIRT_CAPABILITIES_H
#define VMC_LIBVIRT_CAPABILITIES_H

#include "conn.h"
#include "domain_xml.h"
#include "drivers/kvm/kvm.h"

typedef struct libvirt_capabilities {
    libvirt_host_features features; /* strings owned by this struct; features.kvm as `accel: auto` became */
    bool kvm_offered;               /* libvirt offers domains of type kvm for the host's architecture */
    bool sev, sev_snp, tdx;         /* QEMU can start a guest with encrypted memory on that CPU */
    char *machine;                  /* the default machine of the host's architecture: "pc-i440fx-7.2"; NULL */
    char *accel_reason;             /* why not KVM: "/dev/kvm cannot be opened by libvirt-qemu"; NULL with KVM */
    char *accel_remedy;             /* NULL */
    char *document;                 /* libvirt's domain capabilities themselves; NULL: this driver has none */
    char *qemu_user; /* the user that the system's QEMU on this machine runs as; NULL: the caller, or not known */
} libvirt_capabilities;

/* Asks once (2 round trips: versions, domain capabilities) and keeps the answer: *out belongs to the connection. Another
 * architecture than the host's (arch not NULL) is asked for anew at each call; then *out is the caller's (libvirt_capabilities_free). */
int libvirt_capabilities_get(libvirt_conn *conn, const vmc_deadline *deadline, const libvirt_capabilities **out,
                             vmctl_error **err);
int libvirt_capabilities_of_arch(libvirt_conn *conn, const char *arch, const vmc_deadline *deadline,
                                 libvirt_capabilities **out, vmctl_error **err);
void libvirt_capabilities_free(libvirt_capabilities *capabilities);

/* What the spec's `accel` becomes: *kvm. "kvm" where KVM cannot be used: VMCTL_E_UNSUPPORTED with the reason and the remedy. "auto" says
 * in one note what it became and why, when that is TCG. wanted NULL: "auto". */
int libvirt_accel(libvirt_conn *conn, const char *wanted, const vmc_deadline *deadline, bool *kvm, vmctl_error **err);

/* The user that the system's QEMU runs as (qemu.conf's `user`, else the distribution's: libvirt-qemu, qemu); a name or "+UID". free; NULL:
 * not known. */
char *libvirt_qemu_user(void);
/* kvm_probe for such a user; NULL: the caller. */
int libvirt_kvm_probe(const char *user, const vmc_deadline *deadline, kvm_result *out, vmctl_error **err);

#endif
