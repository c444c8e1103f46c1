/* create.c - what a VM can be made of: disks from every source and on every bus, boot, cloud-init. */
#include "contract.h"

static void an_image_is_copied(void **state) {
    (void)state;
    vmctl_vm *vm = make("disk-a", "%s", "");
    seen facts;
    look(vm, &facts);
    const seen_device *root = device(&facts, "root");
    assert_int_equal(root->kind, VMCTL_DEVICE_DISK);
    assert_true(root->own);
    assert_string_not_equal(root->source, guest_image);
    assert_int_equal(root->capacity, 1024 * 1024);
    vmctl_vm_free(vm);
}

static void a_copy_can_be_larger(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("disk-b", "disks: [{name: root, image: %s, size: 64MiB}]", guest_image);
    wait_line(vm, 1);
    seen facts;
    look(vm, &facts);
    assert_int_equal(device(&facts, "root")->capacity, 64 * 1024 * 1024);
    vmctl_vm_free(vm);
}

static void a_copy_cannot_be_smaller(void **state) {
    (void)state;
    vmctl_spec *spec = spec_of("disk-c", "disks: [{name: root, image: %s, size: 512KiB}]", guest_image);
    int rc = vmctl_create(conn, spec, NULL, NULL, &err);
    assert_true(rc == VMCTL_E_INVALID_SPEC || rc == VMCTL_E_INVALID_ARGUMENT);
    assert_non_null(strstr(vmctl_error_text(err), "root"));
    vmctl_error_free(err);
    err = NULL;
    vmctl_spec_free(spec);
}

static void a_copy_in_every_format(void **state) {
    (void)state;
    for (const char *const *format = profile->formats; *format; format++) {
        char name[32];
        snprintf(name, sizeof name, "disk-d-%s", *format);
        vmctl_vm *vm = make_started(name, "disks: [{name: root, image: %s, format: %s}]", guest_image, *format);
        wait_line(vm, 1);
        seen facts;
        look(vm, &facts);
        assert_string_equal(device(&facts, "root")->type, *format);
        vmctl_vm_free(vm);
    }
}

static void an_image_is_never_changed(void **state) {
    (void)state;
    char *bytes = malloc(1024 * 1024);
    FILE *file = fopen(guest_image, "re");
    assert_non_null(file);
    assert_int_equal(fread(bytes, 1, 1024 * 1024, file), 1024 * 1024);
    fclose(file);
    const char *copy = scratch_file("source.img", bytes, 1024 * 1024);
    vmctl_vm *vm = make_started("disk-e", "disks: [{name: root, image: %s, size: 8MiB}]", copy);
    wait_line(vm, 1);
    char *again = malloc(1024 * 1024 + 1);
    file = fopen(copy, "re");
    assert_non_null(file);
    assert_int_equal(fread(again, 1, 1024 * 1024 + 1, file), 1024 * 1024);
    fclose(file);
    assert_memory_equal(bytes, again, 1024 * 1024);
    free(bytes);
    free(again);
    vmctl_vm_free(vm);
}

static void an_overlay_on_a_backing_file(void **state) {
    (void)state;
    const char *base = scratch_file("base.img", "", 0);
    const char *const copy[] = {"cp", guest_image, base, NULL};
    assert_int_equal(run_program(copy), 0);
    vmctl_vm *vm = make_started("disk-f", "disks: [{name: root, backing: %s}]", base);
    wait_line(vm, 1);
    seen facts;
    look(vm, &facts);
    assert_string_equal(device(&facts, "root")->type, "qcow2");
    assert_string_not_equal(device(&facts, "root")->source, base);
    force_off(vm);
    MUST(vmctl_vm_delete(vm, NULL, &err));
    assert_int_equal(access(base, R_OK), 0);
    vmctl_vm_free(vm);
}

