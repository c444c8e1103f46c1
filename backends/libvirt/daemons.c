#include "daemons.h"
#include "base/file.h"
#include "base/log.h"
#include "capabilities.h"
#include "drivers/kvm/kvm.h"
#include "drivers/process/process.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#define PACKAGES "libvirt-daemon-system qemu-system-x86"

enum { START_MS = 30000, RETRY_MS = 20, IDLE_LIMIT_S = 30 };

static const char *const sockets[] = {"/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock"};
static const char log_socket[] = "/run/libvirt/virtlogd-sock";

/* 0 or errno. */
static int try_connect(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path) + 1);
    VMC_AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return errno;
    return 0;
}

bool libvirt_daemons_answer(libvirt_silence *why) {
    libvirt_silence silence = LIBVIRT_NOBODY;
    for (size_t i = 0; i < sizeof sockets / sizeof sockets[0]; i++) {
        struct stat st;
        int failure = try_connect(sockets[i]);
        if (failure == 0 || failure == EAGAIN) /* EAGAIN: its queue is full, so it is there */
            return true;
        if (failure == EACCES || failure == EPERM)
            silence = lstat(sockets[i], &st) == 0 ? LIBVIRT_NOT_LET_IN : LIBVIRT_OUT_OF_SIGHT;
    }
    if (why)
        *why = silence;
    return false;
}

bool libvirt_daemons_managed(void) {
    struct stat st;
    return lstat("/run/systemd/system", &st) == 0 && S_ISDIR(st.st_mode);
}

/* --- /dev without kvm ------------------------------------------------------------------------------------------- */

/* One entry of /dev as it is, in the new /dev: folders stay the same folder, so that what comes there later is seen. */
static int copy_entry(int from, int to, const char *staging, const char *name) {
    struct stat st;
    if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -1;
    if (S_ISLNK(st.st_mode)) {
        char target[4096];
        ssize_t length = readlinkat(from, name, target, sizeof target - 1);
        if (length < 0)
            return -1;
        target[length] = '\0';
        return symlinkat(target, to, name);
    }
    VMC_AUTO_FREE char *source = vmc_printf("/dev/%s", name);
    VMC_AUTO_FREE char *copy = vmc_printf("%s/%s", staging, name);
    if (S_ISDIR(st.st_mode)) {
        if (mkdirat(to, name, 0755) < 0)
            return -1;
        return mount(source, copy, NULL, MS_BIND | MS_REC, NULL);
    }
    if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
        if (mknodat(to, name, st.st_mode, st.st_rdev) == 0)
            return fchownat(to, name, st.st_uid, st.st_gid, 0) == 0 ? fchmodat(to, name, st.st_mode & 07777, 0) : -1;
        if (errno != EPERM)
            return -1;
    }
    VMC_AUTO_CLOSE int fd = openat(to, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    return fd < 0 ? -1 : mount(source, copy, NULL, MS_BIND, NULL);
}

