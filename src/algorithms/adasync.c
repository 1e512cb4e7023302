/* AdaSync (Dutta et al.): one of the K-sync family whose K grows as the loss falls.
 *
 * The loss is a running mean of what merged gradients say of their mini-batches (round/pursuit.h).
 * K is thought over after an interval, as a round opens, and never falls; so every round is judged
 * by one K.
 */
#include "algorithms/adasync.h"

#include <math.h>
#include <string.h>

#include "algorithms/algorithm.h"
#include "round/round.h"

int kofn_adasync_wait_for(enum kofn_growth growth, uint32_t workers, uint32_t first,
                          double first_loss, double loss, double *exact, uint32_t *wait_for)
{
    double n = workers, k0 = first, k, q;

    if (first < 1 || first > workers || !isfinite(first_loss) || !isfinite(loss) ||
        !(first_loss > 0) || !(loss >= 0))
        return KOFN_INVALID;
    if (growth == KOFN_GROWTH_LOG) {
        /* K = (-q + sqrt(q^2 + 4 q N)) / 2, written so that a large q does not cancel */
        q = k0 * k0 / (n - k0) * (first_loss / loss);
        k = q > 0 ? 2 * n / (1 + sqrt(1 + 4 * n / q)) : 0;
    } else {
        k = k0 * sqrt(first_loss / loss);
    }
    k = fmin(n, k);
    if (exact)
        *exact = k;
    *wait_for = (uint32_t)fmax(1, round(k));
    return 0;
}

static void adapt(struct kofn_round *round, uint64_t now, enum kofn_growth growth)
{
    struct kofn_pursuit *pursuit = &round->pursuit;
    uint32_t k;

    if (!kofn_pursuit_due(pursuit, round->config.adapt_every, now))
        return;
    if (!kofn_adasync_wait_for(growth, round->config.workers, round->config.wait_for,
                               pursuit->first_loss, pursuit->loss, NULL, &k))
        round->asked = KOFN_MAX(round->asked, k);
}

static void adapt_linear(struct kofn_round *round, uint64_t now)
{
    adapt(round, now, KOFN_GROWTH_LINEAR);
}

static void adapt_log(struct kofn_round *round, uint64_t now)
{
    adapt(round, now, KOFN_GROWTH_LOG);
}

/* What all four have in common. */
#define ADASYNC                                                                                    \
    .name = "adasync",                                                                             \
    .summary = "one of the four above (--over) with a K that grows as the loss falls",             \
    .source = "Dutta et al.: Slow and Stale Gradients Can Win the Race (arXiv 2003.10579)",        \
    .payload = KOFN_PAYLOAD_GRADIENT, .single_step = true, .eager = true, .exact = true,           \
    .counts = kofn_counts_steps, .closed = kofn_closed_by_count

const struct kofn_algorithm kofn_adasync = {
    ADASYNC,
    .over = "kasync",
    .worker_may = KOFN_WORKER_WAITS,
    .stale = true,
    .current = kofn_current_any,
    .adapt = adapt_linear,
};

static const struct kofn_algorithm over_ksync = {
    ADASYNC,
    .over = "ksync",
    .worker_may = KOFN_WORKER_WAITS,
    .cancels = true,
    .current = kofn_current_same_round,
    .adapt = adapt_log,
};

static const struct kofn_algorithm over_kbatch_sync = {
    ADASYNC,
    .over = "kbatch-sync",
    .worker_may = KOFN_WORKER_REPEATS,
    .cancels = true,
    .current = kofn_current_same_round,
    .adapt = adapt_linear,
};

static const struct kofn_algorithm over_kbatch_async = {
    ADASYNC,       .over = "kbatch-async",      .worker_may = KOFN_WORKER_FETCHES,
    .stale = true, .current = kofn_current_any, .adapt = adapt_linear,
};

static const struct kofn_algorithm *const variants[] = {&over_ksync, &over_kbatch_sync,
                                                        &kofn_adasync, &over_kbatch_async};

const struct kofn_algorithm *kofn_algorithm_over(const struct kofn_algorithm *algorithm,
                                                 const char *over)
{
    if (!over || !*over)
        return algorithm;
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(variants); i++)
        if (algorithm == &kofn_adasync && !strcmp(variants[i]->over, over))
            return variants[i];
    return NULL;
}
