/* backends/libvirt/domain_nic.c - network cards (formatdomain.html, "Network interfaces") and QEMU's own arguments.
 *
 * Port forwards. libvirt networks have none, so a nat network with forwards is user networking. libvirt writes
 * that netdev as JSON, which QEMU's -set cannot add to; <qemu:capabilities> takes that form away, and then "-set
 * netdev.hostALIAS.hostfwd=..." gives the interface's own netdev its forwards: it stays an interface, whoever starts the VM
 * (measured: libvirt 9.0, QEMU 7.2). From libvirt 11.0 on passt does it (<backend type='passt'/>, <portForward>).
 */
#include "domain_model.h"
#include <string.h>

#define PASST_SINCE     11000000ul
#define SET_PREFIX      "netdev.host"
#define SET_SUFFIX      ".hostfwd="
#define DEFAULT_NETWORK "default"
#define DEFAULT_LISTEN  "127.0.0.1"

/* "[tcp:|udp:][ADDRESS:]LOCAL:GUEST" in its parts. */
typedef struct forward {
    char *proto, *address, *local, *guest;
} forward;

static void forward_free(forward *f) {
    vmc_free_ptr(&f->proto);
    vmc_free_ptr(&f->address);
    vmc_free_ptr(&f->local);
    vmc_free_ptr(&f->guest);
}
#define AUTO_FORWARD vmc_cleanup(forward_free) forward

static bool forward_parse(const char *text, forward *out) {
    bool udp = vmc_starts_with(text, "udp:");
    const char *rest = udp || vmc_starts_with(text, "tcp:") ? text + 4 : text;
    const char *last = strrchr(rest, ':');
    if (!last || last == rest || !last[1])
        return false;
    VMC_AUTO_FREE char *front = vmc_strndup(rest, (size_t)(last - rest));
    char *split = strrchr(front, ':');
    out->proto = vmc_strdup(udp ? "udp" : "tcp");
    out->address = split ? vmc_strndup(front, (size_t)(split - front)) : vmc_strdup(DEFAULT_LISTEN);
    out->local = vmc_strdup(split ? split + 1 : front);
    out->guest = vmc_strdup(last + 1);
    return true;
}

static char *forward_text(const char *proto, const char *address, const char *local, const char *guest) {
    bool plain = !address || !*address || strcmp(address, DEFAULT_LISTEN) == 0;
    return vmc_printf("%s%s%s%s:%s", vmc_str_eq(proto, "udp") ? "udp:" : "", plain ? "" : address, plain ? "" : ":",
                      local, guest);
}

/* --- <qemu:commandline> ---------------------------------------------------------------------------------------- */

/* The alias that a "-set" argument pair forwards for, and the forward; NULL: another argument. */
static char *hostfwd_alias(const xmlNode *set, const xmlNode *value, const char **rule) {
    const char *text = libvirt_xml_attr(value, "value");
    if (!libvirt_xml_attr_is(set, "value", "-set") || !text || !vmc_starts_with(text, SET_PREFIX))
        return NULL;
    const char *alias = text + strlen(SET_PREFIX), *end = strstr(alias, SET_SUFFIX);
    if (!end)
        return NULL;
    *rule = end + strlen(SET_SUFFIX);
    return vmc_strndup(alias, (size_t)(end - alias));
}

static void forwards_drop(libvirt_build *build, const char *alias) {
    xmlNode *line = libvirt_xml_child(build->domain, "commandline");
    bool others = false;
    for (xmlNode *arg = libvirt_xml_child(line, "arg"); arg;) {
        xmlNode *value = libvirt_xml_next(arg, "arg");
        const char *rule;
        VMC_AUTO_FREE char *of = hostfwd_alias(arg, value, &rule);
        xmlNode *next = of ? libvirt_xml_next(value, "arg") : value;
        if (of && vmc_str_eq(of, alias)) {
            libvirt_xml_drop(value);
            libvirt_xml_drop(arg);
        } else if (of) {
            others = true;
        }
        arg = next;
    }
    if (line && !libvirt_xml_child(line, NULL))
        libvirt_xml_drop(line);
    xmlNode *capabilities = libvirt_xml_child(build->domain, "capabilities");
    LIBVIRT_XML_EACH(gone, others ? NULL : capabilities, "del") {
        if (libvirt_xml_attr_is(gone, "capability", "netdev.json")) {
            libvirt_xml_drop(gone);
            break;
        }
    }
    if (capabilities && !libvirt_xml_child(capabilities, NULL))
        libvirt_xml_drop(capabilities);
}

