/* Which device is used, what it must be able to do, and what is said if it is not. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "tests/contract/contract.h"
#include "tests/lib/caught_log.h"
#include "tests/verbs/fake.h"
#include "tests/verbs/suites.h"
#include "transports/verbs/device.h"
#include "transports/verbs/verbs.h"

/* Opens a hub with @options; what it says is in @caught. */
static int open_hub(const char *options, struct kofn_caught *caught)
{
    struct kofn_hub_attr attr = {
        .workers = 3, .numa_node = -1, .options = options, .log = &caught->log};
    struct kofn_hub *hub = NULL;
    int rc;

    kofn_caught_reset(caught);
    CU_ASSERT_EQUAL_FATAL(kofn_geometry_init(&attr.slot, 10000, 2), 0);
    attr.model = attr.slot;
    rc = kofn_verbs.hub_open(&attr, &hub);
    if (!rc)
        kofn_verbs.hub_close(hub);
    CU_ASSERT_EQUAL(fake_live(), 0);
    return rc;
}

/* Without a device that can be used there is no hub, and one message says why not each of them. */
static void test_no_device_is_said(void)
{
    struct kofn_caught caught;

    fake_device.present = false;
    CU_ASSERT_EQUAL(open_hub(NULL, &caught), KOFN_LOST);
    CU_ASSERT(kofn_caught_one(&caught, "there is none"));
    fake_reset();
    fake_fail("ibv_get_device_list", 1, ENOSYS);
    CU_ASSERT_EQUAL(open_hub(NULL, &caught), KOFN_UNSUPPORTED);
    CU_ASSERT(kofn_caught_one(&caught, "modprobe ib_uverbs"));
    fake_fail("ibv_open_device", 1, EACCES);
    CU_ASSERT_EQUAL(open_hub(NULL, &caught), KOFN_LOST);
    CU_ASSERT(kofn_caught_one(&caught, "fake0 cannot be opened (permissions?)"));
    fake_fail(NULL, 0, 0);
    fake_device.active = false;
    CU_ASSERT_EQUAL(open_hub(NULL, &caught), KOFN_LOST);
    CU_ASSERT(kofn_caught_one(&caught, "fake0 port 1 is down"));
    fake_reset();
    CU_ASSERT_EQUAL(open_hub("device=mlx5_0", &caught), KOFN_LOST);
    CU_ASSERT(kofn_caught_one(&caught, "not among those asked for"));
    CU_ASSERT_EQUAL(open_hub("port=2", &caught), KOFN_LOST);
    fake_device.handles = false;
    CU_ASSERT_EQUAL(open_hub(NULL, &caught), KOFN_LOST);
    CU_ASSERT(kofn_caught_one(&caught, "no GID that works"));
    fake_reset();
    CU_ASSERT_EQUAL(open_hub("gid=9", &caught), KOFN_LOST);
    CU_ASSERT(kofn_caught_one(&caught, "does not have the GID asked for"));
    fake_device.transport = IBV_TRANSPORT_IWARP;
    CU_ASSERT_EQUAL(open_hub(NULL, &caught), KOFN_LOST);
    CU_ASSERT(kofn_caught_one(&caught, "iWARP"));
    fake_reset();
}

