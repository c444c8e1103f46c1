/* ova.c - whole VMs out into OVA files and in from those of every maker, and what is no OVA. The archives are written here block by block, so that
 * they can be wrong in every way (POSIX.1-1988, ustar). */
#include "contract.h"

#include <openssl/sha.h>
#include <sys/stat.h>

/* --- a tar of our own ------------------------------------------------------------------------------------------ */

static char *archive;
static size_t archive_length;

static void tar_begin(void) {
    free(archive);
    archive = NULL;
    archive_length = 0;
}

static void tar_bytes(const void *bytes, size_t length) {
    size_t padded = (length + 511) / 512 * 512;
    archive = realloc(archive, archive_length + padded + 1);
    memset(archive + archive_length, 0, padded);
    memcpy(archive + archive_length, bytes, length);
    archive_length += padded;
}

static void tar_add(const char *name, char type, const char *link, const void *bytes, size_t length) {
    char header[512] = {0};
    snprintf(header, 100, "%s", name);
    snprintf(header + 100, 8, "%07o", 0644);
    snprintf(header + 108, 8, "%07o", 0);
    snprintf(header + 116, 8, "%07o", 0);
    snprintf(header + 124, 12, "%011zo", length);
    snprintf(header + 136, 12, "%011o", 0);
    memset(header + 148, ' ', 8);
    header[156] = type;
    snprintf(header + 157, 100, "%s", link);
    memcpy(header + 257, "ustar\00000", 8);
    unsigned sum = 0;
    for (size_t i = 0; i < sizeof header; i++)
        sum += (unsigned char)header[i];
    snprintf(header + 148, 8, "%06o", sum);
    tar_bytes(header, sizeof header);
    tar_bytes(bytes, type == '0' ? length : 0);
}

static const char *tar_end(const char *name) {
    static const char zeros[1024];
    tar_bytes(zeros, sizeof zeros);
    return scratch_file(name, archive, archive_length);
}

static char *read_file(const char *path, size_t *length) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    *length = (size_t)ftell(file);
    rewind(file);
    char *bytes = calloc(1, *length + 1);
    assert_int_equal(fread(bytes, 1, *length, file), *length);
    fclose(file);
    return bytes;
}

static char *fixture(const char *name) {
    char path[4096];
    size_t length;
    snprintf(path, sizeof path, "%s/tests/fixtures/ovf/%s", getenv("VMCTL_SOURCE"), name);
    return read_file(path, &length);
}

/* The guest as the VMDK that both makers write. */
static char *vmdk(size_t *length) {
    static char path[4096];
    if (!*path) {
        snprintf(path, sizeof path, "%s", scratch_file("disk.vmdk", "", 0));
        const char *const argv[] = {
            "qemu-img",  "convert", "-q", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized",
            guest_image, path,      NULL};
        assert_int_equal(run_program(argv), 0);
    }
    return read_file(path, length);
}

static void manifest_line(char *manifest, size_t size, const char *name, const void *bytes, size_t length) {
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256(bytes, length, digest);
    size_t at = strlen(manifest);
    at += (size_t)snprintf(manifest + at, size - at, "SHA256(%s)= ", name);
    for (size_t i = 0; i < sizeof digest; i++)
        at += (size_t)snprintf(manifest + at, size - at, "%02x", digest[i]);
    snprintf(manifest + at, size - at, "\n");
}

/* An OVA as its maker packs it: descriptor, disk, manifest. */
static const char *made_by(const char *maker, const char *disk_name) {
    char descriptor[64], manifest[1024] = "";
    size_t length;
    snprintf(descriptor, sizeof descriptor, "%s.ovf", maker);
    char *text = fixture(descriptor), *disk = vmdk(&length);
    manifest_line(manifest, sizeof manifest, descriptor, text, strlen(text));
    manifest_line(manifest, sizeof manifest, disk_name, disk, length);
    tar_begin();
    tar_add(descriptor, '0', "", text, strlen(text));
    tar_add(disk_name, '0', "", disk, length);
    tar_add("m.mf", '0', "", manifest, strlen(manifest));
    free(text);
    free(disk);
    snprintf(descriptor, sizeof descriptor, "%s.ova", maker);
    return tar_end(descriptor);
}

