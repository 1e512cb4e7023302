/* member.c: ranks come and go: their memory, their connections, and how they fail. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/clock.h"
#include "base/log.h"
#include "transports/uring/hub.h"
#include "transports/uring/socket.h"

#ifndef MADV_POPULATE_WRITE /* Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif

/* ---- memory ---- */

static char *memory_of(struct kofn__tcp_hub *hub, uint32_t rank)
{
    return (char *)hub->range.address + rank * hub->worker_bytes;
}

/* Fresh zeros for @rank, or (with PROT_NONE) nothing at all. */
static int map_slot(struct kofn__tcp_hub *hub, uint32_t rank, int prot)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | (prot ? 0 : MAP_NORESERVE);

    if (mmap(memory_of(hub, rank), hub->worker_bytes, prot, flags, -1, 0) == MAP_FAILED)
        return kofn_error_errno(hub->hub.log, "tcp: %llu bytes for the updates of rank %u",
                                (unsigned long long)hub->worker_bytes, rank);
    return 0;
}

static int make_slot(struct kofn__tcp_hub *hub, uint32_t rank)
{
    int rc = map_slot(hub, rank, PROT_READ | PROT_WRITE);

    if (rc)
        return rc;
    madvise(memory_of(hub, rank), hub->worker_bytes, MADV_HUGEPAGE); /* where there are any */
    if (hub->numa_node >= 0)
        kofn_memory_prefer(memory_of(hub, rank), hub->worker_bytes, hub->numa_node);
    return 0;
}

/* Has the pages of its slot made before the first round needs them. */
static int populate_slot(struct kofn__tcp_hub *hub, uint32_t rank)
{
    if (!madvise(memory_of(hub, rank), hub->worker_bytes, MADV_POPULATE_WRITE) ||
        (errno != ENOMEM && errno != EFAULT))
        return 0;
    return kofn_error(hub->hub.log, KOFN_NO_MEMORY, "tcp: %llu bytes for the updates of rank %u",
                      (unsigned long long)hub->worker_bytes, rank);
}

/* ---- failures ---- */

static void close_streams(struct kofn__tcp_hub *hub, struct kofn__member *member)
{
    for (int link = 0; link < LINKS; link++)
        kofn__stream_close(&member->streams[link], &hub->driver);
}

static void set_failed(struct kofn__tcp_hub *hub, struct kofn__member *member, int status,
                       uint64_t when, const char *why)
{
    if (member->status)
        return;
    member->status = status;
    member->report_ns = when;
    snprintf(member->why, sizeof(member->why), "%s", why);
    hub->report_ns = KOFN_MIN(hub->report_ns, when);
}

void kofn__member_fail(struct kofn__tcp_hub *hub, struct kofn__member *member, int status,
                       const char *why)
{
    close_streams(hub, member);
    if (member->status && member->report_ns != KOFN_FOREVER)
        member->status = 0; /* whatever was to be said, this is worse */
    set_failed(hub, member, status, 0, why);
}

void kofn__member_ended(struct kofn__tcp_hub *hub, struct kofn__member *member,
                        struct kofn__stream *stream)
{
    char why[128], text[64];
    int error = stream->error;

    kofn__stream_close(stream, &hub->driver);
    if (!error) {
        snprintf(why, sizeof(why), "its connection was closed");
    } else if (error == ETIMEDOUT) {
        snprintf(why, sizeof(why), "no sign of its host for %.1f s",
                 (double)hub->peer_timeout / 1e9);
        set_failed(hub, member, KOFN_TIMEOUT, 0, why);
    } else {
        snprintf(why, sizeof(why), "its connection has failed: %s",
                 strerror_r(error, text, sizeof(text)));
    }
    set_failed(hub, member, KOFN_GONE, kofn_deadline(kofn_now_ns(), KOFN__END_NS), why);
}

void kofn__member_expire(struct kofn__tcp_hub *hub, uint64_t now)
{
    for (uint32_t rank = 0; hub->missing && rank < hub->hub.workers; rank++) {
        struct kofn__member *member = &hub->members[rank];

        for (int link = 0; link < hub->links && member->place == PLACE_CONNECTED; link++)
            if (!member->came[link] && now >= member->deadline)
                set_failed(hub, member, KOFN_TIMEOUT, 0, "it has not connected");
    }
}

