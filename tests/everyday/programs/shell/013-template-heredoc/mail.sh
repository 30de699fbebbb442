#!/usr/bin/env bash
set -euo pipefail

sender=${SENDER:-"The Team"}
out=letters
mkdir -p "$out"

letter() {
  local name=$1 item=$2 price=$3 days=$4
  cat <<-LETTER
	Dear ${name^},

	your order of "$item" (\$$price) is $(( days > 7 ? days : 0 )) days late.
	$( if (( days > 7 )); then echo "We are very sorry!"; else echo "It arrives in $days days."; fi )

	Total with tax: $(awk -v p="$price" 'BEGIN { printf "%.2f", p * 1.21 }')

	$sender
	LETTER
}

while IFS='|' read -r name item price days; do
  [[ $name == \#* ]] && continue
  letter "$name" "$item" "$price" "$days" > "$out/${name// /_}.txt"
  echo "wrote letter for $name"
done <<'DATA'
# name|item|price|days
anna|blue lamp|19.90|3
mister x|$PATH poster|5|12
DATA

for f in "$out"/*.txt; do echo "----- $f"; cat "$f"; done
wc -c <<< "here string"
