"""Guests: throw-away Linux machines with an rxe device each, under qemu.

A guest sees this machine's files, read-only, so that everything built here runs in it as it is. It is told what to
run over a serial port (see agent). Every wait has a deadline, and no guest outlives the program that made it.
"""

import ctypes
import json
import os
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BOOT_SECONDS = 240  # of several at once, on a busy machine
MTU = 4200  # of the interface: an rxe device then has an MTU of 4096


class Skip(Exception):
    """What the tests need cannot be had here."""


class Failure(Exception):
    """A test has failed; the text says how."""


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Machine:
    """What all guests of a run share: qemu, kernel, accelerator, where files are."""

    def __init__(self, cache, keep, logs, tsc=False):
        """cache: where the unpacked kernel is kept; keep: directories guests must see; logs: a directory; tsc: guests are to
        have a TSC at hand (take_tsc())"""
        self.qemu = shutil.which("qemu-system-x86_64")
        if os.uname().machine != "x86_64":
            raise Skip("guests share this machine's programs, and only x86-64 guests are made")
        if not self.qemu:
            raise Skip("there is no qemu-system-x86_64 (Debian: qemu-system-x86)")
        self.cache = os.path.abspath(cache)
        self.logs = os.path.abspath(logs)
        self.keep = [os.path.realpath(d) for d in keep]
        self.made = []  # the names of guests
        os.makedirs(self.logs, exist_ok=True)
        made = subprocess.run([os.path.join(HERE, "kernel"), self.cache], stderr=subprocess.PIPE, text=True)
        if made.returncode:
            raise Skip("no kernel for guests: " + (made.stderr.strip().splitlines() or ["?"])[-1])
        kvm = self.kvm_works()
        self.accelerator = ["-accel", "kvm", "-cpu", "host"] if kvm else ["-accel", "tcg,thread=multi", "-cpu", "max"]
        # an emulated guest measures its TSC while others use the CPU, and has been seen to be wrong by a factor of 12
        self.clock = "tsc=reliable" if kvm else "tsc=reliable clocksource=hpet" if tsc else "clocksource=hpet"

    def kvm_works(self):
        """A machine may have /dev/kvm and no virtualisation: every attempt then fails, or hangs."""
        if not os.access("/dev/kvm", os.R_OK | os.W_OK):
            return False
        command = [self.qemu, "-accel", "kvm", "-cpu", "host", "-nodefaults", "-display", "none", "-S", "-monitor",
                   "stdio"]
        try:
            return subprocess.run(command, input=b"quit\n", capture_output=True, timeout=8).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def log_of(self, name):
        """Where a guest's logs are to be, without their suffixes; each has its own."""
        self.made.append(name)
        times = self.made.count(name)
        return os.path.join(self.logs, f"{name}-{times}" if times > 1 else name)

    def kept(self):
        """The directories of `keep` that a guest's own /tmp or /run would cover."""
        return [d for d in self.keep if d.startswith(("/tmp/", "/run/"))]


class Task:
    """A command that runs in a guest."""

    def __init__(self, guest, name, listener):
        self.guest, self.name, self.listener = guest, name, listener
        self.lines = []
        self.status = None

    def wait(self, seconds):
        """Its exit status. Failure if it has not ended in time, or its guest has."""
        self.guest.until(lambda: self.status is not None, seconds, f"the end of '{self.name}'")
        return self.status

    def wait_for(self, pattern, seconds, since=0):
        """The match of the first line, from line `since` on, in which the pattern is found."""
        regex = re.compile(pattern)
        found = []

        def look():
            found[:] = [m for m in map(regex.search, self.lines[since:]) if m][:1]
            return found or self.status is not None

        self.guest.until(look, seconds, f"'{pattern}' from '{self.name}'")
        if not found:
            raise Failure(f"{self.guest.name}: '{self.name}' has ended ({self.status}) without '{pattern}'")
        return found[0]

    def text(self):
        return "\n".join(self.lines)


