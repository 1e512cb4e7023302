/* deadline.h: how long a round may take: a fixed time, or median + 3 MAD of the arrival times seen.
 *
 * Times are from the opening of a round to a worker's arrival. Late arrivals are included: on-time
 * arrivals alone would shrink the deadline by themselves. The MAD has a floor of 5 % of the median,
 * because on quiet machines it is almost zero and would then cut off half of the workers. No
 * deadline is given before 3 rounds' worth is known.
 */
#ifndef KOFN_ROUND_DEADLINE_H
#define KOFN_ROUND_DEADLINE_H

#include "base/base.h"

#define KOFN_DEADLINE_SAMPLES 256

struct kofn_deadline {
    uint64_t fixed_ns; /* 0 = none */
    bool adaptive;
    uint32_t minimum; /* samples before an adaptive deadline is given */
    uint32_t count, next;
    double samples[KOFN_DEADLINE_SAMPLES];
};

void kofn_deadline_init(struct kofn_deadline *deadline, uint64_t fixed_ns, bool adaptive,
                        uint32_t workers);

/* An arrival @ns after its round had opened. */
void kofn_deadline_add(struct kofn_deadline *deadline, double ns);

/* The deadline from the opening of a round, or 0 for none. Costs O(samples): once a round. */
uint64_t kofn_deadline_span(const struct kofn_deadline *deadline);

/* The median of @values, which are reordered; 0 for none. */
double kofn_median(double *values, size_t count);

#endif
