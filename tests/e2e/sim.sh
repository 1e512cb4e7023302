#!/bin/sh
# Simulated jobs: they agree with theory, with themselves on any number of threads, and with what a real job prints.
. "$top_srcdir/tests/build/lib.sh"
. "$top_srcdir/tests/e2e/program.sh"

# sim NAME ARGUMENT...: a simulation that must end well; its result is NAME.json
sim()
{
    name=$1
    shift
    timeout 300 "$kofn" sim --json "$name.json" "$@" >"$name.out" 2>"$name.err" ||
        fail "$name: status $?: $(tail -3 "$name.err")"
    # shellcheck disable=SC2086 # a list of words
    has_keys "$name.json" $job_keys $worker_keys
    grep -q '"method": "simulation"' "$name.json" || fail "$name: not simulated?"
    grep -q '"transport": null' "$name.json" || fail "$name: over a transport?"
}

# STSyn's table: mu = 1, M = 20, U = 10 (6000 rounds: a standard error is some 0.3 %)
sim k5 --model none -n 20 -k 5 -u 10 --delay exp:1 --rounds 6000
near "$(value round_time_mean k5.json)" 7.56773 1.2 "K = 5: round time"
near "$(value updates_per_worker_mean k5.json)" 7.56773 1.2 "K = 5: updates"
near "$(value uploads_mean k5.json)" 19.9871 0.1 "K = 5: uploads"
sim k5c --model none -n 20 -k 5 -u 10 --delay exp:1 --rounds 6000 --publish on-close
near "$(value round_time_mean k5c.json)" 7.56773 1.2 "K = 5, on-close: round time"
holds "$(value publications_mean k5c.json) == $(value uploads_mean k5c.json)" "on-close: publications"
sim round --model none -n 20 -k 5 -u 10 --delay exp:1@round --rounds 6000
near "$(value round_time_mean round.json)" 2.79511 1.5 "one draw a round: round time"

# constant times: a message's cost shows to the nanosecond
sim wire --model none -n 2 -a sync --delay uniform:1ms,1ms --rounds 10 --latency 100us --parameters 250 --bandwidth 10M
near "$(value round_time_mean wire.json)" 0.0014 0.001 "latency and bandwidth" # 1 ms, and 100 + 100 us each way
sim ingest --model none -n 4 -a sync --delay uniform:1ms,1ms --rounds 10 --parameters 250 --ingest 10M
near "$(value round_time_mean ingest.json)" 0.0014 0.001 "ingest" # 1 ms, and four times 100 us

# a slow network: what misses its round is merged late, and nothing is lost
sim late --model none -n 8 -k 4 -u 5 --delay exp:1ms --latency 500us --rounds 300
holds "$(value late late.json) > 0" "a slow network: late updates"
holds "$(value staleness_mean late.json) > 0" "a slow network: staleness"
sim refuse --model none -n 8 -k 4 -u 5 --delay exp:1ms --latency 500us --rounds 300 --late refuse --loss 0.05
holds "$(value refused refuse.json) > 0" "refused updates"

# the same seed: the same result and the same record, to the last bit, with one thread and with three, without a model
# and with real ones; another seed: another one
for job in "--model none -k 3 -u 4" "--model quadratic -k 3 -u 4" "--model mlp --hidden 16 -k 3 -u 4" \
    "--model mlp --hidden 16 -a rfast" "--model softmax -a overlap -u 4" "--model softmax -a kbatch-async -k 3"; do
    job="-n 5 --delay exp:10ms --rounds 30 --latency 2ms $job"
    # shellcheck disable=SC2086 # words
    for threads in 1 3; do sim "t$threads" $job --threads $threads --record "r$threads"; done
    grep -v '"command"' t1.json >t1
    grep -v '"command"' t3.json | diff t1 - || fail "$job: three threads, another result"
    tail -n +3 r1 >r
    tail -n +3 r3 | cmp - r || fail "$job: three threads, another record"
    # shellcheck disable=SC2086 # words
    sim other $job --seed 2
    [ "$(value round_time_mean other.json)" != "$(value round_time_mean t1.json)" ] || fail "$job: another seed, the same result"
done

# a record can be replayed; the delays of a real job can be simulated
sim record --model none -n 4 -k 2 -u 5 --delay exp:5ms --rounds 50 --record trace.csv
cut -d, -f8 trace.csv | grep -qx 1 || fail "record: nothing was cut off"
sim replay --model none -n 4 -k 2 -u 5 --delay trace:trace.csv --rounds 50

# an end in virtual seconds
sim seconds --model none -n 4 -k 2 --delay exp:5ms --seconds 3
near "$(value seconds seconds.json)" 3 0.0001 "--seconds"

# peers: no K, no staleness; the root's own pace, and no mass lost whatever else is
sim rfast -n 6 -a rfast --model quadratic --delay exp:10ms --rounds 4000 --loss 0.3 --latency 3ms --eval-every 10
near "$(value round_time_mean rfast.json)" 0.01 7 "rfast: the root's pace"
holds "$(value conservation_error rfast.json) < 1e-5" "rfast: conservation"
for key in k staleness_mean uploads_mean; do
    grep -q "\"$key\": null" rfast.json || fail "rfast: $key is not null"
done
grep -q 'which is rounding' rfast.out || fail "rfast: nothing is said of conservation"
for name in dpsgd adpsgd osgp; do
    sim $name -n 6 -a $name --model quadratic --lr 0.01 --delay exp:10ms --rounds 500 --latency 3ms --loss 0.1 --eval-every 10
    "$kofn" info | grep -q "algorithm $name .*(baseline)" || fail "$name is no baseline?"
done
# 1 ms of computing, 6 latencies of 100 us, 6/4 transfers of 100 us
sim ring --model none -n 4 -a sync --collective ring --delay uniform:1ms,1ms --rounds 10 --latency 100us --parameters 250 --bandwidth 10M
near "$(value round_time_mean ring.json)" 0.00175 0.001 "ring all-reduce"
near "$(value bytes_mean ring.json)" 6000 0.001 "ring all-reduce: bytes"
sim lossy_ring --model none -n 4 -a sync --collective ring --delay uniform:1ms,1ms --rounds 200 --latency 100us --loss 0.3
holds "$(value round_time_mean lossy_ring.json) > 0.0018" "ring all-reduce with loss"

# Ctrl-C: the result so far, and status 128 + 15
"$kofn" sim --model none -n 100 -k 50 -u 10 --delay exp:1ms --seconds 1000000 --json stopped.json >stopped.out 2>&1 &
job=$!
until_says '^\[' stopped.out $job
kill -TERM $job
wait $job
status=$?
[ $status -eq 143 ] || fail "stopped: status $status"
[ "$(value rounds stopped.json)" -gt 0 ] || fail "stopped: no rounds in its JSON"
exit 0
