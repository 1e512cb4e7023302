/* pull.c: publications that the server reads (--publish pull): when, and whose.
 *
 * Beats say who has finished something; behind them the worker's newest snapshot lies in its own
 * memory. When the round closes, those who owe it something are read, whatever their threads do
 * meanwhile. What missed its round is read as soon as a worker says that it has something.
 */
#include "core/server.h"

static bool pulls(const struct kofn_server *server)
{
    return server->round.config.publish == KOFN_PUBLISH_PULL;
}

/* A read that is under way, or finds nothing yet, is asked for again in the next turn; a connection
 * that has failed is reported by hub_poll().
 */
static void start(struct kofn_server *server, uint32_t rank)
{
    const struct kofn_peer *peer = &server->peers[rank];

    if (peer->admitted && !peer->evicted)
        server->hub->ops->hub_read(server->hub, rank, peer->sequence);
}

void kofn__pull_owed(struct kofn_server *server)
{
    if (!pulls(server) || server->round.phase != KOFN_PHASE_COLLECTING)
        return;
    for (uint32_t rank = 0; rank < server->attr.workers; rank++)
        if (server->round.members[rank].owing)
            start(server, rank);
}

void kofn__pull_late(struct kofn_server *server, uint32_t rank)
{
    const struct kofn_round *round = &server->round;
    const struct kofn_member *member = &round->members[rank];
    const struct kofn_peer *peer = &server->peers[rank];
    bool read = member->round == peer->read_round && member->updates <= peer->read_updates;

    if (pulls(server) && !round->ended && kofn_member_connected(member) &&
        member->round < round->number && !read &&
        member->updates > kofn_member_settled(member, member->round))
        start(server, rank);
}

void kofn__pull_all_late(struct kofn_server *server)
{
    if (!pulls(server))
        return;
    for (uint32_t rank = 0; rank < server->attr.workers; rank++)
        kofn__pull_late(server, rank);
}

void kofn__pull_last(struct kofn_server *server, uint32_t rank)
{
    if (pulls(server) && server->hub->ops->capabilities & KOFN_CAP_IN_PLACE)
        start(server, rank);
}
