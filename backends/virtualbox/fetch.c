/* Files that VBoxManage writes on its own host and that are wanted here. */
#include "ops.h"

#include "drivers/vboxmanage/hold.h"
#include <stdlib.h>

int virtualbox_make_here(const virtualbox_conn *conn, const char *parent, const char *name, const char *local,
                         int (*make)(const char *path, void *user, vmctl_error **err), void *user,
                         const vmc_deadline *deadline, vmctl_error **err) {
    vboxmanage_held *held = NULL;
    if (!conn->manage->host)
        return make(local, user, err);
    int code = vboxmanage_hold(conn->manage, (const char *const[]){parent, NULL}, deadline, &held, err);
    if (code < 0)
        return code;
    VMC_AUTO_FREE char *there = vmc_printf("%s/%s", vboxmanage_held_folder(held), name);
    code = make(there, user, err);
    if (code == 0)
        code = vboxmanage_file_fetch(conn->manage, there, local, deadline, err);
    vboxmanage_release(held);
    return code;
}
