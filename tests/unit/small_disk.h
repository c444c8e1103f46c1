/* tests/unit/small_disk.h - a filesystem that is soon full, in a mount namespace of the calling process alone. */
#ifndef VMC_TEST_SMALL_DISK_H
#define VMC_TEST_SMALL_DISK_H

#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static bool small_disk_write(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return written;
}

/* An ordinary user gets the mount namespace with a user namespace. It maps the user and the group to themselves: on a tmpfs
 * nobody makes a file whose owner its namespace does not know (EOVERFLOW; user_namespaces(7)). */
static bool small_disk_unshare(void) {
    unsigned uid = geteuid(), gid = getegid();
    if (uid == 0)
        return unshare(CLONE_NEWNS) == 0;
    char users[64], groups[64];
    snprintf(users, sizeof users, "%u %u 1", uid, uid);
    snprintf(groups, sizeof groups, "%u %u 1", gid, gid);
    return unshare(CLONE_NEWNS | CLONE_NEWUSER) == 0 && small_disk_write("/proc/self/setgroups", "deny") &&
           small_disk_write("/proc/self/uid_map", users) && small_disk_write("/proc/self/gid_map", groups);
}

/* Mounts a filesystem of that size ("4m") on the folder, for this process (of one thread) and its children. false: such a namespace
 * is not to be had here. */
static bool small_disk(const char *folder, const char *size) {
    char options[32];
    snprintf(options, sizeof options, "size=%s", size);
    return small_disk_unshare() && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", folder, "tmpfs", 0, options) == 0;
}

#endif
