/* conf.h: what was asked for: the value of every option, parsed. The option table fills it. */
#ifndef KOFN_CLI_CONF_H
#define KOFN_CLI_CONF_H

#include <kofn/types.h>

#include "base/base.h"

struct kofn_algorithm;
struct kofn_transport_ops;

/* How gradients of sync come together. */
enum kofn_collective { KOFN_COLLECTIVE_STAR, KOFN_COLLECTIVE_RING };

enum kofn_pin { KOFN_PIN_AUTO, KOFN_PIN_OFF };

struct kofn_conf_deadline {
    uint64_t ns; /* 0 = none */
    bool adaptive;
};

struct kofn_conf_screen {
    enum kofn_screening kind;
    uint32_t trim; /* TRIMMED */
};

/* Texts belong to the options they were read into. Durations are ns; 0 stands for "none" or "all".
 */
struct kofn_conf {
    /* the job */
    uint32_t workers;
    uint32_t wait_for; /* 0 = all */
    const struct kofn_algorithm *algorithm;
    const char *over;     /* of adasync */
    const char *topology; /* of rfast */
    uint32_t root;        /* the same; KOFN_ROOT_ANY = not given */
    uint64_t adapt_every; /* 0 = in every round */
    double alpha, beta;   /* of overlap; alpha of easgd, too; 0 = its own */
    double small_move;    /* of flanp */
    double outer_lr, outer_momentum;
    double staleness_step; /* 0 = none */
    struct kofn_conf_screen screen;
    uint32_t local_steps;
    int publish, weights, late; /* enum kofn_publish, kofn_weights, kofn_late */
    double staleness_weight;
    uint64_t grace;
    struct kofn_conf_deadline deadline;
    uint32_t quorum;
    uint64_t suspect_after;
    uint64_t seed;

    /* its end */
    uint64_t rounds, seconds;
    double target_accuracy; /* 0 = none */
    uint64_t eval_every;

    /* the workload */
    const char *model, *data, *split;
    uint32_t hidden, batch;
    double lr, momentum;

    /* the machine */
    const struct kofn_transport_ops *transport;
    const char *transport_options; /* KEY=VALUE with spaces between them, or NULL */
    const char *connect;           /* of verbs: how connections are made; NULL = not said */
    uint32_t merge_threads;
    int pin; /* enum kofn_pin */

    /* several machines */
    const char *address, *bind, *interface; /* NULL = not given */
    uint32_t port, rank;
    bool insecure;
    uint64_t join_timeout; /* 0 = none */
    uint64_t timeout, peer_timeout;

    /* faults */
    const char *delay;
    const char *straggler; /* specifications with spaces between them, or NULL */

    /* what is simulated */
    uint64_t latency;
    double bandwidth, ingest; /* bytes a second; 0 = without limit */
    double loss;
    int collective;  /* enum kofn_collective */
    double step_cap; /* times U; 0 = none */
    bool leave_out_most;
    uint32_t parameters;
    uint32_t threads;  /* 0 = as many as there are CPUs */
    const char *trace; /* NULL = none */

    /* output */
    const char *record, *json; /* NULL = none */
    bool quiet;
    uint32_t verbose;

    /* the options themselves */
    const char *config;
    bool help;
};

#endif
