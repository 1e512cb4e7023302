/* result_print.c: a result for people. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/result.h"
#include "cli/table.h"
#include "round/deadline.h"

#define NAMED 6      /* slow workers that get a sentence each */
#define DIFFERS 0.25 /* of the mean: a late pace that is so far from it is worth a word */
#define WAIT_SHARE                                                                                 \
    0.5 /* of an update's time: from here on the wait for the server is worth a line */

/* The host is worth a column where there are several. */
static const char *const columns[] = {"<host",    "rank",     "pid",        "<state", "updates",
                                      "merged",   "late",     "refused",    "lost",   "first K",
                                      "late p50", "late p99", "per update", "<cause"};

static bool several_hosts(const struct kofn_result *result)
{
    const char *first = "";

    for (uint32_t i = 0; i < result->workers; i++) {
        const char *host = result->members[i].host;

        if (*first && *host && strcmp(first, host))
            return true;
        first = *first ? first : host;
    }
    return false;
}

static void worker_row(struct kofn_table *table, const struct kofn_member_report *member,
                       bool hosts)
{
    char text[KOFN_CELL_BYTES];

    if (hosts)
        kofn_table_cell(table, "%s", *member->host ? member->host : "-");
    kofn_table_cell(table, "%u", member->rank);
    kofn_table_cell(table, member->pid ? "%d" : "-", member->pid);
    kofn_table_cell(table, "%s", kofn_member_state_name(member->state));
    kofn_table_cell(table, "%llu", (unsigned long long)member->finished);
    kofn_table_cell(table, "%llu", (unsigned long long)member->merged);
    kofn_table_cell(table, "%llu", (unsigned long long)member->late);
    kofn_table_cell(table, "%llu", (unsigned long long)member->refused);
    kofn_table_cell(table, "%llu", (unsigned long long)member->lost);
    kofn_table_cell(table, "%llu", (unsigned long long)member->first_k);
    kofn_table_cell(table, "%s", kofn_show_seconds(member->late_p50, text));
    kofn_table_cell(table, "%s", kofn_show_seconds(member->late_p99, text));
    kofn_table_cell(table, "%s", kofn_show_seconds(kofn_member_update_time(member), text));
    kofn_table_cell(table, "%s",
                    member->cause == KOFN_CAUSE_NONE ? "-" : kofn_cause_name(member->cause));
}

void kofn_result_print_workers(const struct kofn_result *result, FILE *stream)
{
    struct kofn_table table;
    bool hosts;

    if (!result->members)
        return;
    hosts = several_hosts(result);
    kofn_table_init(&table, columns + !hosts, KOFN_ARRAY_SIZE(columns) - !hosts);
    for (uint32_t i = 0; i < result->workers; i++)
        worker_row(&table, &result->members[i], hosts);
    kofn_table_print(&table, stream);
    kofn_table_free(&table);
}

static bool is_slow(const struct kofn_member_report *member)
{
    return member->cause != KOFN_CAUSE_NONE || member->state == KOFN_MEMBER_SLOW ||
           member->state == KOFN_MEMBER_SUSPECT;
}

static double wait_of(const struct kofn_member_report *member)
{
    return member->wait_mean;
}

static double lately(const struct kofn_member_report *member)
{
    return member->pace;
}

/* The median of @value over the workers that have finished something, those that are slow left out
 * unless @all; NaN if there is none (or no memory: it is a help for the reader, no result).
 */
static double median_of(const struct kofn_result *result,
                        double (*value)(const struct kofn_member_report *member), bool all)
{
    double *values = calloc(result->workers, sizeof(*values)), median = NAN;
    size_t count = 0;

    if (!values)
        return NAN;
    for (uint32_t i = 0; i < result->workers; i++)
        if (result->members[i].finished && (all || !is_slow(&result->members[i])) &&
            isfinite(value(&result->members[i])))
            values[count++] = value(&result->members[i]);
    if (count)
        median = kofn_median(values, count);
    free(values);
    return median;
}

/* What is usual among those who are not slow: over the whole job, and lately. */
struct usual {
    double mean, lately;
};

static void name_factor(double pace, double usual, FILE *stream)
{
    if (usual > 0)
        fprintf(stream, ", %.1fx as long as the others", pace / usual);
}

