#include "core/meet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

enum stage { STAGE_NONE, STAGE_ASKED, STAGE_ANSWERED, STAGE_CONNECTING, STAGE_DONE, STAGE_LOST };

/* An out-edge: this peer asks. */
struct kofn_meet_edge {
    struct kofn_channel *control;
    enum stage stage;
    char name[KOFN_ADDRESS_BYTES + 48]; /* who it is, for messages */
};

/* An in-edge: this peer is asked. */
struct kofn_meet_guest {
    struct kofn_channel *control;
    enum stage stage;
    uint32_t edge;
};

static const char *const kinds[] = {[KOFN_EDGE_MODEL] = "model", [KOFN_EDGE_MASS] = "mass"};

static uint32_t rank_of(const struct kofn_meeting *meeting)
{
    return meeting->peer->node.rank;
}

/* ---- opening ---- */

int kofn_meet_open(struct kofn_peer_end *peer, uint64_t timeout, struct kofn_meeting *meeting)
{
    bool network = !(peer->attr->transport->capabilities & KOFN_CAP_ONE_HOST);
    const struct kofn_listener_attr attr = {
        .network = network, .silence = peer->attr->peer_timeout, .log = peer->attr->log};

    *meeting = (struct kofn_meeting){.peer = peer, .log = peer->attr->log, .timeout = timeout};
    meeting->listener.fd = -1;
    meeting->out = calloc(peer->node.out_count + 1u, sizeof(*meeting->out));
    meeting->in = calloc(peer->node.in_count + 1u, sizeof(*meeting->in));
    if (!meeting->out || !meeting->in) {
        kofn_meet_close(meeting);
        return kofn_error(peer->attr->log, KOFN_NO_MEMORY, "rank %u: %u edges", peer->node.rank,
                          peer->node.in_count + peer->node.out_count);
    }
    return kofn_listener_open(&attr, &meeting->listener);
}

void kofn_meet_close(struct kofn_meeting *meeting)
{
    for (uint32_t i = 0; meeting->out && i < meeting->peer->node.out_count; i++)
        kofn_channel_close(meeting->out[i].control);
    for (uint32_t i = 0; i < meeting->guests; i++)
        kofn_channel_close(meeting->in[i].control);
    kofn_listener_close(&meeting->listener);
    free(meeting->out);
    free(meeting->in);
    *meeting = (struct kofn_meeting){.listener = {.fd = -1}};
}

/* ---- messages ---- */

static void put_offer(struct kofn_wire *message, const struct kofn_offer *offer,
                      struct kofn_fds *fds)
{
    message->offer.length = offer->length;
    memcpy(message->offer.bytes, offer->bytes, offer->length);
    *fds = (struct kofn_fds){.count = offer->fd_count};
    memcpy(fds->fds, offer->fds, sizeof(fds->fds));
}

static struct kofn_offer get_offer(const struct kofn_wire *message, const struct kofn_fds *fds)
{
    struct kofn_offer offer = {.length = message->offer.length, .fd_count = fds->count};

    memcpy(offer.bytes, message->offer.bytes, message->offer.length);
    memcpy(offer.fds, fds->fds, sizeof(offer.fds));
    return offer;
}

/* The next message of a handshake: KOFN_AGAIN if it is not there yet. */
static int expect(struct kofn_meeting *meeting, struct kofn_channel *control, const char *who,
                  enum kofn_wire_type wanted, struct kofn_wire *message, struct kofn_fds *fds)
{
    const char *reason = "";
    int rc = kofn_channel_receive(control, 0, message, fds, &reason);

    if (rc == KOFN_AGAIN || rc == KOFN_INTERRUPTED)
        return KOFN_AGAIN;
    if (rc)
        return kofn_error(meeting->log, rc, "rank %u: %s: %s while peers met", rank_of(meeting),
                          who, reason);
    if (message->type == wanted)
        return 0;
    kofn_fds_close(fds);
    return kofn_error(meeting->log, KOFN_PROTOCOL, "rank %u: %s: message out of turn",
                      rank_of(meeting), who);
}

static int hung_up(struct kofn_meeting *meeting, const char *who, int rc)
{
    return kofn_error(meeting->log, rc, "rank %u: %s hung up while peers met", rank_of(meeting),
                      who);
}

/* ---- the side that asks ---- */

