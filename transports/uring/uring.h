/* uring.h: the transport over TCP, driven by io_uring where that is allowed and by epoll where it
 * is not. Its name is "tcp". Option: engine=auto|uring|poll.
 */
#ifndef KOFN_TRANSPORTS_URING_H
#define KOFN_TRANSPORTS_URING_H

#include "transports/transport.h"

extern const struct kofn_transport_ops kofn_tcp;

#endif
