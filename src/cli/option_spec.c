/* option_spec.c: option parsers of what other folders define: algorithms, transports, delays, data
 * sets. */
#include <string.h>

#include "algorithms/algorithm.h"
#include "algorithms/graph.h"
#include "base/parse.h"
#include "cli/option_value.h"
#include "sim/delay.h"
#include "sim/straggler.h"
#include "train/split.h"
#include "transports/transport.h"

KOFN_OPTION_PARSER(kofn_option_algorithm)
{
    const char *name;
    int rc = kofn_option_name(option, text, where, log, &name);

    if (!rc)
        *(const struct kofn_algorithm **)field = kofn_algorithm_find(name);
    return rc;
}

KOFN_OPTION_PARSER(kofn_option_transport)
{
    const char *name;
    int rc = kofn_option_name(option, text, where, log, &name);

    if (!rc)
        *(const struct kofn_transport_ops **)field = kofn_transport_find(name);
    return rc;
}

KOFN_OPTION_PARSER(kofn_option_delay)
{
    struct kofn_delay delay;
    int rc = kofn_delay_parse(kofn_text(text), log, &delay);

    (void)option, (void)where; /* the message shows the whole text */
    if (!rc)
        *(const char **)field = text;
    return rc;
}

KOFN_OPTION_PARSER(kofn_option_straggler)
{
    struct kofn_text rest = kofn_text(text), one;
    struct kofn_straggler straggler;
    size_t count = 0;
    int rc = 0;

    (void)option;
    while (!rc && rest.start) {
        one = kofn_text_cut(&rest, ' ');
        if (!one.length)
            continue;
        rc = kofn_straggler_parse(one, log, &straggler);
        count++;
    }
    if (!rc && !count)
        rc = kofn_error(log, KOFN_INVALID, "%s: is empty", where);
    if (!rc)
        *(const char **)field = text;
    return rc;
}

KOFN_OPTION_PARSER(kofn_option_split)
{
    struct kofn_split_spec spec;
    int rc = kofn_split_parse(kofn_text(text), log, &spec);

    (void)option, (void)where;
    if (!rc)
        *(const char **)field = text;
    return rc;
}

KOFN_OPTION_PARSER(kofn_option_root)
{
    if (strcmp(text, option->special))
        return kofn_option_u32(option, text, where, log, field);
    *(uint32_t *)field = KOFN_ROOT_ANY;
    return 0;
}
