/* VBoxManage as the tests call it: runs the VBoxManage that tests/virtualbox/install has put into the folder "root" beside this program, with that
 * folder as the root of its file system. What it needs of this machine is mounted there, in a mount namespace of its own: /proc, /sys, /dev, $TMPDIR
 * as /tmp, and the folders of $VIRTUALBOX_FOLDERS (colons between) at the same paths as everyone else sees them.
 *
 * A program and not a script: a run of all tests calls VBoxManage some thousand times, and the dozen processes of a script took longer than
 * VBoxManage itself. */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[PATH_MAX];

static void die(const char *what, const char *which) {
    (void)fprintf(stderr, "VBoxManage of the tests: cannot %s %s: %s\n", what, which, strerror(errno));
    exit(126);
}

/* The root's own folder of that path, made where it is missing. */
static const char *in_root(const char *path) {
    static char full[2 * PATH_MAX];
    (void)snprintf(full, sizeof full, "%s%s", root, path);
    for (char *end = full + strlen(root) + 1;; end++) {
        char next = *end;
        if (next && next != '/')
            continue;
        *end = '\0';
        if (mkdir(full, 0755) != 0 && errno != EEXIST)
            die("make", full);
        *end = next;
        if (!next)
            return full;
    }
}

static void see(const char *source, const char *type, unsigned long flags, const char *path) {
    if (mount(source, in_root(path), type, flags, NULL) != 0)
        die("mount", path);
}

static void add_variable(char **environment, const char *name) {
    const char *value = getenv(name);
    char *entry = NULL;
    if (!value || !*value)
        return;
    if (asprintf(&entry, "%s=%s", name, value) < 0)
        die("keep", name);
    while (*environment)
        environment++;
    *environment = entry;
}

int main(int argc, char **argv) {
    (void)argc;
    char here[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", here, sizeof here - 1);
    if (length < 0)
        die("find", "itself");
    here[length] = '\0';
    *strrchr(here, '/') = '\0';
    if ((size_t)snprintf(root, sizeof root, "%s/root", here) >= sizeof root)
        die("find", here);

    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        die("have", "a mount namespace of its own");
    see("proc", "proc", 0, "/proc");
    see("sysfs", "sysfs", 0, "/sys");
    see("/dev", NULL, MS_BIND | MS_REC, "/dev");
    see(getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", NULL, MS_BIND, "/tmp");
    const char *list = getenv("VIRTUALBOX_FOLDERS");
    char *folders = strdup(list ? list : "");
    for (char *rest = folders, *folder; (folder = strsep(&rest, ":"));)
        if (*folder)
            see(folder, NULL, MS_BIND, folder);

    /* The locale of its caller: in C, VirtualBox takes no letters but ASCII. */
    static char home[] = "HOME=/root", user[] = "USER=root", path[] = "PATH=/usr/bin";
    char *environment[8] = {home, user, path};
    static const char *const kept[] = {"LANG", "LC_ALL", "VBOX_USER_HOME", "VBOX_IPC_SOCKETID"};
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
        add_variable(environment, kept[i]);

    char working[PATH_MAX];
    bool known = getcwd(working, sizeof working) != NULL;
    if (chroot(root) != 0)
        die("enter", root);
    if (!known || chdir(working) != 0)
        if (chdir("/") != 0)
            die("enter", "/");
    static char program[] = "/usr/lib/virtualbox/VBoxManage";
    argv[0] = program;
    execve(program, argv, environment);
    die("run", program);
    return 126;
}
