/* Which interfaces a list means, and which of their addresses is taken. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <string.h>

#include "base/base.h"
#include "base/interface.h"

/* Names by their beginnings, exactly behind a `=`, all others behind a `^`, as NCCL has it. */
static void test_meant(void)
{
    static const struct {
        const char *list, *name;
        bool meant;
    } cases[] = {
        {"eth", "eth0", true},         {"eth0", "eth0", true},       {"eth0", "eth", false},
        {"eth1", "eth0", false},       {"ib,eth", "eth0", true},     {"ib,eth", "lo", false},
        {"=eth0", "eth0", true},       {"=eth", "eth0", false},      {"=ib0,eth0", "eth0", true},
        {"=eth0,ib0", "eth01", false}, {"^eth", "eth0", false},      {"^eth", "ib0", true},
        {"^docker,lo", "lo", false},   {"^docker,lo", "eth0", true}, {"^=eth0", "eth01", true},
        {"^=eth0", "eth0", false},     {"eth,", "ib0", false},       {",,eth", "eth0", true},
        {"^", "eth0", true},           {"^=", "eth0", true},         {"=", "eth0", false},
        {",", "eth0", false},
    };

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(cases); i++)
        CU_ASSERT_EQUAL(kofn_interface_meant(cases[i].list, cases[i].name), cases[i].meant);
}

/* Loopback is there where it is asked for; what is not there is refused; nothing is written then.
 */
static void test_find(void)
{
    char host[64] = "as before";

    CU_ASSERT_EQUAL(kofn_interface_find("=none0", KOFN_INTERFACE_ANY, host, sizeof(host)),
                    KOFN_INVALID);
    CU_ASSERT_STRING_EQUAL(host, "as before");
    CU_ASSERT_EQUAL(kofn_interface_find("=lo", KOFN_INTERFACE_IPV4, host, sizeof(host)), 0);
    CU_ASSERT_STRING_EQUAL(host, "127.0.0.1");
    CU_ASSERT_EQUAL(kofn_interface_find("=lo", KOFN_INTERFACE_ANY, host, sizeof(host)), 0);
    CU_ASSERT_STRING_EQUAL(host, "127.0.0.1");
    CU_ASSERT_EQUAL(kofn_interface_find("=lo", KOFN_INTERFACE_LINK, host, sizeof(host)),
                    KOFN_INVALID);
}

/* Addresses of a link alone are told from others, with and without a scope. */
static void test_link_local(void)
{
    CU_ASSERT(kofn_interface_link_local("fe80::1"));
    CU_ASSERT(kofn_interface_link_local("fe80::1%eth0"));
    CU_ASSERT(!kofn_interface_link_local("fd83::1"));
    CU_ASSERT(!kofn_interface_link_local("::1"));
    CU_ASSERT(!kofn_interface_link_local("10.0.0.1"));
    CU_ASSERT(!kofn_interface_link_local(""));
    CU_ASSERT(!kofn_interface_link_local("fe80::1:1111:1111:1111:1111:1111:1111:1111:1111:1111:1"));
}

void kofn_suite_interface(void)
{
    CU_pSuite suite = CU_add_suite("interface", NULL, NULL);

    CU_add_test(suite, "meant", test_meant);
    CU_add_test(suite, "find", test_find);
    CU_add_test(suite, "link local", test_link_local);
}
