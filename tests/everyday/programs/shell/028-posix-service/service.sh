#!/bin/sh
# start|stop|status|restart of a toy daemon with a pid file
dir=${RUN_DIR:-.}
pidfile=$dir/toy.pid

is_running() { [ -f "$pidfile" ] && kill -0 "$(cat "$pidfile")" 2>/dev/null; }

start() {
    if is_running; then echo "already running"; return 1; fi
    sleep 20 >/dev/null 2>&1 &
    echo $! > "$pidfile"
    echo "started"
}
stop() {
    if ! is_running; then echo "not running"; return 1; fi
    pid=$(cat "$pidfile")
    kill "$pid"
    while kill -0 "$pid" 2>/dev/null; do wait "$pid" 2>/dev/null; sleep 0.05; done
    rm -f "$pidfile"
    echo "stopped"
}
status() {
    if is_running; then echo "running"; else
        [ -f "$pidfile" ] && { echo "dead, but pid file exists"; return 1; }
        echo "stopped"; return 3
    fi
}

for action in "$@"; do
    case $action in
        start|stop|status) $action ;;
        restart) stop; start ;;
        crash) kill -9 "$(cat "$pidfile")"; wait 2>/dev/null; echo "(someone killed it)" ;;
        *) echo "usage: $0 start|stop|status|restart" >&2; exit 2 ;;
    esac
    code=$?
    echo "  -> $action: $code"
done
rm -f "$pidfile"
exit "$code"
