/* What needs no device: the order of addresses, options, offers, sentences. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tests/contract/contract.h"
#include "tests/lib/caught_log.h"
#include "tests/verbs/suites.h"
#include "transports/verbs/errors.h"
#include "transports/verbs/offer.h"

/* ---- addresses ---- */

static struct ibv_gid_entry entry(uint32_t index, uint32_t type, const char *address)
{
    struct ibv_gid_entry made = {.gid_index = index, .gid_type = type};

    CU_ASSERT_EQUAL(inet_pton(AF_INET6, address, made.gid.raw), 1);
    return made;
}

/* Version 2 before 1; IPv4, then global IPv6, then link-local; what is no address is left out;
 * among equals the one the control connection uses, then the lowest index.
 */
static void test_gids_are_ordered(void)
{
    struct ibv_gid_entry entries[] = {
        entry(0, IBV_GID_TYPE_ROCE_V1, "fe80::1"),
        entry(1, IBV_GID_TYPE_ROCE_V2, "fe80::1"),
        entry(2, IBV_GID_TYPE_ROCE_V1, "::ffff:10.0.0.1"),
        entry(3, IBV_GID_TYPE_ROCE_V2, "::"),
        entry(4, IBV_GID_TYPE_ROCE_V2, "2001:db8::1"),
        entry(5, IBV_GID_TYPE_ROCE_V2, "::ffff:10.0.0.1"),
        entry(6, IBV_GID_TYPE_ROCE_V2, "::ffff:10.0.0.2"),
    };
    static const uint32_t order[] = {6, 5, 4, 1, 2, 0};
    union ibv_gid near;

    CU_ASSERT(kofn__verbs_gid_parse("10.0.0.2", &near));
    CU_ASSERT_EQUAL(kofn__verbs_gid_order(entries, KOFN_ARRAY_SIZE(entries), &near), 6);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(order); i++)
        CU_ASSERT_EQUAL(entries[i].gid_index, order[i]);
    CU_ASSERT_EQUAL(kofn__verbs_gid_order(entries, 6, NULL), 6);
    CU_ASSERT_EQUAL(entries[0].gid_index, 5);
    CU_ASSERT_EQUAL(kofn__verbs_gid_order(entries, 0, NULL), 0);
}

/* Addresses are read and written as people do, with the name of an interface or without. */
static void test_gids_are_addresses(void)
{
    static const char *const texts[] = {"10.1.2.3", "fe80::1", "2001:db8::7", "0.0.0.0"};
    char text[KOFN__VERBS_GID_TEXT];
    union ibv_gid gid, same;

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(texts); i++) {
        CU_ASSERT(kofn__verbs_gid_parse(texts[i], &gid));
        CU_ASSERT_STRING_EQUAL(kofn__verbs_gid_print(&gid, text), texts[i]);
    }
    CU_ASSERT(kofn__verbs_gid_parse("fe80::1%eth0", &gid));
    CU_ASSERT(kofn__verbs_gid_parse("fe80::1", &same));
    CU_ASSERT_EQUAL(memcmp(&gid, &same, sizeof(gid)), 0);
    CU_ASSERT(!kofn__verbs_gid_parse("", &gid));
    CU_ASSERT(!kofn__verbs_gid_parse("node12", &gid));
    CU_ASSERT_STRING_EQUAL(kofn__verbs_gid_type(IBV_GID_TYPE_ROCE_V2), "RoCE v2");
    CU_ASSERT_STRING_EQUAL(kofn__verbs_gid_type(IBV_GID_TYPE_ROCE_V1), "RoCE v1");
    CU_ASSERT_STRING_EQUAL(kofn__verbs_gid_type(IBV_GID_TYPE_IB), "InfiniBand");
}

/* ---- options ---- */

/* Everything that can be said is taken in, and nothing else is. */
static void test_options_are_read(void)
{
    static const char *const wrong[] = {
        "mode=often",  "mode",       "gid=-1",    "gid=70000",  "mtu=1000", "mtu=8192",
        "tc=256",      "sl=16",      "retries=7", "timeout=32", "hops=0",   "relaxed=maybe",
        "inline=2000", "speed=fast", "device",    "=",          "port=a",
    };
    struct kofn__verbs_options options;

    CU_ASSERT_EQUAL(kofn__verbs_options_read(&options, NULL, &contract_quiet), 0);
    CU_ASSERT(options.gid == -1 && options.traffic == -1 && options.retries == 6 &&
              options.hops == 255 && options.inlined == 220 && options.mode == KOFN__VERBS_IMM);
    CU_ASSERT_EQUAL(kofn__verbs_options_read(
                        &options,
                        "device=mlx5_1:2 gid=3 mtu=2048 sl=5 tc=96 hops=64 retries=4 timeout=16 "
                        "inline=64 mode=atomic connect=rdmacm relaxed=yes port=1",
                        &contract_quiet),
                    0);
    CU_ASSERT_STRING_EQUAL(options.filter.text, "mlx5_1:2");
    CU_ASSERT(options.filter.named && options.gid == 3 && options.mtu == 2048 &&
              options.level == 5 && options.traffic == 96 && options.hops == 64 &&
              options.retries == 4 && options.timeout == 16 && options.inlined == 64 &&
              options.mode == KOFN__VERBS_ATOMIC && options.connect == KOFN__VERBS_RDMACM &&
              options.relaxed && options.port == 1);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(wrong); i++) {
        options.level = 77;
        if (!strcmp(wrong[i], "device"))
            continue; /* an empty filter is none */
        CU_ASSERT_EQUAL(kofn__verbs_options_read(&options, wrong[i], &contract_quiet),
                        KOFN_INVALID);
        CU_ASSERT_EQUAL(options.level, 77);
    }
}

