#include "theory/renewal.h"

#include <math.h>

#include "theory/special.h"

double kofn_renewal_cdf(const struct kofn_renewal *stream, uint64_t n, double time)
{
    return kofn_special_gamma((double)n, (time - (double)n * stream->shift) / stream->mean);
}

double kofn_renewal_tail(const struct kofn_renewal *stream, uint64_t n, double time)
{
    return kofn_special_gamma_tail((double)n, (time - (double)n * stream->shift) / stream->mean);
}

static double law_cdf(const void *arg, double time)
{
    const struct kofn_renewal *stream = arg;

    return kofn_renewal_cdf(stream, stream->updates, time);
}

static double law_tail(const void *arg, double time)
{
    const struct kofn_renewal *stream = arg;

    return kofn_renewal_tail(stream, stream->updates, time);
}

static double law_log_density(const void *arg, double time)
{
    const struct kofn_renewal *stream = arg;
    double u = stream->updates, x = (time - u * stream->shift) / stream->mean, log_gamma;

    if (x <= 0)
        return -INFINITY;
    log_gamma = lgamma_r(u, &(int){0}); /* lgamma() itself would set a global */
    return (u - 1) * log(x) - x - log_gamma - log(stream->mean);
}

struct kofn_law kofn_renewal_law(const struct kofn_renewal *stream)
{
    return (struct kofn_law){.cdf = law_cdf,
                             .tail = law_tail,
                             .log_density = law_log_density,
                             .arg = stream,
                             .low = stream->updates * stream->shift};
}
