/* drivers/ova/ova.c - what is in an OVA, held against its manifest. */
#include "ova.h"

#include "base/file.h"
#include "base/module.h"
#include "ova_module.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { DESCRIPTOR_LIMIT = 4 << 20, MANIFEST_LIMIT = 1 << 20, CHUNK = 1 << 20 };

static int module(const ova_module **out, vmctl_error **err) {
#ifdef VMCTL_STATIC_BACKENDS
    (void)err;
    *out = vmctl_ova_module();
#else
    void *address = NULL;
    int code =
        vmc_module_symbol("vmctl-ova", "vmctl_ova_module", "vmctl (with libarchive13 and libssl3)", &address, err);
    if (code < 0)
        return code;
    vmctl_ova_module_fn entry;
    memcpy(&entry, &address, sizeof entry); /* ISO C has no cast from an object's to a function's pointer */
    *out = entry();
#endif
    return 0;
}

void ova_free(ova *package) {
    for (size_t i = 0; i < package->count; i++) {
        free(package->members[i].name);
        free(package->members[i].algorithm);
        free(package->members[i].sum);
    }
    free(package->members);
    free(package->descriptor);
    free(package->path);
    *package = (ova){0};
}

static ova_member *find(const ova *package, const char *name) {
    for (size_t i = 0; i < package->count; i++)
        if (strcmp(package->members[i].name, name) == 0)
            return &package->members[i];
    return NULL;
}

const ova_member *ova_find(const ova *package, const char *name) {
    return find(package, name);
}

/* --- opening ------------------------------------------------------------------------------------------------ */

typedef struct looking {
    const ova_module *module;
    const vmc_deadline *deadline;
    ova *package;
    vmc_strv names;
    char *descriptor_name, *descriptor_sum[3];
    char *manifest, *manifest_name;
} looking;

static const char *const algorithms[] = {"sha1", "sha256", "sha512"};

static bool ends_with(const char *name, const char *ending) {
    size_t length = strlen(name), tail = strlen(ending);
    return length > tail && strcasecmp(name + length - tail, ending) == 0;
}

static int read_whole(const looking *l, const char *name, uint64_t bytes, size_t limit, void *file, char **out,
                      vmctl_error **err) {
    if (bytes > limit)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT,
                         "%s in %s is too large: %llu bytes, where %zu are enough for any", name, l->package->path,
                         (unsigned long long)bytes, limit);
    *out = vmc_alloc((size_t)bytes + 1);
    for (size_t done = 0; done < bytes;) {
        long n = l->module->next(file, *out + done, (size_t)bytes - done, err);
        if (n < 0)
            return (int)n;
        if (n == 0)
            return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s is cut off in %s", l->package->path, name);
        done += (size_t)n;
    }
    return 0;
}

static int look_at(void *user, const char *name, uint64_t bytes, void *file, vmctl_error **err) {
    looking *l = user;
    ova *package = l->package;
    int code = vmc_deadline_check(l->deadline, "reading the OVA", err);
    if (code < 0)
        return code;
    if (vmc_strv_has(&l->names, name))
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s holds two files of the name %s", package->path, name);
    vmc_strv_add(&l->names, name);
    if (ends_with(name, ".ovf")) {
        if (package->descriptor)
            return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s holds two descriptors, %s and %s", package->path,
                             l->descriptor_name, name);
        l->descriptor_name = vmc_strdup(name);
        code = read_whole(l, name, bytes, DESCRIPTOR_LIMIT, file, &package->descriptor, err);
        package->descriptor_length = (size_t)bytes;
        for (size_t i = 0; code == 0 && i < sizeof algorithms / sizeof algorithms[0]; i++) {
            void *sum = l->module->sum_new(algorithms[i]);
            if (!sum)
                continue;
            l->module->sum_add(sum, package->descriptor, package->descriptor_length);
            l->descriptor_sum[i] = l->module->sum_end(sum);
        }
        return code;
    }
    if (ends_with(name, ".mf")) {
        if (l->manifest)
            return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s holds two manifests", package->path);
        l->manifest_name = vmc_strdup(name);
        package->has_manifest = true;
        return read_whole(l, name, bytes, MANIFEST_LIMIT, file, &l->manifest, err);
    }
    if (ends_with(name, ".cert"))
        return 0;
    package->members = vmc_realloc(package->members, package->count + 1, sizeof *package->members);
    package->members[package->count++] = (ova_member){.name = vmc_strdup(name), .bytes = bytes};
    return 0;
}

