#!/bin/sh
# What `kofn SUBCOMMAND --help` lists stands in its man page too: every subcommand, every long option.
. "$top_srcdir/tests/build/lib.sh"

kofn=$top_builddir/kofn
[ -n "$(commands "$kofn")" ] || fail "kofn --help lists no commands"
for command in $(commands "$kofn"); do
    page=$top_srcdir/man/kofn-$command.1
    [ -f "$page" ] || fail "no man page kofn-$command(1)"
    sed 's/\\-/-/g' "$page" | grep -oE -e '--[a-zA-Z][a-zA-Z0-9_-]*' | sort -u >"$scratch/described"
    "$kofn" "$command" --help >"$scratch/help.$command" || fail "kofn $command --help: status $?"
    long_options <"$scratch/help.$command" >"$scratch/offered"
    [ -s "$scratch/offered" ] || fail "kofn $command --help lists no option"
    comm -23 "$scratch/offered" "$scratch/described" >"$scratch/missing"
    [ ! -s "$scratch/missing" ] || fail "not in kofn-$command(1): $(tr '\n' ' ' <"$scratch/missing")"
done
