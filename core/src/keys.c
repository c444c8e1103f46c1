/* Keys by name, and characters as keys. Source: <linux/input-event-codes.h>; the US layout of ISO 9995 keyboards. */
#include "keys.h"
#include "internal.h"
#include <linux/input-event-codes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <vmctl/display.h>

typedef struct key {
    const char *name;
    unsigned code;
} key;

static const key keys[] = {
#define KEY(name, macro) {#name, KEY_##macro},
#include "keys.def"
#undef KEY
};

static const char *const names[] = {
#define KEY(name, macro) #name,
#include "keys.def"
#undef KEY
    NULL,
};

/* What people and other tools say. */
static const key aliases[] = {
    {"ctrl", KEY_LEFTCTRL},    {"control", KEY_LEFTCTRL},  {"lctrl", KEY_LEFTCTRL},
    {"rctrl", KEY_RIGHTCTRL},  {"alt", KEY_LEFTALT},       {"lalt", KEY_LEFTALT},
    {"ralt", KEY_RIGHTALT},    {"altgr", KEY_RIGHTALT},    {"shift", KEY_LEFTSHIFT},
    {"lshift", KEY_LEFTSHIFT}, {"rshift", KEY_RIGHTSHIFT}, {"super", KEY_LEFTMETA},
    {"win", KEY_LEFTMETA},     {"windows", KEY_LEFTMETA},  {"meta", KEY_LEFTMETA},
    {"cmd", KEY_LEFTMETA},     {"return", KEY_ENTER},      {"ret", KEY_ENTER},
    {"escape", KEY_ESC},       {"del", KEY_DELETE},        {"ins", KEY_INSERT},
    {"pgup", KEY_PAGEUP},      {"pgdn", KEY_PAGEDOWN},     {"pgdown", KEY_PAGEDOWN},
    {"bksp", KEY_BACKSPACE},   {"caps", KEY_CAPSLOCK},     {"spc", KEY_SPACE},
    {"print", KEY_SYSRQ},      {"printscreen", KEY_SYSRQ}, {"prtsc", KEY_SYSRQ},
    {"break", KEY_PAUSE},      {"period", KEY_DOT},        {"quote", KEY_APOSTROPHE},
    {"backtick", KEY_GRAVE},   {"plus", KEY_KPPLUS},       {"-", KEY_MINUS},
    {"=", KEY_EQUAL},          {"[", KEY_LEFTBRACE},       {"]", KEY_RIGHTBRACE},
    {";", KEY_SEMICOLON},      {"'", KEY_APOSTROPHE},      {"`", KEY_GRAVE},
    {"\\", KEY_BACKSLASH},     {",", KEY_COMMA},           {".", KEY_DOT},
    {"/", KEY_SLASH},
};

const char *const *vmctl_key_names(void) {
    return names;
}

static unsigned find(const key *table, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++)
        if (!strcasecmp(table[i].name, name))
            return table[i].code;
    return 0;
}

unsigned vmc_key_code(const char *name) {
    const char *bare = !strncasecmp(name, "KEY_", 4) ? name + 4 : name;
    unsigned code = find(keys, sizeof keys / sizeof *keys, bare);
    return code || bare != name ? code : find(aliases, sizeof aliases / sizeof *aliases, name);
}

static int unknown(const char *name, vmctl_error **err) {
    enum { KEYS = sizeof keys / sizeof *keys, ALIASES = sizeof aliases / sizeof *aliases };
    const char *all[KEYS + ALIASES + 1] = {NULL};
    size_t count = 0;
    for (size_t i = 0; i < KEYS; i++)
        all[count++] = keys[i].name;
    for (size_t i = 0; i < ALIASES; i++)
        all[count++] = aliases[i].name;
    VMC_AUTO_FREE char *lower = vmc_strdup(name);
    for (char *c = lower; *c; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
    const char *nearest = vmc_nearest(vmc_starts_with(lower, "key_") ? lower + 4 : lower, all);
    vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "there is no key \"%s\"%s%s", name, nearest ? "; the nearest is " : "",
              nearest ? nearest : "");
    return vmc_error_next(err, "names are those of Linux' input-event-codes.h, such as leftctrl, a, 1, f1, enter, kp0");
}

int vmc_key_codes(const char *const *given, size_t count, unsigned *codes, size_t *out, vmctl_error **err) {
    *out = 0;
    for (size_t i = 0; given && i < count; i++) {
        VMC_AUTO_FREE char *copy = vmc_strdup(given[i]);
        char *rest = copy, *word;
        /* "+" alone is no separator, and an empty part is no key */
        while ((word = strsep(&rest, "+"))) {
            unsigned code = vmc_key_code(word);
            if (!code)
                return unknown(*word ? word : given[i], err);
            if (*out == VMCTL_KEYS_MAX)
                return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "at most %d keys are held together", VMCTL_KEYS_MAX);
            codes[(*out)++] = code;
        }
    }
    return 0;
}

