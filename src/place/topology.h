/* topology.h: what a machine looks like, as far as placing threads and memory needs it.
 *
 * The machine is this one, a recorded one (hwloc's XML), or an invented one (hwloc's synthetic
 * description), so that what is chosen for a big machine can be tested on a small one. A topology
 * does not change after it was opened. Two implementations: topology_hwloc.c, and topology_plain.c
 * for builds without hwloc, which knows nothing but CPU numbers: no cores, one memory node, no
 * devices.
 *
 * Threads: any number may use one topology at once, except kofn_topology_close().
 */
#ifndef KOFN_PLACE_TOPOLOGY_H
#define KOFN_PLACE_TOPOLOGY_H

#include "place/cpus.h"

struct kofn_topology;

/* What is built in to look at machines, by name and version ("hwloc 2.9.0"); NULL without hwloc. */
const char *kofn_topology_library(void);

/* Opens this machine, with the CPUs the calling thread may use now: open it before binding
 * anything.
 *
 * It holds the CPUs that the control groups allow and that are in the thread's affinity mask. Where
 * the machine's files and the mask contradict each other, as in some containers, the mask is right
 * (a warning). Returns 0, KOFN_SYSTEM or KOFN_NO_MEMORY (logged).
 */
int kofn_topology_open(const struct kofn_log *log, struct kofn_topology **topology_p);

/* Opens a machine recorded by `lstopo --of xml`. KOFN_FORMAT if it cannot be read, KOFN_UNSUPPORTED
 * without hwloc (both logged).
 */
int kofn_topology_open_xml(const char *path, const struct kofn_log *log,
                           struct kofn_topology **topology_p);

/* Opens an invented machine such as "numa:2 core:8 pu:2". Without hwloc "pu:COUNT" alone is
 * understood. KOFN_FORMAT if @text is none (logged).
 */
int kofn_topology_open_synthetic(const char *text, const struct kofn_log *log,
                                 struct kofn_topology **topology_p);

/* Any topology or NULL. */
void kofn_topology_close(struct kofn_topology *topology);

/* The CPUs that may be used: all choices are made within them. Never empty. */
const struct kofn_cpus *kofn_topology_allowed(const struct kofn_topology *topology);

/* The number of the core @cpu is on, by position in the machine (hwloc's logical index: neighbours
 * are close to each other), in [0, KOFN_CPUS_MAX); -1 where it is not known, and then the CPU
 * counts as a core of its own.
 */
int kofn_topology_core(const struct kofn_topology *topology, int cpu);

/* The memory node nearest to @cpu, by the kernel's number, or -1 where it is not known. */
int kofn_topology_node(const struct kofn_topology *topology, int cpu);

/* The CPUs near the network device @name ("mlx5_0", "eth0"; a ":port" behind it is ignored),
 * whether they may be used or not; all CPUs for a device that is near none in particular.
 *
 * Returns 0, KOFN_INVALID if there is no such device, KOFN_UNSUPPORTED where devices are not known.
 * Not logged.
 */
int kofn_topology_nic(const struct kofn_topology *topology, const char *name,
                      struct kofn_cpus *near);

/* Writes the names of the network devices into @buffer as "eth0, mlx5_0", or "none"; cut to @size.
 */
const char *kofn_topology_nics(const struct kofn_topology *topology, char *buffer, size_t size);

/* Chooses @count CPUs of @set as far apart as possible (each with as much cache to itself as there
 * is), in order of position: cpu[i] and cpu[i + 1] are close. @count is at most the size of @set;
 * @cpu gets distinct CPUs.
 *
 * Returns 0 or KOFN_NO_MEMORY (logged).
 */
int kofn_topology_spread(const struct kofn_topology *topology, const struct kofn_cpus *set,
                         unsigned count, const struct kofn_log *log, int *cpu);

/* Asks for the pages of [@address, @address + @bytes) to come from memory node @node, and from
 * another one where it is full. Call it before the pages are touched. Does nothing for node -1 and
 * on a topology that is not this machine's. Where the kernel refuses, it warns once a topology, and
 * the pages come from anywhere.
 */
void kofn_topology_prefer_node(struct kofn_topology *topology, int node, void *address,
                               size_t bytes, const struct kofn_log *log);

#endif
