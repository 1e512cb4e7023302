/* The transports of this build. A new one is a folder and a line here. */
#include <string.h>

#include "transports/self/self.h"
#include "transports/shm/shm.h"
#include "transports/transport.h"

static const struct kofn_transport_ops *const transports[] = {
    &kofn_shm,
    &kofn_self,
};

const struct kofn_transport_ops *kofn_transport_at(size_t index)
{
    return index < KOFN_ARRAY_SIZE(transports) ? transports[index] : NULL;
}

const struct kofn_transport_ops *kofn_transport_find(const char *name)
{
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(transports); i++)
        if (!strcmp(transports[i]->name, name))
            return transports[i];
    return NULL;
}
