/* What can be done with snapshots is decided from documents alone: for libvirt versions that this machine does not have, too. The documents are
 * as formatsnapshot.html and formatdomain.html show them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backends/libvirt/snapshot.h"

#define QCOW2(target, path)                                                                                            \
    "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='" path "'/><target dev='" target  \
    "' bus='virtio'/></disk>"
#define RAW(target, path)                                                                                              \
    "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='" path "'/><target dev='" target    \
    "' bus='virtio'/></disk>"
#define DOMAIN(os, devices)                                                                                            \
    "<domain type='qemu'><name>web-1</name><os>" os "<type arch='x86_64'>hvm</type></os><devices>" devices             \
    "</devices></domain>"
#define UEFI "<loader type='pflash' readonly='yes'>/code.fd</loader><nvram>/vars.fd</nvram>"
#define AGENT(state)                                                                                                   \
    "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0' state='" state "'/></channel>"

static libvirt_conn conn = {.local = true};
static libvirt_vm vm = {.name = "web-1"};

static libvirt_snapshot_scene scene_of(const char *xml, bool active, unsigned long version) {
    return (libvirt_snapshot_scene){
        .conn = &conn,
        .vm = &vm,
        .active = active,
        .vir_state = active ? VIR_DOMAIN_RUNNING : VIR_DOMAIN_SHUTOFF,
        .job = -1,
        .xml = (char *)xml,
        .libvirt_version = version,
    };
}

typedef struct create_row {
    const char *xml;
    bool active, quiesce;
    unsigned long version;
    vmctl_snapshot_memory memory;
    int code;
    libvirt_snapshot_kind kind;
    const char *reason, *remedy; /* parts */
} create_row;

