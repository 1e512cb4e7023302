/* near.c: which name somebody meant. */
#include <stdio.h>
#include <string.h>

#include "base/parse.h"

#define WORD_LENGTH 32 /* longer words are near to nothing */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Insertions, deletions, replacements and swaps of neighbours that make @b of @a (optimal string
 * alignment); capital letters count as small ones. Both are at most WORD_LENGTH long.
 */
static size_t distance(struct kofn_text a, struct kofn_text b)
{
    size_t rows[3][WORD_LENGTH + 1], *before = rows[0], *above = rows[1], *row = rows[2], *spare;

    for (size_t j = 0; j <= b.length; j++)
        above[j] = j;
    for (size_t i = 1; i <= a.length; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b.length; j++) {
            char x = lower(a.start[i - 1]), y = lower(b.start[j - 1]);

            row[j] = least(above[j - 1] + (x != y), least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && x == lower(b.start[j - 2]) && y == lower(a.start[i - 2]))
                row[j] = least(row[j], before[j - 2] + 1);
        }
        spare = before;
        before = above;
        above = row;
        row = spare;
    }
    return above[b.length];
}

const char *kofn_text_near_match(struct kofn_text word, const char *const *names, size_t count)
{
    const char *nearest = NULL, *begun = NULL;
    size_t fewest = WORD_LENGTH, edits;

    if (!word.length || word.length > WORD_LENGTH)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        struct kofn_text name = kofn_text(names[i]);

        if (name.length > WORD_LENGTH)
            continue;
        edits = distance(word, name);
        if (edits < fewest && 3 * edits <= KOFN_MAX(word.length, name.length)) {
            nearest = names[i];
            fewest = edits;
        }
        if (!begun && word.length < name.length && !memcmp(word.start, name.start, word.length))
            begun = names[i];
    }
    return nearest ? nearest : begun;
}

const char *kofn_near_match(const char *word, const char *const *names, size_t count)
{
    return kofn_text_near_match(kofn_text(word), names, count);
}

const char *kofn_hint(char hint[KOFN_HINT_LENGTH], struct kofn_text word, const char *const *names,
                      size_t count)
{
    const char *near = kofn_text_near_match(word, names, count);
    size_t used;

    if (near) {
        snprintf(hint, KOFN_HINT_LENGTH, "did you mean \"%s\"?", near);
        return hint;
    }
    used = (size_t)snprintf(hint, KOFN_HINT_LENGTH, "known:");
    for (size_t i = 0; i < count && used < KOFN_HINT_LENGTH; i++)
        used +=
            (size_t)snprintf(hint + used, KOFN_HINT_LENGTH - used, "%s %s", i ? "," : "", names[i]);
    return hint;
}
