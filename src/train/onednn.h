/* onednn.h: the little of oneDNN that a network needs: memory, and primitives with their arguments.
 *
 * Everything is made when a model is opened and belongs to one struct kofn_onednn, which the
 * model's one thread uses. Making goes on after a failure, without doing anything: whoever has made
 * everything asks once, kofn_onednn_failed(). Primitives work in memory of their own, not in
 * oneDNN's, which belongs to the thread that has made them and not to the one that runs them.
 */
#ifndef KOFN_TRAIN_ONEDNN_H
#define KOFN_TRAIN_ONEDNN_H

#ifdef HAVE_ONEDNN

#include <oneapi/dnnl/dnnl.h>

#include "base/log.h"

#define KOFN_ONEDNN_MEMORIES 64u
#define KOFN_ONEDNN_PRIMITIVES 32u
#define KOFN_ONEDNN_ARGUMENTS 6u

struct kofn_onednn {
    const struct kofn_log *log;
    const char *doing;    /* what has failed; NULL = nothing */
    dnnl_status_t status; /* of it */
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_attr_t attr;
    dnnl_memory_t memories[KOFN_ONEDNN_MEMORIES];
    dnnl_primitive_t primitives[KOFN_ONEDNN_PRIMITIVES];
    uint32_t memory_count, primitive_count;
};

/* A primitive and what it works on. */
struct kofn_onednn_call {
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t arguments[KOFN_ONEDNN_ARGUMENTS];
    int count;
};

/* @onednn is zeroed. */
void kofn_onednn_open(struct kofn_onednn *onednn, const struct kofn_log *log);
void kofn_onednn_close(struct kofn_onednn *onednn);

/* KOFN_NO_MEMORY or KOFN_SYSTEM if anything has failed so far; logged. */
int kofn_onednn_failed(const struct kofn_onednn *onednn);

/* A tensor of f32 in the given order of elements; dnnl_format_tag_any leaves it to a primitive. */
dnnl_memory_desc_t kofn_onednn_tensor(struct kofn_onednn *onednn, int dimensions,
                                      const dnnl_dim_t sizes[], dnnl_format_tag_t tag);

/* Memory for it, zeroed; and memory that kofn_onednn_point() says where it is. */
dnnl_memory_t kofn_onednn_memory(struct kofn_onednn *onednn, const dnnl_memory_desc_t *tensor);
dnnl_memory_t kofn_onednn_elsewhere(struct kofn_onednn *onednn, const dnnl_memory_desc_t *tensor);
void kofn_onednn_point(struct kofn_onednn *onednn, dnnl_memory_t memory, const float *values);
float *kofn_onednn_values(dnnl_memory_t memory, size_t *count);

/* What a primitive would be: destroyed by the caller. NULL after a failure. */
dnnl_primitive_desc_t kofn_onednn_describe(struct kofn_onednn *onednn, const_dnnl_op_desc_t op,
                                           const_dnnl_primitive_desc_t forward);

/* Makes the primitive and its scratch memory. Arguments are added one by one. */
void kofn_onednn_make(struct kofn_onednn *onednn, const_dnnl_primitive_desc_t description,
                      struct kofn_onednn_call *call);
void kofn_onednn_argument(struct kofn_onednn_call *call, int which, dnnl_memory_t memory);

/* From one order of elements to another. */
void kofn_onednn_reorder(struct kofn_onednn *onednn, dnnl_memory_t from, dnnl_memory_t to,
                         struct kofn_onednn_call *call);

/* How many threads the primitives run in that the calling thread makes and runs from here on, the
 * same number for both; returns how many it was. */
uint32_t kofn_onednn_threads(uint32_t threads);

/* Runs it, to its end. */
void kofn_onednn_run(struct kofn_onednn *onednn, const struct kofn_onednn_call *call);

#endif

#endif