/* What is said beats the environment, that beats the hints of other programs; a hint that makes no
 * sense is none, but a variable of kofn's own is an error.
 */
static void test_options_have_an_order(void)
{
    struct kofn__verbs_options options;

    setenv("NCCL_IB_HCA", "mlx5", 1);
    setenv("NCCL_IB_GID_INDEX", "3", 1);
    setenv("NCCL_IB_TC", "many", 1);
    CU_ASSERT_EQUAL(kofn__verbs_options_read(&options, NULL, &contract_quiet), 0);
    CU_ASSERT(options.gid == 3 && options.traffic == -1 && !options.filter.named);
    CU_ASSERT(kofn__verbs_filter_passes(&options.filter, "mlx5_7", 1));
    setenv("KOFN_VERBS_GID", "4", 1);
    setenv("KOFN_VERBS_UNSAFE_POLL", "yes", 1);
    CU_ASSERT_EQUAL(kofn__verbs_options_read(&options, NULL, &contract_quiet), 0);
    CU_ASSERT(options.gid == 4 && options.unsafe);
    CU_ASSERT_EQUAL(kofn__verbs_options_read(&options, "gid=5 device=a", &contract_quiet), 0);
    CU_ASSERT_EQUAL(options.gid, 5);
    CU_ASSERT(options.filter.named && !kofn__verbs_filter_passes(&options.filter, "mlx5_7", 1));
    setenv("KOFN_VERBS_GID", "four", 1);
    CU_ASSERT_EQUAL(kofn__verbs_options_read(&options, NULL, &contract_quiet), KOFN_INVALID);
    unsetenv("NCCL_IB_HCA");
    unsetenv("NCCL_IB_GID_INDEX");
    unsetenv("NCCL_IB_TC");
    unsetenv("KOFN_VERBS_GID");
    unsetenv("KOFN_VERBS_UNSAFE_POLL");
    setenv("UCX_NET_DEVICES", "mlx5_0:1,mlx5_2:1", 1);
    CU_ASSERT_EQUAL(kofn__verbs_options_read(&options, NULL, &contract_quiet), 0);
    CU_ASSERT(kofn__verbs_filter_passes(&options.filter, "mlx5_2", 1));
    CU_ASSERT(!kofn__verbs_filter_passes(&options.filter, "mlx5_2", 2));
    unsetenv("UCX_NET_DEVICES");
}

/* Filters mean what those mean that they are taken from. */
static void test_filters(void)
{
    static const struct {
        const char *text;
        bool prefix;
        const char *name;
        uint32_t port;
        bool passes;
    } cases[] = {
        {"", false, "any", 1, true},
        {"mlx5_0", false, "mlx5_0", 2, true},
        {"mlx5_0", false, "mlx5_01", 1, false},
        {"mlx5_0:2", false, "mlx5_0", 1, false},
        {"mlx5_0:2", false, "mlx5_0", 0, true},
        {"a,b:1,c", false, "b", 1, true},
        {"a,b:1,c", false, "d", 1, false},
        {"^a,b", false, "b", 1, false},
        {"^a,b", false, "c", 1, true},
        {"mlx5", true, "mlx5_3", 1, true},
        {"=mlx5", true, "mlx5_3", 1, false},
        {"^mlx5", true, "mlx5_3", 1, false},
        {"^=mlx5_1", true, "mlx5_10", 1, true},
        {"a:x", false, "a", 1, false},
        {",,a,", false, "a", 1, true},
    };

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(cases); i++) {
        struct kofn__verbs_filter filter = {.prefix = cases[i].prefix};

        snprintf(filter.text, sizeof(filter.text), "%s", cases[i].text);
        CU_ASSERT_EQUAL(kofn__verbs_filter_passes(&filter, cases[i].name, cases[i].port),
                        cases[i].passes);
    }
}

/* ---- offers ---- */

/* An offer is read as it was written; with any bit of it changed it is none, nor is one of the
 * other side.
 */
