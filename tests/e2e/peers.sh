#!/bin/sh
# Jobs without a server: R-FAST over every transport of one host, with loss, with a slow peer, and with peers that die.
. "$top_srcdir/tests/build/lib.sh"
. "$top_srcdir/tests/e2e/program.sh"

# peers NAME ARGUMENT...: a job that must end well; its result is NAME.json
peers()
{
    name=$1
    shift
    timeout 120 "$kofn" run -a rfast --json "$name.json" "$@" >"$name.out" 2>"$name.err" ||
        fail "$name: status $?: $(tail -3 "$name.err")"
    # shellcheck disable=SC2086 # a list of words
    has_keys "$name.json" $job_keys $worker_keys
    grep -q '"method": "measured"' "$name.json" || fail "$name: not measured?"
    for key in k staleness_mean uploads_mean; do
        grep -q "\"$key\": null" "$name.json" || fail "$name: $key is not null"
    done
    holds "$(value conservation_error "$name.json") <= 1e-4" "$name: conservation"
}

job="--delay exp:3ms --rounds 300 --eval-every 1"
# shellcheck disable=SC2086 # words
{
    peers shm -n 5 $job
    [ "$(value rounds shm.json)" -eq 300 ] || fail "shm: not 300 activations of the root"
    holds "$(value accuracy shm.json) > 0.45" "shm: accuracy"
    peers loss -n 4 $job --loss 0.4 --topology ring --root 2 --record record.csv
    grep -q '^3,' record.csv || fail "loss: rank 3 is not in the record"
    peers slow -n 4 $job --topology star --straggler rank=3,factor=8
    grep -c '"rank"' slow.json | grep -qx 4 || fail "slow: not four peers"
    peers one -n 1 $job
}
# nobody waits for the slow one
set -- $(sed -n 's/^ *"updates": \([0-9]*\),*/\1/p' slow.json)
holds "$1 > 3 * $4 && $4 > 0" "slow: $1 and $4 updates"
if "$kofn" info | grep -q 'transport tcp'; then
    # shellcheck disable=SC2086 # words
    peers tcp -n 4 $job -t tcp --loss 0.1
fi

# start ARGUMENT...: a long job in the background, until its first evaluation; its peers are in $pids
start()
{
    : >killed.out # of the job before
    "$kofn" run -a rfast --delay exp:3ms --seconds 60 --eval-every 0.2 --json killed.json "$@" >killed.out 2>&1 &
    job=$!
    until_says accuracy killed.out $job
    pids=$(ps -o pid= --ppid $job)
}
# pid_of RANK: peers were started in the order of their ranks
pid_of() { echo "$pids" | sed -n "$(($1 + 1))p" | tr -d ' '; }

# a leaf dies: the others go on, to the end
start -n 5
kill -KILL "$(pid_of 4)"
until_says 'rank 4 is gone' killed.out $job
kill -TERM $job
wait $job
status=$?
[ $status -eq 143 ] || fail "a leaf: status $status"
grep -q '"state": "gone"' killed.json || fail "a leaf: nobody is gone"
grep -q '"cause": "dead"' killed.json || fail "a leaf: nobody is dead"
holds "$(value conservation_error killed.json) <= 1e-4" "a leaf: conservation among the others"

# the root dies: nothing comes together any more
start -n 3 --root 1
kill -KILL "$(pid_of 1)"
wait $job
status=$?
[ $status -eq 1 ] || fail "the root: status $status"
grep -q "rank 1 (pid $(pid_of 1)), the root, .*killed by signal 9" killed.out || fail "the root: $(cat killed.out)"
grep -q '(rank 1, the root, is gone: killed by signal 9' killed.out || fail "the root, at the end: $(cat killed.out)"
grep -q 'no worker is left' killed.out && fail "the root: two others are left"
grep -q '"ended": "root-lost"' killed.json || fail "the root: ended: $(grep ended killed.json)"
holds "$(value rounds killed.json) > 0" "the root: the result so far"
[ -z "$(ps -o pid= --ppid $job)" ] || fail "the root: peers are left behind"
exit 0
