/* backends/libvirt/render.c - the domain's document that create would send, with the paths that its disks would get. */
#include "ops.h"

#include "plan.h"

enum { RENDER_MS = 60000 };

int libvirt_render(void *conn, const vmctl_spec *spec, const vmctl_call *call, char **out, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, RENDER_MS);
    libvirt_plan plan;
    int code = libvirt_plan_vm(conn, spec, NULL, true, &deadline, &plan, err);
    if (code == 0)
        code = libvirt_plan_xml(spec, &plan, out, err);
    libvirt_plan_free(&plan);
    return code;
}
