"""What the tests are given: guests, and a place to count what has passed."""

import os

import guest


class Counts:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.lines = []  # what has failed, or is worth knowing

    def any(self):
        return self.passed + self.failed + self.skipped > 0

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def note(self, text):
        self.lines.append(text)

    def tap(self, lines):
        """Counts what a program of tests says (TAP); of a test that fails, also what it says before and after."""
        said, failing = [], False
        for line in lines:
            if line.startswith("# "):
                (self.lines if failing else said).append(line)
            elif line.startswith(("ok ", "not ok ")):
                failing = line.startswith("not ")
                self.failed += failing
                self.skipped += not failing and " # SKIP" in line
                self.passed += not failing and " # SKIP" not in line
                self.lines += said + [line] if failing else []
                said = []


def expect(condition, what):
    if not condition:
        raise guest.Failure(what)


class Lab:
    def __init__(self):
        self.top = os.path.dirname(os.path.dirname(guest.HERE))
        self.build = os.path.abspath(os.environ.get("top_builddir", "."))
        cache = os.environ.get("KOFN_SOFTROCE_CACHE") or os.path.join(self.build, "softroce")
        self.machine = guest.Machine(cache, [self.build, self.top], os.path.join(cache, "logs"))
        self.standing = None
        self.guests = []
        self.switch = None

    def guest(self):
        """A guest that many tests share, one after the other."""
        if not self.standing or self.standing.ended:
            self.standing = guest.Guest(self.machine, "alone")
            self.standing.wait_ready()
        return self.standing

    def network(self, names, cpus=1, memory="1G"):
        """Guests of this test alone, joined by a switch: self.switch, ports in the order of names."""
        if self.standing:  # two machines are busy enough with the others
            self.standing.off()
            self.standing = None
        self.switch = guest.Switch(len(names))
        for port, name in enumerate(names):
            self.guests.append(guest.Guest(self.machine, name, index=port + 1, cpus=cpus, memory=memory,
                                           netdev=self.switch.netdev(port)))
        for one in self.guests:
            one.wait_ready()
        return self.guests

    def end_test(self):
        for one in self.guests:
            one.power_cut()
        for one in self.guests:
            one.off()
        if self.switch:
            self.switch.close()
        self.guests, self.switch = [], None

    def close(self):
        self.end_test()
        if self.standing:
            self.standing.off()
