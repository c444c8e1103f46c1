/* snapshot.c - snapshots: the guest's count goes back to what it was, and what is refused touches nothing. */
#include "contract.h"

#include <pthread.h>

/* Disks of the format that snapshots need; the boot sector is the root disk. */
#define DISK    "disks: [{name: root, image: %s%s}]"
#define ON_DISK guest_image, as_format()

static const char *as_format(void) {
    static char text[64];
    if (can("storage.format"))
        snprintf(text, sizeof text, ", format: %s", profile->formats[0]);
    return text;
}

typedef struct taken {
    size_t count;
    struct {
        char name[64], id[64], parent[64], description[128];
        vmctl_state state;
        bool memory, current, external;
        int quiesced;
        int64_t created;
    } items[16];
} taken;

static int take_one(const vmctl_snapshot *snapshot, void *user) {
    taken *to = user;
    assert_true(to->count < 16);
    snprintf(to->items[to->count].name, 64, "%s", snapshot->name);
    snprintf(to->items[to->count].id, 64, "%s", snapshot->id ? snapshot->id : "");
    snprintf(to->items[to->count].parent, 64, "%s", snapshot->parent ? snapshot->parent : "");
    snprintf(to->items[to->count].description, 128, "%s", snapshot->description ? snapshot->description : "");
    to->items[to->count].state = snapshot->state;
    to->items[to->count].memory = snapshot->memory;
    to->items[to->count].current = snapshot->current;
    to->items[to->count].external = snapshot->external;
    to->items[to->count].quiesced = snapshot->quiesced;
    to->items[to->count++].created = snapshot->created;
    return 0;
}

static taken snapshots_of(vmctl_vm *vm) {
    taken all = {0};
    MUST(vmctl_snapshot_list(vm, NULL, take_one, &all, &err));
    return all;
}

static size_t at(const taken *all, const char *name) {
    for (size_t i = 0; i < all->count; i++)
        if (strcmp(all->items[i].name, name) == 0)
            return i;
    print_error("no snapshot %s among %zu\n", name, all->count);
    fail();
    return 0;
}

static void snap(vmctl_vm *vm, const char *name) {
    MUST(vmctl_snapshot_create(vm, name, NULL, &err));
}

static void revert(vmctl_vm *vm, const char *name) {
    MUST(vmctl_snapshot_revert(vm, name, NULL, &err));
}

typedef struct log_text {
    char bytes[65536];
    size_t length;
} log_text;

static int take_log(const void *bytes, size_t length, void *user) {
    log_text *to = user;
    assert_true(to->length + length < sizeof to->bytes);
    memcpy(to->bytes + to->length, bytes, length);
    to->length += length;
    to->bytes[to->length] = 0;
    return 0;
}

static const log_text *log_of(vmctl_vm *vm) {
    static log_text log;
    log.length = 0;
    MUST(vmctl_serial_log(vm, NULL, take_log, &log, &err));
    return &log;
}

/* What a VM is that was paused in a snapshot: where none can be started paused, its memory is saved. */
static vmctl_state paused_again(void) {
    return profile->starts_paused ? VMCTL_STATE_PAUSED : VMCTL_STATE_SAVED;
}

/* The next line of a paused VM tells where its memory was: nothing is printed before it goes on. */
static int next_line(vmctl_vm *vm) {
    vmctl_state state = state_of(vm);
    assert_true(state == VMCTL_STATE_PAUSED || state == paused_again());
    wait_quiet(vm);
    size_t before = log_of(vm)->length;
    int line = 0, end = 0;
    if (state == VMCTL_STATE_SAVED)
        start(vm);
    else
        MUST(vmctl_vm_resume(vm, NULL, &err));
    for (int64_t until = now_ms() + PATIENCE_MS; now_ms() < until; sleep_ms(20)) {
        const char *text = strstr(log_of(vm)->bytes + before, "vmctl guest: line ");
        if (text && sscanf(text, "vmctl guest: line %d%n", &line, &end) == 1 && text[end] == '\r')
            return line;
    }
    fail();
    return 0;
}

/* Paused between two lines, never in the middle of one, of which a revert would print the rest only. */
static void pause_at(vmctl_vm *vm, int line) {
    bool whole = false;
    wait_line(vm, line);
    for (int tries = 0; !whole && tries < 20; tries++) {
        if (tries)
            MUST(vmctl_vm_resume(vm, NULL, &err));
        MUST(vmctl_vm_pause(vm, NULL, &err));
        wait_quiet(vm);
        const log_text *log = log_of(vm);
        whole = log->length && log->bytes[log->length - 1] == '\n';
    }
}

/* The sums of a VM's own disk, by a program that QEMU itself comes with. */
static void sum_of(const char *path, char out[128]) {
    char command[700];
    snprintf(command, sizeof command, "sha256sum '%s'", path);
    FILE *pipe = popen(command, "re");
    assert_non_null(pipe);
    assert_non_null(fgets(out, 128, pipe));
    assert_int_equal(pclose(pipe), 0);
}

static void root_path(vmctl_vm *vm, char out[512]) {
    seen facts;
    look(vm, &facts);
    snprintf(out, 512, "%s", device(&facts, "root")->source);
}

