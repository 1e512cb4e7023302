#include "transports/uring/zero_copy.h"

#include <time.h> /* linux/errqueue.h needs it */

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

void kofn__zero_copy_start(struct kofn__zero_copy *zero, int fd, enum kofn__zero_copy_mode mode)
{
    int on = 1;

    *zero = (struct kofn__zero_copy){.mode = mode};
    if (mode == ZERO_COPY_NEVER || setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof(on)))
        return;
    zero->trying = mode == ZERO_COPY_AUTO;
    zero->chosen = mode == ZERO_COPY_ALWAYS;
}

bool kofn__zero_copy_next(struct kofn__zero_copy *zero, uint64_t bytes)
{
    if ((!zero->trying && !zero->chosen) || bytes < KOFN__ZERO_COPY_LEAST || bytes > UINT32_MAX)
        return false;
    if (!zero->part)
        zero->part = (uint32_t)bytes;
    if (!zero->trying)
        return zero->mode == ZERO_COPY_ALWAYS || bytes >= zero->part;
    return bytes == zero->part && zero->trials[true] < zero->trials[false];
}

uint64_t kofn__zero_copy_clock(const struct kofn__zero_copy *zero)
{
    struct timespec now;

    if (!zero->trying || !zero->part || clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now))
        return 0;
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* Both ways have been tried often enough, and nothing that was sent is still under way. */
static void decide(struct kofn__zero_copy *zero)
{
    if (!zero->trying || zero->trials[true] < KOFN__ZERO_COPY_TRIALS ||
        kofn__zero_copy_pending(zero))
        return;
    zero->trying = false;
    zero->chosen = (double)zero->cpu_ns[true] / (double)zero->bytes[true] <
                   (double)zero->cpu_ns[false] / (double)zero->bytes[false];
}

void kofn__zero_copy_sent(struct kofn__zero_copy *zero, bool this_way, uint64_t bytes,
                          uint64_t cpu_ns)
{
    zero->sent += this_way;
    if (!zero->trying)
        return;
    zero->trials[this_way]++;
    zero->bytes[this_way] += bytes;
    zero->cpu_ns[this_way] += cpu_ns;
}

void kofn__zero_copy_refused(struct kofn__zero_copy *zero)
{
    zero->trying = zero->chosen = false;
}

void kofn__zero_copy_told(struct kofn__zero_copy *zero, uint32_t count, bool copied)
{
    zero->told += KOFN_MIN(count, zero->sent - zero->told);
    if (copied && zero->mode != ZERO_COPY_ALWAYS)
        zero->trying = zero->chosen = false;
    decide(zero);
}

/* One message about a range of sends. */
static void take(struct kofn__zero_copy *zero, struct msghdr *header)
{
    struct sock_extended_err error;

    for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part; part = CMSG_NXTHDR(header, part)) {
        if ((part->cmsg_level != SOL_IP || part->cmsg_type != IP_RECVERR) &&
            (part->cmsg_level != SOL_IPV6 || part->cmsg_type != IPV6_RECVERR))
            continue;
        memcpy(&error, CMSG_DATA(part), sizeof(error));
        if (error.ee_origin == SO_EE_ORIGIN_ZEROCOPY)
            kofn__zero_copy_told(zero, error.ee_data - error.ee_info + 1,
                                 error.ee_code & SO_EE_CODE_ZEROCOPY_COPIED);
    }
}

bool kofn__zero_copy_reap(struct kofn__zero_copy *zero, int fd)
{
    bool any = false;

    while (kofn__zero_copy_pending(zero)) {
        char space[CMSG_SPACE(sizeof(struct sock_extended_err) + sizeof(struct sockaddr_in6))];
        struct msghdr header = {.msg_control = space, .msg_controllen = sizeof(space)};
        uint64_t before = kofn__zero_copy_clock(zero);

        if (recvmsg(fd, &header, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
            break;
        if (before) /* giving back is a part of what it costs */
            zero->cpu_ns[true] += kofn__zero_copy_clock(zero) - before;
        take(zero, &header);
        any = true;
    }
    return any;
}
