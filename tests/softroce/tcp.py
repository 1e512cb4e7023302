"""kofn over TCP where a guest has what its host may lack: a network that loses and delays."""

from lab import expect

LOSSY = "delay 1ms 500us loss 1%"  # loopback, both ways
LATE = "delay 1ms 500us"
CABLE = "delay 2ms loss 1%"  # between two hosts, at each end
ROUNDS = 5  # of tests that repeat something very often: a guest is slow, and here each word takes milliseconds


def lossy(lab, counts):
    """Jobs learn over a network that loses, delays and reorders; nobody is given up."""
    one = lab.guest()
    task = one.start("lossy", f"cd /tmp; top_srcdir={lab.top} top_builddir={lab.build} sh {lab.top}/tests/e2e/lossy.sh")
    expect(task.wait(240) == 0, "over a lossy network: " + task.text())
    for line in task.lines:
        counts.note(line)


def on_loopback(netem, program, names=""):
    """A shell command that runs @program, those of its tests whose names match, in a network of its own whose loopback is like that."""
    return ("unshare --net sh -c 'ip link set lo up && "
            f"tc qdisc add dev lo root netem {netem} && KOFN_TEST_ROUNDS={ROUNDS} KOFN_TEST_SECONDS=600 "
            f"KOFN_TEST_NAMES=\"{names}\" {program}'")


def contract(engine):
    def test(lab, counts):
        task = lab.guest().start(engine, on_loopback(LOSSY, f"{lab.build}/tests/contract/contract tcp-{engine}"))
        task.wait(600)
        counts.tap(task.lines)

    test.__name__, test.__module__ = f"contract_{engine}", __name__
    test.__doc__ = "What transport.h promises holds over a network that loses and delays."
    return test


def network_faults(lab, counts):
    """Who does not keep to the protocol, or does not answer, is told so there, too."""
    task = lab.guest().start("network", on_loopback(LOSSY, f"{lab.build}/tests/fault/fault network"))
    task.wait(300)
    counts.tap(task.lines)


def worker_faults(lab, counts):
    """Who is killed, stopped or slow is treated so over a network that delays. (One that also loses makes workers late by
    itself: which of the two was the cause, the suite could not tell.) Of each kind of fault one is enough here."""
    names = "ten times slower$|frozen, .*, late merged|killed|leaves"
    task = lab.guest().start("workers", on_loopback(LATE, f"{lab.build}/tests/fault/fault workers_tcp", names))
    task.wait(600)
    counts.tap(task.lines)


def hosts(lab, counts):
    """Two hosts with such a cable between them learn what one learns in shared memory; then it is cut."""
    task = lab.guest().start("hosts", f"cd /tmp; HOSTS_CABLE='{CABLE}' top_srcdir={lab.top} top_builddir={lab.build} "
                             f"sh {lab.top}/tests/e2e/hosts.sh")
    expect(task.wait(600) == 0, "two hosts: " + task.text())
    for line in task.lines:
        counts.note(line)


TESTS = [lossy, contract("uring"), contract("poll"), network_faults, worker_faults, hosts]
