/* sim_learn.h: the gradients of a simulation, computed once, on as many threads as one likes.
 *
 * A local update's gradient is known to be wanted as soon as it begins, in virtual time; threads
 * compute it beforehand, those first that end first. What is not there when it is needed is
 * computed then. Mini-batches are drawn where updates begin, in the simulation's order, so no
 * result depends on the threads.
 */
#ifndef KOFN_CLI_SIM_LEARN_H
#define KOFN_CLI_SIM_LEARN_H

#include "cli/workload.h"
#include "sim/sim.h"

struct kofn_sim_learn;

/* For @workers workers; with one thread nothing is computed beforehand, and so nothing in vain.
 * @work  out: for kofn_sim_attr; valid until kofn_sim_learn_close()
 * KOFN_NO_MEMORY, KOFN_SYSTEM (no thread), and what kofn_model_open() returns; logged.
 */
int kofn_sim_learn_open(const struct kofn_workload *workload, const struct kofn_conf *conf,
                        uint32_t threads, const struct kofn_log *log, struct kofn_sim_work *work,
                        struct kofn_sim_learn **learn_p);

/* After the simulation has been closed. NULL is allowed. */
void kofn_sim_learn_close(struct kofn_sim_learn *learn);

#endif
