#include "base/random.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

void vmc_random_fill(void *bytes, size_t length) {
    for (size_t have = 0; have < length;) {
        ssize_t n = getrandom((char *)bytes + have, length - have, 0);
        if (n < 0 && errno != EINTR) {
            /* A sandbox without the call: names that may be anybody's would be worse than an end. */
            (void)fprintf(stderr, "vmctl: the kernel gives no random bytes: %s\n", strerror(errno));
            abort();
        }
        have += n > 0 ? (size_t)n : 0;
    }
}

uint64_t vmc_random(void) {
    uint64_t number = 0;
    vmc_random_fill(&number, sizeof number);
    return number;
}

void vmc_uuid_new(char out[VMC_UUID_BYTES]) {
    unsigned char b[16];
    vmc_random_fill(b, sizeof b);
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40); /* version 4, variant 1 */
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    (void)snprintf(out, VMC_UUID_BYTES, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
                   b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}
