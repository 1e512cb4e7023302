"""What transport.h promises, over verbs: every way in which a publication can arrive, and connections be made; of
mode=atomic, harness/native says the same."""

ROUNDS = 10  # of tests that repeat something very often: a guest is slow


def suite(name):
    def test(lab, counts):
        program = f"{lab.build}/tests/contract/contract {name}"
        task = lab.guest().start(name, f"KOFN_TEST_ROUNDS={ROUNDS} KOFN_TEST_VERBS=rxe0 {program}")
        task.wait(240)
        counts.tap(task.lines)

    test.__name__, test.__module__ = name, __name__
    return test


TESTS = [suite("verbs"), suite("verbs-poll"), suite("verbs-rdmacm")]
