# shellcheck shell=sh
# sides.sh: what the tests of kofn serve and kofn work share; sourced behind lib.sh. Changes to $scratch.
. "$top_srcdir/tests/e2e/program.sh"
started=
# shellcheck disable=SC2086 # a list of processes; after a failure some are still there
trap 'status=$?; [ $status -eq 0 ] || kill $started 2>/dev/null; rm -rf "$scratch"; exit $status' EXIT

job="--model quadratic --lr 0.05"
# serve NAME ARGUMENT...: a server in the background; its address, once it listens
serve()
{
    name=$1
    shift
    : >"$name.out"
    : >"$name.err"
    # shellcheck disable=SC2086 # a list of words
    timeout 120 "$kofn" serve $job --json "$name.json" "$@" >"$name.out" 2>"$name.err" &
    server=$! started="$started $!"
    until_says '^listening on ' "$name.out" $server
    address=$(sed -n 's/^listening on \([^ ]*\) .*/\1/p' "$name.out")
}
# start RANK ARGUMENT...: a worker in the background, started by the words $on, as process $worker; it speaks to $name.RANK
on=
start()
{
    rank=$1
    shift
    # shellcheck disable=SC2086
    $on "$kofn" work $job --rank "$rank" --address "$address" "$@" >"$name.$rank" 2>&1 &
    worker=$! started="$started $!"
}
# ends_well PID WHAT
ends_well() { wait "$1" || fail "$2: status $?: $(cat ./*.err)"; }

