/* base/journal.h - what an operation is about to make, written down before it is made; and the undo list.
 *
 * One file per operation in $XDG_STATE_HOME/vmctl/journal, flock'ed by the living process. An entry is synced to disk
 * before vmc_journal_add returns. The next changing verb on the endpoint undoes, last entry first, what an unlocked
 * file holds (vmc_journal_recover). The same list serves the living process when its operation fails.
 */
#ifndef VMC_BASE_JOURNAL_H
#define VMC_BASE_JOURNAL_H

#include <stddef.h>
#include <vmctl/call.h>
#include <vmctl/error.h>

typedef struct vmc_journal vmc_journal;

/* Called for one entry, last first. 0: it is gone. */
typedef int (*vmc_undo_fn)(void *user, const char *kind, const char *detail, vmctl_error **err);

/* The file is made with the first entry. endpoint: its canonical URI. */
VMCTL_API int vmc_journal_open(const char *endpoint, const char *operation, vmc_journal **out, vmctl_error **err);
/* Notes that `kind` (the backend's word: "volume", "domain", "file") named `detail` is about to be made. *mark may be NULL. */
VMCTL_API int vmc_journal_add(vmc_journal *journal, const char *kind, const char *detail, size_t *mark,
                              vmctl_error **err);
/* From now on entries are not waited for until they are on disk: for things that a crash of the host ends as well (a running VM's). They outlive this
 * process all the same. */
VMCTL_API void vmc_journal_unsynced(vmc_journal *journal, bool unsynced);
/* The thing of this mark was not made after all, or shall stay. */
VMCTL_API int vmc_journal_drop(vmc_journal *journal, size_t mark, vmctl_error **err);
/* Undoes everything noted and not dropped, last first; goes on after a failure. What could not be undone is appended to *err (the
 * operation's own error), and stays in the journal. Returns the number of entries left. May be called again, by the dispatcher after
 * the backend: only what is left is tried, and no failure is told twice. */
VMCTL_API size_t vmc_journal_undo(vmc_journal *journal, vmc_undo_fn undo, void *user, vmctl_error **err);
/* The operation is complete: the file is removed. Always frees. After a failed undo the file stays. */
VMCTL_API void vmc_journal_close(vmc_journal *journal);

/* Undoes what dead processes left for this endpoint; `undone` (may be NULL) is told each. Costs one readdir when there is nothing. Entries that
 * fail stay for the next time and are told by a note; that is no error. */
VMCTL_API int vmc_journal_recover(const char *endpoint, const vmctl_call *call, vmc_undo_fn undo, void *user,
                                  vmctl_error **err);

#endif
