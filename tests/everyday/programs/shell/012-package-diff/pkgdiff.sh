#!/bin/bash
set -euo pipefail
old=$1 new=$2

names() { grep -v '^#' "$1" | cut -d= -f1 | sort -u; }

echo "Added:"
comm -13 <(names "$old") <(names "$new") | sed 's/^/  + /'
echo "Removed:"
comm -23 <(names "$old") <(names "$new") | sed 's/^/  - /'
echo "Changed:"
while read -r name before after; do
  [[ $before != "$after" ]] && printf '  ~ %-10s %s -> %s\n' "$name" "$before" "$after"
done < <(join -t' ' <(grep -v '^#' "$old" | tr '=' ' ' | sort) <(grep -v '^#' "$new" | tr '=' ' ' | sort)) || true

if diff -q <(names "$old") <(names "$new") > /dev/null; then
  echo "same set of packages"
else
  echo "the sets differ"
  exit 1
fi
