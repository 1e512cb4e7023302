"""kofn over TCP where a guest has what its host may lack: a network that loses and delays."""

from lab import expect


def lossy(lab, counts):
    """Jobs learn over a network that loses, delays and reorders; nobody is given up."""
    one = lab.guest()
    task = one.start("lossy", f"cd /tmp; top_srcdir={lab.top} top_builddir={lab.build} sh {lab.top}/tests/e2e/lossy.sh")
    expect(task.wait(240) == 0, "over a lossy network: " + task.text())
    for line in task.lines:
        counts.note(line)


TESTS = [lossy]
