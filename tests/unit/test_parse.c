/* Numbers, durations and sizes as people write them: all of a text is taken, or the bad part is
 * named. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <locale.h>
#include <string.h>

#include "base/parse.h"

/* Units are applied, seconds are meant where there is none, and rounding is to the nearest
 * nanosecond. */
static void test_durations(void)
{
    static const struct {
        const char *text;
        uint64_t ns;
    } good[] = {
        {"40ms", 40000000},
        {"1.5s", 1500000000},
        {"250us", 250000},
        {"7", UINT64_C(7000000000)},
        {"10ns", 10},
        {"0", 0},
        {"0ms", 0},
        {".5", 500000000},
        {"1e-3", 1000000},
        {"1e-3s", 1000000},
        {"2.e2us", 200000},
        {"+3us", 3000},
        {"1.4ns", 1},
        {"1.6ns", 2},
        {"1e-4", 100000},
        {"0.1", 100000000},
        {"1e9", KOFN_DURATION_MAX},
        {"-0", 0},
        {"5m", UINT64_C(300000000000)},
        {"1.5h", UINT64_C(5400000000000)},
    };
    struct kofn_bad bad;
    uint64_t ns;

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(good); i++) {
        ns = 99;
        CU_ASSERT_EQUAL(kofn_parse_duration(kofn_text(good[i].text), &ns, &bad), 0);
        CU_ASSERT_EQUAL(ns, good[i].ns);
    }
}

/* A bad duration leaves the output alone, and the part at fault is named with the reason. */
static void test_bad_durations(void)
{
    static const struct {
        const char *text, *part, *why;
    } cases[] = {
        {"", "", "not a duration"},       {"ms", "ms", "not a duration"},
        {"-1s", "-1s", "negative"},       {"40mz", "mz", "not a unit"},
        {"40 ms", " ms", "not a unit"},   {"40msx", "msx", "not a unit"},
        {"nan", "nan", "not a duration"}, {"inf", "inf", "not a duration"},
        {"0x10", "x10", "not a unit"},    {"1e9999", "1e9999", "out of range"},
        {"2e9", "2e9", "longer than"},    {"1e-12", "1e-12", "less than a nanosecond"},
        {"1.2.3s", ".3s", "not a unit"},  {"1e", "e", "not a unit"},
        {"--1", "--1", "not a duration"}, {".", ".", "not a duration"},
        {"1,5s", ",5s", "not a unit"},
    };
    struct kofn_bad bad;
    uint64_t ns = 99;

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(cases); i++) {
        CU_ASSERT_EQUAL(kofn_parse_duration(kofn_text(cases[i].text), &ns, &bad), KOFN_INVALID);
        CU_ASSERT(kofn_text_is(bad.part, cases[i].part));
        CU_ASSERT_PTR_NOT_NULL(strstr(bad.why, cases[i].why));
    }
    CU_ASSERT_EQUAL(ns, 99);
}

/* A number of any length is refused or read, never copied beyond a buffer. */
static void test_long_numbers(void)
{
    char digits[500];
    struct kofn_bad bad;
    uint64_t integer;
    double number;

    memset(digits, '0', sizeof(digits));
    digits[sizeof(digits) - 1] = '9'; /* not terminated: the length alone counts */
    for (size_t length = 1; length <= sizeof(digits); length++) {
        struct kofn_text text = {digits, length};
        int rc = kofn_parse_float(text, -1, 1e300, &number, &bad);

        CU_ASSERT_EQUAL(rc, length < 64 ? 0 : KOFN_INVALID);
        CU_ASSERT_EQUAL(kofn_parse_uint(text, 0, 9, &integer, &bad), 0);
        CU_ASSERT_EQUAL(integer, length == sizeof(digits) ? 9 : 0);
    }
}

/* Bounds are inclusive on both sides, and numbers beyond 64 bits do not wrap into them. */
static void test_integers(void)
{
    static const char *const refused[] = {
        "", "4", "11", "-5", "+5", "5 ", " 5", "5x", "0x5", "5.0", "18446744073709551621"};
    struct kofn_bad bad;
    uint64_t value = 0;

    CU_ASSERT_EQUAL(kofn_parse_uint(kofn_text("5"), 5, 10, &value, &bad), 0);
    CU_ASSERT_EQUAL(value, 5);
    CU_ASSERT_EQUAL(kofn_parse_uint(kofn_text("10"), 5, 10, &value, &bad), 0);
    CU_ASSERT_EQUAL(value, 10);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(refused); i++)
        CU_ASSERT_EQUAL(kofn_parse_uint(kofn_text(refused[i]), 5, 10, &value, &bad), KOFN_INVALID);
    CU_ASSERT_EQUAL(value, 10);
    CU_ASSERT_EQUAL(kofn_parse_uint(kofn_text("18446744073709551615"), 0, UINT64_MAX, &value, &bad),
                    0);
    CU_ASSERT_EQUAL(value, UINT64_MAX);
}

