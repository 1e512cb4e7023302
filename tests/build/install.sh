#!/bin/sh
# After `make install` a stranger's program builds with pkg-config alone, and runs: the examples are such programs.
. "$top_srcdir/tests/build/lib.sh"

[ -n "$PKG_CONFIG" ] || skip "no pkg-config"
unset MAKEFLAGS MFLAGS MAKELEVEL
$MAKE -C "$top_builddir" install DESTDIR="$scratch/root" >"$scratch/log" 2>&1 || {
    tail "$scratch/log"
    fail "make install"
}
pc=$(find "$scratch/root" -name kofn.pc)
[ -n "$pc" ] || fail "no kofn.pc is installed"
export PKG_CONFIG_SYSROOT_DIR="$scratch/root"
PKG_CONFIG_PATH=$(dirname "$pc")${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
LD_LIBRARY_PATH=$(dirname "$(dirname "$pc")")${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export PKG_CONFIG_PATH LD_LIBRARY_PATH

static=
[ -e "${LD_LIBRARY_PATH%%:*}/libkofn.so" ] || static=--static
[ "$($PKG_CONFIG --modversion kofn)" = "$(cat "$top_srcdir/VERSION")" ] || fail "kofn.pc has another version"
for example in "$top_srcdir"/examples/*.c; do
    name=$(basename "$example" .c)
    # shellcheck disable=SC2046,SC2086 # lists of words
    $CC -Wall -Wextra -Werror $SANITIZER_CFLAGS -o "$scratch/$name" "$example" \
        $($PKG_CONFIG $static --cflags --libs kofn) -lm || fail "examples/$name.c does not build"
    (cd "$scratch" && timeout 60 "./$name") || fail "examples/$name: status $?"
done
