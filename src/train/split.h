/* split.h: which worker has which samples, and in which order it takes them.
 *
 *     iid              dealt out at random, equally
 *     sorted           sorted by class and cut into equal pieces: about one class a worker
 *     dirichlet:ALPHA  each class shared out in proportions drawn from a Dirichlet distribution;
 * the smaller ALPHA, the fewer classes a worker has
 *
 * Every sample belongs to exactly one worker and every worker has at least one. The same seed gives
 * the same split in every process, so that nobody has to send it.
 */
#ifndef KOFN_TRAIN_SPLIT_H
#define KOFN_TRAIN_SPLIT_H

#include "base/log.h"
#include "base/parse.h"
#include "base/random.h"
#include "train/data.h"

enum kofn_split_kind { KOFN_SPLIT_IID, KOFN_SPLIT_SORTED, KOFN_SPLIT_DIRICHLET };

struct kofn_split_spec {
    enum kofn_split_kind kind;
    double alpha; /* of dirichlet */
};

/* Worker m has the samples index[start[m]] to index[start[m + 1] - 1]. */
struct kofn_split {
    uint32_t workers;
    uint32_t *index; /* a permutation of all samples */
    uint32_t *start; /* workers + 1 */
};

/* KOFN_INVALID if @spec is none of the above; logged. */
int kofn_split_parse(struct kofn_text spec, const struct kofn_log *log,
                     struct kofn_split_spec *result);

/* Splits @set, whose labels are below @classes. KOFN_INVALID (more workers than samples, or none),
 * KOFN_NO_MEMORY; logged.
 */
int kofn_split_make(const struct kofn_split_spec *spec, const struct kofn_samples *set,
                    uint32_t classes, uint32_t workers, uint64_t seed, const struct kofn_log *log,
                    struct kofn_split *split);

void kofn_split_free(struct kofn_split *split);

/* Draws a worker's mini-batches: its samples in random order, all of them before any comes again,
 * then in another order. It keeps the order in the split's index, in the worker's own piece, so
 * there is one sampler for each worker of a split in a process; different workers' samplers may run
 * in different threads.
 */
struct kofn_sampler {
    uint32_t *index; /* of the worker's samples; not owned */
    uint32_t count, position;
    struct kofn_random random;
};

void kofn_sampler_init(struct kofn_sampler *sampler, const struct kofn_split *split, uint32_t rank,
                       uint64_t seed);

/* The next @count samples (a batch may be larger than what the worker has). No allocation. */
void kofn_sampler_next(struct kofn_sampler *sampler, uint32_t count, uint32_t *index);

#endif
