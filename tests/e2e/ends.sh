#!/bin/sh
# How a job ends when something is not as it should be: a disk that is full, workers that die before they have joined,
# signals to all processes at once, models that diverge. Each is said once, and in the exit status.
. "$top_srcdir/tests/build/lib.sh"
. "$top_srcdir/tests/e2e/program.sh"

quadratic="--model quadratic -u 5 --delay exp:2ms"

# text KEY FILE: the string behind "KEY"
text() { sed -n "s/^ *\"$1\": \"\(.*\)\",*$/\1/p" "$2" | head -1; }
now() { date +%s; }
# has FILE TEXT WHAT, has_not FILE TEXT WHAT
has() { grep -q -e "$2" "$1" || fail "$3: no \"$2\" in: $(cat "$1")"; }
has_not() { grep -q -e "$2" "$1" && fail "$3: \"$2\" in: $(cat "$1")"; }
# first_child PID: waits for the first process it forks; as fast as can be, so no other program is asked
first_child()
{
    child=
    until [ -n "$child" ]; do
        kill -0 "$1" || fail "no child: $(cat ./*.out)"
        # shellcheck disable=SC2034 # there may be more of them; the line has no end
        read -r child others <"/proc/$1/task/$1/children"
    done
}
# started FILE PID: waits until the job has told of its first rounds
started() { until_says '^round' "$1" "$2"; }

# ---- a full disk: the record is there whole or not at all, and the job has failed ----
# (the first write beyond the limit is an error where its signal is ignored; the result itself is small)
(
    trap '' XFSZ
    ulimit -f 100
    exec timeout 120 "$kofn" run -q -n 3 -k 2 --model quadratic --rounds 4000 --record full.csv --json full.json >full.out 2>full.err
)
status=$?
[ $status -eq 1 ] || fail "full disk: status $status: $(cat full.err)"
has full.err 'could not write its local updates; there is no full.csv' "full disk"
[ -z "$(find . -name 'full.csv*')" ] || fail "full disk: $(ls -l full.csv*)"
has full.json '"rounds": 4000' "full disk: the result is not the record's"
# the same in a simulation, which has one writer
(
    trap '' XFSZ
    ulimit -f 100
    exec timeout 120 "$kofn" sim -q -n 3 -k 2 --model none --delay exp:1ms --rounds 4000 --record full.csv >full.out 2>full.err
)
status=$?
[ $status -eq 1 ] || fail "full disk, simulated: status $status: $(cat full.err)"
[ -z "$(find . -name 'full.csv*')" ] || fail "full disk, simulated: $(ls -l full.csv*)"

# ---- before the first round: a worker that dies, a signal; nobody is waited for in vain ----
if [ -r "/proc/$$/task/$$/children" ]; then
    for what in KILL TERM; do
        "$kofn" run -n 24 -k 12 --rounds 200 $quadratic >early.out 2>&1 &
        job=$! begin=$(now)
        first_child $job
        kill -STOP $job # wherever it is between its first fork and the server
        [ $what = KILL ] && kill -KILL "$child"
        [ $what = TERM ] && kill -TERM $job
        kill -CONT $job
        wait $job
        status=$?
        [ $(($(now) - begin)) -lt 20 ] || fail "early $what: waited for $(($(now) - begin)) s: $(cat early.out)"
        has_not early.out 'going on without' "early $what"
        # (on a host so busy that the rounds had begun, the job goes on)
        [ $what = TERM ] || has early.out 'rank 0 .* could not start: killed by signal 9\|gone in round' "early $what"
        [ $what = KILL ] || [ $status -eq 143 ] || fail "early $what: status $status: $(cat early.out)"
    done
fi

# ---- SIGTERM to all processes of the job, as from timeout(1), a batch system, a service manager ----
if command -v setsid >/dev/null; then
    setsid "$kofn" run -n 3 -k 2 --seconds 200 --json group.json $quadratic >group.out 2>&1 &
    job=$!
    started group.out $job
    kill -TERM -$job
    wait $job
    status=$?
    [ $status -eq 143 ] || fail "group: status $status: $(cat group.out)"
    has group.out '^rank ' "group: no table"
    for accusation in 'killed by signal' gone dead; do has_not group.out "$accusation" "group"; done
    has_not group.json '"cause": "dead"' "group"
    has group.out 'rounds in .* (interrupted)$' "group"
    [ "$(text ended group.json)" = interrupted ] || fail "group: ended: $(text ended group.json)"
