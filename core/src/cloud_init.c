/* The texts of cloud-init's NoCloud seed. */
#include "internal.h"

#include "base/base64.h"
#include "base/file.h"
#include "base/str.h"
#include <stdlib.h>
#include <string.h>

enum { FILE_LIMIT = 1024 * 1024 };

void vmc_seed_free(vmc_seed *seed) {
    free(seed->meta_data);
    free(seed->user_data);
    free(seed->network_config);
    *seed = (vmc_seed){0};
}

/* A YAML double-quoted scalar: nothing in it can end it or start anything else. */
static void add_quoted(vmc_str *s, const char *text) {
    vmc_str_add_char(s, '"');
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c == '"' || *c == '\\')
            vmc_str_printf(s, "\\%c", *c);
        else if (*c < 0x20 || *c == 0x7f)
            vmc_str_printf(s, "\\x%02x", *c);
        else
            vmc_str_add_char(s, (char)*c);
    }
    vmc_str_add_char(s, '"');
}

/* Without quotes where it can be read as nothing but a string: a lower-case name that is no word of YAML 1.1. */
static void add_scalar(vmc_str *s, const char *text) {
    static const char *const words[] = {"true", "false", "yes", "no", "on", "off", "y", "n", "null"};
    bool plain = *text >= 'a' && *text <= 'z' && text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_-")] == '\0';
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        plain = plain && strcmp(text, words[i]) != 0;
    if (plain)
        vmc_str_add(s, text);
    else
        add_quoted(s, text);
}

static int read_named(const vmctl_node *node, const char *what, char **out, vmctl_error **err) {
    const char *path = vmctl_node_string(node, NULL, "");
    vmctl_error *cause = NULL;
    size_t length = 0;
    if (vmc_file_read(path, FILE_LIMIT, out, &length, &cause) < 0) {
        int code = vmc_refuse(err, vmctl_error_code(cause), node, "%s: %s", what, vmctl_error_message(cause));
        vmctl_error_free(cause);
        return code;
    }
    if (strlen(*out) != length)
        return vmc_refuse(err, VMCTL_E_INVALID_SPEC, node, "%s %s is not a text: it holds a NUL byte", what, path);
    return 0;
}

/* userData: or networkData:, as `file` or `inline`. *out NULL when neither is there. */
static int read_text(const vmctl_node *map, const char *what, char **out, vmctl_error **err) {
    const vmctl_node *file = vmctl_node_get(map, "file");
    const vmctl_node *text = vmctl_node_get(map, "inline");
    if (file && text)
        return vmc_refuse(err, VMCTL_E_INVALID_SPEC, text, "%s takes file or inline, not both", what);
    if (file)
        return read_named(file, what, out, err);
    *out = vmc_strdup(vmctl_node_string(text, NULL, NULL));
    return 0;
}

static int add_key_lines(const vmctl_node *node, char *text, vmc_strv *keys, vmctl_error **err) {
    if (strstr(text, "PRIVATE KEY"))
        return vmc_refuse(err, VMCTL_E_INVALID_SPEC, node,
                          "this is a private key; give the public one, whose file usually ends in .pub");
    char *rest = NULL;
    for (char *line = strtok_r(text, "\r\n", &rest); line; line = strtok_r(NULL, "\r\n", &rest)) {
        line += strspn(line, " \t");
        if (*line && *line != '#')
            vmc_strv_add(keys, line);
    }
    return 0;
}

static int read_keys(const vmctl_node *list, vmc_strv *keys, vmctl_error **err) {
    for (size_t i = 0; i < vmctl_node_count(list); i++) {
        const vmctl_node *node = vmctl_node_at(list, i);
        const char *value = vmctl_node_string(node, NULL, "");
        VMC_AUTO_FREE char *text = NULL;
        int code = 0;
        if (*value == '/')
            code = read_named(node, "public key", &text, err);
        else
            text = vmc_strdup(value);
        size_t before = keys->count;
        if (code == 0)
            code = add_key_lines(node, text, keys, err);
        if (code < 0)
            return code;
        if (keys->count == before)
            return vmc_refuse(err, VMCTL_E_INVALID_SPEC, node, "there is no public key in %s", value);
    }
    return 0;
}