static const char *new_path(const char *name) {
    const char *path = scratch_file(name, "", 0);
    assert_int_equal(unlink(path), 0);
    return path;
}

/* No file of this beginning stands beside it. */
static size_t files_beside(const char *path) {
    char command[4200], folder[4096];
    snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = '\0';
    snprintf(command, sizeof command, "%s", folder);
    const char *const argv[] = {
        "sh", "-c",    "test -z \"$(find \"$1\" -name '.*.ova.*' -o -name '.*.vmdk.*' -o -name '.*.img.*')\"",
        "sh", command, NULL};
    return run_program(argv) == 0 ? 0 : 1;
}

/* An OVA does not say what VirtualBox needs here (profile->settings), without its kernel driver. */
static void make_startable(vmctl_vm *vm) {
    const char *const argv[] = {
        "VBoxManage", "modifyvm", vmctl_vm_id(vm), "--vm-execution-engine", "recompiler", "--paravirt-provider",
        "none",       NULL};
    if (profile->settings)
        assert_int_equal(run_program(argv), 0);
}

/* --- there and back ------------------------------------------------------------------------------------------------ */

/* Its spec applied changes nothing, and names no image: a file in an archive is none that create takes. */
static void its_spec_stands(vmctl_vm *vm) {
    vmctl_spec *spec = NULL;
    char *before = native_of(vm);
    MUST(vmctl_vm_spec(vm, NULL, &spec, &err));
    const vmctl_node *disks = vmctl_node_get(vmctl_spec_root(spec), "disks");
    assert_int_not_equal(vmctl_node_count(disks), 0);
    for (size_t i = 0; i < vmctl_node_count(disks); i++)
        assert_null(vmctl_node_get(vmctl_node_at(disks, i), "image"));
    bool created = true;
    MUST(vmctl_apply(conn, spec, NULL, &created, &err));
    assert_false(created);
    char *after = native_of(vm);
    assert_string_equal(before, after);
    vmctl_string_free(before);
    vmctl_string_free(after);
    vmctl_spec_free(spec);
}

static void out_and_in_again(void **state) {
    (void)state;
    vmctl_vm *vm =
        make("ov-a",
             "description: counts\ncpus: 2\nmemory: 48MiB\n"
             "disks: [{name: root, image: %s}, {name: data, size: 4MiB, bus: sata}, {name: dvd, cdrom: \"\"}]\n"
             "networks: [{name: lan, type: nat, model: e1000}]",
             guest_image);
    const char *path = new_path("out.ova");
    MUST(vmctl_export(vm, path, NULL, &err));
    vmctl_vm *again = NULL;
    MUST(vmctl_import(conn, path, "ov-b", NULL, &again, &err));
    seen facts;
    look(again, &facts);
    assert_string_equal(facts.name, "ov-b");
    assert_string_equal(facts.description, "counts");
    assert_int_equal(facts.cpus, 2);
    assert_int_equal(facts.memory_mib, 48);
    assert_true(facts.managed);
    assert_int_equal(device(&facts, "root")->capacity, 1024 * 1024);
    assert_int_equal(device(&facts, "disk1")->capacity, 4 * 1024 * 1024);
    assert_string_equal(device(&facts, "disk1")->bus, "sata");
    assert_true(device(&facts, "root")->own);
    assert_true(native_shows(again, "nat"));
    assert_true(native_shows(again, "nic e1000"));
    assert_true(native_shows(again, "cdrom"));
    assert_int_equal(files_beside(path), 0);
    its_spec_stands(again);
    MUST(vmctl_vm_delete(again, NULL, &err));
    MUST(vmctl_vm_delete(vm, NULL, &err));
    vmctl_vm_free(again);
    vmctl_vm_free(vm);
}

