/* The live display: it fits into every window, and shows who is slow. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/display.h"

#define WORKERS 200

static struct kofn_member_report members[WORKERS];
static double share[WORKERS];

static struct kofn_moment moment_of(uint32_t workers)
{
    static const struct kofn_point score = {.seconds = 2, .accuracy = 0.5, .loss = 1.5};

    for (uint32_t i = 0; i < WORKERS; i++)
        members[i] = (struct kofn_member_report){
            .rank = i, .state = KOFN_MEMBER_READY, .finished = UINT64_MAX, .late_p50 = NAN};
    return (struct kofn_moment){.seconds = 12.34,
                                .seconds_limit = 30,
                                .rounds = 123456789,
                                .score = &score,
                                .workers = workers,
                                .members = members};
}

/* Letters of a line that take room: not those of colours. */
static size_t width_of(const char *line, size_t length)
{
    size_t width = 0;

    for (size_t i = 0; i < length; i++, width++)
        if (line[i] == '\033') {
            while (line[i] != 'm')
                i++;
            width--; /* the loop counts this one */
        }
    return width;
}

/* No line is wider than the window, no more lines than it is high, for any number of workers. */
static void test_fits_every_window(void)
{
    static const uint32_t widths[] = {1, 9, 20, 79, 300, 1000}, heights[] = {1, 3, 23, 300};
    struct kofn_display display = {.share = share, .color = true, .rounds_per_second = 1e6};

    for (uint32_t workers = 1; workers <= WORKERS; workers += 19)
        for (size_t w = 0; w < KOFN_ARRAY_SIZE(widths); w++)
            for (size_t h = 0; h < KOFN_ARRAY_SIZE(heights); h++) {
                struct kofn_moment moment = moment_of(workers);
                char *text = kofn_display_render(&display, &moment, widths[w], heights[h]);
                uint32_t lines = 0;

                CU_ASSERT_PTR_NOT_NULL_FATAL(text);
                for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
                    lines++;
                    CU_ASSERT(width_of(line, (size_t)(end - line)) <= widths[w]);
                }
                CU_ASSERT(lines >= 1 && lines <= heights[h]);
                free(text);
            }
}

/* A few workers have a line each; a slow one is marked, with a colour where colours are wanted. */
static void test_slow_worker_is_marked(void)
{
    struct kofn_display display = {.share = share, .color = true};
    struct kofn_moment moment = moment_of(3);
    char *text;

    members[1].state = KOFN_MEMBER_SLOW;
    text = kofn_display_render(&display, &moment, 79, 23);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\033[33m   1  slow"));
    free(text);
    display.color = false;
    text = kofn_display_render(&display, &moment, 79, 23);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\n   1  slow"));
    CU_ASSERT_PTR_NULL(strchr(text, '\033'));
    free(text);
}

/* Many workers are a grid: every rank is in it, with its mark. */
static void test_grid_has_every_rank(void)
{
    struct kofn_display display = {.share = share};
    struct kofn_moment moment = moment_of(100);
    char *text, cell[16];

    members[42].state = KOFN_MEMBER_GONE;
    text = kofn_display_render(&display, &moment, 79, 23);
    for (unsigned i = 0; i < 100; i++) {
        snprintf(cell, sizeof(cell), " %u%c", i, i == 42 ? 'x' : ' ');
        CU_ASSERT_PTR_NOT_NULL(strstr(text, cell));
    }
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "1 gone"));
    free(text);
}

void kofn_suite_display(void)
{
    CU_pSuite suite = CU_add_suite("display", NULL, NULL);

    CU_add_test(suite, "fits every window", test_fits_every_window);
    CU_add_test(suite, "slow worker is marked", test_slow_worker_is_marked);
    CU_add_test(suite, "grid has every rank", test_grid_has_every_rank);
}
