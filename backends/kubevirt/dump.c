/* The memory of a VM that runs, as an ELF core file: KubeVirt writes it to a claim, which is made for it, read by an export and removed again.
 * Source: KubeVirt's user guide, "Memory Dump"; v1.VirtualMachineMemoryDumpRequest; recording 88. */
#include "change.h"

#include "base/random.h"
#include "gates.h"
#include "quantity.h"
#include <stdlib.h>
#include <string.h>

enum { DUMP_MS = 3600000 };

#define MARK "vmctl.dev/dump" /* annotation: which dump made the claim */

typedef struct dumping {
    kubevirt_conn *conn;
    kubevirt_vm *vm;
    const vmc_deadline *deadline;
    char *claim;
    char *file; /* what KubeVirt called it */
} dumping;

static void dumping_free(dumping *d) {
    free(d->claim);
    free(d->file);
}

int kubevirt_dump_check(const cJSON *installation, const kubevirt_vm *vm, const cJSON *object, const cJSON *vmi,
                        vmctl_error **err) {
    const char *claim = vmc_json_string(object, "status.memoryDumpRequest.claimName", NULL);
    if (kubevirt_gate(installation, "HotplugVolumes") == 0 &&
        kubevirt_gate(installation, "DeclarativeHotplugVolumes") == 0) {
        vmc_error(err, VMCTL_E_UNSUPPORTED,
                  "the cluster's KubeVirt has its gate HotplugVolumes off, by which it dumps");
        return vmc_error_next(err, "an administrator adds HotplugVolumes to the KubeVirt object's featureGates");
    }
    if (!vmc_str_eq(vmc_json_string(vmi, "status.phase", NULL), "Running")) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "%s does not run: it has no memory", vm->name);
        return vmc_error_next(err, "vmctl start %s", vm->name);
    }
    if (!claim)
        return 0;
    vmc_error(err, VMCTL_E_BUSY, "%s has a memory dump on the claim %s already, and KubeVirt takes one at a time",
              vm->name, claim);
    return vmc_error_next(err, "virtctl memory-dump remove %s -n %s, when nobody needs it", vm->name,
                          vm->namespace_name);
}

/* --- the claim --------------------------------------------------------------------------------------------------------- */

/* The memory, the 100 MiB more that KubeVirt asks for, and room for a file system's own. */
static char *size_of(const cJSON *vmi) {
    uint64_t memory = kubevirt_quantity_of(vmc_json_at(vmi, "status.memory.guestCurrent"));
    if (!memory)
        memory = kubevirt_quantity_of(vmc_json_at(vmi, "spec.domain.memory.guest"));
    return kubevirt_quantity_format((((memory + (100u << 20)) / 10 * 11) >> 20 << 20) + (1u << 20));
}

/* It goes with the VM at the latest. */
static int make_claim(dumping *d, const cJSON *vmi, vmc_journal *journal, vmctl_error **err) {
    char mark[VMC_UUID_BYTES];
    vmc_uuid_new(mark);
    d->claim = vmc_printf("vmctl-dump-%.8s", mark);
    VMC_AUTO_FREE char *path = kube_path("", "v1", d->vm->namespace_name, "persistentvolumeclaims", NULL, NULL);
    VMC_AUTO_FREE char *detail = vmc_printf("%s/%s/%s %s", d->vm->namespace_name, d->vm->name, d->claim, mark);
    VMC_AUTO_FREE char *size = size_of(vmi);
    VMC_AUTO_JSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "apiVersion", "v1");
    cJSON_AddStringToObject(object, "kind", "PersistentVolumeClaim");
    cJSON *metadata = vmc_json_map(object, "metadata");
    cJSON_AddStringToObject(metadata, "name", d->claim);
    cJSON_AddStringToObject(vmc_json_map(metadata, "labels"), KUBEVIRT_LABEL_MANAGED, "vmctl");
    cJSON_AddStringToObject(vmc_json_map(metadata, "annotations"), MARK, mark);
    kubevirt_add_owner(object, d->vm->name, d->vm->uid);
    cJSON *spec = vmc_json_map(object, "spec");
    cJSON_AddItemToArray(vmc_json_list(spec, "accessModes"), cJSON_CreateString("ReadWriteOnce"));
    cJSON_AddStringToObject(spec, "volumeMode", "Filesystem");
    cJSON_AddStringToObject(vmc_json_map(spec, "resources.requests"), "storage", size);
    vmc_json_text(spec, "storageClassName", d->conn->storage_class);
    size_t noted = 0;
    int code = vmc_journal_add(journal, "dump", detail, &noted, err);
    if (code < 0)
        return code;
    code = kube_create(d->conn->client, path, object, NULL, d->deadline, NULL, err);
    if (code < 0 && !vmc_outcome_unknown(code))
        vmc_journal_drop(journal, noted, NULL);
    return code < 0 ? vmc_error_prefix(err, "a claim for the dump") : 0;
}

