/* Memory: zeroed, aligned, of the right size, and impossible to shrink under a reader. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

#define MIB ((size_t)1 << 20)

static char said[512];

static void remember(void *arg, enum kofn_log_level level, const char *message)
{
    (void)arg;
    (void)level;
    strncpy(said, message, sizeof(said) - 1);
}

static const struct kofn_log remembering = {.level = KOFN_LOG_ERROR, .write = remember};

static bool all_zero(const unsigned char *at, size_t bytes)
{
    return bytes == 0 || (at[0] == 0 && memcmp(at, at + 1, bytes - 1) == 0);
}

static void check_fresh(const struct kofn_memory *memory, size_t bytes)
{
    CU_ASSERT(memory->bytes >= bytes);
    CU_ASSERT(memory->bytes % (size_t)sysconf(_SC_PAGESIZE) == 0);
    CU_ASSERT((uintptr_t)memory->address % KOFN_PAGE == 0);
    CU_ASSERT_PTR_NOT_NULL(memory->pages);
    CU_ASSERT_TRUE(all_zero(memory->address, memory->bytes));
    memset(memory->address, 1, memory->bytes); /* all of it can be written */
}

/* Private and shared memory of any size is zeroed, on a page, and writable to its end. */
static void test_sizes(void)
{
    static const size_t sizes[] = {1,           64,      4096,    4097,        100000,
                                   2 * MIB - 1, 2 * MIB, 3 * MIB, 16 * MIB + 5};
    static const unsigned flags[] = {0, KOFN_MEMORY_PLAIN, KOFN_MEMORY_POPULATE};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(sizes); i++)
        for (size_t f = 0; f < KOFN_ARRAY_SIZE(flags); f++) {
            struct kofn_memory memory = {0};

            CU_ASSERT_EQUAL_FATAL(kofn_memory_map(&memory, sizes[i], flags[f], NULL), 0);
            CU_ASSERT_EQUAL(memory.fd, -1);
            check_fresh(&memory, sizes[i]);
            kofn_memory_unmap(&memory);
            CU_ASSERT_PTR_NULL(memory.address);

            CU_ASSERT_EQUAL_FATAL(kofn_memory_map_shared(&memory, "test", sizes[i], flags[f], NULL),
                                  0);
            CU_ASSERT(memory.fd >= 0);
            check_fresh(&memory, sizes[i]);
            kofn_memory_unmap(&memory);
            kofn_memory_unmap(&memory); /* of nothing: nothing */
        }
}

/* What is small gets plain pages, so that a worker's 4 KiB do not cost 2 MiB; what may not get huge
 * ones does not. */
static void test_small_is_plain(void)
{
    struct kofn_memory memory = {0};

    CU_ASSERT_EQUAL_FATAL(kofn_memory_map(&memory, 100000, 0, NULL), 0);
    CU_ASSERT_EQUAL(memory.page_bytes, (size_t)sysconf(_SC_PAGESIZE));
    CU_ASSERT(memory.bytes < 200000);
    kofn_memory_unmap(&memory);
    CU_ASSERT_EQUAL_FATAL(kofn_memory_map(&memory, 64 * MIB, KOFN_MEMORY_PLAIN, NULL), 0);
    CU_ASSERT_STRING_EQUAL(memory.pages, "plain");
    kofn_memory_unmap(&memory);
}

/* Impossible sizes are refused with a message, and the output stays as it was. */
static void test_impossible_sizes(void)
{
    struct kofn_memory memory = {.page_bytes = 7};

    CU_ASSERT_EQUAL(kofn_memory_map(&memory, 0, 0, &remembering), KOFN_INVALID);
    CU_ASSERT_EQUAL(kofn_memory_map(&memory, SIZE_MAX, 0, &remembering), KOFN_INVALID);
    CU_ASSERT_EQUAL(kofn_memory_reserve(&memory, 0, &remembering), KOFN_INVALID);
    said[0] = 0;
    CU_ASSERT_EQUAL(kofn_memory_map(&memory, (size_t)1 << 60, 0, &remembering), KOFN_NO_MEMORY);
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "1152921504606846976"));
    CU_ASSERT_EQUAL(memory.page_bytes, 7);
}