/* A software device is used only if it is named. */
static void test_software_devices_are_named(void)
{
    struct kofn_caught caught;

    fake_device.vendor = 0xffffff;
    CU_ASSERT_EQUAL(open_hub(NULL, &caught), KOFN_LOST);
    CU_ASSERT(kofn_caught_one(&caught, "device=NAME"));
    CU_ASSERT_EQUAL(open_hub("device=fake0", &caught), 0);
    CU_ASSERT_EQUAL(open_hub("device==fake0", &caught), 0);
    CU_ASSERT_EQUAL(open_hub("device=^mlx5_0", &caught), KOFN_LOST); /* that names another */
    CU_ASSERT(kofn_caught_one(&caught, "device=NAME"));
    CU_ASSERT_EQUAL(open_hub("device=^fake0", &caught), KOFN_LOST);
    CU_ASSERT(kofn_caught_one(&caught, "not among those asked for"));
    setenv("NCCL_IB_HCA", "fake0", 1); /* a hint names none: it was meant for others */
    CU_ASSERT_EQUAL(open_hub(NULL, &caught), KOFN_LOST);
    unsetenv("NCCL_IB_HCA");
    setenv("UCX_NET_DEVICES", "eth0",
           1); /* of one that keeps all out, the message says whose it is */
    CU_ASSERT_EQUAL(open_hub(NULL, &caught), KOFN_LOST);
    CU_ASSERT(kofn_caught_one(&caught, "UCX_NET_DEVICES"));
    CU_ASSERT_EQUAL(open_hub("device=fake0", &caught), 0);
    unsetenv("UCX_NET_DEVICES");
    setenv("KOFN_VERBS_DEVICE", "fake0", 1);
    CU_ASSERT_EQUAL(open_hub(NULL, &caught), 0);
    unsetenv("KOFN_VERBS_DEVICE");
    fake_reset();
}

/* The address is chosen by priority, or as asked for; the MTU can be made smaller. */
static void test_the_port_is_as_asked_for(void)
{
    struct kofn__verbs_options options;
    struct kofn__verbs_port port;

    CU_ASSERT_EQUAL(kofn__verbs_options_read(&options, NULL, &contract_quiet), 0);
    CU_ASSERT_EQUAL_FATAL(kofn__verbs_port_open(&port, &options, NULL, 0, &contract_quiet), 0);
    CU_ASSERT(port.gid.gid_index == 2 && port.routed && port.mtu == 4096 && port.traffic == 106);
    kofn__verbs_port_close(&port);
    CU_ASSERT_EQUAL(kofn__verbs_options_read(&options, "gid=1 mtu=1024", &contract_quiet), 0);
    CU_ASSERT_EQUAL_FATAL(kofn__verbs_port_open(&port, &options, "10.9.8.7", 0, &contract_quiet),
                          0);
    CU_ASSERT(port.gid.gid_index == 1 && port.mtu == 1024 && port.traffic == 0);
    kofn__verbs_port_close(&port);
    CU_ASSERT_EQUAL(kofn__verbs_options_read(&options, NULL, &contract_quiet), 0);
    CU_ASSERT_EQUAL_FATAL(kofn__verbs_port_open(&port, &options, "192.168.1.1", 0, &contract_quiet),
                          0);
    kofn__verbs_port_close(&port);
    fake_device.link_layer = IBV_LINK_LAYER_INFINIBAND;
    CU_ASSERT_EQUAL_FATAL(kofn__verbs_port_open(&port, &options, NULL, 0, &contract_quiet), 0);
    CU_ASSERT(!port.routed && port.traffic == 0);
    kofn__verbs_port_close(&port);
    CU_ASSERT_EQUAL(fake_live(), 0);
    fake_reset();
}

/* Of several devices the one that has the address of the control connection is used, of whichever
 * kind that is; the address that is used there is still the best one.
 */
static void test_the_device_of_the_job_is_used(void)
{
    static const struct {
        const char *near, *device;
    } cases[] = {{NULL, "fake0"},          {"10.9.8.7", "fake0"},    {"10.9.8.8", "fake1"},
                 {"2001:db8::7", "fake0"}, {"2001:db8::8", "fake1"}, {"fe80::2%eth1", "fake1"},
                 {"192.168.1.1", "fake0"}};
    struct kofn__verbs_options options;
    struct kofn__verbs_port port;

    fake_device.second = true;
    CU_ASSERT_EQUAL(kofn__verbs_options_read(&options, NULL, &contract_quiet), 0);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(cases); i++) {
        CU_ASSERT_EQUAL_FATAL(
            kofn__verbs_port_open(&port, &options, cases[i].near, 0, &contract_quiet), 0);
        CU_ASSERT_STRING_EQUAL(ibv_get_device_name(port.context->device), cases[i].device);
        CU_ASSERT_EQUAL(port.gid.gid_index, 2);
        kofn__verbs_port_close(&port);
    }
    CU_ASSERT_EQUAL(fake_live(), 0);
    fake_reset();
}

