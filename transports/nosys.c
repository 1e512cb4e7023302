/* What a transport does not have: entries of its table that say so. */
#include "transports/transport.h"

int kofn_nosys_hub_read(struct kofn_hub *hub, uint32_t rank, uint64_t sequence)
{
    (void)hub;
    (void)rank;
    (void)sequence;
    return KOFN_UNSUPPORTED;
}

int kofn_nosys_endpoint_register(struct kofn_endpoint *endpoint, void *address, size_t bytes,
                                 enum kofn_memory_type type)
{
    (void)endpoint;
    (void)address;
    (void)bytes;
    (void)type;
    return KOFN_UNSUPPORTED;
}
