/* The verbs transport over a device inside this process: the contract, and what goes wrong with
 * devices. `verbs NAME...` runs those suites alone, `verbs -l` lists them.
 */
#include <stdlib.h>

#include "tests/contract/contract.h"
#include "tests/verbs/suites.h"
#include "transports/verbs/verbs.h"

#define ROUNDS "5000" /* of tests that repeat something very often: this device is a slow one */

static void add_imm(void)
{
    static const struct contract_fixture fixture = {
        .name = "fake-imm", .ops = &kofn_verbs, .concurrent = true, .one_process = true};

    contract_add(&fixture);
}

static void add_atomic(void)
{
    static const struct contract_fixture fixture = {.name = "fake-atomic",
                                                    .ops = &kofn_verbs,
                                                    .options = "mode=atomic",
                                                    .concurrent = true,
                                                    .one_process = true};

    contract_add(&fixture);
}

static void add_poll(void)
{
    static const struct contract_fixture fixture = {.name = "fake-poll",
                                                    .ops = &kofn_verbs,
                                                    .options = "mode=poll unsafe-poll=yes",
                                                    .concurrent = true,
                                                    .one_process = true};

    contract_add(&fixture);
}

/* No request carries anything itself: what is sent must still be there when it is. */
static void add_plain(void)
{
    static const struct contract_fixture fixture = {.name = "fake-no-inline",
                                                    .ops = &kofn_verbs,
                                                    .options = "inline=0",
                                                    .concurrent = true,
                                                    .one_process = true};

    contract_add(&fixture);
}

/* Connections are made by the connection manager. */
static void add_rdmacm(void)
{
    static const struct contract_fixture fixture = {.name = "fake-rdmacm",
                                                    .ops = &kofn_verbs,
                                                    .options = "connect=rdmacm",
                                                    .concurrent = true,
                                                    .one_process = true};

    contract_add(&fixture);
}

static const struct kofn_suite suites[] = {
    {"fake-imm", add_imm},          {"fake-atomic", add_atomic}, {"fake-poll", add_poll},
    {"fake-no-inline", add_plain},  {"fake-rdmacm", add_rdmacm}, {"pure", verbs_add_pure},
    {"devices", verbs_add_devices}, {"cm", verbs_add_cm},        {"failures", verbs_add_failures},
    {"faults", verbs_add_faults},   {"jobs", verbs_add_jobs},
};

int main(int argc, char **argv)
{
    setenv("KOFN_TEST_ROUNDS", ROUNDS, 0);
    return kofn_suites_run(suites, KOFN_ARRAY_SIZE(suites), argc, argv);
}
