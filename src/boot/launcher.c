#include "boot/launcher.h"

#include "base/parse.h"

/* What one launcher calls it. */
struct dialect {
    const char *name, *rank, *local_rank, *local_size;
    const char *beside; /* the rank counts only where this is a number, too; NULL = always */
};

static const struct dialect dialects[] = {
    {"torchrun", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "WORLD_SIZE"},
    {"Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE",
     NULL},
    {"PMIx", "PMIX_RANK", "PMIX_LOCAL_RANK", "PMIX_LOCAL_SIZE", NULL},
    {"PMI", "PMI_RANK", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", NULL},
    {"jsrun", "JSM_NAMESPACE_RANK", "JSM_NAMESPACE_LOCAL_RANK", "JSM_NAMESPACE_LOCAL_SIZE", NULL},
    {"Slurm", "SLURM_PROCID", "SLURM_LOCALID", NULL, "SLURM_STEP_ID"},
    {"Kubernetes", "JOB_COMPLETION_INDEX", NULL, NULL, NULL},
};

/* The number that @name is set to. */
static bool number(const char *(*get)(const char *name), const char *name, uint32_t *value)
{
    const char *text = name ? get(name) : NULL;
    struct kofn_bad bad;
    uint64_t parsed;

    if (!text || kofn_parse_uint(kofn_text(text), 0, UINT32_MAX, &parsed, &bad))
        return false;
    *value = (uint32_t)parsed;
    return true;
}

void kofn_launcher_read(struct kofn_launcher *launcher, const char *(*get)(const char *name))
{
    uint32_t any;

    *launcher = (struct kofn_launcher){0};
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(dialects); i++) {
        const struct dialect *dialect = &dialects[i];

        if (!number(get, dialect->rank, &launcher->rank) ||
            (dialect->beside && !number(get, dialect->beside, &any)))
            continue;
        launcher->name = dialect->name;
        launcher->variable = dialect->rank;
        if (!number(get, dialect->local_rank, &launcher->local_rank) ||
            !number(get, dialect->local_size, &launcher->local_size) ||
            launcher->local_rank >= launcher->local_size)
            launcher->local_rank = launcher->local_size = 0;
        return;
    }
    launcher->rank = 0;
}
