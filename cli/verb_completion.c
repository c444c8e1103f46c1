/* vmctl completion, and the hidden verb behind the scripts: they hand it the words of the line, and it tells what can stand in
 * the place of the last one, from the same table of verbs as everything else. */
#include "output.h"
#include "tree.h"
#include "verbs.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char bash_script[] =
    "# vmctl completion for bash\n"
    "_vmctl() {\n"
    "    local line cur=${COMP_WORDS[COMP_CWORD]} IFS=$'\\n'\n"
    "    COMPREPLY=()\n"
    "    for line in $(vmctl __complete -- \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null); do\n"
    "        if [ \"$line\" = :files ]; then\n"
    "            compopt -o filenames 2>/dev/null\n"
    "            COMPREPLY+=($(compgen -f -- \"$cur\"))\n"
    "        else\n"
    "            COMPREPLY+=(\"${line%%$'\\t'*}\")\n"
    "        fi\n"
    "    done\n"
    "}\n"
    "complete -F _vmctl vmctl\n";

static const char zsh_script[] =
    "#compdef vmctl\n"
    "# vmctl completion for zsh\n"
    "_vmctl() {\n"
    "    local line tab=$'\\t'\n"
    "    local -a found\n"
    "    for line in ${(f)\"$(vmctl __complete -- \"${(@)words[2,CURRENT]}\" 2>/dev/null)\"}; do\n"
    "        if [[ $line == :files ]]; then\n"
    "            _files\n"
    "        elif [[ -n $line ]]; then\n"
    "            found+=(\"${${line%%$tab*}//:/\\\\:}:${line#*$tab}\")\n"
    "        fi\n"
    "    done\n"
    "    (( $#found )) && _describe vmctl found\n"
    "}\n"
    "if [ \"$funcstack[1]\" = _vmctl ]; then\n"
    "    _vmctl \"$@\"\n"
    "else\n"
    "    compdef _vmctl vmctl\n"
    "fi\n";

static const char fish_script[] = "# vmctl completion for fish\n"
                                  "function __vmctl_complete\n"
                                  "    set -l words (commandline -opc) (commandline -ct)\n"
                                  "    for line in (vmctl __complete -- $words[2..-1] 2>/dev/null)\n"
                                  "        if test \"$line\" = :files\n"
                                  "            __fish_complete_path (commandline -ct)\n"
                                  "        else\n"
                                  "            echo $line\n"
                                  "        end\n"
                                  "    end\n"
                                  "end\n"
                                  "complete -c vmctl -f -a '(__vmctl_complete)'\n";

static int completion(cli *c) {
    const char *shell = c->args.operands[0];
    const char *script = !strcmp(shell, "bash")   ? bash_script
                         : !strcmp(shell, "zsh")  ? zsh_script
                         : !strcmp(shell, "fish") ? fish_script
                                                  : NULL;
    if (!script)
        return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, NULL, "\"%s\" is none of: bash zsh fish", shell);
    fputs(script, stdout);
    return 0;
}

const cli_verb cli_verb_completion = {
    .name = "completion",
    .group = "setup",
    .operands = "SHELL",
    .summary = "the completion script for bash, zsh or fish",
    .help = "  source <(vmctl completion bash)\n"
            "  vmctl completion zsh > ~/.zfunc/_vmctl\n"
            "  vmctl completion fish > ~/.config/fish/completions/vmctl.fish",
    .min = 1,
    .max = 1,
    .hint = CLI_HINT_SHELL,
    .run = completion,
};

/* --- candidates --------------------------------------------------------------------------------------------------- */

/* An endpoint that does not answer at once must not hold up a person's prompt. */
enum { ENDPOINT_MS = 2000 };

typedef struct offer {
    cli *c;
    const char *start; /* what the word begins with */
    const cli_verb *parent, *verb;
    cli_args args; /* what stands before the word */
    size_t operands;
    const char *first; /* of the operands; NULL */
} offer;

static void candidate(const offer *o, const char *word, const char *help) {
    if (!strncmp(word, o->start, strlen(o->start)))
        printf("%s\t%s\n", word, help ? help : "");
}

static int candidate_word(const char *word, size_t length, void *user) {
    CLI_AUTO_FREE char *copy = cli_strndup(word, length);
    candidate(user, copy, NULL);
    return 0;
}

