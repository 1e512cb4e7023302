#include "transports/verbs/device.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "transports/verbs/errors.h"

#define GIDS_MAX 256
#define PEER_NS (10 * KOFN_NS_PER_S)
#define ROCE_TRAFFIC_CLASS 106 /* DSCP 26, and able to say that it is congested: what UCX uses */
#define RXE_VENDOR 0xffffffu
#define SIW_VENDOR 0x626d74u

/* Why the last device was not taken: what is said if none is. */
struct search {
    const struct kofn__verbs_options *options;
    const struct kofn_log *log;
    union ibv_gid near;
    bool has_near;
    char why[256];
};

static void not_taken(struct search *search, const char *device, const char *why)
{
    size_t used = strlen(search->why);

    snprintf(search->why + used, sizeof(search->why) - used, "%s%s %s", used ? "; " : "", device,
             why);
}

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

static size_t list_gids(const struct kofn__verbs_port *port, struct ibv_gid_entry *entries)
{
    ssize_t count = ibv_query_gid_table(port->context, entries, GIDS_MAX, 0);
    size_t kept = 0;

    for (ssize_t i = 0; i < count; i++)
        if (entries[i].port_num == port->number)
            entries[kept++] = entries[i];
    return kept;
}

static int choose_gid(struct kofn__verbs_port *port, struct search *search)
{
    struct ibv_gid_entry entries[GIDS_MAX];
    int64_t wanted = port->options.gid;
    size_t count = list_gids(port, entries);

    count = kofn__verbs_gid_order(entries, count, search->has_near ? &search->near : NULL);
    for (size_t i = 0; i < count; i++) {
        if (wanted >= 0 && entries[i].gid_index != (uint64_t)wanted)
            continue;
        if (!gid_works(port, &entries[i]))
            continue;
        port->gid = entries[i];
        return 0;
    }
    not_taken(search, port->name,
              wanted >= 0 ? "does not have the GID asked for, or it does not work"
                          : "has no GID that works: does its interface have an address?");
    return KOFN_LOST;
}

/* ---- one port ---- */

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

/* Is this port what is asked for, and up? Fills in what is known of it. */
static int take_port(struct kofn__verbs_port *port, uint8_t number, struct search *search)
{
    const char *device = ibv_get_device_name(port->context->device);
    bool roce;

    port->number = number;
    snprintf(port->name, sizeof(port->name), "%s port %u", device, number);
    if (!kofn__verbs_filter_passes(&port->options.filter, device, number) ||
        (port->options.port && port->options.port != number))
        return KOFN_AGAIN;
    if (ibv_query_port(port->context, number, &port->attr)) {
        not_taken(search, port->name, "cannot be queried");
        return KOFN_AGAIN;
    }
    if (port->attr.state != IBV_PORT_ACTIVE) {
        not_taken(search, port->name, "is down");
        return KOFN_AGAIN;
    }
    roce = port->attr.link_layer == IBV_LINK_LAYER_ETHERNET;
    port->routed = roce || port->options.gid >= 0 || (port->attr.flags & IBV_QPF_GRH_REQUIRED);
    if (port->routed && choose_gid(port, search))
        return KOFN_AGAIN;
    port->mtu = kofn__verbs_mtu_bytes(port->attr.active_mtu);
    if (port->options.mtu)
        port->mtu = KOFN_MIN(port->mtu, (uint32_t)port->options.mtu);
    port->traffic = port->options.traffic >= 0 ? (uint8_t)port->options.traffic
                    : roce && port->gid.gid_type == IBV_GID_TYPE_ROCE_V2 ? ROCE_TRAFFIC_CLASS
                                                                         : 0;
    port->numa_node = numa_node_of(device);
    snprintf(port->counters, sizeof(port->counters),
             "/sys/class/infiniband/%s/ports/%u/hw_counters", device, number);
    return 0;
}

