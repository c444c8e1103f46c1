/* Texts that are made to hurt: each ends in an error, within a second of CPU time and 64 MiB. Every one is read in a
 * process of its own, so that what one leaves does not count for the next. */
#include "spec_test.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

enum { MEMORY_LIMIT = 64 << 20, TEXT_LIMIT = 20 << 20 };

/* --- what a load costs ----------------------------------------------------------------------------------------- */

#ifdef SANITIZED
/* The sanitizer keeps freed memory in quarantine and pads the rest: there the bytes asked for are counted. */
int __sanitizer_install_malloc_and_free_hooks(void (*malloc_hook)(const volatile void *, size_t),
                                              void (*free_hook)(const volatile void *));
size_t __sanitizer_get_allocated_size(const volatile void *p);

static const double seconds_limit = 5;
static size_t live, peak;

static void on_malloc(const volatile void *p, size_t size) {
    (void)p;
    live += size;
    if (live > peak)
        peak = live;
}

static void on_free(const volatile void *p) {
    size_t size = p ? __sanitizer_get_allocated_size(p) : 0;
    live = live > size ? live - size : 0;
}

static void begin_measure(void) {
    static int installed;
    if (!installed)
        installed = __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
    live = peak = 0;
}

static size_t end_measure(void) {
    return peak;
}
#else
static const double seconds_limit = 1;
static long before_kib;

