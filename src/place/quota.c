#include "place/quota.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUOTA_US_MAX UINT64_C(1000000000000) /* the kernel's own limit is lower */
#define PERIOD_US_MAX UINT64_C(1000000)      /* the kernel's own limit */

/* Where this process is in one hierarchy of groups. */
struct member {
    char path[PATH_MAX]; /* "/a/b" in the hierarchy, "" if not a member */
};

struct reader {
    const char *root;
    const struct kofn_log *log;
    struct member v1, v2;
    struct kofn_cpu_quota tightest;
};

bool kofn_cpu_quota_exceeded(const struct kofn_cpu_quota *quota, uint64_t threads)
{
    return quota->period_us && quota->quota_us / quota->period_us < threads;
}

static void tighten(struct kofn_cpu_quota *tightest, uint64_t quota_us, uint64_t period_us,
                    const char *file)
{
    /* both products are below 2^64: see the limits above */
    if (tightest->period_us && quota_us * tightest->period_us >= tightest->quota_us * period_us)
        return;
    *tightest = (struct kofn_cpu_quota){quota_us, period_us, file};
}

/* The first line of @directory/@name without its newline. Returns false if there is no such file.
 */
static bool read_line(const char *directory, const char *name, char *line, size_t size)
{
    char path[2 * PATH_MAX];
    FILE *file;
    bool got;

    if ((size_t)snprintf(path, sizeof(path), "%s/%s", directory, name) >= sizeof(path))
        return false;
    file = fopen(path, "re");
    if (!file)
        return false;
    got = fgets(line, (int)size, file) != NULL;
    if (got)
        line[strcspn(line, "\n")] = '\0';
    else
        line[0] = '\0'; /* an empty file is malformed, not missing */
    fclose(file);
    return true;
}

/* A decimal number in [1, @max] that ends at the end of @text or at a blank; *@end_p is set behind
 * it. */
static bool parse_count(const char *text, uint64_t max, uint64_t *value_p, const char **end_p)
{
    unsigned long long value;
    char *end;

    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    value = strtoull(text, &end, 10);
    if (errno || value < 1 || value > max || (*end != '\0' && *end != ' '))
        return false;
    *value_p = value;
    *end_p = end;
    return true;
}

static void malformed(const struct reader *reader, const char *directory, const char *name)
{
    kofn_log(reader->log, KOFN_LOG_WARN, "place: %s/%s is malformed and is taken as no limit",
             directory, name);
}

/* "max 100000" or "150000 100000". */
static void read_v2(struct reader *reader, const char *directory)
{
    uint64_t quota_us, period_us;
    const char *at;
    char line[128];

    if (!read_line(directory, "cpu.max", line, sizeof(line)) || strncmp(line, "max ", 4) == 0)
        return;
    if (parse_count(line, QUOTA_US_MAX, &quota_us, &at) && *at == ' ' &&
        parse_count(at + 1, PERIOD_US_MAX, &period_us, &at) && *at == '\0')
        tighten(&reader->tightest, quota_us, period_us, "cpu.max");
    else
        malformed(reader, directory, "cpu.max");
}

/* Two files of one number each; a quota of -1 is none. */
static void read_v1(struct reader *reader, const char *directory)
{
    uint64_t quota_us, period_us;
    char quota[128], period[128];
    const char *at;

    if (!read_line(directory, "cpu.cfs_quota_us", quota, sizeof(quota)) || strcmp(quota, "-1") == 0)
        return;
    if (parse_count(quota, QUOTA_US_MAX, &quota_us, &at) && *at == '\0' &&
        read_line(directory, "cpu.cfs_period_us", period, sizeof(period)) &&
        parse_count(period, PERIOD_US_MAX, &period_us, &at) && *at == '\0')
        tighten(&reader->tightest, quota_us, period_us, "cpu.cfs_quota_us");
    else
        malformed(reader, directory, "cpu.cfs_quota_us");
}

/* Where the group @path is below a mount of the part of the hierarchy that is under @mounted; ""
 * (the mount itself) where it is not visible there, as in a container that sees its own group as
 * the root of the file system but its name as the host gives it.
 */
