/* suites.h: suites of this program that are not the contract. Each registers itself. */
#ifndef KOFN_TESTS_VERBS_SUITES_H
#define KOFN_TESTS_VERBS_SUITES_H

void verbs_add_pure(void); /* test_pure.c: addresses, options, offers, sentences */
void verbs_add_devices(
    void);               /* test_devices.c: which device is used, and what it must be able to */
void verbs_add_cm(void); /* test_cm.c: connections over the connection manager */
void verbs_add_failures(void); /* test_failures.c: every call that can fail does */
void verbs_add_faults(void);   /* test_faults.c: links, devices and workers that fail meanwhile */
void verbs_add_jobs(void);     /* test_jobs.c: a whole job, whose workers connect again */

#endif
