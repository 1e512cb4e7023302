/* stop.h: signals that end a job in order, or that say that a worker process has ended.
 *
 * The one state of the program that is not an argument: a signal handler has none.
 */
#ifndef KOFN_CLI_STOP_H
#define KOFN_CLI_STOP_H

#include "base/base.h"

struct kofn_server;

/* From here on SIGINT, SIGTERM and SIGHUP are noted instead of ending the process, and SIGCHLD
 * wakes it. */
void kofn_stop_install(void);

/* @server is interrupted by those signals too; NULL for none. */
void kofn_stop_wakes(struct kofn_server *server);

/* The signal that asked for the end, or 0. */
int kofn_stop_signal(void);

/* In a worker process: the parent alone ends the job; whoever ends the worker alone can. */
void kofn_stop_in_worker(void);

#endif
