/* backends/shared/answer.h - what a probe says of one feature here: level, reason and remedy, as the operations' own checks have them. */
#ifndef VMC_SHARED_ANSWER_H
#define VMC_SHARED_ANSWER_H

#include "base/error.h"
#include <vmctl/backend.h>

/* The answer about one feature; UNKNOWN without a reason: this probe has nothing to say. */
typedef struct vmc_answer {
    vmctl_level level;
    char *reason, *remedy; /* owned; NULL */
} vmc_answer;

/* Sets the level, and the reason in place of an earlier one. */
void vmc_answer_say(vmc_answer *out, vmctl_level level, const char *format, ...) VMCTL_PRINTF(3, 4);
void vmc_answer_remedy(vmc_answer *out, const char *format, ...) VMCTL_PRINTF(2, 3);
/* What a check said: 0 is yes; a failure is no in its words, or unknown where the endpoint could not be asked. Frees why. */
void vmc_answer_check(vmc_answer *out, int code, vmctl_error *why);

/* Whether the caller of a probe asks for that feature; features NULL: for all. */
bool vmc_answer_is_wanted(const char *const *features, const char *feature);
/* Tells the caller, unless there is nothing to say, and frees what the answer holds. true: the caller wants no more. */
bool vmc_answer_tell(vmc_answer *answer, const char *feature, vmctl_here_fn each, void *user);

#endif
