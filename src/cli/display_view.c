/* display_view.c: the lines of the live display. Pure: from a moment to a text. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/display.h"
#include "cli/table.h"

#define BAR 20  /* characters of a full one */
#define CELL 10 /* of a worker in the grid */
#define LINE_BYTES 512

#define RED "\033[31m"
#define GREEN "\033[32m"
#define YELLOW "\033[33m"
#define PLAIN "\033[0m"

/* Text that is cut at the width and at the height of the window. */
struct canvas {
    FILE *stream;
    uint32_t width, height, rows;
};

/* Prints one line; @color surrounds it, and takes no room. */
static void put(struct canvas *canvas, const char *color, const char *line)
{
    if (canvas->rows == canvas->height)
        return;
    canvas->rows++;
    fprintf(canvas->stream, "%s%.*s%s\n", color, (int)canvas->width, line, *color ? PLAIN : "");
}

/* "[#####...............]  25 %  0:31 left  ", and the speed: where seconds are not those on the
 * wall. */
static size_t put_progress(const struct kofn_moment *moment, char *line, size_t size)
{
    size_t used = 0;
    char bar[BAR + 1];

    if (moment->fraction > 0) {
        double left = moment->wall_seconds * (1 - moment->fraction) / moment->fraction;

        left = fmin(left, 1e6);
        memset(bar, '.', BAR);
        memset(bar, '#', (size_t)lround(moment->fraction * BAR));
        bar[BAR] = '\0';
        used = (size_t)snprintf(line, size, "[%s] %3.0f %%  %d:%02d left  ", bar,
                                100 * moment->fraction, (int)(left / 60), (int)left % 60);
    }
    return used;
}

static size_t put_speed(const struct kofn_display *display, const struct kofn_moment *moment,
                        char *line, size_t size)
{
    double events = (double)moment->events / fmax(moment->wall_seconds, 1e-9);

    if (moment->simulated)
        return (size_t)snprintf(line, size, " s simulated  %.3g%s events/s",
                                events >= 1e6 ? events / 1e6 : events,
                                events >= 1e6 ? " million" : "");
    return (size_t)snprintf(line, size, " s  %.*f rounds/s",
                            display->rounds_per_second < 100 ? 1 : 0, display->rounds_per_second);
}

void kofn_display_line(const struct kofn_display *display, const struct kofn_moment *moment,
                       char *line, size_t size)
{
    size_t used = moment->simulated ? put_progress(moment, line, size) : 0;

    if (moment->what) {
        snprintf(line + used, size - used, "%s", moment->what);
        return;
    }
    used += (size_t)snprintf(line + used, size - used, "round %llu",
                             (unsigned long long)moment->rounds);
    if (moment->rounds_limit)
        used += (size_t)snprintf(line + used, size - used, " of %llu",
                                 (unsigned long long)moment->rounds_limit);
    used += (size_t)snprintf(line + used, size - used, moment->simulated ? "  %.4g" : "  %.1f",
                             moment->seconds);
    if (moment->seconds_limit > 0)
        used += (size_t)snprintf(line + used, size - used, " of %g", moment->seconds_limit);
    used += put_speed(display, moment, line + used, size - used);
    if (!moment->score)
        return;
    if (isfinite(moment->score->accuracy))
        used +=
            (size_t)snprintf(line + used, size - used, "  accuracy %.4f", moment->score->accuracy);
    if (isfinite(moment->score->loss))
        used += (size_t)snprintf(line + used, size - used, "  loss %.4g", moment->score->loss);
    snprintf(line + used, size - used, " at %.1f s", moment->score->seconds);
}

static const char *color_of(const struct kofn_display *display, enum kofn_member_state state)
{
    if (!display->color)
        return "";
    switch (state) {
    case KOFN_MEMBER_SLOW:
    case KOFN_MEMBER_SUSPECT:
        return YELLOW;
    case KOFN_MEMBER_GONE:
        return RED;
    default:
        return "";
    }
}

/* One line a worker, with a bar: in what share of the last rounds it was among the first K. */
static void put_workers(struct canvas *canvas, const struct kofn_display *display,
                        const struct kofn_moment *moment)
{
    char line[LINE_BYTES], late[KOFN_CELL_BYTES], bar[BAR + 1];

    put(canvas, "", "rank  state      updates  late p50  among the first K");
    for (uint32_t i = 0; i < moment->workers; i++) {
        const struct kofn_member_report *member = &moment->members[i];
        int full = (int)lround(fmin(display->share[i], 1) * BAR);

        memset(bar, '.', BAR);
        memset(bar, '#', (size_t)full);
        bar[BAR] = '\0';
        snprintf(line, sizeof(line), "%4u  %-8s  %8llu  %8s  %s %3.0f %%", member->rank,
                 kofn_member_state_name(member->state), (unsigned long long)member->finished,
                 kofn_show_seconds(member->late_p50, late), bar, 100 * fmin(display->share[i], 1));
        put(canvas, color_of(display, member->state), line);
    }
}

/* What a worker of the grid is marked with. */
static char mark_of(const struct kofn_display *display, const struct kofn_member_report *member,
                    uint32_t i)
{
    switch (member->state) {
    case KOFN_MEMBER_SLOW:
        return 's';
    case KOFN_MEMBER_SUSPECT:
        return '?';
    case KOFN_MEMBER_GONE:
    case KOFN_MEMBER_ABSENT:
        return 'x';
    default:
        return display->share[i] >= 0.5 ? '*' : ' ';
    }
}

/* Many workers: some in every line, each with its rank and a mark. */
static void put_grid(struct canvas *canvas, const struct kofn_display *display,
                     const struct kofn_moment *moment)
{
    uint32_t columns = KOFN_MAX(canvas->width / CELL, 1u), counts[KOFN_MEMBER_LEFT + 1] = {0};
    char line[LINE_BYTES];

    columns = KOFN_MIN(columns, (uint32_t)(LINE_BYTES / (CELL + 1)));
    for (uint32_t i = 0; i < moment->workers; i++)
        counts[moment->members[i].state]++;
    snprintf(line, sizeof(line),
             "%u ready, %u slow (s), %u suspect (?), %u gone (x); * = usually among the first K",
             counts[KOFN_MEMBER_READY] + counts[KOFN_MEMBER_JOINING], counts[KOFN_MEMBER_SLOW],
             counts[KOFN_MEMBER_SUSPECT], counts[KOFN_MEMBER_GONE] + counts[KOFN_MEMBER_ABSENT]);
    put(canvas, "", line);
    for (uint32_t i = 0; i < moment->workers; i += columns) {
        int used = 0;

        for (uint32_t j = i; j < KOFN_MIN(i + columns, moment->workers); j++)
            used += snprintf(line + used, sizeof(line) - (size_t)used, "%*u%c ", CELL - 2,
                             moment->members[j].rank, mark_of(display, &moment->members[j], j));
        put(canvas, "", line);
    }
}

char *kofn_display_render(const struct kofn_display *display, const struct kofn_moment *moment,
                          uint32_t width, uint32_t height)
{
    struct canvas canvas = {.width = width, .height = height};
    char line[LINE_BYTES], *text = NULL;
    size_t length;

    canvas.stream = open_memstream(&text, &length);
    if (!canvas.stream)
        return NULL;
    kofn_display_line(display, moment, line, sizeof(line));
    put(&canvas, display->color ? GREEN : "", line);
    if (moment->members && moment->workers + 3 <= height)
        put_workers(&canvas, display, moment);
    else if (moment->members)
        put_grid(&canvas, display, moment);
    if (fclose(canvas.stream)) {
        free(text);
        return NULL;
    }
    return text;
}
