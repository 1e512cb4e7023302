/* Where io_uring is refused, as in most containers: sockets are looked at by epoll, and it is said.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/contract/tcp_client.h"
#include "transports/uring/engine.h"
#include "transports/uring/uring.h"

#define NOT_PERMITTED "io_uring is not permitted here"

/* Every io_uring_setup() of this process fails from here on, as under Docker's seccomp profile. */
static bool refuse_uring(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = KOFN_ARRAY_SIZE(code), .filter = code};

    return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
           !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

static void keep_engine(void *arg, const char *what, const char *text)
{
    if (!strcmp(what, "engine"))
        snprintf(arg, 160, "%s", text);
}

/* A publication, there and its gate back. */
static bool works(const struct kofn_log *log)
{
    struct kofn_hub_attr hub_attr = {
        .workers = 1, .numa_node = -1, .bind = "127.0.0.1", .log = log};
    struct kofn_endpoint_attr attr = {.epoch = 1, .log = log};
    struct kofn_endpoint *endpoint;
    struct kofn_offer offer, answer;
    struct kofn_arrival arrival;
    struct tcp_scene scene;

    if (kofn_geometry_init(&attr.slot, LARGE_BYTES, 2))
        return false;
    scene.geometry = attr.model = hub_attr.slot = hub_attr.model = attr.slot;
    if (kofn_tcp.hub_open(&hub_attr, &scene.hub) || kofn_tcp.hub_admit(scene.hub, 0, 1, &offer) ||
        kofn_tcp.endpoint_open(&attr, &offer, &answer, &endpoint) ||
        kofn_tcp.hub_connect(scene.hub, 0, &answer))
        return false;
    endpoint_fill(endpoint, 1);
    if (endpoint_publish(endpoint, 1) || tcp_poll(&scene, &arrival) != 1)
        return false;
    kofn_tcp.endpoint_close(endpoint);
    tcp_close(&scene);
    return true;
}

/* The process under the filter. Returns 0, 77 where there is no seccomp, or what was wrong. */
static int without_uring(void)
{
    struct kofn_hub_attr forced = {.workers = 1, .numa_node = -1, .options = "engine=uring"};
    struct kofn_caught caught;
    struct kofn_hub *hub;
    const char *reason = "";
    char engine[160] = "";

    if (!refuse_uring())
        return 77;
    if (kofn__engine_uring_allowed(&reason) || !strstr(reason, NOT_PERMITTED))
        return 1;
    kofn_tcp.describe(NULL, keep_engine, engine);
    if (!strstr(engine, "epoll, because " NOT_PERMITTED))
        return 2;
    kofn_caught_reset(&caught);
    if (!works(&caught.log) || caught.count)
        return 3;
    forced.log = &caught.log;
    kofn_geometry_init(&forced.slot, SMALL_BYTES, 2);
    forced.model = forced.slot;
    if (kofn_tcp.hub_open(&forced, &hub) != KOFN_UNSUPPORTED ||
        !kofn_caught_one(&caught, "engine=uring: " NOT_PERMITTED))
        return 4;
    return 0;
}

/* A sandbox without io_uring costs a job nothing but that engine: `kofn info` says which there is
 * and why, and only who insists on the other is refused, with the same reason.
 */
static void test_refused_uring_is_done_without(void)
{
    pid_t child = fork();
    int status;

    if (!child)
        _exit(without_uring());
    CU_ASSERT_FATAL(child > 0);
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        kofn_test_skip("no seccomp to be had");
    else
        CU_ASSERT_EQUAL(status, 0);
}

void contract_tcp_engines(CU_pSuite suite)
{
    CONTRACT_TEST(suite, test_refused_uring_is_done_without);
}
