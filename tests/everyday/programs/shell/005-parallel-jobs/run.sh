#!/usr/bin/env bash
set -uo pipefail

tmp=$(mktemp -d) || exit 1
trap 'rm -rf -- "$tmp"' EXIT

job() {
  local name=$1 secs=$2 code=$3
  sleep "$secs"
  echo "$name finished its work"
  return "$code"
}

declare -A pid_of
names=(alpha beta gamma delta)
job alpha 0.20 0 > "$tmp/alpha" & pid_of[alpha]=$!
job beta  0.05 3 > "$tmp/beta"  & pid_of[beta]=$!
job gamma 0.10 0 > "$tmp/gamma" & pid_of[gamma]=$!
( exit 7 ) > "$tmp/delta" & pid_of[delta]=$!

failures=0
for name in "${names[@]}"; do
  if wait "${pid_of[$name]}"; then
    status=ok
  else
    status="failed with code $?"
    failures=$((failures + 1))
  fi
  printf '%-6s %-20s | %s\n' "$name" "$status" "$(cat "$tmp/$name")"
done

echo "failures: $failures"

# at most two at a time
running=0
for i in {1..6}; do
  ( sleep 0.03; echo "$((i * i))" > "$tmp/sq.$i" ) &
  if (( ++running >= 2 )); then wait -n; running=$((running - 1)); fi
done
wait
cat "$tmp"/sq.* | paste -sd+
echo "sum $(( $(cat "$tmp"/sq.* | paste -sd+) ))"
exit "$failures"
