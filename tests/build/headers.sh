#!/bin/sh
# Every installed header compiles alone, as C11 and as C++17, without a warning.
. "$top_srcdir/tests/build/lib.sh"

flags="-Wall -Wextra -Werror -pedantic -fsyntax-only -I$top_builddir/include -I$top_srcdir/include"
count=0
for header in "$top_srcdir"/include/kofn/*.h "$top_builddir"/include/kofn/*.h; do
    name=${header##*/}
    printf '#include <kofn/%s>\nextern int something;\n' "$name" >"$scratch/alone.c"
    cp "$scratch/alone.c" "$scratch/alone.cc"
    # shellcheck disable=SC2086 # lists of words
    $CC -std=c11 $flags "$scratch/alone.c" || fail "$name does not compile alone as C11"
    # shellcheck disable=SC2086
    if [ -n "$CXX" ]; then
        $CXX -std=c++17 $flags "$scratch/alone.cc" || fail "$name does not compile alone as C++17"
    fi
    count=$((count + 1))
done
[ "$count" -ge 3 ] || fail "only $count headers"
[ -n "$CXX" ] || skip "no C++ compiler; C11 is fine"
echo "$count headers"
