/* The libvirt backend's storage and undo against test:///default (libvirt's drvtest: pool "default-pool", network
 * "default"), through the public API where it reaches; and what undo must never remove. */
#include "backends/libvirt/host_path.h"
#include "backends/libvirt/ops.h"
#include "backends/libvirt/storage.h"
#include "base/file.h"
#include "base/str.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vmctl/vmctl.h>

#include <cmocka.h>

static char folder[] = "/tmp/vmctl-storage-XXXXXX";
static vmctl_connection *conn;
static vmctl_error *err;

#define FAILS(wanted, call)                                                                                            \
    do {                                                                                                               \
        int code_ = (call);                                                                                            \
        if (code_ != (wanted))                                                                                         \
            fail_msg("%s instead of %s: %s", vmctl_code_name(code_), vmctl_code_name(wanted),                          \
                     err ? vmctl_error_text(err) : "");                                                                \
    } while (0)

static void forget(void) {
    vmctl_error_free(err);
    err = NULL;
}

static char *file_of(const char *name, const char *bytes, size_t length) {
    char *path = vmc_printf("%s/%s", folder, name);
    assert_int_equal(vmc_file_write(path, bytes, length, 0644, NULL), 0);
    return path;
}

static int create(const char *disks, vmctl_vm **vm) {
    char text[2048];
    snprintf(text, sizeof text, "name: st\nmemory: 64MiB\nnetworks: []\ndisks: [%s]\n", disks);
    vmctl_spec_load_options options = VMCTL_SPEC_LOAD_OPTIONS_INIT;
    options.file_name = "st.yaml";
    vmctl_spec **specs = NULL;
    size_t count = 0;
    if (vmctl_spec_load(text, strlen(text), &options, &specs, &count, &err) < 0)
        fail_msg("%s", vmctl_error_text(err));
    int code = vmctl_create(conn, specs[0], NULL, vm, &err);
    vmctl_spec_list_free(specs);
    return code;
}

typedef struct wanted {
    const char *name;
    uint64_t bytes;
    bool found;
} wanted;

static int find_image(const vmctl_image *image, void *user) {
    wanted *to = user;
    if (strcmp(image->name, to->name) == 0) {
        to->found = true;
        to->bytes = image->virtual_bytes;
    }
    return 0;
}

static wanted volume(const char *name) {
    wanted to = {.name = name};
    FAILS(0, vmctl_image_list(conn, "default-pool", NULL, find_image, &to, &err));
    return to;
}

static void gone(const char *what, const char *name, void *user) {
    (void)what;
    vmc_strv_add(user, name);
}

static void a_blank_disk_is_made_and_goes_with_the_vm(void **state) {
    (void)state;
    vmctl_vm *vm = NULL;
    FAILS(0, create("{name: data, size: 3MiB, pool: default-pool}", &vm));
    wanted made = volume("st-data.qcow2");
    assert_true(made.found);
    assert_int_equal(made.bytes, 3 * 1024 * 1024);
    VMC_AUTO_STRV removed = {0};
    vmctl_delete_options options = VMCTL_DELETE_OPTIONS_INIT;
    options.removed = gone;
    options.user = &removed;
    FAILS(0, vmctl_vm_delete(vm, &options, &err));
    assert_true(vmc_strv_has(&removed, "/default-pool/st-data.qcow2"));
    assert_false(volume("st-data.qcow2").found);
    vmctl_vm_free(vm);
}

