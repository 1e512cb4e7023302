#!/bin/sh
# Whatever is wrong with a command is said in one line, by the right exit status, before anything is started or
# written.
. "$top_srcdir/tests/build/lib.sh"
. "$top_srcdir/tests/e2e/program.sh"

mkdir "$scratch/work" "$scratch/data" "$scratch/locked"
cd "$scratch/work" || exit 99

# bad STATUS TEXT ARGUMENT...: kofn fails with STATUS and one line on standard error that has TEXT in it; it prints
# nothing else and leaves no file
bad()
{
    bad_status=$1 bad_text=$2
    shift 2
    "$kofn" "$@" >../stdout 2>../stderr
    status=$?
    [ "$status" -eq "$bad_status" ] || fail "kofn $*: status $status, not $bad_status: $(cat ../stderr)"
    [ "$(wc -l <../stderr)" -eq 1 ] || fail "kofn $*: not one line: $(cat ../stderr)"
    grep -q '^kofn: ' ../stderr || fail "kofn $*: $(cat ../stderr)"
    grep -qF -e "$bad_text" ../stderr || fail "kofn $*: no \"$bad_text\" in: $(cat ../stderr)"
    [ ! -s ../stdout ] || fail "kofn $*: on standard output: $(cat ../stdout)"
    [ -z "$(ls -A)" ] || fail "kofn $*: left behind: $(ls -A)"
}

# a job as small as can be, in case one is started after all
run() { code=$1 text=$2; shift 2; bad "$code" "$text" run --seconds 1 -n 2 --json result.json "$@"; }

# commands
bad 2 "no command"
bad 2 'did you mean "run"' rn
bad 2 "no such command" frobnicate
bad 2 "--hepl" --hepl

# options
run 2 "did you mean --workers" --wrokers 3
run 2 "no such option" --nonsense
run 2 "is it --" --se 3
run 2 "no such option" -Z
run 2 "may be lost" --loss 0.1
run 2 "can only be simulated" -a dpsgd
run 2 "is an option of sim and plan, not of run" --latency 1ms
run 2 "is an option of serve and work, not of run" --address=shm:x
run 2 "ETA is missing" --lr
run 2 "takes no value" --quiet=yes
run 2 "unexpected argument" --quiet extra
bad 2 "did you mean --workers" info --wrokers 3

# numbers, durations, words
run 2 "too small" -n 0
run 2 "too large" -n 100000
run 2 "3.5" -n 3.5
run 2 "is not a whole number" -n many
run 2 "too small" -k 0
run 2 "--seed" --seed -1
run 2 "not a unit" --grace 5mz
run 2 "not a duration" --deadline soon
run 2 "too small" --lr 0
run 2 "--lr" --lr inf
run 2 "too large" --target-accuracy 90
run 2 'did you mean "stsyn"' --algorithm stsym
run 2 "merge, refuse" --late keep
run 2 "known: shm" --transport pigeon
run 2 "known: shm" --transport self
run 2 "quadratic" --model none
run 2 'did you mean "exp"' --delay exq:1ms
run 2 "MEAN" --delay exp:0
run 2 "round" --delay exp:1ms@rnd
run 2 'did you mean "factor"' --straggler rank=1,fctor=2
run 2 "ALPHA" --split dirichlet:0
run 2 "ALPHA is missing" --split dirichlet
run 2 "ALPHA is missing" --split dirichlet:
run 2 "is empty" --record=

