# lib.sh: what the tests of the build share; sourced with top_srcdir and top_builddir set by `make check`.
set -u
: "${top_srcdir:?run this by make check}" "${top_builddir:?}"

skip() { echo "skipped: $*"; exit 77; }
fail() { echo "failed: $*"; exit 1; }

scratch=$(mktemp -d) || exit 99
trap 'rm -rf "$scratch"' EXIT

# long_options: the long options in the --help text on standard input, one a line
long_options() { grep -oE '(^|[ ,=[(|])--[a-zA-Z][a-zA-Z0-9_-]*' | grep -oE -e '--[a-zA-Z0-9_-]*' | sort -u; }

# commands KOFN: its subcommands, as its --help lists them
commands() { "$1" --help | sed -n 's/^  \([a-z][a-z]*\)  *[^ ].*/\1/p'; }
