/* storage.c - images that an endpoint keeps. */
#include "contract.h"

typedef struct wanted {
    const char *name;
    int found;
    char format[16], pool[64];
    uint64_t virtual_bytes;
} wanted;

static int find_image(const vmctl_image *image, void *user) {
    wanted *to = user;
    if (image->name && strcmp(image->name, to->name) == 0) {
        to->found++;
        snprintf(to->format, sizeof to->format, "%s", image->format ? image->format : "");
        snprintf(to->pool, sizeof to->pool, "%s", image->pool ? image->pool : "");
        to->virtual_bytes = image->virtual_bytes;
    }
    return 0;
}

static int found(const char *name, wanted *out) {
    *out = (wanted){.name = name};
    MUST(vmctl_image_list(conn, NULL, NULL, find_image, out, &err));
    return out->found;
}

/* "large" -> "large.img", or what the endpoint can call an image; valid until the fourth call after it. */
static const char *called(const char *word) {
    static char names[4][64];
    static int next;
    char *name = names[next++ % 4];
    snprintf(name, sizeof names[0], "%s%s", word, profile->cluster ? "" : ".img");
    return name;
}

/* As a spec and a person name it who say where it is. */
static const char *placed(const char *word) {
    static char path[96];
    snprintf(path, sizeof path, "%s%s", profile->cluster ? "" : "default/", called(word));
    return path;
}

typedef struct heard {
    int reports;
    uint64_t last, total;
    bool backwards;
    int cancel_at;
} heard;

static int hear(const vmctl_progress *progress, void *user) {
    heard *to = user;
    to->reports++;
    if (progress->unit == VMCTL_UNIT_BYTES) {
        if (progress->done < to->last)
            to->backwards = true;
        to->last = progress->done;
        to->total = progress->total;
    }
    return to->cancel_at && to->reports >= to->cancel_at;
}

static void upload_list_delete(void **state) {
    (void)state;
    vmctl_image_upload_options options = VMCTL_IMAGE_UPLOAD_OPTIONS_INIT;
    options.name = called("uploaded");
    MUST(vmctl_image_upload(conn, guest_image, &options, &err));
    wanted image;
    assert_int_equal(found(called("uploaded"), &image), 1);
    assert_int_equal(image.virtual_bytes, 1024 * 1024);
    assert_string_equal(image.format, "raw");
    FAILS(VMCTL_E_ALREADY_EXISTS, vmctl_image_upload(conn, guest_image, &options, &err));
    MUST(vmctl_image_delete(conn, called("uploaded"), NULL, &err));
    assert_int_equal(found(called("uploaded"), &image), 0);
    FAILS(VMCTL_E_NOT_FOUND, vmctl_image_delete(conn, called("uploaded"), NULL, &err));
}

static const char *large_file(void) {
    size_t length = 24 * 1024 * 1024;
    char *bytes = malloc(length);
    for (size_t i = 0; i < length; i++)
        bytes[i] = (char)(i * 2654435761u >> 13);
    const char *path = scratch_file("large.img", bytes, length);
    free(bytes);
    return path;
}

static void upload_tells_its_progress(void **state) {
    (void)state;
    heard progress = {0};
    vmctl_call call = VMCTL_CALL_INIT;
    call.progress = hear;
    call.user = &progress;
    vmctl_image_upload_options options = VMCTL_IMAGE_UPLOAD_OPTIONS_INIT;
    options.call = &call;
    options.name = called("large");
    MUST(vmctl_image_upload(conn, large_file(), &options, &err));
    assert_true(progress.reports > 2);
    assert_false(progress.backwards);
    assert_int_equal(progress.last, 24 * 1024 * 1024);
    assert_int_equal(progress.total, 24 * 1024 * 1024);
    MUST(vmctl_image_delete(conn, called("large"), NULL, &err));
}

static void a_cancelled_upload_leaves_nothing(void **state) {
    (void)state;
    heard progress = {.cancel_at = 2};
    vmctl_call call = VMCTL_CALL_INIT;
    call.progress = hear;
    call.user = &progress;
    vmctl_image_upload_options options = VMCTL_IMAGE_UPLOAD_OPTIONS_INIT;
    options.call = &call;
    options.name = called("cancelled");
    FAILS(VMCTL_E_CANCELLED, vmctl_image_upload(conn, large_file(), &options, &err));
    wanted image;
    assert_int_equal(found(called("cancelled"), &image), 0);
}

static bool same_files(const char *a, const char *b) {
    const char *const argv[] = {"cmp", "-s", a, b, NULL};
    return run_program(argv) == 0;
}

static void download_is_what_was_uploaded(void **state) {
    (void)state;
    /* Data, a hole, data, and a hole at the end. */
    size_t length = 8 * 1024 * 1024;
    char *bytes = calloc(1, length);
    memset(bytes, 7, 100000);
    memset(bytes + 5 * 1024 * 1024 + 3, 9, 100001);
    const char *source = scratch_file("holes.img", bytes, length);
    free(bytes);
    vmctl_image_upload_options options = VMCTL_IMAGE_UPLOAD_OPTIONS_INIT;
    options.name = called("holes");
    MUST(vmctl_image_upload(conn, source, &options, &err));
    const char *target = scratch_file("back.img", "", 0);
    FAILS(VMCTL_E_ALREADY_EXISTS, vmctl_image_download(conn, called("holes"), target, NULL, &err));
    unlink(target);
    heard progress = {0};
    vmctl_call call = VMCTL_CALL_INIT;
    call.progress = hear;
    call.user = &progress;
    MUST(vmctl_image_download(conn, placed("holes"), target, &call, &err));
    assert_true(same_files(source, target));
    assert_false(progress.backwards);
    assert_int_equal(progress.last, length);
    unlink(target);
    call.progress = hear;
    progress = (heard){.cancel_at = 1};
    FAILS(VMCTL_E_CANCELLED, vmctl_image_download(conn, called("holes"), target, &call, &err));
    assert_int_equal(access(target, F_OK), -1);
    FAILS(VMCTL_E_NOT_FOUND, vmctl_image_download(conn, "default/none.img", target, NULL, &err));
    FAILS(VMCTL_E_NOT_FOUND, vmctl_image_download(conn, called("holes"), "/nowhere/back.img", NULL, &err));
    MUST(vmctl_image_delete(conn, called("holes"), NULL, &err));
}

static void an_image_in_use_stays(void **state) {
    (void)state;
    vmctl_image_upload_options options = VMCTL_IMAGE_UPLOAD_OPTIONS_INIT;
    options.name = called("used");
    MUST(vmctl_image_upload(conn, guest_image, &options, &err));
    vmctl_vm *vm = make("im-a", "disks: [{name: root, volume: %s}]", placed("used"));
    FAILS(VMCTL_E_BUSY, vmctl_image_delete(conn, called("used"), NULL, &err));
    assert_non_null(strstr(failure, "im-a"));
    MUST(vmctl_vm_delete(vm, NULL, &err));
    vmctl_vm_free(vm);
    MUST(vmctl_image_delete(conn, placed("used"), NULL, &err));
}

static const contract_test tests[] = {
    TEST("image.upload image.list", "image_upload image_list image_delete", upload_list_delete),
    TEST("image.upload", "image_upload", upload_tells_its_progress),
    TEST("image.upload", "image_upload undo", a_cancelled_upload_leaves_nothing),
    TEST("image.download", "image_download undo", download_is_what_was_uploaded),
    TEST("image.delete", "image_delete", an_image_in_use_stays),
};
const contract_group group_storage = {"storage", tests, sizeof tests / sizeof tests[0]};
