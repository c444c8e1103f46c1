/* What a probe says of one feature here. */
#include "answer.h"

#include "base/error.h"
#include "base/str.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void vmc_answer_say(vmc_answer *out, vmctl_level level, const char *format, ...) {
    va_list args;
    va_start(args, format);
    free(out->reason);
    out->level = level;
    out->reason = vmc_vprintf(format, args);
    va_end(args);
}

void vmc_answer_remedy(vmc_answer *out, const char *format, ...) {
    va_list args;
    va_start(args, format);
    free(out->remedy);
    out->remedy = vmc_vprintf(format, args);
    va_end(args);
}

/* The hypervisor did not answer: this says nothing about the feature. */
static bool is_no_answer(int code) {
    return vmc_outcome_unknown(code) || code == VMCTL_E_INTERNAL || code == VMCTL_E_UNAUTHENTICATED;
}

void vmc_answer_check(vmc_answer *out, int code, vmctl_error *why) {
    if (code >= 0) {
        out->level = VMCTL_LEVEL_YES;
    } else {
        vmc_answer_say(out, is_no_answer(code) ? VMCTL_LEVEL_UNKNOWN : VMCTL_LEVEL_NO, "%s",
                       why ? vmctl_error_message(why) : "it was refused without a reason");
        if (why && vmctl_error_next(why))
            vmc_answer_remedy(out, "%s", vmctl_error_next(why));
    }
    vmctl_error_free(why);
}

bool vmc_answer_is_wanted(const char *const *features, const char *feature) {
    for (size_t i = 0; features && features[i]; i++)
        if (strcmp(features[i], feature) == 0)
            return true;
    return !features;
}

bool vmc_answer_tell(vmc_answer *answer, const char *feature, vmctl_here_fn each, void *user) {
    const vmctl_here here = {sizeof here, feature, answer->level, answer->reason, answer->remedy};
    bool told = answer->level != VMCTL_LEVEL_UNKNOWN || answer->reason;
    bool enough = told && each(&here, user) != 0;
    free(answer->reason);
    free(answer->remedy);
    return enough;
}
