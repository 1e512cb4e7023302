#!/bin/sh
# A job between two hosts: network namespaces with names of their own and a cable between them. They train together, to
# the model of the same job in shared memory, by whatever address, and when the cable is cut, without a word to anybody,
# both sides find out and say so. HOSTS_CABLE, if set: what netem does to the cable, at each end ("delay 2ms loss 1%"); of the
# addresses, one is enough then.
. "$top_srcdir/tests/build/lib.sh"

if [ "${HOSTS_INSIDE-}" != yes ]; then
    for tool in unshare nsenter ip; do
        command -v $tool >/dev/null || skip "nothing between two hosts: no $tool"
    done
    unshare --user --map-root-user --net --uts ip link add here type veth peer name there 2>"$scratch/why" ||
        skip "nothing between two hosts: no namespaces for them: $(cat "$scratch/why")"
    HOSTS_INSIDE=yes top_srcdir=$top_srcdir top_builddir=$top_builddir unshare --user --map-root-user --net --uts sh "$0"
    exit
fi
. "$top_srcdir/tests/e2e/sides.sh"

# two hosts and the cable; this is the first
hostname node1
unshare --net --uts sh -c 'hostname node2 && exec sleep 1000' &
node2=$! started="$started $!"
on_node2="nsenter --target $node2 --net --uts"
until [ "$($on_node2 hostname)" = node2 ]; do kill -0 $node2 || fail "no second host"; done
{
    ip link set lo up && ip link add here type veth peer name there netns $node2
    ip address add 10.83.0.1/24 dev here && ip address add fd83::1/64 dev here nodad && ip link set here up
    $on_node2 ip address add 10.83.0.2/24 dev there && $on_node2 ip link set there up
    $on_node2 ip address add fd83::2/64 dev there nodad || v6=no # a host may have no IPv6
    [ "${v6-}" = no ] || { ip address add fe80::83:1/64 dev here nodad && $on_node2 ip address add fe80::83:2/64 dev there nodad; }
} 2>ip.err || fail "no cable: $(cat ip.err)"
if [ -n "${HOSTS_CABLE-}" ]; then
    # shellcheck disable=SC2086 # a list of words
    { tc qdisc add dev here root netem $HOSTS_CABLE && $on_node2 tc qdisc add dev there root netem $HOSTS_CABLE; } ||
        fail "no netem $HOSTS_CABLE"
fi

# a server whom others can reach is one that was told to be
"$kofn" serve -n 2 --address tcp:10.83.0.1:0 >bold.out 2>&1
[ $? -eq 2 ] || fail "without --insecure: $(cat bold.out)"
grep -q 'say --insecure' bold.out || fail "without --insecure: $(cat bold.out)"

# a whole job, which all finish every round, so that there is nothing in it but the seed; the table says who was where
short=$job job="--model softmax -n 2 -a local -u 5 --rounds 20 --seed 5"
# shellcheck disable=SC2086 # a list of words
timeout 120 "$kofn" run $job -t shm --json shm.json >shm.out 2>&1 || fail "in shared memory: $(tail -3 shm.out)"
# whole WHAT ARGUMENT...: with a server of these arguments; the other host's worker has those of $there
there=
whole()
{
    what=$1
    shift
    serve whole --insecure "$@"
    # a link is known by another name at its other end
    for_node1=$address for_node2=$(echo "$address" | sed 's/%here/%there/')
    start 0
    first=$worker
    on=$on_node2 address=$for_node2
    # shellcheck disable=SC2086
    start 1 $there
    on='' address=$for_node1
    ends_well $first "$what: rank 0: $(cat whole.0)"
    ends_well $worker "$what: rank 1: $(cat whole.1)"
    ends_well $server "$what: server"
    for key in loss accuracy rounds; do
        [ "$(value $key whole.json)" = "$(value $key shm.json)" ] ||
            fail "$what: $key is $(value $key whole.json), in shared memory $(value $key shm.json)"
    done
    grep -q '"transport": "tcp"' whole.json || fail "$what: not over tcp"
    sed -n '/"rank": 1/,/}/p' whole.json | grep -q '"host": "node2"' || fail "$what: rank 1: $(cat whole.json)"
    grep -q '^node2 .*1 ' whole.out || fail "$what: no hosts in its table: $(cat whole.out)"
}
whole 10.83.0.1 --address tcp:10.83.0.1:0
# every other way to say where
addresses()
{
    whole '*' --address 'tcp:*:0'
    whole bind --bind 10.83.0.1 --port 0
    there="--interface =there"
    whole interface --interface =here --port 0
    case $address in tcp:10.83.0.1:*) ;; *) fail "--interface: listens on $address" ;; esac
    there=
    # other programs' choice is a hint where updates go, and one that means nothing is not heeded
    export NCCL_SOCKET_IFNAME='^lo'
    whole hint -v --address 'tcp:*:0'
    grep -q 'go over 10.83.0.1, as NCCL_SOCKET_IFNAME=^lo says' whole.err || fail "hint: $(cat whole.err)"
    NCCL_SOCKET_IFNAME==none0
    whole 'no hint' --address 'tcp:*:0'
    grep -q 'NCCL_SOCKET_IFNAME==none0 means no interface' whole.err || fail "no hint: $(cat whole.err)"
    unset NCCL_SOCKET_IFNAME
    if [ "${v6-}" != no ]; then
        whole '[fd83::1]' --address 'tcp:[fd83::1]:0'
        whole 'fe80::83:1%here' --address 'tcp:[fe80::83:1%here]:0'
        # an interface that has no other address; the offer cannot say what the worker's end is called
        ip address del 10.83.0.1/24 dev here && ip address del fd83::1/64 dev here || fail "no address can be taken away"
        there="--interface there"
        whole 'link alone' --interface here --port 0
        there=
        ip address add 10.83.0.1/24 dev here || fail "no address can be given back"
    else
        echo "not tested: IPv6, which this host lacks"
    fi
}
[ -n "${HOSTS_CABLE-}" ] || addresses
job=$short

# the cable is cut: the job goes on without the worker, which ends
serve cut --address tcp:10.83.0.1:0 --insecure -n 2 -k 2 -u 5 --seconds 100 --peer-timeout 1
start 0 -n 2 --delay exp:1ms
first=$worker
on=$on_node2
start 1 -n 2 --delay exp:1ms --timeout 3
on=
until_says '^round' cut.out $server
$on_node2 ip link set there down
until_says 'rank 1 (node2, pid [0-9]*): gone in round .* going on without it' cut.err $server
wait $worker
[ $? -eq 1 ] || fail "cut: rank 1: status $?"
grep -q "rank 1: .*the server (10.83.0.1, pid [0-9]*, $address) " cut.1 || fail "cut: rank 1: $(cat cut.1)"
kill -TERM $server
wait $server
[ $? -eq 143 ] || fail "cut: the server's status: $?"
ends_well $first "cut: rank 0"
kill $node2
exit 0