static void test_offers_are_whole_or_none(void)
{
    struct kofn__verbs_offer content = {.rank = 3, .epoch = 7, .slot_payload = 1000}, got;
    struct kofn_offer offer, wrong;

    content.end.psn[1] = 0xabcdef;
    kofn__verbs_offer_put(&offer, &content, true);
    CU_ASSERT_EQUAL(kofn__verbs_offer_get(&offer, true, &got), 0);
    CU_ASSERT_EQUAL(memcmp(&got, &content, sizeof(got)), 0);
    CU_ASSERT_EQUAL(kofn__verbs_offer_get(&offer, false, &got), KOFN_PROTOCOL);
    for (uint32_t bit = 0; bit < offer.length * 8; bit++) {
        wrong = offer;
        wrong.bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        CU_ASSERT_EQUAL(kofn__verbs_offer_get(&wrong, true, &got), KOFN_PROTOCOL);
    }
}

/* ---- time-outs and sentences ---- */

/* All tries together end within the limit, and not long before it; whatever the limit, the value is
 * one that devices take.
 */
static void test_timeouts_end_in_time(void)
{
    for (uint64_t limit = KOFN_NS_PER_MS; limit < 1000 * KOFN_NS_PER_S; limit = limit * 3 / 2)
        for (uint32_t retries = 0; retries <= KOFN__VERBS_RETRIES; retries++) {
            uint8_t exponent = kofn__verbs_timeout(limit, retries);
            uint64_t whole = (UINT64_C(4096) << exponent) * (retries + 1);

            CU_ASSERT(exponent >= 8 && exponent <= 21);
            CU_ASSERT(exponent == 8 || whole <= limit);
            CU_ASSERT(exponent == 21 || whole * 2 > limit);
        }
}

/* Every failure has a sentence of its own, and the frequent ones say what to do. */
static void test_failures_are_sentences(void)
{
    const char *said[IBV_WC_TM_RNDV_INCOMPLETE + 1];
    char text[128];

    for (int i = IBV_WC_LOC_LEN_ERR; i <= IBV_WC_GENERAL_ERR; i++) {
        said[i] = kofn__verbs_completion_text((enum ibv_wc_status)i);
        CU_ASSERT(strlen(said[i]) > 15); /* of the device's library, the names alone are shorter */
    }
    CU_ASSERT_PTR_NOT_NULL(strstr(said[IBV_WC_REM_ACCESS_ERR], "evicted"));
    for (int i = IBV_EVENT_CQ_ERR; i <= IBV_EVENT_GID_CHANGE; i++)
        CU_ASSERT(strlen(kofn__verbs_event_text((enum ibv_event_type)i, 2, text)) > 10);
    CU_ASSERT_PTR_NOT_NULL(strstr(kofn__verbs_event_text(IBV_EVENT_PORT_ERR, 2, text), "port 2"));
    CU_ASSERT(kofn__verbs_event_fatal(IBV_EVENT_DEVICE_FATAL));
    CU_ASSERT(kofn__verbs_event_fatal(IBV_EVENT_CQ_ERR));
    CU_ASSERT(!kofn__verbs_event_fatal(IBV_EVENT_PORT_ERR));
}

/* Of what was not answered, the message says what may be wrong and what this side has tried: GID,
 * MTU, time-out, firewall; of all failures, the numbers of the device.
 */
static void test_failures_say_what_was_tried(void)
{
    static const char *const parts[] = {"GID or MTU",  "4791",      "--peer-timeout",
                                        "GID index 3", "MTU 2048",  "7 tries of 134 ms",
                                        "status 12",   "error 0x81"};
    struct kofn__verbs_port port = {
        .routed = true, .gid.gid_index = 3, .mtu = 2048, .peer_limit = KOFN_NS_PER_S};
    char text[KOFN__VERBS_FAILURE_TEXT];

    port.options.retries = 6;
    kofn__verbs_failure_text(&port, IBV_WC_RETRY_EXC_ERR, 0x81, text);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(parts); i++)
        CU_ASSERT_PTR_NOT_NULL(strstr(text, parts[i]));
    CU_ASSERT(strlen(text) + 100 < KOFN_LOG_LINE && text[strlen(text) - 1] == ')');
    kofn__verbs_failure_text(&port, IBV_WC_REM_ACCESS_ERR, 7, text);
    CU_ASSERT_PTR_NULL(strstr(text, "MTU"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "status 10, vendor error 0x7"));
}

void verbs_add_pure(void)
{
    CU_pSuite suite = CU_add_suite("pure", NULL, NULL);

    CONTRACT_TEST(suite, test_gids_are_ordered);
    CONTRACT_TEST(suite, test_gids_are_addresses);
    CONTRACT_TEST(suite, test_options_are_read);
    CONTRACT_TEST(suite, test_options_have_an_order);
    CONTRACT_TEST(suite, test_filters);
    CONTRACT_TEST(suite, test_offers_are_whole_or_none);
    CONTRACT_TEST(suite, test_timeouts_end_in_time);
    CONTRACT_TEST(suite, test_failures_are_sentences);
    CONTRACT_TEST(suite, test_failures_say_what_was_tried);
}
