#!/usr/bin/env bash
set -euo pipefail

human() {
  local b=$1 unit=0 units=(B K M G) frac=0
  while (( b >= 1024 && unit < 3 )); do
    frac=$(( (b % 1024) * 10 / 1024 ))
    b=$(( b / 1024 ))
    unit=$((unit + 1))
  done
  if (( unit )); then printf '%d.%d%s' "$b" "$frac" "${units[unit]}"; else printf '%dB' "$b"; fi
}

root=${1:-.}
limit=${LIMIT:-100000}
declare -A sizes
while IFS= read -r -d '' file; do
  size=$(stat -c %s "$file")
  dir=${file%/*}
  while :; do
    sizes[$dir]=$(( ${sizes[$dir]:-0} + size ))
    [[ $dir == "$root" ]] && break
    dir=${dir%/*}
  done
done < <(find "$root" -type f -print0)

mapfile -t sorted < <(for d in "${!sizes[@]}"; do echo "${sizes[$d]} $d"; done | sort -rn)
code=0
for entry in "${sorted[@]}"; do
  read -r bytes dir <<< "$entry"
  mark=' '
  if (( bytes > limit )); then mark='!'; code=5; fi
  printf '%s %8s  %s\n' "$mark" "$(human "$bytes")" "$dir"
done
exit $code
