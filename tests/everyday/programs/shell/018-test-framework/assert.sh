# tiny test framework; source it, define test_* functions, call run_tests
__failed=0
__passed=0

assert_eq() {
  local want=$1 got=$2 msg=${3:-values differ}
  if [[ "$want" == "$got" ]]; then return 0; fi
  printf '    %s\n      want: %q\n      got:  %q\n' "$msg" "$want" "$got"
  return 1
}
assert_status() { local want=$1; shift; local got=0; "$@" >/dev/null 2>&1 || got=$?; assert_eq "$want" "$got" "status of '$*'"; }
assert_match() { [[ $2 =~ $1 ]] || { echo "    '$2' does not match /$1/"; return 1; }; }

run_tests() {
  local fn out
  for fn in $(declare -F | awk '$3 ~ /^test_/ {print $3}'); do
    if out=$( set -e; declare -F setup >/dev/null && setup; "$fn" ); then
      echo "ok   ${fn#test_}"
      __passed=$((__passed + 1))
    else
      echo "FAIL ${fn#test_}"
      echo "$out"
      __failed=$((__failed + 1))
    fi
  done
  echo "$__passed passed, $__failed failed"
  return $(( __failed > 0 ))
}
