/* display.h: what a person sees while a job runs, and the way messages take meanwhile.
 *
 * On a terminal a few lines are redrawn in place; messages appear above them. Elsewhere there is a
 * line now and then. The terminal is never put into another mode and the cursor never hidden, so
 * that there is nothing to restore, however the program ends.
 *
 * Threads: messages may come from any, the rest from one.
 */
#ifndef KOFN_CLI_DISPLAY_H
#define KOFN_CLI_DISPLAY_H

#include <pthread.h>

#include "cli/conf.h"
#include "cli/result.h"

enum kofn_display_mode { KOFN_DISPLAY_QUIET, KOFN_DISPLAY_LINES, KOFN_DISPLAY_LIVE };

struct kofn_display {
    FILE *stream;
    enum kofn_display_mode mode;
    bool color;
    pthread_mutex_t lock;
    char *drawn;         /* the lines on the screen; owned, NULL = none */
    uint32_t height;     /* how many they are */
    struct kofn_log log; /* messages of the job go through this one */

    /* Since when shares of the first K are counted. */
    uint64_t *first_k; /* by worker; owned */
    uint64_t first_k_rounds;
    double *share; /* by worker, of the rounds between the last two drawings; owned */
    double rate_seconds;
    double rounds_per_second;
    uint64_t rate_rounds;
};

/* The state of a job at one moment. */
struct kofn_moment {
    double seconds;                 /* since its start */
    double seconds_limit;           /* 0 = none */
    uint64_t rounds, rounds_limit;  /* 0 = none */
    const struct kofn_point *score; /* the latest; NULL = none yet */
    uint32_t workers;
    const struct kofn_member_report *members; /* NULL: not looked at */

    /* Of a simulation, whose seconds are not those on the wall: how much of it is done (0: not
     * known), what it has taken so far. */
    bool simulated;
    const char *what; /* what is going on, in place of rounds and seconds; NULL = a job */
    double fraction, wall_seconds;
    uint64_t events;
};

/* Prints to standard output, or to standard error if standard output is for JSON. */
int kofn_display_open(struct kofn_display *display, const struct kofn_conf *conf);

/* Which messages are printed: as --quiet and --verbose say. */
enum kofn_log_level kofn_display_level(const struct kofn_conf *conf);

/* Removes what is on the screen; the log goes on to work, to standard error. */
void kofn_display_clear(struct kofn_display *display);
void kofn_display_close(struct kofn_display *display);

/* How often kofn_display_show() is worth calling, ns. */
uint64_t kofn_display_interval(const struct kofn_display *display);

/* Shows @moment, or prints a line of it. */
void kofn_display_show(struct kofn_display *display, const struct kofn_moment *moment);

/* Prints a line above the rest, in every mode but the quiet one. */
void kofn_display_say(struct kofn_display *display, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- display_view.c ---- */

/* The lines of @moment, at most @height of them, none longer than @width; the caller frees them.
 * NULL without memory.
 */
char *kofn_display_render(const struct kofn_display *display, const struct kofn_moment *moment,
                          uint32_t width, uint32_t height);

/* One line of @moment, without its end. */
void kofn_display_line(const struct kofn_display *display, const struct kofn_moment *moment,
                       char *line, size_t size);

#endif
