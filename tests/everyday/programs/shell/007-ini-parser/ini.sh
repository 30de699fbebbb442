#!/usr/bin/env bash
# ini.sh FILE                 list everything
# ini.sh FILE section.key     print one value (exit 3 when missing)

set -o errexit -o nounset -o pipefail

declare -A config
declare -a order

trim() {
  local s=$1
  s="${s#"${s%%[![:space:]]*}"}"
  s="${s%"${s##*[![:space:]]}"}"
  printf '%s' "$s"
}

parse_ini() {
  local section=global line key value
  while IFS= read -r line; do
    line=$(trim "${line%%[;#]*}")
    [[ -z $line ]] && continue
    if [[ $line =~ ^\[([A-Za-z0-9_.-]+)\]$ ]]; then
      section=${BASH_REMATCH[1]}
    elif [[ $line == *=* ]]; then
      key=$(trim "${line%%=*}")
      value=$(trim "${line#*=}")
      value=${value#\"} value=${value%\"}
      [[ -v config[$section.$key] ]] || order+=("$section.$key")
      config[$section.$key]=$value
    else
      echo "warning: ignored: $line"
    fi
  done < "$1"
}

main() {
  parse_ini "$1"
  shift
  if (( $# == 0 )); then
    for k in "${order[@]}"; do echo "$k = ${config[$k]}"; done
    return
  fi
  local rc=0
  for k; do
    if [[ -v config[$k] ]]; then
      echo "${config[$k]}"
    else
      echo "$k: not found"
      rc=3
    fi
  done
  return $rc
}

main "$@"
