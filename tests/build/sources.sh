#!/bin/sh
# Every file of the repository is named in Makefile.am or one of its parts: none is forgotten in a build or a tarball.
. "$top_srcdir/tests/build/lib.sh"

cd "$top_srcdir" || exit 99
git rev-parse --git-dir >/dev/null 2>&1 && [ -e .git ] || skip "not in a git checkout"
cat Makefile.am ./*/*.am >"$scratch/parts"
# automake itself takes these into a tarball, or they are about the repository and not about kofn
git ls-files | grep -vE '^(\.gitignore|\.gitattributes|Makefile\.am|configure\.ac|ChangeLog|m4/.*|[a-z]*/[a-z]*\.am|.*\.in|tests/fuzz/corpus/.*)$' |
    while read -r file; do
        [ ! -e "$file" ] || grep -qF "${file%_fuzz.c}" "$scratch/parts" || echo "$file"
    done >"$scratch/forgotten"
[ ! -s "$scratch/forgotten" ] || fail "named in no part:
$(cat "$scratch/forgotten")"
