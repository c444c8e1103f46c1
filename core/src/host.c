#include "internal.h"

int vmctl_host_info(vmctl_connection *connection, const vmctl_call *call, vmctl_host_fn each, void *user,
                    vmctl_error **err) {
    vmc_op op;
    int rc = vmc_op_begin(&op, connection, NULL, VMCTL_SLOT_host_info, call, VMC_ASK_MS, false, err);
    if (rc == 0 && !each)
        rc = vmc_error(&op.why, VMCTL_E_INVALID_ARGUMENT, "no callback was given");
    if (rc == 0)
        rc = op.ops->host_info(op.conn, &op.call, each, user, &op.why);
    return vmc_op_end(&op, rc, "look at the host");
}

int vmctl_host_list(vmctl_connection *connection, const vmctl_call *call, vmctl_host_fn each, void *user,
                    vmctl_error **err) {
    vmc_op op;
    int rc = vmc_op_begin(&op, connection, NULL, VMCTL_SLOT_host_list, call, VMC_ASK_MS, false, err);
    if (rc == 0 && !each)
        rc = vmc_error(&op.why, VMCTL_E_INVALID_ARGUMENT, "no callback was given");
    if (rc == 0)
        rc = op.ops->host_list(op.conn, &op.call, each, user, &op.why);
    return vmc_op_end(&op, rc, "list hosts");
}

int vmctl_pool_list(vmctl_connection *connection, const vmctl_call *call, vmctl_pool_fn each, void *user,
                    vmctl_error **err) {
    vmc_op op;
    int rc = vmc_op_begin(&op, connection, NULL, VMCTL_SLOT_pool_list, call, VMC_ASK_MS, false, err);
    if (rc == 0 && !each)
        rc = vmc_error(&op.why, VMCTL_E_INVALID_ARGUMENT, "no callback was given");
    if (rc == 0)
        rc = op.ops->pool_list(op.conn, &op.call, each, user, &op.why);
    return vmc_op_end(&op, rc, "list storage pools");
}

int vmctl_network_list(vmctl_connection *connection, const vmctl_call *call, vmctl_network_fn each, void *user,
                       vmctl_error **err) {
    vmc_op op;
    int rc = vmc_op_begin(&op, connection, NULL, VMCTL_SLOT_network_list, call, VMC_ASK_MS, false, err);
    if (rc == 0 && !each)
        rc = vmc_error(&op.why, VMCTL_E_INVALID_ARGUMENT, "no callback was given");
    if (rc == 0)
        rc = op.ops->network_list(op.conn, &op.call, each, user, &op.why);
    return vmc_op_end(&op, rc, "list networks");
}

int vmctl_metrics_list(vmctl_connection *connection, const vmctl_metrics_options *options, vmctl_metrics_fn each,
                       void *user, vmctl_error **err) {
    vmctl_metrics_options o = VMCTL_METRICS_OPTIONS_INIT;
    int rc = vmc_options_copy(&o, options, err);
    if (rc < 0)
        return rc;
    vmc_op op;
    rc = vmc_op_begin(&op, connection, NULL, VMCTL_SLOT_metrics_list, o.call, VMC_ASK_MS, false, err);
    o.call = &op.call;
    if (rc == 0 && !each)
        rc = vmc_error(&op.why, VMCTL_E_INVALID_ARGUMENT, "no callback was given");
    if (rc == 0)
        rc = op.ops->metrics_list(op.conn, &o, each, user, &op.why);
    return vmc_op_end(&op, rc, "read metrics");
}
