"""A job between guests: kofn serve in the guest `server`, kofn work in the others, two workers each."""

import json
import re

import guest
from lab import HOSTS, expect

WORKERS, PER_HOST = 4, 2
PORT = 18590
LEARNING = "--batch 16 --lr 0.05 --seed 3"
PATIENCE = 120  # s, for what takes a few: an emulated guest on a busy machine is slow
GONE = r"kofn: rank (\d) \((\S+), pid \d+\): gone in round (\d+): (.*); going on without it \(K = (\d) of (\d) left\)"


class Job:
    def __init__(self, lab, ends, transport="verbs", serve="", work="", hosts=2, starts=None):
        """ends: when it is over, in options of kofn serve; serve, work: more options of either side; hosts: of workers;
        starts: so many of the workers are started now, None = all"""
        self.lab = lab
        self.server, *self.others = lab.hosts(HOSTS[:1 + hosts])
        workers = PER_HOST * hosts
        self.model = f"-n {workers} {LEARNING}"
        self.transport = "-t " + transport + (" --transport-option device=rxe0" if transport == "verbs" else "")
        self.address = f"tcp:{self.server.address}:{PORT}"
        self.working = work
        name = lab.name("serve")
        self.file = f"/run/{name}.json"
        self.serving = self.server.start(
            name, f"exec {lab.build}/kofn serve -v {self.model} -k {workers - 1} -u 5 {self.transport} {ends} {serve}"
            f" --bind {self.server.address} --port {PORT} --insecure --json {self.file}")
        self.serving.wait_for("^listening on ", PATIENCE)
        self.seen = 0
        self.workers = {}
        for rank in range(workers if starts is None else starts):
            self.work(rank)

    def host(self, rank):
        return self.others[rank // PER_HOST]

    def tasks(self):
        return [self.serving, *self.workers.values()]

    def work(self, rank):
        """Starts the worker of a rank, which may be one that had it before."""
        self.workers[rank] = self.host(rank).start(
            self.lab.name(f"work{rank}"),
            f"exec {self.lab.build}/kofn work {self.model} {self.transport} {self.working} --rank {rank} --address {self.address}")
        return self.workers[rank]

    def replace(self, ranks):
        """Other processes get these ranks; waits until they have joined, and have had some rounds to work in."""
        for rank in ranks:
            had = len(self.said(joined(rank)))
            self.work(rank)
            self.until(lambda: len(self.said(joined(rank))) > had, f"rank {rank} having joined again")
        self.rounds_pass(3)

    # while it runs

    def forget(self):
        """What the server has said so far is not heard again, but by everything()."""
        self.seen = len(self.serving.lines)

    def said(self, pattern):
        """The matches of the lines of the server that begin with the pattern."""
        return self.everything(pattern, self.seen)

    def everything(self, pattern, since=0):
        return [m for m in map(re.compile(pattern).match, self.serving.lines[since:]) if m]

    def until(self, condition, what):
        """Waits until the server has said what makes the condition true."""
        try:
            self.server.until(lambda: condition() or self.serving.status is not None, PATIENCE, what)
        except guest.Failure as why:
            said = [f"{task.name}: {line}" for task in self.tasks() for line in task.lines[-6:]]
            raise guest.Failure(f"{why}; last words:\n    " + "\n    ".join(said)) from None
        expect(condition(), f"the job ended ({self.serving.status}) before {what}: " + self.serving.text())

    def round(self):
        """The last round that the server has told of."""
        rounds = self.everything(r"round (\d+)")
        return int(rounds[-1][1]) if rounds else 0

    def rounds_pass(self, count):
        """Waits until the server tells of a round that is `count` after the last it told of."""
        wanted = self.round() + count
        self.until(lambda: self.round() >= wanted, f"round {wanted}")

    # when it is over

    def end(self, lost=(), status=0):
        """Waits for the end of the server, and of all workers but those that are lost. Returns the result."""
        if self.lab.job is self:
            self.lab.job = None
        expect(self.serving.wait(PATIENCE) == status,
               f"status {self.serving.status} of the server: " + self.serving.text())
        for rank, worker in self.workers.items():
            if rank not in lost:
                expect(worker.wait(PATIENCE) == 0, f"status {worker.status} of rank {rank}: " + worker.text())
        text = self.server.run(self.lab.name("result"), f"cat {self.file}", PATIENCE).text()
        result = json.loads(text)
        for worker in result["per_worker"]:
            check_account(worker)
        return result

    def stop(self, lost=()):
        """Ends the job in order, before its time. Returns the result."""
        self.server.signal(self.serving.name, "TERM")
        return self.end(lost, status=143)


def joined(rank):
    return rf"kofn: rank {rank} \(\S+, pid \d+\) has joined"


def joined_again(rank):
    return rf"kofn: rank {rank} \(\S+, pid \d+\) has joined again, .*"


def check_account(worker):
    """Every local update that was finished is accounted for, once."""
    settled = sum(worker[what] for what in ("merged", "late", "refused", "lost"))
    expect(worker["updates"] == settled, f"updates are missing, or counted twice: {worker}")
