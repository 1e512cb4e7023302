#include "sim/delay.h"

#include <limits.h>
#include <string.h>

#include "sim/trace.h"

#define SHAPE_MIN 0.01
#define SHAPE_MAX 1e6

/* What a model's arguments are; a name is for messages, NULL where there is no such argument. */
static const struct model {
    enum kofn_delay_kind kind;
    const char *arguments[2];
} models[] = {
    {KOFN_DELAY_NONE, {NULL, NULL}},
    {KOFN_DELAY_EXP, {NULL, "MEAN"}},
    {KOFN_DELAY_SHIFTED_EXP, {"SHIFT", "MEAN"}},
    {KOFN_DELAY_PARETO, {"SHAPE", "SCALE"}},
    {KOFN_DELAY_UNIFORM, {"LO", "HI"}},
    {KOFN_DELAY_TRACE, {"FILE", NULL}},
};
static const char *const names[] = {"none", "exp", "shifted-exp", "pareto", "uniform", "trace"};

/* A specification while it is parsed; every message shows all of it. */
struct parser {
    struct kofn_text spec;
    const struct kofn_log *log;
    const struct model *model;
};

static int fail(const struct parser *parser, const char *where, const struct kofn_bad *bad)
{
    return kofn_error(parser->log, KOFN_INVALID, "delay %.*s: %s%s" KOFN_BAD,
                      KOFN_TEXT_ARGS(parser->spec), where ? where : "", where ? " " : "",
                      KOFN_BAD_ARGS(bad));
}

/* Takes an exact `@round` off the end of @text; a trace's file may have any other `@` in its name.
 */
static bool cut_round(struct kofn_text *text)
{
    static const char suffix[] = "@round";
    struct kofn_text end = *text;

    if (text->length < sizeof(suffix) - 1)
        return false;
    end.start += text->length - (sizeof(suffix) - 1);
    end.length = sizeof(suffix) - 1;
    if (!kofn_text_is(end, suffix))
        return false;
    text->length -= end.length;
    return true;
}

/* Refuses any other suffix; @behind_at is what follows the first `@`. */
static int refuse_suffix(const struct parser *parser, struct kofn_text behind_at)
{
    static const char *const suffixes[] = {"round"};
    char hint[KOFN_HINT_LENGTH];

    return kofn_error(parser->log, KOFN_INVALID, "delay %.*s: unknown suffix @%.*s; %s",
                      KOFN_TEXT_ARGS(parser->spec), KOFN_TEXT_ARGS(behind_at),
                      kofn_hint(hint, behind_at, suffixes, KOFN_ARRAY_SIZE(suffixes)));
}

static int find_model(struct parser *parser, struct kofn_text name)
{
    char hint[KOFN_HINT_LENGTH];

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(models); i++)
        if (kofn_text_is(name, names[i])) {
            parser->model = &models[i];
            return 0;
        }
    return kofn_error(parser->log, KOFN_INVALID, "delay %.*s: unknown model \"%.*s\"; %s",
                      KOFN_TEXT_ARGS(parser->spec), KOFN_TEXT_ARGS(name),
                      kofn_hint(hint, name, names, KOFN_ARRAY_SIZE(names)));
}

/* Whether the model has as many arguments as @text, which has a NULL start where there was no
 * colon. */
static int check_arguments(const struct parser *parser, struct kofn_text text)
{
    const char *const *wanted = parser->model->arguments;
    size_t expected = !!wanted[0] + !!wanted[1], given = 0;

    if (parser->model->kind == KOFN_DELAY_TRACE)
        given = text.length > 0; /* a file's name may have commas */
    else
        while (text.start) {
            kofn_text_cut(&text, ',');
            given++;
        }
    if (given == expected)
        return 0;
    return kofn_error(parser->log, KOFN_INVALID, "delay %.*s: %zu argument%s, expected %s%s%s%s%s",
                      KOFN_TEXT_ARGS(parser->spec), given, given == 1 ? "" : "s",
                      names[parser->model->kind], expected ? ":" : "", wanted[0] ? wanted[0] : "",
                      expected == 2 ? "," : "", wanted[1] ? wanted[1] : "");
}

