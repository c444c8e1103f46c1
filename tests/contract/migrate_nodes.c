/* migrate_nodes.c - moving inside one endpoint that is many hosts, by their names; and from one kind of storage there to another. What the guest
 * prints is the witness: one boot, and the count goes on. Endpoints that are one host refuse the name of another. */
#include "migrate.h"

enum { HOST_NAME = 64 };

typedef struct hosts {
    char names[8][HOST_NAME];
    size_t count;
} hosts;

static int take_host(const vmctl_host *host, void *user) {
    hosts *to = user;
    if (to->count < 8)
        snprintf(to->names[to->count++], sizeof to->names[0], "%s", host->name);
    return 0;
}

static int take_place(const vmctl_vm_info *info, void *user) {
    snprintf(user, HOST_NAME, "%s", info->host ? info->host : "");
    return 0;
}

static const char *host_of(vmctl_vm *vm) {
    static char name[64];
    MUST(vmctl_vm_get(vm, NULL, take_place, name, &err));
    return name;
}

/* Another host than the one that the VM is on. */
static const char *other_host(vmctl_vm *vm) {
    static char name[64];
    const char *now = host_of(vm);
    hosts all = {.count = 0};
    MUST(vmctl_host_list(conn, NULL, take_host, &all, &err));
    for (size_t i = 0; i < all.count; i++)
        if (strcmp(all.names[i], now) != 0) {
            snprintf(name, sizeof name, "%s", all.names[i]);
            return name;
        }
    fail_msg("the endpoint has no second host besides %s", now);
    return NULL;
}

/* A VM whose migrations take so long, or fail, as the stand-in for its hypervisor reads in its annotations. */
static vmctl_vm *make_moving(const char *name, const char *annotation, const char *value) {
    return make_started(name,
                        "kubevirt: {patch: [{op: add, path: /spec/template/metadata/annotations, value: {\"%s\": "
                        "\"%s\"}}]}",
                        annotation, value);
}

static void to_a_named_host(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("no-a", "%s", "");
    int line = wait_line(vm, 2).line;
    const char *there = other_host(vm);
    MUST(vmctl_vm_migrate(vm, NULL, there, NULL, &err));
    assert_string_equal(host_of(vm), there);
    assert_int_equal(state_after(vm, VMCTL_STATE_RUNNING), VMCTL_STATE_RUNNING);
    assert_int_equal(wait_line(vm, line + 2).boots, 1);
    vmctl_vm_free(vm);
}

static void wherever_the_platform_chooses(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("no-b", "%s", "");
    int line = wait_line(vm, 1).line;
    char before[64];
    snprintf(before, sizeof before, "%s", host_of(vm));
    MUST(vmctl_vm_migrate(vm, NULL, "", NULL, &err));
    assert_string_not_equal(host_of(vm), before);
    assert_int_equal(wait_line(vm, line + 1).boots, 1);
    vmctl_vm_free(vm);
}

/* Both with and without a dry run, and nothing has begun after it. */
static void is_in_the_way(vmctl_vm *vm, const char *host, int code, const char *what) {
    for (int dry = 0; dry < 2; dry++) {
        heard list = {0};
        vmctl_migrate_options options = VMCTL_MIGRATE_OPTIONS_INIT;
        options.dry_run = dry;
        options.obstacle = take_obstacle;
        options.user = &list;
        FAILS(code, vmctl_vm_migrate(vm, NULL, host, &options, &err));
        assert_int_equal(list.fatal, 1);
        assert_true(in_the_way(&list, what));
        char reason[256] = "";
        snprintf(reason, sizeof reason, "%.*s", (int)strcspn(list.text, "\n"), list.text);
        assert_non_null(strstr(failure, reason + strlen(what) + 2)); /* after "what: " */
    }
    FAILS(VMCTL_E_INVALID_STATE, vmctl_vm_migrate_abort(vm, NULL, &err));
}

