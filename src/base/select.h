/* select.h: selection by Hoare's method, for numbers of any type.
 *
 * KOFN_SELECT(NAME, TYPE) defines `static TYPE NAME(TYPE *values, size_t count, size_t nth)`: the
 * @nth smallest, from 0, of more values than that, in O(count) on average. Afterwards values[nth]
 * is that one, and nothing before it is larger.
 */
#ifndef KOFN_BASE_SELECT_H
#define KOFN_BASE_SELECT_H

#include <stddef.h>

#define KOFN_SELECT(name, type)                                                                    \
    static type name(type *values, size_t count, size_t nth)                                       \
    {                                                                                              \
        size_t low = 0, high = count - 1;                                                          \
                                                                                                   \
        while (low < high) {                                                                       \
            type pivot = values[low + (high - low) / 2], keep;                                     \
            size_t i = low, j = high;                                                              \
                                                                                                   \
            for (;;) {                                                                             \
                while (values[i] < pivot)                                                          \
                    i++;                                                                           \
                while (values[j] > pivot)                                                          \
                    j--;                                                                           \
                if (i >= j)                                                                        \
                    break;                                                                         \
                keep = values[i];                                                                  \
                values[i++] = values[j];                                                           \
                values[j--] = keep;                                                                \
            }                                                                                      \
            if (nth <= j)                                                                          \
                high = j;                                                                          \
            else                                                                                   \
                low = j + 1;                                                                       \
        }                                                                                          \
        return values[nth];                                                                        \
    }

#endif