/* Everything of /dev but kvm, in the folder `staging`. 0 or an errno. */
static int copy_dev(const char *staging) {
    VMC_AUTO_CLOSE int to = open(staging, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (to < 0)
        return errno;
    DIR *from = opendir("/dev");
    if (!from)
        return errno;
    int failure = 0;
    for (struct dirent *entry; !failure && (entry = readdir(from));) {
        const char *name = entry->d_name;
        if (!strcmp(name, ".") || !strcmp(name, "..") || !strcmp(name, "kvm"))
            continue;
        if (copy_entry(dirfd(from), to, staging, name) < 0) {
            failure = errno;
            vmc_log("libvirt", "/dev/%s cannot be shown to the daemons: %s", name, strerror(failure));
        }
    }
    closedir(from);
    return failure;
}

/* Takes /dev away with all that is mounted below or on top of it. What cannot be is covered. */
static void unmount_dev(void) {
    FILE *table = setmntent("/proc/thread-self/mounts", "re"); /* the process's own table is that of its first thread */
    if (!table)
        return;
    VMC_AUTO_STRV folders = {0};
    for (struct mntent *entry; (entry = getmntent(table));)
        if (!strcmp(entry->mnt_dir, "/dev") || vmc_starts_with(entry->mnt_dir, "/dev/"))
            vmc_strv_add(&folders, entry->mnt_dir);
    endmntent(table);
    for (size_t i = folders.count; i-- > 0;)
        umount2(folders.items[i], MNT_DETACH | UMOUNT_NOFOLLOW);
}

/* Gives the calling thread (and what it starts) mounts of its own, which follow the machine's, with a /dev that lacks kvm. libvirt
 * takes what it mounts for each QEMU from /proc/mounts, so the old /dev is taken away, not covered. 0 or an errno. */
static int hide_kvm(void) {
    static const char staging[] = "/run/vmctl/dev";
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
        return errno;
    if (vmc_mkdirs(staging, 0755, NULL) < 0 || mount("vmctl", staging, "tmpfs", MS_NOSUID, "mode=755,size=1m") < 0)
        return errno;
    int failure = copy_dev(staging);
    if (failure)
        return failure;
    unmount_dev();
    return mount(staging, "/dev", NULL, MS_MOVE, NULL) < 0 ? errno : 0;
}

/* --- starting ----------------------------------------------------------------------------------------------------- */

typedef struct launch {
    const char *libvirtd, *virtlogd;
    const vmc_deadline *deadline;
    bool without_kvm;
    int hide_failure; /* errno */
    int code;
    vmctl_error *err;
} launch;

/* A thread of its own, for mounts belong to a thread and are inherited by what it starts. */
static void *launch_main(void *opaque) {
    launch *l = opaque;
    if (l->without_kvm)
        l->hide_failure = hide_kvm();
    VMC_AUTO_FREE char *limit = vmc_printf("%d", IDLE_LIMIT_S);
    const char *log_argv[] = {l->virtlogd, "-d", "--timeout", limit, NULL};
    const char *argv[] = {l->libvirtd, "-d", "--timeout", limit, NULL};
    process_options options = {.argv = log_argv, .package = PACKAGES, .directory = "/", .doing = "starting virtlogd"};
    if (try_connect(log_socket) != 0)
        l->code = process_run_ok(&options, l->deadline, NULL, &l->err);
    if (l->code < 0)
        return NULL;
    options.argv = argv;
    options.doing = "starting libvirtd";
    l->code = process_run_ok(&options, l->deadline, NULL, &l->err);
    return NULL;
}

static char *running_pid(void) {
    static const char *const files[] = {"/run/libvirtd.pid", "/run/libvirt/libvirtd.pid"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char *text = NULL;
        size_t length = 0;
        if (vmc_file_read(files[i], 64, &text, &length, NULL) == 0)
            return text;
    }
    return NULL;
}

bool libvirt_daemons_ours(void) {
    VMC_AUTO_FREE char *path = vmc_runtime_dir("libvirtd.pid");
    VMC_AUTO_FREE char *running = running_pid();
    VMC_AUTO_FREE char *ours = NULL;
    size_t length = 0;
    return running && vmc_file_read(path, 64, &ours, &length, NULL) == 0 && vmc_str_eq(running, ours);
}

/* Whether QEMU's user can make use of /dev/kvm; true also when that cannot be found out. */
static bool kvm_is_usable(const vmc_deadline *deadline, kvm_result *result) {
    memset(result, 0, sizeof *result);
    if (access("/dev/kvm", F_OK) < 0)
        return true;
    VMC_AUTO_FREE char *user = libvirt_qemu_user();
    return libvirt_kvm_probe(user, deadline, result, NULL) < 0 || result->usable;
}

static int start_locked(const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_FREE char *libvirtd = process_find("libvirtd");
    VMC_AUTO_FREE char *virtlogd = process_find("virtlogd");
    if (!libvirtd || !virtlogd) {
        vmc_error(err, VMCTL_E_UNAVAILABLE, "no libvirt daemon runs on this machine and %s is not installed",
                  libvirtd ? "virtlogd" : "libvirtd");
        return vmc_error_next(err, "apt install " PACKAGES);
    }
    kvm_result kvm;
    launch l = {.libvirtd = libvirtd, .virtlogd = virtlogd, .deadline = deadline};
    l.without_kvm = !kvm_is_usable(deadline, &kvm);
    pthread_t thread;
    if (pthread_create(&thread, NULL, launch_main, &l) != 0)
        return vmc_error(err, VMCTL_E_RESOURCE_EXHAUSTED, "cannot start a thread to start libvirtd");
    pthread_join(thread, NULL);
    if (l.code == VMCTL_E_TIMEOUT || l.code == VMCTL_E_CANCELLED) {
        vmc_error_move(err, &l.err);
        return l.code;
    }
    if (l.code < 0) {
        vmc_error(err, VMCTL_E_UNAVAILABLE, "libvirtd cannot be started: %s", vmctl_error_message(l.err));
        vmc_error_hypervisor(err, NULL, vmctl_error_hypervisor_message(l.err));
        vmctl_error_free(l.err);
        return vmc_error_next(err, "run libvirtd in the foreground to see why");
    }
    while (!libvirt_daemons_answer(NULL)) {
        int code = vmc_deadline_poll(deadline, -1, 0, RETRY_MS, "waiting for libvirtd to answer", err);
        if (code < 0)
            return code;
    }
    VMC_AUTO_FREE char *path = vmc_runtime_dir("libvirtd.pid");
    VMC_AUTO_FREE char *pid = running_pid();
    if (pid)
        vmc_file_write(path, pid, strlen(pid), 0600, NULL);
    vmc_note(deadline, VMCTL_NOTE_INFO, "started libvirtd (ends by itself when idle)");
    if (l.hide_failure)
        vmc_note(deadline, VMCTL_NOTE_WARNING,
                 "%s, and it cannot be kept from libvirtd (%s), so that every change of a VM takes about a minute; %s",
                 kvm.reason, strerror(l.hide_failure), kvm.remedy);
    return 0;
}

int libvirt_daemons_start(const vmc_deadline *outer, vmctl_error **err) {
    vmc_deadline within = vmc_deadline_within(outer, START_MS);
    const vmc_deadline *deadline = &within;
    VMC_AUTO_FREE char *folder = vmc_runtime_dir(NULL);
    VMC_AUTO_FREE char *path = vmc_runtime_dir("libvirtd.lock");
    int code = vmc_mkdirs(folder, 0700, err);
    if (code < 0)
        return code;
    VMC_AUTO_CLOSE int lock = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (lock < 0)
        return vmc_error_errno(err, errno, "cannot open %s", path);
    while (flock(lock, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return vmc_error_errno(err, errno, "cannot lock %s", path);
        code = vmc_deadline_poll(deadline, -1, 0, RETRY_MS, "waiting for another vmctl to start libvirtd", err);
        if (code < 0)
            return code;
    }
    return libvirt_daemons_answer(NULL) ? 0 : start_locked(deadline, err);
}
