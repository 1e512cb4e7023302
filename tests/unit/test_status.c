/* Status codes: every one has a name, a text and the scope its number range promises. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <limits.h>
#include <string.h>

#include <kofn/kofn.h>

#include "base/base.h"

static const int codes[] = {
#define CODE(name, value, scope, text) KOFN_##name,
    KOFN_STATUS_MAP(CODE)
#undef CODE
};

/* A caller can tell any two codes apart by number, by name and by text. */
static void test_codes_differ(void)
{
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(codes); i++)
        for (size_t j = 0; j < i; j++) {
            CU_ASSERT_NOT_EQUAL(codes[i], codes[j]);
            CU_ASSERT_STRING_NOT_EQUAL(kofn_status_name(codes[i]), kofn_status_name(codes[j]));
            CU_ASSERT_STRING_NOT_EQUAL(kofn_status_text(codes[i]), kofn_status_text(codes[j]));
        }
}

/* The number alone says what a failure takes with it: -1 to -19 the call, -20 to -39 the peer,
 * beyond the context. */
static void test_scope_follows_number(void)
{
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(codes); i++) {
        enum kofn_scope scope = codes[i] > -20   ? KOFN_SCOPE_CALL
                                : codes[i] > -40 ? KOFN_SCOPE_PEER
                                                 : KOFN_SCOPE_CONTEXT;

        CU_ASSERT_EQUAL(kofn_status_scope(codes[i]), scope);
    }
}

/* A number from a newer library still gives printable strings, and the widest scope. */
static void test_unknown_codes_are_answered(void)
{
    static const int strangers[] = {INT_MIN, -9999, 1, INT_MAX};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(strangers); i++) {
        CU_ASSERT(strlen(kofn_status_name(strangers[i])) > 0);
        CU_ASSERT(strlen(kofn_status_text(strangers[i])) > 0);
        CU_ASSERT_EQUAL(kofn_status_scope(strangers[i]), KOFN_SCOPE_CONTEXT);
    }
}

void kofn_suite_status(void)
{
    CU_pSuite suite = CU_add_suite("status", NULL, NULL);

    CU_add_test(suite, "codes differ", test_codes_differ);
    CU_add_test(suite, "scope follows number", test_scope_follows_number);
    CU_add_test(suite, "unknown codes are answered", test_unknown_codes_are_answered);
}