# what does not fit together
run 2 "K counts workers" -k 3
run 2 "sync waits for all 2" -a sync -k 1
run 2 "local waits for all 2" -a local -k 1
run 2 "one local update" -a sync -u 2
run 2 "momentum" -a sync --momentum 0.5
run 2 "momentum" -a kasync --momentum 0.5
run 2 "one local update" -a kbatch-sync -u 2
run 2 "K counts workers" -a kasync -k 3
run 2 "K counts workers" -a ksync -k 3
run 2 "publishes eagerly" -a ksync -k 1 --publish on-close
run 2 "K counts workers" -a adasync --over kbatch-sync -k 3
run 2 "only the K of adasync grows" -a kasync --over ksync
run 2 "adasync and adacomm follow the loss" --adapt-every 1s
run 2 'did you mean "kasync"' -a adasync --over kasnc
run 2 "waits for all 2 workers" -a overlap -k 1
run 2 "publishes eagerly" -a overlap --publish on-close
run 2 "--alpha: 0 is too small" -a overlap --alpha 0
run 2 "--alpha: 1.5 is too large" -a overlap --alpha 1.5
run 2 "--alpha: it is below 1" -a overlap --alpha 1
run 2 "not a number" -a overlap --alpha nan
run 2 "--beta: 1 is too large" -a overlap --beta 1
run 2 "overlap and easgd pull" -a local --alpha 0.5
run 2 "anchor with a momentum" --beta 0.5
run 2 "anchor with a momentum" -a easgd --beta 0.5
run 2 "at most 1/N" -a easgd --alpha 0.6
run 2 "waits for all 2 workers" -a easgd -k 1
run 2 "waits for all 2 workers" -a adacomm -k 1
run 2 "K counts workers" -a flanp -k 3
run 2 "publishes eagerly" -a fedbuff --publish on-close
run 2 "--small-move: 0 is too small" -a flanp --small-move 0
run 2 "flanp looks how far" -a ksync --small-move 1
run 2 "--outer-lr: 0 is too small" --outer-lr 0
run 2 "--outer-momentum: 1 is too large" --outer-momentum 1
run 2 "have an outer step" -a overlap --outer-lr 0.7
run 2 "--staleness-step: 0 is too small" -a kasync -k 1 --staleness-step 0
run 2 "merge stale gradients" -a ksync -k 1 --staleness-step 1
run 2 "merge stale gradients" -a fedbuff -k 1 --staleness-step 1
run 2 "merge stale gradients" -a adasync --over ksync --staleness-step 1
run 2 "none, median, trimmed" --screen mean --late refuse
run 2 "needs a number F" --screen trimmed --late refuse
run 2 "0 is too small" --screen trimmed:0 --late refuse
run 2 "of 2 updates" --screen trimmed:1 --late refuse
run 2 "add --late refuse" --screen median
run 2 "not weighed" --screen median --late refuse --weights fednova
run 2 "not weighed" -a kasync --screen median --staleness-step 0.1
run 2 "not weighed" -a kasync --screen median --staleness-weight 1
run 2 "holds no updates" -a kbatch-sync --screen median
run 2 "holds no updates" -a fedbuff --screen median
run 2 "quorum" --quorum 3
run 2 "straggler" -n 8 --straggler rank=9,factor=2
run 2 "quadratic has no accuracy" --model quadratic --target-accuracy 0.5
run 2 "--json already" --record result.json
run 2 "not standard output" --record -

