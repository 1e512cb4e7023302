/* parse.h: numbers, durations and sizes as people write them on a command line or in a file.
 *
 * Parsers read a bounded piece of text that need not end in a zero byte, take all of it or refuse
 * it, and log nothing: they say which part was bad and why, and the caller, who knows what the
 * number is for, says it once:
 *
 *     return kofn_error(log, rc, "delay %s: mean: " KOFN_BAD, spec, KOFN_BAD_ARGS(&bad));
 *     kofn: delay exp:40mz: mean: "mz" is not a unit (ns, us, ms, s, m, h)
 *
 * No locale, no allocation, no errno. Outputs are set only on success.
 */
#ifndef KOFN_BASE_PARSE_H
#define KOFN_BASE_PARSE_H

#include "base/base.h"

/* A piece of a larger text; not owned, not terminated. */
struct kofn_text {
    const char *start;
    size_t length;
};

/* The part of the input that is at fault, and a phrase that continues `"part" ...`. */
struct kofn_bad {
    struct kofn_text part;
    const char *why;
};

#define KOFN_TEXT_SHOWN 64 /* bytes of a bad part that a message quotes */
#define KOFN_TEXT_ARGS(text) (int)KOFN_MIN((text).length, (size_t)KOFN_TEXT_SHOWN), (text).start
#define KOFN_BAD "\"%.*s\" %s"
#define KOFN_BAD_ARGS(bad) KOFN_TEXT_ARGS((bad)->part), (bad)->why

#define KOFN_DURATION_MAX UINT64_C(1000000000000000000) /* ns; 31 years */

struct kofn_text kofn_text(const char *string);
bool kofn_text_is(struct kofn_text text, const char *string);

/* Cuts @text at the first @separator: returns what is before it and leaves in @text what is behind
 * it. Without a separator all of @text is returned, and @text becomes empty with a NULL start: the
 * end of a list.
 */
struct kofn_text kofn_text_cut(struct kofn_text *text, char separator);

/* A whole number of @min to @max, in decimal. KOFN_INVALID: not a number, or not in the range. */
int kofn_parse_uint(struct kofn_text text, uint64_t min, uint64_t max, uint64_t *value,
                    struct kofn_bad *bad);

/* A finite number of @min to @max, as C writes it in decimal (`3`, `0.5`, `1e-3`). KOFN_INVALID
 * otherwise: infinity, NaN, hexadecimal and anything behind the number included.
 */
int kofn_parse_float(struct kofn_text text, double min, double max, double *value,
                     struct kofn_bad *bad);

/* A duration in ns, at most KOFN_DURATION_MAX: a number and a unit (ns, us, ms, s, m, h; seconds if
 * none), rounded to the nearest ns. KOFN_INVALID: negative, no number, unknown unit, too long, or
 * not 0 and still less than 1 ns.
 */
int kofn_parse_duration(struct kofn_text text, uint64_t *ns, struct kofn_bad *bad);

/* A size in bytes: a whole number and a power of 1024 (K, M, G, T, also KiB...; k too), of @min to
 * @max. */
int kofn_parse_size(struct kofn_text text, uint64_t min, uint64_t max, uint64_t *bytes,
                    struct kofn_bad *bad);

/* The name that @word most likely stands for: the one with the fewest letters to insert, delete,
 * replace or swap, if these are at most a third of the letters of the longer one, or that @word
 * begins; else NULL.
 */
const char *kofn_near_match(const char *word, const char *const *names, size_t count);
const char *kofn_text_near_match(struct kofn_text word, const char *const *names, size_t count);

#define KOFN_HINT_LENGTH 256

/* What to say of an unknown word: `did you mean "NAME"?`, or `known: A, B, C` where no name is
 * near. Returns
 * @hint, filled.
 */
const char *kofn_hint(char hint[KOFN_HINT_LENGTH], struct kofn_text word, const char *const *names,
                      size_t count);

#endif
