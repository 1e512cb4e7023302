/* distance.h: how far two models are apart. */
#ifndef KOFN_MATH_DISTANCE_H
#define KOFN_MATH_DISTANCE_H

#include "base/base.h"

/* The squared Euclidean distance of @a and @b, summed in double in a fixed order; NaN or infinite
 * if one of them holds such a value. No state; any number of threads.
 */
double kofn_distance_squared(const float *a, const float *b, size_t n);

#endif
