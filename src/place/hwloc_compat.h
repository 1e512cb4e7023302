/* hwloc_compat.h: one spelling for what differs between hwloc 2.0 and 3.0. Included by src/place/
 * alone. */
#ifndef KOFN_PLACE_HWLOC_COMPAT_H
#define KOFN_PLACE_HWLOC_COMPAT_H

#include <hwloc.h>
#include <stdbool.h>

/* True if @device is a network interface or an RDMA device. */
static inline bool kofn__osdev_is_nic(hwloc_obj_t device)
{
#if HWLOC_API_VERSION >= 0x00030000 /* a mask of types */
    return (device->attr->osdev.types & (HWLOC_OBJ_OSDEV_NETWORK | HWLOC_OBJ_OSDEV_OPENFABRICS)) !=
           0;
#else /* one type */
    return device->attr->osdev.type == HWLOC_OBJ_OSDEV_NETWORK ||
           device->attr->osdev.type == HWLOC_OBJ_OSDEV_OPENFABRICS;
#endif
}

/* Leaves the discovery component @name out; one that is not there is out already. */
static inline void kofn__topology_leave_out(hwloc_topology_t topology, const char *name)
{
#if HWLOC_API_VERSION >= 0x00020100
    (void)hwloc_topology_set_components(topology, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, name);
#else
    (void)topology;
    (void)name;
#endif
}

#endif
