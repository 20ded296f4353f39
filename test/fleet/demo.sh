#!/bin/sh
# demo.sh up fake|real, demo.sh down. Needs Go and nothing else; real nodes need root on Linux.
set -eu
cd "$(dirname "$0")/../.."
exec go run ./test/fleet/cmd/demo "$@"
