#!/usr/bin/env python3
"""What a publication takes over an RDMA device, against perftest on the same device: latency and bandwidth.

Usage: benchmarks/bench_verbs.py [--json FILE] [--device NAME[:PORT]] [--seconds S] [--repeat N]

Both move the same bytes: a publication is its payload, filled up to a cache line, and a stamp of 64 bytes, and perftest
is told to send as many. Runs of all take turns; the best of each counts, because whatever else the machine does only
makes a run slower. Without --device it is KOFN_VERBS_DEVICE, else the first there is. Without an RDMA device, or
without perftest, the rows say so. `make bench-softroce` runs this where there is always one: in a guest.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import threading

LINE = 64
LATENCY_BARS = {"poll": "<= 1.10", "imm": "<= 1.25"}
PORTS = iter(range(18600, 20000))
DEADLINE = 100  # seconds, for one run

# what is measured: (name, kofn's test, mode, bytes, iterations, perftest's program, bar)
CASES = [
    (f"publication to detected, verbs, {text}, {mode}", "lat", mode, size, 1000, "ib_write_lat", LATENCY_BARS[mode])
    for text, size in (("8 B", 8), ("4 KiB", 4096))
    for mode in ("poll", "imm")
] + [
    (f"bandwidth of publications, verbs, {text}, imm", "bw", "imm", size, iterations, "ib_write_bw", ">= 0.95")
    for text, size, iterations in (("64 KiB", 65536, 1000), ("4 MiB", 4 << 20, 40))
]


class Trouble(Exception):
    """A run has failed; the text says how."""


def kofn():
    return os.path.join(os.environ.get("top_builddir", "."), "kofn")


def on_the_wire(size):
    """Bytes that a publication with a payload of that size moves."""
    return -(-size // LINE) * LINE + LINE


def first_device():
    folder = "/sys/class/infiniband"
    return next(iter(sorted(os.listdir(folder))), "") if os.path.isdir(folder) else ""


def address_of(device):
    """What kofn would use of the device: its port and GID index, in perftest's letters; its class, for perftest."""
    name, _, port = device.partition(":")
    command = [kofn(), "info", "-t", "verbs", "--transport-option", "device=" + device, "--json", "-"]
    text = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout
    found = json.loads(text[text.find("{"):])["findings"].get("verbs", {})
    port = port or found.get("choice", "").rpartition(" port ")[2]
    line = found.get(f"{name}:{port}", "")
    if "not used" in line or "active" not in line:
        raise Trouble(f"{device}: {line or 'is not used'}")
    gid, traffic = re.search(r"GID (\d+)", line), re.search(r"traffic class (\d+)", line)
    return (["-d", name, "-i", port, *(["-x", gid.group(1)] if gid else [])],
            ["--tclass=" + traffic.group(1)] if gid and traffic else [])


