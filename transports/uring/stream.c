#include "transports/uring/stream.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/racy.h"
#include "transports/uring/socket.h"

#define BOUNCE 16384 /* bytes of headers and small bodies taken at once, with what follows them */

void kofn__stream_init(struct kofn__stream *stream, uint32_t key, bool small)
{
    *stream = (struct kofn__stream){.fd = -1, .key = key, .small = small};
}

int kofn__stream_start(struct kofn__stream *stream, struct kofn__driver *driver,
                       const struct kofn__frame_rules *rules)
{
    int rc;

    kofn__reader_init(&stream->reader, rules);
    rc = kofn__driver_watch(driver, stream->key, stream->fd, stream->small);
    stream->started = !rc;
    return rc;
}

void kofn__stream_close(struct kofn__stream *stream, struct kofn__driver *driver)
{
    if (stream->fd < 0)
        return;
    if (stream->started)
        kofn__driver_unwatch(driver, stream->key);
    kofn__socket_close(stream->fd);
    stream->fd = -1;
    stream->started = stream->blocked = stream->staged = false;
}

/* Bytes have come: first into the room of a payload, the rest into @bounce. */
static const char *take(struct kofn__stream *stream, uint64_t room, const char *bounce,
                        uint64_t count, const struct kofn__frame_sink *sink, void *arg)
{
    uint64_t direct = KOFN_MIN(room, count);
    const char *wrong = NULL;

    if (direct)
        wrong = kofn__reader_filled(&stream->reader, direct, sink, arg);
    if (!wrong && count > direct)
        wrong = kofn__reader_feed(&stream->reader, bounce, (size_t)(count - direct), sink, arg);
    return wrong;
}

int kofn__stream_read(struct kofn__stream *stream, const struct kofn__frame_sink *sink, void *arg,
                      const char **wrong)
{
    char bounce[BOUNCE];
    uint64_t left;
    void *target = kofn__reader_room(&stream->reader, &left);
    uint64_t room = KOFN_MIN(left, (uint64_t)KOFN__STREAM_PART);
    struct iovec parts[2] = {{target, room}, {bounce, sizeof(bounce)}};
    struct msghdr header = {.msg_iov = room ? parts : parts + 1,
                            .msg_iovlen = room && room == left ? 2 : 1};
    ssize_t count = recvmsg(stream->fd, &header, MSG_DONTWAIT);

    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return KOFN_AGAIN;
    if (count <= 0) {
        stream->error = count ? errno : 0;
        return KOFN_GONE;
    }
    *wrong = take(stream, room, bounce, (uint64_t)count, sink, arg);
    return *wrong ? KOFN_PROTOCOL : 0;
}

static uint32_t put(unsigned char *place, const struct kofn__frame *frame, const void *body,
                    size_t bytes)
{
    memcpy(place, frame, sizeof(*frame));
    if (bytes)
        memcpy(place + sizeof(*frame), body, bytes);
    return (uint32_t)(sizeof(*frame) + bytes);
}

void kofn__stream_stage(struct kofn__stream *stream, const struct kofn__frame *frame,
                        const void *body, size_t bytes)
{
    stream->head_bytes = put(stream->head, frame, body, bytes);
    stream->body = (const char *)stream->head; /* of no bytes */
    stream->body_bytes = stream->tail_bytes = 0;
    stream->sent = 0;
    stream->racy = stream->in_place = false;
    stream->staged = true;
}

void kofn__stream_stage_write(struct kofn__stream *stream, const struct kofn__frame *frame,
                              const void *payload, bool racy)
{
    kofn__stream_stage(stream, frame, NULL, 0);
    stream->body = payload;
    stream->body_bytes = frame->length;
    stream->racy = racy;
    stream->in_place = !racy && kofn__zero_copy_next(&stream->zero, frame->length);
}

void kofn__stream_stage_stamp(struct kofn__stream *stream, const struct kofn__frame *frame,
                              const struct kofn_stamp *stamp)
{
    stream->tail_bytes = put(stream->tail, frame, stamp, sizeof(*stamp));
}

