#!/bin/sh
. ./lib.sh

has_text() { grep -q -- "$2" "$1"; }

check "shell works" true
check "config exists" test -f app.cfg
check "port is set" has_text app.cfg '^port='
check "secret is not in the config" sh -c '! grep -q password app.cfg'
check "missing file" test -f nowhere.cfg
check "weird exit" sh -c 'exit 77'

. ./app.cfg
echo "port from config: $port, mode: ${mode:-none}"
echo "$failures check(s) failed"
[ "$failures" -eq 0 ]
