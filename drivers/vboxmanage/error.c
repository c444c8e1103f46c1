/* What VBoxManage prints when something fails, and which of the closed codes that is. */
#include "vboxmanage.h"

#include "base/error.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define LOGIN "VMCTL_GUEST_USER=NAME and VMCTL_GUEST_PASSWORD_FILE=FILE name a user of the guest, and the password"

static const char prefix[] = "VBoxManage: error: ";

/* Words that say more than the result code, first match wins. */
static const struct {
    const char *words;
    int code;
    bool retryable;
    const char *next;
} sentences[] = {
    {"already has a lock request pending", VMCTL_E_BUSY, true, NULL},
    {"is already locked by a session", VMCTL_E_BUSY, true, NULL},
    {"is already locked for a session", VMCTL_E_BUSY, true, NULL},
    {"while it is locked", VMCTL_E_BUSY, true, NULL},
    /* It is being started by somebody else. */
    {"has tried to lock the machine", VMCTL_E_BUSY, true, NULL},
    {"Machine in invalid state", VMCTL_E_INVALID_STATE, false, NULL},
    /* It was asked while its process ended. */
    {"Failed to get a console object from the direct session", VMCTL_E_BUSY, true, NULL},
    {"Could not find a registered machine", VMCTL_E_NOT_FOUND, false, NULL},
    {"is not currently running", VMCTL_E_INVALID_STATE, false, NULL},
    {"object functionality is limited", VMCTL_E_INVALID_STATE, false,
     "VirtualBox cannot read its settings file; VBoxManage list vms shows it as inaccessible"},
    {"has the same UUID as an existing virtual machine", VMCTL_E_ALREADY_EXISTS, false, NULL},
    {"already exists", VMCTL_E_ALREADY_EXISTS, false, NULL},
    {"VERR_ALREADY_EXISTS", VMCTL_E_ALREADY_EXISTS, false, NULL},
    {"VERR_SUP_DRIVERLESS", VMCTL_E_UNSUPPORTED, false,
     "load VirtualBox's kernel driver (modprobe vboxdrv); without it only NAT and the software CPU work"},
    {"VERR_NEM_NOT_AVAILABLE", VMCTL_E_UNSUPPORTED, false, NULL},
    {"VERR_PROC_NO_ARG_TRANSLATION", VMCTL_E_UNAVAILABLE, false,
     "VBoxSVC runs in a locale that lacks letters of the VM's name: stop the VMs, close VirtualBox, and try again when "
     "VBoxSVC has ended, some seconds later"},
    {"Could not launch the VM process", VMCTL_E_UNAVAILABLE, false,
     "this VirtualBox is installed without that front end"},
    {"child media", VMCTL_E_DATA_LOSS_PREVENTED, false, "a linked clone or a snapshot hangs on it"},
    {"more than one child hard disk", VMCTL_E_DATA_LOSS_PREVENTED, false,
     "delete the linked clones or snapshots that stand on it"},
    {"does not support hot-plugging", VMCTL_E_INVALID_STATE, false, "stop the VM first"},
    {"CPU hotplug is not enabled", VMCTL_E_INVALID_STATE, false, "stop the VM first"},
    {"thus its attachment type can't be changed", VMCTL_E_INVALID_STATE, false, "stop the VM first"},
    /* GuestSessionImpl.cpp and GuestProcessImpl.cpp, what a guest answered */
    {"was not able to logon on guest", VMCTL_E_UNAUTHENTICATED, false, LOGIN},
    {"Invalid user/password credentials", VMCTL_E_UNAUTHENTICATED, false, LOGIN},
    {"user account on the guest is restricted", VMCTL_E_UNAUTHENTICATED, false, LOGIN},
    {"guest execution service is not", VMCTL_E_INVALID_STATE, true, "it needs Guest Additions that run in the guest"},
    /* 7.2 of a program; before it was the next line */
    {"No such file or directory \"", VMCTL_E_NOT_FOUND, false, NULL},
    {"specified file was not found on guest", VMCTL_E_NOT_FOUND, false, NULL},
    {"Error starting guest session", VMCTL_E_TIMEOUT, true, "the guest did not begin a session within 30 seconds"},
    {"Could not resolve path to specified file", VMCTL_E_NOT_FOUND, false, NULL},
    {"is not an executable format on guest", VMCTL_E_INVALID_ARGUMENT, false, NULL},
    /* Before 7.0 such a controller comes with the extension pack, and a VM that has one does not start without. */
    {"Implementation of the USB", VMCTL_E_UNSUPPORTED, false,
     "install the extension pack of this VirtualBox, or take USB 1.1: virtualbox.modifyvm: {usbxhci: off, usbehci: "
     "off, usbohci: on}"},
    {"Could not create guest session", VMCTL_E_INVALID_STATE, false, "it needs Guest Additions that run in the guest"},
    {"Guest Additions are not installed", VMCTL_E_INVALID_STATE, false, NULL},
    {"Unknown or invalid guest OS type", VMCTL_E_INVALID_ARGUMENT, false, NULL},
    {"Unknown option", VMCTL_E_UNSUPPORTED, false, "VBoxManage help lists what this version of VirtualBox knows"},
    {"Unknown subcommand", VMCTL_E_UNSUPPORTED, false, "VBoxManage help lists what this version of VirtualBox knows"},
    {"Invalid command", VMCTL_E_UNSUPPORTED, false, "VBoxManage help lists what this version of VirtualBox knows"},
    {"Failed to create the VirtualBox object", VMCTL_E_UNAVAILABLE, true, NULL},
    {"Failed to initialize COM", VMCTL_E_UNAVAILABLE, true, NULL},
};

