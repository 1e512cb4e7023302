/* barrier.h: ordering between the two sides of a slot, named by what it orders.
 *
 * The other side is a process, a NIC or a kernel thread, never the compiler's idea of a thread; but
 * C11 atomics on naturally aligned 4- and 8-byte words in shared memory give exactly the
 * instructions needed.
 */
#ifndef KOFN_BASE_BARRIER_H
#define KOFN_BASE_BARRIER_H

#include <stdint.h>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

/* Reads a word the peer writes; everything the peer wrote before it is visible afterwards. */
static inline uint64_t kofn_peer_load64(const void *word)
{
    return __atomic_load_n((const uint64_t *)word, __ATOMIC_ACQUIRE);
}

/* Writes a word the peer polls; everything written before is visible to whoever sees it. */
static inline void kofn_peer_store64(void *word, uint64_t value)
{
    __atomic_store_n((uint64_t *)word, value, __ATOMIC_RELEASE);
}

static inline uint32_t kofn_peer_load32(const void *word)
{
    return __atomic_load_n((const uint32_t *)word, __ATOMIC_ACQUIRE);
}

static inline void kofn_peer_store32(void *word, uint32_t value)
{
    __atomic_store_n((uint32_t *)word, value, __ATOMIC_RELEASE);
}

/* Between reading a payload and reading its stamp again: the payload's loads may not sink below. */
static inline void kofn_payload_read_barrier(void)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
}

/* Between withdrawing a stamp and writing the payload below it: the writes may not rise above, not
 * even those that bypass the caches, which x86 otherwise does not keep in order. Loads may: the
 * writer need not wait until the withdrawal has been seen.
 */
static inline void kofn_stamp_withdrawn_barrier(void)
{
    __atomic_thread_fence(__ATOMIC_RELEASE);
#if defined(__x86_64__) || defined(__i386__)
    _mm_sfence();
#endif
}

/* Between publishing a word and reading the other side's sleeper flag (and the reverse at the
 * sleeper): a store followed by a load of another word, the one order x86 does not keep by itself.
 */
static inline void kofn_sleeper_barrier(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* One turn of a spin loop: tells the core that a hyper-thread or a hypervisor may use the time. */
static inline void kofn_cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#else
    __asm__ volatile("" ::: "memory");
#endif
}

#endif
