#include "transports/uring/interface.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

static bool link_local(const struct sockaddr *address)
{
    return address->sa_family == AF_INET6 &&
           IN6_IS_ADDR_LINKLOCAL(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr);
}

static bool fits(const struct ifaddrs *entry, const char *name, int family)
{
    return entry->ifa_addr && entry->ifa_flags & IFF_UP && !strcmp(entry->ifa_name, name) &&
           entry->ifa_addr->sa_family == family && !link_local(entry->ifa_addr);
}

static const struct sockaddr *find(const struct ifaddrs *list, const char *name, int family)
{
    for (; list; list = list->ifa_next)
        if (fits(list, name, family))
            return list->ifa_addr;
    return NULL;
}

/* The names of all interfaces that are up, for whoever has misspelt one. */
static void name_all(const struct ifaddrs *list, char *names, size_t bytes)
{
    size_t used = 0;

    *names = 0;
    for (; list && used < bytes; list = list->ifa_next)
        if (list->ifa_flags & IFF_UP && !strstr(names, list->ifa_name))
            used += (size_t)snprintf(names + used, bytes - used, "%s%s", used ? ", " : "",
                                     list->ifa_name);
}

int kofn__interface_host(const char *name, int family, char host[KOFN_HOST_BYTES],
                         const struct kofn_log *log)
{
    const struct sockaddr *address;
    struct ifaddrs *list;
    char names[128];
    int rc = 0;

    if (getifaddrs(&list))
        return kofn_error_errno(log, "tcp: interface=%s: getifaddrs", name);
    address = find(list, name, family == AF_INET6 ? AF_INET6 : AF_INET);
    if (!address && family == AF_UNSPEC)
        address = find(list, name, AF_INET6);
    if (!address) {
        name_all(list, names, sizeof(names));
        rc = kofn_error(log, KOFN_INVALID,
                        "tcp: interface=%s: has no address%s, or is not up; up are: %s", name,
                        family == AF_INET    ? " of IPv4, like the server's"
                        : family == AF_INET6 ? " of IPv6, like the server's"
                                             : "",
                        names);
    } else if (getnameinfo(address,
                           address->sa_family == AF_INET ? sizeof(struct sockaddr_in)
                                                         : sizeof(struct sockaddr_in6),
                           host, KOFN_HOST_BYTES, NULL, 0, NI_NUMERICHOST)) {
        rc = kofn_error(log, KOFN_SYSTEM, "tcp: interface=%s: its address has no number", name);
    }
    freeifaddrs(list);
    return rc;
}
