/* Pieces of backends/virtualbox that no VM of the tests can show: keys, Guest Additions' words, folders, changes that wait. */
#include "backends/virtualbox/guest.h"
#include "backends/virtualbox/pending.h"
#include "backends/virtualbox/plan.h"
#include "backends/virtualbox/screen.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* IBM PC AT Technical Reference, set 1; the numbers are Linux's KEY_* of input-event-codes.h. */
static void keys_become_scan_codes(void **state) {
    (void)state;
    static const struct {
        unsigned code;
        const char *down, *up;
    } keys[] = {
        {30, "1e", "9e"},               /* A */
        {1, "01", "81"},                /* ESC */
        {28, "1c", "9c"},               /* ENTER */
        {88, "58", "d8"},               /* F12 */
        {86, "56", "d6"},               /* 102ND */
        {29, "1d", "9d"},               /* LEFTCTRL */
        {97, "e0 1d", "e0 9d"},         /* RIGHTCTRL */
        {100, "e0 38", "e0 b8"},        /* RIGHTALT */
        {103, "e0 48", "e0 c8"},        /* UP */
        {111, "e0 53", "e0 d3"},        /* DELETE */
        {125, "e0 5b", "e0 db"},        /* LEFTMETA */
        {119, "e1 1d 45 e1 9d c5", ""}, /* PAUSE, which has no release */
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        vmc_strv down = {0}, up = {0};
        assert_true(virtualbox_scan_codes(keys[i].code, false, &down));
        assert_true(virtualbox_scan_codes(keys[i].code, true, &up));
        char *pressed = vmc_strv_join(&down, " "), *released = vmc_strv_join(&up, " ");
        assert_string_equal(pressed, keys[i].down);
        assert_string_equal(released ? released : "", keys[i].up);
        free(pressed);
        free(released);
        vmc_strv_free(&down);
        vmc_strv_free(&up);
    }
    vmc_strv none = {0};
    assert_false(virtualbox_scan_codes(0, false, &none));
    assert_false(virtualbox_scan_codes(240, false, &none)); /* KEY_UNKNOWN */
    assert_int_equal(none.count, 0);
}

/* The mapping that VBoxManage's source documents as frozen since 5.0: 1 to 93 become 33 to 125, what is more becomes 126. */
static void exit_codes_of_the_guest(void **state) {
    (void)state;
    vmctl_error *err = NULL;
    int status = 7;
    assert_int_equal(virtualbox_guest_status(0, &status, &err), 0);
    assert_int_equal(status, 0);
    assert_int_equal(virtualbox_guest_status(33, &status, &err), 0);
    assert_int_equal(status, 1);
    assert_int_equal(virtualbox_guest_status(125, &status, &err), 0);
    assert_int_equal(status, 93);
    assert_int_equal(virtualbox_guest_status(126, &status, &err), 0);
    assert_int_equal(status, -1);
    assert_int_equal(virtualbox_guest_status(18, &status, &err), 0);
    assert_int_equal(status, 137);
    assert_int_equal(virtualbox_guest_status(20, &status, &err), VMCTL_E_TIMEOUT);
    vmctl_error_free(err);
    err = NULL;
    assert_int_equal(virtualbox_guest_status(1, &status, &err), VMCTL_E_INTERNAL);
    vmctl_error_free(err);
}

/* The manual's names (guest properties, "Using Guest Properties to Wait on VM Events" and its table). */
static void what_the_guest_tells_of_itself(void **state) {
    (void)state;
    static const char told[] =
        "/VirtualBox/GuestAdd/Version                 = '7.2.22'          @ 2026-11-23T04:58:36.021Z\n"
        "/VirtualBox/GuestAdd/VersionExt              = '7.2.22'          @ 2026-11-23T04:58:36.021Z\n"
        "/VirtualBox/GuestInfo/OS/LoggedInUsers       = '2'               @ 2026-11-23T04:58:36.021Z\n"
        "/VirtualBox/GuestInfo/OS/LoggedInUsersList   = 'alice,bob'       @ 2026-11-23T04:58:36.021Z\n"
        "/VirtualBox/GuestInfo/OS/Product             = 'Linux'           @ 2026-11-23T04:58:36.021Z\n"
        "/VirtualBox/GuestInfo/OS/Release             = '6.1.0-28-amd64'  @ 2026-11-23T04:58:36.021Z\n"
        "/VirtualBox/GuestInfo/OS/ServicePack         = ''                @ 2026-11-23T04:58:36.021Z\n";
    VMC_AUTO_STRV texts = {0};
    virtualbox_guest guest;
    assert_true(virtualbox_guest_read(told, &texts, &guest));
    assert_string_equal(guest.guest.os_name, "Linux");
    assert_string_equal(guest.guest.kernel, "6.1.0-28-amd64");
    assert_string_equal(guest.guest.agent_version, "7.2.22");
    assert_null(guest.guest.hostname);
    assert_int_equal(guest.guest.user_count, 2);
    assert_string_equal(guest.guest.users[0].name, "alice");
    assert_string_equal(guest.guest.users[1].name, "bob");
    free(guest.users);
    assert_false(virtualbox_guest_read("", &texts, &guest));
    assert_int_equal(guest.guest.user_count, 0);
}

