"""Machines, cables, links and servers that are lost while a job runs over verbs. Tests that leave a job in good order go
on with the same one: processes take seconds to start."""

import time

from job import GONE, PATIENCE, WORKERS, Job, joined, joined_again
from lab import expect

PEER_TIMEOUT = 4  # s, until a worker's host is given up; and the server, by its workers
BUSY = 15  # s, by which a deadline may be missed: what an emulated guest does takes its time
PACE = "--delay uniform:10ms,30ms"
SECOND = (2, 3)  # the ranks of the host `second`
LONG = 1000  # s: who has seen enough stops the job
STAYS = 60  # s: for how long workers try to come back that are to


def under_way(lab, server=PEER_TIMEOUT, worker=PEER_TIMEOUT, hosts=2, publish="eager"):
    """A job that is under way, with workers on this many hosts: the one before, if that is of this kind. How long its
    server waits for a worker's host, and its workers for the server."""
    kind = (server, worker, hosts, publish)
    if lab.job and lab.job.kind != kind:
        lab.job.stop()
    if not lab.job:
        job = Job(lab, f"--seconds {LONG}", serve=f"--peer-timeout {server} --publish {publish}",
                  work=f"--timeout {worker} {PACE}", hosts=hosts)
        lab.job, job.kind = job, kind
        job.rounds_pass(3)
    lab.job.forget()
    return lab.job


def wait_missed(job):
    """Waits until the server has missed a worker of the second host, and does not wait for it any more."""
    before = len(job.said(MISSED))
    job.until(lambda: len(job.said(MISSED)) > before, "anybody is missed")


MISSED = r"kofn: rank [23] \(second, pid \d+\): (slow|suspect|gone|no local update)\b"
BACK = r"kofn: rank [23] \(second, pid \d+\): (keeps up again|is back)\b"


def wait_gone(job, counts, ranks=SECOND):
    """Waits until the server has given these workers up; checks that it says who they were, in time, and caps K."""
    began, found = time.monotonic(), {}

    def all_said():
        found.update((int(m[1]), m) for m in job.said(GONE))
        return all(rank in found for rank in ranks)

    job.until(all_said, f"the end of the workers {ranks}")
    took = time.monotonic() - began
    counts.note(f"given up after {took:.1f} s (--peer-timeout {PEER_TIMEOUT}): {found[ranks[0]][4]}")
    expect(took <= PEER_TIMEOUT + BUSY, f"the workers {ranks} were given up after {took:.1f} s")
    for rank in ranks:
        host, wait_for, left = found[rank][2], int(found[rank][5]), int(found[rank][6])
        expect(host == job.host(rank).name, f"rank {rank} is said to be on {host}: {found[rank][0]}")
        expect("ended" not in found[rank][4], f"nobody has closed anything: {found[rank][0]}")
        expect(wait_for <= left < WORKERS, f"K is more than there are workers left: {found[rank][0]}")
    expect(any(int(m[6]) == WORKERS - len(ranks) for m in found.values()), f"others were missed: {job.serving.text()}")


def workers_end(job, counts, ranks):
    """These workers end with status 1, in time, and say whose they were."""
    began = time.monotonic()
    for rank in ranks:
        worker = job.workers[rank]
        worker.wait(PATIENCE)
        said = worker.text()
        expect(worker.status == 1, f"status {worker.status} of rank {rank}: {said}")
        expect(f"({job.server.address}, pid " in said and job.address in said, f"rank {rank} names no server: {said}")
    took = time.monotonic() - began
    counts.note(f"rank {ranks[0]} ended after {took:.1f} s: " + " | ".join(job.workers[ranks[0]].lines))
    expect(took <= PEER_TIMEOUT + BUSY, f"workers ended after {took:.1f} s only")


def wait_back(job, counts, ranks=SECOND):
    """Waits until these workers, the same processes, are members again, and have had rounds to work in."""
    began = time.monotonic()
    job.until(lambda: all(job.said(joined_again(rank)) for rank in ranks), f"the return of the workers {ranks}")
    counts.note(f"back after {time.monotonic() - began:.1f} s: {job.said(joined_again(ranks[0]))[0][0]}")
    job.rounds_pass(3)
    for rank in ranks:
        expect(job.workers[rank].status is None, f"rank {rank} has ended: {job.workers[rank].text()}")


def working(result, ranks=range(WORKERS)):
    """These workers were members in the end, and have contributed."""
    for rank in ranks:
        worker = result["per_worker"][rank]
        expect(worker["state"] in ("ready", "slow") and worker["merged"] > 0, f"rank {rank} does not work: {worker}")


def wait_keeps_up(job):
    """Waits until the server has said that somebody who was missed takes part again, and a few rounds more."""
    job.until(lambda: job.said(BACK), "who was missed (keeps up again|is back)")
    job.rounds_pass(3)


def end_rejoined(job, counts):
    result = job.stop()
    working(result)
    for worker in result["per_worker"]:
        times = len(job.everything(joined_again(worker["rank"])))
        expect(worker["rejoins"] == times, f"joined again {times} times: {worker}")
        expect(times == 0 or worker["rank"] in SECOND, f"nothing had happened to it: {worker}")
    counts.note("joined again: " + ", ".join(f"rank {w['rank']} {w['rejoins']} times" for w in result["per_worker"]))


