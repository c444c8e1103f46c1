/* guest_inside.c - what the agent tells of the system inside, and does to it as a whole. */
#include "guest.h"

/* --- file systems, passwords ----------------------------------------------------------------------------------------- */

static void freeze_holds_the_file_systems_and_thaw_lets_go(void **state) {
    (void)state;
    notes heard_notes = {0};
    vmctl_call call = call_noting(&heard_notes);
    bool counts = can("guest.exec"); /* what runs commands also tells how many it froze */
    int count = -1;
    MUST(vmctl_guest_freeze(guest_vm, &count, &call, &err));
    assert_int_equal(count, counts ? 1 : -1); /* the root is its only one on a disk */
    assert_int_equal(heard_notes.count, 0);
    if (counts) {
        FAILS(VMCTL_E_INVALID_STATE, vmctl_guest_exec(guest_vm, (const char *const[]){"true", NULL}, NULL, NULL, &err));
        assert_non_null(strstr(failure, "frozen"));
        assert_non_null(strstr(failure, "vmctl thaw guest-debian"));
    }
    int64_t until = now_ms() + (profile->state_lags ? PATIENCE_MS : 0);
    do
        MUST(vmctl_guest_freeze(guest_vm, &count, &call, &err));
    while (heard_notes.count == 0 && now_ms() < until);
    assert_int_equal(heard_notes.count, 1);
    assert_non_null(strstr(heard_notes.last, "frozen already"));
    assert_int_equal(count, -1);
    MUST(vmctl_guest_thaw(guest_vm, &count, &call, &err));
    assert_int_equal(count, counts ? 1 : -1);
    MUST(vmctl_guest_thaw(guest_vm, &count, &call, &err)); /* does no harm */
    if (!counts)
        return;
    assert_int_equal(count, 0);
    assert_int_equal(heard_notes.count, 2);
    heard got;
    assert_int_equal(sh(&got, "echo x > /root/after-thaw && sync && rm /root/after-thaw"), 0);
}

static void freeze_needs_a_running_vm_with_an_agent(void **state) {
    (void)state;
    vmctl_vm *without = make_started("guest-bare", "%s", ""), *off = make("guest-off", "%s", "");
    int rc = vmctl_guest_freeze(without, NULL, NULL, &err);
    assert_true(rc == VMCTL_E_INVALID_STATE || rc == VMCTL_E_UNSUPPORTED);
    FAILS(rc, rc);
    assert_non_null(strstr(failure, "agent"));
    FAILS(VMCTL_E_INVALID_STATE, vmctl_guest_freeze(off, NULL, NULL, &err));
    assert_non_null(strstr(failure, "vmctl start guest-off"));
    MUST(vmctl_vm_pause(guest_vm, NULL, &err));
    rc = vmctl_guest_freeze(guest_vm, NULL, NULL, &err);
    vmctl_error *ignored = NULL; /* the tests that follow need it running, whatever came of this one */
    int resumed = vmctl_vm_resume(guest_vm, NULL, &ignored);
    vmctl_error_free(ignored);
    FAILS(VMCTL_E_INVALID_STATE, rc);
    assert_int_equal(resumed, 0);
    assert_int_equal(state_after(guest_vm, VMCTL_STATE_RUNNING), VMCTL_STATE_RUNNING);
    vmctl_vm_free(without);
    vmctl_vm_free(off);
}

static void set_password_changes_shadow(void **state) {
    (void)state;
    heard before, after;
    assert_int_equal(sh(&before, "grep ^ci: /etc/shadow"), 0);
    MUST(vmctl_guest_set_password(guest_vm, "ci", "correct horse", NULL, &err));
    assert_int_equal(sh(&after, "grep ^ci: /etc/shadow"), 0);
    assert_string_not_equal(before.out, after.out);
    assert_null(strstr(after.out, "correct horse"));
    FAILS(VMCTL_E_INVALID_ARGUMENT,
          vmctl_guest_set_password(guest_vm, "nobody-of-that-name", "correct horse", NULL, &err));
    assert_null(strstr(failure, "correct horse"));
}

/* --- what it tells ----------------------------------------------------------------------------------------------------- */

