/* vmctl_guest_forward beside what the verb does. */
#include "forward.h"
#include "util.h"

#include <pthread.h>
#include <stdlib.h>

struct cli_forward {
    cli *c;
    vmctl_vm *vm;
    int guest;
    vmctl_cancel *stop;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t told;
    int port;  /* 0: it does not listen yet */
    bool over; /* the thread is done */
    int rc;
    vmctl_error *err;
};

static void on_ready(const vmctl_forward *made, const char *way, void *user) {
    cli_forward *f = user;
    CLI_AUTO_FREE char *text = cli_printf("port %d of %s goes %s", made->guest, vmctl_vm_name(f->vm), way);

    if (f->c->verbose)
        cli_note(f->c, VMCTL_NOTE_INFO, text);
    pthread_mutex_lock(&f->lock);
    f->port = made->local;
    pthread_cond_signal(&f->told);
    pthread_mutex_unlock(&f->lock);
}

static void *run(void *user) {
    cli_forward *f = user;
    vmctl_forward wanted = VMCTL_FORWARD_INIT;
    vmctl_forward_options options = VMCTL_FORWARD_OPTIONS_INIT;
    vmctl_call call = cli_call(f->c);

    wanted.guest = f->guest;
    call.cancel = f->stop;
    call.timeout_ms = -1;
    call.progress = NULL;
    options.call = &call;
    options.ready = on_ready;
    options.user = f;
    int rc = vmctl_guest_forward(f->vm, &wanted, 1, &options, &f->err);
    pthread_mutex_lock(&f->lock);
    f->rc = rc;
    f->over = true;
    pthread_cond_signal(&f->told);
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

int cli_forward_open(cli *c, vmctl_vm *vm, int guest, cli_forward **out, int *port, vmctl_error **err) {
    cli_forward *f = cli_alloc(sizeof *f);

    f->c = c;
    f->vm = vm;
    f->guest = guest;
    f->stop = vmctl_cancel_new();
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->told, NULL);
    if (!f->stop || pthread_create(&f->thread, NULL, run, f) != 0)
        abort(); /* as for memory that cannot be had */
    pthread_mutex_lock(&f->lock);
    while (!f->port && !f->over)
        pthread_cond_wait(&f->told, &f->lock);
    *port = f->port;
    int rc = f->rc;
    pthread_mutex_unlock(&f->lock);
    if (*port) {
        *out = f;
        return 0;
    }
    *err = f->err;
    f->err = NULL;
    cli_forward_close(f);
    return rc < 0 ? rc : VMCTL_E_CANCELLED;
}

void cli_forward_close(cli_forward *f) {
    if (!f)
        return;
    vmctl_cancel_trigger(f->stop);
    pthread_join(f->thread, NULL);
    pthread_cond_destroy(&f->told);
    pthread_mutex_destroy(&f->lock);
    vmctl_cancel_free(f->stop);
    vmctl_error_free(f->err);
    free(f);
}