void kofn__member_look(struct kofn__tcp_hub *hub)
{
    for (uint32_t rank = 0; rank < hub->hub.workers; rank++) {
        struct kofn__member *member = &hub->members[rank];

        for (int link = 0; link < hub->links && member->place == PLACE_CONNECTED; link++) {
            struct kofn__stream *stream = &member->streams[link];

            if (kofn__stream_lost(stream, hub->peer_timeout))
                kofn__member_ended(hub, member, stream);
        }
    }
}

struct kofn__member *kofn__member_failed(struct kofn__tcp_hub *hub, uint64_t now)
{
    struct kofn__member *found = NULL;

    hub->report_ns = KOFN_FOREVER;
    for (uint32_t rank = 0; rank < hub->hub.workers; rank++) {
        struct kofn__member *member = &hub->members[rank];

        if (!member->status || member->place == PLACE_FREE || member->place == PLACE_EVICTED)
            continue;
        if (!found && member->report_ns <= now) {
            found = member;
            member->report_ns = KOFN_FOREVER;
        }
        hub->report_ns = KOFN_MIN(hub->report_ns, member->report_ns);
    }
    return found;
}

/* ---- admission ---- */

int kofn__tcp_hub_admit(struct kofn_hub *base, uint32_t rank, uint32_t epoch,
                        struct kofn_offer *offer)
{
    struct kofn__tcp_hub *hub = kofn__tcp_hub(base);
    struct kofn__tcp_offer content = {.rank = rank,
                                      .epoch = epoch,
                                      .workers = base->workers,
                                      .slot_depth = base->slot.depth,
                                      .model_depth = base->model.depth,
                                      .port = hub->port,
                                      .slot_payload = base->slot.payload_bytes,
                                      .model_payload = base->model.payload_bytes};
    struct kofn__member *member;
    int rc;

    if (rank >= base->workers || hub->members[rank].place != PLACE_FREE)
        return kofn_error(base->log, KOFN_INVALID, "tcp: rank %u of %u cannot be admitted%s", rank,
                          base->workers, rank < base->workers ? ": it has a slot" : "");
    member = &hub->members[rank];
    if (hub->own_host || !*base->path.peer)
        /* which interface leads to it is for each host to know: without "%eth0" */
        snprintf(content.host, sizeof(content.host), "%.*s", (int)strcspn(hub->host, "%"),
                 hub->host);
    rc = kofn__offer_seal(&content);
    if (rc)
        return kofn_error_errno(base->log, "tcp: no random bytes for rank %u", rank);
    rc = make_slot(hub, rank);
    if (rc)
        return rc;
    kofn__driver_enter(&hub->driver);
    *member = (struct kofn__member){.place = PLACE_ADMITTED,
                                    .rank = rank,
                                    .epoch = epoch,
                                    .expected = 1,
                                    .small_model = member->small_model};
    memcpy(member->token, content.token, sizeof(member->token));
    for (int link = 0; link < LINKS; link++)
        kofn__stream_init(&member->streams[link], kofn__member_key(rank, (enum kofn__link)link),
                          link == LINK_CONTROL);
    kofn__driver_leave(&hub->driver);
    kofn__offer_put(offer, &content);
    return 0;
}

/* The member's connection is there, and it may post: listens to it. */
static void start_link(struct kofn__tcp_hub *hub, struct kofn__member *member, enum kofn__link link)
{
    struct kofn__frame_rules rules = {.server = true,
                                      .payload = link == LINK_PAYLOAD || hub->links == 1,
                                      .epoch = member->epoch,
                                      .payload_bytes = hub->hub.slot.payload_bytes};

    if (kofn__stream_start(&member->streams[link], &hub->driver, &rules))
        kofn__member_fail(hub, member, KOFN_SYSTEM, "its socket cannot be watched");
    else
        kofn__member_send(hub, member, link);
}

/* Counts connections that are still to come; meanwhile the guard looks at the listener, too. */
static void count_missing(struct kofn__tcp_hub *hub, int change)
{
    bool before = hub->missing > 0;

    hub->missing = (uint32_t)((int)hub->missing + change);
    if (before != (hub->missing > 0))
        kofn__driver_guard_too(&hub->driver, KOFN__KEY_LISTENER, hub->listener, hub->missing > 0);
}

