#!/bin/sh
# A server and workers that are started apart: over every transport of this host, from a launcher's environment, with
# those who are late, wrong, or asked to leave.
. "$top_srcdir/tests/build/lib.sh"
. "$top_srcdir/tests/e2e/sides.sh"

grep -q '^0\{31\}1 ' /proc/net/if_inet6 2>/dev/null && v6=v6 || v6=
[ -n "$v6" ] || echo "not tested: IPv6, which this host has no loopback for"

# work RANK ARGUMENT...: a worker in the foreground
work()
{
    rank=$1
    shift
    # shellcheck disable=SC2086
    timeout 120 "$kofn" work $job --rank "$rank" --address "$address" "$@"
}

# a server that lacks a worker: looked at in the end, when it has had time to say so
serve missing -n 2 -t tcp --port 0
start 0 -n 2
missing_server=$server missing_worker=$worker

# a whole job, by transport: the same as kofn run, with rounds, a table and JSON; one line of options serves all sides
for kind in shm tcp $v6; do
    case $kind in
    shm) transport=shm where="--address shm:serve-$$" ;;
    tcp) transport=tcp where="--port 0" ;;
    v6) transport=tcp where="--address tcp:[::1]:0" ;;
    esac
    options="-n 3 -k 2 -u 5 --rounds 30 -t $transport --delay exp:1ms --record $kind.csv"
    # shellcheck disable=SC2086
    serve $kind $options $where
    # shellcheck disable=SC2086
    {
        start 0 $options --json $kind.not
        first=$worker
        start 2 $options --record $kind.third.csv
        work 1 $options --record $kind.second.csv >$kind.1 2>&1 || fail "$kind: rank 1: $(cat $kind.1)"
    }
    ends_well $first "$kind: rank 0"
    ends_well $worker "$kind: rank 2"
    ends_well $server "$kind: server"
    [ "$(value rounds $kind.json)" -eq 30 ] || fail "$kind: rounds: $(cat $kind.json)"
    grep -q "\"transport\": \"$transport\"" $kind.json || fail "$kind: not its transport"
    grep -q '^rank ' $kind.out || fail "$kind: no table"
    [ "$(wc -l <$kind.1)" -eq 1 ] || fail "$kind: not one line: $(cat $kind.1)"
    grep -q '^rank 1: the job is over after .* local updates in .* rounds, the last ' $kind.1 ||
        fail "$kind: $(cat $kind.1)"
    { grep -q '^0,' $kind.csv && grep -q '^1,' $kind.second.csv; } || fail "$kind: records: $(head -3 $kind*.csv)"
    [ ! -e $kind.not ] || fail "$kind: a worker has no result, but a file for it"
done

# workers that come before their server wait for it; ranks are the launcher's
for KOFN_ADDRESS in shm:early-$$ tcp:127.0.0.1:$((20000 + $$ % 12000)); do
    export KOFN_ADDRESS
    for rank in 0 1; do
        # shellcheck disable=SC2086
        OMPI_COMM_WORLD_RANK=$rank PMI_RANK=7 timeout 120 "$kofn" work $job -n 2 -q >early.$rank 2>&1 &
        eval "early$rank=\$!"
    done
    serve early -n 2 --rounds 10
    grep -q "transport ${KOFN_ADDRESS%%:*}" early.out || fail "early: $(cat early.out)"
    # shellcheck disable=SC2154 # set by eval
    ends_well "$early0" "early: rank 0" && ends_well "$early1" "early: rank 1"
    ends_well $server "early: server"
    [ ! -s early.0 ] || fail "early: not quiet: $(cat early.0)"
done
unset KOFN_ADDRESS

# who was started for another job is told what differs; who is missing is named
serve other -n 2 -t tcp --port 0 --rounds 10 --join-timeout 2 -v
work 0 -n 2 --batch 65 >other.0 2>&1
[ $? -eq 1 ] || fail "other: status $?"
grep -q 'refused: it was started with batch=65, the server with batch=64' other.0 || fail "other: $(cat other.0)"
work 0 -n 3 >other.0 2>&1
grep -q 'refused: it was started with workers=3, the server with workers=2' other.0 || fail "other: $(cat other.0)"
work 0 -n 2 -t shm >other.0 2>&1
grep -q "refused: its transport is shm, the server's is tcp" other.0 || fail "other: $(cat other.0)"
work 0 -n 2 >other.0 2>&1 || fail "other: $(cat other.0)"
ends_well $server "other: server"
grep -q 'after 2.[0-9] s going on without rank 1' other.err || fail "other: $(cat other.err)"