# simulations
sim() { code=$1 text=$2; shift 2; bad "$code" "$text" sim --rounds 1 -n 2 --model none --json result.json "$@"; }
sim 2 "try exp:40ms"
sim 2 "try exp:40ms" --delay uniform:0,0
sim 2 "no --latency" --delay exp:1ms --loss 0.1
sim 2 "too large" --delay exp:1ms --latency 1ms --loss 1
sim 2 "no accuracy" --delay exp:1ms --target-accuracy 0.5
sim 2 "K counts workers" --delay exp:1ms -k 3
bad 2 "rfast has no server that workers join; kofn run can" serve -n 2 -a rfast
bad 2 "osgp has no server that workers join; it can only be simulated" serve -n 2 -a osgp
bad 2 "rfast has no server that workers join; kofn run can" work -n 2 --rank 0 --address shm:nowhere -a rfast
sim 2 "waits for no K" --delay exp:1ms -a rfast -k 2
sim 2 "has one local update a round" --delay exp:1ms -a rfast -u 2
sim 2 "publishes eagerly" --delay exp:1ms -a dpsgd --publish on-close
sim 2 "without momentum" --delay exp:1ms -a rfast --momentum 0.9
sim 2 "mesh" --delay exp:1ms -a rfast --topology mesh
sim 2 "ranks 0 to 1" --delay exp:1ms -a rfast --root 2
sim 2 "only rfast" --delay exp:1ms -a osgp --topology ring
sim 2 "only rfast" --delay exp:1ms --root 1
sim 2 "only of stsyn, not of ksync" --delay exp:1ms -a ksync --step-cap 2
sim 2 "in a ring" --delay exp:1ms --collective ring
sim 2 "there is no server" --delay exp:1ms -a sync --collective ring --ingest 1M
printf 'W\n1 0\n.5 .5\nA\n.5 0\n.5 1\n' >../topology
sim 2 "no common root" --delay exp:1ms -a rfast --topology file:../topology
printf 'W\n1 0\n.5 .6\nA\n1 .5\n0 .5\n' >../topology
sim 2 "row 1 of W" --delay exp:1ms -a rfast --topology file:../topology
printf 'W\n1 0\n.5 .5\nA\n1 .5\n0 .4\n' >../topology
sim 2 "column 1 of A" --delay exp:1ms -a rfast --topology file:../topology
sim 2 "one a worker" --delay exp:1ms -a rfast -n 3 --topology file:../topology
sim 1 "nowhere" --delay exp:1ms -a rfast --topology file:nowhere
bad 2 "an even number" sim -n 3 --delay exp:1ms -a adpsgd --model none
sim 2 "bytes a second" --delay exp:1ms --bandwidth 0
sim 2 "5Q" --delay exp:1ms --ingest 5Q
sim 2 "not of sim" --delay exp:1ms --transport shm
sim 1 "--record" --delay exp:1ms --record missing/trace.csv

# how connections are made, where there is nothing to choose
run 2 "is of transport verbs, and this one is shm" --connect rdmacm
run 2 "tcp, rdmacm" --connect pigeon
KOFN_CONNECT=rdmacm
export KOFN_CONNECT
run 2 "KOFN_CONNECT: is of transport verbs" --quiet
unset KOFN_CONNECT

# plans
plan() { code=$1 text=$2; shift 2; bad "$code" "$text" plan -n 4 --json result.json "$@"; }
plan 2 "is infinite" -a sync --delay pareto:1,1ms
plan 2 "is infinite" -a kasync -k 2 --delay pareto:0.9,1ms --latency 1ms
plan 2 "try exp:40ms"
plan 2 "not from both" --delay exp:1ms --trace ../not.csv
plan 1 "missing.csv" --trace missing.csv
plan 2 "K counts workers" --delay exp:1ms -k 5
plan 2 "not of plan" --delay exp:1ms --record trace.csv

# files that are not there, or not what they should be
run 1 "missing.csv" --delay trace:missing.csv
run 1 "missing" --data cifar10:missing
run 1 "../data" --data idx:../data
run 2 "no directory" --data cifar10
run 2 'did you mean "cifar10"' --data cifar1o:x
run 1 "missing.conf" --config missing.conf
echo "a,b" >../not.csv
run 1 "not.csv" --delay trace:../not.csv
printf 'workers = 3\nwrokers = 4\n' >../bad.conf
run 2 "bad.conf:2" --config ../bad.conf
KOFN_LR=fast
export KOFN_LR
run 2 "KOFN_LR" --quiet
unset KOFN_LR

# two sides: addresses, ranks, and who may be reached
side() { code=$1 text=$2 command=$3; shift 3; bad "$code" "$text" "$command" --model quadratic "$@"; }
side 2 "is not of the form" serve --address nowhere
side 2 "is not of the form" serve --address tcp:127.0.0.1
side 2 "say --insecure" serve -t tcp --bind 0.0.0.0
side 2 "say --insecure" serve --address "tcp:*:0"
side 2 "--address" serve --address tcp:127.0.0.1:0 --port 7
side 2 "not for networks" serve -t shm --port 7
side 2 "tcp:HOST:PORT" serve -t tcp --address shm:here
side 2 "too large" serve -t tcp --port 65536
side 2 "no option" serve --address "shm:bad-$$" --transport-option no-such-option=1
side 2 "is of transport verbs, and this one is tcp" serve -t tcp --connect rdmacm
side 2 "is of transport verbs, and this one is shm" work -n 2 --rank 0 --connect tcp
side 2 "tcp, rdmacm" serve -t tcp --connect pigeon
side 2 "--rank: missing" work -n 2
side 2 "not below the number of workers" work -n 2 --rank 2
side 2 "is not of the form" work --rank 0 --address nowhere
side 1 "no server at tcp:127.0.0.1:1 for 0.1 s" work --rank 0 --address tcp:127.0.0.1:1 --timeout 100ms
side 1 "no server at shm:nobody" work --rank 0 --address shm:nobody --timeout 10ms --record trace.csv
PMI_RANK=9 && export PMI_RANK
side 2 "PMI_RANK: rank 9" work -n 2
unset PMI_RANK

