/* tests/unit/test_qemu_img.c - images: told apart by content, made, converted, copied; hostile ones refused; nothing left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "drivers/process/process.h"
#include "drivers/qemu_img/qemu_img.h"
#include "small_disk.h"
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})
#define MIB       ((uint64_t)1 << 20)

static char folder[64];
static vmc_deadline far;

static char *in_folder(const char *name) {
    static char paths[8][256];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void write_file(const char *path, off_t at, const void *bytes, size_t length) {
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, length, at), (ssize_t)length);
    close(fd);
}

static char *make(const char *name, const char *format, uint64_t bytes) {
    char *path = in_folder(name);
    vmctl_error *err = NULL;
    int rc = qemu_img_create(&(qemu_img_create_args){.path = path, .format = format, .bytes = bytes}, &far, &err);
    if (rc < 0)
        fail_msg("%s", vmctl_error_text(err));
    return path;
}

static int count_files(void) {
    DIR *d = opendir(folder);
    int n = 0;
    while (readdir(d))
        n++;
    closedir(d);
    return n - 2;
}

static int set_up(void **state) {
    (void)state;
    far = vmc_deadline_start(NULL, 60000);
    strcpy(folder, "/tmp/vmctl-test-image-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    process_options o = {.argv = ARGV("rm", "-rf", folder)};
    return process_run_ok(&o, &far, NULL, NULL);
}

static void formats_are_told_by_content(void **state) {
    (void)state;
    static const char *const formats[] = {"qcow2", "vmdk", "vdi", "vhdx", "vpc", "raw"};
    for (size_t i = 0; i < 6; i++) {
        char *path = make(formats[i], formats[i], 4 * MIB);
        qemu_img_kind kind;
        assert_int_equal(qemu_img_probe(path, &kind, NULL), 0);
        assert_string_equal(kind.name, formats[i]);
        assert_string_equal(kind.format, formats[i]);
    }
    /* A VHD of fixed size has its magic in its last 512 bytes only. */
    char *fixed = in_folder("fixed");
    qemu_img_create_args args = {.path = fixed, .format = "vpc", .bytes = 4 * MIB, .options = ARGV("subformat=fixed")};
    assert_int_equal(qemu_img_create(&args, &far, NULL), 0);
    qemu_img_kind kind;
    assert_int_equal(qemu_img_probe(fixed, &kind, NULL), 0);
    assert_string_equal(kind.name, "vpc");
}