/* Where nothing tells which came of which: the oldest first, each for itself, with the VM's definition of then. */
static void side_by_side(void) {
    static const char *const names[] = {"base", "a", "b"};
    vmctl_vm *vm = make("snap-side", DISK "\ndescription: first", ON_DISK);
    effects seen_effects = {0};
    for (int i = 0; i < 3; i++) {
        char cpus[2] = {(char)('1' + i), 0};
        MUST(change(vm, "cpus", cpus, false, false, &seen_effects));
        snap(vm, names[i]);
        sleep_ms(1000); /* Kubernetes' clock has whole seconds */
    }
    taken all = snapshots_of(vm);
    assert_int_equal(all.count, 3);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(all.items[i].name, names[i]);
        assert_string_equal(all.items[i].parent, "");
        assert_false(all.items[i].memory);
        assert_int_not_equal(all.items[i].created, 0);
    }
    for (int i = 0; i < 3; i++) {
        int which = (i * 2) % 3;
        seen facts;
        revert(vm, names[which]);
        look(vm, &facts);
        assert_int_equal(facts.cpus, which + 1);
        assert_string_equal(facts.description, "first");
        assert_true(device(&facts, "root")->own);
    }
    start(vm);
    wait_line(vm, 1);
    vmctl_vm_free(vm);
}

/* base -> a -> (b, c), base -> d: five nodes, three branches. */
static void a_tree_of_five_gives_each_count_back(void **state) {
    (void)state;
    if (profile->bare_snapshots) {
        side_by_side();
        return;
    }
    static const char *const names[] = {"base", "a", "b", "c", "d"};
    static const char *const parents[] = {"", "base", "a", "a", "base"};
    int lines[5];
    vmctl_vm *vm = make_started("snap-tree", DISK, ON_DISK);
    pause_at(vm, 3);
    for (int i = 0; i < 5; i++) {
        if (i == 3)
            revert(vm, "a");
        if (i == 4)
            revert(vm, "base");
        if (i == 3 || i == 4) { /* a reverted VM is as it was: paused */
            next_line(vm);
            pause_at(vm, lines[i == 3 ? 1 : 0] + 2 + i);
        }
        lines[i] = printed_by(vm).line;
        snap(vm, names[i]);
        if (i < 2) {
            MUST(vmctl_vm_resume(vm, NULL, &err));
            pause_at(vm, lines[i] + 3);
        } else if (i == 2) {
            MUST(vmctl_vm_resume(vm, NULL, &err));
            pause_at(vm, lines[i] + 2);
        }
    }
    taken all = snapshots_of(vm);
    assert_int_equal(all.count, 5);
    for (int i = 0; i < 5; i++) {
        size_t k = at(&all, names[i]);
        assert_string_equal(all.items[k].parent, parents[i]);
        assert_true(all.items[k].memory);
        assert_int_equal(all.items[k].state, VMCTL_STATE_PAUSED);
        assert_int_equal(all.items[k].current, i == 4);
        assert_int_not_equal(all.items[k].created, 0);
        if (i > 0)
            assert_true(at(&all, parents[i]) < k); /* parents before children */
    }
    for (int i = 0; i < 5; i++) {
        int which = (i * 2) % 5; /* across the branches */
        revert(vm, names[which]);
        assert_int_equal(next_line(vm), lines[which] + 1);
        all = snapshots_of(vm);
        for (int k = 0; k < 5; k++)
            assert_int_equal(all.items[at(&all, names[k])].current, k == which);
    }
    vmctl_vm_free(vm);
}

static void a_running_vm_is_taken_with_memory_and_goes_on(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("snap-a", DISK, ON_DISK);
    int line = wait_line(vm, 2).line;
    taken made = {0};
    vmctl_snapshot_create_options options = VMCTL_SNAPSHOT_CREATE_OPTIONS_INIT;
    options.description = "before <the> \"upgrade\"";
    options.made = take_one;
    options.user = &made;
    MUST(vmctl_snapshot_create(vm, "one", &options, &err));
    assert_int_equal(made.count, 1);
    assert_string_equal(made.items[0].name, "one");
    assert_string_equal(made.items[0].description, "before <the> \"upgrade\"");
    assert_true(made.items[0].memory);
    assert_true(made.items[0].current);
    assert_int_equal(made.items[0].external, profile->differencing);
    assert_int_equal(made.items[0].state, VMCTL_STATE_RUNNING);
    assert_int_equal(state_of(vm), VMCTL_STATE_RUNNING);
    assert_int_equal(wait_line(vm, line + 3).boots, 1);
    taken all = snapshots_of(vm);
    assert_int_equal(all.count, 1);
    assert_string_equal(all.items[0].description, "before <the> \"upgrade\"");
    revert(vm, "one");
    assert_int_equal(state_of(vm), VMCTL_STATE_RUNNING);
    vmctl_vm_free(vm);
}

static void a_stopped_vm_is_taken_without_memory(void **state) {
    (void)state;
    vmctl_vm *vm = make("snap-b", DISK, ON_DISK);
    taken made = {0};
    vmctl_snapshot_create_options options = VMCTL_SNAPSHOT_CREATE_OPTIONS_INIT;
    options.made = take_one;
    options.user = &made;
    MUST(vmctl_snapshot_create(vm, "cold", &options, &err));
    assert_false(made.items[0].memory);
    assert_int_equal(made.items[0].state, VMCTL_STATE_STOPPED);
    start(vm);
    wait_line(vm, 1);
    revert(vm, "cold");
    assert_int_equal(state_of(vm), VMCTL_STATE_STOPPED);
    vmctl_snapshot_revert_options back = VMCTL_SNAPSHOT_REVERT_OPTIONS_INIT;
    back.start = true;
    MUST(vmctl_snapshot_revert(vm, "cold", &back, &err));
    assert_int_equal(state_of(vm), VMCTL_STATE_RUNNING);
    MUST(vmctl_snapshot_revert(vm, "cold", &back, &err)); /* and from running to running */
    assert_int_equal(state_of(vm), VMCTL_STATE_RUNNING);
    wait_line(vm, 1);
    vmctl_vm_free(vm);
}

