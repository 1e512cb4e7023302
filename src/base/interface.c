#include "base/interface.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/parse.h"

enum { NEVER = 100 }; /* how good an address is; less is better */

bool kofn_interface_meant(const char *list, const char *name)
{
    bool others = *list == '^', exact;
    struct kofn_text rest = kofn_text(list + others), part;

    exact = rest.length && *rest.start == '=';
    rest.start += exact;
    rest.length -= exact;
    while (rest.start) {
        part = kofn_text_cut(&rest, ',');
        if (part.length && !strncmp(name, part.start, part.length) &&
            (!exact || !name[part.length]))
            return !others;
    }
    return others;
}

static bool link_local(const struct sockaddr *address)
{
    return address->sa_family == AF_INET6 &&
           IN6_IS_ADDR_LINKLOCAL(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr);
}

/* Is it of that kind? */
static bool fits(const struct sockaddr *address, enum kofn_interface_kind kind)
{
    bool v6 = address->sa_family == AF_INET6;

    if (!v6 && address->sa_family != AF_INET)
        return false;
    switch (kind) {
    case KOFN_INTERFACE_IPV4:
        return !v6;
    case KOFN_INTERFACE_IPV6:
        return v6;
    case KOFN_INTERFACE_LINK:
        return link_local(address);
    default:
        return true;
    }
}

static int badness(const struct ifaddrs *entry, const char *list, enum kofn_interface_kind kind)
{
    const struct sockaddr *address = entry->ifa_addr;
    int worse = *list == '^' && entry->ifa_flags & IFF_LOOPBACK ? 3 : 0;

    if (!address || !(entry->ifa_flags & IFF_UP) || !fits(address, kind) ||
        !kofn_interface_meant(list, entry->ifa_name))
        return NEVER;
    if (address->sa_family == AF_INET)
        return worse;
    return worse + (link_local(address) ? 2 : 1);
}

static const struct sockaddr *best(const struct ifaddrs *entry, const char *list,
                                   enum kofn_interface_kind kind)
{
    const struct sockaddr *found = NULL;
    int least = NEVER;

    for (; entry; entry = entry->ifa_next) {
        int bad = badness(entry, list, kind);

        if (bad < least) {
            least = bad;
            found = entry->ifa_addr;
        }
    }
    return found;
}

int kofn_interface_find(const char *list, enum kofn_interface_kind kind, char *host, size_t bytes)
{
    const struct sockaddr *address;
    struct ifaddrs *entries;
    int rc = KOFN_INVALID;

    if (getifaddrs(&entries))
        return KOFN_SYSTEM;
    address = best(entries, list, kind);
    if (address)
        rc = getnameinfo(address,
                         address->sa_family == AF_INET ? sizeof(struct sockaddr_in)
                                                       : sizeof(struct sockaddr_in6),
                         host, (socklen_t)bytes, NULL, 0, NI_NUMERICHOST)
                 ? KOFN_SYSTEM
                 : 0;
    freeifaddrs(entries);
    return rc;
}

/* The names of all interfaces that are up, for whoever has misspelt one. */
static void name_all(char *names, size_t bytes)
{
    struct ifaddrs *entries;
    size_t used = 0;

    *names = 0;
    if (getifaddrs(&entries))
        return;
    for (const struct ifaddrs *at = entries; at && used < bytes; at = at->ifa_next)
        if (at->ifa_flags & IFF_UP && !strstr(names, at->ifa_name))
            used += (size_t)snprintf(names + used, bytes - used, "%s%s", used ? ", " : "",
                                     at->ifa_name);
    freeifaddrs(entries);
}

int kofn_interface_host(const char *list, enum kofn_interface_kind kind, char *host, size_t bytes,
                        const char *who, const struct kofn_log *log)
{
    char names[128];
    int rc = kofn_interface_find(list, kind, host, bytes);

    if (rc == KOFN_SYSTEM)
        return kofn_error_errno(log, "%s: interface=%s: cannot list interfaces", who, list);
    if (!rc)
        return 0;
    name_all(names, sizeof(names));
    return kofn_error(log, rc, "%s: interface=%s: has no address%s, or is not up; up are: %s", who,
                      list,
                      kind == KOFN_INTERFACE_IPV4   ? " of IPv4, like the server's"
                      : kind == KOFN_INTERFACE_IPV6 ? " of IPv6, like the server's"
                      : kind == KOFN_INTERFACE_LINK ? " of its link, like the server's"
                                                    : "",
                      names);
}

bool kofn_interface_link_local(const char *host)
{
    size_t length = strcspn(host, "%");
    char number[INET6_ADDRSTRLEN];
    struct in6_addr address;

    if (length >= sizeof(number))
        return false;
    memcpy(number, host, length);
    number[length] = 0;
    return inet_pton(AF_INET6, number, &address) == 1 && IN6_IS_ADDR_LINKLOCAL(&address);
}
