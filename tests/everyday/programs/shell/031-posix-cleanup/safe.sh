#!/bin/sh
set -u
work=$(mktemp -d) || exit 1
marker=$work/marker

cleanup() {
    status=$?
    trap - EXIT
    rm -rf "$work"
    [ -e "$marker" ] && echo "marker is still here?!"
    echo "cleanup ran, status was $status"
    exit "$status"
}
trap cleanup EXIT
trap 'echo "got TERM"; exit 143' TERM
trap 'echo "got USR1, going on"' USR1

: > "$marker"
[ -f "$marker" ] && echo "marker created"
kill -USR1 $$
echo "after USR1"

(
    trap 'echo "subshell trap"' EXIT
    cd "$work" && echo "in work dir: $(ls)"
    exit 5
)
echo "subshell ended with $?"

kill -TERM $$
echo "not reached"