/* Without memory there is one state to come back to. */
static void revert_ends_what_runs(void) {
    vmctl_vm *vm = make_started("snap-c", DISK, ON_DISK);
    wait_line(vm, 1);
    notes heard = {0};
    vmctl_call call = call_noting(&heard);
    vmctl_snapshot_create_options options = VMCTL_SNAPSHOT_CREATE_OPTIONS_INIT;
    options.call = &call;
    MUST(vmctl_snapshot_create(vm, "live", &options, &err));
    taken all = snapshots_of(vm);
    assert_int_equal(all.items[0].state, VMCTL_STATE_RUNNING); /* as it was then */
    assert_int_equal(all.items[0].quiesced, 0);                /* the guest has no agent */
    vmctl_snapshot_revert_options gently = VMCTL_SNAPSHOT_REVERT_OPTIONS_INIT;
    gently.only_stopped = true;
    FAILS(VMCTL_E_INVALID_STATE, vmctl_snapshot_revert(vm, "live", &gently, &err));
    assert_non_null(strstr(failure, "vmctl stop snap-c"));
    assert_int_equal(state_of(vm), VMCTL_STATE_RUNNING);
    revert(vm, "live"); /* running */
    assert_int_equal(state_of(vm), VMCTL_STATE_STOPPED);
    start(vm);
    wait_line(vm, 1);
    MUST(vmctl_vm_pause(vm, NULL, &err));
    revert(vm, "live"); /* paused */
    assert_int_equal(state_of(vm), VMCTL_STATE_STOPPED);
    MUST(vmctl_snapshot_revert(vm, "live", &gently, &err)); /* stopped */
    gently.in_place = true;
    MUST(vmctl_snapshot_revert(vm, "live", &gently, &err));
    gently.start = true;
    MUST(vmctl_snapshot_revert(vm, "live", &gently, &err));
    assert_int_equal(state_of(vm), VMCTL_STATE_RUNNING);
    wait_line(vm, 1);
    vmctl_vm_free(vm);
}

static void revert_from_every_state(void **state) {
    (void)state;
    if (profile->bare_snapshots) {
        revert_ends_what_runs();
        return;
    }
    vmctl_vm *vm = make_started("snap-c", DISK, ON_DISK);
    pause_at(vm, 3);
    int line = printed_by(vm).line;
    snap(vm, "warm");
    MUST(vmctl_vm_resume(vm, NULL, &err));
    wait_line(vm, line + 2);
    revert(vm, "warm"); /* running */
    assert_int_equal(next_line(vm), line + 1);
    pause_at(vm, line + 2);
    revert(vm, "warm"); /* paused */
    assert_int_equal(next_line(vm), line + 1);
    force_off(vm);
    revert(vm, "warm"); /* stopped */
    assert_int_equal(next_line(vm), line + 1);
    MUST(vmctl_vm_save(vm, NULL, &err));
    revert(vm, "warm"); /* saved */
    assert_int_equal(next_line(vm), line + 1);
    /* The memory that was saved then is not what a later start goes on with. */
    force_off(vm);
    int boots = printed_by(vm).boots;
    start(vm);
    wait_boots(vm, boots + 1);
    assert_int_equal(printed_by(vm).boots, boots + 1);
    vmctl_snapshot_revert_options back = VMCTL_SNAPSHOT_REVERT_OPTIONS_INIT;
    back.start = true;
    MUST(vmctl_snapshot_revert(vm, "warm", &back, &err)); /* taken paused, and running now */
    assert_int_equal(state_of(vm), VMCTL_STATE_RUNNING);
    vmctl_vm_free(vm);
}

static void revert_of_a_saved_vm_to_a_cold_snapshot_stops_it(void **state) {
    (void)state;
    vmctl_vm *vm = make("snap-d", DISK, ON_DISK);
    snap(vm, "cold");
    start(vm);
    wait_line(vm, 1);
    MUST(vmctl_vm_save(vm, NULL, &err));
    revert(vm, "cold");
    assert_int_equal(state_of(vm), VMCTL_STATE_STOPPED);
    vmctl_vm_free(vm);
}

