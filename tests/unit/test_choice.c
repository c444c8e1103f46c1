/* Where a command goes: flags, the spec, the environment, the current context, the default (the CLI contract). */
#include "base/file.h"
#include "internal.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Two backends, "one" (alias "uno", schemes one) and "two", that are never opened. */
static const char *const one_aliases[] = {"uno", NULL};
static const char *const one_schemes[] = {"one", "uno", NULL};
static const char *const two_schemes[] = {"two", NULL};
static const vmctl_backend_descriptor one = {
    .size = sizeof one, .name = "one", .aliases = one_aliases, .schemes = one_schemes, .default_uri = "one:///"};
static const vmctl_backend_descriptor two = {
    .size = sizeof two, .name = "two", .schemes = two_schemes, .default_uri = "two:///"};
static const vmc_registry_entry registry[] = {{&one, NULL}, {&two, NULL}, {NULL, NULL}};

static char config_file[] = "/tmp/vmctl-test-choice.XXXXXX";

typedef struct situation {
    const char *uri, *backend, *context; /* flags */
    const char *spec;                    /* a line of vm.yaml */
    const char *env_connect, *env_backend, *env_context;
    const char *current; /* the current context */
    /* expected */
    const char *to;     /* backend; NULL: the first that finds an endpoint */
    const char *at;     /* URI; NULL: the backend's own choice */
    const char *reason; /* words in the reason; NULL: not looked at */
    int code;
} situation;

static const situation matrix[] = {
    /* nothing at all: the default */
    {.to = NULL},
    /* each source alone */
    {.uri = "one:///a", .to = "one", .at = "one:///a", .reason = "--connect"},
    {.uri = "uno+ssh://host/x", .to = "one", .at = "uno+ssh://host/x"},
    {.backend = "two", .to = "two"},
    {.backend = "uno", .to = "one"},
    {.context = "lab", .to = "one", .at = "one:///lab", .reason = "lab"},
    {.spec = "backend: two", .to = "two"},
    {.spec = "context: lab", .to = "one", .at = "one:///lab"},
    {.env_connect = "two:///e", .to = "two", .at = "two:///e", .reason = "VMCTL_CONNECT"},
    {.env_backend = "two", .to = "two"},
    {.env_context = "lab", .to = "one", .at = "one:///lab", .reason = "VMCTL_CONTEXT"},
    {.current = "lab", .to = "one", .at = "one:///lab", .reason = "current context"},
    /* the environment's order */
    {.env_connect = "two:///e", .env_backend = "one", .env_context = "lab", .to = "two", .at = "two:///e"},
    {.env_backend = "two", .env_context = "lab", .to = "two"},
    {.env_context = "far", .current = "lab", .to = "two", .at = "two:///far"},
    {.env_backend = "two", .current = "lab", .to = "two"},
    /* a flag silently beats environment and configuration */
    {.uri = "one:///a", .env_connect = "two:///e", .current = "far", .to = "one", .at = "one:///a"},
    {.backend = "one", .env_connect = "two:///e", .current = "far", .to = "one"},
    {.backend = "one", .env_connect = "one:///e", .to = "one"},
    {.context = "lab", .env_connect = "two:///e", .env_context = "far", .to = "one", .at = "one:///lab"},
    {.uri = "one:///a",
     .env_connect = "rubbish",
     .env_backend = "nosuch",
     .env_context = "none",
     .to = "one",
     .at = "one:///a"},
    /* the spec beats environment and configuration; an endpoint of its backend is taken from there */
    {.spec = "backend: two", .env_connect = "one:///e", .to = "two"},
    {.spec = "backend: one", .env_connect = "one:///e", .to = "one", .at = "one:///e"},
    {.spec = "backend: one", .env_backend = "two", .current = "lab", .to = "one", .at = "one:///lab"},
    {.spec = "backend: two", .current = "lab", .to = "two"},
    {.spec = "context: lab", .env_connect = "two:///e", .to = "one", .at = "one:///lab"},
    /* flags that agree among themselves and with the spec */
    {.uri = "one:///a", .backend = "uno", .to = "one", .at = "one:///a"},
    {.uri = "one:///lab", .context = "lab", .to = "one", .at = "one:///lab"},
    {.backend = "one", .context = "lab", .to = "one", .at = "one:///lab"},
    {.uri = "one:///a", .spec = "backend: one", .to = "one", .at = "one:///a"},
    {.backend = "one", .spec = "context: lab", .to = "one", .at = "one:///lab"},
    {.context = "lab", .spec = "context: lab", .to = "one", .at = "one:///lab"},
    {.context = "lab", .spec = "backend: one", .to = "one", .at = "one:///lab"},
    /* and those that disagree */
    {.uri = "one:///a", .backend = "two", .code = VMCTL_E_INVALID_ARGUMENT},
    {.uri = "one:///a", .context = "lab", .code = VMCTL_E_INVALID_ARGUMENT},
    {.backend = "two", .context = "lab", .code = VMCTL_E_INVALID_ARGUMENT},
    {.uri = "one:///a", .spec = "backend: two", .code = VMCTL_E_INVALID_ARGUMENT},
    {.uri = "one:///a", .spec = "context: lab", .code = VMCTL_E_INVALID_ARGUMENT},
    {.backend = "one", .spec = "backend: two", .code = VMCTL_E_INVALID_ARGUMENT},
    {.backend = "two", .spec = "context: lab", .code = VMCTL_E_INVALID_ARGUMENT},
    {.context = "lab", .spec = "backend: two", .code = VMCTL_E_INVALID_ARGUMENT},
    {.context = "lab", .spec = "context: far", .code = VMCTL_E_INVALID_ARGUMENT},
    /* what does not exist */
    {.backend = "tow", .code = VMCTL_E_INVALID_ARGUMENT},
    {.context = "none", .code = VMCTL_E_NOT_FOUND},
    {.env_context = "none", .code = VMCTL_E_NOT_FOUND},
    {.env_connect = "rubbish", .code = VMCTL_E_INVALID_ARGUMENT},
    {.spec = "context: none", .code = VMCTL_E_NOT_FOUND},
    {.uri = "three:///x", .code = VMCTL_E_INVALID_ARGUMENT},
    {.uri = "one", .code = VMCTL_E_INVALID_ARGUMENT},
    {.uri = "/a/path:x", .code = VMCTL_E_INVALID_ARGUMENT},
    /* libvirt's drivers for other hypervisors */
    {.uri = "vbox:///session", .code = VMCTL_E_INVALID_ARGUMENT},
    {.uri = "esx://root@host/", .code = VMCTL_E_INVALID_ARGUMENT},
};

