/* screen.c - what a VM's display shows, keys that are pressed on its keyboard, and counters of all VMs. The guest is the boot
 * sector of tests/guests/picture.S, whose picture is known and who tells the bytes of its keyboard. */
#include "contract.h"

#include <png.h>
#include <sys/stat.h>

static vmctl_vm *make_picture(const char *name, bool started) {
    const char *image = getenv("VMCTL_CONTRACT_PICTURE");
    if (!image)
        fail_msg("VMCTL_CONTRACT_PICTURE does not name the guest's image");
    return (started ? make_started : make)(name, "disks: [{name: root, image: %s}]\ndisplay: {type: vnc}", image);
}

/* --- what the guest says ----------------------------------------------------------------------------------------------- */

typedef struct text {
    char bytes[8192];
    size_t length;
} text;

static int take_text(const void *bytes, size_t length, void *user) {
    text *to = user;
    size_t room = sizeof to->bytes - 1 - to->length;
    memcpy(to->bytes + to->length, bytes, length < room ? length : room);
    to->length += length < room ? length : room;
    to->bytes[to->length] = '\0';
    return 0;
}

static text said(vmctl_vm *vm) {
    text log = {.length = 0};
    MUST(vmctl_serial_log(vm, NULL, take_text, &log, &err));
    return log;
}

/* Waits until the guest has said it; what it said so far. */
static text wait_said(vmctl_vm *vm, const char *words) {
    for (int64_t began = now_ms(); now_ms() - began < PATIENCE_MS; sleep_ms(20)) {
        text log = said(vm);
        if (strstr(log.bytes, words))
            return log;
    }
    text log = said(vm);
    fail_msg("the guest did not say \"%s\" but: %s", words, log.bytes);
    return log;
}

/* The position of a byte of the keyboard in what was said; fails when it is not there. */
static size_t scan_at(const text *log, const char *code) {
    char words[16];
    snprintf(words, sizeof words, "scan %s\r", code);
    const char *found = strstr(log->bytes, words);
    if (!found)
        fail_msg("no scan code %s in: %s", code, log->bytes);
    return (size_t)(found - log->bytes);
}

/* --- screenshots ---------------------------------------------------------------------------------------------------------- */

typedef struct shot {
    unsigned width, height;
    unsigned char *rgb;
} shot;

static shot read_png(const char *path) {
    png_image image = {.version = PNG_IMAGE_VERSION};
    if (!png_image_begin_read_from_file(&image, path))
        fail_msg("%s: %s", path, image.message);
    image.format = PNG_FORMAT_RGB;
    shot out = {image.width, image.height, malloc(PNG_IMAGE_SIZE(image))};
    if (!png_image_finish_read(&image, NULL, out.rgb, 0, NULL))
        fail_msg("%s: %s", path, image.message);
    return out;
}

/* The colour in the middle of one of 2 x 2 quarters, as 0xrrggbb. */
static unsigned quarter(const shot *s, unsigned column, unsigned row) {
    const unsigned x = s->width * (2 * column + 1) / 4, y = s->height * (2 * row + 1) / 4;
    const unsigned char *pixel = s->rgb + 3 * ((size_t)y * s->width + x);
    return (unsigned)pixel[0] << 16 | (unsigned)pixel[1] << 8 | pixel[2];
}

/* A card may keep the palette's 6 bits as 8: 63 is 0xff or 0xfc, 42 is 0xaa or 0xa8. */
static bool near(unsigned a, unsigned b) {
    for (int shift = 0; shift < 24; shift += 8)
        if (abs((int)(a >> shift & 255) - (int)(b >> shift & 255)) > 4)
            return false;
    return true;
}

static bool shows(vmctl_vm *vm, const char *path, const unsigned colors[4]) {
    MUST(vmctl_screenshot(vm, path, NULL, &err));
    shot s = read_png(path);
    bool same = s.width >= 320 && s.height >= 200;
    for (unsigned i = 0; i < 4; i++)
        same = same && near(quarter(&s, i % 2, i / 2), colors[i]);
    free(s.rgb);
    return same;
}

static void wait_shows(vmctl_vm *vm, const char *path, const unsigned colors[4]) {
    for (int64_t began = now_ms(); now_ms() - began < PATIENCE_MS; sleep_ms(50))
        if (shows(vm, path, colors))
            return;
    fail_msg("the picture in %s is not the guest's", path);
}

