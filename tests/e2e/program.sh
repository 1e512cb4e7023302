# shellcheck shell=sh
# program.sh: kofn as the tests of whole jobs run it, and how they read its results; sourced behind lib.sh. Changes to
# $scratch.

case $top_builddir in /*) ;; *) top_builddir=$PWD/$top_builddir ;; esac
kofn=$top_builddir/kofn
[ -x "$kofn" ] || skip "the program is not built"
# nobody has set an option, and no launcher has started this
for name in $(env | sed -n 's/^\(KOFN_[A-Z_]*\|RANK\|OMPI_[A-Z_]*\|PMI[X]*_[A-Z_]*\|JSM_[A-Z_]*\|SLURM_[A-Z_]*\|JOB_COMPLETION_INDEX\)=.*/\1/p'); do
    case $name in KOFN_TEST_*) ;; *) unset "$name" ;; esac
done
XDG_CONFIG_HOME=$scratch/no-config
export XDG_CONFIG_HOME
cd "$scratch" || exit 99

# value KEY FILE: the number behind "KEY" (the first of that name)
value() { sed -n "s/^ *\"$1\": \([0-9.eE+-]*\),*$/\1/p" "$2" | head -1; }
# holds CONDITION WHAT: CONDITION in awk's words
holds() { awk "BEGIN { exit !($1) }" || fail "$2: $1"; }
# near VALUE EXPECTED PERCENT WHAT
near() { holds "($1 - $2) ^ 2 <= ($2 * $3 / 100) ^ 2" "$4"; }

# what every result has, and what it has of every worker
job_keys="algorithm workers k local_steps transport rounds seconds round_time_mean updates_per_worker_mean uploads_mean
publications_mean bytes_mean staleness_mean loss accuracy idle_fraction_mean method per_worker"
worker_keys="rank pid state updates merged late refused lost first_k late_p50 late_p99 rejoins cause"
# has_keys FILE KEY...
has_keys()
{
    keys_file=$1
    shift
    for key in "$@"; do
        grep -q "\"$key\":" "$keys_file" || fail "$keys_file: no \"$key\" in it"
    done
}
# until_says PATTERN FILE PID: waits for a line of FILE, which process PID writes, as long as that is there, and a minute
until_says()
{
    : >>"$2" # it may not have been opened yet
    said=$(timeout 60 tail -n +1 -f --pid="$3" "$2" 2>/dev/null | grep -m 1 -e "$1") || said=
    [ -n "$said" ] || fail "no '$1' in $2: $(cat "$2" ./*.err 2>/dev/null)"
}
