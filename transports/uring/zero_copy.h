/* zero_copy.h: large payloads that are sent from where they lie, without a copy to the kernel
 * (MSG_ZEROCOPY), where that is cheaper.
 *
 * The kernel then says when it needs the memory no more, which until then must not change: on a
 * wire, when all has been acknowledged. Whether it is worth it nobody can tell beforehand: pages
 * have to be held and given back, and where there is no device that fetches them (loopback, a pair
 * of veth) the kernel copies all the same. So it is measured, on the connection itself: its first
 * parts go this way and that in turns, and the one that takes less CPU time a byte stays. Once the
 * kernel has copied, or has no room for such memory, the rest goes as ever.
 *
 * Threads: under the driver's lock.
 */
#ifndef KOFN_TRANSPORTS_URING_ZERO_COPY_H
#define KOFN_TRANSPORTS_URING_ZERO_COPY_H

#include "base/base.h"

enum kofn__zero_copy_mode { ZERO_COPY_NEVER, ZERO_COPY_AUTO, ZERO_COPY_ALWAYS };

#define KOFN__ZERO_COPY_LEAST 16384u /* shorter parts are not even tried */
#define KOFN__ZERO_COPY_TRIALS 8u    /* of each way */

struct kofn__zero_copy {
    enum kofn__zero_copy_mode mode;
    bool trying, chosen; /* it is being measured; it is better */
    uint32_t part;       /* bytes of the parts it is measured with: the first there was */
    uint32_t sent, told; /* sends this way; those whose memory the kernel has given back */

    /* What was measured: [false] plain sends, [true] sends this way. */
    uint32_t trials[2];
    uint64_t bytes[2], cpu_ns[2];
};

/* Prepares the connected socket @fd; sends are plain if it cannot do it, or @mode says so. */
void kofn__zero_copy_start(struct kofn__zero_copy *zero, int fd, enum kofn__zero_copy_mode mode);

/* Is a part of @bytes to be sent this way? Asked once a part. */
bool kofn__zero_copy_next(struct kofn__zero_copy *zero, uint64_t bytes);

/* CPU time of the thread, 0 where nothing is measured (any more). */
uint64_t kofn__zero_copy_clock(const struct kofn__zero_copy *zero);

/* @bytes have been sent, this way or plainly; @cpu_ns: what that took. */
void kofn__zero_copy_sent(struct kofn__zero_copy *zero, bool this_way, uint64_t bytes,
                          uint64_t cpu_ns);

/* The kernel has no room for it (ENOBUFS): not this way any more. */
void kofn__zero_copy_refused(struct kofn__zero_copy *zero);

/* The kernel has given back the memory of @count sends, some of which it has @copied. */
void kofn__zero_copy_told(struct kofn__zero_copy *zero, uint32_t count, bool copied);

/* Is there memory the kernel still needs? */
static inline bool kofn__zero_copy_pending(const struct kofn__zero_copy *zero)
{
    return zero->sent != zero->told;
}

/* Takes in what the kernel says of @fd; true if there was anything. */
bool kofn__zero_copy_reap(struct kofn__zero_copy *zero, int fd);

#endif
