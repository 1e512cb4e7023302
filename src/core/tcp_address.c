/* tcp_address.c: addresses of the control channel between hosts, as texts and as the kernel has
 * them. */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "core/channel.h"

static const char scheme[] = "tcp:";

bool kofn_address_network(const char *address)
{
    return !strncmp(address, scheme, strlen(scheme));
}

static int refuse(const char *address, const struct kofn_log *log)
{
    return kofn_error(
        log, KOFN_INVALID,
        "address '%.120s' is not of the form tcp:HOST:PORT, [HOST] for an IPv6 number, "
        "* for all addresses",
        address);
}

int kofn__tcp_parse(const char *address, struct kofn_tcp_name *name, const struct kofn_log *log)
{
    const char *host = address + strlen(scheme), *colon = strrchr(host, ':');
    struct kofn_text text = {host, 0};
    struct kofn_bad bad;
    uint64_t port;

    if (!colon || kofn_parse_uint(kofn_text(colon + 1), 0, 65535, &port, &bad))
        return refuse(address, log);
    text.length = (size_t)(colon - host);
    if (text.length > 2 && *host == '[' && colon[-1] == ']')
        text = (struct kofn_text){host + 1, text.length - 2};
    else if (memchr(host, ':', text.length))
        return refuse(address, log);
    if (!text.length || text.length >= sizeof(name->host) || memchr(text.start, '[', text.length) ||
        memchr(text.start, ']', text.length))
        return refuse(address, log);
    if (kofn_text_is(text, "*"))
        text.length = 0;
    snprintf(name->host, sizeof(name->host), "%.*s", (int)text.length, text.start);
    snprintf(name->port, sizeof(name->port), "%u", (unsigned)port);
    return 0;
}

/* An IPv4 address that came through a socket of both families. */
static bool in_v6_coat(const struct sockaddr *address, struct sockaddr_in *plain)
{
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;

    if (address->sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
        return false;
    memset(plain, 0, sizeof(*plain));
    plain->sin_family = AF_INET;
    plain->sin_port = v6->sin6_port;
    memcpy(&plain->sin_addr, v6->sin6_addr.s6_addr + 12, sizeof(plain->sin_addr));
    return true;
}

void kofn__tcp_host(const struct sockaddr *address, char host[KOFN_HOST_BYTES])
{
    socklen_t bytes =
        address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    struct sockaddr_in plain;

    if (in_v6_coat(address, &plain)) {
        address = (const struct sockaddr *)&plain;
        bytes = sizeof(plain);
    }
    if (getnameinfo(address, bytes, host, KOFN_HOST_BYTES, NULL, 0, NI_NUMERICHOST))
        host[0] = '\0';
}

uint16_t kofn__tcp_port(const struct sockaddr *address)
{
    /* the two families have it in the same place */
    return ntohs(((const struct sockaddr_in *)(const void *)address)->sin_port);
}

bool kofn__tcp_loopback(const struct sockaddr *address)
{
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
    struct sockaddr_in plain;

    if (in_v6_coat(address, &plain))
        v4 = &plain;
    else if (address->sa_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
    return v4->sin_family == AF_INET && ntohl(v4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

bool kofn__tcp_wildcard(const struct sockaddr *address)
{
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;

    if (address->sa_family == AF_INET6)
        return IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr);
    return v4->sin_addr.s_addr == htonl(INADDR_ANY);
}

/* Is @found an address that other hosts can use, and of @family? */
static bool suits(const struct ifaddrs *found, int family)
{
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)found->ifa_addr;

    return found->ifa_addr && found->ifa_addr->sa_family == family && found->ifa_flags & IFF_UP &&
           !(found->ifa_flags & IFF_LOOPBACK) &&
           (family == AF_INET || !IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr));
}

/* The first address of this host that others can use, of IPv4 rather than of IPv6. */
static void own_host(char host[KOFN_HOST_BYTES])
{
    static const int families[] = {AF_INET, AF_INET6};
    struct ifaddrs *list;

    snprintf(host, KOFN_HOST_BYTES, "127.0.0.1");
    if (getifaddrs(&list))
        return;
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(families); i++)
        for (const struct ifaddrs *found = list; found; found = found->ifa_next)
            if (suits(found, families[i])) {
                kofn__tcp_host(found->ifa_addr, host);
                goto out;
            }
out:
    freeifaddrs(list);
}

void kofn__tcp_public(const struct sockaddr *address, char text[KOFN_ADDRESS_BYTES])
{
    char host[KOFN_HOST_BYTES];
    bool bare;

    if (kofn__tcp_wildcard(address)) /* one of IPv6 serves IPv4, too */
        own_host(host);
    else
        kofn__tcp_host(address, host);
    bare = !strchr(host, ':');
    snprintf(text, KOFN_ADDRESS_BYTES, "%s%s%s%s:%u", scheme, bare ? "" : "[", host,
             bare ? "" : "]", kofn__tcp_port(address));
}