static void a_volume_is_used_in_place_and_stays(void **state) {
    (void)state;
    vmctl_image_upload_options upload = VMCTL_IMAGE_UPLOAD_OPTIONS_INIT;
    upload.name = profile->image_name ? profile->image_name : "existing.img";
    char place[64];
    snprintf(place, sizeof place, "default/%s", upload.name);
    const char *volume = place;
    bool uploads = can("image.upload");
    if (uploads) {
        MUST(vmctl_image_upload(conn, guest_image, &upload, &err));
    } else { /* the hypervisor keeps none: any file in its format */
        volume = scratch_file("existing.disk", "", 0);
        const char *const convert[] = {"qemu-img", "convert", "-O", profile->formats[0], guest_image, volume, NULL};
        assert_int_equal(run_program(convert), 0);
    }
    char *before = world();
    vmctl_vm *vm = make_started("disk-g", "disks: [{name: root, volume: %s}]", volume);
    wait_line(vm, 1);
    seen facts;
    look(vm, &facts);
    assert_false(device(&facts, "root")->own);
    vmctl_delete_options gone = VMCTL_DELETE_OPTIONS_INIT;
    gone.force = true;
    MUST(vmctl_vm_delete(vm, &gone, &err));
    vmctl_vm_free(vm);
    char *after = world_after(before);
    assert_string_equal(before, after);
    free(before);
    free(after);
    if (uploads)
        MUST(vmctl_image_delete(conn, upload.name, NULL, &err));
    else
        assert_int_equal(access(volume, R_OK), 0);
}

static int take_default_pool(const vmctl_pool *pool, void *user) {
    seen_device *out = user;
    if (pool->is_default) {
        snprintf(out->name, sizeof out->name, "%s", pool->name);
        snprintf(out->source, sizeof out->source, "%s", pool->path ? pool->path : "");
    }
    return 0;
}

static void a_disk_goes_to_the_named_pool(void **state) {
    (void)state;
    seen_device pool = {0};
    MUST(vmctl_pool_list(conn, NULL, take_default_pool, &pool, &err));
    assert_string_not_equal(pool.name, "");
    vmctl_vm *vm = make("disk-p", "disks: [{name: root, image: %s, pool: %s}]", guest_image, pool.name);
    seen facts;
    look(vm, &facts);
    assert_int_equal(strncmp(device(&facts, "root")->source, pool.source, strlen(pool.source)), 0);
    vmctl_vm_free(vm);
    vmctl_spec *elsewhere = spec_of("disk-q", "disks: [{name: root, image: %s, pool: no-such-pool}]", guest_image);
    int rc = vmctl_create(conn, elsewhere, NULL, NULL, &err);
    vmctl_spec_free(elsewhere);
    FAILS(VMCTL_E_NOT_FOUND, rc);
    assert_non_null(strstr(failure, "no-such-pool"));
}

static void blank_disks(void **state) {
    (void)state;
    if (!can("storage.format")) { /* there is but one kind of disk */
        vmctl_vm *one =
            make_started("disk-h", "disks: [{name: root, image: %s}, {name: data, size: 16MiB}]", guest_image);
        wait_line(one, 1);
        seen found;
        look(one, &found);
        assert_int_equal(device(&found, "data")->capacity, 16 * 1024 * 1024);
        assert_true(device(&found, "data")->own);
        vmctl_vm_free(one);
        return;
    }
    vmctl_vm *vm = make("disk-h",
                        "disks: [{name: root, image: %s}, {name: data, size: 16MiB, format: %s}, "
                        "{name: log, size: 8MiB, format: %s}]",
                        guest_image, profile->formats[0], profile->formats[1]);
    start(vm);
    wait_line(vm, 1);
    seen facts;
    look(vm, &facts);
    assert_int_equal(device(&facts, "data")->capacity, 16 * 1024 * 1024);
    assert_string_equal(device(&facts, "data")->type, profile->formats[0]);
    assert_int_equal(device(&facts, "log")->capacity, 8 * 1024 * 1024);
    assert_string_equal(device(&facts, "log")->type, profile->formats[1]);
    vmctl_vm_free(vm);
}

