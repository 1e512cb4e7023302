/* place_fixture.h: what the tests of src/place/ share: topologies, and a log that counts. */
#ifndef KOFN_TESTS_PLACE_FIXTURE_H
#define KOFN_TESTS_PLACE_FIXTURE_H

#include <CUnit/CUnit.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "place/place.h"
#include "tests/lib/runner.h"

/* Counts messages and keeps the last one. */
struct heard {
    unsigned count;
    char last[KOFN_LOG_LINE];
};

static inline void hear(void *arg, enum kofn_log_level level, const char *message)
{
    struct heard *heard = arg;

    (void)level;
    heard->count++;
    snprintf(heard->last, sizeof(heard->last), "%s", message);
}

static inline struct kofn_log log_to(struct heard *heard)
{
    memset(heard, 0, sizeof(*heard));
    return (struct kofn_log){KOFN_LOG_WARN, hear, heard};
}

/* A synthetic topology, or NULL after marking the test as skipped where it needs hwloc. */
static inline struct kofn_topology *invent(const char *text)
{
    struct kofn_topology *topology = NULL;

#ifndef HAVE_HWLOC
    if (strncmp(text, "pu:", 3) != 0) {
        kofn_test_skip("built without hwloc");
        return NULL;
    }
#endif
    CU_ASSERT_EQUAL(kofn_topology_open_synthetic(text, NULL, &topology), 0);
    return topology;
}

/* The topology of tests/data/topology/NAME.xml, or NULL after marking the test as skipped. */
static inline struct kofn_topology *recorded(const char *name)
{
    struct kofn_topology *topology = NULL;
#ifdef HAVE_HWLOC
    const char *top = getenv("top_srcdir");
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/tests/data/topology/%s.xml", top ? top : ".", name);
    CU_ASSERT_EQUAL(kofn_topology_open_xml(path, NULL, &topology), 0);
#else
    (void)name;
    kofn_test_skip("built without hwloc");
#endif
    return topology;
}

static inline struct kofn_cpus cpus(const char *list)
{
    struct kofn_cpus set = {{0}};

    CU_ASSERT_EQUAL(kofn_cpus_parse(list, NULL, &set), 0);
    return set;
}

/* True if @set is what @list says. */
static inline bool is(const struct kofn_cpus *set, const char *list)
{
    struct kofn_cpus wanted = cpus(list);

    return kofn_cpus_equal(set, &wanted);
}

#endif
