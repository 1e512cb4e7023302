/* What every transport needs and none has of its own: descriptors of an offer, a connection that is
 * waited for, snapshots that are kept, models that are copied, and entries of the table for what is
 * not there.
 */
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/racy.h"
#include "transports/transport.h"

#define SLICE_NS KOFN_NS_PER_MS /* between two looks at a connection that is being made */
#define COPY_BYTES 8192u        /* copied to one array, then out of the first cache to the other */

void kofn_offer_close(const struct kofn_offer *offer)
{
    for (uint32_t i = 0; i < offer->fd_count && offer->fd_count <= KOFN_OFFER_FDS; i++)
        close(offer->fds[i]);
}

int kofn_hub_connect(struct kofn_hub *hub, uint32_t rank, const struct kofn_offer *offer)
{
    int rc = hub->ops->hub_connect(hub, rank, offer);

    while (rc == KOFN_AGAIN) {
        hub->ops->hub_wait(hub, kofn_now_ns() + SLICE_NS);
        rc = hub->ops->hub_connect(hub, rank, NULL);
    }
    return rc;
}

void kofn_keep_in_buffer(struct kofn_endpoint *endpoint, const struct kofn_stamp *stamp)
{
    kofn_slot_publish(&endpoint->slot, endpoint->buffers, stamp);
}

void kofn_model_copy(const struct kofn_endpoint *endpoint, const void *from, float *model,
                     float *base)
{
    uint64_t bytes = endpoint->model.payload_bytes;

    for (uint64_t at = 0; at < bytes; at += COPY_BYTES) {
        uint64_t part = KOFN_MIN(bytes - at, (uint64_t)COPY_BYTES);

        kofn_racy_copy((char *)model + at, (const char *)from + at, part);
        if (base)
            memcpy((char *)base + at, (char *)model + at, part);
    }
}

int kofn_fetch_from_view(struct kofn_endpoint *endpoint, float *model, float *base,
                         struct kofn_stamp *stamp)
{
    const void *payload;
    int rc = endpoint->ops->endpoint_view(endpoint, &payload, stamp);

    if (rc)
        return rc;
    kofn_model_copy(endpoint, payload, model, base);
    return kofn_model_whole(endpoint, payload, stamp->sequence) ? 0 : KOFN_AGAIN;
}

int kofn_nosys_hub_read(struct kofn_hub *hub, uint32_t rank, uint64_t after)
{
    (void)hub;
    (void)rank;
    (void)after;
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
