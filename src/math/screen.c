#include "math/screen.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LINE (KOFN_CACHE_LINE / sizeof(float))
#define FEW 32 /* so many are sorted by insertion */

int kofn_screen_open(struct kofn_screen *screen, enum kofn_screening kind, uint32_t trim, size_t n,
                     uint32_t most)
{
    *screen = (struct kofn_screen){.kind = kind, .trim = trim, .n = n};
    if (kind == KOFN_SCREENING_NONE)
        return 0;
    screen->block = calloc(most, LINE * sizeof(float));
    screen->column = calloc(most, sizeof(float));
    screen->out = aligned_alloc(KOFN_CACHE_LINE, kofn_round_up(n * sizeof(float), KOFN_CACHE_LINE));
    if (screen->block && screen->column && screen->out)
        return 0;
    kofn_screen_close(screen);
    return KOFN_NO_MEMORY;
}

void kofn_screen_close(struct kofn_screen *screen)
{
    free(screen->block);
    free(screen->column);
    free(screen->out);
    screen->block = screen->column = screen->out = NULL;
}

static int compare(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    if (isnan(x) || isnan(y))
        return (isnan(x) != 0) - (isnan(y) != 0);
    return (x > y) - (x < y);
}

static void sort(float *column, size_t count)
{
    if (count > FEW) {
        qsort(column, count, sizeof(*column), compare);
        return;
    }
    for (size_t i = 1; i < count; i++) {
        float value = column[i];
        size_t at = i;

        for (; at && compare(&column[at - 1], &value) > 0; at--)
            column[at] = column[at - 1];
        column[at] = value;
    }
}

/* The mean of what is left of the sorted @column: of the median, one or two. */
static float middle(const struct kofn_screen *screen, const float *column, size_t count)
{
    size_t trim = (count - 1) / 2;
    double sum = 0;

    if (screen->kind == KOFN_SCREENING_TRIMMED)
        trim = KOFN_MIN(trim, screen->trim);
    for (size_t i = trim; i < count - trim; i++)
        sum += (double)column[i];
    return (float)(sum / (double)(count - 2 * trim));
}

const float *kofn_screen_updates(struct kofn_screen *screen, const void *const *updates,
                                 size_t count)
{
    for (size_t first = 0; first < screen->n; first += LINE) {
        size_t length = KOFN_MIN(LINE, screen->n - first);

        for (size_t k = 0; k < count; k++)
            memcpy(screen->block + k * LINE, (const float *)updates[k] + first,
                   length * sizeof(float));
        for (size_t i = 0; i < length; i++) {
            for (size_t k = 0; k < count; k++)
                screen->column[k] = screen->block[k * LINE + i];
            sort(screen->column, count);
            screen->out[first + i] = middle(screen, screen->column, count);
        }
    }
    return screen->out;
}
