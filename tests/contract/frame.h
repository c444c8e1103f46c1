/* frame.h - what the files of the suite's frame have of each other; the tests themselves need none of it. */
#ifndef CONTRACT_FRAME_H
#define CONTRACT_FRAME_H

#include "contract.h"

/* Into an array; empty for NULL. */
#define COPY(to, from) snprintf((to), sizeof(to), "%s", (from) ? (from) : "")

/* A text that grows; the owner frees `bytes`. */
typedef struct growing {
    char *bytes;
    size_t length;
} growing;
/* As a callback of vmctl_serial_log: 0, or 1 where memory runs out. */
int append(const void *bytes, size_t length, void *user);

/* The test that is running, from cmocka's state. */
const contract_test *test_of(void **state);

/* Deletes the VMs that `before` (from world()) does not have; 0 where all else is as it was, else -1 and it is printed. */
int clean_up(const char *before);

/* The first of `words`, features or slots separated by blanks, that this backend has not, in `out`; NULL: it has all. */
const char *lacking(const char *words, bool of_slots, char *out, size_t size);

/* Runs in the place of a test of what caps says no to: the refusal is complete, in the words of caps, and nothing is
 * changed. */
void is_refused(void **state);

#endif
