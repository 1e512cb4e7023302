/* The transports of this build. A new one is a folder and a line here. */
#include <string.h>

#include "transports/self/self.h"
#include "transports/shm/shm.h"
#include "transports/transport.h"
#include "transports/uring/uring.h"
#ifdef HAVE_VERBS
#include "transports/verbs/verbs.h"
#endif

static const struct kofn_transport_ops *const transports[] = {
    &kofn_shm,
    &kofn_tcp,
    &kofn_self,
#ifdef HAVE_VERBS
    &kofn_verbs,
#endif
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

bool kofn_transport_option(const char *options, const char **rest, struct kofn_text *key,
                           struct kofn_text *value)
{
    const char *at = *rest ? *rest : options;
    struct kofn_text part;

    if (!at)
        return false;
    at += strspn(at, " ");
    part = (struct kofn_text){at, strcspn(at, " ")};
    *rest = at + part.length;
    if (!part.length)
        return false;
    *key = kofn_text_cut(&part, '=');
    *value = part.start ? part : (struct kofn_text){"", 0};
    return true;
}
