/* A VM's display and keyboard: screenshots and keys. */
#include "screen.h"

#include "base/random.h"
#include "drivers/picture/picture.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SCREEN_MS = 60000, MOST_BYTES = 256 << 20, TOGETHER_MS = 100 };

static bool runs(vmctl_state state) {
    return state == VMCTL_STATE_RUNNING || state == VMCTL_STATE_PAUSED;
}

/* --- screenshots -------------------------------------------------------------------------------------------------- */

int virtualbox_screenshot_check(const virtualbox_vm *vm, const vboxmanage_machine *machine, vmctl_state state,
                                unsigned screen, vmctl_error **err) {
    if (!runs(state)) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "%s does not run, so it shows no screen", vm->name);
        return vmc_error_next(err, "vmctl start %s", vm->name);
    }
    if (vmc_str_eq(machine->graphics, "none")) {
        vmc_error(err, VMCTL_E_UNSUPPORTED, "%s has no display", vm->name);
        return vmc_error_next(err,
                              "vmctl set %s display.video=vmsvga gives it one at its next start; vmctl console and "
                              "vmctl logs show its serial port",
                              vm->name);
    }
    if (screen >= machine->monitors)
        return vmc_error(err, VMCTL_E_NOT_FOUND, "%s has no screen %u: it has %u, counted from 0", vm->name, screen,
                         machine->monitors);
    return 0;
}

/* VBoxManage writes a file: in the VM's folder, which VirtualBox reaches wherever it is confined to. */
static int take(virtualbox_conn *conn, const virtualbox_vm *vm, const char *folder, unsigned screen,
                const vmc_deadline *deadline, char **bytes, size_t *length, vmctl_error **err) {
    const vboxmanage *manage = conn->manage;
    char unique[37];
    vmc_uuid_new(unique);
    VMC_AUTO_FREE char *own = vmc_printf("%s/.vmctl-%s", folder, unique);
    int code = vboxmanage_folder_make(manage, own, deadline, err);
    if (code < 0)
        return code;
    VMC_AUTO_FREE char *path = vmc_printf("%s/screen.png", own);
    VMC_AUTO_FREE char *number = vmc_printf("%u", screen);
    code = virtualbox_say(conn, vm, "taking the picture", deadline, NULL, err, "controlvm", vm->id, "screenshotpng",
                          path, number, NULL);
    if (code == 0)
        code = vboxmanage_file_read(manage, path, MOST_BYTES, deadline, bytes, length, err);
    vboxmanage_tree_remove(manage, own, NULL, NULL);
    return code;
}

int virtualbox_screenshot(void *opaque, void *handle, const vmctl_screenshot_options *options, vmctl_bytes_fn each,
                          void *user, vmctl_error **err) {
    virtualbox_conn *conn = opaque;
    const virtualbox_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(options->call, SCREEN_MS);
    vmctl_state state = VMCTL_STATE_UNKNOWN;
    vboxmanage_machine *machine = NULL;
    VMC_AUTO_FREE char *bytes = NULL;
    size_t length = 0;
    int code = vmc_deadline_check(&deadline, "taking the picture", err);
    if (code == 0)
        code = virtualbox_ask_state(conn, vm, &deadline, &state, NULL, err);
    if (code == 0)
        code = virtualbox_load(conn, vm, &deadline, &machine, err);
    if (code == 0)
        code = virtualbox_screenshot_check(vm, machine, state, options->screen, err);
    if (code == 0)
        code = take(conn, vm, machine->folder, options->screen, &deadline, &bytes, &length, err);
    vboxmanage_machine_free(machine);
    if (code < 0)
        return code;
    if (!picture_is_png(bytes, length))
        return vmc_error(err, VMCTL_E_INTERNAL, "what VBoxManage wrote is no PNG file");
    each(bytes, length, user);
    return 0;
}

/* --- keys ----------------------------------------------------------------------------------------------------------- */

int virtualbox_keys_check(const virtualbox_vm *vm, vmctl_state state, vmctl_error **err) {
    if (state == VMCTL_STATE_RUNNING)
        return 0;
    vmc_error(err, VMCTL_E_INVALID_STATE, "%s is %s: nobody would hear its keys", vm->name, vmctl_state_name(state));
    return vmc_error_next(err, state == VMCTL_STATE_PAUSED ? "vmctl resume %s" : "vmctl start %s", vm->name);
}

/* Linux' codes 1 to 88 are the scan codes themselves, but for those of Japanese and Korean keyboards; the others stand here: the code, and
 * the scan code with 0xe0 before it where it has that. */
