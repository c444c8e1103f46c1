/* What a CI harness asks before it picks a hypervisor: prints the first backend that can do all of the features, or what is missing.
 *
 *   cc choose-hypervisor.c $(pkg-config --cflags --libs vmctl) -o choose-hypervisor
 *   ./choose-hypervisor snapshot.memory migrate.live
 *   ./choose-hypervisor --here snapshot.memory          # and whether it is possible on the endpoint that vmctl would go to
 *
 * Exit status as `vmctl caps --require`: 0, 2 (no such feature), 3 (missing), 9 (the endpoint does not answer).
 */
#include <stdio.h>
#include <string.h>
#include <vmctl/vmctl.h>

static int show_missing(const vmctl_cap *cap, void *user) {
    (void)user;
    const char *why = cap->probed && cap->here == VMCTL_LEVEL_NO ? cap->here_reason : cap->vmctl_reason;
    fprintf(stderr, "%s: %s lacks it%s%s\n", cap->feature, cap->backend, why ? ": " : "", why ? why : "");
    if (cap->probed && cap->here_remedy)
        fprintf(stderr, "  try: %s\n", cap->here_remedy);
    return 0;
}

int main(int argc, char **argv) {
    vmctl_error *err = NULL;
    vmctl_connection *connection = NULL;
    vmctl_caps_options options = VMCTL_CAPS_OPTIONS_INIT;
    const char *backend = NULL;
    int first = 1, code = 0;

    if (argc > 1 && strcmp(argv[1], "--here") == 0) {
        first = 2;
        code = vmctl_connect(NULL, &connection, &err);
        options.connection = connection;
    }
    if (code == 0) /* argv ends with NULL, as the list of features does */
        code = vmctl_caps_require(&options, (const char *const *)argv + first, &backend, show_missing, NULL, &err);
    if (code == 0)
        printf("%s\n", backend);
    else
        fprintf(stderr, "choose-hypervisor: %s\n", vmctl_error_text(err));
    vmctl_error_free(err);
    vmctl_connection_free(connection);
    return vmctl_code_exit_status(code);
}
