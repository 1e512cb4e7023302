/* The topology of builds without hwloc: numbers of CPUs, and nothing about how they lie. */
#ifndef HAVE_HWLOC

#include <stdio.h>
#include <stdlib.h>

#include "place/topology.h"

struct kofn_topology {
    struct kofn_cpus allowed;
};

const char *kofn_topology_library(void)
{
    return NULL;
}

static int make(const struct kofn_cpus *allowed, const struct kofn_log *log,
                struct kofn_topology **topology_p)
{
    struct kofn_topology *topology = malloc(sizeof(*topology));

    if (!topology)
        return kofn_error(log, KOFN_NO_MEMORY, "place: no memory for a topology");
    topology->allowed = *allowed;
    *topology_p = topology;
    return 0;
}

int kofn_topology_open(const struct kofn_log *log, struct kofn_topology **topology_p)
{
    struct kofn_cpus allowed;
    int rc = kofn_cpus_of_thread(log, &allowed);

    return rc ? rc : make(&allowed, log, topology_p);
}

int kofn_topology_open_xml(const char *path, const struct kofn_log *log,
                           struct kofn_topology **topology_p)
{
    (void)topology_p;
    return kofn_error(log, KOFN_UNSUPPORTED,
                      "place: %s: recorded topologies need a build with hwloc", path);
}

int kofn_topology_open_synthetic(const char *text, const struct kofn_log *log,
                                 struct kofn_topology **topology_p)
{
    struct kofn_cpus allowed = {{0}};
    unsigned count;
    char behind;

    if (sscanf(text, "pu:%5u%c", &count, &behind) != 1 || count < 1 || count > KOFN_CPUS_MAX)
        return kofn_error(
            log, KOFN_FORMAT,
            "place: \"%.64s\" is no synthetic topology: without hwloc only pu:COUNT is", text);
    for (unsigned cpu = 0; cpu < count; cpu++)
        kofn_cpus_add(&allowed, (int)cpu);
    return make(&allowed, log, topology_p);
}

void kofn_topology_close(struct kofn_topology *topology)
{
    free(topology);
}

const struct kofn_cpus *kofn_topology_allowed(const struct kofn_topology *topology)
{
    return &topology->allowed;
}

int kofn_topology_core(const struct kofn_topology *topology, int cpu)
{
    (void)topology;
    (void)cpu;
    return -1;
}

/* One memory node, so that every CPU is near it. */
int kofn_topology_node(const struct kofn_topology *topology, int cpu)
{
    return kofn_cpus_has(&topology->allowed, cpu) ? 0 : -1;
}

int kofn_topology_nic(const struct kofn_topology *topology, const char *name,
                      struct kofn_cpus *near)
{
    (void)topology;
    (void)name;
    (void)near;
    return KOFN_UNSUPPORTED;
}

const char *kofn_topology_nics(const struct kofn_topology *topology, char *buffer, size_t size)
{
    (void)topology;
    snprintf(buffer, size, "none");
    return buffer;
}

int kofn_topology_spread(const struct kofn_topology *topology, const struct kofn_cpus *set,
                         unsigned count, const struct kofn_log *log, int *cpu)
{
    (void)topology;
    (void)log;
    kofn_cpus_pick_evenly(set, count, cpu);
    return 0;
}

void kofn_topology_prefer_node(struct kofn_topology *topology, int node, void *address,
                               size_t bytes, const struct kofn_log *log)
{
    (void)topology;
    (void)node;
    (void)address;
    (void)bytes;
    (void)log;
}

#else
/* ISO C wants a file to declare something */
typedef int kofn__topology_plain_is_not_built;
#endif
