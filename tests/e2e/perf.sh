#!/bin/sh
# kofn perf: both sides of every test over shm and tcp, what they print, and how they end when something is wrong.
. "$top_srcdir/tests/build/lib.sh"
. "$top_srcdir/tests/e2e/program.sh"

port=$((10000 + $$ % 20000)) # below the ports that are given to whoever connects

# said FILE TEXT: one line, and that is in it
said()
{
    [ "$(wc -l <"$1")" -eq 1 ] || fail "not one line: $(cat "$1")"
    grep -q '^kofn: perf: ' "$1" || fail "$(cat "$1")"
    grep -qF -e "$2" "$1" || fail "no \"$2\" in: $(cat "$1")"
}
parsed() { ! command -v python3 >/dev/null || python3 -m json.tool "$1" >/dev/null || fail "no JSON: $(cat "$1")"; }

# serve ARGUMENT...: a server, on a port of its own
serve()
{
    port=$((port + 1))
    timeout 100 "$kofn" perf "$@" -p $port >server.out 2>server.err &
    server=$!
}
# ask ARGUMENT...: its client
ask() { timeout 100 "$kofn" perf "$@" -p $port localhost >client.out 2>client.err; }
both_good()
{
    status=$?
    [ $status -eq 0 ] || fail "$1: client: status $status: $(cat client.err) / $(cat server.err)"
    wait $server || fail "$1: server: status $?: $(cat server.err)"
    [ ! -s server.err ] && [ ! -s client.err ] || fail "$1: something is said: $(cat server.err client.err)"
    grep -q "^waiting for .* at " server.out || fail "$1: server: $(cat server.out)"
}

for transport in shm tcp; do
    set -- --transport $transport -F
    # latency: perftest's columns, a row each size; the warm-up is not in it
    serve lat "$@"
    ask lat "$@" -n 200 -s 8,64K --out_json_file lat.json
    both_good "lat over $transport"
    head -1 client.out | tr -s ' ' | grep -q '^ #bytes #iterations t_min\[usec\] t_max\[usec\] t_typical\[usec\] t_avg\[usec\] t_stdev\[usec\] 99% percentile\[usec\] 99.9% percentile\[usec\] 99.99% percentile\[usec\]$' ||
        fail "lat: columns: $(head -1 client.out)"
    [ "$(awk 'NR > 1 { print NF, $1, $2 }' client.out | tr '\n' ';')" = "10 8 200;10 65536 200;" ] ||
        fail "lat: rows: $(cat client.out)"
    parsed lat.json
    for key in t_min p50 p90 p99 p99_9 p99_99 t_max; do value $key lat.json; done >times
    [ "$(wc -l <times)" -eq 7 ] || fail "lat: $(cat lat.json)"
    sort -g -c times || fail "lat: not in order: $(tr '\n' ' ' <times)"
    holds "$(head -1 times) > 0" "lat: least"
    [ "$(value t_typical lat.json)" = "$(value p50 lat.json)" ] || fail "lat: typical is the median"

    # bandwidth: also with less publications than are on their way at once, and nothing before them
    for count in 300 3; do
        serve bw "$@"
        ask bw "$@" -n $count -s 4K --warm-up $((count / 10)) --out_json
        both_good "bw over $transport"
        parsed client.out
        [ "$(value iterations client.out)" -eq $count ] || fail "bw: $(cat client.out)"
        holds "$(value bw_peak client.out) >= $(value bw_average client.out) * 0.999999" "bw: peak"
        holds "($(value msg_rate client.out) * 4096e6 / 1048576 / $(value bw_average client.out) - 1) ^ 2 < 1e-9" "bw: rate"
    done

    # the K-th of N, from two clients; a wait that sleeps sees it as well
    serve quorum "$@" -e --out_json_file quorum.json
    timeout 100 "$kofn" perf quorum "$@" -p $port -n 50 -s 8,4K --writers 3 --wait-for 2 --here 1 localhost >other.out 2>&1 &
    other=$!
    ask quorum "$@" -n 50 -s 8,4K --writers 3 --wait-for 2 --first 1 -e
    both_good "quorum over $transport"
    wait $other || fail "quorum: $(cat other.out)"
    parsed quorum.json
    [ "$(sed -n 's/^ *"arrival": "\(.*\)",/\1/p' quorum.json | tr '\n' ' ')" = "first K=2 N=3 first K=2 N=3 " ] ||
        fail "quorum: $(cat quorum.json)"
    sed -n 's/^ *"t_avg": \([0-9.eE+-]*\),*$/\1/p' quorum.json | head -3 >times
    sort -g -c times || fail "quorum: not in order: $(tr '\n' ' ' <times)"
    [ "$(awk 'NR > 2 { print NF, $1, $2, $3 }' server.out | head -2 | tr '\n' ';')" = "11 8 first 50;11 8 K=2 50;" ] ||
        fail "quorum: $(cat server.out)"

    # one side is killed: the other says so and ends, long before its time-out
    for victim in client server; do
        serve lat "$@" --timeout 60s
        timeout -s KILL 100 "$kofn" perf lat "$@" --timeout 60s -p $port -n 20000 -s 8,16M localhost >client.out 2>client.err &
        client=$!
        until_says '^ *8 ' client.out $client
        [ $victim = client ] && dead=$client alive=$server || { dead=$server alive=$client; }
        # the process is a child of timeout(1), which ends with it
        kill -KILL "$(ps -o pid= --ppid "$dead")"
        wait $alive
        status=$?
        [ $status -eq 1 ] || fail "killed $victim: status $status"
        [ $victim = client ] && survivor=server || survivor=client
        [ "$(wc -l <$survivor.err)" -ge 1 ] || fail "killed $victim: nothing is said"
        grep -q '^kofn: ' $survivor.err || fail "killed $victim: $(cat $survivor.err)"
    done