static const create_row creates[] = {
    {DOMAIN("", QCOW2("vda", "/a")), true, false, 9000000, VMCTL_MEMORY_AUTO, 0, LIBVIRT_SNAPSHOT_MEMORY, 0, 0},
    {DOMAIN("", QCOW2("vda", "/a")), false, false, 9000000, VMCTL_MEMORY_AUTO, 0, LIBVIRT_SNAPSHOT_DISKS, 0, 0},
    {DOMAIN("", QCOW2("vda", "/a")), true, false, 9000000, VMCTL_MEMORY_WITHOUT, VMCTL_E_UNSUPPORTED, 0,
     "9.9 and newer", "--memory"},
    {DOMAIN("", QCOW2("vda", "/a")), true, false, 9009000, VMCTL_MEMORY_WITHOUT, 0, LIBVIRT_SNAPSHOT_OVERLAYS, 0, 0},
    {DOMAIN("", QCOW2("vda", "/a")), false, false, 9000000, VMCTL_MEMORY_WITH, VMCTL_E_INVALID_STATE, 0, "does not run",
     "vmctl start web-1"},
    /* raw disks: named, with the way out; overlays where they can be reverted */
    {DOMAIN("", QCOW2("vda", "/a") RAW("vdb", "/b")), true, false, 9000000, VMCTL_MEMORY_AUTO, VMCTL_E_UNSUPPORTED, 0,
     "disk vdb is raw", "image convert /b"},
    {DOMAIN("", RAW("vda", "/a")), false, false, 9000000, VMCTL_MEMORY_AUTO, VMCTL_E_UNSUPPORTED, 0, "disk vda is raw",
     "stop web-1"},
    {DOMAIN("", RAW("vda", "/a")), true, false, 10000000, VMCTL_MEMORY_WITH, VMCTL_E_UNSUPPORTED, 0, "disk vda is raw",
     "image convert"},
    {DOMAIN("", RAW("vda", "/a")), true, false, 10000000, VMCTL_MEMORY_AUTO, 0, LIBVIRT_SNAPSHOT_OVERLAYS, 0, 0},
    {DOMAIN("", RAW("vda", "/a")), false, false, 10000000, VMCTL_MEMORY_AUTO, 0, LIBVIRT_SNAPSHOT_OVERLAYS, 0, 0},
    /* a read-only disk, an optical drive and an empty one hold nothing to be taken */
    {DOMAIN("",
            QCOW2("vda",
                  "/a") "<disk type='file' device='disk'><source file='/seed'/><target dev='vdb'/><readonly/></disk>"
                        "<disk type='file' device='cdrom'><source file='/iso'/><target dev='sda'/></disk>"
                        "<disk type='file' device='cdrom'><target dev='sdb'/></disk>"),
     true, false, 9000000, VMCTL_MEMORY_AUTO, 0, LIBVIRT_SNAPSHOT_MEMORY, 0, 0},
    {DOMAIN("", "<disk type='network' device='disk'><driver type='raw'/><source protocol='rbd' name='p/i'/><target "
                "dev='vda'/></disk>"),
     false, false, 10000000, VMCTL_MEMORY_AUTO, VMCTL_E_UNSUPPORTED, 0, "network storage", "qcow2"},
    {DOMAIN("", "<disk type='file' device='disk' snapshot='no'><driver type='qcow2'/><source file='/a'/><target "
                "dev='vda'/></disk>"),
     false, false, 9000000, VMCTL_MEMORY_AUTO, VMCTL_E_UNSUPPORTED, 0, "left out of snapshots", "snapshot='no'"},
    /* UEFI */
    {DOMAIN(UEFI, QCOW2("vda", "/a")), true, false, 9000000, VMCTL_MEMORY_AUTO, VMCTL_E_UNSUPPORTED, 0, "UEFI",
     "stop web-1"},
    {DOMAIN(UEFI, QCOW2("vda", "/a")), false, false, 9000000, VMCTL_MEMORY_AUTO, 0, LIBVIRT_SNAPSHOT_DISKS, 0, 0},
    {DOMAIN(UEFI, QCOW2("vda", "/a")), true, false, 10010000, VMCTL_MEMORY_WITH, VMCTL_E_UNSUPPORTED, 0,
     "raw variable store", "stop web-1"},
    {DOMAIN("<loader type='pflash'>/code.fd</loader><nvram format='qcow2'>/vars</nvram>", QCOW2("vda", "/a")), true,
     false, 10010000, VMCTL_MEMORY_AUTO, 0, LIBVIRT_SNAPSHOT_MEMORY, 0, 0},
    {DOMAIN("<loader type='pflash'>/code.fd</loader><nvram format='qcow2'>/vars</nvram>", QCOW2("vda", "/a")), true,
     false, 10009000, VMCTL_MEMORY_WITH, VMCTL_E_UNSUPPORTED, 0, "10.10 and newer", "stop"},
    /* what QEMU cannot write down */
    {DOMAIN("", QCOW2("vda", "/a") "<hostdev mode='subsystem' type='pci'><source><address domain='0x0000' bus='0x65' "
                                   "slot='0x00' function='0x0'/></source></hostdev>"),
     true, false, 9000000, VMCTL_MEMORY_AUTO, VMCTL_E_UNSUPPORTED, 0, "0000:65:00.0", "detach"},
    {DOMAIN("", QCOW2("vda", "/a") "<filesystem type='mount'><driver type='virtiofs'/><source dir='/s'/><target "
                                   "dir='src'/></filesystem>"),
     true, false, 9000000, VMCTL_MEMORY_AUTO, VMCTL_E_UNSUPPORTED, 0, "virtiofs share src", "detach"},
    /* the agent */
    {DOMAIN("", QCOW2("vda", "/a")), true, true, 9000000, VMCTL_MEMORY_AUTO, VMCTL_E_UNSUPPORTED, 0, "no channel",
     "guestAgent=true"},
    {DOMAIN("", QCOW2("vda", "/a") AGENT("disconnected")), true, true, 9000000, VMCTL_MEMORY_AUTO,
     VMCTL_E_INVALID_STATE, 0, "does not answer", "qemu-guest-agent"},
    {DOMAIN("", QCOW2("vda", "/a") AGENT("connected")), true, true, 9000000, VMCTL_MEMORY_AUTO, 0,
     LIBVIRT_SNAPSHOT_MEMORY, 0, 0},
    {DOMAIN("", QCOW2("vda", "/a") AGENT("connected")), true, true, 10000000, VMCTL_MEMORY_WITHOUT, 0,
     LIBVIRT_SNAPSHOT_OVERLAYS, 0, 0},
    {DOMAIN("", QCOW2("vda", "/a") AGENT("connected")), false, true, 9000000, VMCTL_MEMORY_AUTO, VMCTL_E_INVALID_STATE,
     0, "does not run", "leave --quiesce out"},
};

