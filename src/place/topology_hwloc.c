/* The topology as hwloc sees it. This file and hwloc_compat.h alone know hwloc. */
#ifdef HAVE_HWLOC

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "place/hwloc_compat.h"
#include "place/topology.h"

struct kofn_topology {
    hwloc_topology_t
        hwloc;   /* NULL where hwloc could not load this machine: numbers alone are known */
    bool here;   /* loaded from this machine: memory can be bound, /sys can be asked */
    int refused; /* atomic; 1 = the kernel refused to bind memory, and that was said */
    struct kofn_cpus allowed;
    int core[KOFN_CPUS_MAX], node[KOFN_CPUS_MAX]; /* by CPU; -1 = not known */
};

const char *kofn_topology_library(void)
{
    return "hwloc " HWLOC_VERSION;
}

static void bitmap_to_cpus(hwloc_const_bitmap_t bitmap, struct kofn_cpus *set)
{
    memset(set, 0, sizeof(*set));
    for (int cpu = hwloc_bitmap_next(bitmap, -1); cpu >= 0 && cpu < KOFN_CPUS_MAX;
         cpu = hwloc_bitmap_next(bitmap, cpu))
        kofn_cpus_add(set, cpu);
}

/* Gives all CPUs of @object the number @value in @table, except those that have one. */
static void fill(int *table, hwloc_obj_t object, int value)
{
    int cpu;

    hwloc_bitmap_foreach_begin(cpu, object->cpuset)
    {
        if (cpu < KOFN_CPUS_MAX && table[cpu] < 0)
            table[cpu] = value;
    }
    hwloc_bitmap_foreach_end();
}

/* A CPU may be near several nodes: its own, one of fast memory, one of the whole machine. hwloc
 * lists nodes of a part before those of the whole, and plain memory before fast memory.
 */
static void fill_nodes(struct kofn_topology *topology)
{
    hwloc_obj_t node = NULL;

    while ((node = hwloc_get_next_obj_by_type(topology->hwloc, HWLOC_OBJ_NUMANODE, node)))
        fill(topology->node, node, (int)node->os_index);
}

static void fill_tables(struct kofn_topology *topology)
{
    hwloc_obj_t core = NULL;

    for (int cpu = 0; cpu < KOFN_CPUS_MAX; cpu++)
        topology->core[cpu] = topology->node[cpu] = -1;
    if (!topology->hwloc)
        return;
    while ((core = hwloc_get_next_obj_by_type(topology->hwloc, HWLOC_OBJ_CORE, core)) &&
           core->logical_index < KOFN_CPUS_MAX)
        fill(topology->core, core, (int)core->logical_index);
    fill_nodes(topology);
}

/* A topology that is configured and not loaded: with devices, without the components that would
 * start up a GPU or a display, and without libpciaccess, which reads a file of product names and
 * leaks them; the kernel's files say where PCI devices are.
 */
static int prepare(const struct kofn_log *log, struct kofn_topology **topology_p)
{
    static const char *const left_out[] = {"cuda",   "gl",  "levelzero", "nvml",
                                           "opencl", "pci", "rsmi"};
    struct kofn_topology *topology = calloc(1, sizeof(*topology));

    if (!topology)
        return kofn_error(log, KOFN_NO_MEMORY, "place: no memory for a topology");
    if (hwloc_topology_init(&topology->hwloc)) {
        free(topology);
        return kofn_error(log, KOFN_NO_MEMORY, "place: hwloc does not start");
    }
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(left_out); i++)
        kofn__topology_leave_out(topology->hwloc, left_out[i]);
    hwloc_topology_set_io_types_filter(topology->hwloc, HWLOC_TYPE_FILTER_KEEP_IMPORTANT);
    *topology_p = topology;
    return 0;
}

/* Loads what prepare() and its caller have set up. */
static bool load(struct kofn_topology *topology)
{
    if (hwloc_topology_load(topology->hwloc)) {
        hwloc_topology_destroy(topology->hwloc);
        topology->hwloc = NULL;
        return false;
    }
    bitmap_to_cpus(hwloc_topology_get_allowed_cpuset(topology->hwloc), &topology->allowed);
    return true;
}

