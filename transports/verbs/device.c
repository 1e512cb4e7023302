#include "transports/verbs/device.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "transports/verbs/errors.h"
#include "transports/verbs/inspect.h"

#define PEER_NS (10 * KOFN_NS_PER_S)
#define TIMEOUT_MIN 8  /* 1 ms */
#define TIMEOUT_MAX 21 /* 8.6 s */

uint8_t kofn__verbs_timeout(uint64_t limit, uint32_t retries)
{
    uint8_t exponent = TIMEOUT_MIN;

    while (exponent < TIMEOUT_MAX && (UINT64_C(4096) << (exponent + 1)) * (retries + 1) <= limit)
        exponent++;
    return exponent;
}

uint8_t kofn__verbs_port_timeout(const struct kofn__verbs_port *port)
{
    return port->options.timeout
               ? (uint8_t)port->options.timeout
               : kofn__verbs_timeout(port->peer_limit, (uint32_t)port->options.retries);
}

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

/* Is the device of the kind that this transport can use, and that may be used? */
static int take_device(struct kofn__verbs_port *port, struct search *search)
{
    const char *name = ibv_get_device_name(port->context->device);
    const char *why = kofn__verbs_device_inspect(port);

    why = why ? why : kofn__verbs_device_refused(&port->options, name, port->soft);
    if (!why)
        return 0;
    not_taken(search, name, why);
    return KOFN_AGAIN;
}

/* Has the port this address, be it one that is used or not? A better kind may be there as well. */
static bool has_address(const struct kofn__verbs_port *port, const union ibv_gid *address)
{
    struct ibv_gid_entry entries[KOFN__VERBS_GIDS_MAX];
    size_t count = kofn__verbs_port_gids(port, address, entries);

    while (count && memcmp(&entries[count - 1].gid, address, sizeof(*address)))
        count--;
    return count > 0;
}

/* Is port @number what is asked for, and up? Fills in what is known of it. */
static int take_port(struct kofn__verbs_port *port, uint8_t number, bool near_only,
                     struct search *search)
{
    const char *name = ibv_get_device_name(port->context->device);
    const char *why = kofn__verbs_port_refused(&port->options, name, number);

    snprintf(port->name, sizeof(port->name), "%s port %u", name, number);
    why =
        why ? why : kofn__verbs_port_inspect(port, number, search->has_near ? &search->near : NULL);
    if (why) {
        not_taken(search, port->name, why);
        return KOFN_AGAIN;
    }
    return near_only && !has_address(port, &search->near) ? KOFN_AGAIN : 0;
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
    rc = take_device(port, search);
    if (rc)
        goto close_device;
    rc = open_domain(port);
    if (rc)
        goto close_device;
    for (uint32_t i = 1; i <= port->limits.phys_port_cnt; i++) {
        rc = take_port(port, (uint8_t)i, near_only, search);
        if (!rc)
            return 0;
    }
    rc = KOFN_AGAIN; /* of a device without ports, too */
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
                not_taken(search, name, kofn__verbs_unasked(&search->options->filter));
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
    if (!devices && (errno == ENOSYS || errno == ENOENT))
        return kofn_error(log, KOFN_UNSUPPORTED,
                          "verbs: this host has no RDMA device, or its kernel module ib_uverbs is "
                          "not loaded (modprobe ib_uverbs)");
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

bool kofn__verbs_port_events(struct kofn__verbs_port *port, kofn__verbs_broken broken, void *arg)
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
        if (kofn__verbs_event_of_pair(event.event_type))
            broken(arg, event.element.qp->qp_num, text);
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
