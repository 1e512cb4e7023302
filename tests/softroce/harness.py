"""The harness itself: that guests do what they are told, and say so."""

import json
import re

import guest
from lab import expect


def commands(lab, _):
    """Statuses and lines come back; a deadline is kept; a signal reaches what it is meant for."""
    one = lab.guest()
    good = one.start("good", "echo a; echo b >&2; exit 0")
    bad = one.start("bad", "exit 7")
    slow = one.start("slow", "sleep 1000 & wait")
    expect(good.wait(20) == 0 and sorted(good.lines) == ["a", "b"], "lines of a command are lost")
    expect(bad.wait(20) == 7, "the status of a command is lost")
    try:
        slow.wait(0.5)
        raise AssertionError("a deadline was not kept")
    except guest.Failure:
        pass
    one.signal("slow", "TERM")
    expect(slow.wait(20) != 0, "a signal was not delivered")


def device(lab, _):
    """The device is active, with GIDs of its address, and carries data from and to itself."""
    one = lab.guest()
    info = one.run("devinfo", "ibv_devinfo -d rxe0", 20).text()
    expect("PORT_ACTIVE" in info, "rxe0 is not active: " + info)
    one.start("pong", "ibv_rc_pingpong -d rxe0 -g 1 -n 100")
    one.run("ping", "until ibv_rc_pingpong -d rxe0 -g 1 -n 100 127.0.0.1; do :; done", 60)


def info(lab, _):
    """`kofn info` shows the device with its address, says that it is only used if named, and that it is, if it is."""
    one = lab.guest()
    kofn = f"{lab.build}/kofn info"
    text = one.run("info", kofn, 20).text()
    expect(re.search(r"verbs rxe0 .*not used: .* software device, .* only used if named", text), "why not rxe0? " + text)
    expect(re.search(r"verbs rxe0:1 .*active, Ethernet, MTU 4096, GID \d+ 10\.9\.0\.1 \(RoCE v2, eth0\), traffic class 106",
                     text), "no rxe0:1 with its GID: " + text)
    expect(re.search(r"verbs choice .*none", text), "a choice, of what? " + text)
    named = one.run("named", f"{kofn} -t verbs --transport-option device=rxe0 --json -", 20).text()
    found = json.loads(named[named.index("{"):])["findings"]["verbs"]
    expect(found["choice"] == "rxe0 port 1" and "not used" not in found["rxe0"] + found["rxe0:1"],
           f"rxe0 is named and not used: {found}")
    expect("10.9.0.1 (RoCE v2, eth0), " in found["rxe0:1 GIDs"] and "fe80::" in found["rxe0:1 GIDs"],
           f"not all of its GIDs: {found}")
    wrong = one.run("wrong", f"KOFN_VERBS_GID=200 KOFN_VERBS_DEVICE=rxe0 {kofn}", 20).text()
    expect(re.search(r"verbs rxe0:1 .*not used: it does not have the GID asked for", wrong), "GID 200? " + wrong)


def clock(lab, counts):
    """A second of a guest is one of this machine: or else none of its deadlines is what it says."""
    ratio = lab.guest().clock_ratio("clock")
    counts.note(f"a second of the guest takes {1 / ratio:.3f} s")
    expect(0.7 < ratio < 1.4, f"the guest's clock is {ratio:.2f} times as fast as this machine's")


def native(lab, counts):
    """make check-verbs where the device is: a suite of the contract (contract.py has the others) and a job; where it is not,
    one line that says so."""
    one = lab.guest()
    program = f"top_builddir={lab.build} KOFN_TEST_ROUNDS=10 VERBS_SUITES=verbs-atomic {lab.top}/tests/softroce/native"
    wrong = one.start("native-wrong", f"{program} rxe9")
    expect(wrong.wait(30) == 1 and len(wrong.lines) == 1, f"no device, and not one line: {wrong.lines}")
    expect("no RDMA device 'rxe9' here; there are: rxe0" in wrong.text(), f"not what is missing: {wrong.lines}")
    task = one.start("native", f"{program} rxe0")
    expect(task.wait(240) == 0, "on the guest's own device: " + " | ".join(task.lines[-5:]))
    for line in task.lines[-2:]:
        counts.note(line)
    counts.passed += int(re.match(r"(\d+) passed, 0 failed$", task.lines[-1])[1])


TESTS = [commands, clock, device, info, native]