/* --- the request ------------------------------------------------------------------------------------------------------- */

static int is_written(const cJSON *object, void *user, vmctl_error **err) {
    dumping *d = user;
    const cJSON *request = vmc_json_at(object, "status.memoryDumpRequest");
    const char *phase = vmc_json_string(request, "phase", "");
    if (!object)
        return vmc_error(err, VMCTL_E_NOT_FOUND, "the VM was deleted meanwhile");
    if (!vmc_str_eq(vmc_json_string(request, "claimName", NULL), d->claim))
        return 0;
    if (strcmp(phase, "Failed") == 0) {
        const char *why = vmc_json_string(request, "message", NULL);
        vmc_error(err, VMCTL_E_UNAVAILABLE, "KubeVirt could not dump the memory%s%s", why ? ": " : "", why ? why : "");
        return vmc_error_hypervisor(err, "Failed", why);
    }
    if (strcmp(phase, "Completed") != 0)
        return 0;
    free(d->file);
    d->file = vmc_strdup(vmc_json_string(request, "fileName", ""));
    return 1;
}

static int is_let_go(const cJSON *object, void *user, vmctl_error **err) {
    (void)user;
    (void)err;
    return !vmc_json_at(object, "status.memoryDumpRequest");
}

static bool is_told_to_let_go(const cJSON *vm, const cJSON *vmi, const void *user) {
    (void)vmi;
    (void)user;
    return is_let_go(vm, NULL, NULL) || vmc_json_boolean(vm, "status.memoryDumpRequest.remove", false);
}

