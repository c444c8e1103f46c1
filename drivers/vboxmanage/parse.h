/* drivers/vboxmanage/parse.h - what VBoxManage prints, as data. Every parser takes any text: what it does not know is left out.
 *
 * --machinereadable has traps (measured on 7.2, VBoxManageInfo.cpp): keys may stand in quotes ("SATA-0-0"="..."), values in
 * quotes hold raw newlines and escape " and \ with a backslash, something may follow the closing quote
 * (VideoMode="720,400,0"@0,0 1), lines without any = occur, and VRDEClients==0 has two.
 */
#ifndef VMC_VBOXMANAGE_PARSE_H
#define VMC_VBOXMANAGE_PARSE_H

#include "base/str.h"

typedef struct vboxmanage_property {
    char *key;
    char *value; /* never NULL */
} vboxmanage_property;

/* In the order of the text. {0} is an empty list. */
typedef struct vboxmanage_properties {
    vboxmanage_property *items;
    size_t count;
} vboxmanage_properties;

void vboxmanage_properties_free(vboxmanage_properties *properties);
#define VBOXMANAGE_AUTO_PROPERTIES vmc_cleanup(vboxmanage_properties_free) vboxmanage_properties
/* The first value of the key; NULL when there is none. */
const char *vboxmanage_property_get(const vboxmanage_properties *properties, const char *key);

/* showvminfo --machinereadable, snapshot list --machinereadable. */
void vboxmanage_parse_properties(const char *text, vboxmanage_properties *out);

/* Lines of "Key:   value", as most list subcommands print them. A blank line parts the records of a list (bridgedifs, hdds); the
 * result holds one more property of an empty key there. */
void vboxmanage_parse_records(const char *text, vboxmanage_properties *out);

typedef struct vboxmanage_vm_name {
    char *name; /* raw: quotes and newlines as they are; "<inaccessible>" */
    char id[37];
} vboxmanage_vm_name;

typedef struct vboxmanage_vm_names {
    vboxmanage_vm_name *items;
    size_t count;
} vboxmanage_vm_names;

/* list vms, list runningvms: `"NAME" {UUID}` each. */
void vboxmanage_parse_names(const char *text, vboxmanage_vm_names *out);
void vboxmanage_vm_names_free(vboxmanage_vm_names *names);

/* The state of each VM of `list --long runningvms`, by its id: key UUID, value as showvminfo --machinereadable spells it
 * ("running", "paused"). What stands in a description counts for nothing, unless it copies this layout with the blank line before it. */
void vboxmanage_parse_states(const char *text, vboxmanage_properties *out);

/* The settings file of each VM of `list --long vms`, by its id: key UUID, value path. With the same reserve. */
void vboxmanage_parse_settings_files(const char *text, vboxmanage_properties *out);

/* "7.2.22_Debianr175245" (also after lines of warnings) -> "7.2.22", 7, 2. -1: there is no version in it. */
int vboxmanage_parse_version(const char *text, char **version, unsigned *major, unsigned *minor);

/* The last of "0%...10%...20%"; -1: none. */
int vboxmanage_parse_progress(const char *text);

/* An exit code of 1 that is no failure: this text answers "there is none", or `help SUBCOMMAND` (measured on 7.2). */
bool vboxmanage_parse_is_answer(const char *output);

/* "Virtual machine 'x' is created...\nUUID: ...\nSettings file: '/a/b.vbox'": what follows the label, without its quotes. NULL: not there. free. */
char *vboxmanage_parse_labelled(const char *text, const char *label);

/* Whether it is a UUID in its usual form (8-4-4-4-12 hexadecimal digits), of exactly that length unless `prefix`. */
bool vboxmanage_is_uuid(const char *text, bool prefix);

/* An argument as a person can paste it into a shell. */
void vboxmanage_quote(vmc_str *to, const char *argument);

#endif
