#include "cli/display.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"

#define LIVE_NS (250 * KOFN_NS_PER_MS)
#define LINE_NS (2 * KOFN_NS_PER_S)
#define RATE_SECONDS 0.9 /* rates and shares are of the last second or so */

/* Takes the lines off the screen; what is printed next stands in their place. Called with the lock
 * held. */
static void erase(struct kofn_display *display)
{
    if (display->height)
        fprintf(display->stream, "\r\033[%uA\033[J", display->height);
    display->height = 0;
    fflush(display->stream);
}

static void draw(struct kofn_display *display)
{
    if (!display->drawn)
        return;
    fputs(display->drawn, display->stream);
    for (const char *c = display->drawn; *c; c++)
        display->height += *c == '\n';
    fflush(display->stream);
}

/* kofn_log.write: above the lines of the display. */
static void write_message(void *arg, enum kofn_log_level level, const char *message)
{
    struct kofn_display *display = arg;

    (void)level;
    pthread_mutex_lock(&display->lock);
    erase(display);
    fprintf(stderr, "kofn: %s\n", message);
    draw(display);
    pthread_mutex_unlock(&display->lock);
}

static bool is_terminal(const struct kofn_display *display)
{
    const char *term = getenv("TERM");

    return isatty(fileno(display->stream)) && term && *term && strcmp(term, "dumb");
}

enum kofn_log_level kofn_display_level(const struct kofn_conf *conf)
{
    return conf->verbose > 1   ? KOFN_LOG_DEBUG
           : conf->verbose > 0 ? KOFN_LOG_INFO
           : conf->quiet       ? KOFN_LOG_ERROR
                               : KOFN_LOG_WARN;
}

int kofn_display_open(struct kofn_display *display, const struct kofn_conf *conf)
{
    const char *no_color = getenv("NO_COLOR");

    memset(display, 0, sizeof(*display));
    display->stream = conf->json && !strcmp(conf->json, "-") ? stderr : stdout;
    display->mode = conf->quiet            ? KOFN_DISPLAY_QUIET
                    : is_terminal(display) ? KOFN_DISPLAY_LIVE
                                           : KOFN_DISPLAY_LINES;
    display->color = display->mode == KOFN_DISPLAY_LIVE && !(no_color && *no_color);
    display->first_k = calloc(conf->workers, sizeof(*display->first_k));
    display->share = calloc(conf->workers, sizeof(*display->share));
    pthread_mutex_init(&display->lock, NULL);
    display->log = (struct kofn_log){
        .level = kofn_display_level(conf), .write = write_message, .arg = display};
    if (display->first_k && display->share)
        return 0;
    return kofn_error(&display->log, KOFN_NO_MEMORY, "display: %u workers", conf->workers);
}

void kofn_display_clear(struct kofn_display *display)
{
    pthread_mutex_lock(&display->lock);
    erase(display);
    free(display->drawn);
    display->drawn = NULL;
    pthread_mutex_unlock(&display->lock);
}

void kofn_display_close(struct kofn_display *display)
{
    kofn_display_clear(display);
    free(display->first_k);
    free(display->share);
    display->first_k = NULL;
    display->share = NULL;
    pthread_mutex_destroy(&display->lock);
}

uint64_t kofn_display_interval(const struct kofn_display *display)
{
    return display->mode == KOFN_DISPLAY_LIVE    ? LIVE_NS
           : display->mode == KOFN_DISPLAY_LINES ? LINE_NS
                                                 : KOFN_FOREVER;
}

/* Rates and shares since about a second ago. */
static void measure(struct kofn_display *display, const struct kofn_moment *moment)
{
    double seconds = moment->seconds - display->rate_seconds;
    uint64_t rounds = moment->rounds - display->rate_rounds;

    if (seconds < RATE_SECONDS && display->rounds_per_second > 0)
        return;
    if (seconds > 0)
        display->rounds_per_second = (double)rounds / seconds;
    display->rate_seconds = moment->seconds;
    display->rate_rounds = moment->rounds;
    if (!moment->members || moment->rounds == display->first_k_rounds)
        return;
    rounds = moment->rounds - display->first_k_rounds;
    for (uint32_t i = 0; i < moment->workers; i++) {
        display->share[i] =
            (double)(moment->members[i].first_k - display->first_k[i]) / (double)rounds;
        display->first_k[i] = moment->members[i].first_k;
    }
    display->first_k_rounds = moment->rounds;
}

static void show_live(struct kofn_display *display, const struct kofn_moment *moment)
{
    struct winsize size = {0};
    char *text;

    if (ioctl(fileno(display->stream), TIOCGWINSZ, &size) || !size.ws_col || size.ws_row < 4)
        size = (struct winsize){.ws_row = 24, .ws_col = 80};
    text = kofn_display_render(display, moment, size.ws_col - 1u, size.ws_row - 1u);
    if (!text)
        return;
    pthread_mutex_lock(&display->lock);
    erase(display);
    free(display->drawn);
    display->drawn = text;
    draw(display);
    pthread_mutex_unlock(&display->lock);
}

void kofn_display_show(struct kofn_display *display, const struct kofn_moment *moment)
{
    char line[256];

    if (display->mode == KOFN_DISPLAY_QUIET)
        return;
    measure(display, moment);
    if (display->mode == KOFN_DISPLAY_LIVE) {
        show_live(display, moment);
        return;
    }
    kofn_display_line(display, moment, line, sizeof(line));
    fprintf(display->stream, "%s\n", line);
    fflush(display->stream);
}

void kofn_display_say(struct kofn_display *display, const char *format, ...)
{
    va_list args;

    if (display->mode == KOFN_DISPLAY_QUIET)
        return;
    pthread_mutex_lock(&display->lock);
    erase(display);
    va_start(args, format);
    vfprintf(display->stream, format, args);
    va_end(args);
    fputc('\n', display->stream);
    draw(display);
    pthread_mutex_unlock(&display->lock);
}
