/* backends/libvirt/plan.c - all that a VM will be, worked out and checked before anything is made. */
#include "plan.h"

#include "base/random.h"
#include "cloud_init.h"
#include "drivers/seed_iso/seed_iso.h"
#include "host_check.h"
#include "networks.h"
#include "refuse.h"
#include "rpc.h"
#include "xpath.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void libvirt_plan_free(libvirt_plan *plan) {
    for (size_t i = 0; plan->disks && i < plan->disk_count; i++)
        libvirt_file_free(&plan->disks[i]);
    free(plan->disks);
    free(plan->disk_plans);
    libvirt_file_free(&plan->seed);
    libvirt_file_free(&plan->kernel);
    libvirt_file_free(&plan->initrd);
    free(plan->serial_log);
    libvirt_capabilities_free(plan->foreign);
    vmc_strv_free(&plan->warnings);
    libvirt_store_close(&plan->store);
    *plan = (libvirt_plan){0};
}

int libvirt_plan_host(libvirt_conn *conn, const char *arch, const char *accel, const vmc_deadline *deadline,
                      libvirt_host_features *host, libvirt_capabilities **foreign, vmctl_error **err) {
    if (conn->test_driver) {
        *host = (libvirt_host_features){.arch = "x86_64"};
        return 0;
    }
    const libvirt_capabilities *own = NULL;
    int code = libvirt_capabilities_get(conn, deadline, &own, err);
    if (code < 0)
        return code;
    if (arch && !vmc_str_eq(arch, own->features.arch)) {
        if (accel && strcmp(accel, "kvm") == 0)
            return vmc_error(err, VMCTL_E_UNSUPPORTED,
                             "accel: kvm runs guests of the host's own architecture %s, not %s", own->features.arch,
                             arch);
        code = libvirt_capabilities_of_arch(conn, arch, deadline, foreign, err);
        if (code < 0)
            return code;
        *host = (*foreign)->features;
        host->kvm = false;
        return 0;
    }
    *host = own->features;
    return libvirt_accel(conn, accel, deadline, &host->kvm, err);
}

/* name and text (UUID; NULL: not asked) -> found and out (whose name is taken), number (1: by its UUID) */
static int work_taken(libvirt_rpc *rpc) {
    rpc->domain = virDomainLookupByName(rpc->virt, rpc->name);
    if (!rpc->domain && libvirt_rpc_absent(rpc, VIR_ERR_NO_DOMAIN) < 0)
        return -1;
    if (!rpc->domain && rpc->text) {
        rpc->domain = virDomainLookupByUUIDString(rpc->virt, rpc->text);
        rpc->number = rpc->domain != NULL;
        if (!rpc->domain && libvirt_rpc_absent(rpc, VIR_ERR_NO_DOMAIN) < 0)
            return -1;
    }
    rpc->found = rpc->domain != NULL;
    if (rpc->found)
        rpc->out = vmc_strdup(virDomainGetName(rpc->domain));
    return 0;
}

int libvirt_check_free(libvirt_conn *conn, const char *name, const char *uuid, const vmc_deadline *deadline,
                       vmctl_error **err) {
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    rpc->name = vmc_strdup(name);
    rpc->text = vmc_strdup(uuid);
    int code = libvirt_rpc_run(conn, deadline, "looking for a VM of that name", work_taken, rpc, err);
    if (code < 0 || !rpc->found)
        return code;
    if (rpc->number)
        vmc_error(err, VMCTL_E_ALREADY_EXISTS, "the UUID %s belongs to %s already", uuid, rpc->out);
    else
        vmc_error(err, VMCTL_E_ALREADY_EXISTS, "there is a VM of the name %s already", name);
    return vmc_error_next(err, "choose another, or delete that VM first (vmctl delete %s)", rpc->out);
}

/* --- the parts -------------------------------------------------------------------------------------------- */