/* A thread domain takes the locks out of the queues; not every device has them. */
static int open_domain(struct kofn__verbs_port *port)
{
    struct ibv_parent_domain_init_attr attr = {0};
    struct ibv_td_init_attr td = {0};

    port->pd = ibv_alloc_pd(port->context);
    if (!port->pd)
        return kofn_error_errno(port->log, "verbs: %s: protection domain",
                                ibv_get_device_name(port->context->device));
    port->td = ibv_alloc_td(port->context, &td);
    if (!port->td)
        return 0;
    attr.pd = port->pd;
    attr.td = port->td;
    port->plain_pd = port->pd;
    port->pd = ibv_alloc_parent_domain(port->context, &attr);
    if (port->pd)
        return 0;
    port->pd = port->plain_pd;
    port->plain_pd = NULL;
    ibv_dealloc_td(port->td);
    port->td = NULL;
    return 0;
}

static void close_domain(struct kofn__verbs_port *port)
{
    if (port->plain_pd)
        ibv_dealloc_pd(port->pd);
    if (port->td)
        ibv_dealloc_td(port->td);
    if (port->plain_pd || port->pd)
        ibv_dealloc_pd(port->plain_pd ? port->plain_pd : port->pd);
}

static bool is_soft(const struct kofn__verbs_port *port)
{
    return port->limits.vendor_id == RXE_VENDOR || port->limits.vendor_id == SIW_VENDOR;
}

/* Is it a device of the kind that this transport can use, and that may be used? */
static int check_device(struct kofn__verbs_port *port, struct search *search)
{
    struct ibv_device *device = port->context->device;
    const char *name = ibv_get_device_name(device);

    if (ibv_query_device(port->context, &port->limits)) {
        not_taken(search, name, "cannot be queried");
        return KOFN_AGAIN;
    }
    if (device->transport_type == IBV_TRANSPORT_IWARP) {
        not_taken(search, name, "is iWARP, which has no immediates: use another transport there");
        return KOFN_AGAIN;
    }
    if (device->transport_type != IBV_TRANSPORT_IB) {
        not_taken(search, name, "has no reliable connections with one-sided writes");
        return KOFN_AGAIN;
    }
    port->soft = is_soft(port);
    if (port->soft && !(search->options->filter.named && search->options->filter.text[0])) {
        not_taken(search, name, "is a software device, which is only used if named: device=NAME");
        return KOFN_AGAIN;
    }
    return 0;
}

/* Opens @device, if one of its ports can be used. @near_only: only if that has the address looked
 * for. KOFN_AGAIN: not this one.
 */
static int open_device(struct kofn__verbs_port *port, struct ibv_device *device, bool near_only,
                       struct search *search)
{
    int rc;

    port->context = ibv_open_device(device);
    if (!port->context) {
        not_taken(search, ibv_get_device_name(device), "cannot be opened (permissions?)");
        return KOFN_AGAIN;
    }
    rc = check_device(port, search);
    if (rc)
        goto close_device;
    rc = open_domain(port);
    if (rc)
        goto close_device;
    for (uint32_t i = 1; i <= port->limits.phys_port_cnt; i++) {
        rc = take_port(port, (uint8_t)i, search);
        if (!rc && near_only && memcmp(&port->gid.gid, &search->near, sizeof(search->near)))
            rc = KOFN_AGAIN;
        if (!rc)
            return 0;
        rc = KOFN_AGAIN;
    }
    close_domain(port);
close_device:
    ibv_close_device(port->context);
    port->pd = port->plain_pd = NULL;
    port->td = NULL;
    port->context = NULL;
    return rc;
}

static int search_devices(struct kofn__verbs_port *port, struct ibv_device **devices,
                          struct search *search)
{
    for (int pass = search->has_near ? 0 : 1; pass < 2; pass++) {
        search->why[0] = 0;
        for (size_t i = 0; devices[i]; i++) {
            const char *name = ibv_get_device_name(devices[i]);
            int rc;

            if (!kofn__verbs_filter_passes(&search->options->filter, name, 0)) {
                not_taken(search, name, "is not among those asked for");
                continue;
            }
            rc = open_device(port, devices[i], pass == 0, search);
            if (rc != KOFN_AGAIN)
                return rc;
        }
    }
    return kofn_error(search->log, KOFN_LOST, "verbs: no device can be used: %s",
                      search->why[0] ? search->why : "there is none (see ibv_devices)");
}