/* A worker whose local updates take long: lately, if it is slow now, and over the whole job, if it
 * was or if that is something else.
 */
static void name_pace(const struct kofn_member_report *member, const struct usual *usual,
                      FILE *stream)
{
    double mean = kofn_member_update_time(member);
    char text[KOFN_CELL_BYTES];
    bool now = member->state == KOFN_MEMBER_SLOW && member->pace > 0;
    bool differs = !(mean > 0 && fabs(member->pace - mean) < DIFFERS * mean);

    if (now) {
        fprintf(stream, "rank %u is slow: lately a local update takes it %s", member->rank,
                kofn_show_seconds(member->pace, text));
        name_factor(member->pace, usual->lately, stream);
        if (differs && mean > 0)
            fprintf(stream, "; over the whole job, %s", kofn_show_seconds(mean, text));
    } else {
        fprintf(stream, "rank %u was slow: a local update took it %s", member->rank,
                kofn_show_seconds(mean, text));
        name_factor(mean, usual->mean, stream);
        if (differs && member->pace > 0)
            fprintf(stream, "; lately, %s", kofn_show_seconds(member->pace, text));
    }
    fprintf(stream, " (cause: %s)\n", kofn_cause_name(member->cause));
}

/* A worker of which nothing is known but that it is silent, or was. */
static void name_silent(const struct kofn_member_report *member, FILE *stream)
{
    const char *state = kofn_member_state_name(member->state);
    char text[KOFN_CELL_BYTES];

    if (member->state == KOFN_MEMBER_SUSPECT || member->silence > member->pace)
        fprintf(stream, "rank %u is %s: no local update since round %u, for %s\n", member->rank,
                state, member->round, kofn_show_seconds(member->silence, text));
    else
        fprintf(stream, "rank %u was slow for a while; lately a local update takes it %s\n",
                member->rank, kofn_show_seconds(member->pace, text));
}

static void name_worker(const struct kofn_member_report *member, const struct usual *usual,
                        FILE *stream)
{
    bool slow = member->state == KOFN_MEMBER_SLOW;
    char text[KOFN_CELL_BYTES];

    if (member->cause == KOFN_CAUSE_DEAD)
        fprintf(stream, "rank %u (pid %d) is dead\n", member->rank, member->pid);
    else if (member->cause == KOFN_CAUSE_COMPUTE)
        name_pace(member, usual, stream);
    else if (member->cause == KOFN_CAUSE_NETWORK)
        fprintf(stream, "rank %u is %s: its updates are %s under way (cause: network)\n",
                member->rank, slow ? "slow" : "late", kofn_show_seconds(member->post_mean, text));
    else if (member->cause == KOFN_CAUSE_SERVER)
        fprintf(stream, "rank %u is late: its updates wait %s for the server (cause: server)\n",
                member->rank, kofn_show_seconds(member->wait_mean, text));
    else
        name_silent(member, stream);
}

static void name_slow_workers(const struct kofn_result *result, FILE *stream)
{
    struct usual usual = {.mean = median_of(result, kofn_member_update_time, false),
                          .lately = median_of(result, lately, false)};
    uint32_t slow = 0;

    for (uint32_t i = 0; i < result->workers; i++)
        if (is_slow(&result->members[i]) && slow++ < NAMED)
            name_worker(&result->members[i], &usual, stream);
    if (slow > NAMED)
        fprintf(stream, "and %u more; see the table\n", slow - NAMED);
}

/* Who has lost its connection, or was started again. */
static void name_rejoins(const struct kofn_result *result, FILE *stream)
{
    uint32_t workers = 0, last = 0;
    uint64_t rejoins = 0;

    for (uint32_t i = 0; i < result->workers; i++)
        if (result->members[i].rejoins) {
            workers++;
            last = result->members[i].rank;
            rejoins += result->members[i].rejoins;
        }
    if (workers == 1)
        fprintf(stream, "rank %u has joined again %llu time%s\n", last, (unsigned long long)rejoins,
                rejoins == 1 ? "" : "s");
    else if (workers)
        fprintf(stream, "%u workers have joined again, %llu times in all\n", workers,
                (unsigned long long)rejoins);
}

