/* backends/libvirt/host_path.c - whether QEMU's user can reach a file of this machine. */
#include "host_path.h"

#include "base/str.h"
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { GROUPS = 256 };

typedef struct person {
    uid_t uid;
    gid_t groups[GROUPS];
    int count;
} person;

static bool find_person(const char *name, person *who) {
    struct passwd entry;
    struct passwd *found = NULL;
    char buffer[4096];
    if (getpwnam_r(name, &entry, buffer, sizeof buffer, &found) != 0 || !found)
        return false;
    who->uid = found->pw_uid;
    who->count = GROUPS;
    if (getgrouplist(name, found->pw_gid, who->groups, &who->count) < 0) {
        who->groups[0] = found->pw_gid;
        who->count = 1;
    }
    return true;
}

static bool may_search(const person *who, const struct stat *st) {
    if (who->uid == 0)
        return true;
    if (st->st_uid == who->uid)
        return st->st_mode & S_IXUSR;
    for (int i = 0; i < who->count; i++)
        if (st->st_gid == who->groups[i])
            return st->st_mode & S_IXGRP;
    return st->st_mode & S_IXOTH;
}

bool libvirt_path_reachable(const char *user, const char *path, char **folder) {
    person who;
    if (!user || !find_person(user, &who))
        return true;
    VMC_AUTO_FREE char *real = realpath(path, NULL);
    if (!real)
        return true;
    for (char *slash = strchr(real + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        struct stat st;
        bool closed = stat(real, &st) == 0 && !may_search(&who, &st);
        if (closed) {
            *folder = vmc_strdup(real);
            return false;
        }
        *slash = '/';
    }
    return true;
}
