/* info.h: the parts of `kofn info`: info.c finds things out, info_print.c shows them to people and
 * programs. */
#ifndef KOFN_CLI_INFO_H
#define KOFN_CLI_INFO_H

#include "cli/option.h"
#include "place/place.h"

struct kofn_info {
    const struct kofn_options *options;
    const char *openblas;     /* its own description; NULL = not built in */
    char onednn[32];          /* version; empty = not built in */
    const char *hwloc;        /* version; NULL = not built in */
    const char *gsl;          /* the same */
    uint64_t memlock, nofile; /* soft limits; UINT64_MAX = none */
    struct kofn_cpu_quota quota;
    struct kofn_place_map map; /* of options->conf.workers workers; workers = 0: not known */
};

void kofn_info_print(const struct kofn_info *info);

/* KOFN_NO_MEMORY or KOFN_SYSTEM; logged. */
int kofn_info_write_json(const struct kofn_info *info, FILE *stream, const struct kofn_log *log);

#endif