static void rename_keeps_it_usable(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("snap-e", DISK, ON_DISK);
    pause_at(vm, 3);
    int line = printed_by(vm).line;
    snap(vm, "base");
    snap(vm, "other");
    taken all = snapshots_of(vm);
    char id[64]; /* the hypervisor's own word for it stays; on libvirt that is the name which it was taken with */
    snprintf(id, sizeof id, "%s", *all.items[at(&all, "base")].id ? all.items[at(&all, "base")].id : "base");
    MUST(vmctl_snapshot_rename(vm, "base", "golden", NULL, &err));
    all = snapshots_of(vm);
    assert_int_equal(all.count, 2);
    assert_string_equal(all.items[at(&all, "golden")].id, id);
    assert_string_equal(all.items[at(&all, "other")].parent, "golden");
    assert_true(all.items[at(&all, "other")].current);
    FAILS(VMCTL_E_ALREADY_EXISTS, vmctl_snapshot_rename(vm, "other", "golden", NULL, &err));
    FAILS(VMCTL_E_ALREADY_EXISTS, vmctl_snapshot_create(vm, "golden", NULL, &err));
    FAILS(VMCTL_E_NOT_FOUND, vmctl_snapshot_rename(vm, "gone", "new", NULL, &err));
    if (profile->differencing) {
        MUST(vmctl_snapshot_rename(vm, "golden", "a/b -x\"'", NULL, &err));
        MUST(vmctl_snapshot_rename(vm, "a/b -x\"'", "golden", NULL, &err));
    } else {
        FAILS(VMCTL_E_INVALID_ARGUMENT, vmctl_snapshot_rename(vm, "golden", "a/b", NULL, &err));
    }
    MUST(vmctl_vm_resume(vm, NULL, &err));
    wait_line(vm, line + 2);
    revert(vm, "golden");
    assert_int_equal(next_line(vm), line + 1);
    snap(vm, "base"); /* the name is free again, and means the new one */
    all = snapshots_of(vm);
    assert_int_equal(all.count, 3);
    assert_string_equal(all.items[at(&all, "base")].parent, "golden");
    size_t left = 2;
    if (profile->differencing) { /* two stand on it */
        FAILS(VMCTL_E_UNSUPPORTED, vmctl_snapshot_delete(vm, "golden", NULL, &err));
        assert_non_null(strstr(failure, "--children"));
        assert_int_equal(snapshots_of(vm).count, 3);
        MUST(vmctl_snapshot_delete(vm, "other", NULL, &err));
        left = 1;
    }
    MUST(vmctl_snapshot_delete(vm, "golden", NULL, &err));
    all = snapshots_of(vm);
    assert_int_equal(all.count, left);
    assert_string_equal(all.items[at(&all, "base")].parent, "");
    MUST(vmctl_snapshot_rename(vm, "base", "again", NULL, &err));
    MUST(vmctl_snapshot_delete(vm, "again", NULL, &err));
    vmctl_vm_free(vm);
}

typedef struct steps {
    uint64_t last, total;
    int count;
} steps;

static int take_step(const vmctl_progress *progress, void *user) {
    steps *to = user;
    if (progress->unit == VMCTL_UNIT_ITEMS) {
        to->last = progress->done;
        to->total = progress->total;
        to->count++;
    }
    return 0;
}

static void delete_with_children_and_progress(void **state) {
    (void)state;
    if (profile->bare_snapshots) { /* each goes alone, and none stands on another */
        vmctl_vm *one = make("snap-f", DISK, ON_DISK);
        vmctl_snapshot_delete_options whole = VMCTL_SNAPSHOT_DELETE_OPTIONS_INIT;
        snap(one, "a");
        snap(one, "b");
        FAILS(VMCTL_E_NOT_FOUND, vmctl_snapshot_delete(one, "bb", NULL, &err));
        assert_non_null(strstr(failure, "did you mean b?"));
        whole.children = true;
        MUST(vmctl_snapshot_delete(one, "a", &whole, &err));
        assert_int_equal(snapshots_of(one).count, 1);
        revert(one, "b");
        MUST(vmctl_snapshot_delete(one, "b", NULL, &err));
        assert_int_equal(snapshots_of(one).count, 0);
        start(one);
        wait_line(one, 1);
        vmctl_vm_free(one);
        return;
    }
    vmctl_vm *vm = make("snap-f", DISK, ON_DISK);
    snap(vm, "a");
    snap(vm, "b");
    snap(vm, "c");
    revert(vm, "a");
    snap(vm, "d");
    FAILS(VMCTL_E_NOT_FOUND, vmctl_snapshot_delete(vm, "dd", NULL, &err));
    assert_non_null(strstr(failure, "did you mean d?"));
    MUST(vmctl_snapshot_delete(vm, "b", NULL, &err)); /* alone: its child stays and moves up */
    taken all = snapshots_of(vm);
    assert_int_equal(all.count, 3);
    assert_string_equal(all.items[at(&all, "c")].parent, "a");
    assert_true(all.items[at(&all, "d")].current);
    steps seen_steps = {0};
    vmctl_call call = VMCTL_CALL_INIT;
    call.progress = take_step;
    call.user = &seen_steps;
    vmctl_snapshot_delete_options options = VMCTL_SNAPSHOT_DELETE_OPTIONS_INIT;
    options.call = &call;
    options.children = true;
    MUST(vmctl_snapshot_delete(vm, "a", &options, &err));
    assert_int_equal(snapshots_of(vm).count, 0);
    assert_int_equal(seen_steps.total, 3);
    assert_int_equal(seen_steps.count, 3);
    vmctl_vm_free(vm);
}

/* What QEMU cannot: snapshots in a raw disk, as the boot sector's image is, and frozen file systems without an agent. */
static void internal_ones_need_qcow2(vmctl_vm *vm) {
    vmctl_snapshot_create_options with = VMCTL_SNAPSHOT_CREATE_OPTIONS_INIT;
    with.memory = VMCTL_MEMORY_WITH;
    FAILS(VMCTL_E_UNSUPPORTED, vmctl_snapshot_create(vm, "raw", &with, &err));
    vmctl_snapshot_create_options quiesce = VMCTL_SNAPSHOT_CREATE_OPTIONS_INIT;
    quiesce.quiesce = true;
    FAILS(VMCTL_E_UNSUPPORTED, vmctl_snapshot_create(vm, "quiet", &quiesce, &err));
    assert_non_null(strstr(failure, "guestAgent"));
}

