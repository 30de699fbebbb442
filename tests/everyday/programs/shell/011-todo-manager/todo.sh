#!/usr/bin/env bash
set -euo pipefail
TODO_FILE=${TODO_FILE:-todo.txt}
touch "$TODO_FILE"

cmd_add()  { printf '[ ] %s\n' "$*" >> "$TODO_FILE"; echo "added: $*"; }
cmd_list() {
  local n=0 line
  while IFS= read -r line; do
    n=$((n+1))
    printf '%2d. %s\n' "$n" "$line"
  done < "$TODO_FILE"
  (( n )) || echo "nothing to do 🎉"
}
check_number() {
  local max; max=$(wc -l < "$TODO_FILE")
  if ! [[ ${1:-} =~ ^[0-9]+$ ]] || (( $1 < 1 || $1 > max )); then
    echo "todo: no item '${1:-}'" >&2
    return 3
  fi
}
cmd_done() { check_number "$@" || return; sed -i "${1}s/^\[ \]/[x]/" "$TODO_FILE"; echo "done: $(sed -n "${1}p" "$TODO_FILE" | cut -c5-)"; }
cmd_rm()   { check_number "$@" || return; sed -i "${1}d" "$TODO_FILE"; echo "removed $1"; }
cmd_stats() {
  local open closed
  open=$(grep -c '^\[ \]' "$TODO_FILE" || true)
  closed=$(grep -c '^\[x\]' "$TODO_FILE" || true)
  echo "open: $open, done: $closed"
}

action=${1:-list}
[[ $# -gt 0 ]] && shift
if [[ $action == batch ]]; then
  while read -r name rest; do
    [[ $name ]] || continue
    # shellcheck disable=SC2086
    "$0" "$name" $rest || echo "  (exit $?)"
  done
elif declare -F "cmd_$action" > /dev/null; then
  "cmd_$action" "$@"
else
  echo "usage: todo.sh add|list|done|rm|stats|batch" >&2; exit 64
fi
