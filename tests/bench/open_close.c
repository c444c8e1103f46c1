/* What the numbers are measured against: a program that opens a libvirt connection and closes it. */
#include <libvirt/libvirt.h>
#include <stdio.h>

int main(void) {
    virConnectPtr connection = virConnectOpen("qemu:///system");
    if (!connection)
        return fprintf(stderr, "no connection\n"), 1;
    return virConnectClose(connection) < 0;
}