/* What is exported of a VM with snapshots is its present state, whole. */
static void the_present_state_is_exported(void **state) {
    (void)state;
    vmctl_vm *vm = make("ov-s", "disks: [{name: root, image: %s, format: %s}]", guest_image, profile->formats[0]);
    MUST(vmctl_snapshot_create(vm, "one", NULL, &err));
    const char *path = new_path("present.ova");
    MUST(vmctl_export(vm, path, NULL, &err));
    vmctl_vm *again = NULL;
    MUST(vmctl_import(conn, path, "ov-t", NULL, &again, &err));
    make_startable(again);
    start(again);
    seen facts;
    look(again, &facts);
    assert_int_equal(device(&facts, "root")->capacity, 1024 * 1024);
    force_off(again);
    MUST(vmctl_vm_delete(again, NULL, &err));
    MUST(vmctl_vm_delete(vm, NULL, &err));
    vmctl_vm_free(again);
    vmctl_vm_free(vm);
}

static void export_is_refused_beforehand(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("ov-c", "cpus: 1");
    const char *path = new_path("running.ova");
    FAILS(VMCTL_E_INVALID_STATE, vmctl_export(vm, path, NULL, &err));
    assert_non_null(strstr(failure, "vmctl stop ov-c"));
    force_off(vm);
    const char *taken = scratch_file("taken.ova", "mine", 4);
    FAILS(VMCTL_E_ALREADY_EXISTS, vmctl_export(vm, taken, NULL, &err));
    size_t length;
    char *still = read_file(taken, &length);
    assert_string_equal(still, "mine");
    free(still);
    FAILS(VMCTL_E_NOT_FOUND, vmctl_export(vm, "/nowhere/at/all.ova", NULL, &err));
    MUST(vmctl_vm_delete(vm, NULL, &err));
    vmctl_vm_free(vm);
}

static int stop_at(const vmctl_progress *progress, void *user) {
    const char *stage = user;
    return progress->stage && strstr(progress->stage, stage) != NULL;
}

static void cancelled_leaves_no_file(void **state) {
    (void)state;
    vmctl_call call = VMCTL_CALL_INIT;
    call.progress = stop_at;
    call.user = (void *)"packing";
    vmctl_vm *vm = make("ov-d", "cpus: 1");
    const char *path = new_path("cancelled.ova");
    FAILS(VMCTL_E_CANCELLED, vmctl_export(vm, path, &call, &err));
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(files_beside(path), 0);
    MUST(vmctl_vm_delete(vm, NULL, &err));
    vmctl_vm_free(vm);
    call.user = (void *)"unpacking";
    const char *ova = made_by("virtualbox", "box-disk001.vmdk");
    FAILS(VMCTL_E_CANCELLED, vmctl_import(conn, ova, "ov-d", &call, NULL, &err));
    assert_int_equal(listed("ov-d"), 0);
}

/* --- other makers' ---------------------------------------------------------------------------------------------------- */

static void of_virtualbox(void **state) {
    (void)state;
    notes heard = {0};
    vmctl_call call = call_noting(&heard);
    vmctl_vm *vm = NULL;
    MUST(vmctl_import(conn, made_by("virtualbox", "box-disk001.vmdk"), NULL, &call, &vm, &err));
    assert_true(heard.count > 0); /* its sound card, its bridge */
    seen facts;
    look(vm, &facts);
    assert_string_equal(facts.name, "Debian-box");
    assert_int_equal(facts.cpus, 2);
    assert_int_equal(facts.memory_mib, 48);
    assert_string_equal(facts.firmware, "bios");
    assert_string_equal(device(&facts, "root")->bus, "sata");
    assert_true(native_shows(vm, "nic e1000"));
    make_startable(vm);
    start(vm);
    force_off(vm);
    MUST(vmctl_vm_delete(vm, NULL, &err));
    vmctl_vm_free(vm);
}

static void of_vmware(void **state) {
    (void)state;
    vmctl_vm *vm = NULL;
    MUST(vmctl_import(conn, made_by("vmware", "photon-disk1.vmdk"), "ov-e", NULL, &vm, &err));
    seen facts;
    look(vm, &facts);
    assert_int_equal(facts.cpus, 1);
    assert_int_equal(facts.memory_mib, 64); /* not the bound of 4096 */
    assert_string_equal(facts.description, "made by vSphere");
    assert_string_equal(device(&facts, "root")->bus, "scsi");
    assert_int_equal(device(&facts, "root")->capacity, 1024 * 1024); /* the one at place 0 */
    assert_int_equal(device(&facts, "disk1")->capacity, 4 * 1024 * 1024);
    if (profile->differencing)
        assert_true(native_shows(vm, "nic e1000")); /* VirtualBox has no vmxnet3, which a note tells */
    else
        assert_true(native_has_text(vm, "<model type='vmxnet3'/>"));
    make_startable(vm);
    start(vm);
    force_off(vm);
    FAILS(VMCTL_E_ALREADY_EXISTS, vmctl_import(conn, made_by("vmware", "photon-disk1.vmdk"), "ov-e", NULL, NULL, &err));
    MUST(vmctl_vm_delete(vm, NULL, &err));
    vmctl_vm_free(vm);
}

