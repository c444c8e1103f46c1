/* backends/libvirt/job.h - what libvirt is doing to a domain at the moment: a migration, a save, a snapshot. Source: virDomainGetJobStats. */
#ifndef VMC_LIBVIRT_JOB_H
#define VMC_LIBVIRT_JOB_H

#include <libvirt/libvirt.h>
#include <stdbool.h>

/* {0}: none. What the job does not tell is 0; amounts are bytes, the downtime is in milliseconds. */
typedef struct libvirt_job {
    int type, operation; /* virDomainJobType, virDomainJobOperation */
    unsigned long long total, processed, remaining, memory_total, memory_bps, disk_bps, downtime, iteration;
} libvirt_job;

/* On the connection's worker. -1: libvirt's last error says why. */
int libvirt_job_read(virDomainPtr domain, libvirt_job *job);
/* Whether a job is there, and is this virDomainJobOperation. */
bool libvirt_job_is(const libvirt_job *job, int operation);

#endif
