#include "math/distance.h"

#define LANES 8 /* sums of their own, so that none waits for the one before */

double kofn_distance_squared(const float *a, const float *b, size_t n)
{
    double sums[LANES] = {0}, sum = 0;
    size_t whole = n - n % LANES;

    for (size_t i = 0; i < whole; i += LANES)
        for (size_t lane = 0; lane < LANES; lane++) {
            double apart = (double)a[i + lane] - (double)b[i + lane];

            sums[lane] += apart * apart;
        }
    for (size_t i = whole; i < n; i++)
        sums[i - whole] += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    for (size_t lane = 0; lane < LANES; lane++)
        sum += sums[lane];
    return sum;
}