static void the_preflight_names_what_is_in_the_way(void **state) {
    (void)state;
    vmctl_vm *off = make("no-c", "%s", ""), *vm = make_started("no-d", "%s", "");
    char here[64];
    snprintf(here, sizeof here, "%s", host_of(vm));
    is_in_the_way(off, here, VMCTL_E_INVALID_STATE, "stopped");
    is_in_the_way(vm, here, VMCTL_E_INVALID_STATE, "same-host");
    is_in_the_way(vm, "nowhere-at-all", VMCTL_E_NOT_FOUND, "node");
    vmctl_migrate_options dry = VMCTL_MIGRATE_OPTIONS_INIT;
    dry.dry_run = true;
    MUST(vmctl_vm_migrate(vm, NULL, other_host(vm), &dry, &err));
    assert_string_equal(host_of(vm), here);
    vmctl_vm_free(off);
    vmctl_vm_free(vm);
}

static void at_the_deadline_it_stays(void **state) {
    (void)state;
    vmctl_vm *vm = make_moving("no-e", "vmctl.test/migration-seconds", "600");
    int line = wait_line(vm, 1).line;
    char here[64];
    snprintf(here, sizeof here, "%s", host_of(vm));
    vmctl_call call = VMCTL_CALL_INIT;
    call.timeout_ms = 3000;
    vmctl_migrate_options options = VMCTL_MIGRATE_OPTIONS_INIT;
    options.call = &call;
    FAILS(VMCTL_E_TIMEOUT, vmctl_vm_migrate(vm, NULL, other_host(vm), &options, &err));
    assert_int_equal(state_after(vm, VMCTL_STATE_RUNNING), VMCTL_STATE_RUNNING);
    assert_string_equal(host_of(vm), here);
    FAILS(VMCTL_E_INVALID_STATE, vmctl_vm_migrate_abort(vm, NULL, &err)); /* none is left */
    assert_int_equal(wait_line(vm, line + 1).boots, 1);
    vmctl_vm_free(vm);
}

static void one_that_fails_says_why(void **state) {
    (void)state;
    vmctl_vm *vm = make_moving("no-f", "vmctl.test/migration", "fails");
    char here[64];
    snprintf(here, sizeof here, "%s", host_of(vm));
    FAILS(VMCTL_E_UNAVAILABLE, vmctl_vm_migrate(vm, NULL, other_host(vm), NULL, &err));
    assert_non_null(strstr(failure, "MigrateToURI3")); /* the hypervisor's own words */
    assert_string_equal(host_of(vm), here);
    assert_int_equal(state_after(vm, VMCTL_STATE_RUNNING), VMCTL_STATE_RUNNING);
    vmctl_vm_free(vm);
}

typedef struct other_caller {
    vmctl_vm *vm;
    char host[64];
    int rc;
    char text[512];
} other_caller;

static void *migrate_slowly(void *user) {
    other_caller *other = user;
    vmctl_error *why = NULL;
    other->rc = vmctl_vm_migrate(other->vm, NULL, other->host, NULL, &why);
    snprintf(other->text, sizeof other->text, "%s", why ? vmctl_error_text(why) : "");
    vmctl_error_free(why);
    return NULL;
}

static void another_caller_can_stop_it(void **state) {
    (void)state;
    vmctl_vm *vm = make_moving("no-g", "vmctl.test/migration-seconds", "600");
    other_caller other = {0};
    snprintf(other.host, sizeof other.host, "%s", other_host(vm));
    MUST(vmctl_vm_lookup(conn, "no-g", NULL, &other.vm, &err));
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, migrate_slowly, &other), 0);
    int rc = VMCTL_E_INVALID_STATE; /* until it has begun */
    for (int64_t until = now_ms() + 60000; rc == VMCTL_E_INVALID_STATE && now_ms() < until; sleep_ms(50)) {
        vmctl_error_free(err);
        err = NULL;
        rc = vmctl_vm_migrate_abort(vm, NULL, &err);
    }
    pthread_join(thread, NULL);
    MUST(rc);
    assert_int_equal(other.rc, VMCTL_E_CANCELLED);
    assert_int_equal(state_after(vm, VMCTL_STATE_RUNNING), VMCTL_STATE_RUNNING);
    vmctl_vm_free(other.vm);
    vmctl_vm_free(vm);
}

