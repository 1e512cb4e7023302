#include "cli/where.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/interface.h"
#include "transports/transport.h"

#define LOCAL "shm:kofn"
#define LOOPBACK "127.0.0.1"

static bool is_set(const struct kofn_options *options, const char *name)
{
    return kofn_options_value(options, name)->origin != KOFN_ORIGIN_DEFAULT;
}

const char *kofn_where_transport(const struct kofn_options *options)
{
    return is_set(options, "transport") ? options->conf.transport->name : NULL;
}

static void network_address(const char *host, unsigned port, char *address)
{
    bool bare = !strchr(host, ':') || *host == '[';

    snprintf(address, KOFN_ADDRESS_BYTES, "tcp:%s%s%s:%u", bare ? "" : "[", host, bare ? "" : "]",
             port);
}

static bool one_host(const struct kofn_conf *conf)
{
    return conf->transport->capabilities & KOFN_CAP_ONE_HOST;
}

/* ---- what is said to the transport ---- */

/* Adds KEY=VALUE: the last of several counts, so what has @precedence comes last. */
static int tell_transport(struct kofn_options *options, const char *key, const char *value,
                          bool precedence, const struct kofn_log *log)
{
    const char *before = options->conf.transport_options ? options->conf.transport_options : "";
    const char *space = *before ? " " : "";
    char *text = options->transport_options;
    int length = precedence ? snprintf(text, sizeof(options->transport_options), "%s%s%s=%s",
                                       before, space, key, value)
                            : snprintf(text, sizeof(options->transport_options), "%s=%s%s%s", key,
                                       value, space, before);

    if (length < 0 || (size_t)length >= sizeof(options->transport_options) || strchr(value, ' '))
        return kofn_error(log, KOFN_INVALID, "%s %.64s: too long, or more than one word", key,
                          value);
    options->conf.transport_options = text;
    return 0;
}

static int tell_interface(struct kofn_options *options, const char *list,
                          const struct kofn_log *log)
{
    return tell_transport(options, "interface", list, true, log);
}

static int tell_connect(struct kofn_options *options, const struct kofn_log *log)
{
    enum kofn_origin own = kofn_options_value(options, "connect")->origin;

    if (!options->conf.connect)
        return 0;
    return tell_transport(options, "connect", options->conf.connect,
                          own >= kofn_options_value(options, "transport-option")->origin, log);
}

int kofn_where_connect(struct kofn_options *options, const struct kofn_log *log)
{
    const struct kofn_conf *conf = &options->conf;
    char where[KOFN_WHERE_BYTES];

    if (conf->connect && conf->transport != kofn_transport_find("verbs"))
        return kofn_error(log, KOFN_INVALID, "%s: is of transport verbs, and this one is %s",
                          kofn_options_where(options, "connect", where), conf->transport->name);
    return tell_connect(options, log);
}

/* ---- interfaces ---- */

static bool over_tcp(const struct kofn_conf *conf)
{
    return conf->transport == kofn_transport_find("tcp");
}

static bool everywhere(const char *address)
{
    return !strncmp(address, "tcp:*:", 6) || !strncmp(address, "tcp:0.0.0.0:", 12) ||
           !strncmp(address, "tcp:[::]:", 9);
}

/* What other programs of this host do, where nobody said what this one is to do. */
static int take_hint(struct kofn_options *options, const struct kofn_log *log)
{
    const char *hint = getenv("NCCL_SOCKET_IFNAME"), *said = options->conf.transport_options;
    char host[KOFN_HOST_BYTES];
    int rc;

    if (!hint || !*hint || (said && strstr(said, "interface=")))
        return 0;
    if (strlen(hint) >= KOFN_INTERFACES_BYTES || strchr(hint, ' ') ||
        kofn_interface_find(hint, KOFN_INTERFACE_ANY, host, sizeof(host))) {
        kofn_log(log, KOFN_LOG_WARN,
                 "NCCL_SOCKET_IFNAME=%.64s means no interface of this host: it is not heeded",
                 hint);
        return 0;
    }
    rc = tell_interface(options, hint, log);
    if (!rc)
        kofn_log(log, KOFN_LOG_INFO, "updates and models go over %s, as NCCL_SOCKET_IFNAME=%s says",
                 host, hint);
    return rc;
}

/* ---- addresses ---- */

/* From what is not an address by itself: --bind, or --interface, or neither. */
static int from_parts(const struct kofn_conf *conf, const struct kofn_log *log, char *address)
{
    char host[KOFN_HOST_BYTES];
    int rc = 0;

    if (conf->interface && !conf->bind)
        rc = kofn_interface_host(conf->interface, KOFN_INTERFACE_ANY, host, sizeof(host), "serve",
                                 log);
    if (!rc)
        network_address(conf->bind        ? conf->bind
                        : conf->interface ? host
                                          : LOOPBACK,
                        conf->port, address);
    return rc;
}

/* The option that only a server has who listens on a network; NULL = none. */
static const char *network_part(const struct kofn_options *options)
{
    const struct kofn_conf *conf = &options->conf;

    return conf->bind                ? "bind"
           : is_set(options, "port") ? "port"
           : conf->interface         ? "interface"
                                     : NULL;
}

int kofn_where_server(struct kofn_options *options, const struct kofn_log *log,
                      char address[KOFN_ADDRESS_BYTES])
{
    struct kofn_conf *conf = &options->conf;
    const struct kofn_transport_ops *tcp = kofn_transport_find("tcp");
    const char *part = network_part(options);
    char where[KOFN_WHERE_BYTES];
    int rc = 0;

    if (conf->address && (conf->bind || is_set(options, "port")))
        return kofn_error(log, KOFN_INVALID, "%s: --address %s says it already",
                          kofn_options_where(options, part, where), conf->address);
    if (tcp && !is_set(options, "transport") &&
        (part || (conf->address && kofn_address_network(conf->address))))
        conf->transport = tcp;
    if (part && one_host(conf))
        return kofn_error(log, KOFN_INVALID,
                          "%s: transport %s is not for networks; its workers are on this host",
                          kofn_options_where(options, part, where), conf->transport->name);
    if (conf->address)
        snprintf(address, KOFN_ADDRESS_BYTES, "%s", conf->address);
    else if (one_host(conf))
        snprintf(address, KOFN_ADDRESS_BYTES, LOCAL);
    else
        rc = from_parts(conf, log, address);
    if (!rc && over_tcp(conf) && conf->interface)
        rc = tell_interface(options, conf->interface, log);
    else if (!rc && over_tcp(conf) && everywhere(address))
        rc = take_hint(options, log);
    return rc ? rc : kofn_where_connect(options, log);
}

int kofn_where_worker(struct kofn_options *options, const struct kofn_log *log,
                      char address[KOFN_ADDRESS_BYTES])
{
    const struct kofn_conf *conf = &options->conf;
    int rc = conf->interface ? tell_interface(options, conf->interface, log) : 0;

    if (conf->address)
        snprintf(address, KOFN_ADDRESS_BYTES, "%s", conf->address);
    else if (one_host(conf))
        snprintf(address, KOFN_ADDRESS_BYTES, LOCAL);
    else
        network_address(LOOPBACK, KOFN_PORT, address);
    if (rc)
        return rc;
    /* which transport it is, the server will tell, and it what is not an option of it */
    return !is_set(options, "transport") && kofn_address_network(address)
               ? tell_connect(options, log)
               : kofn_where_connect(options, log);
}
