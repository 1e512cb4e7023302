/* where.h: where a server listens and its workers look for it, from the options of both.
 *
 * Without an address, a server of shared memory is shm:kofn, one over a network listens on port
 * KOFN_PORT of loopback, and workers look there. An interface (--interface) says where a server
 * listens unless an address does; over TCP it is then that of updates and models, and a worker's
 * are sent from it. A server that listens on all addresses takes NCCL_SOCKET_IFNAME as a hint for
 * those.
 */
#ifndef KOFN_CLI_WHERE_H
#define KOFN_CLI_WHERE_H

#include "cli/option.h"
#include "core/channel.h"

#define KOFN_PORT 18590

/* The server's, from --address, or --bind or --interface and --port; an address of a network
 * chooses transport tcp where none was asked for. Returns KOFN_INVALID for options that contradict
 * one another; logged.
 */
int kofn_where_server(struct kofn_options *options, const struct kofn_log *log,
                      char address[KOFN_ADDRESS_BYTES]);

/* Where a worker looks: --address, or as above. KOFN_INVALID as above. */
int kofn_where_worker(struct kofn_options *options, const struct kofn_log *log,
                      char address[KOFN_ADDRESS_BYTES]);

/* --connect, as an option of the transport: the two functions above have called this. KOFN_INVALID
 * (logged) if it is not one to which that means anything.
 */
int kofn_where_connect(struct kofn_options *options, const struct kofn_log *log);

/* The transport that was asked for, by name; NULL if none was: the address, or the server, tells.
 */
const char *kofn_where_transport(const struct kofn_options *options);

#endif