static void a_cdrom_and_an_empty_drive(void **state) {
    (void)state;
    vmctl_vm *vm = make_started(
        "disk-i", "disks: [{name: root, image: %s}, {name: installer, cdrom: %s}, {name: tray, cdrom: \"\"}]",
        guest_image, guest_image);
    wait_line(vm, 1);
    seen facts;
    look(vm, &facts);
    assert_int_equal(device(&facts, "installer")->kind, VMCTL_DEVICE_CDROM);
    assert_string_not_equal(device(&facts, "installer")->source, "");
    assert_string_equal(device(&facts, "tray")->source, "");
    assert_true(native_shows(vm, "cdrom"));
    vmctl_vm_free(vm);
}

static bool boots_from(const char *bus) {
    for (const char *const *of = profile->buses; *of; of++)
        if (strcmp(*of, bus) == 0)
            return true;
    return false;
}

/* The disk that it boots from where the firmware can, else a second one. */
static void disk_on_bus(const char *bus) {
    char name[32], mark[32];
    bool root = boots_from(bus);
    snprintf(name, sizeof name, "bus-%s", bus);
    snprintf(mark, sizeof mark, "bus %s", bus);
    vmctl_vm *vm = root ? make_started(name, "disks: [{name: root, image: %s, bus: %s}]%s", guest_image, bus,
                                       strcmp(bus, "ide") == 0 ? "\nmachine: pc" : "")
                        : make_started(name, "disks: [{name: root, image: %s}, {name: data, size: 1MiB, bus: %s}]",
                                       guest_image, bus);
    assert_true(native_shows(vm, mark));
    wait_line(vm, 1);
    seen facts;
    look(vm, &facts);
    assert_string_equal(device(&facts, root ? "root" : "data")->bus, bus);
    vmctl_vm_free(vm);
}

static void a_virtio_disk(void **state) {
    (void)state;
    disk_on_bus("virtio");
}

static void a_scsi_disk(void **state) {
    (void)state;
    disk_on_bus("scsi");
}

static void a_sata_disk(void **state) {
    (void)state;
    disk_on_bus("sata");
}

static void an_ide_disk(void **state) {
    (void)state;
    disk_on_bus("ide");
}

static void a_usb_disk(void **state) {
    (void)state;
    disk_on_bus("usb");
}

static void an_nvme_disk(void **state) {
    (void)state;
    disk_on_bus("nvme");
}

static void several_disks_on_one_bus(void **state) {
    (void)state;
    vmctl_vm *vm = make_started(
        "disk-j",
        "disks: [{name: root, image: %s}, {name: a, size: 1MiB}, {name: b, size: 2MiB}, "
        "{name: c, size: 3MiB, bus: scsi}, {name: d, size: 4MiB, bus: scsi}, {name: e, size: 5MiB, bus: sata}]",
        guest_image);
    wait_line(vm, 1);
    seen facts;
    look(vm, &facts);
    for (int i = 0; i < 5; i++) {
        char name[2] = {(char)('a' + i), 0};
        assert_int_equal(device(&facts, name)->capacity, (uint64_t)(i + 1) * 1024 * 1024);
        for (int j = 0; j < i; j++) {
            char other[2] = {(char)('a' + j), 0};
            assert_string_not_equal(device(&facts, name)->target, device(&facts, other)->target);
        }
    }
    vmctl_vm_free(vm);
}

static void disk_options_arrive(void **state) {
    (void)state;
    vmctl_vm *vm = make("disk-k", "disks: [{name: root, image: %s, cache: none, serial: disk-4711}]", guest_image);
    assert_true(native_shows(vm, "cache none"));
    assert_true(native_shows(vm, "serial number"));
    vmctl_vm_free(vm);
}

static void trim_arrives(void **state) {
    (void)state;
    vmctl_vm *vm = make("disk-m", "disks: [{name: root, image: %s, discard: unmap}]", guest_image);
    assert_true(native_shows(vm, "discard unmap"));
    vmctl_vm_free(vm);
}

