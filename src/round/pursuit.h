/* pursuit.h: how far a job's loss has fallen, for algorithms whose K follows it.
 *
 * The loss is a running mean of what merged updates say of their mini-batches, so nothing has to be
 * evaluated for it. It is compared with that of the first ones merged, one a worker.
 */
#ifndef KOFN_ROUND_PURSUIT_H
#define KOFN_ROUND_PURSUIT_H

#include "base/base.h"

struct kofn_pursuit {
    double first_sum;        /* over the first N updates merged */
    uint32_t first_count;    /* of them so far */
    double sum, weight;      /* of all, older ones forgotten little by little */
    double first_loss, loss; /* NaN until N are merged */
    uint64_t judged_ns;      /* when K was last thought over */
};

void kofn_pursuit_init(struct kofn_pursuit *pursuit);

/* @count updates of the mean loss @loss have been merged, of a job of @workers. What is not finite
 * says nothing.
 */
void kofn_pursuit_add(struct kofn_pursuit *pursuit, uint32_t workers, double loss, uint32_t count);

/* Is it time to think over K, because @every ns have passed since the last time, and are both
 * losses known? If so, that is now.
 */
bool kofn_pursuit_due(struct kofn_pursuit *pursuit, uint64_t every, uint64_t now);

#endif