/* A mode that the device cannot do is refused with the one that it can. */
static void test_modes_need_their_means(void)
{
    struct kofn_caught caught;

    fake_device.atomic = IBV_ATOMIC_NONE;
    CU_ASSERT_EQUAL(open_hub("mode=atomic", &caught), KOFN_UNSUPPORTED);
    CU_ASSERT(kofn_caught_one(&caught, "mode=imm"));
    fake_reset();
    CU_ASSERT_EQUAL(open_hub("mode=poll relaxed=yes", &caught), KOFN_INVALID);
    fake_device.message = 4096;
    CU_ASSERT_EQUAL(open_hub("mode=poll", &caught), KOFN_INVALID);
    CU_ASSERT(kofn_caught_one(&caught, "one message"));
    CU_ASSERT_EQUAL(open_hub("mode=imm", &caught), 0);
    fake_reset();
    fake_device.completions = 50;
    CU_ASSERT_NOT_EQUAL(open_hub(NULL, &caught), 0);
    CU_ASSERT(kofn_caught_one(&caught, "at most 50"));
    fake_reset();
}

/* Joins a world of one worker with @options, which sends @message bytes at once, unless that is 0;
 * the status of the step that failed, or 0.
 */
static int join_with(const char *options, uint32_t message, struct kofn_caught *caught)
{
    struct kofn_hub_attr hub_attr = {
        .workers = 1, .numa_node = -1, .options = options, .log = &caught->log};
    struct kofn_endpoint_attr attr = {.epoch = 1, .options = options, .log = &caught->log};
    struct kofn_offer offer, answer;
    struct kofn_endpoint *endpoint;
    struct kofn_hub *hub;
    int rc;

    kofn_caught_reset(caught);
    kofn_geometry_init(&hub_attr.slot, 1000, 2);
    hub_attr.model = attr.slot = attr.model = hub_attr.slot;
    CU_ASSERT_EQUAL_FATAL(kofn_verbs.hub_open(&hub_attr, &hub), 0);
    CU_ASSERT_EQUAL_FATAL(kofn_verbs.hub_admit(hub, 0, 1, &offer), 0);
    fake_device.message = message ? message : fake_device.message;
    rc = kofn_verbs.endpoint_open(&attr, &offer, &answer, &endpoint);
    if (!rc) {
        rc = kofn_verbs.hub_connect(hub, 0, &answer);
        kofn_verbs.endpoint_close(endpoint);
    }
    kofn_verbs.hub_close(hub);
    CU_ASSERT_EQUAL(fake_live(), 0);
    return rc;
}

static int join(const char *options, struct kofn_caught *caught)
{
    return join_with(options, 0, caught);
}

/* A worker that would send an update in several messages cannot be polled, whatever the server's
 * own device sends at once.
 */
static void test_polling_needs_one_message(void)
{
    struct kofn_caught caught;

    fake_device.in_order = true;
    CU_ASSERT_EQUAL(join_with("mode=poll", 1087, &caught), KOFN_UNSUPPORTED);
    CU_ASSERT(kofn_caught_one(&caught, "1088 bytes are more than this worker sends in one (1087)"));
    CU_ASSERT_EQUAL(join_with("mode=imm", 1087, &caught), 0);
    fake_reset();
    fake_device.in_order = true;
    CU_ASSERT_EQUAL(join_with("mode=poll", 1088, &caught), 0);
    fake_reset();
}

/* Writes are polled only where the device says that it may be done, or who asked for it says so. */
static void test_polling_needs_a_promise(void)
{
    struct kofn_caught caught;

    CU_ASSERT_EQUAL(join("mode=poll", &caught), KOFN_UNSUPPORTED);
    CU_ASSERT(kofn_caught_one(&caught, "does not promise"));
    CU_ASSERT_EQUAL(join("mode=poll unsafe-poll=yes", &caught), 0);
    fake_device.in_order = true;
    CU_ASSERT_EQUAL(join("mode=poll", &caught), 0);
    fake_reset();
}

