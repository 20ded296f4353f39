#!/bin/sh
# tool.sh NAME [ARG...]: runs one of the pinned tools, building it first if this version was not built on this machine yet.
set -eu
name=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
cache=${FLOTILLA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/flotilla}
bin=$cache/tools/$(cat "$here/go.mod" "$here/go.sum" | cksum | tr -d ' ')-$(go env GOVERSION)
if [ ! -x "$bin/$name" ]; then
	package=$(awk -v n="/$name\$" 'NF == 1 && $1 ~ n { print $1 }' "$here/go.mod")
	echo "building $name" >&2
	mkdir -p "$bin"
	(cd "$here" && CGO_ENABLED=0 go build -ldflags='-s -w' -o "$bin/$name.new" "$package")
	mv "$bin/$name.new" "$bin/$name"
fi
exec "$bin/$name" "$@"