static const char *below_mount(const char *path, const char *mounted)
{
    size_t length = strcmp(mounted, "/") == 0 ? 0 : strlen(mounted);

    if (strncmp(path, mounted, length) != 0 || (path[length] != '/' && path[length] != '\0'))
        return "";
    path += length;
    return strstr(path, "/..") || strcmp(path, "/") == 0 ? "" : path;
}

/* Reads the limits of a group and of all above it, up to the mount. */
static void walk(struct reader *reader, const char *mount, const char *path,
                 void (*read_limit)(struct reader *, const char *))
{
    char directory[2 * PATH_MAX];
    size_t top = strlen(reader->root) + strlen(mount);

    if ((size_t)snprintf(directory, sizeof(directory), "%s%s%s", reader->root, mount, path) >=
        sizeof(directory))
        return;
    for (;;) {
        char *slash;

        read_limit(reader, directory);
        slash = strrchr(directory + top, '/');
        if (!slash)
            return;
        *slash = '\0';
    }
}

/* True if the comma-separated @list has the word "cpu". */
static bool lists_cpu(const char *list)
{
    while (*list) {
        size_t length = strcspn(list, ",\n");

        if (length == 3 && strncmp(list, "cpu", 3) == 0)
            return true;
        list += length;
        list += *list != '\0';
    }
    return false;
}

/* Calls @each with every line of the file @name below the root. Returns false if there is no such
 * file. */
static bool each_line(struct reader *reader, const char *name,
                      void (*each)(struct reader *, char *))
{
    char path[2 * PATH_MAX], *line = NULL;
    size_t size = 0;
    FILE *file;

    if ((size_t)snprintf(path, sizeof(path), "%s%s", reader->root, name) >= sizeof(path))
        return false;
    file = fopen(path, "re");
    if (!file)
        return false;
    while (getline(&line, &size, file) >= 0) {
        line[strcspn(line, "\n")] = '\0';
        each(reader, line);
    }
    free(line);
    fclose(file);
    return true;
}

/* A line of /proc/self/cgroup: "0::/a/b" (v2) or "3:cpu,cpuacct:/a/b" (v1). */
static void take_membership(struct reader *reader, char *line)
{
    char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;
    struct member *member;

    if (!path || path[1] != '/')
        return;
    *list++ = '\0';
    *path++ = '\0';
    if (*list == '\0')
        member = &reader->v2;
    else if (lists_cpu(list))
        member = &reader->v1;
    else
        return;
    if (strlen(path) < sizeof(member->path))
        memcpy(member->path, path, strlen(path) + 1);
}

/* A line of /proc/self/mountinfo: "31 23 0:28 /mounted /mount/point rw ... - cgroup2 source
 * options". */
static void take_mount(struct reader *reader, char *line)
{
    char mounted[PATH_MAX], mount[PATH_MAX], type[16], options[512];
    const char *tail = strstr(line, " - ");

    /* the widths are those of the arrays, less the final zero */
    if (!tail || sscanf(line, "%*s %*s %*s %4095s %4095s", mounted, mount) != 2 ||
        sscanf(tail, " - %15s %*s %511s", type, options) != 2)
        return;
    if (strcmp(type, "cgroup2") == 0)
        walk(reader, mount, below_mount(reader->v2.path, mounted), read_v2);
    else if (strcmp(type, "cgroup") == 0 && lists_cpu(options))
        walk(reader, mount, below_mount(reader->v1.path, mounted), read_v1);
}

void kofn_cpu_quota_read(const char *root, const struct kofn_log *log, struct kofn_cpu_quota *quota)
{
    struct reader reader = {.root = root, .log = log};

    each_line(&reader, "/proc/self/cgroup", take_membership);
    if (!each_line(&reader, "/proc/self/mountinfo", take_mount)) {
        /* the places systemd and the container engines use */
        walk(&reader, "/sys/fs/cgroup", below_mount(reader.v2.path, "/"), read_v2);
        walk(&reader, "/sys/fs/cgroup/cpu", below_mount(reader.v1.path, "/"), read_v1);
        walk(&reader, "/sys/fs/cgroup/cpu,cpuacct", below_mount(reader.v1.path, "/"), read_v1);
    }
    *quota = reader.tightest;
}