/* The VGA's standard palette: 4 red, 2 green, 1 blue, 15 white. */
static const unsigned quarters[] = {0xaa0000, 0x00aa00, 0x0000aa, 0xffffff};
static const unsigned all_green[] = {0x00aa00, 0x00aa00, 0x00aa00, 0x00aa00};

static void a_screenshot_shows_the_guests_pixels(void **state) {
    (void)state;
    const char *path = scratch_file("shot.png", "old", 3);
    vmctl_vm *vm = make_picture("sc-a", true);
    wait_said(vm, "picture: drawn");
    wait_shows(vm, path, quarters);
    const unsigned *then = quarters;
    if (can("display.keys")) {
        const char *const key[] = {"2"};
        MUST(vmctl_send_keys(vm, key, 1, NULL, &err));
        wait_shows(vm, path, all_green);
        then = all_green;
    }
    MUST(vmctl_vm_pause(vm, NULL, &err)); /* a picture does not need the CPUs */
    assert_true(shows(vm, path, then));

    text bytes = {.length = 0};
    MUST(vmctl_screenshot_bytes(vm, NULL, take_text, &bytes, &err));
    assert_true(bytes.length > 60);
    assert_memory_equal(bytes.bytes, "\x89PNG\r\n\x1a\n", 8);
    vmctl_vm_free(vm);
}

static void a_refused_screenshot_leaves_the_file(void **state) {
    (void)state;
    const char *path = scratch_file("kept.png", "old", 3);
    vmctl_vm *dark = make_started("sc-b", "%s", ""), *off = make_picture("sc-c", false);
    FAILS(VMCTL_E_UNSUPPORTED, vmctl_screenshot(dark, path, NULL, &err));
    assert_non_null(strstr(failure, "display"));
    FAILS(VMCTL_E_INVALID_STATE, vmctl_screenshot(off, path, NULL, &err));
    assert_non_null(strstr(failure, "vmctl start sc-c"));
    start(off);
    vmctl_screenshot_options options = VMCTL_SCREENSHOT_OPTIONS_INIT;
    options.screen = 7;
    FAILS(VMCTL_E_NOT_FOUND, vmctl_screenshot(off, path, &options, &err));
    vmctl_call call = VMCTL_CALL_INIT;
    call.cancel = vmctl_cancel_new();
    vmctl_cancel_trigger(call.cancel);
    options = (vmctl_screenshot_options)VMCTL_SCREENSHOT_OPTIONS_INIT;
    options.call = &call;
    FAILS(VMCTL_E_CANCELLED, vmctl_screenshot(off, path, &options, &err));
    vmctl_cancel_free(call.cancel);
    FAILS(VMCTL_E_NOT_FOUND, vmctl_screenshot(off, "/nowhere/at/all.png", NULL, &err));
    char now[8] = "";
    FILE *file = fopen(path, "r");
    assert_int_equal(fread(now, 1, sizeof now - 1, file), 3);
    fclose(file);
    assert_string_equal(now, "old");
    vmctl_vm_free(dark);
    vmctl_vm_free(off);
}

/* --- keys -------------------------------------------------------------------------------------------------------------------- */

/* The codes are those of scan code set 1 (IBM PC AT Technical Reference, "Keyboard Scan Codes"). */
static void keys_of_one_call_are_held_together(void **state) {
    (void)state;
    vmctl_vm *vm = make_picture("ke-a", true);
    wait_said(vm, "picture: drawn");
    const char *const keys[] = {"Ctrl", "KEY_LEFTALT", "f2"};
    MUST(vmctl_send_keys(vm, keys, 3, NULL, &err));
    wait_said(vm, "scan bc");
    wait_said(vm, "scan b8");
    text log = wait_said(vm, "scan 9d");
    size_t first_up = scan_at(&log, "9d"), last_down = scan_at(&log, "3c");
    first_up = scan_at(&log, "b8") < first_up ? scan_at(&log, "b8") : first_up;
    first_up = scan_at(&log, "bc") < first_up ? scan_at(&log, "bc") : first_up;
    assert_true(scan_at(&log, "1d") < last_down && scan_at(&log, "38") < last_down);
    assert_true(last_down < first_up);

    const char *const joined[] = {"shift+enter"};
    vmctl_keys_options options = VMCTL_KEYS_OPTIONS_INIT;
    options.hold_ms = 1500;
    int64_t began = now_ms();
    MUST(vmctl_send_keys(vm, joined, 1, &options, &err));
    log = wait_said(vm, "scan 9c");
    assert_true(now_ms() - began >= options.hold_ms);
    assert_true(scan_at(&log, "1c") < scan_at(&log, "9c"));
    vmctl_vm_free(vm);
}

