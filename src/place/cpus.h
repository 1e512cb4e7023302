/* cpus.h: a set of CPUs, by the numbers the kernel gives them.
 *
 * Plain data of a fixed size, so that a map of threads can be copied, sent and compared without a
 * library. A zeroed set is the empty set. No locks, no allocation.
 */
#ifndef KOFN_PLACE_CPUS_H
#define KOFN_PLACE_CPUS_H

#include "base/base.h"
#include "base/log.h"

#define KOFN_CPUS_MAX 8192 /* CPU numbers below it: as many as a Linux kernel can be built for */
#define KOFN_CPUS_TEXT_BYTES                                                                       \
    256 /* room for the list of a set in a message; longer ones are cut                            \
         */

struct kofn_cpus {
    uint64_t word[KOFN_CPUS_MAX / 64];
};

/* @cpu is in [0, KOFN_CPUS_MAX); kofn_cpus_has() answers false to any other number. */
void kofn_cpus_add(struct kofn_cpus *set, int cpu);
void kofn_cpus_remove(struct kofn_cpus *set, int cpu);
bool kofn_cpus_has(const struct kofn_cpus *set, int cpu);

/* The smallest member above @cpu (-1 starts), or -1: `for (c = next(s, -1); c >= 0; c = next(s,
 * c))`. */
int kofn_cpus_next(const struct kofn_cpus *set, int cpu);

unsigned kofn_cpus_count(const struct kofn_cpus *set);
bool kofn_cpus_equal(const struct kofn_cpus *a, const struct kofn_cpus *b);

/* What @a and @b have in common. */
struct kofn_cpus kofn_cpus_both(const struct kofn_cpus *a, const struct kofn_cpus *b);

/* Takes the members of @other out of @set. */
void kofn_cpus_minus(struct kofn_cpus *set, const struct kofn_cpus *other);

/* Picks @count members of @set at even distances, in ascending order; @count is at most the size of
 * @set.
 *
 * What is left of spreading where nothing is known but numbers.
 */
void kofn_cpus_pick_evenly(const struct kofn_cpus *set, unsigned count, int *cpu);

/* Reads a list such as "0-3,8". Returns KOFN_INVALID, logged, for anything else, for numbers of
 * KOFN_CPUS_MAX and above, for descending ranges, and for the empty list.
 */
int kofn_cpus_parse(const char *text, const struct kofn_log *log, struct kofn_cpus *set);

/* Writes @set as a list such as "0-3,8" ("none" if empty) and returns @buffer; a list that does not
 * fit ends in "...". @size is at least 16.
 */
const char *kofn_cpus_format(const struct kofn_cpus *set, char *buffer, size_t size);

/* The CPUs the calling thread may run on now. Returns KOFN_SYSTEM, logged, where the kernel does
 * not say. */
int kofn_cpus_of_thread(const struct kofn_log *log, struct kofn_cpus *set);

#endif