/* A device that grants less than is asked for is used with what it grants. */
static void test_less_inline_will_do(void)
{
    static const uint32_t granted[] = {0, 8, 27, 64, 219};
    struct kofn_caught caught;

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(granted); i++) {
        fake_device.inlined = granted[i];
        CU_ASSERT_EQUAL(join(NULL, &caught), 0);
    }
    fake_reset();
}

/* Where a device has thread domains, everything is made in one, and one line says so; where one of
 * the calls for it fails, it does without. All of it is given back in the right order.
 */
static void test_thread_domains_are_used(void)
{
    static const char *const calls[] = {"ibv_alloc_td", "ibv_alloc_parent_domain"};
    struct kofn__verbs_options options;
    struct kofn__verbs_port port;
    struct kofn_caught caught;

    fake_device.domains = true;
    kofn_caught_reset(&caught);
    caught.log.level = KOFN_LOG_INFO;
    CU_ASSERT_EQUAL(kofn__verbs_options_read(&options, NULL, &caught.log), 0);
    CU_ASSERT_EQUAL_FATAL(kofn__verbs_port_open(&port, &options, NULL, 0, &caught.log), 0);
    CU_ASSERT(port.td && port.plain_pd && port.pd != port.plain_pd);
    CU_ASSERT(kofn_caught_one(&caught, "GID 2 10.9.8.7 (RoCE v2), MTU 4096, traffic class 106, "
                                       "service level 0, arrivals by imm, no locks"));
    kofn__verbs_port_close(&port);
    CU_ASSERT_EQUAL(fake_live(), 0);
    CU_ASSERT_EQUAL(join(NULL, &caught), 0);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(calls); i++) {
        fake_fail(calls[i], 1, ENOMEM);
        CU_ASSERT_EQUAL_FATAL(kofn__verbs_port_open(&port, &options, NULL, 0, &contract_quiet), 0);
        CU_ASSERT(fake_failed());
        CU_ASSERT(!port.td && !port.plain_pd && port.pd);
        kofn__verbs_port_close(&port);
        CU_ASSERT_EQUAL(fake_live(), 0);
    }
    fake_reset();
}

/* Memory that may not be locked: the limit is named, and how to raise it. */
static void test_memlock_is_explained(void)
{
    struct rlimit before, low = {.rlim_cur = 65536, .rlim_max = 65536};
    struct kofn_caught caught;

    CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_MEMLOCK, &before), 0);
    low.rlim_max = before.rlim_max;
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_MEMLOCK, &low), 0);
    fake_fail("ibv_reg_mr", 1, ENOMEM);
    CU_ASSERT_EQUAL(open_hub(NULL, &caught), KOFN_NO_MEMORY);
    CU_ASSERT_PTR_NOT_NULL(strstr(caught.last, "64 KiB"));
    CU_ASSERT_PTR_NOT_NULL(strstr(caught.last, "ulimit -l"));
    CU_ASSERT_EQUAL(setrlimit(RLIMIT_MEMLOCK, &before), 0);
    fake_reset();
}

/* ---- what `kofn info` says ---- */

/* What was found, a line each. */
struct findings {
    char text[4096];
};

static void find(void *arg, const char *what, const char *text)
{
    struct findings *findings = arg;
    size_t used = strlen(findings->text);

    snprintf(findings->text + used, sizeof(findings->text) - used, "%s: %s\n", what, text);
}

static bool found(const char *options, const char *part)
{
    struct findings findings = {""};
    bool there;

    kofn_verbs.describe(options, find, &findings);
    CU_ASSERT_EQUAL(fake_live(), 0);
    there = strstr(findings.text, part);
    if (!there)
        printf("# wanted \"%s\", found:\n# %s\n", part, findings.text);
    return there;
}

/* A device that works is described with its port, the address that is used and the others, and is
 * the choice.
 */
