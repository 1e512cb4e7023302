/* inspect.h: what a device and its ports are, and whether this transport can use them. Asks
 * devices, and changes nothing.
 *
 * Whatever speaks against one is a predicate without its subject, for a list of them: "is down".
 */
#ifndef KOFN_TRANSPORTS_VERBS_INSPECT_H
#define KOFN_TRANSPORTS_VERBS_INSPECT_H

#include "transports/verbs/device.h"

#define KOFN__VERBS_GIDS_MAX 256

/* Fills in limits, NUMA node and kind of the device that @port->context has open. Returns NULL, or
 * why this transport cannot use one of this kind.
 */
const char *kofn__verbs_device_inspect(struct kofn__verbs_port *port);

/* What speaks against one that @filter keeps out: whose wish that was. */
const char *kofn__verbs_unasked(const struct kofn__verbs_filter *filter);

/* NULL if @options allow device @name, @soft = a software device; else why not. Pure. */
const char *kofn__verbs_device_refused(const struct kofn__verbs_options *options, const char *name,
                                       bool soft);

/* The same of one port of it. Pure. */
const char *kofn__verbs_port_refused(const struct kofn__verbs_options *options, const char *name,
                                     uint8_t number);

/* Fills in what is known of port @number: of one that is down, the name and attr. @port->pd is one
 * of the device, after kofn__verbs_device_inspect(). Returns NULL, or why it cannot be used.
 *
 * @near  the address of the control connection at this host, or NULL
 */
const char *kofn__verbs_port_inspect(struct kofn__verbs_port *port, uint8_t number,
                                     const union ibv_gid *near);

/* The addresses of @port that can be used, best first: see gid.h. Returns how many. */
size_t kofn__verbs_port_gids(const struct kofn__verbs_port *port, const union ibv_gid *near,
                             struct ibv_gid_entry entries[KOFN__VERBS_GIDS_MAX]);

#endif