int kofn_topology_open(const struct kofn_log *log, struct kofn_topology **topology_p)
{
    struct kofn_topology *topology;
    struct kofn_cpus mask;
    int rc = kofn_cpus_of_thread(log, &mask);

    if (!rc)
        rc = prepare(log, &topology);
    if (rc)
        return rc;
    topology->here = load(topology) && hwloc_topology_is_thissystem(topology->hwloc);
    if (!topology->hwloc)
        kofn_log(log, KOFN_LOG_WARN,
                 "place: hwloc cannot read this machine; going on with numbers of CPUs alone");
    topology->allowed = kofn_cpus_both(&topology->allowed, &mask);
    if (kofn_cpus_count(&topology->allowed) == 0) {
        if (topology->hwloc)
            kofn_log(log, KOFN_LOG_WARN,
                     "place: none of the CPUs this process may use is on the machine that hwloc "
                     "sees; going on with their numbers alone");
        topology->allowed = mask;
    }
    fill_tables(topology);
    *topology_p = topology;
    return 0;
}

/* The end of opening a machine that is not this one; @rc is what telling hwloc about it gave. */
static int open_other(struct kofn_topology *topology, int rc, const char *what,
                      const struct kofn_log *log, struct kofn_topology **topology_p)
{
    if (rc || !load(topology) || kofn_cpus_count(&topology->allowed) == 0) {
        kofn_topology_close(topology);
        return kofn_error(log, KOFN_FORMAT, "place: %.200s: not a topology that hwloc can load",
                          what);
    }
    fill_tables(topology);
    *topology_p = topology;
    return 0;
}

int kofn_topology_open_xml(const char *path, const struct kofn_log *log,
                           struct kofn_topology **topology_p)
{
    struct kofn_topology *topology;
    int rc = prepare(log, &topology);

    if (rc)
        return rc;
    return open_other(topology, hwloc_topology_set_xml(topology->hwloc, path), path, log,
                      topology_p);
}

int kofn_topology_open_synthetic(const char *text, const struct kofn_log *log,
                                 struct kofn_topology **topology_p)
{
    struct kofn_topology *topology;
    int rc = prepare(log, &topology);

    if (rc)
        return rc;
    return open_other(topology, hwloc_topology_set_synthetic(topology->hwloc, text), text, log,
                      topology_p);
}

void kofn_topology_close(struct kofn_topology *topology)
{
    if (!topology)
        return;
    if (topology->hwloc)
        hwloc_topology_destroy(topology->hwloc);
    free(topology);
}

const struct kofn_cpus *kofn_topology_allowed(const struct kofn_topology *topology)
{
    return &topology->allowed;
}

int kofn_topology_core(const struct kofn_topology *topology, int cpu)
{
    return cpu >= 0 && cpu < KOFN_CPUS_MAX ? topology->core[cpu] : -1;
}

int kofn_topology_node(const struct kofn_topology *topology, int cpu)
{
    return cpu >= 0 && cpu < KOFN_CPUS_MAX ? topology->node[cpu] : -1;
}

/* A device without hardware below it (veth, a bridge, soft RoCE): the kernel has it, hwloc leaves
 * it out. */
static bool is_virtual_nic(const char *name, size_t length)
{
    static const char *const classes[] = {"net", "infiniband"};
    char path[64 + NAME_MAX];

    if (memchr(name, '/', length) || length > NAME_MAX || name[0] == '.')
        return false;
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(classes); i++) {
        snprintf(path, sizeof(path), "/sys/class/%s/%.*s", classes[i], (int)length, name);
        if (access(path, F_OK) == 0)
            return true;
    }
    return false;
}

int kofn_topology_nic(const struct kofn_topology *topology, const char *name,
                      struct kofn_cpus *near)
{
    size_t length = strcspn(name, ":");
    hwloc_obj_t device = NULL;

    if (!topology->hwloc)
        return KOFN_UNSUPPORTED;
    while ((device = hwloc_get_next_osdev(topology->hwloc, device)))
        if (kofn__osdev_is_nic(device) && device->name && strlen(device->name) == length &&
            strncmp(device->name, name, length) == 0) {
            bitmap_to_cpus(hwloc_get_non_io_ancestor_obj(topology->hwloc, device)->cpuset, near);
            return 0;
        }
    if (!topology->here || length == 0 || !is_virtual_nic(name, length))
        return KOFN_INVALID;
    bitmap_to_cpus(hwloc_get_root_obj(topology->hwloc)->cpuset, near);
    return 0;
}

