"""Runs `kofn sim` and `kofn plan`, and keeps what was run and what came out."""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile


def shortened(words, share):
    """The same job, whose --seconds and --rounds are that share of what they were."""
    words = list(words)
    for i, word in enumerate(words[:-1]):
        if word == "--rounds":
            words[i + 1] = str(max(1, round(int(words[i + 1]) * share)))
        elif word == "--seconds":
            number, unit = re.fullmatch(r"([0-9.]+)(\w*)", words[i + 1]).groups()
            words[i + 1] = f"{float(number) * share:g}{unit}"
    return words


class Jobs:
    """All runs of one figure. Commands are kept as somebody would type them. With a share below 1 each lasts that share
    of what it should, with one seed: nothing but a trial of the figure."""

    def __init__(self, program, data, share=1):
        self.program = program
        self.data = data
        self.share = share
        self.seeds = None if share == 1 else 1  # how many of those there are; None: all
        self.commands = []

    def __call__(self, command, options):
        """The JSON result of `kofn COMMAND OPTIONS`; options are one string."""
        words = [command, *shortened(shlex.split(options), self.share)]
        self.commands.append(shlex.join(["kofn", *words]))
        print("  " + self.commands[-1], file=sys.stderr, flush=True)
        handle, path = tempfile.mkstemp(suffix=".json")
        os.close(handle)
        try:
            done = subprocess.run(
                [self.program, *words, "--quiet", "--json", path],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
            # of a job cut short the result so far will do: it may have ended before its first round
            if done.returncode and (self.share == 1 or not os.path.getsize(path)):
                raise RuntimeError(f"{self.commands[-1]}: status {done.returncode}: {done.stderr.strip()}")
            with open(path, encoding="utf-8") as file:
                return json.load(file)
        finally:
            os.unlink(path)

    def plan(self, options):
        return self("plan", "--model none " + options)

    def times(self, options):
        """A simulation of times alone."""
        return self("sim", "--model none " + options)

    def learn(self, options, data=None):
        """A simulation with gradients, on the data of --data where no others are named."""
        return self("sim", f"--data {shlex.quote(data or self.data)} " + options)


def curve(result, key):
    """[seconds, value] of every evaluation."""
    return [[point["seconds"], point[key]] for point in result["curve"]]


def reached(result, accuracy):
    """Seconds and rounds until the model was that good; None if it never was."""
    for point in result["curve"]:
        if point["accuracy"] >= accuracy:
            return point["seconds"], point["round"]
    return None


def uploads(result, rounds):
    """Models that workers sent in so many rounds, where each member sends one as the round closes."""
    return result["uploads_mean"] * rounds
