/* options.h: what --transport-option may say to this transport. */
#ifndef KOFN_TRANSPORTS_URING_OPTIONS_H
#define KOFN_TRANSPORTS_URING_OPTIONS_H

#include "base/interface.h"
#include "transports/transport.h"
#include "transports/uring/engine.h"
#include "transports/uring/socket.h"
#include "transports/uring/zero_copy.h"

struct kofn__tcp_options {
    enum kofn__zero_copy_mode zero_copy;   /* of updates; auto unless said */
    const struct kofn__engine_ops *engine; /* `auto` = uring where it is allowed, else poll */
    char interface[KOFN_INTERFACES_BYTES]; /* a hub listens there, an endpoint connects from there;
                                              "" = not said */
    char congestion[KOFN__CONGESTION];     /* how a sender paces itself; "" = the host's way */
};

/* KOFN_INVALID for a key or value that is unknown or too long, KOFN_UNSUPPORTED for engine=uring
 * or congestion=NAME where that is not allowed; logged.
 */
int kofn__tcp_options_read(const char *text, struct kofn__tcp_options *options,
                           const struct kofn_log *log);

#endif