static int ask(struct kofn_meeting *meeting, uint32_t index, const char *address)
{
    const struct kofn_node_out *out = &meeting->peer->node.out[index];
    struct kofn_meet_edge *edge = &meeting->out[index];
    const struct kofn_connect_attr connect = {.address = address,
                                              .deadline =
                                                  kofn_deadline(kofn_now_ns(), meeting->timeout),
                                              .silence = meeting->peer->attr->peer_timeout,
                                              .log = meeting->log};
    struct kofn_wire hello = {.type = KOFN_WIRE_HELLO};
    int rc;

    snprintf(edge->name, sizeof(edge->name), "rank %u, %.300s", out->to, address);
    rc = kofn_channel_connect(&connect, &edge->control);
    if (rc)
        return rc;
    hello.hello.rank = rank_of(meeting);
    hello.hello.pid = (uint32_t)getpid();
    hello.hello.parameters = meeting->peer->node.parameters;
    snprintf(hello.hello.transport, sizeof(hello.hello.transport), "%s",
             meeting->peer->attr->transport->name);
    snprintf(hello.hello.workload, sizeof(hello.hello.workload), "%s", kinds[out->kind]);
    edge->stage = STAGE_ASKED;
    rc = kofn_channel_send(edge->control, &hello, NULL);
    return rc ? hung_up(meeting, edge->name, rc) : 0;
}

static int answer(struct kofn_meeting *meeting, uint32_t index)
{
    struct kofn_meet_edge *edge = &meeting->out[index];
    struct kofn_wire message, ready = {.type = KOFN_WIRE_READY};
    struct kofn_fds fds = {0};
    struct kofn_offer in, out = {0};
    int rc = expect(meeting, edge->control, edge->name, KOFN_WIRE_WELCOME, &message, &fds);

    if (rc)
        return rc;
    in = get_offer(&message, &fds);
    if (message.welcome.job.parameters != meeting->peer->node.parameters ||
        message.welcome.depth != meeting->peer->slot.depth) {
        kofn_offer_close(&in);
        return kofn_error(meeting->log, KOFN_PROTOCOL, "rank %u: %s: its slots have another shape",
                          rank_of(meeting), edge->name);
    }
    rc = kofn_peer_join(meeting->peer, index, message.welcome.job.wait_for, &edge->control->path,
                        edge->name, NULL, &in, &out);
    if (rc)
        return rc;
    put_offer(&ready, &out, &fds);
    rc = kofn_channel_send(edge->control, &ready, &fds);
    kofn_fds_close(&fds);
    edge->stage = STAGE_ANSWERED;
    return rc ? hung_up(meeting, edge->name, rc) : 0;
}

static int step_out(struct kofn_meeting *meeting, uint32_t index, const char *address)
{
    struct kofn_meet_edge *edge = &meeting->out[index];
    struct kofn_wire message;
    struct kofn_fds fds = {0};
    int rc = 0;

    if (edge->stage == STAGE_NONE && address)
        rc = ask(meeting, index, address);
    if (!rc && edge->stage == STAGE_ASKED)
        rc = answer(meeting, index);
    if (!rc && edge->stage == STAGE_ANSWERED) {
        rc = expect(meeting, edge->control, edge->name, KOFN_WIRE_GO, &message, &fds);
        if (!rc) {
            kofn_fds_close(&fds);
            edge->stage = STAGE_DONE;
        }
    }
    return rc == KOFN_AGAIN ? 0 : rc;
}

/* ---- the side that is asked ---- */

/* The in-edge that a HELLO is for. */
static int find_edge(struct kofn_meeting *meeting, const struct kofn_wire *hello, uint32_t *edge)
{
    const struct kofn_peer_end *peer = meeting->peer;
    bool mass = !strcmp(hello->hello.workload, kinds[KOFN_EDGE_MASS]);

    *edge =
        kofn_node_in_edge(&peer->node, hello->hello.rank, mass ? KOFN_EDGE_MASS : KOFN_EDGE_MODEL);
    for (uint32_t i = 0; i < meeting->guests; i++)
        if (meeting->in[i].stage >= STAGE_ANSWERED && meeting->in[i].edge == *edge)
            *edge = KOFN_ROOT_ANY;
    if (*edge != KOFN_ROOT_ANY && hello->hello.parameters == peer->node.parameters &&
        !strcmp(hello->hello.transport, peer->attr->transport->name))
        return 0;
    return kofn_error(meeting->log, KOFN_PROTOCOL,
                      "rank %u: rank %u (%s, %llu parameters) is no neighbour", rank_of(meeting),
                      hello->hello.rank, hello->hello.transport,
                      (unsigned long long)hello->hello.parameters);
}

