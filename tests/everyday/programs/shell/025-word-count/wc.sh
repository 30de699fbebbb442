#!/bin/bash
set -euo pipefail
export LC_ALL=C

mapfile -t lines < "${1:-/dev/stdin}"
echo "read ${#lines[@]} lines, last one: '${lines[-1]}'"

words=0 chars=0
declare -A freq=()
for line in "${lines[@]}"; do
  chars=$((chars + ${#line} + 1))
  clean=${line//[^[:alnum:][:space:]]/}
  for w in ${clean,,}; do
    words=$((words + 1))
    freq[$w]=$((${freq[$w]:-0} + 1))
  done
done
printf '%-8s|%8s\n' words "$words" chars "$chars" unique "${#freq[@]}"
echo "--------+--------"
for w in "${!freq[@]}"; do printf '%-8.8s|%8d\n' "$w" "${freq[$w]}"; done | sort -t'|' -k2,2nr -k1,1 | head -n "${TOP:-4}"
printf '%s\n' "${lines[@]}" | tac | nl -ba -w2 -s': '
