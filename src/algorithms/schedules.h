/* schedules.h: how K and U of the baselines follow the training: pure functions, for tests as well.
 */
#ifndef KOFN_ALGORITHMS_SCHEDULES_H
#define KOFN_ALGORITHMS_SCHEDULES_H

#include "base/base.h"

/* AdaComm: U from the loss: ceil(sqrt(loss / first loss) first), at most @before, at least 1;
 * @before where a loss is not known.
 */
uint32_t kofn_adacomm_steps(uint32_t first, uint32_t before, double first_loss, double loss);

/* FLANP: K after a round that moved the model by @moved (the norm of the difference; NaN: not
 * known): twice @before, at most @workers, if that is no more than @threshold.
 */
uint32_t kofn_flanp_wait_for(uint32_t workers, uint32_t before, double moved, double threshold);

#endif
