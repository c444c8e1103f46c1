/* tests/unit/test_openssh.c - argument vectors of the ssh client, and the client itself against an sshd of this test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/file.h"
#include "drivers/openssh/openssh.h"
#include <arpa/inet.h>
#include <cmocka.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})

static char folder[64], user[64];
static pid_t sshd;
static int port;
static vmc_deadline far;

static char *in_folder(const char *name) {
    static char paths[8][256];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static int free_port(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    bind(fd, (struct sockaddr *)&a, sizeof a);
    getsockname(fd, (struct sockaddr *)&a, &size);
    close(fd);
    return ntohs(a.sin_port);
}

static void write_text(const char *path, const char *text) {
    assert_int_equal(vmc_file_write(path, text, strlen(text), 0600, NULL), 0);
}

static void make_key(const char *name) {
    char *path = in_folder(name);
    process_options o = {.argv = ARGV("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path)};
    vmctl_error *err = NULL;
    if (process_run_ok(&o, &far, NULL, &err) < 0)
        fail_msg("%s", vmctl_error_text(err));
}

static void start_sshd(void) {
    char config[1024];
    snprintf(config, sizeof config,
             "ListenAddress 127.0.0.1:%d\nHostKey %s/host\nAuthorizedKeysFile %s/user.pub\nPidFile none\nUsePAM no\n"
             "StrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n"
             "Subsystem sftp internal-sftp\n",
             port, folder, folder);
    write_text(in_folder("sshd_config"), config);
    sshd = fork();
    if (sshd == 0) {
        char *log = in_folder("sshd.log"), *file = in_folder("sshd_config");
        execl("/usr/sbin/sshd", "/usr/sbin/sshd", "-D", "-f", file, "-E", log, (char *)NULL);
        _exit(127);
    }
    int ready = 0;
    for (int i = 0; i < 100 && ready == 0; i++) {
        ready = openssh_greets("127.0.0.1", port, 100, &far, NULL);
        usleep(20000);
    }
    assert_int_equal(ready, 1);
}

static void stop_sshd(void) {
    if (sshd > 0) {
        kill(sshd, SIGTERM);
        waitpid(sshd, NULL, 0);
    }
    sshd = 0;
}

static int set_up(void **state) {
    (void)state;
    far = vmc_deadline_start(NULL, 60000);
    strcpy(folder, "/tmp/vmctl-test-ssh-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    struct passwd *me = getpwuid(getuid());
    snprintf(user, sizeof user, "%s", me ? me->pw_name : "root");
    if (geteuid() == 0)
        (void)mkdir("/run/sshd", 0755); /* sshd(8): its privilege separation directory */
    port = free_port();
    make_key("host");
    make_key("user");
    make_key("other");
    start_sshd();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    stop_sshd();
    process_options o = {.argv = ARGV("rm", "-rf", folder)};
    return process_run_ok(&o, &far, NULL, NULL);
}

static openssh_target here(void) {
    static char key[256], known[256];
    snprintf(key, sizeof key, "%s/user", folder);
    snprintf(known, sizeof known, "%s/known hosts \"100%%h\"", folder); /* no easy name */
    return (openssh_target){.host = "127.0.0.1", .port = port, .user = user, .identity = key, .known_hosts = known};
}

