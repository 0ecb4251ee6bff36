#!/bin/sh
# A sample's callback and await form must print the same. `same_output.sh hello_world`
set -eu
callback=$("$SAMPLES/$1_callback")
await=$("$SAMPLES/$1_await")
[ "$callback" = "$await" ] || {
  printf '%s\n' "-- callback" "$callback" "-- await" "$await"
  exit 1
}