static xmlNode *qemu_child(libvirt_build *build, const char *name) {
    xmlNode *node = libvirt_xml_child(build->domain, name);
    return node ? node : libvirt_xml_add_ns(build->domain, "qemu", LIBVIRT_QEMU_NS, name);
}

static void add_argument(libvirt_build *build, const char *value) {
    xmlNode *line = qemu_child(build, "commandline");
    libvirt_xml_set(libvirt_xml_add_ns(line, "qemu", LIBVIRT_QEMU_NS, "arg"), "value", value);
}

static void hostfwd_add(libvirt_build *build, const char *alias, const forward *f) {
    VMC_AUTO_FREE char *rule =
        vmc_printf(SET_PREFIX "%s" SET_SUFFIX "%s:%s:%s-:%s", alias, f->proto, f->address, f->local, f->guest);
    add_argument(build, "-set");
    add_argument(build, rule);
    xmlNode *capabilities = qemu_child(build, "capabilities");
    LIBVIRT_XML_EACH(gone, capabilities, "del") {
        if (libvirt_xml_attr_is(gone, "capability", "netdev.json"))
            return;
    }
    libvirt_xml_set(libvirt_xml_add_ns(capabilities, "qemu", LIBVIRT_QEMU_NS, "del"), "capability", "netdev.json");
}

void libvirt_qemu_args_write(libvirt_build *build, const cJSON *args) {
    xmlNode *line = libvirt_xml_child(build->domain, "commandline");
    for (xmlNode *arg = libvirt_xml_child(line, "arg"); arg;) {
        xmlNode *value = libvirt_xml_next(arg, "arg");
        const char *rule;
        VMC_AUTO_FREE char *of = hostfwd_alias(arg, value, &rule);
        xmlNode *next = of ? libvirt_xml_next(value, "arg") : value;
        if (!of)
            libvirt_xml_drop(arg);
        arg = next;
    }
    const cJSON *arg;
    cJSON_ArrayForEach(arg, args) {
        if (cJSON_IsString(arg) && !build->test)
            add_argument(build, arg->valuestring);
    }
    line = libvirt_xml_child(build->domain, "commandline");
    if (line && !libvirt_xml_child(line, NULL))
        libvirt_xml_drop(line);
}

cJSON *libvirt_qemu_args_read(const xmlNode *domain) {
    cJSON *args = cJSON_CreateArray();
    for (xmlNode *arg = libvirt_xml_child(libvirt_xml_child(domain, "commandline"), "arg"); arg;) {
        xmlNode *value = libvirt_xml_next(arg, "arg");
        const char *rule, *text = libvirt_xml_attr(arg, "value");
        VMC_AUTO_FREE char *of = hostfwd_alias(arg, value, &rule);
        if (!of && text)
            cJSON_AddItemToArray(args, cJSON_CreateString(text));
        arg = of ? libvirt_xml_next(value, "arg") : value;
    }
    return args;
}

/* --- the interface --------------------------------------------------------------------------------------------- */

typedef enum attachment { TO_NETWORK, TO_BRIDGE, TO_USER } attachment;

static const char *default_model(const libvirt_build *build) {
    if (strcmp(build->guest, "linux") == 0 || !build->x86)
        return "virtio";
    return build->q35 ? "e1000e" : "e1000";
}

