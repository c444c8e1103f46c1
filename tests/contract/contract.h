/* contract.h - one suite of tests against the public API, for any backend.
 *
 * Every test names the features and the slots of the backend table that it proves; the descriptor's claim of a `real`
 * proof must have one here (tests/unit/test_claims.c), and a run writes which were shown against what (tests/proofs). The guest is the boot sector of tests/guests: what it
 * prints on the serial port tells a running VM from a paused, a resumed and a restarted one. A test may make any VMs and
 * images; afterwards the endpoint must be as it was before, or the test has failed.
 */
#ifndef CONTRACT_H
#define CONTRACT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <vmctl/vmctl.h>

typedef struct contract_test {
    const char *feature; /* "lifecycle.create"; several are separated by blanks */
    const char *slots;   /* "create start": what of the backend table it exercises and observes */
    const char *name;
    void (*run)(void **state);
} contract_test;

#define TEST(feature, slots, function)                                                                                 \
    { feature, slots, #function, function }

typedef struct contract_group {
    const char *name;
    const contract_test *tests;
    size_t count;
    /* Around all of its tests, where it is run by its name; what `begin` makes stays between the tests. NULL: nothing */
    void (*begin)(void);
    void (*end)(void);
    const struct contract_group *more; /* the group's tests of another file, where one subject fills several; NULL */
} contract_group;

#define GROUP(name) extern const contract_group group_##name;
#include "groups.def"
#undef GROUP

/* How something looks in a backend's native document, where no fact of the common model shows it. */
typedef struct contract_mark {
    const char *what;
    const char *text;
    int code; /* of a refusal: where it is the platform's own, and no UNSUPPORTED of vmctl's. 0: that */
} contract_mark;

/* What is particular to a backend: which variants its hypervisor has, and where the traces of a VM would be found. */
typedef struct contract_profile {
    const char *backend;
    const char *const *buses;   /* disk buses, NULL-terminated */
    const char *const *folders; /* of this machine, watched for what is left behind; NULL-terminated */
    const contract_mark *marks; /* ended by what == NULL */
    const char *bad_start;      /* YAML that makes create succeed and start fail; NULL: not known */
    const char *bad_change[2];  /* a key and a value that the hypervisor refuses, and vmctl does not know beforehand */
    const char *bad_key;        /* a line of YAML that this backend cannot honour */
    const char *bad_uri;        /* an endpoint that is not there, and how opening it fails */
    int bad_uri_code;
    const char *const (
        *settings)[2]; /* keys and values that every VM here needs to start; ended by a NULL key. NULL: none */
    const char *const *hot_buses;  /* all that disks come to while the VM runs; NULL-terminated */
    const char *const *hot_drives; /* and a whole optical drive; NULL-terminated */
    const char *hot_bus;        /* a disk comes and goes on it while the VM runs, whatever the guest is; one at least */
    const char *cold_bus;       /* and on this one only at the next start */
    const char *const *formats; /* of disks, the default first; NULL-terminated */
    const char *agent_image;    /* of the endpoint, of a guest that has an agent; NULL */
    const char *agent;          /* a line of YAML for the guest agent, "" where none is needed */
    const char *const *variants; /* YAML of VMs whose spec is taken back and applied; NULL-terminated */
    int rounds;                  /* how often threads look while others work: a look may be a program that is started */
    bool starts_paused;
    bool differencing;   /* snapshots are images on top of the disks, and one is merged into one image only */
    bool own_target;     /* an endpoint may be named as the target of its own VM, for a look */
    bool grows_running;  /* a disk of a VM that runs grows at once, else at its next start */
    bool plugs_nics;     /* a NIC comes to a VM that runs at once, else at its next start */
    bool usb_filters;    /* a running VM may be given a USB device that its host has not, for its next start */
    bool any_usb;        /* a VM may name USB devices that its host has not; else those that a cluster permits */
    bool media_stay;     /* a medium that a VM started with stays until it stops; drives that were empty take media */
    const char *hot_nic; /* YAML of a card that comes to a VM that runs; NULL: none does */
    bool counts_traffic; /* bytes of disks and networks are among the counters */
    bool has_bridges;    /* VMs on bridges and networks of the hypervisor start on the machines of these tests */
    const char
        *nics; /* YAML of cards a (with 52:54:00:12:34:56), b (an e1000) and c (link down); NULL: of nat and user */
    bool only_q35;
    const char *image_name; /* what an uploaded image may be called; NULL: existing.img */
    bool
        bare_snapshots; /* of disks alone, side by side, by a cluster: no memory, no tree, no file that tells of them */
    bool clones_running;   /* a VM that runs is cloned, with a warning */
    bool seed_in_native;   /* the native document has cloud-init's texts; else it names an ISO image */
    bool collects_later;   /* what belonged to a VM goes some moments after it */
    bool cluster;          /* the endpoint is many hosts: it has no CPUs or room of its own */
    bool console_is_taken; /* a second console cuts the first one off, and nobody can know beforehand */
    bool log_goes;         /* the serial log goes with the run that wrote it: each start has its own */
    bool state_lags;       /* what a VM says of itself comes some moments after what was done to it */
    bool stop_stays;       /* a stop that was asked for is not taken back when the wait for it ends */
    const char *const
        *untried; /* features whose tests run and show only part of them here; NULL-terminated. NULL: none */
    const contract_mark *refused; /* what of the suite this hypervisor has not: a feature, and YAML that is refused */
} contract_profile;

/* Whether this backend claims the feature. */
bool can(const char *feature);
/* Sets what every VM of this backend needs (profile->settings). */
void complete(vmctl_spec *spec);
/* Removes a disk that delete left. */
void drop_disk(const char *path);

extern const contract_profile *profile;
extern vmctl_connection *conn;  /* one connection for the whole program */
extern const char *guest_image; /* the boot sector */
extern vmctl_error *err;        /* of the last MUST or FAILS */

/* The call succeeds, or the test fails with the error's text. */
#define MUST(call) must((call), #call, __FILE__, __LINE__)
void must(int rc, const char *call, const char *file, int line);

/* The call fails with this code and a complete error object; the error's text stays readable in `failure` until the
 * next one. */
#define FAILS(code, call) fails((code), (call), #call, __FILE__, __LINE__)
void fails(int code, int rc, const char *call, const char *file, int line);
extern char failure[4096];

/* For what comes in moments where nothing is wrong: the machine may be very busy. Nothing is proved by a shorter one. */
enum { PATIENCE_MS = 120000 };

/* A spec of one VM: `yaml` (printf) after "name: NAME" with what it leaves out filled in: 32 MiB of memory, the boot
 * sector as disk root, no network, no display, a serial log. Freed with vmctl_spec_free. */
vmctl_spec *spec_of(const char *name, const char *format, ...) VMCTL_PRINTF(2, 3);
/* Makes the VM of such a spec. */
vmctl_vm *make(const char *name, const char *format, ...) VMCTL_PRINTF(2, 3);
vmctl_vm *make_started(const char *name, const char *format, ...) VMCTL_PRINTF(2, 3);

void start(vmctl_vm *vm);
void force_off(vmctl_vm *vm);
vmctl_state state_of(vmctl_vm *vm);
/* The state, which ought to be this one: given some time where the backend's hypervisor tells it later. */
vmctl_state state_after(vmctl_vm *vm, vmctl_state wanted);

/* What the guest printed: the numbers of its first and its last whole line since it booted (0: none), and how often it did. */
typedef struct printed {
    int first, line;
    int boots;
} printed;
printed printed_by(vmctl_vm *vm);
/* Waits until the guest, since its last boot, has printed this line. */
printed wait_line(vmctl_vm *vm, int line);
/* Waits until nothing more comes of a guest whose CPUs stand still: what was in the serial port's buffer is in the log then. */
printed wait_quiet(vmctl_vm *vm);
/* Waits until the guest has booted this often, as far as the log goes back. */
printed wait_boots(vmctl_vm *vm, int boots);

/* The native document contains (or lacks) what the profile's mark for `what` says. */
bool native_shows(vmctl_vm *vm, const char *what);
bool native_has_text(vmctl_vm *vm, const char *text);

/* Copies of the facts that tests look at; strings are copied, empty when absent. */
typedef struct seen_device {
    vmctl_device_kind kind;
    char name[64], target[64], bus[32], source[512], type[32], mac[32];
    uint64_t capacity;
    bool readonly, link_up, own, pending, leaving;
} seen_device;

typedef struct seen {
    unsigned present;
    char name[128], id[128], backend[32], owner[128], run[64], description[256], firmware[32], machine[64], accel[16];
    vmctl_state state;
    unsigned cpus;
    uint64_t memory_mib;
    bool managed;
    int autostart, restart_required;
    int64_t created, expires;
    char label_key[8][64], label_value[8][64];
    size_t labels;
    seen_device devices[32];
    size_t device_count;
} seen;
void look(vmctl_vm *vm, seen *out);
const seen_device *device(const seen *facts, const char *name); /* fails the test when there is none */
const seen_device *device_or_null(const seen *facts, const char *name);
/* It is there now and after a restart alike. */
void is_there(vmctl_vm *vm, const char *name);

/* `vmctl attach` of one item of a list, as a person writes it: "{name: data, size: 4MiB}"; and `vmctl detach`. */
int attach(vmctl_vm *vm, const char *list, const char *item, bool live, vmctl_effect *effect);
int attach_call(vmctl_vm *vm, const char *list, const char *item, bool live, vmctl_effect *effect,
                const vmctl_call *call);
int detach(vmctl_vm *vm, const char *name, bool live, vmctl_effect *effect);
/* A scratch_file that is an ISO 9660 image by its descriptor. */
const char *disc(const char *name);

/* How many VMs of this name the endpoint lists: 0 or 1. */
int listed(const char *name);

typedef struct effects {
    int count, now, at_restart;
    char paths[512];
} effects;
void take_change(const vmctl_change *change, vmctl_effect effect, void *user);
/* `vmctl set`: the VM's own spec with one key changed. */
int change(vmctl_vm *vm, const char *key, const char *value, bool live, bool dry_run, effects *seen_effects);
/* The native document, without what the hypervisor notes in it by itself; vmctl_string_free. */
char *native_of(vmctl_vm *vm);
/* The disk or image is there, whichever way it is named here. */
bool data_is_there(const char *source);

/* Everything that could be left behind, as sorted text: VMs, images, files. Caller frees. */
char *world(void);
/* The same, which ought to be as it was: given some time where the backend's hypervisor collects what is left by itself. */
char *world_after(const char *before);

/* A private file of this content in the test's folder; the path is valid until the program ends. */
const char *scratch_file(const char *name, const void *bytes, size_t length);
/* Runs a program (NULL-terminated vector), output thrown away; its exit status. */
int run_program(const char *const *argv);

int64_t now_ms(void);
void sleep_ms(int ms);

/* A counter of notes. */
typedef struct notes {
    int count;
    char last[512];
} notes;
/* A call whose notes are counted there; with all else as usual. */
vmctl_call call_noting(notes *heard);

#endif
