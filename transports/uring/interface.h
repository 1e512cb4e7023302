/* interface.h: the address of an interface of this host, for those who have several networks and
 * want payload on one of them, whatever the control channel takes.
 */
#ifndef KOFN_TRANSPORTS_URING_INTERFACE_H
#define KOFN_TRANSPORTS_URING_INTERFACE_H

#include "transports/transport.h"

/* Writes the number of an address of interface @name, which is up; those that are good on its own
 * link alone ("fe80::...") do not count.
 *
 * @family  AF_INET or AF_INET6; AF_UNSPEC = any, IPv4 first
 * Returns 0; KOFN_INVALID if there is no such interface, or no such address (logged); KOFN_SYSTEM.
 */
int kofn__interface_host(const char *name, int family, char host[KOFN_HOST_BYTES],
                         const struct kofn_log *log);

#endif