/* --- what is no OVA ----------------------------------------------------------------------------------------------------- */

static void refused(const char *path, int code, const char *words) {
    FAILS(code, vmctl_import(conn, path, "ov-bad", NULL, NULL, &err));
    if (!strstr(failure, words))
        print_message("%s\n", failure);
    assert_non_null(strstr(failure, words));
    assert_int_equal(listed("ov-bad"), 0);
}

static void hostile_archives(void **state) {
    (void)state;
    char *text = fixture("virtualbox.ovf");
    size_t length;
    char *disk = vmdk(&length);
    static const char *const names[] = {"../box-disk001.vmdk", "/tmp/box-disk001.vmdk", "a/../../x.vmdk", "sub/x.vmdk",
                                        ".."};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        tar_begin();
        tar_add("box.ovf", '0', "", text, strlen(text));
        tar_add(names[i], '0', "", disk, length);
        refused(tar_end("path.ova"), VMCTL_E_INVALID_ARGUMENT, "path");
    }
    static const char links[] = {'1', '2', '3', '6'}; /* hard, symbolic, a device, a pipe */
    for (size_t i = 0; i < sizeof links; i++) {
        tar_begin();
        tar_add("box.ovf", '0', "", text, strlen(text));
        tar_add("box-disk001.vmdk", links[i], "/etc/shadow", "", 0);
        refused(tar_end("link.ova"), VMCTL_E_INVALID_ARGUMENT, "link");
    }
    tar_begin();
    tar_add("box.ovf", '0', "", text, strlen(text));
    tar_add("box-disk001.vmdk", '0', "", disk, length);
    tar_add("./box-disk001.vmdk", '0', "", disk, length);
    refused(tar_end("twice.ova"), VMCTL_E_INVALID_ARGUMENT, "two files");
    tar_begin();
    tar_add("box.ovf", '0', "", text, strlen(text));
    refused(tar_end("missing.ova"), VMCTL_E_INVALID_ARGUMENT, "box-disk001.vmdk");
    tar_begin();
    tar_add("box.ovf", '0', "", text, strlen(text));
    tar_add("box-disk001.vmdk", '0', "", disk, length);
    refused(scratch_file("cut.ova", archive, archive_length - 4096), VMCTL_E_INVALID_ARGUMENT, "cut off");
    refused(scratch_file("noise.ova", disk, length), VMCTL_E_INVALID_ARGUMENT, "tar");
    refused(scratch_file("empty.ova", "", 0), VMCTL_E_INVALID_ARGUMENT, "empty");
    refused("/nowhere.ova", VMCTL_E_NOT_FOUND, "nowhere");
    tar_begin();
    tar_add("box-disk001.vmdk", '0', "", disk, length);
    refused(tar_end("bare.ova"), VMCTL_E_INVALID_ARGUMENT, "descriptor");
    free(text);
    free(disk);
}

static void wrong_sums(void **state) {
    (void)state;
    size_t length;
    char manifest[1024] = "", *text = fixture("virtualbox.ovf"), *disk = vmdk(&length);
    manifest_line(manifest, sizeof manifest, "box.ovf", text, strlen(text));
    manifest_line(manifest, sizeof manifest, "box-disk001.vmdk", disk, length);
    disk[length / 2] ^= 1;
    tar_begin();
    tar_add("box.ovf", '0', "", text, strlen(text));
    tar_add("box-disk001.vmdk", '0', "", disk, length);
    tar_add("box.mf", '0', "", manifest, strlen(manifest));
    refused(tar_end("disk-sum.ova"), VMCTL_E_INVALID_ARGUMENT, "manifest");
    *strstr(text, "Debian box") = 'd';
    tar_begin();
    tar_add("box.ovf", '0', "", text, strlen(text));
    tar_add("box-disk001.vmdk", '0', "", disk, length);
    tar_add("box.mf", '0', "", manifest, strlen(manifest));
    refused(tar_end("text-sum.ova"), VMCTL_E_INVALID_ARGUMENT, "manifest");
    free(text);
    free(disk);
}

