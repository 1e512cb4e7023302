/* launcher.h: what a launcher tells the processes it starts: which rank they are, and how many are
 * on this host. Pure: the environment is an argument.
 *
 * Known, in this order: torchrun, Open MPI, PMIx, PMI (MPICH, Intel MPI, srun --mpi), IBM's jsrun,
 * Slurm, indexed jobs of Kubernetes. A value that is not a number is not one of a launcher. Slurm
 * sets SLURM_PROCID in an allocation's shell, too: it counts only in a step.
 */
#ifndef KOFN_BOOT_LAUNCHER_H
#define KOFN_BOOT_LAUNCHER_H

#include "base/base.h"

struct kofn_launcher {
    const char *name;     /* "Slurm"; NULL = no launcher has said a rank */
    const char *variable; /* where the rank was found */
    uint32_t rank;        /* among all processes it has started */
    uint32_t local_rank;  /* among those of this host, of local_size; both 0 = not known */
    uint32_t local_size;
};

/* Reads all of it through @get, which is getenv() but for tests. */
void kofn_launcher_read(struct kofn_launcher *launcher, const char *(*get)(const char *name));

#endif
