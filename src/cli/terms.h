/* terms.h: the terms of a job: what the options mean together, for every subcommand that has a job.
 *
 * Each option is right by itself by now; here they are held against each other, and defaults that
 * depend on other options are put in.
 */
#ifndef KOFN_CLI_TERMS_H
#define KOFN_CLI_TERMS_H

#include "cli/option.h"
#include "round/rules.h"
#include "sim/delay.h"
#include "sim/straggler.h"

struct kofn_algorithm;

struct kofn_terms {
    const struct kofn_algorithm *algorithm;  /* as it was named; adasync over what was named */
    uint32_t workers, wait_for, local_steps; /* N, K, U */
    uint64_t rounds;                         /* 0 = without limit */
    uint64_t seconds;                        /* ns; 0 = without limit */
    struct kofn_rules rules;
    double staleness_weight;
    uint64_t suspect_after;            /* ns; KOFN_FOREVER: nobody ever is */
    struct kofn_delay delay;           /* open */
    struct kofn_straggler *stragglers; /* owned */
    size_t straggler_count;
};

/* Returns 0; KOFN_INVALID for what does not fit together; what kofn_delay_open() returns if it
 * cannot read its trace; KOFN_NO_MEMORY. One line is logged.
 */
int kofn_terms_make(const struct kofn_options *options, const struct kofn_log *log,
                    struct kofn_terms *terms);
/* Refuses algorithms without a server, where there is one: KOFN_INVALID; logged. */
int kofn_terms_need_server(const struct kofn_algorithm *algorithm, const struct kofn_log *log);

void kofn_terms_free(struct kofn_terms *terms);

#endif
