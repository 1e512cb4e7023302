/* stop.h: signals that end a job in order, or that say that a worker process has ended.
 *
 * The one state of the program that is not an argument: a signal handler has none.
 */
#ifndef KOFN_CLI_STOP_H
#define KOFN_CLI_STOP_H

#include "base/base.h"

struct kofn_server;

/* From here on the first SIGINT, SIGTERM or SIGHUP is noted instead of ending the process; the next
 * one ends it at once. SIGCHLD wakes it. */
void kofn_stop_install(void);

/* @server is interrupted by those signals too; NULL for none. */
void kofn_stop_wakes(struct kofn_server *server);

/* The signal that asked for the end, or 0. */
int kofn_stop_signal(void);

/* In a worker process: the signals that ask for the end of the job are the parent's, which ends it
 * in order, also where they come to the whole group. A parent that is gone ends it too. */
void kofn_stop_in_worker(void);

#endif
