/* Which of the choices that were simulated is recommended. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <math.h>

#include "cli/choices.h"

static struct kofn_choice choice(double merged, double bias, double round)
{
    struct kofn_choice one = {.forecast = {.merged_per_second = merged, .bias = bias}};

    one.forecast.value[KOFN_ROUND_TIME] = round;
    return one;
}

/* Which place the choice with so many merged updates a second has. */
static size_t place_of(const struct kofn_choice *list, size_t count, double merged)
{
    size_t i = 0;

    while (i < count && list[i].forecast.merged_per_second != merged)
        i++;
    return i;
}

/* Nobody waits for all, in rounds of seconds, for the sake of updates and of a bias that are only
 * more and less within the noise.
 */
static void test_noise_decides_nothing(void)
{
    struct kofn_choice list[] = {choice(1000, 0.0936, 4.5), choice(998, 0.0937, 0.4),
                                 choice(985, 0.0945, 0.1), choice(979, 0.0100, 0.1)};

    kofn_choices_sort(list, 4);
    CU_ASSERT_EQUAL(place_of(list, 4, 985), 0);
    CU_ASSERT_EQUAL(place_of(list, 4, 998), 1);
    CU_ASSERT_EQUAL(place_of(list, 4, 1000), 2);
    CU_ASSERT_EQUAL(place_of(list, 4, 979), 3); /* too few are merged, whatever its bias */
}

/* A choice that was hardly simulated does not win because of what chance made of it. */
static void test_unsure_does_not_win(void)
{
    struct kofn_choice list[] = {choice(1060, 0.09, 0.1), choice(1010, 0.02, 0.1),
                                 choice(1000, 0.10, 1)};

    list[0].forecast.merged_error = 60;
    list[1].forecast.bias_error = 0.06;
    kofn_choices_sort(list, 3);
    CU_ASSERT_EQUAL(place_of(list, 3, 1000), 0);
    CU_ASSERT_EQUAL(place_of(list, 3, 1060), 2);
}

/* A bias that is less beyond the noise is worth a longer round, and the list is in the order that
 * it is said to be in: from class to class of the same bias it grows.
 */
static void test_bias_before_time(void)
{
    enum { COUNT = 60 };
    struct kofn_choice list[COUNT];
    double least = 0;

    for (size_t i = 0; i < COUNT; i++)
        list[i] = choice(1000 - 0.1 * (double)i, 0.1 + 0.0007 * (double)(i * 37 % COUNT),
                         1 + (double)(i * 17 % COUNT));
    kofn_choices_sort(list, COUNT);
    for (size_t i = 0; i < COUNT;) {
        size_t same = i;

        least = list[i].forecast.bias;
        for (size_t j = i; j < COUNT; j++)
            least = fmin(least, list[j].forecast.bias);
        while (same < COUNT && list[same].forecast.bias <= fmax(1.01 * least, least + 0.002))
            same++;
        CU_ASSERT_FATAL(same > i);
        for (size_t j = i + 1; j < same; j++)
            CU_ASSERT(list[j].forecast.value[KOFN_ROUND_TIME] >=
                      list[j - 1].forecast.value[KOFN_ROUND_TIME]);
        for (size_t j = same; j < COUNT; j++)
            CU_ASSERT(list[j].forecast.bias > least + 0.002);
        i = same;
    }
}

void kofn_suite_choices(void)
{
    CU_pSuite suite = CU_add_suite("choices", NULL, NULL);

    CU_add_test(suite, "noise decides nothing", test_noise_decides_nothing);
    CU_add_test(suite, "what is not sure does not win", test_unsure_does_not_win);
    CU_add_test(suite, "bias before time", test_bias_before_time);
}
