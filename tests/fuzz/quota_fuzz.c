/* Limits of control groups: whatever the files of the kernel hold, what is found is no limit or one
 * within its bounds, and the plain limit of version 2 is the one that is written there.
 *
 * Input: the files, with a zero byte between them: cpu.max, /proc/self/cgroup, mountinfo, and the
 * quota and the period of version 1. What the input has no bytes for does not exist.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "place/quota.h"
#include "tests/lib/caught_log.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static const char *const folders[] = {"proc",   "proc/self",     "sys",
                                      "sys/fs", "sys/fs/cgroup", "sys/fs/cgroup/cpu"};
static const char *const files[] = {"sys/fs/cgroup/cpu.max", "proc/self/cgroup",
                                    "proc/self/mountinfo", "sys/fs/cgroup/cpu/cpu.cfs_quota_us",
                                    "sys/fs/cgroup/cpu/cpu.cfs_period_us"};
static char root[32]; /* "" until it is made */

static void expect(bool condition)
{
    if (!condition)
        abort();
}

static const char *below_root(const char *name)
{
    static char path[128];

    snprintf(path, sizeof(path), "%s/%s", root, name);
    return path;
}

static void remove_root(void)
{
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(files); i++)
        unlink(below_root(files[i]));
    for (size_t i = KOFN_ARRAY_SIZE(folders); i > 0; i--)
        rmdir(below_root(folders[i - 1]));
    rmdir(root);
}

/* In memory where there is such a file system: every input writes files. */
static void make_root(void)
{
    strcpy(root, "/dev/shm/kofn-quota-XXXXXX");
    if (!mkdtemp(root)) {
        strcpy(root, "/tmp/kofn-quota-XXXXXX");
        expect(mkdtemp(root) != NULL);
    }
    expect(!atexit(remove_root));
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(folders); i++)
        expect(!mkdir(below_root(folders[i]), 0700));
}

static void write_file(const char *name, const uint8_t *bytes, size_t size)
{
    int fd = open(below_root(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    expect(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
    close(fd);
}

/* Returns how many files there are. */
static size_t write_files(const uint8_t *bytes, size_t size)
{
    size_t count = 0;

    for (; count < KOFN_ARRAY_SIZE(files) && size > 0; count++) {
        const uint8_t *end = memchr(bytes, 0, size);
        size_t length = end ? (size_t)(end - bytes) : size, used = length + (end != NULL);

        write_file(files[count], bytes, length);
        bytes += used;
        size -= used;
    }
    for (size_t i = count; i < KOFN_ARRAY_SIZE(files); i++)
        unlink(below_root(files[i]));
    return count;
}

/* "QUOTA PERIOD" and nothing else, in plain digits: a limit, unless a number is out of range. */
static bool plain_limit(const uint8_t *bytes, size_t size, struct kofn_cpu_quota *quota)
{
    unsigned long long quota_us, period_us;
    char line[64] = "", again[64];

    if (size == 0 || size >= sizeof(line) || memchr(bytes, 0, size))
        return false;
    memcpy(line, bytes, size);
    if (sscanf(line, "%llu %llu", &quota_us, &period_us) != 2)
        return false;
    snprintf(again, sizeof(again), "%llu %llu", quota_us, period_us);
    *quota = (struct kofn_cpu_quota){quota_us, period_us, "cpu.max"};
    return !strcmp(line, again) && quota_us && quota_us <= 1000000000000 && period_us &&
           period_us <= 1000000;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct kofn_cpu_quota quota = {.quota_us = 99}, wanted;
    struct kofn_caught caught;
    size_t count;

    if (!*root)
        make_root();
    count = write_files(bytes, size);
    kofn_caught_reset(&caught);
    kofn_cpu_quota_read(root, &caught.log, &quota);
    if (!quota.period_us) {
        expect(quota.quota_us == 0 && quota.file == NULL);
        expect(!kofn_cpu_quota_exceeded(&quota, UINT64_MAX));
    } else {
        expect(quota.quota_us >= 1 && quota.quota_us <= 1000000000000);
        expect(quota.period_us <= 1000000 && strncmp(quota.file, "cpu.", 4) == 0);
        expect(kofn_cpu_quota_exceeded(&quota, quota.quota_us / quota.period_us + 1));
        expect(!kofn_cpu_quota_exceeded(&quota, quota.quota_us / quota.period_us));
    }
    if (count == 1 && plain_limit(bytes, size, &wanted)) {
        expect(caught.count == 0 && quota.quota_us == wanted.quota_us);
        expect(quota.period_us == wanted.period_us);
    }
    return 0;
}