static int choose(const libvirt_build *build, const cJSON *item, attachment *out, vmctl_error **err) {
    const char *name = vmc_json_string(item, "name", ""), *type = vmc_json_string(item, "type", "nat");
    bool forwards = cJSON_GetArraySize(vmc_json_key(item, "forward")) > 0;
    VMC_AUTO_FREE char *path = vmc_printf("networks.%s.type", name);
    VMC_AUTO_FREE char *forward_path = vmc_printf("networks.%s.forward", name);
    bool named = vmc_json_key(item, "source") != NULL;
    if (strcmp(type, "user") == 0) {
        *out = TO_USER;
    } else if (strcmp(type, "nat") == 0) {
        bool in_session = build->plan && build->plan->session;
        *out = forwards || in_session ? TO_USER : TO_NETWORK;
        if (in_session && !forwards && !named)
            libvirt_warn(build,
                         "network %s: a session has no nat network; it uses user networking, where only the VM can "
                         "open connections",
                         name);
        else if (*out == TO_USER && named)
            libvirt_warn(build, "network %s: with port forwards it uses user networking, not network %s", name,
                         vmc_json_string(item, "source", ""));
    } else if (strcmp(type, "bridge") == 0 || strcmp(type, "network") == 0) {
        *out = type[0] == 'b' ? TO_BRIDGE : TO_NETWORK;
        if (!named)
            return libvirt_refuse_key(build, path, VMCTL_E_INVALID_SPEC, err, "say which %s in source", type);
    } else {
        return libvirt_refuse_key(build, path, VMCTL_E_UNSUPPORTED, err,
                                  "libvirt has no network type \"%s\"; take nat, user, bridge or network", type);
    }
    if (forwards && *out != TO_USER)
        return libvirt_refuse_key(build, forward_path, VMCTL_E_UNSUPPORTED, err,
                                  "a %s network has no port forwards; only nat and user networks do", type);
    return 0;
}

static int write_forwards(libvirt_build *build, xmlNode *nic, const cJSON *item, vmctl_error **err) {
    const char *alias = libvirt_xml_attr_at(nic, "alias", "name");
    const cJSON *rule;
    forwards_drop(build, alias);
    libvirt_xml_drop_children(nic, "portForward");
    cJSON_ArrayForEach(rule, vmc_json_key(item, "forward")) {
        AUTO_FORWARD f = {0};
        VMC_AUTO_FREE char *path = vmc_printf("networks.%s.forward", vmc_json_string(item, "name", ""));
        if (!cJSON_IsString(rule) || !forward_parse(rule->valuestring, &f) || strchr(f.address, ':'))
            return libvirt_refuse_key(build, path, VMCTL_E_INVALID_SPEC, err,
                                      "\"%s\" is no forward that QEMU takes: [tcp:|udp:][IPV4:]LOCAL:GUEST",
                                      cJSON_IsString(rule) ? rule->valuestring : "");
        if (build->test)
            continue; /* it has no QEMU to tell */
        if (build->host && build->host->libvirt_version >= PASST_SINCE) {
            if (!libvirt_xml_child(nic, "backend"))
                libvirt_xml_add(nic, "backend", "type", "passt", NULL);
            xmlNode *port = libvirt_xml_add(nic, "portForward", "proto", f.proto, "address", f.address, NULL);
            libvirt_xml_add(port, "range", "start", f.local, "to", f.guest, NULL);
        } else {
            hostfwd_add(build, alias, &f);
        }
    }
    return 0;
}

static int write_attachment(libvirt_build *build, xmlNode *nic, const cJSON *item, vmctl_error **err) {
    attachment to = TO_NETWORK;
    int code = choose(build, item, &to, err);
    if (code < 0)
        return code;
    const char *source = vmc_json_string(item, "source", DEFAULT_NETWORK);
    libvirt_xml_drop_children(nic, "source");
    libvirt_xml_set(nic, "type", to == TO_USER ? "user" : to == TO_BRIDGE ? "bridge" : "network");
    if (to == TO_NETWORK)
        libvirt_xml_add(nic, "source", "network", source, NULL);
    else if (to == TO_BRIDGE)
        libvirt_xml_add(nic, "source", "bridge", source, NULL);
    return write_forwards(build, nic, item, err);
}

