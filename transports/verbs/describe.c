#include "transports/verbs/describe.h"

#include <errno.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "transports/verbs/inspect.h"

#define GIDS_SHOWN 6 /* of a port; the others are counted */

/* What is kept from one device to the next. */
struct tour {
    kofn_finding finding;
    void *arg;
    const struct kofn__verbs_options *options;
    uint32_t usable;                         /* ports */
    char first[KOFN__VERBS_NAME_BYTES + 16]; /* of them */
};

/* ---- texts ---- */

/* Adds to @text, as much as there is room for. */
__attribute__((format(printf, 2, 3))) static void add(char text[KOFN__VERBS_TEXT],
                                                      const char *format, ...)
{
    size_t used = strlen(text);
    va_list args;

    va_start(args, format);
    vsnprintf(text + used, KOFN__VERBS_TEXT - used, format, args);
    va_end(args);
}

static void add_gid(char text[KOFN__VERBS_TEXT], const struct ibv_gid_entry *entry)
{
    char address[KOFN__VERBS_GID_TEXT], interface[IF_NAMESIZE];
    bool known = entry->ndev_ifindex && if_indextoname(entry->ndev_ifindex, interface);

    add(text, "%u %s (%s%s%s)", entry->gid_index, kofn__verbs_gid_print(&entry->gid, address),
        kofn__verbs_gid_type(entry->gid_type), known ? ", " : "", known ? interface : "");
}

static const char *state_name(enum ibv_port_state state)
{
    switch (state) {
    case IBV_PORT_ACTIVE:
        return "active";
    case IBV_PORT_DOWN:
        return "down";
    case IBV_PORT_INIT:
        return "initializing (is there a subnet manager?)";
    case IBV_PORT_ARMED:
        return "armed";
    default:
        return ibv_port_state_str(state);
    }
}

const char *kofn__verbs_device_text(const struct kofn__verbs_port *port, const char *why,
                                    char text[KOFN__VERBS_TEXT])
{
    text[0] = 0;
    add(text, "firmware %.*s, NUMA node ", (int)sizeof(port->limits.fw_ver),
        port->limits.fw_ver[0] ? port->limits.fw_ver : "not known");
    if (port->numa_node < 0)
        add(text, "not known");
    else
        add(text, "%d", port->numa_node);
    if (why)
        add(text, "; not used: it %s", why);
    return text;
}

const char *kofn__verbs_port_text(const struct kofn__verbs_port *port, const char *why,
                                  char text[KOFN__VERBS_TEXT])
{
    const struct ibv_port_attr *attr = &port->attr;
    uint32_t mtu = kofn__verbs_mtu_bytes(attr->active_mtu);

    text[0] = 0;
    if (attr->state != IBV_PORT_NOP)
        add(text, "%s, %s", state_name(attr->state),
            attr->link_layer == IBV_LINK_LAYER_ETHERNET ? "Ethernet" : "InfiniBand");
    if (attr->state == IBV_PORT_ACTIVE)
        add(text, ", MTU %u", mtu);
    if (port->mtu) { /* all is known that a connection needs */
        if (port->mtu < mtu)
            add(text, " (used: %u)", port->mtu);
        add(text, port->routed ? ", GID " : ", LID ");
        if (port->routed)
            add_gid(text, &port->gid);
        else
            add(text, "%u", attr->lid);
        add(text, ", traffic class %u", port->traffic);
    }
    if (why)
        add(text, "%snot used: it %s", *text ? "; " : "", why);
    return text;
}

const char *kofn__verbs_gids_text(const struct ibv_gid_entry *entries, size_t count,
                                  char text[KOFN__VERBS_TEXT])
{
    text[0] = 0;
    for (size_t i = 0; i < count && i < GIDS_SHOWN; i++) {
        add(text, "%s", i ? ", " : "");
        add_gid(text, &entries[i]);
    }
    if (count > GIDS_SHOWN)
        add(text, ", and %zu more", count - GIDS_SHOWN);
    return text;
}

/* ---- what is there ---- */