/* What is left of a part that comes after @before bytes of this frame. */
static struct iovec rest(const struct kofn__stream *stream, const void *part, uint64_t bytes,
                         uint64_t before)
{
    uint64_t done = stream->sent > before ? KOFN_MIN(stream->sent - before, bytes) : 0;

    return (struct iovec){(char *)part + done, (size_t)(bytes - done)};
}

/* Reading memory that is being written is a race on purpose, of which the thread sanitizer would
 * have to be told: it does not look into plain system calls.
 */
static ssize_t send_parts(const struct kofn__stream *stream, struct iovec *parts, size_t count,
                          int flags)
{
    struct msghdr header = {.msg_iov = parts, .msg_iovlen = count};

#if KOFN_THREAD_SANITIZER
    if (stream->racy)
        return syscall(SYS_sendmsg, stream->fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT | flags);
#endif
    return sendmsg(stream->fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT | flags);
}

static void block(struct kofn__stream *stream, struct kofn__driver *driver)
{
    if (stream->blocked || !stream->started)
        return;
    stream->blocked = true;
    kofn__driver_want_write(driver, stream->key, true);
}

/* Sends once. Header and stamp lie where the next ones will: a payload that goes without a copy
 * goes alone.
 */
static ssize_t send_once(struct kofn__stream *stream)
{
    uint64_t body_at = stream->head_bytes, tail_at = body_at + stream->body_bytes;
    struct iovec parts[3] = {rest(stream, stream->head, stream->head_bytes, 0),
                             rest(stream, stream->body, stream->body_bytes, body_at),
                             rest(stream, stream->tail, stream->tail_bytes, tail_at)};
    size_t first = parts[0].iov_len ? 0 : parts[1].iov_len ? 1 : 2, count = 3 - first;
    bool in_place = stream->in_place && first == 1;
    bool tried = in_place || (stream->body_bytes && !stream->in_place &&
                              stream->body_bytes == stream->zero.part);
    uint64_t before = kofn__zero_copy_clock(&stream->zero);
    int flags = 0;
    ssize_t sent;

    if (stream->in_place && first < 2) {
        count = 1;
        flags = in_place ? MSG_ZEROCOPY : MSG_MORE;
    }
    sent = send_parts(stream, parts + first, count, flags);
    if (sent > 0 && tried)
        kofn__zero_copy_sent(&stream->zero, in_place, (uint64_t)sent,
                             kofn__zero_copy_clock(&stream->zero) - before);
    return sent;
}

int kofn__stream_send(struct kofn__stream *stream, struct kofn__driver *driver)
{
    uint64_t whole = stream->head_bytes + stream->body_bytes + stream->tail_bytes;

    while (stream->sent < whole) {
        ssize_t sent = send_once(stream);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == ENOBUFS && stream->in_place) {
            kofn__zero_copy_refused(&stream->zero);
            stream->in_place = false;
            continue;
        }
        if (sent < 0 && errno == EAGAIN) {
            block(stream, driver);
            return KOFN_AGAIN;
        }
        if (sent < 0) {
            stream->error = errno;
            return KOFN_GONE;
        }
        stream->sent += (uint64_t)sent;
        stream->unsure = true;
    }
    stream->staged = false;
    return 0;
}

bool kofn__stream_lost(struct kofn__stream *stream, uint64_t peer_timeout)
{
    if (stream->fd < 0 || !stream->unsure ||
        !kofn__socket_lost(stream->fd, peer_timeout, &stream->unsure))
        return false;
    stream->error = ETIMEDOUT;
    return true;
}

bool kofn__stream_settled(struct kofn__stream *stream)
{
    if (KOFN_LIKELY(!kofn__zero_copy_pending(&stream->zero)))
        return true;
    if (stream->fd >= 0)
        kofn__zero_copy_reap(&stream->zero, stream->fd);
    return !kofn__zero_copy_pending(&stream->zero);
}

void kofn__stream_unblock(struct kofn__stream *stream, struct kofn__driver *driver)
{
    if (!stream->blocked)
        return;
    stream->blocked = false;
    kofn__driver_want_write(driver, stream->key, false);
}
