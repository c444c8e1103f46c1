/* drivers/kvm/kvm.c - the child that tries, the answer in words, and the cache of answers. */
#include "drivers/kvm/kvm.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "drivers/kvm/guest.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { GUEST_MS = 300, CHILD_MS = 2000, MOST_GROUPS = 256, CACHE_LIMIT = 8192 };
#define DEVICE "/dev/kvm"

/* The user to try as. */
typedef struct subject {
    uid_t uid;
    gid_t gid;
    char name[64];
    bool change; /* not the caller */
    gid_t groups[MOST_GROUPS];
    int group_count;
} subject;

static int find_subject(uid_t uid, gid_t gid, subject *s, vmctl_error **err) {
    *s = (subject){.uid = uid, .gid = gid, .change = uid != geteuid() || (uid == 0 && gid != getegid())};
    char buffer[16384];
    struct passwd entry, *found = NULL;
    int rc = getpwuid_r(uid, &entry, buffer, sizeof buffer, &found);
    if (rc == 0 && found)
        snprintf(s->name, sizeof s->name, "%s", found->pw_name);
    else
        snprintf(s->name, sizeof s->name, "uid %u", (unsigned)uid);
    s->group_count = MOST_GROUPS;
    if (!s->change)
        s->group_count = getgroups(MOST_GROUPS, s->groups);
    else if (!found)
        s->groups[s->group_count = 0] = gid;
    else if (getgrouplist(found->pw_name, gid, s->groups, &s->group_count) < 0)
        s->group_count = -1;
    if (s->group_count < 0)
        return vmc_error(err, VMCTL_E_RESOURCE_EXHAUSTED, "%s is in more than %d groups", s->name, MOST_GROUPS);
    return 0;
}

/* In the child of a program with threads: system calls only. */
_Noreturn static void try_as(const subject *s, int report) {
    kvm_outcome out = {0};
    signal(SIGPROF, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    if (s->change &&
        (syscall(SYS_setgroups, (long)s->group_count, s->groups) != 0 ||
         syscall(SYS_setresgid, s->gid, s->gid, s->gid) != 0 || syscall(SYS_setresuid, s->uid, s->uid, s->uid) != 0)) {
        out.user_error = true;
    } else {
        int fd = open(DEVICE, O_RDWR | O_CLOEXEC);
        if (fd < 0)
            out.open_error = errno;
        else
            kvm_guest_try(fd, GUEST_MS, &out);
    }
    ssize_t unused = write(report, &out, sizeof out);
    (void)unused;
    _exit(0);
}

static int start_child(const subject *s, pid_t *pid, int *answer, vmctl_error **err) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return vmc_error_errno(err, errno, "cannot try %s", DEVICE);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    *pid = fork();
    if (*pid == 0)
        try_as(s, ends[1]);
    int saved = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(ends[1]);
    *answer = ends[0];
    if (*pid < 0) {
        close(ends[0]);
        return vmc_error_errno(err, saved, "cannot try %s", DEVICE);
    }
    return 0;
}

/* *sure: the child answered in time. */
static int ask_child(const subject *s, const vmc_deadline *deadline, kvm_outcome *out, bool *sure, vmctl_error **err) {
    pid_t pid = -1;
    VMC_AUTO_CLOSE int answer = -1;
    int rc = start_child(s, &pid, &answer, err);
    if (rc < 0)
        return rc;
    rc = vmc_deadline_poll(deadline, answer, POLLIN, CHILD_MS, "trying " DEVICE, err);
    *sure = rc > 0 && read(answer, out, sizeof *out) == (ssize_t)sizeof *out;
    if (!*sure)
        (void)kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return rc < 0 ? rc : 0;
}

/* "mode 0600, root:root" */
static void describe_mode(const struct stat *st, char *out, size_t size) {
    char user_space[4096], group_space[4096];
    struct passwd user, *u = NULL;
    struct group group, *g = NULL;
    (void)getpwuid_r(st->st_uid, &user, user_space, sizeof user_space, &u);
    (void)getgrgid_r(st->st_gid, &group, group_space, sizeof group_space, &g);
    snprintf(out, size, "mode %04o, %.32s:%.32s", (unsigned)(st->st_mode & 07777), u ? u->pw_name : "?",
             g ? g->gr_name : "?");
}