/* IPRT's status codes (include/iprt/err.h) that a result code hides. */
static const struct {
    const char *name;
    int code;
} statuses[] = {
    {"VERR_DISK_FULL", VMCTL_E_RESOURCE_EXHAUSTED},
    {"VERR_NO_MEMORY", VMCTL_E_RESOURCE_EXHAUSTED},
    {"VERR_NO_PHYS_MEMORY", VMCTL_E_RESOURCE_EXHAUSTED},
    {"VERR_OUT_OF_RESOURCES", VMCTL_E_RESOURCE_EXHAUSTED},
    {"VERR_FILE_NOT_FOUND", VMCTL_E_NOT_FOUND},
    {"VERR_PATH_NOT_FOUND", VMCTL_E_NOT_FOUND},
    {"VERR_ACCESS_DENIED", VMCTL_E_PERMISSION_DENIED},
    {"VERR_PERMISSION_DENIED", VMCTL_E_PERMISSION_DENIED},
    {"VERR_WRITE_PROTECT", VMCTL_E_PERMISSION_DENIED},
    {"VERR_NET_CONNECTION_REFUSED", VMCTL_E_UNAVAILABLE},
    {"VERR_NET_HOST_UNREACHABLE", VMCTL_E_UNAVAILABLE},
    {"VERR_NET_ADDRESS_IN_USE", VMCTL_E_BUSY},
    {"VERR_SHARING_VIOLATION", VMCTL_E_BUSY},
    {"VERR_TIMEOUT", VMCTL_E_TIMEOUT},
    {"VERR_NOT_SUPPORTED", VMCTL_E_UNSUPPORTED},
    {"VERR_VD_IMAGE_CORRUPTED", VMCTL_E_INVALID_ARGUMENT},
};

/* The SDK reference's result codes. */
static const struct {
    const char *name;
    int code;
} results[] = {
    {"VBOX_E_OBJECT_NOT_FOUND", VMCTL_E_NOT_FOUND},
    {"VBOX_E_INVALID_VM_STATE", VMCTL_E_INVALID_STATE},
    {"VBOX_E_INVALID_OBJECT_STATE", VMCTL_E_INVALID_STATE},
    {"VBOX_E_INVALID_SESSION_STATE", VMCTL_E_INVALID_STATE},
    {"VBOX_E_NOT_SUPPORTED", VMCTL_E_UNSUPPORTED},
    {"VBOX_E_PLATFORM_ARCH_NOT_SUPPORTED", VMCTL_E_UNSUPPORTED},
    {"VBOX_E_OBJECT_IN_USE", VMCTL_E_BUSY},
    {"VBOX_E_PASSWORD_INCORRECT", VMCTL_E_UNAUTHENTICATED},
    {"VBOX_E_MAXIMUM_REACHED", VMCTL_E_RESOURCE_EXHAUSTED},
    {"VBOX_E_GSTCTL_GUEST_ERROR", VMCTL_E_INVALID_STATE},
    {"VBOX_E_TIMEOUT", VMCTL_E_TIMEOUT},
    {"NS_ERROR_INVALID_ARG", VMCTL_E_INVALID_ARGUMENT},
    {"E_INVALIDARG", VMCTL_E_INVALID_ARGUMENT},
    {"NS_ERROR_NOT_IMPLEMENTED", VMCTL_E_UNSUPPORTED},
    {"E_NOTIMPL", VMCTL_E_UNSUPPORTED},
    {"NS_ERROR_OUT_OF_MEMORY", VMCTL_E_RESOURCE_EXHAUSTED},
    {"E_OUTOFMEMORY", VMCTL_E_RESOURCE_EXHAUSTED},
    {"E_ACCESSDENIED", VMCTL_E_PERMISSION_DENIED},
    {"NS_ERROR_CALL_FAILED", VMCTL_E_UNAVAILABLE},
    {"NS_ERROR_ABORT", VMCTL_E_UNAVAILABLE},
};

