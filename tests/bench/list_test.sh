#!/bin/sh
# `tests/bench/run --list` prints the names of rows and subjects, and builds nothing.
set -e
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export EDDY_BUILD="$scratch/build"

"$(dirname "$0")/run" --list >"$scratch/list"
grep -q '^rows: .* spawn ' "$scratch/list"
grep -q '^subjects: .* tokio' "$scratch/list"
[ ! -e "$EDDY_BUILD" ]
