/* parts.h: the rounds of a simulation, cut into parts of as many rounds each, and what they say.
 *
 * Rounds depend on one another; parts of many of them hardly do, so that means over parts have
 * standard errors. When all parts are full, two and two become one, and the simulation goes on with
 * longer ones: nothing needs to be known of its length before.
 */
#ifndef KOFN_CLI_PARTS_H
#define KOFN_CLI_PARTS_H

#include "cli/forecast.h"

#define KOFN_PARTS 32u

struct kofn_part {
    double sum[KOFN_QUANTITIES]; /* of the rounds; of busy seconds for the idle ones, of staleness
                                    times publications for the staleness */
    double rounds, seconds;
    double merged;  /* publications */
    double updates; /* local updates in them */
};

struct kofn_parts {
    struct kofn_part list[KOFN_PARTS];
    double *pull; /* of every worker, part by part; owned */
    uint32_t count, workers;
};

/* KOFN_NO_MEMORY; not logged. */
int kofn_parts_open(struct kofn_parts *parts, uint32_t workers);
void kofn_parts_close(struct kofn_parts *parts);

/* The part that is to be filled next, with what each worker pulls in it: both zero. There is room.
 */
struct kofn_part *kofn_parts_next(struct kofn_parts *parts, double **pull);

/* Makes one part of every two; their number is even. */
void kofn_parts_fold(struct kofn_parts *parts);

struct kofn_mean {
    double value, error; /* NaN: there is none; it is not known */
};

struct kofn_mean kofn_parts_mean(const struct kofn_parts *parts, enum kofn_quantity quantity);

/* Local updates merged a second; kofn_bias() of the pulls. */
struct kofn_mean kofn_parts_rate(const struct kofn_parts *parts);
struct kofn_mean kofn_parts_bias(const struct kofn_parts *parts);

/* Whether the standard error of @mean is at most @precision of its value (of 1, if that is less, of
 * staleness and idleness, which may be 0).
 */
bool kofn_mean_is_precise(const struct kofn_mean *mean, enum kofn_quantity quantity,
                          double precision);

#endif