static const struct {
    unsigned short code, scan;
} scans[] = {
    {89, 0x73},    {90, 0x78},    {91, 0x77},    {92, 0x79},    {93, 0x70},    {94, 0x7b},    {96, 0xe01c},
    {97, 0xe01d},  {98, 0xe035},  {99, 0xe037},  {100, 0xe038}, {102, 0xe047}, {103, 0xe048}, {104, 0xe049},
    {105, 0xe04b}, {106, 0xe04d}, {107, 0xe04f}, {108, 0xe050}, {109, 0xe051}, {110, 0xe052}, {111, 0xe053},
    {113, 0xe020}, {114, 0xe02e}, {115, 0xe030}, {116, 0xe05e}, {117, 0x59},   {121, 0x7e},   {124, 0x7d},
    {125, 0xe05b}, {126, 0xe05c}, {127, 0xe05d}, {142, 0xe05f}, {143, 0xe063}, {163, 0xe019}, {164, 0xe022},
    {165, 0xe010}, {166, 0xe024}, {183, 0x64},   {184, 0x65},   {185, 0x66},   {186, 0x67},   {187, 0x68},
    {188, 0x69},   {189, 0x6a},   {190, 0x6b},   {191, 0x6c},   {192, 0x6d},   {193, 0x6e},   {194, 0x76},
};

enum { KEY_PAUSE_CODE = 119, KEY_ZENKAKU = 85, LAST_SAME = 88 };

bool virtualbox_scan_codes(unsigned code, bool release, vmc_strv *to) {
    unsigned scan = code >= 1 && code <= LAST_SAME && code != 84 ? code : 0;
    if (code == KEY_PAUSE_CODE) { /* one sequence, without a release */
        static const char *const pause[] = {"e1", "1d", "45", "e1", "9d", "c5"};
        for (size_t i = 0; !release && i < sizeof pause / sizeof pause[0]; i++)
            vmc_strv_add(to, pause[i]);
        return true;
    }
    if (code == KEY_ZENKAKU)
        scan = 0x76;
    for (size_t i = 0; i < sizeof scans / sizeof scans[0]; i++)
        if (scans[i].code == code)
            scan = scans[i].scan;
    if (!scan)
        return false;
    if (scan >> 8)
        vmc_strv_add(to, "e0");
    vmc_strv_printf(to, "%02x", (scan & 0xff) | (release ? 0x80 : 0));
    return true;
}

static void begin(const virtualbox_vm *vm, vmc_strv *argv) {
    vmc_strv_add(argv, "controlvm");
    vmc_strv_add(argv, vm->id);
    vmc_strv_add(argv, "keyboardputscancode");
}

static int check_codes(const unsigned *codes, size_t count, vmctl_error **err) {
    for (size_t i = 0; i < count; i++) {
        VMC_AUTO_STRV ignored = {0};
        if (!virtualbox_scan_codes(codes[i], false, &ignored))
            return vmc_error(err, VMCTL_E_UNSUPPORTED, "VirtualBox's keyboard has no key %u", codes[i]);
    }
    return 0;
}

/* A short press goes in one call: the guest hears all of it in its order, and each call costs as much as such a press lasts. */
int virtualbox_send_keys(void *opaque, void *handle, const unsigned *codes, size_t count,
                         const vmctl_keys_options *options, vmctl_error **err) {
    virtualbox_conn *conn = opaque;
    const virtualbox_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(options->call, SCREEN_MS);
    vmctl_state state = VMCTL_STATE_UNKNOWN;
    int code = check_codes(codes, count, err);
    if (code == 0)
        code = virtualbox_ask_state(conn, vm, &deadline, &state, NULL, err);
    if (code == 0)
        code = virtualbox_keys_check(vm, state, err);
    if (code < 0)
        return code;
    VMC_AUTO_STRV down = {0};
    VMC_AUTO_STRV up = {0};
    bool together = options->hold_ms <= TOGETHER_MS;
    begin(vm, &down);
    begin(vm, &up);
    for (size_t i = 0; i < count; i++)
        virtualbox_scan_codes(codes[i], false, &down);
    size_t bare = up.count;
    for (size_t i = count; i-- > 0;)
        virtualbox_scan_codes(codes[i], true, together ? &down : &up);
    code = virtualbox_run(conn, vm->id, &down, "pressing the keys", NULL, vm->name, &deadline, NULL, err);
    if (code < 0 || up.count == bare)
        return code;
    code = vmc_deadline_poll(&deadline, -1, 0, (int)options->hold_ms, "holding the keys", err);
    vmc_deadline after = {.at_ms = vmc_now_ms() + SCREEN_MS}; /* a key that stays down would be worse than a late one */
    int released =
        virtualbox_run(conn, vm->id, &up, "releasing the keys", NULL, vm->name, &after, NULL, code < 0 ? NULL : err);
    return code < 0 ? code : released;
}
