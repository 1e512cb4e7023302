/* What `kofn info` says of RDMA devices: the texts, and what the options allow. */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

#include "transports/verbs/describe.h"
#include "transports/verbs/inspect.h"

static struct ibv_gid_entry entry(uint32_t index, uint32_t type, const char *address)
{
    struct ibv_gid_entry made = {.gid_index = index, .gid_type = type};

    CU_ASSERT(kofn__verbs_gid_parse(address, &made.gid));
    return made;
}

/* A RoCE port that a connection can use. */
static struct kofn__verbs_port roce_port(void)
{
    return (struct kofn__verbs_port){.attr = {.state = IBV_PORT_ACTIVE,
                                              .active_mtu = IBV_MTU_4096,
                                              .link_layer = IBV_LINK_LAYER_ETHERNET},
                                     .gid = entry(3, IBV_GID_TYPE_ROCE_V2, "10.0.0.7"),
                                     .routed = true,
                                     .mtu = 4096,
                                     .traffic = 106};
}

/* A device's line has its firmware and its NUMA node, or that they are not known; and why it is
 * not used. A name as long as the device's field is not read past its end.
 */
static void test_device_text(void)
{
    struct kofn__verbs_port port = {.limits = {.fw_ver = "20.31.1014"}, .numa_node = 1};
    char text[KOFN__VERBS_TEXT];

    CU_ASSERT_STRING_EQUAL(kofn__verbs_device_text(&port, NULL, text),
                           "firmware 20.31.1014, NUMA node 1");
    port.limits.fw_ver[0] = 0;
    port.numa_node = -1;
    CU_ASSERT_STRING_EQUAL(kofn__verbs_device_text(&port, "is slow", text),
                           "firmware not known, NUMA node not known; not used: it is slow");
    memset(port.limits.fw_ver, '7', sizeof(port.limits.fw_ver));
    CU_ASSERT_EQUAL(strlen(kofn__verbs_device_text(&port, NULL, text)),
                    strlen("firmware , NUMA node not known") + sizeof(port.limits.fw_ver));
}

/* A port's line has what a connection over it would use. */
static void test_port_text(void)
{
    struct kofn__verbs_port port = roce_port();
    char text[KOFN__VERBS_TEXT];

    CU_ASSERT_STRING_EQUAL(
        kofn__verbs_port_text(&port, NULL, text),
        "active, Ethernet, MTU 4096, GID 3 10.0.0.7 (RoCE v2), traffic class 106");
    port.mtu = 1024;
    port.traffic = 0;
    CU_ASSERT_STRING_EQUAL(
        kofn__verbs_port_text(&port, "is slow", text),
        "active, Ethernet, MTU 4096 (used: 1024), GID 3 10.0.0.7 (RoCE v2), traffic class 0; "
        "not used: it is slow");
    port = (struct kofn__verbs_port){.attr = {.state = IBV_PORT_ACTIVE,
                                              .active_mtu = IBV_MTU_2048,
                                              .link_layer = IBV_LINK_LAYER_INFINIBAND,
                                              .lid = 12},
                                     .mtu = 2048};
    CU_ASSERT_STRING_EQUAL(kofn__verbs_port_text(&port, NULL, text),
                           "active, InfiniBand, MTU 2048, LID 12, traffic class 0");
}

/* Of a port that no connection can use, only what is known of it is said. */
static void test_unusable_port_text(void)
{
    struct kofn__verbs_port port = {.attr = {.state = IBV_PORT_ACTIVE,
                                             .active_mtu = IBV_MTU_1024,
                                             .link_layer = IBV_LINK_LAYER_ETHERNET},
                                    .routed = true};
    char text[KOFN__VERBS_TEXT];

    CU_ASSERT_STRING_EQUAL(kofn__verbs_port_text(&port, "has no GID", text),
                           "active, Ethernet, MTU 1024; not used: it has no GID");
    port.attr.state = IBV_PORT_DOWN;
    CU_ASSERT_STRING_EQUAL(kofn__verbs_port_text(&port, "is down", text),
                           "down, Ethernet; not used: it is down");
    port.attr.state = IBV_PORT_INIT;
    port.attr.link_layer = IBV_LINK_LAYER_INFINIBAND;
    CU_ASSERT_PTR_NOT_NULL(strstr(kofn__verbs_port_text(&port, "is down", text), "subnet manager"));
    port = (struct kofn__verbs_port){.attr = {.state = IBV_PORT_NOP}};
    CU_ASSERT_STRING_EQUAL(kofn__verbs_port_text(&port, "cannot be queried", text),
                           "not used: it cannot be queried");
}

