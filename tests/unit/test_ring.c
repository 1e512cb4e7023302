/* What a ring all-reduce takes: known exactly without loss, and of two workers with it. */
#include "sim/ring.h"

#include "sim_fixture.h"

#define DRAWS 24 /* P(more losses of one message) is below 1e-12 */

/* Without loss everybody is done at once, after 2 (N-1) latencies and transfers of an N-th. */
static void test_without_loss(void)
{
    const struct kofn_sim_net net = {.latency_ns = 1000, .byte_ns = 2, .ring = true};
    struct kofn_random random;

    kofn_random_seed(&random, 1, 1);
    for (uint32_t workers = 1; workers <= 9; workers++) {
        struct kofn_ring ring = {0};

        CU_ASSERT_FATAL(!kofn_ring_open(&ring, workers));
        kofn_ring_reduce(&ring, &net, 100.0 * workers, &random);
        for (uint32_t rank = 0; rank < workers; rank++)
            CU_ASSERT_EQUAL(ring.done_ns[rank], 2 * (workers - 1) * (1000 + 200));
        kofn_ring_close(&ring);
    }
}

/* A loss too rare to be seen changes nothing: steps add up to the same. */
static void test_steps_add_up(void)
{
    const struct kofn_sim_net net = {.latency_ns = 1000, .byte_ns = 2, .loss = 1e-15};
    struct kofn_ring ring = {0};
    struct kofn_random random;

    kofn_random_seed(&random, 1, 1);
    CU_ASSERT_FATAL(!kofn_ring_open(&ring, 7));
    kofn_ring_reduce(&ring, &net, 700, &random);
    for (uint32_t rank = 0; rank < 7; rank++)
        CU_ASSERT_EQUAL(ring.done_ns[rank], 12 * (1000 + 200));
    kofn_ring_close(&ring);
}

/* The mean of what two workers take, of a message's @step and what each of its losses adds: @a and
 * @b are lost as often in the first of the two steps, c and d in the second.
 */
static double mean_of_two(double loss, double step, double again)
{
    double mean = 0, share[DRAWS];

    for (int i = 0; i < DRAWS; i++)
        share[i] = (1 - loss) * pow(loss, i);
    for (int a = 0; a < DRAWS; a++)
        for (int b = 0; b < DRAWS; b++)
            for (int c = 0; c < DRAWS; c++)
                for (int d = 0; d < DRAWS; d++) {
                    double one = fmax(step + again * a, 2 * step + again * (b + c));
                    double other = fmax(step + again * b, 2 * step + again * (a + d));

                    mean += share[a] * share[b] * share[c] * share[d] * fmax(one, other);
                }
    return mean;
}

/* A job of two in which three messages of ten are lost: a round is an update, and the mean of the
 * later of the two, whose messages are sent again a round trip and a transfer later each time.
 */
static void test_loss_of_two(void)
{
    struct kofn_delay delay;
    struct kofn_sim_attr attr;
    struct sim_means means;
    const double latency = 1e-3, half = 0.5e-3;

    sim_delay("uniform:2ms,2ms", &delay);
    attr = sim_attr("sync", 2, 2, 1, &delay);
    attr.payload_bytes = 1000;
    attr.net = (struct kofn_sim_net){
        .latency_ns = KOFN_NS_PER_MS, .byte_ns = 1000, .loss = 0.3, .ring = true};
    means = sim_run(&attr, 1, 40000);
    CU_ASSERT(sim_mean_near(&means.time,
                            2e-3 + mean_of_two(0.3, latency + half, 2 * latency + half),
                            "a round of two with loss"));
    kofn_delay_close(&delay);
}

void kofn_suite_ring(void)
{
    CU_pSuite suite = CU_add_suite("ring", NULL, NULL);

    CU_add_test(suite, "without loss", test_without_loss);
    CU_add_test(suite, "steps add up", test_steps_add_up);
    CU_add_test(suite, "the loss of two", test_loss_of_two);
}
