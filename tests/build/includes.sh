#!/bin/sh
# The order in which folders include one another is kept, and the script that says so sees what breaks it.
. "$top_srcdir/tests/build/lib.sh"

check=$top_srcdir/contrib/check-includes
"$check" "$top_srcdir" || fail "the include order is broken"

# breaks FILE LINE: a tree with only this file and this line in it must be refused
breaks()
{
    rm -rf "$scratch/src" "$scratch/transports"
    mkdir -p "$scratch/src" "$scratch/transports" "$(dirname "$scratch/$1")"
    echo '#include <kofn/types.h>' >"$scratch/$1"
    "$check" "$scratch" || fail "refused without a reason: $1"
    echo "$2" >>"$scratch/$1"
    "$check" "$scratch" >"$scratch/said" && fail "not seen: $2 in $1"
    grep -q "^$1:2: " "$scratch/said" || fail "says it wrongly: $(cat "$scratch/said")"
}

breaks src/base/x.c '#include "proto/slot.h"'
breaks src/base/x.c '# include  "place/place.h" /* spaces */'
breaks src/math/x.h '#include "round/round.h"'
breaks src/round/x.c '#include "transports/transport.h"'
breaks src/round/x.c '#include "algorithms/other.h"'
breaks src/algorithms/x.c '#include "core/server.h"'
breaks src/algorithms/x.c '#include "transports/shm/shm.h"'
breaks src/core/x.c '#include <hwloc.h>'
breaks src/core/x.c '#include <jansson.h>'
breaks src/sim/x.c '#include "core/server.h"'
breaks src/theory/x.c '#include "sim/sim.h"'
breaks transports/shm/x.c '#include "round/round.h"'
breaks transports/shm/x.c '#include "transports/self/self.h"'
breaks transports/shm/x.c '#include <infiniband/verbs.h>'
breaks transports/verbs/x.c '#include <liburing.h>'
breaks transports/uring/x.c '#include <rdma/rdma_cma.h>'
breaks src/cli/x.c '#include "cli.h"'
