/* drivers/openssh/argv.c - argument vectors of ssh and scp, and words that survive the remote shell. */
#include "base/file.h"
#include "drivers/openssh/openssh.h"
#include <ctype.h>
#include <string.h>

enum { DEFAULT_CONNECT_S = 10 };

static bool needs_quotes(const char *word) {
    if (!*word)
        return true;
    for (; *word; word++)
        if (!isalnum((unsigned char)*word) && !strchr("@%_-+=:,./", *word))
            return true;
    return false;
}

char *openssh_quote(const char *const *words) {
    VMC_AUTO_STR line = {0};
    for (size_t i = 0; words[i]; i++) {
        if (i > 0)
            vmc_str_add_char(&line, ' ');
        if (!needs_quotes(words[i])) {
            vmc_str_add(&line, words[i]);
            continue;
        }
        vmc_str_add_char(&line, '\'');
        for (const char *c = words[i]; *c; c++)
            if (*c == '\'')
                vmc_str_add(&line, "'\\''");
            else
                vmc_str_add_char(&line, *c);
        vmc_str_add_char(&line, '\'');
    }
    return vmc_str_take(&line);
}

/* A person's ProxyCommand may hand these to a shell, so what a shell would read is refused too. */
static bool is_plain(const char *text, const char *allowed) {
    if (!*text || *text == '-')
        return false;
    for (; *text; text++)
        if (!isalnum((unsigned char)*text) && !strchr(allowed, *text))
            return false;
    return true;
}

int openssh_check(const openssh_target *target, vmctl_error **err) {
    if (!target->host || !is_plain(target->host, ".-_:%"))
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "\"%s\" is no host name or address",
                         target->host ? target->host : "");
    if (target->user && !is_plain(target->user, ".-_+@"))
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "\"%s\" is no user name", target->user);
    if (target->port < 0 || target->port > 65535)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%d is no port", target->port);
    return 0;
}

/* A path as the value of an option that takes a list and expands %: one entry, as it is. */
static void add_path_option(vmc_strv *argv, const char *name, const char *path) {
    VMC_AUTO_STR value = {0};
    vmc_str_printf(&value, "%s=\"", name);
    for (; *path; path++) {
        if (*path == '"' || *path == '\\')
            vmc_str_add_char(&value, '\\');
        if (*path == '%')
            vmc_str_add_char(&value, '%');
        vmc_str_add_char(&value, *path);
    }
    vmc_str_add_char(&value, '"');
    vmc_strv_add(argv, "-o");
    vmc_strv_take(argv, vmc_str_take(&value));
}

static void add_option(vmc_strv *argv, const char *option) {
    vmc_strv_add(argv, "-o");
    vmc_strv_add(argv, option);
}

/* What ssh and scp have in common. */
static void add_common(const openssh_target *target, vmc_strv *argv) {
    add_option(argv, target->interactive ? "BatchMode=no" : "BatchMode=yes");
    vmc_strv_add(argv, "-o");
    vmc_strv_printf(argv, "ConnectTimeout=%d",
                    target->connect_timeout_s > 0 ? target->connect_timeout_s : DEFAULT_CONNECT_S);
    if (!target->interactive) {
        add_option(argv, "ServerAliveInterval=15");
        add_option(argv, "ServerAliveCountMax=4");
    }
    if (target->port > 0) {
        vmc_strv_add(argv, "-o");
        vmc_strv_printf(argv, "Port=%d", target->port);
    }
    if (target->user) {
        vmc_strv_add(argv, "-o");
        vmc_strv_printf(argv, "User=%s", target->user);
    }
    if (target->identity) {
        vmc_strv_add(argv, "-i");
        vmc_strv_add(argv, target->identity);
        add_option(argv, "IdentitiesOnly=yes");
    }
    if (target->known_hosts) {
        add_path_option(argv, "UserKnownHostsFile", target->known_hosts);
        add_option(argv, "GlobalKnownHostsFile=/dev/null");
        add_option(argv, "StrictHostKeyChecking=accept-new");
        /* The file is this VM's own: its key counts, under whatever address it has today. */
        add_option(argv, "HostKeyAlias=vm");
        add_option(argv, "LogLevel=ERROR");
    }
    for (size_t i = 0; target->options && target->options[i]; i++)
        add_option(argv, target->options[i]);
}

int openssh_argv(const openssh_target *target, const char *const *command, bool terminal, vmc_strv *argv,
                 vmctl_error **err) {
    int rc = openssh_check(target, err);
    if (rc < 0)
        return rc;
    vmc_strv_add(argv, "ssh");
    add_common(target, argv);
    vmc_strv_add(argv, terminal ? "-t" : "-T");
    /* After "--" the client reads no options, neither as host nor as command. */
    vmc_strv_add(argv, "--");
    vmc_strv_add(argv, target->host);
    if (command && command[0])
        vmc_strv_take(argv, openssh_quote(command));
    return 0;
}

/* scp looks at the remote path as a pattern; every character stands for itself here. */
static char *remote_path(const openssh_target *target, const char *path, bool pattern) {
    VMC_AUTO_STR out = {0};
    vmc_str_printf(&out, strchr(target->host, ':') ? "[%s]:" : "%s:", target->host);
    for (; *path; path++) {
        if (pattern && strchr("*?[]\\{}", *path))
            vmc_str_add_char(&out, '\\');
        vmc_str_add_char(&out, *path);
    }
    return vmc_str_take(&out);
}

int openssh_copy_argv(const openssh_target *target, bool to_guest, const char *local, const char *guest, bool recursive,
                      vmc_strv *argv, vmctl_error **err) {
    int rc = openssh_check(target, err);
    if (rc < 0)
        return rc;
    /* Absolute: "a:b" would be a host. A slash at the end means a folder and stays. */
    VMC_AUTO_FREE char *absolute = vmc_path_absolute(NULL, local);
    VMC_AUTO_FREE char *here = vmc_printf("%s%s", absolute, vmc_ends_with(local, "/") && absolute[1] ? "/" : "");
    vmc_strv_add(argv, "scp");
    if (!target->interactive)
        vmc_strv_add(argv, "-q");
    if (recursive)
        vmc_strv_add(argv, "-r");
    add_common(target, argv);
    vmc_strv_add(argv, "--");
    if (to_guest)
        vmc_strv_add(argv, here);
    vmc_strv_take(argv, remote_path(target, guest, !to_guest));
    if (!to_guest)
        vmc_strv_add(argv, here);
    return 0;
}

int openssh_forward_argv(const openssh_target *target, const char *const *forwards, vmc_strv *argv, vmctl_error **err) {
    int rc = openssh_check(target, err);
    if (rc < 0)
        return rc;
    vmc_strv_add(argv, "ssh");
    add_common(target, argv);
    add_option(argv, "ExitOnForwardFailure=yes");
    vmc_strv_add(argv, "-N");
    for (; forwards && *forwards; forwards++) {
        vmc_strv_add(argv, "-L");
        vmc_strv_add(argv, *forwards);
    }
    vmc_strv_add(argv, "--");
    vmc_strv_add(argv, target->host);
    return 0;
}
