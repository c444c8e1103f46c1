/* vmctl/compare.h - the comparison of the four platforms as its source has it, also what is no operation; which platform fits; how
 * a VM gets from one to another. All of it is constant data of the library: nothing is loaded or asked. */
#ifndef VMCTL_COMPARE_H
#define VMCTL_COMPARE_H

#include <vmctl/caps.h>

VMCTL_BEGIN_DECLS

/* --- the comparison --------------------------------------------------------------------------------------------- */

/* One platform's cell of one row. All strings are constant. */
typedef struct vmctl_comparison {
    size_t size;
    const char *section;    /* "overview" */
    const char *row;        /* "Live Migration" */
    const char *platform;   /* "VirtualBox" */
    const char *backend;    /* "virtualbox" */
    const char *text;       /* the cell, word for word */
    vmctl_level level;      /* UNKNOWN: this row is no feature and has none */
    vmctl_level corrected;  /* UNKNOWN: no correction */
    const char *correction; /* NULL */
    const char *evidence;   /* of the correction; NULL */
} vmctl_comparison;

typedef int (*vmctl_comparison_fn)(const vmctl_comparison *cell, void *user);

/* Row by row, the four platforms of each. section NULL: all. INVALID_ARGUMENT, with the nearest name, for a section that does not
 * exist; a section may have notes only, and no row. */
VMCTL_API int vmctl_compare(const char *section, vmctl_comparison_fn each, void *user, vmctl_error **err);

/* A part of the comparison, with a title; NULL beyond the last. Constant. */
VMCTL_API const char *vmctl_section_name(size_t index);
VMCTL_API const char *vmctl_section_title(size_t index);

/* What the comparison says outside its tables. */
typedef struct vmctl_comparison_note {
    size_t size;
    const char *topic;    /* "vgpu" */
    const char *platform; /* NULL: about all of them */
    const char *text;
} vmctl_comparison_note;

typedef int (*vmctl_comparison_note_fn)(const vmctl_comparison_note *note, void *user);

/* The notes that belong to a section. */
VMCTL_API int vmctl_compare_notes(const char *section, vmctl_comparison_note_fn each, void *user, vmctl_error **err);

/* --- which platform ----------------------------------------------------------------------------------------------- */

typedef enum vmctl_ground_kind {
    VMCTL_GROUND_WORKLOAD = 0,  /* the table of workloads names it */
    VMCTL_GROUND_CRITERION = 1, /* a criterion of the decision guide */
    VMCTL_GROUND_FEATURE = 2,   /* a feature that was asked for */
    VMCTL_GROUND_GENERAL = 3,   /* what speaks against the platform whatever is asked for */
    VMCTL_GROUND_REACH = 4      /* whether it can be reached from here */
} vmctl_ground_kind;

VMCTL_API const char *vmctl_ground_kind_name(vmctl_ground_kind kind);

/* Why a platform is where it is. */
typedef struct vmctl_ground {
    size_t size;
    vmctl_ground_kind kind;
    bool speaks_for;   /* false: against */
    bool disqualifies; /* a need that it cannot meet */
    bool implied;      /* what the workload asks for by itself; it decides only where the comparison names no place */
    bool ours;         /* the judgement is vmctl's own, not the comparison's */
    const char *what;  /* the need, or the workload */
    vmctl_level level; /* how well the need is met; UNKNOWN: no matter of level */
    const char *row;   /* the row of the comparison, or the topic of the note, that it rests on; NULL */
    const char *text;  /* what that row says of this platform; NULL */
    const char *correction;
} vmctl_ground;

typedef struct vmctl_recommendation {
    size_t size;
    unsigned rank; /* 1 is best; those that are disqualified come last */
    const char *platform;
    const char *backend;
    bool disqualified;
    bool ours; /* this rank is vmctl's own judgement: the comparison names no such place */
    const vmctl_ground *grounds;
    size_t ground_count;
} vmctl_recommendation;

typedef int (*vmctl_recommendation_fn)(const vmctl_recommendation *recommendation, void *user);

typedef struct vmctl_recommend_options {
    size_t size;
    const char *workload;         /* one of the seven; NULL */
    const char *const *needs;     /* features and criteria, NULL-terminated; NULL: none */
    const char *const *reachable; /* backends that are reached from here, NULL-terminated; NULL: not asked */
} vmctl_recommend_options;

#define VMCTL_RECOMMEND_OPTIONS_INIT                                                                                   \
    { sizeof(vmctl_recommend_options), NULL, NULL, NULL }

/* The four platforms, best first; valid during the callback. A workload decides the first two places; the rest by how well the needs are
 * met. A need that a platform cannot meet disqualifies it. INVALID_ARGUMENT for a workload or need that does not exist, naming the
 * nearest and the seven workloads, and when neither a workload nor a need nor reachability is asked for. */
VMCTL_API int vmctl_recommend(const vmctl_recommend_options *options, vmctl_recommendation_fn each, void *user,
                              vmctl_error **err);

/* The workloads; NULL beyond the last. Constant. */
VMCTL_API const char *vmctl_workload_name(size_t index);
VMCTL_API const char *vmctl_workload_choice(size_t index,
                                            unsigned place); /* 0: first, 1: second; as the comparison names it */
VMCTL_API const char *vmctl_workload_note(size_t index);
/* The criteria of the decision guide: id and text ("open-source", "lower cost through open source"); NULL beyond the last. */
VMCTL_API const char *vmctl_criterion_name(size_t index);
VMCTL_API const char *vmctl_criterion_text(size_t index);
VMCTL_API const char *vmctl_criterion_platform(size_t index); /* that the guide names for it */

/* --- from one platform to another ------------------------------------------------------------------------------------ */

typedef struct vmctl_path_step {
    size_t size;
    const char *from, *to; /* as the comparison names them */
    unsigned step;
    const char *action;
    const char *command;       /* that the comparison gives; NULL */
    const char *vmctl_command; /* NULL: by hand */
    const char *reason;        /* why by hand, where vmctl has a command for it but not with this build; NULL */
} vmctl_path_step;

typedef int (*vmctl_path_fn)(const vmctl_path_step *step, void *user);

/* INVALID_ARGUMENT for a platform that does not exist; NOT_FOUND, naming those that there are, when the comparison has no such path. */
VMCTL_API int vmctl_migration_path(const char *from, const char *to, vmctl_path_fn each, void *user, vmctl_error **err);

VMCTL_END_DECLS

#endif