/* The manual's names of the guest's properties; both layouts of `guestproperty enumerate`. */
static void addresses_that_the_guest_tells(void **state) {
    (void)state;
    static const char now[] =
        "/VirtualBox/GuestInfo/Net/0/MAC          = '080027E5945A'    @ 2026-11-23T04:58:36.021Z\n"
        "/VirtualBox/GuestInfo/Net/0/Status       = 'Up'              @ 2026-11-23T04:58:36.021Z\n"
        "/VirtualBox/GuestInfo/Net/0/V4/Broadcast = '10.0.2.255'      @ 2026-11-23T04:58:36.021Z\n"
        "/VirtualBox/GuestInfo/Net/0/V4/IP        = '10.0.2.15'       @ 2026-11-23T04:58:36.021Z\n"
        "/VirtualBox/GuestInfo/Net/1/V4/IP        = '192.168.56.101'  @ 2026-11-23T04:58:36.021Z\n"
        "/VirtualBox/GuestInfo/Net/Count          = '2'               @ 2026-11-23T04:58:36.021Z\n";
    static const char before[] =
        "Name: /VirtualBox/GuestInfo/Net/0/V4/IP, value: 10.0.2.15, timestamp: 1795409916021604000, flags: \n"
        "Name: /VirtualBox/GuestInfo/Net/0/MAC, value: 080027E5945A, timestamp: 1795409916021604000, flags: \n";
    vmc_strv pairs = {0};
    virtualbox_guest_addresses(now, &pairs);
    assert_int_equal(pairs.count, 4);
    assert_string_equal(pairs.items[0], "10.0.2.15");
    assert_string_equal(pairs.items[1], "08:00:27:e5:94:5a");
    assert_string_equal(pairs.items[2], "192.168.56.101");
    assert_string_equal(pairs.items[3], "");
    vmc_strv_free(&pairs);
    virtualbox_guest_addresses(before, &pairs);
    assert_int_equal(pairs.count, 2);
    assert_string_equal(pairs.items[0], "10.0.2.15");
    assert_string_equal(pairs.items[1], "08:00:27:e5:94:5a");
    vmc_strv_free(&pairs);
    virtualbox_guest_addresses("", &pairs);
    assert_int_equal(pairs.count, 0);
}

/* sanitiseMachineFilename of VirtualBoxImpl.cpp; the first two were seen on 7.2. */
static void folders_of_names(void **state) {
    (void)state;
    static const char *const names[][2] = {
        {"it's \"quoted\"", "/m/it_s _quoted_"},
        {"a/b", "/m/a_b"},
        {"-rf", "/m/_rf"},
        {".hidden.", "/m/_hidden_"},
        {" a ", "/m/_a_"},
        {"plain-1.2 (x)", "/m/plain-1.2 (x)"},
        {"f\xc3\xbcr", "/m/f\xc3\xbcr"},
        {"\xf0\x9f\x98\x80", "/m/____"}, /* beyond the Basic Multilingual Plane */
        {"tab\t", "/m/tab_"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char *folder = virtualbox_folder_of("/m", names[i][0]);
        assert_string_equal(folder, names[i][1]);
        free(folder);
    }
}

static void what_waits_is_laid_over(void **state) {
    (void)state;
    cJSON *marker = cJSON_CreateObject();
    cJSON *spec = cJSON_Parse("{\"memory\":{\"size\":\"1GiB\"},\"disks\":[{\"name\":\"a.b\",\"size\":\"1MiB\"},"
                              "{\"name\":\"old\"}]}");
    vboxmanage_machine machine = {.folder = (char *)"/m"};
    virtualbox_pending_put(marker, VMCTL_CHANGE_SET, "memory.size", cJSON_CreateString("2GiB"));
    virtualbox_pending_put(marker, VMCTL_CHANGE_SET, "memory.size", cJSON_CreateString("3GiB"));
    virtualbox_pending_put(marker, VMCTL_CHANGE_SET, "disks.a.b.size", cJSON_CreateString("2MiB"));
    virtualbox_pending_put(marker, VMCTL_CHANGE_REMOVE, "disks.old", NULL);
    virtualbox_pending_put(marker, VMCTL_CHANGE_SET, "labels.x.y", cJSON_CreateString("z"));
    virtualbox_pending_put(marker, VMCTL_CHANGE_ADD, "disks.new", cJSON_Parse("{\"name\":\"new\"}"));
    assert_int_equal(virtualbox_pending_count(marker), 5);
    virtualbox_pending_lay(marker, &machine, false, spec);
    cJSON *want = cJSON_Parse("{\"memory\":{\"size\":\"3GiB\"},\"disks\":[{\"name\":\"a.b\",\"size\":\"2MiB\"},"
                              "{\"name\":\"new\"}],\"labels\":{\"x.y\":\"z\"}}");
    assert_true(cJSON_Compare(spec, want, true));
    /* A device that had not come yet is simply forgotten. */
    virtualbox_pending_put(marker, VMCTL_CHANGE_REMOVE, "disks.new", NULL);
    assert_null(virtualbox_pending_find(marker, "disks.new"));
    /* What a marker of nobody's making says is laid over as far as it can be. */
    cJSON *odd =
        cJSON_Parse("{\"pending\":[{},{\"path\":\"disks.none.size\",\"value\":1},{\"path\":\"disks.x\",\"action\":"
                    "\"remove\"},7,{\"path\":\"disks.\",\"action\":\"add\"}]}");
    virtualbox_pending_lay(odd, &machine, true, spec);
    cJSON_Delete(odd);
    cJSON_Delete(want);
    cJSON_Delete(spec);
    cJSON_Delete(marker);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_become_scan_codes),
        cmocka_unit_test(exit_codes_of_the_guest),
        cmocka_unit_test(what_the_guest_tells_of_itself),
        cmocka_unit_test(addresses_that_the_guest_tells),
        cmocka_unit_test(folders_of_names),
        cmocka_unit_test(what_waits_is_laid_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
