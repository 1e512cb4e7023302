/* A whole job over the device: a server, and workers on the public API in threads of this process,
 * whose connections fail and are made again.
 */
#include <kofn/kofn.h>
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "core/server.h"
#include "tests/contract/contract.h"
#include "tests/verbs/fake.h"
#include "tests/verbs/suites.h"
#include "transports/verbs/hub.h"
#include "transports/verbs/verbs.h"

enum { WORKERS = 3, VICTIM = 1, PARAMETERS = 1000 };

#define PATIENCE (30 * KOFN_NS_PER_S)
#define UPDATE_NS KOFN_NS_PER_MS /* what a local update takes */

struct worker {
    pthread_t thread;
    uint32_t rank;
    const char *address, *options;
    int rc; /* how its job ended */
};

struct job {
    struct kofn_server *server;
    struct kofn_round_report report; /* of the last round */
    struct worker workers[WORKERS];
};

/* One local update: adds 1 to every parameter. */
static int update(struct kofn_worker *handle, float *model)
{
    int rc = kofn_worker_pause(handle, UPDATE_NS);

    for (int i = 0; i < PARAMETERS && !rc; i++)
        model[i] += 1;
    return rc ? rc : kofn_worker_report(handle, model, NULL);
}

static void *work(void *arg)
{
    struct worker *worker = arg;
    struct kofn_worker_attr attr = {.size = sizeof(attr),
                                    .address = worker->address,
                                    .rank = worker->rank,
                                    .parameters = PARAMETERS,
                                    .transport_options = worker->options,
                                    .timeout = PATIENCE,
                                    .log = &contract_quiet};
    struct kofn_worker *handle;
    float model[PARAMETERS];
    uint32_t round;
    int rc = kofn_worker_open(&attr, &handle);

    if (!rc) {
        while (!(rc = kofn_worker_take(handle, model, &round))) {
            while (!rc)
                rc = update(handle, model);
            if (rc != KOFN_ROUND_OVER)
                break;
        }
        kofn_worker_close(handle);
    }
    worker->rc = rc;
    return NULL;
}

static bool step(struct job *job)
{
    job->report.size = sizeof(job->report);
    return !kofn_server_step(job->server, PATIENCE, &job->report);
}

static void steps(struct job *job, int rounds)
{
    while (rounds--)
        CU_ASSERT_FATAL(step(job));
}

static void start(struct job *job, const char *options)
{
    struct kofn_server_attr attr = {.size = sizeof(attr),
                                    .workers = WORKERS,
                                    .parameters = PARAMETERS,
                                    .local_steps = 2,
                                    .transport = "verbs",
                                    .transport_options = options,
                                    .join_timeout = PATIENCE,
                                    .peer_timeout = PATIENCE,
                                    .log = &contract_quiet};
    float model[PARAMETERS] = {0};

    memset(job, 0, sizeof(*job));
    CU_ASSERT_EQUAL_FATAL(kofn_server_open(&attr, &job->server), 0);
    for (uint32_t rank = 0; rank < WORKERS; rank++) {
        job->workers[rank] = (struct worker){
            .rank = rank, .address = kofn_server_address(job->server), .options = options};
        CU_ASSERT_EQUAL_FATAL(
            pthread_create(&job->workers[rank].thread, NULL, work, &job->workers[rank]), 0);
    }
    CU_ASSERT_EQUAL_FATAL(kofn_server_start(job->server, model), 0);
    steps(job, 3);
}

static struct kofn_member_report member(const struct job *job, uint32_t rank)
{
    struct kofn_member_report report = {.size = sizeof(report)};

    CU_ASSERT_EQUAL(kofn_server_member(job->server, rank, &report), 0);
    return report;
}

/* The job ends for everybody, nothing that was finished is missing from the account, and nothing is
 * left behind at the device.
 */
static void end(struct job *job)
{
    CU_ASSERT_EQUAL(kofn_server_stop(job->server, PATIENCE), 0);
    for (uint32_t rank = 0; rank < WORKERS; rank++) {
        struct kofn_member_report report;

        pthread_join(job->workers[rank].thread, NULL);
        CU_ASSERT_EQUAL(job->workers[rank].rc, KOFN_JOB_OVER);
        report = member(job, rank);
        CU_ASSERT_EQUAL(report.finished,
                        report.merged + report.late + report.refused + report.lost);
    }
    kofn_server_close(job->server);
    CU_ASSERT_EQUAL(fake_live(), 0);
}

static const struct kofn__verbs_member *hub_member(const struct job *job, uint32_t rank)
{
    return &kofn__verbs_hub(job->server->hub)->members[rank];
}

static uint32_t number_of(const struct job *job, uint32_t rank)
{
    const struct ibv_qp *qp = hub_member(job, rank)->lanes[KOFN__VERBS_DATA].qp;

    return qp ? qp->qp_num : 0;
}

/* Both of its queue pairs, or only that of payloads. */
static void cut(const struct job *job, uint32_t rank, bool words)
{
    for (int i = 0; i < (words ? KOFN__VERBS_PAIRS : 1); i++)
        fake_cut_pair(hub_member(job, rank)->lanes[i].qp->qp_num);
}