/* What VirtualBox cannot: leave the memory of a running VM out; and what it would do at a price, memory that comes back to a disk which went on. */
static void memory_and_disks_belong_together(vmctl_vm *vm) {
    vmctl_snapshot_create_options without = VMCTL_SNAPSHOT_CREATE_OPTIONS_INIT;
    without.memory = VMCTL_MEMORY_WITHOUT;
    FAILS(VMCTL_E_UNSUPPORTED, vmctl_snapshot_create(vm, "cold", &without, &err));
    assert_non_null(strstr(failure, "--no-memory"));
    vmctl_vm *shares = make_started("snap-shared", "disks: [{name: root, image: %s, shared: true}]", guest_image);
    int line = wait_line(shares, 1).line;
    FAILS(VMCTL_E_DATA_LOSS_PREVENTED, vmctl_snapshot_create(shares, "warm", NULL, &err));
    assert_non_null(strstr(failure, "disk root is shared"));
    assert_int_equal(snapshots_of(shares).count, 0);
    wait_line(shares, line + 1);
    force_off(shares);
    notes heard = {0};
    vmctl_call call = call_noting(&heard);
    vmctl_snapshot_create_options options = VMCTL_SNAPSHOT_CREATE_OPTIONS_INIT;
    options.call = &call;
    MUST(vmctl_snapshot_create(shares, "cold", &options, &err));
    assert_non_null(strstr(heard.last, "leaves out disk root"));
    vmctl_vm_free(shares);
}

/* Taken with a warning of what it lacks: a disk of two, and the only one. */
static void what_is_left_out_is_said(const char *name, const char *rest, const char *said) {
    /* It has run by then, and KubeVirt has looked at its disks. */
    vmctl_vm *vm = make_started(name, "disks: [{name: root, image: %s%s]", guest_image, rest);
    notes heard = {0};
    vmctl_call call = call_noting(&heard);
    taken made = {0};
    vmctl_snapshot_create_options options = VMCTL_SNAPSHOT_CREATE_OPTIONS_INIT;
    options.call = &call;
    options.made = take_one;
    options.user = &made;
    MUST(vmctl_snapshot_create(vm, "part", &options, &err));
    assert_int_equal(made.count, 1);
    assert_non_null(strstr(heard.last, said));
    vmctl_vm_free(vm);
}

/* What a cluster cannot: disks of a storage class that has no snapshots, and names that are none. */
static void bare_refusals(void) {
    what_is_left_out_is_said("snap-g", ", pool: no-snapshots}", "the snapshot holds no disk at all");
    what_is_left_out_is_said("snap-g2", "}, {name: data, size: 4MiB, pool: no-snapshots}",
                             "disk data is not in the snapshot: No VolumeSnapshotClass");
    vmctl_vm *vm = make_started("snap-g3", "%s", "");
    FAILS(VMCTL_E_NOT_FOUND, vmctl_snapshot_revert(vm, "none", NULL, &err));
    assert_non_null(strstr(failure, "vmctl snapshot list snap-g3"));
    assert_int_equal(state_of(vm), VMCTL_STATE_RUNNING);
    vmctl_vm_free(vm);
}

/* Each is refused before anything is touched: the disk is the same, byte for byte, and so is the VM. */
static void refusals_touch_nothing(void **state) {
    (void)state;
    if (profile->bare_snapshots) {
        bare_refusals();
        return;
    }
    vmctl_vm *vm = make("snap-g", "%s", "");
    char path[512], before[128], after[128];
    root_path(vm, path);
    sum_of(path, before);
    vmctl_snapshot_create_options with = VMCTL_SNAPSHOT_CREATE_OPTIONS_INIT;
    with.memory = VMCTL_MEMORY_WITH;
    FAILS(VMCTL_E_INVALID_STATE, vmctl_snapshot_create(vm, "memory", &with, &err));
    if (!profile->differencing) {
        FAILS(VMCTL_E_UNSUPPORTED, vmctl_snapshot_create(vm, "raw", NULL, &err));
        assert_non_null(strstr(failure, "disk root is raw"));
        assert_non_null(strstr(failure, "vmctl image convert"));
        FAILS(VMCTL_E_INVALID_ARGUMENT, vmctl_snapshot_create(vm, "a/b", NULL, &err));
    }
    FAILS(VMCTL_E_NOT_FOUND, vmctl_snapshot_revert(vm, "none", NULL, &err));
    if (profile->differencing) {
        sum_of(path, after); /* VirtualBox marks a disk that it opens */
        assert_string_equal(before, after);
    }
    start(vm);
    wait_line(vm, 1);
    if (profile->differencing) {
        sum_of(path, before);
        memory_and_disks_belong_together(vm);
    } else {
        internal_ones_need_qcow2(vm);
    }
    assert_int_equal(state_of(vm), VMCTL_STATE_RUNNING);
    wait_line(vm, printed_by(vm).line + 1);
    assert_int_equal(snapshots_of(vm).count, 0);
    sum_of(path, after);
    assert_string_equal(before, after);
    vmctl_vm_free(vm);
}

static void quiesce_needs_an_agent_that_answers(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("snap-h", DISK "\nguestAgent: true", ON_DISK);
    int line = wait_line(vm, 1).line;
    vmctl_snapshot_create_options options = VMCTL_SNAPSHOT_CREATE_OPTIONS_INIT;
    options.quiesce = true;
    FAILS(VMCTL_E_INVALID_STATE, vmctl_snapshot_create(vm, "quiet", &options, &err));
    assert_non_null(strstr(failure, "agent"));
    assert_int_equal(snapshots_of(vm).count, 0);
    wait_line(vm, line + 1);
    vmctl_vm_free(vm);
}