/* The characters of a key without and with shift. */
static const struct {
    unsigned code;
    char plain, shifted;
} layout[] = {
    {KEY_1, '1', '!'},         {KEY_2, '2', '@'},          {KEY_3, '3', '#'},         {KEY_4, '4', '$'},
    {KEY_5, '5', '%'},         {KEY_6, '6', '^'},          {KEY_7, '7', '&'},         {KEY_8, '8', '*'},
    {KEY_9, '9', '('},         {KEY_0, '0', ')'},          {KEY_MINUS, '-', '_'},     {KEY_EQUAL, '=', '+'},
    {KEY_LEFTBRACE, '[', '{'}, {KEY_RIGHTBRACE, ']', '}'}, {KEY_SEMICOLON, ';', ':'}, {KEY_APOSTROPHE, '\'', '"'},
    {KEY_GRAVE, '`', '~'},     {KEY_BACKSLASH, '\\', '|'}, {KEY_COMMA, ',', '<'},     {KEY_DOT, '.', '>'},
    {KEY_SLASH, '/', '?'},     {KEY_SPACE, ' ', ' '},      {KEY_TAB, '\t', '\t'},     {KEY_ENTER, '\n', '\n'},
};

unsigned vmc_key_of_char(char c, bool *shift) {
    *shift = c >= 'A' && c <= 'Z';
    if (*shift || (c >= 'a' && c <= 'z'))
        return vmc_key_code((const char[]){c, '\0'});
    for (size_t i = 0; i < sizeof layout / sizeof *layout; i++)
        if (layout[i].plain == c || layout[i].shifted == c) {
            *shift = layout[i].plain != c;
            return layout[i].code;
        }
    return 0;
}

/* --- the operations ------------------------------------------------------------------------------------------------ */

enum { PERSON_MS = 100, TYPIST_MS = 20, HOLD_MOST_MS = 60000 };

static int begin(vmc_op *op, vmctl_vm *vm, vmctl_keys_options *o, unsigned default_ms, int64_t limit_ms,
                 vmctl_error **err) {
    int rc = vmc_op_begin_vm(op, vm, VMCTL_SLOT_send_keys, o->call, limit_ms, false, err);
    o->call = &op->call;
    if (rc == 0 && o->hold_ms > HOLD_MOST_MS)
        rc = vmc_error(&op->why, VMCTL_E_INVALID_ARGUMENT, "keys are held for a minute at most");
    if (!o->hold_ms)
        o->hold_ms = default_ms;
    return rc;
}

int vmctl_send_keys(vmctl_vm *vm, const char *const *given, size_t count, const vmctl_keys_options *options,
                    vmctl_error **err) {
    vmctl_keys_options o = VMCTL_KEYS_OPTIONS_INIT;
    int rc = vmc_options_copy(&o, options, err);
    if (rc < 0)
        return rc;
    unsigned codes[VMCTL_KEYS_MAX];
    size_t n = 0;
    vmc_op op;
    rc = begin(&op, vm, &o, PERSON_MS, VMC_ASK_MS, err);
    if (rc == 0 && (!given || count == 0))
        rc = vmc_error(&op.why, VMCTL_E_INVALID_ARGUMENT, "no key was given");
    for (size_t i = 0; rc == 0 && given && i < count; i++)
        rc = vmc_check_text(given[i], "a key's name", &op.why);
    if (rc == 0)
        rc = vmc_key_codes(given, count, codes, &n, &op.why);
    if (rc == 0)
        rc = op.ops->send_keys(op.conn, op.handle, codes, n, &o, &op.why);
    return vmc_op_end(&op, rc, "send keys to %s", op.name);
}

static int check_characters(const char *text, vmctl_error **err) {
    bool shift;
    if (!text)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "the text is missing");
    for (const char *c = text; *c; c++)
        if (!vmc_key_of_char(*c, &shift)) {
            vmc_error(err, VMCTL_E_INVALID_ARGUMENT,
                      "character %zu of the text is on no key of a US keyboard; nothing was typed",
                      (size_t)(c - text) + 1);
            return vmc_error_next(err, "printable ASCII, tab and newline can be typed; other keys are sent by name");
        }
    return 0;
}

/* One key after the other: the hypervisor's own queue is short, and drops what does not fit. */
static int type(vmc_op *op, const char *text, const vmctl_keys_options *o, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(&op->call, VMC_NO_LIMIT);
    for (const char *c = text; *c; c++) {
        bool shift = false;
        unsigned codes[] = {KEY_LEFTSHIFT, vmc_key_of_char(*c, &shift)};
        vmctl_call call = vmc_deadline_call(&deadline);
        vmctl_keys_options one = *o;
        one.call = &call;
        int rc = op->ops->send_keys(op->conn, op->handle, shift ? codes : codes + 1, shift ? 2 : 1, &one, err);
        if (rc == 0)
            rc = vmc_deadline_poll(&deadline, -1, 0, (int)o->hold_ms, "typing", err);
        if (rc < 0) {
            vmc_error_prefix(err, "%zu of %zu characters were typed", (size_t)(c - text), strlen(text));
            return rc;
        }
    }
    return 0;
}

int vmctl_send_text(vmctl_vm *vm, const char *text, const vmctl_keys_options *options, vmctl_error **err) {
    vmctl_keys_options o = VMCTL_KEYS_OPTIONS_INIT;
    int rc = vmc_options_copy(&o, options, err);
    if (rc < 0)
        return rc;
    vmc_op op;
    rc = begin(&op, vm, &o, TYPIST_MS, VMC_NO_LIMIT, err);
    if (rc == 0)
        rc = check_characters(text, &op.why);
    if (rc == 0)
        rc = type(&op, text, &o, &op.why);
    return vmc_op_end(&op, rc, "type into %s", op.name);
}
