#include "round/pursuit.h"

#include <math.h>

#define MEMORY 8 /* updates a worker: an older one weighs less than 1/e of the newest */

void kofn_pursuit_init(struct kofn_pursuit *pursuit)
{
    *pursuit = (struct kofn_pursuit){.first_loss = NAN, .loss = NAN};
}

void kofn_pursuit_add(struct kofn_pursuit *pursuit, uint32_t workers, double loss, uint32_t count)
{
    double keep = exp(-(double)count / ((double)workers * MEMORY));

    if (!isfinite(loss) || !count)
        return;
    if (pursuit->first_count < workers) {
        pursuit->first_count += count;
        pursuit->first_sum += loss * count;
        if (pursuit->first_count >= workers)
            pursuit->first_loss = pursuit->first_sum / pursuit->first_count;
    }
    pursuit->sum = keep * pursuit->sum + loss * count;
    pursuit->weight = keep * pursuit->weight + count;
    if (pursuit->first_count >= workers)
        pursuit->loss = pursuit->sum / pursuit->weight;
}

bool kofn_pursuit_due(struct kofn_pursuit *pursuit, uint64_t every, uint64_t now)
{
    if (isnan(pursuit->loss) || now - pursuit->judged_ns < every)
        return false;
    pursuit->judged_ns = now;
    return true;
}