/* Two mappings of one memfd are the same memory, also from an offset, and outlive the descriptor.
 */
static void test_same_memory_twice(void)
{
    struct kofn_memory mine = {0}, theirs = {0}, end = {0};
    char *at;

    CU_ASSERT_EQUAL_FATAL(
        kofn_memory_map_shared(&mine, "test", 3 * KOFN_PAGE, KOFN_MEMORY_PLAIN, NULL), 0);
    at = mine.address;
    CU_ASSERT_EQUAL_FATAL(
        kofn_memory_map_fd(&theirs, mine.fd, 3 * KOFN_PAGE, 0, PROT_READ, NULL, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(
        kofn_memory_map_fd(&end, mine.fd, 100, 2 * KOFN_PAGE, PROT_READ | PROT_WRITE, NULL, NULL),
        0);
    CU_ASSERT_EQUAL(theirs.fd, -1);
    at[2 * KOFN_PAGE + 99] = 42;
    CU_ASSERT_EQUAL(((char *)theirs.address)[2 * KOFN_PAGE + 99], 42);
    ((char *)end.address)[0] = 43;
    kofn_memory_unmap(&mine);
    CU_ASSERT_EQUAL(((char *)theirs.address)[2 * KOFN_PAGE], 43);
    kofn_memory_unmap(&theirs);
    kofn_memory_unmap(&end);
}

/* Whoever holds the descriptor can neither shrink nor grow the file nor take the seals off. */
static void test_nobody_can_resize(void)
{
    struct kofn_memory memory = {0};

    CU_ASSERT_EQUAL_FATAL(kofn_memory_map_shared(&memory, "test", 2 * KOFN_PAGE, 0, NULL), 0);
    CU_ASSERT_EQUAL(ftruncate(memory.fd, KOFN_PAGE), -1);
    CU_ASSERT_EQUAL(errno, EPERM);
    CU_ASSERT_EQUAL(ftruncate(memory.fd, 4 * KOFN_PAGE), -1);
    CU_ASSERT_EQUAL(errno, EPERM);
    CU_ASSERT_EQUAL(fcntl(memory.fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    CU_ASSERT(fcntl(memory.fd, F_GETFD) & FD_CLOEXEC);
    kofn_memory_unmap(&memory);
}

/* A descriptor that could shrink, that is too short, or that is no memfd is not mapped. */
static void test_strangers_are_checked(void)
{
    struct kofn_memory memory = {0}, sealed = {0};
    int loose = memfd_create("loose", MFD_CLOEXEC | MFD_ALLOW_SEALING), ends[2];

    CU_ASSERT_FATAL(loose >= 0 && ftruncate(loose, 2 * KOFN_PAGE) == 0 && pipe(ends) == 0);
    CU_ASSERT_EQUAL_FATAL(kofn_memory_map_shared(&sealed, "test", 2 * KOFN_PAGE, 0, NULL), 0);
    CU_ASSERT_EQUAL(kofn_memory_map_fd(&memory, loose, KOFN_PAGE, 0, PROT_READ, NULL, &remembering),
                    KOFN_PROTOCOL);
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "sealed"));
    CU_ASSERT_EQUAL(
        kofn_memory_map_fd(&memory, ends[0], KOFN_PAGE, 0, PROT_READ, NULL, &remembering),
        KOFN_PROTOCOL);
    CU_ASSERT_EQUAL(kofn_memory_map_fd(&memory, -1, KOFN_PAGE, 0, PROT_READ, NULL, &remembering),
                    KOFN_PROTOCOL);
    CU_ASSERT_EQUAL(kofn_memory_map_fd(&memory, sealed.fd, KOFN_PAGE + 1, KOFN_PAGE, PROT_READ,
                                       NULL, &remembering),
                    KOFN_PROTOCOL);
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "8192 bytes"));
    CU_ASSERT_EQUAL(
        kofn_memory_map_fd(&memory, sealed.fd, SIZE_MAX, KOFN_PAGE, PROT_READ, NULL, &remembering),
        KOFN_INVALID);
    CU_ASSERT_EQUAL(kofn_memory_map_fd(&memory, sealed.fd, 8, 8, PROT_READ, NULL, &remembering),
                    KOFN_INVALID);
    CU_ASSERT_PTR_NULL(memory.address);
    kofn_memory_unmap(&sealed);
    close(loose);
    close(ends[0]);
    close(ends[1]);
}