static int write_settings(libvirt_build *build, xmlNode *nic, const cJSON *item, const cJSON *changed,
                          vmctl_error **err) {
    const char *name = vmc_json_string(item, "name", "");
    const char *type = libvirt_xml_attr(nic, "type");
    int64_t vlan = vmc_json_integer(item, "vlan", 0), mtu = vmc_json_integer(item, "mtu", 0);
    VMC_AUTO_FREE char *vlan_path = vmc_printf("networks.%s.vlan", name);
    VMC_AUTO_FREE char *mtu_path = vmc_printf("networks.%s.mtu", name);
#define TOUCHED(key) (!changed || vmc_json_key(changed, key))
    if (vlan && strcmp(type, "user") == 0)
        return libvirt_refuse_key(build, vlan_path, VMCTL_E_UNSUPPORTED, err, "user networking has no VLANs");
    if (TOUCHED("vlan") && vlan && strcmp(type, "bridge") == 0 && !libvirt_xml_child(nic, "virtualport") &&
        build->host && build->host->libvirt_version < PASST_SINCE) {
        libvirt_refuse_key(build, vlan_path, VMCTL_E_UNSUPPORTED, err,
                           "a VLAN tag on a Linux bridge needs libvirt 11.0 or newer");
        return vmc_error_next(err, "take a bridge that is in the VLAN, or a libvirt network of Open vSwitch");
    }
    if (mtu && strcmp(type, "user") == 0)
        return libvirt_refuse_key(build, mtu_path, VMCTL_E_UNSUPPORTED, err, "user networking has no MTU to set");
    if (TOUCHED("mac") && vmc_json_key(item, "mac"))
        libvirt_xml_set(libvirt_xml_ensure(nic, "mac"), "address", vmc_json_string(item, "mac", NULL));
    if (TOUCHED("vlan")) {
        libvirt_xml_drop_children(nic, "vlan");
        if (vlan)
            libvirt_xml_set_number(libvirt_xml_add(libvirt_xml_add(nic, "vlan", NULL), "tag", NULL), "id",
                                   (unsigned long long)vlan);
    }
    if (TOUCHED("model"))
        libvirt_xml_set(libvirt_xml_ensure(nic, "model"), "type", vmc_json_string(item, "model", default_model(build)));
    if (TOUCHED("mtu")) {
        libvirt_xml_drop_children(nic, "mtu");
        if (mtu)
            libvirt_xml_set_number(libvirt_xml_add(nic, "mtu", NULL), "size", (unsigned long long)mtu);
    }
    if (TOUCHED("link")) {
        bool down = strcmp(vmc_json_string(item, "link", "up"), "down") == 0;
        libvirt_xml_drop_children(nic, "link");
        if (down)
            libvirt_xml_add(nic, "link", "state", "down", NULL);
    }
#undef TOUCHED
    return 0;
}

int libvirt_nic_add(libvirt_build *build, const cJSON *item, xmlNode **out, vmctl_error **err) {
    xmlNode *nic = libvirt_xml_add(build->devices, "interface", "type", "user", NULL);
    libvirt_name_write(build, nic, vmc_json_string(item, "name", ""));
    int code = write_attachment(build, nic, item, err);
    if (code == 0)
        code = write_settings(build, nic, item, NULL, err);
    if (code < 0) {
        libvirt_nic_drop(build, nic);
        return code;
    }
    if (out)
        *out = nic;
    return 0;
}

int libvirt_nic_change(libvirt_build *build, xmlNode *nic, const cJSON *item, const cJSON *changed, vmctl_error **err) {
    int code = 0;
    if (vmc_json_key(changed, "model"))
        libvirt_xml_drop_children(nic, "address"); /* a card of another kind may need another slot */
    if (vmc_json_key(changed, "type") || vmc_json_key(changed, "source") || vmc_json_key(changed, "forward")) {
        if (cJSON_GetArraySize(vmc_json_key(item, "forward")) > 0 && !libvirt_xml_child(nic, "alias"))
            libvirt_name_write(build, nic, vmc_json_string(item, "name", "")); /* forwards are by alias */
        code = write_attachment(build, nic, item, err);
    }
    return code < 0 ? code : write_settings(build, nic, item, changed, err);
}

void libvirt_nic_drop(libvirt_build *build, xmlNode *nic) {
    const char *alias = libvirt_xml_attr_at(nic, "alias", "name");
    if (alias)
        forwards_drop(build, alias); /* QEMU refuses a -set for a netdev that is not there */
    libvirt_device_drop(build, nic);
}

static cJSON *read_forwards(const xmlNode *domain, const xmlNode *nic);

