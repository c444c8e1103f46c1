/* leftovers.c - the endpoint before and after a test: what is left behind, and what is lost. */
#include "contract.h"
#include "frame.h"

#include <dirent.h>
#include <sys/stat.h>

typedef struct lines {
    char **items;
    size_t count;
} lines;

static void add_line(lines *to, const char *kind, const char *name) {
    char **grown = realloc(to->items, (to->count + 1) * sizeof *grown);
    char *item = malloc(strlen(kind) + strlen(name) + 2);
    assert_non_null(grown);
    assert_non_null(item);
    to->items = grown;
    sprintf(item, "%s %s", kind, name);
    to->items[to->count++] = item;
}

static int add_vm(const vmctl_vm_info *info, void *user) {
    add_line(user, "VM", info->name);
    return 0;
}

static int add_image(const vmctl_image *image, void *user) {
    add_line(user, "image", image->path ? image->path : image->name);
    return 0;
}

static void add_files(lines *to, const char *folder, int depth) {
    DIR *dir = opendir(folder);
    if (!dir || depth > 8)
        return;
    for (struct dirent *entry; (entry = readdir(dir));) {
        char path[1024];
        struct stat info;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (lstat(path, &info) < 0)
            continue;
        if (S_ISDIR(info.st_mode))
            add_files(to, path, depth + 1);
        else if (S_ISREG(info.st_mode) || S_ISLNK(info.st_mode))
            add_line(to, "file", path);
    }
    closedir(dir);
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char *world(void) {
    lines all = {NULL, 0};
    MUST(vmctl_list(conn, NULL, add_vm, &all, &err));
    if (vmctl_image_list(conn, NULL, NULL, add_image, &all, &err) == VMCTL_E_UNSUPPORTED) {
        vmctl_error_free(err); /* an endpoint that keeps no images */
        err = NULL;
    }
    assert_null(err);
    for (const char *const *folder = profile->folders; *folder; folder++) {
        char path[512]; /* $WORLD is where the machine of the tests keeps its own */
        bool inside = strncmp(*folder, "$WORLD", 6) == 0 && getenv("WORLD");
        snprintf(path, sizeof path, "%s%s", inside ? getenv("WORLD") : "", *folder + (inside ? 6 : 0));
        add_files(&all, path, 0);
    }
    char journal[512];
    snprintf(journal, sizeof journal, "%s/.local/state/vmctl", getenv("HOME") ? getenv("HOME") : "/root");
    add_files(&all, journal, 0);
    if (all.count)
        qsort(all.items, all.count, sizeof *all.items, by_text);
    growing result = {NULL, 0};
    append("", 0, &result);
    for (size_t i = 0; i < all.count; i++) {
        append(all.items[i], strlen(all.items[i]), &result);
        append("\n", 1, &result);
        free(all.items[i]);
    }
    free(all.items);
    return result.bytes;
}

char *world_after(const char *before) {
    int64_t until = now_ms() + (profile->collects_later ? PATIENCE_MS : 0);
    char *after = world();
    while (strcmp(before, after) != 0 && now_ms() < until) {
        free(after);
        sleep_ms(50);
        after = world();
    }
    return after;
}

/* Prints the lines of one text that the other does not have. */
static int print_missing(const char *what, const char *from, const char *in) {
    int count = 0;
    for (const char *at = from; *at;) {
        size_t length = strcspn(at, "\n") + 1;
        char *item = strndup(at, length);
        if (!strstr(in, item)) {
            print_error("%s: %s", what, item);
            count++;
        }
        free(item);
        at += length;
    }
    return count;
}

typedef struct names {
    char names[64][128];
    size_t count;
} names;

static int take_name(const vmctl_vm_info *info, void *user) {
    names *to = user;
    if (to->count < 64) {
        COPY(to->names[to->count], info->name);
        to->count++;
    }
    return 0;
}

/* Deletes what was not there before; how many VMs are left because others stand on their disks. */
static size_t delete_vms(const char *before) {
    static names all;
    size_t left = 0;
    all.count = 0;
    MUST(vmctl_list(conn, NULL, take_name, &all, &err));
    for (size_t i = 0; i < all.count; i++) {
        char line[160];
        snprintf(line, sizeof line, "VM %s\n", all.names[i]);
        if (strstr(before, line))
            continue;
        vmctl_vm *vm = NULL;
        vmctl_delete_options options = VMCTL_DELETE_OPTIONS_INIT;
        options.force = true;
        MUST(vmctl_vm_lookup(conn, all.names[i], NULL, &vm, &err));
        int rc = vmctl_vm_delete(vm, &options, &err);
        vmctl_vm_free(vm);
        if (rc == VMCTL_E_DATA_LOSS_PREVENTED) {
            vmctl_error_free(err);
            err = NULL;
            left++;
            continue;
        }
        MUST(rc);
    }
    return left;
}

int clean_up(const char *before) {
    size_t left = delete_vms(before);
    for (size_t again = left; again && (again = delete_vms(before)) < left; left = again)
        ; /* linked clones first, then what they stood on */
    char *after = world_after(before);
    int differences = print_missing("left behind", after, before) + print_missing("lost", before, after);
    free(after);
    return differences ? -1 : 0;
}
