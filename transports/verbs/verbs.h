/* verbs.h: the transport between hosts that have RDMA devices: InfiniBand, RoCE and their like. */
#ifndef KOFN_TRANSPORTS_VERBS_H
#define KOFN_TRANSPORTS_VERBS_H

#include "transports/transport.h"

extern const struct kofn_transport_ops kofn_verbs;

#endif
