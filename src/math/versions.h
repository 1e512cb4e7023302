/* versions.h: the models that somebody may still compute on, and how far each is from the newest.
 *
 * Bounded: room for a number of models, of which those in use and the newest few are kept. Each
 * takes as much memory as the model itself, from when it is first needed. Threads: one.
 */
#ifndef KOFN_MATH_VERSIONS_H
#define KOFN_MATH_VERSIONS_H

#include "base/base.h"

#define KOFN_VERSIONS_SPARE 4 /* newest ones that are kept in any case */

struct kofn_version {
    uint32_t version; /* 0 = free */
    double apart;     /* squared distance to the newest; below 0: not looked at yet */
    float *model;     /* owned; NULL until it is first needed */
};

struct kofn_versions {
    struct kofn_version *list; /* owned */
    uint32_t room, newest;
    size_t n;
};

/* For models of @n elements, of which @users may be in use: room for @users + KOFN_VERSIONS_SPARE.
 * KOFN_NO_MEMORY.
 */
int kofn_versions_open(struct kofn_versions *versions, size_t n, uint32_t users);
void kofn_versions_close(struct kofn_versions *versions);

/* @model, copied, is the newest from here on, @version (larger than those before). Of older ones
 * are kept the @count that are in @in_use (in any order; at most `users`), and the newest few.
 * KOFN_NO_MEMORY: it is not kept, and distances are those to the one before.
 */
int kofn_versions_keep(struct kofn_versions *versions, uint32_t version, const float *model,
                       const uint32_t *in_use, uint32_t count);

/* The squared distance of @version and the newest; of one that is not kept, that of the next older
 * one, or if there is none, of the oldest. 0 where nothing is kept.
 */
double kofn_versions_apart(struct kofn_versions *versions, uint32_t version);

#endif
