/* theory_fixture.h: what the tests of theory share. */
#ifndef KOFN_TESTS_THEORY_FIXTURE_H
#define KOFN_TESTS_THEORY_FIXTURE_H

#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <math.h>
#include <time.h>

#include "base/base.h"
#include "tests/lib/runner.h"
#include "theory/distribution.h"
#include "theory/special.h"

#define EXP(mean)                                                                                  \
    {                                                                                              \
        .kind = KOFN_DISTRIBUTION_EXP, .second = (mean)                                            \
    }
#define SHIFTED_EXP(shift, mean)                                                                   \
    {                                                                                              \
        .kind = KOFN_DISTRIBUTION_SHIFTED_EXP, .first = (shift), .second = (mean)                  \
    }
#define PARETO(shape, scale)                                                                       \
    {                                                                                              \
        .kind = KOFN_DISTRIBUTION_PARETO, .first = (scale), .second = (shape)                      \
    }
#define UNIFORM(lo, hi)                                                                            \
    {                                                                                              \
        .kind = KOFN_DISTRIBUTION_UNIFORM, .first = (lo), .second = (hi)                           \
    }

/* The first line of a test that needs quadrature. */
#define NEEDS_GSL()                                                                                \
    do {                                                                                           \
        if (!kofn_special_available()) {                                                           \
            kofn_test_skip("built without GSL");                                                   \
            return;                                                                                \
        }                                                                                          \
    } while (0)

static inline bool near(double value, double expected, double relative)
{
    return fabs(value - expected) <= relative * fabs(expected);
}

/* The processor time of this process, in ms: what a test may take does not depend on what else
 * runs. */
static inline double cpu_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

/* What one prediction for N = 10,000 may take. */
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) &&    \
    !defined(__clang__)
#define QUICK_MS 50
#else
#define QUICK_MS 2000 /* instrumented */
#endif

/* The cdf of an exponential of mean 1, and of a Pareto of scale 1 whose shape is *@arg, for
 * KOFN_DISTRIBUTION_CDF. */
static inline double exp_cdf(const void *arg, double time)
{
    (void)arg;
    return -expm1(-time);
}

static inline double pareto_cdf(const void *arg, double time)
{
    return time <= 1 ? 0 : 1 - pow(time, -*(const double *)arg);
}

#endif
