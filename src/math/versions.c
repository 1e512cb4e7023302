#include "math/versions.h"

#include <stdlib.h>
#include <string.h>

#include "math/distance.h"

int kofn_versions_open(struct kofn_versions *versions, size_t n, uint32_t users)
{
    *versions = (struct kofn_versions){.room = users + KOFN_VERSIONS_SPARE, .n = n};
    versions->list = calloc(versions->room, sizeof(*versions->list));
    return versions->list ? 0 : KOFN_NO_MEMORY;
}

void kofn_versions_close(struct kofn_versions *versions)
{
    for (uint32_t i = 0; versions->list && i < versions->room; i++)
        free(versions->list[i].model);
    free(versions->list);
    versions->list = NULL;
}

static bool is_used(uint32_t version, const uint32_t *in_use, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (in_use[i] == version)
            return true;
    return false;
}

/* The place for one more, with memory; NULL without. Frees what nobody needs. */
static struct kofn_version *find_place(struct kofn_versions *versions, uint32_t version,
                                       const uint32_t *in_use, uint32_t count)
{
    struct kofn_version *place = NULL;

    for (uint32_t i = 0; i < versions->room; i++) {
        struct kofn_version *kept = &versions->list[i];

        if (kept->version + KOFN_VERSIONS_SPARE <= version &&
            !is_used(kept->version, in_use, count))
            kept->version = 0;
        if (!kept->version && (!place || !place->model)) /* one that has memory already, if any */
            place = kept;
    }
    if (place && !place->model)
        place->model = malloc(versions->n * sizeof(float));
    return place && place->model ? place : NULL;
}

int kofn_versions_keep(struct kofn_versions *versions, uint32_t version, const float *model,
                       const uint32_t *in_use, uint32_t count)
{
    struct kofn_version *place = find_place(versions, version, in_use, count);

    if (!place)
        return KOFN_NO_MEMORY;
    memcpy(place->model, model, versions->n * sizeof(float));
    place->version = versions->newest = version;
    for (uint32_t i = 0; i < versions->room; i++)
        versions->list[i].apart = -1;
    return 0;
}

/* Is @kept a better answer for @version than @best? */
static bool is_nearer(const struct kofn_version *kept, const struct kofn_version *best,
                      uint32_t version)
{
    if (!best)
        return true;
    if ((kept->version <= version) != (best->version <= version))
        return kept->version <= version;
    return kept->version <= version ? kept->version > best->version : kept->version < best->version;
}

double kofn_versions_apart(struct kofn_versions *versions, uint32_t version)
{
    struct kofn_version *best = NULL, *newest = NULL;

    for (uint32_t i = 0; i < versions->room; i++) {
        struct kofn_version *kept = &versions->list[i];

        if (!kept->version)
            continue;
        if (kept->version == versions->newest)
            newest = kept;
        if (is_nearer(kept, best, version))
            best = kept;
    }
    if (!best || !newest)
        return 0;
    if (best->apart < 0)
        best->apart = kofn_distance_squared(best->model, newest->model, versions->n);
    return best->apart;
}
