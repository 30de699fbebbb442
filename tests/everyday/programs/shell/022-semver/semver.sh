#!/usr/bin/env bash
set -euo pipefail

readonly SEMVER='^v?(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-([0-9A-Za-z.-]+))?$'

parse() { # VERSION -> MAJOR MINOR PATCH PRE
  [[ $1 =~ $SEMVER ]] || { echo "not a version: $1" >&2; return 2; }
  MAJOR=${BASH_REMATCH[1]} MINOR=${BASH_REMATCH[2]} PATCH=${BASH_REMATCH[3]} PRE=${BASH_REMATCH[5]:-}
}

compare() { # prints -1, 0 or 1
  local a b i
  parse "$1"; a=("$MAJOR" "$MINOR" "$PATCH"); local pre_a=$PRE
  parse "$2"; b=("$MAJOR" "$MINOR" "$PATCH"); local pre_b=$PRE
  for i in 0 1 2; do
    if (( a[i] > b[i] )); then echo 1; return; fi
    if (( a[i] < b[i] )); then echo -1; return; fi
  done
  if [[ $pre_a == "$pre_b" ]]; then echo 0
  elif [[ -z $pre_a ]]; then echo 1
  elif [[ -z $pre_b ]]; then echo -1
  elif [[ $pre_a < $pre_b ]]; then echo -1
  else echo 1; fi
}

bump() {
  parse "$2"
  case $1 in
    major) echo "$((MAJOR + 1)).0.0" ;;
    minor) echo "$MAJOR.$((MINOR + 1)).0" ;;
    patch) echo "$MAJOR.$MINOR.$((PATCH + (${#PRE} == 0)))" ;;
    *) echo "bump what? $1" >&2; return 64 ;;
  esac
}

case ${1:-} in
  compare) compare "$2" "$3" ;;
  bump) bump "$2" "$3" ;;
  selftest)
    while read -r a b; do
      case $(compare "$a" "$b") in -1) s='<' ;; 0) s='=' ;; 1) s='>' ;; esac
      printf '%-14s %s %s\n' "$a" "$s" "$b"
    done <<END
1.2.3 1.2.10
2.0.0 1.99.99
v1.0.0 1.0.0
1.0.0-alpha 1.0.0
1.0.0-beta 1.0.0-alpha
END
    for part in major minor patch; do echo "$part: $(bump $part 1.4.9)"; done
    bump patch 2.0.0-rc.1
    bump minor 1.2 || exit $?
    ;;
  *) echo "usage: semver.sh compare A B | bump PART V | selftest"; exit 64 ;;
esac