static int take_inside(const vmctl_vm_info *info, void *user) {
    char *text = user;
    const vmctl_guest *guest = info->present & VMCTL_FACT_GUEST ? info->guest : NULL;
    if (!guest)
        return 0;
    snprintf(text, 1024, "%s|%s|%s|%s\n", guest->os_id ? guest->os_id : "", guest->hostname ? guest->hostname : "",
             guest->kernel ? guest->kernel : "", guest->arch ? guest->arch : "");
    for (size_t i = 0; i < guest->filesystem_count; i++)
        snprintf(text + strlen(text), 1024 - strlen(text), "%s %s %s\n", guest->filesystems[i].mount,
                 guest->filesystems[i].type,
                 guest->filesystems[i].used_bytes &&
                         guest->filesystems[i].used_bytes < guest->filesystems[i].total_bytes
                     ? "used in part"
                     : "?");
    return 0;
}

static void the_agent_tells_what_is_inside(void **state) {
    (void)state;
    heard got = {.out = ""};
    char text[1024] = "";
    static const char begin[] = "debian|guest-debian|";
    if (can("guest.exec")) /* else the kernel is whatever it says */
        assert_int_equal(sh(&got, "uname -r"), 0);
    vmctl_get_options options = VMCTL_GET_OPTIONS_INIT;
    MUST(vmctl_vm_get(guest_vm, &options, take_inside, text, &err));
    print_message("%s", text);
    assert_memory_equal(text, begin, strlen(begin));
    assert_memory_equal(text + strlen(begin), got.out, strcspn(got.out, "\n"));
    assert_non_null(strstr(text, "|x86_64\n"));
    assert_non_null(strstr(text, "\n/ ext4 used in part\n"));
    /* Not asked for: not there, and one whose CPUs stand still is not asked either. */
    *text = '\0';
    options.facts = VMCTL_FACT_STATE;
    MUST(vmctl_vm_get(guest_vm, &options, take_inside, text, &err));
    assert_string_equal(text, "");
    MUST(vmctl_vm_pause(guest_vm, NULL, &err));
    assert_int_equal(state_after(guest_vm, VMCTL_STATE_PAUSED), VMCTL_STATE_PAUSED);
    options.facts = VMCTL_FACTS_ALL;
    MUST(vmctl_vm_get(guest_vm, &options, take_inside, text, &err));
    assert_string_equal(text, "");
    MUST(vmctl_vm_resume(guest_vm, NULL, &err));
    assert_int_equal(state_after(guest_vm, VMCTL_STATE_RUNNING), VMCTL_STATE_RUNNING);
}

/* --- its memory --------------------------------------------------------------------------------------------------------- */

/* What the guest's kernel has: the balloon driver takes pages out of MemTotal (Linux, virtio_balloon.c, adjust_managed_page_count). */
static long guest_mib(void) {
    heard got;
    assert_int_equal(sh(&got, "sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo"), 0);
    long kib = strtol(got.out, NULL, 10);
    assert_in_range(kib, 1, 1 << 30);
    return kib / 1024;
}

static void memory_goes_into_the_balloon_and_comes_back(void **state) {
    (void)state;
    static const struct {
        const char *size;
        unsigned mib, taken;
    } steps[] = {{"768MiB", 768, 256}, {"896MiB", 896, 128}, {"1GiB", 1024, 0}};
    long whole = guest_mib();
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        effects told = {0};
        MUST(change(guest_vm, "memory", steps[i].size, true, false, &told));
        assert_int_equal(told.now, 1);
        assert_int_equal(told.at_restart, 0);
        static seen facts;
        look(guest_vm, &facts);
        assert_int_equal(facts.memory_mib, steps[i].mib);
        assert_in_range(whole - guest_mib() - (long)steps[i].taken + 16, 0, 32);
    }
}

static const contract_test tests[] = {
    TEST("guest.freeze guest.thaw", "guest_freeze guest_thaw", freeze_holds_the_file_systems_and_thaw_lets_go),
    TEST("guest.freeze", "guest_freeze pause", freeze_needs_a_running_vm_with_an_agent),
    TEST("guest.password", "guest_set_password", set_password_changes_shadow),
    TEST("guest.info", "get pause", the_agent_tells_what_is_inside),
    TEST("memory.balloon", "change", memory_goes_into_the_balloon_and_comes_back),
};
const contract_group guest_inside = {.tests = tests, .count = sizeof tests / sizeof tests[0], .more = &guest_net};
