/* interface.h: the address of an interface of this host, for those who have several networks and
 * want one of them.
 *
 * Interfaces are named as NCCL_SOCKET_IFNAME does it: "eth,ib0" means all whose names begin so, a
 * "=" in front the very names, a "^" in front of it all (so "^=" as well) all others.
 *
 * Threads: no state.
 */
#ifndef KOFN_BASE_INTERFACE_H
#define KOFN_BASE_INTERFACE_H

#include "base/base.h"

struct kofn_log;

#define KOFN_INTERFACES_BYTES 128u /* a list and its zero byte fit */

enum kofn_interface_kind {
    KOFN_INTERFACE_ANY,
    KOFN_INTERFACE_IPV4,
    KOFN_INTERFACE_IPV6,
    KOFN_INTERFACE_LINK, /* IPv6, good on its own link alone: "fe80::1%eth0" */
};

/* Does @list mean the interface @name? */
bool kofn_interface_meant(const char *list, const char *name);

/* Writes the number of an address of an interface that is meant and up, as getnameinfo() does. IPv4
 * before IPv6, one of a link alone only where it is asked for or there is no other, and loopback
 * last where others are excluded ("^docker0").
 *
 * @bytes  of @host
 * Returns 0; KOFN_INVALID if there is none; KOFN_SYSTEM. Logs nothing.
 */
int kofn_interface_find(const char *list, enum kofn_interface_kind kind, char *host, size_t bytes);

/* The same, and says what is wrong, and which interfaces there are. @who: for the message, "tcp".
 */
int kofn_interface_host(const char *list, enum kofn_interface_kind kind, char *host, size_t bytes,
                        const char *who, const struct kofn_log *log);

/* True if the number @host is good on its own link alone, with or without a "%eth0" behind it. */
bool kofn_interface_link_local(const char *host);

#endif