/* Addresses are listed in the order they come in, with their kinds; a long list is cut, and says
 * so.
 */
static void test_gids_text(void)
{
    struct ibv_gid_entry entries[40] = {
        entry(3, IBV_GID_TYPE_ROCE_V2, "10.0.0.7"),
        entry(2, IBV_GID_TYPE_ROCE_V1, "10.0.0.7"),
        entry(1, IBV_GID_TYPE_ROCE_V2, "fe80::1"),
    };
    char text[KOFN__VERBS_TEXT];

    CU_ASSERT_STRING_EQUAL(kofn__verbs_gids_text(entries, 3, text),
                           "3 10.0.0.7 (RoCE v2), 2 10.0.0.7 (RoCE v1), 1 fe80::1 (RoCE v2)");
    CU_ASSERT_STRING_EQUAL(kofn__verbs_gids_text(entries, 0, text), "");
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(entries); i++)
        entries[i] = entry(200, IBV_GID_TYPE_ROCE_V2, "2001:db8:1111:2222:3333:4444:5555:6666");
    kofn__verbs_gids_text(entries, KOFN_ARRAY_SIZE(entries), text);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "6666 (RoCE v2), and 34 more"));
}

static const char *refused(const char *filter, bool named, const char *device, bool soft)
{
    struct kofn__verbs_options options = {.filter = {.named = named}};

    snprintf(options.filter.text, sizeof(options.filter.text), "%s", filter);
    return kofn__verbs_device_refused(&options, device, soft);
}

/* A software device is used only if the user of kofn names it, not because it is the only one, nor
 * because another program's variable has its name; a device that is not asked for never is.
 */
static void test_devices_refused(void)
{
    CU_ASSERT_PTR_NULL(refused("", false, "mlx5_0", false));
    CU_ASSERT_PTR_NULL(refused("mlx5_0", true, "mlx5_0", false));
    CU_ASSERT_PTR_NULL(refused("rxe0", true, "rxe0", true));
    CU_ASSERT_PTR_NOT_NULL(strstr(refused("", false, "rxe0", true), "only used if named"));
    CU_ASSERT_PTR_NOT_NULL(strstr(refused("rxe0", false, "rxe0", true), "only used if named"));
    CU_ASSERT_PTR_NOT_NULL(strstr(refused("mlx5_0", true, "rxe0", true), "not among"));
    CU_ASSERT_PTR_NOT_NULL(strstr(refused("^mlx5_0", true, "mlx5_0", false), "not among"));
}

/* A port is refused by its number, in the list of devices or apart. */
static void test_ports_refused(void)
{
    struct kofn__verbs_options options = {.filter = {.text = "mlx5_0:2"}};

    CU_ASSERT_PTR_NOT_NULL(kofn__verbs_port_refused(&options, "mlx5_0", 1));
    CU_ASSERT_PTR_NULL(kofn__verbs_port_refused(&options, "mlx5_0", 2));
    options = (struct kofn__verbs_options){.port = 1};
    CU_ASSERT_PTR_NULL(kofn__verbs_port_refused(&options, "mlx5_0", 1));
    CU_ASSERT_PTR_NOT_NULL(kofn__verbs_port_refused(&options, "mlx5_0", 2));
}

void kofn_suite_describe(void)
{
    CU_pSuite suite = CU_add_suite("describe", NULL, NULL);

    CU_add_test(suite, "a device's line", test_device_text);
    CU_add_test(suite, "a port's line", test_port_text);
    CU_add_test(suite, "the line of a port that is not used", test_unusable_port_text);
    CU_add_test(suite, "a list of addresses", test_gids_text);
    CU_add_test(suite, "devices that may not be used", test_devices_refused);
    CU_add_test(suite, "ports that may not be used", test_ports_refused);
}
