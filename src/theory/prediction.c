#include "theory/prediction.h"

#include <math.h>

struct kofn_prediction kofn_prediction_none(void)
{
    return (struct kofn_prediction){.value = NAN, .error = NAN, .method = KOFN_METHOD_NONE};
}

const char *kofn_method_name(enum kofn_method method)
{
    switch (method) {
    case KOFN_METHOD_CLOSED_FORM:
        return "closed-form";
    case KOFN_METHOD_QUADRATURE:
        return "quadrature";
    case KOFN_METHOD_NONE:
        break;
    }
    return NULL;
}