/* What holds up everybody alike makes nobody late, and is no worker's fault. */
static void name_server(const struct kofn_result *result, FILE *stream)
{
    double wait = median_of(result, wait_of, true),
           pace = median_of(result, kofn_member_update_time, true);
    char text[2][KOFN_CELL_BYTES];

    if (wait > WAIT_SHARE * pace)
        fprintf(stream,
                "the server is the bottleneck: updates wait %s for it, and take %s to compute\n",
                kofn_show_seconds(wait, text[0]), kofn_show_seconds(pace, text[1]));
}

static void print_peers(const struct kofn_result *result, FILE *stream)
{
    char text[3][KOFN_CELL_BYTES];

    fprintf(stream,
            "%s local updates of each of %u peers, %s messages and %s an activation of the root\n",
            kofn_show_number(result->updates_per_worker_mean, 2, text[0]), result->workers,
            kofn_show_number(result->publications_mean, 2, text[1]),
            kofn_show_bytes(result->bytes_mean, text[2]));
    fprintf(stream, "peers idle for %s %% of the time\n",
            kofn_show_number(100 * result->idle_fraction_mean, 1, text[0]));
    if (isfinite(result->conservation_error))
        fprintf(stream, "conservation of mass: violated by %.2g of it, %s\n",
                result->conservation_error,
                result->conservation_error <= KOFN_CONSERVED ? "which is rounding"
                                                             : "which is MORE than rounding");
}

static void print_traffic(const struct kofn_result *result, FILE *stream)
{
    char text[4][KOFN_CELL_BYTES];

    if (result->peers) {
        print_peers(result, stream);
        return;
    }

    fprintf(stream, "%s of %u workers merged a round, after %s local updates each; staleness %s\n",
            kofn_show_number(result->uploads_mean, 2, text[0]), result->workers,
            kofn_show_number(result->updates_per_worker_mean, 2, text[1]),
            kofn_show_number(result->staleness_mean, 3, text[2]));
    fprintf(stream, "%s publications and %s a round; workers idle for %s %% of the time\n",
            kofn_show_number(result->publications_mean, 2, text[0]),
            kofn_show_bytes(result->bytes_mean, text[1]),
            kofn_show_number(100 * result->idle_fraction_mean, 1, text[2]));
}

void kofn_result_print_summary(const struct kofn_result *result, FILE *stream)
{
    const char *ended = *result->ended_by ? result->ended_by : kofn_ended_text(result->ended);
    char text[4][KOFN_CELL_BYTES], grown[32] = "", k[80];

    if (result->wait_for_last > result->wait_for)
        snprintf(grown, sizeof(grown), " growing to %u", result->wait_for_last);
    if (result->peers)
        snprintf(k, sizeof(k), "no server");
    else
        snprintf(k, sizeof(k), "K = %u%s, U = %u", result->wait_for, grown, result->local_steps);
    fprintf(stream, "%s, %u worker%s, %s%s%s: %llu round%s in %s%s%s%s\n", result->algorithm,
            result->workers, result->workers == 1 ? "" : "s", k, result->transport ? ", " : "",
            result->transport ? result->transport : "", (unsigned long long)result->rounds,
            result->rounds == 1 ? "" : "s", kofn_show_seconds(result->seconds, text[0]),
            ended ? " (" : "", ended ? ended : "", ended ? ")" : "");
    if (result->rounds) {
        fprintf(stream, "a round took %s (median %s, 99 %% within %s)\n",
                kofn_show_seconds(result->round_time_mean, text[0]),
                kofn_show_seconds(result->round_time_p50, text[1]),
                kofn_show_seconds(result->round_time_p99, text[2]));
        print_traffic(result, stream);
    }
    if (isfinite(result->accuracy) && isfinite(result->loss))
        fprintf(stream, "accuracy %.4f, loss %.5g on held-out data\n", result->accuracy,
                result->loss);
    else if (isfinite(result->accuracy))
        fprintf(stream, "accuracy %.4f, loss not finite on held-out data\n", result->accuracy);
    else if (isfinite(result->loss))
        fprintf(stream, "loss %.5g\n", result->loss);
    if (!result->members)
        return;
    name_slow_workers(result, stream);
    name_rejoins(result, stream);
    name_server(result, stream);
}
