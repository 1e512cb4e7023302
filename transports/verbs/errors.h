/* errors.h: what devices report, in sentences that say what to do. Pure. */
#ifndef KOFN_TRANSPORTS_VERBS_ERRORS_H
#define KOFN_TRANSPORTS_VERBS_ERRORS_H

#include <infiniband/verbs.h>

#include "transports/verbs/device.h"

#define KOFN__VERBS_FAILURE_TEXT 384

/* What a failed completion means, and the usual remedy: "retry exceeded: ...". */
const char *kofn__verbs_completion_text(enum ibv_wc_status status);

/* The same with what is known of the failure: "retry exceeded: ... (GID index 3, MTU 4096, 7 tries
 * of 134 ms; status 12, vendor error 0x81)". Returns @text.
 */
const char *kofn__verbs_failure_text(const struct kofn__verbs_port *port, enum ibv_wc_status status,
                                     uint32_t vendor, char text[KOFN__VERBS_FAILURE_TEXT]);

/* What has happened to a device, a port or a queue: "port 1 is down". Returns @text.
 * @port  of a port's event
 */
const char *kofn__verbs_event_text(enum ibv_event_type type, uint32_t port, char text[128]);

/* True if it has ended a queue pair, which is named in it. */
bool kofn__verbs_event_of_pair(enum ibv_event_type type);

/* True if nothing of the device can be used any more. */
bool kofn__verbs_event_fatal(enum ibv_event_type type);

/* Why memory could not be registered: logs how much of it, the limit and how to raise it, and
 * returns a status. @error is errno.
 */
int kofn__verbs_memory_error(const struct kofn_log *log, const char *device, const char *what,
                             size_t bytes, int error);

#endif
