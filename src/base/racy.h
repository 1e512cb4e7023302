/* racy.h: copies out of memory that its writer may be changing at this moment.
 *
 * The reader of a slot copies first and asks afterwards: a sequence read before and after says
 * whether the copy is worth anything. Such a copy is a race on purpose. It has a function of its
 * own so that ThreadSanitizer can be told of this race and of no other.
 */
#ifndef KOFN_BASE_RACY_H
#define KOFN_BASE_RACY_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SANITIZE_THREAD__)
#define KOFN_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define KOFN_THREAD_SANITIZER 1
#endif
#endif
#ifndef KOFN_THREAD_SANITIZER
#define KOFN_THREAD_SANITIZER 0
#endif

#if KOFN_THREAD_SANITIZER
/* Byte by byte: the sanitizer watches memcpy() itself, but not this loop. */
__attribute__((no_sanitize("thread"), noinline, unused)) static void
kofn_racy_copy(void *to, const void *from, size_t bytes)
{
    volatile unsigned char *out = to;
    const volatile unsigned char *in = from;

    for (size_t i = 0; i < bytes; i++)
        out[i] = in[i];
}
#else
/* Copies @bytes; if @from changes meanwhile, @to holds any mixture of old and new. */
static inline void kofn_racy_copy(void *to, const void *from, size_t bytes)
{
    memcpy(to, from, bytes);
}
#endif

#endif
