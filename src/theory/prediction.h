/* prediction.h: what theory says of a quantity, and how it knows.
 *
 * src/theory predicts means for i.i.d. workers whose transfers take no time. It does no I/O, keeps
 * no state and draws nothing. Functions return 0, or
 *
 *     KOFN_INVALID      an argument outside what its header allows; not logged, as who read the
 *                       argument knows its name
 *     KOFN_UNSUPPORTED  the value needs quadrature, and this build has no GSL
 *
 * and set their output only with 0. Where a mean is infinite, value is INFINITY. Where neither a
 * closed form is known nor quadrature gets anywhere, method is KOFN_METHOD_NONE and value NaN:
 * simulate instead.
 *
 * Threads: anything, at the same time. Where GSL is used, its error handler, which would abort the
 * process, is switched off for good.
 */
#ifndef KOFN_THEORY_PREDICTION_H
#define KOFN_THEORY_PREDICTION_H

#include "base/base.h"

/* The largest N, K and U that are taken. Errors are tested up to N = 10,000. */
#define KOFN_THEORY_COUNT_MAX (1u << 20)

enum kofn_method {
    KOFN_METHOD_NONE,        /* not known: simulate */
    KOFN_METHOD_CLOSED_FORM, /* exact but for rounding */
    KOFN_METHOD_QUADRATURE,
};

struct kofn_prediction {
    double value; /* in the unit of the distribution's times, or a plain count; may be INFINITY */
    double error; /* estimate of |value - exact|; 0 for a closed form */
    enum kofn_method method;
    bool upper_bound; /* the exact value is not known, but at most this one */
};

static inline struct kofn_prediction kofn_prediction_exact(double value)
{
    return (struct kofn_prediction){.value = value, .method = KOFN_METHOD_CLOSED_FORM};
}

/* factor * value + offset, by the same method. */
static inline struct kofn_prediction kofn_prediction_scaled(struct kofn_prediction prediction,
                                                            double factor, double offset)
{
    prediction.value = factor * prediction.value + offset;
    prediction.error *= factor < 0 ? -factor : factor;
    return prediction;
}

/* What is reported of a quantity that theory does not know. */
struct kofn_prediction kofn_prediction_none(void);

/* "closed-form", "quadrature", or NULL for KOFN_METHOD_NONE. */
const char *kofn_method_name(enum kofn_method method);

#endif