static int welcome(struct kofn_meeting *meeting, struct kofn_meet_guest *guest)
{
    const struct kofn_peer_end *peer = meeting->peer;
    struct kofn_wire hello, message = {.type = KOFN_WIRE_WELCOME};
    struct kofn_fds fds = {0};
    struct kofn_offer offer = {0};
    int rc = expect(meeting, guest->control, "a neighbour", KOFN_WIRE_HELLO, &hello, &fds);

    kofn_fds_close(&fds);
    if (!rc)
        rc = find_edge(meeting, &hello, &guest->edge);
    if (!rc)
        rc = kofn_peer_admit(meeting->peer, guest->edge, &guest->control->path, &offer);
    if (rc)
        return rc;
    message.welcome.job = (struct kofn_job){.payload = KOFN_PAYLOAD_GRADIENT,
                                            .publish = KOFN_PUBLISH_EAGER,
                                            .workers = peer->node.nodes,
                                            .wait_for = guest->edge,
                                            .local_steps = 1,
                                            .epoch = 1,
                                            .parameters = peer->node.parameters};
    message.welcome.depth = peer->slot.depth;
    message.welcome.pid = (uint32_t)getpid();
    snprintf(message.welcome.transport, sizeof(message.welcome.transport), "%s",
             peer->attr->transport->name);
    put_offer(&message, &offer, &fds);
    rc = kofn_channel_send(guest->control, &message, &fds);
    kofn_fds_close(&fds);
    guest->stage = STAGE_ANSWERED;
    return rc ? hung_up(meeting, "a neighbour", rc) : 0;
}

/* Goes on with the connection of a guest that has answered with @offer (NULL: it has, before). */
static int connect_guest(struct kofn_meeting *meeting, struct kofn_meet_guest *guest,
                         const struct kofn_offer *offer)
{
    struct kofn_wire go = {.type = KOFN_WIRE_GO};
    int rc = kofn_peer_connect(meeting->peer, guest->edge, offer);

    guest->stage = STAGE_CONNECTING;
    if (rc)
        return rc;
    guest->stage = STAGE_DONE;
    rc = kofn_channel_send(guest->control, &go, NULL);
    return rc ? hung_up(meeting, "a neighbour", rc) : 0;
}

static int step_in(struct kofn_meeting *meeting, struct kofn_meet_guest *guest)
{
    struct kofn_wire message;
    struct kofn_fds fds = {0};
    struct kofn_offer offer;
    int rc = 0;

    if (guest->stage == STAGE_ASKED)
        rc = welcome(meeting, guest);
    if (!rc && guest->stage == STAGE_CONNECTING)
        rc = connect_guest(meeting, guest, NULL);
    if (!rc && guest->stage == STAGE_ANSWERED) {
        rc = expect(meeting, guest->control, "a neighbour", KOFN_WIRE_READY, &message, &fds);
        if (!rc) {
            offer = get_offer(&message, &fds);
            rc = connect_guest(meeting, guest, &offer);
        }
    }
    return rc == KOFN_AGAIN ? 0 : rc;
}

static int accept_guests(struct kofn_meeting *meeting)
{
    int rc = 0;

    while (!rc && meeting->guests < meeting->peer->node.in_count) {
        struct kofn_meet_guest *guest = &meeting->in[meeting->guests];

        rc = kofn_listener_accept(&meeting->listener, &guest->control, meeting->log);
        guest->stage = STAGE_ASKED;
        guest->edge = KOFN_ROOT_ANY;
        meeting->guests += !rc;
    }
    return rc == KOFN_AGAIN || rc == KOFN_REFUSED ? 0 : rc;
}

int kofn_meet_step(struct kofn_meeting *meeting,
                   const char *(*address_of)(void *arg, uint32_t rank), void *arg)
{
    const struct kofn_node *node = &meeting->peer->node;
    bool done = meeting->guests == node->in_count;
    int rc = accept_guests(meeting);

    for (uint32_t i = 0; i < meeting->guests && !rc; i++) {
        rc = step_in(meeting, &meeting->in[i]);
        done &= meeting->in[i].stage == STAGE_DONE;
    }
    for (uint32_t i = 0; i < node->out_count && !rc; i++) {
        rc = step_out(meeting, i, address_of(arg, node->out[i].to));
        done &= meeting->out[i].stage == STAGE_DONE;
    }
    kofn_peer_take(meeting->peer); /* what endpoints have begun goes on */
    return rc ? rc : done ? 0 : KOFN_AGAIN;
}

/* ---- the end of others ---- */

static bool has_ended(struct kofn_channel *control)
{
    struct kofn_wire message;
    const char *reason;
    int rc;

    do
        rc = kofn_channel_receive(control, 0, &message, NULL, &reason);
    while (!rc);
    return rc == KOFN_GONE || rc == KOFN_PROTOCOL;
}

uint32_t kofn_meet_lost(struct kofn_meeting *meeting)
{
    const struct kofn_node *node = &meeting->peer->node;

    for (uint32_t i = 0; i < node->out_count; i++)
        if (meeting->out[i].stage == STAGE_DONE && has_ended(meeting->out[i].control)) {
            meeting->out[i].stage = STAGE_LOST;
            return node->out[i].to;
        }
    for (uint32_t i = 0; i < meeting->guests; i++)
        if (meeting->in[i].stage == STAGE_DONE && has_ended(meeting->in[i].control)) {
            meeting->in[i].stage = STAGE_LOST;
            return node->in[meeting->in[i].edge].from;
        }
    return KOFN_ROOT_ANY;
}