static void kept_disks_stay_and_their_names_are_taken(void **state) {
    (void)state;
    vmctl_vm *vm = NULL;
    FAILS(0, create("{name: data, size: 3MiB, pool: default-pool}", &vm));
    vmctl_delete_options options = VMCTL_DELETE_OPTIONS_INIT;
    options.disks = VMCTL_DELETE_KEEP_DISKS;
    FAILS(0, vmctl_vm_delete(vm, &options, &err));
    vmctl_vm_free(vm);
    assert_true(volume("st-data.qcow2").found);

    /* The second disk is in the way: the first one must be gone again, and no VM there. */
    vm = NULL;
    FAILS(VMCTL_E_ALREADY_EXISTS,
          create("{name: a, size: 1MiB, pool: default-pool}, {name: data, size: 3MiB, pool: default-pool}", &vm));
    assert_null(vm);
    assert_non_null(strstr(vmctl_error_text(err), "st.yaml:4:"));
    forget();
    assert_false(volume("st-a.qcow2").found);
    FAILS(VMCTL_E_NOT_FOUND, vmctl_vm_lookup(conn, "st", NULL, &vm, &err));
    forget();

    /* As a volume of the VM it stays when that goes, and is in use meanwhile. */
    FAILS(0, create("{name: data, volume: default-pool/st-data.qcow2}", &vm));
    FAILS(VMCTL_E_BUSY, vmctl_image_delete(conn, "default-pool/st-data.qcow2", NULL, &err));
    forget();
    FAILS(0, vmctl_vm_delete(vm, NULL, &err));
    vmctl_vm_free(vm);
    assert_true(volume("st-data.qcow2").found);
    FAILS(0, vmctl_image_delete(conn, "default-pool/st-data.qcow2", NULL, &err));
    assert_false(volume("st-data.qcow2").found);
}

static void what_is_wrong_is_said_with_its_line(void **state) {
    (void)state;
    VMC_AUTO_FREE char *small = file_of("small.img", "\xeb\xfe", 2);
    assert_non_null(small);
    vmctl_vm *vm = NULL;
    FAILS(VMCTL_E_NOT_FOUND, create("{name: a, size: 1MiB, pool: nowhere}", &vm));
    assert_non_null(strstr(vmctl_error_text(err), "disks.a.pool"));
    assert_non_null(strstr(vmctl_error_next(err), "default-pool"));
    forget();
    FAILS(VMCTL_E_NOT_FOUND, create("{name: a, volume: default-pool/none}", &vm));
    assert_non_null(strstr(vmctl_error_text(err), "st.yaml:4:"));
    forget();
    FAILS(VMCTL_E_NOT_FOUND, create("{name: a, image: /nowhere/x.img, pool: default-pool}", &vm));
    assert_non_null(strstr(vmctl_error_text(err), "/nowhere/x.img"));
    forget();
}

/* --- undo ------------------------------------------------------------------------------------------------- */

static libvirt_conn *open_test(void) {
    vmctl_call call = VMCTL_CALL_INIT;
    vmctl_endpoint endpoint = {.size = sizeof endpoint, .call = &call, .uri = "test:///default"};
    vmctl_opened opened = {.size = sizeof opened};
    void *backend = NULL;
    assert_int_equal(libvirt_open(&endpoint, &backend, &opened, NULL), 0);
    free(opened.uri);
    free(opened.reason);
    return backend;
}

static void what_is_not_there_is_undone(void **state) {
    (void)state;
    libvirt_conn *backend = open_test();
    vmctl_call call = VMCTL_CALL_INIT;
    FAILS(0, libvirt_undo(backend, "domain", "6f1e7c1a-0d4e-4e0b-9d0a-3f6a5b2c1d00 x", &call, &err));
    FAILS(0, libvirt_undo(backend, "volume", "default-pool/none", &call, &err));
    FAILS(0, libvirt_undo(backend, "volume", "nowhere/none", &call, &err));
    FAILS(0, libvirt_undo(backend, "file", "/nowhere/at/all", &call, &err));
    FAILS(0, libvirt_undo(backend, "inode", "1:1 /nowhere/at/all", &call, &err));
    FAILS(VMCTL_E_INTERNAL, libvirt_undo(backend, "teapot", "x", &call, &err));
    forget();
    libvirt_close(backend);
}

/* Another file under the same name is somebody else's. */
static void only_the_very_file_is_undone(void **state) {
    (void)state;
    libvirt_conn *backend = open_test();
    backend->test_driver = false; /* its files are real here, and no pool knows them */
    vmctl_call call = VMCTL_CALL_INIT;
    VMC_AUTO_FREE char *ours = file_of("ours.img", "x", 1);
    VMC_AUTO_FREE char *theirs = file_of("theirs.img", "y", 1);
    struct stat st;
    assert_int_equal(stat(ours, &st), 0);
    VMC_AUTO_FREE char *wrong =
        vmc_printf("%llu:%llu %s", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino, theirs);
    VMC_AUTO_FREE char *right =
        vmc_printf("%llu:%llu %s", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino, ours);
    FAILS(0, libvirt_undo(backend, "inode", wrong, &call, &err));
    assert_true(vmc_file_exists(theirs));
    FAILS(0, libvirt_undo(backend, "inode", right, &call, &err));
    assert_false(vmc_file_exists(ours));
    libvirt_close(backend);
}