static void one_descriptor(const char *text, size_t text_length, const char *words, int code) {
    size_t length;
    char *disk = vmdk(&length);
    tar_begin();
    tar_add("box.ovf", '0', "", text, text_length);
    tar_add("box-disk001.vmdk", '0', "", disk, length);
    free(disk);
    refused(tar_end("text.ova"), code, words);
}

static char *replaced(const char *from, const char *to) {
    char *text = fixture("virtualbox.ovf"), *at = strstr(text, from), *out = calloc(1, strlen(text) + strlen(to) + 1);
    assert_non_null(at);
    memcpy(out, text, (size_t)(at - text));
    strcat(out, to);
    strcat(out, at + strlen(from));
    free(text);
    return out;
}

static void hostile_descriptors(void **state) {
    (void)state;
    static const struct {
        const char *from, *to, *words;
        int code;
    } cases[] = {
        {"<?xml version=\"1.0\"?>",
         "<?xml version=\"1.0\"?><!DOCTYPE b [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b "
         "\"&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;\"><!ENTITY c "
         "\"&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;\"><!ENTITY d \"&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;\">]>",
         "document type", VMCTL_E_INVALID_ARGUMENT},
        {"<?xml version=\"1.0\"?>", "<?xml version=\"1.0\"?><!DOCTYPE b [<!ENTITY x SYSTEM \"file:///etc/shadow\">]>",
         "document type", VMCTL_E_INVALID_ARGUMENT},
        {"box-disk001.vmdk", "../../etc/shadow", "outside", VMCTL_E_INVALID_ARGUMENT},
        {"box-disk001.vmdk", "file:///etc/shadow", "outside", VMCTL_E_INVALID_ARGUMENT},
        {"box-disk001.vmdk\"", "box-disk001.vmdk\" ovf:compression=\"gzip\"", "compressed", VMCTL_E_UNSUPPORTED},
        {"<rasd:VirtualQuantity>48<", "<rasd:VirtualQuantity>-1<", "memory", VMCTL_E_INVALID_ARGUMENT},
        {"<rasd:VirtualQuantity>48<", "<rasd:VirtualQuantity>99999999999999999999999<", "memory",
         VMCTL_E_INVALID_ARGUMENT},
        {"/disk/vmdisk1", "/disk/vmdisk9", "vmdisk9", VMCTL_E_INVALID_ARGUMENT},
        {"</Envelope>", "", "damaged", VMCTL_E_INVALID_ARGUMENT},
        {"<VirtualSystem ", "<VirtualSystem ovf:id=\"x\"/><VirtualSystem ", "VMs", VMCTL_E_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *text = replaced(cases[i].from, cases[i].to);
        one_descriptor(text, strlen(text), cases[i].words, cases[i].code);
        free(text);
    }
    size_t huge = 5 << 20;
    char *blanks = malloc(huge);
    memset(blanks, ' ', huge);
    one_descriptor(blanks, huge, "too large", VMCTL_E_INVALID_ARGUMENT);
    free(blanks);
}

static const contract_test tests[] = {
    TEST("image.export image.import", "export_ova import_ova", out_and_in_again),
    TEST("image.export image.import", "export_ova import_ova snapshot_create", the_present_state_is_exported),
    TEST("image.export", "export_ova", export_is_refused_beforehand),
    TEST("image.export image.import", "export_ova import_ova undo", cancelled_leaves_no_file),
    TEST("image.import", "import_ova", of_virtualbox),
    TEST("image.import", "import_ova", of_vmware),
    TEST("image.import", "import_ova", hostile_archives),
    TEST("image.import", "import_ova", wrong_sums),
    TEST("image.import", "import_ova", hostile_descriptors),
};
const contract_group group_ova = {"ova", tests, sizeof tests / sizeof tests[0]};