/* Does reading @at kill a process? */
static bool faults(const volatile char *at)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        signal(SIGSEGV, SIG_DFL); /* a sanitizer would report it */
        (void)*at;
        _exit(0);
    }
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

/* A reservation holds the addresses: files come and go inside it, and where none is, access faults.
 */
static void test_reservation(void)
{
    struct kofn_memory reserved = {0}, file = {0}, first = {0}, second = {0};
    char *at;

    CU_ASSERT_EQUAL_FATAL(kofn_memory_map_shared(&file, "test", KOFN_PAGE, 0, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(kofn_memory_reserve(&reserved, 8 * KOFN_PAGE, NULL), 0);
    at = reserved.address;
    strcpy(file.address, "here");
    CU_ASSERT_EQUAL_FATAL(
        kofn_memory_map_fd(&first, file.fd, KOFN_PAGE, 0, PROT_READ, at + KOFN_PAGE, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(
        kofn_memory_map_fd(&second, file.fd, KOFN_PAGE, 0, PROT_READ, at + 5 * KOFN_PAGE, NULL), 0);
    CU_ASSERT_PTR_EQUAL(first.address, at + KOFN_PAGE);
    CU_ASSERT_STRING_EQUAL(at + KOFN_PAGE, "here");
    CU_ASSERT_STRING_EQUAL(at + 5 * KOFN_PAGE, "here");
    CU_ASSERT_TRUE(faults(at));
    CU_ASSERT_FALSE(faults(at + KOFN_PAGE));
    kofn_memory_unmap(&first);
    CU_ASSERT_TRUE(faults(at + KOFN_PAGE));
    CU_ASSERT_STRING_EQUAL(at + 5 * KOFN_PAGE, "here");
    CU_ASSERT_EQUAL(
        kofn_memory_map_fd(&first, file.fd, KOFN_PAGE, 0, PROT_READ, at + 1, &remembering),
        KOFN_INVALID);
    kofn_memory_unmap(&second);
    kofn_memory_unmap(&reserved);
    kofn_memory_unmap(&file);
}

/* Memory of any size is zero, on a cache line, and can be freed; what is large begins on a huge
 * page.
 */
static void test_large_alloc(void)
{
    static const size_t sizes[] = {0, 1, 64, 1000, 2 * MIB - 1, 2 * MIB, 7 * MIB + 3};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(sizes); i++) {
        unsigned char *memory = kofn_large_alloc(sizes[i]), any = 0;

        CU_ASSERT_PTR_NOT_NULL_FATAL(memory);
        CU_ASSERT_EQUAL((uintptr_t)memory % (sizes[i] < 2 * MIB ? KOFN_CACHE_LINE : 2 * MIB), 0);
        for (size_t byte = 0; byte < sizes[i]; byte++) {
            any |= memory[byte];
            memory[byte] = 1;
        }
        CU_ASSERT_EQUAL(any, 0);
        free(memory);
    }
}

void kofn_suite_mem(void)
{
    CU_pSuite suite = CU_add_suite("mem", NULL, NULL);

    CU_add_test(suite, "sizes", test_sizes);
    CU_add_test(suite, "small is plain", test_small_is_plain);
    CU_add_test(suite, "impossible sizes", test_impossible_sizes);
    CU_add_test(suite, "same memory twice", test_same_memory_twice);
    CU_add_test(suite, "nobody can resize", test_nobody_can_resize);
    CU_add_test(suite, "strangers are checked", test_strangers_are_checked);
    CU_add_test(suite, "reservation", test_reservation);
    CU_add_test(suite, "large things", test_large_alloc);
}
