/* mem.h: large zeroed memory: private, or shared with other processes through a sealed memfd.
 *
 * Every mapping begins on a page and is given the largest pages that suit its size and can be had:
 * from the reserved 1 GiB and 2 MiB pages, then transparent huge pages, then plain ones. Nothing is
 * touched (unless asked for), so that memory can be bound to a node first.
 *
 * A file whose size its owner can still change is a trap for everybody else who maps it: beyond the
 * new end a read is SIGBUS. So memory made here is sealed at its size, and a stranger's descriptor
 * is mapped only if it is sealed.
 *
 * Threads: no state. Ownership: whoever mapped unmaps. Outputs are set only on success.
 */
#ifndef KOFN_BASE_MEM_H
#define KOFN_BASE_MEM_H

#include "base/base.h"

enum kofn_memory_flag {
    KOFN_MEMORY_PLAIN = 1 << 0,    /* never huge pages */
    KOFN_MEMORY_POPULATE = 1 << 1, /* touch all pages now, so that no later access faults */
    KOFN_MEMORY_OURS = 1 << 2, /* shared: this one mapping can be written through, and nothing else
                                  that is or will be made of the descriptor (Linux 5.1) */
};

/* A mapping. All zeros = none. */
struct kofn_memory {
    void *address;
    size_t bytes;      /* as mapped: what was asked for, rounded up to whole pages */
    size_t page_bytes; /* of the pages obtained; transparent ones may be smaller in places */
    const char *pages; /* the same in words: "2 MiB transparent" */
    int fd;            /* of the memfd, -1 if there is none; closed by kofn_memory_unmap() */
    bool fixed;        /* lies in a reservation, which unmapping restores */
};

/* Maps @bytes of private memory. Returns KOFN_INVALID (0 bytes, or too many to round up),
 * KOFN_NO_MEMORY, KOFN_SYSTEM. */
int kofn_memory_map(struct kofn_memory *memory, size_t bytes, unsigned flags,
                    const struct kofn_log *log);

/* Maps @bytes of a new memfd, readable and writable, sealed against shrinking, growing and other
 * seals. @name is shown in /proc only. memory->fd may be passed to other processes. Errors as
 * above.
 */
int kofn_memory_map_shared(struct kofn_memory *memory, const char *name, size_t bytes,
                           unsigned flags, const struct kofn_log *log);

/* Maps @bytes from @offset of a memfd that another process made.
 *
 * @fd     stays the caller's, and may be closed afterwards; memory->fd is -1
 * @prot   PROT_READ, or PROT_READ | PROT_WRITE
 * @fixed  NULL, or where: @bytes inside a reservation of the caller's, on a page; what is mapped
 * there is replaced Returns KOFN_PROTOCOL if the file can shrink or does not reach that far,
 * KOFN_INVALID if offset or address do not suit its pages, KOFN_NO_MEMORY, KOFN_SYSTEM.
 */
int kofn_memory_map_fd(struct kofn_memory *memory, int fd, size_t bytes, uint64_t offset, int prot,
                       void *fixed, const struct kofn_log *log);

/* Asks for the pages of @bytes at @address, which are not touched yet, to be on memory node @node;
 * for shared memory that holds for all who map it. They may still come from elsewhere if that node
 * is full. Returns KOFN_SYSTEM, without a message: whoever asks knows what it is worth.
 */
int kofn_memory_prefer(void *address, size_t bytes, int node);

/* Reserves @bytes of addresses without memory behind them: any access is SIGSEGV until
 * kofn_memory_map_fd() maps something there. Errors as kofn_memory_map().
 */
int kofn_memory_reserve(struct kofn_memory *memory, size_t bytes, const struct kofn_log *log);

/* Unmaps, closes the memfd and clears @memory; nothing if it is clear. */
void kofn_memory_unmap(struct kofn_memory *memory);

/* Zeroed private memory for free(), on a cache line. What is large lies on transparent huge pages,
 * where they can be had: thousands of things that are looked at in no order then do not cost a walk
 * through page tables each. NULL without memory.
 */
void *kofn_large_alloc(size_t bytes);

#endif