fi
# timeout(1) sends the signal to the program, and then to its group: that is one request
timeout 3 "$kofn" run -n 3 -k 2 --seconds 200 $quadratic >timeout.out 2>&1
status=$?
[ $status -eq 124 ] || fail "timeout: status $status: $(cat timeout.out)"
has timeout.out '^rank ' "timeout: no table"
has_not timeout.out 'killed by signal' "timeout"

# a second signal ends a job that takes its time to end: a worker that is stopped is waited for
"$kofn" run -n 3 -k 2 --seconds 200 $quadratic >second.out 2>&1 &
job=$!
started second.out $job
stopped=$(ps -o pid= --ppid $job | head -1 | tr -d ' ')
kill -STOP "$stopped"
kill -TERM $job
while kill -TERM $job 2>/dev/null; do :; done # until there is nobody to hear it
wait $job
status=$?
kill -KILL "$stopped"
[ $status -eq 143 ] || fail "second signal: status $status: $(cat second.out)"
has_not second.out '^rank .*state' "second signal: it was waited for"

# ---- why it is over: in the summary's first line, in the JSON, in the status ----
# ends STATUS WHY TEXT ARGUMENT...
ends()
{
    ends_status=$1 why=$2 words=$3
    shift 3
    timeout 120 "$kofn" "$@" --json why.json >why.out 2>why.err
    status=$?
    [ $status -eq "$ends_status" ] || fail "$why: status $status: $(cat why.err)"
    has why.out "rounds* in .* ($words)$" "$why"
    [ "$(text ended why.json)" = "$why" ] || fail "$why: ended: $(text ended why.json)"
}
ends 0 rounds 'all rounds done' run -q -n 2 $quadratic --rounds 1
has why.out ': 1 round in' "one round"
ends 0 seconds 'time is up' run -q -n 2 $quadratic --seconds 1
ends 1 seconds 'time is up' run -q -n 2 --model quadratic --delay exp:100 --seconds 0.1
has why.err 'no round was completed' "no round"
ends 1 diverged diverged run -n 3 -k 2 -u 5 --model quadratic --lr 1e6 --delay exp:1ms --seconds 60
has why.err 'learning rate below 1e+06' "diverged"
if grep -q '^#define HAVE_OPENBLAS 1' "$top_builddir/config.h"; then
    ends 0 target 'target accuracy reached' run -q -n 2 -u 5 --target-accuracy 0.2 --eval-every 0.1 --seconds 100
    # workers on which every update is refused are told apart from late ones, and the job does not go on for ever
    ends 1 diverged diverged run -n 4 -k 3 -u 5 --lr 100 --model mlp --delay exp:10ms --rounds 100000
    has why.err 'none of its updates could be merged' "refused"
    has_not why.out 'nan' "refused"
    ends 1 diverged diverged sim -n 4 -k 3 -u 5 --lr 100 --model mlp --delay exp:10ms --rounds 100000
fi
ends 0 rounds 'all rounds done' sim -q -n 2 --model none --delay exp:1ms --rounds 5
ends 0 seconds 'time is up' sim -q -n 2 --model none --delay exp:1ms --seconds 1
ends 1 seconds 'time is up' sim -q -n 2 --model none --delay uniform:1,2 --seconds 0.1
# all workers die
"$kofn" run -n 2 --seconds 200 $quadratic --json lost.json >lost.out 2>&1 &
job=$!
started lost.out $job
for pid in $(ps -o pid= --ppid $job); do kill -KILL "$pid"; done
wait $job
status=$?
[ $status -eq 1 ] || fail "lost: status $status: $(cat lost.out)"
has lost.out '(no worker is left)$' "lost"
[ "$(text ended lost.json)" = workers-lost ] || fail "lost: ended: $(text ended lost.json)"
exit 0
