#!/bin/sh
# Whole jobs: they learn, they say what happened under the promised keys, and they end in order.
. "$top_srcdir/tests/build/lib.sh"
. "$top_srcdir/tests/e2e/program.sh"
grep -q '^#define HAVE_OPENBLAS 1' "$top_builddir/config.h" || skip "built without OpenBLAS: no networks to train"

# job NAME ARGUMENT...: a job that must end well; its result is NAME.json
job()
{
    name=$1
    shift
    timeout 300 "$kofn" run --json "$name.json" "$@" >"$name.out" 2>"$name.err" ||
        fail "$name: status $?: $(tail -3 "$name.err")"
    # shellcheck disable=SC2086 # a list of words
    has_keys "$name.json" $job_keys $worker_keys
    grep -q '"method": "measured"' "$name.json" || fail "$name: not measured?"
}

# every algorithm and all ways to publish reach on synthetic data what a network can and a linear model cannot
synthetic="-n 4 --model mlp --delay exp:2ms --rounds 2000 --target-accuracy 0.8 --eval-every 0.2"
job stsyn $synthetic -a stsyn -k 3 -u 10
job on-close $synthetic -a stsyn -k 3 -u 10 --publish on-close
job pull $synthetic -a stsyn -k 3 -u 10 --publish pull
job fednova $synthetic -a stsyn -k 3 -u 10 --weights fednova --split dirichlet:0.5
job local $synthetic -a local -u 10
job overlap $synthetic -a overlap -u 10 --beta 0.5 --lr 0.2
job sync $synthetic -a sync --lr 0.2 --rounds 20000
for name in ksync kbatch-sync kasync kbatch-async; do
    job $name $synthetic -a $name -k 3 --lr 0.2 --rounds 20000
    holds "$(value merged $name.json) > 0" "$name: merged"
done
holds "$(value staleness_mean kasync.json) > 0" "kasync: staleness"
holds "$(value staleness_mean kbatch-async.json) > 0" "kbatch-async: staleness"
holds "$(value staleness_mean ksync.json) == 0" "ksync: staleness"
# K grows as the loss falls, over any of them
for over in ksync kbatch-sync kasync kbatch-async; do
    job over-$over $synthetic -a adasync --over $over --lr 0.2 --rounds 20000
    holds "$(value k over-$over.json) == 1 && $(value k_last over-$over.json) > 1" "adasync over $over: K"
done
# the target is reached by the model that was looked at; rounds go on meanwhile, and accuracy goes up and down between them
# by a little, and by much where workers have classes of their own (fednova)
for name in stsyn on-close pull fednova local overlap sync ksync kbatch-sync kasync kbatch-async \
    over-ksync over-kbatch-sync over-kasync over-kbatch-async; do
    grep -q '"ended": "target"' $name.json || fail "$name: the target is not reached"
    holds "$(sed -n 's/^ *"accuracy": \([0-9.]*\),*$/\1/p' $name.json | sort -g | tail -1) >= 0.8" "$name: best accuracy"
    [ $name = fednova ] || holds "$(value accuracy $name.json) >= 0.77" "$name: accuracy"
done

# a straggler: no round waits for it, it is named, and its finished work is merged
job straggler -n 4 -k 3 -u 10 --model softmax --delay exp:5ms --straggler rank=3,factor=10 --rounds 40
sed -n '/"rank": 3/,/}/p' straggler.json >rank3.json
holds "$(value merged rank3.json) + $(value late rank3.json) > 0" "straggler: merged"
holds "$(value first_k rank3.json) <= 4" "straggler: among the first K"
grep -q '"cause": "compute"' rank3.json || fail "straggler: its cause is not named: $(cat rank3.json)"

# its publications are read when a round closes: it is merged, round for round, without being waited for
job pulled -n 4 -k 3 -u 10 --publish pull --model softmax --delay exp:5ms --straggler rank=3,factor=5 --rounds 40
holds "$(value publications_mean pulled.json) <= 4 && $(value uploads_mean pulled.json) > 3" "pull: publications"
sed -n '/"rank": 3/,/}/p' pulled.json >rank3.json
holds "$(value merged rank3.json) > 30 && $(value lost rank3.json) == 0" "pull: the straggler's updates"