/* Floating-point numbers are finite, in range, and read alike in every locale. */
static void test_floats(void)
{
    static const char *const refused[] = {"",      "x",     "nan",  "NaN",  "inf",  "-inf",
                                          "0x1p3", "1e400", "-1.5", "10.5", "1.5 ", "1,5"};
    static const char *const locales[] = {"C", "de_DE.UTF-8", "fr_FR.UTF-8"};
    struct kofn_bad bad;
    double value = 0;

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(refused); i++)
        CU_ASSERT_EQUAL(kofn_parse_float(kofn_text(refused[i]), -1, 10, &value, &bad),
                        KOFN_INVALID);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(locales); i++) {
        setlocale(LC_ALL, locales[i]); /* where it is not installed, this changes nothing */
        CU_ASSERT_EQUAL(kofn_parse_float(kofn_text("-1"), -1, 10, &value, &bad), 0);
        CU_ASSERT_EQUAL(value, -1);
        CU_ASSERT_EQUAL(kofn_parse_float(kofn_text("1.5e-3"), -1, 10, &value, &bad), 0);
        CU_ASSERT_EQUAL(value, 1.5e-3);
    }
    setlocale(LC_ALL, "C");
}

/* Sizes count in powers of 1024; what does not fit is refused, not wrapped. */
static void test_sizes(void)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"4096", 4096},  {"64K", 65536}, {"64k", 65536},           {"4MiB", 4194304},
                {"1G", 1 << 30}, {"8B", 8},      {"2T", UINT64_C(2) << 40}};
    static const char *const refused[] = {"",    "K", "4X",        "-4K", "4.5K",
                                          "4KB", "7", "33554432T", "3T"};
    struct kofn_bad bad;
    uint64_t bytes = 0;

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(good); i++) {
        CU_ASSERT_EQUAL(
            kofn_parse_size(kofn_text(good[i].text), 8, UINT64_C(2) << 40, &bytes, &bad), 0);
        CU_ASSERT_EQUAL(bytes, good[i].bytes);
    }
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(refused); i++)
        CU_ASSERT_EQUAL(kofn_parse_size(kofn_text(refused[i]), 8, UINT64_C(2) << 40, &bytes, &bad),
                        KOFN_INVALID);
    CU_ASSERT_EQUAL(kofn_parse_size(kofn_text("33554432T"), 0, UINT64_MAX, &bytes, &bad),
                    KOFN_INVALID);
}

/* Cutting a list gives every item, empty ones included, and then says that it is over. */
static void test_cut(void)
{
    struct kofn_text rest = kofn_text("a,,bc");

    CU_ASSERT(kofn_text_is(kofn_text_cut(&rest, ','), "a"));
    CU_ASSERT(kofn_text_is(kofn_text_cut(&rest, ','), ""));
    CU_ASSERT_PTR_NOT_NULL(rest.start);
    CU_ASSERT(kofn_text_is(kofn_text_cut(&rest, ','), "bc"));
    CU_ASSERT_PTR_NULL(rest.start);
    rest = kofn_text("a,");
    kofn_text_cut(&rest, ',');
    CU_ASSERT_PTR_NOT_NULL(rest.start);
    CU_ASSERT_EQUAL(rest.length, 0);
}

/* A slip of the finger finds the name that was meant; a different word finds none. */
static void test_near_match(void)
{
    static const char *const names[] = {"sync",  "local",   "ksync",       "kasync",
                                        "stsyn", "overlap", "kbatch-async"};
    static const struct {
        const char *word, *name;
    } cases[] = {
        {"snyc", "sync"},
        {"stsync", "stsyn"},
        {"overlpa", "overlap"},
        {"OVERLAP", "overlap"},
        {"k-sync", "ksync"},
        {"kbatch", "kbatch-async"},
        {"over", "overlap"},
        {"banana", NULL},
        {"", NULL},
        {"kbatchasync", "kbatch-async"},
        {"x", NULL},
        {"a word that is far longer than any name could be", NULL},
    };
    char hint[KOFN_HINT_LENGTH];

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(cases); i++) {
        const char *found = kofn_near_match(cases[i].word, names, KOFN_ARRAY_SIZE(names));

        CU_ASSERT(cases[i].name ? found && !strcmp(found, cases[i].name) : !found);
    }
    CU_ASSERT_STRING_EQUAL(kofn_hint(hint, kofn_text("locl"), names, KOFN_ARRAY_SIZE(names)),
                           "did you mean \"local\"?");
    CU_ASSERT_STRING_EQUAL(kofn_hint(hint, kofn_text("banana"), names, 3),
                           "known: sync, local, ksync");
}

/* A list of names that does not fit a hint is cut, not written beyond its end. */
static void test_hint_is_bounded(void)
{
    const char *names[100];
    char hint[KOFN_HINT_LENGTH];

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(names); i++)
        names[i] = "a-name-of-thirty-two-characters-";
    CU_ASSERT_EQUAL(strlen(kofn_hint(hint, kofn_text("0"), names, KOFN_ARRAY_SIZE(names))),
                    KOFN_HINT_LENGTH - 1);
}

void kofn_suite_parse(void)
{
    CU_pSuite suite = CU_add_suite("parse", NULL, NULL);

    CU_add_test(suite, "durations", test_durations);
    CU_add_test(suite, "bad durations", test_bad_durations);
    CU_add_test(suite, "long numbers", test_long_numbers);
    CU_add_test(suite, "integers", test_integers);
    CU_add_test(suite, "floats", test_floats);
    CU_add_test(suite, "sizes", test_sizes);
    CU_add_test(suite, "cut", test_cut);
    CU_add_test(suite, "near match", test_near_match);
    CU_add_test(suite, "hint is bounded", test_hint_is_bounded);
}