const char *kofn_topology_nics(const struct kofn_topology *topology, char *buffer, size_t size)
{
    hwloc_obj_t device = NULL;
    size_t used = 0;

    snprintf(buffer, size, "none");
    if (!topology->hwloc)
        return buffer;
    while ((device = hwloc_get_next_osdev(topology->hwloc, device)) && used < size)
        if (kofn__osdev_is_nic(device) && device->name)
            used += (size_t)snprintf(buffer + used, size - used, "%s%s", used ? ", " : "",
                                     device->name);
    return buffer;
}

/* hwloc's distribution of @count threads over a copy of the topology that has @set alone. */
static int distribute(const struct kofn_topology *topology, hwloc_bitmap_t set, unsigned count,
                      hwloc_cpuset_t *part)
{
    hwloc_topology_t copy;
    hwloc_obj_t root;
    int rc = -1;

    if (hwloc_topology_dup(&copy, topology->hwloc))
        return -1;
    if (hwloc_topology_restrict(copy, set, 0) == 0) {
        root = hwloc_get_root_obj(copy);
        rc = hwloc_distrib(copy, &root, 1, part, count, INT_MAX, 0);
    }
    hwloc_topology_destroy(copy);
    return rc;
}

/* One CPU of each part into @cpu. Returns -1 if one has none. */
static int singlify(hwloc_cpuset_t *part, unsigned count, int *cpu)
{
    for (unsigned i = 0; i < count; i++) {
        if (!part[i] || hwloc_bitmap_singlify(part[i]))
            return -1;
        cpu[i] = hwloc_bitmap_first(part[i]);
        if (cpu[i] < 0)
            return -1;
    }
    return 0;
}

int kofn_topology_spread(const struct kofn_topology *topology, const struct kofn_cpus *set,
                         unsigned count, const struct kofn_log *log, int *cpu)
{
    hwloc_cpuset_t *part;
    hwloc_bitmap_t bitmap;
    int rc = 0;

    if (!topology->hwloc || count == 0) {
        kofn_cpus_pick_evenly(set, count, cpu);
        return 0;
    }
    part = calloc(count, sizeof(*part)); /* hwloc_bitmap_free() takes a NULL */
    bitmap = hwloc_bitmap_alloc();
    if (!part || !bitmap) {
        rc = kofn_error(log, KOFN_NO_MEMORY, "place: no memory to spread %u threads", count);
        goto free_all;
    }
    for (int c = kofn_cpus_next(set, -1); c >= 0; c = kofn_cpus_next(set, c))
        hwloc_bitmap_set(bitmap, (unsigned)c);
    if (distribute(topology, bitmap, count, part) || singlify(part, count, cpu))
        /* CPUs hwloc does not know, or no memory for a copy: numbers are enough to go on */
        kofn_cpus_pick_evenly(set, count, cpu);

    for (unsigned i = 0; i < count; i++)
        hwloc_bitmap_free(part[i]);
free_all:
    hwloc_bitmap_free(bitmap);
    free(part);
    return rc;
}

void kofn_topology_prefer_node(struct kofn_topology *topology, int node, void *address,
                               size_t bytes, const struct kofn_log *log)
{
    hwloc_bitmap_t nodes;

    if (node < 0 || !topology->here || !topology->hwloc || bytes == 0)
        return;
    nodes = hwloc_bitmap_alloc();
    errno = ENOMEM;
    /* without HWLOC_MEMBIND_STRICT this is a preference: a full node gives way to another one */
    if ((!nodes || hwloc_bitmap_set(nodes, (unsigned)node) ||
         hwloc_set_area_membind(topology->hwloc, address, bytes, nodes, HWLOC_MEMBIND_BIND,
                                HWLOC_MEMBIND_BYNODESET)) &&
        !__atomic_exchange_n(&topology->refused, 1, __ATOMIC_RELAXED))
        kofn_log(log, KOFN_LOG_WARN,
                 "place: cannot ask for memory of node %d: %m; going on with memory from anywhere",
                 node);
    hwloc_bitmap_free(nodes);
}

#else
typedef int kofn__topology_hwloc_is_not_built;
#endif
