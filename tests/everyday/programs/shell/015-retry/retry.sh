#!/usr/bin/env bash
set -uo pipefail

# retry TRIES COMMAND...   exponential backoff; SLEEP can be replaced for tests
SLEEP=${SLEEP:-sleep}

retry() {
  local tries=$1 delay=1 attempt code
  shift
  for ((attempt = 1; attempt <= tries; attempt++)); do
    "$@" && { echo "✔ '$*' worked on attempt $attempt"; return 0; }
    code=$?
    echo "✘ attempt $attempt/$tries failed with $code"
    if ((attempt < tries)); then
      "$SLEEP" "$delay"
      ((delay = delay * 2 > 5 ? 5 : delay * 2))
    fi
  done
  return "$code"
}

fake_sleep() { echo "  …would sleep $1 s"; }
export -f fake_sleep

counter=$(mktemp)
trap 'rm -f "$counter"' EXIT
echo 0 > "$counter"
works_on_third() {
  local n
  n=$(( $(< "$counter") + 1 ))
  echo "$n" > "$counter"
  [[ $n -ge ${1:-3} ]]
}

retry 5 works_on_third
retry 5 sh -c 'exit 42'
echo "last status: $?"
retry 1 true
retry 2 no_such_command_here 2>/dev/null
exit $?