work 0 -n 2 -t tcp --timeout 100ms >other.0 2>&1
[ $? -eq 1 ] || fail "other: status $?"
grep -q "no server at $address for 0.[0-9] s: " other.0 || fail "other: $(cat other.0)"
serve sync -a sync -n 2 -t tcp --port 0
work 0 -n 2 --momentum 0.5 >sync.0 2>&1
[ $? -eq 2 ] || fail "sync: status $?"
grep -q 'rank 0: --momentum: with algorithm sync the server makes the step' sync.0 || fail "sync: $(cat sync.0)"
kill -TERM $server
wait $server
[ $? -eq 143 ] || fail "sync: the server's status: $?"

# a worker that is asked to leave does so in order, and the job goes on; one that is killed and started again has its
# rank again; Ctrl-C ends the job with its table, and its workers
for kind in shm tcp; do
    [ $kind = shm ] && where="--address shm:leave-$$" || where="--port 0"
    # shellcheck disable=SC2086
    serve leave.$kind -n 3 -k 1 -t $kind $where --seconds 100 -v
    start 0 -n 3 --delay exp:2ms
    first=$worker
    start 1 -n 3 --delay exp:2ms
    second=$worker
    start 2 -n 3 --delay exp:2ms
    until_says '^round' $name.out $server
    kill -TERM $second # a background job of sh ignores SIGINT; the program treats both alike
    wait $second
    [ $? -eq 143 ] || fail "$name: status $?: $(cat $name.1)"
    grep -q '^kofn: rank 1: it was asked to leave after' $name.1 || fail "$name: $(cat $name.1)"
    kill -KILL $worker
    wait $worker
    start 2 -n 3 --delay exp:2ms
    until_says "rank 2 (.*, pid $worker) has joined" $name.err $server
    kill -TERM $server
    wait $server
    [ $? -eq 143 ] || fail "$name: the server's status: $?"
    ends_well $first "$name: rank 0"
    ends_well $worker "$name: rank 2"
    sed -n '/"rank": 1/,/}/p' $name.json | grep -q '"state": "left"' || fail "$name: rank 1: $(cat $name.json)"
    sed -n '/"rank": 2/,/}/p' $name.json | grep -q "\"pid\": $worker," || fail "$name: rank 2: $(cat $name.json)"
    grep -q '^rank ' $name.out || fail "$name: no table"
done

# a server that is killed: its worker ends with status 1 and says who it was
for kind in shm tcp; do
    [ $kind = shm ] && where="--address shm:killed-$$" || where="--port 0"
    # shellcheck disable=SC2086
    serve killed.$kind -n 1 -t $kind $where --seconds 100
    start 0 -n 1
    until_says '^round' $name.out $server
    victim=$(ps -o pid= --ppid $server | tr -d ' ') # timeout(1) is its parent
    kill -KILL "$victim"
    wait $worker
    [ $? -eq 1 ] || fail "$name: status $?"
    [ $kind = shm ] && who="pid $victim, $address" || who="127.0.0.1, pid $victim, $address"
    grep 'rank 0: ' $name.0 | grep -qF "the server ($who) " || fail "$name: $(cat $name.0)"
    grep -q '^kofn: rank 0: peer is gone after' $name.0 || fail "$name: $(cat $name.0)"
done

# nobody has waited in vain without a word; Ctrl-C before the first round ends both sides
until_says 'waiting for rank 1: 1 of 2 workers have joined' missing.err $missing_server
kill -TERM $missing_server
wait $missing_server
[ $? -eq 143 ] || fail "missing: the server's status: $?"
ends_well $missing_worker "missing: rank 0"
grep -q '^rank 0: the job is over after .*, before its first round$' missing.0 || fail "missing: $(cat missing.0)"
exit 0