static void a_name_is_taken_once(void **state) {
    (void)state;
    vmctl_vm *vm = make("snap-i", DISK, ON_DISK);
    char path[512], before[128] = "", after[128] = "";
    root_path(vm, path);
    snap(vm, "base");
    if (!profile->bare_snapshots)
        sum_of(path, before);
    FAILS(VMCTL_E_ALREADY_EXISTS, vmctl_snapshot_create(vm, "base", NULL, &err));
    FAILS(VMCTL_E_NOT_FOUND, vmctl_snapshot_revert(vm, "bas", NULL, &err));
    assert_non_null(strstr(failure, "did you mean base?"));
    if (!profile->bare_snapshots)
        sum_of(path, after);
    assert_string_equal(before, after);
    snap(vm, "1"); /* a number, which QEMU would take for its own numbering */
    snap(vm, "2");
    taken all = snapshots_of(vm);
    assert_int_equal(all.count, 3);
    assert_string_equal(all.items[at(&all, "2")].parent, profile->bare_snapshots ? "" : "1");
    revert(vm, "1");
    all = snapshots_of(vm);
    assert_int_equal(all.items[at(&all, "1")].current, !profile->bare_snapshots);
    vmctl_vm_free(vm);
}

typedef struct rival {
    vmctl_connection *connection;
    const char *vm;
    int code;
} rival;

/* No assertion: cmocka's belong to the main thread. */
static void *take_the_name(void *user) {
    rival *me = user;
    vmctl_vm *vm = NULL;
    vmctl_error *trouble = NULL;
    me->code = vmctl_vm_lookup(me->connection, me->vm, NULL, &vm, &trouble);
    if (me->code == 0)
        me->code = vmctl_snapshot_create(vm, "one", NULL, &trouble);
    vmctl_vm_free(vm);
    vmctl_error_free(trouble);
    return NULL;
}

/* Whoever is refused takes nothing of the others away again. */
static void a_name_wanted_by_several_at_once(void **state) {
    (void)state;
    enum { RIVALS = 4 };
    vmctl_vm *vm = make("snap-m", DISK, ON_DISK);
    rival rivals[RIVALS] = {{0}};
    pthread_t threads[RIVALS];
    vmctl_connect_options options = VMCTL_CONNECT_OPTIONS_INIT;
    options.uri = vmctl_connection_uri(conn);
    for (int i = 0; i < RIVALS; i++) {
        rivals[i].vm = "snap-m";
        MUST(vmctl_connect(&options, &rivals[i].connection, &err));
    }
    for (int i = 0; i < RIVALS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_the_name, &rivals[i]), 0);
    size_t made = 0;
    for (int i = 0; i < RIVALS; i++) {
        pthread_join(threads[i], NULL);
        vmctl_connection_free(rivals[i].connection);
        made += rivals[i].code == 0;
    }
    taken all = snapshots_of(vm);
    assert_true(made >= 1);
    assert_int_equal(all.count, made);
    assert_string_equal(all.items[0].name, "one");
    vmctl_vm_free(vm);
}

static int count_snapshots(const vmctl_vm_info *info, void *user) {
    *(int *)user = info->present & VMCTL_FACT_SNAPSHOTS ? (int)info->snapshot_count : -1;
    return 0;
}

static void a_vm_with_snapshots_is_counted_and_deleted_whole(void **state) {
    (void)state;
    char *before = world();
    vmctl_vm *vm = make("snap-j", DISK, ON_DISK);
    snap(vm, "a");
    snap(vm, "b");
    int count = 0;
    vmctl_get_options get = VMCTL_GET_OPTIONS_INIT;
    get.facts = VMCTL_FACT_SNAPSHOTS;
    MUST(vmctl_vm_get(vm, &get, count_snapshots, &count, &err));
    assert_int_equal(count, 2);
    MUST(vmctl_vm_delete(vm, NULL, &err));
    vmctl_vm_free(vm);
    char *after = world_after(before);
    assert_string_equal(before, after);
    free(before);
    free(after);
}

/* What vmctl knows of a VM is of now, whatever its disks go back to: the disk that came later is still deleted with it, its lease is the present
 * one. */
static void a_disk_that_came_later_is_taken_off_and_not_forgotten(void **state) {
    (void)state;
    char *before = world();
    vmctl_vm *vm = make("snap-k", DISK "\nlabels: {stage: one}", ON_DISK);
    snap(vm, "base");
    vmctl_spec *spec = spec_of("snap-k",
                               "disks: [{name: root, image: %s%s}, {name: data, size: 4MiB}]\n"
                               "labels: {stage: two}",
                               ON_DISK);
    vmctl_apply_options apply = VMCTL_APPLY_OPTIONS_INIT;
    MUST(vmctl_apply(conn, spec, &apply, NULL, &err));
    vmctl_spec_free(spec);
    seen facts;
    look(vm, &facts);
    char data[512];
    snprintf(data, sizeof data, "%s", device(&facts, "data")->source);
    notes heard = {0};
    vmctl_call call = call_noting(&heard);
    vmctl_snapshot_revert_options options = VMCTL_SNAPSHOT_REVERT_OPTIONS_INIT;
    options.call = &call;
    MUST(vmctl_snapshot_revert(vm, "base", &options, &err));
    assert_non_null(strstr(heard.last, data));
    look(vm, &facts);
    assert_true(profile->cluster || access(data, F_OK) == 0);
    assert_int_equal(facts.labels, 1);
    assert_string_equal(facts.label_value[0], "two");
    for (size_t i = 0; i < facts.device_count; i++)
        assert_string_not_equal(facts.devices[i].name, "data");
    MUST(vmctl_vm_delete(vm, NULL, &err));
    vmctl_vm_free(vm);
    char *after = world_after(before);
    assert_string_equal(before, after);
    free(before);
    free(after);
}