static void add_key_list(vmc_str *s, const char *indent, const vmc_strv *keys) {
    if (keys->count == 0)
        return;
    vmc_str_printf(s, "%sssh_authorized_keys:\n", indent);
    for (size_t i = 0; i < keys->count; i++) {
        vmc_str_printf(s, "%s  - ", indent);
        add_quoted(s, keys->items[i]);
        vmc_str_add_char(s, '\n');
    }
}

/* Without a user the keys are those of the image's own default user. */
static char *own_config(const char *hostname, const char *user, const vmc_strv *keys) {
    VMC_AUTO_STR s = {0};
    vmc_str_add(&s, "#cloud-config\nhostname: ");
    add_scalar(&s, hostname);
    vmc_str_add(&s, "\n");
    if (!user) {
        add_key_list(&s, "", keys);
        return vmc_str_take(&s);
    }
    vmc_str_add(&s, "users:\n  - name: ");
    add_scalar(&s, user);
    vmc_str_add(&s, "\n    sudo: \"ALL=(ALL) NOPASSWD:ALL\"\n    shell: /bin/bash\n    lock_passwd: true\n");
    add_key_list(&s, "    ", keys);
    return vmc_str_take(&s);
}

/* By the first line, as cloud-init itself tells the formats apart; NULL: none that it knows. */
static const char *content_type(const char *text) {
    static const struct {
        const char *begins;
        const char *type;
    } formats[] = {
        {"#cloud-config-archive", "text/cloud-config-archive"},
        {"#cloud-config", "text/cloud-config"},
        {"#cloud-boothook", "text/cloud-boothook"},
        {"#include-once", "text/x-include-once-url"},
        {"#include", "text/x-include-url"},
        {"#part-handler", "text/part-handler"},
        {"#upstart-job", "text/upstart-job"},
        {"## template: jinja", "text/jinja2"},
        {"#!", "text/x-shellscript"},
    };
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
        if (vmc_starts_with(text, formats[i].begins))
            return formats[i].type;
    return NULL;
}

static void add_part(vmc_str *s, const char *type, const char *name, const char *text) {
    vmc_str_printf(s,
                   "--==vmctl==\nContent-Type: %s; charset=\"utf-8\"\nMIME-Version: 1.0\n"
                   "Content-Transfer-Encoding: base64\nContent-Disposition: attachment; filename=\"%s\"\n\n",
                   type, name);
    vmc_base64_add(s, text, strlen(text), 76);
    vmc_str_add_char(s, '\n');
}

/* The person's part comes last: cloud-init lets a later part win. base64 leaves no line that could be the boundary. */
static char *multipart(const char *ours, const char *theirs, const char *type) {
    VMC_AUTO_STR s = {0};
    vmc_str_add(&s, "Content-Type: multipart/mixed; boundary=\"==vmctl==\"\nMIME-Version: 1.0\n\n");
    add_part(&s, "text/cloud-config", "vmctl.yaml", ours);
    add_part(&s, type, "user-data", theirs);
    vmc_str_add(&s, "--==vmctl==--\n");
    return vmc_str_take(&s);
}

static int user_data(const vmctl_node *init, const char *hostname, char **out, vmctl_error **err) {
    const vmctl_node *given = vmctl_node_get(init, "userData");
    const char *user = vmctl_node_string(init, "user", NULL);
    VMC_AUTO_STRV keys = {0};
    VMC_AUTO_FREE char *theirs = NULL;
    int code = read_keys(vmctl_node_get(init, "sshKeys"), &keys, err);
    if (code == 0)
        code = read_text(given, "user-data", &theirs, err);
    if (code < 0)
        return code;
    if (theirs && !user && keys.count == 0) {
        *out = theirs;
        theirs = NULL;
        return 0;
    }
    VMC_AUTO_FREE char *ours = own_config(hostname, user, &keys);
    if (!theirs) {
        *out = ours;
        ours = NULL;
        return 0;
    }
    const char *type = content_type(theirs);
    if (!type)
        return vmc_refuse(err, VMCTL_E_INVALID_SPEC, given,
                          "user-data begins with none of cloud-init's formats (#cloud-config, #!, ...), so that it "
                          "cannot be combined with user or sshKeys; put them into it and remove those keys");
    *out = multipart(ours, theirs, type);
    return 0;
}

