/* drivers/qemu_img/run.h - what the files of this room share. */
#ifndef VMC_QEMU_IMG_RUN_H
#define VMC_QEMU_IMG_RUN_H

#include "drivers/process/process.h"
#include "drivers/qemu_img/qemu_img.h"

/* What a step of qemu-img is about, for its errors and progress. */
typedef struct qemu_img_run {
    const char *action;          /* "convert a.vmdk": after "cannot " */
    const char *doing;           /* for the deadline: "converting a.vmdk" */
    const char *written;         /* the file or its folder that may run full; NULL */
    uint64_t needed;             /* bytes that it may take; 0 not known */
    const qemu_img_label *label; /* with it `-p` output becomes progress; NULL */
    bool progress;
} qemu_img_run;

/* Runs qemu-img with these arguments. Exit codes other than 0 that are in `answers` (ended by 0; NULL: none) are no errors. */
int qemu_img_execute(const qemu_img_run *run, const vmc_strv *argv, const int *answers, const vmc_deadline *deadline,
                     process_result *result, vmctl_error **err);

/* Starts an argument vector: "qemu-img", then the words. */
void qemu_img_words(vmc_strv *argv, const char *const *words);
/* An absolute path: QEMU takes "a:b" for a protocol and "-a" for an option. free. */
char *qemu_img_path(const char *path);
/* format, or what the file's content says (in `kept`), as qemu-img -f takes it; INVALID_ARGUMENT when it is no image. */
int qemu_img_source_format(const char *path, const char *format, const char **out, vmctl_error **err);

/* RESOURCE_EXHAUSTED: "DOING: no space left on the filesystem of PATH: 1GiB free, 20GiB needed". */
int qemu_img_full(const char *action, const char *path, uint64_t needed, vmctl_error **err);
/* Bytes that an ordinary user can still write there; UINT64_MAX when not known. */
uint64_t qemu_img_free_bytes(const char *path);
/* The file and its name's entry in the folder are on disk. */
int qemu_img_sync(const char *path, vmctl_error **err);

/* What an image of this format names as further files before QEMU opens any: qcow2's external data file, VMDK extents outside its own
 * folder. NULL: nothing, or another format. free. *virtual_bytes is set when the file is told. */
char *qemu_img_foreign_file(const char *path, const char *format, uint64_t *virtual_bytes);

#endif