static void a_read_only_disk(void **state) {
    (void)state;
    vmctl_vm *vm =
        make("disk-l", "disks: [{name: root, image: %s}, {name: ro, size: 1MiB, readonly: true}]", guest_image);
    seen facts;
    look(vm, &facts);
    assert_true(device(&facts, "ro")->readonly);
    assert_false(device(&facts, "root")->readonly);
    vmctl_vm_free(vm);
}

/* An empty first disk cannot boot: only the order leads to the guest. */
static void boot_order_chooses_the_disk(void **state) {
    (void)state;
    vmctl_vm *vm =
        make_started("boot-a", "boot: {order: [second]}\ndisks: [{name: first, size: 1MiB}, {name: second, image: %s}]",
                     guest_image);
    wait_line(vm, 1);
    vmctl_vm_free(vm);
}

/* The smallest kernel in Linux's boot protocol 2.02 (Documentation/arch/x86/boot.rst): its set-up code prints its
 * command line on the serial port and halts. */
static const char *tiny_kernel(void) {
    static unsigned char image[1024 + 512];
    memset(image, 0, sizeof image);
    image[0x1f1] = 1;  /* one sector of set-up code beside the first */
    image[0x1f4] = 32; /* paragraphs of protected-mode code */
    image[0x1fe] = 0x55;
    image[0x1ff] = 0xaa;
    image[0x200] = 0xeb; /* jump over the header */
    image[0x201] = 0x6a;
    memcpy(image + 0x202, "HdrS", 4);
    image[0x206] = 0x02; /* protocol 2.02 */
    image[0x207] = 0x02;
    image[0x211] = 0x01; /* loaded high */
    image[0x216] = 0x10; /* code32_start 0x100000 */
    static const unsigned char code[] = {
        /* 26c */ 0x66, 0xa1, 0x28, 0x02, /* mov 0x228, %eax: the command line's address */
        /* 270 */ 0x66, 0xc1, 0xe8, 0x04, /* shr $4, %eax */
        /* 274 */ 0x8e, 0xd8,             /* mov %ax, %ds */
        /* 276 */ 0x31, 0xf6,             /* xor %si, %si */
        /* 278 */ 0xac,                   /* lodsb */
        /* 279 */ 0x84, 0xc0,             /* test %al, %al */
        /* 27b */ 0x74, 0x06,             /* jz halt */
        /* 27d */ 0xba, 0xf8, 0x03,       /* mov $0x3f8, %dx */
        /* 280 */ 0xee,                   /* out %al, (%dx) */
        /* 281 */ 0xeb, 0xf5,             /* jmp lodsb */
        /* 283 */ 0xf4, 0xeb, 0xfd,       /* hlt for ever */
    };
    memcpy(image + 0x26c, code, sizeof code);
    return scratch_file("tiny-kernel", image, sizeof image);
}

static int find_text(const void *bytes, size_t length, void *user) {
    notes *to = user;
    size_t have = strlen(to->last);
    size_t take = length < sizeof to->last - have - 1 ? length : sizeof to->last - have - 1;
    memcpy(to->last + have, bytes, take);
    to->last[have + take] = 0;
    return 0;
}

static void a_kernel_boots_directly(void **state) {
    (void)state;
    vmctl_vm *vm =
        make_started("boot-b", "boot: {kernel: %s, cmdline: \"hello from the command line\"}", tiny_kernel());
    assert_true(native_shows(vm, "kernel"));
    notes heard = {0};
    for (int64_t until = now_ms() + PATIENCE_MS; now_ms() < until && !strstr(heard.last, "command line");) {
        memset(&heard, 0, sizeof heard);
        MUST(vmctl_serial_log(vm, NULL, find_text, &heard, &err));
        sleep_ms(100);
    }
    assert_non_null(strstr(heard.last, "hello from the command line"));
    vmctl_vm_free(vm);
}

static void a_kernel_with_an_initrd(void **state) {
    (void)state;
    const char *initrd = scratch_file("tiny-initrd", "initrd", 6);
    vmctl_vm *vm = make("boot-c", "boot: {kernel: %s, initrd: %s}", tiny_kernel(), initrd);
    assert_true(native_shows(vm, "kernel"));
    assert_true(native_shows(vm, "initrd"));
    start(vm);
    assert_int_equal(state_of(vm), VMCTL_STATE_RUNNING);
    vmctl_vm_free(vm);
}