static void a_text_is_typed(void **state) {
    (void)state;
    vmctl_vm *vm = make_picture("ke-b", true);
    wait_said(vm, "picture: drawn");
    MUST(vmctl_send_text(vm, "aB\n", NULL, &err));
    text log = wait_said(vm, "scan 9c");
    static const char *const order[] = {"1e", "9e", "2a", "30", "1c"}; /* a down, a up, shift, b, enter */
    for (size_t i = 1; i < sizeof order / sizeof *order; i++)
        assert_true(scan_at(&log, order[i - 1]) < scan_at(&log, order[i]));
    assert_true(scan_at(&log, "aa") < scan_at(&log, "1c"));
    FAILS(VMCTL_E_INVALID_ARGUMENT, vmctl_send_text(vm, "q\xc3\xa4", NULL, &err));
    vmctl_vm_free(vm);
}

static void keys_that_would_be_lost_are_refused(void **state) {
    (void)state;
    vmctl_vm *vm = make_picture("ke-c", false);
    const char *const right[] = {"a"}, *const wrong[] = {"a", "entr"};
    FAILS(VMCTL_E_INVALID_STATE, vmctl_send_keys(vm, right, 1, NULL, &err));
    assert_non_null(strstr(failure, "vmctl start ke-c"));
    start(vm);
    wait_said(vm, "picture: drawn");
    FAILS(VMCTL_E_INVALID_ARGUMENT, vmctl_send_keys(vm, wrong, 2, NULL, &err));
    assert_non_null(strstr(failure, "\"entr\""));
    assert_non_null(strstr(failure, "enter"));
    MUST(vmctl_vm_pause(vm, NULL, &err));
    FAILS(VMCTL_E_INVALID_STATE, vmctl_send_keys(vm, right, 1, NULL, &err));
    assert_non_null(strstr(failure, "vmctl resume ke-c"));
    MUST(vmctl_vm_resume(vm, NULL, &err));
    const char *const last[] = {"z"};
    MUST(vmctl_send_keys(vm, last, 1, NULL, &err));
    text log = wait_said(vm, "scan 2c");
    assert_null(strstr(log.bytes, "scan 1e")); /* what was refused was not pressed */
    vmctl_vm_free(vm);
}

/* --- counters ------------------------------------------------------------------------------------------------------------------ */

typedef struct counters {
    const char *name;
    int seen;
    vmctl_metrics last;
} counters;

static int take_counters(const vmctl_metrics *m, void *user) {
    counters *c = user;
    if (strcmp(m->name, c->name) != 0)
        return 0;
    c->seen++;
    c->last = *m;
    assert_int_equal(strlen(m->id), 36);
    return 0;
}

static vmctl_metrics counted(const char *name, bool inactive, int expected) {
    vmctl_metrics_options options = VMCTL_METRICS_OPTIONS_INIT;
    options.inactive = inactive;
    counters c = {.name = name};
    MUST(vmctl_metrics_list(conn, &options, take_counters, &c, &err));
    assert_int_equal(c.seen, expected);
    return c.last;
}