bool libvirt_nic_forwards_drop(libvirt_build *build, xmlNode *nic) {
    VMC_AUTO_JSON *forwards = read_forwards(build->domain, nic);
    const char *alias = libvirt_xml_attr_at(nic, "alias", "name");
    if (cJSON_GetArraySize(forwards) == 0)
        return false;
    if (alias)
        forwards_drop(build, alias);
    libvirt_xml_drop_children(nic, "portForward");
    return true;
}

static cJSON *read_forwards(const xmlNode *domain, const xmlNode *nic) {
    cJSON *list = cJSON_CreateArray();
    const char *alias = libvirt_xml_attr_at(nic, "alias", "name");
    LIBVIRT_XML_EACH(port, nic, "portForward") {
        LIBVIRT_XML_EACH(range, port, "range") {
            const char *start = libvirt_xml_attr(range, "start"), *to = libvirt_xml_attr(range, "to");
            if (!start || libvirt_xml_attr(range, "end"))
                continue;
            VMC_AUTO_FREE char *text = forward_text(libvirt_xml_attr(port, "proto"), libvirt_xml_attr(port, "address"),
                                                    start, to ? to : start);
            cJSON_AddItemToArray(list, cJSON_CreateString(text));
        }
    }
    LIBVIRT_XML_EACH(arg, libvirt_xml_child(domain, "commandline"), "arg") {
        const char *rule = NULL;
        VMC_AUTO_FREE char *of = hostfwd_alias(arg, libvirt_xml_next(arg, "arg"), &rule);
        if (!of || !vmc_str_eq(of, alias))
            continue;
        char proto[8] = "", address[64] = "", local[8] = "", guest[8] = "";
        if (sscanf(rule, "%7[^:]:%63[^:]:%7[^-]-:%7s", proto, address, local, guest) == 4) {
            VMC_AUTO_FREE char *text = forward_text(proto, address, local, guest);
            cJSON_AddItemToArray(list, cJSON_CreateString(text));
        }
    }
    return list;
}

cJSON *libvirt_nic_read(const xmlNode *domain, const xmlNode *nic) {
    const char *type = libvirt_xml_attr(nic, "type"), *source = NULL;
    if (vmc_str_eq(type, "network"))
        source = libvirt_xml_attr_at(nic, "source", "network");
    else if (vmc_str_eq(type, "bridge"))
        source = libvirt_xml_attr_at(nic, "source", "bridge");
    VMC_AUTO_FREE char *name = libvirt_name_read(domain, nic);
    if (!name || (!source && !vmc_str_eq(type, "user")))
        return NULL;
    cJSON *item = cJSON_CreateObject();
    cJSON_AddStringToObject(item, "name", name);
    cJSON_AddStringToObject(item, "type", type);
    if (source)
        cJSON_AddStringToObject(item, "source", source);
    const char *model = libvirt_xml_attr_at(nic, "model", "type"), *mac = libvirt_xml_attr_at(nic, "mac", "address");
    if (model)
        cJSON_AddStringToObject(item, "model", model);
    if (mac)
        cJSON_AddStringToObject(item, "mac", mac);
    unsigned long long number;
    const xmlNode *vlan = libvirt_xml_child(nic, "vlan");
    if (libvirt_xml_count(vlan, "tag") == 1 && !libvirt_xml_attr_is(vlan, "trunk", "yes") &&
        libvirt_xml_number(libvirt_xml_attr_at(vlan, "tag", "id"), &number) && number > 0)
        cJSON_AddNumberToObject(item, "vlan", (double)number);
    if (libvirt_xml_number(libvirt_xml_attr_at(nic, "mtu", "size"), &number))
        cJSON_AddNumberToObject(item, "mtu", (double)number);
    cJSON *forwards = read_forwards(domain, nic);
    if (cJSON_GetArraySize(forwards) > 0)
        cJSON_AddItemToObject(item, "forward", forwards);
    else
        cJSON_Delete(forwards);
    cJSON_AddStringToObject(item, "link",
                            vmc_str_eq(libvirt_xml_attr_at(nic, "link", "state"), "down") ? "down" : "up");
    return item;
}
