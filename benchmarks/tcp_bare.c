#include "benchmarks/tcp_bare.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define EVENTS 64

struct tcp_bare {
    int listener, epoll;
    uint32_t connections, accepted;
    uint32_t whole; /* publications that have come and were not collected */
    struct {
        int fd;
        size_t have; /* bytes of the one that is coming */
    } peers[];
};

int tcp_bare_open(uint32_t connections, uint16_t *port, struct tcp_bare **bare_p)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof(address);
    struct tcp_bare *bare = calloc(1, sizeof(*bare) + connections * sizeof(bare->peers[0]));

    if (!bare)
        return kofn_error(NULL, KOFN_NO_MEMORY, "crowd: out of memory");
    bare->connections = connections;
    bare->epoll = epoll_create1(EPOLL_CLOEXEC);
    bare->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bare->epoll < 0 || bare->listener < 0 ||
        bind(bare->listener, (struct sockaddr *)&address, length) ||
        getsockname(bare->listener, (struct sockaddr *)&address, &length) ||
        listen(bare->listener, (int)connections)) {
        int rc = kofn_error_errno(NULL, "crowd: a listener");

        tcp_bare_close(bare);
        return rc;
    }
    *port = ntohs(address.sin_port);
    *bare_p = bare;
    return 0;
}

void tcp_bare_close(struct tcp_bare *bare)
{
    if (!bare)
        return;
    for (uint32_t i = 0; i < bare->accepted; i++)
        close(bare->peers[i].fd);
    if (bare->listener >= 0)
        close(bare->listener);
    if (bare->epoll >= 0)
        close(bare->epoll);
    free(bare);
}

int tcp_bare_accept(struct tcp_bare *bare, size_t greeting)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = bare->accepted};
    char thrown_away[256];
    int fd = accept4(bare->listener, NULL, NULL, SOCK_CLOEXEC), on = 1;

    if (fd < 0)
        return kofn_error_errno(NULL, "crowd: accept");
    if (greeting > sizeof(thrown_away) ||
        recv(fd, thrown_away, greeting, MSG_WAITALL) != (ssize_t)greeting ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) ||
        epoll_ctl(bare->epoll, EPOLL_CTL_ADD, fd, &event)) {
        close(fd);
        return kofn_error_errno(NULL, "crowd: a connection");
    }
    bare->peers[bare->accepted++].fd = fd;
    return 0;
}

/* Reads what one connection has; publications do not come faster than they are answered. */
static void read_one(struct tcp_bare *bare, uint32_t index, size_t bytes)
{
    char thrown_away[4096];
    ssize_t count = recv(bare->peers[index].fd, thrown_away, sizeof(thrown_away), MSG_DONTWAIT);

    if (count <= 0)
        return;
    bare->peers[index].have += (size_t)count;
    if (bare->peers[index].have < bytes)
        return;
    bare->peers[index].have -= bytes;
    bare->whole++;
}

int tcp_bare_collect(struct tcp_bare *bare, uint32_t count, size_t bytes, uint64_t deadline)
{
    struct epoll_event events[EVENTS];

    while (bare->whole < count) {
        uint64_t now = kofn_now_ns();
        int found = now < deadline ? epoll_wait(bare->epoll, events, EVENTS,
                                                (int)((deadline - now) / KOFN_NS_PER_MS + 1))
                                   : 0;

        if (found <= 0)
            return KOFN_GONE;
        for (int i = 0; i < found; i++)
            read_one(bare, events[i].data.u32, bytes);
    }
    bare->whole -= count;
    return 0;
}

void tcp_bare_answer(struct tcp_bare *bare, const void *bytes, size_t count)
{
    for (uint32_t i = 0; i < bare->accepted; i++)
        (void)!send(bare->peers[i].fd, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT);
}