static void counters_of_all_vms(void **state) {
    (void)state;
    vmctl_vm *busy = make_started("me-a", "%s", "networks: [{name: out, type: nat}]"), *off = make("me-b", "%s", "");
    wait_line(busy, 2);
    vmctl_metrics first = counted("me-a", false, 1);
    assert_int_equal(first.state, VMCTL_STATE_RUNNING);
    assert_int_equal(first.cpus, 1);
    assert_int_equal(first.memory_mib, 32);
    assert_in_range(first.resident_mib, 1, 4096);
    if (profile->counts_traffic) {
        assert_in_range(first.disk_read_bytes, 512, 1 << 20); /* the boot sector, of a disk of 1 MiB */
        assert_int_equal(first.disk_write_bytes, 0);
        assert_true(first.net_rx_bytes != UINT64_MAX && first.net_tx_bytes != UINT64_MAX);
    } else { /* absent, and not zero */
        assert_true(first.disk_read_bytes == UINT64_MAX && first.net_rx_bytes == UINT64_MAX);
    }
    wait_line(busy, 15);
    vmctl_metrics second = counted("me-a", false, 1);
    assert_true(second.time_ns > first.time_ns);
    assert_true(second.cpu_ns > first.cpu_ns);
    const double running = (double)(second.cpu_ns - first.cpu_ns) / (double)(second.time_ns - first.time_ns);

    counted("me-b", false, 0);
    vmctl_metrics stopped = counted("me-b", true, 1);
    assert_int_equal(stopped.state, VMCTL_STATE_STOPPED);
    assert_true(stopped.cpu_ns == UINT64_MAX && stopped.resident_mib == UINT64_MAX &&
                stopped.disk_read_bytes == UINT64_MAX);

    MUST(vmctl_vm_pause(busy, NULL, &err));
    first = counted("me-a", false, 1);
    assert_int_equal(first.state, VMCTL_STATE_PAUSED);
    sleep_ms(500);
    second = counted("me-a", false, 1);
    const double paused = (double)(second.cpu_ns - first.cpu_ns) / (double)(second.time_ns - first.time_ns);
    assert_true(paused < running / 2 || paused < 0.1); /* the hypervisor itself, no guest */
    MUST(vmctl_vm_save(busy, NULL, &err));
    assert_int_equal(counted("me-a", true, 1).state, VMCTL_STATE_SAVED);
    vmctl_vm_free(busy);
    vmctl_vm_free(off);
}

/* --- memory --------------------------------------------------------------------------------------------------------------- */

/* A core file (ELF specification: e_ident, e_type) in which the guest's program is: it was loaded to 0x7c00, with its text. */
static void the_memory_comes_into_a_file(void **state) {
    (void)state;
    static const char words[] = "vmctl guest: line ";
    vmctl_vm *vm = make_started("screen-m", "%s", "");
    int line = wait_line(vm, 2).line;
    char path[512];
    snprintf(path, sizeof path, "%s", scratch_file("screen-m.core", "", 0));
    FAILS(VMCTL_E_ALREADY_EXISTS, vmctl_vm_dump(vm, path, NULL, &err));
    assert_int_equal(unlink(path), 0);
    char *before = world();
    MUST(vmctl_vm_dump(vm, path, NULL, &err));
    struct stat seen_file;
    assert_int_equal(stat(path, &seen_file), 0);
    assert_int_equal(seen_file.st_mode & 0777, 0600);
    assert_int_equal(seen_file.st_uid, geteuid());
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *bytes = malloc((size_t)seen_file.st_size);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, (size_t)seen_file.st_size, file), seen_file.st_size);
    assert_int_equal(fclose(file), 0);
    assert_memory_equal(bytes, "\177ELF", 4);
    assert_int_equal(bytes[16], 4); /* ET_CORE */
    assert_non_null(memmem(bytes, (size_t)seen_file.st_size, words, sizeof words - 1));
    free(bytes);
    wait_line(vm, line + 2); /* it goes on */
    assert_int_equal(state_of(vm), VMCTL_STATE_RUNNING);
    char *after = world_after(before);
    assert_string_equal(before, after);
    assert_int_equal(unlink(path), 0);
    MUST(vmctl_vm_pause(vm, NULL, &err));
    MUST(vmctl_vm_dump(vm, path, NULL, &err));
    assert_int_equal(state_of(vm), VMCTL_STATE_PAUSED);
    assert_int_equal(unlink(path), 0);
    FAILS(vmctl_vm_dump(vm, "/nowhere/screen-m.core", NULL, NULL),
          vmctl_vm_dump(vm, "/nowhere/screen-m.core", NULL, &err));
    force_off(vm);
    FAILS(VMCTL_E_INVALID_STATE, vmctl_vm_dump(vm, path, NULL, &err));
    assert_int_equal(access(path, F_OK), -1);
    free(before);
    free(after);
    vmctl_vm_free(vm);
}

static const contract_test tests[] = {
    TEST("display.screenshot", "screenshot", a_screenshot_shows_the_guests_pixels),
    TEST("display.screenshot", "screenshot", a_refused_screenshot_leaves_the_file),
    TEST("display.keys", "send_keys", keys_of_one_call_are_held_together),
    TEST("display.keys", "send_keys", a_text_is_typed),
    TEST("display.keys", "send_keys", keys_that_would_be_lost_are_refused),
    TEST("look.metrics", "metrics_list", counters_of_all_vms),
    TEST("guest.memory-dump", "dump", the_memory_comes_into_a_file),
};
const contract_group group_screen = {"screen", tests, sizeof tests / sizeof tests[0]};
