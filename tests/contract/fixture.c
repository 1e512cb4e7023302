/* The suite of one transport. */
#include "tests/contract/contract.h"

/* CUnit's tests take no argument, so what they run against is static: one suite, one process. */
static const struct contract_fixture *current;

const struct contract_fixture *contract_fixture(void)
{
    return current;
}

const struct kofn_transport_ops *contract_ops(void)
{
    return current->ops;
}

void contract_use(const struct contract_fixture *fixture)
{
    current = fixture;
}

void contract_add(const struct contract_fixture *fixture)
{
    CU_pSuite suite = CU_add_suite(fixture->name, NULL, NULL);

    contract_use(fixture);
    contract_flow(suite);
    contract_wait(suite);
    contract_patience(suite);
    contract_view(suite);
    contract_read(suite);
    contract_evict(suite);
    contract_offers(suite);
    contract_kill(suite);
}
