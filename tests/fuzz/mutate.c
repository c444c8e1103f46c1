/* A fuzz target without libFuzzer, for every run of the tests: mutate SECONDS CORPUS. Each file of the corpus as it is, then pieces of them changed,
 * cut, repeated and joined by chance, from the same seed in every run. tests/long/fuzz searches by coverage, and longer. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST_FILES = 256, MOST_BYTES = 1 << 17 };

static struct {
    uint8_t *bytes;
    size_t length;
} files[MOST_FILES];
static size_t count;

/* xorshift64 (Marsaglia, 2003). */
static uint64_t chance(void) {
    static uint64_t x = 0x9e3779b97f4a7c15u;
    x ^= x << 13;
    x ^= x >> 7;
    return x ^= x << 17;
}

static void load(const char *folder) {
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && count < MOST_FILES && (entry = readdir(dir));) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        FILE *file = *entry->d_name == '.' ? NULL : fopen(path, "re");
        if (!file)
            continue;
        files[count].bytes = malloc(MOST_BYTES);
        files[count].length = files[count].bytes ? fread(files[count].bytes, 1, MOST_BYTES, file) : 0;
        count++;
        fclose(file);
    }
    if (dir)
        closedir(dir);
}

static size_t change(uint8_t *bytes, size_t length) {
    static const char *const pieces[] = {
        "\"", "\\", "\n", "=", "{", "}", "'", "%", "VBoxManage: error: ", "<", ">", "\xff"};
    size_t at = length ? chance() % length : 0, span = chance() % 32;
    const char *piece = pieces[chance() % (sizeof pieces / sizeof pieces[0])];
    const uint8_t *other = files[chance() % count].bytes;
    span = span < length - at ? span : length - at;
    switch (chance() % 5) {
    case 0:
        if (length)
            bytes[at] ^= (uint8_t)(1u << chance() % 8);
        return length;
    case 1:
        memmove(bytes + at, bytes + at + span, length - at - span);
        return length - span;
    case 2:
        if (length + span > MOST_BYTES)
            return length;
        memmove(bytes + at + span, bytes + at, length - at);
        return length + span;
    case 3:
        if (length + strlen(piece) > MOST_BYTES)
            return length;
        memmove(bytes + at + strlen(piece), bytes + at, length - at);
        memcpy(bytes + at, piece, strlen(piece));
        return length + strlen(piece);
    default:
        memcpy(bytes + at, other, span);
        return length;
    }
}

int main(int argc, char **argv) {
    static uint8_t bytes[MOST_BYTES];
    long seconds = argc > 2 ? strtol(argv[1], NULL, 10) : 0;
    unsigned long runs = 0;
    if (argc > 2)
        load(argv[2]);
    if (!count)
        return 2;
    for (size_t i = 0; i < count; i++)
        LLVMFuzzerTestOneInput(files[i].bytes, files[i].length);
    for (time_t until = time(NULL) + seconds; time(NULL) < until; runs++) {
        size_t chosen = chance() % count, length = files[chosen].length, changes = 1 + chance() % 8;
        memcpy(bytes, files[chosen].bytes, length);
        for (size_t i = 0; i < changes; i++)
            length = change(bytes, length);
        LLVMFuzzerTestOneInput(bytes, length);
    }
    printf("%lu inputs\n", runs);
    for (size_t i = 0; i < count; i++)
        free(files[i].bytes);
    return 0;
}
