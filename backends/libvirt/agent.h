/* backends/libvirt/agent.h - talking with the QEMU guest agent. Source: virDomainQemuAgentCommand; the QEMU guest agent's protocol
 * reference (qemu-ga-ref).
 *
 * What libvirt 9.0 and qemu-ga 7.2 let through in one message, measured: 128 KiB of file into the guest (192 KiB is a JSON parse error
 * in the guest), 2 MiB out of it (3 MiB does not fit libvirt's 4 MiB of text). The agent works on one command at a time. */
#ifndef VMC_LIBVIRT_AGENT_H
#define VMC_LIBVIRT_AGENT_H

#include "ops.h"
#include <cjson/cJSON.h>
#include <libxml/tree.h>

enum { LIBVIRT_AGENT_WRITE = 96 * 1024, LIBVIRT_AGENT_READ = 1024 * 1024 };

/* Only looks at the domain's XML as it runs: INVALID_STATE when it does not run or its agent is not connected, UNSUPPORTED without a
 * channel for one; each with its remedy. */
int libvirt_agent_check(const xmlNode *domain, const char *name, vmctl_error **err);
/* The same with the XML of now. */
int libvirt_agent_ready(libvirt_conn *conn, const libvirt_vm *vm, const vmc_deadline *deadline, vmctl_error **err);

/* One command; takes arguments over (NULL: none). *out (may be NULL) is the "return" value: cJSON_Delete. TIMEOUT when the agent does
 * not answer; the agent's own refusals get the code that their words stand for. */
int libvirt_agent_ask(libvirt_conn *conn, const libvirt_vm *vm, const char *command, cJSON *arguments,
                      const vmc_deadline *deadline, cJSON **out, vmctl_error **err);

/* An error of a libvirt call that goes through the agent, in the agent's own words: "unable to execute QEMU agent command 'X': WORDS" is
 * WORDS, with the code and the remedy that they stand for. Moves *why to *err and returns the code. */
int libvirt_agent_explain(const libvirt_vm *vm, const char *command, int code, vmctl_error **why, vmctl_error **err);

/* What became of a process in the guest. */
typedef struct libvirt_agent_process {
    bool exited;
    int status; /* exit code; 128 + signal */
    vmc_str output, error;
} libvirt_agent_process;
void libvirt_agent_process_free(libvirt_agent_process *process);
#define LIBVIRT_AUTO_PROCESS vmc_cleanup(libvirt_agent_process_free) libvirt_agent_process

/* Starts argv (argv[0] a path) with its output captured. environment NULL: the agent's own, else all that it gets. */
int libvirt_agent_start(libvirt_conn *conn, const libvirt_vm *vm, const char *const *argv,
                        const char *const *environment, const void *input, size_t input_length,
                        const vmc_deadline *deadline, long long *pid, vmctl_error **err);
/* Asks once. */
int libvirt_agent_look(libvirt_conn *conn, const libvirt_vm *vm, long long pid, const vmc_deadline *deadline,
                       libvirt_agent_process *out, vmctl_error **err);
/* Asks, at growing intervals, until it has exited. */
int libvirt_agent_wait(libvirt_conn *conn, const libvirt_vm *vm, long long pid, const vmc_deadline *deadline,
                       libvirt_agent_process *out, vmctl_error **err);
/* Runs /bin/sh -c script with these words as $1 and on, to its end. */
int libvirt_agent_shell(libvirt_conn *conn, const libvirt_vm *vm, const char *script, const char *const *words,
                        const void *input, size_t input_length, const vmc_deadline *deadline,
                        libvirt_agent_process *out, vmctl_error **err);

/* The VM once more, after a call to it was abandoned or cancelled: for cleaning up in the guest. *fresh: libvirt_release. */
int libvirt_agent_again(libvirt_conn *conn, const libvirt_vm *vm, const vmc_deadline *deadline, libvirt_vm **fresh,
                        vmctl_error **err);

/* guest-file-open (mode as fopen's), -read (at most LIBVIRT_AGENT_READ bytes; eof: nothing more now), -write, -close. */
int libvirt_agent_file_open(libvirt_conn *conn, const libvirt_vm *vm, const char *path, const char *mode,
                            const vmc_deadline *deadline, long long *handle, vmctl_error **err);
int libvirt_agent_file_read(libvirt_conn *conn, const libvirt_vm *vm, long long handle, size_t most,
                            const vmc_deadline *deadline, vmc_str *out, bool *eof, vmctl_error **err);
int libvirt_agent_file_write(libvirt_conn *conn, const libvirt_vm *vm, long long handle, const void *bytes,
                             size_t length, const vmc_deadline *deadline, vmctl_error **err);
int libvirt_agent_file_close(libvirt_conn *conn, const libvirt_vm *vm, long long handle, const vmc_deadline *deadline,
                             vmctl_error **err);

/* The code that a program's words in the guest stand for; `fallback` when none is known. */
int libvirt_guest_words_code(const char *words, int fallback);

#endif
