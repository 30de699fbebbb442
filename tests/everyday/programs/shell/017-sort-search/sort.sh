#!/usr/bin/env bash
set -euo pipefail

bubble_sort() {
  local -n arr=$1
  local i j n=${#arr[@]} swapped tmp
  for ((i = 0; i < n - 1; i++)); do
    swapped=0
    for ((j = 0; j < n - 1 - i; j++)); do
      if ((arr[j] > arr[j + 1])); then
        tmp=${arr[j]}; arr[j]=${arr[j + 1]}; arr[j + 1]=$tmp
        swapped=1
      fi
    done
    ((swapped)) || break
  done
}

quick_sort() {
  if (($# <= 1)); then echo "$*"; return; fi
  local pivot=$1 x; shift
  local -a lo=() hi=()
  for x; do if ((x < pivot)); then lo+=("$x"); else hi+=("$x"); fi; done
  echo $(quick_sort "${lo[@]}") "$pivot" $(quick_sort "${hi[@]}")
}

binary_search() {
  local -n hay=$1
  local needle=$2 lo=0 hi=$((${#hay[@]} - 1)) mid
  while ((lo <= hi)); do
    mid=$(((lo + hi) / 2))
    if ((hay[mid] == needle)); then echo "$mid"; return 0
    elif ((hay[mid] < needle)); then lo=$((mid + 1))
    else hi=$((mid - 1)); fi
  done
  return 1
}

numbers=("$@")
((${#numbers[@]})) || numbers=(42 7 19 -3 88 7 0 23)
echo "input:  ${numbers[*]}"
echo "quick:  $(quick_sort "${numbers[@]}")"
bubble_sort numbers
echo "bubble: ${numbers[*]}"
for want in 19 20 -3; do
  if idx=$(binary_search numbers "$want"); then echo "$want is at index $idx"; else echo "$want is not there"; fi
done
diff <(printf '%s\n' "${numbers[@]}") <(printf '%s\n' "${numbers[@]}" | sort -n) && echo "sorted indeed"
