#include "sim/trace.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"

static const char magic[] = "# kofn-trace ";
static const char columns[] = "rank,round,update,start_ns,compute_ns,delay_ns,publish_ns,cancelled";

/* Where the reader is; every message names the line. */
struct reader {
    const char *name;
    const struct kofn_log *log;
    struct kofn_text rest; /* lines not read yet */
    size_t line;           /* number of the last line read, from 1 */
};

/* Takes the next line without its end. KOFN_AGAIN at the end of the text. */
static int next_line(struct reader *reader, struct kofn_text *line)
{
    struct kofn_text rest = reader->rest;
    const char *end;

    if (!rest.length)
        return KOFN_AGAIN;
    reader->line++;
    end = memchr(rest.start, '\n', KOFN_MIN(rest.length, (size_t)KOFN_TRACE_LINE));
    if (!end)
        return kofn_error(reader->log, KOFN_FORMAT, "trace %s: line %zu: %s", reader->name,
                          reader->line,
                          rest.length < KOFN_TRACE_LINE ? "cut off: no end of line"
                                                        : "longer than a record can be");
    *line = (struct kofn_text){rest.start, (size_t)(end - rest.start)};
    reader->rest.start += line->length + 1;
    reader->rest.length -= line->length + 1;
    return 0;
}

static int check_magic(struct reader *reader)
{
    struct kofn_text line;
    int rc = next_line(reader, &line);

    if (rc && rc != KOFN_AGAIN)
        return rc;
    if (rc || line.length < sizeof(magic) || memcmp(line.start, magic, sizeof(magic) - 1))
        return kofn_error(reader->log, KOFN_FORMAT, "trace %s: does not begin with \"%s1\"",
                          reader->name, magic);
    line.start += sizeof(magic) - 1;
    line.length -= sizeof(magic) - 1;
    if (!kofn_text_is(line, "1"))
        return kofn_error(reader->log, KOFN_FORMAT, "trace %s: version \"%.*s\"; this reads 1",
                          reader->name, KOFN_TEXT_ARGS(line));
    return 0;
}

/* The command in the comment that @rest begins with, if it does. Of one that may have been cut off
 * the last word is left out.
 */
static void read_command(struct kofn_text rest, char command[KOFN_TRACE_LINE])
{
    const char *end = rest.length
                          ? memchr(rest.start, '\n', KOFN_MIN(rest.length, (size_t)KOFN_TRACE_LINE))
                          : NULL;
    size_t length = end ? (size_t)(end - rest.start) : 0;
    char *last;

    command[0] = '\0';
    if (length < 2 || memcmp(rest.start, "# ", 2))
        return;
    length -= 2;
    memcpy(command, rest.start + 2, length);
    command[length] = '\0';
    last = strrchr(command, ' ');
    if (length >= KOFN_TRACE_COMMENT && last)
        *last = '\0';
}

/* The next line that is no comment. */
static int next_row(struct reader *reader, struct kofn_text *line)
{
    int rc;

    do
        rc = next_line(reader, line);
    while (!rc && line->length && line->start[0] == '#');
    return rc;
}

static int read_record(struct reader *reader, struct kofn_text line,
                       struct kofn_trace_record *record)
{
    static const uint64_t limits[] = {
        KOFN_TRACE_WORKERS - 1, UINT32_MAX,        UINT32_MAX,        KOFN_DURATION_MAX,
        KOFN_DURATION_MAX,      KOFN_DURATION_MAX, KOFN_DURATION_MAX, 1};
    uint64_t values[KOFN_ARRAY_SIZE(limits)];
    struct kofn_text names = kofn_text(columns), name;
    struct kofn_bad bad;

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(limits); i++) {
        name = kofn_text_cut(&names, ',');
        if (kofn_parse_uint(kofn_text_cut(&line, ','), 0, limits[i], &values[i], &bad))
            return kofn_error(reader->log, KOFN_FORMAT, "trace %s: line %zu: %.*s " KOFN_BAD,
                              reader->name, reader->line, KOFN_TEXT_ARGS(name),
                              KOFN_BAD_ARGS(&bad));
    }
    if (line.start)
        return kofn_error(reader->log, KOFN_FORMAT, "trace %s: line %zu: more than %zu columns",
                          reader->name, reader->line, KOFN_ARRAY_SIZE(limits));
    *record = (struct kofn_trace_record){.rank = (uint32_t)values[0],
                                         .round = (uint32_t)values[1],
                                         .update = (uint32_t)values[2],
                                         .cancelled = (uint32_t)values[7],
                                         .start_ns = values[3],
                                         .compute_ns = values[4],
                                         .delay_ns = values[5],
                                         .publish_ns = values[6]};
    return 0;
}

/* Reads all rows into @records, or only counts them where it is NULL. */
static int read_rows(struct reader reader, struct kofn_trace_record *records, size_t *count)
{
    struct kofn_trace_record spare;
    struct kofn_text line;
    int rc;

    *count = 0;
    while (!(rc = next_row(&reader, &line))) {
        rc = read_record(&reader, line, records ? &records[*count] : &spare);
        if (rc)
            return rc;
        ++*count;
    }
    return rc == KOFN_AGAIN ? 0 : rc;
}

int kofn_trace_parse(const char *text, size_t length, const char *name, const struct kofn_log *log,
                     struct kofn_trace *trace)
{
    struct reader reader = {name, log, {text, length}, 0};
    struct kofn_trace result = {0};
    struct kofn_text line;
    int rc;

    rc = check_magic(&reader);
    if (rc)
        return rc;
    read_command(reader.rest, result.command);
    rc = next_row(&reader, &line);
    if (rc && rc != KOFN_AGAIN)
        return rc;
    if (rc || !kofn_text_is(line, columns))
        return kofn_error(log, KOFN_FORMAT, "trace %s: line %zu: the column names must be \"%s\"",
                          name, reader.line, columns);
    rc = read_rows(reader, NULL, &result.count);
    if (rc)
        return rc;
    if (!result.count)
        return kofn_error(log, KOFN_FORMAT, "trace %s: no local update in it", name);
    result.records = calloc(result.count, sizeof(*result.records));
    if (!result.records)
        return kofn_error(log, KOFN_NO_MEMORY, "trace %s: %zu records", name, result.count);
    read_rows(reader, result.records, &result.count); /* the same text: cannot fail any more */
    for (size_t i = 0; i < result.count; i++)
        result.workers = KOFN_MAX(result.workers, result.records[i].rank + 1);
    *trace = result;
    return 0;
}

int kofn_trace_read(const char *path, const struct kofn_log *log, struct kofn_trace *trace)
{
    uint8_t *bytes;
    size_t length;
    int rc;

    rc = kofn_file_read(path, KOFN_TRACE_BYTES, log, &bytes, &length);
    if (rc)
        return rc;
    rc = kofn_trace_parse((const char *)bytes, length, path, log, trace);
    free(bytes);
    return rc;
}

void kofn_trace_free(struct kofn_trace *trace)
{
    free(trace->records);
    *trace = (struct kofn_trace){0};
}
