/* describe.h: what `kofn info` says of RDMA devices, one line a device and one a port, and which of
 * them a job would use.
 */
#ifndef KOFN_TRANSPORTS_VERBS_DESCRIBE_H
#define KOFN_TRANSPORTS_VERBS_DESCRIBE_H

#include "transports/verbs/device.h"

#define KOFN__VERBS_TEXT 512

/* Opens every device of this host, one after the other, and tells @finding of it:
 *
 *   NAME            firmware, NUMA node; why it is not used
 *   NAME:PORT       state, link layer, MTU, address, traffic class; why it is not used
 *   NAME:PORT GIDs  the addresses that work, best first, where there are several
 *   choice          the port that is used with @options and those of the environment
 */
void kofn__verbs_describe(const char *options, kofn_finding finding, void *arg);

/* The texts of these lines; each fills and returns @text. Pure but for names of interfaces.
 * @why  what speaks against it, as inspect.h has it, or NULL
 */
const char *kofn__verbs_device_text(const struct kofn__verbs_port *port, const char *why,
                                    char text[KOFN__VERBS_TEXT]);
const char *kofn__verbs_port_text(const struct kofn__verbs_port *port, const char *why,
                                  char text[KOFN__VERBS_TEXT]);
const char *kofn__verbs_gids_text(const struct ibv_gid_entry *entries, size_t count,
                                  char text[KOFN__VERBS_TEXT]);

#endif
