/* suites.h: suites of this program that are about one transport. Each registers itself. */
#ifndef KOFN_TESTS_CONTRACT_SUITES_H
#define KOFN_TESTS_CONTRACT_SUITES_H

void contract_add_fabric(void);    /* test_fabric.c: what only `self` can do to a message */
void contract_add_isolation(void); /* test_isolation.c: who may write what in shared memory */

#endif