/* A path in the native document that ends so. */
static void native_path(vmctl_vm *vm, const char *ending, char *out, size_t size) {
    char *native = NULL;
    MUST(vmctl_vm_native(vm, NULL, &native, &err));
    char *end = strstr(native, ending), *begin = end;
    while (begin > native && begin[-1] != '\'' && begin[-1] != '"' && begin[-1] != '\n')
        begin--;
    snprintf(out, size, "%.*s", end ? (int)(end - begin + (long)strlen(ending)) : 0, end ? begin : "");
    vmctl_string_free(native);
    seen facts; /* a document may name it from the VM's folder on: the devices tell the whole path */
    look(vm, &facts);
    for (size_t i = 0; *out && *out != '/' && i < facts.device_count; i++)
        if (strstr(facts.devices[i].source, out))
            snprintf(out, size, "%s", facts.devices[i].source);
    assert_string_not_equal(out, "");
}

/* The seed is on a drive of the VM, an ISO 9660 image labelled CIDATA (cloud-init's NoCloud). */
static void cloud_init_brings_a_seed(void **state) {
    (void)state;
    vmctl_vm *vm = make(
        "seed-a", "%s",
        "cloudInit: {hostname: seed-host, user: ci, sshKeys: [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKtest me\"]}");
    if (profile->seed_in_native) {
        assert_true(native_has_text(vm, "cloudInitNoCloud"));
        assert_true(native_has_text(vm, "#cloud-config"));
        assert_true(native_has_text(vm, "seed-host"));
        assert_true(native_has_text(vm, "AAAAC3NzaC1lZDI1NTE5AAAAIKtest"));
        assert_true(native_has_text(vm, "name: ci"));
        vmctl_vm_free(vm);
        return;
    }
    char path[512];
    native_path(vm, ".iso", path, sizeof path);
    FILE *file = fopen(path, "re");
    if (!file)
        skip(); /* the hypervisor's host is another machine */
    static char bytes[4 * 1024 * 1024];
    size_t length = fread(bytes, 1, sizeof bytes - 1, file);
    fclose(file);
    assert_true(length > 17 * 2048);
    /* The primary volume descriptor is sector 16; the volume identifier is at its byte 40 (ECMA-119, 8.4). */
    assert_memory_equal(bytes + 16 * 2048 + 1, "CD001", 5);
    assert_int_equal(strncasecmp(bytes + 16 * 2048 + 40, "cidata", 6), 0);
    static const char *const wanted[] = {"#cloud-config", "seed-host", "instance-id", "AAAAC3NzaC1lZDI1NTE5AAAAIKtest",
                                         "name: ci"};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        if (!memmem(bytes, length, wanted[i], strlen(wanted[i]))) {
            print_error("the seed lacks \"%s\"\n", wanted[i]);
            fail();
        }
    }
    vmctl_vm_free(vm);
}

static void cloud_init_takes_own_documents(void **state) {
    (void)state;
    vmctl_vm *vm = make("seed-b", "%s",
                        "cloudInit: {userData: {inline: \"#cloud-config\\nwrite_files: [{path: /marker-4711}]\\n\"}, "
                        "networkData: {inline: \"version: 2\\nethernets: {eth0: {dhcp4: true}}\\n\"}}");
    if (profile->seed_in_native) {
        assert_true(native_has_text(vm, "marker-4711"));
        assert_true(native_has_text(vm, "ethernets: {eth0"));
        vmctl_vm_free(vm);
        return;
    }
    char path[512];
    native_path(vm, ".iso", path, sizeof path);
    FILE *file = fopen(path, "re");
    if (!file)
        skip();
    static char bytes[4 * 1024 * 1024];
    size_t length = fread(bytes, 1, sizeof bytes - 1, file);
    fclose(file);
    assert_non_null(memmem(bytes, length, "marker-4711", 11));
    assert_non_null(memmem(bytes, length, "ethernets: {eth0", 16));
    vmctl_vm_free(vm);
}