static void set(const char *name, const char *value) {
    if (value)
        setenv(name, value, 1);
    else
        unsetenv(name);
}

static vmctl_spec *spec_of(const char *text) {
    if (!text)
        return NULL;
    vmctl_spec_load_options options = VMCTL_SPEC_LOAD_OPTIONS_INIT;
    options.incomplete = true;
    vmctl_spec **list;
    size_t count;
    vmctl_error *err = NULL;
    if (vmctl_spec_load(text, strlen(text), &options, &list, &count, &err) < 0)
        fail_msg("%s", vmctl_error_text(err));
    vmctl_spec *spec = vmctl_spec_copy(list[0]);
    vmctl_spec_list_free(list);
    return spec;
}

static void check(size_t i) {
    const situation *s = &matrix[i];
    VMC_AUTO_STR config = {0};
    if (s->current)
        vmc_str_printf(&config, "current: %s\n", s->current);
    vmc_str_add(&config, "contexts:\n"
                         "  - {name: lab, connect: \"one:///lab\"}\n"
                         "  - {name: far, connect: \"two:///far\"}\n");
    assert_int_equal(vmc_file_write(config_file, config.text, config.length, 0600, NULL), 0);
    set("VMCTL_CONNECT", s->env_connect);
    set("VMCTL_BACKEND", s->env_backend);
    set("VMCTL_CONTEXT", s->env_context);
    vmctl_spec *spec = spec_of(s->spec);
    vmctl_connect_options options = VMCTL_CONNECT_OPTIONS_INIT;
    options.uri = s->uri;
    options.backend = s->backend;
    options.context = s->context;
    options.spec = spec;
    options.config_file = config_file;
    vmc_choice choice;
    vmctl_error *err = NULL;
    int rc = vmc_choose(&options, &choice, &err);
    if (rc != s->code)
        fail_msg("row %zu: %d, not %d: %s", i, rc, s->code, vmctl_error_text(err));
    if (rc == 0) {
        const char *to = choice.entry ? choice.entry->descriptor->name : NULL;
        if (!vmc_str_eq(to, s->to) || !vmc_str_eq(choice.uri, s->at))
            fail_msg("row %zu: %s %s, not %s %s", i, to ? to : "any", choice.uri ? choice.uri : "-",
                     s->to ? s->to : "any", s->at ? s->at : "-");
        if (s->reason && !strstr(choice.reason, s->reason))
            fail_msg("row %zu: \"%s\" does not say %s", i, choice.reason, s->reason);
        vmc_choice_free(&choice);
    }
    vmctl_error_free(err);
    vmctl_spec_free(spec);
}

static void the_matrix(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof matrix / sizeof matrix[0]; i++)
        check(i);
}

static void check_words(const char *uri, const char *words) {
    vmctl_connect_options options = VMCTL_CONNECT_OPTIONS_INIT;
    options.uri = uri;
    vmc_choice choice;
    vmctl_error *err = NULL;
    assert_int_equal(vmc_choose(&options, &choice, &err), VMCTL_E_INVALID_ARGUMENT);
    if (!strstr(vmctl_error_text(err), words))
        fail_msg("\"%s\" is not in: %s", words, vmctl_error_text(err));
    vmctl_error_free(err);
}

static void refusals_name_ours(void **state) {
    (void)state;
    check_words("vbox:///session", "virtualbox:///");
    check_words("esx://root@host/", "vsphere://");
    check_words("vpx://host/dc", "vsphere://");
    check_words("xen:///system", "Xen");
    check_words("three:///x", "one://, uno://, two://");
}

static void a_near_backend_is_named(void **state) {
    (void)state;
    vmctl_connect_options options = VMCTL_CONNECT_OPTIONS_INIT;
    options.backend = "tow";
    vmc_choice choice;
    vmctl_error *err = NULL;
    assert_int_equal(vmc_choose(&options, &choice, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_non_null(strstr(vmctl_error_message(err), "\"two\""));
    vmctl_error_free(err);
}

static int make(void **state) {
    (void)state;
    int fd = mkstemp(config_file);
    if (fd < 0)
        return -1;
    close(fd);
    vmc_backends_replace(registry);
    return 0;
}

static int clean(void **state) {
    (void)state;
    vmc_backends_replace(NULL);
    return unlink(config_file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_matrix),
        cmocka_unit_test(refusals_name_ours),
        cmocka_unit_test(a_near_backend_is_named),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
