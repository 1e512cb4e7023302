#include "train/onednn.h"

#ifdef HAVE_ONEDNN

#include <string.h>

#include "base/base.h"

/* Of OpenMP, whose header not every compiler has. Both are about the calling thread alone. */
void omp_set_num_threads(int threads);
int omp_get_max_threads(void);

/* False after a failure, this one or an earlier one. */
static bool good(struct kofn_onednn *onednn, dnnl_status_t status, const char *doing)
{
    if (!onednn->doing && status != dnnl_success) {
        onednn->doing = doing;
        onednn->status = status;
    }
    return !onednn->doing;
}

uint32_t kofn_onednn_threads(uint32_t threads)
{
    uint32_t before = (uint32_t)omp_get_max_threads();

    if (before != threads)
        omp_set_num_threads((int)threads);
    return before;
}

void kofn_onednn_open(struct kofn_onednn *onednn, const struct kofn_log *log)
{
    onednn->log = log;
    if (good(onednn, dnnl_engine_create(&onednn->engine, dnnl_cpu, 0), "an engine") &&
        good(onednn, dnnl_stream_create(&onednn->stream, onednn->engine, dnnl_stream_default_flags),
             "a stream") &&
        good(onednn, dnnl_primitive_attr_create(&onednn->attr), "attributes"))
        good(onednn,
             dnnl_primitive_attr_set_scratchpad_mode(onednn->attr, dnnl_scratchpad_mode_user),
             "attributes");
}

void kofn_onednn_close(struct kofn_onednn *onednn)
{
    for (uint32_t i = 0; i < onednn->primitive_count; i++)
        dnnl_primitive_destroy(onednn->primitives[i]);
    for (uint32_t i = 0; i < onednn->memory_count; i++)
        dnnl_memory_destroy(onednn->memories[i]);
    if (onednn->attr)
        dnnl_primitive_attr_destroy(onednn->attr);
    if (onednn->stream)
        dnnl_stream_destroy(onednn->stream);
    if (onednn->engine)
        dnnl_engine_destroy(onednn->engine);
    memset(onednn, 0, sizeof(*onednn));
}

int kofn_onednn_failed(const struct kofn_onednn *onednn)
{
    if (!onednn->doing)
        return 0;
    return kofn_error(onednn->log,
                      onednn->status == dnnl_out_of_memory ? KOFN_NO_MEMORY : KOFN_SYSTEM,
                      "oneDNN: %s: status %d", onednn->doing, (int)onednn->status);
}

dnnl_memory_desc_t kofn_onednn_tensor(struct kofn_onednn *onednn, int dimensions,
                                      const dnnl_dim_t sizes[], dnnl_format_tag_t tag)
{
    dnnl_memory_desc_t tensor = {0};
    dnnl_dims_t all = {0};

    for (int i = 0; i < dimensions; i++)
        all[i] = sizes[i];
    good(onednn, dnnl_memory_desc_init_by_tag(&tensor, dimensions, all, dnnl_f32, tag), "a tensor");
    return tensor;
}

static dnnl_memory_t new_memory(struct kofn_onednn *onednn, const dnnl_memory_desc_t *tensor,
                                void *handle)
{
    dnnl_memory_t memory = NULL;

    if (onednn->doing)
        return NULL;
    if (onednn->memory_count == KOFN_ONEDNN_MEMORIES) {
        good(onednn, dnnl_out_of_memory, "too many tensors");
        return NULL;
    }
    if (!good(onednn, dnnl_memory_create(&memory, tensor, onednn->engine, handle), "memory"))
        return NULL;
    onednn->memories[onednn->memory_count++] = memory;
    return memory;
}

dnnl_memory_t kofn_onednn_memory(struct kofn_onednn *onednn, const dnnl_memory_desc_t *tensor)
{
    dnnl_memory_t memory = new_memory(onednn, tensor, DNNL_MEMORY_ALLOCATE);
    size_t count;
    float *values;

    if (!memory)
        return NULL;
    values = kofn_onednn_values(memory, &count);
    if (values)
        memset(values, 0, dnnl_memory_desc_get_size(tensor));
    return memory;
}