# outputs that cannot be written
bad 1 "--json" run --seconds 1 -n 2 --json missing/result.json
bad 1 "--json" run --seconds 1 -n 2 --json .
bad 1 "--record" run --seconds 1 -n 2 --record missing/trace.csv --json result.json
bad 1 "--json" info --json missing/info.json
if [ "$(id -u)" -ne 0 ]; then
    chmod 555 ../locked
    bad 1 "--json" run --seconds 1 -n 2 --json ../locked/result.json
    chmod 755 ../locked
fi

# what was there before is still there after a failure
echo precious >../kept
bad 1 "--record" run --seconds 1 -n 2 --json ../kept --record missing/trace.csv
[ "$(cat ../kept)" = precious ] || fail "an output was truncated before the job could start"
[ -z "$(find .. -name 'kept.*')" ] || fail "left behind: $(find .. -name 'kept.*')"

# help is an answer, not a mistake
for command in "" run info plan serve sim work; do
    # shellcheck disable=SC2086 # no word where there is no command
    "$kofn" $command --help >../stdout 2>../stderr || fail "kofn $command --help: status $?"
    [ -s ../stdout ] && [ ! -s ../stderr ] || fail "kofn $command --help: not on standard output"
done
"$kofn" help | cmp -s - ../stdout && fail "kofn help: the help of a command"
"$kofn" --help >../stdout
"$kofn" help | cmp - ../stdout || fail "kofn help is not kofn --help"
"$kofn" sim --help >../stdout
"$kofn" help sim | cmp - ../stdout || fail "kofn help sim is not kofn sim --help"
bad 2 'did you mean "sim"' help smi
"$kofn" --version | grep -qx 'kofn [0-9][0-9.]*' || fail "kofn --version"
"$kofn" --help >/dev/full 2>/dev/null && fail "a full disk went unnoticed"

# what would change nothing is a warning, and the job goes on
# warns TEXT ARGUMENT...
warns()
{
    text=$1
    shift
    "$kofn" "$@" >../stdout 2>../stderr || fail "kofn $*: status $?: $(cat ../stderr)"
    [ "$(grep -c '^kofn: ' ../stderr)" -eq 1 ] || fail "kofn $*: not one warning: $(cat ../stderr)"
    grep -qF -e "$text" ../stderr || fail "kofn $*: no \"$text\" in: $(cat ../stderr)"
}
warns "--hidden: has no effect" plan -n 2 -a sync --delay exp:1ms --model softmax --hidden 9
KOFN_WORKRS=3 KOFN_UNRELATED_THING=1 KOFN_JOBS=2 KOFN_TAIL=3
export KOFN_WORKRS KOFN_UNRELATED_THING KOFN_JOBS KOFN_TAIL
warns "KOFN_WORKRS: no option has this name; did you mean KOFN_WORKERS?" plan -n 2 -a sync --delay exp:1ms
unset KOFN_WORKRS KOFN_UNRELATED_THING KOFN_JOBS KOFN_TAIL

# the demo complains before it builds anything
if "$top_srcdir/demo" --secnds 3 >../stdout 2>&1; then fail "demo --secnds"; fi
grep -q -e '--secnds: no such option' ../stdout || fail "demo --secnds: $(cat ../stdout)"
grep -q 'building' ../stdout && fail "demo --secnds: it builds"
exit 0
