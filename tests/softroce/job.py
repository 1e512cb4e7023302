"""A job between guests: kofn serve in the guest `server`, kofn work in the others, two workers each."""

import json
import re

from lab import expect

WORKERS, WAIT_FOR = 4, 3
PORT = 18590
PATIENCE = 120  # s, for what takes a few: an emulated guest on a busy machine is slow
MODEL = f"-n {WORKERS} --batch 16 --lr 0.02 --seed 3"
GONE = r"kofn: rank (\d) \((\S+), pid \d+\): gone in round (\d+): (.*); going on without it \(K = (\d) of (\d) left\)"


class Job:
    def __init__(self, lab, ends, transport="verbs", serve="", work=""):
        """ends: when it is over, in options of kofn serve; serve, work: more options of either side"""
        self.lab = lab
        self.server, *self.others = lab.hosts()
        self.transport = "-t " + transport + (" --transport-option device=rxe0" if transport == "verbs" else "")
        self.address = f"tcp:{self.server.address}:{PORT}"
        self.working = work
        name = lab.name("serve")
        self.file = f"/run/{name}.json"
        self.serving = self.server.start(
            name, f"exec {lab.build}/kofn serve -v {MODEL} -k {WAIT_FOR} -u 5 {self.transport} {ends} {serve}"
            f" --bind {self.server.address} --port {PORT} --insecure --json {self.file}")
        self.serving.wait_for("^listening on ", PATIENCE)
        self.workers = {}
        for rank in range(WORKERS):
            self.work(rank)

    def host(self, rank):
        return self.others[rank // 2]

    def work(self, rank):
        """Starts the worker of a rank, which may be one that had it before."""
        self.workers[rank] = self.host(rank).start(
            self.lab.name(f"work{rank}"),
            f"exec {self.lab.build}/kofn work {MODEL} {self.transport} {self.working} --rank {rank} --address {self.address}")
        return self.workers[rank]

    def replace(self, ranks):
        """Other processes get these ranks; waits until they have joined, and have had some rounds to work in."""
        for rank in ranks:
            had = len(self.said(joined(rank)))
            self.work(rank)
            self.until(lambda: len(self.said(joined(rank))) > had, f"rank {rank} having joined again")
        self.rounds_pass(3)

    # while it runs

    def said(self, pattern):
        """The matches of the lines of the server that begin with the pattern."""
        return [m for m in map(re.compile(pattern).match, list(self.serving.lines)) if m]

    def until(self, condition, what):
        """Waits until the server has said what makes the condition true."""
        self.server.until(lambda: condition() or self.serving.status is not None, PATIENCE, what)
        expect(condition(), f"the job ended ({self.serving.status}) before {what}: " + self.serving.text())

    def round(self):
        """The last round that the server has told of."""
        rounds = self.said(r"round (\d+)")
        return int(rounds[-1][1]) if rounds else 0

    def rounds_pass(self, count):
        """Waits until the server tells of a round that is `count` after the last it told of."""
        wanted = self.round() + count
        self.until(lambda: self.round() >= wanted, f"round {wanted}")

    # when it is over

    def end(self, lost=(), status=0):
        """Waits for the end of the server, and of all workers but those that are lost. Returns the result."""
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

    def stop(self):
        """Ends the job in order, before its time. Returns the result."""
        self.server.signal(self.serving.name, "TERM")
        return self.end(status=143)


def joined(rank):
    return rf"kofn: rank {rank} \(\S+, pid \d+\) has joined"


def joined_again(rank):
    return rf"kofn: rank {rank} \(\S+, pid \d+\) has joined again, .*"


def check_account(worker):
    """Every local update that was finished is accounted for, once."""
    settled = sum(worker[what] for what in ("merged", "late", "refused", "lost"))
    expect(worker["updates"] == settled, f"updates are missing, or counted twice: {worker}")
