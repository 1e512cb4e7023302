/* Splits: every sample has exactly one owner, every worker has some, and the order in which a
 * worker takes them is an epoch at a time.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <stdlib.h>

#include "tests/lib/caught_log.h"
#include "train/split.h"

#define SAMPLES 2000u
#define CLASSES 10u

static uint8_t labels[SAMPLES];
static struct kofn_samples set = {NULL, labels, SAMPLES};

static void make_labels(void)
{
    for (uint32_t i = 0; i < SAMPLES; i++)
        labels[i] = (uint8_t)(i * 7 % CLASSES);
}

static struct kofn_split made(const char *text, uint32_t workers, uint64_t seed)
{
    struct kofn_split_spec spec;
    struct kofn_split split;

    make_labels();
    CU_ASSERT_EQUAL_FATAL(kofn_split_parse(kofn_text(text), NULL, &spec), 0);
    CU_ASSERT_EQUAL_FATAL(kofn_split_make(&spec, &set, CLASSES, workers, seed, NULL, &split), 0);
    return split;
}

/* Every sample is in the split once, and no worker is without. */
static bool is_partition(const struct kofn_split *split, uint32_t workers)
{
    static uint8_t seen[SAMPLES];
    bool good = split->workers == workers && !split->start[0] && split->start[workers] == SAMPLES;

    memset(seen, 0, sizeof(seen));
    for (uint32_t m = 0; m < workers; m++)
        good = good && split->start[m + 1] > split->start[m];
    for (uint32_t i = 0; good && i < SAMPLES; i++)
        good = split->index[i] < SAMPLES && !seen[split->index[i]]++;
    return good;
}

/* How many classes worker @m has. */
static uint32_t classes_of(const struct kofn_split *split, uint32_t m)
{
    bool has[CLASSES] = {false};
    uint32_t count = 0;

    for (uint32_t i = split->start[m]; i < split->start[m + 1]; i++)
        has[labels[split->index[i]]] = true;
    for (uint32_t c = 0; c < CLASSES; c++)
        count += has[c];
    return count;
}

static double mean_classes(const struct kofn_split *split)
{
    double sum = 0;

    for (uint32_t m = 0; m < split->workers; m++)
        sum += classes_of(split, m);
    return sum / split->workers;
}

/* Whatever the kind, the number of workers and the seed, a split is a partition without empty
 * parts. */
static void test_partition(void)
{
    static const char *const kinds[] = {"iid",           "sorted",      "dirichlet:1e-4",
                                        "dirichlet:0.1", "dirichlet:1", "dirichlet:1000"};
    static const uint32_t workers[] = {1, 2, 8, 20, 333, SAMPLES - 1, SAMPLES};

    for (size_t k = 0; k < KOFN_ARRAY_SIZE(kinds); k++)
        for (size_t w = 0; w < KOFN_ARRAY_SIZE(workers); w++)
            for (uint64_t seed = 0; seed < 3; seed++) {
                struct kofn_split split = made(kinds[k], workers[w], seed);

                CU_ASSERT(is_partition(&split, workers[w]));
                kofn_split_free(&split);
            }
}

/* The same seed gives the same split in every process, another seed another one. */
static void test_repeatable(void)
{
    static const char *const kinds[] = {"iid", "sorted", "dirichlet:0.5"};

    for (size_t k = 0; k < KOFN_ARRAY_SIZE(kinds); k++) {
        struct kofn_split a = made(kinds[k], 8, 1), b = made(kinds[k], 8, 1),
                          c = made(kinds[k], 8, 2);

        CU_ASSERT_EQUAL(memcmp(a.index, b.index, SAMPLES * sizeof(*a.index)), 0);
        CU_ASSERT_EQUAL(memcmp(a.start, b.start, 9 * sizeof(*a.start)), 0);
        CU_ASSERT_NOT_EQUAL(memcmp(a.index, c.index, SAMPLES * sizeof(*a.index)), 0);
        kofn_split_free(&a);
        kofn_split_free(&b);
        kofn_split_free(&c);
    }
}

/* iid and sorted parts are equal to one sample; iid workers have every class, sorted ones hardly
 * more than theirs. */
static void test_shapes(void)
{
    struct kofn_split iid = made("iid", 7, 1), sorted = made("sorted", 10, 1);

    for (uint32_t m = 0; m < 7; m++) {
        uint32_t count = iid.start[m + 1] - iid.start[m];

        CU_ASSERT(count == SAMPLES / 7 || count == SAMPLES / 7 + 1);
        CU_ASSERT_EQUAL(classes_of(&iid, m), CLASSES);
    }
    for (uint32_t m = 0; m < 10; m++) {
        CU_ASSERT_EQUAL(sorted.start[m + 1] - sorted.start[m], SAMPLES / 10);
        CU_ASSERT_EQUAL(classes_of(&sorted, m), 1);
    }
    kofn_split_free(&iid);
    kofn_split_free(&sorted);
}

/* The smaller alpha, the fewer classes a worker has: from all of them to about one. */
static void test_dirichlet_concentrates(void)
{
    struct kofn_split wide = made("dirichlet:100", 10, 1), narrow = made("dirichlet:0.3", 10, 1),
                      one = made("dirichlet:0.001", 10, 1);

    CU_ASSERT_EQUAL(mean_classes(&wide), CLASSES);
    CU_ASSERT(mean_classes(&narrow) < 9);
    CU_ASSERT(mean_classes(&narrow) > 3);
    CU_ASSERT(mean_classes(&one) <= 2);
    kofn_split_free(&wide);
    kofn_split_free(&narrow);
    kofn_split_free(&one);
}