/* The domain "test" of drvtest runs: another UUID must not touch it, its own takes it away. */
static void a_domain_is_undone_by_its_uuid(void **state) {
    (void)state;
    libvirt_conn *backend = open_test();
    vmctl_call call = VMCTL_CALL_INIT;
    vmctl_vm *vm = NULL;
    FAILS(0, create("{name: data, size: 1MiB, pool: default-pool}", &vm));
    VMC_AUTO_FREE char *other = vmc_printf("6f1e7c1a-0d4e-4e0b-9d0a-3f6a5b2c1d00 st");
    VMC_AUTO_FREE char *own = vmc_printf("%s st", vmctl_vm_id(vm));
    vmctl_vm_free(vm);
    FAILS(0, libvirt_undo(backend, "domain", other, &call, &err));
    FAILS(0, vmctl_vm_lookup(conn, "st", NULL, &vm, &err));
    vmctl_vm_free(vm);
    /* A change's disk that the VM has by now stays; what no VM has goes. */
    FAILS(0, libvirt_undo(backend, "added-volume", "default-pool/st-data.qcow2", &call, &err));
    assert_true(volume("st-data.qcow2").found);
    FAILS(0, libvirt_undo(backend, "domain", own, &call, &err));
    FAILS(VMCTL_E_NOT_FOUND, vmctl_vm_lookup(conn, "st", NULL, &vm, &err));
    forget();
    FAILS(0, libvirt_undo(backend, "added-volume", "default-pool/st-data.qcow2", &call, &err));
    assert_false(volume("st-data.qcow2").found);
    libvirt_close(backend);
}

/* --- the host's folders ----------------------------------------------------------------------------------- */

static void a_closed_folder_is_named(void **state) {
    (void)state;
    VMC_AUTO_FREE char *closed = vmc_printf("%s/closed", folder);
    VMC_AUTO_FREE char *inside = vmc_printf("%s/closed/x.img", folder);
    assert_int_equal(mkdir(closed, 0700), 0);
    assert_int_equal(vmc_file_write(inside, "x", 1, 0644, NULL), 0);
    char *where = NULL;
    assert_true(libvirt_path_reachable(NULL, inside, &where));
    assert_true(libvirt_path_reachable("no-such-user-here", inside, &where));
    assert_null(where);
    if (geteuid() == 0) {
        assert_int_equal(chmod(folder, 0755), 0);
        assert_false(libvirt_path_reachable("nobody", inside, &where));
        assert_string_equal(where, closed);
        free(where);
        where = NULL;
        assert_int_equal(chmod(closed, 0711), 0);
        assert_true(libvirt_path_reachable("nobody", inside, &where));
    }
}

static int set_up(void **state) {
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    setenv("XDG_STATE_HOME", folder, 1);
    setenv("XDG_CACHE_HOME", folder, 1);
    vmctl_connect_options options = VMCTL_CONNECT_OPTIONS_INIT;
    options.uri = "test:///default";
    if (vmctl_connect(&options, &conn, &err) == 0)
        return 0;
    print_error("%s\n", vmctl_error_text(err));
    return -1;
}

static int tear_down(void **state) {
    (void)state;
    vmctl_connection_free(conn);
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command); /* NOLINT: mkdtemp's name */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_blank_disk_is_made_and_goes_with_the_vm),
        cmocka_unit_test(kept_disks_stay_and_their_names_are_taken),
        cmocka_unit_test(what_is_wrong_is_said_with_its_line),
        cmocka_unit_test(what_is_not_there_is_undone),
        cmocka_unit_test(only_the_very_file_is_undone),
        cmocka_unit_test(a_domain_is_undone_by_its_uuid),
        cmocka_unit_test(a_closed_folder_is_named),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
