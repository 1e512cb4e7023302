#include "theory/bias.h"

#include <math.h>

double kofn_bias_pull(double learning_rate, double updates)
{
    return -expm1(updates * log1p(-fmin(learning_rate, 1)));
}

static double sum_of(const double *values, uint32_t count)
{
    double sum = 0;

    for (uint32_t i = 0; i < count; i++)
        sum += values[i];
    return sum;
}

double kofn_bias_fixed_point(const double *pull, const double *optima, uint32_t count)
{
    double all = sum_of(pull, count), sum = 0;

    for (uint32_t i = 0; i < count; i++)
        sum += pull[i] * optima[i];
    return all > 0 ? sum / all : NAN;
}

double kofn_bias(const double *pull, uint32_t count)
{
    double all = sum_of(pull, count), moved = 0;

    if (!(all > 0))
        return NAN;
    for (uint32_t i = 0; i < count; i++)
        moved += fabs(pull[i] / all - 1.0 / count);
    return moved / 2;
}

/* ---- from parts of a simulation ---- */

static double sign_of(double value)
{
    return (double)(value > 0) - (double)(value < 0);
}

/* What each worker pulled in every other part, beginning with @first. */
static double pulled_by(const double *pull, uint32_t parts, uint32_t count, uint32_t first,
                        uint32_t rank)
{
    double sum = 0;

    for (uint32_t part = first; part < parts; part += 2)
        sum += pull[(size_t)part * count + rank];
    return sum;
}

static double pulled_by_all(const double *pull, uint32_t parts, uint32_t count, uint32_t first)
{
    double sum = 0;

    for (uint32_t part = first; part < parts; part += 2)
        sum += sum_of(pull + (size_t)part * count, count);
    return sum;
}

/* The standard error of the mean of @values, not counting those that are NaN. */
static double error_of(const double *values, uint32_t count)
{
    double mean = 0, squares = 0, known = 0;

    for (uint32_t i = 0; i < count; i++)
        if (isfinite(values[i])) {
            known++;
            squares += (values[i] - mean) * (values[i] - mean) * (known - 1) / known;
            mean += (values[i] - mean) / known;
        }
    return known > 1 ? sqrt(squares / (known * (known - 1))) : NAN;
}

void kofn_bias_estimate(const double *pull, uint32_t parts, uint32_t count, double *bias,
                        double *error)
{
    double all[2], total[KOFN_BIAS_PARTS], moved[KOFN_BIAS_PARTS] = {0}, sum = 0;

    for (uint32_t half = 0; half < 2; half++)
        all[half] = pulled_by_all(pull, parts, count, half);
    *bias = *error = NAN;
    if (!(all[0] > 0 && all[1] > 0))
        return;
    for (uint32_t part = 0; part < parts; part++)
        total[part] = sum_of(pull + (size_t)part * count, count);
    for (uint32_t rank = 0; rank < count; rank++) {
        double one = pulled_by(pull, parts, count, 0, rank) / all[0] - 1.0 / count;
        double other = pulled_by(pull, parts, count, 1, rank) / all[1] - 1.0 / count;
        double side = sign_of(one + other);

        sum += sign_of(one) * other + sign_of(other) * one;
        for (uint32_t part = 0; part < parts; part++)
            moved[part] +=
                side * (pull[(size_t)part * count + rank] / total[part] - 1.0 / count) / 2;
    }
    *bias = fmax(0, sum / 4);
    *error = error_of(moved, parts);
}
