/* node.h: one node of a job without a server: what it knows, what it has to say, and to whom.
 *
 * A node makes activations: it begins one (which says where a gradient is to be computed), and
 * finishes it with that gradient. Nothing here does I/O: whoever carries messages hands in what has
 * arrived, and after every call sends what is due. The simulator, the real peers and the tests run
 * these same nodes.
 *
 * Every message is "overwrite my slot at your side": it carries all that the ones before it did,
 * and an older one that arrives behind a newer one is dropped. What may be lost depends on the
 * algorithm: see kofn_node_ops.lossy.
 *
 * Threads: a node belongs to one. Nothing is allocated after kofn_node_open().
 */
#ifndef KOFN_ALGORITHMS_NODE_H
#define KOFN_ALGORITHMS_NODE_H

#include "algorithms/graph.h"
#include "base/random.h"

struct kofn_algorithm;
struct kofn_node;

enum kofn_edge_kind { KOFN_EDGE_MODEL, KOFN_EDGE_MASS };

/* What comes from one neighbour. */
struct kofn_node_in {
    uint32_t from;
    enum kofn_edge_kind kind;
    bool cut;          /* the neighbour is gone */
    float weight;      /* of a MODEL: w_ij */
    uint64_t sequence; /* of the newest message; 0 = none has come */
    float *slot;       /* the newest; of the carrier; NULL = none has come */
    float *before;     /* of an algorithm that needs two: the one before it */
    float *consumed;   /* of MASS: what of it has been taken in; owned; NULL where it is not kept */
};

/* What goes to one neighbour. */
struct kofn_node_out {
    uint32_t to;
    enum kofn_edge_kind kind;
    float share; /* of MASS: a_ji */
    bool cut;    /* the neighbour is gone */
    bool due;    /* to be sent now; the carrier clears it */
    uint64_t sequence;
    const float *data; /* what is sent; stays as it is until the next call */
    double scalar;     /* sent with it */
    float *sum;        /* of MASS: all that was ever given to this neighbour; owned, or NULL */
};

/* An algorithm of peers. */
struct kofn_node_ops {
    enum kofn_graph_kind graph; /* where it cannot be chosen */
    bool any_graph;             /* it can be */
    bool models, masses;        /* which of the graph's edges it uses */
    bool lossy;  /* a message may be lost or left out: the next one makes up for it. Else a lost one
                    is sent again */
    bool tracks; /* a conservation law can be checked: kofn_node_residual() */
    bool pairs;  /* needs an even number of nodes */
    bool even;   /* everybody makes as many activations as anybody, in the long run */
    bool (*complete)(const struct kofn_node *node); /* NULL: always */
    int (*open)(struct kofn_node *node);            /* its own vectors; KOFN_NO_MEMORY */
    void (*begin)(struct kofn_node *node);
    void (*finish)(struct kofn_node *node, const float *gradient);

    /* A message of a neighbour is newer than all before: takes it in, and returns the buffer that
     * is not needed any more, if any. NULL: it goes to the slot.
     */
    float *(*arrive)(struct kofn_node *node, struct kofn_node_in *in, float *data, double scalar);
};

struct kofn_node {
    const struct kofn_node_ops *ops;
    uint32_t rank, nodes;
    size_t parameters; /* 0: no arithmetic, only what is sent when */
    float rate;        /* gamma: the step along the tracker; the learning rate of the others */
    float own_model, own_mass;
    bool acyclic;         /* as of the graph */
    uint64_t activations; /* finished; the first gradient of a tracker included */
    const float *first;   /* the first model, the same for all; the caller's */

    const float *point; /* where the gradient of this activation is to be computed; stays as it is
                           until the activation is finished */
    const float *model; /* this node's; the job's model is the mean of all */

    float *x, *z, *g, *v;      /* owned; NULL where they are not used */
    double scalar;             /* of the node: push-sum weight */
    double received;           /* and what of it has arrived */
    uint32_t partner;          /* who is to answer; KOFN_ROOT_ANY: nobody */
    struct kofn_random random; /* whom to ask */

    uint32_t in_count, out_count, lists;
    struct kofn_node_in *in;   /* models, then masses, as they are in the graph; owned */
    struct kofn_node_out *out; /* the same; owned */
    const float **slots;       /* what steps work on; owned */
    float **vectors;           /* the same */
    float *weights;            /* the same */
};

struct kofn_node_attr {
    const struct kofn_algorithm *algorithm; /* one of peers */
    const struct kofn_graph *graph;
    uint32_t rank;
    size_t parameters;
    const float *first;   /* outlives the node; NULL without parameters */
    double learning_rate; /* of a mean: what tracks a sum divides it by the number of nodes */
    uint64_t seed;
    const struct kofn_log *log;
};

/* KOFN_NO_MEMORY, logged. Slots are empty: models that have not come are the first model, mass is
 * 0. */
int kofn_node_open(const struct kofn_node_attr *attr, struct kofn_node *node);
void kofn_node_close(struct kofn_node *node);

/* Begins an activation: sets node->point. Something may be due after it. */
void kofn_node_begin(struct kofn_node *node);

/* May the activation that has begun be finished, in view of what has arrived? */
bool kofn_node_complete(const struct kofn_node *node);

/* Finishes it with the gradient at node->point, of node->parameters elements. */
void kofn_node_finish(struct kofn_node *node, const float *gradient);

/* Message @sequence has arrived along in-edge @index; @data (NULL without parameters) is the
 * node's to read until it is returned by this function, or the node is closed. Returns the buffer
 * that is not needed any more: @data itself if something newer has come before. NULL: none.
 * Something may be due after it.
 */
float *kofn_node_arrive(struct kofn_node *node, uint32_t index, float *data, double scalar,
                        uint64_t sequence);

/* The neighbour @rank is gone for good: nothing more is taken from it or given to it, its slots are
 * not looked at any more, and what its model weighed, the node's own weighs now. Where mass runs in
 * no cycles it is as if its edges had never been: what was taken in is given back and what was
 * given is taken back, so that those left come to an optimum of their own. Where it does, the sums
 * are too large to be moved at once: what has arrived is kept, and what the neighbour had is lost.
 * For algorithms that track.
 */
void kofn_node_lose(struct kofn_node *node, uint32_t rank);

/* The edge from @from, of @kind; KOFN_ROOT_ANY if there is none. */
uint32_t kofn_node_in_edge(const struct kofn_node *node, uint32_t from, enum kofn_edge_kind kind);

/* The conservation law says that over all nodes that were never lost
 *     sum of z + sum over edges of (given - taken in) - sum of g = 0.
 * Adds this node's part of the left side to @sum, and how large its terms are to @scale
 * (node->parameters elements each).
 *
 * What it proves is the arithmetic of the nodes: that rounding has eaten no mass. Whatever lies in
 * a slot is what is taken in, and what was given and never arrives is still given: a carrier that
 * loses, tears or mixes up messages does not violate it. That what is taken in is what was given
 * has to be compared link by link: once nothing is under way, `consumed` there is `sum` here.
 */
void kofn_node_residual(const struct kofn_node *node, double *sum, double *scale);

/* ---- for the algorithms ---- */

/* A vector of zeros, aligned; NULL without memory. Also for no elements. */
float *kofn_node_vector(size_t elements);

/* All out-edges of @kind are due. */
void kofn_node_tell(struct kofn_node *node, enum kofn_edge_kind kind);

#endif
