#!/usr/bin/env bash
set -euo pipefail

# Count log levels, busiest hours and the most frequent error messages.
readonly LOG=${1:?usage: analyze.sh LOGFILE}

declare -A levels=() hours=() errors=()
total=0

while IFS=' ' read -r date time level message; do
  [[ $date =~ ^[0-9]{4}-[0-9]{2}-[0-9]{2}$ ]] || continue
  (( ++total ))
  levels[$level]=$(( ${levels[$level]:-0} + 1 ))
  hour=${time%%:*}
  (( hours[$hour] += 1 ))
  if [[ $level == ERROR ]]; then
    # strip numbers so that similar messages group together
    key=${message//[0-9]/#}
    errors["$key"]=$(( ${errors["$key"]:-0} + 1 ))
  fi
done < "$LOG"

echo "=== $total entries in $(basename "$LOG") ==="
for level in ERROR WARN INFO DEBUG; do
  n=${levels[$level]:-0}
  printf '%-6s %3d  %s\n' "$level" "$n" "$(printf '%*s' "$n" '' | tr ' ' '*')"
done

echo
echo "Busiest hours:"
for h in "${!hours[@]}"; do
  printf '%s %s\n' "${hours[$h]}" "$h"
done | sort -k1,1nr -k2,2 | head -n 3 | while read -r n h; do
  echo "  ${h}:00 -> $n"
done

echo
echo "Top errors:"
for e in "${!errors[@]}"; do
  printf '%d\t%s\n' "${errors[$e]}" "$e"
done | sort -k1,1nr -k2
