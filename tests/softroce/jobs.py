"""Jobs between hosts, which lose packets at worst."""

import json
import math
import subprocess

import guest
from job import LEARNING, PATIENCE, WORKERS, Job
from lab import expect

ROUNDS = 20
MESSAGES = 2000  # of 64 KiB: some seconds between guests, of which some 15 MB/s are seen
CUT = 0.3  # s: perftest tries for half a second
TESTED = 4096  # samples that accuracy is measured on


def shared_memory(lab):
    """The accuracy of the same job on this machine, over shared memory; with local updates that take about as long as in
    a guest."""
    if not hasattr(lab, "accuracy"):
        command = (f"{lab.build}/kofn run -q -n {WORKERS} {LEARNING} -k {WORKERS - 1} -u 5 -t shm --rounds {ROUNDS}"
                   " --delay uniform:5ms,15ms --json -")
        try:
            said = subprocess.run(command.split(), capture_output=True, check=True, text=True, timeout=PATIENCE).stdout
        except subprocess.SubprocessError as why:
            raise guest.Failure(f"no job over shared memory: {why}") from None
        lab.accuracy = json.loads(said)["accuracy"]
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


def set_loss(lab, percent):
    for host in lab.hosts():
        host.run(lab.name("loss"), f"tc qdisc replace dev eth0 root netem loss {percent}%", PATIENCE)


def loss(lab, counts):
    """A job begins where one packet of twenty is lost, and is completed where it is one of a hundred, with what it would
    learn without."""
    set_loss(lab, 5)
    before = [counters(lab, host) for host in lab.hosts()]
    job = Job(lab, f"--rounds {ROUNDS}")
    job.rounds_pass(1)
    set_loss(lab, 1)
    result = job.end()
    after = [counters(lab, host) for host in lab.hosts()]
    for host in lab.hosts():
        host.run(lab.name("whole"), "tc qdisc del dev eth0 root", PATIENCE)
    grown = {name: sum(a[name] - b[name] for a, b in zip(after, before)) for name in after[0]}
    seen = ["completer_retry_err", "out_of_seq_request", "rcvd_seq_err", "duplicate_request"]
    counts.note(", ".join(f"{name} {grown[name]}" for name in seen) + f" in {grown['sent_pkts']} packets")
    expect(any(grown[name] for name in seen), "no packet was lost")
    expect(result["rounds"] == ROUNDS, f"rounds: {result['rounds']}")
    check_accuracy(lab, counts, result, "verbs with losses")


def network(lab, counts):
    """Guests reach each other over verbs; a cut link stops that, and it goes on when the link is back."""
    _, first, second = lab.hosts()
    program = f"stdbuf -oL ib_write_bw -d rxe0 -x 1 -s 65536 -n {MESSAGES} -F"
    server = first.start(lab.name("bw"), program)
    server.wait_for("Waiting for client", 30)
    client = second.start(lab.name("bw"), f"{program} {first.address}")
    client.wait_for("remote address|BW average", 60)
    lab.shared_switch.cut[2] = True
    try:
        client.wait(CUT)
        cut = False
    except guest.Failure:
        cut = True
    lab.shared_switch.cut[2] = False
    expect(cut, f"a transfer ended within {CUT} s, over a link that is cut: " + client.text())
    expect(client.wait(60) == 0 and server.wait(60) == 0, "no transfer between guests: " + client.text())
    counts.note("between guests: " + " ".join(client.lines[-2].split()) + " (with a cut)")


TESTS = [network, verbs, tcp, loss]
