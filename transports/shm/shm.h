/* shm.h: the transport between processes of one host: memory that both sides have mapped. */
#ifndef KOFN_TRANSPORTS_SHM_H
#define KOFN_TRANSPORTS_SHM_H

#include "transports/transport.h"

extern const struct kofn_transport_ops kofn_shm;

#endif
