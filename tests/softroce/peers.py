"""Jobs without a server over verbs: all peers in one guest."""

import json

from lab import expect

LEAF = 3  # of as many more: who gives to nobody that the others need


def start(lab, what, options):
    """R-FAST between peers on the device; returns the command and the file of its result."""
    name = lab.name(what)
    file = f"/run/{name}.json"
    task = lab.guest().start(
        name, f"exec {lab.build}/kofn run -a rfast -n {LEAF + 1} --delay exp:10ms {options} -t verbs"
        f" --transport-option device=rxe0 --json {file}")
    return task, file


def check(lab, task, file, status):
    """Waits for its end; returns the result, in which all mass of gradients is accounted for."""
    expect(task.wait(120) == status, f"status {task.status}: {task.text()}")
    result = json.loads(lab.guest().run(lab.name("result"), f"cat {file}", 20).text())
    expect(result["transport"] == "verbs", f"over {result['transport']}")
    expect(result["conservation_error"] <= 1e-4, f"mass is lost: {result['conservation_error']}")
    return result


def rfast(lab, counts):
    """Peers learn together, and nothing of what they give each other is lost, though one message of ten is."""
    task, file = start(lab, "rfast", "--rounds 100 --loss 0.1")
    result = check(lab, task, file, 0)
    counts.note(f"accuracy {result['accuracy']:.3f} after {result['rounds']} rounds in {result['seconds']:.1f} s")
    expect(result["rounds"] == 100 and result["accuracy"] > 0.45, f"nothing is learnt: {result}")
    expect(all(worker["updates"] for worker in result["per_worker"]), f"somebody did nothing: {result['per_worker']}")


def leaf_killed(lab, counts):
    """A peer that is killed is found out and named; the others go on without it."""
    task, file = start(lab, "leaf", "--seconds 100 --eval-every 0.5")
    task.wait_for("accuracy", 60)
    kill = f"kill -KILL $(pgrep -P $(cat /run/{task.name}.pid) | sort -n | tail -n 1)"  # they start in order of rank
    lab.guest().run(lab.name("kill"), kill, 20)
    counts.note(task.wait_for(f"rank {LEAF} is gone.*", 60)[0])
    had = len(task.lines)
    lab.guest().until(lambda: any("accuracy" in line for line in task.lines[had:]), 60, "an evaluation without it")
    lab.guest().signal(task.name, "TERM")
    workers = check(lab, task, file, 143)["per_worker"]
    gone = [worker["rank"] for worker in workers if worker["state"] == "gone"]
    expect(gone == [LEAF] and workers[LEAF]["cause"] == "dead", f"who is gone: {workers}")


TESTS = [rfast, leaf_killed]
