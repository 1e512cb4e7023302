#!/usr/bin/env python3
"""The rounds of bench_round over PyTorch's gloo backend, for comparison: gather, sum, broadcast.

    gloo_round.py WORKERS BYTES ROUNDS WARM

Rank 0 is a worker and the server as well, so nothing is sent that need not be. Prints the median
and the mean time of a round at rank 0, in ns, warm-up dropped. Exit status 1 if a worker has read a
wrong sum, 77 if PyTorch or its gloo backend is not there.
"""
import os
import statistics
import sys
import tempfile
import time

LANES = 16  # as in round_data.h

try:
    import torch
    import torch.distributed as dist
except ImportError:
    sys.exit(77)
if not (dist.is_available() and dist.is_gloo_available()):
    sys.exit(77)


def sign(number):
    return 1.0 if number % 2 else -1.0


def base(rank, number):
    return rank + 1 + (number - 1) // 2 % 4


def expected(workers, number, count):
    lanes = LANES * (LANES - 1) / 2
    each = (base(rank, number) * LANES + lanes for rank in range(workers))
    return sign(number) * sum(each) * (count // LANES)


class Worker:
    def __init__(self, rank, workers, count):
        self.rank, self.workers, self.count = rank, workers, count
        self.update = torch.zeros(count)
        self.model = torch.zeros(count)
        self.lanes = torch.arange(LANES, dtype=torch.float32)
        self.updates = [torch.zeros(count) for _ in range(workers)] if rank == 0 else None

    def fill(self, number):
        lanes = sign(number) * (base(self.rank, number) + self.lanes)
        self.update.view(-1, LANES).copy_(lanes)

    def exchange(self):
        dist.gather(self.update, self.updates, dst=0)
        if self.rank == 0:
            self.model.copy_(self.updates[0])
            for update in self.updates[1:]:
                self.model.add_(update)
        dist.broadcast(self.model, src=0)

    def round(self, number):
        self.fill(number)
        self.exchange()
        found = float(self.model.sum())  # pairwise: exact enough to be compared
        wanted = expected(self.workers, number, self.count)
        if abs(found - wanted) > 1e-4 * abs(wanted):
            raise ValueError(f"round {number}: {found} instead of {wanted}")


def work(rank, workers, count, rounds, warm, store):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=workers)
    worker = Worker(rank, workers, count)
    times = []
    before = 0
    for number in range(1, warm + rounds + 1):
        worker.round(number)
        now = time.monotonic_ns()
        if number > warm:
            times.append(now - before)
        before = now
    if rank == 0:
        print(f"{statistics.median(times):.0f} {statistics.mean(times):.0f}", flush=True)
    dist.barrier()
    dist.destroy_process_group()


def start(rank, *args):
    """A child process; returns its id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work(rank, *args)
        status = 0
    except BaseException as error:  # pylint: disable=broad-except
        print(f"gloo_round: rank {rank}: {error}", file=sys.stderr)
    os._exit(status)


def main():
    workers, size, rounds, warm = (int(word) for word in sys.argv[1:])
    count = size // 4 // LANES * LANES
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    with tempfile.TemporaryDirectory() as folder:
        store = os.path.join(folder, "store")
        args = (workers, count, rounds, warm, store)
        children = [start(rank, *args) for rank in range(workers)]
        failed = [child for child in children if os.waitpid(child, 0)[1]]
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
