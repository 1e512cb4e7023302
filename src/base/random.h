/* random.h: a small, fast, seedable generator (xoshiro256**, Blackman and Vigna), so that every run can be repeated.
 *
 * State is an argument: no function here has any of its own. Different (seed, stream) pairs give independent
 * sequences: workers, delays and splits take streams of their own from one seed.
 */
#ifndef KOFN_BASE_RANDOM_H
#define KOFN_BASE_RANDOM_H

#include "base/base.h"

struct kofn_random {
    uint64_t state[4];
};

/* What a stream is for: no two uses share one, so that a change in one draws nothing from another. */
enum kofn_stream {
    KOFN_STREAM_DATA = 1, /* synthetic data set */
    KOFN_STREAM_SPLIT,    /* which worker has which samples */
    KOFN_STREAM_MODEL,    /* first model; the optima of `quadratic` */
    KOFN_STREAM_SAMPLER,  /* order of a worker's mini-batches */
    KOFN_STREAM_DELAY,    /* a worker's injected delays */
    KOFN_STREAM_LOSS,     /* injected message loss */
    KOFN_STREAM_PEER,     /* whom a node asks, where that is drawn */
    KOFN_STREAM_OTHER,    /* first number free for others */
};

/* The stream of @use that belongs to worker @rank (0 where there is one for all). */
static inline uint64_t kofn_stream_of(enum kofn_stream use, uint32_t rank)
{
    return (uint64_t)use << 32 | rank;
}

void kofn_random_seed(struct kofn_random *random, uint64_t seed, uint64_t stream);

/* 64 uniform bits. */
uint64_t kofn_random_next(struct kofn_random *random);

/* Uniform in [0, 1), 53 bits. */
double kofn_random_uniform(struct kofn_random *random);

/* Uniform in [0, @bound), without bias; @bound > 0. */
uint64_t kofn_random_below(struct kofn_random *random, uint64_t bound);

/* Exponential with mean 1. */
double kofn_random_exponential(struct kofn_random *random);

/* Standard normal (polar method). */
double kofn_random_normal(struct kofn_random *random);

/* Gamma with shape @shape > 0 and scale 1 (Marsaglia and Tsang). */
double kofn_random_gamma(struct kofn_random *random, double shape);

#endif
