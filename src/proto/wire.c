#include "proto/wire.h"

#include <string.h>

/* A cursor over a message. One function serves both directions, so that packing and unpacking
 * cannot differ. */
struct cursor {
    unsigned char *at;
    size_t left;
    bool packing, failed;
};

static void bytes_field(struct cursor *cursor, void *field, size_t length)
{
    if (cursor->failed || length > cursor->left) {
        cursor->failed = true;
        return;
    }
    if (cursor->packing)
        memcpy(cursor->at, field, length);
    else
        memcpy(field, cursor->at, length);
    cursor->at += length;
    cursor->left -= length;
}

static void u64_field(struct cursor *cursor, uint64_t *field, size_t width)
{
    unsigned char bytes[8] = {0};
    uint64_t value = 0;

    for (size_t i = 0; i < width; i++)
        bytes[i] = (unsigned char)(*field >> (8 * i));
    bytes_field(cursor, bytes, width);
    for (size_t i = 0; i < width; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    if (!cursor->packing && !cursor->failed)
        *field = value;
}

static void u32_field(struct cursor *cursor, uint32_t *field)
{
    uint64_t value = *field;

    u64_field(cursor, &value, 4);
    *field = (uint32_t)value;
}

/* As its bits. */
static void double_field(struct cursor *cursor, double *field)
{
    uint64_t bits;

    memcpy(&bits, field, sizeof(bits));
    u64_field(cursor, &bits, 8);
    memcpy(field, &bits, sizeof(bits));
}

/* A text of fixed room; whatever comes, it ends with a zero, and can be printed. */
static void text_field(struct cursor *cursor, char *field, size_t room)
{
    bytes_field(cursor, field, room);
    field[room - 1] = '\0';
    for (char *c = field; !cursor->packing && *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
}

static void enum_field(struct cursor *cursor, unsigned *field, uint32_t last)
{
    uint32_t value = *field;

    u32_field(cursor, &value);
    if (value > last)
        cursor->failed = true;
    *field = value;
}

static void hello_fields(struct cursor *cursor, struct kofn_wire *message)
{
    u32_field(cursor, &message->hello.rank);
    u32_field(cursor, &message->hello.pid);
    u32_field(cursor, &message->hello.epoch);
    u32_field(cursor, &message->hello.finished);
    u64_field(cursor, &message->hello.parameters, 8);
    text_field(cursor, message->hello.host, sizeof(message->hello.host));
    text_field(cursor, message->hello.transport, sizeof(message->hello.transport));
    text_field(cursor, message->hello.workload, sizeof(message->hello.workload));
}

static void offer_fields(struct cursor *cursor, struct kofn_wire *message)
{
    u32_field(cursor, &message->offer.length);
    if (message->offer.length > KOFN_WIRE_OFFER_BYTES)
        cursor->failed = true;
    else
        bytes_field(cursor, message->offer.bytes, message->offer.length);
}

static void welcome_fields(struct cursor *cursor, struct kofn_wire *message)
{
    struct kofn_job *job = &message->welcome.job;
    unsigned payload = job->payload, publish = job->publish, late = job->late;

    text_field(cursor, job->algorithm, sizeof(job->algorithm));
    enum_field(cursor, &payload, KOFN_PAYLOAD_DELTA);
    enum_field(cursor, &publish, KOFN_PUBLISH_PULL);
    enum_field(cursor, &late, KOFN_LATE_REFUSE);
    job->payload = payload;
    job->publish = publish;
    job->late = late;
    u32_field(cursor, &job->workers);
    u32_field(cursor, &job->wait_for);
    u32_field(cursor, &job->local_steps);
    u32_field(cursor, &job->epoch);
    u64_field(cursor, &job->parameters, 8);
    double_field(cursor, &job->pullback);
    u32_field(cursor, &message->welcome.worker_may);
    u32_field(cursor, &message->welcome.manners);
    u32_field(cursor, &message->welcome.depth);
    u32_field(cursor, &message->welcome.pid);
    text_field(cursor, message->welcome.transport, sizeof(message->welcome.transport));
    offer_fields(cursor, message);
}

static void refused_fields(struct cursor *cursor, struct kofn_wire *message)
{
    uint32_t status = (uint32_t)message->refused.status;

    u32_field(cursor, &status);
    message->refused.status = (int32_t)status;
    text_field(cursor, message->refused.text, sizeof(message->refused.text));
}

static void fields(struct cursor *cursor, struct kofn_wire *message)
{
    switch (message->type) {
    case KOFN_WIRE_HELLO:
        hello_fields(cursor, message);
        break;
    case KOFN_WIRE_WELCOME:
        welcome_fields(cursor, message);
        break;
    case KOFN_WIRE_READY:
        offer_fields(cursor, message);
        break;
    case KOFN_WIRE_REFUSED:
        refused_fields(cursor, message);
        break;
    case KOFN_WIRE_BYE:
        u64_field(cursor, &message->bye.finished, 8);
        u64_field(cursor, &message->bye.published, 8);
        break;
    case KOFN_WIRE_GO:
    case KOFN_WIRE_ALIVE:
    case KOFN_WIRE_END:
        break;
    }
}

size_t kofn_wire_pack(const struct kofn_wire *message, unsigned char bytes[KOFN_WIRE_BYTES])
{
    struct kofn_wire copy = *message;
    struct cursor cursor = {.at = bytes, .left = KOFN_WIRE_BYTES, .packing = true};
    uint32_t magic = KOFN_WIRE_MAGIC, version = KOFN_WIRE_VERSION, type = message->type;

    u32_field(&cursor, &magic);
    u32_field(&cursor, &version);
    u32_field(&cursor, &type);
    fields(&cursor, &copy);
    return KOFN_WIRE_BYTES - cursor.left;
}

int kofn_wire_unpack(const unsigned char *bytes, size_t length, struct kofn_wire *message,
                     const char **reason)
{
    struct kofn_wire result;
    struct cursor cursor = {.at = (unsigned char *)bytes, .left = length};
    uint32_t magic = 0, version = 0, type = 0;

    memset(&result, 0, sizeof(result));
    u32_field(&cursor, &magic);
    u32_field(&cursor, &version);
    u32_field(&cursor, &type);
    *reason = "not a message of kofn";
    if (cursor.failed || magic != KOFN_WIRE_MAGIC)
        return KOFN_PROTOCOL;
    *reason = "another version of the protocol";
    if (version != KOFN_WIRE_VERSION)
        return KOFN_PROTOCOL;
    *reason = "unknown type of message";
    if (type < KOFN_WIRE_HELLO || type > KOFN_WIRE_END)
        return KOFN_PROTOCOL;
    result.type = type;
    fields(&cursor, &result);
    *reason = "message of a wrong length, or with a field out of range";
    if (cursor.failed || cursor.left)
        return KOFN_PROTOCOL;
    *message = result;
    return 0;
}
