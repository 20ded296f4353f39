#!/bin/sh
# bench.sh: prints figures with their set-up. Pure benchmarks first, then fleets of fake nodes.
set -eu
cd "$(dirname "$0")/../.."
echo "machine: $(uname -srm), $(nproc) cores, $(go env GOVERSION)"
go test -run '^$' -bench . -benchmem -p 1 ./agent/... ./hub/...
FLOTILLA_TEST_LEVEL=bench go test -run '^$' -bench . -benchtime 1x -timeout 30m -p 1 ./test/fleet/bench/...
