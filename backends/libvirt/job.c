/* A domain's job, from its typed parameters. */
#include "job.h"

#include <stddef.h>

int libvirt_job_read(virDomainPtr domain, libvirt_job *job) {
    virTypedParameterPtr params = NULL;
    int count = 0;
    *job = (libvirt_job){0};
    if (virDomainGetJobStats(domain, &job->type, &params, &count, 0) < 0)
        return -1;
    virTypedParamsGetInt(params, count, VIR_DOMAIN_JOB_OPERATION, &job->operation);
    virTypedParamsGetULLong(params, count, VIR_DOMAIN_JOB_DATA_TOTAL, &job->total);
    virTypedParamsGetULLong(params, count, VIR_DOMAIN_JOB_DATA_PROCESSED, &job->processed);
    virTypedParamsGetULLong(params, count, VIR_DOMAIN_JOB_DATA_REMAINING, &job->remaining);
    virTypedParamsGetULLong(params, count, VIR_DOMAIN_JOB_MEMORY_TOTAL, &job->memory_total);
    virTypedParamsGetULLong(params, count, VIR_DOMAIN_JOB_MEMORY_BPS, &job->memory_bps);
    virTypedParamsGetULLong(params, count, VIR_DOMAIN_JOB_DISK_BPS, &job->disk_bps);
    virTypedParamsGetULLong(params, count, VIR_DOMAIN_JOB_DOWNTIME, &job->downtime);
    virTypedParamsGetULLong(params, count, VIR_DOMAIN_JOB_MEMORY_ITERATION, &job->iteration);
    virTypedParamsFree(params, count);
    return 0;
}

bool libvirt_job_is(const libvirt_job *job, int operation) {
    return job->type != VIR_DOMAIN_JOB_NONE && job->operation == operation;
}
