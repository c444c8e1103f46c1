/* What agents say of the guest, from the forms in which libvirt and KubeVirt pass it on. */
#include "kubevirt_helper.h"

#include "backends/kubevirt/guest_info.h"
#include "backends/libvirt/guest_info.h"

/* The fields are those of virDomainGetGuestInfo's manual. */
static void libvirts_parameters(void **state) {
    (void)state;
    virTypedParameterPtr params = NULL;
    int count = 0, room = 0;
    static const char *const texts[][2] = {
        {"user.0.name", "root"},         {"user.1.name", "Administrator"},
        {"user.1.domain", "CORP"},       {"os.id", "debian"},
        {"os.name", "Debian GNU/Linux"}, {"os.pretty-name", "Debian GNU/Linux 12 (bookworm)"},
        {"os.version-id", "12"},         {"os.kernel-release", "6.1.0-28-amd64"},
        {"os.machine", "x86_64"},        {"timezone.name", "UTC"},
        {"hostname", "web-1"},           {"fs.0.mountpoint", "/"},
        {"fs.0.fstype", "ext4"},         {"fs.0.name", "vda1"},
        {"fs.1.mountpoint", "/boot/efi"}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_int_equal(virTypedParamsAddString(&params, &count, &room, texts[i][0], texts[i][1]), 0);
    assert_int_equal(virTypedParamsAddUInt(&params, &count, &room, "user.count", 2), 0);
    assert_int_equal(virTypedParamsAddUInt(&params, &count, &room, "fs.count", 2), 0);
    assert_int_equal(virTypedParamsAddULLong(&params, &count, &room, "user.0.login-time", 1763874000500ULL), 0);
    assert_int_equal(virTypedParamsAddULLong(&params, &count, &room, "fs.0.total-bytes", 4000000000ULL), 0);
    assert_int_equal(virTypedParamsAddULLong(&params, &count, &room, "fs.0.used-bytes", 1000000000ULL), 0);
    assert_int_equal(virTypedParamsAddUInt(&params, &count, &room, "fs.0.disk.count", 1), 0);
    assert_int_equal(virTypedParamsAddString(&params, &count, &room, "fs.7.name", "none"), 0);
    libvirt_guest_info info;
    assert_true(libvirt_guest_info_read(params, count, &info));
    assert_string_equal(info.guest.os_id, "debian");
    assert_string_equal(info.guest.os_version, "12");
    assert_string_equal(info.guest.os_title, "Debian GNU/Linux 12 (bookworm)");
    assert_string_equal(info.guest.kernel, "6.1.0-28-amd64");
    assert_string_equal(info.guest.arch, "x86_64");
    assert_string_equal(info.guest.hostname, "web-1");
    assert_string_equal(info.guest.timezone, "UTC");
    assert_null(info.guest.agent_version);
    assert_int_equal(info.guest.user_count, 2);
    assert_string_equal(info.guest.users[0].name, "root");
    assert_int_equal(info.guest.users[0].since, 1763874000);
    assert_string_equal(info.guest.users[1].domain, "CORP");
    assert_int_equal(info.guest.filesystem_count, 2);
    assert_string_equal(info.guest.filesystems[0].mount, "/");
    assert_string_equal(info.guest.filesystems[0].device, "vda1");
    assert_int_equal(info.guest.filesystems[0].total_bytes, 4000000000ULL);
    assert_int_equal(info.guest.filesystems[0].used_bytes, 1000000000ULL);
    assert_string_equal(info.guest.filesystems[1].mount, "/boot/efi");
    libvirt_guest_info_free(&info);
    virTypedParamsFree(params, count);
    assert_false(libvirt_guest_info_read(NULL, 0, &info));
    libvirt_guest_info_free(&info);
}

/* FX/58. */
static void kubevirts_answer(void **state) {
    (void)state;
    VMC_AUTO_JSON *answer = recorded("58-guestosinfo", false);
    kubevirt_guest inside;
    kubevirt_guest_info_read(answer, &inside);
    assert_string_equal(inside.guest.os_title, "Debian GNU/Linux 12 (bookworm)");
    assert_string_equal(inside.guest.os_version, "12");
    assert_string_equal(inside.guest.kernel, "6.1.0");
    assert_string_equal(inside.guest.hostname, "vm1");
    assert_string_equal(inside.guest.timezone, "UTC");
    assert_string_equal(inside.guest.agent_version, "7.2.0");
    assert_int_equal(inside.guest.user_count, 1);
    assert_string_equal(inside.guest.users[0].name, "debian");
    assert_int_equal(inside.guest.users[0].since, 1763874000);
    assert_int_equal(inside.guest.filesystem_count, 1);
    assert_string_equal(inside.guest.filesystems[0].mount, "/");
    assert_int_equal(inside.guest.filesystems[0].total_bytes, 2);
    kubevirt_guest_free(&inside);
    kubevirt_guest_info_read(NULL, &inside);
    assert_null(inside.guest.hostname);
    kubevirt_guest_free(&inside);
}

int main(void) {
    static const struct CMUnitTest tests[] = {cmocka_unit_test(libvirts_parameters),
                                              cmocka_unit_test(kubevirts_answer)};
    return cmocka_run_group_tests_name("guest_info", tests, NULL, NULL);
}
