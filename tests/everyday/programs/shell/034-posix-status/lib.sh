# sourced by status.sh
if [ -t 1 ] && [ "${TERM:-dumb}" != dumb ]; then
    green=$(printf '\033[32m') red=$(printf '\033[31m') off=$(printf '\033[0m')
else
    green='' red='' off=''
fi
ok()  { printf '[%s OK %s] %s\n' "$green" "$off" "$1"; }
bad() { printf '[%sFAIL%s] %s\n' "$red" "$off" "$1"; failures=$((failures + 1)); }
check() {
    desc=$1; shift
    if "$@" > /dev/null 2>&1; then ok "$desc"; else bad "$desc (exit $?)"; fi
}
failures=0
