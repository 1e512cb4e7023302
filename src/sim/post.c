#include "sim/post.h"

#include <stdlib.h>

static bool before(const struct kofn_mail *a, const struct kofn_mail *b)
{
    return a->time < b->time || (a->time == b->time && a->order < b->order);
}

static int grow(struct kofn_post *post)
{
    size_t capacity = post->capacity ? 2 * post->capacity : 256;
    struct kofn_mail *heap = realloc(post->heap, capacity * sizeof(*heap));

    if (!heap)
        return KOFN_NO_MEMORY;
    post->heap = heap;
    post->capacity = capacity;
    return 0;
}

int kofn_post_send(struct kofn_post *post, const struct kofn_mail *mail)
{
    struct kofn_mail moved = *mail;
    size_t place = post->count;

    if (post->count == post->capacity && grow(post))
        return KOFN_NO_MEMORY;
    post->count++;
    moved.order = post->sent++;
    for (; place && before(&moved, &post->heap[(place - 1) / 2]); place = (place - 1) / 2)
        post->heap[place] = post->heap[(place - 1) / 2];
    post->heap[place] = moved;
    return 0;
}

void kofn_post_close(struct kofn_post *post)
{
    free(post->heap);
    *post = (struct kofn_post){0};
}

struct kofn_mail kofn_post_take(struct kofn_post *post)
{
    struct kofn_mail first = post->heap[0], moved = post->heap[--post->count];
    size_t place = 0;

    for (;;) {
        size_t child = 2 * place + 1;

        if (child >= post->count)
            break;
        if (child + 1 < post->count && before(&post->heap[child + 1], &post->heap[child]))
            child++;
        if (before(&moved, &post->heap[child]))
            break;
        post->heap[place] = post->heap[child];
        place = child;
    }
    if (post->count)
        post->heap[place] = moved;
    return first;
}