static void words_are_quoted_for_the_remote_shell(void **state) {
    (void)state;
    static const struct {
        const char *word, *quoted;
    } cases[] = {{"ls", "ls"},         {"", "''"},       {"a b", "'a b'"},   {"it's", "'it'\\''s'"},
                 {"$HOME", "'$HOME'"}, {"-la", "-la"},   {"a\nb", "'a\nb'"}, {"*", "'*'"},
                 {"~", "'~'"},         {"a;b", "'a;b'"}, {"k=v", "k=v"},     {"\\", "'\\'"},
                 {"/etc/x", "/etc/x"}, {"#", "'#'"},     {"!", "'!'"},       {"\xc3\xa9", "'\xc3\xa9'"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *quoted = openssh_quote(ARGV(cases[i].word));
        assert_string_equal(quoted, cases[i].quoted);
        free(quoted);
    }
    char *line = openssh_quote(ARGV("sh", "-c", "echo $1 'x'", "sh", "a b"));
    assert_string_equal(line, "sh -c 'echo $1 '\\''x'\\''' sh 'a b'");
    free(line);
}

static void has_pair(const vmc_strv *argv, const char *flag, const char *value) {
    for (size_t i = 0; i + 1 < argv->count; i++)
        if (strcmp(argv->items[i], flag) == 0 && strcmp(argv->items[i + 1], value) == 0)
            return;
    fail_msg("no %s %s", flag, value);
}

static void the_vector_says_what_the_target_is(void **state) {
    (void)state;
    openssh_target t = {.host = "fe80::1%eth0", .port = 2222, .user = "ci", .identity = "/k", .known_hosts = "/kh"};
    VMC_AUTO_STRV argv = {0};
    assert_int_equal(openssh_argv(&t, ARGV("uname", "-a"), false, &argv, NULL), 0);
    assert_string_equal(argv.items[0], "ssh");
    has_pair(&argv, "-o", "BatchMode=yes");
    has_pair(&argv, "-o", "ConnectTimeout=10");
    has_pair(&argv, "-o", "Port=2222");
    has_pair(&argv, "-o", "User=ci");
    has_pair(&argv, "-i", "/k");
    has_pair(&argv, "-o", "StrictHostKeyChecking=accept-new");
    has_pair(&argv, "-o", "UserKnownHostsFile=\"/kh\"");
    assert_string_equal(argv.items[argv.count - 3], "--");
    assert_string_equal(argv.items[argv.count - 2], "fe80::1%eth0");
    assert_string_equal(argv.items[argv.count - 1], "uname -a");
    assert_null(argv.items[argv.count]);

    VMC_AUTO_STRV shell = {0};
    openssh_target person = {.host = "lab", .interactive = true};
    assert_int_equal(openssh_argv(&person, NULL, true, &shell, NULL), 0);
    has_pair(&shell, "-o", "BatchMode=no");
    assert_true(vmc_strv_has(&shell, "-t"));
    assert_string_equal(shell.items[shell.count - 1], "lab");
    for (size_t i = 0; i < shell.count; i++)
        assert_null(strstr(shell.items[i], "StrictHostKeyChecking")); /* the person's own policy */

    VMC_AUTO_STRV copy = {0};
    assert_int_equal(openssh_copy_argv(&t, true, "/a/b:c", "/tmp/x y", true, &copy, NULL), 0);
    assert_string_equal(copy.items[0], "scp");
    assert_true(vmc_strv_has(&copy, "-r"));
    assert_string_equal(copy.items[copy.count - 2], "/a/b:c");
    assert_string_equal(copy.items[copy.count - 1], "[fe80::1%eth0]:/tmp/x y");

    VMC_AUTO_STRV forward = {0};
    assert_int_equal(openssh_forward_argv(&t, ARGV("8080:localhost:80"), &forward, NULL), 0);
    has_pair(&forward, "-o", "ExitOnForwardFailure=yes");
    has_pair(&forward, "-L", "8080:localhost:80");
    assert_true(vmc_strv_has(&forward, "-N"));
}

static void targets_that_could_be_options_are_refused(void **state) {
    (void)state;
    static const char *const hosts[] = {"",     "-oProxyCommand=id", "a b",   "a;id", "$(id)",
                                        "a\nb", "user@host",         "a`id`", NULL};
    VMC_AUTO_STRV argv = {0};
    for (size_t i = 0; hosts[i]; i++) {
        openssh_target t = {.host = hosts[i]};
        assert_int_equal(openssh_argv(&t, NULL, false, &argv, NULL), VMCTL_E_INVALID_ARGUMENT);
    }
    static const char *const users[] = {"", "-l", "a b", "$(id)", "a\"b", NULL};
    for (size_t i = 0; users[i]; i++) {
        openssh_target t = {.host = "lab", .user = users[i]};
        assert_int_equal(openssh_check(&t, NULL), VMCTL_E_INVALID_ARGUMENT);
    }
    openssh_target t = {.host = "lab", .port = 65536};
    assert_int_equal(openssh_check(&t, NULL), VMCTL_E_INVALID_ARGUMENT);
    assert_int_equal(argv.count, 0);
}

static void the_remote_program_sees_exactly_the_words(void **state) {
    (void)state;
    openssh_target t = here();
    PROCESS_AUTO_RESULT r = {0};
    vmctl_error *err = NULL;
    int rc = openssh_run(&t, ARGV("printf", "<%s>", "a  b", "", "$HOME", "it's", "*", "\\", "-n", "\n", "~"), NULL,
                         &far, &r, &err);
    if (rc < 0)
        fail_msg("%s", vmctl_error_text(err));
    assert_int_equal(r.status, 0);
    assert_string_equal(r.output, "<a  b><><$HOME><it's><*><\\><-n><\n><~>");
    /* The key was kept in the file of that odd name. */
    assert_int_equal(access(t.known_hosts, F_OK), 0);
    process_result_free(&r);
    assert_int_equal(openssh_run(&t, ARGV("sh", "-c", "cat; echo err >&2; exit 7"),
                                 &(process_options){.input = "in", .input_length = 2}, &far, &r, NULL),
                     0);
    assert_int_equal(r.status, 7);
    assert_string_equal(r.output, "in");
    assert_string_equal(r.error, "err\n");
    process_result_free(&r);
    /* A remote program may exit with 255 as well. */
    assert_int_equal(openssh_run(&t, ARGV("sh", "-c", "exit 255"), NULL, &far, &r, NULL), 0);
    assert_int_equal(r.status, 255);
}

static void a_wrong_key_is_unauthenticated(void **state) {
    (void)state;
    openssh_target t = here();
    t.identity = in_folder("other");
    vmctl_error *err = NULL;
    PROCESS_AUTO_RESULT r = {0};
    assert_int_equal(openssh_run(&t, ARGV("true"), NULL, &far, &r, &err), VMCTL_E_UNAUTHENTICATED);
    assert_non_null(vmctl_error_next(err));
    vmctl_error_free(err);
}

static int ignore_bytes(const char *bytes, size_t length, void *count) {
    (void)bytes;
    *(size_t *)count += length;
    return 0;
}

static void nobody_listening_is_unavailable(void **state) {
    (void)state;
    openssh_target t = here();
    t.port = free_port();
    vmctl_error *err = NULL;
    PROCESS_AUTO_RESULT r = {0};
    assert_int_equal(openssh_run(&t, ARGV("true"), NULL, &far, &r, &err), VMCTL_E_UNAVAILABLE);
    assert_true(vmctl_error_retryable(err));
    assert_non_null(strstr(vmctl_error_message(err), "refused"));
    vmctl_error_free(err);
    /* The same when stderr goes to a callback. */
    size_t heard = 0;
    process_options io = {.error = ignore_bytes, .user = &heard, .lines = true};
    assert_int_equal(openssh_run(&t, ARGV("true"), &io, &far, &r, NULL), VMCTL_E_UNAVAILABLE);
    assert_true(heard > 0);
    assert_int_equal(openssh_greets("127.0.0.1", t.port, 200, &far, NULL), 0);
}

static void a_changed_host_key_is_refused(void **state) {
    (void)state;
    openssh_target t = here();
    PROCESS_AUTO_RESULT r = {0};
    assert_int_equal(openssh_run(&t, ARGV("true"), NULL, &far, &r, NULL), 0);
    process_result_free(&r);
    stop_sshd();
    unlink(in_folder("host"));
    unlink(in_folder("host.pub"));
    make_key("host");
    port = t.port = free_port(); /* another port: the key is the VM's, not the address's */
    start_sshd();
    vmctl_error *err = NULL;
    assert_int_equal(openssh_run(&t, ARGV("true"), NULL, &far, &r, &err), VMCTL_E_PERMISSION_DENIED);
    assert_non_null(strstr(vmctl_error_next(err), t.known_hosts));
    vmctl_error_free(err);
}

static void files_are_copied_both_ways(void **state) {
    (void)state;
    openssh_target t = here();
    write_text(in_folder("a [1]*? {x} 'q'"), "hello");
    write_text(in_folder("a 11 trap"), "wrong");
    vmctl_error *err = NULL;
    char from[256], to[256], back[256];
    snprintf(from, sizeof from, "%s", in_folder("a [1]*? {x} 'q'"));
    snprintf(to, sizeof to, "%s", in_folder("b *[2]:\\"));
    snprintf(back, sizeof back, "%s", in_folder("c"));
    if (openssh_copy(&t, true, from, to, false, &far, &err) < 0)
        fail_msg("%s", vmctl_error_text(err));
    if (openssh_copy(&t, false, back, to, false, &far, &err) < 0)
        fail_msg("%s", vmctl_error_text(err));
    VMC_AUTO_FREE char *text = NULL;
    assert_int_equal(vmc_file_read(back, 100, &text, NULL, NULL), 0);
    assert_string_equal(text, "hello");
    assert_int_equal(openssh_copy(&t, false, back, "/nonexistent", false, &far, &err), VMCTL_E_NOT_FOUND);
    vmctl_error_free(err);
}

static void the_deadline_ends_the_client(void **state) {
    (void)state;
    openssh_target t = here();
    PROCESS_AUTO_RESULT r = {0};
    vmc_deadline d = vmc_deadline_start(NULL, 700);
    int64_t start = vmc_now_ms();
    assert_int_equal(openssh_run(&t, ARGV("sleep", "30"), NULL, &d, &r, NULL), VMCTL_E_TIMEOUT);
    assert_in_range(vmc_now_ms() - start, 600, 15000);
}

int main(void) {
    static const char *const programs[] = {"/usr/sbin/sshd", "/usr/bin/ssh", "/usr/bin/scp", "/usr/bin/ssh-keygen"};
    for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++)
        if (access(programs[i], X_OK) != 0) {
            fprintf(stderr, "skipped: %s is missing (packages openssh-client, openssh-server)\n", programs[i]);
            return 77;
        }
#define REAL(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_quoted_for_the_remote_shell),
        cmocka_unit_test(the_vector_says_what_the_target_is),
        cmocka_unit_test(targets_that_could_be_options_are_refused),
        REAL(the_remote_program_sees_exactly_the_words),
        REAL(a_wrong_key_is_unauthenticated),
        REAL(nobody_listening_is_unavailable),
        REAL(a_changed_host_key_is_refused),
        REAL(files_are_copied_both_ways),
        REAL(the_deadline_ends_the_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