static void the_kind_is_one_that_can_be_reverted(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof creates / sizeof creates[0]; i++) {
        const create_row *row = &creates[i];
        libvirt_snapshot_scene scene = scene_of(row->xml, row->active, row->version);
        libvirt_snapshot_kind kind = LIBVIRT_SNAPSHOT_DISKS;
        vmctl_error *err = NULL;
        int code = libvirt_snapshot_check_create(&scene, row->memory, row->quiesce, &kind, &err);
        const char *message = err ? vmctl_error_message(err) : "", *next = err ? vmctl_error_next(err) : "";
        if (code != row->code || (code == 0 && kind != row->kind) || (row->reason && !strstr(message, row->reason)) ||
            (row->remedy && !strstr(next ? next : "", row->remedy)))
            fail_msg("row %zu: %s, kind %d: %s; %s", i, vmctl_code_name(code), (int)kind, message, next ? next : "");
        vmctl_error_free(err);
    }
}

#define SNAPSHOT(name, parent, memory, disks, devices)                                                                 \
    "<domainsnapshot><name>" name "</name><state>running</state>" parent                                               \
    "<creationTime>1700000000</creationTime><memory snapshot='" memory "'/><disks>" disks "</disks>"                   \
    "<domain type='qemu'><name>web-1</name><metadata>%s</metadata><devices>" devices                                   \
    "</devices></domain></domainsnapshot>"
#define PARENT(name)  "<parent><name>" name "</name></parent>"
#define INTERNAL_DISK "<disk name='vda' snapshot='internal'/>"
#define OVERLAY(path) "<disk name='vda' snapshot='external' type='file'><source file='" path "'/></disk>"

/* one (internal, in /base) - ext (external: /base goes on in /over) - two (internal, in /over) */
static void read_three(libvirt_snapshots *out, const char *note) {
    VMC_AUTO_STRV documents = {0};
    vmctl_error *err = NULL;
    vmc_strv_printf(&documents, SNAPSHOT("one", "", "internal", INTERNAL_DISK, QCOW2("vda", "/base")), note);
    vmc_strv_printf(&documents, SNAPSHOT("ext", PARENT("one"), "no", OVERLAY("/over"), QCOW2("vda", "/base")), "");
    vmc_strv_printf(&documents, SNAPSHOT("two", PARENT("ext"), "internal", INTERNAL_DISK, QCOW2("vda", "/over")), "");
    assert_int_equal(libvirt_snapshots_parse(&documents, "two", out, &err), 0);
    assert_int_equal(out->count, 3);
}

/* QEMU would end as it loads it, and the VM that ran with it. */
static void one_with_plugged_cpus_is_not_gone_back_to(void **state) {
    (void)state;
    vmc_cleanup(libvirt_snapshots_free) libvirt_snapshots all = {0};
    VMC_AUTO_STRV documents = {0};
    vmctl_error *err = NULL;
    libvirt_snapshot_scene scene = scene_of(DOMAIN("", QCOW2("vda", "/a")), true, 9000000);
    vmc_strv_add(&documents,
                 "<domainsnapshot><name>one</name><state>running</state><memory snapshot='internal'/>"
                 "<disks>" INTERNAL_DISK "</disks><domain type='kvm'><name>web-1</name><vcpus>"
                 "<vcpu id='0' enabled='yes' hotpluggable='no'/><vcpu id='1' enabled='yes' hotpluggable='yes'/>"
                 "</vcpus><devices>" QCOW2("vda", "/a") "</devices></domain></domainsnapshot>");
    assert_int_equal(libvirt_snapshots_parse(&documents, "one", &all, &err), 0);
    assert_int_equal(libvirt_snapshot_check_revert(&scene, &all.items[0], &err), VMCTL_E_UNSUPPORTED);
    assert_non_null(strstr(vmctl_error_message(err), "CPUs"));
    vmctl_error_free(err);
}

static void documents_are_read(void **state) {
    (void)state;
    vmc_cleanup(libvirt_snapshots_free) libvirt_snapshots all = {0};
    read_three(&all, "");
    assert_true(all.items[0].internal);
    assert_true(all.items[0].memory);
    assert_true(all.items[1].external);
    assert_false(all.items[1].memory);
    assert_string_equal(all.items[1].disks[0].overlay, "/over");
    assert_string_equal(all.items[2].disks[0].source, "/over");
    assert_true(all.items[2].current);
    assert_true(libvirt_snapshots_descends(&all, &all.items[2], &all.items[0]));
    assert_false(libvirt_snapshots_descends(&all, &all.items[0], &all.items[2]));
    VMC_AUTO_STRV own = {0}, files = {0};
    vmc_strv_add(&own, "/base");
    libvirt_snapshots_files(&all, &own, &files);
    assert_int_equal(files.count, 1);
    assert_string_equal(files.items[0], "/over");
}