dnnl_memory_t kofn_onednn_elsewhere(struct kofn_onednn *onednn, const dnnl_memory_desc_t *tensor)
{
    return new_memory(onednn, tensor, DNNL_MEMORY_NONE);
}

void kofn_onednn_point(struct kofn_onednn *onednn, dnnl_memory_t memory, const float *values)
{
    good(onednn, dnnl_memory_set_data_handle(memory, (void *)values), "a place of a tensor");
}

float *kofn_onednn_values(dnnl_memory_t memory, size_t *count)
{
    const dnnl_memory_desc_t *tensor;
    void *values = NULL;

    *count = 0;
    if (dnnl_memory_get_data_handle(memory, &values) != dnnl_success || !values ||
        dnnl_memory_get_memory_desc(memory, &tensor) != dnnl_success)
        return NULL;
    *count = dnnl_memory_desc_get_size(tensor) / sizeof(float);
    return values;
}

dnnl_primitive_desc_t kofn_onednn_describe(struct kofn_onednn *onednn, const_dnnl_op_desc_t op,
                                           const_dnnl_primitive_desc_t forward)
{
    dnnl_primitive_desc_t description = NULL;

    if (onednn->doing)
        return NULL;
    good(onednn,
         dnnl_primitive_desc_create(&description, op, onednn->attr, onednn->engine, forward),
         "an operation that it has not");
    return description;
}

void kofn_onednn_make(struct kofn_onednn *onednn, const_dnnl_primitive_desc_t description,
                      struct kofn_onednn_call *call)
{
    const dnnl_memory_desc_t *scratch;

    if (onednn->doing)
        return;
    if (onednn->primitive_count == KOFN_ONEDNN_PRIMITIVES) {
        good(onednn, dnnl_out_of_memory, "too many operations");
        return;
    }
    if (!good(onednn, dnnl_primitive_create(&call->primitive, description), "an operation"))
        return;
    onednn->primitives[onednn->primitive_count++] = call->primitive;
    scratch = dnnl_primitive_desc_query_md(description, dnnl_query_scratchpad_md, 0);
    if (scratch && dnnl_memory_desc_get_size(scratch))
        kofn_onednn_argument(call, DNNL_ARG_SCRATCHPAD, kofn_onednn_memory(onednn, scratch));
}

void kofn_onednn_argument(struct kofn_onednn_call *call, int which, dnnl_memory_t memory)
{
    call->arguments[call->count++] = (dnnl_exec_arg_t){which, memory};
}

void kofn_onednn_reorder(struct kofn_onednn *onednn, dnnl_memory_t from, dnnl_memory_t to,
                         struct kofn_onednn_call *call)
{
    const dnnl_memory_desc_t *source, *target;
    dnnl_primitive_desc_t description = NULL;

    if (onednn->doing || !good(onednn, dnnl_memory_get_memory_desc(from, &source), "a tensor") ||
        !good(onednn, dnnl_memory_get_memory_desc(to, &target), "a tensor") ||
        !good(onednn,
              dnnl_reorder_primitive_desc_create(&description, source, onednn->engine, target,
                                                 onednn->engine, onednn->attr),
              "an order of elements"))
        return;
    kofn_onednn_make(onednn, description, call);
    dnnl_primitive_desc_destroy(description);
    kofn_onednn_argument(call, DNNL_ARG_FROM, from);
    kofn_onednn_argument(call, DNNL_ARG_TO, to);
}

void kofn_onednn_run(struct kofn_onednn *onednn, const struct kofn_onednn_call *call)
{
    good(onednn,
         dnnl_primitive_execute(call->primitive, onednn->stream, call->count, call->arguments),
         "an operation");
}

#endif