bool kofn__member_attach(struct kofn__tcp_hub *hub, const struct kofn__greeting *greeting, int fd)
{
    enum kofn__link link = (enum kofn__link)greeting->link;
    struct kofn__member *member;

    if (greeting->rank >= hub->hub.workers || (int)link >= hub->links)
        return false;
    member = &hub->members[greeting->rank];
    if ((member->place != PLACE_ADMITTED && member->place != PLACE_CONNECTED) ||
        member->epoch != greeting->epoch || member->came[link] ||
        !kofn__token_same(member->token, greeting->token))
        return false;
    member->came[link] = true;
    member->streams[link].fd = fd;
    kofn__socket_name(fd, member->name);
    if (member->place == PLACE_CONNECTED) {
        count_missing(hub, -1);
        start_link(hub, member, link);
    }
    return true;
}

/* Its answer is good: what has come of its connections is listened to, the rest awaited. */
static void start_member(struct kofn__tcp_hub *hub, struct kofn__member *member)
{
    member->place = PLACE_CONNECTED;
    member->deadline = kofn_deadline(kofn_now_ns(), hub->peer_timeout);
    for (int link = 0; link < hub->links; link++)
        if (member->came[link])
            start_link(hub, member, (enum kofn__link)link);
        else
            count_missing(hub, 1);
}

int kofn__tcp_hub_connect(struct kofn_hub *base, uint32_t rank, const struct kofn_offer *offer)
{
    struct kofn__tcp_hub *hub = kofn__tcp_hub(base);
    struct kofn__tcp_offer answer;
    int rc;

    kofn_offer_close(offer);
    if (rank >= base->workers || hub->members[rank].place != PLACE_ADMITTED)
        return kofn_error(base->log, KOFN_INVALID, "tcp: rank %u is not being admitted", rank);
    rc = kofn__answer_get(offer, &answer);
    if (rc || answer.rank != rank || answer.epoch != hub->members[rank].epoch)
        return kofn_error(base->log, KOFN_PROTOCOL, "tcp: rank %u: not an answer to its offer",
                          rank);
    rc = populate_slot(hub, rank);
    if (rc)
        return rc;
    kofn__driver_enter(&hub->driver);
    kofn__driver_look(&hub->driver);
    start_member(hub, &hub->members[rank]);
    kofn__driver_leave(&hub->driver);
    return 0;
}

/* What of @rank has arrived and was not collected is not going to be. */
static void purge_arrivals(struct kofn__tcp_hub *hub, uint32_t rank)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < hub->arrival_count; i++) {
        const struct kofn_arrival *arrival = &hub->arrivals[(hub->arrival + i) % hub->arrival_room];

        if (arrival->rank != rank)
            hub->arrivals[(hub->arrival + kept++) % hub->arrival_room] = *arrival;
    }
    hub->arrival_count = kept;
}

void kofn__tcp_hub_evict(struct kofn_hub *base, uint32_t rank)
{
    struct kofn__tcp_hub *hub = kofn__tcp_hub(base);
    struct kofn__member *member;

    if (rank >= base->workers)
        return;
    member = &hub->members[rank];
    kofn__driver_enter(&hub->driver);
    if (member->place == PLACE_ADMITTED || member->place == PLACE_CONNECTED) {
        for (int link = 0; link < hub->links && member->place == PLACE_CONNECTED; link++)
            if (!member->came[link])
                count_missing(hub, -1);
        close_streams(hub, member);
        purge_arrivals(hub, rank);
        kofn_peer_store64(&hub->beats[rank], 0);
        member->place = PLACE_EVICTED;
    }
    kofn__driver_leave(&hub->driver);
}

/* Whoever writes here is this process, and it has stopped: nothing can be late. */
int kofn__tcp_hub_reclaim(struct kofn_hub *base, uint32_t rank, bool gone)
{
    struct kofn__tcp_hub *hub = kofn__tcp_hub(base);
    int rc;

    (void)gone;
    if (rank >= base->workers || hub->members[rank].place == PLACE_ADMITTED ||
        hub->members[rank].place == PLACE_CONNECTED)
        return kofn_error(base->log, KOFN_INVALID, "tcp: rank %u has not been evicted", rank);
    if (hub->members[rank].place == PLACE_FREE)
        return 0;
    rc = map_slot(hub, rank, PROT_NONE);
    if (!rc)
        hub->members[rank].place = PLACE_FREE;
    return rc;
}
