#!/bin/sh
# What a job learns does not depend on how its updates travel: over TCP, with either engine, over either protocol, in small
# pieces and in large ones, it ends with the model of the same job in shared memory.
. "$top_srcdir/tests/build/lib.sh"
. "$top_srcdir/tests/e2e/sides.sh"

# all finish every round, so that there is nothing in it but the seed. softmax: 10 KiB, two connections for each worker;
# quadratic: one
softmax="--model softmax -n 3 -a local -u 5 --rounds 40 --seed 5"
quadratic="--model quadratic -n 3 -a local -u 5 --rounds 40 --seed 5 --lr 0.05"

# same NAME WHAT: NAME.json has the loss and the accuracy of $model.json
same()
{
    for key in loss accuracy rounds; do
        [ "$(value $key "$1.json")" = "$(value $key $model.json)" ] ||
            fail "$1: $key is $(value $key "$1.json"), in shared memory $(value $key $model.json)"
    done
    grep -q '"transport": "tcp"' "$1.json" || fail "$1: not over tcp"
}

engines=poll
"$kofn" run -n 1 --model quadratic --rounds 1 -t tcp --transport-option engine=uring >uring.out 2>&1 &&
    engines="uring poll" || echo "not tested: io_uring: $(tail -1 uring.out)"
for model in softmax quadratic; do
    case $model in softmax) job=$softmax ;; *) job=$quadratic ;; esac
    # shellcheck disable=SC2086 # a list of words
    timeout 120 "$kofn" run $job -t shm --json $model.json >shm.out 2>&1 || fail "$model: shm: $(tail -3 shm.out)"
    for engine in $engines; do
        # shellcheck disable=SC2086
        timeout 120 "$kofn" run $job -t tcp --transport-option engine="$engine" --json "$engine.json" >"$engine.out" 2>&1 ||
            fail "$model: $engine: $(tail -3 "$engine.out")"
        same "$engine"
    done
done
# nor on who moves them: what is read when a round closes is what would have been sent
for transport in shm tcp; do
    # shellcheck disable=SC2086
    timeout 120 "$kofn" run $softmax -t $transport --publish pull --json pull.json >pull.out 2>&1 ||
        fail "pull over $transport: $(tail -3 pull.out)"
    for key in loss accuracy rounds; do
        [ "$(value $key pull.json)" = "$(value $key softmax.json)" ] || fail "pull over $transport: $key is $(value $key pull.json)"
    done
done
[ "$(value rounds softmax.json)" -eq 40 ] || fail "rounds: $(cat softmax.json)"
awk "BEGIN { exit !($(value accuracy softmax.json) > 0.6) }" || fail "softmax has not learnt: $(cat softmax.json)"

# a network that is trained by whoever is fastest reaches what the same job does in shared memory (see run.sh)
if grep -q '^#define HAVE_OPENBLAS 1' "$top_builddir/config.h"; then
    timeout 240 "$kofn" run -n 4 -k 3 -u 10 -a stsyn --model mlp --delay exp:2ms --rounds 2000 --target-accuracy 0.8 \
        --eval-every 0.2 -t tcp --json mlp.json >mlp.out 2>&1 || fail "mlp: $(tail -3 mlp.out)"
    awk "BEGIN { exit !($(value accuracy mlp.json) >= 0.8) }" || fail "mlp: accuracy: $(cat mlp.json)"
else
    echo "not tested: a network, which needs OpenBLAS"
fi

# the two sides by themselves, over both protocols, each with an engine of its own; sides.sh says $job to both
model=softmax job=$softmax
for host in 127.0.0.1 '[::1]'; do
    case $host in *::1*) grep -q '^0\{31\}1 ' /proc/net/if_inet6 2>/dev/null ||
        { echo "not tested: IPv6, which this host has no loopback for"; continue; } ;; esac
    serve sides --address "tcp:$host:0" --transport-option engine=poll
    workers=
    for rank in 0 1 2; do
        start $rank
        workers="$workers $worker"
    done
    for worker in $workers; do ends_well "$worker" "$host: a worker"; done
    ends_well "$server" "$host: server"
    same sides
done
exit 0
