/* The suite's frame: contract [--list] [GROUP]. VMCTL_CONTRACT_CONNECT is the endpoint (qemu:///system by default),
 * VMCTL_CONTRACT_GUEST the boot sector's image. */
#include "contract.h"
#include "frame.h"
#include "profiles.h"

const contract_profile *profile;
vmctl_connection *conn;
const char *guest_image;
vmctl_error *err;
char failure[4096];

static const contract_group *const groups[] = {
#define GROUP(name) &group_##name,
#include "groups.def"
#undef GROUP
};
#define GROUPS (sizeof groups / sizeof groups[0])

static const contract_group *chosen; /* by its name; NULL: all */

void must(int rc, const char *call, const char *file, int line) {
    if (rc == 0)
        return;
    print_error("%s\n  -> %s\n", call, err ? vmctl_error_text(err) : "(failed without an error object)");
    vmctl_error_free(err);
    err = NULL;
    _fail(file, line);
}

void fails(int code, int rc, const char *call, const char *file, int line) {
    const char *trouble = NULL;
    if (rc == 0)
        trouble = "succeeded";
    else if (!err)
        trouble = "failed without an error object";
    else if (vmctl_error_code(err) != rc)
        trouble = "returned another code than its error object has";
    else if (rc != code)
        trouble = "failed with another code";
    else if (!*vmctl_error_message(err))
        trouble = "failed without a message";
    snprintf(failure, sizeof failure, "%s", err ? vmctl_error_text(err) : "");
    vmctl_error_free(err);
    err = NULL;
    if (trouble) {
        print_error("%s\n  must fail with %s, but %s (%s): %s\n", call, vmctl_code_name(code), trouble,
                    vmctl_code_name(rc), failure);
        _fail(file, line);
    }
}

/* For tests/proofs: on what the tests that follow are shown. Versions without their patch level, which changes with every update. */
static int tell_versions(const vmctl_host *host, void *user) {
    (void)user;
    const char *kind = getenv("VMCTL_CONTRACT_KIND"), *api = host->api_version, *version = host->hypervisor_version;
    printf("PROOF: %s\t%s\t%s %.*s, %s %.*s\n", profile->backend, kind ? kind : "real", profile->backend,
           (int)(api ? strcspn(api, ".") + 1 + strcspn(api + strcspn(api, ".") + 1, ".") : 0), api ? api : "",
           host->hypervisor ? host->hypervisor : "",
           (int)(version ? strcspn(version, ".") + 1 + strcspn(version + strcspn(version, ".") + 1, ".") : 0),
           version ? version : "");
    fflush(stdout);
    return 0;
}

static void connect_endpoint(void) {
    vmctl_connect_options options = VMCTL_CONNECT_OPTIONS_INIT;
    options.uri = getenv("VMCTL_CONTRACT_CONNECT");
    if (!options.uri)
        options.uri = "qemu:///system";
    if (vmctl_connect(&options, &conn, &err) < 0) {
        fprintf(stderr, "contract: %s\n", vmctl_error_text(err));
        exit(1);
    }
    for (size_t i = 0; i < PROFILES; i++)
        if (strcmp(profiles[i].backend, vmctl_connection_backend(conn)) == 0)
            profile = &profiles[i];
    if (!profile) {
        fprintf(stderr, "contract: no profile for %s\n", vmctl_connection_backend(conn));
        exit(1);
    }
}

/* The first VM brings what stays: the default pool, the default network. */
static int warm_up(void **state) {
    (void)state;
    MUST(vmctl_host_info(conn, NULL, tell_versions, NULL, &err));
    char *before = world();
    vmctl_vm *vm = make("contract-warm-up", "%s", "networks: [{name: out, type: nat}]");
    start(vm);
    vmctl_delete_options gone = VMCTL_DELETE_OPTIONS_INIT;
    gone.force = true;
    MUST(vmctl_vm_delete(vm, &gone, &err));
    vmctl_vm_free(vm);
    free(world_after(before));
    free(before);
    if (chosen && chosen->begin)
        chosen->begin();
    return 0;
}

