/* beats.h: finds, among many beats, those that have changed.
 *
 * A server looks at all beats many times in a round, and most of the time nothing has changed: this
 * loop is what the K-th of N workers waits for, so it does one compare a word and nothing else. It
 * does not judge what it finds: a torn word is reported like any other, and again once it is whole.
 *
 * Threads: the words may be written at any time by anybody; @seen belongs to the caller.
 */
#ifndef KOFN_PROTO_BEATS_H
#define KOFN_PROTO_BEATS_H

#include "base/base.h"

/* Finds the words that differ from what was seen of them, and remembers what it found.
 *
 * @beats    word i is at beats + i * stride, aligned to 8 bytes
 * @stride   bytes, a multiple of 8; 8 (a dense array) is the fast one
 * @seen     @n words; in: what was seen last (0 at first), out: the new value of every word that is
 *           reported and of no other. Whatever was written before a word that is reported is
 * visible afterwards.
 * @changed  out: the indices of the words that changed, ascending, at most @max
 * Returns how many. If that is @max there may be more: they are reported by the next call.
 */
uint32_t kofn_beats_scan(const char *beats, size_t stride, uint64_t *seen, uint32_t n,
                         uint32_t *changed, uint32_t max);

#endif
