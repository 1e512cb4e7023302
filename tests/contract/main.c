/* The contract suite: the same tests for every transport, then what one of them has besides.
 * `contract NAME...` runs those alone, `contract -l` lists them.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/contract/contract.h"
#include "tests/contract/suites.h"
#include "tests/contract/tcp_client.h"
#include "transports/self/self.h"
#include "transports/shm/shm.h"
#include "transports/uring/uring.h"
#ifdef HAVE_VERBS
#include "transports/verbs/verbs.h"
#endif

static void *open_fabric(uint32_t workers)
{
    struct kofn_fabric_attr attr = {.workers = workers, .automatic = true, .log = &contract_quiet};
    struct kofn_fabric *fabric;

    return kofn_fabric_open(&attr, &fabric) ? NULL : fabric;
}

static void close_fabric(void *context)
{
    kofn_fabric_close(context);
}

static void settle_fabric(void *context)
{
    kofn_fabric_deliver_all(context);
}

/* Models are pushed and not read, so that it is the push that is tested. */
static void *open_pushing(uint32_t workers)
{
    struct kofn_fabric_attr attr = {
        .workers = workers, .automatic = true, .pushed_only = true, .log = &contract_quiet};
    struct kofn_fabric *fabric;

    return kofn_fabric_open(&attr, &fabric) ? NULL : fabric;
}

#ifdef HAVE_VERBS
static void test_no_device(void)
{
    kofn_test_skip("KOFN_TEST_VERBS does not name a device");
}
#endif

static void add_self(void)
{
    static const struct contract_fixture fixture = {.name = "self",
                                                    .ops = &kofn_self,
                                                    .open = open_fabric,
                                                    .close = close_fabric,
                                                    .settle = settle_fabric};

    contract_add(&fixture);
}

static void add_self_pushed(void)
{
    static const struct contract_fixture fixture = {.name = "self-pushed",
                                                    .ops = &kofn_self,
                                                    .open = open_pushing,
                                                    .close = close_fabric,
                                                    .settle = settle_fabric};

    contract_add(&fixture);
}

static void add_shm(void)
{
    static const struct contract_fixture fixture = {
        .name = "shm", .ops = &kofn_shm, .concurrent = true, .reclaim_waits = true};

    contract_add(&fixture);
}

static const struct contract_fixture by_uring = {
    .name = "tcp-uring", .ops = &kofn_tcp, .options = "engine=uring", .concurrent = true};
static const struct contract_fixture by_poll = {
    .name = "tcp-poll", .ops = &kofn_tcp, .options = "engine=poll", .concurrent = true};

static void add_tcp_uring(void)
{
    contract_add(&by_uring);
}

static void add_tcp_poll(void)
{
    contract_add(&by_poll);
}

static void add_tcp_own(const struct contract_fixture *fixture, const char *name)
{
    CU_pSuite suite = CU_add_suite(name, NULL, NULL);

    contract_use(fixture);
    contract_tcp_strangers(suite);
    contract_tcp_hostile(suite);
    contract_tcp_faults(suite);
    contract_tcp_away(suite);
    contract_tcp_engines(suite);
}

static void add_tcp_uring_own(void)
{
    add_tcp_own(&by_uring, "tcp-uring-own");
}

static void add_tcp_poll_own(void)
{
    add_tcp_own(&by_poll, "tcp-poll-own");
}

#ifdef HAVE_VERBS
/* Needs a device, and its name: KOFN_TEST_VERBS=rxe0. @more: further options. */
static void add_on_device(const char *name, const char *more)
{
    static char options[256];
    static struct contract_fixture fixture = {
        .ops = &kofn_verbs, .options = options, .concurrent = true};
    const char *device = getenv("KOFN_TEST_VERBS");

    if (!device || !*device) {
        CU_pSuite suite = CU_add_suite(name, NULL, NULL);

        CONTRACT_TEST(suite, test_no_device);
        return;
    }
    fixture.name = name;
    snprintf(options, sizeof(options), "device=%s %s", device, more);
    contract_add(&fixture);
}

static void add_verbs(void)
{
    add_on_device("verbs", "");
}

static void add_verbs_atomic(void)
{
    add_on_device("verbs-atomic", "mode=atomic");
}

static void add_verbs_poll(void)
{
    add_on_device("verbs-poll", "mode=poll unsafe-poll=yes");
}

static void add_verbs_rdmacm(void)
{
    add_on_device("verbs-rdmacm", "connect=rdmacm");
}
#endif

static const struct kofn_suite suites[] = {
    {"self", add_self},
    {"self-pushed", add_self_pushed},
    {"shm", add_shm},
    {"tcp-uring", add_tcp_uring},
    {"tcp-poll", add_tcp_poll},
    {"tcp-uring-own", add_tcp_uring_own},
    {"tcp-poll-own", add_tcp_poll_own},
#ifdef HAVE_VERBS
    {"verbs", add_verbs},
    {"verbs-atomic", add_verbs_atomic},
    {"verbs-poll", add_verbs_poll},
    {"verbs-rdmacm", add_verbs_rdmacm},
#endif
    {"fabric", contract_add_fabric},
    {"isolation", contract_add_isolation},
};

int main(int argc, char **argv)
{
    return kofn_suites_run(suites, KOFN_ARRAY_SIZE(suites), argc, argv);
}
