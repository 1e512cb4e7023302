"""Runs `kofn sim` and `kofn plan`, and keeps what was run and what came out."""

import json
import os
import shlex
import subprocess
import sys
import tempfile


class Jobs:
    """All runs of one figure. Commands are kept as somebody would type them."""

    def __init__(self, program, data):
        self.program = program
        self.data = data
        self.commands = []

    def __call__(self, command, options):
        """The JSON result of `kofn COMMAND OPTIONS`; options are one string."""
        words = [command, *shlex.split(options)]
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
            if done.returncode:
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