static void a_grown_disk_goes_back_and_forth(void **state) {
    (void)state;
    vmctl_vm *vm = make("snap-l", "disks: [{name: root, image: %s%s, size: 4MiB}]", ON_DISK);
    char path[512];
    root_path(vm, path);
    snap(vm, "small");
    vmctl_spec *spec = spec_of("snap-l", "disks: [{name: root, image: %s%s, size: 8MiB}]", ON_DISK);
    vmctl_apply_options apply = VMCTL_APPLY_OPTIONS_INIT;
    if (profile->differencing) { /* images that others stand on have the size that they have */
        FAILS(VMCTL_E_INVALID_STATE, vmctl_apply(conn, spec, &apply, NULL, &err));
        assert_non_null(strstr(failure, "delete the snapshots of snap-l"));
        MUST(vmctl_snapshot_delete(vm, "small", NULL, &err));
        MUST(vmctl_apply(conn, spec, &apply, NULL, &err));
        vmctl_spec_free(spec);
        snap(vm, "large");
        start(vm);
        revert(vm, "large");
        seen grown;
        look(vm, &grown);
        assert_int_equal(device(&grown, "root")->capacity, 8 << 20);
        vmctl_vm_free(vm);
        return;
    }
    MUST(vmctl_apply(conn, spec, &apply, NULL, &err));
    vmctl_spec_free(spec);
    bool file = !profile->bare_snapshots;
    const char *const write[] = {"qemu-io", "-f", "qcow2", "-c", "write -P 7 6M 64k", path, NULL};
    const char *const read[] = {"qemu-io", "-f", "qcow2", "-c", "read -P 7 6M 64k", path, NULL};
    if (file)
        assert_int_equal(run_program(write), 0);
    snap(vm, "large");
    seen facts;
    look(vm, &facts);
    assert_int_equal(device(&facts, "root")->capacity, 8 << 20);
    notes heard = {0};
    vmctl_call call = call_noting(&heard);
    vmctl_snapshot_revert_options options = VMCTL_SNAPSHOT_REVERT_OPTIONS_INIT;
    options.call = &call;
    MUST(vmctl_snapshot_revert(vm, "small", &options, &err));
    assert_non_null(strstr(heard.last, "4MiB"));
    look(vm, &facts);
    assert_int_equal(device(&facts, "root")->capacity, 4 << 20);
    revert(vm, "large");
    look(vm, &facts);
    assert_int_equal(device(&facts, "root")->capacity, 8 << 20);
    if (file)
        assert_int_equal(run_program(read), 0);
    vmctl_vm_free(vm);
}

/* One that failed in the cluster's storage: its words are told, and nothing is left of it. */
static void a_snapshot_that_failed(void) {
    vmctl_vm *vm =
        make("snap-m",
             DISK "\nkubevirt: {patch: [{op: add, path: /metadata/annotations, value: {vmctl.test/snapshot: fails}}]}",
             ON_DISK);
    FAILS(VMCTL_E_UNAVAILABLE, vmctl_snapshot_create(vm, "one", NULL, &err));
    assert_non_null(strstr(failure, "no space left in the pool"));
    assert_int_equal(snapshots_of(vm).count, 0);
    FAILS(VMCTL_E_NOT_FOUND, vmctl_snapshot_revert(vm, "one", NULL, &err));
    vmctl_vm_free(vm);
}

static void a_snapshot_whose_file_is_gone_is_refused(void **state) {
    (void)state;
    if (profile->bare_snapshots) {
        a_snapshot_that_failed();
        return;
    }
    vmctl_vm *vm = make_started("snap-m", DISK, ON_DISK);
    int line = wait_line(vm, 2).line;
    char path[512], aside[600];
    root_path(vm, path);
    snprintf(aside, sizeof aside, "%s.aside", path);
    snap(vm, "one");
    assert_int_equal(rename(path, aside), 0);
    FAILS(VMCTL_E_NOT_FOUND, vmctl_snapshot_revert(vm, "one", NULL, &err));
    assert_non_null(strstr(failure, path));
    assert_int_equal(state_of(vm), VMCTL_STATE_RUNNING);
    wait_line(vm, line + 2);
    assert_int_equal(rename(aside, path), 0);
    if (profile->differencing) { /* the file is all there is to it */
        vmctl_vm_free(vm);
        return;
    }
    force_off(vm);
    const char *const strip[] = {"qemu-img", "snapshot", "-d", "one", path, NULL};
    assert_int_equal(run_program(strip), 0);
    start(vm);
    wait_line(vm, 1);
    FAILS(VMCTL_E_CONFLICT, vmctl_snapshot_revert(vm, "one", NULL, &err));
    assert_int_equal(state_of(vm), VMCTL_STATE_RUNNING);
    vmctl_vm_free(vm);
}

