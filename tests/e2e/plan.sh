#!/bin/sh
# Plans: what theory says, what simulation says, and what a recorded job teaches.
. "$top_srcdir/tests/build/lib.sh"
. "$top_srcdir/tests/e2e/program.sh"

# plan NAME ARGUMENT...: a plan that must end well; its result is NAME.json
plan()
{
    name=$1
    shift
    timeout 120 "$kofn" plan --json "$name.json" "$@" >"$name.out" 2>"$name.err" ||
        fail "$name: status $?: $(tail -3 "$name.err")"
    # shellcheck disable=SC2086 # a list of words
    has_keys "$name.json" $job_keys
}

# theory, where it knows
plan all -n 20 -k 5 -u 10 --delay exp:1
for algorithm in sync local stsyn ksync kbatch-sync kasync kbatch-async adasync overlap adacomm easgd fedbuff flanp; do
    grep -q "^$algorithm " all.out || fail "no line for $algorithm: $(cat all.out)"
done
plan sync -n 8 -a sync --delay exp:1 --rounds 100
near "$(value round_time_mean sync.json)" 2.717857142857 0.0001 "sync"
near "$(value seconds sync.json)" 271.7857142857 0.0001 "sync: seconds"
grep -q '"method": "closed-form"' sync.json || fail "sync: not closed"
plan growing -n 8 -k 4 -a adasync --over kbatch-async --delay exp:1
near "$(value round_time_mean growing.json)" 0.5 0.0001 "adasync, its first K"
plan round -n 20 -k 5 -u 10 -a stsyn --delay exp:1@round
near "$(value round_time_mean round.json)" 2.79511 0.01 "one draw a round"
grep -q '"updates_per_worker_mean": null' round.json || fail "an infinite mean is not null"
# beside a job whose rounds end, those that do not are shown
plan heavy -n 8 -k 2 --delay pareto:0.9,1ms
near "$(value round_time_mean heavy.json)" 0.00138040 0.01 "a heavy tail"
grep -q '^sync .* infinite ' heavy.out || fail "sync is not infinite: $(cat heavy.out)"
# where it does not, a simulation, whose value is that of kofn sim
plan pareto -n 4 -k 3 -u 3 -a stsyn --delay pareto:2,1ms
grep -q '"method": "simulation"' pareto.json || fail "pareto: not simulated"
"$kofn" sim --model none -q -n 4 -k 3 -u 3 --delay pareto:2,1ms --rounds 20000 --json sim.json >/dev/null || fail "sim"
near "$(value round_time_mean pareto.json)" "$(value round_time_mean sim.json)" 1 "pareto"
# the same on any number of threads
plan net1 -n 6 -k 3 -u 3 -a stsyn --delay exp:1ms --latency 1ms --threads 1
grep -q '"method": "simulation"' net1.json || fail "a network: not simulated"

# a record in which updates were cut off: the fit finds the means that were injected (5 and 20 ms), which the finished
# updates alone do not show
"$kofn" sim --model none -q -n 6 -k 3 -u 5 --delay exp:5ms --straggler rank=5,factor=4 --rounds 2000 --record job.csv \
    >/dev/null || fail "record"
plan trace --trace job.csv --threads 2
[ "$(value workers trace.json)" -eq 6 ] || fail "trace: not its number of workers"
sed -n '/"fit": \[/,/^  \]/p' trace.json >fit
sed -n 's/^ *"mean": \([0-9.eE+-]*\),*$/\1/p' fit >means
near "$(sed -n 1p means)" 0.005 4 "fit of rank 0"
near "$(sed -n 6p means)" 0.020 6 "fit of rank 5"
holds "$(sed -n 's/^ *"finished_mean": \([0-9.eE+-]*\),*$/\1/p' fit | sed -n 6p) < 0.012" "finished updates alone"
grep -q '"choices"' trace.json || fail "trace: no choices"
grep -q '^kofn run -n 6 -a stsyn' trace.out || fail "trace: no answer: $(cat trace.out)"
grep -q '^local ' trace.out || fail "trace: nothing to compare with"
plan other --trace job.csv --threads 1
grep -v '"command"' trace.json >trace
grep -v '"command"' other.json | diff trace - || fail "another number of threads, another plan"
plan kept --trace job.csv -k 2 -u 3 --publish eager
[ "$(grep -c '"publish": "on-close"' kept.json)" -eq 0 ] || fail "what was asked for is not kept"
# the recorded job is what the first table shows, as far as nothing else is asked for
"$kofn" sim -q -n 4 -k 3 -u 7 --hidden 32 --model mlp --delay exp:5ms --rounds 60 --record own.csv >/dev/null || fail "own"
plan own --trace own.csv
[ "$(value k own.json)/$(value local_steps own.json)" = 3/7 ] || fail "own: not the job of the record: $(cat own.out)"
grep -q '^stsyn  *3  *7 ' own.out || fail "own: no line of it: $(cat own.out)"
plan same --trace own.csv -a stsyn -k 3 -u 7 --model mlp --hidden 32
[ "$(value bytes_mean own.json)" = "$(value bytes_mean same.json)" ] || fail "own: not its model"
plan others --trace own.csv -u 2 -n 2 --parameters 10
[ "$(value k others.json)/$(value local_steps others.json)" = 2/2 ] || fail "own: $(cat others.out)"
"$kofn" sim -q -n 4 -a sync --model none --delay exp:5ms --rounds 200 --record sync.csv >/dev/null || fail "sync.csv"
plan sync --trace sync.csv
grep -q '"algorithm": "sync"' sync.json || fail "own: not its algorithm"
plan unlike --trace sync.csv -k 2
grep -q '"algorithm": "stsyn"' unlike.json || fail "own: an algorithm that does not go with -k"

# a thousand workers, whose rounds of one update each cost as much as those of many
"$kofn" sim --model none -q -n 1000 -k 900 -u 2 --delay exp:5ms --straggler rank=5,factor=4 --rounds 10 \
    --record many.csv >/dev/null || fail "many.csv"
plan many --trace many.csv -k 1 -u 5 --publish eager
[ "$(value workers many.json)/$(value k many.json)" = 1000/1 ] || fail "many: $(cat many.out)"
grep -q '^adasync  *1  *1 ' many.out || fail "many: no adasync: $(cat many.out)"
grep -q '^kofn run -n 1000 -a stsyn -k 1 -u 5 --publish eager' many.out || fail "many: $(cat many.out)"
near "$(value merged_per_second many.json)" 200000 5 "many: nobody idles"
# B3s, P/K - 1: it is told of a job that has run for a while
near "$(awk '$1 == "kasync" { for (i = 1; i <= NF; i++) if ($i ~ /B$/) print $(i + 1) }' many.out)" 999 2 "many: staleness"

# the record of a real job
if grep -q '^#define HAVE_OPENBLAS 1' "$top_builddir/config.h"; then
    "$kofn" run -q -n 3 -k 2 -u 4 --delay exp:2ms --rounds 60 --record real.csv >/dev/null || fail "run"
    plan real --trace real.csv --model softmax
    holds "$(value round_time_mean real.json) > 0.002" "real: a round"
fi
exit 0
