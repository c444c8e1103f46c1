/* migrate.h - what the files of the group migrate have of each other. */
#ifndef CONTRACT_MIGRATE_H
#define CONTRACT_MIGRATE_H

#include "contract.h"

#include <pthread.h>

extern const contract_group migrate_off, migrate_nodes;

/* The host of VMCTL_CONTRACT_TARGET (tests/integration/host2, tests/virtualbox/host2). */
extern vmctl_connection *target;

/* A test begins: the target is connected, and has the pool that every host in use has. */
void begin_migrating(void);
void target_has_no_trace(void);
vmctl_vm *found_on(vmctl_connection *there, const char *name);
void delete_on_target(const char *name);

/* The path of a serial log, which stays behind when its VM leaves. */
void log_path(vmctl_vm *vm, char *path, size_t size);
/* The VM has left; the guest counts on there. */
void it_counts_on_there(const char *name, const char *left_log, int beyond);
/* What stays at the source by intention: the copies of the disks, and what had been logged there. */
void remove_copies(const char *name, const char *log);

/* A VM on storage that both hosts have; which libvirt cannot see here, so it is said. VirtualBox wants it shared and whole. */
vmctl_vm *make_shared(const char *name, char *disk, size_t size);
/* On the target's host: what came is gone, and what both had is still there. */
void clean_shared(const char *name, const char *disk, const char *log);

typedef struct heard {
    int fatal, others;
    char what[16][32]; /* of the fatal ones */
    char text[4096];
} heard;
/* As a callback of a migration's obstacles; user: heard. */
int take_obstacle(const vmctl_obstacle *obstacle, void *user);
bool in_the_way(const heard *list, const char *what);
vmctl_migrate_options options_of(const vmctl_call *call);

/* Who hears what the hypervisor tells of a VM meanwhile. */
typedef struct listening {
    const char *vm, *word;               /* what is listened for in an event's detail */
    vmctl_cancel *begun, *enough, *then; /* then: triggered when it is heard; NULL */
    bool heard_it;
    pthread_t thread;
} listening;
void begin_listening(listening *l);
bool end_listening(listening *l);

#endif
