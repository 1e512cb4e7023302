#!/bin/sh
# A short job on real data: with K of N the straggler costs nothing, and CIFAR-10 is learnt.
. "$top_srcdir/tests/build/lib.sh"
. "$top_srcdir/tests/e2e/program.sh"

: "${KOFN_TEST_CIFAR10:=}"
[ -n "$KOFN_TEST_CIFAR10" ] || skip "KOFN_TEST_CIFAR10 does not name a directory with CIFAR-10's binary batches"
grep -q '^#define HAVE_OPENBLAS 1' "$top_builddir/config.h" || skip "built without OpenBLAS: no networks to train"

timeout 300 "$kofn" run -n 8 -k 5 -a stsyn -u 10 --model mlp --data "cifar10:$KOFN_TEST_CIFAR10" --delay exp:20ms \
    --straggler rank=7,factor=5 --rounds 60 --json result.json >out 2>&1 ||
    fail "status $?: $(tail -3 out)"
holds "$(value accuracy result.json) >= 0.40" "accuracy after 60 rounds"
sed -n '/"rank": 7/,/}/p' result.json | grep -q '"merged": [1-9]' || fail "nothing of rank 7 was merged"
exit 0