/* What cannot be understood is refused in one line, and nothing is changed. */
static void test_bad_specifications(void)
{
    static const struct {
        const char *spec, *message;
    } cases[] = {
        {"", "unknown kind \"\"; known: iid, sorted, dirichlet"},
        {"idd", "did you mean \"iid\"?"},
        {"dirichelt:1", "did you mean \"dirichlet\"?"},
        {"iid:1", "iid takes no argument"},
        {"dirichlet", "ALPHA is missing"},
        {"dirichlet:", "ALPHA is missing"},
        {"dirichlet:0", "ALPHA \"0\" is too small; it is between"},
        {"dirichlet:-1", "ALPHA \"-1\" is too small"},
        {"dirichlet:x", "ALPHA \"x\" is not a number"},
        {"dirichlet:nan", "ALPHA \"nan\" is not a number"},
        {"dirichlet:1e9", "ALPHA \"1e9\" is too large"},
        {"dirichlet:1,2", "ALPHA \"1,2\" is not a number"},
    };
    struct kofn_split_spec spec = {KOFN_SPLIT_SORTED, 42};
    struct kofn_caught caught;

    kofn_caught_reset(&caught);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(cases); i++) {
        CU_ASSERT_EQUAL(kofn_split_parse(kofn_text(cases[i].spec), &caught.log, &spec),
                        KOFN_INVALID);
        CU_ASSERT(kofn_caught_one(&caught, cases[i].message));
    }
    CU_ASSERT_EQUAL(spec.alpha, 42);
}

/* More workers than samples would leave some without: that is said. */
static void test_too_many_workers(void)
{
    struct kofn_split_spec spec = {KOFN_SPLIT_IID, 0};
    struct kofn_caught caught;
    struct kofn_split split;

    kofn_caught_reset(&caught);
    CU_ASSERT_EQUAL(kofn_split_make(&spec, &set, CLASSES, SAMPLES + 1, 1, &caught.log, &split),
                    KOFN_INVALID);
    CU_ASSERT(kofn_caught_one(&caught, "2001 workers, but 2000 samples"));
    CU_ASSERT_EQUAL(kofn_split_make(&spec, &set, CLASSES, 0, 1, &caught.log, &split), KOFN_INVALID);
    CU_ASSERT(kofn_caught_one(&caught, "0 workers"));
}

/* A worker takes each of its samples once an epoch, whatever the size of its batches, each epoch in
 * another order, and never one of another worker's.
 */
static void test_epochs(void)
{
    struct kofn_split split = made("iid", 3, 1);
    uint32_t order[3][SAMPLES], count = split.start[2] - split.start[1];
    struct kofn_sampler sampler;
    static int owner[SAMPLES];

    for (uint32_t i = 0; i < SAMPLES; i++)
        owner[split.index[i]] = i >= split.start[1] && i < split.start[2];
    kofn_sampler_init(&sampler, &split, 1, 1);
    for (int epoch = 0; epoch < 3; epoch++) {
        bool seen[SAMPLES] = {false};

        for (uint32_t at = 0, n = 0; at < count; at += n) {
            n = KOFN_MIN(32u, count - at);
            kofn_sampler_next(&sampler, n, order[epoch] + at);
        }
        for (uint32_t i = 0; i < count; i++) {
            CU_ASSERT(owner[order[epoch][i]] && !seen[order[epoch][i]]);
            seen[order[epoch][i]] = true;
        }
    }
    CU_ASSERT_NOT_EQUAL(memcmp(order[0], order[1], count * sizeof(uint32_t)), 0);
    CU_ASSERT_NOT_EQUAL(memcmp(order[1], order[2], count * sizeof(uint32_t)), 0);
    kofn_split_free(&split);
}

/* A batch may be larger than all a worker has: samples then come again, equally often. */
static void test_batch_beyond_an_epoch(void)
{
    struct kofn_split split = made("iid", SAMPLES / 4, 1);
    struct kofn_sampler sampler;
    uint32_t batch[40], counts[SAMPLES] = {0};

    kofn_sampler_init(&sampler, &split, 5, 1);
    kofn_sampler_next(&sampler, 40, batch);
    for (int i = 0; i < 40; i++)
        counts[batch[i]]++;
    for (uint32_t i = split.start[5]; i < split.start[6]; i++)
        CU_ASSERT_EQUAL(counts[split.index[i]], 10);
    kofn_split_free(&split);
}

void kofn_suite_split(void)
{
    CU_pSuite suite = CU_add_suite("split", NULL, NULL);

    CU_add_test(suite, "partition", test_partition);
    CU_add_test(suite, "repeatable", test_repeatable);
    CU_add_test(suite, "shapes", test_shapes);
    CU_add_test(suite, "dirichlet concentrates", test_dirichlet_concentrates);
    CU_add_test(suite, "bad specifications", test_bad_specifications);
    CU_add_test(suite, "too many workers", test_too_many_workers);
    CU_add_test(suite, "epochs", test_epochs);
    CU_add_test(suite, "batch beyond an epoch", test_batch_beyond_an_epoch);
}
