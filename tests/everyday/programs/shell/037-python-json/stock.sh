#!/usr/bin/env bash
set -euo pipefail

json=${1:-stock.json}

# python turns JSON into tab separated lines, bash does the rest
declare -A qty
while IFS=$'\t' read -r name amount tags; do
  qty[$name]=$amount
  printf '%-8s x%-3d %s\n' "$name" "$amount" "${tags:-(no tags)}"
done < <(python3 - "$json" <<'PY'
import json, sys
with open(sys.argv[1], encoding="utf-8") as f:
    data = json.load(f)
for item in sorted(data["items"], key=lambda i: i["name"]):
    print(item["name"], item["qty"], ",".join(item.get("tags", [])), sep="\t")
PY
)

qty[bolts]=$((qty[bolts] - 5))
total=0
for n in "${!qty[@]}"; do total=$((total + qty[$n])); done
echo "total: $total"

# and back
for n in "${!qty[@]}"; do printf '%s=%d\n' "$n" "${qty[$n]}"; done | sort |
  python3 -c '
import json, sys
pairs = (line.strip().split("=") for line in sys.stdin)
json.dump({k: int(v) for k, v in pairs}, open("out.json", "w"), indent=2)
'
cat out.json; echo
python3 -c 'import sys; sys.exit(4)' || echo "python exit code: $?"
echo '{"broken": ' | python3 -m json.tool 2>/dev/null || echo "invalid JSON"
