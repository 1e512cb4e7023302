#!/bin/sh
# The shared library exports the functions that the installed headers declare, and nothing else.
. "$top_srcdir/tests/build/lib.sh"

library=$top_builddir/.libs/libkofn.so
[ -e "$library" ] || skip "no shared library in this build"
command -v nm >/dev/null || skip "no nm"

cat "$top_srcdir"/include/kofn/kofn.h "$top_srcdir"/include/kofn/types.h >"$scratch/all.c"
# shellcheck disable=SC2086 # a list of words
$CC -E -P -I"$top_builddir/include" -I"$top_srcdir/include" "$scratch/all.c" >"$scratch/all.i" ||
    fail "the headers do not compile"
grep -oE '(^|[^a-z0-9_])kofn_[a-z0-9_]+ *\(' "$scratch/all.i" | grep -oE 'kofn_[a-z0-9_]+' |
    sort -u >"$scratch/declared"
nm -D --defined-only "$library" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' |
    grep -vE '^(__asan|__tsan|__ubsan|__sanitizer|__gcov|__llvm)' | sort -u >"$scratch/exported"
[ -s "$scratch/declared" ] || fail "no declarations found"
diff "$scratch/declared" "$scratch/exported" >"$scratch/difference" ||
    fail "declared (<) but not exported, or exported (>) but not declared:
$(grep '^[<>]' "$scratch/difference")"
echo "$(wc -l <"$scratch/exported") functions"
