/* where.h: where a server listens and its workers look for it, from the options of both.
 *
 * Without an address, a server of shared memory is shm:kofn, one over a network listens on port
 * KOFN_PORT of loopback, and workers look there.
 */
#ifndef KOFN_CLI_WHERE_H
#define KOFN_CLI_WHERE_H

#include "cli/option.h"
#include "core/channel.h"

#define KOFN_PORT 18590

/* The server's, from --address, or --bind and --port; an address of a network chooses transport tcp
 * where none was asked for. Returns KOFN_INVALID for options that contradict one another; logged.
 */
int kofn_where_server(struct kofn_options *options, const struct kofn_log *log,
                      char address[KOFN_ADDRESS_BYTES]);

/* Where a worker looks: --address, or as above. */
void kofn_where_worker(const struct kofn_conf *conf, char address[KOFN_ADDRESS_BYTES]);

/* The transport that was asked for, by name; NULL if none was: the address, or the server, tells.
 */
const char *kofn_where_transport(const struct kofn_options *options);

#endif
