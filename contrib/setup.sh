# setup.sh: what ./demo and ./check share; sourced by them (POSIX sh) with $top set to the source tree.
# Brings a fresh machine to a build: packages, configure script, build tree. Every step does nothing where it was
# done before. Long output goes to a log, whose end is shown when a step fails.

say() { printf '%s\n' "$*"; }
die() { printf '%s\n' "$*" >&2; exit 1; }

: "${top:?}"

# how many compilers to run at once
# shellcheck disable=SC2034 # used by those who source this file
jobs=${KOFN_JOBS:-$(nproc 2>/dev/null || echo 1)}

# logged LOG COMMAND...: runs it quietly; on failure shows the end of LOG and returns the status
logged()
{
    logged_log=$1
    shift
    mkdir -p "$(dirname "$logged_log")"
    "$@" >"$logged_log" 2>&1 && return 0
    logged_status=$?
    say "failed (status $logged_status): $*"
    tail -n "${KOFN_TAIL:-30}" "$logged_log" | sed 's/^/    /'
    say "the whole output is in $logged_log"
    return "$logged_status"
}

# has PROBE: is it there? See contrib/debian-packages.
has()
{
    case $1 in
    cmd:*) command -v "${1#cmd:}" >/dev/null 2>&1 ;;
    pc:*) pkg-config --exists "${1#pc:}" 2>/dev/null ;;
    hdr:*) echo "#include <${1#hdr:}>" | cc -E -x c - >/dev/null 2>&1 ;;
    rt:*) find "$(clang -print-resource-dir 2>/dev/null)/lib" -name "${1#rt:}" 2>/dev/null | grep -q . ;;
    *) die "contrib/debian-packages: unknown probe $1" ;;
    esac
}

# missing GROUP...: prints the packages of these groups whose probe fails
missing()
{
    while read -r group package probe; do
        case " $* " in
        *" $group "*) has "$probe" </dev/null || echo "$package" ;;
        esac
    done <"$top/contrib/debian-packages"
}

# as_root COMMAND...: needs root, or sudo
as_root()
{
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# need_packages GROUP...: installs what is missing, or says exactly what it is
need_packages()
{
    need_list=$(missing "$@" | tr '\n' ' ')
    [ -n "$need_list" ] || return 0
    command -v apt-get >/dev/null 2>&1 ||
        die "missing, and there is no apt-get to install it (names as in Debian 12): $need_list"
    [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null 2>&1 ||
        die "missing, and only root can install it: apt-get install $need_list"
    say "installing: $need_list"
    # shellcheck disable=SC2086 # a list of words
    logged "$top/build/packages.log" install_packages $need_list ||
        die "could not install: $need_list"
    need_list=$(missing "$@" | tr '\n' ' ')
    [ -z "$need_list" ] || die "installed, and still not found: $need_list"
}

install_packages()
{
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update &&
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y --no-install-recommends "$@"
}

# newer THAN FILE...: is one of the files newer?
newer()
{
    newer_than=$1
    shift
    find "$@" -newer "$newer_than" | grep -q .
}

# bootstrap: makes ./configure where it is missing or older than what it is made of
bootstrap()
{
    [ ! -e "$top/config.status" ] ||
        die "the source tree itself is configured; run 'make distclean' in it first"
    if [ -x "$top/configure" ] && [ -f "$top/Makefile.in" ] &&
        ! newer "$top/configure" "$top/configure.ac" "$top/VERSION" "$top"/m4/kofn_*.m4 &&
        ! newer "$top/Makefile.in" "$top/Makefile.am" "$top"/*/*.am; then
        return 0
    fi
    say "making ./configure"
    logged "$top/build/autogen.log" "$top/autogen.sh" || die "autogen.sh failed"
    touch "$top/configure" "$top/Makefile.in"
}

# configure_in DIRECTORY ARGUMENT...: configures a build tree, unless it was with the same arguments
configure_in()
{
    configure_dir=$1
    shift
    mkdir -p "$configure_dir"
    if [ -x "$configure_dir/config.status" ] &&
        ! newer "$configure_dir/config.status" "$top/configure" &&
        [ "$(cat "$configure_dir/.arguments" 2>/dev/null)" = "$*" ]; then
        return 0
    fi
    rm -f "$configure_dir/.arguments"
    (cd "$configure_dir" && logged "$configure_dir/configure.log" "$top/configure" -C "$@") || return 1
    echo "$*" >"$configure_dir/.arguments"
}