static void count_makes_several(void **state) {
    (void)state;
    const char *text = "name: many\nmemory: 32MiB\ncount: 3\nnetworks: []\ndisks: [{name: d, size: 1MiB}]\n";
    vmctl_spec **specs = NULL;
    size_t count = 0;
    MUST(vmctl_spec_load(text, strlen(text), NULL, &specs, &count, &err));
    assert_int_equal(count, 3);
    for (size_t i = 0; i < count; i++)
        MUST(vmctl_create(conn, specs[i], NULL, NULL, &err));
    assert_int_equal(listed("many-1") + listed("many-2") + listed("many-3"), 3);
    vmctl_spec_list_free(specs);
}

static void a_spec_from_c_makes_the_same(void **state) {
    (void)state;
    vmctl_spec *spec = vmctl_spec_new();
    MUST(vmctl_spec_set(spec, "name", "from-c", &err));
    MUST(vmctl_spec_set(spec, "memory", "40MiB", &err));
    MUST(vmctl_spec_set(spec, "cpus", "2", &err));
    MUST(vmctl_spec_set(spec, "disks.root.image", guest_image, &err));
    MUST(vmctl_spec_set(spec, "serial.log", "serial.log", &err));
    MUST(vmctl_spec_set(spec, "networks", "[]", &err));
    complete(spec);
    vmctl_vm *vm = NULL;
    MUST(vmctl_create(conn, spec, NULL, &vm, &err));
    vmctl_spec_free(spec);
    start(vm);
    wait_line(vm, 1);
    seen facts;
    look(vm, &facts);
    assert_int_equal(facts.cpus, 2);
    assert_int_equal(facts.memory_mib, 40);
    vmctl_vm_free(vm);
}

static const contract_test tests[] = {
    TEST("storage.image", "create", an_image_is_copied),
    TEST("storage.image.grow", "create", a_copy_can_be_larger),
    TEST("storage.image.grow", "create", a_copy_cannot_be_smaller),
    TEST("storage.format", "create", a_copy_in_every_format),
    TEST("storage.image", "create", an_image_is_never_changed),
    TEST("storage.backing", "create remove", an_overlay_on_a_backing_file),
    TEST("storage.volume", "create remove", a_volume_is_used_in_place_and_stays),
    TEST("storage.pool", "create pool_list", a_disk_goes_to_the_named_pool),
    TEST("storage.blank", "create", blank_disks),
    TEST("storage.cdrom", "create", a_cdrom_and_an_empty_drive),
    TEST("storage.bus.virtio", "create native", a_virtio_disk),
    TEST("storage.bus.scsi", "create native", a_scsi_disk),
    TEST("storage.bus.sata look.native", "create native", a_sata_disk),
    TEST("storage.bus.ide", "create native", an_ide_disk),
    TEST("storage.bus.usb", "create native", a_usb_disk),
    TEST("storage.bus.nvme", "create native", an_nvme_disk),
    TEST("storage.disks", "create get", several_disks_on_one_bus),
    TEST("storage.cache look.native", "create native", disk_options_arrive),
    TEST("storage.discard", "create native", trim_arrives),
    TEST("storage.readonly", "create get", a_read_only_disk),
    TEST("boot.order", "create start", boot_order_chooses_the_disk),
    TEST("boot.kernel", "create start", a_kernel_boots_directly),
    TEST("boot.kernel", "create native", a_kernel_with_an_initrd),
    TEST("cloudinit.seed", "create", cloud_init_brings_a_seed),
    TEST("cloudinit.seed", "create", cloud_init_takes_own_documents),
    TEST("lifecycle.create", "create list", count_makes_several),
    TEST("lifecycle.create", "create", a_spec_from_c_makes_the_same),
};
const contract_group group_create = {"create", tests, sizeof tests / sizeof tests[0]};
