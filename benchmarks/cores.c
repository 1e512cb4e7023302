#include "benchmarks/cores.h"

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/resource.h>

#include "base/log.h"

/* The lowest CPU of the core that @cpu is a thread of; @cpu itself if the system does not say. */
static int first_sibling(int cpu)
{
    char path[96];
    int first = cpu;
    FILE *file;

    snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list",
             cpu);
    file = fopen(path, "r");
    if (!file)
        return cpu;
    if (fscanf(file, "%d", &first) != 1)
        first = cpu;
    fclose(file);
    return first;
}

int bench_cores(int *cpus, int max)
{
    bool taken[CPU_SETSIZE] = {false};
    cpu_set_t allowed;
    int count = 0;

    if (sched_getaffinity(0, sizeof(allowed), &allowed))
        return 0;
    for (int cpu = 0; cpu < CPU_SETSIZE && count < max; cpu++) {
        int core = first_sibling(cpu);

        if (!CPU_ISSET(cpu, &allowed) || core < 0 || core >= CPU_SETSIZE || taken[core])
            continue;
        taken[core] = true;
        cpus[count++] = cpu;
    }
    return count;
}

int bench_pin(int cpu)
{
    cpu_set_t set;

    if (cpu < 0)
        return 0;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set))
        return kofn_error_errno(NULL, "cannot stay on CPU %d", cpu);
    return 0;
}

bool bench_first(bool first)
{
    struct sched_param priority = {.sched_priority = first ? 1 : 0};

    return !sched_setscheduler(0, first ? SCHED_RR : SCHED_OTHER, &priority);
}

double bench_cpu_ns(bool children)
{
    struct rusage usage;

    getrusage(children ? RUSAGE_CHILDREN : RUSAGE_SELF, &usage);
    return 1e9 * (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           1e3 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}