static int candidate_vm(const vmctl_vm_info *info, void *user) {
    candidate(user, info->name, vmctl_state_name(info->state));
    return 0;
}

static int candidate_device(const vmctl_vm_info *info, void *user) {
    for (size_t i = 0; i < info->device_count; i++)
        if (info->devices[i].name)
            candidate(user, info->devices[i].name, vmctl_device_kind_name(info->devices[i].kind));
    return 0;
}

/* NULL: it does not answer in time. */
static vmctl_connection *open_endpoint(const offer *o, const vmctl_call *call) {
    vmctl_connect_options connect = VMCTL_CONNECT_OPTIONS_INIT;
    vmctl_connection *connection = NULL;
    CLI_AUTO_ERROR *err = NULL;

    connect.call = call;
    connect.uri = cli_text(&o->args, "connect", NULL);
    connect.backend = cli_text(&o->args, "backend", NULL);
    connect.context = cli_text(&o->args, "context", NULL);
    connect.config_file = cli_text(&o->args, "config", NULL);
    (void)vmctl_connect(&connect, &connection, &err);
    return connection;
}

static void offer_vms(offer *o) {
    vmctl_list_options options = VMCTL_LIST_OPTIONS_INIT;
    CLI_AUTO_ERROR *err = NULL;
    vmctl_call call = VMCTL_CALL_INIT;

    call.timeout_ms = ENDPOINT_MS;
    options.call = &call;
    options.namespace_name = cli_text(&o->args, "namespace", NULL);
    options.facts = VMCTL_FACT_STATE;
    vmctl_connection *connection = open_endpoint(o, &call);
    if (connection)
        (void)vmctl_list(connection, &options, candidate_vm, o, &err);
    vmctl_connection_free(connection);
}

static void offer_devices(offer *o) {
    vmctl_lookup_options lookup = VMCTL_LOOKUP_OPTIONS_INIT;
    vmctl_get_options get = VMCTL_GET_OPTIONS_INIT;
    vmctl_call call = VMCTL_CALL_INIT;
    CLI_AUTO_ERROR *err = NULL;
    vmctl_vm *vm = NULL;

    call.timeout_ms = ENDPOINT_MS;
    lookup.call = get.call = &call;
    lookup.namespace_name = cli_text(&o->args, "namespace", NULL);
    get.facts = VMCTL_FACT_DEVICES;
    vmctl_connection *connection = o->operands == 1 ? open_endpoint(o, &call) : NULL;
    if (connection && vmctl_vm_lookup(connection, o->first, &lookup, &vm, &err) == 0)
        (void)vmctl_vm_get(vm, &get, candidate_device, o, &err);
    vmctl_vm_free(vm);
    vmctl_connection_free(connection);
}

static void offer_contexts(offer *o) {
    vmctl_config *config = NULL;
    CLI_AUTO_ERROR *err = NULL;

    if (vmctl_config_load(cli_text(&o->args, "config", NULL), &config, &err) < 0)
        return;
    for (size_t i = 0; i < vmctl_config_context_count(config); i++) {
        const vmctl_context *context = vmctl_config_context_at(config, i);
        candidate(o, context->name, context->connect);
    }
    vmctl_config_free(config);
}

static void offer_verbs(offer *o, const cli_verb *const *verbs) {
    for (; *verbs; verbs++)
        if (!(*verbs)->hidden)
            candidate(o, (*verbs)->name, (*verbs)->summary);
}

