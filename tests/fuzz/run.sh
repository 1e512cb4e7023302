#!/bin/sh
# run.sh SECONDS PROGRAM...: runs libFuzzer targets for so long each, as many at once as there are processors. New
# inputs go to a scratch directory; tests/fuzz/corpus/NAME holds the seeds of NAME_fuzz. What crashed a target is
# left in the current directory.
set -u
seconds=$1
shift
seeds=$(cd "$(dirname "$0")" && pwd)/corpus
scratch=$(mktemp -d) || exit 99
trap 'rm -rf "$scratch"' EXIT

# one child a program: $1 program, $2 seconds, $3 seeds, $4 scratch
printf '%s\n' "$@" | xargs -P "$(nproc 2>/dev/null || echo 1)" -I '{}' sh -c '
    program=$1 name=$(basename "$1") log=$4/$(basename "$1").log
    mkdir -p "$4/$name"
    corpus=$3/${name%_fuzz}
    [ -d "$corpus" ] || corpus=
    if "$program" -max_total_time="$2" -max_len=65536 -timeout=10 -rss_limit_mb=2048 \
        -artifact_prefix="$name-" -print_final_stats=1 "$4/$name" $corpus >"$log" 2>&1; then
        echo "ok: $name: $(sed -n "s/^stat::number_of_executed_units: *//p" "$log") inputs"
    else
        tail -n 40 "$log"
        echo "FAIL: $name"
        exit 1
    fi' sh '{}' "$seconds" "$seeds" "$scratch"