static void test_devices_are_described(void)
{
    CU_ASSERT(found(NULL, "fake0: firmware not known, NUMA node not known\n"));
    CU_ASSERT(found(NULL, "fake0:1: active, Ethernet, MTU 4096, GID 2 10.9.8.7 (RoCE v2), traffic "
                          "class 106\n"));
    CU_ASSERT(found(NULL, "fake0:1 GIDs: 2 10.9.8.7 (RoCE v2), 0 fe80::1 (RoCE v2), 1 10.9.8.7 "
                          "(RoCE v1)\n"));
    CU_ASSERT(found(NULL, "choice: fake0 port 1\n"));
    CU_ASSERT(found("gid=1 mtu=1024", "MTU 4096 (used: 1024), GID 1 10.9.8.7 (RoCE v1)"));
    fake_device.link_layer = IBV_LINK_LAYER_INFINIBAND;
    CU_ASSERT(found(NULL, "fake0:1: active, InfiniBand, MTU 4096, LID 7, traffic class 0\n"));
    fake_reset();
}

/* One that cannot be used is described with the reason, and the choice is none. */
static void test_what_is_not_used_has_a_reason(void)
{
    CU_ASSERT(found("device=mlx5_0", "not used: it is not among those asked for"));
    CU_ASSERT(found("device=mlx5_0", "choice: none can be used\n"));
    CU_ASSERT(found("port=2", "fake0:1: active, Ethernet, MTU 4096, GID 2"));
    CU_ASSERT(found("port=2", "choice: none can be used\n"));
    CU_ASSERT(found("speed=9", "options: verbs: has no option \"speed\""));
    fake_device.vendor = 0xffffff;
    CU_ASSERT(found(NULL, "not used: it is a software device, which is only used if named"));
    CU_ASSERT(found("device=^other", "choice: none can be used\n"));
    CU_ASSERT(found("device=fake0", "choice: fake0 port 1\n"));
    fake_reset();
    fake_device.active = false;
    CU_ASSERT(found(NULL, "fake0:1: down, Ethernet; not used: it is down\n"));
    fake_reset();
    fake_device.handles = false;
    CU_ASSERT(found(NULL, "has no GID that works: does its interface have an address?\n"));
    fake_reset();
    fake_device.transport = IBV_TRANSPORT_IWARP;
    CU_ASSERT(found(NULL, "not used: it is iWARP, which has no immediates"));
    fake_reset();
}

/* Without devices, or where they cannot be asked, that is what is described. */
static void test_no_device_is_described(void)
{
    static const char *const calls[] = {"ibv_open_device", "ibv_query_device", "ibv_query_port",
                                        "ibv_alloc_pd"};

    fake_device.present = false;
    CU_ASSERT(found(NULL, "devices: none\n"));
    fake_reset();
    fake_fail("ibv_get_device_list", 1, ENOSYS);
    CU_ASSERT(found(NULL, "(is the module ib_uverbs loaded?)\n"));
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(calls); i++) {
        fake_fail(calls[i], 1, ENOMEM);
        CU_ASSERT(found(NULL, "not used: it "));
        fake_fail(calls[i], 1, ENOMEM);
        CU_ASSERT(found(NULL, "choice: none can be used\n"));
    }
    fake_reset();
}

void verbs_add_devices(void)
{
    CU_pSuite suite = CU_add_suite("devices", NULL, NULL);

    CONTRACT_TEST(suite, test_no_device_is_said);
    CONTRACT_TEST(suite, test_software_devices_are_named);
    CONTRACT_TEST(suite, test_the_port_is_as_asked_for);
    CONTRACT_TEST(suite, test_the_device_of_the_job_is_used);
    CONTRACT_TEST(suite, test_modes_need_their_means);
    CONTRACT_TEST(suite, test_polling_needs_a_promise);
    CONTRACT_TEST(suite, test_polling_needs_one_message);
    CONTRACT_TEST(suite, test_less_inline_will_do);
    CONTRACT_TEST(suite, test_thread_domains_are_used);
    CONTRACT_TEST(suite, test_memlock_is_explained);
    CONTRACT_TEST(suite, test_devices_are_described);
    CONTRACT_TEST(suite, test_what_is_not_used_has_a_reason);
    CONTRACT_TEST(suite, test_no_device_is_described);
}