static void a_uefi_vm_is_taken_stopped_and_told_what_is_left_out(void **state) {
    (void)state;
    vmctl_vm *vm = make("snap-n", DISK "\nfirmware: uefi\nmemory: 64MiB", ON_DISK);
    if (profile->differencing || profile->bare_snapshots) { /* nothing is left out */
        snap(vm, "cold");
        start(vm);
        snap(vm, "warm");
        revert(vm, "cold");
        assert_int_equal(state_of(vm), VMCTL_STATE_STOPPED);
        revert(vm, "warm");
        assert_int_equal(state_of(vm), profile->bare_snapshots ? VMCTL_STATE_STOPPED : VMCTL_STATE_RUNNING);
        vmctl_vm_free(vm);
        return;
    }
    notes heard = {0};
    vmctl_call call = call_noting(&heard);
    vmctl_snapshot_create_options options = VMCTL_SNAPSHOT_CREATE_OPTIONS_INIT;
    options.call = &call;
    MUST(vmctl_snapshot_create(vm, "cold", &options, &err));
    assert_non_null(strstr(heard.last, "UEFI variables"));
    start(vm);
    FAILS(VMCTL_E_UNSUPPORTED, vmctl_snapshot_create(vm, "warm", NULL, &err));
    assert_non_null(strstr(failure, "UEFI"));
    assert_non_null(strstr(failure, "stop snap-n first"));
    assert_int_equal(snapshots_of(vm).count, 1);
    vmctl_vm_free(vm);
}

/* A snapshot that is given up half-way leaves the VM running, and nothing of itself. */
static void a_cancelled_snapshot_leaves_nothing(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("snap-o", DISK, ON_DISK);
    int line = wait_line(vm, 2).line;
    char *with_vm = world();
    int64_t began = now_ms();
    snap(vm, "whole");
    int64_t whole_ms = now_ms() - began;
    MUST(vmctl_snapshot_delete(vm, "whole", NULL, &err));
    for (int part = 0; part <= 8; part++) { /* in the middle of different steps */
        vmctl_connection *other = NULL;
        vmctl_vm *theirs = NULL;
        vmctl_connect_options endpoint = VMCTL_CONNECT_OPTIONS_INIT;
        endpoint.uri = vmctl_connection_uri(conn);
        MUST(vmctl_connect(&endpoint, &other, &err)); /* a call that is given up takes its connection with it */
        MUST(vmctl_vm_lookup(other, "snap-o", NULL, &theirs, &err));
        vmctl_call call = VMCTL_CALL_INIT;
        vmctl_snapshot_create_options options = VMCTL_SNAPSHOT_CREATE_OPTIONS_INIT;
        options.call = &call;
        call.timeout_ms = 1 + whole_ms * part / 8;
        int rc = vmctl_snapshot_create(theirs, "late", &options, &err);
        if (rc == 0) {
            MUST(vmctl_snapshot_delete(vm, "late", NULL, &err));
        } else {
            FAILS(VMCTL_E_TIMEOUT, rc);
        }
        vmctl_vm_free(theirs);
        vmctl_connection_free(other);
        assert_int_equal(snapshots_of(vm).count, 0);
        assert_int_equal(state_of(vm), VMCTL_STATE_RUNNING);
        line = wait_line(vm, line + 1).line;
    }
    char *after = world();
    assert_string_equal(with_vm, after); /* no journal either */
    vmctl_vm_free(vm);
    free(with_vm);
    free(after);
}

static const contract_test tests[] = {
    TEST("snapshot.tree", "snapshot_create snapshot_list snapshot_revert", a_tree_of_five_gives_each_count_back),
    TEST("snapshot.memory", "snapshot_create snapshot_list", a_running_vm_is_taken_with_memory_and_goes_on),
    TEST("snapshot.disk", "snapshot_create snapshot_revert", a_stopped_vm_is_taken_without_memory),
    TEST("snapshot.revert", "snapshot_revert", revert_from_every_state),
    TEST("snapshot.revert", "snapshot_revert save", revert_of_a_saved_vm_to_a_cold_snapshot_stops_it),
    TEST("snapshot.rename", "snapshot_rename", rename_keeps_it_usable),
    TEST("snapshot.delete", "snapshot_delete", delete_with_children_and_progress),
    TEST("snapshot.disk", "snapshot_create snapshot_revert", refusals_touch_nothing),
    TEST("snapshot.quiesce", "snapshot_create", quiesce_needs_an_agent_that_answers),
    TEST("snapshot.list", "snapshot_create snapshot_list", a_name_is_taken_once),
    TEST("snapshot.list", "snapshot_create undo", a_name_wanted_by_several_at_once),
    TEST("snapshot.list", "get remove", a_vm_with_snapshots_is_counted_and_deleted_whole),
    TEST("snapshot.revert", "snapshot_revert remove change", a_disk_that_came_later_is_taken_off_and_not_forgotten),
    TEST("snapshot.revert", "snapshot_revert change", a_grown_disk_goes_back_and_forth),
    TEST("snapshot.revert", "snapshot_revert", a_snapshot_whose_file_is_gone_is_refused),
    TEST("snapshot.disk", "snapshot_create", a_uefi_vm_is_taken_stopped_and_told_what_is_left_out),
    TEST("snapshot.memory", "snapshot_create undo", a_cancelled_snapshot_leaves_nothing),
};
const contract_group group_snapshot = {"snapshot", tests, sizeof tests / sizeof tests[0]};
