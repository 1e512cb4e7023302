#!/bin/sh
# A job between two hosts: network namespaces with names of their own and a cable between them. They train together, and
# when the cable is cut, without a word to anybody, both sides find out and say so.
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
unshare --net --uts sh -c 'hostname node2 && exec sleep 300' &
node2=$! started="$started $!"
on_node2="nsenter --target $node2 --net --uts"
until [ "$($on_node2 hostname)" = node2 ]; do kill -0 $node2 || fail "no second host"; done
{
    ip link set lo up && ip link add here type veth peer name there netns $node2
    ip address add 10.83.0.1/24 dev here && ip address add fd83::1/64 dev here nodad && ip link set here up
    $on_node2 ip address add 10.83.0.2/24 dev there && $on_node2 ip link set there up
    $on_node2 ip address add fd83::2/64 dev there nodad || v6=no # a host may have no IPv6
} 2>ip.err || fail "no cable: $(cat ip.err)"

# a server whom others can reach is one that was told to be
"$kofn" serve -n 2 --address tcp:10.83.0.1:0 >bold.out 2>&1
[ $? -eq 2 ] || fail "without --insecure: $(cat bold.out)"
grep -q 'say --insecure' bold.out || fail "without --insecure: $(cat bold.out)"

# a whole job, over both protocols; the table says who was where
for host in 10.83.0.1 '[fd83::1]' '*'; do
    case $host in *fd83*) [ "${v6-}" != no ] || { echo "not tested: IPv6, which this host lacks"; continue; } ;; esac
    serve whole --address "tcp:$host:0" --insecure -n 2 -k 2 -u 5 --rounds 30
    start 0 -n 2
    first=$worker
    on=$on_node2
    start 1 -n 2
    on=
    ends_well $first "$host: rank 0"
    ends_well $worker "$host: rank 1: $(cat whole.1)"
    ends_well $server "$host: server"
    [ "$(value rounds whole.json)" -eq 30 ] || fail "$host: rounds: $(cat whole.json)"
    sed -n '/"rank": 1/,/}/p' whole.json | grep -q '"host": "node2"' || fail "$host: rank 1: $(cat whole.json)"
    grep -q '^node2 .*1 ' whole.out || fail "$host: no hosts in its table: $(cat whole.out)"
done

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
