#!/usr/bin/env python3
"""The network of bench_cnn in PyTorch, for comparison.

    cnn_batch.py BATCH BATCHES

Prints how long the gradient of a mini-batch takes in one thread: the median of BATCHES, in ms. Exit
status 77 if PyTorch is not there.
"""
import statistics
import sys
import time

try:
    import torch
except ImportError:
    sys.exit(77)

WARM = 2  # mini-batches that are not counted
SAMPLES = 1000


def make():
    torch.manual_seed(1)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 64, 5),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(64, 64, 5),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(1600, 384),
        torch.nn.ReLU(),
        torch.nn.Linear(384, 192),
        torch.nn.ReLU(),
        torch.nn.Linear(192, 10),
    )


def main():
    batch, batches = (int(word) for word in sys.argv[1:])
    torch.set_num_threads(1)
    model, loss = make(), torch.nn.CrossEntropyLoss()
    samples, labels = torch.randn(SAMPLES, 3, 32, 32), torch.randint(10, (SAMPLES,))
    took = []
    for _ in range(WARM + batches):
        index = torch.randint(SAMPLES, (batch,))
        start = time.monotonic()
        model.zero_grad()
        loss(model(samples[index]), labels[index]).backward()
        took.append(time.monotonic() - start)
    print(f"{1e3 * statistics.median(took[WARM:]):.3f}")


if __name__ == "__main__":
    main()