static int plan_disks(libvirt_plan *plan, const vmctl_node *disks, vmctl_error **err) {
    size_t count = vmctl_node_count(disks);
    plan->disks = vmc_alloc((count + 1) * sizeof *plan->disks);
    plan->disk_plans = vmc_alloc((count + 1) * sizeof *plan->disk_plans);
    int code = 0;
    for (size_t i = 0; code == 0 && i < count; i++) {
        code = libvirt_plan_disk(&plan->store, vmctl_node_at(disks, i), &plan->disks[i], err);
        if (code == 0)
            plan->disk_count = i + 1;
    }
    return code;
}

/* core keeps where a fetched image came from; the marker shall name that, and not the cache's file. */
static void name_origins(const vmctl_spec *spec, libvirt_plan *plan) {
    for (size_t i = 0; i < plan->disk_count; i++) {
        VMC_AUTO_FREE char *path = vmc_printf("disks[%zu].image", i);
        const char *url = plan->disks[i].origin ? vmc_spec_origin(spec, path) : NULL;
        if (!url)
            continue;
        free(plan->disks[i].origin);
        plan->disks[i].origin = vmc_strdup(url);
    }
}

static int plan_kernel(libvirt_plan *plan, const vmctl_node *boot, const char *key, libvirt_file *file,
                       vmctl_error **err) {
    const vmctl_node *node = vmctl_node_get(boot, key);
    if (!node)
        return 0;
    return libvirt_plan_medium(&plan->store, node, vmctl_node_string(node, NULL, ""), key, NULL, file, err);
}

int libvirt_plan_seed(libvirt_store *store, const libvirt_seed *texts, libvirt_file *out, vmctl_error **err) {
    seed_iso_file files[3] = {
        {"meta-data", texts->meta_data, strlen(texts->meta_data)},
        {"user-data", texts->user_data, strlen(texts->user_data)},
    };
    size_t count = 2;
    if (texts->network_config)
        files[count++] = (seed_iso_file){"network-config", texts->network_config, strlen(texts->network_config)};
    char *image = NULL;
    size_t length = 0;
    int code = seed_iso_build("cidata", files, count, &image, &length, err);
    return code < 0 ? code : libvirt_plan_bytes(store, LIBVIRT_SEED_NAME, image, length, out, err);
}

static int plan_seed(const vmctl_spec *spec, libvirt_plan *plan, vmctl_error **err) {
    if (vmctl_node_count(vmctl_node_get(vmctl_spec_root(spec), "cloudInit")) == 0)
        return 0;
    libvirt_seed texts;
    int code = libvirt_seed_texts(spec, plan->uuid, &texts, err);
    if (code == 0)
        code = libvirt_plan_seed(&plan->store, &texts, &plan->seed, err);
    libvirt_seed_free(&texts);
    return code;
}

int libvirt_plan_log(libvirt_store *store, const vmctl_node *node, char **path, vmctl_error **err) {
    const char *name = vmctl_node_string(node, NULL, "");
    if (!*name || strchr(name, '/') || *name == '.')
        return libvirt_refuse(err, VMCTL_E_INVALID_SPEC, node,
                              "the log is a file of the VM's folder: give a plain file name, not \"%s\"", name);
    return libvirt_plan_path(store, node, name, path, err);
}

static int plan_parts(libvirt_conn *conn, const vmctl_spec *spec, libvirt_plan *plan, vmctl_error **err) {
    const vmctl_node *root = vmctl_spec_root(spec);
    const vmctl_node *boot = vmctl_node_get(root, "boot");
    const vmctl_node *log = vmctl_node_get(root, "serial.log");
    int code = libvirt_networks_ready(conn, vmctl_node_get(root, "networks"), false, plan->store.deadline, err);
    if (code == 0)
        code = plan_disks(plan, vmctl_node_get(root, "disks"), err);
    if (code == 0)
        code = plan_kernel(plan, boot, "kernel", &plan->kernel, err);
    if (code == 0)
        code = plan_kernel(plan, boot, "initrd", &plan->initrd, err);
    if (code == 0)
        code = plan_seed(spec, plan, err);
    if (code == 0 && log)
        code = libvirt_plan_log(&plan->store, log, &plan->serial_log, err);
    if (code < 0)
        return code;
    name_origins(spec, plan);
    return libvirt_plan_fits(&plan->store, err);
}

