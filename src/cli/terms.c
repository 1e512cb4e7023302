#include "cli/terms.h"

#include <kofn/kofn.h>
#include <stdlib.h>
#include <string.h>

#include "algorithms/algorithm.h"
#include "algorithms/node.h"
#include "base/clock.h"
#include "cli/engine.h"
#include "transports/transport.h"

/* What the checks look at. */
struct check {
    const struct kofn_options *options;
    const struct kofn_conf *conf;
    const struct kofn_algorithm *algorithm; /* what is meant: see kofn_terms */
    const struct kofn_log *log;
    char where[KOFN_WHERE_BYTES];
};

/* How the value of @name was set, for the beginning of a message. */
static const char *where(struct check *check, const char *name)
{
    return kofn_options_where(check->options, name, check->where);
}

static bool is_set(const struct check *check, const char *name)
{
    return kofn_options_value(check->options, name)->origin != KOFN_ORIGIN_DEFAULT;
}

static int check_counts(struct check *check)
{
    const struct kofn_conf *conf = check->conf;
    const struct kofn_algorithm *algorithm = check->algorithm;

    if (!kofn_algorithm_counts_batches(algorithm) && conf->wait_for > conf->workers)
        return kofn_error(check->log, KOFN_INVALID,
                          "%s: K counts workers: it cannot be %u where there are %u (--workers)",
                          where(check, "wait-for"), conf->wait_for, conf->workers);
    if (algorithm->needs_all && conf->wait_for && conf->wait_for != conf->workers)
        return kofn_error(check->log, KOFN_INVALID,
                          "%s: algorithm %s waits for all %u workers, not for %u; stsyn can",
                          where(check, "wait-for"), algorithm->name, conf->workers, conf->wait_for);
    if (algorithm->single_step && conf->local_steps != 1)
        return kofn_error(check->log, KOFN_INVALID,
                          "%s: algorithm %s has one local update a round, not %u; local and stsyn "
                          "can have more",
                          where(check, "local-steps"), algorithm->name, conf->local_steps);
    if (algorithm->eager && conf->publish != KOFN_PUBLISH_EAGER)
        return kofn_error(
            check->log, KOFN_INVALID,
            "%s: algorithm %s publishes eagerly and cannot otherwise; local and stsyn "
            "can",
            where(check, "publish"), algorithm->name);
    if (algorithm->payload == KOFN_PAYLOAD_GRADIENT && conf->momentum > 0)
        return kofn_error(
            check->log, KOFN_INVALID,
            "%s: with algorithm %s the server makes the step; workers have no momentum",
            where(check, "momentum"), algorithm->name);
    if (conf->quorum > conf->workers)
        return kofn_error(check->log, KOFN_INVALID,
                          "%s: a quorum of %u is more than there are workers (%u)",
                          where(check, "quorum"), conf->quorum, conf->workers);
    return 0;
}

static int take_over(struct check *check)
{
    const struct kofn_conf *conf = check->conf;

    check->algorithm = conf->algorithm;
    if (conf->algorithm->over)
        check->algorithm = kofn_algorithm_over(conf->algorithm, conf->over);
    else if (is_set(check, "over"))
        return kofn_error(check->log, KOFN_INVALID,
                          "%s: only the K of adasync grows over another algorithm, not that of %s",
                          where(check, "over"), conf->algorithm->name);
    return 0;
}

/* Options of some algorithms, with another one. */
static int check_own(struct check *check)
{
    const struct kofn_algorithm *algorithm = check->algorithm;
    bool outer = !algorithm->ahead && !algorithm->peers;
    const struct {
        const char *name, *whose;
        bool has;
    } own[] = {
        {"adapt-every", "adasync and adacomm follow the loss", algorithm->over || algorithm->steps},
        {"alpha", "overlap and easgd pull workers to an anchor", algorithm->ahead},
        {"beta", "overlap has an anchor with a momentum", algorithm->ahead && !algorithm->elastic},
        {"small-move", "flanp looks how far a round moves the model", algorithm->measures},
        {"staleness-step", "kasync, kbatch-async and adasync over them merge stale gradients",
         algorithm->stale && algorithm->payload == KOFN_PAYLOAD_GRADIENT},
        {"outer-lr", "rounds without an anchor have an outer step", outer},
        {"outer-momentum", "rounds without an anchor have an outer step", outer},
    };

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(own); i++)
        if (!own[i].has && is_set(check, own[i].name))
            return kofn_error(check->log, KOFN_INVALID, "%s: only %s; this is %s",
                              where(check, own[i].name), own[i].whose, algorithm->name);
    if (algorithm->elastic && check->conf->alpha * check->conf->workers > 1)
        return kofn_error(check->log, KOFN_INVALID,
                          "%s: with easgd it is at most 1/N, because N workers pull the centre: "
                          "%g is more than 1/%u",
                          where(check, "alpha"), check->conf->alpha, check->conf->workers);
    if (algorithm->ahead && check->conf->alpha == 1)
        return kofn_error(
            check->log, KOFN_INVALID,
            "%s: it is below 1: at 1 workers keep nothing of what they have done, and "
            "the anchor stays where it is",
            where(check, "alpha"));
    return 0;
}

