/* gid.h: which address of a RoCE port to use. Pure: what a table says comes in, an order comes out.
 *
 * A port has many GIDs: of two versions of the protocol, of every address of its interfaces. The
 * wrong one is the most frequent reason why RoCE does not work. In order of preference:
 *
 *   RoCE v2 with an IPv4 address, v2 with a global IPv6 address, v2 with a link-local one,
 *   v1 or InfiniBand
 *
 * and among equals the one that the control connection runs over, then the lowest index.
 */
#ifndef KOFN_TRANSPORTS_VERBS_GID_H
#define KOFN_TRANSPORTS_VERBS_GID_H

#include <infiniband/verbs.h>

#include "base/base.h"

#define KOFN__VERBS_GID_TEXT 80

/* Sorts @entries, best first; those that are no address are left out. @near is the address of the
 * control connection at this host, or NULL. Returns how many are left.
 */
size_t kofn__verbs_gid_order(struct ibv_gid_entry *entries, size_t count,
                             const union ibv_gid *near);

/* "10.0.0.1", "fe80::1" as a GID; false if @text is neither. An index behind a % does not count. */
bool kofn__verbs_gid_parse(const char *text, union ibv_gid *gid);

/* True for "0.0.0.0" and "::". */
bool kofn__verbs_gid_wildcard(const union ibv_gid *gid);

/* "10.0.0.1" for one that holds an IPv4 address, else as IPv6. Returns @text. */
const char *kofn__verbs_gid_print(const union ibv_gid *gid, char text[KOFN__VERBS_GID_TEXT]);

/* "RoCE v2", "RoCE v1", "InfiniBand". */
const char *kofn__verbs_gid_type(uint32_t type);

#endif