/* Steps until @rank is merged again, with @rejoins memberships behind it. */
static void step_until_back(struct job *job, uint32_t rank, uint32_t rejoins)
{
    uint64_t deadline = kofn_now_ns() + PATIENCE, merged = member(job, rank).merged;
    struct kofn_member_report now;

    do {
        CU_ASSERT_FATAL(step(job));
        now = member(job, rank);
    } while ((now.rejoins < rejoins || now.merged == merged || job->report.merged < WORKERS) &&
             kofn_now_ns() < deadline);
    CU_ASSERT_EQUAL(now.rejoins, rejoins);
    CU_ASSERT_EQUAL(now.epoch, rejoins + 1);
    CU_ASSERT_EQUAL(now.state, KOFN_MEMBER_READY);
    CU_ASSERT(now.merged > merged);
}

/* Every local update adds the same to every parameter: a model that is the same everywhere has
 * nothing in it of an update that was torn, or of a past epoch.
 */
static void check_model(const struct job *job)
{
    const float *model = kofn_server_model(job->server);
    bool same = true;

    for (int i = 1; i < PARAMETERS; i++)
        same &= !(model[i] < model[0] || model[i] > model[0]);
    CU_ASSERT(same && model[0] > 0);
}

/* A worker whose queue pair fails connects again by itself: as the same rank, in a new epoch, with
 * queue pairs of its own, and is merged again. Nobody else notices.
 */
static void fail_one(const char *options)
{
    struct job job;
    uint32_t number, other;

    start(&job, options);
    number = number_of(&job, VICTIM);
    other = number_of(&job, 0);
    for (uint32_t rejoins = 1; rejoins <= 3; rejoins++) {
        cut(&job, VICTIM, rejoins % 2);
        step_until_back(&job, VICTIM, rejoins);
        CU_ASSERT_NOT_EQUAL(number_of(&job, VICTIM), number);
        number = number_of(&job, VICTIM);
        check_model(&job);
    }
    CU_ASSERT_EQUAL(number_of(&job, 0), other);
    CU_ASSERT_EQUAL(member(&job, 0).epoch, 1);
    CU_ASSERT_EQUAL(member(&job, 2).rejoins, 0);
    end(&job);
}

static void test_failed_pair(void)
{
    fail_one(NULL);
    fail_one("mode=poll unsafe-poll=yes");
}

static void test_failed_pair_of_the_manager(void)
{
    fail_one("connect=rdmacm");
}

/* The same where all of them fail at once. */
static void fail_all(const char *options)
{
    struct job job;

    start(&job, options);
    fake_cut();
    for (uint32_t rank = 0; rank < WORKERS; rank++)
        step_until_back(&job, rank, 1);
    check_model(&job);
    end(&job);
}

static void test_all_pairs_fail(void)
{
    fail_all(NULL);
    fail_all("connect=rdmacm");
}

/* A port that is down for a moment, seen by all, is no failure: nobody connects again. */
static void test_port_is_down_for_a_moment(void)
{
    struct job job;

    start(&job, NULL);
    fake_event(IBV_EVENT_PORT_ERR);
    fake_event(IBV_EVENT_PORT_ACTIVE);
    steps(&job, 5);
    for (uint32_t rank = 0; rank < WORKERS; rank++)
        CU_ASSERT_EQUAL(member(&job, rank).rejoins, 0);
    end(&job);
}

static bool is_connecting(const struct job *job)
{
    for (int i = 0; i < KOFN_GUESTS; i++)
        if (job->server->guests[i].connecting)
            return true;
    return false;
}

/* While the connection manager takes its time with one worker, rounds go on with the others. */
static void test_nobody_waits_for_a_slow_call(void)
{
    uint64_t deadline = kofn_now_ns() + PATIENCE;
    struct job job;

    start(&job, "connect=rdmacm");
    fake_set_manager(FAKE_MANAGER_SLOW);
    cut(&job, VICTIM, true);
    while (!is_connecting(&job) && kofn_now_ns() < deadline)
        CU_ASSERT_FATAL(step(&job));
    CU_ASSERT(is_connecting(&job));
    for (int i = 0; i < 30; i++) {
        CU_ASSERT_FATAL(step(&job));
        CU_ASSERT_EQUAL(job.report.merged, WORKERS - 1);
    }
    CU_ASSERT(is_connecting(&job));
    fake_set_manager(FAKE_MANAGER_WORKS);
    step_until_back(&job, VICTIM, 1);
    end(&job);
}

void verbs_add_jobs(void)
{
    static const struct contract_fixture fixture = {.name = "jobs", .ops = &kofn_verbs};
    CU_pSuite suite = CU_add_suite("jobs", NULL, NULL);

    contract_use(&fixture);
    CONTRACT_TEST(suite, test_failed_pair);
    CONTRACT_TEST(suite, test_failed_pair_of_the_manager);
    CONTRACT_TEST(suite, test_all_pairs_fail);
    CONTRACT_TEST(suite, test_port_is_down_for_a_moment);
    CONTRACT_TEST(suite, test_nobody_waits_for_a_slow_call);
}