/* cloud-init's own fallback serves the first card only. Several cards are told apart by their addresses, so all must have one. */
static char *cards_config(const vmctl_node *networks) {
    if (vmctl_node_count(networks) < 2)
        return NULL;
    VMC_AUTO_STR s = {0};
    vmc_str_add(&s, "version: 2\nethernets:\n");
    for (size_t i = 0; i < vmctl_node_count(networks); i++) {
        const char *mac = vmctl_node_string(vmctl_node_at(networks, i), "mac", NULL);
        if (!mac)
            return NULL;
        vmc_str_printf(&s, "  nic%zu:\n    match:\n      macaddress: ", i);
        add_quoted(&s, mac);
        vmc_str_add(&s, "\n    dhcp4: true\n    optional: true\n");
    }
    return vmc_str_take(&s);
}

static char *meta_data(const char *uuid, const char *hostname) {
    VMC_AUTO_STR meta = {0};
    vmc_str_printf(&meta, "instance-id: \"vmctl-%s\"\nlocal-hostname: ", uuid);
    add_scalar(&meta, hostname);
    vmc_str_add(&meta, "\n");
    return vmc_str_take(&meta);
}

static void replace_all(char **text, const char *from, const char *to) {
    VMC_AUTO_STR out = {0};
    size_t length = strlen(from);
    const char *rest = *text;
    for (const char *hit; length && (hit = strcasestr(rest, from)); rest = hit + length) {
        vmc_str_add_n(&out, rest, (size_t)(hit - rest));
        vmc_str_add(&out, to);
    }
    vmc_str_add(&out, rest);
    free(*text);
    *text = vmc_str_take(&out);
}

void vmc_seed_for_clone(vmc_seed *seed, const char *uuid, const char *hostname, const char *const *macs,
                        size_t mac_count, char **told) {
    static const char ours[] = "#cloud-config\nhostname: ";
    free(seed->meta_data);
    seed->meta_data = meta_data(uuid, hostname);
    if (seed->user_data && vmc_starts_with(seed->user_data, ours)) {
        const char *rest = seed->user_data + strlen(ours);
        rest += strcspn(rest, "\n");
        VMC_AUTO_STR data = {0};
        vmc_str_add(&data, ours);
        add_scalar(&data, hostname);
        vmc_str_add(&data, rest);
        free(seed->user_data);
        seed->user_data = vmc_str_take(&data);
    } else if (seed->user_data && strstr(seed->user_data, "hostname")) {
        *told = vmc_printf("its cloud-init user-data sets a host name of its own, which stays as it is");
    }
    for (size_t i = 0; seed->network_config && i < mac_count; i++)
        replace_all(&seed->network_config, macs[2 * i], macs[2 * i + 1]);
}

int vmc_seed_texts(const vmctl_spec *spec, const char *uuid, vmc_seed *out, vmctl_error **err) {
    const vmctl_node *root = vmctl_spec_root(spec);
    const vmctl_node *init = vmctl_node_get(root, "cloudInit");
    const char *hostname = vmctl_node_string(init, "hostname", vmctl_spec_name(spec));
    *out = (vmc_seed){0};
    int code = user_data(init, hostname, &out->user_data, err);
    if (code == 0)
        code = read_text(vmctl_node_get(init, "networkData"), "network data", &out->network_config, err);
    if (code < 0) {
        vmc_seed_free(out);
        return code;
    }
    if (!out->network_config)
        out->network_config = cards_config(vmctl_node_get(root, "networks"));
    out->meta_data = meta_data(uuid, hostname);
    return 0;
}
