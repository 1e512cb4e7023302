/* wire.h: the messages of the control channel, packed and unpacked within bounds.
 *
 * Control messages set a membership up and end it; nothing of a round travels here. All integers
 * are little-endian; doc/protocol.md has the pictures. Unpacking trusts nothing: a message that is
 * too short, too long, of another magic or with a field out of range is KOFN_PROTOCOL, and the
 * output is then untouched.
 *
 *   worker                        server
 *   HELLO      ----------------->           who I am, what I think the job is
 *              <-----------------  WELCOME  the job, the transport's offer   (or REFUSED: why)
 *   READY      ----------------->           the transport's answer
 *              <-----------------  GO       post
 *              <-----------------  ALIVE    once a second
 *   BYE        ----------------->           leaving in order, this much was finished
 *              <-----------------  END      the job is over, should the gate that says so be late
 */
#ifndef KOFN_PROTO_WIRE_H
#define KOFN_PROTO_WIRE_H

#include "base/base.h"

#define KOFN_WIRE_MAGIC 0x6e666f6bu /* "kofn" */
#define KOFN_WIRE_VERSION 4u
#define KOFN_WIRE_BYTES 1024u /* the longest message */
#define KOFN_WIRE_OFFER_BYTES 512u
#define KOFN_WIRE_TEXT_BYTES 256u /* a reason, or what is trained; with its final zero */
#define KOFN_WORKERS_MAX 65536u
#define KOFN_WAIT_FOR_MAX (1u << 20) /* K may count mini-batches */

enum kofn_wire_type {
    KOFN_WIRE_HELLO = 1,
    KOFN_WIRE_WELCOME,
    KOFN_WIRE_READY,
    KOFN_WIRE_GO,
    KOFN_WIRE_REFUSED,
    KOFN_WIRE_ALIVE,
    KOFN_WIRE_BYE,
    KOFN_WIRE_END,
};

/* One message; which fields are used depends on the type. */
struct kofn_wire {
    enum kofn_wire_type type;
    struct { /* HELLO */
        uint32_t rank, pid;
        uint32_t epoch;    /* of the membership that it continues; 0 = none: it is new */
        uint32_t finished; /* local updates in that one */
        uint64_t parameters;
        char host[KOFN_NAME_BYTES];
        char transport[KOFN_NAME_BYTES];     /* "" = the server's */
        char workload[KOFN_WIRE_TEXT_BYTES]; /* "" = not compared */
    } hello;
    struct { /* WELCOME */
        struct kofn_job job;
        uint32_t worker_may; /* enum kofn_worker_may */
        uint32_t manners;    /* enum kofn_manner */
        uint32_t depth;
        uint32_t pid; /* the server's */
        char transport[KOFN_NAME_BYTES];
    } welcome;
    struct { /* WELCOME, READY */
        uint32_t length;
        unsigned char bytes[KOFN_WIRE_OFFER_BYTES];
    } offer;
    struct { /* REFUSED */
        int32_t status;
        char text[KOFN_WIRE_TEXT_BYTES];
    } refused;
    struct {                /* BYE */
        uint64_t finished;  /* local updates */
        uint64_t published; /* sequence of its last publication, which may still be on its way */
    } bye;
};

/* Packs @message into @bytes. Returns the length. */
size_t kofn_wire_pack(const struct kofn_wire *message, unsigned char bytes[KOFN_WIRE_BYTES]);

/* Unpacks @length bytes into @message. Returns 0, KOFN_PROTOCOL with @reason set to what is wrong.
 */
int kofn_wire_unpack(const unsigned char *bytes, size_t length, struct kofn_wire *message,
                     const char **reason);

#endif