/* @device: what is known of it, and of no port. */
static void describe_port(struct tour *tour, const struct kofn__verbs_port *device, uint8_t number,
                          bool allowed)
{
    const char *name = ibv_get_device_name(device->context->device);
    struct ibv_gid_entry gids[KOFN__VERBS_GIDS_MAX];
    struct kofn__verbs_port port = *device;
    char what[KOFN__VERBS_NAME_BYTES + 16], text[KOFN__VERBS_TEXT];
    const char *why = kofn__verbs_port_inspect(&port, number, NULL);
    size_t count;

    if (!why && allowed) /* that the device is not, has been said */
        why = kofn__verbs_port_refused(tour->options, name, number);
    snprintf(what, sizeof(what), "%s:%u", name, number);
    tour->finding(tour->arg, what, kofn__verbs_port_text(&port, why, text));
    if (allowed && !why && !tour->usable++)
        snprintf(tour->first, sizeof(tour->first), "%s", port.name);
    count = port.routed ? kofn__verbs_port_gids(&port, NULL, gids) : 0;
    snprintf(what, sizeof(what), "%s:%u GIDs", name, number);
    if (count > 1)
        tour->finding(tour->arg, what, kofn__verbs_gids_text(gids, count, text));
}

/* A device that is open. */
static void describe_ports(struct tour *tour, struct kofn__verbs_port *port)
{
    const char *name = ibv_get_device_name(port->context->device);
    const char *unfit = kofn__verbs_device_inspect(port);
    const char *refused = kofn__verbs_device_refused(tour->options, name, port->soft);
    char text[KOFN__VERBS_TEXT];

    port->pd = unfit ? NULL : ibv_alloc_pd(port->context);
    if (!unfit && !port->pd)
        unfit = "has no protection domain left";
    tour->finding(tour->arg, name, kofn__verbs_device_text(port, unfit ? unfit : refused, text));
    for (uint32_t i = 1; !unfit && i <= port->limits.phys_port_cnt; i++)
        describe_port(tour, port, (uint8_t)i, !refused);
    if (port->pd)
        ibv_dealloc_pd(port->pd);
}

static void describe_device(struct tour *tour, struct ibv_device *device)
{
    struct kofn__verbs_port port = {.options = *tour->options, .numa_node = -1};

    port.context = ibv_open_device(device);
    if (!port.context) {
        tour->finding(tour->arg, ibv_get_device_name(device),
                      "not used: it cannot be opened (permissions?)");
        return;
    }
    describe_ports(tour, &port);
    ibv_close_device(port.context);
}

static void describe_choice(const struct tour *tour)
{
    char text[KOFN__VERBS_TEXT] = "";

    add(text, "%s", tour->usable ? tour->first : "none can be used");
    if (tour->usable > 1)
        add(text, "; with a job's address on another, that one");
    tour->finding(tour->arg, "choice", text);
}

/* What is wrong with the options. */
static void find_wrong(void *arg, enum kofn_log_level level, const char *message)
{
    const struct tour *tour = arg;

    (void)level;
    tour->finding(tour->arg, "options", message);
}

void kofn__verbs_describe(const char *options, kofn_finding finding, void *arg)
{
    struct kofn__verbs_options read;
    struct tour tour = {.finding = finding, .arg = arg, .options = &read};
    struct kofn_log log = {KOFN_LOG_ERROR, find_wrong, &tour};
    struct ibv_device **devices;
    char text[KOFN__VERBS_TEXT] = "";
    int count = 0;

    if (kofn__verbs_options_read(&read, options, &log))
        return;
    devices = ibv_get_device_list(&count);
    if (!devices)
        add(text, "none: %s (is the module ib_uverbs loaded?)", strerror(errno));
    else if (!count)
        add(text, "none");
    if (*text)
        finding(arg, "devices", text);
    for (int i = 0; devices && i < count; i++)
        describe_device(&tour, devices[i]);
    if (count)
        describe_choice(&tour);
    if (devices)
        ibv_free_device_list(devices);
}
