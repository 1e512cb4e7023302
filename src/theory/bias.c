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
