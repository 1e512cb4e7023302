#!/bin/sh
# Every fuzz target takes its stored inputs, seeded variations of them and random bytes without a crash.
. "$top_srcdir/tests/build/lib.sh"

for program in $fuzz_programs; do
    name=$(basename "$program" _fuzz)
    corpus=$top_srcdir/tests/fuzz/corpus/$name
    [ -d "$corpus" ] || corpus=
    # shellcheck disable=SC2086 # no word where there is no corpus
    "$top_builddir/$program" $corpus || fail "$program: status $?"
done