/* --- to another kind of storage ---------------------------------------------------------------------------------------- */

static void a_disk_moves_to_another_pool(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("no-i", "%s", "");
    int line = wait_line(vm, 1).line;
    seen facts;
    look(vm, &facts);
    char before[512];
    snprintf(before, sizeof before, "%s", device(&facts, "root")->source);
    effects told = {0};
    MUST(change(vm, "disk.root.pool", "no-snapshots", true, false, &told));
    assert_int_equal(told.now, 1);
    look(vm, &facts);
    assert_string_not_equal(device(&facts, "root")->source, before);
    assert_int_equal(facts.restart_required, 0);
    assert_true(device(&facts, "root")->own);
    assert_int_equal(wait_line(vm, line + 1).boots, 1);
    vmctl_spec *spec = NULL; /* which knows the image that it began as */
    MUST(vmctl_vm_spec(vm, NULL, &spec, &err));
    assert_string_equal(vmctl_node_string(vmctl_node_get(vmctl_spec_root(spec), "disks.root.image"), NULL, ""),
                        guest_image);
    assert_string_equal(vmctl_node_string(vmctl_node_get(vmctl_spec_root(spec), "disks.root.pool"), NULL, ""),
                        "no-snapshots");
    vmctl_spec_free(spec);
    /* A class that is not there, and a VM that does not run. */
    FAILS(VMCTL_E_NOT_FOUND, change(vm, "disk.root.pool", "none", true, false, &told));
    force_off(vm);
    FAILS(VMCTL_E_INVALID_STATE, change(vm, "disk.root.pool", "local", false, false, &told));
    assert_non_null(strstr(failure, "vmctl start no-i"));
    vmctl_vm_free(vm);
}

static void a_copy_that_fails_is_taken_back(void **state) {
    (void)state;
    vmctl_vm *vm = make_moving("no-j", "vmctl.test/migration", "fails");
    char *before = native_of(vm), *world_before = world();
    effects told = {0};
    FAILS(VMCTL_E_UNAVAILABLE, change(vm, "disk.root.pool", "no-snapshots", true, false, &told));
    assert_non_null(strstr(failure, "MigrateToURI3"));
    assert_int_equal(told.count, 0);
    seen facts;
    look(vm, &facts);
    assert_string_equal(device(&facts, "root")->source, "no-j-root");
    assert_int_equal(state_after(vm, VMCTL_STATE_RUNNING), VMCTL_STATE_RUNNING);
    char *world_now = world_after(world_before);
    assert_string_equal(world_before, world_now);
    free(before);
    free(world_before);
    free(world_now);
    vmctl_vm_free(vm);
}

static const contract_test tests[] = {
    TEST("migrate.live migrate.node", "migrate", to_a_named_host),
    TEST("migrate.live migrate.node", "migrate", wherever_the_platform_chooses),
    TEST("migrate.preflight migrate.node", "migrate", the_preflight_names_what_is_in_the_way),
    TEST("migrate.live migrate.node", "migrate", at_the_deadline_it_stays),
    TEST("migrate.live migrate.node", "migrate", one_that_fails_says_why),
    TEST("migrate.abort migrate.node", "migrate migrate_abort", another_caller_can_stop_it),
    TEST("storage.pool storage.pool.move", "change", a_disk_moves_to_another_pool),
    TEST("storage.pool storage.pool.move", "change", a_copy_that_fails_is_taken_back),
};
const contract_group migrate_nodes = {.tests = tests, .count = sizeof tests / sizeof tests[0]};