static void say_open_failed(const subject *s, const struct stat *st, int error, kvm_result *out) {
    char mode[128];
    describe_mode(st, mode, sizeof mode);
    if (error == ENODEV || error == ENXIO) {
        snprintf(out->reason, sizeof out->reason, DEVICE " has no driver behind it");
        snprintf(out->remedy, sizeof out->remedy,
                 "modprobe kvm_intel or kvm_amd, with virtualization on in the firmware");
    } else if (error == EPERM) {
        snprintf(out->reason, sizeof out->reason, DEVICE " is not allowed in this container");
        snprintf(out->remedy, sizeof out->remedy, "give the container the device: --device " DEVICE);
    } else if (error == EACCES) {
        bool kvm_group = st->st_gid != 0 && (st->st_mode & 060) == 060;
        snprintf(out->reason, sizeof out->reason, DEVICE " cannot be opened by %s (%s)", s->name, mode);
        if (kvm_group)
            snprintf(out->remedy, sizeof out->remedy,
                     "add %.64s to the group of " DEVICE
                     " (usermod -aG kvm %.64s) and start anew, or chmod 0666 " DEVICE,
                     s->name, s->name);
        else
            snprintf(out->remedy, sizeof out->remedy, "chmod 0666 " DEVICE ", or give it to a group that %.64s is in",
                     s->name);
    } else {
        snprintf(out->reason, sizeof out->reason, DEVICE " cannot be opened by %s: %s", s->name, strerror(error));
    }
}

static void say(const subject *s, const struct stat *st, const kvm_outcome *o, bool sure, kvm_result *out) {
    out->openable = sure && o->open_error == 0;
    out->usable = sure && o->runs;
    out->host_cpu = out->usable && o->host_cpu;
    if (out->usable)
        return;
    if (!sure) {
        snprintf(out->reason, sizeof out->reason, DEVICE " gave no answer within %d ms", CHILD_MS);
    } else if (o->open_error) {
        say_open_failed(s, st, o->open_error, out);
    } else if (o->setup_error) {
        snprintf(out->reason, sizeof out->reason, "KVM cannot make a 64-bit VM here: %s", strerror(o->setup_error));
        if (o->setup_error == EBUSY)
            snprintf(out->remedy, sizeof out->remedy,
                     "end the other hypervisor that uses the processor's virtualization");
    } else {
        snprintf(out->reason, sizeof out->reason, "KVM does not run 64-bit code here: it stopped at %s",
                 kvm_guest_stage(o->stage));
        snprintf(out->remedy, sizeof out->remedy,
                 "this host's own hypervisor would have to offer nested virtualization");
    }
}

/* What an answer depends on besides the user's id. "": no cache. */
static char *cache_key(const subject *s, const struct stat *st) {
    VMC_AUTO_FREE char *boot = NULL;
    size_t length = 0;
    if (vmc_file_read("/proc/sys/kernel/random/boot_id", 128, &boot, &length, NULL) < 0)
        return vmc_strdup("");
    boot[strcspn(boot, "\n")] = '\0';
    VMC_AUTO_STR key = {0};
    vmc_str_printf(&key, "kvm 1 %s %lx:%lx %o %u:%u %lld.%ld", boot, (unsigned long)st->st_ino,
                   (unsigned long)st->st_rdev, (unsigned)st->st_mode, (unsigned)st->st_uid, (unsigned)st->st_gid,
                   (long long)st->st_ctim.tv_sec, st->st_ctim.tv_nsec);
    for (int i = 0; i < s->group_count; i++)
        vmc_str_printf(&key, "%c%u", i ? ',' : ' ', (unsigned)s->groups[i]);
    return vmc_str_take(&key);
}

static char *cache_file(const subject *s) {
    VMC_AUTO_FREE char *name = vmc_printf("kvm-%u-%u", (unsigned)s->uid, (unsigned)s->gid);
    return vmc_runtime_dir(name);
}

/* A folder that others can write to tells nothing. */
static bool is_own_folder(const char *folder) {
    struct stat st;
    return lstat(folder, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 022);
}

/* The key's line, then "openable usable host_cpu", reason, remedy. */
static bool read_cache(const char *file, const char *key, kvm_result *out) {
    VMC_AUTO_FREE char *folder = vmc_path_dirname(file);
    VMC_AUTO_FREE char *text = NULL;
    size_t length = 0, key_length = strlen(key);
    if (!key_length || !is_own_folder(folder) || vmc_file_read(file, CACHE_LIMIT, &text, &length, NULL) < 0)
        return false;
    if (strncmp(text, key, key_length) != 0 || text[key_length] != '\n')
        return false;
    int openable = 0, usable = 0, host_cpu = 0, at = 0;
    const char *rest = text + key_length + 1;
    if (sscanf(rest, "%d %d %d%n", &openable, &usable, &host_cpu, &at) != 3 || rest[at] != '\n')
        return false;
    const char *reason = rest + at + 1, *end = strchr(reason, '\n');
    const char *remedy = end ? end + 1 : NULL, *remedy_end = remedy ? strchr(remedy, '\n') : NULL;
    if (!remedy_end)
        return false;
    *out = (kvm_result){.present = true, .openable = openable, .usable = usable, .host_cpu = host_cpu, .cached = true};
    snprintf(out->reason, sizeof out->reason, "%.*s", (int)(end - reason), reason);
    snprintf(out->remedy, sizeof out->remedy, "%.*s", (int)(remedy_end - remedy), remedy);
    return true;
}

