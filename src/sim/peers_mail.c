/* peers_mail.c: messages between peers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim/peers_inside.h"

/* ---- letters: what is said in a message ---- */

static int no_memory(struct kofn_peers *peers)
{
    if (!peers->status)
        peers->status =
            kofn_error(peers->log, KOFN_NO_MEMORY, "simulation: %zu messages", peers->post.count);
    return peers->status;
}

/* A buffer of the size of a model; NULL without memory. */
static float *take_buffer(struct kofn_peers *peers)
{
    float **spare;

    if (peers->spare_count)
        return peers->spare[--peers->spare_count];
    spare = realloc(peers->spare, (peers->buffer_count + 1) * sizeof(*spare));
    if (!spare)
        return NULL;
    peers->spare = spare;
    peers->buffer_count++;
    return kofn_node_vector(peers->parameters);
}

static int grow_letters(struct kofn_peers *peers)
{
    uint32_t count = peers->letter_count ? 2 * peers->letter_count : 64;
    struct kofn_peer_letter *letters = realloc(peers->letters, count * sizeof(*letters));

    if (!letters)
        return KOFN_NO_MEMORY;
    peers->letters = letters;
    for (uint32_t i = peers->letter_count; i < count; i++) {
        letters[i] = (struct kofn_peer_letter){.next = peers->spare_letter};
        peers->spare_letter = i + 1;
    }
    peers->letter_count = count;
    return 0;
}

/* The place of a letter with a copy of what @out says. UINT32_MAX without memory. */
static uint32_t write_letter(struct kofn_peers *peers, const struct kofn_node_out *out,
                             struct kofn_peer_link *link)
{
    struct kofn_peer_letter *letter;
    uint32_t place;

    if (!peers->spare_letter && grow_letters(peers))
        return UINT32_MAX;
    place = peers->spare_letter - 1;
    letter = &peers->letters[place];
    if (peers->parameters) {
        letter->data = take_buffer(peers);
        if (!letter->data)
            return UINT32_MAX;
        memcpy(letter->data, out->data, peers->parameters * sizeof(float));
    }
    letter->scalar = out->scalar;
    letter->link = link;
    peers->spare_letter = letter->next;
    return place;
}

/* ---- what is sent ---- */

static bool is_lost(struct kofn_peers *peers)
{
    return peers->attr.net.loss > 0 && kofn_random_uniform(&peers->random) < peers->attr.net.loss;
}

static uint64_t transfer_ns(const struct kofn_peers *peers)
{
    double ns = (double)peers->attr.payload_bytes * peers->attr.net.byte_ns;

    return (uint64_t)fmin(ns, (double)KOFN_DURATION_MAX);
}

/* When the first byte of a message that @from sends now is at its receiver's link. */
static uint64_t travel(struct kofn_peers *peers, struct kofn_peer *from)
{
    uint64_t latency = peers->attr.net.latency_ns, takes = transfer_ns(peers), time;

    from->out_ns = KOFN_MAX(from->out_ns, peers->now);
    time = kofn_deadline(from->out_ns, latency);
    from->out_ns = kofn_deadline(from->out_ns, takes);
    while (!from->node.ops->lossy && is_lost(peers)) {
        time = kofn_deadline(time, 2 * latency + takes);
        peers->mail.lost++;
    }
    return time;
}

static void send(struct kofn_peers *peers, struct kofn_peer *from, uint32_t index)
{
    const struct kofn_node_out *out = &from->node.out[index];
    struct kofn_peer_link *link = &from->links[index];
    struct kofn_mail mail = {
        .kind = KOFN_MAIL_DOOR, .rank = out->to, .round = link->in, .sequence = out->sequence};

    if (from->node.ops->lossy && link->free_ns > peers->now) {
        peers->mail.skipped++;
        return;
    }
    peers->mail.sent++;
    if (from->node.ops->lossy && is_lost(peers)) {
        peers->mail.lost++;
        return;
    }
    peers->report.publications++;
    peers->report.bytes += peers->attr.payload_bytes;
    mail.time = travel(peers, from);
    link->last_ns = mail.time = KOFN_MAX(link->last_ns, mail.time); /* nothing is overtaken */
    link->free_ns = KOFN_FOREVER;
    mail.updates = write_letter(peers, out, link);
    if (mail.updates == UINT32_MAX) {
        no_memory(peers);
    } else if (kofn_post_send(&peers->post, &mail)) {
        free(peers->letters[mail.updates].data);
        no_memory(peers);
    }
}

void kofn_peer_send_due(struct kofn_peers *peers, struct kofn_peer *peer)
{
    for (uint32_t i = 0; i < peer->node.out_count; i++)
        if (peer->node.out[i].due) {
            peer->node.out[i].due = false;
            send(peers, peer, i);
        }
}

/* ---- what arrives ---- */

/* A message is at the receiver's link: it comes in behind those that were there before it. */
static bool come_in(struct kofn_peers *peers, struct kofn_mail *mail)
{
    struct kofn_peer *peer = &peers->list[mail->rank];

    peer->in_ns = kofn_deadline(KOFN_MAX(peer->in_ns, peers->now), transfer_ns(peers));
    if (peer->in_ns == peers->now)
        return true;
    mail->kind = KOFN_MAIL_PEER;
    mail->time = peer->in_ns;
    if (kofn_post_send(&peers->post, mail))
        no_memory(peers);
    return false;
}

static struct kofn_peer *take_in(struct kofn_peers *peers, const struct kofn_mail *mail)
{
    struct kofn_peer_letter *letter = &peers->letters[mail->updates];
    struct kofn_peer *peer = &peers->list[mail->rank];
    float *unused =
        kofn_node_arrive(&peer->node, mail->round, letter->data, letter->scalar, mail->sequence);

    letter->link->free_ns = kofn_deadline(peers->now, peers->attr.net.latency_ns);
    *letter = (struct kofn_peer_letter){.next = peers->spare_letter};
    peers->spare_letter = mail->updates + 1;
    if (unused)
        peers->spare[peers->spare_count++] = unused;
    kofn_peer_send_due(peers, peer);
    return peer;
}

struct kofn_peer *kofn_peers_deliver(struct kofn_peers *peers)
{
    struct kofn_mail mail = kofn_post_take(&peers->post);

    return mail.kind == KOFN_MAIL_PEER || come_in(peers, &mail) ? take_in(peers, &mail) : NULL;
}

void kofn_peers_letters_close(struct kofn_peers *peers)
{
    while (peers->post.count)
        free(peers->letters[kofn_post_take(&peers->post).updates].data);
    while (peers->spare_count)
        free(peers->spare[--peers->spare_count]);
    kofn_post_close(&peers->post);
    free(peers->letters);
    free(peers->spare);
}