static void going_back_harms_no_other_snapshot(void **state) {
    (void)state;
    libvirt_snapshot_scene scene = scene_of(DOMAIN("", QCOW2("vda", "/over")), true, 9000000);
    vmctl_error *err = NULL;
    read_three(&scene.snapshots, "");
    const libvirt_snapshot *all = scene.snapshots.items;
    assert_int_equal(libvirt_snapshot_check_revert(&scene, &all[0], &err), VMCTL_E_DATA_LOSS_PREVENTED);
    assert_non_null(strstr(vmctl_error_message(err), "/over"));
    assert_string_equal(
        vmctl_error_next(err),
        "virsh blockcommit web-1 vda --active --pivot --delete; virsh snapshot-delete web-1 ext --metadata");
    assert_int_equal(libvirt_snapshot_check_revert(&scene, &all[1], &err), VMCTL_E_UNSUPPORTED);
    assert_non_null(strstr(vmctl_error_next(err), "backing: /base"));
    assert_int_equal(libvirt_snapshot_check_revert(&scene, &all[2], &err), 0);
    scene.libvirt_version = 9009000;
    assert_int_equal(libvirt_snapshot_check_revert(&scene, &all[1], &err), 0);
    vmctl_error_free(err);
    libvirt_snapshots_free(&scene.snapshots);
}

static void deleting_harms_no_other_snapshot(void **state) {
    (void)state;
    libvirt_snapshot_scene scene = scene_of(DOMAIN("", QCOW2("vda", "/over")), true, 9000000);
    vmctl_error *err = NULL;
    read_three(&scene.snapshots, "");
    const libvirt_snapshot *all = scene.snapshots.items;
    bool alone[] = {false, true, false}, both[] = {false, true, true};
    assert_int_equal(libvirt_snapshot_check_delete(&scene, &all[1], alone, &err), VMCTL_E_DATA_LOSS_PREVENTED);
    assert_non_null(strstr(vmctl_error_next(err), "delete two first"));
    /* libvirt 9.0: "deleting external snapshot that has internal snapshot as parent not supported" */
    assert_int_equal(libvirt_snapshot_check_delete(&scene, &all[1], both, &err), VMCTL_E_UNSUPPORTED);
    assert_non_null(strstr(vmctl_error_next(err), "blockcommit web-1 vda"));
    /* and "disk image 'vda' for internal snapshot 'one' is not the same as disk image currently used by VM" */
    assert_int_equal(libvirt_snapshot_check_delete(&scene, &all[0], alone, &err), VMCTL_E_UNSUPPORTED);
    assert_int_equal(libvirt_snapshot_check_delete(&scene, &all[2], both, &err), 0);
    scene.libvirt_version = 8009000;
    assert_int_equal(libvirt_snapshot_check_delete(&scene, &all[1], both, &err), VMCTL_E_UNSUPPORTED);
    vmctl_error_free(err);
    libvirt_snapshots_free(&scene.snapshots);
}

static void a_job_is_busy(void **state) {
    (void)state;
    libvirt_snapshot_scene scene = scene_of("<domain/>", true, 9000000);
    vmctl_error *err = NULL;
    assert_int_equal(libvirt_snapshot_check_idle(&scene, &err), 0);
    scene.job = VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT;
    assert_int_equal(libvirt_snapshot_check_idle(&scene, &err), VMCTL_E_BUSY);
    assert_true(vmctl_error_retryable(err));
    assert_non_null(strstr(vmctl_error_next(err), "migrate --abort web-1"));
    vmctl_error_free(err);
}

#define NOTE(id, created, name)                                                                                        \
    "<s:snapshot xmlns:s='urn:vmctl:snapshot:1' id='" id "' created='" created "' name='" name "' quiesced='yes'/>"