/* The sentences of an error joined, and the result code of its "Details" line. */
typedef struct report {
    vmc_str sentence;
    bool spoke;   /* there was such a line, be it empty */
    char *result; /* "VBOX_E_FILE_ERROR"; NULL */
    char *status; /* "VERR_ALREADY_EXISTS"; NULL */
} report;

static char *word_at(const char *text) {
    size_t length = 0;
    while (isalnum((unsigned char)text[length]) || text[length] == '_')
        length++;
    return vmc_strndup(text, length);
}

static void take_sentence(report *to, const char *line, size_t length) {
    to->spoke = true;
    if (to->sentence.length)
        vmc_str_add(&to->sentence, ": ");
    while (length && (line[length - 1] == '.' || isspace((unsigned char)line[length - 1])))
        length--;
    vmc_str_add_n(&to->sentence, line, length);
}

/* Usage texts follow a syntax error; they are no part of it. */
static bool ends_report(const char *line) {
    return vmc_starts_with(line, "Usage - ") || vmc_starts_with(line, "Usage:") || *line == '\n' || *line == '\r';
}

static void read_report(const char *text, report *to) {
    bool inside = false;
    for (const char *line = text; *line;) {
        size_t length = strcspn(line, "\n");
        const char *rest = line + sizeof prefix - 1;
        if (vmc_starts_with(line, prefix)) {
            inside = !vmc_starts_with(rest, "Details: ") && !vmc_starts_with(rest, "Context: ");
            if (inside)
                take_sentence(to, rest, length - (sizeof prefix - 1));
            else if (!to->result && vmc_starts_with(rest, "Details: code "))
                to->result = word_at(rest + strlen("Details: code "));
        } else if (inside && ends_report(line)) {
            inside = false;
        } else if (inside) {
            take_sentence(to, line, length); /* a message of several lines */
        }
        line += length + (line[length] == '\n');
    }
    const char *status = to->sentence.text ? strstr(to->sentence.text, "VERR_") : NULL;
    if (status)
        to->status = word_at(status);
}

static int code_of(const report *from, int status, size_t *sentence) {
    const char *words = from->sentence.text ? from->sentence.text : "";
    for (size_t i = 0; i < sizeof sentences / sizeof sentences[0]; i++) {
        if (strstr(words, sentences[i].words)) {
            *sentence = i;
            return sentences[i].code;
        }
    }
    for (size_t i = 0; from->status && i < sizeof statuses / sizeof statuses[0]; i++)
        if (strcmp(from->status, statuses[i].name) == 0)
            return statuses[i].code;
    for (size_t i = 0; from->result && i < sizeof results / sizeof results[0]; i++)
        if (strcmp(from->result, results[i].name) == 0)
            return results[i].code;
    /* The parser of options can fail without a word: "modifyvm --cpus abc". */
    return status == 2 || (from->spoke && !*words) ? VMCTL_E_INVALID_ARGUMENT : VMCTL_E_INTERNAL;
}

bool vboxmanage_has_error(const char *error_text) {
    for (const char *at = error_text; (at = strstr(at, prefix)); at++)
        if (at == error_text || at[-1] == '\n')
            return true;
    return false;
}

int vboxmanage_failed(const char *doing, int status, const char *error_text, vmctl_error **err) {
    report said = {0};
    read_report(error_text, &said);
    size_t which = sizeof sentences / sizeof sentences[0];
    int code = code_of(&said, status, &which);
    if (said.sentence.length)
        vmc_error(err, code, "%s failed: %s", doing, said.sentence.text);
    else
        vmc_error(err, code, "%s failed with exit status %d", doing, status);
    const char *native = said.result ? said.result : said.status;
    vmc_error_hypervisor(err, native, said.sentence.text ? said.sentence.text : error_text);
    if (which < sizeof sentences / sizeof sentences[0]) {
        if (sentences[which].retryable)
            vmc_error_retryable(err);
        if (sentences[which].next)
            vmc_error_next(err, "%s", sentences[which].next);
    } else if (code == VMCTL_E_UNAVAILABLE) {
        vmc_error_retryable(err);
    }
    vmc_str_free(&said.sentence);
    free(said.result);
    free(said.status);
    return code;
}
