/* Any bytes, and any descriptors of its own, as the offer of a hub and as the answer of a worker: a
 * status, or an endpoint that can be used and closed.
 *
 * Input: which true descriptors take the four places (one byte each), how many of them there are,
 * the length, then the bytes that are changed in the true offer: every two bytes a place and a
 * difference.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "transports/self/self.h"
#include "transports/shm/shm.h"

#define HEAD 6
#define EPOCH 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void say_nothing(void *arg, enum kofn_log_level level, const char *message)
{
    (void)arg;
    (void)level;
    (void)message;
}

static const struct kofn_log quiet = {.level = KOFN_LOG_ERROR, .write = say_nothing};

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* The offer with what the input changes in it, and descriptors of its own. */
static struct kofn_offer changed(const struct kofn_offer *offer, const uint8_t *data, size_t size)
{
    struct kofn_offer copy = *offer;

    copy.fd_count = KOFN_MIN(data[4] % (KOFN_OFFER_FDS + 1), offer->fd_count);
    if (data[4] == 0) /* most inputs keep them all */
        copy.fd_count = offer->fd_count;
    for (uint32_t i = 0; i < copy.fd_count; i++)
        copy.fds[i] = fcntl(offer->fds[(i + data[i]) % offer->fd_count], F_DUPFD_CLOEXEC, 0);
    if (data[5])
        copy.length = data[5] * 2u;
    for (size_t i = HEAD; i + 1 < size; i += 2)
        copy.bytes[data[i] % KOFN_OFFER_BYTES] ^= data[i + 1];
    return copy;
}

/* An endpoint that came of a changed offer: it can do everything. */
static void use(struct kofn_endpoint *endpoint)
{
    const struct kofn_transport_ops *ops = endpoint->ops;
    float *model = malloc(endpoint->model.payload_bytes);
    struct kofn_stamp stamp = {.sequence = 1};

    require(model != NULL);
    memset(ops->endpoint_buffer(endpoint, 1), 1, endpoint->slot.payload_bytes);
    ops->endpoint_publish(endpoint, &stamp);
    ops->endpoint_beat(endpoint, 1);
    ops->endpoint_left(endpoint, 1);
    ops->endpoint_fetch(endpoint, model, NULL, &stamp);
    ops->endpoint_wait(endpoint, endpoint->block->gate, 1);
    free(model);
}

static void try_transport(const struct kofn_transport_ops *ops, void *context, const uint8_t *data,
                          size_t size)
{
    struct kofn_hub_attr hub_attr = {
        .workers = 3, .numa_node = -1, .context = context, .log = &quiet};
    struct kofn_endpoint_attr attr = {.rank = 1, .epoch = EPOCH, .context = context, .log = &quiet};
    struct kofn_arrival arrivals[4];
    struct kofn_offer offer, wrong, answer;
    struct kofn_endpoint *endpoint = NULL;
    struct kofn_hub *hub;

    kofn_geometry_init(&attr.slot, 100, 2);
    attr.model = hub_attr.slot = hub_attr.model = attr.slot;
    require(!ops->hub_open(&hub_attr, &hub));
    require(!ops->hub_admit(hub, 1, EPOCH, &offer));
    wrong = changed(&offer, data, size);
    if (!ops->endpoint_open(&attr, &wrong, &answer, &endpoint)) {
        use(endpoint);
        ops->hub_connect(hub, 1, &answer);
        ops->hub_poll(hub, arrivals, 4);
        ops->hub_wait(hub, 1);
        ops->endpoint_close(endpoint);
    } else {
        require(endpoint == NULL);
        wrong = offer; /* a worker answers with what it should not */
        wrong.fd_count = 0;
        ops->hub_connect(hub, 1, &(struct kofn_offer){.length = (uint32_t)KOFN_MIN(size, 512)});
        wrong = changed(&wrong, data, size);
        ops->hub_connect(hub, 1, &wrong);
    }
    kofn_offer_close(&offer);
    ops->hub_close(hub);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kofn_fabric_attr attr = {.workers = 3, .automatic = true, .log = &quiet};
    struct kofn_fabric *fabric;

    if (size < HEAD)
        return 0;
    try_transport(&kofn_shm, NULL, data, size);
    require(!kofn_fabric_open(&attr, &fabric));
    try_transport(&kofn_self, fabric, data, size);
    kofn_fabric_close(fabric);
    return 0;
}
