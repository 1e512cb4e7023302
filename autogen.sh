#!/bin/sh
# Makes ./configure and Makefile.in from configure.ac and Makefile.am; needed once after a checkout.
set -e
cd "$(dirname "$0")"
exec autoreconf --install --force --warnings=all "$@"