/* --- the whole -------------------------------------------------------------------------------------------- */

int libvirt_plan_xml(const vmctl_spec *spec, libvirt_plan *plan, char **xml, vmctl_error **err) {
    for (size_t i = 0; i < plan->disk_count; i++)
        plan->disk_plans[i] = libvirt_file_plan(&plan->disks[i]);
    plan->domain.disks = plan->disk_plans;
    plan->domain.seed_iso = plan->seed.path;
    plan->domain.kernel = plan->kernel.path;
    plan->domain.initrd = plan->initrd.path;
    plan->domain.serial_log = plan->serial_log;
    plan->domain.host = &plan->host;
    VMC_AUTO_STRV own = {0}; /* removed with the VM, although no disk of it */
    const libvirt_file *others[] = {&plan->kernel, &plan->initrd};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (others[i]->kind == LIBVIRT_FILE_COPY)
            vmc_strv_add(&own, others[i]->path);
    plan->domain.own_files = &own;
    int code = libvirt_domain_xml(spec, &plan->domain, xml, err);
    plan->domain.own_files = NULL;
    return code;
}

static int plan_native(const vmctl_spec *spec, libvirt_plan *plan) {
    VMC_AUTO_FREE char *uuid = libvirt_xpath_text(vmctl_spec_native(spec, NULL), "/domain/uuid");
    if (uuid && strlen(uuid) == VIR_UUID_STRING_BUFLEN - 1) {
        memcpy(plan->uuid, uuid, VIR_UUID_STRING_BUFLEN);
        return 0;
    }
    return 1;
}

int libvirt_plan_vm(libvirt_conn *conn, const vmctl_spec *spec, const vmctl_marker *marker, bool predict,
                    const vmc_deadline *deadline, libvirt_plan *plan, vmctl_error **err) {
    const vmctl_node *root = vmctl_spec_root(spec);
    const char *name = vmctl_spec_name(spec);
    const char *native = vmctl_spec_native(spec, NULL);
    *plan = (libvirt_plan){0};
    libvirt_store_open(&plan->store, conn, deadline, name, NULL);
    plan->store.predict = predict;
    vmc_uuid_new(plan->uuid);
    bool own_uuid = native && plan_native(spec, plan) == 0;
    int code = 0;
    if (!predict)
        code = libvirt_check_free(conn, name, own_uuid ? plan->uuid : NULL, deadline, err);
    if (code == 0 && !native) {
        code = libvirt_plan_host(conn, vmctl_node_string(root, "arch", NULL), vmctl_node_string(root, "accel", NULL),
                                 deadline, &plan->host, &plan->foreign, err);
        if (code == 0 && !predict && !conn->test_driver)
            code = libvirt_host_check(conn, root, deadline, err);
        const libvirt_capabilities *own = NULL;
        if (code == 0 && !conn->test_driver && !conn->session &&
            libvirt_capabilities_get(conn, deadline, &own, NULL) == 0)
            plan->store.qemu_user = own->qemu_user;
        if (code == 0)
            code = plan_parts(conn, spec, plan, err);
    }
    if (code < 0)
        return code;
    plan->domain = (libvirt_domain_plan){
        .uuid = plan->uuid,
        .marker = marker,
        .remote = !conn->local,
        .session = conn->session,
        .test_driver = conn->test_driver,
        .warnings = &plan->warnings,
    };
    VMC_AUTO_FREE char *xml = NULL;
    code = libvirt_plan_xml(spec, plan, &xml, err);
    for (size_t i = 0; code == 0 && i < plan->warnings.count; i++)
        vmc_note(deadline, VMCTL_NOTE_WARNING, "%s", plan->warnings.items[i]);
    plan->domain.warnings = NULL;
    return code;
}