static void say_choice(const struct kofn__verbs_port *port)
{
    char text[KOFN__VERBS_GID_TEXT], address[KOFN__VERBS_GID_TEXT + 32];

    if (port->routed)
        snprintf(address, sizeof(address), "GID %u %s (%s)", port->gid.gid_index,
                 kofn__verbs_gid_print(&port->gid.gid, text),
                 kofn__verbs_gid_type(port->gid.gid_type));
    else
        snprintf(address, sizeof(address), "LID %u (InfiniBand)", port->attr.lid);
    kofn_log(port->log, KOFN_LOG_INFO,
             "verbs: using %s%s, %s, MTU %u, traffic class %u, service level %u, arrivals by %s%s",
             port->name, port->soft ? " (software)" : "", address, port->mtu, port->traffic,
             (unsigned)port->options.level, kofn__verbs_mode_name((uint32_t)port->options.mode),
             port->td ? ", no locks" : "");
}

/* Memory that a device writes to must not be copied by a fork(); new kernels see to it themselves.
 */
static void prepare_fork(const struct kofn_log *log)
{
    if (ibv_is_fork_initialized() == IBV_FORK_DISABLED && ibv_fork_init())
        kofn_log(log, KOFN_LOG_WARN,
                 "verbs: this process registered memory before kofn did: it must not fork()");
}

int kofn__verbs_port_open(struct kofn__verbs_port *port, const struct kofn__verbs_options *options,
                          const char *near, uint64_t peer_timeout, const struct kofn_log *log)
{
    struct search search = {.options = options, .log = log};
    struct ibv_device **devices;
    int rc;

    *port = (struct kofn__verbs_port){
        .log = log, .options = *options, .peer_limit = peer_timeout ? peer_timeout : PEER_NS};
    search.has_near = near && kofn__verbs_gid_parse(near, &search.near);
    prepare_fork(log);
    devices = ibv_get_device_list(NULL);
    if (!devices)
        return kofn_error_errno(log, "verbs: no list of devices");
    rc = search_devices(port, devices, &search);
    ibv_free_device_list(devices);
    if (rc)
        return rc;
    fcntl(port->context->async_fd, F_SETFL,
          fcntl(port->context->async_fd, F_GETFL) | O_NONBLOCK); /* events are looked for */
    say_choice(port);
    return 0;
}

void kofn__verbs_port_close(struct kofn__verbs_port *port)
{
    if (!port->context)
        return;
    close_domain(port);
    ibv_close_device(port->context);
    port->context = NULL;
}

bool kofn__verbs_port_events(struct kofn__verbs_port *port)
{
    struct pollfd ready = {.fd = port->context->async_fd, .events = POLLIN};
    struct ibv_async_event event;
    bool fatal = false;
    char text[128];

    while (poll(&ready, 1, 0) == 1 && !ibv_get_async_event(port->context, &event)) {
        bool lost = kofn__verbs_event_fatal(event.event_type);

        kofn__verbs_event_text(event.event_type, (uint32_t)event.element.port_num, text);
        kofn_log(port->log,
                 lost                                     ? KOFN_LOG_ERROR
                 : event.event_type == IBV_EVENT_PORT_ERR ? KOFN_LOG_WARN
                                                          : KOFN_LOG_DEBUG,
                 "verbs: %s: %s", port->name, text);
        ibv_ack_async_event(&event);
        fatal |= lost;
    }
    return fatal;
}

struct ibv_mr *kofn__verbs_register(struct kofn__verbs_port *port, const char *what, void *address,
                                    size_t bytes, unsigned access)
{
    struct ibv_mr *region = ibv_reg_mr(port->pd, address, bytes, access);

    if (!region)
        kofn__verbs_memory_error(port->log, port->name, what, bytes, errno);
    return region;
}
