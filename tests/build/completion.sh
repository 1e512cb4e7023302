#!/bin/sh
# Bash completes every subcommand, and for each the long options that its --help lists.
. "$top_srcdir/tests/build/lib.sh"

command -v bash >/dev/null || skip "no bash"

# completed WORD...: what bash offers for the last of these words
completed()
{
    bash -c '. "$0" && COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) && _kofn && printf "%s\n" "${COMPREPLY[@]}"' \
        "$top_srcdir/contrib/bash-completion/kofn" "$@" | sort -u
}

kofn=$top_builddir/kofn
[ -n "$(commands "$kofn")" ] || fail "kofn --help lists no commands"
for command in $(commands "$kofn"); do
    completed "$kofn" "" | grep -qx "$command" || fail "$command is not offered"
    "$kofn" "$command" --help | long_options >"$scratch/offered"
    completed "$kofn" "$command" -- >"$scratch/completed"
    diff "$scratch/offered" "$scratch/completed" || fail "kofn $command: --help and completion differ"
done
for pair in --late:merge --publish:on-close -a:stsyn --algorithm:local --model:quadratic; do
    completed "$kofn" run "${pair%:*}" "" | grep -qx -e "${pair#*:}" || fail "kofn run ${pair%:*} does not offer ${pair#*:}"
done
completed "$kofn" perf "" | grep -qx quorum || fail "kofn perf does not offer its tests"
completed "$kofn" perf lat --transport "" | grep -qx tcp || fail "kofn perf --transport does not offer tcp"
