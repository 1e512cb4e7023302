/* quota.h: how much CPU time the control group of this process may use, whatever CPUs it sees.
 *
 * A container with cpu.max 150% sees all CPUs of its host and is stopped for the rest of each
 * period once its time is used up: threads that spin use up the time of those that compute. Reads
 * files, keeps nothing.
 */
#ifndef KOFN_PLACE_QUOTA_H
#define KOFN_PLACE_QUOTA_H

#include "base/log.h"

/* CPU time of all threads together a period; zeroed: no limit. */
struct kofn_cpu_quota {
    uint64_t quota_us;  /* at most 1e12 */
    uint64_t period_us; /* 1 to 1e6; 0 = no limit */
    const char
        *file; /* the kernel's name of the limit, static: "cpu.max" (v2), "cpu.cfs_quota_us" (v1) */
};

/* The tightest limit on this process: its own group's and those of all groups above it, in both
 * versions of control groups, wherever they are mounted.
 *
 * @root  in front of every path: "" for this machine, a directory with proc/ and sys/ in it for
 * tests A missing file is no limit; a malformed one is no limit and a warning. Never fails.
 */
void kofn_cpu_quota_read(const char *root, const struct kofn_log *log,
                         struct kofn_cpu_quota *quota);

/* True if @threads threads that never sleep would need more than @quota. */
bool kofn_cpu_quota_exceeded(const struct kofn_cpu_quota *quota, uint64_t threads);

#endif
