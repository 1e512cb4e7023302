#!/bin/sh
# Over a network that delays, loses and reorders, jobs take longer, and learn. Needs netem, which few kernels of
# small machines have; the guests of tests/softroce have it.
. "$top_srcdir/tests/build/lib.sh"

if [ "${LOSSY_INSIDE-}" != yes ]; then
    for tool in unshare ip tc; do
        command -v $tool >/dev/null || skip "nothing is lost: no $tool"
    done
    unshare --user --map-root-user --net sh -c 'ip link set lo up && tc qdisc add dev lo root netem loss 1%' \
        2>"$scratch/why" || skip "nothing is lost: no network of its own with netem: $(cat "$scratch/why")"
    LOSSY_INSIDE=yes top_srcdir=$top_srcdir top_builddir=$top_builddir unshare --user --map-root-user --net sh "$0"
    exit
fi
. "$top_srcdir/tests/e2e/sides.sh"
ip link set lo up || exit 99

job="--model softmax -n 2 -a local -u 5 --rounds 20 --seed 5"
# shellcheck disable=SC2086 # a list of words
timeout 120 "$kofn" run $job -t shm --json shm.json >shm.out 2>&1 || fail "shm: $(tail -3 shm.out)"

# lossy NAME NETEM...: the job over a loopback that is like this, and what it took
lossy()
{
    name=$1
    shift
    tc qdisc replace dev lo root netem "$@" || fail "$name: no netem $*"
    serve "$name" -t tcp --port 0
    start 0 -t tcp
    first=$worker
    start 1 -t tcp
    ends_well "$first" "$name: rank 0"
    ends_well "$worker" "$name: rank 1"
    ends_well "$server" "$name: server"
    tc qdisc replace dev lo root netem
    [ "$(value rounds "$name.json")" -eq 20 ] || fail "$name: rounds: $(cat "$name.json")"
    # a worker that is silent for long is not waited for: near is good enough
    awk "BEGIN { exit !($(value accuracy "$name.json") > $(value accuracy shm.json) - 0.05) }" ||
        fail "$name: accuracy, in shared memory $(value accuracy shm.json): $(cat "$name.err" "$name.json")"
    grep -q '"state": "gone"' "$name.json" && fail "$name: somebody was given up: $(cat "$name.err" "$name.json")"
    echo "netem $*: $(value round_time_mean "$name.json") s a round, accuracy $(value accuracy "$name.json"); $(cat "$name.err")"
}

lossy all delay 5ms 2ms loss 5% reorder 10% duplicate 1%
# each way takes about 5 ms and a round needs both
awk "BEGIN { exit !($(value round_time_mean all.json) > 0.01) }" || fail "nothing was delayed: $(cat all.json)"
exit 0
