#!/usr/bin/env python3
"""The job of bench_images as PyTorch DistributedDataParallel on gloo runs it, for comparison.

    ddp_images.py WORKERS FEATURES HIDDEN CLASSES BATCH DELAY_MS FACTOR SECONDS

An update is a forward and a backward pass, then DELAY_MS of idle time; all of it takes FACTOR times
as long on the last rank. Prints the images per second of all workers together, first updates
dropped. Exit status 77 if PyTorch or its gloo backend is not there.
"""
import os
import sys
import tempfile
import time

try:
    import torch
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel
except ImportError:
    sys.exit(77)
if not (dist.is_available() and dist.is_gloo_available()):
    sys.exit(77)

WARM = 3  # updates that are not counted
SAMPLES = 4096  # of the data set of each worker


def make(features, hidden, classes):
    torch.manual_seed(1)
    return torch.nn.Sequential(
        torch.nn.Linear(features, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, classes)
    )


class Worker:
    def __init__(self, rank, features, hidden, classes, batch, delay, factor):
        self.model = DistributedDataParallel(make(features, hidden, classes))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05)
        self.loss = torch.nn.CrossEntropyLoss()
        self.samples = torch.randn(SAMPLES, features)
        self.labels = torch.randint(classes, (SAMPLES,))
        self.batch, self.delay, self.factor = batch, delay, factor

    def update(self):
        start = time.monotonic()
        index = torch.randint(SAMPLES, (self.batch,))
        self.optimizer.zero_grad()
        loss = self.loss(self.model(self.samples[index]), self.labels[index])
        # the gradients leave in the backward pass: what is to delay them comes before it
        computed = time.monotonic() - start
        time.sleep(self.delay * self.factor + computed * (self.factor - 1))
        loss.backward()
        self.optimizer.step()


def work(rank, workers, shape, batch, delay, factor, seconds, store):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=workers)
    own = factor if rank == workers - 1 else 1.0
    worker = Worker(rank, *shape, batch, delay, own)
    for _ in range(WARM):
        worker.update()
    # as many updates as fill the time: to agree on an end would cost messages of its own
    updates = max(1, round(seconds / (delay * factor)))
    start = time.monotonic()
    for _ in range(updates):
        worker.update()
    now = time.monotonic()
    if rank == 0:
        print(f"{workers * batch * updates / (now - start):.3f}", flush=True)
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
        print(f"ddp_images: rank {rank}: {error}", file=sys.stderr)
    os._exit(status)


def main():
    words = sys.argv[1:]
    workers, features, hidden, classes, batch = (int(word) for word in words[:5])
    delay, factor, seconds = float(words[5]) / 1e3, float(words[6]), float(words[7])
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    with tempfile.TemporaryDirectory() as folder:
        store = os.path.join(folder, "store")
        shape = (features, hidden, classes)
        args = (workers, shape, batch, delay, factor, seconds, store)
        children = [start(rank, *args) for rank in range(workers)]
        failed = [child for child in children if os.waitpid(child, 0)[1]]
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
