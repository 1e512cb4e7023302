/* special.h: the special functions and the adaptive quadrature that theory takes from GSL.
 *
 * The only file of kofn that includes GSL. Without GSL kofn_special_available() is false, and
 * nothing else here may be called. Values that underflow are 0; a function that does not converge
 * is NaN.
 */
#ifndef KOFN_THEORY_SPECIAL_H
#define KOFN_THEORY_SPECIAL_H

#include "theory/prediction.h"

bool kofn_special_available(void);

/* "2.7.1"; NULL without GSL. */
const char *kofn_special_library(void);

/* P(n events of a Poisson stream of rate 1 by @time): the regularised lower incomplete gamma
 * function; n >= 1. And 1 - that. */
double kofn_special_gamma(double n, double time);
double kofn_special_gamma_tail(double n, double time);

/* The regularised incomplete beta function; a, b > 0 and 0 <= x <= 1. */
double kofn_special_beta(double a, double b, double x);

/* ln of the complete beta function. */
double kofn_special_log_beta(double a, double b);

/* Integrates @f from @from to @to and adds value and error estimate to @sum. @scale: the size of
 * the whole of which this is a part; what is small against it need not be exact. Returns false, and
 * leaves @sum alone, if the integral is not a number or memory is short.
 */
bool kofn_special_integrate(double (*f)(double x, void *arg), void *arg, double from, double to,
                            double scale, struct kofn_prediction *sum);

/* In place: the discrete Fourier transform of @count complex values, pairs of real and imaginary
 * part; @count is a power of two. Negative sign in the exponent. */
void kofn_special_transform(double *values, size_t count);

#endif
