/* cpus.h: how many CPUs this process may use. */
#ifndef KOFN_CLI_CPUS_H
#define KOFN_CLI_CPUS_H

#include <sched.h>

#include "base/base.h"

static inline uint32_t kofn_cpus_allowed(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set))
        return 1;
    return (uint32_t)KOFN_MAX(CPU_COUNT(&set), 1);
}

#endif