static long peak_kib(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

static void begin_measure(void) {
    before_kib = peak_kib();
}

static size_t end_measure(void) {
    return (size_t)(peak_kib() - before_kib) * 1024;
}
#endif

static double cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* --- the texts --------------------------------------------------------------------------------------------------- */

static char *text; /* the present one, TEXT_LIMIT bytes */
static size_t length;

static void add(const char *piece) {
    size_t n = strlen(piece);
    assert_true(length + n < TEXT_LIMIT);
    memcpy(text + length, piece, n + 1);
    length += n;
}

static void add_times(const char *piece, size_t times) {
    for (size_t i = 0; i < times; i++)
        add(piece);
}

static void add_numbered(const char *before, const char *after, size_t times) {
    for (size_t i = 0; i < times; i++) {
        char piece[128];
        int n = snprintf(piece, sizeof piece, "%s%zu%s", before, i, after);
        assert_true(n > 0 && (size_t)n < sizeof piece);
        add(piece);
    }
}

#define HEAD "name: a\nmemory: 1GiB\ndisks: []\n"

static void billion_laughs(void) {
    add(HEAD "virtualbox:\n  extraData:\n    a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for (int i = 1; i < 10; i++) {
        char line[256];
        snprintf(line, sizeof line, "    a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i,
                 i, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
        add(line);
    }
}

static void laughs_by_merge_keys(void) {
    add(HEAD "labels:\n  x: y\nvirtualbox:\n  extraData:\n    a0: &a0 {k: v}\n");
    for (int i = 1; i < 40; i++) {
        char line[128];
        snprintf(line, sizeof line, "    a%d: &a%d {<<: [*a%d, *a%d, *a%d]}\n", i, i, i - 1, i - 1, i - 1);
        add(line);
    }
}

static void long_scalars_by_alias(void) {
    add(HEAD "labels:\n  a: &a \"");
    add_times("xxxxxxxxxxxxxxxx", 65000); /* just within the limit of one */
    add("\"\n");
    add_numbered("  k", ": *a\n", 5000);
}

static void chain_of_merges(void) {
    add(HEAD "virtualbox:\n  extraData:\n    a0: &a0 {k: v}\n");
    for (int i = 1; i < 20000; i++) {
        char line[96];
        snprintf(line, sizeof line, "    a%d: &a%d {<<: *a%d}\n", i, i, i - 1);
        add(line);
    }
}

static void deep_brackets(void) {
    add_times("[", 1000000);
}
static void brackets_within_a_line(void) {
    add_times("[", 99000);
}
static void deep_brackets_in_lines(void) {
    add_times("[\n", 1000000);
}
static void deep_braces_in_lines(void) {
    add_times("{a:\n", 1000000);
}
static void deep_braces(void) {
    add_times("{a: ", 400000);
}
static void deep_dashes(void) {
    add_times("- ", 1000000);
}
static void deep_questions(void) {
    add_times("? ", 1000000);
}

static void deep_blocks(void) {
    for (size_t i = 0; i < 2000; i++) {
        add_times(" ", i);
        add("a:\n");
    }
}

static void deep_by_aliases(void) {
    add(HEAD "virtualbox:\n  extraData:\n    a0: &a0 [x]\n");
    for (int i = 1; i < 5000; i++) {
        char line[64];
        snprintf(line, sizeof line, "    a%d: &a%d [*a%d]\n", i, i, i - 1);
        add(line);
    }
}

static void quoted_scalar(void) {
    add(HEAD "description: \"");
    add_times("xxxxxxxxxxxxxxxx", (10 << 20) / 16);
    add("\"\n");
}

static void plain_scalar(void) {
    add(HEAD "description: ");
    add_times("xxxxxxx ", (10 << 20) / 8);
}

static void block_scalar(void) {
    add(HEAD "description: |\n");
    add_times("  xxxxxxxxxxxxx\n", (10 << 20) / 16);
}

static void folded_lines(void) {
    add(HEAD "description: x\n");
    add_times(" y\n", 4000000);
}

static void long_key(void) {
    add_times("xxxxxxxxxxxxxxxx", (10 << 20) / 16);
    add(": 1\n");
}

static void long_anchor(void) {
    add(HEAD "description: &");
    add_times("aaaaaaaaaaaaaaaa", (8 << 20) / 16);
    add(" x\n");
}

static void many_anchors(void) {
    add(HEAD "virtualbox:\n  extraData:\n");
    add_numbered("    - &a", " x\n", 200000);
}

static void many_keys(void) {
    add_numbered("k", ": v\n", 1000000);
}

static void many_labels(void) {
    add(HEAD "labels:\n");
    add_numbered("  k", ": v\n", 1000000);
}

static void the_same_key(void) {
    add_times("name: a\n", 90000);
}

static void many_disks(void) {
    add("name: a\nmemory: 1GiB\ndisks:\n");
    add_times("  - {name: x, size: 1GiB}\n", 30000);
}

static void unnamed_disks(void) {
    add("name: a\nmemory: 1GiB\nbogus: 1\ndisks:\n");
    add_times("  - {size: 1GiB}\n", 45000);
}

static void names_for_unnamed_disks(void) {
    add("name: a\nmemory: 1GiB\nbogus: 1\ndisks:\n");
    add_times("  - {size: 1GiB}\n", 2048);
    add_numbered("  - {size: 1GiB, name: disk", "}\n", 2048);
}

static void unknown_keys(void) {
    add(HEAD "cpus:\n");
    add_numbered("  sockets_and_cores_and_threads_and_models_and_maxima_", ": 1\n", 45000);
}

static void wrong_words(void) {
    add(HEAD "networks:\n");
    add_times("  - {type: natnetworks, model: 1}\n", 4000);
}

static void boot_order_of_nothing(void) {
    add("name: a\nmemory: 1GiB\ndisks:\n");
    add_numbered("  - {size: 1GiB, name: a_disk_with_quite_a_long_name_so_that_it_takes_time_", "}\n", 4000);
    add("boot:\n  order:\n");
    add_numbered("    - a_disc_with_quite_a_long_name_so_that_it_takes_time_", "\n", 4000);
}

static void values_in_one_line(void) {
    add(HEAD "libvirt: {qemuArgs: [");
    add_times("1,", 7500000);
    add("1]}\n");
}

static void pairs_in_one_line(void) {
    add("{");
    add_times("\"a\": 1, ", 1500000);
    add("}");
}

static void values_in_many_lines(void) {
    add(HEAD "libvirt: {qemuArgs: [\n");
    add_times(" 1,\n", 3000000);
    add(" 1]}\n");
}

static void many_documents(void) {
    add_times("--- a\n", 2000000);
}
static void many_faulty_documents(void) {
    add_times("--- [\n", 2000000);
}
static void many_empty_documents(void) {
    add_times("---\n", 4000000);
    add("x");
}

static void many_directives(void) {
    add_numbered("%TAG !e", "! tag:example.com,2000:\n", 100000);
    add("---\n" HEAD);
}

static void many_copies(void) {
    add(HEAD "count: 10000\ndescription: \"");
    add_times("xxxxxxxxxxxxxxxx", 60000);
    add("\"\n");
}

static void only_comments(void) {
    add_times("#x\n", 5000000);
}
static void only_spaces(void) {
    add_times("                ", 1000000);
}
static void only_lines(void) {
    add_times("\n\n\n\n\n\n\n\n", 2000000);
}
static void too_long(void) {
    add_times("# 456789012345\n\n", (17 << 20) / 16);
}
static void nul_bytes(void) {
    add(HEAD "x");
    text[length - 1] = '\0';
}
static void not_utf8(void) {
    add(HEAD "description: \xff\xfe\n");
}
static void overlong_utf8(void) {
    add(HEAD "description: \xc0\xaf\n");
}
static void surrogates(void) {
    add(HEAD "description: \xed\xa0\x80\n");
}
static void truncated_utf8(void) {
    add(HEAD "description: \xf0\x9f\x98");
}
static void utf16(void) {
    memcpy(text, "\xff\xfen\0a\0m\0e\0", length = 10);
}
static void escape_of_nothing(void) {
    add(HEAD "description: \"\\ud800\"\n");
}
static void control_characters(void) {
    add(HEAD "description: a\033[2Jb\n");
}
static void xml_without_end(void) {
    add("<domain><!-- ");
    add_times("<name>", 2000000);
    add("\x01");
}

static const struct {
    const char *name;
    void (*make)(void);
} hostile[] = {
#define ROW(name)                                                                                                      \
    { #name, name }
    ROW(billion_laughs),
    ROW(laughs_by_merge_keys),
    ROW(long_scalars_by_alias),
    ROW(chain_of_merges),
    ROW(deep_brackets),
    ROW(brackets_within_a_line),
    ROW(deep_brackets_in_lines),
    ROW(deep_braces_in_lines),
    ROW(deep_braces),
    ROW(deep_dashes),
    ROW(deep_questions),
    ROW(deep_blocks),
    ROW(deep_by_aliases),
    ROW(quoted_scalar),
    ROW(plain_scalar),
    ROW(block_scalar),
    ROW(folded_lines),
    ROW(long_key),
    ROW(long_anchor),
    ROW(many_anchors),
    ROW(many_keys),
    ROW(many_labels),
    ROW(the_same_key),
    ROW(many_disks),
    ROW(unnamed_disks),
    ROW(names_for_unnamed_disks),
    ROW(unknown_keys),
    ROW(wrong_words),
    ROW(boot_order_of_nothing),
    ROW(values_in_one_line),
    ROW(pairs_in_one_line),
    ROW(values_in_many_lines),
    ROW(many_documents),
    ROW(many_faulty_documents),
    ROW(many_empty_documents),
    ROW(many_directives),
    ROW(many_copies),
    ROW(only_comments),
    ROW(only_spaces),
    ROW(only_lines),
    ROW(too_long),
    ROW(nul_bytes),
    ROW(not_utf8),
    ROW(overlong_utf8),
    ROW(surrogates),
    ROW(truncated_utf8),
    ROW(utf16),
    ROW(escape_of_nothing),
    ROW(control_characters),
    ROW(xml_without_end),
};

/* 0: as it should be. */
static int load_one(size_t index) {
    const char *name = hostile[index].name;
    hostile[index].make();
    vmctl_spec **list = NULL;
    vmctl_error *err = NULL;
    double began = cpu_seconds();
    begin_measure();
    int rc = vmctl_spec_load(text, length, NULL, &list, NULL, &err);
    size_t bytes = end_measure();
    double took = cpu_seconds() - began;
    int wrong = 0;
    if (rc != VMCTL_E_INVALID_SPEC) {
        print_error("%s: %s\n", name, rc ? vmctl_error_text(err) : "no error");
        wrong = 1;
    }
    if (took > seconds_limit) {
        print_error("%s: %.2f s\n", name, took);
        wrong = 1;
    }
    if (bytes > MEMORY_LIMIT) {
        print_error("%s: %zu MiB\n", name, bytes >> 20);
        wrong = 1;
    }
    if (getenv("VERBOSE"))
        print_message("%-24s %6.3f s %4zu MiB  %.100s\n", name, took, bytes >> 20, rc ? vmctl_error_message(err) : "");
    vmctl_error_free(err);
    return wrong;
}

static void each_ends_in_an_error(void **state) {
    (void)state;
    size_t wrong = 0;
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        fflush(NULL);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            alarm(60); /* an endless loop ends the test, not the machine's patience */
            text = malloc(TEXT_LIMIT);
            _exit(!text || load_one(i));
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        if (!WIFEXITED(status) || WEXITSTATUS(status)) {
            if (WIFSIGNALED(status))
                print_error("%s: ended by signal %d\n", hostile[i].name, WTERMSIG(status));
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

/* The limits are no lower than they are said to be. */
static void what_is_large_but_allowed(void **state) {
    (void)state;
    text = malloc(TEXT_LIMIT);
    length = 0;
    add(HEAD "cloudInit:\n  userData:\n    inline: \"");
    add_times("xxxxxxxxxxxxxxxx", (1 << 20) / 16);
    add("\"\nlabels:\n");
    add_numbered("  k", ": v\n", 40000);
    vmctl_spec **list = NULL;
    vmctl_error *err = NULL;
    if (vmctl_spec_load(text, length, NULL, &list, NULL, &err) != 0)
        fail_msg("%s", vmctl_error_text(err));
    assert_int_equal(strlen(vmctl_node_string(vmctl_spec_root(list[0]), "cloudInit.userData.inline", "")), 1 << 20);
    assert_int_equal(vmctl_node_count(vmctl_node_get(vmctl_spec_root(list[0]), "labels")), 40000);
    vmctl_spec_list_free(list);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_ends_in_an_error),
        cmocka_unit_test(what_is_large_but_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
