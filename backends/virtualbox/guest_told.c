/* What Guest Additions tell of their own accord: the guest's properties, as `guestproperty enumerate` prints them. */
#include "guest.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* One line of `guestproperty enumerate`, of 7.x ("/KEY = 'VALUE' @ TIME") or before ("Name: /KEY, value: VALUE, timestamp: ..."). The value of
 * the key in this line; NULL: another. free */
static char *property_of(const char *line, size_t length, const char *key) {
    VMC_AUTO_FREE char *copy = vmc_strndup(line, length);
    bool old = vmc_starts_with(copy, "Name: ");
    const char *at = old ? copy + 6 : copy;
    if (!vmc_starts_with(at, key))
        return NULL;
    at += strlen(key);
    if (old) {
        if (!vmc_starts_with(at, ", value: "))
            return NULL;
        at += strlen(", value: ");
        const char *end = strstr(at, ", timestamp:");
        return vmc_strndup(at, end ? (size_t)(end - at) : strlen(at));
    }
    while (*at == ' ')
        at++;
    if (!vmc_starts_with(at, "= '"))
        return NULL;
    at += 3;
    const char *end = strchr(at, '\'');
    return vmc_strndup(at, end ? (size_t)(end - at) : strlen(at));
}

static char *find_property(const char *text, const char *key) {
    for (const char *line = text; *line;) {
        size_t length = strcspn(line, "\n");
        char *value = property_of(line, length, key);
        if (value)
            return value;
        line += length + (line[length] == '\n');
    }
    return NULL;
}

/* "080027ABCDEF" -> "08:00:27:ab:cd:ef"; "" for anything else. free */
static char *with_colons(const char *mac) {
    vmc_str out = {0};
    bool whole = mac && strlen(mac) == 12;
    for (size_t i = 0; whole && mac[i]; i++) {
        if (i && i % 2 == 0)
            vmc_str_add_char(&out, ':');
        vmc_str_add_char(&out, (char)tolower((unsigned char)mac[i]));
    }
    return vmc_str_take(&out);
}

void virtualbox_guest_addresses(const char *text, vmc_strv *pairs) {
    enum { MOST_CARDS = 64 };
    for (unsigned card = 0; card < MOST_CARDS; card++) {
        static const char *const kinds[] = {"V4/IP", "V6/IP"};
        VMC_AUTO_FREE char *mac_key = vmc_printf("/VirtualBox/GuestInfo/Net/%u/MAC", card);
        VMC_AUTO_FREE char *raw = find_property(text, mac_key);
        VMC_AUTO_FREE char *mac = with_colons(raw);
        bool any = false;
        for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
            VMC_AUTO_FREE char *key = vmc_printf("/VirtualBox/GuestInfo/Net/%u/%s", card, kinds[k]);
            VMC_AUTO_FREE char *ip = find_property(text, key);
            any = any || ip;
            if (!ip || !*ip)
                continue;
            vmc_strv_add(pairs, ip);
            vmc_strv_add(pairs, mac);
        }
        if (!any && !raw)
            return;
    }
}

/* The text belongs to `texts` from now on; NULL where the guest does not tell it. */
static const char *kept_property(const char *properties, const char *key, vmc_strv *texts) {
    VMC_AUTO_FREE char *value = find_property(properties, key);
    if (!value || !*value)
        return NULL;
    vmc_strv_add(texts, value);
    return texts->items[texts->count - 1];
}

bool virtualbox_guest_read(const char *properties, vmc_strv *texts, virtualbox_guest *out) {
    const char *product = kept_property(properties, "/VirtualBox/GuestInfo/OS/Product", texts);
    *out = (virtualbox_guest){
        .guest = {.size = sizeof(vmctl_guest),
                  .os_name = product,
                  .kernel = kept_property(properties, "/VirtualBox/GuestInfo/OS/Release", texts),
                  .agent_version = kept_property(properties, "/VirtualBox/GuestAdd/Version", texts)}};
    /* "alice,bob" */
    VMC_AUTO_FREE char *names = find_property(properties, "/VirtualBox/GuestInfo/OS/LoggedInUsersList");
    for (const char *name = names; name && *name;) {
        size_t length = strcspn(name, ",");
        VMC_AUTO_FREE char *one = vmc_strndup(name, length);
        out->users = vmc_realloc(out->users, out->guest.user_count + 1, sizeof *out->users);
        vmc_strv_add(texts, one);
        out->users[out->guest.user_count++] =
            (vmctl_guest_user){.size = sizeof(vmctl_guest_user), .name = texts->items[texts->count - 1]};
        name += length + (name[length] == ',');
    }
    out->guest.users = out->users;
    return product || out->guest.agent_version;
}
