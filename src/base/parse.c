#include "base/parse.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/* Longer numbers than this are refused: nobody writes them, and a bounded copy can then hold them.
 */
#define NUMBER_LENGTH 64

struct kofn_text kofn_text(const char *string)
{
    return (struct kofn_text){string, strlen(string)};
}

bool kofn_text_is(struct kofn_text text, const char *string)
{
    return text.length == strlen(string) &&
           (!text.length || !memcmp(text.start, string, text.length));
}

struct kofn_text kofn_text_cut(struct kofn_text *text, char separator)
{
    const char *found = text->length ? memchr(text->start, separator, text->length) : NULL;
    struct kofn_text head = *text;

    if (!found) {
        *text = (struct kofn_text){NULL, 0};
        return head;
    }
    head.length = (size_t)(found - text->start);
    text->start = found + 1;
    text->length -= head.length + 1;
    return head;
}

static int fail(struct kofn_bad *bad, struct kofn_text part, const char *why)
{
    *bad = (struct kofn_bad){part, why};
    return KOFN_INVALID;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static struct kofn_text behind(struct kofn_text text, size_t offset)
{
    return (struct kofn_text){text.start + offset, text.length - offset};
}

/* Length of the decimal digits @text begins with; @value saturates at UINT64_MAX. */
static size_t scan_digits(struct kofn_text text, uint64_t *value)
{
    size_t used = 0;

    for (*value = 0; used < text.length && is_digit(text.start[used]); used++) {
        unsigned digit = (unsigned)(text.start[used] - '0');

        *value = *value > (UINT64_MAX - digit) / 10 ? UINT64_MAX : *value * 10 + digit;
    }
    return used;
}

int kofn_parse_uint(struct kofn_text text, uint64_t min, uint64_t max, uint64_t *value,
                    struct kofn_bad *bad)
{
    uint64_t number;
    size_t used = scan_digits(text, &number);

    if (!used || used < text.length)
        return fail(bad, text, "is not a whole number");
    if (number < min)
        return fail(bad, text, "is too small");
    if (number > max)
        return fail(bad, text, "is too large");
    *value = number;
    return 0;
}

/* Length of the decimal floating-point number @text begins with, 0 if none: what strtod() would
 * take in the C locale, without its spaces, hexadecimal digits, infinities and NaNs.
 */
static size_t scan_float(struct kofn_text text)
{
    size_t i = 0, digits = 0, exponent;

    if (i < text.length && (text.start[i] == '-' || text.start[i] == '+'))
        i++;
    for (; i < text.length && is_digit(text.start[i]); i++)
        digits++;
    if (i < text.length && text.start[i] == '.')
        for (i++; i < text.length && is_digit(text.start[i]); i++)
            digits++;
    if (!digits)
        return 0;
    if (i < text.length && (text.start[i] == 'e' || text.start[i] == 'E')) {
        exponent = i + 1;
        if (exponent < text.length && (text.start[exponent] == '-' || text.start[exponent] == '+'))
            exponent++;
        if (exponent < text.length && is_digit(text.start[exponent]))
            for (i = exponent; i < text.length && is_digit(text.start[i]);)
                i++;
    }
    return i;
}

/* The value of a number that scan_float() has measured; false if it is too long or overflows. */
static bool to_double(struct kofn_text number, double *value)
{
    char copy[NUMBER_LENGTH];
    locale_t c_locale;

    if (number.length >= sizeof(copy))
        return false;
    memcpy(copy, number.start, number.length);
    copy[number.length] = '\0';
    /* the C locale is a constant in the C library: nothing is allocated, and nothing is to be freed
     */
    c_locale = newlocale(LC_ALL_MASK, "C", NULL);
    *value = strtod_l(copy, NULL, c_locale);
    freelocale(c_locale);
    return isfinite(*value);
}

int kofn_parse_float(struct kofn_text text, double min, double max, double *value,
                     struct kofn_bad *bad)
{
    size_t used = scan_float(text);
    double number;

    if (!used || used < text.length)
        return fail(bad, text, "is not a number");
    if (!to_double(text, &number))
        return fail(bad, text, "is out of range");
    if (number < min)
        return fail(bad, text, "is too small");
    if (number > max)
        return fail(bad, text, "is too large");
    *value = number;
    return 0;
}

int kofn_parse_duration(struct kofn_text text, uint64_t *ns, struct kofn_bad *bad)
{
    static const struct {
        const char *name;
        double ns;
    } units[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6},  {"s", 1e9},
                 {"", 1e9}, {"m", 60e9}, {"h", 3600e9}};
    size_t used = scan_float(text), i = 0;
    struct kofn_text unit;
    double number;

    if (!used)
        return fail(bad, text, "is not a duration, such as 40ms or 1.5s");
    unit = behind(text, used);
    while (i < KOFN_ARRAY_SIZE(units) && !kofn_text_is(unit, units[i].name))
        i++;
    if (i == KOFN_ARRAY_SIZE(units))
        return fail(bad, unit, "is not a unit (ns, us, ms, s, m, h)");
    if (!to_double((struct kofn_text){text.start, used}, &number))
        return fail(bad, text, "is out of range");
    if (number < 0)
        return fail(bad, text, "is negative");
    number *= units[i].ns;
    if (number > 0 && number < 0.5)
        return fail(bad, text, "is less than a nanosecond");
    if (number > (double)KOFN_DURATION_MAX)
        return fail(bad, text, "is longer than 31 years");
    *ns = (uint64_t)llround(number);
    return 0;
}

int kofn_parse_size(struct kofn_text text, uint64_t min, uint64_t max, uint64_t *bytes,
                    struct kofn_bad *bad)
{
    static const struct {
        const char *name;
        unsigned shift;
    } units[] = {{"", 0},     {"B", 0},  {"k", 10},   {"K", 10}, {"KiB", 10}, {"M", 20},
                 {"MiB", 20}, {"G", 30}, {"GiB", 30}, {"T", 40}, {"TiB", 40}};
    uint64_t number;
    size_t used = scan_digits(text, &number), i = 0;
    struct kofn_text unit;

    if (!used)
        return fail(bad, text, "is not a size, such as 4096 or 64K");
    unit = behind(text, used);
    while (i < KOFN_ARRAY_SIZE(units) && !kofn_text_is(unit, units[i].name))
        i++;
    if (i == KOFN_ARRAY_SIZE(units))
        return fail(bad, unit, "is not a unit of size (K, M, G, T)");
    if (number > max >> units[i].shift)
        return fail(bad, text, "is too large");
    number <<= units[i].shift;
    if (number < min)
        return fail(bad, text, "is too small");
    *bytes = number;
    return 0;
}
