#!/bin/bash
set -euo pipefail

# exit codes
readonly E_USAGE=2 E_NOT_FOUND=3

(( $# )) || { echo "usage: $0 COMMAND..." >&2; exit $E_USAGE; }

missing=()
for tool in "$@"; do
  if command -v "$tool" >/dev/null 2>&1; then
    kind=$(type -t "$tool")
    printf '%-22s %s\n' "$tool" "✔ ($kind)"
  else
    printf '%-22s %s\n' "$tool" "✘ missing"
    missing+=("$tool")
  fi
done

if ((${#missing[@]})); then
  echo "Please install: $(IFS=,; echo "${missing[*]}")"
  exit $E_NOT_FOUND
fi
echo "everything is there"
