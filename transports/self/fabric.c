/* The queues of a fabric: posting, and everything a test may do to a message but deliver it. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "transports/self/internal.h"

int kofn_fabric_open(const struct kofn_fabric_attr *attr, struct kofn_fabric **fabric_p)
{
    struct kofn_fabric *fabric;

    if (!attr->workers)
        return kofn_error(attr->log, KOFN_INVALID, "self: a fabric without workers");
    fabric = calloc(1, sizeof(*fabric) + attr->workers * sizeof(fabric->links[0]));
    if (!fabric)
        return kofn_error(attr->log, KOFN_NO_MEMORY, "self: a fabric of %u links", attr->workers);
    fabric->attr = *attr;
    kofn_random_seed(&fabric->random, attr->seed, 0);
    for (uint32_t rank = 0; rank < attr->workers; rank++)
        for (int channel = 0; channel < KOFN_CHANNELS; channel++) {
            struct queue *queue = &fabric->links[rank].queues[channel];

            queue->tail = &queue->head;
        }
    *fabric_p = fabric;
    return 0;
}

/* Takes the first message out; the caller frees it. */
static struct message *take(struct queue *queue)
{
    struct message *message = queue->head;

    queue->head = message->next;
    if (!queue->head)
        queue->tail = &queue->head;
    queue->count--;
    return message;
}

void kofn_fabric_close(struct kofn_fabric *fabric)
{
    if (!fabric)
        return;
    for (uint32_t rank = 0; rank < fabric->attr.workers; rank++)
        for (int channel = 0; channel < KOFN_CHANNELS; channel++)
            while (fabric->links[rank].queues[channel].head)
                free(take(&fabric->links[rank].queues[channel]));
    free(fabric);
}

const struct kofn_fabric_counts *kofn_fabric_counts(const struct kofn_fabric *fabric)
{
    return &fabric->counts;
}

size_t kofn_fabric_pending(const struct kofn_fabric *fabric, uint32_t rank,
                           enum kofn_fabric_channel channel)
{
    return fabric->links[rank].queues[channel].count;
}

int kofn_fabric_peek(const struct kofn_fabric *fabric, uint32_t rank,
                     enum kofn_fabric_channel channel, enum kofn_message_kind *kind)
{
    const struct message *message = fabric->links[rank].queues[channel].head;

    if (!message)
        return KOFN_AGAIN;
    *kind = message->kind;
    return 0;
}

struct message *kofn__message_new(enum kofn_message_kind kind, uint32_t generation, size_t bytes)
{
    struct message *message = calloc(1, sizeof(*message) + bytes);

    if (!message)
        return NULL;
    message->kind = kind;
    message->generation = generation;
    message->bytes = bytes;
    return message;
}

void kofn__fabric_post(struct kofn_fabric *fabric, uint32_t rank, enum kofn_fabric_channel channel,
                       struct message *message)
{
    struct queue *queue = &fabric->links[rank].queues[channel];

    queue->due = KOFN_MAX(queue->due, fabric->now + queue->delay);
    message->due = queue->due;
    *queue->tail = message;
    queue->tail = &message->next;
    queue->count++;
    fabric->counts.posted++;
}

int kofn__fabric_post_word(struct kofn_fabric *fabric, uint32_t rank,
                           enum kofn_fabric_channel channel, enum kofn_message_kind kind,
                           uint32_t generation, uint64_t word)
{
    struct message *message = kofn__message_new(kind, generation, 0);

    if (!message)
        return KOFN_NO_MEMORY;
    message->word = word;
    kofn__fabric_post(fabric, rank, channel, message);
    return 0;
}

int kofn__fabric_post_read(struct kofn_fabric *fabric, uint32_t rank)
{
    static const enum kofn_message_kind kinds[] = {
        KOFN_MESSAGE_READ_STAMP, KOFN_MESSAGE_READ_PAYLOAD, KOFN_MESSAGE_READ_CHECK};
    struct message *messages[KOFN_ARRAY_SIZE(kinds)];
    bool any_missing = false;

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(kinds); i++) {
        messages[i] = kofn__message_new(kinds[i], fabric->links[rank].generation, 0);
        any_missing |= !messages[i];
    }
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(kinds); i++)
        if (any_missing)
            free(messages[i]);
        else
            kofn__fabric_post(fabric, rank, KOFN_CHANNEL_READ, messages[i]);
    return any_missing ? KOFN_NO_MEMORY : 0;
}

struct message *kofn__fabric_take(struct kofn_fabric *fabric, uint32_t rank,
                                  enum kofn_fabric_channel channel)
{
    struct link *link = &fabric->links[rank];
    struct self_endpoint *endpoint;
    struct message *message;

    if (!link->queues[channel].head)
        return NULL;
    message = take(&link->queues[channel]);
    if (message->kind != KOFN_MESSAGE_PAYLOAD)
        return message;
    if (message->origin && memcmp(message->origin, message->content, message->bytes))
        fabric->counts.refilled++;
    endpoint = kofn__link_endpoint(link, message->generation);
    if (endpoint)
        endpoint->left = KOFN_MAX(endpoint->left, message->sequence);
    return message;
}

bool kofn__fabric_has_stamp(const struct kofn_fabric *fabric, uint32_t rank,
                            enum kofn_fabric_channel channel)
{
    const struct message *message = fabric->links[rank].queues[channel].head;

    return message &&
           (message->kind == KOFN_MESSAGE_STAMP || message->kind == KOFN_MESSAGE_MODEL_STAMP);
}

int kofn_fabric_drop(struct kofn_fabric *fabric, uint32_t rank, enum kofn_fabric_channel channel)
{
    struct message *message = kofn__fabric_take(fabric, rank, channel);
    bool content;

    if (!message)
        return KOFN_AGAIN;
    content = message->bytes > 0;
    free(message);
    fabric->counts.dropped++;
    if (content && kofn__fabric_has_stamp(fabric, rank, channel)) {
        free(kofn__fabric_take(fabric, rank, channel));
        fabric->counts.dropped++;
    }
    return 0;
}

int kofn_fabric_swap(struct kofn_fabric *fabric, uint32_t rank, enum kofn_fabric_channel channel)
{
    struct queue *queue = &fabric->links[rank].queues[channel];
    struct message *first = queue->head, *second = first ? first->next : NULL;

    if (!second)
        return KOFN_AGAIN;
    first->next = second->next;
    second->next = first;
    queue->head = second;
    if (queue->tail == &second->next)
        queue->tail = &first->next;
    return 0;
}

void kofn_fabric_delay(struct kofn_fabric *fabric, uint32_t rank, enum kofn_fabric_channel channel,
                       uint64_t steps)
{
    struct queue *queue = &fabric->links[rank].queues[channel];

    queue->delay = steps;
    queue->due = fabric->now + steps;
    for (struct message *message = queue->head; message; message = message->next)
        message->due = queue->due;
}

void kofn_fabric_tick(struct kofn_fabric *fabric)
{
    fabric->now++;
}

void kofn_fabric_cut(struct kofn_fabric *fabric, uint32_t rank)
{
    struct link *link = &fabric->links[rank];

    for (int channel = 0; channel < KOFN_CHANNELS; channel++)
        while (link->queues[channel].head) {
            free(take(&link->queues[channel]));
            fabric->counts.dropped++;
        }
    link->reading = false;
    link->cut = link->generation;
    link->cut_reported = false;
}
