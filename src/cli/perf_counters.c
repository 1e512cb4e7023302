#include "cli/perf_counters.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool read_counter(int directory, const char *name, uint64_t *value)
{
    int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char text[32] = "";
    ssize_t got;

    if (fd < 0)
        return false;
    got = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (got <= 0 || text[0] < '0' || text[0] > '9')
        return false;
    *value = strtoull(text, NULL, 10);
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct kofn_perf_counter *)a)->name,
                  ((const struct kofn_perf_counter *)b)->name);
}

void kofn_perf_counters_read(const char *path, struct kofn_perf_counters *counters)
{
    DIR *directory = opendir(path);
    struct dirent *entry;

    counters->count = 0;
    if (!directory)
        return;
    while (counters->count < KOFN_PERF_COUNTERS && (entry = readdir(directory))) {
        struct kofn_perf_counter *counter = &counters->list[counters->count];
        size_t length = strlen(entry->d_name);

        if (entry->d_name[0] == '.' || !strcmp(entry->d_name, "lifespan") ||
            length >= sizeof(counter->name) ||
            !read_counter(dirfd(directory), entry->d_name, &counter->value))
            continue;
        memcpy(counter->name, entry->d_name, length + 1);
        counters->count++;
    }
    closedir(directory);
    qsort(counters->list, counters->count, sizeof(counters->list[0]), by_name);
}

uint64_t kofn_perf_counter_grown(const struct kofn_perf_counters *before,
                                 const struct kofn_perf_counter *counter)
{
    for (size_t i = 0; i < before->count; i++)
        if (!strcmp(before->list[i].name, counter->name))
            return counter->value - before->list[i].value;
    return counter->value;
}
