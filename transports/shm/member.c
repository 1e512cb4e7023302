/* Workers come and go: their memory at the hub. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "transports/shm/internal.h"

#ifndef MADV_POPULATE_READ /* Linux 5.14 */
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

int kofn__shm_blank(void *address, size_t bytes, const struct kofn_log *log)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;

    if (mmap(address, bytes, PROT_READ, flags, -1, 0) == MAP_FAILED)
        return kofn_error_errno(log, "shm: cannot unmap %zu bytes of a worker", bytes);
    return 0;
}

int kofn__shm_populate(void *address, size_t bytes, bool write)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), before = (uintptr_t)address % page;

    if (!madvise((char *)address - before, bytes + before,
                 write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ))
        return 0;
    return errno == ENOMEM || errno == EFAULT ? KOFN_NO_MEMORY : 0;
}

int kofn__shm_keep(const struct kofn_memory *memory, const struct kofn_log *log)
{
    if (madvise(memory->address, memory->bytes, MADV_DONTFORK))
        return kofn_error_errno(log, "shm: cannot keep %zu bytes from processes that are forked",
                                memory->bytes);
    return 0;
}

static char *memory_of(struct kofn__shm_hub *hub, uint32_t rank)
{
    return (char *)hub->range.address + rank * hub->layout.worker_bytes;
}

/* Makes the memory that @rank will write and shows it, read-only, in its place of the range.
 * @fd  out: to pass on
 */
static int make_worker_memory(struct kofn__shm_hub *hub, uint32_t rank, int *fd)
{
    struct kofn_memory fresh, view;
    int rc;

    rc = kofn_memory_map_shared(&fresh, "kofn-worker", hub->layout.worker_bytes, KOFN_MEMORY_PLAIN,
                                hub->hub.log);
    if (rc)
        return rc;
    if (hub->numa_node >= 0)
        kofn_memory_prefer(fresh.address, fresh.bytes, hub->numa_node);
    rc = kofn_memory_map_fd(&view, fresh.fd, hub->layout.worker_bytes, 0, PROT_READ,
                            memory_of(hub, rank), hub->hub.log);
    rc = rc ? rc : kofn__shm_keep(&view, hub->hub.log);
    if (!rc) {
        *fd = fresh.fd;
        fresh.fd = -1;
    }
    kofn_memory_unmap(&fresh);
    return rc;
}

/* The descriptors of an offer; all or none. The first two become the offer's own. */
static int share(struct kofn__shm_hub *hub, struct kofn_offer *offer, int worker_fd, int block_fd)
{
    int models = fcntl(hub->models.fd, F_DUPFD_CLOEXEC, 0);
    int bell = fcntl(hub->bell_memory.fd, F_DUPFD_CLOEXEC, 0);

    if (models < 0 || bell < 0) {
        int rc = kofn_error_errno(hub->hub.log, "shm: descriptors for a worker");

        if (models >= 0)
            close(models);
        return rc;
    }
    offer->fd_count = SHM_FDS;
    offer->fds[SHM_FD_WORKER] = worker_fd;
    offer->fds[SHM_FD_BLOCK] = block_fd;
    offer->fds[SHM_FD_MODELS] = models;
    offer->fds[SHM_FD_BELL] = bell;
    return 0;
}

int kofn__shm_hub_admit(struct kofn_hub *base, uint32_t rank, uint32_t epoch,
                        struct kofn_offer *offer)
{
    struct kofn__shm_hub *hub = kofn__shm_hub(base);
    struct kofn__shm_worker *member;
    struct kofn__shm_offer content;
    struct kofn_offer made;
    int rc, worker_fd;

    if (rank >= base->workers || hub->members[rank].place != PLACE_FREE)
        return kofn_error(base->log, KOFN_INVALID, "shm: rank %u of %u cannot be admitted%s", rank,
                          base->workers, rank < base->workers ? ": it has a slot" : "");
    member = &hub->members[rank];
    kofn__shm_offer_init(&content, base->workers, rank, epoch, &base->slot, &base->model);
    kofn__shm_offer_put(&made, &content);
    rc = kofn_memory_map_shared(&member->memory, "kofn-block", sizeof(struct kofn__shm_block),
                                KOFN_MEMORY_PLAIN | KOFN_MEMORY_OURS | KOFN_MEMORY_POPULATE,
                                base->log);
    if (rc)
        return rc;
    rc = kofn__shm_keep(&member->memory, base->log);
    if (rc)
        goto unmap_block;
    rc = make_worker_memory(hub, rank, &worker_fd);
    if (rc)
        goto unmap_block;
    rc = share(hub, &made, worker_fd, member->memory.fd);
    if (rc)
        goto unmap_worker;
    member->memory.fd = -1; /* the offer's */
    member->block = member->memory.address;
    member->place = PLACE_ADMITTED;
    hub->seen[rank] = 0;
    *offer = made;
    return 0;

unmap_worker:
    close(worker_fd);
    kofn__shm_blank(memory_of(hub, rank), hub->layout.worker_bytes, base->log);
unmap_block:
    kofn_memory_unmap(&member->memory);
    return rc;
}

int kofn__shm_hub_connect(struct kofn_hub *base, uint32_t rank, const struct kofn_offer *offer)
{
    struct kofn__shm_hub *hub = kofn__shm_hub(base);
    struct kofn__shm_offer answer;
    int rc;

    kofn_offer_close(offer);
    if (rank >= base->workers || hub->members[rank].place != PLACE_ADMITTED)
        return kofn_error(base->log, KOFN_INVALID, "shm: rank %u is not being admitted", rank);
    rc = kofn__shm_offer_get(offer, 0, &answer);
    if (rc || answer.rank != rank)
        return kofn_error(base->log, KOFN_PROTOCOL, "shm: rank %u: not an answer to its offer",
                          rank);
    /* the worker has touched its pages: now that costs no memory, and no time in the first round */
    kofn__shm_populate(kofn_hub_slot(base, rank), base->slot.slot_bytes, false);
    if (!hub->inbox.once)
        kofn_inbox_watch(&hub->inbox, rank);
    hub->members[rank].place = PLACE_CONNECTED;
    return 0;
}

/* The head is replaced at once, so that its beat reads 0; the slot stays, for what was published
 * before and is not merged yet.
 */
void kofn__shm_hub_evict(struct kofn_hub *base, uint32_t rank)
{
    struct kofn__shm_hub *hub = kofn__shm_hub(base);

    if (rank >= base->workers || !hub->members[rank].block)
        return;
    kofn_inbox_unwatch(&hub->inbox, rank);
    kofn__shm_blank(memory_of(hub, rank), hub->layout.head_bytes, base->log);
    hub->seen[rank] = 0;
    kofn_memory_unmap(&hub->members[rank].memory);
    hub->members[rank].block = NULL;
    hub->members[rank].place = PLACE_EVICTED;
}

int kofn__shm_hub_reclaim(struct kofn_hub *base, uint32_t rank, bool gone)
{
    struct kofn__shm_hub *hub = kofn__shm_hub(base);
    int rc;

    if (rank >= base->workers || hub->members[rank].block)
        return kofn_error(base->log, KOFN_INVALID, "shm: rank %u has not been evicted", rank);
    if (hub->members[rank].place == PLACE_FREE)
        return 0;
    if (!gone)
        return KOFN_AGAIN;
    rc = kofn__shm_blank(memory_of(hub, rank), hub->layout.worker_bytes, base->log);
    if (rc)
        return rc;
    hub->members[rank].place = PLACE_FREE;
    return 0;
}
