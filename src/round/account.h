/* account.h: what a round machine knows, in the words of <kofn/types.h>: the same report of a
 * member or a closed round, whether its events were real or simulated.
 */
#ifndef KOFN_ROUND_ACCOUNT_H
#define KOFN_ROUND_ACCOUNT_H

#include "round/round.h"

/* What is known of member @rank at @now; @usual as kofn_round_usual() has it. Who drives the
 * machine adds size, pid and host, which it does not know.
 */
void kofn_round_member(const struct kofn_round *round, uint32_t rank, uint64_t now,
                       const struct kofn_usual *usual, struct kofn_member_report *report);

/* What is known of the round that has just been settled, but for what its driver alone knows:
 * @report's bytes, updates, loss and published_ns are left 0.
 */
void kofn_round_describe(const struct kofn_round *round, struct kofn_round_report *report);

#endif