done

# SIGTERM ends a client that waits for buffers, too, whatever the server does: nothing, here
serve bw --transport shm -F --timeout 60s
timeout -s KILL 100 "$kofn" perf bw --transport shm -F --timeout 60s -p $port -n 1000000 -s 8,1M localhost >client.out 2>client.err &
client=$!
until_says '^ *8 ' client.out $client
stopped=$(ps -o pid= --ppid $server)
kill -STOP "$stopped"
kill -TERM "$(ps -o pid= --ppid $client)"
wait $client
status=$?
kill -KILL "$stopped"
wait $server
[ $status -eq 143 ] || fail "SIGTERM, a client: status $status: $(cat client.err)"

# nobody is there
serve lat --transport tcp --wait 100ms
wait $server
[ $? -eq 1 ] || fail "a server without a client does not fail"
said server.err "the client has not come"
ask lat --transport shm -F --wait 100ms
[ $? -eq 1 ] || fail "a client without a server does not fail"
[ "$(wc -l <client.err)" -eq 1 ] || fail "no server: $(cat client.err)"
# two that do not belong together
serve lat --transport tcp
ask bw --transport tcp -F --out_json_file never.json
[ $? -eq 1 ] || fail "another test is not refused"
said client.err "another test"
wait $server
[ ! -e never.json ] || fail "half a result was written"
# SIGTERM ends a wait
serve quorum --transport tcp
until_says waiting server.out $server
kill -TERM "$(ps -o pid= --ppid $server)"
wait $server
status=$?
[ $status -eq 143 ] || fail "SIGTERM: status $status: $(cat server.err)"

# what the transport has to say of its options comes before anybody is waited for
"$kofn" perf lat --transport tcp --transport-option colour=blue >stdout 2>stderr
status=$?
[ $status -eq 2 ] && grep -q colour stderr || fail "an unknown option of the transport: status $status: $(cat stderr)"
[ ! -s stdout ] || fail "an unknown option of the transport: $(cat stdout)"

# bad TEXT ARGUMENT...: is refused in one line that has TEXT in it, with status 2
bad()
{
    bad_text=$1
    shift
    "$kofn" perf "$@" >stdout 2>stderr
    status=$?
    [ $status -eq 2 ] || fail "perf $*: status $status: $(cat stderr)"
    said stderr "$bad_text"
    [ ! -s stdout ] || fail "perf $*: $(cat stdout)"
}
bad "known: lat, bw, quorum"
bad 'did you mean "lat"' lst
bad "one word too many" lat here there
bad "known: shm" lat --transport pigeon
bad "known: shm" lat --transport self
bad "-Z: no such option" lat -Z
bad 'did you mean "iters"' lat --itres 5
bad "its value is missing" lat --size
bad "takes no value" lat --all=yes
bad "--size" lat -s 0
bad "--size" lat -s 4K,
bad "--size" lat -s 2G
bad "--iters" lat -n many
bad "--iters" lat -n 0
bad "--port" lat -p 70000
bad "--tx-depth" lat -t 9
bad "use --transport shm" lat -t shm
bad "--tx-depth" lat -t self
bad "keeps every time, of up to 16777216" quorum -n 16777217
bad "--wait" lat --wait soon
bad "--timeout" lat --timeout 0
bad "known: tcp, rdmacm" lat --connect pigeon
bad "is of transport verbs, and this one is tcp" lat --transport tcp --connect rdmacm
bad "is of transport verbs, and this one is shm" lat --transport shm -R
bad "K = 5 of 4" quorum --wait-for 5
bad "no 2 from rank 3" quorum --first 3 --here 2
bad "is not localhost" lat --transport shm far.example
bad "--out_json is for the client" lat --out_json
bad "--out_json is for the server" quorum --transport tcp --out_json localhost
exit 0