/* What is said of rounds, where there are none. */
static const char *const of_rounds[] = {"weights",  "late",   "staleness-weight", "grace",
                                        "deadline", "quorum", "suspect-after"};

static int check_peers(struct check *check)
{
    const struct kofn_conf *conf = check->conf;
    const struct kofn_node_ops *peers = check->algorithm->peers;
    const char *name = check->algorithm->name;
    struct kofn_graph graph;
    int rc;

    if (is_set(check, "wait-for"))
        return kofn_error(check->log, KOFN_INVALID,
                          "%s: algorithm %s has no rounds, and waits for no K of anything",
                          where(check, "wait-for"), name);
    if (conf->momentum > 0)
        return kofn_error(check->log, KOFN_INVALID, "%s: peers take plain steps, without momentum",
                          where(check, "momentum"));
    if (peers->pairs && conf->workers % 2 && conf->workers > 1)
        return kofn_error(check->log, KOFN_INVALID,
                          "%s: algorithm %s needs an even number of workers, half of which ask the "
                          "other half; not %u",
                          where(check, "workers"), name, conf->workers);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(of_rounds); i++)
        if (is_set(check, of_rounds[i]))
            kofn_log(check->log, KOFN_LOG_WARN, "%s: has no effect: algorithm %s has no rounds",
                     where(check, of_rounds[i]), name);
    rc = kofn_engine_graph(check->algorithm, conf->workers, conf, check->log, &graph);
    if (!rc)
        kofn_graph_free(&graph);
    return rc;
}

/* What only some algorithms of peers, or only sync, look at. */
static int check_shape(struct check *check)
{
    const struct kofn_node_ops *peers = check->algorithm->peers;
    const char *name = is_set(check, "topology") ? "topology" : "root";

    if ((is_set(check, "topology") || is_set(check, "root")) && !(peers && peers->any_graph))
        return kofn_error(check->log, KOFN_INVALID,
                          "%s: only rfast can have one graph or another, not %s",
                          where(check, name), check->algorithm->name);
    if (check->conf->collective == KOFN_COLLECTIVE_RING && strcmp(check->algorithm->name, "sync"))
        return kofn_error(check->log, KOFN_INVALID,
                          "%s: only the gradients of sync come together in a ring, not those of %s",
                          where(check, "collective"), check->algorithm->name);
    if (check->conf->collective == KOFN_COLLECTIVE_RING && check->conf->ingest > 0)
        return kofn_error(check->log, KOFN_INVALID,
                          "%s: is of the server's link, and in a ring (--collective) there is no "
                          "server; --bandwidth is of every worker's",
                          where(check, "ingest"));
    name = check->conf->step_cap > 0 ? "step-cap" : "leave-out-most";
    if ((check->conf->step_cap > 0 || check->conf->leave_out_most) &&
        strcmp(check->algorithm->name, "stsyn"))
        return kofn_error(check->log, KOFN_INVALID, "%s: only of stsyn, not of %s",
                          where(check, name), check->algorithm->name);
    return peers ? check_peers(check) : 0;
}

static int check_transport(struct check *check)
{
    const struct kofn_conf *conf = check->conf;

    if (!conf->transport && conf->loss > 0 && !conf->latency &&
        !kofn_algorithm_lossy(check->algorithm))
        return kofn_error(check->log, KOFN_INVALID,
                          "%s: a lost message costs a round trip, and there is no --latency",
                          where(check, "loss"));
    if (!conf->transport) /* simulated: it can do everything else */
        return 0;
    if (conf->publish == KOFN_PUBLISH_PULL && !(conf->transport->capabilities & KOFN_CAP_READ))
        return kofn_error(check->log, KOFN_INVALID,
                          "%s: a server cannot read its workers' memory over %s; use eager or "
                          "on-close",
                          where(check, "publish"), conf->transport->name);
    return 0;
}

static int read_stragglers(struct check *check, struct kofn_terms *terms)
{
    struct kofn_text rest = {0};
    size_t room = 1;
    int rc = 0;

    if (!check->conf->straggler)
        return 0;
    for (const char *c = check->conf->straggler; *c; c++)
        room += *c == ' ';
    terms->stragglers = calloc(room, sizeof(*terms->stragglers));
    if (!terms->stragglers)
        return kofn_error(check->log, KOFN_NO_MEMORY, "%zu stragglers", room);
    rest = kofn_text(check->conf->straggler);
    while (!rc && rest.start) {
        struct kofn_text one = kofn_text_cut(&rest, ' ');

        if (one.length)
            rc =
                kofn_straggler_parse(one, check->log, &terms->stragglers[terms->straggler_count++]);
    }
    if (!rc)
        rc = kofn_straggler_check(terms->stragglers, terms->straggler_count, check->conf->workers,
                                  check->log);
    return rc;
}

