#!/bin/bash
set -euo pipefail

declare -A cents count
line_no=0
bad=0

{
  read -r header   # skip the header
  while IFS=, read -r date region product qty price || [[ -n ${date:-} ]]; do
    line_no=$((line_no + 1))
    if [[ ! $qty =~ ^[0-9]+$ || ! $price =~ ^[0-9]+\.[0-9]{2}$ ]]; then
      echo "line $((line_no + 1)): bad record: $date,$region,$product,$qty,$price" >&2
      bad=$((bad + 1))
      continue
    fi
    c=$(( 10#${price/./} * qty ))
    cents[$region]=$(( ${cents[$region]:-0} + c ))
    count[$region]=$(( ${count[$region]:-0} + qty ))
  done
}

money() { printf '%d.%02d' $(( $1 / 100 )) $(( $1 % 100 )); }

grand=0
printf '%-10s %6s %12s\n' Region Units Revenue
while read -r region; do
  printf '%-10s %6d %12s\n' "$region" "${count[$region]}" "$(money "${cents[$region]}")"
  (( grand += cents[$region] )) || true
done < <(printf '%s\n' "${!cents[@]}" | sort)
printf '%-10s %6s %12s\n' TOTAL '' "$(money $grand)"

(( bad == 0 )) || exit 4
