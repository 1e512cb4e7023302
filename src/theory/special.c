#include "theory/special.h"

#include <math.h>

#ifdef HAVE_GSL
#include <gsl/gsl_errno.h>
#include <gsl/gsl_fft_complex.h>
#include <gsl/gsl_integration.h>
#include <gsl/gsl_sf_gamma.h>
#include <gsl/gsl_version.h>

/* what is asked of one integral, and how often its range may be halved */
#define RELATIVE 1e-10
#define INTERVALS 1000

bool kofn_special_available(void)
{
    return true;
}

const char *kofn_special_library(void)
{
    return gsl_version;
}

static double settled(int rc, gsl_sf_result result)
{
    return rc == GSL_SUCCESS || rc == GSL_EUNDRFLW ? result.val : NAN;
}

double kofn_special_gamma(double n, double time)
{
    gsl_sf_result result = {0};

    if (time <= 0)
        return 0;
    gsl_set_error_handler_off();
    return settled(gsl_sf_gamma_inc_P_e(n, time, &result), result);
}

double kofn_special_gamma_tail(double n, double time)
{
    gsl_sf_result result = {0};

    if (time <= 0)
        return 1;
    gsl_set_error_handler_off();
    return settled(gsl_sf_gamma_inc_Q_e(n, time, &result), result);
}

double kofn_special_beta(double a, double b, double x)
{
    gsl_sf_result result = {0};

    if (!(x > 0 && x < 1))
        return isnan(x) ? NAN : x >= 1;
    gsl_set_error_handler_off();
    return settled(gsl_sf_beta_inc_e(a, b, x, &result), result);
}

double kofn_special_log_beta(double a, double b)
{
    gsl_sf_result result = {0};

    gsl_set_error_handler_off();
    return settled(gsl_sf_lnbeta_e(a, b, &result), result);
}

bool kofn_special_integrate(double (*f)(double x, void *arg), void *arg, double from, double to,
                            double scale, struct kofn_prediction *sum)
{
    gsl_function function = {.function = f, .params = arg};
    gsl_integration_workspace *workspace;
    double value, error;

    if (to <= from)
        return true;
    gsl_set_error_handler_off();
    workspace = gsl_integration_workspace_alloc(INTERVALS);
    if (!workspace)
        return false;
    /* a tolerance that is not reached is no failure: the error estimate says what was */
    gsl_integration_qag(&function, from, to, RELATIVE * scale, RELATIVE, INTERVALS,
                        GSL_INTEG_GAUSS21, workspace, &value, &error);
    gsl_integration_workspace_free(workspace);
    if (!isfinite(value) || !isfinite(error))
        return false;
    sum->value += value;
    sum->error += error;
    return true;
}

void kofn_special_transform(double *values, size_t count)
{
    gsl_set_error_handler_off();
    gsl_fft_complex_radix2_forward(values, 1, count);
}

#else

bool kofn_special_available(void)
{
    return false;
}

const char *kofn_special_library(void)
{
    return NULL;
}

double kofn_special_gamma(double n, double time)
{
    (void)n, (void)time;
    return NAN;
}

double kofn_special_gamma_tail(double n, double time)
{
    (void)n, (void)time;
    return NAN;
}

double kofn_special_beta(double a, double b, double x)
{
    (void)a, (void)b, (void)x;
    return NAN;
}

double kofn_special_log_beta(double a, double b)
{
    (void)a, (void)b;
    return NAN;
}

bool kofn_special_integrate(double (*f)(double x, void *arg), void *arg, double from, double to,
                            double scale, struct kofn_prediction *sum)
{
    (void)f, (void)arg, (void)from, (void)to, (void)scale, (void)sum;
    return false;
}

void kofn_special_transform(double *values, size_t count)
{
    (void)values, (void)count;
}

#endif
