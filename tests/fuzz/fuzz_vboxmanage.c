/* Any bytes as what VBoxManage printed, and as its settings files: every parser ends, and gives nothing that the text has not. The first byte
 * chooses. */
#include "backends/virtualbox/guest.h"
#include "backends/virtualbox/pending.h"
#include "base/file.h"
#include "drivers/vboxmanage/parse.h"
#include "drivers/vboxmanage/settings.h"
#include "drivers/vboxmanage/vboxmanage.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds) {
    if (!holds)
        abort();
}

static void lists(const char *text) {
    vboxmanage_properties properties = {0}, records = {0}, states = {0}, files = {0};
    vboxmanage_vm_names names = {0};
    vboxmanage_parse_properties(text, &properties);
    vboxmanage_parse_records(text, &records);
    vboxmanage_parse_names(text, &names);
    vboxmanage_parse_states(text, &states);
    vboxmanage_parse_settings_files(text, &files);
    for (size_t i = 0; i < properties.count; i++)
        check(properties.items[i].key && properties.items[i].value);
    for (size_t i = 0; i < names.count; i++)
        check(names.items[i].name && vboxmanage_is_uuid(names.items[i].id, false));
    for (size_t i = 0; i < states.count; i++)
        check(vboxmanage_is_uuid(states.items[i].key, false) && states.items[i].value);
    vboxmanage_properties_free(&properties);
    vboxmanage_properties_free(&records);
    vboxmanage_properties_free(&states);
    vboxmanage_properties_free(&files);
    vboxmanage_vm_names_free(&names);
}

static void words(const char *text) {
    char *version = NULL;
    unsigned major = 0, minor = 0;
    if (vboxmanage_parse_version(text, &version, &major, &minor) == 0)
        check(version && *version);
    free(version);
    int percent = vboxmanage_parse_progress(text);
    check(percent >= -1 && percent <= 100);
    free(vboxmanage_parse_labelled(text, "UUID:"));
    vmctl_error *err = NULL;
    check(vboxmanage_failed("fuzzing", 1, text, &err) < 0 && err);
    vmctl_error_free(err);
    vmc_strv pairs = {0};
    virtualbox_guest_addresses(text, &pairs);
    check(pairs.count % 2 == 0);
    vmc_strv_free(&pairs);
    /* Quoted for a shell: what stands between quotes has none. */
    vmc_str quoted = {0};
    vboxmanage_quote(&quoted, text);
    check(quoted.length >= strlen(text));
    vmc_str_free(&quoted);
}

static void described(const char *text) {
    vboxmanage_machine *machine = vboxmanage_machine_described(text);
    if (machine) {
        for (size_t i = 0; i < machine->attachment_count; i++)
            check(!*machine->attachments[i].medium || vboxmanage_medium_of(machine, machine->attachments[i].medium));
        cJSON *marker = virtualbox_marker_read(machine);
        check(marker != NULL);
        cJSON_Delete(marker);
    }
    vboxmanage_machine_free(machine);
}

static char folder[] = "/tmp/vmctl-fuzz.XXXXXX";
static char *path;

static void clean_up(void) {
    unlink(path);
    rmdir(folder);
    free(path);
}

static void settings(const char *text, size_t length) {
    if (!path) {
        check(mkdtemp(folder) != NULL);
        path = vmc_printf("%s/VirtualBox.xml", folder);
        atexit(clean_up);
    }
    FILE *file = fopen(path, "we");
    check(file && fwrite(text, 1, length, file) == length);
    fclose(file);
    vboxmanage_machine *machine = NULL;
    vmctl_error *err = NULL;
    vboxmanage_registry registry = {0};
    if (vboxmanage_machine_read(NULL, path, NULL, &machine, &err) == 0) {
        check(machine->name && machine->folder);
        cJSON *marker = virtualbox_marker_read(machine), *spec = cJSON_CreateObject();
        virtualbox_pending_lay(marker, machine, true, spec);
        cJSON_Delete(marker);
        cJSON_Delete(spec);
    } else {
        check(err != NULL);
    }
    vmctl_error_free(err);
    vboxmanage_machine_free(machine);
    const vboxmanage here = {.home = folder};
    vboxmanage_registry_read(&here, NULL, &registry, NULL);
    vboxmanage_registry_free(&registry);
    free(vboxmanage_machine_name(path, text, length));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1)
        return 0;
    char *text = vmc_strndup((const char *)data + 1, size - 1);
    switch (data[0] % 4) {
    case 0:
        lists(text);
        break;
    case 1:
        words(text);
        break;
    case 2:
        described(text);
        break;
    default:
        settings((const char *)data + 1, size - 1);
    }
    free(text);
    return 0;
}