/* How models are made of updates, where that depends on the algorithm. */
static void set_rules(const struct check *check, struct kofn_terms *terms)
{
    const struct kofn_conf *conf = check->conf;

    terms->rules = (struct kofn_rules){
        .alpha = conf->alpha > 0 ? conf->alpha : kofn_rules_alpha(terms->algorithm, conf->workers),
        .beta = conf->beta,
        .outer_lr = terms->algorithm->ahead ? 0 : conf->outer_lr,
        .outer_momentum = conf->outer_momentum,
        .staleness_step = conf->staleness_step,
        .screen = conf->screen.kind,
        .trim = conf->screen.trim};
    terms->staleness_weight = is_set(check, "staleness-weight")
                                  ? conf->staleness_weight
                                  : terms->algorithm->staleness_weight;
}

/* K, of one that grows the first. */
static uint32_t wait_for_of(const struct check *check)
{
    if (check->conf->wait_for)
        return check->conf->wait_for;
    return check->algorithm->adapt ? 1 : check->conf->workers;
}

/* What is screened must be held until the round closes. */
static int check_screen(struct check *check)
{
    const struct kofn_conf *conf = check->conf;
    const struct kofn_algorithm *algorithm = check->algorithm;

    if (conf->screen.kind == KOFN_SCREENING_NONE)
        return 0;
    if (algorithm->peers || kofn_algorithm_adds(algorithm))
        return kofn_error(check->log, KOFN_INVALID,
                          "%s: algorithm %s holds no updates that could be compared",
                          where(check, "screen"), algorithm->name);
    if (conf->staleness_step > 0 || conf->weights == KOFN_WEIGHTS_FEDNOVA ||
        (algorithm->stale && is_set(check, "staleness-weight")))
        return kofn_error(check->log, KOFN_INVALID,
                          "%s: what is screened is not weighed: without --staleness-step, "
                          "--staleness-weight and --weights fednova",
                          where(check, "screen"));
    if (conf->late != KOFN_LATE_REFUSE && !algorithm->stale && !algorithm->cancels)
        return kofn_error(check->log, KOFN_INVALID,
                          "%s: late updates cannot be compared with those of their round: add "
                          "--late refuse",
                          where(check, "screen"));
    if (conf->screen.kind == KOFN_SCREENING_TRIMMED &&
        conf->screen.trim > (wait_for_of(check) - 1) / 2)
        return kofn_error(check->log, KOFN_INVALID,
                          "%s: of %u updates (--wait-for) %u cannot be left out at either end",
                          where(check, "screen"), wait_for_of(check), conf->screen.trim);
    return 0;
}

/* When the job ends. The default of 30 s is for those who say nothing about it. */
static void set_end(const struct check *check, struct kofn_terms *terms)
{
    const struct kofn_conf *conf = check->conf;

    terms->rounds = conf->rounds;
    terms->seconds = conf->seconds;
    if (!is_set(check, "seconds") && (conf->rounds || conf->target_accuracy > 0))
        terms->seconds = 0;
}

/* What was asked for and changes nothing is said. */
static void warn_of_idle(struct check *check)
{
    if (is_set(check, "hidden") && strcmp(check->conf->model, "mlp"))
        kofn_log(check->log, KOFN_LOG_WARN, "%s: has no effect: the model %s has no hidden units",
                 where(check, "hidden"), check->conf->model);
}

int kofn_terms_make(const struct kofn_options *options, const struct kofn_log *log,
                    struct kofn_terms *terms)
{
    struct check check = {.options = options, .conf = &options->conf, .log = log};
    int rc;

    memset(terms, 0, sizeof(*terms));
    rc = take_over(&check);
    if (!rc)
        rc = check_shape(&check);
    if (!rc)
        rc = check_counts(&check);
    if (!rc)
        rc = check_own(&check);
    if (!rc)
        rc = check_screen(&check);
    if (!rc)
        rc = check_transport(&check);
    if (!rc)
        rc = read_stragglers(&check, terms);
    if (!rc)
        rc = kofn_delay_open(check.conf->delay, log, &terms->delay);
    if (rc) {
        kofn_terms_free(terms);
        return rc;
    }
    terms->algorithm = check.algorithm;
    terms->workers = check.conf->workers;
    terms->wait_for = wait_for_of(&check);
    terms->local_steps = check.conf->local_steps;
    set_rules(&check, terms);
    terms->suspect_after = check.conf->suspect_after;
    if (!check.conf->transport && !is_set(&check, "suspect-after"))
        terms->suspect_after = KOFN_FOREVER; /* in a simulation nobody dies */
    set_end(&check, terms);
    warn_of_idle(&check);
    return 0;
}

int kofn_terms_need_server(const struct kofn_algorithm *algorithm, const struct kofn_log *log)
{
    if (!algorithm->peers)
        return 0;
    return kofn_error(log, KOFN_INVALID, "--algorithm: %s has no server that workers join; %s",
                      algorithm->name,
                      kofn_algorithm_lossy(algorithm) ? "kofn run can run it on this host"
                                                      : "it can only be simulated (kofn sim)");
}

void kofn_terms_free(struct kofn_terms *terms)
{
    kofn_delay_close(&terms->delay);
    free(terms->stragglers);
    memset(terms, 0, sizeof(*terms));
}
