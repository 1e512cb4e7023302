#include "transports/shm/layout.h"

#include <string.h>
#include <unistd.h>

static const char magic[8] = "kofnshm1";

void kofn__shm_layout_init(struct kofn__shm_layout *layout, uint32_t workers,
                           const struct kofn_geometry *slot)
{
    uint64_t page = KOFN_MAX((uint64_t)sysconf(_SC_PAGESIZE), (uint64_t)KOFN_PAGE);
    uint64_t spread;

    layout->colour = workers <= KOFN__SHM_COLOURS ? KOFN__SHM_COLOUR : 0;
    spread = (workers - 1) * layout->colour;
    layout->head_bytes = kofn_round_up(spread + sizeof(struct kofn__shm_head), page);
    layout->worker_bytes = layout->head_bytes + kofn_round_up(spread + slot->slot_bytes, page);
}

void kofn__shm_offer_init(struct kofn__shm_offer *content, uint32_t workers, uint32_t rank,
                          uint32_t epoch, const struct kofn_geometry *slot,
                          const struct kofn_geometry *model)
{
    *content = (struct kofn__shm_offer){.rank = rank,
                                        .epoch = epoch,
                                        .workers = workers,
                                        .slot_depth = slot->depth,
                                        .model_depth = model->depth,
                                        .slot_payload = slot->payload_bytes,
                                        .model_payload = model->payload_bytes};
    memcpy(content->magic, magic, sizeof(magic));
}

void kofn__shm_offer_put(struct kofn_offer *offer, const struct kofn__shm_offer *content)
{
    memset(offer, 0, sizeof(*offer));
    offer->length = sizeof(*content);
    memcpy(offer->bytes, content, sizeof(*content));
}

int kofn__shm_offer_get(const struct kofn_offer *offer, uint32_t fd_count,
                        struct kofn__shm_offer *content)
{
    if (offer->length != sizeof(*content) || offer->fd_count != fd_count ||
        memcmp(offer->bytes, magic, sizeof(magic)))
        return KOFN_PROTOCOL;
    memcpy(content, offer->bytes, sizeof(*content));
    return 0;
}
