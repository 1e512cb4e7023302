#include "base/random.h"

#include <math.h>

static uint64_t rotate_left(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

/* One output of splitmix64 (Steele, Lea and Flood): every seed, zero included, gives well-mixed
 * words. */
static uint64_t mix_next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void kofn_random_seed(struct kofn_random *random, uint64_t seed, uint64_t stream)
{
    uint64_t mixed_seed = seed, mixed_stream = stream ^ UINT64_C(0x6a09e667f3bcc908), state;

    /* both are mixed before they meet, so that (seed + 1, stream) and (seed, stream + 1) are
     * unrelated */
    state = mix_next(&mixed_seed) ^ rotate_left(mix_next(&mixed_stream), 32);
    for (int i = 0; i < 4; i++)
        random->state[i] = mix_next(&state);
    if (!(random->state[0] | random->state[1] | random->state[2] | random->state[3]))
        random->state[0] = 1; /* the one state the generator never leaves */
}

uint64_t kofn_random_next(struct kofn_random *random)
{
    uint64_t *s = random->state, result = rotate_left(s[1] * 5, 7) * 9, t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

double kofn_random_uniform(struct kofn_random *random)
{
    return (double)(kofn_random_next(random) >> 11) * 0x1p-53;
}

uint64_t kofn_random_below(struct kofn_random *random, uint64_t bound)
{
    /* Lemire's method: the high word of a 64 x 64 product, redrawn in the few cases that would be
     * biased */
    unsigned __int128 product = (unsigned __int128)kofn_random_next(random) * bound;

    if ((uint64_t)product < bound) {
        uint64_t threshold = -bound % bound;

        while ((uint64_t)product < threshold)
            product = (unsigned __int128)kofn_random_next(random) * bound;
    }
    return (uint64_t)(product >> 64);
}

double kofn_random_exponential(struct kofn_random *random)
{
    return -log(1 - kofn_random_uniform(random)); /* of (0, 1], exactly: this is finite */
}

double kofn_random_normal(struct kofn_random *random)
{
    double x, y, square;

    do {
        x = 2 * kofn_random_uniform(random) - 1;
        y = 2 * kofn_random_uniform(random) - 1;
        square = x * x + y * y;
    } while (square >= 1 || square == 0);
    return x * sqrt(-2 * log(square) / square);
}

double kofn_random_gamma(struct kofn_random *random, double shape)
{
    double boost = 1, d, c, x, v, u;

    if (shape < 1) {
        /* gamma(a) = gamma(a + 1) U^(1/a); a tiny shape may underflow to 0, which is its most
         * likely value */
        boost = pow(1 - kofn_random_uniform(random), 1 / shape);
        shape += 1;
    }
    d = shape - 1.0 / 3;
    c = 1 / sqrt(9 * d);
    for (;;) {
        x = kofn_random_normal(random);
        v = 1 + c * x;
        if (v <= 0)
            continue;
        v = v * v * v;
        u = 1 - kofn_random_uniform(random);
        if (log(u) < 0.5 * x * x + d - d * v + d * log(v))
            return boost * d * v;
    }
}
