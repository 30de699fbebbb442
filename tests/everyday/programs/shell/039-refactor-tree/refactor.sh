#!/usr/bin/env bash
# refactor.sh OLD NEW: rename an identifier in all *.py files outside of vendor
set -euo pipefail
export LC_ALL=C
old=$1 new=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r proj "$work/before"
cp -r proj "$work/after"
cd "$work"

find after -name '*.py' -not -path '*/vendor/*' -print0 |
  xargs -0 grep -lZw -- "$old" |
  xargs -0 sed -i "s/\b$old\b/$new/g"

diff -ru before after | grep -v '^\(---\|+++\|diff\)' || true
echo "changed files:"
diff -rq before after | sed -n 's/^Files before\/\(.*\) and .*/  \1/p' | sort || true
echo "left: $( { grep -rw -- "$old" after || true; } | wc -l) occurrence(s)"
find after -type f -exec grep -Hn 'TODO' {} + | sort | sed 's/^after\///'
find after -type f -name '*.py' | sed 's|.*/||' | tr '\n' ' '; echo
