#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/log.h"

#ifndef MFD_NOEXEC_SEAL /* Linux 6.3 */
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef F_SEAL_FUTURE_WRITE /* Linux 5.1 */
#define F_SEAL_FUTURE_WRITE 0x0010
#endif
#define HUGE_SHIFT                                                                                 \
    26 /* of the logarithm of the page size in flags of mmap() and memfd_create()                  \
        */
#define KOFN_LARGE ((size_t)2 << 20) /* a huge page */
#define THP "/sys/kernel/mm/transparent_hugepage/"

/* The ladder: tried from the top, the last rung always fits. */
static const struct rung {
    const char *pages;
    size_t page_bytes; /* 0 = the system's */
    int map_flags;     /* of private memory */
    unsigned memfd_flags;
    bool transparent; /* aligned and advised, not reserved: the mapping need not end on such a page
                       */
} ladder[] = {
    {"1 GiB", 1u << 30, MAP_HUGETLB | 30 << HUGE_SHIFT, MFD_HUGETLB | 30u << HUGE_SHIFT, false},
    {"2 MiB", 2u << 20, MAP_HUGETLB | 21 << HUGE_SHIFT, MFD_HUGETLB | 21u << HUGE_SHIFT, false},
    {"2 MiB transparent", 2u << 20, 0, 0, true},
    {"plain", 0, 0, 0, false},
};

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* False if the administrator has switched transparent huge pages off for this kind of memory. */
static bool transparent_allowed(bool shared)
{
    int fd = open(shared ? THP "shmem_enabled" : THP "enabled", O_RDONLY | O_CLOEXEC);
    char line[128];
    ssize_t got;

    if (fd < 0)
        return false;
    got = read(fd, line, sizeof(line) - 1);
    close(fd);
    if (got <= 0)
        return false;
    line[got] = 0;
    return !strstr(line, "[never]") && !strstr(line, "[deny]");
}

/* Does @rung suit @bytes? Huge pages are for what is huge, and may waste an eighth. */
static bool suits(const struct rung *rung, size_t bytes, unsigned flags, bool shared)
{
    if (rung->page_bytes == 0)
        return true;
    if ((flags & KOFN_MEMORY_PLAIN) || bytes < rung->page_bytes)
        return false;
    if (rung->transparent)
        return transparent_allowed(shared);
    return kofn_round_up(bytes, rung->page_bytes) - bytes <= bytes / 8;
}

/* Bytes to map on @rung. */
static size_t mapped_bytes(const struct rung *rung, size_t bytes)
{
    return kofn_round_up(bytes,
                         rung->page_bytes && !rung->transparent ? rung->page_bytes : page_size());
}

/* Address space for @bytes on a boundary of @alignment, with nothing behind it; NULL and errno if
 * there is none. */