/* The claim is the VM's no more. Of one that has none 0, too. */
static int let_go(kubevirt_conn *conn, kubevirt_vm *vm, const vmc_deadline *deadline, vmctl_error **err) {
    vmctl_error *why = NULL;
    const kubevirt_action action = {.plural = "virtualmachines", .sub = "removememorydump", .shows = is_told_to_let_go};
    int code = kubevirt_act(conn, vm, &action, deadline, &why);
    if (code == VMCTL_E_INVALID_STATE || code == VMCTL_E_NOT_FOUND) {
        vmctl_error_free(why);
        return 0;
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    const kubevirt_waiting waiting = {.plural = "virtualmachines",
                                      .name = vm->name,
                                      .doing = "waiting for KubeVirt to let the dump go",
                                      .settled = is_let_go};
    return code < 0 ? code : kubevirt_wait(conn, vm, &waiting, deadline, err);
}

static bool is_asked(const cJSON *vm, const cJSON *vmi, const void *user) {
    const dumping *d = user;
    (void)vmi;
    return vmc_str_eq(vmc_json_string(vm, "status.memoryDumpRequest.claimName", NULL), d->claim);
}

static int ask(dumping *d, vmctl_error **err) {
    VMC_AUTO_JSON *body = cJSON_CreateObject();
    cJSON_AddStringToObject(body, "claimName", d->claim);
    cJSON_AddStringToObject(body, "phase", "");
    const kubevirt_action action = {
        .plural = "virtualmachines", .sub = "memorydump", .body = body, .shows = is_asked, .user = d};
    int code = kubevirt_act(d->conn, d->vm, &action, d->deadline, err);
    const kubevirt_waiting waiting = {.plural = "virtualmachines",
                                      .name = d->vm->name,
                                      .doing = "writing the memory",
                                      .settled = is_written,
                                      .user = d};
    if (code == 0)
        code = kubevirt_wait(d->conn, d->vm, &waiting, d->deadline, err);
    return code == 0 ? let_go(d->conn, d->vm, d->deadline, err) : code;
}

/* dump NAMESPACE/VM/CLAIM MARK */
int kubevirt_dump_undo(kubevirt_conn *conn, const char *detail, const vmc_deadline *deadline, vmctl_error **err) {
    const char *slash = strchr(detail, '/');
    const char *second = slash ? strchr(slash + 1, '/') : NULL;
    if (!second)
        return vmc_error(err, VMCTL_E_INTERNAL, "the journal's entry \"dump %s\" cannot be read", detail);
    VMC_AUTO_FREE char *namespace_name = vmc_strndup(detail, (size_t)(slash - detail));
    VMC_AUTO_FREE char *name = vmc_strndup(slash + 1, (size_t)(second - slash - 1));
    VMC_AUTO_FREE char *marked = vmc_printf("%s/%s", namespace_name, second + 1);
    KUBEVIRT_AUTO_MARKED made = {0};
    VMC_AUTO_JSON *object = NULL;
    kubevirt_vm vm = {.namespace_name = namespace_name, .name = name, .lock = PTHREAD_MUTEX_INITIALIZER};
    VMC_AUTO_FREE char *path = kubevirt_vm_path(&vm);
    vmctl_error *why = NULL;
    int code = kubevirt_marked_read("dump", marked, &made, err);
    if (code < 0)
        return code;
    code = kube_get(conn->client, path, deadline, &object, &why);
    if (code == 0 && vmc_str_eq(vmc_json_string(object, "status.memoryDumpRequest.claimName", NULL), made.name))
        code = let_go(conn, &vm, deadline, &why);
    if (code == VMCTL_E_NOT_FOUND)
        code = 0;
    if (code == 0) {
        vmctl_error_free(why);
        why = NULL;
        VMC_AUTO_FREE char *claim = kube_path("", "v1", namespace_name, "persistentvolumeclaims", made.name, NULL);
        code = kubevirt_marked_drop(conn, claim, MARK, &made, deadline, &why);
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}

int kubevirt_dump(void *opaque, void *handle, const char *path, vmc_journal *journal, const vmctl_call *call,
                  vmctl_error **err) {
    kubevirt_conn *conn = opaque;
    kubevirt_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(call, DUMP_MS);
    vmc_cleanup(dumping_free) dumping d = {.conn = conn, .vm = vm, .deadline = &deadline};
    const cJSON *installation = NULL;
    VMC_AUTO_JSON *object = NULL;
    VMC_AUTO_JSON *vmi = NULL;
    int code = kubevirt_vm_get(conn, vm, &deadline, &object, err);
    if (code == 0)
        code = kubevirt_vmi_get(conn, vm, &deadline, &vmi, err);
    if (code == 0)
        code = kubevirt_installation(conn, &deadline, &installation, err);
    if (code == 0)
        code = kubevirt_dump_check(installation, vm, object, vmi, err);
    if (code == 0)
        kubevirt_vm_met(vm, object);
    if (code == 0)
        code = make_claim(&d, vmi, journal, err);
    if (code == 0)
        code = ask(&d, err);
    if (code == 0)
        code = kubevirt_fetch_claim(conn, vm->namespace_name, d.claim, d.file, path, journal, &deadline, err);
    if (code < 0)
        return code; /* what is noted is undone */
    VMC_AUTO_FREE char *claim = kube_path("", "v1", vm->namespace_name, "persistentvolumeclaims", d.claim, NULL);
    vmctl_error *why = NULL;
    if (kube_delete(conn->client, claim, &(kube_write_options){.unique = true}, &deadline, NULL, &why) < 0)
        vmc_note(&deadline, VMCTL_NOTE_WARNING, "the claim %s/%s could not be removed, and goes with the VM: %s",
                 vm->namespace_name, d.claim, vmctl_error_message(why));
    vmctl_error_free(why);
    return 0;
}
