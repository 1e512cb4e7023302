/* screen.h: means that a few bad updates cannot spoil: coordinate by coordinate, the median, or the
 * mean without the smallest and largest ones.
 *
 * Updates lie in memory that their writers can change at any time: every coordinate is read once,
 * into memory of the screen's own, and what comes out depends on that copy alone. What is not a
 * number counts as the largest. The work is O(count log count) for every coordinate, on one thread.
 */
#ifndef KOFN_MATH_SCREEN_H
#define KOFN_MATH_SCREEN_H

#include <kofn/types.h>

#include "base/base.h"

struct kofn_screen {
    enum kofn_screening kind;
    uint32_t trim; /* TRIMMED: as many at either end; all but the median, if there are fewer */
    float *block;  /* owned: a line of every update */
    float *column; /* owned: one coordinate of every update */
    float *out;    /* owned: what came out last */
    size_t n;
};

/* For up to @most updates of @n elements; nothing is allocated where @kind is NONE.
 * KOFN_NO_MEMORY. */
int kofn_screen_open(struct kofn_screen *screen, enum kofn_screening kind, uint32_t trim, size_t n,
                     uint32_t most);
void kofn_screen_close(struct kofn_screen *screen);

/* Screens @count > 0 updates. Returns the result, valid until the next call. */
const float *kofn_screen_updates(struct kofn_screen *screen, const void *const *updates,
                                 size_t count);

#endif