# the record holds finished updates and those that were cut off
job record -n 4 -k 2 -u 5 --delay exp:5ms --rounds 20 --record trace.csv
head -1 trace.csv | grep -q '^# kofn-trace 1' || fail "record: $(head -1 trace.csv)"
cut -d, -f8 trace.csv | grep -qx 1 || fail "record: nothing was cut off"
cut -d, -f8 trace.csv | grep -qx 0 || fail "record: nothing was finished"
job replay -n 4 -k 2 -u 5 --delay trace:trace.csv --rounds 10

# the split of work is the seed's: same data, same start
job seed1 -n 2 -a local -u 2 --model softmax --rounds 3 --seed 5
job seed2 -n 2 -a local -u 2 --model softmax --rounds 3 --seed 5
[ "$(value accuracy seed1.json)" = "$(value accuracy seed2.json)" ] || fail "the same seed gave another model"

# Ctrl-C ends a job in order, with its table and its JSON, status 130; no worker is left
"$kofn" run -n 3 -k 2 -u 5 --delay exp:5ms --seconds 200 --json stopped.json >stopped.out 2>&1 &
job=$!
until_says '^round' stopped.out $job
workers=$(ps -o pid= --ppid $job)
[ -n "$workers" ] || fail "Ctrl-C: no workers"
# nothing of the server is in a worker's hands: it can write its own slot, and ring
for pid in $workers; do
    grep -q 'rw-s.*memfd:kofn-\(models\|block\)' "/proc/$pid/maps" && fail "isolation: $(grep kofn "/proc/$pid/maps")"
    [ "$(grep -c 'memfd:kofn-worker' "/proc/$pid/maps")" -eq 1 ] || fail "isolation: $(grep kofn "/proc/$pid/maps")"
    # shellcheck disable=SC2010 # what they point to is wanted
    ls -l "/proc/$pid/fd" | grep 'memfd:kofn\|eventpoll' && fail "isolation: descriptors of the server"
done
kill -TERM $job # a background job of sh ignores SIGINT; the program treats both alike
wait $job
status=$?
[ $status -eq 143 ] || fail "Ctrl-C: status $status"
grep -q '^rank ' stopped.out || fail "Ctrl-C: no table"
[ "$(value rounds stopped.json)" -gt 0 ] || fail "Ctrl-C: no rounds in its JSON"
for pid in $workers; do kill -0 "$pid" 2>/dev/null && fail "Ctrl-C: worker $pid is still there"; done

# the server is killed: its workers end by themselves, and each says who has left it
"$kofn" run -n 3 -k 2 -u 5 --delay exp:5ms --seconds 200 --json orphans.json >orphans.out 2>&1 &
job=$!
until_says '^round' orphans.out $job
workers=$(ps -o pid= --ppid $job)
[ -n "$workers" ] || fail "orphans: no workers"
kill -KILL $job
wait $job
end=$(($(date +%s) + 30))
for pid in $workers; do
    # nobody need be there who collects them: the dead may stay as zombies
    while ps -o stat= -p "$pid" | grep -qv '^Z'; do
        [ "$(date +%s)" -lt $end ] || fail "orphans: worker $pid goes on without its server: $(tail -3 orphans.out)"
    done
done
for rank in 0 1 2; do
    grep -q "rank $rank: the server (pid $job, shm:.*) is gone, in round" orphans.out || fail "orphans: $(tail -5 orphans.out)"
done
[ ! -e orphans.json ] || fail "orphans: half a result was written"

# a worker that is killed: the job goes on without it and ends well
"$kofn" run -n 3 -k 3 -a local -u 5 --delay exp:5ms --seconds 6 --json killed.json >killed.out 2>&1 &
job=$!
until_says '^round' killed.out $job
kill -KILL "$(ps -o pid= --ppid $job | tail -1)"
wait $job || fail "killed: status $?: $(tail -3 killed.out)"
grep -q '"state": "gone"' killed.json || fail "killed: nobody is gone"
grep -q '"cause": "dead"' killed.json || fail "killed: no cause"
grep -q 'gone in round .* going on without it (K = 2 of 2 left)' killed.out || fail "killed: $(cat killed.out)"
exit 0