class Run:
    """A program, what it says, and an end of its own."""

    def __init__(self, command):
        self.lines, self.command, self.ended = [], command, False
        self.spoken = threading.Condition()
        self.process = subprocess.Popen(["stdbuf", "-oL", *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            with self.spoken:
                self.lines.append(line.rstrip())
                self.spoken.notify_all()
        with self.spoken:
            self.ended = True
            self.spoken.notify_all()

    def wait_for(self, text):
        with self.spoken:
            self.spoken.wait_for(lambda: self.ended or any(text in line for line in self.lines), DEADLINE)
            if not any(text in line for line in self.lines):
                raise Trouble(f"{' '.join(self.command)}: {' | '.join(self.lines[-3:])}")

    def wait(self):
        """What it has said, at its end; Trouble unless that is a good one."""
        try:
            status = self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            status = "none in time"
        self.reader.join(5)
        if status:
            raise Trouble(f"{' '.join(self.command)}: status {status}: {' | '.join(self.lines[-3:])}")
        return self.lines

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def both_sides(server, client, listening):
    """Runs both; returns what the client has said."""
    runs = [Run(server)]
    try:
        runs[0].wait_for(listening)
        runs.append(Run(client))
        lines = runs[1].wait()
        runs[0].wait()
        return lines
    finally:
        for run in runs:
            run.stop()


def run_perftest(case, letters, traffic):
    """Its typical latency in us, or its average bandwidth in MB/s (of 2^20 bytes)."""
    _, test, _, size, iterations, program, _ = case
    command = [program, *letters, *traffic, "-s", str(on_the_wire(size)), "-n", str(iterations), "-F", "-p", str(next(PORTS))]
    if test == "bw":  # as kofn does: so many on their way, and some that are not counted
        command += ["-t", "8", "--perform_warm_up"]
    for line in both_sides(command, [*command, "127.0.0.1"], "Waiting for client"):
        words = line.split()
        if words[:1] == [str(on_the_wire(size))]:
            return float(words[4] if test == "lat" else words[3])
    raise Trouble(f"{program} has no row for {on_the_wire(size)} bytes")


def run_kofn(case, letters):
    """The same of kofn, in bytes that were moved."""
    _, test, mode, size, iterations, _, _ = case
    command = [kofn(), "perf", test, "--transport", "verbs", *letters, "-F", "-p", str(next(PORTS)),
               "--transport-option", "mode=" + mode]
    if mode == "poll":  # measured on any device, promised or not: nothing depends on it here
        command += ["--transport-option", "unsafe-poll=yes"]
    client = [*command, "-s", str(size), "-n", str(iterations), "--out_json", "127.0.0.1"]
    lines = both_sides(command, client, "waiting for")
    text = "\n".join(lines)
    row = json.loads(text[text.find("{"):])["results"][0]
    return row["t_typical"] if test == "lat" else row["bw_average"] * on_the_wire(size) / size


def pair_of(case, letters, traffic, ours_first):
    """A result of kofn, and one of perftest."""
    ours = run_kofn(case, letters) if ours_first else None
    theirs = run_perftest(case, letters, traffic)
    return (ours or run_kofn(case, letters), theirs)


def measure(cases, letters, traffic, repeat):
    """Runs of all cases in turn, again and again: a machine that is slow for a while is so to all of them; whoever came first
    comes second in the next turn. Returns the pairs of each case; if fewer than half of them were to be had, its trouble.
    """
    pairs, trouble = [[] for _ in cases], ["" for _ in cases]
    for turn in range(repeat):
        for i, case in enumerate(cases):
            try:
                pairs[i].append(pair_of(case, letters, traffic, turn % 2))
            except Trouble as why:
                trouble[i] = str(why)
    return [(found, why if 2 * len(found) < repeat else "") for found, why in zip(pairs, trouble)]


def row_of(case, pairs):
    """The best of each; the spread is that of the ratios of pairs."""
    name, test, _, _, _, program, bar = case
    best = min if test == "lat" else max
    ours, theirs = best(a for a, _ in pairs), best(b for _, b in pairs)
    ratios = sorted(a / b for a, b in pairs)
    row = empty(name, program, bar)
    row.update(value=ours, against_value=theirs, ratio=ours / theirs,
               spread=[ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]])
    del row["missing"]
    return row


def empty(name, program, bar, why=""):
    unit = "us" if program == "ib_write_lat" else "MiB/s"
    return {"name": name, "value": None, "unit": unit, "against": program + ", as many bytes", "against_value": None,
            "ratio": None, "bar": bar, "spread": None, "command": "benchmarks/bench_verbs.py", "missing": why}


def print_row(row):
    if "missing" in row:
        print(f"{row['name']}: missing: {row['missing']}", flush=True)
        return
    low, high = row["spread"]
    relation, bar = row["bar"].split()
    met = row["ratio"] <= float(bar) if relation == "<=" else row["ratio"] >= float(bar)
    print(f"{row['name']}: {row['value']:.2f} {row['unit']}; {row['against']}: {row['against_value']:.2f}; ratio "
          f"{row['ratio']:.3f} (of pairs {low:.3f} to {high:.3f}), bar {row['bar']}: {'met' if met else 'NOT MET'}",
          flush=True)


def why_not(device):
    """What is missing on this machine, or NULL."""
    if not device:
        return "no RDMA device (make bench-softroce has one, in a guest)"
    if not shutil.which("ib_write_lat") or not shutil.which("ib_write_bw"):
        return "no perftest (Debian: perftest)"
    return None


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--json")
    parser.add_argument("--device", default=os.environ.get("KOFN_VERBS_DEVICE") or first_device())
    parser.add_argument("--seconds", type=float, help="has no meaning here")
    parser.add_argument("--repeat", type=int, default=12)
    parser.add_argument("--only", default="", help="cases with this in their names")
    options = parser.parse_args()
    cases = [case for case in CASES if options.only in case[0]]
    rows = []
    why = why_not(options.device)
    try:
        measured = [([], why)] * len(cases) if why else measure(cases, *address_of(options.device), options.repeat)
    except Trouble as trouble:
        measured = [([], str(trouble))] * len(cases)
    for case, (pairs, trouble) in zip(cases, measured):
        rows.append(empty(case[0], case[5], case[6], trouble) if trouble else row_of(case, pairs))
        print_row(rows[-1])
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=2)
            file.write("\n")
    sys.exit(not why and any("missing" in row for row in rows))


if __name__ == "__main__":
    main()
