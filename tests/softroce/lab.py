"""What the tests are given: guests, and a place to count what has passed."""

import os

import guest

HOSTS = ["server", "first", "second"]


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
        self.shared = {}  # guests by name, of hosts(), and their switch
        self.shared_switch = None
        self.job = None  # one that goes on between tests
        self.started = 0  # commands that were given a name

    def name(self, what):
        """A name for a command: no guest has heard it before."""
        self.started += 1
        return f"{what}.{self.started}"

    def guest(self):
        """A guest that many tests share, one after the other."""
        if not self.standing or self.standing.ended:
            self.standing = guest.Guest(self.machine, "alone")
            self.standing.wait_ready()
        return self.standing

    def boot_hosts(self, names=HOSTS):
        """Sees to it that these of HOSTS are there soon; one that has ended is made anew."""
        if not self.shared_switch:
            self.shared_switch = guest.Switch(len(HOSTS))
        for name in names:
            if name in self.shared and self.shared[name].ended:
                self.shared.pop(name).off()
            if name not in self.shared:
                port = HOSTS.index(name)
                self.shared[name] = guest.Guest(self.machine, name, index=port + 1, cpus=1, memory="512M",
                                                netdev=self.shared_switch.netdev(port))

    def hosts(self, names=HOSTS):
        """These of HOSTS, joined by self.shared_switch, which many tests share. A test that passes leaves them as it has
        found them, but for commands that still run."""
        self.end_standing()
        self.boot_hosts(names)
        for name in names:
            self.shared[name].wait_ready()
        return [self.shared[name] for name in names]

    def end_standing(self):
        """Ends the guest of tests of one guest: the machine is busy enough with others."""
        if self.standing:
            self.standing.off()
        self.standing = None

    def dismiss(self):
        """Ends the guests that tests share."""
        self.end_standing()
        for one in self.shared.values():
            one.power_cut()
            one.off()
        if self.shared_switch:
            self.shared_switch.close()
        self.shared, self.shared_switch, self.job = {}, None, None

    def end_test(self, failed=False):
        if failed:  # nobody knows what state they are in
            self.dismiss()
        try:
            for one in self.shared.values():
                one.end_tasks(self.job.tasks() if self.job else [])
        except guest.Failure:
            self.dismiss()

    def close(self):
        self.end_test()
        self.dismiss()