static void *reserve(size_t bytes, size_t alignment)
{
    size_t slack = alignment > page_size() ? alignment : 0;
    char *start =
        mmap(NULL, bytes + slack, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    size_t before;

    if (start == MAP_FAILED)
        return NULL;
    if (slack == 0)
        return start;
    before = -(uintptr_t)start % alignment;
    if (before)
        munmap(start, before);
    munmap(start + before + bytes, slack - before);
    return start + before;
}

/* Maps private memory, or the whole of @fd if it is not -1. Returns NULL and errno on failure. */
static void *map_rung(const struct rung *rung, size_t bytes, int fd)
{
    int flags = fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS | rung->map_flags;
    void *where = NULL, *address;

    if (rung->transparent) {
        where = reserve(bytes, rung->page_bytes);
        if (!where)
            return NULL;
        flags |= MAP_FIXED;
    }
    address = mmap(where, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (address == MAP_FAILED) {
        if (where)
            munmap(where, bytes);
        return NULL;
    }
    if (rung->transparent)
        madvise(address, bytes, MADV_HUGEPAGE); /* advice: without it the pages are plain */
    return address;
}

/* A memfd of @bytes and with @seals; -1 and errno on failure. Its pages do not count against the
 * size of /dev/shm. */
static int make_memfd(const struct rung *rung, const char *name, size_t bytes, int seals)
{
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING | rung->memfd_flags;
    int fd = memfd_create(name, flags | MFD_NOEXEC_SEAL), error;

    if (fd < 0 && errno == EINVAL) /* an older kernel */
        fd = memfd_create(name, flags);
    if (fd < 0)
        return -1;
    if (ftruncate(fd, (off_t)bytes) || fcntl(fd, F_ADD_SEALS, seals)) {
        error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* One try: @name is NULL for private memory. Returns false and errno if this rung cannot be had. */
static bool try_rung(struct kofn_memory *memory, const struct rung *rung, const char *name,
                     size_t bytes, unsigned flags)
{
    size_t mapped = mapped_bytes(rung, bytes);
    bool ours = flags & KOFN_MEMORY_OURS;
    void *address;
    int fd = -1, error;

    if (name) {
        fd = make_memfd(rung, name, mapped, F_SEAL_SHRINK | F_SEAL_GROW | (ours ? 0 : F_SEAL_SEAL));
        if (fd < 0)
            return false;
    }
    address = map_rung(rung, mapped, fd);
    if (address && name && ours && fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL)) {
        error = errno;
        munmap(address, mapped);
        errno = error;
        address = NULL;
    }
    if (!address) {
        error = errno;
        if (fd >= 0)
            close(fd);
        errno = error;
        return false;
    }
    *memory = (struct kofn_memory){
        .address = address,
        .bytes = mapped,
        .page_bytes = rung->page_bytes ? rung->page_bytes : page_size(),
        .pages = rung->pages,
        .fd = fd,
    };
    return true;
}

/* Writes a zero to every page; volatile, because a zero is there already. */
static void populate(const struct kofn_memory *memory)
{
    volatile char *at = memory->address;

    for (size_t i = 0; i < memory->bytes; i += page_size())
        at[i] = 0;
}

static int map_new(struct kofn_memory *memory, const char *name, size_t bytes, unsigned flags,
                   const struct kofn_log *log)
{
    int error = 0;

    if (bytes == 0 || bytes > SIZE_MAX / 4)
        return kofn_error(log, KOFN_INVALID, "memory: cannot map %zu bytes", bytes);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(ladder); i++) {
        if (!suits(&ladder[i], bytes, flags, name != NULL))
            continue;
        if (try_rung(memory, &ladder[i], name, bytes, flags)) {
            if (flags & KOFN_MEMORY_POPULATE)
                populate(memory);
            return 0;
        }
        error = errno;
        kofn_log(log, KOFN_LOG_DEBUG, "memory: no %s pages for %zu bytes: %m", ladder[i].pages,
                 bytes);
    }
    errno = error;
    return kofn_error_errno(log, "memory: cannot map %zu bytes of %s memory", bytes,
                            name ? "shared" : "private");
}

int kofn_memory_map(struct kofn_memory *memory, size_t bytes, unsigned flags,
                    const struct kofn_log *log)
{
    return map_new(memory, NULL, bytes, flags, log);
}

int kofn_memory_map_shared(struct kofn_memory *memory, const char *name, size_t bytes,
                           unsigned flags, const struct kofn_log *log)
{
    return map_new(memory, name, bytes, flags, log);
}

/* Is @fd a file that cannot become shorter than @end bytes? Gives the size of its pages. */
static int check_fd(int fd, uint64_t end, size_t *page_bytes, const struct kofn_log *log)
{
    int seals = fcntl(fd, F_GET_SEALS);
    struct statfs system;
    struct stat file;

    if (seals < 0 || !(seals & F_SEAL_SHRINK))
        return kofn_error(
            log, KOFN_PROTOCOL,
            "memory: descriptor %d is not a memfd sealed against shrinking; not mapped", fd);
    if (fstat(fd, &file) || fstatfs(fd, &system))
        return kofn_error_errno(log, "memory: descriptor %d", fd);
    if (end > (uint64_t)file.st_size)
        return kofn_error(log, KOFN_PROTOCOL,
                          "memory: descriptor %d has %lld bytes, needs %llu; not mapped", fd,
                          (long long)file.st_size, (unsigned long long)end);
    /* st_blksize does not tell: tmpfs with transparent huge pages reports those */
    *page_bytes = system.f_type == HUGETLBFS_MAGIC ? (size_t)system.f_bsize : page_size();
    return 0;
}

int kofn_memory_map_fd(struct kofn_memory *memory, int fd, size_t bytes, uint64_t offset, int prot,
                       void *fixed, const struct kofn_log *log)
{
    size_t page, mapped;
    void *address;
    int rc;

    if (bytes == 0 || bytes > SIZE_MAX / 4 || offset > SIZE_MAX / 4)
        return kofn_error(log, KOFN_INVALID, "memory: cannot map %zu bytes at offset %llu", bytes,
                          (unsigned long long)offset);
    rc = check_fd(fd, offset + bytes, &page, log);
    if (rc)
        return rc;
    if (offset % page || (uintptr_t)fixed % page)
        return kofn_error(log, KOFN_INVALID,
                          "memory: offset %llu or address %p is not on a page of %zu bytes",
                          (unsigned long long)offset, fixed, page);
    mapped = kofn_round_up(bytes, page);
    address = mmap(fixed, mapped, prot, MAP_SHARED | (fixed ? MAP_FIXED : 0), fd, (off_t)offset);
    if (address == MAP_FAILED)
        return kofn_error_errno(log, "memory: cannot map %zu bytes of descriptor %d", mapped, fd);
    *memory = (struct kofn_memory){
        .address = address,
        .bytes = mapped,
        .page_bytes = page,
        .pages = "shared with us",
        .fd = -1,
        .fixed = fixed != NULL,
    };
    return 0;
}

int kofn_memory_prefer(void *address, size_t bytes, int node)
{
    unsigned long mask[16] = {0};
    size_t bits = sizeof(mask[0]) * 8;

    if (node < 0 || (size_t)node >= KOFN_ARRAY_SIZE(mask) * bits)
        return KOFN_SYSTEM;
    mask[(size_t)node / bits] = 1ul << (size_t)node % bits;
    return syscall(SYS_mbind, address, bytes, MPOL_PREFERRED, mask, sizeof(mask) * 8, 0)
               ? KOFN_SYSTEM
               : 0;
}

int kofn_memory_reserve(struct kofn_memory *memory, size_t bytes, const struct kofn_log *log)
{
    void *address;

    if (bytes == 0 || bytes > SIZE_MAX / 4)
        return kofn_error(log, KOFN_INVALID, "memory: cannot reserve %zu bytes", bytes);
    bytes = kofn_round_up(bytes, page_size());
    address = reserve(bytes, page_size());
    if (!address)
        return kofn_error_errno(log, "memory: cannot reserve %zu bytes of addresses", bytes);
    *memory = (struct kofn_memory){
        .address = address, .bytes = bytes, .page_bytes = page_size(), .pages = "none", .fd = -1};
    return 0;
}

void kofn_memory_unmap(struct kofn_memory *memory)
{
    if (!memory->address)
        return;
    if (memory->fixed) /* a hole could be given to anybody; the reservation is still the caller's */
        mmap(memory->address, memory->bytes, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    else
        munmap(memory->address, memory->bytes);
    if (memory->fd >= 0)
        close(memory->fd);
    *memory = (struct kofn_memory){.fd = -1};
}

void *kofn_large_alloc(size_t bytes)
{
    size_t unit = bytes < KOFN_LARGE ? KOFN_CACHE_LINE : KOFN_LARGE;
    size_t whole = kofn_round_up(KOFN_MAX(bytes, (size_t)1), unit);
    void *address = aligned_alloc(unit, whole);

    if (!address)
        return NULL;
    if (unit == KOFN_LARGE)
        madvise(address, whole, MADV_HUGEPAGE); /* advice: without it the pages are plain */
    return memset(address, 0, bytes);
}
