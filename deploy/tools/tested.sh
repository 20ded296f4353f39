#!/bin/sh
# tested.sh LEVEL: the packages that have tests of that level.
set -eu
cd "$(dirname "$0")/../.."
git grep -liE "testlevel\.(Need|Has)\(.*$1" -- "*_test.go" | xargs -n1 dirname | sort -u | sed "s#^#./#"
