#include "round/deadline.h"

#include <math.h>
#include <string.h>

#include "base/select.h"

#define MAD_FACTOR 3.0
#define MAD_FLOOR 0.05 /* of the median */
#define ROUNDS_FIRST 3
#define FEW 24       /* values that are sorted faster than searched */
#define LONGEST 1e18 /* ns: 31 years */

void kofn_deadline_init(struct kofn_deadline *deadline, uint64_t fixed_ns, bool adaptive,
                        uint32_t workers)
{
    memset(deadline, 0, sizeof(*deadline));
    deadline->fixed_ns = fixed_ns;
    deadline->adaptive = adaptive;
    deadline->minimum = (uint32_t)KOFN_MIN((uint64_t)workers * ROUNDS_FIRST, KOFN_DEADLINE_SAMPLES);
}

void kofn_deadline_add(struct kofn_deadline *deadline, double ns)
{
    deadline->samples[deadline->next] = ns;
    deadline->next = (deadline->next + 1) % KOFN_DEADLINE_SAMPLES;
    deadline->count = KOFN_MIN(deadline->count + 1, KOFN_DEADLINE_SAMPLES);
}

uint64_t kofn_deadline_span(const struct kofn_deadline *deadline)
{
    double values[KOFN_DEADLINE_SAMPLES], median, mad;

    if (!deadline->adaptive)
        return deadline->fixed_ns;
    if (deadline->count < deadline->minimum)
        return 0;
    memcpy(values, deadline->samples, sizeof(values));
    median = kofn_median(values, deadline->count);
    for (uint32_t i = 0; i < deadline->count; i++)
        values[i] = fabs(values[i] - median);
    mad = kofn_median(values, deadline->count);
    median += MAD_FACTOR * KOFN_MAX(mad, MAD_FLOOR * median);
    return (uint64_t)KOFN_MIN(median, LONGEST);
}

KOFN_SELECT(select_kth, double)

static void sort_few(double *values, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        double value = values[i];
        size_t place = i;

        for (; place && values[place - 1] > value; place--)
            values[place] = values[place - 1];
        values[place] = value;
    }
}

double kofn_median(double *values, size_t count)
{
    double upper, lower;

    if (!count)
        return 0;
    if (count <= FEW) {
        sort_few(values, count);
        return (values[(count - 1) / 2] + values[count / 2]) / 2;
    }
    upper = select_kth(values, count, count / 2);
    if (count % 2)
        return upper;
    lower = values[0];
    for (size_t i = 1; i < count / 2; i++)
        lower = KOFN_MAX(lower, values[i]);
    return (lower + upper) / 2;
}