/* --- the manifest: "SHA256(disk.vmdk)= HEX", a line each ------------------------------------------------------ */

static int bad_line(const looking *l, const char *line, vmctl_error **err) {
    return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "the manifest of %s has the line \"%.80s\", which is no sum",
                     l->package->path, line);
}

static int check_descriptor(const looking *l, const char *algorithm, const char *sum, vmctl_error **err) {
    for (size_t i = 0; i < sizeof algorithms / sizeof algorithms[0]; i++) {
        if (strcmp(algorithm, algorithms[i]) != 0 || !l->descriptor_sum[i] || strcmp(l->descriptor_sum[i], sum) == 0)
            continue;
        vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "the descriptor %s is not what the manifest says it is (%s)",
                  l->descriptor_name, algorithm);
        return vmc_error_next(err, "fetch %s again, or ask whoever made it", l->package->path);
    }
    return 0;
}

static int read_line(looking *l, char *line, vmctl_error **err) {
    char *open = strchr(line, '('), *close = strrchr(line, ')');
    char *equals = close ? close + 1 + strspn(close + 1, " \t") : NULL;
    if (!open || !close || close < open || *equals != '=')
        return bad_line(l, line, err);
    char *sum = equals + 1 + strspn(equals + 1, " \t");
    *open = *close = '\0';
    sum[strcspn(sum, " \t\r")] = '\0';
    VMC_AUTO_STR algorithm = {0};
    for (const char *c = line; *c; c++)
        if (*c != '-' && *c != ' ')
            vmc_str_add_char(&algorithm, (char)tolower((unsigned char)*c));
    for (char *c = sum; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    bool known = false;
    for (size_t i = 0; algorithm.text && i < sizeof algorithms / sizeof algorithms[0]; i++)
        known = known || strcmp(algorithm.text, algorithms[i]) == 0;
    if (!known)
        return vmc_error(err, VMCTL_E_UNSUPPORTED,
                         "the manifest of %s has sums of the kind \"%.40s\"; known are SHA1, SHA256 and SHA512",
                         l->package->path, line);
    const char *name = open + 1;
    if (l->descriptor_name && strcmp(name, l->descriptor_name) == 0)
        return check_descriptor(l, algorithm.text, sum, err);
    ova_member *member = find(l->package, name);
    if (!member) {
        if (vmc_strv_has(&l->names, name)) /* the certificate */
            return 0;
        vmc_error(err, VMCTL_E_INVALID_ARGUMENT,
                  "%s is cut off or incomplete: its manifest names %.200s, which is not in it", l->package->path, name);
        return vmc_error_next(err, "fetch the file again");
    }
    free(member->algorithm);
    free(member->sum);
    member->algorithm = vmc_str_take(&algorithm);
    member->sum = vmc_strdup(sum);
    return 0;
}

static int read_manifest(looking *l, vmctl_error **err) {
    int code = 0;
    char *rest = NULL;
    for (char *line = l->manifest ? strtok_r(l->manifest, "\r\n", &rest) : NULL; code == 0 && line;
         line = strtok_r(NULL, "\r\n", &rest)) {
        if (line[strspn(line, " \t")])
            code = read_line(l, line, err);
    }
    return code;
}

int ova_open(const char *path, const vmc_deadline *deadline, ova *out, vmctl_error **err) {
    *out = (ova){.path = vmc_strdup(path)};
    looking l = {.deadline = deadline, .package = out};
    int code = module(&l.module, err);
    if (code == 0)
        code = l.module->read(path, look_at, &l, err);
    if (code == 0 && !out->descriptor) {
        code = vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s holds no OVF descriptor (a file ending in .ovf)", path);
        vmc_error_next(err, "vmctl image inspect %s says what a disk image is; vmctl create makes a VM of one", path);
    }
    if (code == 0)
        code = read_manifest(&l, err);
    for (size_t i = 0; i < sizeof algorithms / sizeof algorithms[0]; i++)
        free(l.descriptor_sum[i]);
    free(l.descriptor_name);
    free(l.manifest);
    free(l.manifest_name);
    vmc_strv_free(&l.names);
    return code;
}

/* --- unpacking ------------------------------------------------------------------------------------------------ */

typedef struct unpacking {
    const ova_module *module;
    const ova *package;
    const ova_target *targets;
    size_t count;
    const char *vm;
    const vmc_deadline *deadline;
    uint64_t done, total;
    size_t written;
    char *buffer;
} unpacking;

static int save(unpacking *u, const ova_target *target, uint64_t bytes, void *file, void *sum, vmctl_error **err) {
    VMC_AUTO_FREE char *stage = vmc_printf("unpacking %s", target->name);
    VMC_AUTO_CLOSE int fd = open(target->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return vmc_error_errno(err, errno, "cannot make %s", target->path);
    for (uint64_t left = bytes; left > 0;) {
        long n = u->module->next(file, u->buffer, left < CHUNK ? (size_t)left : CHUNK, err);
        if (n < 0)
            return (int)n;
        if (n == 0)
            return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s is cut off in %s", u->package->path, target->name);
        for (long at = 0; at < n;) {
            ssize_t wrote = write(fd, u->buffer + at, (size_t)(n - at));
            if (wrote < 0 && errno != EINTR)
                return vmc_error_errno(err, errno, "cannot write %s", target->path);
            at += wrote > 0 ? wrote : 0;
        }
        if (sum)
            u->module->sum_add(sum, u->buffer, (size_t)n);
        left -= (uint64_t)n;
        u->done += (uint64_t)n;
        int code = vmc_progress(u->deadline, u->vm, stage, NULL, VMCTL_UNIT_BYTES, u->done, u->total, err);
        if (code == 0)
            code = vmc_deadline_check(u->deadline, stage, err);
        if (code < 0)
            return code;
    }
    return 0;
}

static int unpack(void *user, const char *name, uint64_t bytes, void *file, vmctl_error **err) {
    unpacking *u = user;
    const ova_target *target = NULL;
    for (size_t i = 0; !target && i < u->count; i++)
        if (strcmp(u->targets[i].name, name) == 0)
            target = &u->targets[i];
    if (!target)
        return 0;
    const ova_member *member = ova_find(u->package, name);
    void *sum = member && member->sum ? u->module->sum_new(member->algorithm) : NULL;
    int code = save(u, target, bytes, file, sum, err);
    VMC_AUTO_FREE char *is = sum ? u->module->sum_end(sum) : NULL;
    u->written++;
    if (code == 0 && is && strcmp(is, member->sum) != 0) {
        vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s in %s is damaged: its %s is not what the manifest says", name,
                  u->package->path, member->algorithm);
        return vmc_error_next(err, "fetch the file again, or ask whoever made it");
    }
    return code;
}

int ova_extract(const ova *package, const ova_target *targets, size_t count, const char *vm,
                const vmc_deadline *deadline, vmctl_error **err) {
    unpacking u = {.package = package, .targets = targets, .count = count, .vm = vm, .deadline = deadline};
    for (size_t i = 0; i < count; i++) {
        const ova_member *member = ova_find(package, targets[i].name);
        if (!member)
            return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s holds no file %s", package->path, targets[i].name);
        u.total += member->bytes;
    }
    struct statvfs space;
    VMC_AUTO_FREE char *folder = count ? vmc_path_dirname(targets[0].path) : NULL;
    uint64_t room = folder && statvfs(folder, &space) == 0 ? (uint64_t)space.f_bavail * space.f_frsize : UINT64_MAX;
    if (room < u.total) {
        VMC_AUTO_FREE char *has = vmc_format_size((long long)room);
        VMC_AUTO_FREE char *wants = vmc_format_size((long long)u.total);
        return vmc_error(err, VMCTL_E_RESOURCE_EXHAUSTED, "unpacking %s needs %s in %s, where %s are free",
                         package->path, wants, folder, has);
    }
    int code = module(&u.module, err);
    u.buffer = vmc_alloc(CHUNK);
    if (code == 0)
        code = u.module->read(package->path, unpack, &u, err);
    free(u.buffer);
    if (code == 0 && u.written != count)
        code = vmc_error(err, VMCTL_E_CONFLICT, "%s changed while it was read", package->path);
    return code;
}

/* --- packing -------------------------------------------------------------------------------------------------- */

typedef struct packing {
    const ova_module *module;
    void *writer;
    const char *vm;
    const vmc_deadline *deadline;
    uint64_t done, total;
} packing;

static int pack_file(packing *p, const ova_part *part, uint64_t bytes, void *sum, vmctl_error **err) {
    VMC_AUTO_FREE char *stage = vmc_printf("packing %s", part->name);
    VMC_AUTO_FREE char *buffer = vmc_alloc(CHUNK);
    VMC_AUTO_CLOSE int fd = open(part->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return vmc_error_errno(err, errno, "cannot read %s", part->path);
    for (uint64_t left = bytes; left > 0;) {
        ssize_t n = read(fd, buffer, left < CHUNK ? (size_t)left : CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return vmc_error_errno(err, n < 0 ? errno : EIO, "cannot read %s", part->path);
        p->module->sum_add(sum, buffer, (size_t)n);
        int code = p->module->put(p->writer, buffer, (size_t)n, err);
        left -= (uint64_t)n;
        p->done += (uint64_t)n;
        if (code == 0)
            code = vmc_progress(p->deadline, p->vm, stage, NULL, VMCTL_UNIT_BYTES, p->done, p->total, err);
        if (code == 0)
            code = vmc_deadline_check(p->deadline, stage, err);
        if (code < 0)
            return code;
    }
    return 0;
}

static int pack(packing *p, const ova_part *part, vmc_str *manifest, vmctl_error **err) {
    struct stat st = {.st_size = (off_t)part->length};
    if (part->path && stat(part->path, &st) < 0)
        return vmc_error_errno(err, errno, "cannot read %s", part->path);
    void *sum = p->module->sum_new("sha256");
    if (!sum)
        return vmc_error(err, VMCTL_E_INTERNAL, "libcrypto has no SHA-256");
    int code = p->module->begin(p->writer, part->name, (uint64_t)st.st_size, err);
    if (code == 0 && part->path) {
        code = pack_file(p, part, (uint64_t)st.st_size, sum, err);
    } else if (code == 0) {
        p->module->sum_add(sum, part->bytes, part->length);
        code = p->module->put(p->writer, part->bytes, part->length, err);
    }
    VMC_AUTO_FREE char *hex = p->module->sum_end(sum);
    vmc_str_printf(manifest, "SHA256(%s)= %s\n", part->name, hex);
    return code;
}

int ova_write(const char *path, const ova_part *parts, size_t count, const char *vm, const vmc_deadline *deadline,
              vmctl_error **err) {
    packing p = {.vm = vm, .deadline = deadline};
    VMC_AUTO_STR manifest = {0};
    for (size_t i = 0; i < count; i++) {
        struct stat st;
        p.total += parts[i].path && stat(parts[i].path, &st) == 0 ? (uint64_t)st.st_size : 0;
    }
    int code = module(&p.module, err);
    if (code == 0)
        code = p.module->create(path, &p.writer, err);
    for (size_t i = 0; code == 0 && i < count; i++)
        code = pack(&p, &parts[i], &manifest, err);
    if (code == 0) {
        VMC_AUTO_FREE char *stem = vmc_strndup(parts[0].name, strlen(parts[0].name) - strlen(".ovf"));
        VMC_AUTO_FREE char *name = vmc_printf("%s.mf", stem);
        code = p.module->begin(p.writer, name, manifest.length, err);
        if (code == 0)
            code = p.module->put(p.writer, manifest.text, manifest.length, err);
    }
    if (p.writer) {
        int closed = p.module->close(p.writer, code == 0, code == 0 ? err : NULL);
        code = code < 0 ? code : closed;
    }
    return code;
}
