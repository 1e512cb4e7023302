/* The environment of a launcher: whose rank counts, and what is not believed. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <string.h>

#include "boot/launcher.h"

/* The environment of the running test: names and values, NULL behind the last. */
static const char *const *environment;

static const char *get(const char *name)
{
    for (const char *const *at = environment; *at; at += 2)
        if (!strcmp(at[0], name))
            return at[1];
    return NULL;
}

static struct kofn_launcher read_from(const char *const *variables)
{
    struct kofn_launcher launcher;

    environment = variables;
    kofn_launcher_read(&launcher, get);
    return launcher;
}

#define READ(...) read_from((const char *const[]){__VA_ARGS__, NULL})

/* Every launcher's rank is found under its name, with its place on the host where it says that. */
static void test_each(void)
{
    struct kofn_launcher launcher;

    launcher = READ("OMPI_COMM_WORLD_RANK", "5", "OMPI_COMM_WORLD_LOCAL_RANK", "1",
                    "OMPI_COMM_WORLD_LOCAL_SIZE", "4");
    CU_ASSERT_STRING_EQUAL(launcher.name, "Open MPI");
    CU_ASSERT_STRING_EQUAL(launcher.variable, "OMPI_COMM_WORLD_RANK");
    CU_ASSERT_EQUAL(launcher.rank, 5);
    CU_ASSERT_EQUAL(launcher.local_rank, 1);
    CU_ASSERT_EQUAL(launcher.local_size, 4);
    CU_ASSERT_EQUAL(READ("PMI_RANK", "2", "PMI_SIZE", "4").rank, 2);
    CU_ASSERT_EQUAL(READ("PMIX_RANK", "7").rank, 7);
    CU_ASSERT_EQUAL(READ("JSM_NAMESPACE_RANK", "8").rank, 8);
    CU_ASSERT_EQUAL(READ("JOB_COMPLETION_INDEX", "9").rank, 9);
    CU_ASSERT_EQUAL(READ("RANK", "6", "WORLD_SIZE", "8").rank, 6);
    CU_ASSERT_STRING_EQUAL(READ("SLURM_PROCID", "4", "SLURM_STEP_ID", "0").name, "Slurm");
}

/* Of several the more specific one counts: srun starts mpirun, mpirun starts a script. */
static void test_order(void)
{
    const char *const variables[] = {
        "SLURM_PROCID", "0", "SLURM_STEP_ID", "1", "PMI_RANK", "1", "OMPI_COMM_WORLD_RANK", "2",
        "RANK",         "3", "WORLD_SIZE",    "4", NULL};

    CU_ASSERT_EQUAL(read_from(variables).rank, 3);
    CU_ASSERT_EQUAL(
        READ("SLURM_PROCID", "0", "SLURM_STEP_ID", "1", "OMPI_COMM_WORLD_RANK", "2").rank, 2);
}

/* Shells of an allocation, variables of others and nonsense are no launcher. */
static void test_not_believed(void)
{
    CU_ASSERT_PTR_NULL(READ("HOME", "/root").name);
    CU_ASSERT_PTR_NULL(READ("SLURM_PROCID", "0").name);
    CU_ASSERT_PTR_NULL(READ("SLURM_PROCID", "0", "SLURM_STEP_ID", "interactive").name);
    CU_ASSERT_PTR_NULL(READ("RANK", "12").name); /* anybody's word */
    CU_ASSERT_PTR_NULL(READ("PMI_RANK", "").name);
    CU_ASSERT_PTR_NULL(READ("PMI_RANK", "-1").name);
    CU_ASSERT_PTR_NULL(READ("PMI_RANK", "4294967296").name);
    CU_ASSERT_EQUAL(READ("PMI_RANK", "two").rank, 0);
    /* a place on the host that cannot be is none */
    CU_ASSERT_EQUAL(
        READ("PMI_RANK", "1", "MPI_LOCALRANKID", "4", "MPI_LOCALNRANKS", "4").local_size, 0);
}

void kofn_suite_launcher(void)
{
    CU_pSuite suite = CU_add_suite("launcher", NULL, NULL);

    CU_add_test(suite, "each", test_each);
    CU_add_test(suite, "order", test_order);
    CU_add_test(suite, "not believed", test_not_believed);
}
