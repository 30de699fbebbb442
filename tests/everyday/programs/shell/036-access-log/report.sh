#!/bin/bash
set -euo pipefail
log=${1:-access.log}
h() { printf '\n## %s\n' "$1"; }

h "Requests per status"
awk '{ print $9 }' "$log" | sort | uniq -c | sort -k1,1nr -k2

h "Top clients"
cut -d' ' -f1 "$log" | sort | uniq -c | sort -k1,1nr -k2 | head -3 | awk '{ printf "%-15s %d\n", $2, $1 }'

h "Bytes by path"
awk '$10 ~ /^[0-9]+$/ { split($7, u, "?"); bytes[u[1]] += $10; hits[u[1]]++ }
     END { for (p in bytes) printf "%8d %4d %s\n", bytes[p], hits[p], p }' "$log" | sort -rn

h "Broken links"
grep '" 404 ' "$log" | sed -E 's/.*"(GET|POST) ([^ ]+) .*/\2/' | sort -u | xargs -r -n1 echo " *"

h "Requests per hour"
sed -E 's/.*\[[^:]+:([0-9]{2}):.*/\1/' "$log" | uniq -c | while read -r n hour; do
  printf '%s:00 %s\n' "$hour" "$(head -c "$n" < /dev/zero | tr '\0' '#')"
done

errors=$(grep -cE '" 5[0-9]{2} ' "$log" || :)
h "Verdict"; echo "$errors server error(s)"
exit $(( errors > 0 ? 10 : 0 ))