/* A cache that cannot be written is only slower. */
static void write_cache(const char *file, const char *key, const kvm_result *r) {
    VMC_AUTO_FREE char *folder = vmc_path_dirname(file);
    if (!*key || vmc_mkdirs(folder, 0700, NULL) < 0 || !is_own_folder(folder))
        return;
    VMC_AUTO_FREE char *text =
        vmc_printf("%s\n%d %d %d\n%s\n%s\n", key, r->openable, r->usable, r->host_cpu, r->reason, r->remedy);
    (void)vmc_file_write(file, text, strlen(text), 0600, NULL);
}

/* By the mode alone: 1 yes, 0 no, -1 not to be told (an access list has its say). */
static int mode_allows(const subject *s, const struct stat *st) {
    if (getxattr(DEVICE, "system.posix_acl_access", NULL, 0) > 0)
        return -1;
    if (s->uid == 0)
        return 1;
    bool member = s->gid == st->st_gid;
    for (int i = 0; i < s->group_count; i++)
        member = member || s->groups[i] == st->st_gid;
    mode_t bits = s->uid == st->st_uid ? st->st_mode >> 6 : member ? st->st_mode >> 3 : st->st_mode;
    return (bits & 06) == 06;
}

/* For an ordinary user that asks about another: the file's mode says who may open it, and whether KVM runs 64-bit code
 * is the same for everyone who may. 1: answered; 0: not to be told from here. */
static int answer_for_another(const subject *s, const struct stat *st, const vmc_deadline *deadline, kvm_result *out,
                              vmctl_error **err) {
    int allowed = mode_allows(s, st);
    if (allowed == 0) {
        say(s, st, &(kvm_outcome){.open_error = EACCES}, true, out);
        return 1;
    }
    if (allowed < 0 || access(DEVICE, R_OK | W_OK) != 0)
        return 0;
    int rc = kvm_probe(geteuid(), getegid(), deadline, out, err);
    return rc < 0 ? rc : 1;
}

int kvm_probe(uid_t uid, gid_t gid, const vmc_deadline *deadline, kvm_result *out, vmctl_error **err) {
    *out = (kvm_result){0};
    struct stat st;
    if (stat(DEVICE, &st) != 0) {
        snprintf(out->reason, sizeof out->reason, "there is no " DEVICE);
        snprintf(
            out->remedy, sizeof out->remedy,
            "turn virtualization on in the firmware (or nested virtualization in the hypervisor), then modprobe kvm");
        return 0;
    }
    subject s;
    int rc = find_subject(uid, gid, &s, err);
    if (rc < 0)
        return rc;
    VMC_AUTO_FREE char *key = cache_key(&s, &st), *file = cache_file(&s);
    if (read_cache(file, key, out))
        return 0;
    out->present = true;
    if (s.change && geteuid() != 0) {
        rc = answer_for_another(&s, &st, deadline, out, err);
        return rc != 0 ? (rc < 0 ? rc : 0)
                       : vmc_error(err, VMCTL_E_PERMISSION_DENIED, "only root can try " DEVICE " as %s", s.name);
    }
    kvm_outcome outcome = {0};
    bool sure = false;
    rc = ask_child(&s, deadline, &outcome, &sure, err);
    if (rc < 0)
        return rc;
    if (sure && outcome.user_error)
        return vmc_error(err, VMCTL_E_PERMISSION_DENIED, "cannot become %s to try " DEVICE, s.name);
    say(&s, &st, &outcome, sure, out);
    if (sure)
        write_cache(file, key, out);
    vmc_log("kvm", "as %s: usable %d, host_cpu %d: %s", s.name, out->usable, out->host_cpu, out->reason);
    return 0;
}

int kvm_probe_user(const char *name, const vmc_deadline *deadline, kvm_result *out, vmctl_error **err) {
    char buffer[16384];
    struct passwd entry, *found = NULL;
    *out = (kvm_result){0};
    if (getpwnam_r(name, &entry, buffer, sizeof buffer, &found) != 0 || !found)
        return vmc_error(err, VMCTL_E_NOT_FOUND, "there is no user %s", name);
    return kvm_probe(entry.pw_uid, entry.pw_gid, deadline, out, err);
}
