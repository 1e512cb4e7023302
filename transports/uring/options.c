#include "transports/uring/options.h"

#include <string.h>

#include "base/log.h"

static int choose_engine(struct kofn_text value, struct kofn__tcp_options *options,
                         const struct kofn_log *log)
{
    const char *reason;
    bool wanted = kofn_text_is(value, "uring");

    if (!wanted && !kofn_text_is(value, "auto") && !kofn_text_is(value, "poll"))
        return kofn_error(log, KOFN_INVALID, "tcp: engine=%.*s: must be auto, uring or poll",
                          KOFN_TEXT_ARGS(value));
    options->engine = &kofn__engine_poll;
    if (kofn_text_is(value, "poll"))
        return 0;
    if (kofn__engine_uring_allowed(&reason))
        options->engine = &kofn__engine_uring;
    else if (wanted)
        return kofn_error(log, KOFN_UNSUPPORTED, "tcp: engine=uring: %s", reason);
    return 0;
}

static int keep_interface(struct kofn_text value, struct kofn__tcp_options *options,
                          const struct kofn_log *log)
{
    if (!value.length || value.length >= sizeof(options->interface))
        return kofn_error(log, KOFN_INVALID, "tcp: interface=%.*s: not the name of an interface",
                          KOFN_TEXT_ARGS(value));
    memcpy(options->interface, value.start, value.length);
    options->interface[value.length] = 0;
    return 0;
}

static int choose_copy(struct kofn_text value, struct kofn__tcp_options *options,
                       const struct kofn_log *log)
{
    static const char *const names[] = {"never", "auto", "always"};

    for (size_t i = 0; i < KOFN_ARRAY_SIZE(names); i++)
        if (kofn_text_is(value, names[i])) {
            options->zero_copy = (enum kofn__zero_copy_mode)i;
            return 0;
        }
    return kofn_error(log, KOFN_INVALID, "tcp: zero-copy=%.*s: must be auto, always or never",
                      KOFN_TEXT_ARGS(value));
}

/* It is tried on a socket, so that a wrong name is not found out by a hundred connections. */
static int choose_congestion(struct kofn_text value, struct kofn__tcp_options *options,
                             const struct kofn_log *log)
{
    if (!value.length || value.length >= sizeof(options->congestion))
        return kofn_error(log, KOFN_INVALID, "tcp: congestion=%.*s: not the name of a way",
                          KOFN_TEXT_ARGS(value));
    memcpy(options->congestion, value.start, value.length);
    options->congestion[value.length] = 0;
    return kofn__socket_congestion_allowed(options->congestion, log);
}

int kofn__tcp_options_read(const char *text, struct kofn__tcp_options *options,
                           const struct kofn_log *log)
{
    struct kofn_text key, value, engine = {"auto", 4};
    const char *rest = NULL;
    int rc = 0;

    *options = (struct kofn__tcp_options){.zero_copy = ZERO_COPY_AUTO};
    while (!rc && kofn_transport_option(text, &rest, &key, &value)) {
        if (kofn_text_is(key, "engine"))
            engine = value;
        else if (kofn_text_is(key, "interface"))
            rc = keep_interface(value, options, log);
        else if (kofn_text_is(key, "zero-copy"))
            rc = choose_copy(value, options, log);
        else if (kofn_text_is(key, "congestion"))
            rc = choose_congestion(value, options, log);
        else
            rc = kofn_error(log, KOFN_INVALID, "tcp: has no option '%.*s'", KOFN_TEXT_ARGS(key));
    }
    return rc ? rc : choose_engine(engine, options, log);
}
