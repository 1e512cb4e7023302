/* The CPU quota, read from directories that look like control groups. */
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/place_fixture.h"

#define V2_MOUNT "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw\n"
#define V1_MOUNT                                                                                   \
    "30 23 0:27 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"                          \
    "32 30 0:29 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n"                   \
    "33 30 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"

static char root[PATH_MAX]; /* of the machine of the running test */

static void begin(void)
{
    const char *base = getenv("TMPDIR");

    snprintf(root, sizeof(root), "%s/kofn-quota-XXXXXX", base ? base : "/tmp");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(root));
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

static void end(void)
{
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Writes @text to @path below the root, with all directories on the way. */
static void put(const char *path, const char *text)
{
    char full[2 * PATH_MAX];
    FILE *file;

    snprintf(full, sizeof(full), "%s%s", root, path);
    for (char *slash = strchr(full + strlen(root) + 1, '/'); slash;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(full, 0700);
        *slash = '/';
    }
    file = fopen(full, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT(fputs(text, file) >= 0);
    fclose(file);
}

/* Expects a limit of @percent (0: none) after @warnings warnings, and clears the machine away. */
static void expect(unsigned percent, unsigned warnings)
{
    struct kofn_cpu_quota quota = {1, 1, "stale"};
    struct heard heard;
    struct kofn_log log = log_to(&heard);

    kofn_cpu_quota_read(root, &log, &quota);
    CU_ASSERT_EQUAL(heard.count, warnings);
    if (percent) {
        CU_ASSERT_EQUAL(quota.quota_us * 100, quota.period_us * percent);
        CU_ASSERT(kofn_cpu_quota_exceeded(&quota, percent / 100 + 1));
        CU_ASSERT(!kofn_cpu_quota_exceeded(&quota, percent / 100));
    } else {
        CU_ASSERT_EQUAL(quota.period_us, 0);
        CU_ASSERT(!kofn_cpu_quota_exceeded(&quota, UINT64_MAX));
    }
    end();
}

/* A group's own limit counts. */
static void test_own_group(void)
{
    begin();
    put("/proc/self/mountinfo", V2_MOUNT);
    put("/proc/self/cgroup", "0::/user.slice/job\n");
    put("/sys/fs/cgroup/user.slice/job/cpu.max", "150000 100000\n");
    put("/sys/fs/cgroup/user.slice/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/other.slice/cpu.max", "1000 100000\n");
    expect(150, 0);
}

/* So does that of every group above it, and the tightest wins, whatever its period. */
static void test_tightest_of_all_above(void)
{
    begin();
    put("/proc/self/mountinfo", V2_MOUNT);
    put("/proc/self/cgroup", "0::/a/b/c\n");
    put("/sys/fs/cgroup/a/b/c/cpu.max", "400000 100000\n");
    put("/sys/fs/cgroup/a/cpu.max", "25000 10000\n");
    put("/sys/fs/cgroup/cpu.max", "3000000 1000000\n");
    expect(250, 0);
}

/* In a container the group is the root of what is seen, and there the limit is. */
static void test_namespaced_container(void)
{
    begin();
    put("/proc/self/mountinfo", V2_MOUNT);
    put("/proc/self/cgroup", "0::/\n");
    put("/sys/fs/cgroup/cpu.max", "150000 100000\n");
    expect(150, 0);
}

/* A container that sees its group's files as the root, but its name as the host gives it. */
static void test_container_with_host_names(void)
{
    begin();
    put("/proc/self/mountinfo", "31 23 0:28 /docker/7f3a /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n");
    put("/proc/self/cgroup", "0::/docker/7f3a/inner\n");
    put("/sys/fs/cgroup/cpu.max", "300000 100000\n");
    put("/sys/fs/cgroup/inner/cpu.max", "200000 100000\n");
    expect(200, 0);
}

/* A process outside of the groups that can be seen is limited by what can be seen of them. */
static void test_group_outside_the_namespace(void)
{
    begin();
    put("/proc/self/mountinfo", "31 23 0:28 /../.. /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n");
    put("/proc/self/cgroup", "0::/../../../other\n");
    put("/sys/fs/cgroup/cpu.max", "100000 100000\n");
    put("/sys/fs/other/cpu.max", "1000 100000\n");
    put("/sys/fs/cgroup/other/cpu.max", "1000 100000\n");
    expect(100, 0);

    begin();
    put("/proc/self/mountinfo", "31 23 0:28 /docker/7f3a /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n");
    put("/proc/self/cgroup", "0::/docker/7f3a99/inner\n");
    put("/sys/fs/cgroup/cpu.max", "100000 100000\n");
    put("/sys/fs/cgroup/inner/cpu.max", "1000 100000\n");
    put("/sys/fs/cgroup99/inner/cpu.max", "1000 100000\n");
    expect(100, 0);
}

/* Version 1: two files, -1 is none, and the groups above count too. */
static void test_version_1(void)
{
    begin();
    put("/proc/self/mountinfo", V1_MOUNT);
    put("/proc/self/cgroup", "5:cpuset:/x\n4:cpu,cpuacct:/job/step\n0::/\n");
    put("/sys/fs/cgroup/cpu,cpuacct/job/step/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu,cpuacct/job/step/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "75000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "50000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpuset/x/cpu.cfs_quota_us", "1000\n");
    expect(150, 0);
}

/* Both versions at once, as distributions had them for years. */
static void test_both_versions(void)
{
    begin();
    put("/proc/self/mountinfo",
        V1_MOUNT "41 30 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    put("/proc/self/cgroup", "4:cpu,cpuacct:/job\n1:name=systemd:/job\n0::/job\n");
    put("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "50000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/unified/job/cgroup.procs", "1\n");
    expect(50, 0);
}

/* Without a list of mounts the usual places are looked at. */
static void test_no_mountinfo(void)
{
    begin();
    put("/proc/self/cgroup", "0::/job\n");
    put("/sys/fs/cgroup/job/cpu.max", "150000 100000\n");
    expect(150, 0);

    begin();
    put("/proc/self/cgroup", "2:cpu:/job\n");
    put("/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "150000\n");
    put("/sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n");
    expect(150, 0);
}

/* No files, no limit, no word. */
static void test_nothing_there(void)
{
    begin();
    expect(0, 0);

    begin();
    put("/proc/self/mountinfo", V2_MOUNT);
    put("/proc/self/cgroup", "0::/job\n");
    expect(0, 0);
}

/* A malformed limit is a warning and no limit; the sound one above it still counts. */
static void test_malformed_limits(void)
{
    static const char *const bad[] = {
        "",
        "\n",
        "max",
        "150000",
        "abc 1",
        "1 abc",
        "-1 100000",
        "0 100000",
        "1000 0",
        " 1 2",
        "1000  1000",
        "100000 100000 7",
        "1e5 1e5",
        "1000 1000001",
        "1000000000001 1000",
        "99999999999999999999 100000",
        "0x10 1000",
        "1000\t1000",
        "\xff\xfe 100000",
    };
    char digits[4000];

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(bad); i++) {
        begin();
        put("/proc/self/mountinfo", V2_MOUNT);
        put("/proc/self/cgroup", "0::/job\n");
        put("/sys/fs/cgroup/job/cpu.max", bad[i]);
        put("/sys/fs/cgroup/cpu.max", "150000 100000\n");
        expect(150, 1);
    }
    memset(digits, '7', sizeof(digits) - 1);
    digits[sizeof(digits) - 1] = '\0';
    begin();
    put("/proc/self/mountinfo", V1_MOUNT);
    put("/proc/self/cgroup", "4:cpu:/job\n");
    put("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", digits);
    put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n"); /* and no period */
    expect(0, 2);
}

/* Malformed lists of groups and mounts are skipped line by line. */
static void test_malformed_lists(void)
{
    char path[3 * PATH_MAX];

    begin();
    put("/proc/self/mountinfo", "\n - \n1 2 3\n - cgroup2 x y\n1 2 3 4 5 6 - cgroup2\n" V2_MOUNT);
    put("/proc/self/cgroup",
        "\n:\n::\n0::\n0::relative\nno colon at all\n0::/job\n7:cpux,xcpu:/y\n");
    put("/sys/fs/cgroup/job/cpu.max", "150000 100000\n");
    expect(150, 0);

    /* a name longer than any path is nobody's */
    memset(path, 'a', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    memcpy(path, "0::/", 4);
    begin();
    put("/proc/self/mountinfo", V2_MOUNT);
    put("/proc/self/cgroup", path);
    put("/sys/fs/cgroup/cpu.max", "150000 100000\n");
    expect(150, 0);
}

/* This machine can be read, whatever it says. */
static void test_this_machine(void)
{
    struct kofn_cpu_quota quota = {1, 1, "stale"};

    kofn_cpu_quota_read("", NULL, &quota);
    CU_ASSERT(quota.period_us == 0 || quota.quota_us > 0);
    CU_ASSERT(quota.period_us == 0 || strncmp(quota.file, "cpu.", 4) == 0);
}

void kofn_suite_place_quota(void)
{
    CU_pSuite suite = CU_add_suite("place_quota", NULL, NULL);

    CU_add_test(suite, "own group", test_own_group);
    CU_add_test(suite, "tightest of all above", test_tightest_of_all_above);
    CU_add_test(suite, "namespaced container", test_namespaced_container);
    CU_add_test(suite, "container with host names", test_container_with_host_names);
    CU_add_test(suite, "group outside the namespace", test_group_outside_the_namespace);
    CU_add_test(suite, "version 1", test_version_1);
    CU_add_test(suite, "both versions", test_both_versions);
    CU_add_test(suite, "no mountinfo", test_no_mountinfo);
    CU_add_test(suite, "nothing there", test_nothing_there);
    CU_add_test(suite, "malformed limits", test_malformed_limits);
    CU_add_test(suite, "malformed lists", test_malformed_lists);
    CU_add_test(suite, "this machine", test_this_machine);
}