# ---- workers that stay ----


def cable_short(lab, counts):
    """A cable that is out for less than the time-outs costs nobody more than time."""
    job = under_way(lab, worker=STAYS)
    gone = len(job.everything(GONE))
    lab.shared_switch.cut[2] = True
    cut = time.monotonic()
    wait_missed(job)
    job.forget()
    lab.shared_switch.cut[2] = False
    counts.note(f"a cable out for {time.monotonic() - cut:.1f} s")
    wait_keeps_up(job)
    expect(len(job.everything(GONE)) == gone, "somebody is gone: " + job.serving.text())


def link_short(lab, counts):
    """An interface that is down for a moment: rxe fails what is sent meanwhile at once; its workers connect again."""
    job = under_way(lab, worker=STAYS)
    said = {rank: len(job.workers[rank].lines) for rank in SECOND}
    job.others[1].run(lab.name("down"), "ip link set eth0 down", PATIENCE)
    for rank, lines in said.items():
        job.workers[rank].wait_for("connection to the server .* is broken", PATIENCE, lines)
    job.others[1].run(lab.name("up"), "ip link set eth0 up", PATIENCE)
    wait_back(job, counts)


def link_long(lab, counts):
    """An interface that is down until its host is given up, and then comes up again: so do its workers."""
    job = under_way(lab, worker=STAYS)
    job.others[1].run(lab.name("down"), "ip link set eth0 down", PATIENCE)
    wait_gone(job, counts)
    job.rounds_pass(3)
    job.others[1].run(lab.name("up"), "ip link set eth0 up", PATIENCE)
    wait_back(job, counts)


def freeze_too_long(job, counts):
    job.others[1].freeze()
    wait_gone(job, counts)
    job.rounds_pass(1)
    job.others[1].thaw()
    wait_back(job, counts)


def frozen_too_long(lab, counts):
    """A host stands still until it is given up: what it writes then reaches nobody; its workers connect again."""
    freeze_too_long(under_way(lab, worker=STAYS), counts)


def rejoined(lab, counts):
    """In the end of that job all work; who has joined again is who was said to, and what they did afterwards was merged."""
    end_rejoined(under_way(lab, worker=STAYS), counts)


def pulled(lab, counts):
    """The same where the server reads what workers have: a host stands still while it is read from."""
    job = under_way(lab, worker=STAYS, publish="pull")
    freeze_too_long(job, counts)
    end_rejoined(job, counts)


# ---- who is lost ----


def frozen(lab, counts):
    """A host stands still for some rounds: what it had under way is counted as late, refused or lost, nothing twice;
    it keeps up again; the job comes to its end."""
    job = under_way(lab, server=20, worker=20)
    before = job.round()
    job.others[1].freeze()
    wait_missed(job)
    job.rounds_pass(5)
    missed = job.round() - before
    job.forget()
    job.others[1].thaw()
    wait_keeps_up(job)
    result = job.stop()
    working(result)
    workers = [result["per_worker"][rank] for rank in SECOND]
    counts.note(f"frozen for {missed} of {result['rounds']} rounds: " + "; ".join(
        f"{w['merged']} merged, {w['late']} late, {w['refused']} refused, {w['lost']} lost" for w in workers))
    expect(any(w["late"] + w["refused"] + w["lost"] for w in workers), f"nothing was late: {workers}")


def cable_long(lab, counts):
    """A cable that is out for longer: both sides give each other up; processes started later have the ranks."""
    job = under_way(lab)
    lab.shared_switch.cut[2] = True
    wait_gone(job, counts)
    workers_end(job, counts, SECOND)
    lab.shared_switch.cut[2] = False
    job.replace(SECOND)


def power_cut(lab, counts):
    """A host loses its power: its workers are named in time, and the job goes on without them, to a good end."""
    job = under_way(lab)
    job.others[1].power_cut()
    wait_gone(job, counts)
    job.rounds_pass(3)
    result = job.stop(lost=SECOND)
    working(result, (0, 1))
    expect(all(result["per_worker"][rank]["state"] == "gone" for rank in SECOND), f"states: {result['per_worker']}")


def server_killed(lab, counts):
    """The server's process is killed, its host lives: while workers learn, and while they are joined and wait for others.
    All of them end in time, and say whose they were."""
    job = under_way(lab, hosts=1)
    job.server.signal(job.serving.name, "KILL")
    lab.job = None
    workers_end(job, counts, tuple(job.workers))
    job = Job(lab, f"--seconds {LONG}", serve=f"--peer-timeout {PEER_TIMEOUT}", work=f"--timeout {PEER_TIMEOUT} {PACE}",
              hosts=1, starts=1)
    job.until(lambda: job.said(joined(0)), "rank 0 having joined")
    job.server.signal(job.serving.name, "KILL")
    workers_end(job, counts, tuple(job.workers))


def server_lost(lab, counts):
    """The server's host loses its power: all workers end in time, and say whose they were."""
    job = under_way(lab, hosts=1)
    job.server.power_cut()
    lab.job = None
    workers_end(job, counts, tuple(job.workers))


# who loses a machine comes last
TESTS = [cable_short, link_short, link_long, frozen_too_long, rejoined, pulled, frozen, cable_long, server_killed, power_cut, server_lost]
