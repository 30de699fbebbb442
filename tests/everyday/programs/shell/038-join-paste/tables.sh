#!/bin/sh
export LC_ALL=C
t=$(mktemp -d); trap 'rm -r "$t"' 0

tail -n +2 users.tsv  | sort -t'	' -k1,1 > "$t/u"
tail -n +2 orders.tsv | sort -t'	' -k2,2 > "$t/o"

echo "== orders with names"
join -t'	' -1 1 -2 2 -o 2.1,1.2,2.3 "$t/u" "$t/o" | sort -n | awk -F'\t' '{ printf "%-4s %-8s %8.2f\n", $1, $2, $3 }'

echo "== users without orders"
join -t'	' -1 1 -2 2 -v 1 "$t/u" "$t/o" | cut -f2
echo "== orders of unknown users"
join -t'	' -1 1 -2 2 -v 2 "$t/u" "$t/o" | cut -f2

echo "== totals"
awk -F'\t' 'NR == FNR { name[$1] = $2; next } { sum[$2] += $3 } END { for (u in sum) print (u in name ? name[u] : "?" u) "\t" sum[u] }' "$t/u" "$t/o" | sort

echo "== side by side"
cut -f2 "$t/u" > "$t/names"; cut -f3 users.tsv | tail -n +2 | tr a-z A-Z > "$t/cities"
paste -d'@' "$t/names" "$t/cities"
seq 6 | paste - - -
paste -sd, "$t/names"
