/* Any bytes as a slot, a block, and words: nothing reads outside of them, and a stamp that is found
 * valid is within the bounds on which everything behind it relies.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/slot.h"
#include "proto/word.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* Takes @bytes off the front of the input; zeros where it ends. */
static void take(const uint8_t **data, size_t *size, void *out, size_t bytes)
{
    size_t there = KOFN_MIN(bytes, *size);

    memset(out, 0, bytes);
    memcpy(out, *data, there);
    *data += there;
    *size -= there;
}

static void try_stamp(const struct kofn_stamp *stamp, const struct kofn_geometry *geometry,
                      uint32_t epoch, uint32_t round)
{
    const char *reason = NULL;

    if (!kofn_stamp_valid(stamp, geometry, epoch, round, &reason)) {
        require(reason && *reason);
        return;
    }
    require(stamp->epoch == epoch);
    require(stamp->length == geometry->payload_bytes);
    require(stamp->round >= 1 && stamp->round <= round);
    require(stamp->version >= 1 && stamp->version <= round);
    require(stamp->from < stamp->updates && stamp->updates <= stamp->total);
}

static void try_words(uint64_t word)
{
    struct kofn_beat beat;
    struct kofn_gate gate;

    if (kofn_beat_unpack(word, &beat)) {
        require(beat.updates <= KOFN_BEAT_MAX_UPDATES);
        require(kofn_beat_pack(beat) == word);
    }
    if (kofn_gate_unpack(word, &gate)) {
        require(gate.lag <= KOFN_GATE_MAX_LAG && gate.state < 16 && gate.released < 256);
        require(kofn_gate_pack(gate) == word);
    }
}

/* A slot of exactly its size, so that a sanitizer sees any read beyond. */
static void try_slot(const uint8_t *data, size_t size, const struct kofn_geometry *geometry,
                     uint32_t epoch, uint32_t round)
{
    void *slot = aligned_alloc(KOFN_PAGE, geometry->slot_bytes);
    struct kofn_stamp stamp;
    const void *payload;

    require(slot != NULL);
    take(&data, &size, slot, geometry->slot_bytes);
    for (uint64_t sequence = 1; sequence < 300; sequence += 1 + sequence / 4)
        if (!kofn_slot_begin(geometry, slot, sequence, &payload, &stamp)) {
            require(stamp.sequence == sequence);
            require((const char *)payload >= (char *)slot);
            require((const char *)payload + geometry->payload_bytes <=
                    (char *)slot + geometry->slot_bytes);
            require(kofn_slot_end(geometry, slot, sequence) == 0);
            try_stamp(&stamp, geometry, epoch, round);
        }
    free(slot);
}

static void try_block(const uint8_t *data, size_t size)
{
    struct kofn_block *block = aligned_alloc(KOFN_CACHE_LINE, sizeof(*block));
    struct kofn_receipt_line line;

    require(block != NULL);
    take(&data, &size, block, sizeof(*block));
    for (uint64_t sequence = 1; sequence < 40; sequence++)
        if (!kofn_block_get_receipt(block, sequence, &line))
            require(line.sequence == sequence);
    free(block);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct {
        uint64_t payload, word;
        uint32_t depth, epoch, round, zero;
    } head;
    struct kofn_geometry geometry;
    struct kofn_stamp stamp;

    take(&data, &size, &head, sizeof(head));
    try_words(head.word);
    try_block(data, size);
    if (kofn_geometry_init(&geometry, head.payload, head.depth))
        return 0;
    memset(&stamp, 0, sizeof(stamp));
    memcpy(&stamp, data, KOFN_MIN(size, sizeof(stamp)));
    try_stamp(&stamp, &geometry, head.epoch, head.round);
    kofn_geometry_init(&geometry, 1 + head.payload % 1000, 2 + head.depth % 7);
    try_slot(data, size, &geometry, head.epoch, head.round);
    return 0;
}