class Guest:
    def __init__(self, machine, name, index=1, cpus=2, memory="2G", netdev=None):
        """index: the last byte of its address, 10.9.0.INDEX; netdev: qemu's netdev without its id (none: alone)"""
        self.name, self.address = name, f"10.9.0.{index}"
        self.tasks = {}
        self.ready = self.ended = False
        self.trouble = ""
        self.changed = threading.Condition()
        log = machine.log_of(name)
        self.console = log + ".console"
        agent = [f"kofn.agent={HERE}/agent", f"kofn.name={name}", f"kofn.address={self.address}/24",
                 f"kofn.mtu={MTU}"]
        self.monitor, theirs = socket.socketpair()
        if machine.kept():
            agent.append("kofn.keep=" + ",".join(machine.kept()))
        command = [machine.qemu, *machine.accelerator, "-smp", str(cpus), "-m", memory, "-nodefaults",
                   "-display", "none", "-no-reboot",
                   "-kernel", machine.cache + "/linux", "-initrd", machine.cache + "/initramfs",
                   "-append", " ".join(["console=ttyS0 quiet panic=-1 mitigations=off", machine.clock, *agent]),
                   "-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap",
                   "-netdev", (netdev or "hubport,hubid=1") + ",id=n0",
                   "-device", f"virtio-net-pci,netdev=n0,romfile=,mac=52:54:00:09:00:{index:02x},host_mtu={MTU}",
                   "-chardev", f"socket,id=monitor,fd={theirs.fileno()}", "-mon", "chardev=monitor,mode=control",
                   "-serial", "file:" + self.console, "-serial", "stdio"]
        self.log = open(log + ".log", "w", encoding="utf-8")
        self.log.write("# " + shlex.join(command) + "\n")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
                                        preexec_fn=die_with_parent, pass_fds=[theirs.fileno()])
        theirs.close()
        self.answers = self.monitor.makefile("r", encoding="utf-8")
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        """Takes in what the guest says, until it has ended."""
        for raw in self.process.stdout:
            line = raw.decode("utf-8", "replace").rstrip("\r\n")
            with self.changed:
                self.log.write(f"{time.monotonic():.3f} {line}\n")
                self.log.flush()
                self.take(line)
                self.changed.notify_all()
        self.process.wait()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def take(self, line):
        name, _, text = line.partition(" ")
        if name == "@agent":
            self.ready |= text == "ready"
            if text.startswith("failed"):
                self.trouble = text
        elif name in self.tasks:
            task = self.tasks[name]
            if text.startswith("@exit "):
                task.status = int(text.split()[1])
            else:
                task.lines.append(text)
                if task.listener:
                    task.listener(text)

    def until(self, condition, seconds, what):
        with self.changed:
            self.changed.wait_for(lambda: condition() or self.ended or self.trouble, seconds)
            if condition():
                return
        if self.trouble:
            raise Failure(f"{self.name}: {self.trouble}")
        if self.ended:
            raise Failure(f"{self.name} has ended before {what}; its console: {self.console}")
        raise Failure(f"{self.name}: no {what} in {seconds} s")

    def wait_ready(self, seconds=BOOT_SECONDS):
        self.until(lambda: self.ready, seconds, "boot")

    def say(self, line):
        try:
            self.process.stdin.write((line + "\n").encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Failure(f"{self.name} has ended before '{line}'") from None

    def start(self, name, command, listener=None):
        """Runs a shell command in the guest, under a name that is used once. The listener is called with every line."""
        assert "\n" not in command and name not in self.tasks
        self.tasks[name] = Task(self, name, listener)
        self.say(f"run {name} {command}")
        return self.tasks[name]

    def run(self, name, command, seconds):
        """The same to its end; Failure unless it exits with 0. Returns the task."""
        task = self.start(name, command)
        if task.wait(seconds):
            raise Failure(f"{self.name}: '{name}' exits with {task.status}: " + " | ".join(task.lines[-5:]))
        return task

    def clock_ratio(self, name):
        """How many of its seconds go by in one of this machine."""
        heard = []
        task = self.start(name, "cat /proc/uptime; sleep 2; cat /proc/uptime", lambda _: heard.append(time.monotonic()))
        if task.wait(60):
            raise Failure(f"{self.name}: no clock: {task.text()}")
        begin, end = (float(line.split()[0]) for line in task.lines)
        return (end - begin) / (heard[1] - heard[0])

    def take_tsc(self):
        """Its clock is the processor's TSC, which takes no time to read, as on real machines (or KVM's, which is made of
        it); Failure if that is wrong. The emulated HPET takes more than a microsecond."""
        name = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
        self.run("tsc", f"for i in 1 2 3 4 5 6 7 8 9; do grep -qxE 'tsc|kvm-clock' {name} && exit; echo tsc >{name}; sleep 1; done;"
                 " echo there is none; exit 1", 30)
        ratio = self.clock_ratio("tsc-clock")
        if not 0.98 < ratio < 1.02:
            raise Failure(f"{self.name}: its TSC is {ratio:.3f} times as fast as this machine's time: try again")

    def signal(self, name, number):
        self.say(f"signal {name} {number}")

    def end_tasks(self, kept=()):
        """Kills what still runs, but for some."""
        for task in self.tasks.values():
            if task.status is None and task not in kept and not self.ended:
                self.signal(task.name, "KILL")
                task.wait(20)

    # what happens to whole machines

    def power_cut(self):
        self.process.kill()
        self.process.wait()
        self.reader.join(5)  # which notes the end

    def ask(self, command):
        """Has qemu's monitor do something."""
        self.monitor.settimeout(20)
        try:
            for request in ("qmp_capabilities", command):
                self.monitor.sendall(json.dumps({"execute": request}).encode())
                answer = {}
                while not {"return", "error"} & answer.keys():  # events, and a greeting
                    answer = json.loads(self.answers.readline())
        except (OSError, ValueError) as why:
            raise Failure(f"{self.name}: its monitor does not answer to '{command}': {why}") from None
        if "error" in answer:
            raise Failure(f"{self.name}: '{command}': {answer['error']}")

    def freeze(self):
        """The machine stands still, with all its clocks: it will know of nothing."""
        self.ask("stop")

    def thaw(self):
        self.ask("cont")

    def off(self, seconds=10):
        """Ends the guest: kindly, then not."""
        try:
            if self.process.poll() is None:
                self.say("off")
                self.process.wait(seconds)
        except (Failure, subprocess.TimeoutExpired):
            pass
        finally:
            self.power_cut()
            self.answers.close()
            self.monitor.close()
            self.log.close()


class Switch:
    """An Ethernet switch between guests, on UDP sockets of the loopback, and where links are cut on purpose.

    Every frame goes to all other ports: there are few guests, and the frames of all are wanted.
    """

    def __init__(self, ports):
        self.sockets = []
        self.remotes = []
        self.cut = [False] * ports
        for _ in range(ports):
            ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            ours.bind(("127.0.0.1", 0))
            ours.setblocking(False)
            theirs = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            theirs.bind(("127.0.0.1", 0))
            self.sockets.append(ours)
            self.remotes.append(theirs.getsockname())
            theirs.close()  # qemu binds it at once
        self.stopping = False
        self.thread = threading.Thread(target=self.forward, daemon=True)
        self.thread.start()

    def netdev(self, port):
        ours, theirs = self.sockets[port].getsockname(), self.remotes[port]
        return (f"dgram,local.type=inet,local.host=127.0.0.1,local.port={theirs[1]},"
                f"remote.type=inet,remote.host=127.0.0.1,remote.port={ours[1]}")

    def forward(self):
        poller = select.epoll()
        ports = {s.fileno(): i for i, s in enumerate(self.sockets)}
        for s in self.sockets:
            poller.register(s.fileno(), select.EPOLLIN)
        while not self.stopping:
            for fd, _ in poller.poll(0.2):
                self.empty(ports[fd])
        poller.close()

    def empty(self, port):
        """Forwards what has come in at a port, some of it: the others have their turn, too."""
        for _ in range(64):
            try:
                frame, sender = self.sockets[port].recvfrom(65536)
            except (BlockingIOError, ConnectionRefusedError):
                return
            if sender != self.remotes[port] or self.cut[port]:
                continue
            for other, remote in enumerate(self.remotes):
                if other != port and not self.cut[other]:
                    try:
                        self.sockets[other].sendto(frame, remote)
                    except OSError:
                        pass  # a guest that is off

    def close(self):
        self.stopping = True
        self.thread.join(5)
        for s in self.sockets:
            s.close()