static void what_is_not_what_its_name_says_is_named(void **state) {
    (void)state;
    static const struct {
        const char *file, *bytes, *says;
    } cases[] = {{"disk.qcow2", "\x1f\x8b\x08 more", "disk.qcow2 is a gzip archive, not a qcow2 image"},
                 {"disk.raw",
                  "\xfd"
                  "7zXZ",
                  NULL}, /* five bytes are not the six of xz: raw */
                 {"page.qcow2", "  <!DOCTYPE html><html>", "page.qcow2 is a web page, not a qcow2 image"},
                 {"page.img", "<html>", "page.img is a web page, not a disk image"},
                 {"empty.img", "", "empty.img is an empty file, not a disk image"},
                 {"old.vmdk", "QFI\xfb", "old.vmdk is a qcow2 image, not a vmdk image"},
                 {"plain.img", "\xeb\x63\x90", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *path = in_folder(cases[i].file);
        write_file(path, 0, cases[i].bytes, strlen(cases[i].bytes));
        vmctl_error *err = NULL;
        int rc = qemu_img_expect(path, NULL, NULL, &err);
        assert_int_equal(rc, cases[i].says ? VMCTL_E_INVALID_ARGUMENT : 0);
        if (cases[i].says) {
            assert_string_equal(vmctl_error_message(err), cases[i].says);
            assert_non_null(vmctl_error_next(err));
        }
        vmctl_error_free(err);
    }
    char *iso = in_folder("a.iso");
    write_file(iso, 0x8001, "CD001", 5);
    assert_int_equal(qemu_img_expect(iso, NULL, NULL, NULL), 0);
    assert_int_equal(qemu_img_expect(folder, NULL, NULL, NULL), VMCTL_E_INVALID_ARGUMENT);
    assert_int_equal(qemu_img_expect("/nonexistent", NULL, NULL, NULL), VMCTL_E_NOT_FOUND);
    char *fifo = in_folder("fifo");
    mkfifo(fifo, 0600);
    assert_int_equal(qemu_img_expect(fifo, NULL, NULL, NULL), VMCTL_E_INVALID_ARGUMENT);
}

static void inspect_tells_size_backing_and_snapshots(void **state) {
    (void)state;
    char *base = make("base.qcow2", "qcow2", 8 * MIB);
    char *top = in_folder("top.qcow2");
    qemu_img_create_args args = {.path = top, .format = "qcow2", .backing = base, .backing_format = "qcow2"};
    assert_int_equal(qemu_img_create(&args, &far, NULL), 0);
    process_options snap = {.argv = ARGV("qemu-img", "snapshot", "-c", "first one", top)};
    assert_int_equal(process_run_ok(&snap, &far, NULL, NULL), 0);
    QEMU_IMG_AUTO_INFO info = {0};
    assert_int_equal(qemu_img_inspect(top, NULL, &far, &info, NULL), 0);
    assert_string_equal(info.format, "qcow2");
    assert_int_equal(info.virtual_bytes, 8 * MIB);
    assert_string_equal(info.backing, base);
    assert_string_equal(info.backing_path, base);
    assert_string_equal(info.backing_format, "qcow2");
    assert_int_equal(info.snapshots.count, 1);
    assert_string_equal(info.snapshots.items[0], "first one");
    assert_false(info.encrypted);
    assert_null(info.data_file);
    /* The backing file need not be there for a look. */
    assert_int_equal(unlink(base), 0);
    qemu_img_info_free(&info);
    assert_int_equal(qemu_img_inspect(top, "qcow2", &far, &info, NULL), 0);
    assert_string_equal(info.backing, base);
}

/* A raw disk whose guest wrote a qcow2 header that names a file of the host. */
static void a_raw_disk_is_not_opened_as_what_its_guest_wrote(void **state) {
    (void)state;
    char *evil = in_folder("guest.img");
    qemu_img_create_args args = {
        .path = evil, .format = "qcow2", .bytes = MIB, .backing = "/etc/passwd", .backing_format = "raw"};
    assert_int_equal(qemu_img_create(&args, &far, NULL), 0);
    QEMU_IMG_AUTO_INFO info = {0};
    assert_int_equal(qemu_img_inspect(evil, "raw", &far, &info, NULL), 0);
    assert_string_equal(info.format, "raw");
    assert_null(info.backing);
    /* And as an image from outside: told, and not followed. */
    vmctl_error *err = NULL;
    qemu_img_convert_args convert = {.source = evil, .target = in_folder("out.raw"), .target_format = "raw"};
    assert_int_equal(qemu_img_convert(&convert, &far, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_non_null(strstr(vmctl_error_message(err), "/etc/passwd"));
    vmctl_error_free(err);
    assert_int_equal(access(in_folder("out.raw"), F_OK), -1);
}

static void data_files_elsewhere_are_told_and_not_opened(void **state) {
    (void)state;
    char *outside = in_folder("outside.qcow2");
    char option[300];
    snprintf(option, sizeof option, "data_file=%s", in_folder("secret"));
    qemu_img_create_args args = {.path = outside, .format = "qcow2", .bytes = 4 * MIB, .options = ARGV(option)};
    assert_int_equal(qemu_img_create(&args, &far, NULL), 0);
    /* Would QEMU open it, this would fail. */
    assert_int_equal(unlink(in_folder("secret")), 0);
    QEMU_IMG_AUTO_INFO info = {0};
    assert_int_equal(qemu_img_inspect(outside, NULL, &far, &info, NULL), 0);
    assert_string_equal(info.data_file, in_folder("secret"));
    assert_int_equal(info.virtual_bytes, 4 * MIB);
    qemu_img_info_free(&info);

    char *descriptor = in_folder("evil.vmdk");
    const char *text = "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n"
                       "createType=\"monolithicFlat\"\nRW 2048 FLAT \"/etc/passwd\" 0\n";
    write_file(descriptor, 0, text, strlen(text));
    assert_int_equal(qemu_img_inspect(descriptor, NULL, &far, &info, NULL), 0);
    assert_string_equal(info.data_file, "/etc/passwd");
    assert_int_equal(info.virtual_bytes, MIB);
    qemu_img_convert_args convert = {.source = descriptor, .target = in_folder("out.raw"), .target_format = "raw"};
    assert_int_equal(qemu_img_convert(&convert, &far, NULL), VMCTL_E_INVALID_ARGUMENT);

    /* A flat VMDK beside its own extent is a usual one. */
    char *flat = in_folder("flat.vmdk");
    args = (qemu_img_create_args){
        .path = flat, .format = "vmdk", .bytes = MIB, .options = ARGV("subformat=monolithicFlat")};
    assert_int_equal(qemu_img_create(&args, &far, NULL), 0);
    qemu_img_info_free(&info);
    assert_int_equal(qemu_img_inspect(flat, NULL, &far, &info, NULL), 0);
    assert_null(info.data_file);
    assert_int_equal(info.virtual_bytes, MIB);
}

typedef struct heard {
    uint64_t last, total;
    int calls;
    char stage[64], device[64];
    int answer;
} heard;

static int hear(const vmctl_progress *p, void *user) {
    heard *h = user;
    assert_true(p->done >= h->last);
    h->last = p->done;
    h->total = p->total;
    h->calls++;
    snprintf(h->stage, sizeof h->stage, "%s", p->stage);
    snprintf(h->device, sizeof h->device, "%s", p->device ? p->device : "");
    return h->answer;
}

static char *random_image(const char *name, size_t mib) {
    char *path = in_folder(name);
    char *bytes = malloc(MIB);
    for (size_t m = 0; m < mib; m++) {
        for (size_t i = 0; i < MIB; i++)
            bytes[i] = (char)rand();
        write_file(path, (off_t)(m * 2 * MIB), bytes, MIB); /* a hole after each */
    }
    free(bytes);
    assert_int_equal(truncate(path, (off_t)(mib * 2 * MIB)), 0);
    return path;
}

static void convert_keeps_the_contents_and_tells_progress(void **state) {
    (void)state;
    char *source = random_image("source.raw", 8), *target = in_folder("target.qcow2");
    heard h = {0};
    vmctl_call call = VMCTL_CALL_INIT;
    call.progress = hear;
    call.user = &h;
    vmc_deadline d = vmc_deadline_start(&call, 60000);
    qemu_img_label label = {"web-1", "converting disk root", "root"};
    qemu_img_convert_args args = {
        .source = source, .source_format = "raw", .target = target, .target_format = "qcow2", .label = &label};
    assert_int_equal(qemu_img_convert(&args, &d, NULL), 0);
    assert_true(h.calls > 0);
    assert_int_equal(h.last, 100);
    assert_int_equal(h.total, 100);
    assert_string_equal(h.stage, "converting disk root");
    assert_string_equal(h.device, "root");
    bool same = false;
    assert_int_equal(qemu_img_compare(source, "raw", target, NULL, &far, &same, NULL), 0);
    assert_true(same);
    write_file(source, 3 * MIB, "x", 1);
    assert_int_equal(qemu_img_compare(source, "raw", target, NULL, &far, &same, NULL), 0);
    assert_false(same);
    assert_int_equal(qemu_img_convert(&args, &far, NULL), VMCTL_E_ALREADY_EXISTS);
    args.overwrite = true;
    args.compress = true;
    assert_int_equal(qemu_img_convert(&args, &far, NULL), 0);
    assert_int_equal(qemu_img_compare(source, "raw", target, "qcow2", &far, &same, NULL), 0);
    assert_true(same);
    assert_int_equal(count_files(), 2);
}

static void a_cancelled_or_failed_conversion_leaves_no_target(void **state) {
    (void)state;
    char *source = random_image("source.raw", 8), *target = in_folder("target.qcow2");
    heard h = {.answer = 1};
    vmctl_call call = VMCTL_CALL_INIT;
    call.progress = hear;
    call.user = &h;
    vmc_deadline d = vmc_deadline_start(&call, 60000);
    qemu_img_convert_args args = {.source = source, .source_format = "raw", .target = target, .target_format = "qcow2"};
    vmctl_error *err = NULL;
    assert_int_equal(qemu_img_convert(&args, &d, &err), VMCTL_E_CANCELLED);
    assert_int_equal(vmctl_error_code(err), VMCTL_E_CANCELLED);
    vmctl_error_free(err);
    err = NULL;
    assert_int_equal(count_files(), 1);
    args.source_format = "qcow2"; /* it is none */
    assert_int_equal(qemu_img_convert(&args, &far, &err), VMCTL_E_INVALID_ARGUMENT);
    vmctl_error_free(err);
    assert_int_equal(count_files(), 1);
    vmc_deadline none = vmc_deadline_start(NULL, 1);
    usleep(3000);
    args.source_format = "raw";
    assert_int_equal(qemu_img_convert(&args, &none, NULL), VMCTL_E_TIMEOUT);
    assert_int_equal(count_files(), 1);
    /* An existing target survives a failed replacement. */
    write_file(target, 0, "precious", 8);
    args.overwrite = true;
    h = (heard){.answer = 1};
    assert_int_equal(qemu_img_convert(&args, &d, NULL), VMCTL_E_CANCELLED);
    struct stat st;
    assert_int_equal(stat(target, &st), 0);
    assert_int_equal(st.st_size, 8);
    assert_int_equal(count_files(), 2);
}

static void resize_grows_and_refuses_to_lose(void **state) {
    (void)state;
    char *path = make("a.qcow2", "qcow2", 4 * MIB);
    vmctl_error *err = NULL;
    assert_int_equal(qemu_img_resize(path, "qcow2", 8 * MIB, false, &far, NULL), 0);
    assert_int_equal(qemu_img_resize(path, "qcow2", 2 * MIB, false, &far, &err), VMCTL_E_DATA_LOSS_PREVENTED);
    vmctl_error_free(err);
    QEMU_IMG_AUTO_INFO info = {0};
    assert_int_equal(qemu_img_inspect(path, NULL, &far, &info, NULL), 0);
    assert_int_equal(info.virtual_bytes, 8 * MIB);
    qemu_img_info_free(&info);
    assert_int_equal(qemu_img_resize(path, "qcow2", 2 * MIB, true, &far, NULL), 0);
    assert_int_equal(qemu_img_inspect(path, NULL, &far, &info, NULL), 0);
    assert_int_equal(info.virtual_bytes, 2 * MIB);
}

static void an_image_in_use_is_busy(void **state) {
    (void)state;
    char *path = make("used.qcow2", "qcow2", 4 * MIB);
    /* qemu-io holds it open for writing as a running VM would. */
    int in[2];
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(in[0], 0);
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 1);
        dup2(null, 2);
        execlp("qemu-io", "qemu-io", "-f", "qcow2", path, (char *)NULL);
        _exit(127);
    }
    int rc = 0;
    vmctl_error *err = NULL;
    for (int i = 0; i < 50 && rc == 0; i++) {
        usleep(20000);
        rc = qemu_img_resize(path, "qcow2", (uint64_t)(5 + i) * MIB, false, &far, &err);
    }
    /* A look is possible all the same. */
    QEMU_IMG_AUTO_INFO info = {0};
    int looked = qemu_img_inspect(path, NULL, &far, &info, NULL);
    close(in[1]);
    close(in[0]);
    waitpid(pid, NULL, 0);
    assert_int_equal(rc, VMCTL_E_BUSY);
    assert_int_equal(looked, 0);
    vmctl_error_free(err);
}

static void flatten_needs_its_backing_file_no_more(void **state) {
    (void)state;
    char *base = random_image("base.raw", 2), *top = in_folder("top.qcow2"), *reference = in_folder("reference.raw");
    assert_int_equal(qemu_img_copy(base, reference, 0600, NULL, &far, NULL), 0);
    qemu_img_create_args args = {.path = top, .format = "qcow2", .backing = base, .backing_format = "raw"};
    assert_int_equal(qemu_img_create(&args, &far, NULL), 0);
    assert_int_equal(qemu_img_flatten(top, "qcow2", NULL, &far, NULL), 0);
    assert_int_equal(unlink(base), 0);
    bool same = false;
    assert_int_equal(qemu_img_compare(top, NULL, reference, "raw", &far, &same, NULL), 0);
    assert_true(same);
}

static void create_checks_what_it_is_given(void **state) {
    (void)state;
    char *path = make("a.qcow2", "qcow2", MIB);
    qemu_img_create_args args = {.path = path, .format = "qcow2", .bytes = MIB};
    assert_int_equal(qemu_img_create(&args, &far, NULL), VMCTL_E_ALREADY_EXISTS);
    args = (qemu_img_create_args){
        .path = in_folder("b"), .format = "qcow2", .backing = "nbd:host:1", .backing_format = "raw"};
    assert_int_equal(qemu_img_create(&args, &far, NULL), VMCTL_E_INVALID_ARGUMENT);
    args.backing = "json:{}";
    assert_int_equal(qemu_img_create(&args, &far, NULL), VMCTL_E_INVALID_ARGUMENT);
    args.backing = "/nonexistent";
    assert_int_equal(qemu_img_create(&args, &far, NULL), VMCTL_E_NOT_FOUND);
    assert_int_equal(count_files(), 1);
    /* Names that QEMU would take for a protocol or an option are files here. */
    assert_int_equal(chdir(folder), 0);
    args = (qemu_img_create_args){.path = "nbd:name,x=y", .format = "qcow2", .bytes = MIB};
    assert_int_equal(qemu_img_create(&args, &far, NULL), 0);
    args.path = "-f";
    assert_int_equal(qemu_img_create(&args, &far, NULL), 0);
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(count_files(), 3);
}

static void check_finds_no_fault_in_a_new_image(void **state) {
    (void)state;
    qemu_img_check_result r;
    char *path = make("a.qcow2", "qcow2", MIB);
    assert_int_equal(qemu_img_check(path, "qcow2", &far, &r, NULL), 0);
    assert_true(r.supported);
    assert_int_equal(r.errors, 0);
    assert_int_equal(qemu_img_check(make("a.raw", "raw", MIB), "raw", &far, &r, NULL), 0);
    assert_false(r.supported);
    /* The first entry of its refcount table (at 64 KiB) is lost. */
    write_file(path, 65536, "\0\0\0\0\0\0\0\0", 8);
    assert_int_equal(qemu_img_check(path, "qcow2", &far, &r, NULL), 0);
    assert_true(r.errors > 0);
}

static void copy_keeps_bytes_and_holes(void **state) {
    (void)state;
    char *source = random_image("source.raw", 6), *target = in_folder("target.raw");
    heard h = {0};
    vmctl_call call = VMCTL_CALL_INIT;
    call.progress = hear;
    call.user = &h;
    vmc_deadline d = vmc_deadline_start(&call, 60000);
    assert_int_equal(qemu_img_copy(source, target, 0640, NULL, &d, NULL), 0);
    struct stat a, b;
    assert_int_equal(stat(source, &a), 0);
    assert_int_equal(stat(target, &b), 0);
    assert_int_equal(a.st_size, b.st_size);
    assert_true(b.st_blocks <= a.st_blocks + 64);
    assert_int_equal(b.st_mode & 0777, 0640);
    process_options cmp = {.argv = ARGV("cmp", source, target)};
    assert_int_equal(process_run_ok(&cmp, &far, NULL, NULL), 0);
    assert_int_equal(qemu_img_copy(source, target, 0640, NULL, &d, NULL), VMCTL_E_ALREADY_EXISTS);
    /* Across filesystems. */
    const char *other = "/dev/shm/vmctl-test-copy";
    unlink(other);
    if (access("/dev/shm", W_OK) == 0) {
        h = (heard){0};
        assert_int_equal(qemu_img_copy(source, other, 0600, NULL, &d, NULL), 0);
        assert_int_equal(h.last, 6 * MIB);
        cmp.argv = ARGV("cmp", source, other);
        assert_int_equal(process_run_ok(&cmp, &far, NULL, NULL), 0);
        unlink(other);
        h = (heard){.answer = 1};
        assert_int_equal(qemu_img_copy(source, other, 0600, NULL, &d, NULL), VMCTL_E_CANCELLED);
        assert_int_equal(access(other, F_OK), -1);
    }
}

/* On a filesystem of 4 MiB, in a mount namespace of its own. Exit 77: such a namespace is not to be had. */
static int on_a_full_disk(const char *source) {
    if (mkdir(in_folder("small"), 0700) != 0 || !small_disk(in_folder("small"), "4m"))
        return 77;
    vmctl_error *err = NULL;
    qemu_img_convert_args args = {
        .source = source, .source_format = "raw", .target = in_folder("small/a.qcow2"), .target_format = "qcow2"};
    if (qemu_img_convert(&args, &far, &err) != VMCTL_E_RESOURCE_EXHAUSTED)
        return 1;
    if (!strstr(vmctl_error_message(err), "free") || !strstr(vmctl_error_message(err), "16.0MiB needed"))
        return 2;
    vmctl_error_free(err);
    err = NULL;
    if (qemu_img_copy(source, in_folder("small/b.raw"), 0600, NULL, &far, &err) != VMCTL_E_RESOURCE_EXHAUSTED)
        return 3;
    vmctl_error_free(err);
    if (access(in_folder("small/a.qcow2"), F_OK) == 0 || access(in_folder("small/b.raw"), F_OK) == 0)
        return 4;
    return 0;
}

static void a_full_disk_is_said_with_its_numbers(void **state) {
    (void)state;
    char *source = random_image("source.raw", 8);
    pid_t pid = fork();
    if (pid == 0)
        _exit(on_a_full_disk(source));
    int status = 0;
    waitpid(pid, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        print_message("skip: a mount namespace is not to be had here\n");
        skip();
    }
    assert_int_equal(status, 0);
}

static char *overlay_on(const char *name, const char *backing) {
    char *path = in_folder(name);
    vmctl_error *err = NULL;
    qemu_img_create_args args = {.path = path, .format = "qcow2", .backing = backing, .backing_format = "qcow2"};
    if (qemu_img_create(&args, &far, &err) < 0)
        fail_msg("%s", vmctl_error_text(err));
    return path;
}

static void headers_tell_what_an_overlay_stands_on(void **state) {
    (void)state;
    char *base = make("base.qcow2", "qcow2", MIB), *below = NULL;
    char *near = overlay_on("near.qcow2", "base.qcow2"), *far_one = overlay_on("far.qcow2", base);
    assert_true(qemu_img_backing(near, &below));
    assert_string_equal(below, base); /* relative names are of the overlay's folder */
    free(below);
    assert_true(qemu_img_backing(far_one, &below));
    assert_string_equal(below, base);
    free(below);
    assert_true(qemu_img_backing(base, &below));
    assert_null(below);
    assert_true(qemu_img_backing(make("plain.raw", "raw", MIB), &below));
    assert_null(below);
    assert_false(qemu_img_backing(in_folder("none.qcow2"), &below));
    /* qcow2.txt: offset and length of the name; both beyond the file, and a name that is too long. */
    write_file(near, 8, "\0\0\0\0\x7f\xff\xff\xff", 8);
    assert_true(qemu_img_backing(near, &below));
    assert_null(below);
    write_file(far_one, 16, "\xff\xff\xff\xff", 4);
    assert_true(qemu_img_backing(far_one, &below));
    assert_null(below);
}

static void an_overlay_is_untouched_until_it_is_written_to(void **state) {
    (void)state;
    bool untouched = false;
    char *base = make("base.qcow2", "qcow2", MIB);
    const char *const fill[] = {"qemu-io", "-f", "qcow2", "-c", "write 0 64k", base, NULL};
    PROCESS_AUTO_RESULT filled = {0}, zeroed = {0};
    assert_int_equal(process_run(&(process_options){.argv = fill}, &far, &filled, NULL), 0);
    char *path = overlay_on("top.qcow2", base);
    assert_int_equal(qemu_img_is_untouched(path, "qcow2", &far, &untouched, NULL), 0);
    assert_true(untouched);
    const char *const zero[] = {"qemu-io", "-f", "qcow2", "-c", "write -z 0 64k", path, NULL};
    assert_int_equal(process_run(&(process_options){.argv = zero}, &far, &zeroed, NULL), 0);
    assert_int_equal(qemu_img_is_untouched(path, "qcow2", &far, &untouched, NULL), 0);
    assert_false(untouched);
}

int main(void) {
    char *program = process_find("qemu-img");
    if (!program) {
        fprintf(stderr, "skipped: qemu-img (package qemu-utils) is not installed\n");
        return 77;
    }
    free(program);
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(formats_are_told_by_content),
        TEST(what_is_not_what_its_name_says_is_named),
        TEST(inspect_tells_size_backing_and_snapshots),
        TEST(a_raw_disk_is_not_opened_as_what_its_guest_wrote),
        TEST(data_files_elsewhere_are_told_and_not_opened),
        TEST(convert_keeps_the_contents_and_tells_progress),
        TEST(a_cancelled_or_failed_conversion_leaves_no_target),
        TEST(resize_grows_and_refuses_to_lose),
        TEST(an_image_in_use_is_busy),
        TEST(flatten_needs_its_backing_file_no_more),
        TEST(create_checks_what_it_is_given),
        TEST(check_finds_no_fault_in_a_new_image),
        TEST(copy_keeps_bytes_and_holes),
        TEST(a_full_disk_is_said_with_its_numbers),
        TEST(headers_tell_what_an_overlay_stands_on),
        TEST(an_overlay_is_untouched_until_it_is_written_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