/* A revert carries the note into the domain, and the next snapshot into its own document: it is not about that one. */
static void a_note_holds_for_its_own_snapshot_only(void **state) {
    (void)state;
    static const struct {
        const char *note, *name;
        int quiesced;
    } rows[] = {
        {NOTE("one", "1700000000", "golden"), "golden", 1},
        {NOTE("other", "1700000000", "golden"), "one", -1},
        {NOTE("one", "1600000000", "golden"), "one", -1},
        {NOTE("one", "1700000000", "two"), "one", 1}, /* somebody gave that name to another one since */
        {"<snapshot xmlns='urn:other' id='one' created='1700000000' name='golden'/>", "one", -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        vmc_cleanup(libvirt_snapshots_free) libvirt_snapshots all = {0};
        read_three(&all, rows[i].note);
        assert_string_equal(all.items[0].name, rows[i].name);
        assert_int_equal(all.items[0].quiesced, rows[i].quiesced);
        assert_string_equal(all.items[0].id, "one");
        assert_ptr_equal(libvirt_snapshots_named(&all, "one"), &all.items[0]); /* libvirt's name finds it, too */
    }
}

static void a_note_is_written_and_taken_back(void **state) {
    (void)state;
    VMC_AUTO_FREE char *text = vmc_printf(SNAPSHOT("one", "", "internal", INTERNAL_DISK, QCOW2("vda", "/base")), "");
    LIBVIRT_AUTO_XML *doc = NULL;
    vmctl_error *err = NULL;
    const char *name = NULL;
    bool quiesced = false;
    assert_int_equal(libvirt_xml_parse(text, "it", "domainsnapshot", VMCTL_E_INTERNAL, &doc, NULL, &err), 0);
    libvirt_snapshot_note_write(doc, "a \"b\" & <c>", true);
    libvirt_snapshot_note_write(doc, "a \"b\" & <c>", true);
    VMC_AUTO_FREE char *written = libvirt_xml_text(doc);
    LIBVIRT_AUTO_XML *again = NULL;
    assert_int_equal(libvirt_xml_parse(written, "it", "domainsnapshot", VMCTL_E_INTERNAL, &again, NULL, &err), 0);
    const xmlNode *metadata = libvirt_xml_find(xmlDocGetRootElement(again), "domain/metadata");
    assert_int_equal(libvirt_xml_count(metadata, "snapshot"), 1);
    assert_true(libvirt_snapshot_note_read(xmlDocGetRootElement(again), &name, &quiesced));
    assert_string_equal(name, "a \"b\" & <c>");
    assert_true(quiesced);
    libvirt_snapshot_note_write(again, NULL, false);
    assert_false(libvirt_snapshot_note_read(xmlDocGetRootElement(again), &name, &quiesced));
}

#define MARKER(rest) "<vmctl:vm xmlns:vmctl='urn:vmctl:1' version='1' owner='me@here' " rest "</vmctl:vm>"

static void a_revert_keeps_the_marker_of_now(void **state) {
    (void)state;
    static const char then[] =
        MARKER("expires='2026-01-01T00:00:00Z'><vmctl:label key='a'>old</vmctl:label>"
               "<vmctl:file device='ua-root' path='/root.qcow2'/><vmctl:key path='accel' was='1'>2</vmctl:key>");
    static const char now[] =
        "<domain><metadata>" MARKER("expires='2027-01-01T00:00:00Z'><vmctl:label key='a'>new</vmctl:label>"
                                    "<vmctl:file device='ua-root' path='/root.qcow2'/><vmctl:file device='ua-data' "
                                    "path='/data.qcow2'/>") "</metadata></domain>";
    VMC_AUTO_FREE char *text =
        vmc_printf(SNAPSHOT("one", "", "internal", INTERNAL_DISK, QCOW2("vda", "/root.qcow2")), then);
    LIBVIRT_AUTO_XML *doc = NULL;
    vmctl_error *err = NULL;
    assert_int_equal(libvirt_xml_parse(text, "it", "domainsnapshot", VMCTL_E_INTERNAL, &doc, NULL, &err), 0);
    assert_true(libvirt_snapshot_marker_keep(doc, now));
    assert_false(libvirt_snapshot_marker_keep(doc, now)); /* once is enough */
    VMC_AUTO_FREE char *kept = libvirt_xml_text(doc);
    assert_non_null(strstr(kept, "2027-01-01"));
    assert_non_null(strstr(kept, ">new<"));
    assert_null(strstr(kept, ">old<"));
    assert_non_null(strstr(kept, "path=\"/data.qcow2\""));
    assert_null(strstr(kept, "ua-data"));
    assert_non_null(strstr(kept, "path=\"accel\""));
    assert_false(libvirt_snapshot_marker_keep(doc, "<domain/>"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_kind_is_one_that_can_be_reverted),
        cmocka_unit_test(documents_are_read),
        cmocka_unit_test(one_with_plugged_cpus_is_not_gone_back_to),
        cmocka_unit_test(going_back_harms_no_other_snapshot),
        cmocka_unit_test(deleting_harms_no_other_snapshot),
        cmocka_unit_test(a_job_is_busy),
        cmocka_unit_test(a_note_holds_for_its_own_snapshot_only),
        cmocka_unit_test(a_note_is_written_and_taken_back),
        cmocka_unit_test(a_revert_keeps_the_marker_of_now),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
