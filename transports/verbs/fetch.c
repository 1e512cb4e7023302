/* Models, at the worker: they come by themselves, and one that does not is asked for. */
#include "base/barrier.h"
#include "base/racy.h"
#include "transports/verbs/endpoint.h"

/* The newest model's sequence, 0 if there is none, and the buffer it is in: the hub fills them in
 * turn, whichever models it sends.
 */
static uint64_t newest(const struct kofn__verbs_endpoint *endpoint, uint32_t *buffer)
{
    const struct kofn_geometry *model = &endpoint->endpoint.model;
    uint64_t best = 0;

    for (uint32_t i = 0; i < model->depth; i++) {
        uint64_t sequence =
            kofn_peer_load64(&kofn_slot_stamp(model, endpoint->models.address, i)->sequence);

        if (sequence <= best)
            continue;
        best = sequence;
        *buffer = i;
    }
    return best;
}

/* The hub has a model that it has not sent: a worker that was behind asks for it, once. */
static void ask(struct kofn__verbs_endpoint *endpoint, uint64_t have)
{
    uint64_t word = __atomic_load_n(&kofn__verbs_line(endpoint)->published, __ATOMIC_ACQUIRE);
    uint64_t published = word >> 8;

    if (!kofn_word_whole(word) || published <= have || published <= endpoint->asked)
        return;
    if (!kofn__verbs_note_send(endpoint, kofn__verbs_note(KOFN__VERBS_NOTE_MODEL, 0)))
        endpoint->asked = published;
}

int kofn__verbs_endpoint_view(struct kofn_endpoint *base, const void **model,
                              struct kofn_stamp *stamp)
{
    struct kofn__verbs_endpoint *endpoint = kofn__verbs_endpoint(base);
    uint32_t buffer = 0;
    uint64_t sequence = newest(endpoint, &buffer);
    const void *payload = kofn_slot_payload(&base->model, endpoint->models.address, buffer);

    if (kofn__verbs_endpoint_gone(endpoint))
        return KOFN_GONE;
    ask(endpoint, sequence);
    kofn__verbs_endpoint_progress(endpoint);
    if (endpoint->failed)
        return KOFN_GONE;
    if (!sequence)
        return KOFN_AGAIN;
    kofn_racy_copy(stamp, kofn_slot_stamp(&base->model, endpoint->models.address, buffer),
                   sizeof(*stamp));
    stamp->sequence = sequence;
    if (!kofn_model_whole(base, payload, sequence))
        return KOFN_AGAIN;
    *model = payload;
    return 0;
}
