#include "transports/verbs/inspect.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ROCE_TRAFFIC_CLASS 106 /* DSCP 26, and able to say that it is congested: what UCX uses */
#define RXE_VENDOR 0xffffffu
#define SIW_VENDOR 0x626d74u

/* ---- addresses ---- */

/* An address can be used if the device makes a handle of it. */
static bool gid_works(const struct kofn__verbs_port *port, const struct ibv_gid_entry *entry)
{
    struct ibv_ah_attr attr = {
        .is_global = 1,
        .port_num = port->number,
        .dlid = port->attr.lid,
        .grh = {.dgid = entry->gid, .sgid_index = (uint8_t)entry->gid_index, .hop_limit = 255}};
    struct ibv_ah *handle = ibv_create_ah(port->pd, &attr);

    if (!handle)
        return false;
    ibv_destroy_ah(handle);
    return true;
}

/* All addresses of the port, in order of preference. What lies further behind in the table than
 * connections can say is not for them.
 */
static size_t list_gids(const struct kofn__verbs_port *port, const union ibv_gid *near,
                        struct ibv_gid_entry *entries)
{
    ssize_t count = ibv_query_gid_table(port->context, entries, KOFN__VERBS_GIDS_MAX, 0);
    size_t kept = 0;

    for (ssize_t i = 0; i < count; i++)
        if (entries[i].port_num == port->number && entries[i].gid_index <= UINT8_MAX)
            entries[kept++] = entries[i];
    return kofn__verbs_gid_order(entries, kept, near);
}

size_t kofn__verbs_port_gids(const struct kofn__verbs_port *port, const union ibv_gid *near,
                             struct ibv_gid_entry entries[KOFN__VERBS_GIDS_MAX])
{
    size_t count = list_gids(port, near, entries), kept = 0;

    for (size_t i = 0; i < count; i++)
        if (gid_works(port, &entries[i]))
            entries[kept++] = entries[i];
    return kept;
}

static const char *choose_gid(struct kofn__verbs_port *port, const union ibv_gid *near)
{
    struct ibv_gid_entry entries[KOFN__VERBS_GIDS_MAX];
    int64_t wanted = port->options.gid;
    size_t count = list_gids(port, near, entries);

    for (size_t i = 0; i < count; i++) {
        if (wanted >= 0 && entries[i].gid_index != (uint64_t)wanted)
            continue;
        if (!gid_works(port, &entries[i]))
            continue;
        port->gid = entries[i];
        return NULL;
    }
    return wanted >= 0 ? "does not have the GID asked for, or it does not work"
                       : "has no GID that works: does its interface have an address?";
}

/* ---- one port ---- */

const char *kofn__verbs_port_inspect(struct kofn__verbs_port *port, uint8_t number,
                                     const union ibv_gid *near)
{
    const char *why;
    bool roce;

    port->number = number;
    snprintf(port->name, sizeof(port->name), "%s port %u",
             ibv_get_device_name(port->context->device), number);
    if (ibv_query_port(port->context, number, &port->attr))
        return "cannot be queried";
    if (port->attr.state != IBV_PORT_ACTIVE)
        return "is down";
    roce = port->attr.link_layer == IBV_LINK_LAYER_ETHERNET;
    port->routed = roce || port->options.gid >= 0 || (port->attr.flags & IBV_QPF_GRH_REQUIRED);
    why = port->routed ? choose_gid(port, near) : NULL;
    if (why)
        return why;
    port->mtu = kofn__verbs_mtu_bytes(port->attr.active_mtu);
    if (port->options.mtu)
        port->mtu = KOFN_MIN(port->mtu, (uint32_t)port->options.mtu);
    port->traffic = port->options.traffic >= 0 ? (uint8_t)port->options.traffic
                    : roce && port->gid.gid_type == IBV_GID_TYPE_ROCE_V2 ? ROCE_TRAFFIC_CLASS
                                                                         : 0;
    snprintf(port->counters, sizeof(port->counters),
             "/sys/class/infiniband/%s/ports/%u/hw_counters",
             ibv_get_device_name(port->context->device), number);
    return NULL;
}

const char *kofn__verbs_unasked(const struct kofn__verbs_filter *filter)
{
    return filter->named ? "is not among those asked for"
                         : "is not among those that NCCL_IB_HCA or UCX_NET_DEVICES names; device= "
                           "overrules that";
}

const char *kofn__verbs_port_refused(const struct kofn__verbs_options *options, const char *name,
                                     uint8_t number)
{
    if (!kofn__verbs_filter_passes(&options->filter, name, number))
        return kofn__verbs_unasked(&options->filter);
    return options->port && options->port != number ? "is not among those asked for" : NULL;
}

/* ---- the device ---- */

static int numa_node_of(const char *device)
{
    char path[256], text[16] = "";
    int fd;

    snprintf(path, sizeof(path), "/sys/class/infiniband/%s/device/numa_node", device);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    if (read(fd, text, sizeof(text) - 1) <= 0)
        text[0] = 0;
    close(fd);
    return text[0] ? atoi(text) : -1;
}

const char *kofn__verbs_device_inspect(struct kofn__verbs_port *port)
{
    struct ibv_device *device = port->context->device;

    if (ibv_query_device(port->context, &port->limits))
        return "cannot be queried";
    if (device->transport_type == IBV_TRANSPORT_IWARP)
        return "is iWARP, which has no immediates: use another transport there";
    if (device->transport_type != IBV_TRANSPORT_IB)
        return "has no reliable connections with one-sided writes";
    port->numa_node = numa_node_of(ibv_get_device_name(device));
    port->soft = port->limits.vendor_id == RXE_VENDOR || port->limits.vendor_id == SIW_VENDOR;
    return NULL;
}

const char *kofn__verbs_device_refused(const struct kofn__verbs_options *options, const char *name,
                                       bool soft)
{
    if (!kofn__verbs_filter_passes(&options->filter, name, 0))
        return kofn__verbs_unasked(&options->filter);
    if (soft && !kofn__verbs_filter_names(&options->filter))
        return "is a software device, which is only used if named: device=NAME";
    return NULL;
}
