#!/usr/bin/env bash
set -eu

usage() {
  cat <<USAGE
Usage: ${0##*/} [-h] [-v] [-n COUNT] [-s name|size|lines] -f FILE [WORD...]
  -f FILE   file to report on
  -n COUNT  show the COUNT longest lines (default 2)
  -v        verbose
USAGE
}

count=2 verbose=false file=
while getopts ':hvf:n:' opt; do
  case $opt in
    h) usage; exit 0 ;;
    v) verbose=true ;;
    f) file=$OPTARG ;;
    n) count=$OPTARG ;;
    :) echo "option -$OPTARG needs an argument" >&2; exit 2 ;;
    \?) echo "unknown option -$OPTARG" >&2; usage >&2; exit 2 ;;
  esac
done
shift $((OPTIND - 1))

if [ -z "$file" ]; then usage >&2; exit 2; fi
$verbose && echo "file=$file count=$count words=$*"

printf 'lines: %d\nwords: %d\n' "$(wc -l < "$file")" "$(wc -w < "$file")"
echo "longest $count lines:"
awk '{ print length($0) "\t" $0 }' "$file" | sort -rn | head -n "$count" | cut -f2 | sed 's/^/  > /'

for word in "$@"; do
  n=$(grep -ciw -- "$word" "$file" || true)
  echo "'$word' is in $n line(s)"
done
