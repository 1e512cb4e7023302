/* anchor.h: a model that remembers how it moved: momentum of whoever merges.
 *
 * With d = the weighted sum of a merge's updates, v the velocity (at first 0) and z the model:
 *
 *   v' = momentum v + d
 *   z' = z + rate v'                      heavy ball: the anchor of Overlap Local-SGD (rate 1)
 *   z' = z + rate (d + momentum v')       Nesterov: the outer step of DiLoCo
 *
 * Both are made of merges alone (reduce.h), two for each model, so they are exact in the same
 * sense. Threads: one.
 */
#ifndef KOFN_MATH_ANCHOR_H
#define KOFN_MATH_ANCHOR_H

#include "math/reduce.h"

struct kofn_anchor {
    double rate, momentum;
    bool nesterov;
    float *velocity, *next; /* owned; NULL: there is none, and z' = z + d */
};

/* A merge of all elements: true if everything is finite. */
typedef bool (*kofn_anchor_run)(void *arg, const struct kofn_merge *merge);

/* @anchor with its rate, momentum and `nesterov` set, for @n elements: without memory of its own
 * where a rate of 1 and no momentum ask for none. KOFN_NO_MEMORY.
 */
int kofn_anchor_open(struct kofn_anchor *anchor, size_t n);
void kofn_anchor_close(struct kofn_anchor *anchor);

/* Makes @out of the model @base and of @count updates. Both arrays have room for one more. Where
 * nothing is merged, nothing moves. The velocity changes only with kofn_anchor_commit(), so that a
 * merge can be tried again.
 */
bool kofn_anchor_merge(struct kofn_anchor *anchor, kofn_anchor_run run, void *arg, float *out,
                       const float *base, const void **updates, float *weights, size_t count);

/* The last merge with anything in it is the one that counts. */
void kofn_anchor_commit(struct kofn_anchor *anchor);

/* Overlap's pullback of the parameters @x towards @anchor: x += alpha (anchor - x). @delta is x -
 * anchor afterwards. Each is rounded once.
 */
void kofn_anchor_pull(float *x, float *delta, const float *anchor, double alpha, size_t n);

#endif