static char *left_equal; /* the world after the last test, where it was the one before it: what the next one finds */

static int cool_down(void **state) {
    (void)state;
    if (chosen && chosen->end)
        chosen->end();
    free(left_equal);
    left_equal = NULL;
    vmctl_connection_free(conn);
    return 0;
}

/* The world before a test, and which one it is. */
typedef struct running {
    char *before;
    const contract_test *test;
} running;

const contract_test *test_of(void **state) {
    return ((running *)*state)->test;
}

static int before_test(void **state) {
    running *now = calloc(1, sizeof *now);
    now->test = *state;
    now->before = left_equal ? left_equal : world();
    left_equal = NULL;
    *state = now;
    return 0;
}

/* The endpoint as it was, but for VMs, which are deleted. */
static int after_test(void **state) {
    running *now = *state;
    int rc = clean_up(now->before);
    if (rc == 0)
        left_equal = now->before;
    else
        free(now->before);
    free(now);
    return rc;
}

enum { TESTS = 1024 }; /* of all groups at once */

/* Decides for every test, once it is known which backend this is. */
static void choose(struct CMUnitTest *tests, const contract_test *const *sources, size_t count) {
    static char titles[TESTS][160];
    for (size_t i = 0; i < count; i++) {
        char word[128];
        if (!lacking(sources[i]->slots, true, word, sizeof word) &&
            !lacking(sources[i]->feature, false, word, sizeof word)) {
            for (const char *const *untried = profile->untried; untried && *untried; untried++)
                if (strcmp(*untried, sources[i]->feature) == 0) {
                    snprintf(titles[i], sizeof titles[0], "untried:%s %s", *untried, sources[i]->name);
                    tests[i].name = titles[i];
                }
            continue;
        }
        /* No proof of the feature: tests/proofs takes those from the titles of tests that passed. */
        snprintf(titles[i], sizeof titles[0], "refused:%s %s", word, sources[i]->name);
        tests[i].name = titles[i];
        tests[i].test_func = is_refused;
    }
}

int main(int argc, char **argv) {
    bool list = argc > 1 && strcmp(argv[1], "--list") == 0;
    const char *group = list ? argv[2] : argv[1];
    static struct CMUnitTest tests[TESTS];
    static const contract_test *sources[TESTS];
    size_t count = 0;
    for (size_t g = 0; g < GROUPS; g++) {
        if (group && strcmp(group, groups[g]->name) != 0)
            continue;
        chosen = group ? groups[g] : NULL;
        for (const contract_group *part = groups[g]; part; part = part->more) {
            for (size_t i = 0; i < part->count; i++) {
                const contract_test *test = &part->tests[i];
                static char titles[TESTS][128];
                snprintf(titles[count], sizeof titles[0], "%s %s", test->feature, test->name);
                if (list)
                    printf("%s\t%s\t%s\t%s\n", groups[g]->name, test->feature, test->slots, test->name);
                tests[count] = (struct CMUnitTest){titles[count], test->run, before_test, after_test, (void *)test};
                sources[count] = test;
                count++;
            }
        }
    }
    if (list)
        return 0;
    guest_image = getenv("VMCTL_CONTRACT_GUEST");
    if (!guest_image || access(guest_image, R_OK) != 0 || count == 0) {
        fprintf(stderr, "contract: %s\n",
                count ? "VMCTL_CONTRACT_GUEST does not name the guest's image" : "no such group");
        return 1;
    }
    connect_endpoint();
    choose(tests, sources, count);
    if (getenv("VMCTL_CONTRACT_ONLY"))
        cmocka_set_test_filter(getenv("VMCTL_CONTRACT_ONLY"));
    int failed = _cmocka_run_group_tests(group ? group : "contract", tests, count, warm_up, cool_down);
    if (failed) { /* what a failing assertion jumped over is freed by nobody: a report of leaks would hide the cause */
        fflush(NULL);
        _exit(failed < 125 ? failed : 125);
    }
    return 0;
}
