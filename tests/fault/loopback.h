/* loopback.h: a network of a test's own, which it takes down and up. */
#ifndef KOFN_TESTS_FAULT_LOOPBACK_H
#define KOFN_TESTS_FAULT_LOOPBACK_H

#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Takes loopback of this network namespace up or down. */
static inline bool loopback_set(bool up)
{
    struct ifreq request = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM, 0), rc;

    rc = ioctl(fd, SIOCGIFFLAGS, &request);
    request.ifr_flags = (short)(up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
    rc = rc ? rc : ioctl(fd, SIOCSIFFLAGS, &request);
    close(fd);
    return !rc;
}

/* Moves this process, and those it will fork, to a network that has loopback alone. False if this
 * user may not.
 */
static inline bool loopback_of_its_own(void)
{
    return !unshare(CLONE_NEWUSER | CLONE_NEWNET) && loopback_set(true);
}

#endif
