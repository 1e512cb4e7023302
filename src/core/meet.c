#include "core/meet.h"

#include <errno.h>
#include <kofn/kofn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define SPARE 16 /* places for those who turn out to be no neighbours; more wait in the queue */
#define GUEST_NS (5 * KOFN_NS_PER_S)      /* what one step of a handshake may take a guest */
#define AGAIN_NS (100 * KOFN_NS_PER_MS)   /* until somebody who has hung up is asked again */
#define CONNECT_NS (500 * KOFN_NS_PER_MS) /* for one attempt */

static const char *const kinds[] = {[KOFN_EDGE_MODEL] = "model", [KOFN_EDGE_MASS] = "mass"};

static uint32_t rank_of(const struct kofn_meeting *meeting)
{
    return meeting->peer->node.rank;
}

/* ---- opening ---- */

int kofn_meet_open(struct kofn_peer_end *peer, struct kofn_meeting *meeting)
{
    bool network = !(peer->attr->transport->capabilities & KOFN_CAP_ONE_HOST);
    const struct kofn_listener_attr attr = {
        .network = network, .silence = peer->attr->peer_timeout, .log = peer->attr->log};

    *meeting = (struct kofn_meeting){.peer = peer, .log = peer->attr->log};
    meeting->listener.fd = -1;
    meeting->out = calloc(peer->node.out_count + 1u, sizeof(*meeting->out));
    meeting->places = peer->node.in_count + SPARE;
    meeting->in = calloc(meeting->places, sizeof(*meeting->in));
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
    for (uint32_t i = 0; meeting->in && i < meeting->places; i++)
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

/* The next message of a handshake: KOFN_AGAIN if it is not there yet; else why it is not @wanted.
 */
static int expect(struct kofn_channel *control, enum kofn_wire_type wanted,
                  struct kofn_wire *message, struct kofn_fds *fds, const char **why)
{
    int rc = kofn_channel_receive(control, 0, message, fds, why);

    if (rc == KOFN_INTERRUPTED)
        return KOFN_AGAIN;
    if (rc || message->type == wanted)
        return rc;
    kofn_fds_close(fds);
    *why = message->type == KOFN_WIRE_REFUSED ? message->refused.text : "message out of turn";
    return message->type == KOFN_WIRE_REFUSED ? KOFN_REFUSED : KOFN_PROTOCOL;
}

/* ---- the side that asks ---- */

/* It has hung up, or is not there: nobody is lost yet, and is asked again. */
static void ask_again(struct kofn_meeting *meeting, uint32_t index, const char *why)
{
    struct kofn_meet_edge *edge = &meeting->out[index];

    kofn_log(meeting->log, KOFN_LOG_INFO, "rank %u: %s: %s while peers met; asking again",
             rank_of(meeting), edge->name, why);
    kofn_peer_leave(meeting->peer, index);
    kofn_channel_close(edge->control);
    edge->control = NULL;
    edge->stage = KOFN_MEET_NONE;
    edge->again_ns = kofn_now_ns() + AGAIN_NS;
}

/* The next message of @index's handshake. */
static int hear(struct kofn_meeting *meeting, uint32_t index, enum kofn_wire_type wanted,
                struct kofn_wire *message, struct kofn_fds *fds)
{
    struct kofn_meet_edge *edge = &meeting->out[index];
    const char *why = "";
    int rc = expect(edge->control, wanted, message, fds, &why);

    if (!rc || rc == KOFN_AGAIN)
        return rc;
    if (rc != KOFN_GONE)
        return kofn_error(meeting->log, rc, "rank %u: %s: %s", rank_of(meeting), edge->name, why);
    ask_again(meeting, index, why);
    return KOFN_AGAIN;
}

static int ask(struct kofn_meeting *meeting, uint32_t index, const char *address)
{
    const struct kofn_node_out *out = &meeting->peer->node.out[index];
    struct kofn_meet_edge *edge = &meeting->out[index];
    uint64_t now = kofn_now_ns();
    const struct kofn_connect_attr connect = {.address = address,
                                              .deadline = kofn_deadline(now, CONNECT_NS),
                                              .silence = meeting->peer->attr->peer_timeout,
                                              .log = meeting->log};
    struct kofn_wire hello = {.type = KOFN_WIRE_HELLO};
    const char *why = "";
    int rc;

    if (now < edge->again_ns)
        return 0;
    snprintf(edge->name, sizeof(edge->name), "rank %u, %.300s", out->to, address);
    rc = kofn_channel_try(&connect, &edge->control, &why);
    if (rc == KOFN_AGAIN || rc == KOFN_GONE)
        ask_again(meeting, index, why);
    if (rc)
        return rc == KOFN_GONE || rc == KOFN_INTERRUPTED ? KOFN_AGAIN : rc;
    hello.hello.rank = rank_of(meeting);
    hello.hello.pid = (uint32_t)getpid();
    hello.hello.parameters = meeting->peer->node.parameters;
    snprintf(hello.hello.transport, sizeof(hello.hello.transport), "%s",
             meeting->peer->attr->transport->name);
    snprintf(hello.hello.workload, sizeof(hello.hello.workload), "%s", kinds[out->kind]);
    edge->stage = KOFN_MEET_ASKED;
    if (kofn_channel_send(edge->control, &hello, NULL))
        ask_again(meeting, index, "it hung up");
    return 0;
}

static int answer(struct kofn_meeting *meeting, uint32_t index)
{
    struct kofn_meet_edge *edge = &meeting->out[index];
    struct kofn_wire message, ready = {.type = KOFN_WIRE_READY};
    struct kofn_fds fds = {0};
    struct kofn_offer in, out = {0};
    int rc = hear(meeting, index, KOFN_WIRE_WELCOME, &message, &fds);

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
    edge->stage = KOFN_MEET_ANSWERED;
    if (rc)
        ask_again(meeting, index, "it hung up");
    return 0;
}

static int step_out(struct kofn_meeting *meeting, uint32_t index, const char *address)
{
    struct kofn_meet_edge *edge = &meeting->out[index];
    struct kofn_wire message;
    struct kofn_fds fds = {0};
    int rc = 0;

    if (edge->stage == KOFN_MEET_NONE && address)
        rc = ask(meeting, index, address);
    if (!rc && edge->stage == KOFN_MEET_ASKED)
        rc = answer(meeting, index);
    if (!rc && edge->stage == KOFN_MEET_ANSWERED) {
        rc = hear(meeting, index, KOFN_WIRE_GO, &message, &fds);
        if (!rc) {
            kofn_fds_close(&fds);
            edge->stage = KOFN_MEET_DONE;
        }
    }
    return rc == KOFN_AGAIN ? 0 : rc;
}

/* ---- the side that is asked ---- */

/* Frees the place of a guest, and its edge, if the slot of that is free. */
static void clear(struct kofn_meeting *meeting, struct kofn_meet_guest *guest)
{
    bool gone = guest->pid && kill((pid_t)guest->pid, 0) && errno == ESRCH;

    if (guest->stage == KOFN_MEET_ASKED || !kofn_peer_release(meeting->peer, guest->edge, gone))
        *guest = (struct kofn_meet_guest){0};
    else
        guest->stage = KOFN_MEET_LEAVING;
}

/* A guest came to nothing. That is said once: whoever can connect can do so very often. */
static void drop(struct kofn_meeting *meeting, struct kofn_meet_guest *guest, const char *why)
{
    if (!meeting->strangers++)
        kofn_log(meeting->log, KOFN_LOG_WARN,
                 "rank %u: %s, while peers met, connected and became no neighbour: %s; further "
                 "ones are dropped without a word",
                 rank_of(meeting),
                 guest->control->network ? guest->control->path.peer : "a process", why);
    kofn_channel_close(guest->control);
    guest->control = NULL;
    clear(meeting, guest);
}

static void refuse(struct kofn_meeting *meeting, struct kofn_meet_guest *guest, const char *why)
{
    struct kofn_wire message = {.type = KOFN_WIRE_REFUSED, .refused.status = KOFN_REFUSED};

    snprintf(message.refused.text, sizeof(message.refused.text), "rank %u: %s", rank_of(meeting),
             why);
    kofn_channel_send(guest->control, &message, NULL);
    drop(meeting, guest, why);
}

static bool edge_taken(const struct kofn_meeting *meeting, uint32_t edge)
{
    for (uint32_t i = 0; i < meeting->places; i++)
        if (meeting->in[i].stage >= KOFN_MEET_ANSWERED && meeting->in[i].edge == edge)
            return true;
    return false;
}

/* Finds the in-edge that @hello is for. NULL, or why there is none. */
static const char *find_edge(const struct kofn_meeting *meeting, const struct kofn_wire *hello,
                             uint32_t *edge)
{
    const struct kofn_peer_end *peer = meeting->peer;
    bool mass = !strcmp(hello->hello.workload, kinds[KOFN_EDGE_MASS]);

    *edge =
        kofn_node_in_edge(&peer->node, hello->hello.rank, mass ? KOFN_EDGE_MASS : KOFN_EDGE_MODEL);
    return *edge == KOFN_ROOT_ANY ? "it is no neighbour"
           : hello->hello.parameters != peer->node.parameters
               ? "its model has another number of parameters"
           : strcmp(hello->hello.transport, peer->attr->transport->name)
               ? "its transport is another one"
               : NULL;
}

static int send_welcome(struct kofn_meeting *meeting, struct kofn_meet_guest *guest,
                        const struct kofn_offer *offer)
{
    const struct kofn_peer_end *peer = meeting->peer;
    struct kofn_wire message = {.type = KOFN_WIRE_WELCOME};
    struct kofn_fds fds;
    int rc;

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
    put_offer(&message, offer, &fds);
    rc = kofn_channel_send(guest->control, &message, &fds);
    kofn_fds_close(&fds);
    return rc;
}

/* Takes in who a guest is. Returns what this side cannot do; all else ends the guest alone. */
static int welcome(struct kofn_meeting *meeting, struct kofn_meet_guest *guest)
{
    struct kofn_wire hello;
    struct kofn_fds fds = {0};
    struct kofn_offer offer = {0};
    const char *why = "";
    uint32_t edge;
    int rc = expect(guest->control, KOFN_WIRE_HELLO, &hello, &fds, &why);

    kofn_fds_close(&fds);
    if (rc == KOFN_AGAIN)
        return 0;
    if (rc) {
        drop(meeting, guest, why);
        return 0;
    }
    why = find_edge(meeting, &hello, &edge);
    if (why) {
        refuse(meeting, guest, why);
        return 0;
    }
    if (edge_taken(meeting, edge)) { /* by one who may come to nothing: it will ask again */
        drop(meeting, guest, "somebody else is about to be that neighbour");
        return 0;
    }
    rc = kofn_peer_admit(meeting->peer, edge, &guest->control->path, &offer);
    if (rc)
        return rc;
    guest->edge = edge;
    guest->stage = KOFN_MEET_ANSWERED;
    guest->deadline = kofn_deadline(kofn_now_ns(), GUEST_NS);
    if (send_welcome(meeting, guest, &offer))
        drop(meeting, guest, "it hung up");
    return 0;
}

/* Goes on with the connection of a guest that has answered with @offer (NULL: it has, before). */
static void connect_guest(struct kofn_meeting *meeting, struct kofn_meet_guest *guest,
                          const struct kofn_offer *offer)
{
    struct kofn_wire go = {.type = KOFN_WIRE_GO};
    int rc = kofn_peer_connect(meeting->peer, guest->edge, offer);

    guest->stage = KOFN_MEET_CONNECTING;
    guest->deadline = KOFN_FOREVER; /* the transport keeps to the peer's time-out */
    if (rc == KOFN_AGAIN)
        return;
    guest->stage = KOFN_MEET_DONE;
    if (rc)
        drop(meeting, guest, kofn_status_text(rc));
    else if (kofn_channel_send(guest->control, &go, NULL))
        drop(meeting, guest, "it hung up");
}

static void take_answer(struct kofn_meeting *meeting, struct kofn_meet_guest *guest)
{
    struct kofn_wire message;
    struct kofn_fds fds = {0};
    struct kofn_offer offer;
    const char *why = "";
    int rc = expect(guest->control, KOFN_WIRE_READY, &message, &fds, &why);

    if (rc == KOFN_AGAIN)
        return;
    if (rc) {
        drop(meeting, guest, why);
        return;
    }
    offer = get_offer(&message, &fds);
    connect_guest(meeting, guest, &offer);
}

static int step_in(struct kofn_meeting *meeting, struct kofn_meet_guest *guest, uint64_t now)
{
    int rc = 0;

    switch (guest->stage) {
    case KOFN_MEET_ASKED:
        rc = welcome(meeting, guest);
        break;
    case KOFN_MEET_ANSWERED:
        take_answer(meeting, guest);
        break;
    case KOFN_MEET_CONNECTING:
        connect_guest(meeting, guest, NULL);
        break;
    case KOFN_MEET_LEAVING:
        clear(meeting, guest);
        break;
    default:
        break;
    }
    if ((guest->stage == KOFN_MEET_ASKED || guest->stage == KOFN_MEET_ANSWERED) &&
        now >= guest->deadline)
        drop(meeting, guest, "it did not say what it wants in time");
    return rc;
}

/* Lets in who has connected, while there are places. */
static int accept_guests(struct kofn_meeting *meeting, uint64_t now)
{
    int rc = 0;

    for (uint32_t i = 0; i < meeting->places && (!rc || rc == KOFN_REFUSED); i++) {
        struct kofn_meet_guest *guest = &meeting->in[i];

        if (guest->stage != KOFN_MEET_NONE)
            continue;
        rc = kofn_listener_accept(&meeting->listener, &guest->control, meeting->log);
        if (rc)
            continue;
        guest->stage = KOFN_MEET_ASKED;
        guest->pid = guest->control->pid;
        guest->deadline = kofn_deadline(now, GUEST_NS);
    }
    return rc == KOFN_AGAIN || rc == KOFN_REFUSED ? 0 : rc;
}

int kofn_meet_step(struct kofn_meeting *meeting,
                   const char *(*address_of)(void *arg, uint32_t rank), void *arg)
{
    const struct kofn_node *node = &meeting->peer->node;
    uint64_t now = kofn_now_ns();
    uint32_t in = 0, out = 0;
    int rc = accept_guests(meeting, now);

    for (uint32_t i = 0; i < meeting->places && !rc; i++) {
        rc = step_in(meeting, &meeting->in[i], now);
        in += meeting->in[i].stage == KOFN_MEET_DONE;
    }
    for (uint32_t i = 0; i < node->out_count && !rc; i++) {
        rc = step_out(meeting, i, address_of(arg, node->out[i].to));
        out += meeting->out[i].stage == KOFN_MEET_DONE;
    }
    kofn_peer_take(meeting->peer); /* what endpoints have begun goes on */
    return rc ? rc : in == node->in_count && out == node->out_count ? 0 : KOFN_AGAIN;
}

/* ---- the end of others ---- */

/* Peers that have met have nothing more to say: whoever does is not one of them any more. */
static bool has_ended(struct kofn_channel *control)
{
    struct kofn_wire message;
    const char *reason;
    int rc = kofn_channel_receive(control, 0, &message, NULL, &reason);

    return rc != KOFN_AGAIN && rc != KOFN_INTERRUPTED;
}

uint32_t kofn_meet_lost(struct kofn_meeting *meeting)
{
    const struct kofn_node *node = &meeting->peer->node;

    for (uint32_t i = 0; i < node->out_count; i++)
        if (meeting->out[i].stage == KOFN_MEET_DONE && has_ended(meeting->out[i].control)) {
            meeting->out[i].stage = KOFN_MEET_LOST;
            return node->out[i].to;
        }
    for (uint32_t i = 0; i < meeting->places; i++)
        if (meeting->in[i].stage == KOFN_MEET_DONE && has_ended(meeting->in[i].control)) {
            meeting->in[i].stage = KOFN_MEET_LOST;
            return node->in[meeting->in[i].edge].from;
        }
    return KOFN_ROOT_ANY;
}
