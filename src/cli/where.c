#include "cli/where.h"

#include <stdio.h>
#include <string.h>

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

int kofn_where_server(struct kofn_options *options, const struct kofn_log *log,
                      char address[KOFN_ADDRESS_BYTES])
{
    struct kofn_conf *conf = &options->conf;
    const char *part = conf->bind ? "bind" : is_set(options, "port") ? "port" : NULL;
    const struct kofn_transport_ops *tcp = kofn_transport_find("tcp");
    char where[KOFN_WHERE_BYTES];

    if (part && conf->address)
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
        network_address(conf->bind ? conf->bind : LOOPBACK, conf->port, address);
    return 0;
}

void kofn_where_worker(const struct kofn_conf *conf, char address[KOFN_ADDRESS_BYTES])
{
    if (conf->address)
        snprintf(address, KOFN_ADDRESS_BYTES, "%s", conf->address);
    else if (one_host(conf))
        snprintf(address, KOFN_ADDRESS_BYTES, LOCAL);
    else
        network_address(LOOPBACK, KOFN_PORT, address);
}