static void offer_hint(offer *o, cli_hint hint) {
    switch (hint) {
    case CLI_HINT_NONE:
        break;
    case CLI_HINT_VM:
        offer_vms(o);
        break;
    case CLI_HINT_CONTEXT:
        offer_contexts(o);
        break;
    case CLI_HINT_FILE:
        puts(":files");
        break;
    case CLI_HINT_BACKEND:
        for (size_t i = 0; vmctl_backend_name(i); i++)
            candidate(o, vmctl_backend_name(i), vmctl_backend_title(i));
        break;
    case CLI_HINT_STAGE:
        cli_words("running stopped deleted agent address port: ssh cloud-init", candidate_word, o);
        break;
    case CLI_HINT_STATE:
        cli_words("stopped starting running paused stopping saved migrating crashed unknown", candidate_word, o);
        break;
    case CLI_HINT_KEY:
        for (const char *const *name = vmctl_key_names(); *name; name++)
            candidate(o, *name, NULL);
        break;
    case CLI_HINT_VERB:
        offer_verbs(o, cli_verbs);
        candidate(o, "options", "the options that every verb takes");
        break;
    case CLI_HINT_SHELL:
        cli_words("bash zsh fish", candidate_word, o);
        break;
    case CLI_HINT_DEVICE:
        offer_devices(o);
        break;
    case CLI_HINT_KIND:
        if (o->operands == 1)
            cli_words("disk cdrom nic share usb gpu", candidate_word, o);
        break;
    }
}

static void offer_options(offer *o, const cli_option *options) {
    for (; options && options->name; options++) {
        CLI_AUTO_FREE char *word = cli_printf("--%s", options->name);
        if (!options->hidden)
            candidate(o, word, options->help);
    }
}

static const cli_option *option_of(const cli_option *options, const char *word) {
    for (; options && options->name; options++)
        if ((word[1] == '-' && !strcmp(options->name, word + 2)) ||
            (word[1] == options->letter && options->letter && !word[2]))
            return options;
    return NULL;
}

static const cli_option *any_option(const offer *o, const char *word) {
    const cli_option *found = o->verb ? option_of(o->verb->options, word) : NULL;
    return found ? found : option_of(cli_global_options, word);
}

/* Reads the words before the last; returns the option that waits for its argument, or NULL. */
static const cli_option *read_words(offer *o, const char *const *words, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const char *word = words[i];
        if (word[0] == '-' && word[1]) {
            size_t length = strcspn(word, "=");
            CLI_AUTO_FREE char *name = cli_strndup(word, length);
            const cli_option *option = name ? any_option(o, name) : NULL;
            if (!option || option->kind == CLI_FLAG)
                continue;
            bool attached = word[length] == '=';
            if (!attached && i + 1 == count)
                return option;
            const char *value = attached ? word + length + 1 : words[++i];
            o->args.values = cli_grow(o->args.values, o->args.value_count + 1, sizeof *o->args.values);
            o->args.values[o->args.value_count++] = (cli_value){option, value, 0};
            continue;
        }
        const cli_verb *const *verbs = o->verb ? o->verb->verbs : cli_verbs;
        const cli_verb *verb = verbs ? cli_verb_find(verbs, word) : NULL;
        if (verb) {
            o->parent = o->verb;
            o->verb = verb;
        } else {
            o->first = o->operands++ ? o->first : word;
        }
    }
    return NULL;
}

/* The forms that every verb has, and the verb's own. */
static void offer_formats(offer *o) {
    cli_words("table wide json jsonl yaml name", candidate_word, o);
    if (o->verb)
        cli_words(o->verb->formats, candidate_word, o);
}

static void offer_argument(offer *o, const cli_option *option) {
    if (!strcmp(option->name, "output"))
        offer_formats(o);
    else if (option->values)
        cli_words(option->values, candidate_word, o);
    else
        offer_hint(o, option->hint);
}

static int complete(cli *c) {
    const char *const *words = c->args.command;
    size_t count = 0;

    while (words && words[count])
        count++;
    if (!count)
        return 0;
    offer o = {.c = c, .start = words[count - 1]};
    const cli_option *option = read_words(&o, words, count - 1);
    if (option) {
        offer_argument(&o, option);
    } else if (o.start[0] == '-') {
        if (o.verb)
            offer_options(&o, o.verb->options);
        offer_options(&o, cli_global_options);
    } else if (!o.verb || o.verb->verbs) {
        offer_verbs(&o, o.verb ? o.verb->verbs : cli_verbs);
    } else if (o.verb->max < 0 || o.operands < (size_t)o.verb->max) {
        offer_hint(&o, o.operands ? o.verb->hint_rest : o.verb->hint);
    }
    cli_args_free(&o.args);
    return 0;
}

const cli_verb cli_verb_complete = {
    .name = "__complete",
    .summary = "candidates for the last word, for completion scripts",
    .operands = "-- WORD...",
    .command = true,
    .hidden = true,
    .run = complete,
};
