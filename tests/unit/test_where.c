/* What a command's options say of the network is told to the transport in the transport's words. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <stdlib.h>
#include <string.h>

#include "cli/where.h"
#include "tests/lib/caught_log.h"
#include "transports/transport.h"

static const struct kofn_command serve = {.name = "serve", .bit = KOFN_FOR_SERVE};
static const struct kofn_command work = {.name = "work", .bit = KOFN_FOR_WORK};

static struct kofn_caught caught;
static struct kofn_options options;

/* What the transport is told by these options of @command, split at spaces; NULL = refused. */
static const char *told(const struct kofn_command *command, const char *line)
{
    static char copy[256]; /* values point into it */
    char *argv[16] = {copy}, *rest = copy, address[KOFN_ADDRESS_BYTES];
    int argc = 0, rc;

    snprintf(copy, sizeof(copy), "%s %s", command->name, line);
    while ((argv[argc] = strsep(&rest, " ")))
        argc += *argv[argc] != '\0';
    kofn_options_free(&options);
    rc = kofn_options_read(&options, command, argc, argv, &caught.log);
    if (!rc)
        rc = command->bit == KOFN_FOR_SERVE ? kofn_where_server(&options, &caught.log, address)
                                            : kofn_where_worker(&options, &caught.log, address);
    if (rc)
        return NULL;
    return options.conf.transport_options ? options.conf.transport_options : "";
}

static bool tells(const struct kofn_command *command, const char *line, const char *expected)
{
    const char *text = told(command, line);

    if (text && !strcmp(text, expected))
        return true;
    printf("# %s %s: \"%s\"\n", command->name, line, text ? text : "(refused)");
    return false;
}

/* --connect is the transport's own option `connect`, on both sides, beside all others. */
static void test_connect_is_an_option_of_verbs(void)
{
    if (!kofn_transport_find("verbs")) {
        CU_ASSERT_PTR_NULL(told(&serve, "--address tcp:127.0.0.1:0 --connect rdmacm"));
        CU_ASSERT(kofn_caught_one(&caught, "is of transport verbs"));
        return;
    }
    CU_ASSERT(tells(&serve, "-t verbs", ""));
    CU_ASSERT(tells(&serve, "-t verbs --connect rdmacm", "connect=rdmacm"));
    CU_ASSERT(tells(&work, "-t verbs --connect tcp", "connect=tcp"));
    CU_ASSERT(tells(&serve, "-t verbs --transport-option mtu=1024 --connect rdmacm",
                    "mtu=1024 connect=rdmacm"));
    CU_ASSERT(tells(&serve, "-t verbs --transport-option connect=rdmacm", "connect=rdmacm"));
    CU_ASSERT(tells(&work, "--address tcp:10.0.0.1:7 --connect rdmacm", "connect=rdmacm"));
}

/* What was said last counts, and that is what was said nearer to the job: the flag beats the
 * environment, whichever of the two names it has.
 */
static void test_a_flag_beats_the_environment(void)
{
    if (!kofn_transport_find("verbs"))
        return;
    setenv("KOFN_CONNECT", "rdmacm", 1);
    CU_ASSERT(tells(&serve, "-t verbs", "connect=rdmacm"));
    CU_ASSERT(
        tells(&serve, "-t verbs --transport-option connect=tcp", "connect=rdmacm connect=tcp"));
    unsetenv("KOFN_CONNECT");
    setenv("KOFN_TRANSPORT_OPTION", "connect=tcp", 1);
    CU_ASSERT(tells(&serve, "-t verbs --connect rdmacm", "connect=tcp connect=rdmacm"));
    unsetenv("KOFN_TRANSPORT_OPTION");
}

/* Where there is nothing to choose, it is refused in one line. */
static void test_connect_of_other_transports(void)
{
    CU_ASSERT_PTR_NULL(told(&serve, "-t tcp --connect tcp"));
    CU_ASSERT(kofn_caught_one(&caught, "--connect: is of transport verbs, and this one is tcp"));
    CU_ASSERT_PTR_NULL(told(&serve, "--address tcp:127.0.0.1:0 --connect rdmacm"));
    CU_ASSERT(kofn_caught_one(&caught, "--connect: is of transport verbs, and this one is tcp"));
    CU_ASSERT_PTR_NULL(told(&work, "--connect rdmacm"));
    CU_ASSERT(kofn_caught_one(&caught, "--connect: is of transport verbs, and this one is shm"));
    CU_ASSERT_PTR_NULL(told(&work, "-t tcp --connect rdmcm"));
    CU_ASSERT(kofn_caught_one(&caught, "did you mean \"rdmacm\""));
}

static int set_up(void)
{
    unsetenv("KOFN_CONNECT");
    unsetenv("KOFN_TRANSPORT");
    unsetenv("KOFN_TRANSPORT_OPTION");
    kofn_caught_reset(&caught);
    return setenv("XDG_CONFIG_HOME", "/nonexistent", 1);
}

static int tear_down(void)
{
    kofn_options_free(&options);
    return 0;
}

void kofn_suite_where(void)
{
    CU_pSuite suite = CU_add_suite("where", set_up, tear_down);

    CU_add_test(suite, "--connect is an option of verbs", test_connect_is_an_option_of_verbs);
    CU_add_test(suite, "a flag beats the environment", test_a_flag_beats_the_environment);
    CU_add_test(suite, "--connect of other transports", test_connect_of_other_transports);
}
