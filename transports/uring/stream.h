/* stream.h: one connection: the frame that is being read from it, and the one that is being sent.
 *
 * A frame is staged, then sent, in as many parts as the socket takes it; the next one is staged
 * when it has left. So a connection never holds more than one frame that waits, and what comes
 * after it is the business of whoever stages: a slow reader costs its peer no memory.
 *
 * Threads: under the driver's lock.
 */
#ifndef KOFN_TRANSPORTS_URING_STREAM_H
#define KOFN_TRANSPORTS_URING_STREAM_H

#include "transports/uring/driver.h"
#include "transports/uring/frame.h"
#include "transports/uring/zero_copy.h"

#define KOFN__STREAM_PART 262144u  /* bytes read at once */
#define KOFN__STREAM_CHUNK 524288u /* bytes of the longest WRITE that is sent */

struct kofn__stream {
    int fd; /* -1 = none: not connected yet, or ended */
    uint32_t key;
    bool small;   /* the engine may read it by itself */
    bool started; /* it is watched */
    bool blocked; /* the socket takes no more; the driver says when it does */
    bool unsure;  /* something was sent that may not have been acknowledged */
    int error;    /* why it has ended: errno, 0 = by the peer, in order */
    struct kofn__reader reader;

    /* What is being sent: header and what fits beside it, a payload where it lies, a stamp. */
    bool staged;
    bool racy;     /* the payload may change meanwhile: whoever staged it looks afterwards */
    bool in_place; /* the payload goes without a copy */
    uint32_t head_bytes, tail_bytes;
    const char *body;
    uint64_t body_bytes, sent;
    unsigned char head[sizeof(struct kofn__frame) + KOFN__FRAME_BODY];
    unsigned char tail[sizeof(struct kofn__frame) + KOFN__FRAME_BODY];
    struct kofn__zero_copy zero; /* of payload that is not racy; NEVER until it is started */
};

void kofn__stream_init(struct kofn__stream *stream, uint32_t key, bool small);

/* It has a socket, @fd, and frames by @rules come on it: watches it. Errors are the caller's to
 * log. */
int kofn__stream_start(struct kofn__stream *stream, struct kofn__driver *driver,
                       const struct kofn__frame_rules *rules);

/* Closes the socket, for good; nothing if there is none. */
void kofn__stream_close(struct kofn__stream *stream, struct kofn__driver *driver);

/* Reads what there is, once. Returns 0; KOFN_AGAIN if there is nothing; KOFN_GONE at its end, with
 * stream->error set; KOFN_PROTOCOL with @wrong set. Nothing is closed.
 */
int kofn__stream_read(struct kofn__stream *stream, const struct kofn__frame_sink *sink, void *arg,
                      const char **wrong);

/* Stages a frame: @body of @bytes is copied (at most KOFN__FRAME_BODY; may be NULL). */
void kofn__stream_stage(struct kofn__stream *stream, const struct kofn__frame *frame,
                        const void *body, size_t bytes);

/* Stages a WRITE of frame->length bytes, which stay where they are until it has left and
 * kofn__stream_settled() says that nothing needs them. */
void kofn__stream_stage_write(struct kofn__stream *stream, const struct kofn__frame *frame,
                              const void *payload, bool racy);

/* Behind a WRITE: its stamp, in the same call. */
void kofn__stream_stage_stamp(struct kofn__stream *stream, const struct kofn__frame *frame,
                              const struct kofn_stamp *stamp);

/* Sends what is staged. Returns 0 when it has left; KOFN_AGAIN if the socket takes no more (it is
 * then blocked until the driver reports EVENT_WRITE); KOFN_GONE with stream->error set.
 */
int kofn__stream_send(struct kofn__stream *stream, struct kofn__driver *driver);

/* True if it has failed, with stream->error set: the other host has not acknowledged for
 * @peer_timeout ns what was sent. Costs a system call only where something was.
 */
bool kofn__stream_lost(struct kofn__stream *stream, uint64_t peer_timeout);

/* True if what was sent may change: the kernel has copied it, or needs it no more. */
bool kofn__stream_settled(struct kofn__stream *stream);

/* The driver has reported EVENT_WRITE. */
void kofn__stream_unblock(struct kofn__stream *stream, struct kofn__driver *driver);

#endif
