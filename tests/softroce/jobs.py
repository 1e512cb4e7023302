"""Jobs between hosts, which lose packets at worst."""

import json
import math

from job import MODEL, PATIENCE, WAIT_FOR, Job
from lab import expect

ROUNDS = 40
TESTED = 4096  # samples that accuracy is measured on


def shared_memory(lab):
    """The accuracy of the same job in one guest, over shared memory."""
    if not hasattr(lab, "accuracy"):
        alone = lab.hosts()[0]
        name = lab.name("shm")
        alone.run(name, f"{lab.build}/kofn run {MODEL} -k {WAIT_FOR} -u 5 -t shm --rounds {ROUNDS} --json /run/{name}",
                  PATIENCE)
        lab.accuracy = json.loads(alone.run(name + "j", f"cat /run/{name}", PATIENCE).text())["accuracy"]
    return lab.accuracy


def margin(accuracy):
    """What two jobs of the same quality may differ by: who is among the K, and how many local updates a round has, is a
    matter of time, so that no two runs are the same. Three standard errors of the difference of two measurements with
    TESTED samples each: two runs that differ by more are not of the same quality."""
    return 3 * math.sqrt(2 * accuracy * (1 - accuracy) / TESTED)


def check_accuracy(lab, counts, result, transport):
    reached, wanted = result["accuracy"], shared_memory(lab)
    counts.note(f"{transport}: accuracy {reached:.3f} after {result['rounds']} rounds in {result['seconds']:.1f} s, "
                f"shm {wanted:.3f} (they may differ by {margin(wanted):.3f})")
    expect(wanted > 0.4, f"over shared memory nothing is learnt: {wanted}")  # of 10 classes
    expect(abs(reached - wanted) <= margin(wanted), f"accuracy {reached} over {transport}, {wanted} over shm")


def train(lab, counts, transport):
    job = Job(lab, f"--rounds {ROUNDS}", transport)
    result = job.end()
    expect(result["rounds"] == ROUNDS and result["transport"] == transport, f"not this job: {result}")
    for worker in result["per_worker"]:
        host = job.host(worker["rank"]).name
        expect(worker["host"] == host, f"rank {worker['rank']} is said to be on {worker['host']}, not on {host}")
        expect(worker["merged"] > 0, f"nothing of rank {worker['rank']} was merged: {worker}")
    check_accuracy(lab, counts, result, transport)


def verbs(lab, counts):
    """Two workers on each of two hosts learn over verbs what they learn over shared memory."""
    train(lab, counts, "verbs")


def tcp(lab, counts):
    """The same over TCP."""
    train(lab, counts, "tcp")


# ---- packets that are lost ----


def counters(lab, host):
    """The counters of a host's device, by name."""
    words = host.run(lab.name("counters"), "rdma statistic show link rxe0", PATIENCE).text().split()[2:]
    return {name: int(value) for name, value in zip(words[::2], words[1::2])}


def lossy(lab, counts, percent):
    hosts = lab.hosts()
    for host in hosts:
        host.run(lab.name("loss"), f"tc qdisc add dev eth0 root netem loss {percent}%", PATIENCE)
    before = [counters(lab, host) for host in hosts]
    result = Job(lab, f"--rounds {ROUNDS}").end()
    after = [counters(lab, host) for host in hosts]
    for host in hosts:
        host.run(lab.name("whole"), "tc qdisc del dev eth0 root", PATIENCE)
    grown = {name: sum(a[name] - b[name] for a, b in zip(after, before)) for name in after[0]}
    seen = ["completer_retry_err", "out_of_seq_request", "rcvd_seq_err", "duplicate_request"]
    counts.note(f"{percent} % loss: " + ", ".join(f"{name} {grown[name]}" for name in seen) +
                f" in {grown['sent_pkts']} packets")
    expect(any(grown[name] for name in seen), "no packet was lost")
    expect(result["rounds"] == ROUNDS, f"rounds: {result['rounds']}")
    check_accuracy(lab, counts, result, f"verbs with {percent} % loss")


def loss_1(lab, counts):
    """A job is completed where one packet of a hundred is lost, with what it would learn without."""
    lossy(lab, counts, 1)


def loss_5(lab, counts):
    """The same with one of twenty."""
    lossy(lab, counts, 5)


TESTS = [verbs, tcp, loss_1, loss_5]
