#!/bin/sh
# tested.sh LEVEL...: the packages that have tests of these levels.
set -eu
cd "$(dirname "$0")/../.."
for level; do
	case $level in
	integration) words='testlevel\.Integration|ControlPlaneOnly' ;;
	e2e) words='testlevel\.E2E|fleet\.Real' ;;
	*) echo "tested.sh: no level $level" >&2 && exit 2 ;;
	esac
	git grep -lE "$words" -- '*_test.go'
done | xargs -n1 dirname | sort -u | sed 's#^#./#'