/* A duration; @positive: 0 is refused. */
static int parse_time(const struct parser *parser, struct kofn_text text, const char *argument,
                      bool positive, double *value)
{
    struct kofn_bad bad;
    uint64_t ns;

    if (kofn_parse_duration(text, &ns, &bad))
        return fail(parser, argument, &bad);
    if (positive && !ns)
        return fail(parser, argument, &(struct kofn_bad){text, "must be more than 0"});
    *value = (double)ns;
    return 0;
}

static int parse_arguments(const struct parser *parser, struct kofn_text text,
                           struct kofn_delay *delay)
{
    const char *const *wanted = parser->model->arguments;
    struct kofn_text first = {NULL, 0}, second;
    struct kofn_bad bad;
    int rc = 0;

    if (delay->kind == KOFN_DELAY_TRACE) {
        delay->path = text;
        return 0;
    }
    if (wanted[0])
        first = kofn_text_cut(&text, ',');
    second = text;
    if (delay->kind == KOFN_DELAY_PARETO) {
        if (kofn_parse_float(first, SHAPE_MIN, SHAPE_MAX, &delay->second, &bad))
            return fail(parser, wanted[0], &bad);
        return parse_time(parser, second, wanted[1], true, &delay->first);
    }
    if (wanted[0])
        rc = parse_time(parser, first, wanted[0], false, &delay->first);
    if (!rc && wanted[1])
        rc = parse_time(parser, second, wanted[1], delay->kind != KOFN_DELAY_UNIFORM,
                        &delay->second);
    if (!rc && delay->kind == KOFN_DELAY_UNIFORM && delay->second < delay->first)
        return fail(parser, wanted[1], &(struct kofn_bad){second, "is less than LO"});
    return rc;
}

int kofn_delay_parse(struct kofn_text spec, const struct kofn_log *log, struct kofn_delay *delay)
{
    struct parser parser = {spec, log, NULL};
    struct kofn_text text = spec, name, behind_at;
    struct kofn_delay result = {0};
    int rc;

    result.per_round = cut_round(&text);
    behind_at = text;
    kofn_text_cut(&behind_at, '@');
    name = kofn_text_cut(&text, ':');
    name = kofn_text_cut(&name, '@');
    rc = find_model(&parser, name);
    if (rc)
        return rc;
    result.kind = parser.model->kind;
    if (behind_at.start && result.kind != KOFN_DELAY_TRACE)
        return refuse_suffix(&parser, behind_at);
    rc = check_arguments(&parser, text);
    if (!rc)
        rc = parse_arguments(&parser, text, &result);
    if (!rc)
        *delay = result;
    return rc;
}

int kofn_delay_open(const char *spec, const struct kofn_log *log, struct kofn_delay *delay)
{
    struct kofn_trace trace;
    struct kofn_delay result;
    char path[PATH_MAX];
    int rc;

    rc = kofn_delay_parse(kofn_text(spec), log, &result);
    if (rc || result.kind != KOFN_DELAY_TRACE) {
        if (!rc)
            *delay = result;
        return rc;
    }
    if (result.path.length >= sizeof(path))
        return kofn_error(log, KOFN_INVALID, "delay trace: the file's name has %zu bytes",
                          result.path.length);
    memcpy(path, result.path.start, result.path.length);
    path[result.path.length] = '\0';
    rc = kofn_trace_read(path, log, &trace);
    if (rc)
        return rc;
    rc = kofn_delay_use_trace(&result, &trace, log);
    kofn_trace_free(&trace);
    if (rc)
        return rc;
    result.path = (struct kofn_text){NULL, 0};
    *delay = result;
    return 0;
}
