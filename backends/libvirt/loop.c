/* libvirt's event loop, for connections with callbacks and streams. Source: libvirt-event.h. */
#include "conn.h"
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

static void nothing(int timer, void *opaque) {
    (void)timer, (void)opaque;
}

static void *loop_main(void *unused) {
    (void)unused;
    for (;;)
        if (virEventRunDefaultImpl() < 0)
            usleep(10000);
    return NULL;
}

/* libvirt's loop is process-wide and for ever: started when first needed, and only where the program has none (then a timer can be
 * registered already). */
int libvirt_loop_start(vmctl_error **err) {
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static bool running;
    int code = 0;
    pthread_mutex_lock(&mutex);
    int timer = running ? -1 : virEventAddTimeout(-1, nothing, NULL, NULL);
    if (timer >= 0) {
        virEventRemoveTimeout(timer);
        running = true;
    }
    if (!running) {
        virResetLastError();
        pthread_t thread;
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        if (virEventRegisterDefaultImpl() < 0)
            code = libvirt_error(err, NULL, "libvirt's event loop cannot be registered");
        else if (pthread_create(&thread, NULL, loop_main, NULL) != 0)
            code = vmc_error(err, VMCTL_E_RESOURCE_EXHAUSTED, "cannot start the thread of libvirt's event loop");
        else
            running = pthread_detach(thread) == 0;
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    pthread_mutex_unlock(&mutex);
    return code;
}
