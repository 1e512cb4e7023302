/* Lists of CPUs: what is accepted is not empty and reads the same when it is written again; what is
 * not leaves the set alone, with one message; and a list that is written stays within its buffer.
 */
#include <stdlib.h>
#include <string.h>

#include "place/cpus.h"
#include "tests/lib/caught_log.h"

#define TEXT_BYTES 65536 /* longer than any list of a set, every other CPU of it */

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void expect(bool condition)
{
    if (!condition)
        abort();
}

static void *copy_of(const void *bytes, size_t size, size_t room)
{
    char *copy = calloc(1, room);

    expect(copy != NULL);
    if (size)
        memcpy(copy, bytes, size);
    return copy;
}

static void expect_same_again(const struct kofn_cpus *set, const struct kofn_log *log)
{
    char *text = copy_of(NULL, 0, TEXT_BYTES);
    struct kofn_cpus again;

    kofn_cpus_format(set, text, TEXT_BYTES);
    expect(kofn_cpus_parse(text, log, &again) == 0 && kofn_cpus_equal(set, &again));
    free(text);
}

/* In a buffer of exactly @size bytes, so that a sanitizer sees one too many. */
static void expect_within(const struct kofn_cpus *set, size_t size)
{
    char *text = copy_of(NULL, 0, size);

    expect(kofn_cpus_format(set, text, size) == text && *text && memchr(text, 0, size));
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct kofn_cpus set = {{0}}, before;
    struct kofn_caught caught;
    char *text = copy_of(bytes, size, size + 1);
    int last = -1;
    unsigned count = 0;

    kofn_cpus_add(&set, 77);
    before = set;
    kofn_caught_reset(&caught);
    if (kofn_cpus_parse(text, &caught.log, &set)) {
        expect(caught.count == 1 && kofn_cpus_equal(&set, &before));
    } else {
        expect(caught.count == 0 && kofn_cpus_count(&set) > 0);
        for (int cpu = kofn_cpus_next(&set, -1); cpu >= 0; cpu = kofn_cpus_next(&set, cpu)) {
            expect(cpu > last && cpu < KOFN_CPUS_MAX && kofn_cpus_has(&set, cpu));
            last = cpu;
            count++;
        }
        expect(count == kofn_cpus_count(&set));
        expect_same_again(&set, &caught.log);
        expect_within(&set, 16 + size % 240);
    }
    free(text);
    return 0;
}
