/* The one table of verbs, the groups, and the options that every verb takes. */
#include "verbs.h"

#include <string.h>

#define CLI_VERB(name) extern const cli_verb cli_verb_##name;
#include "verbs.def"
#undef CLI_VERB

const cli_verb *const cli_verbs[] = {
#define CLI_VERB(name) &cli_verb_##name,
#include "verbs.def"
#undef CLI_VERB
    NULL};

const char *const cli_verb_groups[][2] = {{"life", "Making and running VMs"},
                                          {"look", "Looking at VMs"},
                                          {"guest", "Inside the guest"},
                                          {"snapshot", "Snapshots"},
                                          {"device", "Devices"},
                                          {"migrate", "Moving"},
                                          {"storage", "Images, pools and networks"},
                                          {"knowledge", "What is possible"},
                                          {"setup", "Set-up"},
                                          {NULL, NULL}};

/* Sorted by name. */
const cli_option cli_global_options[] = {
    {"backend", 0, CLI_TEXT, "NAME", "go to this hypervisor: libvirt, virtualbox, vsphere, kubevirt, or an alias", NULL,
     CLI_HINT_BACKEND},
    {"color", 0, CLI_CHOICE, "WHEN", "colour in tables: auto (on a terminal, unless NO_COLOR is set), always, never",
     "auto always never"},
    {"config", 0, CLI_TEXT, "FILE", "another configuration file than $XDG_CONFIG_HOME/vmctl/config.yaml", NULL,
     CLI_HINT_FILE},
    {"connect", 0, CLI_TEXT, "URI", "go to this endpoint, such as qemu:///system"},
    {"context", 0, CLI_TEXT, "NAME", "go to the endpoint of this context", NULL, CLI_HINT_CONTEXT},
    {"folder", 0, CLI_TEXT, "NAME", "the folder, on hypervisors that have them"},
    {"help", 'h', CLI_FLAG, NULL, "what the verb does and which options it takes"},
    {"namespace", 'n', CLI_TEXT, "NAME", "the namespace, on hypervisors that have them"},
    {"no-wait", 0, CLI_FLAG, NULL, "return as soon as the hypervisor has taken the request, where a verb would wait"},
    {"output", 'o', CLI_CHOICE, "FORMAT", "the result as table, wide, json, jsonl, yaml or name",
     "table wide json jsonl yaml name spec native markdown csv"},
    {"progress", 0, CLI_CHOICE, "HOW", "progress on stderr: auto (bars on a terminal), bar, plain, json, none",
     "auto bar plain json none"},
    {"quiet", 'q', CLI_FLAG, NULL, "no notes, no progress, no lines that only confirm"},
    {"timeout", 0, CLI_DURATION, "DUR", "give up after this long: 90s, 5m, 2h"},
    {"verbose", 'v', CLI_FLAG, NULL, "tell on stderr what is done (twice: everything)"},
    {"version", 0, CLI_FLAG, NULL, "the version of vmctl"},
    {NULL}};

const cli_verb *cli_verb_find(const cli_verb *const *verbs, const char *name) {
    for (; *verbs; verbs++)
        if (!strcmp((*verbs)->name, name))
            return *verbs;
    return NULL;
}

const char *cli_verb_nearest(const cli_verb *const *verbs, const char *name) {
    const char *names[128];
    size_t n = 0;

    for (; *verbs && n + 1 < sizeof names / sizeof *names; verbs++)
        if (!(*verbs)->hidden)
            names[n++] = (*verbs)->name;
    names[n] = NULL;
    return vmctl_nearest(name, names);
}
